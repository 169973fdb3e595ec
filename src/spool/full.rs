//! What happens to a record that finds its lane full: one pure function, and counters.
//!
//! "Full" leaves room for all that is in memory already (see `Settings::reserve_bytes`), so what was taken in can always
//! be written. Does not know who asks: the gateway turns a verdict into MQTT.

/// What an operator wants of a full lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Hold back what comes: back-pressure, and nothing is lost.
    Block,
    /// Drop QoS 0 from [`SHED_PERCENT`] on, so that the rest is QoS 1 and 2's, which are then held back.
    ShedQos0First,
    /// Refuse what comes, with a reason where MQTT has one.
    Reject,
    /// Make room by dropping the oldest: QoS 0 only, unless loss of acknowledged records is allowed.
    DropOldest {
        /// Drop even what devices were told is safe.
        allow_acked_loss: bool,
    },
}

/// From here on QoS 0 is shed, in percent of what counts as full.
pub const SHED_PERCENT: u64 = 90;

/// How full a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// What it takes on the disk.
    pub used_bytes: u64,
    /// What it may take.
    pub capacity_bytes: u64,
    /// What of that is kept free for records in memory.
    pub reserve_bytes: u64,
    /// The file system has less left than it should: as if full.
    pub disk_full: bool,
}

impl Level {
    /// Returns the bytes from which on the lane counts as full.
    #[must_use]
    pub const fn full_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.reserve_bytes)
    }

    /// Returns whether the lane counts as full.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.disk_full || self.used_bytes >= self.full_bytes()
    }

    const fn is_nearly_full(&self) -> bool {
        self.is_full() || self.used_bytes >= self.full_bytes() / 100 * SHED_PERCENT
    }
}

/// What to do with a record that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take it.
    Store,
    /// Hold it back until there is room.
    Wait,
    /// Drop it: QoS 0, which was never promised.
    Shed,
    /// Refuse it.
    Reject,
}

/// Says what to do with a record; `oldest_can_go` if housekeeping found something it may drop.
#[must_use]
pub const fn decide(policy: Policy, level: Level, acknowledged: bool, oldest_can_go: bool) -> Verdict {
    match policy {
        Policy::ShedQos0First if level.is_nearly_full() && !acknowledged => Verdict::Shed,
        _ if !level.is_full() => Verdict::Store,
        Policy::Reject => Verdict::Reject,
        // Room is being made; taken in meanwhile is what fits the reserve.
        Policy::DropOldest { .. } if oldest_can_go && !level.disk_full => Verdict::Store,
        Policy::Block | Policy::ShedQos0First | Policy::DropOldest { .. } => Verdict::Wait,
    }
}

/// What a lane refused or dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Answers [`Verdict::Wait`]: a record that is asked for again counts again.
    pub waited: u64,
    /// QoS 0 records shed.
    pub shed_qos0: u64,
    /// Records refused.
    pub rejected: u64,
    /// QoS 0 records dropped from the log.
    pub dropped_qos0: u64,
    /// Acknowledged records dropped from the log, with `allow_acked_loss`.
    pub dropped_acknowledged: u64,
}

impl Counters {
    pub(crate) const fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Store => {}
            Verdict::Wait => self.waited += 1,
            Verdict::Shed => self.shed_qos0 += 1,
            Verdict::Reject => self.rejected += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn level(used_bytes: u64) -> Level {
        Level { used_bytes, capacity_bytes: 1100, reserve_bytes: 100, disk_full: false }
    }

    #[test]
    fn each_policy_says_what_it_promises() {
        use Policy::{Block, DropOldest, Reject, ShedQos0First};
        let drop = DropOldest { allow_acked_loss: false };
        let table = [
            // policy, used, acknowledged, oldest can go -> verdict
            (Block, 999, false, false, Verdict::Store),
            (Block, 1000, false, false, Verdict::Wait),
            (Block, 1000, true, false, Verdict::Wait),
            (ShedQos0First, 899, false, false, Verdict::Store),
            (ShedQos0First, 900, false, false, Verdict::Shed),
            (ShedQos0First, 999, true, false, Verdict::Store),
            (ShedQos0First, 1000, true, false, Verdict::Wait),
            (Reject, 999, true, false, Verdict::Store),
            (Reject, 1000, true, false, Verdict::Reject),
            (drop, 1000, true, true, Verdict::Store),
            (drop, 1000, true, false, Verdict::Wait),
        ];
        for (policy, used, acknowledged, can_go, verdict) in table {
            let said = decide(policy, level(used), acknowledged, can_go);
            assert_eq!(said, verdict, "{policy:?} {used} {acknowledged} {can_go}");
        }
    }

    #[test]
    fn a_full_disk_is_a_full_lane_and_dropping_our_oldest_is_no_answer_to_it() {
        let level = Level { disk_full: true, ..level(0) };
        assert_eq!(decide(Policy::Block, level, true, false), Verdict::Wait);
        assert_eq!(decide(Policy::DropOldest { allow_acked_loss: true }, level, true, true), Verdict::Wait);
    }

    #[test]
    fn every_refusal_is_counted_under_its_reason() {
        let mut counters = Counters::default();
        for verdict in [Verdict::Store, Verdict::Wait, Verdict::Shed, Verdict::Shed, Verdict::Reject] {
            counters.count(verdict);
        }
        let expected = Counters { waited: 1, shed_qos0: 2, rejected: 1, ..Counters::default() };
        assert_eq!(counters, expected);
    }
}
