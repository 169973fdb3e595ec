//! `tidegate import`: another autoscaler's settings as ours.

mod fields;
mod keda;
#[cfg(test)]
mod tests;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::exit::{Lost, Usage};
use fields::Fate;

/// Longest file that is read: a manifest with many objects has some hundred KiB.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Whose settings to import.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// A KEDA ScaledObject with a kafka trigger: prints the IngestScaler. What became of each field is on standard
    /// error; exit code 65 if something cannot be kept.
    Keda(Keda),
}

/// A KEDA manifest.
#[derive(clap::Args)]
pub(crate) struct Keda {
    /// YAML file; - is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Promised delay: a lag threshold has none.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    slo: humantime::Duration,
}

/// Prints what the file becomes, and says what became of each of its fields.
///
/// # Errors
/// A file that cannot be used; [`Lost`] if something of it cannot be kept.
pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    let Command::Keda(args) = command;
    let name = args.file.display().to_string();
    let text = read(&args.file)
        .map_err(|error| Usage::new("import keda", &name, format!("a readable YAML file ({error})")))?;
    let imported = keda::import(&text, *args.slo).map_err(|what| Usage::new("import keda", &name, what))?;
    let mut errors = std::io::stderr();
    for field in &imported.fields {
        // What cannot be said does not change the outcome.
        let _ = writeln!(errors, "{field}");
    }
    std::io::stdout().write_all(imported.yaml.as_bytes())?;
    match imported.fields.iter().filter(|field| matches!(field.fate, Fate::Lost(_))).count() {
        0 => Ok(()),
        lost => Err(Lost(lost).into()),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let source: Box<dyn std::io::Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path)?)
    };
    source.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a time as an `IngestScaler` has it: `90s`, `5m`.
fn time(time: Duration) -> String {
    humantime::format_duration(time).to_string().replace(' ', "")
}
