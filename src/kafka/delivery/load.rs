//! What is outstanding in one partition, and whether it is warm: one word, so that one compare-and-swap decides.

/// Bit 63: warm; bit 62: alone; bits 32 to 61: records; bits 0 to 31: bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load(pub(super) u64);

impl Load {
    /// Set by the first proven report, cleared by any report that proves nothing.
    pub(super) const WARM: u64 = 1 << 63;
    /// What is outstanding went through alone.
    pub(super) const ALONE: u64 = 1 << 62;

    /// Returns the word to add or subtract for `records` of together `bytes`.
    pub(super) const fn of(records: u32, bytes: u32) -> u64 {
        ((records as u64) << 32) | bytes as u64
    }

    pub(super) const fn is_warm(self) -> bool {
        self.0 & Self::WARM != 0
    }

    pub(super) const fn is_alone(self) -> bool {
        self.0 & Self::ALONE != 0
    }

    pub(super) const fn records(self) -> u32 {
        ((self.0 & !(Self::WARM | Self::ALONE)) >> 32) as u32
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
        fn fields_do_not_touch_each_other(records in 0..=u32::MAX >> 2, bytes: u32, warm: bool, alone: bool) {
            let bit = |set: bool, bit: u64| if set { bit } else { 0 };
            let load = Load(Load::of(records, bytes) | bit(warm, Load::WARM) | bit(alone, Load::ALONE));
            let fields = (load.records(), load.bytes(), load.is_warm(), load.is_alone());
            prop_assert_eq!(fields, (records, bytes, warm, alone));
        }
    }
}
