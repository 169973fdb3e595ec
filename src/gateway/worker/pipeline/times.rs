//! Times that Kafka has refused on a topic, and so which records are sent with another.
//!
//! A topic bounds how far the time of a record may be from the broker's clock (`message.timestamp.after.max.ms`, an hour by
//! default, and `message.timestamp.before.max.ms`). A gateway whose clock was wrong has records beyond that. Each refusal costs a
//! producer, so what was learned from one record is used for all that are as far off. Owns no clock, and no record: what
//! was learned is forgotten with the run, and learned again.

use tidegate_core::time::UnixMillis;

/// See the module; of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RefusedTimes {
    /// The earliest time that was refused although it had not come.
    ahead: Option<UnixMillis>,
    /// The least age in milliseconds that was refused.
    age_ms: Option<i64>,
}

impl RefusedTimes {
    /// Kafka has refused a record of that time, which was alone.
    pub(super) fn refuse(&mut self, time: UnixMillis, now: UnixMillis) {
        if time > now {
            self.ahead = Some(self.ahead.map_or(time, |ahead| ahead.min(time)));
        } else {
            let age_ms = now.0.saturating_sub(time.0);
            self.age_ms = Some(self.age_ms.map_or(age_ms, |least| least.min(age_ms)));
        }
    }

    /// Returns true if no time was refused: what every record of a healthy gateway asks first.
    pub(super) const fn is_empty(&self) -> bool {
        self.ahead.is_none() && self.age_ms.is_none()
    }

    /// Returns whether a record of that time would be refused now, for all that is known. Once a time has come it is no longer
    /// ahead; an age only grows.
    pub(super) fn would_refuse(&self, time: UnixMillis, now: UnixMillis) -> bool {
        if time > now {
            self.ahead.is_some_and(|ahead| time >= ahead)
        } else {
            self.age_ms.is_some_and(|age_ms| now.0.saturating_sub(time.0) >= age_ms)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn at(ms: i64) -> UnixMillis {
        UnixMillis(ms)
    }

    #[test]
    fn nothing_is_refused_before_kafka_has_refused_something() {
        let times = RefusedTimes::default();
        assert!(times.is_empty());
        for time in [0, NOW.0, i64::MAX] {
            assert!(!times.would_refuse(at(time), NOW), "{time}");
        }
    }

    #[test]
    fn a_time_ahead_condemns_those_further_ahead_until_they_have_come() {
        let mut times = RefusedTimes::default();
        times.refuse(at(5_000_000), NOW);
        times.refuse(at(4_000_000), NOW);
        assert!(!times.is_empty());
        assert!(times.would_refuse(at(4_000_000), NOW) && times.would_refuse(at(9_000_000), NOW));
        assert!(!times.would_refuse(at(3_999_999), NOW) && !times.would_refuse(at(0), NOW));
        // A moment later it is still the same record.
        assert!(times.would_refuse(at(4_000_000), at(NOW.0 + 500)));
        assert!(!times.would_refuse(at(4_000_000), at(4_000_000)));
    }

    #[test]
    fn an_age_condemns_all_that_are_as_old_whenever_they_are_sent() {
        let mut times = RefusedTimes::default();
        times.refuse(at(400_000), NOW);
        times.refuse(at(700_000), NOW);
        assert!(times.would_refuse(at(700_000), NOW) && times.would_refuse(at(0), NOW));
        assert!(!times.would_refuse(at(700_001), NOW) && !times.would_refuse(at(2_000_000), NOW));
        assert!(times.would_refuse(at(700_001), at(NOW.0 + 1)), "older by then");
    }

    #[test]
    fn a_refused_record_is_always_sent_with_another_time() {
        for time in [0, 999_999, 1_000_000, 1_000_001, i64::MAX] {
            let mut times = RefusedTimes::default();
            times.refuse(at(time), NOW);
            assert!(times.would_refuse(at(time), NOW), "{time}");
        }
    }
}
