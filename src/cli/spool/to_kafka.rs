//! `tidegate spool export --to-kafka`: empties the spool of a gateway that is no more.
//!
//! A gateway with a closed door does the work; here is only what a person asks for and reads.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tidegate_gateway::config::KafkaSettings;
use tidegate_gateway::{LeftOver, Remains, Resources, Stats, Summary, Wish};
use tidegate_runtime::clock;
use tidegate_runtime::config::Problem;
use tidegate_runtime::metrics::Registry;

use crate::exit::Usage;
use crate::{stop, value};

/// Where to, and how.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Send them to this Kafka instead, as their gateway would have: in order, with their own headers, and noted in the spool.
    /// Several servers are separated by commas.
    #[arg(long = "to-kafka", value_name = "HOST:PORT", value_parser = value::servers, conflicts_with_all = ["done", "output"])]
    pub(super) servers: Option<String>,
    /// Give up when Kafka has taken nothing for this long, e.g. 10m. Default: wait until SIGTERM.
    #[arg(long, value_name = "TIME", value_parser = value::duration, requires = "servers")]
    wait: Option<Duration>,
    /// `name` of the gateway, if the spool does not say it: part of each record's identity.
    #[arg(long, requires = "servers")]
    name: Option<String>,
    /// Another setting of librdkafka's producer, e.g. linger.ms=20; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = value::setting, requires = "servers")]
    overrides: Vec<(String, String)>,
}

/// Sends what Kafka does not have, until SIGTERM or SIGINT.
///
/// # Errors
/// A wrong option; a spool that is not there or in use; or that something is left.
pub(super) fn run(folder: &Path, lane: Option<&str>, servers: &str, args: &Args) -> anyhow::Result<()> {
    let left_over = LeftOver::find(folder).with_context(|| folder.display().to_string())?;
    let summary = if left_over.is_empty() {
        Summary::default()
    } else {
        let kafka = KafkaSettings {
            bootstrap_servers: servers.to_owned(),
            overrides: args.overrides.iter().cloned().collect(),
            embedded: false,
        };
        let wish = Wish { name: args.name.clone(), lane: lane.map(str::to_owned), kafka, wait: args.wait };
        empty(&left_over, wish)?
    };
    let remains = left_over.remains(lane)?;
    let said = say(&summary, &remains);
    let (left, damaged) = (remains.records.values().sum::<u64>(), summary.damaged);
    // Whoever does not read what is said must still be told that something is left.
    ensure!(left == 0, "{}: about {left} records are left; the same command goes on", folder.display());
    ensure!(damaged == 0, "{}: {damaged} places could not be read, see spool verify", folder.display());
    Ok(said?)
}

/// Runs the gateway that brings everything to Kafka.
fn empty(left_over: &LeftOver, wish: Wish) -> anyhow::Result<Summary> {
    let (settings, door) = left_over.order(wish).map_err(wrong_option)?;
    let resources = Resources {
        settings,
        door,
        admin: None,
        registry: Registry::new(),
        stats: Stats::default(),
        clock: clock::monotonic,
        unix_clock: clock::unix_millis,
        synchronisation: clock::synchronisation,
    };
    let mut summary = Summary::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stop::on_signal(async |stop| {
        summary = tidegate_gateway::run(resources, stop).await?;
        Ok(())
    }))?;
    Ok(summary)
}

fn say(summary: &Summary, remains: &Remains) -> io::Result<()> {
    let Remains { records, dead_letters } = remains;
    let left: u64 = records.values().sum();
    let mut out = io::stdout().lock();
    writeln!(out, "sent {}, left {left}, dead letters {dead_letters}", summary.delivered)?;
    for ((lane, topic, partition), records) in records {
        writeln!(out, "left: lane {lane}, topic {topic}, partition {partition}: about {records} records")?;
    }
    Ok(())
}

/// Names a part of the wish as the command line does.
fn wrong_option(problem: Problem) -> anyhow::Error {
    let Problem { key, value, allowed } = problem;
    let option = match key.as_str() {
        "name" => "--name",
        "lane" => "--lane",
        key if key.starts_with("kafka.overrides") => {
            return Usage::new(&format!("--set {key} ="), value, allowed).into();
        }
        other => other,
    };
    Usage::new(option, value, allowed).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_as_it_was_given() {
        for (key, option) in [("name", "--name"), ("lane", "--lane"), ("kafka.overrides.\"acks\"", "--set")] {
            let said = wrong_option(Problem::new(key, "x", "y")).to_string();
            assert!(said.starts_with(option) && said.ends_with("x: allowed is y"), "{said}");
        }
    }
}
