//! The Kafka topics of a gateway: how many partitions and copies each has, and which messages go where.
//!
//! Owns what happens once, between the settings and the first message. With a spool, also the topics that only an
//! earlier run's settings knew and that the log still has records for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate_kafka::delivery::{Delivery, LaneId};
use tidegate_kafka::topics;
use tidegate_runtime::admin::Readiness;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::config::Settings;
use crate::emptying::Wait;
use crate::route::{Destination, Router, Rule, StreamId};
use crate::run::Door;
use crate::spool::{self, InLog, Opened, Topic};

/// How long a gateway that knows the topics of its last run waits for Kafka to tell them.
const KAFKA_PATIENCE: Duration = Duration::from_secs(3);
/// Waits between two attempts to learn the topics from Kafka, doubling from the first to the last.
const KAFKA_RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Asks Kafka what the topics of a run are like, until it answers; `None` if the gateway is to stop before.
pub(crate) async fn learn(
    settings: &Settings,
    door: &Door,
    opened: Option<&mut Opened>,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Option<BTreeMap<String, Topic>> {
    match *door {
        Door::Open(_) => learn_of_settings(settings, opened.as_deref(), readiness, stop).await,
        Door::Closed { only, wait } => {
            let opened = opened?;
            opened.only(only);
            learn_of_log(settings, opened, wait, readiness, stop).await
        }
    }
}

/// Asks what each topic of the settings is like. With a spool that knows them from an earlier run, a Kafka that is away is not
/// waited for.
async fn learn_of_settings(
    settings: &Settings,
    opened: Option<&Opened>,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Option<BTreeMap<String, Topic>> {
    let names = settings.kafka_topics();
    let none = BTreeMap::new();
    let kept = opened.map_or(&none, |opened| &opened.kept);
    let patience = names.iter().all(|name| kept.contains_key(name)).then_some(KAFKA_PATIENCE);
    let in_log = opened.map(Opened::in_log).unwrap_or_default();
    let waits = |topic: &str| in_log.iter().any(|in_log| in_log.topic == topic);
    let asked = tokio::select! {
        () = stop.cancelled() => return None,
        asked = ask_kafka(settings, &names, readiness) => Some(asked),
        () = tokio::time::sleep(patience.unwrap_or_default()), if patience.is_some() => {
            tracing::warn!("kafka does not answer: starting with the topics as the last run knew them");
            None
        }
    };
    readiness.set("kafka", Ok(()));
    let topics = spool::partitions::decide(asked.as_ref(), kept, waits);
    if let Some(opened) = opened {
        opened.keep(&topics);
    }
    Some(topics)
}

/// Asks what became of the topics that the log has records for, and leaves out what Kafka does not have. Waits for an answer
/// as long as `wait` says.
async fn learn_of_log(
    settings: &Settings,
    opened: &mut Opened,
    wait: Wait,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Option<BTreeMap<String, Topic>> {
    let names: BTreeSet<String> = opened.in_log().into_iter().map(|in_log| in_log.topic).collect();
    if !names.is_empty() {
        readiness.set("kafka", Err("it is asked for the topics".to_owned()));
    }
    let has = tokio::select! {
        () = stop.cancelled() => return None,
        has = ask_of_each(settings, names, readiness) => has,
        () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {
            tracing::warn!("kafka does not answer: all stays in the spool");
            return None;
        }
    };
    readiness.set("kafka", Ok(()));
    opened.leave_out(&has);
    let topics = spool::partitions::decide(Some(&has), &opened.kept, |_| true);
    opened.keep(&topics);
    Some(topics)
}

/// Asks until Kafka has said of each topic what it is like, or that it does not give it.
async fn ask_of_each(
    settings: &Settings,
    mut names: BTreeSet<String>,
    readiness: &Readiness,
) -> BTreeMap<String, Topic> {
    let mut wait = KAFKA_RETRY.0;
    while !names.is_empty() {
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        match topics::describe(&settings.kafka.bootstrap_servers, &wanted).await {
            Ok(found) => return found.into_iter().map(|(name, topic)| (name, topic.into())).collect(),
            Err(error) => {
                if let topics::Error::Missing { topic } | topics::Error::Refused { topic, .. } = &error {
                    tracing::error!(%error, "kafka does not give a topic");
                    names.remove(topic);
                    continue;
                }
                readiness.set("kafka", Err(error.to_string()));
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(KAFKA_RETRY.1);
    }
    BTreeMap::new()
}

/// Asks until there is an answer.
async fn ask_kafka(settings: &Settings, names: &[String], readiness: &Readiness) -> BTreeMap<String, Topic> {
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut wait = KAFKA_RETRY.0;
    loop {
        let reason = match topics::describe(&settings.kafka.bootstrap_servers, &wanted).await {
            Ok(found) => {
                let exists = |name: &String| found.get(name).is_some_and(|topic| topic.partitions > 0);
                match names.iter().find(|name| !exists(name)) {
                    None => return found.into_iter().map(|(name, topic)| (name, topic.into())).collect(),
                    Some(missing) => format!("topic {missing} does not exist"),
                }
            }
            Err(error) => error.to_string(),
        };
        // Logged by the readiness whenever it changes.
        readiness.set("kafka", Err(reason));
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(KAFKA_RETRY.1);
    }
}

/// Opens all topics and returns what leads to them, and their names by stream. `in_log`: what the log has records for.
pub(crate) fn router(
    settings: &Settings,
    delivery: &Delivery,
    topics: &BTreeMap<String, Topic>,
    in_log: &[InLog],
) -> Result<(Router, Vec<String>), Error> {
    let partitions = |topic: &String| topics.get(topic).map(|topic| topic.partitions);
    let lane = |class: usize| LaneId(u8::try_from(class).expect("classes are few"));
    let mut destinations = Vec::new();
    let mut topic_names: Vec<String> = Vec::new();
    let mut known = BTreeMap::new();
    let mut rules = Vec::new();
    for route in &settings.routes {
        let mut streams = Vec::new();
        for ((class, _), topic) in settings.classes.iter().zip(&route.topics) {
            let stream = if let Some(stream) = known.get(&(class, topic)) {
                *stream
            } else {
                let count = partitions(topic).unwrap_or(1);
                let waits = in_log.iter().find(|waits| waits.class == class.index() && waits.topic == *topic);
                // A partition that the log has records for is served, whatever became of the topic.
                let served = waits.map_or(count, |waits| count.max(waits.partitions));
                let opened = delivery.open_topic(lane(class.index()), topic, served)?;
                let stream = StreamId(u16::try_from(destinations.len()).expect("topics are few"));
                destinations.push(Destination { class, topic: opened, partitions: count });
                topic_names.push(topic.clone());
                known.insert((class, topic), stream);
                stream
            };
            streams.push(stream);
        }
        rules.push(Rule { filter: route.filter.clone(), key: route.key, headers: route.headers, streams });
    }
    for waits in in_log {
        let Some((class, _)) = settings.classes.iter().nth(waits.class) else { continue };
        if !known.contains_key(&(class, &waits.topic)) {
            // No rule leads there any more; what waits goes there even so.
            let served =
                partitions(&waits.topic).map_or(waits.partitions, |count| waits.partitions.max(count));
            let topic = delivery.open_topic(lane(waits.class), &waits.topic, served)?;
            destinations.push(Destination { class, topic, partitions: served });
            topic_names.push(waits.topic.clone());
        }
    }
    Ok((Router { classes: settings.class_filters.clone(), rules, destinations }, topic_names))
}
