//! The scaling rule over a model of a site on virtual time, beside models of the HPA and of KEDA.
//!
//! Owns traces, the model and what is counted in it. The rule is `tidegate_core`'s own code, called as the controller
//! calls it. No clock, no I/O: text comes in and goes out, and everything random is drawn from a seed.

mod num;
pub mod trace;
