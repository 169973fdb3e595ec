//! Why a target cannot be looked at or scaled: a closed set, so that each kind can be told with what to do about it.

use serde::Serialize;

/// A look or an order that failed. Nothing was scaled; the next tick tries again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct TargetError {
    /// What kind of failure it is.
    pub kind: TargetErrorKind,
    /// What is wrong, and with what.
    pub message: String,
}

impl TargetError {
    /// Returns an error of `kind`.
    pub fn new(kind: TargetErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum TargetErrorKind {
    /// There is no such target.
    NotFound,
    /// The controller has no right to look at it or to scale it.
    Forbidden,
    /// It exists and cannot be scaled.
    Unsupported,
    /// Somebody else scales it.
    Owned,
    /// Somebody changed it between the look and the order: the next look shows what it is now.
    Conflict,
    /// Whoever runs it does not answer.
    Unavailable,
}
