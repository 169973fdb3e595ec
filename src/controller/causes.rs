//! The whole of an error as one line.

/// Returns an error with everything that caused it: kube's own text often says only "service error".
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let deeper_text = deeper.to_string();
        // Some errors repeat their cause in their own text.
        if !text.contains(&deeper_text) {
            text = format!("{text}: {deeper_text}");
        }
        cause = deeper.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Outer {
        text: &'static str,
        source: io::Error,
    }

    #[test]
    fn a_cause_is_added_unless_it_is_said_already() {
        let of = |text| causes(&Outer { text, source: io::Error::other("refused") });
        assert_eq!(of("service error"), "service error: refused");
        assert_eq!(of("cannot connect: refused"), "cannot connect: refused");
    }
}
