//! `tidegate-bench floor`: CPU per QoS 1 message of the gateway, beside the bare loop.
//!
//! Pairs in the order A-B-B-A, so that a machine that slows down or speeds up favours neither; the median
//! of the ratios is the result. Both servers get the same load generator, the same Kafka and the same
//! producer promises; each run starts its server anew.

pub(crate) mod bare_loop;
mod load;
mod server;

use std::path::PathBuf;

use anyhow::Context as _;

use load::Load;
use server::{Kind, Server};

/// Settings of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kafka bootstrap servers; `tools/with-kafka` sets KAFKA.
    #[arg(long, env = "KAFKA")]
    kafka: String,
    /// The product's binary. Default: `tidegate` beside this program.
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// Connections, one benchmark each.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000])]
    connections: Vec<u32>,
    /// Messages in the measured span of one run.
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// Pairs of runs.
    #[arg(long, default_value_t = 7)]
    pairs: usize,
    /// Worker threads of the gateway; the bare loop has one.
    #[arg(long, default_value_t = 1)]
    workers: u32,
}

/// Runs the benchmark and prints a table.
///
/// # Errors
/// If a server does not start, or a message is not acknowledged.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let gateway = match &args.gateway {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("tidegate"),
    };
    println!(
        "CPU per QoS 1 message, PUBACK after Kafka's acknowledgement, {} B payload",
        load::PAYLOAD_BYTES
    );
    println!(
        "{} messages a run, {} A-B-B-A pairs, gateway with {} worker(s)\n",
        args.messages, args.pairs, args.workers
    );
    println!(
        "| connections | bare loop us | gateway us | ratio (median) | ratio (min .. max) | messages/s bare, gateway |"
    );
    println!("|---|---|---|---|---|---|");
    for connections in args.connections.iter().copied() {
        let load = Load { connections, messages: args.messages };
        let measure = |kind| -> anyhow::Result<load::Measured> {
            let server = Server::start(kind, &gateway, &args.kafka, args.workers)?;
            load.run(&server).with_context(|| format!("{kind:?} at {connections} connections"))
        };
        // The first run of each warms Kafka's page cache and its JIT, and counts for nothing.
        measure(Kind::BareLoop)?;
        measure(Kind::Gateway)?;
        let mut pairs = Vec::new();
        for pair in 0..args.pairs {
            let (bare, ours) = if pair % 2 == 0 {
                let bare = measure(Kind::BareLoop)?;
                (bare, measure(Kind::Gateway)?)
            } else {
                let ours = measure(Kind::Gateway)?;
                (measure(Kind::BareLoop)?, ours)
            };
            eprintln!(
                "{connections} connections, pair {}: bare {:.2} us, gateway {:.2} us",
                pair + 1,
                bare.micros,
                ours.micros
            );
            pairs.push((bare, ours));
        }
        print_row(connections, &pairs);
    }
    Ok(())
}

fn print_row(connections: u32, pairs: &[(load::Measured, load::Measured)]) {
    let of = |figure: fn(&(load::Measured, load::Measured)) -> f64| sorted(pairs.iter().map(figure));
    let ratios = of(|(bare, ours)| ours.micros / bare.micros);
    println!(
        "| {connections} | {:.2} | {:.2} | **{:.2}** | {:.2} .. {:.2} | {:.0}, {:.0} |",
        median(&of(|(bare, _)| bare.micros)),
        median(&of(|(_, ours)| ours.micros)),
        median(&ratios),
        ratios.first().copied().unwrap_or(f64::NAN),
        ratios.last().copied().unwrap_or(f64::NAN),
        median(&of(|(bare, _)| bare.per_sec)),
        median(&of(|(_, ours)| ours.per_sec)),
    );
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures
}

fn median(sorted: &[f64]) -> f64 {
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (length, middle) if length % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_between_the_middle_two() {
        assert!((median(&sorted([4.0, 1.0, 2.0, 9.0].into_iter())) - 3.0).abs() < 1e-9);
        assert!((median(&sorted([4.0, 1.0, 2.0].into_iter())) - 2.0).abs() < 1e-9);
    }
}
