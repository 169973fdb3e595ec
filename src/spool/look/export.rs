//! Writes the records of a spool as JSON lines, one a record, each route in order.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::lanes;
use crate::catalog::{Segment, topic_of};
use crate::disk::Disk;
use crate::format::frame::{Flags, Frame, Part, headers};
use crate::ids::{Position, RouteId};
use crate::recover::{Survey, SurveyedLane, survey};
use crate::scan::{Item, Scan};

/// What to export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// Only this lane.
    pub lane: Option<String>,
    /// Also what the cursor says Kafka has.
    pub done: bool,
}

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Records written.
    pub records: u64,
    /// Places that could not be read.
    pub holes: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    lane: &'a str,
    gateway: String,
    shard: u8,
    topic: &'a str,
    partition: u32,
    epoch: u32,
    seq: u64,
    time_unix_ms: i64,
    #[serde(skip_serializing_if = "is_zero")]
    lifetime_s: u32,
    acknowledged: bool,
    dup: bool,
    retain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(&'a str, String)>,
    payload_base64: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Writes records to `out`. Keys, header values and payloads are bytes, so they are written in base64.
///
/// # Errors
/// If there is no spool, its folder cannot be read, there is no such lane, or `out` fails.
pub fn export<D: Disk>(disk: &D, options: &ExportOptions, out: &mut dyn Write) -> io::Result<Exported> {
    let all = lanes(disk)?;
    if let Some(lane) = &options.lane
        && !all.contains(lane)
    {
        let text = format!("the spool has no lane {lane}; it has {}", all.join(", "));
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    let survey = survey(disk, &all)?;
    let mut exported = Exported::default();
    for lane in &survey.lanes {
        if options.lane.as_ref().is_none_or(|wanted| *wanted == lane.report.name) {
            export_lane(disk, &survey, lane, options.done, out, &mut exported)?;
        }
    }
    out.flush()?;
    Ok(exported)
}

fn export_lane<D: Disk>(
    disk: &D,
    survey: &Survey,
    lane: &SurveyedLane,
    done: bool,
    out: &mut dyn Write,
    exported: &mut Exported,
) -> io::Result<()> {
    // The last position written per route: a record that stands twice is written once.
    let mut last: HashMap<RouteId, Position> = HashMap::new();
    for segment in lane.catalog.segments.values() {
        let file = match disk.open(&format!("{}/{}", lane.report.name, segment.id.file_name())) {
            Ok(file) => Arc::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let (from, end) = segment.frames;
        let mut scan = Scan::new(file, segment.seal(), from, end).go_blind();
        loop {
            let (at, next) = match scan.next()? {
                Item::Frame { at, next } => (at, next),
                Item::Hole { .. } => {
                    exported.holes += 1;
                    continue;
                }
                Item::End { at, .. } => {
                    exported.holes += u64::from(at < end);
                    break;
                }
            };
            let Part::Record(frame) = scan.part(at, next) else { continue };
            let Some(topic) = topic_of(&segment.topics, frame.topic) else { continue };
            let route = RouteId { topic, ..frame.route() };
            let from = if done { Position::START } else { lane.catalog.mark(route).done };
            let before = last.entry(route).or_insert(from);
            if frame.position <= *before {
                continue;
            }
            *before = frame.position;
            let name = survey.topics.name(topic).map_or("", |name| &**name);
            serde_json::to_writer(&mut *out, &line(&lane.report.name, segment, name, &frame))?;
            out.write_all(b"\n")?;
            exported.records += 1;
        }
    }
    Ok(())
}

fn line<'a>(lane: &'a str, segment: &Segment, topic: &'a str, frame: &Frame<'a>) -> Line<'a> {
    Line {
        lane,
        gateway: segment.gateway.to_string(),
        shard: frame.shard,
        topic,
        partition: frame.partition,
        epoch: frame.position.epoch,
        seq: frame.position.seq,
        time_unix_ms: frame.time_unix_ms,
        lifetime_s: frame.lifetime_s,
        acknowledged: frame.flags.has(Flags::ACKNOWLEDGED),
        dup: frame.flags.has(Flags::DUP),
        retain: frame.flags.has(Flags::RETAIN),
        key_base64: frame.key.map(|key| STANDARD.encode(key)),
        headers: headers(frame.headers).map(|(name, value)| (name, STANDARD.encode(value))).collect(),
        payload_base64: STANDARD.encode(frame.payload),
    }
}
