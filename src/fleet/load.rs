//! Load shapes: which message of a device is due when. Pure; time is counted from the start of the run.
//!
//! All shapes are one formula: a device has a backlog that is due at once, then phases of a constant rate. The number
//! of messages due by a time is piecewise linear; message `k` of a device is due where that line reaches `k + phase`,
//! the phase being the device's own, so that the fleet's messages are spread evenly.

use std::time::Duration;

/// A time with a constant rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    /// How long it lasts.
    pub lasts: Duration,
    /// Messages per second of each device; 0 is silence.
    pub rate: f64,
}

/// What a fleet sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Number of devices.
    pub devices: u32,
    /// Time over which the devices connect, evenly; zero: all at once.
    pub connect_over: Duration,
    /// Messages that each device has buffered when it connects.
    pub backlog: u32,
    /// What it sends from the start on.
    pub phases: Vec<Phase>,
}

impl Load {
    /// `devices` that send `messages_each`, as fast as they are acknowledged.
    #[must_use]
    pub fn count(devices: u32, messages_each: u32) -> Self {
        Self { devices, connect_over: Duration::ZERO, backlog: messages_each, phases: Vec::new() }
    }

    /// `rate` messages per second of each device, for the time it `lasts`.
    #[must_use]
    pub fn steady(devices: u32, rate: f64, lasts: Duration) -> Self {
        let connect_over = Duration::from_secs(1).min(lasts / 4);
        Self { devices, connect_over, backlog: 0, phases: vec![Phase { lasts, rate }] }
    }

    /// Steady but for one step to ten times the rate: `before`, `burst` and `after` are how long each part lasts.
    #[must_use]
    pub fn burst(devices: u32, rate: f64, before: Duration, burst: Duration, after: Duration) -> Self {
        let mut load = Self::steady(devices, rate, before);
        load.phases.push(Phase { lasts: burst, rate: rate * 10.0 });
        load.phases.push(Phase { lasts: after, rate });
        load
    }

    /// Everyone connects at once and sends what it had buffered, `backlog` messages each, beside `rate` messages per
    /// second (0: nothing more) for the time it `lasts`.
    #[must_use]
    pub fn storm(devices: u32, backlog: u32, rate: f64, lasts: Duration) -> Self {
        Self { devices, connect_over: Duration::ZERO, backlog, phases: vec![Phase { lasts, rate }] }
    }

    /// Returns the time of the last phase's end.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        self.phases.iter().map(|phase| phase.lasts).sum()
    }

    /// Returns how many messages a device with this phase (0 to 1) sends in all.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates; a count is not below 0"
    )]
    pub fn messages_of(&self, phase: f64) -> u32 {
        let paced: f64 = self.phases.iter().map(|part| part.rate * part.lasts.as_secs_f64()).sum();
        self.backlog.saturating_add((paced - phase).ceil().max(0.0) as u32)
    }

    /// Returns when message `seq` of a device with this phase is due; `None` after its last message.
    #[must_use]
    pub fn due(&self, phase: f64, seq: u32) -> Option<Duration> {
        let Some(paced) = seq.checked_sub(self.backlog) else { return Some(Duration::ZERO) };
        if seq >= self.messages_of(phase) {
            return None;
        }
        let mut wanted = f64::from(paced) + phase;
        let mut begin = Duration::ZERO;
        for part in &self.phases {
            let messages = part.rate * part.lasts.as_secs_f64();
            if wanted < messages {
                return Some(begin + Duration::from_secs_f64(wanted / part.rate));
            }
            wanted -= messages;
            begin += part.lasts;
        }
        // The last message, if rounding put it past the end.
        Some(begin)
    }

    /// Returns when a device connects.
    #[must_use]
    pub fn connect_at(&self, device: u32) -> Duration {
        self.connect_over.mul_f64(f64::from(device) / f64::from(self.devices.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn due_between(load: &Load, phase: f64, from: f64, to: f64) -> usize {
        let times = (0..).map_while(|seq| load.due(phase, seq)).map(|at| at.as_secs_f64());
        times.filter(|at| (from..to).contains(at)).count()
    }

    #[test]
    fn a_count_is_due_at_once_and_then_over() {
        let load = Load::count(1000, 49);
        assert_eq!(load.messages_of(0.7), 49);
        assert_eq!(
            (load.due(0.7, 0), load.due(0.7, 48), load.due(0.7, 49)),
            (Some(Duration::ZERO), Some(Duration::ZERO), None)
        );
    }

    #[test]
    fn a_steady_device_sends_at_its_rate_from_its_phase_on() {
        let load = Load::steady(10, 4.0, SEC * 10);
        assert_eq!(load.due(0.5, 0), Some(SEC / 8));
        assert_eq!(load.due(0.5, 1), Some(SEC / 8 + SEC / 4));
        assert_eq!((load.messages_of(0.0), load.messages_of(0.5), load.due(0.5, 40)), (40, 40, None));
    }

    #[test]
    fn a_burst_is_ten_times_the_rate_and_goes_back() {
        let load = Load::burst(10, 2.0, SEC * 5, SEC * 3, SEC * 4);
        let counts = [(0.0, 5.0), (5.0, 8.0), (8.0, 12.0), (12.0, 99.0)]
            .map(|(from, to)| due_between(&load, 0.3, from, to));
        assert_eq!(counts, [10, 60, 8, 0]);
        assert_eq!(load.lasts(), SEC * 12);
    }

    #[test]
    fn a_storm_flushes_its_buffer_and_may_fall_silent() {
        let idle = Load::storm(10, 20, 0.0, SEC * 5);
        assert_eq!((idle.messages_of(0.9), due_between(&idle, 0.9, 0.0, 0.001)), (20, 20));
        let steady = Load::storm(10, 20, 1.0, SEC * 5);
        assert_eq!((steady.messages_of(0.9), due_between(&steady, 0.9, 0.001, 5.0)), (25, 5));
        assert_eq!(steady.connect_at(9), Duration::ZERO);
    }

    #[test]
    fn devices_connect_evenly_over_the_time() {
        let load = Load::steady(4, 1.0, SEC * 8);
        assert_eq!([0, 1, 2, 3].map(|n| load.connect_at(n)), [Duration::ZERO, SEC / 4, SEC / 2, SEC * 3 / 4]);
    }

    proptest! {
        #[test]
        fn due_times_never_go_back_and_are_as_many_as_announced(
            backlog in 0u32..20,
            phases in prop::collection::vec((0u64..4000, 0.0..20.0f64), 0..4),
            phase in 0.0..1.0f64,
        ) {
            let phases = phases.into_iter().map(|(ms, rate)| Phase { lasts: Duration::from_millis(ms), rate }).collect();
            let load = Load { devices: 1, connect_over: Duration::ZERO, backlog, phases };
            let times: Vec<_> = (0..).map_while(|seq| load.due(phase, seq)).collect();
            prop_assert!(times.is_sorted());
            prop_assert!(times.iter().all(|at| *at <= load.lasts()));
            prop_assert_eq!(times.len(), load.messages_of(phase) as usize);
        }
    }
}
