//! Which logical paths are accepted, and under which content paths their bytes are stored.

use crate::digest::Algorithm;
use crate::ocfl::sidecar::digest_of;

/// The longest logical path that is accepted, in bytes.
const LOGICAL_BYTES: usize = 32 * 1024;
/// The longest name in a directory on the usual file systems.
const NAME_BYTES: usize = 255;
/// The longest content path that is named like its logical path; object stores allow 1,024 bytes for a whole key.
const CONTENT_BYTES: usize = 768;

/// Says why a logical path is refused (OCFL 1.1 section 3.5.3.1, and no control characters).
pub fn check_logical(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("is empty");
    }
    if path.len() > LOGICAL_BYTES {
        return Err("is longer than 32768 bytes");
    }
    if path.starts_with('/') || path.ends_with('/') {
        return Err("begins or ends with a slash");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("has a part that is empty, . or ..");
    }
    if path.chars().any(char::is_control) {
        return Err("has a control character in it");
    }
    Ok(())
}

/// The names that may be tried for the bytes of a logical path, below the content directory: its own when a file
/// system can hold it, then names made of its hash, for paths that are too long or whose place is taken.
pub(crate) fn content_names(logical_path: &str) -> impl Iterator<Item = String> {
    let fits = logical_path.len() <= CONTENT_BYTES && logical_path.split('/').all(|part| part.len() <= NAME_BYTES);
    let hash = digest_of(Algorithm::Sha256, logical_path.as_bytes()).to_string();
    let own = fits.then(|| logical_path.to_owned());
    let hashed = format!("long-names/{hash}");
    let others = (0..1000).map(move |number| format!("{hash}-{number}"));
    own.into_iter().chain([hashed]).chain(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logical_paths() {
        for good in ["a", "a/b", "å/ä ö", "%2e%2e", "...", ".hidden", "a\\b", "e\u{301}", "con.txt", "a:b*?"] {
            assert_eq!(check_logical(good), Ok(()), "{good:?}");
        }
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "a/./b", "a/../b", "a\0b", "a\nb", "a\u{85}b", "\u{7f}"] {
            assert!(check_logical(bad).is_err(), "{bad:?}");
        }
        assert!(check_logical(&"a/".repeat(20_000)).is_err());
    }

    #[test]
    fn names_that_no_file_system_holds_are_hashed() {
        let first = |path: &str| content_names(path).next().unwrap();
        assert_eq!(first("a/b c"), "a/b c");
        assert_eq!(first(&"x".repeat(255)), "x".repeat(255));
        assert!(first(&"x".repeat(256)).starts_with("long-names/"));
        assert!(first(&"æ".repeat(128)).starts_with("long-names/"));
        assert!(first(&"abc/".repeat(300)).starts_with("long-names/"));
    }
}
