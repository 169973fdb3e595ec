//! `tidegate spool`: looks at a spool on the disk, whether a gateway has it open or not. Changes nothing, but for the export
//! to Kafka.

mod to_kafka;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;
use tidegate_spool::disk::RealDisk;
use tidegate_spool::{ExportOptions, export, inspect, verify};

/// What to do with which spool.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Shows lanes, routes and what waits in them, as JSON.
    Inspect {
        /// The spool's folder.
        folder: PathBuf,
    },
    /// Reads every record and says what is damaged, as JSON; exit code 70 if something is.
    Verify {
        /// The spool's folder.
        folder: PathBuf,
    },
    /// Writes the records that Kafka does not have as JSON lines; keys, header values and payloads in base64.
    Export {
        /// The spool's folder.
        folder: PathBuf,
        /// Only this lane.
        #[arg(long)]
        lane: Option<String>,
        /// Also what Kafka has, as far as it is still there.
        #[arg(long)]
        done: bool,
        /// Write into this file. Default: standard output.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        to_kafka: to_kafka::Args,
    },
}

/// Looks at a spool, or empties it.
///
/// # Errors
/// If there is none, it cannot be read, or, with `verify`, it is damaged; or if it could not be emptied.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.action {
        Action::Inspect { folder } => {
            let seen = inspect(&RealDisk::look(&folder)).with_context(|| folder.display().to_string())?;
            print(&seen)
        }
        Action::Verify { folder } => {
            let found = verify(&RealDisk::look(&folder)).with_context(|| folder.display().to_string())?;
            print(&found)?;
            let damaged = found.damage.len();
            anyhow::ensure!(damaged == 0, "{}: damaged in {damaged} places", folder.display());
            Ok(())
        }
        Action::Export { folder, lane, done, output, to_kafka } => {
            if let Some(servers) = &to_kafka.servers {
                return to_kafka::run(&folder, lane.as_deref(), servers, &to_kafka);
            }
            let mut out: Box<dyn Write> = match &output {
                Some(path) => Box::new(BufWriter::new(
                    File::create(path).with_context(|| format!("cannot write {}", path.display()))?,
                )),
                None => Box::new(BufWriter::new(io::stdout().lock())),
            };
            let exported = export(&RealDisk::look(&folder), &ExportOptions { lane, done }, &mut out)
                .with_context(|| folder.display().to_string())?;
            writeln!(io::stderr(), "{} records, {} places damaged", exported.records, exported.holes)?;
            Ok(())
        }
    }
}

fn print(what: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(what)?;
    text.push('\n');
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
