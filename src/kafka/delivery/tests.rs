//! Delivery against librdkafka's mock cluster. Time stands still unless a test moves it: `now` is an argument.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, sync_channel};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaErrorCode, RDKafkaRespErr};
use tidegate_core::time::UnixMillis;

use super::*;
use crate::native::{self, MockCluster};

const NOW: Timestamp = Timestamp::from_millis(1);
/// Far more than any of this takes; a test that needs it has failed.
const DEADLINE: Duration = Duration::from_secs(30);

/// A worker as the gateway has it, without the gateway.
struct Bench {
    cluster: MockCluster,
    delivery: Arc<Delivery>,
    ports: Vec<Port>,
    bells: Vec<Receiver<()>>,
    topic: TopicId,
}

impl Bench {
    fn new(workers: usize, credits: u32) -> Self {
        Self::with(workers, credits, &[])
    }

    fn with(workers: usize, credits: u32, overrides: &[(&str, &str)]) -> Self {
        Self::changed(workers, credits, overrides, |_| ())
    }

    fn changed(
        workers: usize,
        credits: u32,
        overrides: &[(&str, &str)],
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let cluster = MockCluster::new(1, Duration::ZERO).unwrap();
        cluster.get().create_topic("t", 4, 1).unwrap();
        let mut settings = Settings::new(cluster.get().bootstrap_servers(), "test", vec!["sensor".into()]);
        settings.workers = workers;
        settings.credits_per_worker = credits;
        // One at a time, so that what is injected meets the request it is meant for.
        settings.overrides.insert("max.in.flight".into(), "1".into());
        settings.overrides.extend(overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        change(&mut settings);
        let (wakes, bells) = (0..workers)
            .map(|_| {
                let (ring, bell) = sync_channel(1);
                let wake: Wake = Arc::new(move || {
                    let _ = ring.try_send(());
                });
                (wake, bell)
            })
            .unzip();
        let (delivery, ports) = start(&settings, wakes).unwrap();
        let topic = delivery.open_topic(LaneId(0), "t", 4).unwrap();
        Self { cluster, delivery, ports, bells, topic }
    }

    fn record<'a>(&self, partition: u32, payload: &'a [u8]) -> Record<'a> {
        Record {
            topic: self.topic,
            partition,
            key: b"k",
            payload,
            headers: &[],
            timestamp: UnixMillis(1_000),
        }
    }

    fn hand_over(&mut self, worker: usize, partition: u32, tag: u32) -> Result<Generation, Refusal> {
        let payload = tag.to_be_bytes();
        let record = self.record(partition, &payload);
        self.ports[worker].hand_over(&record, tag, NOW)
    }

    /// Waits for the worker's bell, then drains once.
    fn wait(&mut self, worker: usize) -> Vec<Completion> {
        self.bells[worker].recv_timeout(DEADLINE).expect("the worker is woken");
        let mut got = Vec::new();
        self.ports[worker].completions(NOW, |completion| got.push(completion));
        got
    }

    fn wait_for(&mut self, worker: usize, count: usize) -> Vec<Completion> {
        let mut got = Vec::new();
        while got.len() < count {
            got.extend(self.wait(worker));
        }
        assert_eq!(got.len(), count);
        got
    }

    /// One record through a cold partition.
    fn warm(&mut self, partition: u32) {
        self.hand_over(0, partition, u32::MAX).unwrap();
        let got = self.wait_for(0, 1);
        assert!(matches!(got[0].outcome, Outcome::Delivered { .. }), "{got:?}");
    }

    /// Hands over to a partition that Kafka never has until the refusal is this one.
    fn until_refused(&mut self, partition: u32, code: RDKafkaErrorCode) {
        let refused = Err(Refusal::Unknown(code));
        self.until("it is refused", |bench| bench.hand_over(0, partition, 0) == refused);
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        for _ in 0..DEADLINE.as_millis() / 10 {
            if is_so(self) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        panic!("not so: {what}");
    }

    fn inject(&self, errors: &[RDKafkaRespErr]) {
        self.cluster.get().request_errors(RDKafkaApiKey::Produce, errors);
    }

    /// Payloads of a partition, as Kafka has them.
    fn stored(&self, partition: i32, count: usize) -> Vec<u32> {
        let reader = self.reader(partition);
        let mut payloads = Vec::new();
        while payloads.len() < count {
            let message = reader.poll(DEADLINE).expect("as many records as were delivered").unwrap();
            payloads.push(u32::from_be_bytes(message.payload().unwrap().try_into().unwrap()));
        }
        payloads
    }

    fn reader(&self, partition: i32) -> BaseConsumer {
        let reader: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.get().bootstrap_servers())
            .set("group.id", "reader")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", partition, Offset::Beginning).unwrap();
        reader.assign(&list).unwrap();
        reader
    }
}

fn delivered(completion: &Completion) -> i64 {
    match completion.outcome {
        Outcome::Delivered { offset } => offset,
        other => panic!("{other:?}"),
    }
}

#[test]
fn records_arrive_in_order_with_proven_offsets_through_a_window_that_refuses() {
    const RECORDS: u32 = 3000;
    let mut bench = Bench::new(1, 8192);
    let (mut next, mut offsets) = (0, BTreeMap::new());
    while offsets.len() < RECORDS as usize {
        while next < RECORDS && bench.hand_over(0, 2, next).is_ok() {
            next += 1;
        }
        for completion in bench.wait(0) {
            assert_eq!(completion.partition, 2);
            offsets.insert(completion.tag, delivered(&completion));
        }
    }
    let want: Vec<_> = (0..RECORDS).collect();
    assert_eq!(offsets, want.iter().map(|tag| (*tag, i64::from(*tag))).collect());
    assert_eq!(bench.stored(2, RECORDS as usize), want);
    let stats = bench.delivery.stats(NOW);
    assert!(stats.refused_window > 0 && stats.refused_cold > 0, "{stats:?}");
    assert!(stats.shared_window_bytes_used > 0, "the window grew: {stats:?}");
    let expected = Stats { handed_over: RECORDS.into(), delivered: RECORDS.into(), partitions: 4, ..stats };
    assert_eq!((stats, stats.outstanding, stats.stale, stats.refused_queue_full), (expected, 0, 0, 0));
    assert_eq!(bench.ports[0].outstanding(), 0);
}

#[test]
fn key_value_headers_and_time_arrive_as_they_were_given() {
    let mut bench = Bench::new(1, 8);
    let headers: [(&str, &[u8]); 3] = [("tg-gw", b"site"), ("empty", b""), ("tg-gw", b"\0\xff")];
    let record = Record {
        key: b"",
        payload: b"",
        headers: &headers,
        timestamp: UnixMillis(1_234),
        ..bench.record(1, b"")
    };
    bench.ports[0].hand_over(&record, 7, NOW).unwrap();
    let got = bench.wait_for(0, 1);
    assert_eq!((got[0].tag, got[0].topic, delivered(&got[0])), (7, bench.topic, 0));
    let reader = bench.reader(1);
    let message = reader.poll(DEADLINE).unwrap().unwrap();
    assert_eq!((message.key(), message.payload()), (Some(&b""[..]), Some(&b""[..])), "empty, not null");
    assert_eq!(message.timestamp().to_millis(), Some(1_234));
    let native = message.headers().unwrap();
    let arrived: Vec<_> = native.iter().map(|header| (header.key, header.value.unwrap_or(b"null"))).collect();
    assert_eq!(arrived, headers);
}

#[test]
fn a_cold_partition_lets_one_record_out_over_all_workers_and_wakes_who_was_refused() {
    let mut bench = Bench::new(2, 8);
    bench.hand_over(0, 0, 1).unwrap();
    assert_eq!(bench.hand_over(0, 0, 2), Err(Refusal::Cold));
    assert_eq!(bench.hand_over(1, 0, 3), Err(Refusal::Cold));
    assert_eq!(bench.hand_over(1, 1, 4).map(drop), Ok(()), "another partition is not concerned");
    bench.wait_for(1, 1);
    bench.wait_for(0, 1);
    assert_eq!(bench.wait(1), [], "worker 1 has no report: it is woken for the room");
    bench.hand_over(1, 0, 3).unwrap();
    bench.hand_over(0, 0, 2).unwrap();
    assert_eq!(delivered(&bench.wait_for(1, 1)[0]) + delivered(&bench.wait_for(0, 1)[0]), 1 + 2);
}

#[test]
fn a_success_without_an_offset_is_unproven_and_the_record_goes_again() {
    let mut bench = Bench::new(1, 8);
    bench.inject(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER]);
    bench.hand_over(0, 0, 1).unwrap();
    assert_eq!(bench.wait_for(0, 1)[0].outcome, Outcome::Unproven);
    bench.hand_over(0, 0, 1).unwrap();
    assert_eq!(bench.hand_over(0, 0, 2), Err(Refusal::Cold), "nothing is proven yet");
    assert_eq!(delivered(&bench.wait_for(0, 1)[0]), 0);
    assert_eq!(bench.stored(0, 1), [1]);
    assert_eq!(bench.delivery.stats(NOW).unproven, 1);
}

#[test]
fn a_warm_partition_is_cold_again_after_a_success_without_an_offset() {
    // Long enough that both are in one request.
    let mut bench = Bench::with(1, 64, &[("linger.ms", "200")]);
    bench.warm(0);
    bench.inject(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER]);
    bench.hand_over(0, 0, 1).unwrap();
    bench.hand_over(0, 0, 2).unwrap();
    let outcomes: Vec<_> = bench.wait_for(0, 2).iter().map(|completion| completion.outcome).collect();
    assert_eq!(outcomes, [Outcome::Unproven; 2]);
    bench.hand_over(0, 0, 1).unwrap();
    assert_eq!(bench.hand_over(0, 0, 2), Err(Refusal::Cold));
}

#[test]
fn no_record_of_a_batch_without_an_offset_is_proven() {
    let mut bench = Bench::new(1, 64);
    bench.warm(0);
    bench.inject(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER]);
    for tag in 0..20 {
        bench.hand_over(0, 0, tag).unwrap();
    }
    let got = bench.wait_for(0, 20);
    let first: Vec<_> = got.iter().map_while(|c| (c.outcome == Outcome::Unproven).then_some(c.tag)).collect();
    assert!(first.len() > 1, "librdkafka made no batch: {got:?}");
    assert!(got[first.len()..].iter().all(|c| delivered(c) > 0), "offset 0 is the warming record's: {got:?}");
}

#[test]
fn transient_errors_are_retried_by_librdkafka_in_order() {
    let mut bench = Bench::new(1, 64);
    bench.inject(&[
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
    ]);
    bench.warm(0);
    for tag in 0..10 {
        bench.hand_over(0, 0, tag).unwrap();
    }
    let offsets: Vec<_> = bench.wait_for(0, 10).iter().map(delivered).collect();
    assert_eq!(offsets, (1..=10).collect::<Vec<_>>());
    assert_eq!(bench.stored(0, 11)[1..], (0..10).collect::<Vec<_>>());
}

#[test]
fn partitions_that_answer_nothing_leave_credits_to_the_others() {
    let mut bench = Bench::new(1, 1024);
    (0..4).for_each(|partition| bench.warm(partition));
    // Windows grow by rounds of reports, as far as they are allowed to.
    let fill = |bench: &mut Bench, partition| {
        let mut count = 0;
        loop {
            match bench.hand_over(0, partition, 0) {
                Ok(_) => count += 1,
                Err(refused) => break (count, refused),
            }
        }
    };
    for _ in 0..8 {
        for partition in 0..3 {
            let (count, _) = fill(&mut bench, partition);
            bench.wait_for(0, count);
        }
    }
    // From here on no report is taken: so it looks when a broker is gone.
    let (counts, refused): (Vec<_>, Vec<_>) = (0..3).map(|partition| fill(&mut bench, partition)).unzip();
    assert!(counts.iter().any(|count| *count > 64), "a window grew: {counts:?}");
    assert_eq!(refused, [Refusal::Window; 3]);
    let (count, refused) = fill(&mut bench, 3);
    assert!(count >= 64 && refused == Refusal::Window, "{count} {refused:?}");
}

#[test]
fn credits_bound_what_a_worker_has_outstanding() {
    let mut bench = Bench::new(1, 3);
    for partition in 0..3 {
        bench.hand_over(0, partition, partition).unwrap();
    }
    assert_eq!(bench.hand_over(0, 3, 3), Err(Refusal::Credits));
    assert_eq!(bench.ports[0].outstanding(), 3);
    bench.wait_for(0, 3);
    bench.hand_over(0, 3, 3).unwrap();
    bench.wait_for(0, 1);
}

#[test]
fn each_hand_over_has_a_new_generation() {
    let mut bench = Bench::new(1, 1);
    let first = bench.hand_over(0, 0, 5).unwrap();
    assert_eq!(bench.wait_for(0, 1)[0].generation, first);
    let second = bench.hand_over(0, 0, 5).unwrap();
    assert_ne!(first, second);
    assert_eq!(bench.wait_for(0, 1)[0].generation, second);
}

#[test]
fn a_record_larger_than_allowed_is_refused_at_once() {
    let mut bench = Bench::new(1, 1);
    let large = vec![0; MAX_RECORD_BYTES as usize];
    let record = bench.record(0, &large);
    assert_eq!(bench.ports[0].hand_over(&record, 0, NOW), Err(Refusal::TooLarge));
    let fits = bench.record(0, &large[..(MAX_RECORD_BYTES - RECORD_OVERHEAD_BYTES) as usize - 1]);
    bench.ports[0].hand_over(&fits, 0, NOW).unwrap();
    assert_eq!(delivered(&bench.wait_for(0, 1)[0]), 0);
}

#[test]
fn a_partition_that_does_not_exist_is_refused_and_leaves_nothing_behind() {
    let mut bench = Bench::new(1, 1);
    let unknown = Err(Refusal::Unknown(RDKafkaErrorCode::UnknownPartition));
    assert_eq!(bench.hand_over(0, 4, 0), unknown, "beyond what was opened");
    bench.warm(0);
    let topic = bench.delivery.open_topic(LaneId(0), "t", 5).unwrap_err();
    assert_eq!(topic.to_string(), "topic t: opened with 4 partitions, asked for 5");
    bench.cluster.get().create_topic("small", 1, 1).unwrap();
    bench.topic = bench.delivery.open_topic(LaneId(0), "small", 2).unwrap();
    bench.warm(0);
    assert_eq!(bench.hand_over(0, 1, 0), unknown, "beyond what Kafka has");
    assert_eq!((bench.delivery.stats(NOW).outstanding, bench.ports[0].outstanding()), (0, 0));
}

#[test]
fn a_topic_that_vanished_and_came_back_is_cold() {
    let often = [("topic.metadata.refresh.interval.ms", "20")];
    let mut bench = Bench::with(1, 64, &often);
    bench.cluster.get().create_topic("v", 1, 1).unwrap();
    bench.topic = bench.delivery.open_topic(LaneId(0), "v", 2).unwrap();
    bench.warm(0);
    assert_eq!(bench.delivery.stats(NOW).partitions_cold, 5, "all but one of six");
    bench.until_refused(1, RDKafkaErrorCode::UnknownPartition);
    assert_eq!(bench.delivery.stats(NOW).partitions_cold, 5, "a partition that is missing cools no other");
    bench.cluster.get().topic_error("v", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
    bench.until_refused(1, RDKafkaErrorCode::UnknownTopic);
    bench.cluster.get().topic_error("v", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    bench.until_refused(1, RDKafkaErrorCode::UnknownPartition);
    bench.hand_over(0, 0, 1).unwrap();
    assert_eq!(bench.hand_over(0, 0, 2), Err(Refusal::Cold), "the new partition knows nothing of us");
    assert_eq!(delivered(&bench.wait_for(0, 1)[0]), 1);
}

#[test]
fn a_fatal_error_is_named_wakes_the_workers_and_closes_the_lane() {
    let mut bench = Bench::new(2, 8);
    bench.warm(0);
    bench.inject(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    bench.hand_over(0, 0, 1).unwrap();
    bench.bells[1].recv_timeout(DEADLINE).expect("workers without a record are woken too");
    let fatal = bench.delivery.fatal().expect("recorded before the wake");
    assert_eq!(
        (fatal.lane.as_str(), fatal.code),
        ("sensor", Some(RDKafkaErrorCode::OutOfOrderSequenceNumber))
    );
    assert_eq!(bench.hand_over(1, 1, 2), Err(Refusal::Closed));
    bench.delivery.stop(Duration::ZERO);
    let mut outcomes = Vec::new();
    bench.ports[0].completions(NOW, |completion| outcomes.push(completion.outcome));
    assert!(matches!(outcomes[..], [Outcome::Failed(..)]), "{outcomes:?}");
}

#[test]
fn a_failed_instance_is_replaced_and_the_next_begins_cold() {
    let mut bench = Bench::changed(1, 8, &[], |settings| settings.retire_failed = true);
    bench.warm(0);
    bench.warm(1);
    bench.inject(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    for tag in 1..=3 {
        bench.hand_over(0, 0, tag).unwrap();
    }
    let reports = bench.wait_for(0, 3);
    let failed = |report: &Completion| matches!(report.outcome, Outcome::Failed(..));
    assert!(reports.iter().all(failed), "each has its report: {reports:?}");
    assert_eq!(bench.hand_over(0, 1, 4), Err(Refusal::Closed), "until the next instance is there");
    while bench.hand_over(0, 1, 4).is_err() {
        bench.bells[0].recv_timeout(DEADLINE).expect("the worker is woken");
        bench.ports[0].completions(NOW, |completion| panic!("{completion:?}"));
    }
    assert_eq!(bench.hand_over(0, 1, 5), Err(Refusal::Cold), "the new instance is unknown there");
    delivered(&bench.wait_for(0, 1)[0]);
    bench.hand_over(0, 0, 1).unwrap();
    delivered(&bench.wait_for(0, 1)[0]);
    assert_eq!((bench.delivery.fatal(), bench.delivery.stats(NOW).instances_retired), (None, 1));
    assert!(bench.delivery.stop(DEADLINE));
}

#[test]
fn a_replaced_instance_can_still_prove_a_record_but_warm_no_partition_and_retire_nobody() {
    let mut bench = Bench::changed(1, 8, &[], |settings| settings.retire_failed = true);
    bench.warm(0);
    bench.hand_over(0, 0, 1).unwrap();
    bench.bells[0].recv_timeout(DEADLINE).expect("its report has come, and is not taken yet");
    bench.inject(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    bench.hand_over(0, 1, 2).unwrap();
    // No report is taken meanwhile, so the bell is silent.
    bench.until("the failed report retires the instance", |bench| {
        bench.delivery.stats(NOW).instances_retired == 1
    });
    bench.until("the next one takes over", |bench| bench.hand_over(0, 2, 3).is_ok());
    let mut old = Vec::new();
    bench.ports[0].completions(NOW, |completion| old.push(completion));
    let proven = old.iter().find(|completion| completion.tag == 1).expect("its report is not lost");
    assert_eq!(delivered(proven), 1);
    bench.hand_over(0, 0, 4).unwrap();
    assert_eq!(bench.hand_over(0, 0, 5), Err(Refusal::Cold), "the next instance has proven nothing there");

    retire::retire(&bench.delivery.shared, 0, 0, "an error of the first instance, late");
    assert_eq!(bench.delivery.stats(NOW).instances_retired, 1);
    bench.hand_over(0, 3, 6).unwrap();
}

#[test]
fn what_a_replaced_instance_has_proven_warms_no_partition_in_the_moment_of_the_change() {
    let mut bench = Bench::new(1, 8);
    bench.warm(0);
    bench.hand_over(0, 0, 1).unwrap();
    bench.bells[0].recv_timeout(DEADLINE).expect("its report has come, and is not taken yet");
    let shared = Arc::clone(&bench.delivery.shared);
    let producer = shared.lanes[0].instance().producer;
    // As the thread does that replaces it; the lane has yet to be told.
    let topic = shared.topic(bench.topic).unwrap();
    topic.hand_to(1, native::Topic::open(&producer, "t").unwrap());
    let mut old = Vec::new();
    bench.ports[0].completions(NOW, |completion| old.push(delivered(&completion)));
    assert_eq!(old, [1]);
    bench.hand_over(0, 0, 2).unwrap();
    assert_eq!(bench.hand_over(0, 0, 3), Err(Refusal::Cold), "the next instance has proven nothing there");
}

#[test]
fn a_stop_ends_a_lane_that_is_about_to_get_a_new_instance() {
    let mut bench = Bench::changed(1, 8, &[], |settings| settings.retire_failed = true);
    bench.warm(0);
    bench.inject(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    bench.hand_over(0, 0, 1).unwrap();
    bench.wait_for(0, 1);
    bench.delivery.stop(Duration::ZERO);
    assert_eq!(bench.hand_over(0, 0, 2), Err(Refusal::Closed));
}

#[test]
fn stopping_reports_what_it_gave_up() {
    let mut bench = Bench::new(1, 8);
    bench.warm(0);
    bench.cluster.get().broker_down(-1).unwrap();
    bench.hand_over(0, 0, 1).unwrap();
    bench.hand_over(0, 1, 2).unwrap();
    assert!(!bench.delivery.stop(Duration::from_millis(50)));
    assert_eq!(bench.hand_over(0, 0, 3), Err(Refusal::Closed));
    let mut failed = Vec::new();
    bench.ports[0].completions(NOW, |completion| failed.push((completion.tag, completion.outcome)));
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed.iter().all(|(_, outcome)| matches!(outcome, Outcome::Failed(..))), "{failed:?}");
}

#[test]
fn stopping_waits_for_what_kafka_still_confirms() {
    let mut bench = Bench::new(1, 8);
    bench.hand_over(0, 0, 1).unwrap();
    assert!(bench.delivery.stop(DEADLINE));
    let mut outcomes = Vec::new();
    bench.ports[0].completions(NOW, |completion| outcomes.push(completion.outcome));
    assert_eq!(outcomes, [Outcome::Delivered { offset: 0 }]);
}
