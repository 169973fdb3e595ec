//! Opening a spool after whatever happened to it: it starts, says what it found, and loses nothing that was stored.
//!
//! Footers say what is in sealed segments, so only the last segment of each lane is read; older frames are checked when
//! they are read. Every boot seals what the boot before has left open and writes to new segments only.

mod load;
mod report;
mod survey;

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use crate::base::{Base, IDENTITY, Lane, Status, Who};
use crate::disk::{self, Disk, File as _};
use crate::format::identity::Identity;
use crate::ids::{GatewayId, LaneId, SHARDS};
use crate::settings::Settings;
pub use report::{Finding, LaneReport, Report};
pub use survey::COMPANION;
pub(crate) use survey::{Survey, SurveyedLane, survey};

/// What recovery is given from outside.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    /// Random bytes: half for an identity, half for salts.
    pub random: [u8; 32],
    /// The machine's boot id.
    pub machine_boot: [u8; 16],
    /// Wall-clock time, ms since 1970.
    pub now_unix_ms: i64,
}

/// Why a spool cannot be opened at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be read or made, or another process has it.
    #[error("the spool cannot be opened: {0}")]
    Disk(#[from] io::Error),
    /// It was made with another number of shards: its routes would be torn apart.
    #[error("the spool has {0} shards, this version {SHARDS}")]
    Shards(u8),
}

/// A spool that is open.
pub(crate) struct Opened<D> {
    pub(crate) base: Arc<Base<D>>,
    /// Per lane, a segment number above all that were used.
    pub(crate) next_segments: Vec<u64>,
    pub(crate) report: Report,
}

/// Opens a spool.
pub(crate) fn recover<D: Disk>(disk: D, settings: Settings, boot: &Boot) -> Result<Opened<D>, OpenError> {
    let names: Vec<String> = settings.lanes.iter().map(|lane| lane.name.clone()).collect();
    let mut survey = survey(&disk, &names)?;
    if let Some(identity) = &survey.identity
        && identity.shards != SHARDS
    {
        return Err(OpenError::Shards(identity.shards));
    }
    let who = identify(&disk, &mut survey, settings.name.clone(), boot);
    for path in &survey.leftovers {
        // What cannot be removed now is found again by the next boot.
        let _ = disk.remove(path);
    }
    for (lane, name) in survey.lanes.iter_mut().zip(&names) {
        seal_all(&disk, name, lane, &survey.topics);
    }
    notice_times(&mut survey, boot);
    let reports = survey.lanes.iter().map(|lane| lane.report.clone()).collect();
    let next_segments = survey.lanes.iter().map(|lane| lane.highest + 1).collect();
    let mut lanes = Vec::new();
    for ((id, lane), mut surveyed) in (0..).zip(&settings.lanes).zip(survey.lanes) {
        // The first cursor is written before the first commit: from then on a file that no cursor lists, and whose
        // header is not whole, was never part of the log.
        surveyed.catalog.changed = true;
        lanes.push(Lane::new(
            LaneId(id),
            lane.name.clone(),
            lane.capacity_bytes,
            lane.policy,
            surveyed.catalog,
        ));
    }
    let report =
        Report { who, lanes: reports, findings: survey.findings.kept, more_findings: survey.findings.more };
    let (_, seed) = halves(boot.random);
    let seed = u64::from_le_bytes(seed[..8].try_into().expect("eight of sixteen"));
    let base = Base {
        status: Status::new(lanes.len()),
        stats: Mutex::default(),
        topics: Mutex::new(survey.topics),
        who: Mutex::new(who),
        machine_boot: boot.machine_boot,
        foreign_lanes: survey.foreign_lanes,
        random: AtomicU64::new(seed),
        disk,
        settings,
        lanes,
    };
    Ok(Opened { base: Arc::new(base), next_segments, report })
}

/// Decides who writes from now on, and writes it down.
fn identify<D: Disk>(disk: &D, survey: &mut Survey, name: Option<String>, boot: &Boot) -> Who {
    let segments = || survey.lanes.iter().flat_map(|lane| lane.catalog.segments.values());
    let holds_log = survey.cursor.is_some() || segments().next().is_some();
    let (random, _) = halves(boot.random);
    let known = survey.identity.as_ref().map(|identity| identity.gateway);
    let known = known.or(survey.cursor.as_ref().map(|cursor| cursor.gateway));
    let spool = known.unwrap_or(GatewayId(random));
    // Each of these may be lost or old; together they bound what was ever used.
    let epochs = segments().map(|segment| segment.epoch);
    let epochs = epochs.chain(survey.identity.as_ref().map(|identity| identity.epoch));
    let epochs = epochs.chain(survey.cursor.as_ref().map(|cursor| cursor.epoch));
    let epoch = epochs.max().unwrap_or(0).saturating_add(1);
    if survey.identity.is_none() && holds_log {
        survey.findings.push(Finding::IdentityLost);
    }
    let name = name.or_else(|| survey.identity.as_ref()?.name.clone());
    match disk::replace(disk, "", IDENTITY, &Identity::new(spool, epoch, name).encode()) {
        Ok(()) => Who { spool, run: spool, epoch, durable: true },
        Err(error) => {
            survey.findings.push(Finding::EpochNotWritten(error.to_string()));
            Who { spool, run: GatewayId(random), epoch, durable: false }
        }
    }
}

/// Gives a footer to what the boot before has left open, so that no later boot scans it again; removes what is empty.
fn seal_all<D: Disk>(disk: &D, name: &str, lane: &mut SurveyedLane, topics: &crate::topics::Topics) {
    for id in std::mem::take(&mut lane.unsealed) {
        let path = format!("{name}/{}", id.file_name());
        let Some(segment) = lane.catalog.segments.get_mut(&id) else { continue };
        if segment.spans.is_empty() && disk.remove(&path).is_ok() {
            lane.catalog.segments.remove(&id);
            lane.catalog.abandoned.remove(&id);
            continue;
        }
        let footer = segment.footer(topics).encode();
        let file_bytes = segment.frames.1 + footer.len() as u64;
        let sealed = disk.open_writable(&path).and_then(|file| {
            file.write_at(&footer, segment.frames.1)?;
            file.truncate(file_bytes)?;
            file.sync()
        });
        match sealed {
            Ok(()) => {
                segment.file_bytes = file_bytes;
                lane.catalog.abandoned.remove(&id);
            }
            // The next boot scans it again.
            Err(error) => tracing::warn!(lane = %name, segment = %id, %error, "the segment gets no footer"),
        }
    }
}

fn notice_times(survey: &mut Survey, boot: &Boot) {
    let segments = survey.lanes.iter().flat_map(|lane| lane.catalog.segments.values());
    if let Some(newest_unix_ms) = segments.map(|segment| segment.newest_unix_ms).max()
        && newest_unix_ms > boot.now_unix_ms
    {
        survey.findings.push(Finding::ClockInPast { newest_unix_ms, now_unix_ms: boot.now_unix_ms });
    }
    if survey.cursor.as_ref().is_some_and(|cursor| cursor.machine_boot != boot.machine_boot) {
        survey.findings.push(Finding::MachineRebooted);
    }
}

fn halves(random: [u8; 32]) -> ([u8; 16], [u8; 16]) {
    let mut halves = ([0; 16], [0; 16]);
    halves.0.copy_from_slice(&random[..16]);
    halves.1.copy_from_slice(&random[16..]);
    halves
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
