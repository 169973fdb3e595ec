//! Waits for the operator's signal to stop.
//!
//! What a process does then is its own: it cancels the token that it passed to its components.

use tokio::signal::unix::{SignalKind, signal as listen};

/// Returns when the process is asked to stop, by SIGTERM or SIGINT. Call again to wait for a second request.
///
/// # Panics
/// Outside a tokio runtime whose I/O driver runs.
pub async fn signal() {
    const WHY: &str = "SIGTERM and SIGINT may be handled by every process";
    let mut terminate = listen(SignalKind::terminate()).expect(WHY);
    let mut interrupt = listen(SignalKind::interrupt()).expect(WHY);
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "asked to stop");
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_sigterm_ends_the_wait() {
        let mut waiting = pin!(signal());
        // The first poll installs the handlers; before it, the signal would end the test process.
        poll_fn(|cx| {
            assert!(waiting.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
        tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("the signal arrives");
    }
}
