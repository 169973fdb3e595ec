//! The command line of `tidegate simulate`, and what it means.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use tidegate_core::scaling::Policy;
use tidegate_simulator::trace::{Shape, Trace, Window, parse};
use tidegate_simulator::{Assignor, Site};

use crate::exit::Usage;

/// Beginning of a trace's name that stands for a generated shape.
const SHAPE: &str = "shape:";
/// Longest trace file: the longest that is known has 0.4 MiB.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// What to simulate.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// CSV file with a time and a count in each row, or one row for each message; or shape:NAME for a generated load
    /// (diurnal, quarter-hour, power-cut, roll-out, flapping, alarm).
    #[arg(long, value_name = "FILE|shape:NAME", required_unless_present = "replay")]
    trace: Option<String>,
    /// Take the decisions of a recording again, instead of a simulation: what a controller, or --record, wrote down; of a
    /// controller also the whole folder of a scaler.
    #[arg(long, value_name = "FILE|FOLDER", conflicts_with_all = ["trace", "html", "record"])]
    pub(super) replay: Option<PathBuf>,
    /// Write down what the rule saw and decided.
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// Settings file with slo, replicas, capacity and behavior, as the controller's; its other keys may be there.
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    /// Part of the trace: its busiest hours, quiet ones, or all of it.
    #[arg(long, value_enum, default_value_t = Part::Busiest)]
    part: Part,
    /// Hours of that part.
    #[arg(long, value_name = "HOURS", default_value_t = 6.0)]
    hours: f64,
    /// The trace is scaled so that its 99.9th percentile is what this many replicas do.
    #[arg(long, value_name = "REPLICAS", default_value_t = 20.0)]
    peak: f64,
    /// The trace is multiplied by this instead.
    #[arg(long, value_name = "FACTOR", conflicts_with = "peak")]
    scale: Option<f64>,
    /// Messages per second that one replica does; `capacity.per_replica` of the policy unless given, else 100.
    #[arg(long, value_name = "RATE")]
    mu: Option<f64>,
    /// Time from a replica's order until it joins its group.
    #[arg(long, value_name = "TIME", default_value = "45s")]
    start: humantime::Duration,
    /// Partitions of the topic.
    #[arg(long, value_name = "N", default_value_t = 64)]
    partitions: u32,
    /// Gateways.
    #[arg(long, value_name = "N", default_value_t = 3)]
    gateways: u32,
    /// Exponent of the devices' rates: 0 is even, 1 is steep.
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    zipf: f64,
    /// How the group rebalances.
    #[arg(long, value_enum, default_value_t = Rebalances::Cooperative)]
    rebalance: Rebalances,
    /// Replicas that the nodes hold; no limit unless given.
    #[arg(long, value_name = "REPLICAS")]
    room: Option<u32>,
    /// Age of everything that autoscalers are told.
    #[arg(long, value_name = "TIME", default_value = "0s")]
    metric_delay: humantime::Duration,
    /// Consumers report how long they were busy, as the reference consumer does.
    #[arg(long)]
    busy_reports: bool,
    /// Everything random is drawn from it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Without KEDA and the HPA.
    #[arg(long)]
    pub(super) alone: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(super) json: bool,
    /// Write one self-contained HTML page with plots.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Busiest,
    Quiet,
    Whole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rebalances {
    Cooperative,
    Eager,
}

impl Args {
    /// Returns the site; what one replica does is the policy's, unless given.
    pub(super) fn site(&self, policy: Option<&Policy>) -> Site {
        let defaults = Site::default();
        let configured = policy.and_then(|policy| policy.capacity_per_replica);
        Site {
            partitions: self.partitions,
            gateways: self.gateways,
            zipf: self.zipf,
            mu: self.mu.or(configured).unwrap_or(defaults.mu),
            start: *self.start,
            assignor: match self.rebalance {
                Rebalances::Cooperative => Assignor::Cooperative,
                Rebalances::Eager => Assignor::Eager,
            },
            commit_interval: policy.map_or(defaults.commit_interval, |policy| policy.commit_interval),
            metric_delay: *self.metric_delay,
            room: self.room,
            busy_reports: self.busy_reports,
            seed: self.seed,
            ..defaults
        }
    }

    /// Reads or makes the trace, and scales it.
    ///
    /// # Errors
    /// What is wrong with it, as an option that cannot be used.
    pub(super) fn trace(&self, site: &Site) -> anyhow::Result<Trace> {
        let wrong = |error: &dyn std::fmt::Display| Usage::said("--trace", error);
        let source = self.trace.as_deref().unwrap_or_default();
        let trace = if let Some(name) = source.strip_prefix(SHAPE) {
            Shape::by_name(name).map_err(|error| wrong(&error))?.trace(self.seed)
        } else {
            parse(source, &read(source)?).map_err(|error| wrong(&error))?
        };
        let positive = |value: f64| value.is_finite() && value > 0.0;
        match self.scale {
            Some(factor) if positive(factor) => Ok(trace.scaled(factor)),
            Some(factor) => Err(Usage::new("--scale", factor, "a number above 0").into()),
            None if positive(self.peak) => Ok(trace.scaled_to(self.peak * site.mu)),
            None => Err(Usage::new("--peak", self.peak, "a number above 0").into()),
        }
    }

    /// Returns the part of the trace that counts.
    ///
    /// # Errors
    /// If there is no such part.
    pub(super) fn window(&self, trace: &Trace) -> Result<Window, Usage> {
        let secs = self.hours * 3600.0;
        if !(60.0..=31_622_400.0).contains(&secs) {
            return Err(Usage::new("--hours", self.hours, "0.02 to 8784"));
        }
        match self.part {
            Part::Whole => Ok(trace.whole()),
            Part::Busiest => Ok(trace.busiest(secs)),
            Part::Quiet => trace.quiet(secs).ok_or_else(|| {
                let half = Duration::from_secs_f64(trace.secs() / 2.0);
                let allowed = format!("at most half of the trace, {}", humantime::format_duration(half));
                Usage::new("--hours", self.hours, allowed)
            }),
        }
    }

    /// Returns the command that was given, for the page.
    pub(super) fn command_line() -> String {
        let arguments = std::env::args().skip(1).map(|argument| {
            let plain = argument.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=,".contains(c));
            if plain { argument } else { format!("'{}'", argument.replace('\'', r"'\''")) }
        });
        format!("tidegate {}", arguments.collect::<Vec<_>>().join(" "))
    }
}

fn read(path: &str) -> Result<String, Usage> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() > MAX_FILE_BYTES) {
        return Err(Usage::new("--trace", path, "a file of at most 1 GiB"));
    }
    std::fs::read_to_string(path)
        .map_err(|error| Usage::new("--trace", path, format!("a CSV file ({error}), or shape:NAME")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &str) -> Args {
        Line::parse_from(format!("simulate {line}").split(' ')).args
    }

    #[test]
    fn what_one_replica_does_is_given_or_the_policys_or_a_default() {
        let policy =
            Policy { capacity_per_replica: Some(250.0), ..Policy::new(Duration::from_secs(10), 1, 8) };
        let mu = |line, policy| args(line).site(policy).mu;
        assert!((mu("--trace shape:diurnal --mu 70", Some(&policy)) - 70.0).abs() < 1e-9);
        assert!((mu("--trace shape:diurnal", Some(&policy)) - 250.0).abs() < 1e-9);
        assert!((mu("--trace shape:diurnal", None) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_trace_is_scaled_to_replicas_or_by_a_factor() {
        let peak = |line| args(line).trace(&Site::default()).unwrap().rate_quantile(0.999);
        assert!((peak("--trace shape:power-cut --peak 12") - 1200.0).abs() < 1e-6);
        let once = peak("--trace shape:power-cut --scale 1");
        assert!((peak("--trace shape:power-cut --scale 3") / once - 3.0).abs() < 1e-6);
    }

    #[test]
    fn what_cannot_be_used_says_what_may_be() {
        let said = |line| {
            let args = args(line);
            let trace = args.trace(&Site::default()).map_err(|error| error.to_string());
            trace.and_then(|trace| args.window(&trace).map_err(|error| error.to_string())).unwrap_err()
        };
        assert!(said("--trace shape:storm").contains("allowed is diurnal"));
        assert!(said("--trace /nowhere.csv").contains("--trace /nowhere.csv: allowed is a CSV file"));
        assert!(said("--trace shape:alarm --scale 0").contains("--scale 0: allowed is a number above 0"));
        assert!(said("--trace shape:alarm --hours 0").contains("--hours 0: allowed is"));
        assert!(
            said("--trace shape:alarm --part quiet --hours 20")
                .contains("allowed is at most half of the trace, 12h")
        );
    }
}
