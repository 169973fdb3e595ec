//! The partition of a key, as the Java clients compute it.
//!
//! Owns the one rule that every record of a key goes to the same partition whichever client wrote it.
//! Knows no topics: the caller brings the partition count, latched per topic.

/// Seed of Kafka's murmur2.
const SEED: u32 = 0x9747_b28c;
/// Multiplier of murmur2 (Austin Appleby, `MurmurHash2`, 32 bit).
const M: u32 = 0x5bd1_e995;

/// Returns the partition of `key`, from 0 to `partitions` - 1: `toPositive(murmur2(key)) % partitions`, as
/// `BuiltInPartitioner.partitionForKey` of the Java producer and librdkafka's `murmur2` partitioner do.
///
/// An **empty** key is a key: it hashes like any other, so all records with an empty key share one partition.
/// A **null** key has no partition of its own and therefore no place in this signature: Java spreads such records
/// as it likes, so a caller who wants order must name a key.
///
/// # Panics
/// If `partitions` is 0: Kafka has no topic without a partition.
#[must_use]
pub fn partition_for(key: &[u8], partitions: u32) -> u32 {
    assert!(partitions > 0, "a topic has at least one partition");
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// 32-bit murmur2 with Kafka's seed, over little-endian words (`org.apache.kafka.common.utils.Utils.murmur2`).
fn murmur2(data: &[u8]) -> u32 {
    // Java's length is an i32; Kafka's records are far below 2 GiB, so the truncation is Java's own.
    #[allow(clippy::cast_possible_truncation, reason = "as Java does; a key is far below 4 GiB")]
    let mut h = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (key, `Utils.murmur2(key)`, partition of 12, partition of 64), printed by Kafka 4.1's own
    /// `org.apache.kafka.common.utils.Utils`.
    const JAVA: &[(&[u8], i32, u32, u32)] = &[
        (b"", 275_646_681, 9, 25),
        (b"a", -1_563_381_124, 4, 60),
        (b"ab", 316_155_434, 2, 42),
        (b"abc", 479_470_107, 3, 27),
        (b"abcd", -1_323_649_548, 8, 52),
        (b"abcde", 461_995_741, 1, 29),
        (b"21", -973_932_308, 0, 44),
        (b"foobar", -790_332_482, 6, 62),
        (b"a-little-bit-long-string", -985_981_536, 8, 32),
        (b"a-little-bit-longer-string", -1_486_304_829, 11, 3),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971, 5, 13),
        (b"sensor-0001", 819_013_576, 4, 8),
        (b"sensor-0002", -227_072_209, 7, 47),
        (b"site/7/door", 2_080_768_821, 9, 53),
        ("\u{fc}ber".as_bytes(), -1_718_265_917, 3, 3),
        ("\u{6e29}\u{5ea6}".as_bytes(), -43_931_296, 4, 32),
        (&[0x00], 375_494_588, 8, 60),
        (&[0xff], -311_467_685, 3, 27),
        (&[0xff, 0x80, 0x7f], 968_261_134, 10, 14),
        (&[0x00, 0x00, 0x00, 0x00], 850_957_120, 4, 0),
        (&[0xde, 0xad, 0xbe, 0xef, 0x80], -256_566_253, 7, 19),
        (&[0x01, 0x02, 0x80, 0x81, 0xff, 0xfe, 0xfd], -1_189_699_560, 8, 24),
    ];

    #[test]
    fn the_hash_is_java_s() {
        for (key, hash, _, _) in JAVA {
            assert_eq!(murmur2(key).cast_signed(), *hash, "{key:02x?}");
        }
    }

    #[test]
    fn the_partition_is_java_s() {
        for (key, _, of_12, of_64) in JAVA {
            assert_eq!((partition_for(key, 12), partition_for(key, 64)), (*of_12, *of_64), "{key:02x?}");
        }
    }

    #[test]
    fn a_topic_with_one_partition_takes_every_key() {
        for (key, ..) in JAVA {
            assert_eq!(partition_for(key, 1), 0);
        }
    }
}
