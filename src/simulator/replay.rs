//! Replays a recording: the lines that a controller, or a simulation, wrote down.

use tidegate_core::scaling::{Line, Replay, Replayed};

/// A line that cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct RecordingError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Returns the decisions of the recording `text`, taken again.
///
/// A last line without an end is left out: a controller that was killed may have been writing it.
///
/// # Errors
/// The first line that cannot be replayed.
pub fn replay(text: &str) -> Result<Vec<Replayed>, RecordingError> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut replay = Replay::default();
    let mut replayed = Vec::new();
    for (place, line) in whole.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |reason: String| RecordingError { line: place + 1, reason };
        let line: Line = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        replayed.extend(replay.next(line).map_err(|error| wrong(error.to_string()))?);
    }
    Ok(replayed)
}

/// Returns a line as a recording has it, with its end.
///
/// # Panics
/// Never: a line holds nothing that JSON has not.
#[must_use]
pub fn written(line: &Line) -> String {
    serde_json::to_string(line).expect("a line holds nothing that JSON has not") + "\n"
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::scalers::Tidegate;
    use crate::trace::Shape;
    use crate::{Arm, Run, Site, default_policy, run};

    /// Records an hour around a power cut.
    fn recording() -> (String, usize) {
        let slo = Duration::from_secs(10);
        let site = Site::default();
        let trace = Shape::PowerCut.trace(1).scaled_to(1500.0);
        let window = trace.busiest(3600.0);
        let text = Rc::new(RefCell::new(String::new()));
        let into = Rc::clone(&text);
        let scaler = Tidegate::new(default_policy(slo, &site))
            .recorded(move |line| into.borrow_mut().push_str(&written(line)));
        let spec = Run { trace: &trace, window, slo, seed: 1, min: 1 };
        let outcome = run(&spec, vec![Arm::new("recorded", &site, scaler)], |_| ()).unwrap().remove(0);
        let text = text.borrow().clone();
        (text, outcome.changes.len())
    }

    #[test]
    fn a_recorded_simulation_replays_to_the_same_decisions() {
        let (text, changes) = recording();
        let replayed = replay(&text).unwrap();
        assert!(replayed.len() > 1000 && changes > 3, "{} looks, {changes} changes", replayed.len());
        assert!(replayed.iter().all(Replayed::is_same));
        let again = replayed.iter().filter(|look| look.decision.changes()).count();
        assert!(again >= changes, "the warm-up and the tail are recorded as well");
    }

    #[test]
    fn another_policy_is_seen_to_decide_otherwise() {
        let (text, _) = recording();
        let changed = text.replacen("\"up_max_step\":4294967295", "\"up_max_step\":1", 1);
        assert_ne!(text, changed);
        assert!(!replay(&changed).unwrap().iter().all(Replayed::is_same));
    }

    #[test]
    fn a_line_that_was_cut_off_is_left_out_and_a_wrong_one_is_named() {
        let (text, _) = recording();
        let all = replay(&text).unwrap().len();
        assert_eq!(replay(&text[..text.len() - 10]).unwrap().len(), all - 1);
        let wrong = replay("{}\n").unwrap_err();
        assert_eq!(wrong.line, 1);
        let headless: String = text.lines().skip(1).take(3).map(|line| line.to_owned() + "\n").collect();
        assert!(replay(&headless).unwrap_err().reason.contains("begins with a look"));
    }
}
