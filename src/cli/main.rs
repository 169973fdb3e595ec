//! The `tidegate` command: thin subcommands over the crates that do the work.

mod check;
mod consume;
mod controller;
mod crd;
mod exit;
mod explain;
mod gateway;
mod import;
mod recording;
mod settings;
mod simulate;
mod spool;
mod stop;
mod up;
mod value;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tidegate_runtime::config::EXIT_USAGE;
use tidegate_runtime::telemetry::{self, LogFormat};

/// Edge-focused autoscaler for ingestion of device data: an MQTT gateway in front of Kafka and the controller that scales its consumers.
#[derive(Parser)]
#[command(name = "tidegate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything in one process: gateway, controller, consumers, and simulated devices with --burst.
    Up(up::Args),
    /// The MQTT gateway.
    Gateway(settings::Args),
    /// The controller that scales a consumer group.
    Controller(settings::Args),
    /// A reference consumer: cooperative-sticky, commits what it processed, leaves its group on SIGTERM.
    Consume(consume::Args),
    /// Checks a settings file without opening a port.
    Check(check::Args),
    /// Prints the definition of the Kubernetes object `IngestScaler`, for `kubectl apply -f -`.
    Crd,
    /// Looks at a spool on the disk: inspect, verify, export; or empties one that its gateway has left.
    Spool(spool::Args),
    /// Rehearses the scaling rule on a trace, beside KEDA and the HPA; or replays what a controller recorded.
    Simulate(simulate::Args),
    /// Shows a decision as arithmetic that a person can follow: the last of a running controller, or one of a recording.
    Explain(explain::Args),
    /// Turns another autoscaler's settings into ours.
    #[command(subcommand)]
    Import(import::Command),
}

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(said) => {
            // Help and version are no mistake; if nobody reads what is wrong, the code still tells.
            let _ = said.print();
            return if said.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    // The screen of `up` is its output; logs beside it would tear it.
    if !matches!(command, Command::Up(_))
        && let Err(error) = telemetry::init_logs(LogFormat::Auto)
    {
        eprintln!("tidegate: {error}");
        return ExitCode::from(EXIT_USAGE);
    }
    exit::code(match command {
        Command::Up(args) => up::run(&args),
        Command::Gateway(args) => gateway::run(&args),
        Command::Controller(args) => controller::run(&args),
        Command::Consume(args) => consume::run(args),
        Command::Check(args) => check::run(&args),
        Command::Crd => crd::run(),
        Command::Spool(args) => spool::run(args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Import(command) => import::run(&command),
    })
}
