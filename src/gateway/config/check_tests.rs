//! Every wrong setting names itself.

use super::*;
use crate::config::AckAt;

fn check(toml: &str) -> Result<Settings, Problem> {
    let kafka = if toml.contains("[kafka]") { "" } else { "\n[kafka]\nbootstrap_servers = 'k:9092'\n" };
    let raw: RawSettings = toml::from_str(&format!("{toml}{kafka}")).expect("types are right");
    raw.try_into()
}

#[test]
fn nothing_but_the_bootstrap_servers_is_needed() {
    let settings = check("").unwrap();
    assert_eq!(settings.listen.to_string(), DEFAULT_LISTEN);
    assert_eq!(settings.kafka_topics(), ["telemetry-alarm", "telemetry-gateway", "telemetry-sensor"]);
    let limits: Vec<_> = settings
        .classes
        .iter()
        .map(|(_, class)| {
            (class.name.as_str(), class.limit.per_sec().round(), class.limit.burst(), class.priority)
        })
        .collect();
    assert_eq!(limits, [("alarm", 10.0, 50, 0), ("gateway", 100.0, 200, 1), ("sensor", 10.0, 50, 2)]);
    assert_eq!(Settings::minimal("k:9092").kafka.bootstrap_servers, "k:9092");
}

#[test]
fn a_wrong_value_is_named_with_its_key_and_what_is_allowed() {
    let cases = [
        ("[kafka]\n", "kafka.bootstrap_servers", "(nothing)", "host:port"),
        ("name = 'a b'", "name", "a b", "letters"),
        ("listen = 'somewhere'", "listen", "somewhere", "address:port"),
        ("listen = '0.0.0.0:1883'", "listen", "0.0.0.0:1883", "allow_anonymous = true"),
        ("workers = 0", "workers", "0", "1 to 64"),
        ("max_connections = -1", "max_connections", "-1", "1 to 1000000"),
        ("drain = '1h'", "drain", "3600s", "300s"),
        ("default_class = 'sensro'", "default_class", "sensro", "alarm, gateway, sensor"),
        ("[mqtt]\nmax_packet_bytes = 10000000", "mqtt.max_packet_bytes", "10000000", "256 to 786432"),
        ("[mqtt]\nreceive_maximum = 0", "mqtt.receive_maximum", "0", "1 to 65535"),
        ("[mqtt]\nsubscribe = 'yes'", "mqtt.subscribe", "yes", "refuse or accept-silently"),
        ("[mqtt]\nretain = 'keep'", "mqtt.retain", "keep", "ignore or refuse"),
        ("[limits]\nqueue_bytes = 5", "limits.queue_bytes", "5", "1048576 to 1073741824"),
        (
            "[classes.sensor]\nrate = -5.0",
            "classes.sensor.rate",
            "-5",
            "0.001 to 1000000 (messages per second)",
        ),
        ("[classes.sensor]\nrate = nan", "classes.sensor.rate", "NaN", "messages per second"),
        ("[classes.sensor]\nburst = 0", "classes.sensor.burst", "0", "1 to 1000000"),
        ("[classes.sensor]\npriority = 256", "classes.sensor.priority", "256", "0 to 255"),
        ("[classes.sensro]\nrate = 5.0", "classes.sensro.burst", "(nothing)", "only alarm, gateway, sensor"),
        (
            "[classes.alarm]\ntopic_filters = ['a/#/b']",
            "classes.alarm.topic_filters[0]",
            "a/#/b",
            "MQTT topic filter",
        ),
        ("[[routes]]\nfilter = 'a+'", "routes[0].filter", "a+", "MQTT topic filter"),
        ("[[routes]]\ntopic = 'a/b'", "routes[0].topic", "a/b", "a Kafka topic"),
        (
            "[[routes]]\n[routes.class_topics]\nhub = 'x'",
            "routes[0].class_topics",
            "hub",
            "alarm, gateway, sensor",
        ),
        ("[[routes]]\nkey = 'topic_level:x'", "routes[0].key", "topic_level:x", "topic_level:N"),
        ("[[routes]]\nheaders = ['x']", "routes[0].headers", "x", "mqtt-topic"),
        (
            "[kafka]\nbootstrap_servers = 'k:1'\noverrides = { acks = '1' }",
            "kafka.overrides.\"acks\"",
            "1",
            "all",
        ),
        ("[clock]\ntrust = 'ntp'", "clock.trust", "ntp", "kernel or always"),
        ("[spool]\nack = 'both'", "spool.ack", "both", "first, kafka or disk"),
        ("[spool]\ndir = ''", "spool.dir", "", "a folder"),
        ("[spool]\ndir = 'd'\nsegment_bytes = 1000", "spool.segment_bytes", "1000", "1 MiB to 64 MiB"),
        ("[spool]\nfree_floor_bytes = -1", "spool.free_floor_bytes", "-1", "0 to"),
        ("[spool]\ncommit_interval_min = '1h'", "spool.commit_interval_min", "3600s", "5s"),
        ("[spool]\ndir = 'd'\ndead_letter_bytes = 5", "spool.dead_letter_bytes", "5", "at least 268435456"),
        (
            "[spool]\ndir = 'd'\n[classes.sensor]\nspool_bytes = 7",
            "classes.sensor.spool_bytes",
            "7",
            "at least",
        ),
        ("[classes.sensor]\nspool_bytes = -7", "classes.sensor.spool_bytes", "-7", "0 to"),
        ("[classes.sensor]\nfull = 'drop'", "classes.sensor.full", "drop", "block, shed-qos0-first"),
        (
            "[spool]\ndir = 'd'\n[classes.S]\nrate = 1.0\nburst = 1\npriority = 1",
            "classes.S",
            "S",
            "a-z, 0-9 and -",
        ),
        ("[report]\nurl = 'http://c:1'", "report.key_file", "(nothing)", "a file with the key"),
        ("[report]\nurl = 'c:1'\nkey_file = 'k'", "report.url", "c:1", "http://"),
    ];
    for (toml, key, value, allowed) in cases {
        let found = check(toml).expect_err(toml);
        assert_eq!((found.key.as_str(), found.value.as_str()), (key, value), "{toml}");
        assert!(found.allowed.contains(allowed), "{toml}: {}", found.allowed);
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_by_serde() {
    let cases = [
        "nam = 'x'",
        "[kafka]\nbootstrap = 'x'",
        "[classes.sensor]\nrat = 5.0",
        "[[routes]]\nfliter = '#'",
        "workers = 'two'",
    ];
    for toml in cases {
        assert!(toml::from_str::<RawSettings>(toml).is_err(), "{toml}");
    }
}

#[test]
fn anyone_may_connect_from_beyond_loopback_only_when_that_is_said() {
    assert!(check("listen = '0.0.0.0:1883'\nallow_anonymous = true").is_ok());
    assert!(check("listen = '[::1]:1883'").is_ok());
}

#[test]
fn a_route_can_send_one_class_elsewhere() {
    let settings = check("[[routes]]\ntopic = 'all'\n[routes.class_topics]\nalarm = 'urgent'").unwrap();
    assert_eq!(settings.routes[0].topics, ["urgent", "all", "all"]);
}

#[test]
fn a_class_is_told_by_its_user_name_and_its_topics_unless_the_settings_say_otherwise() {
    let class_of = |settings: &Settings, topic: &str| {
        let found = settings.class_filters.iter().find(|(filter, _)| filter.matches(topic));
        found.map(|(_, class)| settings.classes.get(*class).name.clone())
    };
    let defaults = check("").unwrap();
    assert_eq!(class_of(&defaults, "alarms/a/b").as_deref(), Some("alarm"));
    assert_eq!(class_of(&defaults, "gateways/a").as_deref(), Some("gateway"));
    assert_eq!(class_of(&defaults, "sensors/a"), None);
    assert!(defaults.classes.iter().all(|(_, class)| class.users == [class.name.clone()]));
    let own = check("[classes.alarm]\ntopic_filters = []\nusers = ['siren']").unwrap();
    assert_eq!(class_of(&own, "alarms/a/b"), None);
    assert_eq!(
        own.classes.by_name("alarm").map(|id| own.classes.get(id).users.clone()),
        Some(vec!["siren".to_owned()])
    );
}

#[test]
fn the_clock_is_right_while_the_kernel_says_so_unless_the_settings_do() {
    for (toml, trust) in [("", ClockTrust::Kernel), ("clock.trust = 'always'", ClockTrust::Always)] {
        assert_eq!(check(toml).unwrap().clock_trust, trust, "{toml}");
    }
}

#[test]
fn without_a_folder_there_is_no_spool_and_its_sizes_bind_nobody() {
    assert!(check("").unwrap().spool.is_none());
    let settings =
        check("[limits]\nqueue_bytes = 1073741824\n[spool]\nack = 'disk'\nsegment_bytes = 1048576").unwrap();
    assert!(settings.spool.is_none());
}

#[test]
fn a_spool_has_a_lane_for_each_class_in_their_order() {
    let settings =
        check("[spool]\ndir = 'd'\n[classes.sensor]\nspool_bytes = 536870912\nfull = 'reject'").unwrap();
    let spool = settings.spool.unwrap();
    assert_eq!((spool.ack, spool.max_record_bytes), (None, 1 << 20));
    for (id, class) in settings.classes.iter() {
        let lane = spool.log.lane(&class.name).map(tidegate_spool::LaneId::index);
        assert_eq!(lane, Some(id.index()), "{}", class.name);
    }
}

#[test]
fn small_segments_make_small_records() {
    let spool = check("[spool]\ndir = 'd'\nack = 'kafka'\nsegment_bytes = 1048576").unwrap().spool.unwrap();
    assert_eq!((spool.ack, spool.max_record_bytes), (Some(AckAt::Kafka), 1 << 18));
}
