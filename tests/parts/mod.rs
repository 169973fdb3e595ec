//! The ground that the other tests stand on: the real parts do what the support says they do.

mod false_success;
mod kafka;
mod kubernetes;
