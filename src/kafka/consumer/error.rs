//! Why a consumer could not start or had to end.

use crate::setting::SettingError;

/// Why a consumer could not start or had to end; all else it waits out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The operator must correct a setting.
    #[error(transparent)]
    Setting(#[from] SettingError),
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
