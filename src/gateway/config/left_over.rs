//! Settings of a gateway that only empties a left-over spool: made from what lies in it, since nobody need have those that it
//! was filled with.
//!
//! Every record in the log says where it goes, so there is a class for each lane and no route.

use std::path::Path;

use tidegate_core::admission::{Class, ClassTable, DEFAULT_CLASSES, Limit, MAX_CLASSES};
use tidegate_runtime::config::Problem;
use tidegate_spool::{RawLane, RawPolicy};

use super::check::{check_kafka, is_name};
use super::spool::{MAX_BYTES, MAX_RECORD_BYTES};
use super::{AckAt, KafkaSettings, Settings, SpoolSettings};

/// Only dead letters are written: room is set aside in small steps, since the disk may be full.
const SEGMENT_BYTES: u64 = 4 * MAX_RECORD_BYTES;

/// Returns the settings that empty the spool in `dir`, with a class for each of `lanes`.
pub(crate) fn of_left_over(
    dir: &Path,
    lanes: &[String],
    name: &str,
    kafka: KafkaSettings,
) -> Result<Settings, Problem> {
    if !is_name(name) {
        return Err(Problem::new("name", name, "1 to 64 letters, digits, `.`, `_` and `-`"));
    }
    let class = |lane: &String| Class {
        name: lane.clone(),
        // Nobody comes in who could be limited.
        limit: Limit::new(DEFAULT_CLASSES[0].per_sec, DEFAULT_CLASSES[0].burst).expect("a preset is allowed"),
        priority: 0,
        users: Vec::new(),
        client_id_prefixes: Vec::new(),
    };
    let first = lanes.first().map_or("", String::as_str);
    let classes = ClassTable::new(lanes.iter().map(class).collect(), first)
        .map_err(|_| Problem::new("lanes", lanes.join(", "), format!("1 to {MAX_CLASSES} lanes")))?;
    // No bound but the disk: what Kafka refuses must not hold up the rest.
    let room = MAX_BYTES.unsigned_abs();
    let lane = |class: &Class| RawLane {
        name: class.name.clone(),
        capacity_bytes: room,
        full: RawPolicy::Block,
        allow_acked_loss: false,
    };
    let log = tidegate_spool::RawSettings {
        name: name.to_owned(),
        lanes: classes.iter().map(|(_, class)| lane(class)).collect(),
        segment_bytes: SEGMENT_BYTES,
        pool_bytes: SEGMENT_BYTES,
        max_record_bytes: MAX_RECORD_BYTES,
        free_floor_bytes: 0,
        dead_letter_bytes: room,
        ..tidegate_spool::RawSettings::default()
    };
    let log = log
        .try_into()
        .map_err(|wrong: tidegate_spool::WrongSetting| Problem::new(wrong.key, wrong.value, wrong.allowed))?;
    let dir = dir.to_owned();
    let settings = Settings {
        name: name.to_owned(),
        max_connections: 0,
        classes,
        class_filters: Vec::new(),
        routes: Vec::new(),
        spool: Some(SpoolSettings { dir, ack: Some(AckAt::First), max_record_bytes: MAX_RECORD_BYTES, log }),
        kafka,
        ..Settings::minimal("replaced:9092")
    };
    check_kafka(&settings)?;
    Ok(settings)
}
