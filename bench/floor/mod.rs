//! `tidegate-bench floor`: CPU per QoS 1 message of the gateway, beside the bare loop.
//!
//! Rounds go forwards and backwards in turn, so that a machine that slows down or speeds up favours none; the median
//! of the ratios is the result. All servers get the same load generator, the same Kafka and the same producer
//! promises; each run starts its server anew. The gateway writes four headers into every record, which identify
//! what it may write twice; the bare loop is measured without and with them. A gateway with a spool is measured twice:
//! DIRECT, while Kafka keeps up and nothing is written, and BEHIND, with every message through the log.

pub(crate) mod bare_loop;
mod load;
mod server;

use std::path::PathBuf;

use anyhow::Context as _;

use load::{Load, Measured};
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
    /// Rounds: runs of each server.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
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
        "CPU per QoS 1 message that reached Kafka, {} B payload; PUBACK after Kafka's acknowledgement, BEHIND after the disk's",
        load::PAYLOAD_BYTES
    );
    println!(
        "{} messages a run, medians of {} rounds A..E E..A, gateway with {} worker(s)\n",
        args.messages, args.rounds, args.workers
    );
    println!(
        "| connections | bare loop us | with headers us | gateway us | DIRECT us | BEHIND us | gateway / bare loop | \
         gateway / with headers | DIRECT / bare loop | BEHIND / bare loop | gateway messages/s | BEHIND messages/s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for connections in args.connections.iter().copied() {
        let load = Load { connections, messages: args.messages };
        let measure = |kind| -> anyhow::Result<Measured> {
            let server = Server::start(kind, &gateway, &args.kafka, args.workers)?;
            load.run(&server).with_context(|| format!("{kind:?} at {connections} connections"))
        };
        // The first run of each warms Kafka's page cache and its JIT, and counts for nothing.
        for kind in KINDS {
            measure(kind)?;
        }
        let mut rounds = Vec::new();
        for number in 0..args.rounds {
            let backwards = number % 2 == 1;
            let mut order = [0, 1, 2, 3, 4];
            if backwards {
                order.reverse();
            }
            let mut round = [Measured::default(); KINDS.len()];
            for kind in order {
                round[kind] = measure(KINDS[kind])?;
            }
            eprintln!(
                "{connections} connections: {}",
                round.map(|run| format!("{:.2} us", run.micros)).join(", ")
            );
            rounds.push(round);
        }
        print_row(connections, &rounds);
    }
    Ok(())
}

/// What a round measures, in its order; the next round goes backwards.
const KINDS: [Kind; 5] =
    [Kind::BareLoop, Kind::BareLoopWithHeaders, Kind::Gateway, Kind::Direct, Kind::Behind];

/// One run of each of [`KINDS`].
type Round = [Measured; KINDS.len()];

fn print_row(connections: u32, rounds: &[Round]) {
    let [bare_loop, with_headers, gateway, direct, behind] = std::array::from_fn(|place| place);
    let of = |figure: &dyn Fn(&Round) -> f64| sorted(rounds.iter().map(figure));
    let micros = |kind: usize| median(&of(&|round| round[kind].micros));
    let per_sec = |kind: usize| median(&of(&|round| round[kind].per_sec));
    let ratio = |kind: usize, yardstick: usize| {
        let all = of(&|round| round[kind].micros / round[yardstick].micros);
        let (least, most) =
            (all.first().copied().unwrap_or(f64::NAN), all.last().copied().unwrap_or(f64::NAN));
        format!("**{:.2}** ({least:.2} .. {most:.2})", median(&all))
    };
    println!(
        "| {connections} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {} | {} | {} | {:.0} | {:.0} |",
        micros(bare_loop),
        micros(with_headers),
        micros(gateway),
        micros(direct),
        micros(behind),
        ratio(gateway, bare_loop),
        ratio(gateway, with_headers),
        ratio(direct, bare_loop),
        ratio(behind, bare_loop),
        per_sec(gateway),
        per_sec(behind),
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
