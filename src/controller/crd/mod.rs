//! The API object `IngestScaler`: what an operator writes, what the controller answers, and what the API server checks.
//!
//! Owns the shape of the object and its rules. Every rule is there twice: as schema and CEL, so that `kubectl apply`
//! refuses what is wrong, and as a check of the stored spec, because an older definition may have let it in. Who works
//! on an object is not known here. Doc comments of fields are what `kubectl explain` prints.

mod duration;
mod settings;
mod spec;
mod status;

use kube::CustomResourceExt as _;

pub use spec::{
    Behavior, Capacity, Down, IngestScaler, IngestScalerSpec, Kafka, Promise, Replicas, ScaleTargetRef, Up,
};
pub use status::{IngestScalerStatus, Slo};

/// Returns the `CustomResourceDefinition` as YAML: what `tidegate crd` prints.
///
/// # Panics
/// Never: the definition is made of values that YAML can hold, and a test writes it.
#[must_use]
pub fn crd_yaml() -> String {
    let yaml = serde_saphyr::to_string(&IngestScaler::crd()).expect("a definition is plain data");
    format!("# Made by `tidegate crd`; `make generate` writes it anew.\n{yaml}")
}

#[cfg(test)]
mod tests;
