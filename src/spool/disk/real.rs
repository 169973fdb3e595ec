//! A folder of the operating system.

use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::{Disk, File};

/// Name of the file whose lock says that the spool is open.
const LOCK: &str = "lock";

/// A spool's folder on a real disk.
#[derive(Clone, Debug)]
pub struct RealDisk {
    root: PathBuf,
    /// Held as long as the spool is open; `None` for one that is only looked at.
    _lock: Option<Arc<fs::File>>,
}

impl RealDisk {
    /// Opens the folder for one gateway alone, and makes it if need be. A folder that cannot be written to is opened
    /// without the lock: what is in it can still be sent on.
    ///
    /// # Errors
    /// If another process has it open, or it cannot be made.
    pub fn open(root: &Path) -> io::Result<Self> {
        match fs::create_dir_all(root) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem && root.is_dir() => {}
            made => made?,
        }
        match Self::claim(root) {
            Err(error) if cannot_write(&error) => Ok(Self::look(root)),
            claimed => claimed,
        }
    }

    /// Opens a folder that is there, for one process alone.
    ///
    /// # Errors
    /// If another process has it open, or it cannot be written to.
    pub fn claim(root: &Path) -> io::Result<Self> {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(root.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: Some(Arc::new(lock)) }),
            Err(TryLockError::WouldBlock) => {
                let text = format!("{} is open in another process", root.display());
                Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Looks at a spool that may be open elsewhere: for reading only.
    #[must_use]
    pub fn look(root: &Path) -> Self {
        Self { root: root.to_owned(), _lock: None }
    }
}

/// Whether a write failed because nothing can be written here now, as opposed to a wrong path.
fn cannot_write(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::StorageFull | io::ErrorKind::PermissionDenied
    )
}

impl Disk for RealDisk {
    type File = fs::File;

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        match fs::create_dir(self.root.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        self.sync_folder("")
    }

    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        fs::read_dir(self.root.join(folder))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn create(&self, path: &str, bytes: u64) -> io::Result<fs::File> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.root.join(path))?;
        let set_aside = match fallocate(&file, FallocateFlags::empty(), 0, bytes.max(1)) {
            // FAT and some network file systems cannot; then a full disk shows at the write, which is provided for.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(bytes),
            other => other.map_err(io::Error::from),
        };
        if let Err(error) = set_aside {
            let _ = self.remove(path);
            return Err(error);
        }
        Ok(file)
    }

    fn open(&self, path: &str) -> io::Result<fs::File> {
        fs::File::open(self.root.join(path))
    }

    fn open_writable(&self, path: &str) -> io::Result<fs::File> {
        OpenOptions::new().read(true).write(true).open(self.root.join(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(path))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        fs::File::open(self.root.join(folder))?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl File for fs::File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match std::os::unix::fs::FileExt::read_at(self, &mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{read_whole, replace};

    #[test]
    fn a_spool_is_open_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = RealDisk::open(folder.path()).unwrap();
        let second = RealDisk::open(folder.path()).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::ResourceBusy, "{second}");
        drop(first);
        RealDisk::open(folder.path()).unwrap();
    }

    #[test]
    fn room_is_set_aside_and_reads_as_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(folder.path()).unwrap();
        let file = disk.create("a", 4096).unwrap();
        File::write_at(&file, b"x", 4000).unwrap();
        let mut buffer = [1; 200];
        assert_eq!(File::read_at(&file, &mut buffer, 3999).unwrap(), 97);
        assert_eq!(buffer[..3], *b"\0x\0");
        assert_eq!(disk.create("a", 1).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(folder.path()).unwrap();
        for content in [&b"first"[..], b"2"] {
            replace(&disk, "", "cursor", content).unwrap();
            assert_eq!(read_whole(&disk, "cursor", 100).unwrap(), content);
        }
        assert!(read_whole(&disk, "cursor", 0).is_err());
    }
}
