//! When a librdkafka client must be told its bootstrap servers again.
//!
//! librdkafka (2.10 to 2.13 at least) drops each broker that a metadata answer does not list. An answer without any broker, which
//! a site's only broker gives while its controller has it fenced, leaves it none; and the answer's success then stops
//! the bootstrap that the loss had begun, for good: no broker, no metadata, no report, until the process ends
//! (docs/decisions/0014, <https://github.com/confluentinc/librdkafka/issues/5301>). Pure: whoever serves the client says how
//! long nothing came.

use std::time::Duration;

/// Far above what librdkafka's own bootstrap takes, far below what an operator would call an outage.
const FIRST_AFTER: Duration = Duration::from_secs(5);
/// librdkafka keeps every list that it is given, some 50 bytes: at this pace an outage of a year costs 2 MB.
const AT_MOST_EVERY: Duration = Duration::from_mins(10);

/// Watches one client.
#[derive(Debug, Default)]
pub(crate) struct Rebootstrap {
    /// How long nothing has come since all brokers were down, and after how long that is too long; `None` while there are
    /// brokers.
    alone: Option<(Duration, Duration)>,
}

impl Rebootstrap {
    /// All brokers are down: librdkafka looks for others, or does nothing ever again.
    pub(crate) fn brokers_down(&mut self) {
        let (_, patience) = self.alone.unwrap_or((Duration::ZERO, FIRST_AFTER));
        self.alone = Some((Duration::ZERO, patience));
    }

    /// A broker has answered.
    pub(crate) fn answered(&mut self) {
        self.alone = None;
    }

    /// The client was served for so long and nothing came. Returns whether it is to be told its bootstrap servers now.
    pub(crate) fn waited(&mut self, wait: Duration) -> bool {
        let Some((quiet, patience)) = &mut self.alone else { return false };
        *quiet += wait;
        if *quiet < *patience {
            return false;
        }
        self.alone = Some((Duration::ZERO, (*patience * 2).min(AT_MOST_EVERY)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns after how many seconds without a word it is due.
    fn due(watch: &mut Rebootstrap) -> Option<u32> {
        (1..=10_000).find(|_| watch.waited(SECOND))
    }

    #[test]
    fn a_client_with_brokers_is_left_alone_however_long_it_is_quiet() {
        let mut watch = Rebootstrap::default();
        assert_eq!(due(&mut watch), None);
        watch.brokers_down();
        watch.answered();
        assert_eq!(due(&mut watch), None);
    }

    #[test]
    fn one_without_is_told_after_five_seconds_and_then_less_and_less_often() {
        let mut watch = Rebootstrap::default();
        watch.brokers_down();
        let pauses: Vec<_> = (0..9).map(|_| due(&mut watch)).collect();
        let expected = [5, 10, 20, 40, 80, 160, 320, 600, 600].map(Some);
        assert_eq!(pauses, expected);
        watch.answered();
        watch.brokers_down();
        assert_eq!(due(&mut watch), Some(5), "it was there meanwhile");
    }

    #[test]
    fn one_that_still_tries_is_given_time() {
        let mut watch = Rebootstrap::default();
        for _ in 0..100 {
            watch.brokers_down();
            assert!((0..4).all(|_| !watch.waited(SECOND)));
        }
        watch.brokers_down();
        assert_eq!(due(&mut watch), Some(5));
    }
}
