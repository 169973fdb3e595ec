//! Which seeds are still to be run, and what those before brought.
//!
//! `LOSS_SEEDS=FIRST-LAST` says which (default: 1-1). `LOSS_STATE` names a folder with a file for each
//! fault, to which every run adds a line: a long run that was stopped goes on, and a seed that failed is run again.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Second word of the line of a seed that passed.
const PASSED: &str = "passed";

/// The seeds of one fault.
#[derive(Debug)]
pub(super) struct Seeds {
    file: Option<PathBuf>,
    left: Vec<u64>,
}

impl Seeds {
    /// Reads what is asked for, and what has passed already.
    pub(super) fn of(fault: &str) -> Result<Self> {
        let range = env::var("LOSS_SEEDS").unwrap_or_else(|_| "1-1".to_owned());
        let (first, last) = parse(&range)
            .with_context(|| format!("LOSS_SEEDS = {range:?}: allowed is FIRST-LAST, such as 1-20 or 7-7"))?;
        let file = match env::var_os("LOSS_STATE") {
            Some(folder) => {
                fs::create_dir_all(&folder)?;
                Some(PathBuf::from(folder).join(fault))
            }
            None => None,
        };
        // The file is not there before the first run.
        let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let passed = passed(&text);
        Ok(Self { file, left: (first..=last).filter(|seed| !passed.contains(seed)).collect() })
    }

    /// Returns the seeds to run.
    pub(super) fn left(&self) -> Vec<u64> {
        self.left.clone()
    }

    /// Adds a line.
    pub(super) fn note(&self, seed: u64, outcome: &Result<String>) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut open = File::options().create(true).append(true).open(file)?;
        writeln!(open, "{}", line(seed, outcome))?;
        Ok(())
    }
}

/// Returns what is said of a seed, in one line.
pub(super) fn line(seed: u64, outcome: &Result<String>) -> String {
    match outcome {
        Ok(summary) => format!("{seed} {PASSED} {summary}"),
        Err(error) => format!("{seed} failed {}", format!("{error:#}").replace('\n', " | ")),
    }
}

fn parse(range: &str) -> Option<(u64, u64)> {
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?)).filter(|(first, last)| first <= last)
}

fn passed(text: &str) -> BTreeSet<u64> {
    let seed = |line: &str| {
        let mut words = line.split(' ');
        let seed = words.next()?.parse().ok()?;
        (words.next() == Some(PASSED)).then_some(seed)
    };
    text.lines().filter_map(seed).collect()
}

#[test]
fn a_seed_that_failed_is_run_again_and_one_that_passed_is_not() {
    let passes = Ok("acknowledged 9".to_owned());
    let fails = Err(anyhow::anyhow!("lost 1\nof 7"));
    let text = [line(1, &passes), line(2, &fails), line(3, &passes)].join("\n");
    assert_eq!(passed(&text), BTreeSet::from([1, 3]));
    assert_eq!(passed(&format!("{text}\n{}", line(2, &passes))), BTreeSet::from([1, 2, 3]));
}

#[test]
fn a_range_of_seeds_goes_upwards() {
    assert_eq!(parse("1-20"), Some((1, 20)));
    assert_eq!(parse("7-7"), Some((7, 7)));
    for wrong in ["", "20", "9-1", "a-b", "1-"] {
        assert_eq!(parse(wrong), None, "{wrong}");
    }
}
