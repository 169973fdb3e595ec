//! What the status of an object says, and whether it is worth a write. Pure.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Map, Value};
use tidegate_core::time::{Timestamp, UnixMillis};

use super::api::wall;
use super::trouble::{KAFKA_OBSERVED, Kind, READY, TARGET_SCALABLE, Trouble};
use crate::crd::{IngestScalerStatus, Slo};
use crate::view::View;

/// A status is written this often even if nothing changed, so that its live figures are not from another day.
pub(super) const HEARTBEAT: Duration = Duration::from_mins(10);

/// What a status is made of.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) generation: Option<i64>,
    /// The promised delay.
    pub(super) slo: Option<Duration>,
    /// What the scaler saw last; `None` if none runs.
    pub(super) view: Option<&'a View>,
    /// What is wrong.
    pub(super) troubles: &'a [Trouble],
    /// The status before, whose conditions keep their times.
    pub(super) previous: Option<&'a IngestScalerStatus>,
    /// Wall-clock time.
    pub(super) now: UnixMillis,
}

/// Whether a status should be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// Somebody who looks would be told something wrong.
    Yes,
    /// Only to show that it is alive.
    Heartbeat,
    /// At most live figures changed.
    No,
}

/// Returns what the status should say.
pub(super) fn status(case: &Case) -> IngestScalerStatus {
    let worst = case.troubles.iter().min_by_key(|trouble| trouble.kind);
    let decided = case.view.filter(|view| view.decision.is_some());
    let decision = decided.and_then(|view| view.decision.as_ref());
    let blind = case.troubles.iter().any(|trouble| trouble.kind.condition() == KAFKA_OBSERVED);
    // What was known before Kafka fell silent is not known now.
    let delay_secs = decided.filter(|_| !blind).and_then(|view| view.delay_secs);
    let (reason, message) = match (worst, decided, decision) {
        (Some(trouble), ..) => (trouble.kind.as_str().to_owned(), trouble.sentence()),
        (None, Some(view), Some(decision)) => (camel(decision.reason.as_str()), view.sentence.clone()),
        _ => ("Starting".to_owned(), "nothing was decided yet".to_owned()),
    };
    IngestScalerStatus {
        observed_generation: case.generation,
        want: decided.map(|view| view.want),
        have: decision.map(|decision| decision.terms.current),
        ready: decided.map(|view| view.have),
        slo: Some(met(delay_secs, case.slo)),
        reason: Some(reason),
        message: Some(message),
        delay_seconds: delay_secs.map(|secs| rounded(secs, 10.0)),
        mu: decision.and_then(|decision| decision.terms.mu).map(|mu| rounded(mu, 10.0)),
        offered: decided.and_then(|view| view.offered_per_sec).map(|rate| rounded(rate, 1.0)),
        bound: decision.map(|decision| camel(decision.bound.as_str())),
        conditions: conditions(case, worst),
    }
}

fn met(delay_secs: Option<f64>, slo: Option<Duration>) -> Slo {
    match (delay_secs, slo) {
        (Some(delay), Some(slo)) if delay <= slo.as_secs_f64() => Slo::Met,
        (Some(_), Some(_)) => Slo::Missed,
        _ => Slo::Unknown,
    }
}

fn conditions(case: &Case, worst: Option<&Trouble>) -> Vec<Condition> {
    let looked = case.view.is_some_and(|view| view.decision.is_some() || !case.troubles.is_empty());
    let of = |type_: &str, fine: (&str, &str)| {
        let trouble = case
            .troubles
            .iter()
            .filter(|trouble| trouble.kind.condition() == type_)
            .min_by_key(|trouble| trouble.kind);
        match trouble {
            Some(trouble) => {
                // The target may be as it should: nobody can tell.
                let status = if trouble.kind == Kind::ApiUnavailable { "Unknown" } else { "False" };
                condition(case, type_, status, trouble.kind.as_str(), trouble.sentence())
            }
            None if looked => condition(case, type_, "True", fine.0, fine.1.to_owned()),
            None => {
                condition(case, type_, "Unknown", "NotRunning", "no scaler runs for this object".to_owned())
            }
        }
    };
    let ready = match worst {
        Some(trouble) => condition(case, READY, "False", trouble.kind.as_str(), trouble.sentence()),
        None => condition(case, READY, "True", "Scaling", "the group is observed and scaled".to_owned()),
    };
    vec![
        of(KAFKA_OBSERVED, ("Observed", "kafka tells about the group")),
        of(TARGET_SCALABLE, ("Scalable", "the target exists and nobody else scales it")),
        ready,
    ]
}

fn condition(case: &Case, type_: &str, status: &str, reason: &str, message: String) -> Condition {
    let since = case
        .previous
        .and_then(|previous| previous.conditions.iter().find(|before| before.type_ == type_))
        .filter(|before| before.status == status)
        .map_or_else(|| Time(wall(case.now)), |before| before.last_transition_time.clone());
    Condition {
        last_transition_time: since,
        message,
        observed_generation: case.generation,
        reason: reason.to_owned(),
        status: status.to_owned(),
        type_: type_.to_owned(),
    }
}

/// Returns `snake_case` as `CamelCase`, which the API's reasons are written in.
fn camel(snake: &str) -> String {
    let mut text = String::with_capacity(snake.len());
    let mut upper = true;
    for letter in snake.chars() {
        if letter == '_' {
            upper = true;
        } else if upper {
            text.extend(letter.to_uppercase());
            upper = false;
        } else {
            text.push(letter);
        }
    }
    text
}

fn rounded(value: f64, per_unit: f64) -> f64 {
    (value * per_unit).round() / per_unit
}

/// Returns whether `new` should replace `old`, which was written at `last_write`.
///
/// Live figures, the reason of a decision and texts are no reason: they change with every tick, and an edge node's API
/// server has better things to do. They are in the metrics and go along with the next write.
pub(super) fn worth_writing(
    old: Option<&IngestScalerStatus>,
    new: &IngestScalerStatus,
    last_write: Timestamp,
    now: Timestamp,
) -> Worth {
    let Some(old) = old else { return Worth::Yes };
    let says = |status: &IngestScalerStatus| {
        (status.observed_generation, status.want, status.have, status.bound.clone(), status.slo)
    };
    let stands = |status: &IngestScalerStatus| -> Vec<(String, String, String)> {
        let one = |it: &Condition| (it.type_.clone(), it.status.clone(), it.reason.clone());
        status.conditions.iter().map(one).collect()
    };
    if says(old) != says(new) || stands(old) != stands(new) {
        Worth::Yes
    } else if now.since(last_write) >= HEARTBEAT {
        Worth::Heartbeat
    } else {
        Worth::No
    }
}

/// Returns the merge patch that makes `old` to `new`: what is not known any more has to be named to be removed.
pub(super) fn patch(old: Option<&IngestScalerStatus>, new: &IngestScalerStatus) -> Value {
    let fields = |status: &IngestScalerStatus| match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let mut patch = fields(new);
    for (key, _) in old.map(fields).unwrap_or_default() {
        patch.entry(key).or_insert(Value::Null);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests;
