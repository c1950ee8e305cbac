//! Validating objects and storage roots against OCFL 1.0 and 1.1, in the specification's own codes.
//!
//! Structure first: declarations, inventories, sidecars, directories (`object`, `versions`, `names`), then every
//! content file is read once and all its digests are computed in that pass (`content`). Objects and files are
//! shared out to all cores (`work`), and only as many objects are open as there are cores.

mod content;
mod names;
mod object;
mod root;
mod versions;
mod work;

use std::sync::Arc;

use super::error::Result;
use super::problem::{Code, Problem};
use crate::digest::{Algorithm, Digest};
use crate::storage::{Storage, is_archived};

/// How to validate.
#[derive(Clone, Copy)]
pub struct ValidateOptions<'a> {
    /// Whether to read all content and compare its digests; without, files are only looked for.
    pub hash: bool,
    /// How many threads to use; `None` for one on every core, or as many as the storage should read with.
    pub threads: Option<usize>,
    /// Is asked after each piece of content, and told its length, whether to go on, on the thread that reads: it may take
    /// its time. After `false` nothing more is read, and the validation ends with
    /// [`Error::Cancelled`](super::Error::Cancelled).
    pub pace: Option<&'a (dyn Fn(u64) -> bool + Sync)>,
    /// Is told now and then how far it has come, from any of the threads.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
    /// Is told of each object of a root when it is done, from any of the threads.
    pub object: Option<&'a (dyn Fn(&ObjectReport) + Sync)>,
}

impl Default for ValidateOptions<'_> {
    fn default() -> Self {
        ValidateOptions { hash: true, threads: None, pace: None, progress: None, object: None }
    }
}

/// How far a validation has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Objects that are done.
    pub objects: u64,
    /// Content files that are done.
    pub files: u64,
    /// Bytes that were hashed.
    pub bytes: u64,
}

/// What a validation found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Everything that is wrong, warnings included, sorted by path and code.
    pub problems: Vec<Problem>,
    /// What was looked at.
    pub checked: Progress,
    /// How many objects have errors.
    pub invalid_objects: u64,
    /// How many files are in an archive class, and were not checked.
    pub archived_files: u64,
}

/// What a validation found about one object of a root.
#[derive(Clone, Debug)]
pub struct ObjectReport {
    /// The object root, relative to the storage root.
    pub path: String,
    /// The id, if its inventory could be read.
    pub id: Option<String>,
    /// The number of its newest version, if its inventory could be read.
    pub head: Option<u32>,
    /// The digest of its inventory, with the algorithm, if that could be read: it stands for all that the object should be.
    pub digest: Option<(Algorithm, Digest)>,
    /// How many content files it has, of those that its inventories name.
    pub files: u64,
    /// Their lengths, added up.
    pub bytes: u64,
    /// Everything that is wrong with it, sorted by path and code.
    pub problems: Vec<Problem>,
    /// How many of its files are in an archive class, and were not checked: it is not known to be whole then.
    pub archived_files: u64,
}

impl Report {
    /// Whether there are no errors; there may be warnings.
    pub fn is_valid(&self) -> bool {
        !has_errors(&self.problems)
    }
}

impl ObjectReport {
    /// Whether there are no errors; there may be warnings.
    pub fn is_valid(&self) -> bool {
        !has_errors(&self.problems)
    }
}

fn has_errors(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.code.is_error())
}

/// Validates the object whose root is the directory `path` of the storage; `""` when the storage is the object.
pub fn validate_object(storage: &Arc<dyn Storage>, path: &str, options: &ValidateOptions<'_>) -> Result<Report> {
    let mut objects = std::iter::once(Ok(path.to_owned()));
    work::run(storage.as_ref(), &mut objects, options, None).map(work::Outcome::into_report)
}

/// Validates a storage root with all its objects.
pub fn validate_root(storage: &Arc<dyn Storage>, options: &ValidateOptions<'_>) -> Result<Report> {
    root::validate(storage.as_ref(), options)
}

/// Problems in the making, all of one object or root.
#[derive(Default)]
struct Problems {
    list: Vec<Problem>,
    /// How many files are in an archive class: what they hold is not known, and no problem.
    archived: u64,
}

impl Problems {
    fn add(&mut self, code: Code, path: &str, message: impl Into<String>) {
        self.list.push(Problem { path: path.to_owned(), code, message: message.into() });
    }

    /// A file that cannot be read.
    fn unreadable(&mut self, code: Code, path: &str, error: &std::io::Error) {
        if is_archived(error) {
            self.archived += 1;
        } else {
            self.add(code, path, format!("cannot be read: {error}"));
        }
    }

    fn append(&mut self, other: Problems) {
        self.list.extend(other.list);
        self.archived += other.archived;
    }

    fn has(&self, code: Code) -> bool {
        self.list.iter().any(|problem| problem.code == code)
    }
}
