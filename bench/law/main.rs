//! What the scaling rule is worth: the traces of `bench/traces` and generated shapes, corner settings, seeds; beside KEDA
//! with eight thresholds and the HPA. Writes tables and plots for docs/benchmarks-law.md.
//!
//! One setting of the rule for all traces. The peers get the best that their one knob can be set to, afterwards.

mod cell;
mod judge;
mod matrix;
mod plot;
mod store;
mod table;
mod work;

use std::path::PathBuf;

use clap::Parser;

/// Runs the matrix and writes the page.
#[derive(Parser)]
#[command(name = "tidegate-bench-law", version)]
struct Cli {
    /// The whole matrix with five seeds, instead of its corners with two.
    #[arg(long)]
    full: bool,
    /// Folder with the traces.
    #[arg(long, value_name = "FOLDER", default_value = "bench/traces")]
    traces: PathBuf,
    /// Folder for the page and its plots.
    #[arg(long, value_name = "FOLDER", default_value = "docs")]
    out: PathBuf,
    /// File that results are appended to; what it has is not run again.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Date written on the page.
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: String,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let matrix = if cli.full { matrix::full() } else { matrix::corners() };
    let traces = matrix::traces(&cli.traces)?;
    let mut store = store::Store::open(cli.store.as_deref())?;
    work::run(&matrix, &traces, &mut store)?;
    let results = store.results(&matrix, &traces);
    let name = if cli.full { "benchmarks-law-full" } else { "benchmarks-law" };
    let plots = cli.out.join(name);
    std::fs::create_dir_all(&plots)?;
    for (file, svg) in plot::all(&matrix, &results) {
        std::fs::write(plots.join(file), svg)?;
    }
    let page = cli.out.join(format!("{name}.md"));
    std::fs::write(&page, table::page(&matrix, &results, name, &cli.date))?;
    println!("{}", page.display());
    Ok(())
}
