//! Which worker a device lives with.
//!
//! The hash is fixed for ever: shards are written into record headers and will be stored on disk, while the
//! number of workers may change with the machine.

/// Number of shards; each belongs to one worker.
pub(crate) const SHARDS: u8 = 64;

/// Returns the 64-bit hash of a client id: FNV-1a (Fowler, Noll, Vo), finished with the mixer of `MurmurHash3`
/// (`fmix64`, Appleby), since FNV alone hardly carries the last characters into the high bits.
///
/// Not Kafka's murmur2: shards and partitions must not depend on one another.
pub(crate) fn client_hash(client_id: &str) -> u64 {
    mix(fnv_1a(client_id))
}

fn fnv_1a(text: &str) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    text.bytes().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

const fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Returns the shard of a client: the top six bits of its hash.
pub(crate) fn shard_of(client_hash: u64) -> u8 {
    u8::try_from(client_hash >> 58).expect("six bits fit a byte")
}

/// Returns the worker that runs a shard, of `workers`.
pub(crate) fn worker_of(shard: u8, workers: usize) -> usize {
    usize::from(shard) % workers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a_as_published() {
        assert_eq!(fnv_1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv_1a("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_shard_of_a_client_never_changes() {
        let shards = ["", "a", "device-1", "device-2"].map(|id| shard_of(client_hash(id)));
        assert_eq!(shards, [59, 32, 56, 0]);
    }

    #[test]
    fn numbered_devices_spread_evenly_over_shards_and_workers() {
        let mut devices = [0u32; SHARDS as usize];
        for number in 0..6_400 {
            devices[usize::from(shard_of(client_hash(&format!("device-{number}"))))] += 1;
        }
        let (least, most) = (devices.iter().min().unwrap(), devices.iter().max().unwrap());
        assert!(*least > 50 && *most < 160, "100 expected, {least} to {most} found");
        assert_eq!((0..SHARDS).filter(|shard| worker_of(*shard, 2) == 1).count(), 32);
    }
}
