//! What a spool consists of, by its footers and its cursor.

use std::io;

use serde::Serialize;

use super::lanes;
use crate::disk::Disk;
use crate::recover::survey;

/// A spool at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Name of its gateway; absent if no version that keeps it has had the spool open.
    pub name: Option<String>,
    /// Identity that it was made with, in hexadecimal; absent if it is lost.
    pub gateway: Option<String>,
    /// Epoch of the latest boot.
    pub epoch: Option<u32>,
    /// Lanes, by name.
    pub lanes: Vec<LaneInspection>,
    /// What is not as a clean stop leaves it. A spool that is open is found with its last segments unsealed.
    pub findings: Vec<String>,
}

/// One lane of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneInspection {
    /// Name.
    pub name: String,
    /// Segments that can be read.
    pub segments: usize,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Records in the segments, done ones included.
    pub records: u64,
    /// Routes with records that Kafka does not have, as far as the cursor knows.
    pub routes: Vec<RouteInspection>,
}

/// One route of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteInspection {
    /// Shard of the client ids.
    pub shard: u8,
    /// Kafka topic.
    pub topic: String,
    /// Kafka partition.
    pub partition: u32,
    /// Kafka has everything up to here: epoch.sequence number.
    pub done: String,
    /// The last record.
    pub last: String,
    /// About how many records wait.
    pub waiting_records: u64,
    /// About how many bytes wait.
    pub waiting_bytes: u64,
}

/// Looks at a spool.
///
/// # Errors
/// If there is none, or its folder cannot be read.
pub fn inspect<D: Disk>(disk: &D) -> io::Result<Inspection> {
    let survey = survey(disk, &lanes(disk)?)?;
    let lanes = survey.lanes.iter().map(|lane| {
        let routes = lane.catalog.backlog().into_iter().map(|backlog| RouteInspection {
            shard: backlog.route.shard,
            topic: survey.topics.name(backlog.route.topic).map(ToString::to_string).unwrap_or_default(),
            partition: backlog.route.partition,
            done: backlog.done.to_string(),
            last: backlog.last.to_string(),
            waiting_records: backlog.records,
            waiting_bytes: backlog.bytes,
        });
        LaneInspection {
            name: lane.report.name.clone(),
            segments: lane.report.segments,
            bytes: lane.report.bytes,
            records: lane.report.records,
            routes: routes.collect(),
        }
    });
    Ok(Inspection {
        gateway: survey.identity.as_ref().map(|identity| identity.gateway.to_string()),
        epoch: survey.identity.as_ref().map(|identity| identity.epoch),
        name: survey.identity.and_then(|identity| identity.name),
        lanes: lanes.collect(),
        findings: survey.findings.kept.iter().map(ToString::to_string).collect(),
    })
}
