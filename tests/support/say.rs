//! Lines that a reader of `make test` sees even when the test passes.
//!
//! The test harness swallows what `println!` prints in a passing test; a timeline, or a promise that was
//! not checked, is worth seeing every time.

use std::fmt::Display;
use std::io::Write;

/// Writes a line to the real standard error.
pub fn say(line: impl Display) {
    // In one piece: other threads write too. Nobody may be listening, which is no reason to fail a test.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
