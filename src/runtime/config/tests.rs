//! Every way in which settings can be wrong, with the exact line that the operator reads.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    listen: String,
    workers: u16,
    tls: bool,
    password: Option<Secret>,
    mode: Mode,
    classes: BTreeMap<ClassName, Class>,
    routes: Vec<Route>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    First,
    Kafka,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ClassName {
    Alarm,
    Sensor,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    rate: f64,
    #[serde(default)]
    burst: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    filter: String,
}

#[derive(Debug, PartialEq)]
struct Checked(Raw);

impl TryFrom<Raw> for Checked {
    type Error = Problem;

    fn try_from(raw: Raw) -> Result<Self, Problem> {
        for (name, class) in &raw.classes {
            if !(0.001..=1e6).contains(&class.rate) {
                let key = format!("classes.{}.rate", format!("{name:?}").to_lowercase());
                return Err(Problem::new(key, class.rate, "0.001 to 1000000 (messages per second)"));
            }
        }
        if raw.listen.is_empty() {
            return Err(Problem::new("listen", "\"\"", "an address and a port"));
        }
        Ok(Self(raw))
    }
}

fn env(pairs: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect::<Vec<_>>()
        .into_iter()
}

/// Loads `text` as `gateway.toml` and returns the message, with the path cut to the file's name.
fn message(text: &[u8], with: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, text).unwrap();
    let problem = load::<Raw, Checked>(Some(&file), &mut env(with)).unwrap_err();
    problem.to_string().replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn a_wrong_file_is_one_line_with_file_key_value_and_what_is_allowed() {
    let class_keys = "unknown key, allowed is rate or burst";
    let keys = "unknown key, allowed is listen, workers, tls, password, mode, classes, routes";
    let cases = [
        (
            "[classes.sensor]\nrate = -5",
            "gateway.toml: classes.sensor.rate = -5: allowed is 0.001 to 1000000 (messages per second) (line 2)",
        ),
        ("listen = ''", "gateway.toml: listen = \"\": allowed is an address and a port (line 1)"),
        ("", "gateway.toml: listen = \"\": allowed is an address and a port"),
        ("lisen = 5", &format!("gateway.toml: lisen = 5: {keys} (line 1)")),
        ("pasword = 'hush'", &format!("gateway.toml: pasword = ***: {keys} (line 1)")),
        (
            "\n[classes.sensor]\nrat = 5.5",
            &format!("gateway.toml: classes.sensor.rat = 5.5: {class_keys} (line 3)"),
        ),
        (
            "[classes.senor]\nrate = 5",
            "gateway.toml: classes.senor = {...}: unknown key, allowed is alarm or sensor (line 1)",
        ),
        (
            "[classes.sensor]\nburst = 5",
            "gateway.toml: classes.sensor.rate = (missing): allowed is a value: the key is required",
        ),
        (
            "classes.sensor = { rate = 'fast' }",
            "gateway.toml: classes.sensor.rate = \"fast\": allowed is a number (line 1)",
        ),
        ("classes = 7", "gateway.toml: classes = 7: allowed is a table (line 1)"),
        (
            "classes.sensor = { rate = 1, burst = -1 }",
            "gateway.toml: classes.sensor.burst = -1: allowed is an integer from 0 to 4294967295 (line 1)",
        ),
        ("workers = 70000", "gateway.toml: workers = 70000: allowed is an integer from 0 to 65535 (line 1)"),
        ("tls = 'yes'", "gateway.toml: tls = \"yes\": allowed is true or false (line 1)"),
        ("mode = 'disc'", "gateway.toml: mode = \"disc\": allowed is first or kafka (line 1)"),
        ("listen = [1, 2]", "gateway.toml: listen = [...]: allowed is a string (line 1)"),
        ("password = 1234", "gateway.toml: password = ***: allowed is a secret string (line 1)"),
        (
            "[[routes]]\nfilter = 'a'\n[[routes]]\nfilter = 3",
            "gateway.toml: routes[1].filter = 3: allowed is a string (line 4)",
        ),
        ("listen = 'a'\nlisten = 'b'", "gateway.toml: not TOML: duplicate key (line 2)"),
        (
            "listen = 'a'\n= 3",
            "gateway.toml: not TOML: unquoted keys cannot be empty, expected letters, numbers, `-`, `_` (line 2)",
        ),
    ];
    for (text, said) in cases {
        assert_eq!(message(text.as_bytes(), &[]), said, "{text}");
    }
}

#[test]
fn a_wrong_override_names_its_variable() {
    let cases = [
        (
            ("TIDEGATE_WORKERS", "many"),
            "environment TIDEGATE_WORKERS: workers = many: allowed is an integer from 0 to 65535",
        ),
        (
            ("TIDEGATE_WRKERS", "5"),
            "environment TIDEGATE_WRKERS: wrkers = 5: unknown key, allowed is listen, workers, tls, password, mode, classes, routes",
        ),
        (
            ("TIDEGATE_CLASSES__SENSOR__RATE", "0"),
            "environment TIDEGATE_CLASSES__SENSOR__RATE: classes.sensor.rate = 0: allowed is 0.001 to 1000000 (messages per second)",
        ),
        (
            ("TIDEGATE_CLASSES__SENSOR", "{ rate = -1 }"),
            "environment TIDEGATE_CLASSES__SENSOR: classes.sensor.rate = -1: allowed is 0.001 to 1000000 (messages per second)",
        ),
        (
            ("TIDEGATE_LISTEN__PORT", "5"),
            "environment TIDEGATE_LISTEN__PORT: listen.port = 5: allowed is a key inside tables, TIDEGATE_TABLE__KEY",
        ),
    ];
    for (with, said) in cases {
        assert_eq!(message(b"listen = 'a'", &[with]), said, "{with:?}");
    }
}

#[test]
fn what_cannot_be_read_is_named_with_the_reason() {
    let missing = load::<Raw, Checked>(Some(Path::new("no/such.toml")), &mut env(&[])).unwrap_err();
    let allowed = "allowed is a readable UTF-8 file of at most 1 MiB";
    assert_eq!(
        missing.to_string(),
        format!("no/such.toml: cannot be read (No such file or directory (os error 2)): {allowed}")
    );
    assert_eq!(
        message(b"\xff", &[]),
        format!("gateway.toml: cannot be read (stream did not contain valid UTF-8): {allowed}")
    );
    let long = vec![b'#'; 1 + (1 << 20)];
    assert_eq!(message(&long, &[]), format!("gateway.toml: cannot be read (too long): {allowed}"));
}

#[test]
fn without_a_file_the_defaults_are_named() {
    let problem = load::<Raw, Checked>(None, &mut env(&[])).unwrap_err();
    assert_eq!(problem.to_string(), "settings: listen = \"\": allowed is an address and a port");
}

#[test]
fn the_environment_wins_over_the_file_and_is_text_where_text_is_wanted() {
    let with = [
        ("TIDEGATE_LISTEN", "1883"),
        ("TIDEGATE_WORKERS", "4"),
        ("TIDEGATE_PASSWORD", "true"),
        ("TIDEGATE_CLASSES__SENSOR__RATE", "2"),
        ("TIDEGATE_ROUTES", "[{ filter = 'a/#' }]"),
        ("TIDEGATE_LOG", "debug"),
    ];
    let Checked(raw) = load::<Raw, _>(None, &mut env(&with)).unwrap();
    assert_eq!((raw.listen.as_str(), raw.workers), ("1883", 4));
    assert_eq!(raw.password.unwrap().expose(), "true");
    assert_eq!(raw.classes[&ClassName::Sensor], Class { rate: 2.0, burst: 0 });
    assert_eq!(raw.routes, [Route { filter: "a/#".into() }]);
}

#[test]
fn the_printed_settings_hide_secrets_and_can_be_loaded_again() {
    let with =
        [("TIDEGATE_LISTEN", "a"), ("TIDEGATE_PASSWORD", "hush"), ("TIDEGATE_CLASSES__ALARM__RATE", "1.5")];
    let loaded: Loaded<Raw> = load_raw(None, &mut env(&with)).unwrap();
    let text = print_redacted(loaded.raw());
    assert!(!text.contains("hush") && text.contains("password = \"***\""), "{text}");
    let mut again = loaded.raw().clone();
    again.password = Some(Secret::new("***".into()));
    assert_eq!(toml::from_str::<Raw>(&text).unwrap(), again);
}

#[test]
fn a_problem_that_shows_later_still_names_its_place() {
    let loaded: Loaded<Raw> = load_raw(None, &mut env(&[("TIDEGATE_LISTEN", "127.0.0.1:1")])).unwrap();
    let Checked(raw) = loaded.check().unwrap();
    let said = loaded.wrong(Problem::new("listen", &raw.listen, "an address whose port is free")).to_string();
    assert_eq!(
        said,
        "environment TIDEGATE_LISTEN: listen = 127.0.0.1:1: allowed is an address whose port is free"
    );
}
