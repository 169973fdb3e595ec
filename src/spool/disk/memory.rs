//! A disk in memory that does to unsynced writes what a power cut does: loses, tears and reorders them.
//!
//! Every file has what the page cache shows and what is durable; between them lies a list of writes. [`MemoryDisk::cut`]
//! lets any of these reach the medium, sector by sector, in any order, and of a folder's changes a random
//! part. A failed sync follows Linux: what it should have made durable is forgotten, and no later sync brings it back.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, File};

/// What a medium writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What goes wrong, and when. Counters run down and mean "not yet" while above zero.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// So many of the next file syncs fail.
    pub(crate) failing_syncs: u32,
    /// So many of the next writes fail half-way.
    pub(crate) failing_writes: u32,
    /// So many of the next writes find no room.
    pub(crate) writes_without_room: u32,
    /// So many of the next folder syncs fail.
    pub(crate) failing_folder_syncs: u32,
    /// So many of the next reads fail.
    pub(crate) failing_reads: u32,
    /// So many times more nothing can be opened.
    pub(crate) failing_opens: u32,
    /// Nothing can be changed.
    pub(crate) read_only: bool,
    /// The power goes at the operation after so many: it and all later ones fail.
    pub(crate) cut_after: Option<u64>,
}

#[derive(Debug, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Ranges written, and lengths set, since the last sync.
    unsynced: Vec<Unsynced>,
}

#[derive(Clone, Debug)]
enum Unsynced {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(String, u64),
    Unlink(String),
    Rename(String, String, u64),
}

#[derive(Debug, Default)]
struct Folder {
    seen: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    unsynced: Vec<NameChange>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    folders: BTreeMap<String, Folder>,
    capacity: u64,
    /// Bytes that somebody else took.
    foreign: u64,
    faults: Faults,
    syncs: u64,
    opened: u64,
    reads: u64,
    operations: u64,
    dead: bool,
}

/// The disk; clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>);

/// An open file of it.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    disk: MemoryDisk,
    inode: usize,
}

impl MemoryDisk {
    pub(crate) fn new(capacity: u64) -> Self {
        let folders = BTreeMap::from([(String::new(), Folder::default())]);
        Self(Arc::new(Mutex::new(State { folders, capacity, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what goes wrong.
    pub(crate) fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().faults);
    }

    /// Lets somebody else take so many bytes.
    pub(crate) fn fill(&self, bytes: u64) {
        self.state().foreign = bytes;
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// How many files were opened.
    pub(crate) fn opened(&self) -> u64 {
        self.state().opened
    }

    /// How many times a file was read from.
    pub(crate) fn reads(&self) -> u64 {
        self.state().reads
    }

    /// Cuts the power and brings it back: the disk that the next boot finds. `random` says, each time it is asked,
    /// what becomes of one write.
    pub(crate) fn cut(&self, random: &mut dyn FnMut() -> u32) -> Self {
        let state = self.state();
        let mut after = State { capacity: state.capacity, foreign: state.foreign, ..State::default() };
        after.inodes = state.inodes.iter().map(|inode| inode.after_cut(random)).collect();
        for (name, folder) in &state.folders {
            after.folders.insert(name.clone(), folder.after_cut(random));
        }
        Self(Arc::new(Mutex::new(after)))
    }

    /// Flips a bit of what a file durably holds.
    pub(crate) fn flip(&self, path: &str, at: usize, mask: u8) {
        let mut state = self.state();
        let inode = usize::try_from(state.inode(path).expect("the file is there")).unwrap();
        let inode = &mut state.inodes[inode];
        inode.seen[at] ^= mask;
        inode.durable[at] ^= mask;
    }

    /// The content of a file as it is seen.
    pub(crate) fn content(&self, path: &str) -> Vec<u8> {
        let state = self.state();
        let inode = usize::try_from(state.inode(path).expect("the file is there")).unwrap();
        state.inodes[inode].seen.clone()
    }

    /// Puts a file there, durable.
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.inodes.len() as u64;
        state.inodes.push(Inode { seen: bytes.to_vec(), durable: bytes.to_vec(), unsynced: Vec::new() });
        let (folder, name) = split(path);
        let folder = state.folders.entry(folder.to_owned()).or_default();
        folder.seen.insert(name.to_owned(), inode);
        folder.durable.insert(name.to_owned(), inode);
    }
}

fn split(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or(("", path))
}

fn missing(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.to_owned())
}

impl State {
    fn used(&self) -> u64 {
        let linked = self.folders.values().flat_map(|folder| folder.seen.values());
        let bytes: u64 =
            linked.map(|inode| self.inodes[usize::try_from(*inode).unwrap()].seen.len() as u64).sum();
        bytes + self.foreign
    }

    fn inode(&self, path: &str) -> io::Result<u64> {
        let (folder, name) = split(path);
        let folder = self.folders.get(folder).ok_or_else(|| missing(path))?;
        folder.seen.get(name).copied().ok_or_else(|| missing(path))
    }

    fn folder(&mut self, folder: &str) -> io::Result<&mut Folder> {
        self.folders.get_mut(folder).ok_or_else(|| missing(folder))
    }

    /// Counts an operation that changes something; fails if nothing can be changed, or the power went.
    fn change(&mut self) -> io::Result<()> {
        self.operations += 1;
        if let Some(left) = &mut self.faults.cut_after {
            self.dead |= *left == 0;
            *left = left.saturating_sub(1);
        }
        if self.dead {
            return Err(io::Error::other("the power went"));
        }
        if self.faults.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    }
}

fn spend(counter: &mut u32) -> bool {
    let due = *counter > 0;
    *counter = counter.saturating_sub(1);
    due
}

impl Inode {
    fn apply(content: &mut Vec<u8>, change: &Unsynced, mut sector: impl FnMut() -> bool) {
        match change {
            Unsynced::Length(len) => {
                if sector() {
                    content.resize(*len, 0);
                }
            }
            Unsynced::Write { at, bytes } => {
                let mut from = 0;
                while from < bytes.len() {
                    // Up to the end of the sector that this byte lies in.
                    let to = ((at + from + 1).next_multiple_of(SECTOR_BYTES) - at).min(bytes.len());
                    if sector() {
                        let end = at + to;
                        if content.len() < end {
                            content.resize(end, 0);
                        }
                        content[at + from..end].copy_from_slice(&bytes[from..to]);
                    }
                    from = to;
                }
            }
        }
    }

    fn after_cut(&self, random: &mut dyn FnMut() -> u32) -> Self {
        let mut durable = self.durable.clone();
        let mut order: Vec<&Unsynced> = self.unsynced.iter().collect();
        for at in (1..order.len()).rev() {
            order.swap(at, random() as usize % (at + 1));
        }
        // None, all, or any of the sectors: pure randomness would hardly ever lose or keep everything.
        let mood = random() % 3;
        for change in order {
            Self::apply(&mut durable, change, || match mood {
                0 => false,
                1 => true,
                _ => random().is_multiple_of(2),
            });
        }
        Self { seen: durable.clone(), durable, unsynced: Vec::new() }
    }
}

impl Folder {
    fn after_cut(&self, random: &mut dyn FnMut() -> u32) -> Self {
        let mut durable = self.durable.clone();
        let mood = random() % 3;
        for change in &self.unsynced {
            let happens = match mood {
                0 => false,
                1 => true,
                _ => random().is_multiple_of(2),
            };
            if !happens {
                continue;
            }
            match change {
                NameChange::Link(name, inode) => {
                    durable.insert(name.clone(), *inode);
                }
                NameChange::Unlink(name) => {
                    durable.remove(name);
                }
                NameChange::Rename(from, to, inode) => {
                    durable.remove(from);
                    durable.insert(to.clone(), *inode);
                }
            }
        }
        Self { seen: durable.clone(), durable, unsynced: Vec::new() }
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.folders.contains_key(folder) {
            state.change()?;
            state.folders.insert(folder.to_owned(), Folder::default());
        }
        Ok(())
    }

    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut state = self.state();
        let mut names: Vec<String> = state.folder(folder)?.seen.keys().cloned().collect();
        if folder.is_empty() {
            names.extend(state.folders.keys().filter(|name| !name.is_empty()).cloned());
        }
        Ok(names)
    }

    fn create(&self, path: &str, bytes: u64) -> io::Result<MemoryFile> {
        let mut state = self.state();
        state.change()?;
        if state.inode(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.used() + bytes > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = state.inodes.len();
        let len = usize::try_from(bytes).unwrap();
        state.inodes.push(Inode {
            seen: vec![0; len],
            durable: Vec::new(),
            unsynced: vec![Unsynced::Length(len)],
        });
        let (folder, name) = split(path);
        let folder = state.folder(folder)?;
        folder.seen.insert(name.to_owned(), inode as u64);
        folder.unsynced.push(NameChange::Link(name.to_owned(), inode as u64));
        Ok(MemoryFile { disk: self.clone(), inode })
    }

    fn open(&self, path: &str) -> io::Result<MemoryFile> {
        let mut state = self.state();
        state.opened += 1;
        if spend(&mut state.faults.failing_opens) {
            return Err(io::Error::other("a file was not opened"));
        }
        let inode = usize::try_from(state.inode(path)?).unwrap();
        drop(state);
        Ok(MemoryFile { disk: self.clone(), inode })
    }

    fn open_writable(&self, path: &str) -> io::Result<MemoryFile> {
        if self.state().faults.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.open(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        let inode = state.inode(from)?;
        let ((folder, from), (_, to)) = (split(from), split(to));
        let folder = state.folder(folder)?;
        folder.seen.remove(from);
        folder.seen.insert(to.to_owned(), inode);
        folder.unsynced.push(NameChange::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.inode(path)?;
        let (folder, name) = split(path);
        let folder = state.folder(folder)?;
        folder.seen.remove(name);
        folder.unsynced.push(NameChange::Unlink(name.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        if spend(&mut state.faults.failing_folder_syncs) {
            return Err(io::Error::other("a folder sync failed"));
        }
        let folder = state.folder(folder)?;
        folder.durable = folder.seen.clone();
        folder.unsynced.clear();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state();
        Ok(state.capacity.saturating_sub(state.used()))
    }
}

impl File for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.reads += 1;
        if spend(&mut state.faults.failing_reads) {
            return Err(io::Error::other("a read failed"));
        }
        let seen = &state.inodes[self.inode].seen;
        let from = usize::try_from(offset).unwrap().min(seen.len());
        let count = buffer.len().min(seen.len() - from);
        buffer[..count].copy_from_slice(&seen[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change()?;
        if spend(&mut state.faults.writes_without_room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let fails = spend(&mut state.faults.failing_writes);
        let bytes = if fails { &bytes[..bytes.len() / 2] } else { bytes };
        let at = usize::try_from(offset).unwrap();
        let grows = (at + bytes.len()).saturating_sub(state.inodes[self.inode].seen.len());
        if state.used() + grows as u64 > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = &mut state.inodes[self.inode];
        let change = Unsynced::Write { at, bytes: bytes.to_vec() };
        Inode::apply(&mut inode.seen, &change, || true);
        inode.unsynced.push(change);
        if fails { Err(io::Error::other("a write failed")) } else { Ok(()) }
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change()?;
        let len = usize::try_from(bytes).unwrap();
        let inode = &mut state.inodes[self.inode];
        inode.seen.resize(len, 0);
        inode.unsynced.push(Unsynced::Length(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change()?;
        state.syncs += 1;
        let fails = spend(&mut state.faults.failing_syncs);
        let inode = &mut state.inodes[self.inode];
        let unsynced = std::mem::take(&mut inode.unsynced);
        if fails {
            return Err(io::Error::other("a sync failed"));
        }
        for change in &unsynced {
            Inode::apply(&mut inode.durable, change, || true);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
