//! Paths: those of files that arrive, and those that manifests name.

use std::borrow::Cow;

/// The longest path and the longest part of one, as file systems have them.
const PATH_BYTES: usize = 4096;
const PART_BYTES: usize = 255;

/// What is wrong with the path of a file that arrives, if anything is.
pub(super) fn refuse(path: &str, line_ends: bool) -> Option<&'static str> {
    let control = |character: char| character.is_control() && !(line_ends && matches!(character, '\r' | '\n'));
    if path.starts_with('/') {
        return Some("it is absolute");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Some("it has an empty part, `.` or `..`");
    }
    if path.contains(control) {
        return Some("it has control characters");
    }
    if path.len() > PATH_BYTES || path.split('/').any(|part| part.len() > PART_BYTES) {
        return Some("it is longer than 4,096 bytes, or one of its parts than 255");
    }
    None
}

/// The path that a manifest of that version means: %0D and %0A are CR and LF, and from 1.0 on %25 is `%`
/// (RFC 8493 section 2.1.3). Says too whether a `%` was there that should have been encoded.
pub(super) fn decode(path: &str, version: Option<(u32, u32)>) -> (Cow<'_, str>, bool) {
    if !path.contains('%') {
        return (Cow::Borrowed(path), false);
    }
    let encodes_percent = version.is_none_or(|version| version >= (1, 0));
    let (mut decoded, mut odd, mut rest) = (String::with_capacity(path.len()), false, path);
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let code = after.get(..2).map(str::to_ascii_uppercase);
        let character = match code.as_deref() {
            Some("0A") => Some('\n'),
            Some("0D") => Some('\r'),
            Some("25") if encodes_percent => Some('%'),
            _ => None,
        };
        odd |= character.is_none() && encodes_percent;
        decoded.push(character.unwrap_or('%'));
        rest = if character.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    decoded.push_str(rest);
    (Cow::Owned(decoded), odd)
}

/// Whether a path of a manifest stays inside the bag. `~` at the beginning means somebody's home in a shell.
pub(super) fn in_scope(path: &str) -> bool {
    !path.starts_with(['/', '~', '\\'])
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !path.contains('\0')
        && !path.get(1..3).is_some_and(|start| start == ":\\" || start == ":/")
}

/// The form in which paths are compared where file systems do not tell them apart.
pub(super) fn folded(path: &str) -> String {
    use unicode_normalization::UnicodeNormalization as _;
    path.nfc().collect::<String>().to_lowercase().nfc().collect()
}

/// Whether an operating system or its file browser makes files of that name by itself.
pub(super) fn is_system_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    matches!(name, ".DS_Store" | "Thumbs.db" | "desktop.ini" | "Desktop.ini") || name.starts_with("._")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_arrive() {
        for good in ["a", "data/a b/Ærlig.txt", "~a", "a..b/...", "-", "a\\b", "%"] {
            assert_eq!(refuse(good, false), None, "{good:?}");
        }
        let long = "x".repeat(256);
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\nb", "a\0", "\u{85}", "a\u{7f}", &long] {
            assert!(refuse(bad, false).is_some(), "{bad:?}");
        }
        assert_eq!(refuse("a\r\nb", true), None);
        assert!(refuse("a\tb", true).is_some());
    }

    #[test]
    fn percent_signs() {
        let (old, new) = (Some((0, 97)), Some((1, 0)));
        let table = [
            ("plain", new, "plain", false),
            ("%0a%0D%25", new, "\n\r%", false),
            ("%0a%0D%25", old, "\n\r%25", false),
            ("%7E %", new, "%7E %", true),
            ("%7E %", old, "%7E %", false),
            ("%250A", new, "%0A", false),
            ("%2", new, "%2", true),
            ("%ø", new, "%ø", true),
        ];
        for (path, version, expected, odd) in table {
            assert_eq!(decode(path, version), (Cow::Borrowed(expected), odd), "{path:?}");
        }
    }

    #[test]
    fn scope() {
        for inside in ["data/a", "data/~a", "data/..a", "bag-info.txt"] {
            assert!(in_scope(inside), "{inside}");
        }
        for outside in ["/a", "~/a", "~root/a", "../a", "data/../../a", "data//a", "C:\\a", "c:/a", "\\a", "", "a\0"] {
            assert!(!in_scope(outside), "{outside}");
        }
    }

    #[test]
    fn folding() {
        assert_eq!(folded("DATA/Núñez"), folded("data/Nu\u{301}n\u{303}ez"));
        assert_ne!(folded("a"), folded("b"));
    }
}
