//! Settings from the environment: `TIDEGATE_A__B_C` overrides the key `a.b_c`.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// What every variable of ours begins with.
const PREFIX: &str = "TIDEGATE_";
/// Variables of ours that are no settings: the log filter, and what the tests use.
const RESERVED: [&str; 3] = ["TIDEGATE_LOG", "TIDEGATE_PARTS", "TIDEGATE_SKIP_PARTS"];
/// Longest accepted nesting; the settings have four levels.
const MAX_DEPTH: usize = 8;

/// One override.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Override {
    /// Name of the variable.
    pub(super) variable: String,
    /// What it holds.
    pub(super) text: String,
    /// False once the key turned out to want a string: then `text` is taken as it is.
    typed: bool,
}

impl Override {
    /// Returns the value: TOML if the text is a TOML value (`5`, `true`, `["a"]`, `"quoted"`), else a string.
    pub(super) fn value(&self) -> Value {
        let parsed = if self.typed { self.text.parse::<Value>().ok() } else { None };
        parsed.unwrap_or_else(|| Value::String(self.text.clone()))
    }

    /// Takes the text as a string from now on. Returns whether that changes anything.
    pub(super) fn untype(&mut self) -> bool {
        let changes = self.typed && !self.value().is_str();
        self.typed = false;
        changes
    }
}

/// Overrides by dotted key path. Bounded by the size of the process's environment.
#[derive(Debug, Default)]
pub(super) struct Overrides(BTreeMap<String, Override>);

impl Overrides {
    /// Picks the settings out of the environment.
    pub(super) fn collect(env: &mut dyn Iterator<Item = (String, String)>) -> Self {
        let ours = env.filter(|(name, value)| is_setting(name, value));
        Self(
            ours.map(|(name, text)| {
                let path = name[PREFIX.len()..].to_lowercase().replace("__", ".");
                (path, Override { variable: name, text, typed: true })
            })
            .collect(),
        )
    }

    /// Returns the override of exactly this key.
    pub(super) fn get(&self, path: &str) -> Option<&Override> {
        self.0.get(path)
    }

    /// Returns the override that set this key: its own, or one of a table or array around it.
    pub(super) fn covering(&self, path: &str) -> Option<&Override> {
        let ends = path.char_indices().filter(|(_, c)| matches!(c, '.' | '[')).map(|(at, _)| at);
        let mut around: Vec<usize> = ends.collect();
        around.push(path.len());
        around.into_iter().rev().find_map(|end| self.0.get(&path[..end]))
    }

    /// See [`Override::untype`].
    pub(super) fn untype(&mut self, path: &str) -> bool {
        self.0.get_mut(path).is_some_and(Override::untype)
    }

    /// Puts the overrides over what the file says.
    ///
    /// # Errors
    /// The path of an override that is malformed or goes through a key which is not a table.
    pub(super) fn apply(&self, settings: &mut Table) -> Result<(), String> {
        for (path, with) in &self.0 {
            set(settings, path, with.value()).ok_or_else(|| path.clone())?;
        }
        Ok(())
    }
}

/// Kubernetes sets `TIDEGATE_SERVICE_HOST`, `TIDEGATE_GATEWAY_PORT_1883_TCP` and the like in every pod of a namespace
/// that has a Service named `tidegate...`: those are not ours.
fn is_setting(name: &str, value: &str) -> bool {
    if !name.starts_with(PREFIX) || RESERVED.contains(&name) {
        return false;
    }
    let of_service = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT");
    let of_port = name.contains("_TCP")
        || name.contains("_UDP")
        || value.starts_with("tcp://")
        || value.starts_with("udp://");
    name.contains("__") || !(of_service || (of_port && name.contains("_PORT")))
}

fn set(settings: &mut Table, path: &str, value: Value) -> Option<()> {
    let keys: Vec<&str> = path.split('.').collect();
    let (last, tables) = keys.split_last()?;
    if keys.len() > MAX_DEPTH || keys.iter().any(|key| key.is_empty()) {
        return None;
    }
    let mut here = settings;
    for key in tables {
        here = here.entry(*key).or_insert_with(|| Value::Table(Table::new())).as_table_mut()?;
    }
    here.insert((*last).to_owned(), value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        Overrides::collect(&mut pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn two_underscores_nest_and_one_stays_in_the_key() {
        let mut settings: Table = "listen = 'a'\n[classes.sensor]\nrate = 1.0\nburst = 50".parse().unwrap();
        let with = [
            ("TIDEGATE_LISTEN", "0.0.0.0:1883"),
            ("TIDEGATE_CLASSES__SENSOR__RATE", "2.5"),
            ("TIDEGATE_A_B__C_D", "[1, 2]"),
        ];
        overrides(&with).apply(&mut settings).unwrap();
        let want: Table =
            "listen = '0.0.0.0:1883'\n[a_b]\nc_d = [1, 2]\n[classes.sensor]\nrate = 2.5\nburst = 50"
                .parse()
                .unwrap();
        assert_eq!(settings, want);
    }

    #[test]
    fn what_is_no_setting_is_left_alone() {
        let foreign = [
            ("PATH", "/bin"),
            ("TIDEGATE_LOG", "debug"),
            ("TIDEGATE_PARTS", "/cache"),
            ("TIDEGATE_SERVICE_HOST", "10.0.0.1"),
            ("TIDEGATE_GATEWAY_SERVICE_PORT_MQTT", "1883"),
            ("TIDEGATE_GATEWAY_PORT", "tcp://10.0.0.1:1883"),
            ("TIDEGATE_GATEWAY_PORT_1883_TCP_ADDR", "10.0.0.1"),
        ];
        assert!(overrides(&foreign).0.is_empty());
    }

    #[test]
    fn a_malformed_name_is_an_error() {
        let cases =
            [("TIDEGATE_A__", "a."), ("TIDEGATE___A", ".a"), ("TIDEGATE_LISTEN__PORT", "listen.port")];
        for (name, path) in cases {
            let mut settings: Table = "listen = 'a'".parse().unwrap();
            assert_eq!(overrides(&[(name, "1")]).apply(&mut settings), Err(path.to_owned()), "{name}");
        }
    }
}
