//! A spool that its gateway has left behind: looked at, emptied by a gateway with a closed door, and looked at again.
//!
//! Owns what such a gateway is given, and what remains. How records get to Kafka is [`run`](crate::run())'s business, as with any
//! other gateway.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_runtime::config::Problem;
use tidegate_spool::disk::RealDisk;
use tidegate_spool::{DEAD_LETTER, Inspection, inspect};

use crate::Door;
use crate::config::{KafkaSettings, Settings, of_left_over};

/// A spool without a gateway.
#[derive(Clone, Debug)]
pub struct LeftOver {
    dir: PathBuf,
    /// Sorted; without that of dead letters, which nobody sends on.
    lanes: Vec<String>,
    /// The gateway's name, if the spool says it.
    name: Option<String>,
}

/// How to empty it.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The gateway's name, where the spool does not say it: half of each record's header `tg-gw`.
    pub name: Option<String>,
    /// Only this lane; none: all of them.
    pub lane: Option<String>,
    /// Where to.
    pub kafka: KafkaSettings,
    /// How long Kafka may take nothing before what is left stays; none: for ever.
    pub wait: Option<Duration>,
}

/// What is in a spool and not in Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// About how many records, by lane, topic and partition.
    pub records: BTreeMap<(String, String, u32), u64>,
    /// Records that Kafka has refused for good.
    pub dead_letters: u64,
}

impl LeftOver {
    /// Looks at the spool in `dir`.
    ///
    /// # Errors
    /// If there is none, if another process has it open, or if it cannot be written to: nobody could note there what Kafka has.
    pub fn find(dir: &Path) -> io::Result<Self> {
        // Looked at first: where there is no spool, no lock is left behind.
        let seen = look(dir)?;
        RealDisk::claim(dir).map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => error,
            kind => io::Error::new(kind, format!("what kafka has could not be noted here: {error}")),
        })?;
        let lanes = seen.lanes.into_iter().map(|lane| lane.name).filter(|lane| lane != DEAD_LETTER);
        Ok(Self { dir: dir.to_owned(), lanes: lanes.collect(), name: seen.name })
    }

    /// Returns whether it holds nothing but dead letters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Returns what a gateway is given that empties it.
    ///
    /// # Errors
    /// The part of the wish that cannot be.
    pub fn order(&self, wish: Wish) -> Result<(Settings, Door), Problem> {
        let name = match (&self.name, wish.name) {
            (Some(name), Some(other)) if *name != other => {
                return Err(Problem::new("name", other, format!("{name}, as the spool says, or nothing")));
            }
            (Some(name), _) => name.clone(),
            (None, Some(name)) => name,
            (None, None) => {
                let allowed = "the `name` of the gateway's settings, which this spool does not say: a version that keeps \
                               it there has not had it open";
                return Err(Problem::new("name", "(nothing)", allowed));
            }
        };
        let settings = of_left_over(&self.dir, &self.lanes, &name, wish.kafka)?;
        let class = |lane: String| {
            let unknown = || Problem::new("lane", &lane, format!("one of {}", self.lanes.join(", ")));
            settings.classes.by_name(&lane).ok_or_else(unknown)
        };
        let only = wish.lane.map(class).transpose()?;
        Ok((settings, Door::Closed { only, wait: wish.wait }))
    }

    /// Looks what is in it now, in `lane` or in all of them.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn remains(&self, lane: Option<&str>) -> io::Result<Remains> {
        let seen = look(&self.dir)?;
        let mut remains = Remains::default();
        for found in seen.lanes {
            if found.name == DEAD_LETTER {
                remains.dead_letters = found.records;
            } else if lane.is_none_or(|lane| lane == found.name) {
                for route in found.routes {
                    let partition = (found.name.clone(), route.topic, route.partition);
                    *remains.records.entry(partition).or_default() += route.waiting_records;
                }
            }
        }
        Ok(remains)
    }
}

fn look(dir: &Path) -> io::Result<Inspection> {
    inspect(&RealDisk::look(dir))
}
