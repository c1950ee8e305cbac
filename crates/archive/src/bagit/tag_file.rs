//! The tag files of a bag (RFC 8493 sections 2.1 and 2.2), from bytes to what they say.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::path::{decode, in_scope};
use super::report::{Problem, Report};
use super::sums::Sum;
use crate::digest::Digest;

/// A version of BagIt, as `bagit.txt` has it.
pub(super) type Version = (u32, u32);

const DECLARATION: &str = "bagit.txt";

/// What `bagit.txt` declares, as far as it could be read.
pub(super) struct Declaration {
    pub(super) version: Option<Version>,
    pub(super) encoding: &'static Encoding,
}

/// Reads `bagit.txt`: two lines in UTF-8 without a byte order mark (RFC 8493 section 2.1.1).
pub(super) fn declaration(bytes: &[u8], report: &mut Report) -> Declaration {
    let mut declared = Declaration { version: None, encoding: UTF_8 };
    let mut refuse = |detail: &str| report.error(DECLARATION, Problem::Declaration { detail: detail.to_owned() });
    let Ok(text) = std::str::from_utf8(bytes) else {
        refuse("it is not UTF-8");
        return declared;
    };
    if text.starts_with('\u{feff}') {
        refuse("it begins with a byte order mark");
        return declared;
    }
    let lines = lines(text).map(|(_, line)| line).collect::<Vec<_>>();
    let (version_line, encoding_line) = match lines.as_slice() {
        [version, encoding] => (*version, *encoding),
        _ => {
            refuse("it has not two lines");
            return declared;
        }
    };
    let Some(version) = version_line.strip_prefix("BagIt-Version: ") else {
        refuse("the first line does not begin with `BagIt-Version: `");
        return declared;
    };
    let Some(encoding) = encoding_line.strip_prefix("Tag-File-Character-Encoding: ") else {
        refuse("the second line does not begin with `Tag-File-Character-Encoding: `");
        return declared;
    };
    declared.version = parse_version(version.trim_end());
    // The drafts did not say that nothing may follow.
    if version != version.trim_end() || encoding != encoding.trim_end() {
        let detail = "white space ends a line".to_owned();
        report.error_from_1_0(declared.version, DECLARATION, Problem::Declaration { detail });
    }
    if !declared.version.is_some_and(|version| matches!(version, (0, 93..=97) | (1, 0))) {
        report.error(DECLARATION, Problem::Version { version: version.to_owned() });
    }
    match Encoding::for_label(encoding.as_bytes()) {
        Some(known) => declared.encoding = known,
        None => report.error(DECLARATION, Problem::UnknownEncoding { encoding: encoding.to_owned() }),
    }
    declared
}

fn parse_version(text: &str) -> Option<Version> {
    let (major, minor) = text.split_once('.')?;
    let number = |digits: &str| {
        let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| all_digits)
    };
    Some((number(major)?, number(minor)?))
}

/// The text of a tag file other than `bagit.txt`.
pub(super) fn text(file: &str, bytes: &[u8], encoding: &'static Encoding, report: &mut Report) -> Option<String> {
    // UTF-16 without a byte order mark is big-endian (RFC 2781 section 4.3).
    let encoding = if encoding == UTF_16LE && Encoding::for_bom(bytes).is_none() { UTF_16BE } else { encoding };
    let (text, _, malformed) = encoding.decode(bytes);
    if malformed {
        report.error(file, Problem::Encoding { encoding: encoding.name().to_owned() });
        return None;
    }
    Some(text.into_owned())
}

/// The lines with their numbers; LF, CR and CRLF end a line, and empty ones are left out.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut number = 0;
    let mut rest = Some(text);
    let mut all = std::iter::from_fn(move || {
        let text = rest?;
        number += 1;
        let Some(end) = text.find(['\r', '\n']) else {
            rest = None;
            return Some((number, text));
        };
        let (line, after) = text.split_at(end);
        rest = after.strip_prefix("\r\n").or_else(|| after.get(1..));
        Some((number, line))
    });
    std::iter::from_fn(move || all.by_ref().find(|(_, line)| !line.trim().is_empty()))
}

/// One line of a manifest.
pub(super) struct Listed {
    pub(super) line: usize,
    pub(super) path: String,
    pub(super) digest: Digest,
}

/// Reads a payload or tag manifest. Lines that cannot be used are reported and left out.
pub(super) fn manifest(file: &str, text: &str, sum: Sum, version: Option<Version>, report: &mut Report) -> Vec<Listed> {
    let mut listed = Vec::new();
    for (line, content) in lines(text) {
        let parts = content.trim_start().split_once([' ', '\t']);
        let parsed = parts.and_then(|(digest, path)| {
            let digest = digest.parse::<Digest>().ok().filter(|digest| digest.as_bytes().len() == sum.len_bytes())?;
            Some((digest, path.trim_start_matches([' ', '\t']))).filter(|(_, path)| !path.is_empty())
        });
        let Some((digest, path)) = parsed else {
            report.error(file, Problem::ManifestLine { line });
            continue;
        };
        let path = match path.strip_prefix('*') {
            Some(path) => {
                report.warning(file, Problem::Asterisk { line });
                path
            }
            None => path,
        };
        if let Some(path) = listed_path(file, line, path, version, report) {
            listed.push(Listed { line, path, digest });
        }
    }
    listed
}

/// A path as a manifest or `fetch.txt` has it; `None` when it leads out of the bag, which is reported.
fn listed_path(file: &str, line: usize, path: &str, version: Option<Version>, report: &mut Report) -> Option<String> {
    let path = match path.strip_prefix("./") {
        Some(path) => {
            report.warning(file, Problem::DotSlash { line });
            path
        }
        None => path,
    };
    let (path, odd) = decode(path, version);
    if odd {
        report.warning(file, Problem::Percent { line });
    }
    if !in_scope(&path) {
        report.error(file, Problem::Scope { line, path: path.into_owned() });
        return None;
    }
    Some(path.into_owned())
}

/// One line of `fetch.txt`.
pub(super) struct Fetch {
    pub(super) url: String,
    pub(super) len: Option<u64>,
    pub(super) path: String,
}

/// Reads `fetch.txt` (RFC 8493 section 2.2.3).
pub(super) fn fetch(file: &str, text: &str, version: Option<Version>, report: &mut Report) -> Vec<Fetch> {
    let mut fetches = Vec::new();
    for (line, content) in lines(text) {
        let blank = [' ', '\t'];
        let parsed = content.trim_start().split_once(blank).and_then(|(url, rest)| {
            let (len, path) = rest.trim_start_matches(blank).split_once(blank)?;
            let len = if len == "-" { None } else { Some(len.parse().ok()?) };
            Some((url, len, path.trim_start_matches(blank))).filter(|(_, _, path)| !path.is_empty())
        });
        let Some((url, len, path)) = parsed else {
            report.error(file, Problem::FetchLine { line });
            continue;
        };
        match listed_path(file, line, path, version, report) {
            Some(path) if path.starts_with("data/") => fetches.push(Fetch { url: url.to_owned(), len, path }),
            Some(path) => report.error(file, Problem::Scope { line, path }),
            None => {}
        }
    }
    fetches
}

/// Reads `bag-info.txt` (RFC 8493 section 2.2.2): labels and values, with folded lines joined.
pub(super) fn bag_info(file: &str, text: &str, version: Option<Version>, report: &mut Report) -> Vec<(String, String)> {
    let mut info: Vec<(String, String)> = Vec::new();
    for (line, content) in lines(text) {
        let folded = content.starts_with([' ', '\t']);
        match (content.split_once(':'), info.last_mut()) {
            (_, Some((_, value))) if folded => {
                value.push(' ');
                value.push_str(content.trim());
            }
            (Some((label, value)), _) if !folded && !label.trim().is_empty() => {
                info.push((label.trim().to_owned(), value.trim().to_owned()));
            }
            _ => report.error_from_1_0(version, file, Problem::InfoLine { line }),
        }
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_of_three_kinds() {
        let found = lines("a\nb\r\nc\rd\n\n e").collect::<Vec<_>>();
        assert_eq!(found, [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (6, " e")]);
        assert_eq!(lines("").count(), 0);
    }

    #[test]
    fn declarations() {
        let encoding = "Tag-File-Character-Encoding: UTF-8";
        let table = [
            (format!("BagIt-Version: 1.0\n{encoding}\n"), true),
            (format!("BagIt-Version: 0.97\r\n{encoding}"), true),
            (format!("BagIt-Version: 0.93\r{encoding}\r"), true),
            (format!("BagIt-Version: 0.97 \n{encoding}\n"), true),
            (format!("BagIt-Version: 1.0 \n{encoding}\n"), false),
            (format!("BagIt-Version: 1.0\n{encoding} \n"), false),
            (format!("BagIt-Version : 1.0\n{encoding}\n"), false),
            (format!("BagIt-Version:1.0\n{encoding}\n"), false),
            (format!("BagIt-Version: .97\n{encoding}\n"), false),
            (format!("BagIt-Version: +1.0\n{encoding}\n"), false),
            (format!("BagIt-Version: 2.0\n{encoding}\n"), false),
            (format!("BagIt-Version: 1\n{encoding}\n"), false),
            (format!("bagit-version: 1.0\n{encoding}\n"), false),
            (format!("{encoding}\nBagIt-Version: 1.0\n"), false),
            (format!("BagIt-Version: 1.0\n{encoding}\nMore: x\n"), false),
            (format!("\u{feff}BagIt-Version: 1.0\n{encoding}\n"), false),
            ("BagIt-Version: 1.0\n".to_owned(), false),
            (String::new(), false),
            ("BagIt-Version: 1.0\nTag-File-Character-Encoding: KLINGON\n".to_owned(), false),
        ];
        for (text, good) in table {
            let mut report = Report::default();
            declaration(text.as_bytes(), &mut report);
            assert_eq!(report.is_valid(), good, "{text:?}: {report}");
        }
        let mut report = Report::default();
        declaration(b"BagIt-Version: 1.0\n\xff", &mut report);
        assert!(!report.is_valid());
    }

    #[test]
    fn encodings() {
        let utf_16 = Encoding::for_label(b"UTF-16").expect("known");
        let latin = Encoding::for_label(b"ISO-8859-1").expect("known");
        let table: [(&[u8], _, Option<&str>); 6] = [
            (b"\xff\xfea\0", utf_16, Some("a")),
            (b"\xfe\xff\0a", utf_16, Some("a")),
            (b"\0a", utf_16, Some("a")),
            (b"\xe6", latin, Some("æ")),
            (b"\xe6", UTF_8, None),
            (b"\xef\xbb\xbfa", UTF_8, Some("a")),
        ];
        for (bytes, encoding, expected) in table {
            let mut report = Report::default();
            assert_eq!(text("file", bytes, encoding, &mut report).as_deref(), expected, "{bytes:?}");
            assert_eq!(report.is_valid(), expected.is_some());
        }
    }

    #[test]
    fn folded_values() {
        let mut report = Report::default();
        let info = bag_info("f", "A: one\n  two\n\tthree\nB : x:y\nC:\n", Some((1, 0)), &mut report);
        let expected = [("A", "one two three"), ("B", "x:y"), ("C", "")];
        assert_eq!(info, expected.map(|(label, value)| (label.to_owned(), value.to_owned())));
        assert!(report.is_valid());
        for bad in ["no colon\n", "  folded first\n", ": no label\n"] {
            bag_info("f", bad, Some((1, 0)), &mut report);
            assert_eq!(report.errors.pop().map(|finding| finding.problem), Some(Problem::InfoLine { line: 1 }));
        }
    }
}
