//! The structure of a storage root (OCFL 1.1 section 4): declaration, layout, extensions, and the directories that
//! lead to the objects.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::{Mutex, PoisonError};

use super::{Problems, Report, ValidateOptions, names, work};
use crate::ocfl::error::{Error, Result};
use crate::ocfl::layout::{self, Layout};
use crate::ocfl::object::is_absent;
use crate::ocfl::problem::Code;
use crate::ocfl::sidecar::join;
use crate::ocfl::version::SpecVersion;
use crate::ocfl::walk::{Found, Walk};
use crate::storage::{Entry, EntryKind, Storage};

const LAYOUT: &str = "ocfl_layout.json";
const CONFIG_BYTES: u64 = 1 << 20;

pub(super) fn validate(storage: &dyn Storage, options: &ValidateOptions<'_>) -> Result<Report> {
    let mut problems = Problems::default();
    let entries = storage.list("").map_err(Error::io(""))?;
    let spec = names::ROOT.check(storage, "", &entries, &mut problems);
    let has = |name: &str, kind: EntryKind| entries.iter().any(|entry| entry.name == name && entry.kind == kind);
    if has("extensions", EntryKind::Directory) {
        names::extensions(storage, "extensions", (Code::E112, Code::W016), &mut problems);
    }
    let layout = if has(LAYOUT, EntryKind::File) { read_layout(storage, &mut problems) } else { None };
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Other) {
        problems.add(Code::E090, &entry.name, "a link, or something else that is neither file nor directory");
    }
    let found = Mutex::new(Problems::default());
    let mut ways = Ways { storage, problems: &found, walk: Walk::new(), depths: None };
    let outcome = work::run(storage, &mut ways, options, Some(spec.unwrap_or(SpecVersion::V1_1)))?;
    places(&outcome.ids, layout.as_ref(), &mut problems);
    let mut report = outcome.into_report();
    report.problems.extend(problems.list);
    report.problems.extend(found.into_inner().unwrap_or_else(PoisonError::into_inner).list);
    report.problems.sort_unstable();
    Ok(report)
}

/// Section 4.1.
fn read_layout(storage: &dyn Storage, problems: &mut Problems) -> Option<Layout> {
    let document = match storage.read(LAYOUT, CONFIG_BYTES) {
        Ok(document) => document,
        Err(error) => {
            problems.add(Code::E070, LAYOUT, format!("cannot be read: {error}"));
            return None;
        }
    };
    let extension = match layout::extension_of(&document) {
        Ok(extension) => extension,
        Err(error) => {
            problems.add(Code::E070, LAYOUT, error.to_string());
            return None;
        }
    };
    if !names::is_registered(&extension) {
        problems.add(Code::E071, LAYOUT, format!("{extension:?} is not a registered extension"));
        return None;
    }
    let path = layout::config_path(&extension);
    let config = match storage.read(&path, CONFIG_BYTES) {
        Ok(config) => Some(config),
        Err(error) if is_absent(&error) => None,
        Err(error) => {
            problems.add(Code::E071, &path, format!("cannot be read: {error}"));
            return None;
        }
    };
    match Layout::from_config(&extension, config.as_deref()) {
        Ok(layout) => layout,
        Err(error) => {
            problems.add(Code::E071, &path, error.to_string());
            None
        }
    }
}

/// Each id has one place, and it is where the layout says.
fn places(ids: &[(String, String)], layout: Option<&Layout>, problems: &mut Problems) {
    let mut seen: HashMap<&str, &str> = HashMap::with_capacity(ids.len());
    for (path, id) in ids {
        match seen.entry(id) {
            Slot::Occupied(first) => {
                let other = first.get();
                problems.add(Code::E083, path, format!("the object {id} lies here and in {other}"));
            }
            Slot::Vacant(new) => {
                new.insert(path);
            }
        }
        let Some(layout) = layout else { continue };
        match layout.object_path(id) {
            Ok(expected) if expected == *path => {}
            Ok(expected) => {
                let name = layout.name();
                problems.add(Code::W014, path, format!("{name} places the object {id} in {expected}"));
            }
            Err(error) => problems.add(Code::W014, path, error.to_string()),
        }
    }
}

/// Gives the object roots, and reports what is wrong with the directories above them.
struct Ways<'a> {
    storage: &'a dyn Storage,
    problems: &'a Mutex<Problems>,
    walk: Walk,
    /// Whether the first object lay at the top; then all should (W015).
    depths: Option<bool>,
}

impl Ways<'_> {
    fn report(&self, code: Code, path: &str, message: &str) {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).add(code, path, message);
    }

    /// Section 4.2: a directory that is no object.
    fn way(&self, path: &str, entries: &[Entry]) {
        // The storage root itself may hold files, which are ignored (E087).
        if path.is_empty() {
            return;
        }
        let of = |kind: EntryKind| entries.iter().filter(move |entry| entry.kind == kind);
        for entry in of(EntryKind::Other) {
            let what = "a link, or something else that is neither file nor directory";
            self.report(Code::E090, &join(path, &entry.name), what);
        }
        let has_directories = of(EntryKind::Directory).next().is_some();
        for file in of(EntryKind::File) {
            let path = join(path, &file.name);
            self.report(Code::E072, &path, "a file that is not part of an object");
            if has_directories {
                self.report(Code::E084, &path, "a file in a directory between the root and the objects");
            }
        }
        if !has_directories {
            if of(EntryKind::File).next().is_none() {
                self.report(Code::E073, path, "an empty directory");
            } else {
                self.report(Code::E085, path, "the directory is not an object and leads to none");
            }
            let is_top = !path.contains('/');
            if is_top {
                self.report(Code::E088, path, "the directory leads to no object");
            }
        }
    }

    fn mix(&mut self, path: &str) {
        let is_top = !path.contains('/');
        if *self.depths.get_or_insert(is_top) != is_top {
            self.report(Code::W015, path, "some objects lie at the top of the root, others in directories");
        }
    }
}

impl Iterator for Ways<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        loop {
            match self.walk.next(self.storage)? {
                Ok(Found::Object(path)) => {
                    self.mix(&path);
                    return Some(Ok(path));
                }
                Ok(Found::Way(path, entries)) => self.way(&path, &entries),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
