use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::protocol::encode_request_header_into_buffer;

use super::*;

fn request(version: i16) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::Produce as i16)
        .with_request_api_version(version)
        .with_correlation_id(77);
    let topic = if version >= 13 {
        TopicProduceData::default()
    } else {
        TopicProduceData::default().with_name(TopicName(StrBytes::from_static_str("readings")))
    };
    let partition = PartitionProduceData::default().with_index(5).with_records(Some(batch(42)));
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_topic_data(vec![topic.with_partition_data(vec![partition])]);
    let mut body = BytesMut::new();
    encode_request_header_into_buffer(&mut body, &header).unwrap();
    request.encode(&mut body, version).unwrap();
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(body.len()).unwrap());
    frame.put(body);
    frame.freeze()
}

/// The head of a record batch, all zero but for the producer id and the number of records.
fn batch(producer_id: i64) -> Bytes {
    let mut head = BytesMut::zeroed(61);
    (&mut head[43..51]).put_i64(producer_id);
    (&mut head[57..61]).put_i32(3);
    head.freeze()
}

#[test]
fn a_refusal_is_a_response_of_the_requests_own_version() {
    for version in 3..=13 {
        let (header, request) = produce(&request(version)).unwrap().unwrap();
        let place = &places(&request).unwrap()[0];
        assert_eq!((place.producer_id, place.partition), (42, 5));
        assert_eq!(records(&request).unwrap(), 3);
        let mut frame = refusal(&header, &request, 19).unwrap();
        assert_eq!(usize::try_from(frame.get_i32()).unwrap(), frame.remaining());
        let header = ResponseHeader::decode(&mut frame, ProduceResponse::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, 77);
        let response = ProduceResponse::decode(&mut frame, version).unwrap();
        assert!(frame.is_empty(), "version {version}: {} bytes too many", frame.remaining());
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.index, partition.error_code, partition.base_offset), (5, 19, -1));
    }
}

#[test]
fn only_batches_of_several_records_are_refused_and_no_more_than_asked() {
    let place = [Place { producer_id: 1, topic: "readings".to_owned(), partition: 0 }];
    let shared = Shared::default();
    shared.lock().refusal = Some(Refusal { code: 87, requests: 2, written: false });
    let refused: Vec<bool> =
        [1, 2, 3, 2, 1].map(|records| matches!(shared.judge(&place, records), Verdict::Refuse(_))).to_vec();
    assert_eq!(refused, [false, true, true, false, false]);
}

#[test]
fn only_a_producers_first_request_of_a_partition_is_withheld_and_its_second_rings() {
    let place = |producer_id, topic: &str| [Place { producer_id, topic: topic.to_owned(), partition: 0 }];
    let shared = Shared::default();
    assert!(matches!(shared.judge(&place(1, "before"), 1), Verdict::Forward(_)));
    shared.lock().injection = Some(Injection { code: 6, patience: Duration::ZERO });
    assert!(matches!(shared.judge(&place(1, "before"), 1), Verdict::Forward(_)));
    let Verdict::Withhold(_, mut second) = shared.judge(&place(1, "readings"), 1) else {
        panic!("the first was sent on")
    };
    assert!(matches!(shared.judge(&place(2, "readings"), 1), Verdict::Withhold(..)));
    let Verdict::Forward(bells) = shared.judge(&place(1, "readings"), 1) else {
        panic!("the second was withheld")
    };
    assert!(second.try_recv().is_err(), "rung before it was sent on");
    for bell in bells {
        bell.send(()).unwrap();
    }
    second.try_recv().unwrap();
    let Verdict::Forward(bells) = shared.judge(&place(1, "readings"), 1) else {
        panic!("the third was withheld")
    };
    assert!(bells.is_empty());
}
