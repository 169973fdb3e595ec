//! The frame of every test over real parts.

use std::path::Path;

use anyhow::Result;
use tokio::sync::Mutex;

use super::dir::TestDir;
use super::parts;

/// One test at a time starts real servers: several Kafkas on two cores would be tested for the cores' patience.
static TURN: Mutex<()> = Mutex::const_new(());

/// Runs `body` with a directory of its own, when no other test uses real parts.
///
/// If the run was asked to do without them, names the `promise` that goes unchecked and returns. If the body fails,
/// by an error or a panic, the directory stays for a look.
///
/// # Errors
/// The body's.
pub async fn on_real_parts(promise: &str, body: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<()> {
    if parts::skipped(promise) {
        return Ok(());
    }
    let _turn = TURN.lock().await;
    let mut dir = TestDir::new("test")?;
    let result = body(dir.path()).await;
    if result.is_err() {
        dir.keep();
    }
    result
}
