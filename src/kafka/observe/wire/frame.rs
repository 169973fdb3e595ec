//! One request or response as bytes: length, header, body.
//!
//! Pure. A frame's length is checked before anything is reserved for it, its correlation id before its body is
//! decoded. (The decoder believes array counts inside the body; a peer that passes both checks is a broker.)

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, HeaderVersion, StrBytes, encode_request_header_into_buffer};

use super::api::Request;
use super::error::WireError;

/// Bytes of the length in front of every frame.
pub(super) const LENGTH_BYTES: usize = 4;
/// Largest response that is read. The largest expected one, 500 groups of 40 members with 300 B each, is 6 MB;
/// a peer that is no broker mostly announces far more (the letters `HTTP` are 1.2 GB).
pub(super) const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// Returns the frame of `request`, length included.
pub(super) fn encode<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &StrBytes,
) -> Result<Bytes, WireError> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(client_id.clone()));
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    encode_request_header_into_buffer(&mut frame, &header)
        .and_then(|()| request.encode(&mut frame, version))
        .map_err(|error| WireError::Malformed(format!("a request cannot be written: {error}")))?;
    let length = i32::try_from(frame.len() - LENGTH_BYTES)
        .map_err(|_| WireError::Malformed("a request is above 2 GiB".to_owned()))?;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

/// Returns how many bytes follow the length `prefix` of a response.
pub(super) fn response_bytes(prefix: [u8; LENGTH_BYTES]) -> Result<usize, WireError> {
    let announced = i32::from_be_bytes(prefix);
    usize::try_from(announced).ok().filter(|bytes| *bytes <= RESPONSE_BYTES_MAX).ok_or_else(|| {
        WireError::Malformed(format!("{announced} bytes announced, allowed are {RESPONSE_BYTES_MAX}"))
    })
}

/// Decodes the response to `R` (without its length), which must carry `correlation_id`.
/// Bytes after its end are ignored, as Kafka's own clients do: librdkafka's mock cluster sends some.
pub(super) fn decode<R: Request>(
    mut frame: Bytes,
    version: i16,
    correlation_id: i32,
) -> Result<R::Response, WireError> {
    let malformed = |what: &str| WireError::Malformed(what.to_owned());
    let sent_for =
        frame.first_chunk().map(|id| i32::from_be_bytes(*id)).ok_or_else(|| malformed("no header"))?;
    if sent_for != correlation_id {
        return Err(WireError::Malformed(format!(
            "answer to request {sent_for} where {correlation_id} was asked"
        )));
    }
    let read = |error| WireError::Malformed(format!("{error}"));
    ResponseHeader::decode(&mut frame, R::Response::header_version(version)).map_err(read)?;
    R::Response::decode(&mut frame, version).map_err(read)
}

/// Returns the error code of an `ApiVersions` answer whatever its version: the code is its first field in all of them.
pub(super) fn api_versions_error(frame: &[u8]) -> Option<i16> {
    frame.get(LENGTH_BYTES..)?.first_chunk().map(|code| i16::from_be_bytes(*code))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};

    use super::*;

    /// `ApiVersions` v0, as a broker would answer request 7: no error, one range (Metadata 0 to 12).
    const ANSWER: &[u8] = &[0, 0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, 12];

    fn answer(frame: &'static [u8], correlation_id: i32) -> Result<usize, String> {
        decode::<ApiVersionsRequest>(Bytes::from_static(frame), 0, correlation_id)
            .map(|answer| answer.api_keys.len())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_is_its_length_header_and_body() {
        let frame = encode(&ApiVersionsRequest::default(), 0, 7, &StrBytes::from_static_str("tg"))
            .expect("it can be written");
        let key = (ApiKey::ApiVersions as i16).to_be_bytes();
        assert_eq!(frame[..], [0, 0, 0, 12, key[0], key[1], 0, 0, 0, 0, 0, 7, 0, 2, b't', b'g']);
    }

    #[test]
    fn an_answer_is_decoded() {
        assert_eq!(answer(ANSWER, 7), Ok(1));
    }

    #[test]
    fn an_answer_to_another_request_is_refused() {
        let refusal = answer(ANSWER, 8).expect_err("7 is not 8");
        assert!(refusal.contains("answer to request 7 where 8 was asked"), "{refusal}");
    }

    #[test]
    fn an_answer_cut_short_is_refused() {
        for cut in 0..ANSWER.len() {
            assert!(answer(&ANSWER[..cut], 7).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn an_announced_length_is_bounded_before_memory_is_reserved() {
        assert_eq!(response_bytes([0, 0, 1, 0]).expect("256 B"), 256);
        assert!(response_bytes(*b"HTTP").is_err());
        assert!(response_bytes([0xff; 4]).is_err());
    }

    #[test]
    fn the_error_of_an_api_versions_answer_is_found_without_its_version() {
        assert_eq!(api_versions_error(&[0, 0, 0, 7, 0, 35, 0]), Some(35));
        assert_eq!(api_versions_error(&[0, 0, 0, 7, 0]), None);
    }
}
