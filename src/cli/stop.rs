//! The operator's wish to stop, as a token.

use tidegate_runtime::shutdown;
use tokio_util::sync::CancellationToken;

/// Returns a token that SIGTERM or SIGINT cancels. Call it on the runtime.
pub(crate) fn on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        shutdown::signal().await;
        asked.cancel();
    });
    stop
}
