//! What happened over the window, in as many parts as a plot has columns.

use serde::Serialize;

use crate::num::{index, real_len};

/// Parts of a window: about as many as a wide screen shows.
pub const PARTS: usize = 480;

/// Values per part of the window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// Length of one part, in seconds.
    pub part_secs: f64,
    /// Messages per second that devices first sent.
    pub sent_per_sec: Vec<f64>,
    /// Replicas ordered, at most.
    pub ordered: Vec<u32>,
    /// Replicas that a node ran, at most.
    pub placed: Vec<u32>,
    /// Replicas ready, at the least.
    pub ready: Vec<u32>,
    /// Messages in Kafka, at most.
    pub lag: Vec<u64>,
    /// Messages in front of Kafka, at most.
    pub in_front: Vec<u64>,
    /// Of the messages first sent in the part, the share that was late or never delivered.
    pub late_share: Vec<f64>,
}

impl Series {
    pub(crate) fn new(window_secs: f64) -> Self {
        Self {
            part_secs: window_secs / real_len(PARTS),
            sent_per_sec: vec![0.0; PARTS],
            ordered: vec![0; PARTS],
            placed: vec![0; PARTS],
            ready: vec![u32::MAX; PARTS],
            lag: vec![0; PARTS],
            in_front: vec![0; PARTS],
            late_share: vec![0.0; PARTS],
        }
    }

    pub(crate) fn add(
        &mut self,
        into_secs: f64,
        sent: u32,
        (ordered, placed, ready): (u32, u32, u32),
        lag: u64,
        in_front: u64,
    ) {
        let part = index(into_secs / self.part_secs).min(PARTS - 1);
        self.sent_per_sec[part] += f64::from(sent) / self.part_secs;
        self.ordered[part] = self.ordered[part].max(ordered);
        self.placed[part] = self.placed[part].max(placed);
        self.ready[part] = self.ready[part].min(ready);
        self.lag[part] = self.lag[part].max(lag);
        self.in_front[part] = self.in_front[part].max(in_front);
    }

    pub(crate) fn late(&mut self, shares: impl Iterator<Item = f64>) {
        for (part, share) in self.late_share.iter_mut().zip(shares) {
            *part = share;
        }
    }
}
