//! What a boot found, for log, metrics and tests.

use std::fmt;

use crate::base::Who;
use crate::ids::SegmentId;

/// Findings that are kept one by one; more are only counted.
const MAX_FINDINGS: usize = 1000;

/// Something that is not as a clean stop leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The identity file is missing or damaged, though there is a log.
    IdentityLost,
    /// The epoch cannot be written down: this run has a random identity of its own.
    EpochNotWritten(String),
    /// There is a log, but no cursor: everything in it is sent again.
    CursorMissing,
    /// The cursor is damaged: everything in the log is sent again.
    CursorDamaged,
    /// The cursor is of a format that is not read here: everything in the log is sent again.
    CursorForeign(u16),
    /// The last commit was cut short: never acknowledged, so nothing is lost.
    TornTail {
        /// Lane.
        lane: String,
        /// Segment.
        segment: SegmentId,
        /// Where it ends now.
        at: u64,
    },
    /// Stored records are damaged.
    Hole {
        /// Lane.
        lane: String,
        /// Segment.
        segment: SegmentId,
        /// First damaged byte.
        from: u64,
        /// First whole frame behind.
        to: u64,
    },
    /// A segment that belongs to the log is not there.
    MissingSegment {
        /// Lane.
        lane: String,
        /// Segment.
        segment: SegmentId,
    },
    /// Neither header nor footer of a segment can be read: left where it is.
    UnreadableSegment {
        /// Lane.
        lane: String,
        /// Segment.
        segment: SegmentId,
    },
    /// A segment of a format that is not read here: left where it is.
    ForeignSegment {
        /// Lane.
        lane: String,
        /// Segment.
        segment: SegmentId,
        /// Its format.
        version: u16,
    },
    /// Records that were written again after a failed sync: the second copies are skipped.
    Duplicates {
        /// Lane.
        lane: String,
        /// How many.
        count: u64,
    },
    /// A file that is not the spool's.
    UnknownFile(String),
    /// The log of a lane that the settings do not have: left where it is.
    ForeignLane(String),
    /// A lane's folder cannot be read.
    UnreadableLane {
        /// Lane.
        lane: String,
        /// Why.
        error: String,
    },
    /// A file or segment that nobody needs any more, left by a crash: removed.
    Leftover(String),
    /// The machine has booted since the last cursor: a broker without a second copy may have forgotten what it had.
    MachineRebooted,
    /// The wall clock is behind a record in the log, which counts as new until the clock has passed it.
    ClockInPast {
        /// The record's time.
        newest_unix_ms: i64,
        /// The clock's.
        now_unix_ms: i64,
    },
}

impl Finding {
    /// Returns whether stored records may be missing because of it.
    #[must_use]
    pub const fn is_loss(&self) -> bool {
        matches!(self, Self::Hole { .. } | Self::MissingSegment { .. } | Self::UnreadableSegment { .. })
    }

    /// Returns whether the log may hold, or have held, records because of it that no reader gets. Not so a hole: whoever
    /// reads comes by it.
    #[must_use]
    pub const fn hides_records(&self) -> bool {
        matches!(
            self,
            Self::MissingSegment { .. }
                | Self::UnreadableSegment { .. }
                | Self::ForeignSegment { .. }
                | Self::UnreadableLane { .. }
        )
    }

    /// Returns whether records that Kafka has may be sent again because of it.
    #[must_use]
    pub const fn is_repetition(&self) -> bool {
        matches!(
            self,
            Self::CursorMissing | Self::CursorDamaged | Self::CursorForeign(_) | Self::IdentityLost
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdentityLost => write!(f, "the spool's identity is lost"),
            Self::EpochNotWritten(error) => write!(f, "the epoch cannot be written: {error}"),
            Self::CursorMissing => write!(f, "there is no cursor: the whole log is sent again"),
            Self::CursorDamaged => write!(f, "the cursor is damaged: the whole log is sent again"),
            Self::CursorForeign(version) => {
                write!(f, "the cursor has format {version}: the whole log is sent again")
            }
            Self::TornTail { lane, segment, at } => {
                write!(f, "{lane}: the last commit of segment {segment} was cut short at {at}")
            }
            Self::Hole { lane, segment, from, to } => {
                write!(f, "{lane}: segment {segment} is damaged from {from} to {to}")
            }
            Self::MissingSegment { lane, segment } => write!(f, "{lane}: segment {segment} is missing"),
            Self::UnreadableSegment { lane, segment } => {
                write!(f, "{lane}: segment {segment} cannot be read")
            }
            Self::ForeignSegment { lane, segment, version } => {
                write!(f, "{lane}: segment {segment} has format {version}")
            }
            Self::Duplicates { lane, count } => write!(f, "{lane}: {count} records stand twice"),
            Self::UnknownFile(path) => write!(f, "{path} is not the spool's"),
            Self::ForeignLane(name) => write!(f, "the settings have no lane {name}"),
            Self::UnreadableLane { lane, error } => write!(f, "{lane}: the folder cannot be read: {error}"),
            Self::Leftover(path) => write!(f, "{path} was left by a crash"),
            Self::MachineRebooted => write!(f, "the machine has booted since the last cursor"),
            Self::ClockInPast { newest_unix_ms, now_unix_ms } => {
                write!(f, "the clock says {now_unix_ms} ms, a record is of {newest_unix_ms} ms")
            }
        }
    }
}

/// One lane of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneReport {
    /// Name.
    pub name: String,
    /// Segments that can be read.
    pub segments: usize,
    /// Records in them, done ones included.
    pub records: u64,
    /// Bytes they take.
    pub bytes: u64,
    /// Bytes that had to be scanned, for want of a footer.
    pub scanned_bytes: u64,
}

/// What a boot found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who writes from now on.
    pub who: Who,
    /// Lanes in the order of the settings.
    pub lanes: Vec<LaneReport>,
    /// What is not as a clean stop leaves it; the first thousand.
    pub findings: Vec<Finding>,
    /// Findings beyond these.
    pub more_findings: u64,
}

/// Findings while they are made.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) kept: Vec<Finding>,
    pub(crate) more: u64,
}

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        if self.kept.len() < MAX_FINDINGS {
            self.kept.push(finding);
        } else {
            self.more += 1;
        }
    }
}
