//! Checks what is in Kafka against what was acknowledged to the devices.
//!
//! Three steps, usable apart: a [`Ledger`] is filled while the test publishes; [`reader`] reads topics to
//! their end and makes each record a [`Seen`]; a [`Check`] is fed with them and gives a [`Verdict`]. The check
//! is pure: no Kafka, no files.
//!
//! What it holds the product to:
//! - every acknowledged message is in Kafka;
//! - first occurrences are in publish order, per key and class (the tests' devices stay with one gateway);
//! - a key of a class stays in one partition;
//! - a consumer that drops what the `tg-` headers call a duplicate loses nothing, and sees the same order;
//! - nothing is there that nobody published.
//!
//! Duplicates are no fault, they are counted by kind.

mod check;
mod ledger;
mod payload;
pub mod reader;
mod seq_set;
mod verdict;

pub use check::{Check, Origin, Seen};
pub use ledger::{Ledger, Message, Stream};
pub use payload::{Decode, Lines};
pub use seq_set::SeqSet;
pub use verdict::{Duplicates, Findings, Verdict};
