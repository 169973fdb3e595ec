//! Cuts the power at random points of a running spool, again and again on the same disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tidegate_spool::{LaneId, Position, RouteId, TopicId};

use crate::child::{self, CAPACITY_BYTES, SEGMENT_BYTES};
use crate::image::Image;
use crate::world::{Kafka, Key, Random, Sent, clock, open_spool, resume, settings};

/// The power goes within this after the child has begun, its recovery included.
const LONGEST_MS: u64 = 700;
/// An image is used for so many cuts, then a new one begins.
const CUTS_PER_IMAGE: u64 = 20;

/// What is known to be stored, and not to be done.
#[derive(Default)]
struct Known {
    stored: BTreeSet<Key>,
    done: BTreeMap<(LaneId, RouteId), Position>,
    heard: u64,
}

pub(crate) fn run() {
    let cuts = std::env::var("TIDEGATE_POWER_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(10);
    let state = std::env::var_os("TIDEGATE_POWER_CUT_STATE").map(PathBuf::from);
    let passed = state.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
    let mut cut: u64 = passed.and_then(|passed| passed.trim().parse().ok()).unwrap_or(0);
    let (mut stored, mut torn) = (0, 0);
    while cut < cuts {
        let image = Image::new(128);
        let mut known = Known::default();
        for _ in 0..CUTS_PER_IMAGE.min(cuts - cut) {
            torn += one_cut(&image, &mut known, cut);
            cut += 1;
            if let Some(path) = &state {
                std::fs::write(path, cut.to_string()).expect("the state can be written");
            }
        }
        stored += known.heard;
        // A run in which nothing was ever stored has tested nothing.
        assert!(known.heard > 0, "nothing was stored before cut {cut}");
    }
    println!("{cuts} power cuts, {stored} records known to be stored, {torn} torn tails");
}

/// Returns how many torn tails were found.
fn one_cut(image: &Image, known: &mut Known, number: u64) -> u64 {
    let mut random = Random(number + 1);
    let switch = image.switch();
    let mut child = start_child(image, number);
    let words = Words::listen(child.stdout.take().expect("it is piped"));
    std::thread::sleep(Duration::from_millis(10 + random.below(LONGEST_MS)));
    // Nobody hears a machine that is off. The shutdown is no single moment inside the kernel: an fsync that it overtakes may
    // return success for what is then gone, so what the child says from here on proves nothing.
    let believed = words.count();
    switch.cut_the_power();
    child.kill().expect("the child runs until it is killed");
    for (index, line) in words.all().iter().enumerate() {
        known.hear(line, index < believed);
    }
    let mut errors = String::new();
    let _ = child.stderr.take().expect("it is piped").read_to_string(&mut errors);
    child.wait().expect("it was killed");
    assert!(!errors.contains("panicked"), "the child: {errors}");
    image.unmount();
    image.mount();
    known.check(image, number)
}

fn start_child(image: &Image, number: u64) -> Child {
    Command::new(std::env::current_exe().expect("this program has a path"))
        .env(child::FOLDER, image.spool())
        .env(child::SEED, (number + 1000).to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program can be started")
}

/// What the child says, line by line, as it says it.
struct Words {
    lines: Arc<Mutex<Vec<String>>>,
    listener: JoinHandle<()>,
}

impl Words {
    fn listen(out: ChildStdout) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&lines);
        let listener = std::thread::spawn(move || {
            let (mut out, mut line) = (BufReader::new(out), String::new());
            while out.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                // A line that the kill has cut is no word.
                if line.ends_with('\n') {
                    heard.lock().expect("nobody panics with it").push(line.trim_end().to_owned());
                }
                line.clear();
            }
        });
        Self { lines, listener }
    }

    fn count(&self) -> usize {
        self.lines.lock().expect("nobody panics with it").len()
    }

    /// All that was said, once the child is dead.
    fn all(self) -> Vec<String> {
        self.listener.join().expect("it only listens");
        std::mem::take(&mut *self.lines.lock().expect("nobody panics with it"))
    }
}

impl Known {
    /// Takes a word of the child. That something may be done counts in any case.
    fn hear(&mut self, line: &str, is_believed: bool) {
        let words: Vec<&str> = line.split(' ').collect();
        let key = Key::from_words(&words[1..]).expect("the child prints keys");
        match words[0] {
            "stored" if is_believed => {
                self.stored.insert(key);
                self.heard += 1;
            }
            "stored" => {}
            _ => {
                self.done.insert((key.lane, key.route), key.position);
            }
        }
    }

    /// Opens the spool that the cut has left and reads all of it.
    fn check(&mut self, image: &Image, number: u64) -> u64 {
        let opened = open_spool(&image.spool(), settings(SEGMENT_BYTES, CAPACITY_BYTES), number + 5000)
            .expect("a spool always starts");
        let findings = opened.report().findings.clone();
        let mut torn = 0;
        for finding in &findings {
            assert!(!finding.is_loss(), "cut {number}: {finding}");
            torn += u64::from(matches!(finding, tidegate_spool::Finding::TornTail { .. }));
        }
        assert_eq!(opened.topic("power"), Some(TopicId(0)));
        let kafka = Kafka::default();
        resume(&kafka, &opened);
        let backlog: Vec<_> = [LaneId(0), LaneId(1)]
            .into_iter()
            .flat_map(|lane| opened.backlog(lane).into_iter().map(move |backlog| (lane, backlog)))
            .collect();
        let spool = opened.start::<Sent>(clock, kafka.clone(), |_, _| {}).expect("there are threads");
        let until = clock() + Duration::from_mins(1);
        let all_read = || {
            let got = kafka.got();
            backlog
                .iter()
                .all(|(lane, backlog)| got.after.get(&(*lane, backlog.route)) >= Some(&backlog.last))
        };
        while !all_read() {
            assert!(clock() < until, "cut {number}: the reader never comes to the end");
            assert!(spool.is_running(), "cut {number}: a thread has died");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(spool.stop(Duration::from_secs(30)), "cut {number}: the spool does not stop");
        let got: BTreeSet<Key> = kafka.got().records.iter().copied().collect();
        let done = &self.done;
        let is_done = |key: &Key| done.get(&(key.lane, key.route)) >= Some(&key.position);
        for key in &self.stored {
            assert!(got.contains(key) || is_done(key), "cut {number}: {key:?} was stored and is lost");
        }
        // What is there is durable now, whether it was acknowledged or not.
        self.stored = got.into_iter().filter(|key| !is_done(key)).collect();
        torn
    }
}
