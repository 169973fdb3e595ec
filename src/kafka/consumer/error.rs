//! Why a consumer could not start or had to end.

/// Why a consumer could not start or had to end; all else it waits out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The operator must correct a setting.
    #[error("{key} = {value}: allowed is {allowed}")]
    Setting {
        /// Name of the setting.
        key: String,
        /// Its value.
        value: String,
        /// What is allowed, with units.
        allowed: String,
    },
    /// librdkafka did not start, or refused the subscription.
    #[error("kafka consumer: {0}")]
    Client(String),
    /// librdkafka cannot go on: another member took its identity, for instance.
    #[error("kafka consumer failed for good: {0}")]
    Fatal(String),
    /// The operating system did not start the thread.
    #[error("consumer thread: {0}")]
    Thread(String),
    /// The thread ended without a word.
    #[error("consumer thread panicked")]
    Panicked,
}

impl Error {
    pub(super) fn setting(key: &str, value: &(impl ToString + ?Sized), allowed: impl Into<String>) -> Self {
        Self::Setting { key: key.to_owned(), value: value.to_string(), allowed: allowed.into() }
    }
}
