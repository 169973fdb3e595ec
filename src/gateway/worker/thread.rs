//! The thread of a worker, and the tasks that wait on its behalf.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tidegate_kafka::delivery::Port;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::{Arrival, Bell, Shelf, Worker, door};
use crate::Error;
use crate::shared::Shared;
use crate::spool::Resumed;
use crate::stats::Counters;

/// What a worker is made of; moved to its thread.
pub(crate) struct Seed {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) port: Port,
    pub(crate) bell: Bell,
    pub(crate) inbox: mpsc::Receiver<Arrival>,
    /// The same listening socket as every worker's: whoever is idle takes the next connection, and a worker that is
    /// busy or stuck strands nobody in a queue of its own, as it would with `SO_REUSEPORT`.
    /// None: nobody is let in.
    pub(crate) listener: Option<std::net::TcpListener>,
    /// What an earlier run has left in the log for this worker's routes.
    pub(crate) resumed: Vec<Resumed>,
}

/// How long a stopping gateway waits for its disk: a commit takes milliseconds, and one above ten seconds is DISK-DOWN.
const STORE_TIME: Duration = Duration::from_secs(5);
/// How often a stopping worker looks whether it is done; its other tasks go on between.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Records that the worker gave up at the deadline; unacknowledged, so the devices' to send again.
pub(crate) type GivenUp = u64;

/// A running worker: its thread, and the answer that comes when it has stopped; none if it died.
pub(crate) type Running = (JoinHandle<()>, oneshot::Receiver<Result<GivenUp, Error>>);

/// Starts the thread.
pub(crate) fn spawn(seed: Seed) -> Result<Running, Error> {
    let (done, ended) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name(format!("gateway-{}", seed.index))
        .spawn(move || {
            let _ = done.send(run(seed));
        })
        .map_err(Error::system("starting a worker thread"))?;
    Ok((thread, ended))
}

fn run(seed: Seed) -> Result<GivenUp, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Reports and sockets are looked at after this many polls at the latest: PINGREQs of others must not wait long.
        .event_interval(31)
        .build()
        .map_err(Error::system("starting a worker"))?;
    runtime.block_on(LocalSet::new().run_until(work(seed)))
}

async fn work(seed: Seed) -> Result<GivenUp, Error> {
    let Seed { index, shared, counters, port, bell, inbox, listener, resumed } = seed;
    let listener = listener.map(TcpListener::from_std).transpose().map_err(Error::system("listening"))?;
    let mut worker = Worker::new(index, &shared, &counters, port);
    worker.pipeline.resume(&resumed, (shared.clock)());
    let worker: Shelf = Rc::new(RefCell::new(worker));
    let accepting = tokio::task::spawn_local(door::accept(Rc::clone(&worker), listener));
    let tasks = [
        tokio::task::spawn_local(take_arrivals(Rc::clone(&worker), inbox)),
        tokio::task::spawn_local(take_news(Rc::clone(&worker), bell)),
        tokio::task::spawn_local(keep_time(Rc::clone(&worker))),
    ];
    let [arrivals, news, time] = tasks;
    tokio::select! {
        // The door closes by itself only when the gateway stops or drains.
        _ = arrivals => return Err(Error::Died("a worker's inbox")),
        _ = news => return Err(Error::Died("a worker's report task")),
        _ = time => return Err(Error::Died("a worker's timer task")),
        ended = accepting => {
            if ended.is_err() || !shared.is_closing() {
                return Err(Error::Died("a worker's accept task"));
            }
            empty(&worker, &shared).await;
            drain(&worker, &shared).await;
        }
    }
    let left = worker.borrow().pipeline.routes.records();
    Ok(left)
}

/// Takes nothing in any more, and goes on as before with what there is until the gateway stops.
async fn empty(worker: &Shelf, shared: &Shared) {
    if shared.stop.is_cancelled() {
        return;
    }
    worker.borrow_mut().close_door((shared.clock)());
    // Sticky: nothing comes in, and what the disk has is not taken back into memory.
    while !worker.borrow().is_empty() && !shared.stop.is_cancelled() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    shared.emptying.worker_is_empty();
    shared.stop.cancelled().await;
}

/// Waits for Kafka's reports of what was taken in, within the deadline, and lets the disk have the rest.
async fn drain(worker: &Shelf, shared: &Shared) {
    let start = (shared.clock)();
    worker.borrow_mut().begin_stop(start);
    let deadline = if shared.has_failed() { Duration::ZERO } else { shared.drain };
    while !worker.borrow().is_done() && (shared.clock)().since(start) < deadline {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let start = (shared.clock)();
    worker.borrow_mut().pipeline.stow_all(start);
    while worker.borrow().pipeline.is_stowing() && (shared.clock)().since(start) < STORE_TIME {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let mut worker = worker.borrow_mut();
    worker.on_news();
    worker.close_all((shared.clock)());
}

async fn take_arrivals(worker: Shelf, mut inbox: mpsc::Receiver<Arrival>) {
    while let Some(arrival) = inbox.recv().await {
        Worker::receive(&worker, arrival);
    }
}

async fn take_news(worker: Shelf, bell: Bell) {
    loop {
        bell.rung().await;
        worker.borrow_mut().on_news();
    }
}

async fn keep_time(worker: Shelf) {
    let (clock, changed) = {
        let worker = worker.borrow();
        (worker.shared.clock, worker.timers.changed())
    };
    loop {
        let due = worker.borrow_mut().next_timer();
        tokio::select! {
            () = tokio::time::sleep(due.since(clock())) => {}
            () = changed.notified() => continue,
        }
        worker.borrow_mut().on_time(clock());
    }
}
