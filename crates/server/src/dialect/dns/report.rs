//! The semicolon file in which contractors ask about many packages at once: read, filled in, and written as it came.
//!
//! Excel makes these files, in cp1252 or, newer ones, in UTF-8 with a byte order mark. They go back in the encoding, with the
//! line ends, the columns and the order in which they came, so that whoever sent one finds his own again.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// The columns that are filled in, in the order that a file gets which lacks them.
const COLUMNS: [&str; 7] =
    ["identifier", "origName", "createddate", "updateddate", "statuscode", "erfolg", "bemerkung"];
/// More rows than any contractor has packages of one day; a list of that length is asked for by other means.
pub(super) const MOST_ROWS: usize = 100_000;

/// A file that was read.
#[derive(Debug)]
pub(super) struct Report {
    encoding: &'static Encoding,
    has_mark: bool,
    line_end: &'static str,
    header: Vec<String>,
    /// Where each of [`COLUMNS`] stands.
    places: [usize; COLUMNS.len()],
    rows: Vec<Vec<String>>,
}

/// What a row asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) identifier: Option<String>,
    pub(super) object_id: Option<String>,
}

/// What a row is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) identifier: Option<String>,
    pub(super) object_id: Option<String>,
    pub(super) created: Option<String>,
    pub(super) updated: Option<String>,
    pub(super) status: u16,
    pub(super) success: bool,
    pub(super) remark: String,
}

/// Why a file cannot be used. The texts are for the contractor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReportError {
    #[error("the file is empty: its first line must name the columns identifier;origName;…")]
    Empty,
    #[error("the first line names neither the column identifier nor origName; columns are separated by semicolons")]
    NoColumns,
    #[error("the column {0} stands in the first line more than once")]
    ColumnTwice(&'static str),
    #[error("line {line}: {message}")]
    Line { line: u64, message: String },
    #[error("the file has more than {MOST_ROWS} lines: split it")]
    TooLong,
}

impl Report {
    /// Reads a file.
    pub(super) fn read(bytes: &[u8]) -> Result<Report, ReportError> {
        let (encoding, text) = decoded(bytes);
        let has_mark = encoding == UTF_8 && bytes.starts_with(b"\xef\xbb\xbf");
        let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let mut reader =
            csv::ReaderBuilder::new().delimiter(b';').has_headers(false).flexible(true).from_reader(text.as_bytes());
        let mut records = reader.records().map(|record| record.map_err(|error| line_error(&error)));
        let mut header = fields(&records.next().ok_or(ReportError::Empty)??);
        let places = places(&mut header)?;
        let mut rows = Vec::new();
        for record in records {
            let mut row = fields(&record?);
            if row.iter().all(|field| field.trim().is_empty()) {
                continue;
            }
            if rows.len() == MOST_ROWS {
                return Err(ReportError::TooLong);
            }
            // What stands behind the last column is kept; a row that is too short is filled up.
            row.resize(row.len().max(header.len()), String::new());
            rows.push(row);
        }
        Ok(Report { encoding, has_mark, line_end, header, places, rows })
    }

    /// How the file is encoded, as HTTP says it.
    pub(super) fn charset(&self) -> &'static str {
        self.encoding.name()
    }

    /// What each row asks about, in order.
    pub(super) fn wanted(&self) -> impl Iterator<Item = Wanted> {
        self.rows.iter().map(|row| {
            let given = |column: usize| {
                let field = self.places.get(column).and_then(|place| row.get(*place)).map(|field| field.trim());
                field.filter(|field| !field.is_empty()).map(str::to_owned)
            };
            Wanted { identifier: given(0), object_id: given(1) }
        })
    }

    /// Fills in the next row's columns; what is not known stays as it was.
    pub(super) fn tell(&mut self, row: usize, told: Told) {
        let Some(row) = self.rows.get_mut(row) else { return };
        let values = [
            told.identifier,
            told.object_id,
            told.created,
            told.updated,
            Some(told.status.to_string()),
            Some(told.success.to_string()),
            Some(told.remark),
        ];
        for (place, value) in self.places.iter().zip(values) {
            if let (Some(field), Some(value)) = (row.get_mut(*place), value) {
                *field = value;
            }
        }
    }

    /// The file, as it came but for what was filled in. A character that its encoding does not have becomes `?`.
    pub(super) fn write(&self) -> Vec<u8> {
        let terminator = if self.line_end == "\r\n" { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer =
            csv::WriterBuilder::new().delimiter(b';').flexible(true).terminator(terminator).from_writer(Vec::new());
        for row in std::iter::once(&self.header).chain(&self.rows) {
            // Memory takes whatever is written to it.
            let _ = writer.write_record(row);
        }
        let text = writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        if self.encoding == UTF_8 {
            let mark: &[u8] = if self.has_mark { b"\xef\xbb\xbf" } else { b"" };
            return [mark, text.as_bytes()].concat();
        }
        encoded(&text)
    }
}

/// UTF-8 where it is that; otherwise cp1252, which gives every byte a meaning.
fn decoded(bytes: &[u8]) -> (&'static Encoding, String) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (UTF_8, text.strip_prefix('\u{feff}').unwrap_or(text).to_owned()),
        Err(_) => (WINDOWS_1252, WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned()),
    }
}

fn encoded(text: &str) -> Vec<u8> {
    let mut encoder = WINDOWS_1252.new_encoder();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let room = encoder.max_buffer_length_from_utf8_without_replacement(rest.len()).unwrap_or(rest.len());
        bytes.reserve(room);
        let (result, read) = encoder.encode_from_utf8_to_vec_without_replacement(rest, &mut bytes, true);
        rest = rest.get(read..).unwrap_or_default();
        if let encoding_rs::EncoderResult::Unmappable(_) = result {
            bytes.push(b'?');
        }
    }
    bytes
}

/// Where each known column stands; those that are missing are put behind the others.
fn places(header: &mut Vec<String>) -> Result<[usize; COLUMNS.len()], ReportError> {
    let mut places = [0; COLUMNS.len()];
    let known = |header: &[String], name: &str| header.iter().any(|column| column.trim().eq_ignore_ascii_case(name));
    if !known(header, "identifier") && !known(header, "origName") {
        return Err(ReportError::NoColumns);
    }
    for (place, name) in places.iter_mut().zip(COLUMNS) {
        let mut found = header.iter().enumerate().filter(|(_, column)| column.trim().eq_ignore_ascii_case(name));
        match (found.next().map(|(place, _)| place), found.next()) {
            (Some(_), Some(_)) => return Err(ReportError::ColumnTwice(name)),
            (Some(found), None) => *place = found,
            (None, _) => {
                *place = header.len();
                header.push(name.to_owned());
            }
        }
    }
    Ok(places)
}

fn fields(record: &csv::StringRecord) -> Vec<String> {
    record.iter().map(str::to_owned).collect()
}

fn line_error(error: &csv::Error) -> ReportError {
    let line = error.position().map_or(0, csv::Position::line);
    ReportError::Line { line, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(remark: &str) -> Told {
        Told {
            identifier: Some("1-202611220001".to_owned()),
            created: Some("2026-11-22".to_owned()),
            status: 100,
            success: true,
            remark: remark.to_owned(),
            ..Told::default()
        }
    }

    #[test]
    fn the_columns_are_filled_in_and_all_else_stays() {
        let text =
            "\u{feff}identifier;note;origName;statuscode;erfolg;bemerkung\r\n;mine;\"a;b\";;;\r\n\r\n;;c;;;;more\r\n";
        let mut report = Report::read(text.as_bytes()).expect("a report");
        let wanted: Vec<_> = report.wanted().map(|wanted| wanted.object_id.unwrap_or_default()).collect();
        assert_eq!(wanted, ["a;b", "c"]);
        report.tell(0, told("fertig archiviert"));
        let written = String::from_utf8(report.write()).expect("UTF-8");
        assert_eq!(
            written,
            "\u{feff}identifier;note;origName;statuscode;erfolg;bemerkung;createddate;updateddate\r\n\
             1-202611220001;mine;\"a;b\";100;true;fertig archiviert;2026-11-22;\r\n;;c;;;;more;\r\n"
        );
    }

    #[test]
    fn cp1252_comes_back_as_cp1252() {
        let mut report = Report::read(b"origName;bemerkung\nM\xe4rz \x80;\n").expect("a report");
        assert_eq!(report.wanted().next().and_then(|wanted| wanted.object_id).as_deref(), Some("März €"));
        report.tell(0, told("gefällt ☃ nicht"));
        let written = report.write();
        let needle = b"M\xe4rz \x80;gef\xe4llt ? nicht";
        assert!(written.windows(needle.len()).any(|part| part == needle), "{written:?}");
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_line() {
        let table: [(&[u8], ReportError); 4] = [
            (b"", ReportError::Empty),
            (b"name;state\nx;y\n", ReportError::NoColumns),
            (b"identifier,origName\n", ReportError::NoColumns),
            (b"origName;OrigName\n", ReportError::ColumnTwice("origName")),
        ];
        for (bytes, expected) in table {
            assert_eq!(Report::read(bytes).expect_err("refused"), expected);
        }
        let long = format!("origName\n{}", "x\n".repeat(MOST_ROWS + 1));
        assert_eq!(Report::read(long.as_bytes()).expect_err("refused"), ReportError::TooLong);
    }

    proptest! {
        #[test]
        fn whatever_bytes_come_are_read_or_refused_and_what_was_read_is_read_again(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "origName;x\r?\n([a-z\"; ä€]*\r?\n){0,5}".prop_map(String::into_bytes),
            ],
        ) {
            if let Ok(report) = Report::read(&bytes) {
                let again = Report::read(&report.write()).expect("read again");
                prop_assert_eq!(again.wanted().collect::<Vec<_>>(), report.wanted().collect::<Vec<_>>());
            }
        }
    }
}
