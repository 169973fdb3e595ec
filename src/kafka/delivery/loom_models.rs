//! Model checks of the wake-up protocols: every interleaving and every stale read that the memory model allows.
//!
//! Compiles the two files a second time on loom's atomics, so that what is checked is what runs.

#![allow(clippy::duplicate_mod, reason = "once on the real atomics, once on loom's")]

#[path = "doorbell.rs"]
mod doorbell;
#[path = "waiters.rs"]
mod waiters;

mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
}

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use doorbell::Doorbell;
use waiters::Waiters;

/// A worker that a wake makes run once: it answers as `answer` does, then takes what it sees.
fn nothing_stays_unseen(bell: impl Bell) {
    let state = Arc::new((bell, AtomicUsize::new(0), AtomicUsize::new(0)));
    let producers: Vec<_> = (0..2)
        .map(|_| {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                let (bell, items, wakes) = &*state;
                items.fetch_add(1, Ordering::Release);
                if bell.ring() {
                    wakes.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let (bell, items, wakes) = &*state;
    // The worker runs for the first ring, or for a reason of its own: at any time.
    bell.answer();
    let seen = items.load(Ordering::Acquire);
    for producer in producers {
        producer.join().unwrap();
    }
    // Producers are done. Whatever the run above did not see must have left a ring that no later answer undid.
    assert!(seen == 2 || bell.is_rung(), "saw {seen} of 2 after {} wakes", wakes.load(Ordering::Relaxed));
}

trait Bell: Send + Sync + 'static {
    fn ring(&self) -> bool;
    fn answer(&self);
    fn is_rung(&self) -> bool;
}

impl Bell for Doorbell {
    fn ring(&self) -> bool {
        Doorbell::ring(self)
    }
    fn answer(&self) {
        Doorbell::answer(self);
    }
    fn is_rung(&self) -> bool {
        !Doorbell::ring(self)
    }
}

/// The mistake: the worker clears the bit with a store.
struct ClearedByStore(loom::sync::atomic::AtomicBool);

impl Bell for ClearedByStore {
    fn ring(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
    fn answer(&self) {
        self.0.store(false, Ordering::Release);
    }
    fn is_rung(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[test]
fn a_ring_is_answered_or_still_pending() {
    loom::model(|| nothing_stays_unseen(Doorbell::new()));
}

#[test]
#[should_panic(expected = "of 2 after")]
fn clearing_the_doorbell_by_a_plain_store_loses_a_wake_up() {
    loom::model(|| nothing_stays_unseen(ClearedByStore(loom::sync::atomic::AtomicBool::new(false))));
}

/// One worker is refused while another makes room; `look_again` is the rule under test.
fn a_refused_worker_gets_room_or_a_wake(look_again: bool) {
    let state = Arc::new((Waiters::new(), AtomicUsize::new(1)));
    let releaser = {
        let state = Arc::clone(&state);
        thread::spawn(move || {
            let (waiters, outstanding) = &*state;
            outstanding.store(0, Ordering::Release);
            waiters.take()
        })
    };
    let (waiters, outstanding) = &*state;
    let has_room = || outstanding.load(Ordering::Acquire) == 0;
    let mut went = has_room();
    if !went {
        waiters.register(3);
        went = look_again && has_room();
    }
    let woken = releaser.join().unwrap();
    assert!(went || woken == 1 << 3, "refused and never woken");
}

#[test]
fn a_worker_that_registers_and_looks_again_is_never_left_waiting() {
    loom::model(|| a_refused_worker_gets_room_or_a_wake(true));
}

#[test]
#[should_panic(expected = "never woken")]
fn a_worker_that_does_not_look_again_can_be_left_waiting() {
    loom::model(|| a_refused_worker_gets_room_or_a_wake(false));
}
