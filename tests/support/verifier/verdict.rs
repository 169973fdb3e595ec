//! What a check found.

use std::fmt;

use anyhow::{Result, bail};

/// Findings of one kind that are kept word for word; the others are only counted.
const EXAMPLES: usize = 10;

/// Findings of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many there are.
    pub count: u64,
    /// The first few.
    pub examples: Vec<String>,
}

impl Findings {
    pub(super) fn add(&mut self, example: impl fmt::Display) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example.to_string());
        }
    }
}

/// Records beyond the first of a message, by who made them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duplicates {
    /// They repeat `tg-` headers: made by Tidegate, and a consumer can drop them by the headers.
    pub ours: u64,
    /// New headers: the device sent the message again.
    pub resent: u64,
    /// No headers.
    pub unmarked: u64,
}

/// Outcome of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// Records read.
    pub records: u64,
    /// Different messages among them.
    pub messages: u64,
    /// Records beyond the first of a message.
    pub duplicates: Duplicates,
    /// Acknowledged, and not in Kafka.
    pub lost: Findings,
    /// First occurrences behind a later message of their stream, to a consumer that takes everything or to one that drops
    /// duplicates.
    pub out_of_order: Findings,
    /// First occurrences in another partition than the first of their stream.
    pub scattered: Findings,
    /// Acknowledged, and in Kafka only with headers that call each record a duplicate: a consumer that drops duplicates
    /// loses them.
    pub masked: Findings,
    /// Records that nobody published.
    pub foreign: Findings,
}

impl Verdict {
    /// Returns the faults with their names; all empty if the promises hold.
    #[must_use]
    pub fn faults(&self) -> [(&'static str, &Findings); 5] {
        [
            ("lost", &self.lost),
            ("out of order", &self.out_of_order),
            ("scattered over partitions", &self.scattered),
            ("masked by duplicate headers", &self.masked),
            ("published by nobody", &self.foreign),
        ]
    }

    /// Returns true if there is no fault.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults().iter().all(|(_, findings)| findings.count == 0)
    }

    /// Fails with the report unless the verdict is sound.
    ///
    /// # Errors
    /// There is a fault.
    pub fn ensure_sound(&self) -> Result<()> {
        if !self.is_sound() {
            bail!("kafka does not hold what was acknowledged:\n{self}");
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Duplicates { ours, resent, unmarked } = self.duplicates;
        writeln!(
            f,
            "acknowledged {}, records {}, messages {}, duplicates: {ours} ours, {resent} resent, {unmarked} unmarked",
            self.acknowledged, self.records, self.messages
        )?;
        for (name, findings) in self.faults() {
            writeln!(f, "{name}: {}", findings.count)?;
            for example in &findings.examples {
                writeln!(f, "    {example}")?;
            }
            if findings.count > EXAMPLES as u64 {
                writeln!(f, "    ...")?;
            }
        }
        Ok(())
    }
}
