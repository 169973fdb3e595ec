//! Settings: a TOML file, overridden by the environment, turned into a checked type.
//!
//! Owns how settings are found and how a wrong one is reported. What they mean is the components' own:
//! each has a raw struct (`deny_unknown_fields`, defaults) and a checked type made of it.

mod env;
mod error;
mod place;
mod secret;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::{Table, Value};

pub use error::{ConfigError, Origin, Problem};
pub use secret::Secret;

use env::Overrides;
use error::Said;

/// Exit code of a process whose command line or settings are wrong (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;
/// Longest settings file; a thousand routes take a tenth of it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads settings and checks them.
///
/// `env` is the process's environment: `TIDEGATE_A__B_C` overrides the key `a.b_c` (two underscores nest, one stays in
/// the key) with a TOML value, or with plain text where the key wants a string.
///
/// # Errors
/// The first thing that is wrong, with its place, key, value and what is allowed.
pub fn load<R, C>(
    file: Option<&Path>,
    env: &mut dyn Iterator<Item = (String, String)>,
) -> Result<C, ConfigError>
where
    R: DeserializeOwned,
    C: TryFrom<R, Error = Problem>,
{
    let Loaded { raw, source } = load_raw(file, env)?;
    C::try_from(raw).map_err(|problem| source.wrong(problem))
}

/// Reads settings without checking more than their types; see [`load`].
///
/// # Errors
/// As for [`load`].
pub fn load_raw<R: DeserializeOwned>(
    file: Option<&Path>,
    env: &mut dyn Iterator<Item = (String, String)>,
) -> Result<Loaded<R>, ConfigError> {
    let text = file.map_or(Ok(String::new()), read)?;
    let mut source = Source { file: file.map(Path::to_owned), text, overrides: Overrides::collect(env) };
    let written = source.parse()?;
    loop {
        let mut settings = written.clone();
        source.overrides.apply(&mut settings).map_err(|path| source.bad_override(&path))?;
        let (path, message) = match read_as::<R>(settings.clone()) {
            Ok(raw) => return Ok(Loaded { raw, source }),
            Err(problem) => (path_of::<R>(&settings, &problem), problem.into_inner().message().to_owned()),
        };
        let said = error::read_message(&message);
        // `TIDEGATE_CLIENT_ID=7` reads as a number. Each round turns one more override into text, so this ends.
        if !matches!(said, Said::Wrong { .. }) || !source.overrides.untype(&path) {
            return Err(source.explain(&settings, path, said));
        }
    }
}

/// Returns the settings as TOML, for `--print-config`. [`Secret`]s show as `***`.
///
/// # Panics
/// If `raw` is no table, or holds a number that TOML has not: settings that were loaded are and do not.
#[must_use]
pub fn print_redacted<R: Serialize>(raw: &R) -> String {
    toml::to_string_pretty(raw).expect("settings came from TOML and go back to it")
}

/// Raw settings that remember where they came from.
#[derive(Debug)]
pub struct Loaded<R> {
    raw: R,
    source: Source,
}

impl<R> Loaded<R> {
    /// Returns what was read.
    pub fn raw(&self) -> &R {
        &self.raw
    }

    /// Turns the raw settings into the checked type.
    ///
    /// # Errors
    /// The first wrong setting.
    pub fn check<C: TryFrom<R, Error = Problem>>(&self) -> Result<C, ConfigError>
    where
        R: Clone,
    {
        C::try_from(self.raw.clone()).map_err(|problem| self.wrong(problem))
    }

    /// Adds the place to a problem that showed later, such as a port in use.
    #[must_use]
    pub fn wrong(&self, problem: Problem) -> ConfigError {
        self.source.wrong(problem)
    }
}

/// Where settings came from.
#[derive(Debug)]
struct Source {
    file: Option<PathBuf>,
    text: String,
    overrides: Overrides,
}

impl Source {
    fn parse(&self) -> Result<Table, ConfigError> {
        self.text.parse().map_err(|problem: toml::de::Error| {
            let start = problem.span().map_or(0, |span| span.start);
            ConfigError::Syntax {
                path: self.file.clone().unwrap_or_default(),
                line: self.text.get(..start).unwrap_or_default().matches('\n').count() + 1,
                reason: problem.message().replace('\n', ", "),
            }
        })
    }

    fn wrong(&self, problem: Problem) -> ConfigError {
        ConfigError::Wrong { origin: self.origin(&problem.key), problem }
    }

    fn origin(&self, path: &str) -> Origin {
        if let Some(with) = self.overrides.covering(path) {
            return Origin::Environment(with.variable.clone());
        }
        let Some(file) = self.file.clone() else { return Origin::Default };
        let settings = self.text.parse::<Table>().unwrap_or_default();
        let line = place::find(&settings, path).and_then(|(steps, _)| place::line(&self.text, &steps));
        Origin::File { path: file, line }
    }

    fn bad_override(&self, path: &str) -> ConfigError {
        let text = self.overrides.get(path).map(|with| with.text.clone()).unwrap_or_default();
        self.wrong(Problem::new(path, text, "a key inside tables, TIDEGATE_TABLE__KEY"))
    }

    fn explain(&self, settings: &Table, path: String, said: Said) -> ConfigError {
        match said {
            Said::UnknownKey { key, allowed } => self.unknown(settings, child(&path, &key), allowed),
            Said::UnknownVariant { name, allowed } => {
                let key = child(&path, &name);
                match place::find(settings, &key) {
                    Some(_) => self.unknown(settings, key, allowed),
                    None => self.wrong(Problem { value: self.show(settings, &path), key: path, allowed }),
                }
            }
            Said::Missing { key } => {
                self.wrong(Problem::new(join(&path, &key), "(missing)", "a value: the key is required"))
            }
            Said::Wrong { allowed, secret } => {
                let value = if secret { secret::HIDDEN.into() } else { self.show(settings, &path) };
                self.wrong(Problem { key: path, value, allowed })
            }
        }
    }

    fn unknown(&self, settings: &Table, key: String, allowed: String) -> ConfigError {
        let value = match place::find(settings, &key) {
            Some((_, Value::String(_))) => secret::HIDDEN.into(),
            _ => self.show(settings, &key),
        };
        ConfigError::UnknownKey { origin: self.origin(&key), key, value, allowed }
    }

    /// Returns the value as the operator wrote it.
    fn show(&self, settings: &Table, key: &str) -> String {
        let written = self.overrides.get(key).map(|with| with.text.clone());
        written
            .or_else(|| place::find(settings, key).map(|(_, value)| error::show(value)))
            .unwrap_or_default()
    }
}

type PathError = serde_path_to_error::Error<toml::de::Error>;

fn read_as<R: DeserializeOwned>(settings: Table) -> Result<R, PathError> {
    serde_path_to_error::deserialize(Value::Table(settings))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Returns the path of `name` in the table at `path`, which may be that of `name` itself already.
fn child(path: &str, name: &str) -> String {
    let named = path.strip_suffix(name).is_some_and(|table| table.is_empty() || table.ends_with('.'));
    if named { path.to_owned() } else { join(path, name) }
}

/// Returns the path of what is wrong, without the steps into enum variants, which do not show in TOML.
fn path_of<R: DeserializeOwned>(settings: &Table, problem: &PathError) -> String {
    problem.path().iter().fold(String::new(), |so_far, segment| match segment {
        Segment::Seq { index } => format!("{so_far}[{index}]"),
        Segment::Map { key } => join(&so_far, key),
        Segment::Enum { .. } => so_far,
        Segment::Unknown => culprit::<R>(settings, &so_far, problem).unwrap_or(so_far),
    })
}

/// Finds the key of the table at `path` that causes `problem`, for keys that were not read as text (an enum, say): it
/// is the one with which alone the problem stays.
fn culprit<R: DeserializeOwned>(settings: &Table, path: &str, problem: &PathError) -> Option<String> {
    let (steps, table) = place::find(settings, path)?;
    table.as_table()?.keys().map(|key| join(path, key)).zip(table.as_table()?.keys()).find_map(
        |(found, key)| {
            let mut alone = settings.clone();
            place::table_mut(&mut alone, &steps)?.retain(|other, _| other == key);
            let same = read_as::<R>(alone).err()?.inner().message() == problem.inner().message();
            same.then_some(found)
        },
    )
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text));
    let reason = match read {
        Ok(_) if text.len() as u64 <= MAX_FILE_BYTES => return Ok(text),
        Ok(_) => "too long".into(),
        Err(problem) => problem.to_string(),
    };
    Err(ConfigError::Unreadable { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests;
