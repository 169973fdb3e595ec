//! Waiting for a condition, never for a time.

use std::time::Duration;

use anyhow::{Result, bail};
use tidegate_runtime::clock;

/// How often a condition is looked at: short beside what the tests wait for, long beside one look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks at a condition until it gives a value.
///
/// # Errors
/// The probe's own error, at once, or `within` having passed, which names `what`.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = clock::monotonic();
    loop {
        if let Some(value) = probe().await? {
            return Ok(value);
        }
        if clock::monotonic().since(start) > within {
            bail!("waited {within:?} in vain: {what}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
