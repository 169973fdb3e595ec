//! From written settings to usable ones, or to the one thing that is wrong with them.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::time::Duration;

use tidegate_core::admission::{Class, ClassId, ClassTable, DEFAULT_CLASSES, Limit, MAX_CLASSES};
use tidegate_kafka::delivery;
use tidegate_mqtt::topic::Filter;
use tidegate_mqtt::{Limits, RetainPolicy, SubscribePolicy};
use tidegate_runtime::config::Problem;

use super::{
    ClockTrust, DEFAULT_CLASS, DEFAULT_CONNECT_TIME, DEFAULT_DRAIN, DEFAULT_HOLD_BYTES, DEFAULT_LISTEN,
    DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_PACKET_BYTES, DEFAULT_QUEUE_BYTES, DEFAULT_RECEIVE_MAXIMUM,
    DEFAULT_TOPIC, DEFAULT_TOPIC_FILTERS, DEFAULT_V311_WINDOW, KafkaSettings, MAX_PACKET_BYTES, RawClass,
    RawMqtt, RawReport, RawRoute, RawSettings, ReportSettings, RouteSettings, Settings,
};
use crate::route::{HeaderSet, KeyRule};
use crate::run::kafka_settings;

/// More rules than this are a database, not a route table: each is tried in order for a new topic.
const MAX_ROUTES: usize = 64;
/// Kafka's own limit.
const MAX_TOPIC_CHARS: usize = 249;

impl TryFrom<RawSettings> for Settings {
    type Error = Problem;

    fn try_from(raw: RawSettings) -> Result<Self, Problem> {
        let name = raw.name.unwrap_or_else(|| "gateway".to_owned());
        if !is_name(&name) {
            return Err(Problem::new("name", name, "1 to 64 letters, digits, `.`, `_` and `-`"));
        }
        let listen = address("listen", raw.listen.as_deref().unwrap_or(DEFAULT_LISTEN))?;
        if !listen.ip().is_loopback() && !raw.allow_anonymous {
            let allowed = "a loopback address, or any with allow_anonymous = true: nobody is authenticated";
            return Err(Problem::new("listen", listen, allowed));
        }
        let default_class = raw.default_class.as_deref().unwrap_or(DEFAULT_CLASS);
        let (classes, class_filters) = classes(&raw.classes, default_class)?;
        let routes = routes(&raw.routes, &classes)?;
        let bootstrap_servers = raw.kafka.bootstrap_servers.filter(|servers| !servers.trim().is_empty());
        let Some(bootstrap_servers) = bootstrap_servers else {
            return Err(Problem::new(
                "kafka.bootstrap_servers",
                "(nothing)",
                "host:port, several separated by commas",
            ));
        };
        let limits = &raw.limits;
        let bytes = 1 << 20..=1 << 30;
        let queue_bytes = or("limits.queue_bytes", limits.queue_bytes, DEFAULT_QUEUE_BYTES, bytes.clone())?;
        let spool = super::spool::spool(&name, raw.spool, &raw.classes, &classes, queue_bytes.into())?;
        let connect_time = Duration::from_millis(100)..=Duration::from_mins(5);
        let settings = Self {
            name,
            listen,
            workers: raw
                .workers
                .map(|count| within("workers", count, 1..=64))
                .transpose()?
                .map(|count| count as usize),
            max_connections: or(
                "max_connections",
                raw.max_connections,
                DEFAULT_MAX_CONNECTIONS,
                1..=1_000_000,
            )?,
            mqtt: mqtt(&raw.mqtt)?,
            connect_time: time(
                "mqtt.connect_time",
                raw.mqtt.connect_time,
                DEFAULT_CONNECT_TIME,
                connect_time,
            )?,
            classes,
            class_filters,
            routes,
            kafka: KafkaSettings { bootstrap_servers, overrides: raw.kafka.overrides, embedded: false },
            queue_bytes: queue_bytes as usize,
            hold_bytes: or("limits.hold_bytes", limits.hold_bytes, DEFAULT_HOLD_BYTES, bytes)? as usize,
            admin_listen: raw.admin_listen.map(|at| address("admin_listen", &at)).transpose()?,
            clock_trust: clock_trust(raw.clock.trust.as_deref())?,
            report: report(raw.report)?,
            drain: time("drain", raw.drain, DEFAULT_DRAIN, Duration::ZERO..=Duration::from_mins(5))?,
            spool,
        };
        check_kafka(&settings)?;
        Ok(settings)
    }
}

/// Checks what delivery is told.
pub(super) fn check_kafka(settings: &Settings) -> Result<(), Problem> {
    kafka_settings(settings, 1).check().map_err(|error| match error {
        delivery::Error::Setting(wrong) => {
            Problem::new(format!("kafka.overrides.\"{}\"", wrong.key), wrong.value, wrong.allowed)
        }
        other => Problem::new("kafka.overrides", "(all)", other.to_string()),
    })
}

fn within(key: &str, value: i64, range: RangeInclusive<u32>) -> Result<u32, Problem> {
    let found = u32::try_from(value).ok().filter(|value| range.contains(value));
    found.ok_or_else(|| Problem::new(key, value, format!("{} to {}", range.start(), range.end())))
}

fn or(key: &str, value: Option<i64>, default: u32, range: RangeInclusive<u32>) -> Result<u32, Problem> {
    value.map_or(Ok(default), |value| within(key, value, range))
}

pub(super) fn time(
    key: &str,
    value: Option<Duration>,
    default: Duration,
    range: RangeInclusive<Duration>,
) -> Result<Duration, Problem> {
    let value = value.unwrap_or(default);
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Problem::new(key, format!("{value:?}"), format!("{:?} to {:?}", range.start(), range.end())))
}

fn address(key: &str, value: &str) -> Result<SocketAddr, Problem> {
    value.parse().map_err(|_| Problem::new(key, value, "address:port, such as 127.0.0.1:1883 or [::1]:1883"))
}

pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn mqtt(raw: &RawMqtt) -> Result<Limits, Problem> {
    let packet = 256..=MAX_PACKET_BYTES;
    Ok(Limits {
        max_packet_bytes: or(
            "mqtt.max_packet_bytes",
            raw.max_packet_bytes,
            DEFAULT_MAX_PACKET_BYTES,
            packet,
        )?,
        receive_maximum: window("mqtt.receive_maximum", raw.receive_maximum, DEFAULT_RECEIVE_MAXIMUM)?,
        v311_window: window("mqtt.v311_window", raw.v311_window, DEFAULT_V311_WINDOW)?,
        subscribe: match raw.subscribe.as_deref().unwrap_or("refuse") {
            "refuse" => SubscribePolicy::Refuse,
            "accept-silently" => SubscribePolicy::AcceptSilently,
            other => return Err(Problem::new("mqtt.subscribe", other, "refuse or accept-silently")),
        },
        retain: match raw.retain.as_deref().unwrap_or("ignore") {
            "ignore" => RetainPolicy::Ignore,
            "refuse" => RetainPolicy::Refuse,
            other => return Err(Problem::new("mqtt.retain", other, "ignore or refuse")),
        },
        ..Limits::default()
    })
}

fn window(key: &str, value: Option<i64>, default: u16) -> Result<NonZeroU16, Problem> {
    let checked = or(key, value, default.into(), 1..=u32::from(u16::MAX))?;
    Ok(u16::try_from(checked).ok().and_then(NonZeroU16::new).expect("the range is that of a NonZeroU16"))
}

fn clock_trust(text: Option<&str>) -> Result<ClockTrust, Problem> {
    match text {
        None => Ok(ClockTrust::default()),
        Some("kernel") => Ok(ClockTrust::Kernel),
        Some("always") => Ok(ClockTrust::Always),
        Some(other) => Err(Problem::new("clock.trust", other, "kernel or always")),
    }
}

fn report(raw: RawReport) -> Result<Option<ReportSettings>, Problem> {
    match (raw.url, raw.key_file) {
        (None, None) => Ok(None),
        (Some(url), Some(key_file)) if url.starts_with("http://") => {
            Ok(Some(ReportSettings { url, key_file }))
        }
        (Some(url), Some(_)) => Err(Problem::new("report.url", url, "http://address:port")),
        (Some(_), None) => {
            Err(Problem::new("report.key_file", "(nothing)", "a file with the key, if report.url is set"))
        }
        (None, Some(_)) => {
            Err(Problem::new("report.url", "(nothing)", "http://address:port, if report.key_file is set"))
        }
    }
}

fn classes(
    raw: &std::collections::BTreeMap<String, RawClass>,
    default: &str,
) -> Result<(ClassTable, Vec<(Filter, ClassId)>), Problem> {
    let presets = DEFAULT_CLASSES.iter().map(|preset| preset.name.to_owned());
    let mut names: Vec<String> = presets.chain(raw.keys().cloned()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > MAX_CLASSES {
        return Err(Problem::new(
            "classes",
            names.join(", "),
            format!("at most {MAX_CLASSES}, the three presets included"),
        ));
    }
    let unwritten = RawClass::default();
    let written = |name: &str| raw.get(name).unwrap_or(&unwritten);
    let all = names.iter().map(|name| class(name, written(name))).collect::<Result<Vec<_>, _>>()?;
    let table = ClassTable::new(all, default)
        .map_err(|_| Problem::new("default_class", default, format!("one of {}", names.join(", "))))?;
    let mut filters = Vec::new();
    for (id, class) in table.iter() {
        let own = written(&class.name).topic_filters.clone();
        let texts = own.unwrap_or_else(|| default_topic_filters(&class.name));
        for (index, text) in texts.iter().enumerate() {
            filters.push((filter(&format!("classes.{}.topic_filters[{index}]", class.name), text)?, id));
        }
    }
    Ok((table, filters))
}

fn class(name: &str, raw: &RawClass) -> Result<Class, Problem> {
    let key = |key: &str| format!("classes.{name}.{key}");
    if !is_name(name) {
        return Err(Problem::new(
            format!("classes.{name}"),
            name,
            "1 to 64 letters, digits, `.`, `_` and `-`",
        ));
    }
    let preset = DEFAULT_CLASSES.iter().find(|preset| preset.name == name);
    // A class that is not a preset must say all: a misspelt preset is found by what it leaves out.
    let missing = |what: &str| {
        let names = DEFAULT_CLASSES.map(|preset| preset.name).join(", ");
        Problem::new(key(what), "(nothing)", format!("a value, as only {names} have one by default"))
    };
    let rate = raw.rate.or(preset.map(|preset| preset.per_sec)).ok_or_else(|| missing("rate"))?;
    if !(Limit::MIN_PER_SEC..=Limit::MAX_PER_SEC).contains(&rate) {
        let allowed = format!("{} to {} (messages per second)", Limit::MIN_PER_SEC, Limit::MAX_PER_SEC);
        return Err(Problem::new(key("rate"), rate, allowed));
    }
    let burst = match (raw.burst, preset) {
        (Some(burst), _) => within(&key("burst"), burst, 1..=Limit::MAX_BURST)?,
        (None, Some(preset)) => preset.burst,
        (None, None) => return Err(missing("burst")),
    };
    let priority = match (raw.priority, preset) {
        (Some(priority), _) => within(&key("priority"), priority, 0..=u32::from(u8::MAX))?,
        (None, Some(preset)) => preset.priority.into(),
        (None, None) => return Err(missing("priority")),
    };
    Ok(Class {
        name: name.to_owned(),
        limit: Limit::new(rate, burst).expect("both were found to be in range"),
        priority: u8::try_from(priority).expect("it was found to be in range"),
        users: raw.users.clone().unwrap_or_else(|| vec![name.to_owned()]),
        client_id_prefixes: raw.client_id_prefixes.clone(),
    })
}

fn default_topic_filters(class: &str) -> Vec<String> {
    let named = DEFAULT_TOPIC_FILTERS.iter().filter(|(name, _)| *name == class);
    named.map(|(_, filter)| (*filter).to_owned()).collect()
}

fn filter(key: &str, text: &str) -> Result<Filter, Problem> {
    Filter::parse(text)
        .map_err(|error| Problem::new(key, text, format!("an MQTT topic filter; this one: {error}")))
}

fn routes(raw: &[RawRoute], classes: &ClassTable) -> Result<Vec<RouteSettings>, Problem> {
    if raw.len() > MAX_ROUTES {
        return Err(Problem::new("routes", format!("{} routes", raw.len()), format!("at most {MAX_ROUTES}")));
    }
    if raw.is_empty() {
        return Ok(vec![route(0, &RawRoute::default(), classes)?]);
    }
    raw.iter().enumerate().map(|(index, raw)| route(index, raw, classes)).collect()
}

fn route(index: usize, raw: &RawRoute, classes: &ClassTable) -> Result<RouteSettings, Problem> {
    let key = |key: &str| format!("routes[{index}].{key}");
    if let Some(unknown) = raw.class_topics.keys().find(|name| classes.by_name(name).is_none()) {
        let names: Vec<&str> = classes.iter().map(|(_, class)| class.name.as_str()).collect();
        return Err(Problem::new(key("class_topics"), unknown, format!("one of {}", names.join(", "))));
    }
    let pattern = raw.topic.as_deref().unwrap_or(DEFAULT_TOPIC);
    let mut topics = Vec::new();
    for (_, class) in classes.iter() {
        let single = raw.class_topics.get(&class.name);
        let topic = single.cloned().unwrap_or_else(|| pattern.replace("{class}", &class.name));
        if !is_kafka_topic(&topic) {
            let allowed = format!(
                "a Kafka topic: 1 to {MAX_TOPIC_CHARS} letters, digits, `.`, `_`, `-`; and {{class}}"
            );
            return Err(Problem::new(
                key(if single.is_some() { "class_topics" } else { "topic" }),
                topic,
                allowed,
            ));
        }
        topics.push(topic);
    }
    let headers =
        raw.headers.as_ref().map_or(Ok(HeaderSet::TOPIC), |names| headers(&key("headers"), names))?;
    Ok(RouteSettings {
        filter: filter(&key("filter"), raw.filter.as_deref().unwrap_or("#"))?,
        topics,
        key: key_rule(&key("key"), raw.key.as_deref().unwrap_or("client_id"))?,
        headers,
    })
}

fn is_kafka_topic(name: &str) -> bool {
    (1..=MAX_TOPIC_CHARS).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn key_rule(key: &str, text: &str) -> Result<KeyRule, Problem> {
    match (text, text.strip_prefix("topic_level:").map(str::parse)) {
        ("client_id", _) => Ok(KeyRule::ClientId),
        ("topic", _) => Ok(KeyRule::Topic),
        (_, Some(Ok(level))) => Ok(KeyRule::TopicLevel(level)),
        _ => Err(Problem::new(key, text, "client_id, topic or topic_level:N, the first level being 0")),
    }
}

fn headers(key: &str, names: &[String]) -> Result<HeaderSet, Problem> {
    names.iter().try_fold(HeaderSet::default(), |set, name| match name.as_str() {
        "mqtt-topic" => Ok(set.with(HeaderSet::TOPIC, true)),
        "mqtt-client-id" => Ok(set.with(HeaderSet::CLIENT_ID, true)),
        other => Err(Problem::new(key, other, "mqtt-topic, mqtt-client-id")),
    })
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
