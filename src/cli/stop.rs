//! The operator's wish to stop: once means in order, twice means at once.

use anyhow::bail;
use tidegate_runtime::shutdown;
use tokio_util::sync::CancellationToken;

/// Does `work` with a token that the first SIGTERM or SIGINT cancels. A second one drops the work where it is.
///
/// # Errors
/// Those of the work, or that it was asked to stop twice.
pub(crate) async fn on_signal<F>(work: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let stop = CancellationToken::new();
    let asked_twice = async {
        shutdown::signal().await;
        stop.cancel();
        shutdown::signal().await;
    };
    tokio::select! {
        ended = work(stop.clone()) => ended,
        () = asked_twice => bail!("asked twice to stop: what was under way is cut off"),
    }
}
