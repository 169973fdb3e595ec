//! The last words of `tidegate up`.

use std::io::{self, Write as _};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tidegate_fleet::{Ledger, Report};

use super::audit::{Audit, audit, commits};
use super::parts::Parts;
use super::screen::Screen;

/// What the run came to.
pub(super) struct Summary {
    published: u64,
    acknowledged: u64,
    refused: u64,
    deleted_unread: u64,
    audit: Audit,
    ack_millis: (f64, f64),
}

impl Summary {
    /// Reads back what is in Kafka, while Kafka is still there.
    ///
    /// # Errors
    /// If Kafka cannot be read.
    pub(super) async fn take(
        parts: &Parts,
        report: &Report,
        ledger: &Arc<Ledger>,
        run: u64,
    ) -> anyhow::Result<Self> {
        let (broker, topics, ledger) = (Arc::clone(&parts.broker), parts.topics.clone(), Arc::clone(ledger));
        let group = parts.group.clone();
        let commits = commits(&broker.bootstrap_servers(), &group, &topics).await?;
        let (audit, deleted_unread) = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let audit = audit(&broker.bootstrap_servers(), &topics, run, &ledger, &commits)?;
            Ok((audit, broker.deleted_unread(&group)?))
        })
        .await
        .context("the audit")??;
        let millis = |quantile| {
            let micros = u32::try_from(report.ack_micros.value_at_quantile(quantile)).unwrap_or(u32::MAX);
            f64::from(micros) / 1000.0
        };
        Ok(Self {
            published: report.published,
            acknowledged: report.acknowledged,
            refused: report.refused.values().sum(),
            deleted_unread,
            audit,
            ack_millis: (millis(0.5), millis(0.99)),
        })
    }

    /// Prints the summary.
    ///
    /// # Errors
    /// If something was lost; with `complete`, also if something was left unread.
    pub(super) fn print(&self, screen: &Screen, complete: bool) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "\nsummary")?;
        writeln!(out, "  published      {:>8}", self.published)?;
        writeln!(
            out,
            "  acknowledged   {:>8}   PUBACK after {:.1} ms (median), {:.1} ms (p99)",
            self.acknowledged, self.ack_millis.0, self.ack_millis.1
        )?;
        writeln!(out, "  refused        {:>8}", self.refused)?;
        writeln!(
            out,
            "  in Kafka       {:>8}   read back and compared; {} repeated",
            self.audit.stored, self.audit.repeated
        )?;
        writeln!(out, "  consumed       {:>8}", self.audit.consumed)?;
        writeln!(out, "  lost           {:>8}   acknowledged, but not in Kafka", self.audit.lost)?;
        writeln!(out, "  replicas (want/have): {}", screen.replicas_over_time())?;
        ensure!(self.audit.lost == 0, "{} acknowledged messages are not in Kafka", self.audit.lost);
        ensure!(
            self.deleted_unread == 0,
            "the embedded Kafka deleted {} records before they were read",
            self.deleted_unread
        );
        let unread = self.audit.stored - self.audit.consumed;
        ensure!(!complete || unread == 0, "{unread} messages in Kafka were not consumed");
        ensure!(!complete || screen.peak() > 1, "the consumers were never scaled");
        Ok(())
    }
}
