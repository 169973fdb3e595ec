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

/// A recording whose decisions were taken again.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Every look, in order.
    pub looks: Vec<Replayed>,
    /// Whether the last line had no end and was left out: a controller that was killed may have been writing it.
    pub torn: bool,
}

/// Returns the decisions of the recording `text`, taken again. A last line without an end is left out.
///
/// # Errors
/// The first line that cannot be replayed.
pub fn replay(text: &[u8]) -> Result<Recording, RecordingError> {
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let (whole, rest) = text.split_at(whole);
    let mut replay = Replay::default();
    let mut looks = Vec::new();
    for (place, line) in whole.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |reason: String| RecordingError { line: place + 1, reason };
        let line: Line = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
        looks.extend(replay.next(line).map_err(|error| wrong(error.to_string()))?);
    }
    Ok(Recording { looks, torn: !rest.is_empty() })
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
        let Recording { looks: replayed, torn } = replay(text.as_bytes()).unwrap();
        assert!(!torn);
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
        assert!(!replay(changed.as_bytes()).unwrap().looks.iter().all(Replayed::is_same));
    }

    #[test]
    fn a_line_that_was_cut_off_is_left_out_and_told_of_and_a_wrong_one_is_named() {
        let (text, _) = recording();
        let all = replay(text.as_bytes()).unwrap().looks.len();
        let cut = replay(&text.as_bytes()[..text.len() - 10]).unwrap();
        assert_eq!((cut.looks.len(), cut.torn), (all - 1, true));
        // After a power cut a file may end in zeros, or hold nothing else.
        let zeros = replay(&[text.as_bytes(), &[0; 4096]].concat()).unwrap();
        assert_eq!((zeros.looks.len(), zeros.torn), (all, true));
        let nothing = replay(&[0; 4096]).unwrap();
        assert_eq!((nothing.looks.len(), nothing.torn), (0, true));
        let wrong = replay(b"{}\n").unwrap_err();
        assert_eq!(wrong.line, 1);
        let headless: String = text.lines().skip(1).take(3).map(|line| line.to_owned() + "\n").collect();
        assert!(replay(headless.as_bytes()).unwrap_err().reason.contains("begins with a look"));
    }
}
