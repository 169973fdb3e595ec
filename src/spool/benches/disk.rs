//! How much of the disk the spool leaves to its records, and how fast recovery scans.
//!
//! Writing: rounds of raw sequential writes with fdatasync, over old blocks (A) and into a preallocated file (B), and of the spool
//! (C) on the same file system, A-B-C C-B-A, so that a disk that slows down favours none; the median of the rounds' ratios is
//! the result. Scanning: recovery of a segment
//! without a footer, from the page cache and, after the kernel was asked to forget it, from the disk.
//!
//! `TIDEGATE_BENCH_FOLDER` names the folder to write to; default: a temporary one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};
use rustix::time::{ClockId, clock_gettime};
use tidegate_spool::disk::RealDisk;
use tidegate_spool::{
    Ask, Boot, Flags, Frame, LaneId, Position, RawLane, RawPolicy, RawSettings, Record, Room, RouteId,
    Settings, Sink, Spool, Stored, TopicId, open,
};

const MIB: u64 = 1024 * 1024;
/// Written in each run.
const RUN_BYTES: u64 = 256 * MIB;
/// The spool's largest commit: what the raw run writes between two syncs.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
const ROUNDS: usize = 7;
const LANE: LaneId = LaneId(0);

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn clock() -> Duration {
    static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let origin = *ORIGIN;
    Instant::now().saturating_duration_since(origin)
}

/// CPU time that this thread has used: recovery runs on it.
fn cpu_clock() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// A record in the pool: all share one payload.
struct Pooled {
    position: Position,
    shard: u8,
    payload: Arc<[u8]>,
}

impl Record for Pooled {
    fn frame(&self) -> Frame<'_> {
        Frame {
            shard: self.shard,
            topic: TopicId(0),
            partition: 0,
            position: self.position,
            time_unix_ms: 1_700_000_000_000,
            uptime_ms: 0,
            lifetime_s: 0,
            flags: Flags::ACKNOWLEDGED,
            key: Some(b"device-000001"),
            headers: b"",
            payload: &self.payload,
        }
    }
}

/// A Kafka that is away: the outage that a spool is for.
struct Away;

impl Sink for Away {
    fn ask(&mut self, _: LaneId, _: RouteId) -> Ask {
        Ask { after: Position::START, room: Room::Shut { moved: Duration::ZERO } }
    }

    fn take(&mut self, _: Stored<'_>) {}

    fn lost(&mut self, _: LaneId, _: RouteId, _: Position, _: Position) {}
}

fn settings() -> Settings {
    let lane = RawLane {
        name: "sensor".to_owned(),
        capacity_bytes: 4 * 1024 * MIB,
        full: RawPolicy::Block,
        allow_acked_loss: false,
    };
    let raw = RawSettings { lanes: vec![lane], dead_letter_bytes: 512 * MIB, ..RawSettings::default() };
    raw.try_into().expect("these settings are allowed")
}

fn boot() -> Boot {
    Boot { random: [3; 32], machine_boot: [0; 16], now_unix_ms: i64::MAX }
}

/// Bytes per second of plain writes, synced chunk by chunk: into a preallocated file, or over blocks that were written
/// before, which spares the file system all of its own work.
fn raw(folder: &Path, over: bool) -> io::Result<f64> {
    let path = folder.join(if over { "over" } else { "new" });
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    if file.metadata()?.len() < RUN_BYTES {
        fallocate(&file, FallocateFlags::empty(), 0, RUN_BYTES)?;
        if over {
            write_all(&file)?;
        }
    }
    let began = clock();
    write_all(&file)?;
    let took = clock().saturating_sub(began);
    if !over {
        fs::remove_file(path)?;
    }
    Ok(rate(RUN_BYTES, took))
}

fn write_all(file: &File) -> io::Result<()> {
    let chunk = vec![0x5a; CHUNK_BYTES];
    for at in (0..RUN_BYTES).step_by(CHUNK_BYTES) {
        file.write_all_at(&chunk, at)?;
        file.sync_data()?;
    }
    Ok(())
}

/// Stores records until that many bytes of the log are settled; returns the spool and bytes per second.
fn spool(folder: &Path, payload_bytes: usize) -> io::Result<(Spool<RealDisk, Pooled>, f64)> {
    let opened = open(RealDisk::open(folder)?, settings(), &boot()).map_err(io::Error::other)?;
    assert_eq!(opened.topic("bench"), Some(TopicId(0)));
    let epoch = opened.report().who.epoch;
    let spool = opened.start::<Pooled>(clock, Away, |_, _| {})?;
    let payload: Arc<[u8]> = vec![0x5a; payload_bytes].into();
    let (mut bytes, mut sent) = (0, [0_u64; 64]);
    let began = clock();
    'all: loop {
        for shard in 0..64_u8 {
            let seq = &mut sent[usize::from(shard)];
            let mut record =
                Pooled { position: Position { epoch, seq: *seq + 1 }, shard, payload: Arc::clone(&payload) };
            bytes += record.frame().bytes() as u64;
            // A full queue is the pool that is full: the gateway holds back.
            while let Err(refused) = spool.submit(LANE, record) {
                record = refused.record;
                std::thread::sleep(Duration::from_micros(200));
            }
            *seq += 1;
            if bytes >= RUN_BYTES {
                break 'all;
            }
        }
    }
    while (0..64_u8).any(|shard| spool.settled(LANE, shard) < sent[usize::from(shard)]) {
        std::thread::sleep(Duration::from_micros(200));
    }
    let took = clock().saturating_sub(began);
    Ok((spool, rate(bytes, took)))
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64()
}

fn spool_run(folder: &Path, payload_bytes: usize) -> io::Result<f64> {
    let inside = folder.join("spool");
    let (spool, rate) = spool(&inside, payload_bytes)?;
    assert!(spool.stop(Duration::from_mins(1)), "the spool stops");
    fs::remove_dir_all(inside)?;
    Ok(rate)
}

fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

const fn mib(rate: f64) -> f64 {
    rate / (1024.0 * 1024.0)
}

fn writing(folder: &Path) -> io::Result<()> {
    println!(
        "| payload B | overwrite MiB/s | preallocated MiB/s | spool MiB/s | spool / overwrite | spool / preallocated |"
    );
    println!("|---|---|---|---|---|---|");
    for payload in [200, 1000, 10_000] {
        let run = |kind: usize| match kind {
            0 => raw(folder, true),
            1 => raw(folder, false),
            _ => spool_run(folder, payload),
        };
        // The first run of each warms the file system's allocator, and counts for nothing.
        for kind in 0..3 {
            run(kind)?;
        }
        let mut rates = [const { Vec::new() }; 3];
        for round in 0..ROUNDS {
            for at in 0..3 {
                let kind = if round % 2 == 0 { at } else { 2 - at };
                rates[kind].push(run(kind)?);
            }
        }
        let ratio = |to: usize| {
            let ratios = rates[2].iter().zip(&rates[to]).map(|(ours, raw)| ours / raw).collect();
            let (middle, least, most) = median(ratios);
            format!("**{middle:.2}** ({least:.2} .. {most:.2})")
        };
        let (over, new) = (ratio(0), ratio(1));
        let [overwrite, preallocated, ours] = rates.map(|rates| mib(median(rates).0));
        println!("| {payload} | {overwrite:.0} | {preallocated:.0} | {ours:.0} | {over} | {new} |");
    }
    fs::remove_file(folder.join("over"))
}

/// Copies a spool as a crash would leave it, so that its last segment has no footer.
fn copy_unsealed(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to.join("sensor"))?;
    for name in ["identity", "cursor"] {
        fs::copy(from.join(name), to.join(name))?;
    }
    for entry in fs::read_dir(from.join("sensor"))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join("sensor").join(entry.file_name()))?;
    }
    Ok(())
}

/// Lets the kernel forget the cached pages of a folder's files.
fn forget(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let file = File::open(entry?.path())?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

fn scanning(folder: &Path) -> io::Result<()> {
    println!(
        "\n| payload B | scanned MiB | MiB per CPU second | MiB/s, cached | MiB/s, from the disk |\n|---|---|---|---|---|"
    );
    for payload in [200, 1000, 10_000] {
        let (alive, copy) = (folder.join("alive"), folder.join("copy"));
        let (spool, _) = spool(&alive, payload)?;
        let (mut warm, mut cold, mut cpu, mut scanned) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for round in 0..2 * ROUNDS {
            copy_unsealed(&alive, &copy)?;
            let is_cold = round % 4 == 1 || round % 4 == 2;
            if is_cold {
                forget(&copy.join("sensor"))?;
            }
            let disk = RealDisk::open(&copy)?;
            let (began, cpu_before) = (clock(), cpu_clock());
            let opened = open(disk, settings(), &boot()).map_err(io::Error::other)?;
            let (took, cpu_took) = (clock().saturating_sub(began), cpu_clock().saturating_sub(cpu_before));
            scanned = opened.report().lanes[0].scanned_bytes;
            assert!(scanned > 0, "the last segment has no footer");
            if is_cold {
                cold.push(rate(scanned, took));
            } else {
                warm.push(rate(scanned, took));
                // Other load on the machine does not count here.
                cpu.push(rate(scanned, cpu_took));
            }
            drop(opened);
            fs::remove_dir_all(&copy)?;
        }
        assert!(spool.stop(Duration::from_mins(1)), "the spool stops");
        fs::remove_dir_all(&alive)?;
        let ((cpu, p0, p1), (warm, w0, w1), (cold, c0, c1)) = (median(cpu), median(warm), median(cold));
        println!(
            "| {payload} | {} | **{:.0}** ({:.0} .. {:.0}) | {:.0} ({:.0} .. {:.0}) | {:.0} ({:.0} .. {:.0}) |",
            scanned / MIB,
            mib(cpu),
            mib(p0),
            mib(p1),
            mib(warm),
            mib(w0),
            mib(w1),
            mib(cold),
            mib(c0),
            mib(c1)
        );
    }
    Ok(())
}

fn main() -> io::Result<()> {
    // `cargo test` runs benchmarks with this argument to see that they start.
    if std::env::args().any(|arg| arg == "--test") {
        return Ok(());
    }
    let temporary = match std::env::var_os("TIDEGATE_BENCH_FOLDER") {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    println!("{} MiB a run, medians of {ROUNDS} rounds, segments of 64 MiB\n", RUN_BYTES / MIB);
    // One of the two may be asked for by name.
    let asked = |name: &str| std::env::args().any(|arg| arg == name);
    if !asked("scanning") {
        writing(temporary.path())?;
    }
    if asked("writing") { Ok(()) } else { scanning(temporary.path()) }
}
