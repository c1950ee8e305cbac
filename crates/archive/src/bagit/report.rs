//! What a validation found.

use std::fmt;

use super::sums::Sum;
use crate::digest::Digest;

/// Everything that a validation found, sorted by file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What makes the bag invalid.
    pub errors: Vec<Finding>,
    /// What a bag should not have, but may.
    pub warnings: Vec<Finding>,
}

impl Report {
    /// Whether the bag is complete and every checksum right.
    pub fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    pub(super) fn error(&mut self, file: &str, problem: Problem) {
        self.errors.push(Finding { file: file.to_owned(), problem });
    }

    pub(super) fn warning(&mut self, file: &str, problem: Problem) {
        self.warnings.push(Finding { file: file.to_owned(), problem });
    }

    /// An error from version 1.0 on; a warning before, where the drafts did not forbid it.
    pub(super) fn error_from_1_0(&mut self, version: Option<(u32, u32)>, file: &str, problem: Problem) {
        match version {
            Some(version) if version < (1, 0) => self.warning(file, problem),
            _ => self.error(file, problem),
        }
    }

    pub(super) fn sort(&mut self) {
        self.errors.sort_by(|one, other| one.file.cmp(&other.file));
        self.warnings.sort_by(|one, other| one.file.cmp(&other.file));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, findings) in [("error", &self.errors), ("warning", &self.warnings)] {
            for finding in findings {
                writeln!(formatter, "{kind}: {finding}")?;
            }
        }
        Ok(())
    }
}

/// One problem with one file of a bag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The path of the file in the bag.
    pub file: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.file, self.problem)
    }
}

/// What can be wrong with a file of a bag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant is documented by its message")]
pub enum Problem {
    #[error("is missing, and a bag must have it")]
    Required,
    #[error("a manifest lists it, but it is not there")]
    Missing,
    #[error("it must be fetched from {url} before the bag is complete")]
    NotFetched { url: String },
    #[error("it is in the payload, but {manifest} does not list it")]
    NotListed { manifest: String },
    #[error("no manifest-<algorithm>.txt with a known algorithm is there, so the payload cannot be checked")]
    NoManifest,
    #[error("its algorithm is unknown, so it was not used")]
    UnknownAlgorithm,
    #[error("its {sum} checksum should be {expected}, but is {found}")]
    Checksum { sum: Sum, expected: Box<Digest>, found: Box<Digest> },
    #[error("the listed size is {expected} bytes, but it has {found}")]
    Size { expected: u64, found: u64 },
    #[error("it is not in the form that `BagIt-Version: M.N` and `Tag-File-Character-Encoding: NAME` have: {detail}")]
    Declaration { detail: String },
    #[error("BagIt {version} is not a version that is known here (0.93 to 0.97, and 1.0)")]
    Version { version: String },
    #[error("its text is not valid {encoding}")]
    Encoding { encoding: String },
    #[error("the character encoding {encoding:?} is unknown")]
    UnknownEncoding { encoding: String },
    #[error("line {line} is not a checksum of the right length and a path")]
    ManifestLine { line: usize },
    #[error("line {line} lists {path:?}, which leads out of the bag or the place where it may lie")]
    Scope { line: usize, path: String },
    #[error("line {line} lists {path:?} again with the same checksum")]
    ListedTwice { line: usize, path: String },
    #[error("line {line} lists {path:?} again with another checksum")]
    ListedDifferently { line: usize, path: String },
    #[error("line {line} begins its path with `./`")]
    DotSlash { line: usize },
    #[error("line {line} begins its path with `*`, as md5sum and its like write it")]
    Asterisk { line: usize },
    #[error("line {line} has a `%` that is not the beginning of %0A, %0D or %25")]
    Percent { line: usize },
    #[error("it lists {path:?}, which a tag manifest must not")]
    TagManifestScope { path: String },
    #[error("line {line} is not `URL LENGTH PATH`")]
    FetchLine { line: usize },
    #[error("it lists {path:?}, which no manifest lists")]
    FetchUnlisted { path: String },
    #[error("line {line} is not `Label: value`")]
    InfoLine { line: usize },
    #[error("Payload-Oxum {value:?} is not `OCTETS.COUNT`")]
    OxumForm { value: String },
    #[error("Payload-Oxum is given more than once")]
    OxumTwice,
    #[error("Payload-Oxum says {expected}, but the payload has {found}")]
    Oxum { expected: String, found: String },
    #[error("its name differs from {other:?} only in upper and lower case or in Unicode normalization")]
    Collision { other: String },
    #[error("it is listed, but not there under exactly this name; {other:?} is, with the same checksum")]
    OtherSpelling { other: String },
    #[error("an operating system put it there; it is listed, but not there any more")]
    SystemFileMissing,
    #[error("an operating system put it there")]
    SystemFile,
    #[error("it changed while it was read")]
    Changed,
    #[error("it could not be read: {message}")]
    Unreadable { message: String },
}
