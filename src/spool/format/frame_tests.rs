use proptest::prelude::*;

use super::*;

fn decode(seal: Seal, bytes: &[u8]) -> Option<Part<'_>> {
    is_whole(seal, bytes).then(|| parse(bytes))?
}

fn frame<'a>(key: Option<&'a [u8]>, headers: &'a [u8], payload: &'a [u8]) -> Frame<'a> {
    Frame {
        shard: 63,
        topic: TopicId(7),
        partition: 11,
        position: Position { epoch: 3, seq: u64::MAX },
        time_unix_ms: -1,
        uptime_ms: 5,
        lifetime_s: 60,
        flags: Flags::ACKNOWLEDGED.with(Flags::RETAIN),
        key,
        headers,
        payload,
    }
}

fn encoded(frame: &Frame<'_>, seal: Seal) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(seal, frame.topic.0, &mut out);
    out
}

#[test]
fn an_empty_key_is_not_no_key() {
    for key in [None, Some(&b""[..])] {
        let bytes = encoded(&frame(key, b"", b"x"), Seal::new(1));
        assert_eq!(decode(Seal::new(1), &bytes), Some(Part::Record(frame(key, b"", b"x"))));
    }
}

#[test]
fn frames_of_another_segment_are_no_frames_here() {
    let bytes = encoded(&frame(None, b"", b"x"), Seal::new(1));
    assert_eq!(len_from_head(Seal::new(2), &bytes), None);
    assert_eq!(decode(Seal::new(2), &bytes), None);
}

#[test]
fn zeros_are_no_frame_whatever_the_salt() {
    // The salt whose marker would be zero is the only one that could take untouched space for a frame.
    let seal = Seal::new(MARKER.rotate_right(16));
    assert_eq!(seal.marker(), [0; 4]);
    assert_eq!(len_from_head(seal, &[0; 64]), None);
}

#[test]
fn headers_come_back_in_order_and_damage_ends_them() {
    let mut bytes = Vec::new();
    put_header(&mut bytes, "tg-topic", b"a/b");
    put_header(&mut bytes, "", b"");
    let all: Vec<_> = headers(&bytes).collect();
    assert_eq!(all, [("tg-topic", &b"a/b"[..]), ("", b"")]);
    assert_eq!(headers(&bytes[..bytes.len() - 1]).count(), 1);
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back(key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
                                  headers in proptest::collection::vec(any::<u8>(), 0..40),
                                  payload in proptest::collection::vec(any::<u8>(), 0..400), salt: u32) {
        let frame = frame(key.as_deref(), &headers, &payload);
        let bytes = encoded(&frame, Seal::new(salt));
        prop_assert_eq!(bytes.len(), frame.bytes());
        prop_assert_eq!(len_from_head(Seal::new(salt), &bytes), Some(bytes.len()));
        prop_assert_eq!(decode(Seal::new(salt), &bytes), Some(Part::Record(frame)));
    }

    #[test]
    fn a_flipped_bit_is_seen(payload in proptest::collection::vec(any::<u8>(), 0..100), at: proptest::sample::Index, bit in 0..8_u32) {
        let mut bytes = encoded(&frame(Some(b"k"), b"", &payload), Seal::new(9));
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert_eq!(decode(Seal::new(9), &bytes), None);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        // A crc that fits, so that what lies behind it is reached.
        let mut framed = Vec::new();
        sealed(Seal::new(0), &mut framed, |out| out.put(&bytes));
        let _ = decode(Seal::new(0), &framed);
        let _ = headers(&bytes).count();
    }
}
