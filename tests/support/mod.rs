//! What the tests stand on.
//!
//! Everything here returns errors that name what happened, keeps its files in a directory that outlives
//! a failed test, and ends what it started when it is dropped.

pub mod access;
pub mod cluster;
pub mod deadline;
pub mod device;
pub mod dir;
pub mod disk;
mod door;
pub mod fleet;
pub mod image;
pub mod install;
pub mod kafka;
pub mod kafka_proxy;
pub mod parts;
pub mod ports;
pub mod process;
pub mod producer;
pub mod proxy;
pub mod say;
pub mod scenario;
pub mod tidegate;
pub mod timeline;
pub mod verifier;
