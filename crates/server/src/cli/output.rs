//! What a command prints on standard output: lines and tables for people, or one JSON document.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use dipper_core::time::Timestamp;
use serde_json::Value;

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Output {
        Output { json }
    }

    /// Prints the result: `text` for people, or `document` where JSON was asked for.
    pub(crate) fn result(self, document: &Value, text: &str) -> anyhow::Result<()> {
        if self.json { print(&format!("{document}\n")) } else { print(text) }
    }

    /// Whether JSON was asked for.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }
}

/// Writes to standard output at once. Fails with a broken pipe when nobody reads it any more.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Writes a line about what is being done to standard error. Nobody has to read it.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Rows in columns that line up.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a line of headings.
    pub(crate) fn new(headings: &[&str]) -> Table {
        Table { rows: vec![headings.iter().map(|heading| heading.to_uppercase()).collect()] }
    }

    /// Adds a row. What would move the cursor is escaped: identifiers come from outside.
    pub(crate) fn row(&mut self, cells: &[&dyn ToString]) {
        self.rows.push(cells.iter().map(|cell| plain(&cell.to_string())).collect());
    }

    /// Whether there is nothing below the headings.
    fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// The table as text, or `otherwise` when it has no rows.
    pub(crate) fn text(&self, otherwise: &str) -> String {
        if self.is_empty() {
            return format!("{otherwise}\n");
        }
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Text with control characters escaped, so that it cannot steer the terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped = character.is_control().then(|| character.escape_default());
            let kept = escaped.is_none().then_some(character);
            escaped.into_iter().flatten().chain(kept)
        })
        .collect()
}

/// A number of bytes as people read it; exact below 1,000.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1000.0;
    let mut unit = "kB";
    for larger in UNITS.into_iter().skip(1) {
        if amount < 999.95 {
            break;
        }
        amount /= 1000.0;
        unit = larger;
    }
    format!("{amount:.1} {unit}")
}

/// A count with its noun.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A time, or a dash.
pub(crate) fn time_or_dash(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), time_short)
}

/// A time to the second, in UTC.
pub(crate) fn time_short(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{}Z", text.split('.').next().unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_are_escaped() {
        let mut table = Table::new(&["id", "files"]);
        assert_eq!(table.text("none"), "none\n");
        table.row(&[&"a\u{1b}[2J\n", &1]);
        table.row(&[&"blåbær", &22]);
        assert_eq!(table.text("none"), "ID            FILES\na\\u{1b}[2J\\n  1\nblåbær        22\n");
    }

    #[test]
    fn sizes_are_short() {
        let table = [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB")];
        for (bytes, text) in table.into_iter().chain([(2 << 40, "2.2 TB"), (u64::MAX, "18446.7 PB")]) {
            assert_eq!(size(bytes), text);
        }
        assert_eq!((count(1, "file"), count(2, "file")), ("1 file".to_owned(), "2 files".to_owned()));
    }

    #[test]
    fn times_are_told_to_the_second() {
        assert_eq!(time_short(Timestamp(1_757_417_696_123_456)), "2025-09-09T11:34:56Z");
        assert_eq!(time_or_dash(None), "-");
    }
}
