//! Runs the cells on all cores.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::cell::measure;
use crate::matrix::{Load, Matrix, Setting};
use crate::store::{Key, Store};

/// Runs what the store does not have yet.
///
/// # Errors
/// The first cell that failed.
pub(crate) fn run(matrix: &Matrix, loads: &[Load], store: &mut Store) -> anyhow::Result<()> {
    let mut cells: Vec<(&Setting, &Load, u64, Key)> = Vec::new();
    for seed in &matrix.seeds {
        for setting in &matrix.settings {
            for load in loads {
                let key = Key { setting: setting.name.to_owned(), load: load.name.clone(), seed: *seed };
                if !store.has(&key) {
                    cells.push((setting, load, *seed, key));
                }
            }
        }
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new((0_usize, store, Ok(())));
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((setting, load, seed, key)) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let rows = measure(load, setting, *seed, matrix);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    let kept = rows.and_then(|rows| done.1.put(key.clone(), rows));
                    done.0 += 1;
                    // Progress is not the result: if nobody reads it, the work goes on.
                    let _ = write!(
                        std::io::stderr(),
                        "\r{} of {} ({} {})\x1b[K",
                        done.0,
                        cells.len(),
                        key.setting,
                        key.load
                    );
                    if kept.is_err() {
                        done.2 = kept;
                        next.store(cells.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let _ = writeln!(std::io::stderr());
    done.into_inner().unwrap_or_else(PoisonError::into_inner).2
}
