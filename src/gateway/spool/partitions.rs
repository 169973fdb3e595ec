//! How many partitions each topic has, beside the log: so that a gateway can start while Kafka is away.
//!
//! The count decides which partition a key goes to, and so what is in order with what. It stays as it is while records
//! made with it wait in the log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use tidegate_spool::COMPANION;

/// Returns what was kept; nothing if there is nothing that can be read: then Kafka is asked.
pub(super) fn load(dir: &Path) -> BTreeMap<String, u32> {
    let counts: BTreeMap<String, u32> = fs::read(dir.join(COMPANION))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Keeps the counts, wholly or not at all.
pub(super) fn save(dir: &Path, counts: &BTreeMap<String, u32>) -> io::Result<()> {
    // The log removes what ends like this when it opens: it is left by a crash.
    let unfinished = dir.join(format!("{COMPANION}.tmp"));
    let mut file = File::create(&unfinished)?;
    file.write_all(&serde_json::to_vec(counts)?)?;
    file.sync_all()?;
    fs::rename(&unfinished, dir.join(COMPANION))?;
    File::open(dir)?.sync_all()
}

/// Returns the counts to go on with. `asked`: what Kafka said, if it did. A topic with records in the log keeps the count
/// that they were made with; what nobody knows is missing.
pub(crate) fn decide(
    asked: Option<&BTreeMap<String, u32>>,
    kept: &BTreeMap<String, u32>,
    waits_in_log: impl Fn(&str) -> bool,
) -> BTreeMap<String, u32> {
    let mut counts = kept.clone();
    for (topic, count) in asked.into_iter().flatten() {
        match kept.get(topic) {
            Some(kept) if waits_in_log(topic) => {
                if kept != count {
                    tracing::warn!(
                        topic,
                        kept,
                        count,
                        "the new partition count is taken once the spool is empty"
                    );
                }
            }
            _ => {
                counts.insert(topic.clone(), *count);
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u32)]) -> BTreeMap<String, u32> {
        pairs.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect()
    }

    #[test]
    fn what_is_kept_comes_back_and_damage_is_nothing_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()), counts(&[]));
        let kept = counts(&[("a", 4), ("b", 12)]);
        save(folder.path(), &kept).unwrap();
        assert_eq!(load(folder.path()), kept);
        fs::write(folder.path().join(COMPANION), b"{\"a\": 4").unwrap();
        assert_eq!(load(folder.path()), counts(&[]));
    }

    #[test]
    fn a_topic_that_grew_is_taken_as_it_is_unless_its_records_wait() {
        let (asked, kept) =
            (counts(&[("a", 8), ("b", 8), ("c", 8)]), counts(&[("a", 4), ("b", 4), ("d", 1)]));
        let decided = decide(Some(&asked), &kept, |topic| topic == "a");
        assert_eq!(decided, counts(&[("a", 4), ("b", 8), ("c", 8), ("d", 1)]));
        assert_eq!(decide(None, &kept, |_| false), kept);
    }
}
