//! The little that the spool asks of a file system.
//!
//! Small enough that an in-memory disk can lose, tear and reorder whatever was not synced. Paths are relative to the
//! spool's folder, with at most one folder in them.

#[cfg(test)]
pub(crate) mod memory;
mod real;

use std::io;

pub use real::RealDisk;

/// A folder of files, and one level of folders in it. All errors are whatever the file system says.
#[expect(clippy::missing_errors_doc, reason = "the same sentence for every method")]
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: File;

    /// Makes a folder durable; one that is there already is fine.
    fn make_folder(&self, folder: &str) -> io::Result<()>;

    /// Returns the names in a folder (`""` is the spool's own), in any order.
    fn names(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Makes a file that must not exist, with room for `bytes` set aside: they read as zeros. On an error nothing
    /// remains.
    fn create(&self, path: &str, bytes: u64) -> io::Result<Self::File>;

    /// Opens a file to read it.
    fn open(&self, path: &str) -> io::Result<Self::File>;

    /// Opens a file to read and to write it.
    fn open_writable(&self, path: &str) -> io::Result<Self::File>;

    /// Gives a file another name in its folder, replacing what has that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Unlinks a file.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;

    /// Returns how many bytes the file system has left for us.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file. Positions are explicit, so that one file can be read and written at once. All errors are whatever
/// the file system says.
#[expect(clippy::missing_errors_doc, reason = "the same sentence for every method")]
pub trait File: Send + Sync + 'static {
    /// Returns the file's length.
    fn bytes(&self) -> io::Result<u64>;

    /// Reads until the buffer is full or the file ends; returns how much was read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes; after an error nobody knows how many were written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// Returns once everything written is durable. After an error what was written since the last success may be lost
    /// for ever, even if a later sync succeeds: the kernel reports the loss of a page once and forgets it.
    fn sync(&self) -> io::Result<()>;
}

/// Ending of a file that is being made: whoever finds one after a crash removes it.
pub(crate) const UNFINISHED: &str = ".tmp";

/// Replaces a file so that after a crash either the old or the new content is there, whole.
pub(crate) fn replace<D: Disk>(disk: &D, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    let unfinished = format!("{path}{UNFINISHED}");
    match disk.remove(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&unfinished, bytes.len() as u64)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&unfinished, &path)?;
    disk.sync_folder(folder)
}

/// Reads a whole file of at most `limit` bytes; a longer one is an error.
pub(crate) fn read_whole<D: Disk>(disk: &D, path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let bytes = file.bytes()?;
    if bytes > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path} has {bytes} bytes")));
    }
    let mut content = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut content, 0)?;
    content.truncate(read);
    Ok(content)
}
