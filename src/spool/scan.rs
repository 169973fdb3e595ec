//! Walks over the frames of one segment, and finds the next whole one behind damage.
//!
//! Knows nothing of routes or of what is durable: whoever scans decides whether a hole is a torn tail or a loss.

use std::io;
use std::sync::Arc;

use memchr::memmem;

use crate::disk::File;
use crate::format::frame::{self, HEAD_BYTES, Part, Seal};

/// Read at once; larger frames are read whole.
const CHUNK_BYTES: usize = 512 * 1024;
/// What is given up at once where the medium cannot be read.
const PAGE_BYTES: u64 = 4096;

/// What comes next in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A whole frame, which [`Scan::part`] reads.
    Frame { at: u64, next: u64 },
    /// Damage, with a whole frame behind it.
    Hole { from: u64, to: u64 },
    /// No whole frame from `at` on; `dirty` if there are other bytes than zeros.
    End { at: u64, dirty: bool },
}

/// A walk over one segment.
#[derive(Debug)]
pub(crate) struct Scan<F> {
    file: Arc<F>,
    seal: Seal,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
    blind: bool,
}

impl<F: File> Scan<F> {
    /// Begins a walk over the bytes from `at` to `end`.
    pub(crate) const fn new(file: Arc<F>, seal: Seal, at: u64, end: u64) -> Self {
        Self { file, seal, at, end, buffer: Vec::new(), buffer_at: 0, blind: false }
    }

    /// From now on takes what cannot be read for zeros: the rest is worth more than the error.
    pub(crate) const fn go_blind(mut self) -> Self {
        self.blind = true;
        self
    }

    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// Moves to a frame that begins at `at`.
    pub(crate) const fn seek(&mut self, at: u64) {
        self.at = at;
    }

    /// Lets the walk go on to a later end, since more was written.
    pub(crate) const fn extend(&mut self, end: u64) {
        self.end = end;
    }

    /// Returns what comes next and moves behind it; stays at an end.
    ///
    /// # Errors
    /// If the file cannot be read, unless the walk is blind.
    pub(crate) fn next(&mut self) -> io::Result<Item> {
        let at = self.at;
        let Some(len) = self.whole_frame_here()? else { return self.behind_damage(at) };
        self.at = at + len as u64;
        Ok(Item::Frame { at, next: self.at })
    }

    /// Returns the frame that [`Self::next`] has just moved over.
    pub(crate) fn part(&self, at: u64, next: u64) -> Part<'_> {
        let bytes = &self.buffer[self.offset(at)..self.offset(next)];
        frame::parse(bytes).expect("a whole frame was found here")
    }

    /// Length of the frame here, if one is here and whole.
    fn whole_frame_here(&mut self) -> io::Result<Option<usize>> {
        let seal = self.seal;
        let head = self.window(HEAD_BYTES)?;
        let Some(len) = frame::len_from_head(seal, head) else { return Ok(None) };
        // Not even asked for when the segment has no room for it: a damaged length must not cost memory.
        if len as u64 > self.end - self.at {
            return Ok(None);
        }
        let window = self.window(len)?;
        Ok(window.get(..len).is_some_and(|bytes| frame::is_whole(seal, bytes)).then_some(len))
    }

    fn behind_damage(&mut self, from: u64) -> io::Result<Item> {
        let marker = self.seal.marker();
        let mut dirty = false;
        loop {
            let window = self.window(HEAD_BYTES)?;
            // The first byte here begins no whole frame.
            let found = window.get(1..).and_then(|rest| memmem::find(rest, &marker)).map(|at| at + 1);
            // Without a marker, its first bytes may still end this window.
            let step = found.unwrap_or_else(|| window.len().saturating_sub(marker.len() - 1).max(1));
            dirty |= window[..step.min(window.len())].iter().any(|byte| *byte != 0);
            if window.len() < HEAD_BYTES {
                dirty |= window.iter().any(|byte| *byte != 0);
                self.at = from;
                return Ok(Item::End { at: from, dirty });
            }
            self.at += step as u64;
            if found.is_some() && self.whole_frame_here()?.is_some() {
                return Ok(Item::Hole { from, to: self.at });
            }
        }
    }

    /// Returns the bytes from here on: at least `want`, unless the segment ends before.
    fn window(&mut self, want: usize) -> io::Result<&[u8]> {
        let buffer_end = self.buffer_at + self.buffer.len() as u64;
        if self.at < self.buffer_at || self.at > buffer_end {
            self.buffer.clear();
            self.buffer_at = self.at;
        }
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let have = self.buffer.len() - self.offset(self.at);
        if have < want.min(left) {
            self.buffer.drain(..self.buffer.len() - have);
            self.buffer_at = self.at;
            let goal = want.max(CHUNK_BYTES).min(left);
            self.buffer.resize(goal, 0);
            let read = self.read(have);
            self.buffer.truncate(have + *read.as_ref().unwrap_or(&0));
            // The file is shorter than it should be: what is missing reads as an end.
            if read? < goal - have {
                self.end = self.at + self.buffer.len() as u64;
            }
        }
        let from = self.offset(self.at);
        let to = self.buffer.len().min(from + left);
        Ok(&self.buffer[from..to])
    }

    /// Fills the buffer from index `from` on; returns how much was read.
    fn read(&mut self, from: usize) -> io::Result<usize> {
        let at = self.buffer_at + from as u64;
        match self.file.read_at(&mut self.buffer[from..], at) {
            Err(_) if self.blind => Ok(self.read_pages(from)),
            read => read,
        }
    }

    fn read_pages(&mut self, from: usize) -> usize {
        let mut index = from;
        while index < self.buffer.len() {
            let at = self.buffer_at + index as u64;
            let page = usize::try_from(PAGE_BYTES - at % PAGE_BYTES).unwrap_or(usize::MAX);
            let to = self.buffer.len().min(index + page);
            match self.file.read_at(&mut self.buffer[index..to], at) {
                Ok(read) if read < to - index => return index + read - from,
                Ok(_) => {}
                Err(_) => self.buffer[index..to].fill(0),
            }
            index = to;
        }
        self.buffer.len() - from
    }

    fn offset(&self, at: u64) -> usize {
        usize::try_from(at - self.buffer_at).expect("positions in the buffer are indexes")
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
