//! What one device sends, and what it would send if nothing held it back.
//!
//! The offered load of a device under back-pressure cannot be seen: its unsent messages are in its own queue.
//! So its average over a minute is frozen when the constraint begins, and halved every ten minutes after.

/// Weight that one second loses per second: an average over 60 s.
const KEEP_PER_SEC: f64 = 1.0 - 1.0 / 60.0;
/// A frozen rate loses half of itself in this time: an old guess must not hold replicas for ever.
const FROZEN_HALF_LIFE_SECS: f64 = 600.0;

/// Arrivals of one device: an average over 60 s, moved on once a second at most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    average_per_sec: f32,
    /// Arrivals in `second`.
    arrivals: u32,
    /// Arrivals in the second before.
    last_arrivals: u32,
    /// Second that `arrivals` counts, since the clock's origin.
    second: u32,
    /// Second in which a constraint began; 0 is none.
    constrained_since: u32,
}

impl Demand {
    /// Counts one arrival in second `second` of the clock.
    pub fn arrived(&mut self, second: u32) {
        self.move_to(second);
        self.arrivals += 1;
    }

    /// Notes that something holds the device back from now on, or no longer.
    pub fn constrain(&mut self, constrained: bool, second: u32) {
        if !constrained {
            self.constrained_since = 0;
        } else if self.constrained_since == 0 {
            self.move_to(second);
            self.constrained_since = second.max(1);
        }
    }

    /// Returns true while something holds the device back.
    #[must_use]
    pub const fn is_constrained(&self) -> bool {
        self.constrained_since != 0
    }

    /// Returns the rate to assume in messages per second: the average, or its frozen value while the device is
    /// constrained, never more than `quota_per_sec`, which is all that admission would ever let pass.
    #[must_use]
    pub fn base_per_sec(&self, second: u32, quota_per_sec: f64) -> f64 {
        let age = if self.is_constrained() { second.saturating_sub(self.constrained_since) } else { 0 };
        let halved = 0.5f64.powf(f64::from(age) / FROZEN_HALF_LIFE_SECS);
        (f64::from(self.average_per_sec) * halved).min(quota_per_sec)
    }

    /// Returns how much of the assumed rate does not arrive because the device is held back, in messages per second.
    #[must_use]
    pub fn hidden_per_sec(&self, second: u32, quota_per_sec: f64) -> f64 {
        if !self.is_constrained() {
            return 0.0;
        }
        let seen = match second.saturating_sub(self.second) {
            0 => self.last_arrivals,
            1 => self.arrivals,
            _ => 0,
        };
        (self.base_per_sec(second, quota_per_sec) - f64::from(seen)).max(0.0)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "rates fit an f32, and the average need not be exact"
    )]
    fn move_to(&mut self, second: u32) {
        let passed = second.saturating_sub(self.second);
        if passed == 0 {
            return;
        }
        // While constrained, arrivals say how fast we read, not what is sent: the average stays.
        if !self.is_constrained() {
            let last = f64::from(self.average_per_sec) * KEEP_PER_SEC
                + f64::from(self.arrivals) * (1.0 - KEEP_PER_SEC);
            let idle = i32::try_from(passed - 1).unwrap_or(i32::MAX);
            self.average_per_sec = (last * KEEP_PER_SEC.powi(idle)) as f32;
        }
        self.last_arrivals = if passed == 1 { self.arrivals } else { 0 };
        (self.arrivals, self.second) = (0, second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(per_sec: u32, seconds: std::ops::Range<u32>) -> Demand {
        let mut demand = Demand::default();
        for second in seconds {
            for _ in 0..per_sec {
                demand.arrived(second);
            }
        }
        demand
    }

    #[test]
    fn a_steady_device_is_measured_at_its_rate() {
        let mut demand = steady(5, 0..600);
        demand.arrived(600);
        let base = demand.base_per_sec(600, 10.0);
        assert!((4.9..5.1).contains(&base), "{base}");
    }

    #[test]
    fn the_rate_freezes_under_a_constraint_and_is_halved_every_ten_minutes() {
        let mut demand = steady(5, 1..600);
        demand.constrain(true, 600);
        for second in 600..660 {
            demand.arrived(second);
        }
        let frozen = demand.base_per_sec(600, 10.0);
        assert!((4.9..5.1).contains(&frozen), "{frozen}");
        let halved = demand.base_per_sec(1_200, 10.0);
        assert!((halved - frozen / 2.0).abs() < 1e-6, "{halved}");
    }

    #[test]
    fn only_what_a_constrained_device_does_not_get_through_is_hidden() {
        let mut demand = steady(5, 1..600);
        assert!(demand.hidden_per_sec(600, 10.0).abs() < f64::EPSILON, "not constrained");
        demand.constrain(true, 600);
        let all = demand.hidden_per_sec(602, 10.0);
        assert!((4.9..5.1).contains(&all), "{all}");
        demand.arrived(602);
        demand.arrived(602);
        let rest = demand.hidden_per_sec(603, 10.0);
        assert!((2.9..3.1).contains(&rest), "{rest}");
    }

    #[test]
    fn a_constraint_that_ends_lets_the_rate_move_again() {
        let mut demand = steady(5, 1..600);
        demand.constrain(true, 600);
        demand.constrain(false, 700);
        demand.arrived(701);
        demand.arrived(1_400);
        assert!(demand.base_per_sec(1_400, 10.0) < 0.1);
    }

    #[test]
    fn no_more_than_the_quota_is_assumed() {
        let demand = {
            let mut demand = steady(80, 1..600);
            demand.arrived(601);
            demand
        };
        assert!((demand.base_per_sec(601, 10.0) - 10.0).abs() < f64::EPSILON);
    }
}
