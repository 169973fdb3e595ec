//! The thread that takes one lane's reports from librdkafka and puts them into the workers' rings.
//!
//! Does as little as it can per record: it proves the offset, pushes, and rings each worker once per batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;

use super::Error;
use super::opaque::Opaque;
use super::proof::Proof;
use super::retire::retire;
use super::shared::{Instance, Report, Shared, Verdict};
use crate::native;
use crate::rebootstrap::Rebootstrap;

/// How long one wait for events lasts; a stop interrupts it.
const WAIT: Duration = Duration::from_secs(1);

/// A running report thread.
pub(super) struct Reporter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    lane: usize,
}

impl Reporter {
    pub(super) fn start(shared: &Arc<Shared>, lane: usize) -> Result<Self, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let name = format!("kafka-{}", shared.lanes[lane].name);
        let thread = {
            let (shared, stop) = (Arc::clone(shared), Arc::clone(&stop));
            std::thread::Builder::new().name(name).spawn(move || serve(&shared, lane, &stop))
        };
        let thread = thread.map_err(|error| Error::Thread {
            lane: shared.lanes[lane].name.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self { stop, thread, lane })
    }

    /// Ends the thread; what was not served by then stays in librdkafka.
    pub(super) fn stop(self, shared: &Shared) {
        self.stop.store(true, Ordering::Release);
        shared.lanes[self.lane].instance().producer.interrupt();
        // It ends by itself or by a panic, which `Watch` has recorded.
        let _ = self.thread.join();
    }
}

fn serve(shared: &Arc<Shared>, lane: usize, stop: &AtomicBool) {
    let watch = Watch { shared, lane, died: "the report thread ended" };
    let servers = shared.lanes[lane].config.get("bootstrap.servers").unwrap_or_default();
    let (mut served, mut rebootstrap) = (0, Rebootstrap::default());
    while !stop.load(Ordering::Acquire) {
        let Instance { number, producer } = shared.lanes[lane].instance();
        if std::mem::replace(&mut served, number) != number {
            rebootstrap = Rebootstrap::default();
        }
        let proof = Proof::default();
        let mut batch = Batch { shared, lane, number, rebootstrap: &mut rebootstrap, proof, touched: 0 };
        let came = producer.serve(WAIT, &mut batch);
        shared.ring(batch.touched);
        if !came && rebootstrap.waited(WAIT) && producer.rebootstrap(servers) {
            rebootstrap.answered();
        }
    }
    std::mem::forget(watch);
}

/// Fails a lane when it is dropped, by a panic: without the thread that holds it the lane acknowledges nothing, and it is
/// better to say so than to wait for ever.
pub(super) struct Watch<'a> {
    pub(super) shared: &'a Shared,
    pub(super) lane: usize,
    pub(super) died: &'static str,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.shared.lanes[self.lane].fail(None, self.died.to_owned());
        self.shared.ring(u64::MAX);
    }
}

/// One event of librdkafka: the reports of a batch, or an error.
struct Batch<'a> {
    shared: &'a Arc<Shared>,
    lane: usize,
    /// Number of the instance whose event it is.
    number: u32,
    rebootstrap: &'a mut Rebootstrap,
    proof: Proof,
    /// Workers that got a report.
    touched: u64,
}

impl native::Listener for Batch<'_> {
    fn report(&mut self, report: native::Report) {
        let lane = &self.shared.lanes[self.lane];
        let verdict = match report.error {
            Some(code) => {
                if lane.retires {
                    retire(
                        self.shared,
                        self.lane,
                        self.number,
                        &format!("a record was refused with {code:?}"),
                    );
                }
                Verdict::Failed(code)
            }
            None if self.proof.judge(report.topic, report.partition, report.offset) => {
                lane.has_proven.store(true, Ordering::Relaxed);
                self.rebootstrap.answered();
                Verdict::Delivered(report.offset)
            }
            None => Verdict::Unproven,
        };
        let worker = Opaque::unpack(report.opaque).worker;
        self.shared.workers[worker]
            .ring
            .push(Report { opaque: report.opaque, verdict })
            .expect("a hand-over takes a credit, and the ring has one place per credit");
        self.touched |= 1 << worker;
    }

    fn error(&mut self, code: RDKafkaErrorCode, reason: &str) {
        let lane = &self.shared.lanes[self.lane];
        if code == RDKafkaErrorCode::AllBrokersDown {
            self.rebootstrap.brokers_down();
        }
        let instance = lane.instance();
        // An event of an instance that was replaced meanwhile says nothing about the new one.
        let fatal = (instance.number == self.number).then(|| instance.producer.fatal()).flatten();
        if let Some((code, reason)) = fatal {
            if lane.retires {
                retire(self.shared, self.lane, self.number, &format!("{code:?}: {reason}"));
            } else {
                lane.fail(Some(code), reason);
                self.touched = u64::MAX;
            }
        } else {
            tracing::warn!(lane = lane.name, ?code, reason, "producer error");
        }
    }
}
