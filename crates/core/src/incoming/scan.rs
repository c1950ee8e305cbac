//! Looking at an incoming directory: which files lie there complete.

use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tracing::{debug, warn};

use super::is_finished;
use super::report;
use crate::db::submissions::FileStamp;

/// How many directories may lie within each other.
const DEPTH: usize = 16;
/// How many entries are looked at, at a time, for one contract. Whatever is behind them has its turn when others are gone.
const MOST_ENTRIES: usize = 100_000;
/// Longer paths cannot be kept.
const LONGEST_PATH_BYTES: usize = 1024;
/// The ends of names under which programs keep what they have not finished.
const TEMPORARY: [&str; 4] = [".part", ".filepart", ".tmp", ".crdownload"];

/// A file that lies there complete, as far as can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its path below the incoming directory.
    pub(super) path: String,
    pub(super) stamp: FileStamp,
    /// Whether there is a report beside it.
    pub(super) has_report: bool,
}

/// The complete files below a directory, sorted by path; none when it is not there. Links are not followed. Blocks.
pub(super) fn look(incoming: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut left = MOST_ENTRIES;
    match look_below(incoming, "", DEPTH, &mut left, &mut found) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        looked => looked?,
    }
    if left == 0 {
        warn!(directory = %incoming.display(), "there are more than {MOST_ENTRIES} files: the others have to wait");
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn look_below(
    directory: &Path,
    prefix: &str,
    depth: usize,
    left: &mut usize,
    found: &mut Vec<Found>,
) -> io::Result<()> {
    let first = found.len();
    let mut reports = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if *left == 0 {
            break;
        }
        *left -= 1;
        let Ok(name) = entry.file_name().into_string() else {
            debug!(path = %entry.path().display(), "a file whose name is not UTF-8 is left alone");
            continue;
        };
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        if name.starts_with('.') || path.len() > LONGEST_PATH_BYTES {
            continue;
        }
        if report::is_report(&name) {
            reports.push(path);
            continue;
        }
        let Some(metadata) = metadata(&entry)? else { continue };
        if metadata.is_dir() && depth > 0 {
            match look_below(&entry.path(), &path, depth - 1, left, found) {
                // It was removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                looked => looked?,
            }
        } else if is_finished(&metadata) && !is_temporary(&name) {
            found.push(Found { path, stamp: stamp(&metadata), has_report: false });
        }
    }
    reports.sort_unstable();
    for file in found.get_mut(first..).unwrap_or_default() {
        file.has_report |= reports.binary_search(&report::beside(&file.path)).is_ok();
    }
    Ok(())
}

/// What kind of thing it is, without following links; nothing when it was removed meanwhile.
fn metadata(entry: &DirEntry) -> io::Result<Option<Metadata>> {
    match entry.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        metadata => metadata.map(Some),
    }
}

/// How a file is now.
pub(super) fn stamp(metadata: &Metadata) -> FileStamp {
    FileStamp {
        size_bytes: metadata.size(),
        modified: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
        inode: metadata.ino().cast_signed(),
    }
}

fn is_temporary(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TEMPORARY.iter().any(|end| name.ends_with(end))
}

/// The name that a package gets which is handed in as this file: the file's name without what says how it is packed.
pub(super) fn object_id(name: &str) -> &str {
    const PACKED: [&str; 4] = [".tar.gz", ".tgz", ".tar", ".zip"];
    let bare = |end: &&str| {
        let at = name.len().checked_sub(end.len())?;
        let (bare, found) = name.split_at_checked(at)?;
        (found.eq_ignore_ascii_case(end) && !bare.is_empty()).then_some(bare)
    };
    PACKED.iter().find_map(bare).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use dipper_archive::publish;

    use super::*;

    #[test]
    fn a_package_is_called_as_its_file_without_the_packing() {
        for (name, expected) in [
            ("a.tar", "a"),
            ("a.b.TAR.GZ", "a.b"),
            ("a.tgz", "a"),
            ("März ☃.Zip", "März ☃"),
            ("a.tar.zip", "a.tar"),
            ("a.pdf", "a.pdf"),
            ("zip", "zip"),
            (".zip", ".zip"),
            ("☃", "☃"),
        ] {
            assert_eq!(object_id(name), expected, "{name}");
        }
    }

    #[test]
    fn complete_files_are_found_and_nothing_else() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let incoming = directory.path().join("incoming");
        assert_eq!(look(&incoming)?, []);
        publish::create_directories(&incoming.join("sub/.hidden"))?;
        let plain = ["b.tar", "a.tar", "a.tar.report.txt", "sub/März.zip", "sub/März.zip.report.txt"];
        let others = [".x.tar", "x.tar.part", "x.FILEPART", "x.tmp", "x.crdownload", "sub/.hidden/x.tar", "open.tar"];
        for name in plain.into_iter().chain(others) {
            let path = incoming.join(name);
            publish::write_file(&path, name.as_bytes())?;
            std::fs::set_permissions(&path, Permissions::from_mode(0o640))?;
        }
        std::fs::set_permissions(incoming.join("open.tar"), Permissions::from_mode(super::super::UNFINISHED))?;
        symlink(incoming.join("a.tar"), incoming.join("link.tar"))?;
        symlink(incoming.join("sub"), incoming.join("linked"))?;
        symlink("/etc/passwd", incoming.join("passwd"))?;
        let mode = rustix::fs::Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(rustix::fs::CWD, incoming.join("pipe"), rustix::fs::FileType::Fifo, mode, 0)?;
        let found = look(&incoming)?;
        let found: Vec<_> = found.iter().map(|file| (file.path.as_str(), file.has_report)).collect();
        assert_eq!(found, [("a.tar", true), ("b.tar", false), ("sub/März.zip", true)]);
        Ok(())
    }
}
