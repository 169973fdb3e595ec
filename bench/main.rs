//! Benchmarks that print ratios taken in one run.
//!
//! Towards the product this is a black box: it starts the `tidegate` binary beside a yardstick and
//! drives both over the network.

mod cpu;
mod floor;
mod metrics;

use clap::{Parser, Subcommand};

/// Benchmarks of Tidegate.
#[derive(Parser)]
#[command(name = "tidegate-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// CPU per QoS 1 message: the gateway beside the bare loop.
    Floor(floor::Args),
    /// The bare loop itself: MQTT 3.1.1 QoS 1 straight into librdkafka (what `floor` measures against).
    BareLoop(floor::bare_loop::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Floor(args) => floor::run(&args),
        Command::BareLoop(args) => floor::bare_loop::run(&args),
    }
}
