//! A bar while a simulation runs, on a terminal only.

use std::io::{self, IsTerminal as _, Write as _};

/// Width of the bar in characters.
const WIDTH: usize = 40;

/// The bar. It is on standard error, so that standard output is the result and nothing else.
pub(super) struct Progress {
    name: String,
    shown: Option<usize>,
    on: bool,
}

impl Progress {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), shown: None, on: io::stderr().is_terminal() }
    }

    /// Shows that `part`, 0 to 1, is done.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of 0 to 1 makes 0 to 100 percent"
    )]
    pub(super) fn show(&mut self, part: f64) {
        let percent = (100.0 * part) as usize;
        if self.on && self.shown != Some(percent) {
            self.shown = Some(percent);
            let full = WIDTH * percent.min(100) / 100;
            let bar = format!("{}{}", "#".repeat(full), ".".repeat(WIDTH - full));
            // A terminal that went away does not stop the work.
            let _ = write!(io::stderr(), "\r{} [{bar}] {percent:3} %", self.name);
        }
    }

    /// Wipes the bar.
    pub(super) fn end(&mut self) {
        if self.on && self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
