//! Topic aliases of one connection (section 3.3.2.3.4); they end with it [MQTT-3.3.2-7].

use std::num::NonZeroU16;

/// Names by alias. Bounded by the alias maximum times the longest topic name; grows to the highest alias used.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    names: Vec<Option<Box<str>>>,
}

impl Aliases {
    pub(super) fn get(&self, alias: NonZeroU16) -> Option<&str> {
        self.names.get(index(alias))?.as_deref()
    }

    /// Gives `alias` a new name. Allocates only if the name differs from the old one: some clients send both always.
    pub(super) fn set(&mut self, alias: NonZeroU16, name: &str) {
        let index = index(alias);
        if index >= self.names.len() {
            self.names.resize(index + 1, None);
        }
        let slot = &mut self.names[index];
        if slot.as_deref() != Some(name) {
            *slot = Some(name.into());
        }
    }
}

fn index(alias: NonZeroU16) -> usize {
    usize::from(alias.get()) - 1
}
