//! A setting of a Kafka client that cannot be used: the operator's to correct.

/// Names the wrong setting and what is allowed instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: allowed is {allowed}")]
pub struct SettingError {
    /// Name of the setting; for librdkafka's own, as the operator wrote it.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What is allowed, with units.
    pub allowed: String,
}

impl SettingError {
    pub(crate) fn new(key: &str, value: &(impl ToString + ?Sized), allowed: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value: value.to_string(), allowed: allowed.into() }
    }
}
