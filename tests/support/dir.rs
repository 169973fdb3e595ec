//! A directory per test, kept when the test fails.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::say::say;

/// Temporary directory, removed on drop. If the test fails it stays, and its path is printed: the logs in it say why.
#[derive(Debug)]
pub struct TestDir {
    /// Empty once the directory is to stay.
    dir: Option<TempDir>,
    path: PathBuf,
}

impl TestDir {
    /// Makes a new directory whose name begins with `name`.
    ///
    /// # Errors
    /// The file system's.
    pub fn new(name: &str) -> Result<Self> {
        let prefix = format!("tidegate-{name}-");
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir().context("temporary directory")?;
        Ok(Self { path: dir.path().to_owned(), dir: Some(dir) })
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the directory where it is and prints its path.
    pub fn keep(&mut self) {
        if let Some(dir) = self.dir.take() {
            say(format_args!("logs are kept in {}", dir.keep().display()));
        }
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep();
        }
    }
}
