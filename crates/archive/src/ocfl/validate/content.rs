//! Content files: those that the inventories name, those that are there, and the digests of both.

use std::collections::{HashMap, HashSet};

use super::Problems;
use crate::digest::{Algorithm, Digest};
use crate::ocfl::inventory::Inventory;
use crate::ocfl::pass::{Pass, Passed};
use crate::ocfl::problem::{Code, Problem};
use crate::ocfl::remains;
use crate::ocfl::sidecar::join;
use crate::storage::{EntryKind, Storage};

/// How many missing or surplus files of an object are told.
const STRAYS: usize = 1000;

/// A file to read, and the digests that it must have.
pub(super) struct Check {
    /// Relative to the storage root.
    pub(super) path: String,
    pub(super) len: u64,
    expected: Vec<Expectation>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Expectation {
    algorithm: Algorithm,
    digest: Digest,
    /// E092 for a manifest, E093 for a fixity block.
    code: Code,
    /// The root manifest has it, not just that of an earlier version.
    in_root: bool,
}

/// The content of one object.
pub(super) struct Content {
    object: String,
    /// By content path.
    expected: HashMap<Box<str>, Vec<Expectation>>,
    /// The version directories that those paths are in.
    versions: HashSet<String>,
    content_directory: String,
    root_is_known: bool,
    checks: Vec<Check>,
    strays: usize,
}

impl Content {
    pub(super) fn new(object: &str) -> Content {
        Content {
            object: object.to_owned(),
            expected: HashMap::new(),
            versions: HashSet::new(),
            content_directory: String::new(),
            root_is_known: false,
            checks: Vec::new(),
            strays: 0,
        }
    }

    /// Takes up what an inventory says about content. The root inventory is the first.
    pub(super) fn expect(&mut self, inventory: &Inventory) {
        let in_root = !std::mem::replace(&mut self.root_is_known, true);
        if in_root {
            inventory.content_directory().clone_into(&mut self.content_directory);
            self.expected.reserve(inventory.manifest_len());
        }
        for (digest, path) in inventory.manifest() {
            let algorithm = inventory.algorithm();
            let version = path.split('/').next().unwrap_or_default();
            if !self.versions.contains(version) {
                self.versions.insert(version.to_owned());
            }
            self.add(path, Expectation { algorithm, digest: *digest, code: Code::E092, in_root });
        }
        for block in inventory.fixity() {
            // Algorithms that are not known here are to be ignored (E028).
            let Some(algorithm) = block.algorithm() else { continue };
            for (path, digest) in inventory.fixity_values(block) {
                self.add(path, Expectation { algorithm, digest: *digest, code: Code::E093, in_root });
            }
        }
    }

    fn add(&mut self, path: &str, expectation: Expectation) {
        let same = |known: &Expectation| {
            (known.algorithm, known.digest, known.code) == (expectation.algorithm, expectation.digest, expectation.code)
        };
        match self.expected.get_mut(path) {
            Some(known) if known.iter().any(same) => {}
            Some(known) => known.push(expectation),
            None => {
                self.expected.insert(path.into(), vec![expectation]);
            }
        }
    }

    /// Whether the inventories name files in a version directory.
    pub(super) fn expects_in(&self, version: &str) -> bool {
        self.versions.contains(version)
    }

    /// Looks at every file below a content directory; how many there are.
    pub(super) fn walk(&mut self, storage: &dyn Storage, directory: &str, problems: &mut Problems) -> usize {
        let mut open = vec![directory.to_owned()];
        let mut count = 0;
        while let Some(next) = open.pop() {
            let entries = match storage.list(&next) {
                Ok(entries) => entries,
                Err(error) => {
                    problems.add(Code::E092, &next, format!("cannot be listed: {error}"));
                    continue;
                }
            };
            if entries.is_empty() && next != directory {
                problems.add(Code::E024, &next, "an empty directory");
            }
            for entry in entries {
                let path = join(&next, &entry.name);
                match entry.kind {
                    EntryKind::Directory => open.push(path),
                    EntryKind::File => {
                        count += 1;
                        self.found(storage, path, entry.len, problems);
                    }
                    EntryKind::Other => {
                        let what = "a link, or something else that is neither file nor directory";
                        problems.add(Code::E090, &path, what);
                    }
                }
            }
        }
        count
    }

    fn found(&mut self, storage: &dyn Storage, path: String, len: u64, problems: &mut Problems) {
        let inner = if self.object.is_empty() {
            Some(path.as_str())
        } else {
            path.strip_prefix(&self.object).and_then(|rest| rest.strip_prefix('/'))
        };
        let is_late = |inner: &str| remains::is_late(storage, &self.content_directory, inner);
        let late = inner.is_some_and(is_late);
        let expected = inner.and_then(|inner| self.expected.remove(inner)).unwrap_or_default();
        if late && expected.is_empty() {
            return;
        }
        if !expected.iter().any(|expectation| expectation.in_root && expectation.code == Code::E092) {
            self.strays += 1;
            if self.strays <= STRAYS {
                problems.add(Code::E023, &path, "a file that is not in the manifest");
            }
        }
        if !expected.is_empty() {
            self.checks.push(Check { path, len, expected });
        }
    }

    /// Reports the files that were not found, and gives those that are to be read: the largest first, so that no
    /// core is left with a long one at the end.
    pub(super) fn finish(mut self, problems: &mut Problems) -> Vec<Check> {
        let mut missing: Vec<_> = self.expected.into_iter().collect();
        missing.sort_unstable_by(|(one, _), (two, _)| one.cmp(two));
        for (path, expected) in missing.into_iter().take(STRAYS) {
            let mut codes: Vec<Code> = expected.iter().map(|expectation| expectation.code).collect();
            codes.sort_unstable();
            codes.dedup();
            for code in codes {
                problems.add(code, &join(&self.object, &path), "there is no such file");
            }
        }
        self.checks.sort_by_key(|check| std::cmp::Reverse(check.len >> 20));
        self.checks
    }
}

impl Check {
    /// Reads the file and compares its digests; `go_on` learns of the bytes as they are read, and says whether to read
    /// more. `false` when it was stopped so.
    pub(super) fn run(
        &self,
        storage: &dyn Storage,
        pass: &mut Pass,
        go_on: &dyn Fn(u64) -> bool,
        problems: &mut Problems,
    ) -> bool {
        let mut algorithms: Vec<Algorithm> = self.expected.iter().map(|expected| expected.algorithm).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        let mut stopped = false;
        let mut sink = |block: &[u8]| {
            stopped = !go_on(block.len() as u64);
            if stopped { Err(std::io::Error::other("stopped")) } else { Ok(()) }
        };
        let passed = storage.open(&self.path, 0..u64::MAX).and_then(|mut source| {
            pass.run(&mut source, &algorithms, &mut sink).map_err(crate::ocfl::pass::PassError::into_inner)
        });
        if stopped {
            return false;
        }
        match passed {
            Ok(passed) => problems.list.extend(self.compare(&passed)),
            Err(error) => problems.unreadable(Code::E092, &self.path, &error),
        }
        true
    }

    fn compare(&self, passed: &Passed) -> Vec<Problem> {
        let mut problems = Vec::new();
        for expected in &self.expected {
            let found = passed.digest(expected.algorithm).unwrap_or(Digest::EMPTY);
            if found != expected.digest {
                let algorithm = expected.algorithm;
                let message = format!("the {algorithm} digest is {found}, not {}", expected.digest);
                problems.push(Problem { path: self.path.clone(), code: expected.code, message });
            }
        }
        problems
    }
}
