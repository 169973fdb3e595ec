//! Topic names and topic filters (section 4.7).
//!
//! Filters here choose routes and classes; no message is ever delivered by them.

/// Why a text is not a topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Nothing at all [MQTT-4.7.3-1].
    #[error("a topic filter has at least one character")]
    Empty,
    /// More than 65 535 bytes [MQTT-4.7.3-3].
    #[error("a topic filter has at most 65535 bytes")]
    TooLong,
    /// U+0000 [MQTT-4.7.3-2].
    #[error("a topic filter does not contain the null character")]
    Null,
    /// `#` that does not fill the last level [MQTT-4.7.1-1].
    #[error("`#` stands alone in the last level of a topic filter")]
    MultiLevel,
    /// `+` that does not fill its level [MQTT-4.7.1-2].
    #[error("`+` stands alone in its level of a topic filter")]
    SingleLevel,
    /// `$share/NAME/FILTER` with a part that is missing or has a wildcard in its name [MQTT-4.8.2-1, 4.8.2-2].
    #[error("a shared subscription is `$share/NAME/FILTER`, its name without `+` and `#`")]
    Share,
}

const SHARE: &str = "$share/";

/// A valid topic filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter(Box<str>);

impl Filter {
    /// Checks a topic filter and keeps it.
    ///
    /// # Errors
    /// [`FilterError`] names the rule of section 4.7.1 or 4.7.3 that the text breaks.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        validate_filter(text)?;
        Ok(Self(text.into()))
    }

    /// Returns the filter as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the filter matches the topic name. A leading wildcard never matches a name that begins with
    /// `$` [MQTT-4.7.2-1].
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.split('/');
        for pattern in self.0.split('/') {
            if pattern == "#" {
                // Also the parent level: `sport/#` matches `sport`.
                return true;
            }
            match names.next() {
                Some(name) if pattern == "+" || pattern == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

/// Checks a topic filter, which may not be a shared one, without keeping it.
///
/// # Errors
/// [`FilterError`] names the broken rule.
pub fn validate_filter(filter: &str) -> Result<(), FilterError> {
    if filter.is_empty() {
        return Err(FilterError::Empty);
    }
    if filter.len() > usize::from(u16::MAX) {
        return Err(FilterError::TooLong);
    }
    if filter.contains('\0') {
        return Err(FilterError::Null);
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(FilterError::MultiLevel);
        }
        if level.contains('+') && level != "+" {
            return Err(FilterError::SingleLevel);
        }
    }
    Ok(())
}

/// Checks what a client may send in SUBSCRIBE: a topic filter or, in MQTT 5, a shared one.
///
/// # Errors
/// [`FilterError`] names the broken rule.
pub fn validate_subscription(filter: &str) -> Result<(), FilterError> {
    match filter.strip_prefix(SHARE) {
        None => validate_filter(filter),
        Some(rest) => match rest.split_once('/') {
            Some((name, inner)) if !name.is_empty() && !name.contains(['+', '#']) && !inner.is_empty() => {
                validate_filter(filter).and_then(|()| validate_filter(inner))
            }
            _ => Err(FilterError::Share),
        },
    }
}

/// Returns true for a shared subscription (section 4.8.2).
#[must_use]
pub fn is_shared(filter: &str) -> bool {
    filter.starts_with(SHARE)
}

/// Why a text is not a topic name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Nothing at all [MQTT-4.7.3-1].
    #[error("a topic name has at least one character")]
    Empty,
    /// More than 65 535 bytes [MQTT-4.7.3-3].
    #[error("a topic name has at most 65535 bytes")]
    TooLong,
    /// U+0000 [MQTT-4.7.3-2].
    #[error("a topic name does not contain the null character")]
    Null,
    /// `+` or `#` [MQTT-4.7.0-1].
    #[error("a topic name does not contain `+` or `#`")]
    Wildcard,
}

/// Checks a name that someone wants to publish to.
///
/// # Errors
/// [`TopicError`] names the broken rule.
pub fn validate_publish_topic(topic: &str) -> Result<(), TopicError> {
    if topic.is_empty() {
        return Err(TopicError::Empty);
    }
    if topic.len() > usize::from(u16::MAX) {
        return Err(TopicError::TooLong);
    }
    if topic.contains('\0') {
        return Err(TopicError::Null);
    }
    if topic.contains(['+', '#']) {
        return Err(TopicError::Wildcard);
    }
    Ok(())
}

/// Returns level `n` of a topic name, counted from 0; `None` if it has fewer.
#[must_use]
pub fn level(topic: &str, n: usize) -> Option<&str> {
    topic.split('/').nth(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_section_4_7_gives_examples() {
        let table = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/tennis/player1/#", "sport/tennis/player10", false),
            ("sport/#", "sport", true),
            ("#", "a/b", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/monitor", false),
            ("+/monitor", "$SYS/monitor", false),
            ("$SYS/#", "$SYS/monitor", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("ACCOUNTS", "Accounts", false),
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
        ];
        for (filter, topic, expected) in table {
            assert_eq!(Filter::parse(filter).unwrap().matches(topic), expected, "{filter} against {topic}");
        }
    }

    #[test]
    fn malformed_filters_are_refused_with_the_broken_rule() {
        let long = "a".repeat(65_536);
        let table = [
            ("", FilterError::Empty),
            (&long, FilterError::TooLong),
            ("a\0b", FilterError::Null),
            ("sport/tennis#", FilterError::MultiLevel),
            ("sport/tennis/#/ranking", FilterError::MultiLevel),
            ("##", FilterError::MultiLevel),
            ("sport+", FilterError::SingleLevel),
            ("a/+b/c", FilterError::SingleLevel),
            ("++", FilterError::SingleLevel),
        ];
        for (filter, expected) in table {
            assert_eq!(Filter::parse(filter), Err(expected), "{filter:.20}");
        }
        assert_eq!(Filter::parse(&long[1..]).unwrap().as_str().len(), 65_535);
    }

    #[test]
    fn a_shared_subscription_needs_a_name_and_a_filter() {
        for filter in ["$share/", "$share/a", "$share//b", "$share/a/", "$share/a+/b", "$share/#/b"] {
            assert_eq!(validate_subscription(filter), Err(FilterError::Share), "{filter}");
        }
        assert_eq!(validate_subscription("$share/a/b#"), Err(FilterError::MultiLevel));
        assert_eq!(validate_subscription("$share/a/b/#"), Ok(()));
        assert_eq!(validate_subscription("b/+"), Ok(()));
        assert!(is_shared("$share/a/b") && !is_shared("$shared/a"));
    }

    #[test]
    fn a_topic_name_has_characters_and_no_wildcards() {
        let long = "a".repeat(65_536);
        assert_eq!(validate_publish_topic("site/7/temperature"), Ok(()));
        assert_eq!(validate_publish_topic(""), Err(TopicError::Empty));
        assert_eq!(validate_publish_topic(&long), Err(TopicError::TooLong));
        assert_eq!(validate_publish_topic("a\0"), Err(TopicError::Null));
        assert_eq!(validate_publish_topic("a/+"), Err(TopicError::Wildcard));
        assert_eq!(validate_publish_topic("a/#"), Err(TopicError::Wildcard));
    }

    #[test]
    fn levels_are_counted_from_zero() {
        assert_eq!(level("site/7/temperature", 1), Some("7"));
        assert_eq!(level("/7", 0), Some(""));
        assert_eq!(level("site", 1), None);
    }
}
