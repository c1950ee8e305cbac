//! What a depositor says about a deposit, and what can be wrong with it. All of it is looked at before anything of it is
//! stored, and every fault is named with its filegroup and file.
//!
//! A filegroup is a package; its version has the depositor's label, or none; a file's identifier is its path in the version.

use std::collections::HashSet;

use dipper_archive::digest::{Algorithm, Digest, Hasher};
use dipper_archive::ocfl;

use crate::db::deposits::{DepositFile, FileState};

/// The types of checksums that a deposit may have.
pub const CHECKSUM_TYPES: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512];

/// The longest name of a filegroup, and of a version.
const FILEGROUP_CHARACTERS: usize = 512;
const LABEL_CHARACTERS: usize = 200;
/// The longest identifier of a file: as long as a key of object storage.
const FILE_BYTES: usize = 1024;
/// How many faults are told of.
const FAULTS: usize = 1000;

/// A filegroup of a deposit, as the depositor names it. `Default` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DepositEntry {
    /// The identifier of the filegroup.
    pub filegroup: String,
    /// The name of its version; empty for none.
    pub version: String,
    /// Its files: all that the version is to have.
    pub files: Vec<DepositedFile>,
}

/// A file of a deposit, as the depositor names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DepositedFile {
    /// The identifier of the file.
    pub id: String,
    /// Its length, if it is told.
    pub size: Option<u64>,
    /// Its checksums in hexadecimal digits, one at least.
    pub checksums: Vec<(Algorithm, String)>,
}

/// What is wrong with a deposit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositFault {
    /// In which filegroup.
    pub filegroup: String,
    /// In which file, if it is about one.
    pub file: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The deposit is at odds with one that is there; otherwise it cannot be carried out as it is.
    pub is_conflict: bool,
}

impl DepositFault {
    fn new(filegroup: &str, file: Option<&str>, message: impl Into<String>) -> DepositFault {
        DepositFault {
            filegroup: filegroup.to_owned(),
            file: file.map(str::to_owned),
            message: message.into(),
            is_conflict: false,
        }
    }
}

/// A filegroup in which no fault was found.
#[derive(Clone, Debug)]
pub(crate) struct CheckedEntry {
    pub(crate) filegroup: String,
    pub(crate) version: String,
    /// In the order of their paths.
    pub(crate) files: Vec<DepositFile>,
    pub(crate) size_bytes: u64,
    /// What stands for all of it.
    pub(crate) fingerprint: String,
}

/// Looks at a whole request.
pub(crate) fn check(entries: Vec<DepositEntry>) -> Result<Vec<CheckedEntry>, Vec<DepositFault>> {
    let mut faults = Vec::new();
    let mut seen = HashSet::new();
    let mut checked = Vec::with_capacity(entries.len());
    for entry in entries {
        if !seen.insert(entry.filegroup.clone()) {
            faults.push(DepositFault::new(&entry.filegroup, None, "the filegroup is named twice"));
        }
        checked.push(check_entry(entry, &mut faults));
        if faults.len() >= FAULTS {
            faults.truncate(FAULTS);
            break;
        }
    }
    if faults.is_empty() { Ok(checked) } else { Err(faults) }
}

fn check_entry(entry: DepositEntry, faults: &mut Vec<DepositFault>) -> CheckedEntry {
    let DepositEntry { filegroup, version, files } = entry;
    if let Some(problem) = filegroup_problem(&filegroup) {
        faults.push(DepositFault::new(&filegroup, None, problem));
    }
    if version.chars().count() > LABEL_CHARACTERS || version.chars().any(char::is_control) {
        let message = format!("the version must have at most {LABEL_CHARACTERS} characters, and no control characters");
        faults.push(DepositFault::new(&filegroup, None, message));
    }
    if files.is_empty() {
        faults.push(DepositFault::new(&filegroup, None, "the filegroup has no files"));
    }
    let mut checked: Vec<DepositFile> = files.into_iter().map(|file| check_file(&filegroup, file, faults)).collect();
    checked.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    check_places(&filegroup, &checked, faults);
    for (number, file) in (1..).zip(&mut checked) {
        file.number = number;
    }
    let size_bytes = checked.iter().filter_map(|file| file.size_bytes).fold(0, u64::saturating_add);
    let fingerprint = fingerprint(&checked);
    CheckedEntry { filegroup, version, files: checked, size_bytes, fingerprint }
}

fn filegroup_problem(filegroup: &str) -> Option<String> {
    let count = filegroup.chars().count();
    if count == 0 || count > FILEGROUP_CHARACTERS || filegroup.chars().any(char::is_control) {
        return Some(format!("a filegroup has 1 to {FILEGROUP_CHARACTERS} characters, and no control characters"));
    }
    if filegroup.contains('/') || matches!(filegroup, "." | "..") {
        return Some("a filegroup has no slash in it, and is not . or ..".to_owned());
    }
    None
}

fn check_file(filegroup: &str, file: DepositedFile, faults: &mut Vec<DepositFault>) -> DepositFile {
    let DepositedFile { id, size, checksums } = file;
    let mut fault = |message: String| faults.push(DepositFault::new(filegroup, Some(&id), message));
    if let Err(problem) = ocfl::check_logical(&id) {
        fault(format!("the identifier of the file {problem}"));
    } else if id.len() > FILE_BYTES {
        fault(format!("the identifier of the file is longer than {FILE_BYTES} bytes"));
    }
    if size.is_some_and(|size| i64::try_from(size).is_err()) {
        fault("no file is that long".to_owned());
    }
    if checksums.is_empty() {
        fault("a checksum is needed".to_owned());
    }
    let mut digests: Vec<(Algorithm, Digest)> = Vec::with_capacity(checksums.len());
    for (algorithm, text) in checksums {
        if !CHECKSUM_TYPES.contains(&algorithm) {
            fault(format!("{algorithm} is no checksum type: use MD5, SHA-256 or SHA-512"));
            continue;
        }
        match Digest::parse(algorithm, text.trim()) {
            Ok(_) if digests.iter().any(|(known, _)| *known == algorithm) => {
                fault(format!("there are two {algorithm} checksums"));
            }
            Ok(digest) => digests.push((algorithm, digest)),
            Err(_) => fault(format!(
                "{:?} is no {algorithm} checksum, which has {} hexadecimal digits",
                text.chars().take(200).collect::<String>(),
                2 * algorithm.len_bytes()
            )),
        }
    }
    digests.sort_unstable();
    DepositFile { number: 0, path: id, size_bytes: size, digests, state: FileState::Pending }
}

/// No two files in one place, and none where another needs a directory. The files are sorted.
fn check_places(filegroup: &str, files: &[DepositFile], faults: &mut Vec<DepositFault>) {
    let paths: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut before: Option<&str> = None;
    for file in files {
        let path = file.path.as_str();
        if before == Some(path) {
            faults.push(DepositFault::new(filegroup, Some(path), "the file is named twice"));
        }
        before = Some(path);
        let mut above = path;
        while let Some((directory, _)) = above.rsplit_once('/') {
            if paths.contains(directory) {
                let message = format!("the file {directory} is where this one needs a directory");
                faults.push(DepositFault::new(filegroup, Some(path), message));
                break;
            }
            above = directory;
        }
    }
}

/// What tells whether two deposits are the same: the paths and checksums. A length says nothing that a checksum does not.
fn fingerprint(files: &[DepositFile]) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for file in files {
        hasher.update(file.path.as_bytes());
        for (algorithm, digest) in &file.digests {
            hasher.update(b"\0");
            hasher.update(algorithm.name().as_bytes());
            hasher.update(digest.as_bytes());
        }
        hasher.update(b"\n");
    }
    hasher.finish().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    fn file(id: &str) -> DepositedFile {
        DepositedFile { id: id.to_owned(), size: None, checksums: vec![(Algorithm::Md5, MD5.to_owned())] }
    }

    fn entry(filegroup: &str, files: Vec<DepositedFile>) -> DepositEntry {
        DepositEntry { filegroup: filegroup.to_owned(), version: "1".to_owned(), files }
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let wrong = |checksums: &[(Algorithm, &str)]| DepositedFile {
            checksums: checksums.iter().map(|(algorithm, text)| (*algorithm, (*text).to_owned())).collect(),
            ..file("a")
        };
        let long = "a".repeat(1025);
        let table = [
            (entry("", vec![file("a")]), "1 to 512 characters"),
            (entry("a/b", vec![file("a")]), "no slash"),
            (entry("..", vec![file("a")]), "no slash"),
            (entry("fg\n", vec![file("a")]), "no control characters"),
            (DepositEntry { version: "v".repeat(201), ..entry("fg", vec![file("a")]) }, "the version"),
            (entry("fg", Vec::new()), "has no files"),
            (entry("fg", vec![file("")]), "is empty"),
            (entry("fg", vec![file("/a")]), "begins or ends with a slash"),
            (entry("fg", vec![file("a/../b")]), "empty, . or .."),
            (entry("fg", vec![file(&long)]), "longer than 1024 bytes"),
            (entry("fg", vec![file("a"), file("a")]), "named twice"),
            (entry("fg", vec![file("a"), file("a-b"), file("a/b")]), "needs a directory"),
            (entry("fg", vec![wrong(&[])]), "a checksum is needed"),
            (entry("fg", vec![wrong(&[(Algorithm::Md5, "d41d")])]), "32 hexadecimal digits"),
            (entry("fg", vec![wrong(&[(Algorithm::Sha1, MD5)])]), "no checksum type"),
            (entry("fg", vec![wrong(&[(Algorithm::Md5, MD5), (Algorithm::Md5, MD5)])]), "two md5"),
            (entry("fg", vec![DepositedFile { size: Some(u64::MAX), ..file("a") }]), "no file is that long"),
        ];
        for (entry, message) in table {
            let faults = check(vec![entry.clone()]).expect_err(message);
            assert!(faults.iter().any(|fault| fault.message.contains(message)), "{message}: {faults:?}");
            assert!(faults.iter().all(|fault| fault.filegroup == entry.filegroup && !fault.is_conflict));
        }
        let twice = check(vec![entry("fg", vec![file("a")]), entry("fg", vec![file("a")])]).expect_err("twice");
        assert!(twice.iter().any(|fault| fault.message.contains("filegroup is named twice")));
    }

    #[test]
    fn what_is_said_in_another_order_or_case_is_the_same() {
        let upper =
            DepositedFile { checksums: vec![(Algorithm::Md5, MD5.to_uppercase())], size: Some(0), ..file("b/c") };
        let one = check(vec![entry("fg", vec![file("a"), file("b/c")])]).expect("right");
        let other = check(vec![entry("fg", vec![upper, file("a")])]).expect("right");
        assert_eq!(one[0].fingerprint, other[0].fingerprint);
        let numbers: Vec<u64> = other[0].files.iter().map(|file| file.number).collect();
        assert_eq!((numbers, other[0].files[1].path.as_str()), (vec![1, 2], "b/c"));
        let renamed = check(vec![entry("fg", vec![file("a"), file("b/d")])]).expect("right");
        assert_ne!(one[0].fingerprint, renamed[0].fingerprint);
    }
}
