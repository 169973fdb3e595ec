//! What is on the disk, without changing any of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use super::load::{Known, Loaded, OpenEnded, Scanned, load};
use super::report::{Finding, Findings, LaneReport};
use crate::base::{CURSOR, IDENTITY};
use crate::catalog::Catalog;
use crate::disk::{Disk, UNFINISHED, read_whole};
use crate::format::block::Unusable;
use crate::format::cursor::{Cursor, LaneCursor};
use crate::format::identity::Identity;
use crate::ids::{Position, RouteId, SegmentId};
use crate::keep::BALLAST;
use crate::topics::Topics;

/// Largest identity or cursor that is read: a hundred times what ten thousand routes take.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// The file that says that the spool is open (see `RealDisk`).
const LOCK: &str = "lock";
/// A file that whoever has the spool open may keep beside it.
pub const COMPANION: &str = "partitions.json";

/// A spool as it lies on the disk.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) topics: Topics,
    pub(crate) identity: Option<Identity>,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) lanes: Vec<SurveyedLane>,
    /// Lanes that the cursor knows and nobody asked for; topics by this process's numbers.
    pub(crate) foreign_lanes: Vec<LaneCursor>,
    pub(crate) findings: Findings,
    /// Files that nobody needs.
    pub(crate) leftovers: Vec<String>,
}

/// One lane of it.
#[derive(Debug, Default)]
pub(crate) struct SurveyedLane {
    pub(crate) catalog: Catalog,
    /// Segments without a footer.
    pub(crate) unsealed: Vec<SegmentId>,
    /// Highest segment number in sight, 0 if there is none.
    pub(crate) highest: u64,
    pub(crate) report: LaneReport,
}

/// Looks at a spool. `lanes`: those that are asked for; the others are only mentioned.
///
/// # Errors
/// If not even the spool's folder can be read.
pub(crate) fn survey<D: Disk>(disk: &D, lanes: &[String]) -> io::Result<Survey> {
    let mut findings = Findings::default();
    let mut leftovers = Vec::new();
    let mut topics = Topics::default();
    let names = disk.names("")?;
    let identity = read(disk, IDENTITY, Identity::decode).unwrap_or(None);
    let cursor = match read(disk, CURSOR, Cursor::decode) {
        Ok(cursor) => cursor,
        Err(Unusable::Damaged) => {
            findings.push(Finding::CursorDamaged);
            None
        }
        Err(Unusable::Foreign(version)) => {
            findings.push(Finding::CursorForeign(version));
            None
        }
    };
    let said = cursor.clone().map(|cursor| lane_cursors(cursor, &mut topics)).unwrap_or_default();
    for name in names {
        if name.ends_with(UNFINISHED) {
            findings.push(Finding::Leftover(name.clone()));
            leftovers.push(name);
        } else if !lanes.contains(&name)
            && ![IDENTITY, CURSOR, LOCK, BALLAST, COMPANION].contains(&name.as_str())
        {
            let holds_log = disk
                .names(&name)
                .is_ok_and(|names| names.iter().any(|name| SegmentId::from_file_name(name).is_some()));
            findings.push(if holds_log { Finding::ForeignLane(name) } else { Finding::UnknownFile(name) });
        }
    }
    let mut surveyed = Vec::new();
    for lane in lanes {
        let said = said.iter().find(|said| said.name == *lane);
        surveyed.push(survey_lane(disk, lane, said, &mut topics, &mut findings, &mut leftovers));
    }
    let holds_log = surveyed.iter().any(|lane| !lane.catalog.segments.is_empty());
    if cursor.is_none() && holds_log && !findings.kept.iter().any(Finding::is_repetition) {
        findings.push(Finding::CursorMissing);
    }
    let foreign_lanes = said.into_iter().filter(|said| !lanes.contains(&said.name)).collect();
    Ok(Survey { topics, identity, cursor, lanes: surveyed, foreign_lanes, findings, leftovers })
}

/// A small file, `None` if there is none.
fn read<D: Disk, T>(
    disk: &D,
    name: &str,
    decode: impl FnOnce(&[u8]) -> Result<T, Unusable>,
) -> Result<Option<T>, Unusable> {
    match read_whole(disk, name, MAX_FILE_BYTES) {
        Ok(bytes) => decode(&bytes).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(_) => Err(Unusable::Damaged),
    }
}

/// The cursor's lanes, topics by this process's numbers. A route whose topic cannot be known any more has no mark.
fn lane_cursors(cursor: Cursor, topics: &mut Topics) -> Vec<LaneCursor> {
    let ids: Vec<_> = cursor.topics.iter().map(|name| topics.intern(name)).collect();
    let mut lanes = cursor.lanes;
    for lane in &mut lanes {
        let marks = std::mem::take(&mut lane.marks).into_iter();
        let known = marks.filter_map(|(route, mark)| {
            let topic = (*ids.get(usize::from(route.topic.0))?)?;
            Some((RouteId { topic, ..route }, mark))
        });
        lane.marks = known.collect();
    }
    lanes
}

fn survey_lane<D: Disk>(
    disk: &D,
    name: &str,
    said: Option<&LaneCursor>,
    topics: &mut Topics,
    findings: &mut Findings,
    leftovers: &mut Vec<String>,
) -> SurveyedLane {
    let mut lane = SurveyedLane::default();
    name.clone_into(&mut lane.report.name);
    let files = match disk.names(name) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            findings.push(Finding::UnreadableLane { lane: name.to_owned(), error: error.to_string() });
            Vec::new()
        }
    };
    let mut there = BTreeSet::new();
    for file in files {
        let path = format!("{name}/{file}");
        if let Some(id) = SegmentId::from_file_name(&file) {
            there.insert(id);
        } else if file.ends_with(UNFINISHED) {
            findings.push(Finding::Leftover(path.clone()));
            leftovers.push(path);
        } else {
            findings.push(Finding::UnknownFile(path));
        }
    }
    let listed = said.map(|said| said.segments.iter().copied().collect::<BTreeSet<_>>());
    let said_last = said.map_or(0, |said| said.last);
    lane.highest = said_last.max(there.last().map_or(0, |id| id.0));
    lane.catalog.last = said_last;
    for segment in listed.iter().flatten().filter(|id| !there.contains(id)) {
        findings.push(Finding::MissingSegment { lane: name.to_owned(), segment: *segment });
    }
    let mut open = Vec::new();
    let mut abandoned = BTreeMap::new();
    for id in there {
        let path = format!("{name}/{}", id.file_name());
        let is_listed = listed.as_ref().is_some_and(|listed| listed.contains(&id));
        if said.is_some() && id.0 <= said_last && !is_listed {
            // Unlinked before the power went, and back since the folder was not synced.
            findings.push(Finding::Leftover(path.clone()));
            leftovers.push(path);
            continue;
        }
        match load(disk, &path, id, topics) {
            Ok((Loaded::Sealed(segment), _)) => {
                lane.catalog.segments.insert(id, segment);
            }
            Ok((Loaded::Open(segment), _)) => {
                abandoned.extend(segment.abandoned.iter().copied());
                open.push(segment);
            }
            Ok((Loaded::Foreign(version), bytes)) => {
                lane.catalog.set_aside.insert(id, bytes);
                findings.push(Finding::ForeignSegment { lane: name.to_owned(), segment: id, version });
            }
            Ok((Loaded::Unreadable, _)) if !is_listed && said.is_some() => {
                // Its header was never durable, so neither was anything else in it.
                findings.push(Finding::Leftover(path.clone()));
                leftovers.push(path);
            }
            Ok((Loaded::Unreadable, bytes)) => {
                lane.catalog.set_aside.insert(id, bytes);
                findings.push(Finding::UnreadableSegment { lane: name.to_owned(), segment: id });
            }
            Err(_) => {
                lane.catalog.set_aside.insert(id, 0);
                findings.push(Finding::UnreadableSegment { lane: name.to_owned(), segment: id });
            }
        }
    }
    lane.scan(name, open, &abandoned, said, topics, findings);
    lane.catalog.last = lane.catalog.last.max(lane.catalog.segments.keys().last().map_or(0, |id| id.0));
    lane.catalog.last = lane.catalog.last.max(lane.catalog.set_aside.keys().last().map_or(0, |id| id.0));
    for (route, mark) in said.map(|said| said.marks.clone()).unwrap_or_default() {
        lane.catalog.restore(route, mark);
    }
    lane.report.segments = lane.catalog.segments.len();
    lane.report.records = lane.catalog.segments.values().map(crate::catalog::Segment::records).sum();
    lane.report.bytes = lane.catalog.used_bytes();
    lane
}

impl SurveyedLane {
    fn scan<F: crate::disk::File>(
        &mut self,
        name: &str,
        open: Vec<OpenEnded<F>>,
        abandoned: &BTreeMap<SegmentId, u64>,
        said: Option<&LaneCursor>,
        topics: &mut Topics,
        findings: &mut Findings,
    ) {
        let mut scanned = Scanned::default();
        for segment in open {
            let id = segment.segment.id;
            let mut last: HashMap<RouteId, Position> = HashMap::new();
            for (route, span) in self.catalog.segments.range(..id).flat_map(|(_, earlier)| &earlier.spans) {
                let latest = last.entry(*route).or_default();
                *latest = span.last.max(*latest);
            }
            let committed = said.filter(|said| said.committed.0 == id.0).map_or(0, |said| said.committed.1);
            let ends_at = abandoned.get(&id).copied();
            if let Some(end) = ends_at {
                self.catalog.abandoned.insert(id, end);
            }
            let known = Known { lane: name, ends_at, committed, last: &last };
            // A scan is blind to what cannot be read, so it has no errors of its own.
            if let Ok(segment) = segment.scan(&known, topics, findings, &mut scanned) {
                self.unsealed.push(id);
                self.catalog.segments.insert(id, segment);
            }
        }
        self.report.scanned_bytes = scanned.bytes;
        if scanned.duplicates > 0 {
            let count = scanned.duplicates;
            findings.push(Finding::Duplicates { lane: name.to_owned(), count });
        }
    }
}
