//! Looking at a spool from outside, whether a gateway has it open or not: what `tidegate spool` does.
//!
//! Nothing here changes anything on the disk.

mod export;
mod inspect;
mod verify;

use std::io;

use crate::base::{CURSOR, IDENTITY};
use crate::disk::Disk;
use crate::ids::SegmentId;

pub use export::{ExportOptions, Exported, export};
pub use inspect::{Inspection, LaneInspection, RouteInspection, inspect};
pub use verify::{Verification, verify};

/// The lanes that lie in a spool's folder, whatever settings say.
fn lanes<D: Disk>(disk: &D) -> io::Result<Vec<String>> {
    let names = disk.names("")?;
    let looks_open = names.iter().any(|name| name == IDENTITY || name == CURSOR);
    let is_lane = |name: &String| {
        disk.names(name).is_ok_and(|files| files.iter().any(|file| SegmentId::from_file_name(file).is_some()))
    };
    let mut lanes: Vec<String> = names.into_iter().filter(is_lane).collect();
    lanes.sort();
    if lanes.is_empty() && !looks_open {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no spool in this folder"));
    }
    Ok(lanes)
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
