//! What became of a field, and taking fields out of a manifest so that none is forgotten.

use std::fmt;

use serde_json::{Map, Value};

/// What became of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is this field now.
    Kept(&'static str),
    /// It is not needed, and why.
    Needless(String),
    /// It cannot be kept, and why.
    Lost(String),
}

/// One field of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Path in the manifest.
    pub(super) path: String,
    /// Its value, short.
    pub(super) value: String,
    pub(super) fate: Fate,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, value, fate } = self;
        match fate {
            Fate::Kept(to) => write!(f, "kept      {path} = {value} -> {to}"),
            Fate::Needless(why) => write!(f, "needless  {path} = {value}: {why}"),
            Fate::Lost(why) => write!(f, "LOST      {path} = {value}: {why}"),
        }
    }
}

/// Longest value shown, in characters.
const SHOWN_MAX: usize = 60;

/// A part of the manifest that is taken apart: what is left over at the end was not understood.
pub(super) struct Part {
    path: String,
    map: Map<String, Value>,
}

impl Part {
    pub(super) fn new(path: &str, value: Value) -> Self {
        let map = match value {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        Self { path: path.to_owned(), map }
    }

    /// Returns the path of a field of this part.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Takes a field out.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// Takes a field out, as a part of its own; an empty one if it is not there.
    pub(super) fn part(&mut self, key: &str) -> Self {
        let path = self.path(key);
        Self::new(&path, self.take(key).unwrap_or_default())
    }

    /// Takes a field out that is text, or a number that is written as one: trigger metadata has both.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        Some(match self.take(key)? {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }

    /// Takes a field out that is a whole number, quoted or not. One that is none goes back, to be lost.
    pub(super) fn number(&mut self, key: &str) -> Option<u64> {
        let value = self.take(key)?;
        let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
        if number.is_none() {
            self.map.insert(key.to_owned(), value);
        }
        number
    }

    /// Notes what becomes of a field, if it is there.
    pub(super) fn note(&mut self, fields: &mut Vec<Field>, key: &str, fate: impl FnOnce(&str) -> Fate) {
        if let Some(value) = self.take(key) {
            let text = shown(&value);
            let fate = fate(&text);
            fields.push(Field { path: self.path(key), value: text, fate });
        }
    }

    /// What is left was not understood, and is lost.
    pub(super) fn rest(self, fields: &mut Vec<Field>) {
        for (key, value) in &self.map {
            let path = self.path(key);
            let fate = Fate::Lost("this import does not know it".to_owned());
            fields.push(Field { path, value: shown(value), fate });
        }
    }
}

/// Returns a value as it is shown: on one line, and short.
pub(super) fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line = text.replace(['\n', '\r'], " ");
    match line.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}
