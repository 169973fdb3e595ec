use super::*;
use crate::format::footer::Span;

const ROUTE: RouteId = RouteId { shard: 0, topic: TopicId(0), partition: 0 };

const fn at(seq: u64) -> Position {
    Position { epoch: 1, seq }
}

#[test]
fn done_becomes_safe_after_a_minute_and_never_earlier() {
    let mut catalog = Catalog::default();
    let secs = Duration::from_secs;
    catalog.done(ROUTE, at(5), 0);
    catalog.age(secs(0));
    catalog.done(ROUTE, at(9), 0);
    catalog.age(secs(59));
    assert_eq!(catalog.mark(ROUTE).safe, Position::START);
    catalog.age(secs(60));
    assert_eq!(catalog.mark(ROUTE).safe, at(5));
    catalog.age(secs(119));
    assert_eq!(catalog.mark(ROUTE).safe, at(5), "9 was seen to be done at 60 s");
    catalog.age(secs(120));
    assert_eq!(catalog.mark(ROUTE).safe, at(9));
}

#[test]
fn a_topic_counts_as_one_brokers_until_the_contrary_is_known() {
    let mut catalog = Catalog::default();
    catalog.done(ROUTE, at(5), 0);
    assert_eq!(catalog.needed_after(ROUTE), Position::START);
    catalog.set_replicated(ROUTE.topic, true);
    assert_eq!(catalog.needed_after(ROUTE), at(5));
}

#[test]
fn a_broker_that_forgot_gets_again_what_is_not_safe() {
    let mut catalog = Catalog::default();
    catalog.done(ROUTE, at(5), 0);
    let other = RouteId { partition: 1, ..ROUTE };
    catalog.done(other, at(7), 0);
    assert_eq!(catalog.unsafe_routes(), [ROUTE, other]);
    assert_eq!(catalog.replay_from_safe(ROUTE.topic, Some(0)), [(ROUTE, Position::START)]);
    assert_eq!(catalog.unsafe_routes(), [other]);
    assert_eq!(catalog.mark(ROUTE).done, Position::START);
    assert_eq!(catalog.mark(other).done, at(7));
}

#[test]
fn done_never_moves_back_by_a_late_report() {
    let mut catalog = Catalog::default();
    catalog.done(ROUTE, at(5), 10);
    catalog.done(ROUTE, at(3), 10);
    assert_eq!((catalog.mark(ROUTE).done, catalog.done_bytes), (at(5), 10));
}

#[test]
fn what_is_left_of_a_span_is_never_said_to_be_less_than_it_is() {
    let span = Span { first: at(11), last: at(20), count: 10, acknowledged: 5, bytes: 1000 };
    let table = [(at(0), 1000, 10), (at(10), 1000, 10), (at(15), 500, 6), (at(19), 100, 2), (at(20), 0, 0)];
    for (position, bytes, records) in table {
        let (acknowledged, others) = span.records_after(position);
        assert!(
            span.bytes_after(position).abs_diff(bytes) <= 1,
            "{position}: {}",
            span.bytes_after(position)
        );
        assert_eq!(acknowledged + others, records, "{position}");
    }
    let two_epochs = Span { first: Position { epoch: 0, seq: 900 }, ..span };
    assert_eq!(two_epochs.bytes_after(at(15)), 1000);
}
