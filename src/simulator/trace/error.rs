//! What is wrong with a trace: file, line, and what is allowed.

/// Why a trace cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TraceError {
    /// A cell that cannot be read.
    #[error("{name}: line {line}: {column} = \"{value}\": allowed is {allowed}")]
    Cell {
        /// The file.
        name: String,
        /// Counted from 1.
        line: u64,
        /// The column, by its heading or its number.
        column: String,
        /// What stands there.
        value: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// A row without a column that it needs.
    #[error("{name}: line {line}: {columns} columns: allowed is {wanted} or more, as in the first row")]
    Short {
        /// The file.
        name: String,
        /// Counted from 1.
        line: u64,
        /// How many there are.
        columns: usize,
        /// How many there must be.
        wanted: usize,
    },
    /// No row at all.
    #[error("{name}: no rows: allowed is a time and a count in each, or one row for each message")]
    Empty {
        /// The file.
        name: String,
    },
    /// The file is not CSV.
    #[error("{name}: not CSV: {reason}")]
    NotCsv {
        /// The file.
        name: String,
        /// What the parser said.
        reason: String,
    },
    /// No column holds a time.
    #[error(
        "{name}: line {line}: no column holds a time: allowed is 2015-02-26 21:42:53, 2015-02-26T21:42:53+01:00, or \
         seconds, milliseconds, microseconds or nanoseconds since 1970"
    )]
    NoTime {
        /// The file.
        name: String,
        /// Counted from 1.
        line: u64,
    },
    /// Too long for its bins.
    #[error("{name}: {secs:.0} s in bins of {bin_secs} s: allowed are {most} bins")]
    TooLong {
        /// The file.
        name: String,
        /// From the first to the last row.
        secs: f64,
        /// Width of a bin.
        bin_secs: f64,
        /// Most bins.
        most: usize,
    },
    /// Bins that cannot be.
    #[error("{name}: bins of {secs} s: allowed is more than 0, and at most {most} bins")]
    BinWidth {
        /// The trace.
        name: String,
        /// Width that was asked for.
        secs: f64,
        /// Most bins.
        most: usize,
    },
    /// A shape that does not exist.
    #[error("no shape is named \"{name}\": allowed is {allowed}")]
    UnknownShape {
        /// What was asked for.
        name: String,
        /// All names.
        allowed: String,
    },
}
