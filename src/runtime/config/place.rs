//! Where a key is: its value in the settings, and its line in the file.

use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// One step from a table or list into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// Returns the way to the value at `path` (`classes.sensor.rate`, `routes[2].filter`), and the value.
pub(super) fn find<'a>(settings: &'a Table, path: &str) -> Option<(Vec<Step>, &'a Value)> {
    let mut steps = Vec::new();
    let value = in_table(settings, path, &mut steps)?;
    Some((steps, value))
}

/// Kafka's own settings are keys with dots in them, so the longest key that fits is taken.
fn in_table<'a>(table: &'a Table, path: &str, steps: &mut Vec<Step>) -> Option<&'a Value> {
    let fits = |key: &str| {
        path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let (key, value) = table.iter().filter(|(key, _)| fits(key)).max_by_key(|(key, _)| key.len())?;
    steps.push(Step::Key(key.clone()));
    in_value(value, &path[key.len()..], steps)
}

fn in_value<'a>(value: &'a Value, rest: &str, steps: &mut Vec<Step>) -> Option<&'a Value> {
    if rest.is_empty() {
        return Some(value);
    }
    if let Some(rest) = rest.strip_prefix('.') {
        return in_table(value.as_table()?, rest, steps);
    }
    let (index, rest) = rest.strip_prefix('[')?.split_once(']')?;
    let index = index.parse().ok()?;
    steps.push(Step::Index(index));
    in_value(value.as_array()?.get(index)?, rest, steps)
}

/// Returns the table at the end of `steps`, to change it.
pub(super) fn table_mut<'a>(settings: &'a mut Table, steps: &[Step]) -> Option<&'a mut Table> {
    let (Step::Key(first), rest) = steps.split_first()? else { return None };
    let value = rest.iter().try_fold(settings.get_mut(first)?, |value, step| match step {
        Step::Key(key) => value.get_mut(key.as_str()),
        Step::Index(index) => value.get_mut(*index),
    });
    value?.as_table_mut()
}

/// Returns the line, counted from 1, on which the key at the end of `steps` stands.
pub(super) fn line(text: &str, steps: &[Step]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let span = span(document.get_ref(), steps)?;
    Some(text.get(..span.start)?.matches('\n').count() + 1)
}

fn span(table: &DeTable<'_>, steps: &[Step]) -> Option<Range<usize>> {
    let (Step::Key(first), mut rest) = steps.split_first()? else { return None };
    let (key, mut value): (_, &Spanned<DeValue<'_>>) = table.get_key_value(first.as_str())?;
    let mut place = key.span();
    while let Some((Step::Index(index), after)) = rest.split_first() {
        value = value.get_ref().as_array()?.get(*index)?;
        (place, rest) = (value.span(), after);
    }
    if rest.is_empty() { Some(place) } else { span(value.get_ref().as_table()?, rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
listen = 'a'

[classes]
sensor = { rate = 1 }

[[routes]]
filter = 'a/#'
[[routes]]
filter = 'b/#'

[kafka.overrides]
\"queue.size\" = 3
ports = [
  1,
  [2, 3],
]
";

    #[test]
    fn every_kind_of_key_is_found_with_its_line() {
        let settings: Table = TEXT.parse().unwrap();
        let cases = [
            ("listen", "\"a\"", 1),
            ("classes.sensor.rate", "1", 4),
            ("routes[0].filter", "\"a/#\"", 7),
            ("routes[1].filter", "\"b/#\"", 9),
            ("kafka.overrides.queue.size", "3", 12),
            ("kafka.overrides.ports[1][0]", "2", 15),
        ];
        for (path, value, at) in cases {
            let (steps, found) = find(&settings, path).expect(path);
            assert_eq!((found.to_string().as_str(), line(TEXT, &steps)), (value, Some(at)), "{path}");
        }
    }

    #[test]
    fn what_is_not_there_has_no_place() {
        let settings: Table = TEXT.parse().unwrap();
        for path in ["", "listenx", "listen.x", "routes[2]", "routes[x]", "routes[0", "classes.gateway"] {
            assert!(find(&settings, path).is_none(), "{path}");
        }
        assert_eq!(line(TEXT, &[Step::Key("elsewhere".into())]), None);
    }
}
