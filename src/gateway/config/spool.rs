//! Checks what the settings say of the spool: one table of its own, and three keys of each class.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tidegate_core::admission::ClassTable;
use tidegate_runtime::config::Problem;
use tidegate_spool::{RawLane, RawPolicy, WrongSetting};

use super::raw::{RawClass, RawSpool};

/// Disk that a class may take: an hour of a thousand small messages a second.
pub const DEFAULT_SPOOL_BYTES: u64 = 1 << 30;
/// Size of a segment: room is set aside, and given back, in such steps.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;
/// Left to others on the file system.
pub const DEFAULT_FREE_FLOOR_BYTES: u64 = 64 << 20;
/// For records that Kafka refuses for good; few, or something is badly wrong.
pub const DEFAULT_DEAD_LETTER_BYTES: u64 = 256 << 20;
/// Largest record with key and headers, where a segment is not smaller than four of it.
pub(super) const MAX_RECORD_BYTES: u64 = 1 << 20;
/// 64 TiB: what is above is a slip of the keyboard.
pub(super) const MAX_BYTES: i64 = 1 << 46;
/// A commit waits for its PUBACKs; ten seconds of waiting are a disk that is down.
const MAX_COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// When a message is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckAt {
    /// Once Kafka or the disk has it.
    First,
    /// Once Kafka has it.
    Kafka,
    /// Once the disk has it.
    Disk,
}

impl AckAt {
    /// Returns its name, as the settings write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Kafka => "kafka",
            Self::Disk => "disk",
        }
    }
}

/// Where and how messages lie on the disk.
#[derive(Clone, Debug)]
pub struct SpoolSettings {
    /// The folder.
    pub dir: PathBuf,
    /// When a message is acknowledged; `None`: at `first`, but at `disk` if a topic is not known to be on two brokers.
    pub ack: Option<AckAt>,
    /// Largest record with key and headers.
    pub max_record_bytes: u64,
    /// Settings of the log; its lanes are the classes, in their order.
    pub log: tidegate_spool::Settings,
}

/// Returns the spool's settings; `None` without a folder. What is written is checked even then.
pub(super) fn spool(
    name: &str,
    raw: RawSpool,
    written: &BTreeMap<String, RawClass>,
    classes: &ClassTable,
    queue_bytes: u64,
) -> Result<Option<SpoolSettings>, Problem> {
    let ack = match raw.ack.as_deref() {
        None => None,
        Some("first") => Some(AckAt::First),
        Some("kafka") => Some(AckAt::Kafka),
        Some("disk") => Some(AckAt::Disk),
        Some(other) => return Err(Problem::new("spool.ack", other, "first, kafka or disk")),
    };
    let commit_interval_min = super::check::time(
        "spool.commit_interval_min",
        raw.commit_interval_min,
        Duration::ZERO,
        Duration::ZERO..=MAX_COMMIT_INTERVAL,
    )?;
    let segment_bytes = bytes("spool.segment_bytes", raw.segment_bytes, DEFAULT_SEGMENT_BYTES)?;
    let unwritten = RawClass::default();
    let lanes =
        classes.iter().map(|(_, class)| lane(&class.name, written.get(&class.name).unwrap_or(&unwritten)));
    let log = tidegate_spool::RawSettings {
        name: name.to_owned(),
        lanes: lanes.collect::<Result<_, _>>()?,
        segment_bytes,
        pool_bytes: queue_bytes,
        max_record_bytes: MAX_RECORD_BYTES.min(segment_bytes / 4),
        commit_interval_min,
        free_floor_bytes: bytes("spool.free_floor_bytes", raw.free_floor_bytes, DEFAULT_FREE_FLOOR_BYTES)?,
        dead_letter_bytes: bytes(
            "spool.dead_letter_bytes",
            raw.dead_letter_bytes,
            DEFAULT_DEAD_LETTER_BYTES,
        )?,
    };
    let Some(dir) = raw.dir else { return Ok(None) };
    if dir.as_os_str().is_empty() {
        return Err(Problem::new("spool.dir", "", "a folder; without a spool: no spool.dir"));
    }
    let (max_record_bytes, lanes) = (log.max_record_bytes, log.lanes.clone());
    let log = log.try_into().map_err(|wrong| problem(wrong, &lanes))?;
    Ok(Some(SpoolSettings { dir, ack, max_record_bytes, log }))
}

fn lane(name: &str, raw: &RawClass) -> Result<RawLane, Problem> {
    let key = |key: &str| format!("classes.{name}.{key}");
    let full = match raw.full.as_deref().unwrap_or("block") {
        "block" => RawPolicy::Block,
        "shed-qos0-first" => RawPolicy::ShedQos0First,
        "reject" => RawPolicy::Reject,
        "drop-oldest" => RawPolicy::DropOldest,
        other => {
            let allowed = "block, shed-qos0-first, reject or drop-oldest";
            return Err(Problem::new(key("full"), other, allowed));
        }
    };
    Ok(RawLane {
        name: name.to_owned(),
        capacity_bytes: bytes(&key("spool_bytes"), raw.spool_bytes, DEFAULT_SPOOL_BYTES)?,
        full,
        allow_acked_loss: raw.allow_acked_loss,
    })
}

fn bytes(key: &str, value: Option<i64>, default: u64) -> Result<u64, Problem> {
    let Some(value) = value else { return Ok(default) };
    let found = u64::try_from(value).ok().filter(|_| value <= MAX_BYTES);
    found.ok_or_else(|| Problem::new(key, value, format!("0 to {MAX_BYTES}")))
}

/// Names what the log does not allow by the gateway's keys.
fn problem(wrong: WrongSetting, lanes: &[RawLane]) -> Problem {
    let WrongSetting { key, value, allowed } = wrong;
    let of_lane = |find: &dyn Fn(&RawLane) -> String| lanes.iter().find(|lane| find(lane) == value);
    let key = match key.as_str() {
        "lanes.capacity_bytes" => {
            let lane = of_lane(&|lane| lane.capacity_bytes.to_string());
            lane.map_or(key, |lane| format!("classes.{}.spool_bytes", lane.name))
        }
        // A class is a folder here, and "dead-letter" is the log's own.
        "lanes.name" => format!("classes.{value}"),
        "pool_bytes" => "limits.queue_bytes".to_owned(),
        other => format!("spool.{other}"),
    };
    Problem::new(key, value, allowed)
}
