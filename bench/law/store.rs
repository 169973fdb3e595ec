//! Results on disk, a line each, so that a run that was stopped goes on where it was.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cell::Row;
use crate::matrix::{Load, Matrix};

/// Which cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) setting: String,
    pub(crate) load: String,
    pub(crate) seed: u64,
}

/// First line: results of another build are not ours.
#[derive(PartialEq, Serialize, Deserialize)]
struct Build {
    build: u64,
}

impl Build {
    fn this() -> anyhow::Result<Self> {
        let mut hasher = DefaultHasher::new();
        std::fs::read(std::env::current_exe()?)?.hash(&mut hasher);
        Ok(Self { build: hasher.finish() })
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: Key,
    rows: Vec<Row>,
}

/// All results so far.
pub(crate) struct Store {
    file: Option<File>,
    results: BTreeMap<Key, Vec<Row>>,
}

/// For each setting, in the matrix's order: for each load, the rows of every seed.
pub(crate) type Results = Vec<Vec<(String, Vec<Vec<Row>>)>>;

impl Store {
    /// Opens the file, or none.
    ///
    /// # Errors
    /// If it cannot be read or written. A line that was cut off is run again, and a file of another build begins anew.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self { file: None, results: BTreeMap::new() }) };
        let build = Build::this()?;
        let mut text = if path.exists() { std::fs::read_to_string(path)? } else { String::new() };
        let written_by = text.lines().next().and_then(|line| serde_json::from_str::<Build>(line).ok());
        let is_ours = written_by.is_some_and(|other| other == build);
        if !is_ours {
            text.clear();
        }
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let results = lines.map(|line| (line.key, line.rows)).collect();
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        if !is_ours {
            std::fs::write(path, serde_json::to_string(&build)? + "\n")?;
        }
        let mut file = OpenOptions::new().append(true).open(path)?;
        if !text.is_empty() && !text.ends_with('\n') {
            writeln!(file)?;
        }
        Ok(Self { file: Some(file), results })
    }

    pub(crate) fn has(&self, key: &Key) -> bool {
        self.results.contains_key(key)
    }

    /// Keeps a result.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn put(&mut self, key: Key, rows: Vec<Row>) -> anyhow::Result<()> {
        if let Some(file) = &mut self.file {
            writeln!(file, "{}", serde_json::to_string(&Line { key: key.clone(), rows: rows.clone() })?)?;
        }
        self.results.insert(key, rows);
        Ok(())
    }

    /// Returns what the matrix asks for.
    pub(crate) fn results(&self, matrix: &Matrix, loads: &[Load]) -> Results {
        let of = |setting: &str, load: &str| {
            let key = |seed| Key { setting: setting.to_owned(), load: load.to_owned(), seed };
            matrix.seeds.iter().filter_map(|seed| self.results.get(&key(*seed)).cloned()).collect()
        };
        let settings = matrix.settings.iter();
        settings
            .map(|setting| {
                loads.iter().map(|load| (load.name.clone(), of(setting.name, &load.name))).collect()
            })
            .collect()
    }
}
