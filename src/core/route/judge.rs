//! From which age on a record says that Kafka is slow.

use std::time::Duration;

use super::Delays;
use crate::time::Timestamp;

/// No record younger than this says that Kafka is slow.
pub const MIN_AFTER: Duration = Duration::from_secs(1);
/// Any record older than this does, if it waits for one answer: devices wait for their PUBACK.
pub const MAX_AFTER: Duration = Duration::from_secs(10);
/// A healthy Kafka answers all but one record in a million within so many times what all but one in a hundred take, if
/// waits are exponential. Those for a distant one are: librdkafka sends one partition a request and five requests a
/// round trip, and which partition is next is as good as chance.
const SLOW_DELAYS: u32 = 3;
/// A producer that has just got its id sends what has gathered meanwhile.
pub const GRACE_AFTER_FIRST_REPORT: Duration = Duration::from_secs(2);
/// A tick later than this says that the process stood still, not Kafka: SIGSTOP, a paused machine.
pub const LATE_TICK: Duration = Duration::from_millis(500);

/// Decides from which age on a route is BEHIND.
#[derive(Clone, Debug)]
pub struct Judge {
    delays: Delays,
    started: Timestamp,
    first_report: Option<Timestamp>,
}

impl Judge {
    /// Returns a judge of a producer that starts now.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { delays: Delays::default(), started: now, first_report: None }
    }

    /// Takes a proven report, `delay` after its record came, or after its hand-over if it was on the disk meanwhile.
    pub fn reported(&mut self, delay: Duration, now: Timestamp) {
        self.first_report.get_or_insert(now);
        self.delays.add(delay, now);
    }

    /// Returns the age from which on a route is BEHIND, for each answer of Kafka that it waits for; `None` if nothing can be
    /// said this time: the tick that was `due` came late, or the producer has only just begun. Completions must have been
    /// taken before.
    pub fn after(&mut self, due: Timestamp, now: Timestamp) -> Option<Duration> {
        if now.since(due) > LATE_TICK || now < self.ready_at() {
            return None;
        }
        let slow = self.delays.p99(now).unwrap_or_default();
        Some((slow * SLOW_DELAYS).clamp(MIN_AFTER, MAX_AFTER))
    }

    /// A producer without an id after [`MAX_AFTER`] is one whose Kafka is away.
    fn ready_at(&self) -> Timestamp {
        let latest = self.started + MAX_AFTER;
        self.first_report.map_or(latest, |first| latest.min(first + GRACE_AFTER_FIRST_REPORT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_age_is_three_slow_delays_between_one_and_ten_seconds() {
        for (delay, after) in [(5, 1_000), (300, 1_050), (1_000, 3_150), (3_300, 10_000), (8_000, 10_000)] {
            let mut judge = Judge::new(Timestamp::ZERO);
            judge.reported(ms(delay), Timestamp::ZERO);
            let now = Timestamp::from_millis(2_000);
            assert_eq!(judge.after(now, now), Some(ms(after)), "{delay} ms");
        }
    }

    #[test]
    fn a_producer_has_two_seconds_after_its_first_report_and_ten_without_one() {
        let at = Timestamp::from_millis;
        let mut judge = Judge::new(at(0));
        assert_eq!(judge.after(at(9_999), at(9_999)), None);
        assert_eq!(judge.after(at(10_000), at(10_000)), Some(MIN_AFTER), "Kafka is away");
        judge.reported(ms(1), at(500));
        assert_eq!(judge.after(at(2_499), at(2_499)), None);
        assert_eq!(judge.after(at(2_500), at(2_500)), Some(MIN_AFTER));
    }

    #[test]
    fn a_tick_that_comes_late_judges_nobody() {
        let at = Timestamp::from_millis;
        let mut judge = Judge::new(at(0));
        assert_eq!(judge.after(at(20_000), at(20_501)), None);
        assert_eq!(judge.after(at(20_600), at(20_600)), Some(MIN_AFTER));
    }
}
