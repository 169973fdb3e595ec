//! Scaling and admission as one loop: how much may enter Kafka while replicas are what they are.
//!
//! Owns the budget of a topic ([`BudgetLoop`]), who gets which part of it ([`allot`]), what is out at gateways ([`Ledger`])
//! and what a failure of the surroundings changes ([`Mode`]). Deliberately does not know how many replicas there should be
//! (that is `scaling`), nor what a gateway does with a message that is over its budget (that is `admission`).
//!
//! Symbols: mu messages per second one replica can do, Q backlog, S the promised delay, B budget. Sources: the project's
//! design, section 6.3; each formula stands at its function.

mod allot;
mod blind;
mod budget;
mod fill;
mod ledger;
mod mode;

pub use allot::{Allotment, ClassLoad, TopicLoad, allot};
pub use budget::{Budget, BudgetBound, BudgetLoop, Consumers, floors_allowed, topic_budget};
pub use fill::{ClassDemand, fill, shares};
pub use ledger::{LEASE_VALID_FOR, Ledger};
pub use mode::{Health, Mode};
