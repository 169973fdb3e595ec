//! What is outstanding in one partition, and whether it is warm: one word, so that one compare-and-swap decides.

/// Bit 63: warm; bits 32 to 62: records; bits 0 to 31: bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load(pub(super) u64);

impl Load {
    /// Set by the first proven report, cleared by any report that proves nothing.
    pub(super) const WARM: u64 = 1 << 63;

    /// Returns the word to add or subtract for `records` of together `bytes`.
    pub(super) const fn of(records: u32, bytes: u32) -> u64 {
        ((records as u64) << 32) | bytes as u64
    }

    pub(super) const fn is_warm(self) -> bool {
        self.0 & Self::WARM != 0
    }

    pub(super) const fn records(self) -> u32 {
        ((self.0 & !Self::WARM) >> 32) as u32
    }

    #[expect(clippy::cast_possible_truncation, reason = "each field is cut out of the word on purpose")]
    pub(super) const fn bytes(self) -> u32 {
        self.0 as u32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_do_not_touch_each_other(records in 0..=u32::MAX >> 1, bytes: u32, warm: bool) {
            let load = Load(Load::of(records, bytes) | if warm { Load::WARM } else { 0 });
            prop_assert_eq!((load.records(), load.bytes(), load.is_warm()), (records, bytes, warm));
        }
    }
}
