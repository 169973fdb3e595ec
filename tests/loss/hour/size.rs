//! How large a spool has to be: the rule of docs/operations.md, for the messages of a plan.

use std::collections::BTreeMap;

use tidegate_fleet::{DeviceClass, Identity, Plan};

/// What a record takes beside payload, key and headers.
const RECORD_BYTES: u64 = 60;
/// What the one header of the default routes takes beside its value.
const HEADER_BYTES: u64 = "mqtt-topic".len() as u64 + 6;
/// Headers of segments, footers and the frame that begins each commit, at most.
const OVERHEAD_PERCENT: u64 = 3;

/// What comes while an outage's messages go to Kafka may go to the disk, too, and with one broker nothing leaves the disk
/// for a minute.
const WHILE_IT_DRAINS_PERCENT: u64 = 25;

/// What the messages of one class take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) records: u64,
    /// By the rule, to the byte.
    pub(super) bytes: u64,
}

/// Sizes of a gateway's settings that decide what a lane has to keep free.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) segment_bytes: u64,
    /// `limits.queue_bytes`.
    pub(super) pool_bytes: u64,
}

/// Returns what the messages of a plan take, by class.
pub(super) fn needs(plan: &Plan) -> BTreeMap<&'static str, Need> {
    let mut needs: BTreeMap<_, _> =
        DeviceClass::ALL.iter().map(|class| (class.as_str(), Need::default())).collect();
    for device in 0..plan.load.devices {
        let identity = Identity::draw(plan.seed, device, plan.versions);
        let texts = identity.client_id(&plan.prefix).len() + identity.topic(&plan.prefix).len();
        let record = RECORD_BYTES + HEADER_BYTES + (plan.payload_bytes + texts) as u64;
        let messages = u64::from(plan.load.messages_of(identity.phase));
        let need = needs.entry(identity.class.as_str()).or_default();
        need.records += messages;
        need.bytes += messages * record;
    }
    needs
}

impl Need {
    /// Returns the most that these records may take of a lane, whose room is set aside a segment at a time.
    pub(super) const fn most_bytes(self, sizes: Sizes) -> u64 {
        self.bytes + self.bytes * OVERHEAD_PERCENT / 100 + sizes.segment_bytes
    }
}

impl Sizes {
    /// Returns the size of the lane that takes so much, and what comes until it has drained.
    pub(super) fn lane_bytes(self, need: Need) -> u64 {
        let reserve = self.reserve_bytes();
        let later = need.bytes * WHILE_IT_DRAINS_PERCENT / 100;
        (need.most_bytes(self) + later + reserve).max(2 * reserve)
    }

    /// What is in memory, 4/3 of it rounded up to segments, and one segment.
    const fn reserve_bytes(self) -> u64 {
        ((self.pool_bytes * 4 / 3).div_ceil(self.segment_bytes) + 1) * self.segment_bytes
    }
}

#[test]
fn a_lane_is_as_large_as_its_records_and_what_it_keeps_free() {
    let sizes = Sizes { segment_bytes: 100, pool_bytes: 300 };
    assert_eq!(sizes.reserve_bytes(), 500);
    assert_eq!(sizes.lane_bytes(Need { records: 10, bytes: 1000 }), 1030 + 100 + 250 + 500);
    assert_eq!(sizes.lane_bytes(Need { records: 1, bytes: 100 }), 1000, "twice the reserve");
}

#[test]
fn needs_are_counted_by_class() {
    let mut plan = Plan::new(tidegate_fleet::Load::count(100, 3), 7);
    plan.prefix = "p".to_owned();
    let needs = needs(&plan);
    assert_eq!(needs.values().map(|need| need.records).sum::<u64>(), 300);
    // `p-17` and `sensors/p-17/telemetry`: 26 characters.
    let per_record = needs["sensor"].bytes / needs["sensor"].records;
    assert!((60 + 16 + 200 + 24..=60 + 16 + 200 + 26).contains(&per_record), "{per_record}");
}
