//! Device classes: their limits, their priority, and who belongs to which.
//!
//! Owns the table and the match at CONNECT. A class that is chosen by topic filter is the gateway's finding;
//! here it is only a [`ClassId`].

use std::collections::BTreeSet;

use super::bucket::Limit;

/// Most classes of one gateway: each has a Kafka producer of its own, and eight are already many.
pub const MAX_CLASSES: usize = 8;

/// Index of a class in its [`ClassTable`], in order of priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(u8);

impl ClassId {
    /// Returns the index in the table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Limits of a class that exists without being configured.
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// Messages per second and device.
    pub per_sec: f64,
    /// Messages at once and device.
    pub burst: u32,
    /// 0 is served first.
    pub priority: u8,
}

/// The classes of the design: alarms first, gateways that speak for many devices next, sensors last.
pub const DEFAULT_CLASSES: [Preset; 3] = [
    Preset { name: "alarm", per_sec: 10.0, burst: 50, priority: 0 },
    Preset { name: "gateway", per_sec: 100.0, burst: 200, priority: 1 },
    Preset { name: "sensor", per_sec: 10.0, burst: 50, priority: 2 },
];

/// One class of devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Name, unique in the table; a metric label and part of topic names.
    pub name: String,
    /// What each of its devices may send.
    pub limit: Limit,
    /// 0 is served first.
    pub priority: u8,
    /// User names whose connections are of this class.
    pub users: Vec<String>,
    /// Beginnings of client ids whose connections are of this class.
    pub client_id_prefixes: Vec<String>,
}

/// Why a table of classes cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassError {
    /// Two classes have this name.
    #[error("class {0} is there twice")]
    Duplicate(String),
    /// The default class is not in the table.
    #[error("class {0} is not defined")]
    Unknown(String),
    /// Too many classes, or none.
    #[error("{0} classes: allowed is 1 to {MAX_CLASSES}")]
    Count(usize),
}

/// All classes of a gateway, the most urgent first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassTable {
    classes: Vec<Class>,
    default: ClassId,
}

impl ClassTable {
    /// Returns the table of `classes`, where a connection that none of them claims is of `default`.
    ///
    /// # Errors
    /// Fails if a name is there twice, if `default` is not among them, or if their number is out of range.
    pub fn new(mut classes: Vec<Class>, default: &str) -> Result<Self, ClassError> {
        if classes.is_empty() || classes.len() > MAX_CLASSES {
            return Err(ClassError::Count(classes.len()));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = classes.iter().find(|class| !names.insert(class.name.clone())) {
            return Err(ClassError::Duplicate(twice.name.clone()));
        }
        classes.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
        let table = Self { classes, default: ClassId(0) };
        let default = table.by_name(default).ok_or_else(|| ClassError::Unknown(default.to_owned()))?;
        Ok(Self { default, ..table })
    }

    /// Returns the class of a connection: the most urgent one that names its user or a beginning of its client
    /// id, otherwise the default. Without authentication both are only claims.
    #[must_use]
    pub fn at_connect(&self, user: Option<&str>, client_id: &str) -> ClassId {
        let claims = |class: &Class| {
            user.is_some_and(|user| class.users.iter().any(|name| name == user))
                || class.client_id_prefixes.iter().any(|prefix| client_id.starts_with(prefix.as_str()))
        };
        self.iter().find(|(_, class)| claims(class)).map_or(self.default, |(id, _)| id)
    }

    /// Returns the id of the class of that name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<ClassId> {
        self.iter().find(|(_, class)| class.name == name).map(|(id, _)| id)
    }

    /// Returns a class.
    ///
    /// # Panics
    /// If the id is of another, larger table.
    #[must_use]
    pub fn get(&self, id: ClassId) -> &Class {
        &self.classes[id.index()]
    }

    /// Returns all classes with their ids, the most urgent first.
    pub fn iter(&self) -> impl Iterator<Item = (ClassId, &Class)> {
        (0u8..).map(ClassId).zip(&self.classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, priority: u8, users: &[&str], prefixes: &[&str]) -> Class {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let limit = Limit::new(10.0, 50).unwrap();
        Class {
            name: name.to_owned(),
            limit,
            priority,
            users: owned(users),
            client_id_prefixes: owned(prefixes),
        }
    }

    fn table() -> ClassTable {
        let classes = vec![
            class("sensor", 2, &[], &[]),
            class("alarm", 0, &["fire"], &["alarm-"]),
            class("gateway", 1, &["hub"], &["alarm-hub", "gw-"]),
        ];
        ClassTable::new(classes, "sensor").unwrap()
    }

    #[test]
    fn a_connection_is_classed_by_user_or_client_id_and_the_most_urgent_wins() {
        let table = table();
        let name = |user, id| table.get(table.at_connect(user, id)).name.as_str();
        assert_eq!(name(None, "anything"), "sensor");
        assert_eq!(name(Some("hub"), "anything"), "gateway");
        assert_eq!(name(None, "gw-7"), "gateway");
        assert_eq!(name(None, "alarm-hub-7"), "alarm");
        assert_eq!(name(Some("fire"), "gw-7"), "alarm");
        assert_eq!(name(Some("fir"), "gw"), "sensor");
    }

    #[test]
    fn ids_are_in_order_of_priority() {
        let table = table();
        let names: Vec<_> = table.iter().map(|(id, class)| (id.index(), class.name.as_str())).collect();
        assert_eq!(names, [(0, "alarm"), (1, "gateway"), (2, "sensor")]);
    }

    #[test]
    fn a_table_without_its_default_or_with_a_name_twice_is_refused() {
        let one = |name| vec![class(name, 0, &[], &[])];
        assert_eq!(ClassTable::new(one("a"), "b"), Err(ClassError::Unknown("b".to_owned())));
        assert_eq!(
            ClassTable::new([one("a"), one("a")].concat(), "a"),
            Err(ClassError::Duplicate("a".to_owned()))
        );
        assert_eq!(ClassTable::new(Vec::new(), "a"), Err(ClassError::Count(0)));
    }

    #[test]
    fn the_presets_are_valid_limits() {
        for preset in DEFAULT_CLASSES {
            assert!(Limit::new(preset.per_sec, preset.burst).is_some(), "{}", preset.name);
        }
    }
}
