//! Reads every frame of a spool and says what is damaged.

use std::io;
use std::sync::Arc;

use serde::Serialize;

use super::lanes;
use crate::disk::Disk;
use crate::format::frame::Part;
use crate::recover::survey;
use crate::scan::{Item, Scan};

/// What reading all of a spool found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Segments read.
    pub segments: usize,
    /// Whole records.
    pub records: u64,
    /// Their bytes, and those of other frames.
    pub bytes: u64,
    /// Places where stored bytes are damaged or missing, one line each.
    pub damage: Vec<String>,
    /// What is not as a clean stop leaves it, but means no loss.
    pub findings: Vec<String>,
}

/// Reads every frame of a spool.
///
/// # Errors
/// If there is no spool, or its folder cannot be read.
pub fn verify<D: Disk>(disk: &D) -> io::Result<Verification> {
    let survey = survey(disk, &lanes(disk)?)?;
    let mut found = Verification::default();
    for finding in &survey.findings.kept {
        // Holes of unsealed segments are found once more below.
        let list = if finding.is_loss() && !matches!(finding, crate::Finding::Hole { .. }) {
            &mut found.damage
        } else {
            &mut found.findings
        };
        list.push(finding.to_string());
    }
    for lane in &survey.lanes {
        for segment in lane.catalog.segments.values() {
            let path = format!("{}/{}", lane.report.name, segment.id.file_name());
            let (from, end) = segment.frames;
            let file = match disk.open(&path) {
                Ok(file) => Arc::new(file),
                // A gateway at work has freed it since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    found.damage.push(format!("{path}: {error}"));
                    continue;
                }
            };
            found.segments += 1;
            let mut scan = Scan::new(file, segment.seal(), from, end).go_blind();
            loop {
                match scan.next()? {
                    Item::Frame { at, next } => {
                        found.bytes += next - at;
                        found.records += u64::from(matches!(scan.part(at, next), Part::Record(_)));
                    }
                    Item::Hole { from, to } => {
                        found.damage.push(format!("{path}: damaged from {from} to {to}"));
                    }
                    Item::End { at, .. } => {
                        if at < end {
                            found.damage.push(format!("{path}: damaged from {at} to {end}"));
                        }
                        break;
                    }
                }
            }
        }
    }
    Ok(found)
}
