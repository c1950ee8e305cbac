//! What a request names of packages: which versions, which files of them, guarded by checksums. Whoever restores or
//! deletes asks in these words; here they become versions and files that are there, or faults that say what is not.
//!
//! The rules:
//!
//! - An absent or empty version is the newest one. A label that several versions have is the newest of them.
//! - A version of which everything was deleted is not there any more.
//! - Without files, all files of the version are meant. With nothing but the package named, it is for the asker to say
//!   whether that is its newest version or every version: [`Unnamed`].
//! - A checksum guards: the file must have it. Without a version, it also selects the newest version in which the file
//!   has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use dipper_archive::digest::{Algorithm, Digest};
use dipper_archive::ocfl::{Inventory, Object, VersionFile};

use crate::register;

/// What is named of one package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The depositor's name for the package.
    pub object_id: String,
    /// The label of a version.
    pub version: Option<String>,
    /// Files of it.
    pub files: Option<Vec<SelectedFile>>,
}

/// A file that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedFile {
    /// Its logical path.
    pub path: String,
    /// Checksums that it must have.
    pub checksums: Vec<(Algorithm, Digest)>,
}

/// What is meant by a selection that names a package and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// Its newest version.
    Newest,
    /// Every version.
    Every,
}

/// A version that a selection is for, or files of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenVersion {
    /// The number of the version.
    pub number: u32,
    /// Its label, empty when it has none.
    pub label: String,
    /// Its files.
    pub files: ChosenFiles,
}

/// Files of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChosenFiles {
    /// All that it has.
    All,
    /// These logical paths, sorted.
    These(Vec<String>),
}

/// Something that a selection names and that is not there, or is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The package, by the depositor's name.
    pub object_id: String,
    /// The file, if it is about one.
    pub path: Option<String>,
    /// What is wrong.
    pub reason: FaultReason,
}

/// What is wrong with a part of a selection. Its text is for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultReason {
    /// There is no such package, or nothing is left of it.
    NoPackage,
    /// It has no version of that label.
    NoVersion(String),
    /// An empty list of files.
    NoFileNamed,
    /// The file is named twice.
    Twice,
    /// The version has no such file.
    NoFile,
    /// The file has another checksum.
    Checksum(Algorithm),
    /// No checksum of that kind is on record for the file.
    NotOnRecord(Algorithm),
    /// The package is there, and cannot be handed out or changed now; why.
    Unfit(String),
}

impl fmt::Display for FaultReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultReason::NoPackage => formatter.write_str("there is no such filegroup"),
            FaultReason::NoVersion(label) => write!(formatter, "the filegroup has no version {label:?}"),
            FaultReason::NoFileNamed => {
                formatter.write_str("the list of files is empty: name files, or leave it out for all of the version")
            }
            FaultReason::Twice => formatter.write_str("the file is named twice"),
            FaultReason::NoFile => formatter.write_str("the version has no such file"),
            FaultReason::Checksum(algorithm) => {
                write!(formatter, "the stored file has another {algorithm} checksum")
            }
            FaultReason::NotOnRecord(algorithm) => {
                write!(formatter, "no {algorithm} checksum is on record for the file: use another type, or none")
            }
            FaultReason::Unfit(reason) => formatter.write_str(reason),
        }
    }
}

/// A package as its inventory has it, with the labels of its versions.
#[derive(Clone, Debug)]
pub struct Held {
    inventory: Arc<Inventory>,
    /// The versions that have files, oldest first.
    versions: Vec<(u32, String)>,
}

impl Held {
    /// What an object holds.
    pub fn new(object: &Object) -> Held {
        let inventory = Arc::clone(object.inventory());
        let versions = inventory.versions().iter().filter(|version| !version.is_empty());
        let labelled = versions
            .map(|version| (version.number().number(), register::label_of(object, version).unwrap_or_default()));
        let versions = labelled.collect();
        Held { inventory, versions }
    }

    /// The inventory.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// The numbers and labels of the versions that have files, oldest first. One without a label has an empty one.
    pub fn versions(&self) -> &[(u32, String)] {
        &self.versions
    }

    fn newest(&self) -> Option<&(u32, String)> {
        self.versions.last()
    }

    fn labelled(&self, label: &str) -> Option<&(u32, String)> {
        self.versions.iter().rev().find(|(_, known)| known == label)
    }
}

/// A checksum of a stored file that the inventory has on record.
pub fn checksum_of(inventory: &Inventory, file: &VersionFile<'_>, algorithm: Algorithm) -> Option<Digest> {
    if let Some(digest) = inventory.digest_of(file, algorithm) {
        return Some(digest);
    }
    // The fixity block, if there is one, may name another of the places where the same bytes lie, which can be very many.
    inventory.fixity().iter().find(|block| block.name() == algorithm.name())?;
    inventory.content_paths(file.digest).find_map(|path| inventory.fixity_of(algorithm, path)).copied()
}

/// The versions and files that a selection is for, oldest version first, or everything that is wrong with it.
pub fn resolve(selection: &Selection, held: &Held, unnamed: Unnamed) -> Result<Vec<ChosenVersion>, Vec<Fault>> {
    let resolving = Resolving { selection, held };
    match &selection.files {
        None => resolving.versions(unnamed).map_err(|fault| vec![fault]),
        Some(files) => resolving.files(files),
    }
}

struct Resolving<'a> {
    selection: &'a Selection,
    held: &'a Held,
}

impl Resolving<'_> {
    fn fault(&self, path: Option<&str>, reason: FaultReason) -> Fault {
        let object_id = self.selection.object_id.clone();
        Fault { object_id, path: path.map(str::to_owned), reason }
    }

    /// The version that is named; `None` when the newest is meant.
    fn named(&self) -> Result<Option<&(u32, String)>, Fault> {
        match self.selection.version.as_deref() {
            None | Some("") => Ok(None),
            Some(label) => {
                let found = self.held.labelled(label);
                let missing = || self.fault(None, FaultReason::NoVersion(label.to_owned()));
                found.map(Some).ok_or_else(missing)
            }
        }
    }

    fn versions(&self, unnamed: Unnamed) -> Result<Vec<ChosenVersion>, Fault> {
        let all = |(number, label): &(u32, String)| ChosenVersion {
            number: *number,
            label: label.clone(),
            files: ChosenFiles::All,
        };
        let newest = self.held.newest().ok_or_else(|| self.fault(None, FaultReason::NoPackage))?;
        if self.selection.version.is_none() && unnamed == Unnamed::Every {
            return Ok(self.held.versions.iter().map(all).collect());
        }
        Ok(vec![all(self.named()?.unwrap_or(newest))])
    }

    fn files(&self, files: &[SelectedFile]) -> Result<Vec<ChosenVersion>, Vec<Fault>> {
        let Some(newest) = self.held.newest() else {
            return Err(vec![self.fault(None, FaultReason::NoPackage)]);
        };
        let named = self.named().map_err(|fault| vec![fault])?;
        if files.is_empty() {
            return Err(vec![self.fault(None, FaultReason::NoFileNamed)]);
        }
        let mut chosen: BTreeMap<&(u32, String), Vec<String>> = BTreeMap::new();
        let (mut seen, mut faults) = (BTreeSet::new(), Vec::new());
        for file in files {
            let found = match seen.insert(file.path.as_str()) {
                true => self.version_of(file, named, newest),
                false => Err(FaultReason::Twice),
            };
            match found {
                Ok(version) => chosen.entry(version).or_default().push(file.path.clone()),
                Err(reason) => faults.push(self.fault(Some(&file.path), reason)),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let version = |((number, label), mut paths): (&(u32, String), Vec<String>)| {
            paths.sort_unstable();
            ChosenVersion { number: *number, label: label.clone(), files: ChosenFiles::These(paths) }
        };
        Ok(chosen.into_iter().map(version).collect())
    }

    fn version_of<'b>(
        &'b self,
        file: &SelectedFile,
        named: Option<&'b (u32, String)>,
        newest: &'b (u32, String),
    ) -> Result<&'b (u32, String), FaultReason> {
        if named.is_some() || file.checksums.is_empty() {
            let version = named.unwrap_or(newest);
            return self.guard(version, file).map(|()| version);
        }
        let mut reason = FaultReason::NoFile;
        for version in self.held.versions.iter().rev() {
            match self.guard(version, file) {
                Ok(()) => return Ok(version),
                // The reason of the newest version that has the file says the most.
                Err(found) if reason == FaultReason::NoFile => reason = found,
                Err(_) => {}
            }
        }
        Err(reason)
    }

    fn guard(&self, (number, _): &(u32, String), wanted: &SelectedFile) -> Result<(), FaultReason> {
        let inventory = &self.held.inventory;
        let file = inventory.file(*number, &wanted.path).ok_or(FaultReason::NoFile)?;
        for (algorithm, digest) in &wanted.checksums {
            match checksum_of(inventory, &file, *algorithm) {
                Some(found) if found == *digest => {}
                Some(_) => return Err(FaultReason::Checksum(*algorithm)),
                None => return Err(FaultReason::NotOnRecord(*algorithm)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// The sha512 and the md5 of a content that is known by one letter.
    fn sums(letter: char) -> (String, String) {
        let digit = format!("{:x}", u32::from(letter) % 16);
        (digit.repeat(128), digit.repeat(32))
    }

    /// An object whose versions hold files with contents of one letter each, as in `"a=1 b=2"`. The content `9` has no md5
    /// on record.
    fn held(versions: &[(&str, &str)]) -> Held {
        let files = |state: &str| -> Vec<(String, char)> {
            let file = |pair: &str| pair.split_once('=').map(|(path, letter)| (path.to_owned(), letter.chars().next()));
            state.split_whitespace().filter_map(file).map(|(path, letter)| (path, letter.expect("a letter"))).collect()
        };
        let (mut manifest, mut fixity, mut states) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (index, (_, state)) in versions.iter().enumerate() {
            let mut entries = BTreeMap::<String, Vec<String>>::new();
            for (path, letter) in files(state) {
                let (sha512, md5) = sums(letter);
                let content = format!("v{}/content/{letter}", index + 1);
                manifest.entry(sha512.clone()).or_insert_with(|| content.clone());
                if letter != '9' {
                    fixity.entry(md5).or_insert(content);
                }
                entries.entry(sha512).or_default().push(path);
            }
            states.push(entries);
        }
        let list = |map: &BTreeMap<String, String>| {
            map.iter().map(|(digest, path)| format!("\"{digest}\":[\"{path}\"]")).collect::<Vec<_>>().join(",")
        };
        let mut body = String::new();
        for (index, state) in states.iter().enumerate() {
            let state = state.iter().map(|(digest, paths)| format!("\"{digest}\":{paths:?}")).collect::<Vec<_>>();
            let comma = if index > 0 { "," } else { "" };
            let state = state.join(",");
            write!(body, "{comma}\"v{}\":{{\"created\":\"2026-01-01T00:00:00Z\",\"state\":{{{state}}}}}", index + 1)
                .expect("written");
        }
        let text = format!(
            "{{\"id\":\"urn:x\",\"type\":\"https://ocfl.io/1.1/spec/#inventory\",\"digestAlgorithm\":\"sha512\",\
             \"head\":\"v{}\",\"manifest\":{{{}}},\"fixity\":{{\"md5\":{{{}}}}},\"versions\":{{{body}}}}}",
            versions.len(),
            list(&manifest),
            list(&fixity),
        );
        let inventory = Arc::new(Inventory::read(text.as_bytes()).expect("an inventory"));
        let numbered = (1..).zip(versions).filter(|(_, (_, state))| !state.is_empty());
        let versions = numbered.map(|(number, (label, _))| (number, (*label).to_owned())).collect();
        Held { inventory, versions }
    }

    fn file(path: &str, letter: Option<char>) -> SelectedFile {
        let md5 = |letter| (Algorithm::Md5, sums(letter).1.parse().expect("a digest"));
        SelectedFile { path: path.to_owned(), checksums: letter.map(md5).into_iter().collect() }
    }

    fn selection(version: Option<&str>, files: Option<&[SelectedFile]>) -> Selection {
        let files = files.map(<[SelectedFile]>::to_vec);
        Selection { object_id: "fg".to_owned(), version: version.map(str::to_owned), files }
    }

    /// What was chosen, as in `"1:* 2:a,b"`, or what is wrong, as in `"a: …"`.
    fn told(held: &Held, version: Option<&str>, files: Option<&[SelectedFile]>, unnamed: Unnamed) -> String {
        let text = |chosen: &ChosenVersion| match &chosen.files {
            ChosenFiles::All => format!("{}:*", chosen.number),
            ChosenFiles::These(paths) => format!("{}:{}", chosen.number, paths.join(",")),
        };
        match resolve(&selection(version, files), held, unnamed) {
            Ok(chosen) => chosen.iter().map(text).collect::<Vec<_>>().join(" "),
            Err(faults) => {
                let fault =
                    |fault: &Fault| format!("{}: {}", fault.path.as_deref().unwrap_or(&fault.object_id), fault.reason);
                faults.iter().map(fault).collect::<Vec<_>>().join("; ")
            }
        }
    }

    #[test]
    fn versions_are_named_by_their_labels_and_the_newest_by_none() {
        let held = held(&[("one", "a=1 b=2"), ("", "a=3"), ("one", "a=1 b=4"), ("four", "c=5"), ("gone", "")]);
        use Unnamed::{Every, Newest};
        for (version, unnamed, expected) in [
            (None, Newest, "4:*"),
            (None, Every, "1:* 2:* 3:* 4:*"),
            (Some(""), Every, "4:*"),
            (Some("one"), Every, "3:*"),
            (Some("one"), Newest, "3:*"),
            (Some("four"), Newest, "4:*"),
            (Some("five"), Newest, "fg: the filegroup has no version \"five\""),
            (Some("gone"), Newest, "fg: the filegroup has no version \"gone\""),
        ] {
            assert_eq!(told(&held, version, None, unnamed), expected, "{version:?} {unnamed:?}");
        }
        let nothing = super::Held { versions: Vec::new(), ..held };
        for files in [None, Some(&[file("a", None)][..])] {
            assert_eq!(told(&nothing, None, files, Every), "fg: there is no such filegroup");
        }
    }

    #[test]
    fn a_checksum_guards_a_file_and_selects_its_version() {
        let held = held(&[("one", "a=1 b=2"), ("two", "a=3 b=2"), ("three", "a=3 c=9")]);
        let told = |version, files: &[SelectedFile]| told(&held, version, Some(files), Unnamed::Every);
        for (version, files, expected) in [
            (None, vec![file("a", None)], "3:a"),
            (None, vec![file("a", Some('1'))], "1:a"),
            (None, vec![file("a", Some('3'))], "3:a"),
            (Some(""), vec![file("b", Some('2'))], "2:b"),
            (None, vec![file("b", None)], "b: the version has no such file"),
            (None, vec![file("c", None), file("b", Some('2')), file("a", Some('1'))], "1:a 2:b 3:c"),
            (Some("two"), vec![file("b", None), file("a", Some('3'))], "2:a,b"),
            (Some("two"), vec![file("a", Some('1'))], "a: the stored file has another md5 checksum"),
            (None, vec![file("a", Some('7'))], "a: the stored file has another md5 checksum"),
            (None, vec![file("d", Some('7'))], "d: the version has no such file"),
            (
                None,
                vec![file("c", Some('9'))],
                "c: no md5 checksum is on record for the file: use another type, or none",
            ),
            (None, vec![file("a", None), file("a", None)], "a: the file is named twice"),
            (None, vec![], "fg: the list of files is empty: name files, or leave it out for all of the version"),
            (
                Some("one"),
                vec![file("x", None), file("b", Some('2')), file("a", Some('3'))],
                "x: the version has no such file; a: the stored file has another md5 checksum",
            ),
            (Some("no"), vec![file("a", None)], "fg: the filegroup has no version \"no\""),
        ] {
            assert_eq!(told(version, &files), expected, "{version:?} {files:?}");
        }
        let sha512 = (Algorithm::Sha512, sums('9').0.parse().expect("a digest"));
        let by_content = SelectedFile { path: "c".to_owned(), checksums: vec![sha512] };
        assert_eq!(told(None, &[by_content]), "3:c");
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_there_and_has_the_checksum(
            states in prop::collection::vec(prop::collection::btree_map("[a-c]", "[1-4]", 0..3), 1..5),
            wanted in prop::collection::btree_map("[a-d]", prop::option::of("[1-5]"), 1..4),
        ) {
            let text = |state: &BTreeMap<String, String>| {
                state.iter().map(|(path, letter)| format!("{path}={letter}")).collect::<Vec<_>>().join(" ")
            };
            let texts: Vec<String> = states.iter().map(text).collect();
            let held = held(&texts.iter().map(|text| ("", text.as_str())).collect::<Vec<_>>());
            let letter = |letter: &Option<String>| letter.as_ref().and_then(|letter| letter.chars().next());
            let files: Vec<SelectedFile> = wanted.iter().map(|(path, guard)| file(path, letter(guard))).collect();
            let expected: Vec<Option<usize>> = wanted.iter().map(|(path, guard)| {
                let newest = states.iter().rposition(|state| !state.is_empty())?;
                let fits = |state: &BTreeMap<String, String>| {
                    state.get(path).is_some_and(|found| guard.as_ref().is_none_or(|guard| guard == found))
                };
                match guard {
                    None => Some(newest).filter(|newest| fits(&states[*newest])),
                    Some(_) => states.iter().rposition(fits),
                }
            }).collect();
            match resolve(&selection(None, Some(&files)), &held, Unnamed::Newest) {
                Err(faults) => prop_assert!(!faults.is_empty() && expected.iter().any(Option::is_none)),
                Ok(chosen) => for ((path, _), expected) in wanted.iter().zip(expected) {
                    let has = |chosen: &&ChosenVersion| {
                        matches!(&chosen.files, ChosenFiles::These(paths) if paths.contains(path))
                    };
                    let found = chosen.iter().find(has).map(|chosen| chosen.number as usize - 1);
                    prop_assert_eq!(found, expected);
                },
            }
        }
    }
}
