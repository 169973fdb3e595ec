//! Reads a trace from CSV: any file with a time in each row, and a count or one row for each message.
//!
//! Columns are found, not configured: the time is the first column that holds one, the count is the column named so, or
//! the only other one. A file with several other columns of which none is named a count is a log of events.

use ::csv::{ReaderBuilder, StringRecord, Trim};

use super::error::TraceError;
use super::time::{self, Format};
use super::{BINS_MAX, Trace};
use crate::num::{index, real_len};

/// Headings that mean a count, in lower case.
const COUNT_HEADINGS: [&str; 8] =
    ["value", "count", "counts", "requests", "messages", "events", "n", "total"];
/// Width of the bins that events are counted in.
const EVENT_BIN_SECS: f64 = 1.0;

/// One row: when, and how many messages.
struct Row {
    secs: f64,
    messages: f64,
}

/// Which columns hold what.
#[derive(Debug, PartialEq)]
struct Columns {
    time: usize,
    format: Format,
    /// None: one row is one message.
    count: Option<usize>,
}

/// Reads the text of the file `name`.
///
/// Rows need not be in order. The bin width of a file with counts is the smallest step that occurs often (the median
/// step); bins that no row names have no messages.
///
/// # Errors
/// Names file, line, column, and what is allowed.
pub fn parse(name: &str, text: &str) -> Result<Trace, TraceError> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let mut records = Vec::new();
    for record in reader.records() {
        let record = record
            .map_err(|error| TraceError::NotCsv { name: name.to_owned(), reason: error.to_string() })?;
        records.push(record);
    }
    let first = records.first().ok_or_else(|| TraceError::Empty { name: name.to_owned() })?;
    let headings = time_column(first).is_none().then(|| first.clone());
    let data = if headings.is_some() { &records[1..] } else { &records[..] };
    let first = data.first().ok_or_else(|| TraceError::Empty { name: name.to_owned() })?;
    let columns = Columns::find(headings.as_ref(), first)
        .ok_or_else(|| TraceError::NoTime { name: name.to_owned(), line: line(first) })?;
    let rows: Vec<Row> =
        data.iter().map(|record| columns.read(name, headings.as_ref(), record)).collect::<Result<_, _>>()?;
    bin(name, rows, columns.count.is_some())
}

fn line(record: &StringRecord) -> u64 {
    record.position().map_or(0, ::csv::Position::line)
}

/// The first column that holds a time, and how it is written.
fn time_column(record: &StringRecord) -> Option<(usize, Format)> {
    record.iter().enumerate().find_map(|(column, cell)| Some((column, Format::of(cell)?)))
}

impl Columns {
    fn find(headings: Option<&StringRecord>, first: &StringRecord) -> Option<Self> {
        // A date is surer than a number: in "7,2015-02-26 21:42:53" the time is the second.
        let dated = first.iter().position(|cell| Format::of(cell) == Some(Format::Date));
        let (time, format) = match dated {
            Some(column) => (column, Format::Date),
            None => time_column(first)?,
        };
        let others: Vec<usize> = (0..first.len()).filter(|column| *column != time).collect();
        let named = headings.and_then(|headings| {
            let is_count = |column: &usize| {
                headings
                    .get(*column)
                    .is_some_and(|name| COUNT_HEADINGS.contains(&name.to_lowercase().as_str()))
            };
            others.iter().copied().find(is_count)
        });
        let only = (others.len() == 1).then(|| others[0]);
        Some(Self { time, format, count: named.or(only) })
    }

    fn read(
        &self,
        name: &str,
        headings: Option<&StringRecord>,
        record: &StringRecord,
    ) -> Result<Row, TraceError> {
        let wanted = self.time.max(self.count.unwrap_or(0)) + 1;
        let cell = |column: usize| {
            record.get(column).ok_or_else(|| TraceError::Short {
                name: name.to_owned(),
                line: line(record),
                columns: record.len(),
                wanted,
            })
        };
        let wrong = |column: usize, value: &str, allowed| TraceError::Cell {
            name: name.to_owned(),
            line: line(record),
            column: headings
                .and_then(|headings| headings.get(column))
                .map_or_else(|| format!("column {}", column + 1), str::to_owned),
            value: value.to_owned(),
            allowed,
        };
        let at = cell(self.time)?;
        let secs = self.format.read(at).ok_or_else(|| wrong(self.time, at, time::ALLOWED))?;
        let messages = match self.count {
            None => 1.0,
            Some(column) => {
                let value = cell(column)?;
                let number = value.parse().ok().filter(|count: &f64| count.is_finite() && *count >= 0.0);
                number.ok_or_else(|| wrong(column, value, "a count: a number of messages, 0 or more"))?
            }
        };
        Ok(Row { secs, messages })
    }
}

fn bin(name: &str, mut rows: Vec<Row>, counted: bool) -> Result<Trace, TraceError> {
    rows.sort_by(|a, b| a.secs.total_cmp(&b.secs));
    let bin_secs = if counted { median_step(&rows) } else { EVENT_BIN_SECS };
    let (first, last) = match (rows.first(), rows.last()) {
        (Some(first), Some(last)) => (first.secs, last.secs),
        _ => return Err(TraceError::Empty { name: name.to_owned() }),
    };
    // Half a bin of slack: a logger that is a little late each time must not leave holes.
    let place = |secs: f64| index(((secs - first) / bin_secs + if counted { 0.5 } else { 0.0 }).floor());
    if (last - first) / bin_secs >= real_len(BINS_MAX - 1) {
        return Err(TraceError::TooLong {
            name: name.to_owned(),
            secs: last - first,
            bin_secs,
            most: BINS_MAX,
        });
    }
    let mut counts = vec![0.0; place(last) + 1];
    for row in &rows {
        counts[place(row.secs)] += row.messages;
    }
    Ok(Trace { name: name.to_owned(), bin_secs, counts, alarm_share: Vec::new() })
}

/// The middle one of the steps between rows; a second if all rows have one time.
fn median_step(rows: &[Row]) -> f64 {
    let steps: Vec<f64> =
        rows.windows(2).map(|pair| pair[1].secs - pair[0].secs).filter(|step| *step > 0.0).collect();
    crate::num::quantile(&steps, 0.5).unwrap_or(EVENT_BIN_SECS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> Trace {
        parse("t.csv", text).unwrap()
    }

    fn wrong(text: &str) -> String {
        parse("t.csv", text).unwrap_err().to_string()
    }

    #[test]
    fn a_time_and_a_count_are_found_with_and_without_headings() {
        for text in [
            "timestamp,value\n2015-02-26 21:42:53,104\n2015-02-26 21:47:53,100\n",
            "2015-02-26 21:42:53,104\n2015-02-26 21:47:53,100\n",
            "count,date\n104,2015-02-26T21:42:53Z\n100,2015-02-26T21:47:53Z\n",
            "t,host,requests\n0,a,104\n300,b,100\n",
            "1700000000000,104\n1700000300000,100\n",
            "# a note\n300,100\n0,104\n",
        ] {
            let trace = good(text);
            assert!((trace.bin_secs - 300.0).abs() < 1e-9, "{text}");
            assert_eq!(trace.counts, [104.0, 100.0], "{text}");
        }
    }

    #[test]
    fn a_log_of_events_counts_rows() {
        let trace = good(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.97,4808,10\n2023-11-16 18:17:04.03,3180,8\n2023-11-16 18:17:06.98,3180,8\n",
        );
        assert_eq!((trace.bin_secs, &*trace.counts), (1.0, &[2.0, 0.0, 0.0, 1.0][..]));
        assert_eq!(good("at\n1\n1\n2\n").counts, [2.0, 1.0]);
    }

    #[test]
    fn a_bin_without_a_row_has_no_messages_and_lateness_leaves_no_hole() {
        assert_eq!(good("0,1\n60,2\n121,3\n180,4\n360,5\n").counts, [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 5.0]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_what_is_allowed() {
        let said = wrong("timestamp,value\n2015-02-26 21:42:53,104\n2015-02-26 21:47:53,many\n");
        assert_eq!(
            said,
            "t.csv: line 3: value = \"many\": allowed is a count: a number of messages, 0 or more"
        );
        assert!(wrong("0,1\n60,-2\n").starts_with("t.csv: line 2: column 2 = \"-2\""));
        assert!(wrong("0,1\nyesterday,2\n").starts_with("t.csv: line 2: column 1 = \"yesterday\""));
        assert!(wrong("0,1\n60\n").contains("line 2: 1 columns: allowed is 2"));
        assert!(wrong("name,value\na,b\n").contains("line 2: no column holds a time"));
        assert!(wrong("").contains("no rows"));
        assert!(wrong("timestamp,value\n").contains("no rows"));
        assert!(wrong("0,1\n1,1\n1e10,1\n").contains("allowed are 20000000 bins"));
    }
}
