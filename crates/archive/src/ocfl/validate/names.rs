//! Names that the specification gives: declarations, sidecars, extensions.

use super::Problems;
use crate::ocfl::problem::Code;
use crate::ocfl::sidecar::{SMALL_FILE_BYTES, join};
use crate::ocfl::version::{SpecVersion, declaration_text};
use crate::storage::{Entry, EntryKind, Storage};

/// The registered extensions (<https://ocfl.github.io/extensions/>).
const EXTENSIONS: [&str; 13] = [
    "0001-digest-algorithms",
    "0002-flat-direct-storage-layout",
    "0003-hash-and-id-n-tuple-storage-layout",
    "0004-hashed-n-tuple-storage-layout",
    "0005-mutable-head",
    "0006-flat-omit-prefix-storage-layout",
    "0007-n-tuple-omit-prefix-storage-layout",
    "0008-schema-registry",
    "0009-digest-algorithms",
    "0010-differential-n-tuple-omit-prefix-storage-layout",
    "0011-direct-clean-path-layout",
    "0012-hash-and-no-prefix-id-n-tuple-storage-layout",
    "initial",
];

pub(super) fn is_registered(extension: &str) -> bool {
    EXTENSIONS.contains(&extension)
}

/// What a declaration must look like: of an object (section 3.2) or of a storage root (section 4.1).
pub(super) struct Declarations {
    /// What the name begins with, after the number and the equals sign.
    pub(super) stem: &'static str,
    pub(super) name_of: fn(SpecVersion) -> &'static str,
    pub(super) missing: Code,
    pub(super) several: Code,
    pub(super) version: Code,
    pub(super) number: Code,
    pub(super) name: Code,
    pub(super) text: Code,
}

pub(super) const OBJECT: Declarations = Declarations {
    stem: "ocfl_object_",
    name_of: SpecVersion::object_declaration,
    missing: Code::E003,
    several: Code::E003,
    version: Code::E004,
    number: Code::E005,
    name: Code::E006,
    text: Code::E007,
};

pub(super) const ROOT: Declarations = Declarations {
    stem: "ocfl_",
    name_of: SpecVersion::root_declaration,
    missing: Code::E069,
    several: Code::E076,
    version: Code::E077,
    number: Code::E078,
    name: Code::E079,
    text: Code::E080,
};

impl Declarations {
    /// Whether a file looks like a declaration, well-formed or not.
    pub(super) fn is_like(&self, name: &str) -> bool {
        name.starts_with("0=") || name.split_once('=').is_some_and(|(_, rest)| rest.starts_with(self.stem))
    }

    /// Checks the declarations in a directory and gives the highest version that is declared.
    pub(super) fn check(
        &self,
        storage: &dyn Storage,
        directory: &str,
        entries: &[Entry],
        problems: &mut Problems,
    ) -> Option<SpecVersion> {
        let mut declared = None;
        let mut count = 0;
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File && self.is_like(&entry.name)) {
            let path = join(directory, &entry.name);
            count += 1;
            let known = SpecVersion::ALL.into_iter().find(|spec| (self.name_of)(*spec) == entry.name);
            let Some(spec) = known else {
                let (number, rest) = entry.name.split_once('=').unwrap_or_default();
                if number != "0" {
                    problems.add(self.number, &path, "a declaration begins with 0=");
                } else if rest.starts_with(self.stem) {
                    problems.add(self.version, &path, "no version of the specification that is known here");
                }
                problems.add(self.name, &path, "not the name of a declaration");
                continue;
            };
            declared = declared.max(Some(spec));
            let expected = declaration_text(&entry.name);
            match storage.read(&path, SMALL_FILE_BYTES) {
                Ok(text) if text == expected.as_bytes() => {}
                Ok(_) => problems.add(self.text, &path, format!("the file does not hold {expected:?}")),
                Err(error) => problems.unreadable(self.text, &path, &error),
            }
        }
        if declared.is_none() {
            problems.add(self.missing, directory, "there is no declaration of OCFL 1.0 or 1.1");
        } else if count > 1 {
            problems.add(self.several, directory, "there are several declarations");
        }
        declared
    }
}

/// Checks an extensions directory: directories of registered names only.
pub(super) fn extensions(
    storage: &dyn Storage,
    directory: &str,
    (stray, unregistered): (Code, Code),
    problems: &mut Problems,
) {
    let entries = match storage.list(directory) {
        Ok(entries) => entries,
        Err(error) => return problems.add(stray, directory, format!("cannot be listed: {error}")),
    };
    for entry in entries {
        let path = join(directory, &entry.name);
        match entry.kind {
            EntryKind::Directory if is_registered(&entry.name) => {}
            EntryKind::Directory => problems.add(unregistered, &path, "not the name of a registered extension"),
            EntryKind::File => problems.add(stray, &path, "a file beside the extensions"),
            EntryKind::Other => {
                problems.add(stray, &path, "neither file nor directory");
                problems.add(Code::E090, &path, "a link, or something else that is neither file nor directory");
            }
        }
    }
}
