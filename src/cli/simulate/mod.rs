//! `tidegate simulate`: the scaling rule on a trace, before it is trusted with a site.

mod args;
mod policy;
mod progress;
mod replay;

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::rc::Rc;

use anyhow::Context as _;
pub(crate) use args::Args;
use tidegate_core::scaling::Policy;
use tidegate_simulator::report::{Study, page, span, text};
use tidegate_simulator::scalers::Tidegate;
use tidegate_simulator::{Arm, Peers, Run, Site, run as simulate, study, written};

use crate::exit::Usage;
use progress::Progress;

/// Runs the comparison and shows it.
///
/// # Errors
/// A trace, policy or option that cannot be used, or output that cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(recording) = &args.replay {
        return replay::run(recording, args.json);
    }
    let policy = policy::load(args.policy.as_deref())?;
    let site = args.site(policy.as_ref());
    site.check().map_err(|wrong| Usage::new(&format!("--{}", wrong.field), "as given", wrong.allowed))?;
    let policy = policy::for_site(policy, &site);
    let trace = args.trace(&site)?;
    let window = args.window(&trace)?;
    let spec = Run { trace: &trace, window, slo: policy.slo_delay, seed: args.seed, min: policy.min };
    let peers = Peers { keda: !args.alone, hpa: !args.alone };
    let mut progress = Progress::new(&trace.name);
    let study = study(&spec, &site, &policy, peers, &Args::command_line(), |part| progress.show(part))?;
    progress.end();
    if let Some(path) = &args.record {
        record(path, &spec, &site, &policy)?;
    }
    if let Some(path) = &args.html {
        write(path, &page(&study))?;
    }
    let mut out = std::io::stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &study)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", told(&study, args.html.as_deref()))?;
    }
    Ok(())
}

/// Runs the rule alone once more, and writes down what it sees and decides.
fn record(path: &Path, spec: &Run<'_>, site: &Site, policy: &Policy) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
    let file = Rc::new(RefCell::new((BufWriter::new(file), Ok(()))));
    let into = Rc::clone(&file);
    let scaler = Tidegate::new(policy.clone()).recorded(move |line| {
        let (file, outcome) = &mut *into.borrow_mut();
        if outcome.is_ok() {
            *outcome = file.write_all(written(line).as_bytes());
        }
    });
    simulate(spec, vec![Arm::new("recorded", site, scaler)], |_| ())?;
    let (file, outcome) = &mut *file.borrow_mut();
    std::mem::replace(outcome, Ok(())).and_then(|()| file.flush())?;
    Ok(())
}

/// What the terminal shows.
fn told(study: &Study, page: Option<&Path>) -> String {
    let page = page.map_or_else(String::new, |page| format!("The page with plots: {}\n", page.display()));
    format!(
        "{}: {} from {} on, promise {}\n\n{}\n{}\n{page}",
        study.trace,
        span(study.window.secs),
        span(study.window.from_secs),
        span(study.slo_secs),
        text(study.outcomes()),
        study.verdict()
    )
}

fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    std::fs::write(path, content).with_context(|| format!("{} cannot be written", path.display()))
}
