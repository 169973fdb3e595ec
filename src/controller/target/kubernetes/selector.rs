//! Label selectors as `/scale` writes them: `app=consumer,tier in (a,b),!canary`.
//!
//! kube matches selectors but reads them only from an object's fields; this reads the text. Grammar:
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>.

use kube::core::{Expression, Selector};

/// Returns the selector that `text` says; `None` if it is none, or if it selects everything.
pub(super) fn parse(text: &str) -> Option<Selector> {
    let mut expressions = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        // A comma within parentheses separates values.
        let mut depth = 0_u32;
        let end = rest.find(|letter| {
            match letter {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            letter == ',' && depth == 0
        });
        let (one, tail) = end.map_or((rest, ""), |end| (&rest[..end], &rest[end + 1..]));
        expressions.push(expression(one.trim())?);
        rest = tail.trim();
    }
    (!expressions.is_empty()).then(|| expressions.into_iter().collect())
}

fn expression(text: &str) -> Option<Expression> {
    if let Some(key) = text.strip_prefix('!') {
        return Some(Expression::DoesNotExist(word(key)?));
    }
    if let Some(list) = text.strip_suffix(')') {
        let (head, values) = list.split_once('(')?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, operator) = head.trim().split_once(char::is_whitespace)?;
        return match operator.trim() {
            "in" => Some(Expression::In(word(key)?, values)),
            "notin" => Some(Expression::NotIn(word(key)?, values)),
            _ => None,
        };
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Some(Expression::NotEqual(word(key)?, value.trim().to_owned()));
    }
    if let Some((key, value)) = text.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return Some(Expression::Equal(word(key)?, value.trim().to_owned()));
    }
    Some(Expression::Exists(word(text)?))
}

fn word(key: &str) -> Option<String> {
    let key = key.trim();
    let is_key = |letter: char| letter.is_ascii_alphanumeric() || "-._/".contains(letter);
    (!key.is_empty() && key.chars().all(is_key)).then(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kube::core::SelectorExt as _;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_form_selects_what_kubernetes_says_it_selects() {
        let pod = labels(&[("app", "consumer"), ("tier", "a")]);
        let table = [
            ("app=consumer", true),
            ("app==consumer", true),
            ("app=other", false),
            ("app!=other,tier=a", true),
            ("app=consumer,tier=b", false),
            ("tier in (a,b)", true),
            ("tier in (b, c),app=consumer", false),
            ("tier notin (b)", true),
            ("example.com/app notin (x)", true),
            ("app", true),
            ("example.com/app", false),
            ("!canary,app", true),
            ("!app", false),
        ];
        for (text, selected) in table {
            assert_eq!(parse(text).expect(text).matches(&pod), selected, "{text}");
        }
    }

    #[test]
    fn what_selects_everything_or_cannot_be_read_selects_nothing() {
        for text in ["", " ", ",", "=", "a>1", "a in", "a in b", "a in (b", "a at (b)", "!", "a b"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_kube_writes_reads_the_same() {
        let text = "app=consumer,tier in (a,b),zone notin (x),color!=red,present,!absent";
        assert_eq!(parse(text).expect("a selector").to_string(), text);
    }
}
