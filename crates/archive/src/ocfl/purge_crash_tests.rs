//! Purges that end in the middle, and purges of all kinds held against a model.

#![allow(clippy::disallowed_methods, reason = "tests make damaged trees, which nothing else should")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::crash_tests::{Archive, Crash, KINDS, Kind};
use super::purge::Purge;
use super::*;

type State = BTreeMap<String, String>;

/// What every version of the object holds, each file read and verified; `None` when there is no object.
fn states(root: &StorageRoot) -> Option<Vec<State>> {
    let object = match root.object("urn:a") {
        Ok(object) => object,
        Err(Error::NoSuchObject { .. }) => return None,
        Err(error) => panic!("a reader is disturbed: {error}"),
    };
    let read = |file: VersionFile<'_>| {
        let mut bytes = Vec::new();
        object.copy_verified(&file, &mut bytes).unwrap();
        (file.logical_path.to_owned(), String::from_utf8(bytes).unwrap())
    };
    let inventory = object.inventory();
    Some(
        inventory
            .versions()
            .iter()
            .map(|version| inventory.files(version.number().number()).map(read).collect())
            .collect(),
    )
}

fn state(files: &[(&str, &str)]) -> State {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

const VERSIONS: [&[(&str, &str)]; 3] = [
    &[("a", "one"), ("b/c/d", "shared"), ("b/e", "first"), ("f/only", "gone")],
    &[("a", "two"), ("b/c/d", "shared"), ("b/e", "first")],
    &[("other", "shared"), ("again", "one")],
];

fn prepared(kind: Kind) -> Archive {
    let archive = Archive::new(kind);
    for files in VERSIONS {
        archive.put(files).unwrap();
    }
    archive
}

/// All of the first version, and a file of the second.
fn purge() -> Purge {
    let mut purge = Purge::default();
    purge.add_version(1);
    purge.add_file(2, "b/e");
    purge.set_note("Deleted: for a test");
    purge
}

/// The messages of the versions, which the root inventory and each earlier one tell alike.
fn notes(root: &StorageRoot) -> Vec<Option<&'static str>> {
    let object = root.object("urn:a").unwrap();
    let known = |message: &str| if message == "Deleted: for a test" { "Deleted: for a test" } else { "another" };
    let messages = |inventory: &Inventory| -> Vec<_> {
        inventory.versions().iter().map(|version| version.message().map(known)).collect()
    };
    let all = messages(object.inventory());
    for number in 1..=3 {
        // One without an inventory of its own has the root's.
        assert_eq!(messages(&object.inventory_of(number).unwrap())[..number as usize], all[..number as usize]);
    }
    all
}

fn rest() -> Vec<State> {
    vec![State::new(), state(&[("a", "two"), ("b/c/d", "shared")]), state(VERSIONS[2])]
}

/// Crashes a change after every step on a disk, or after every write to a server, and hands what is left to `check`.
fn crash_everywhere(kinds: &[Kind], change: &dyn Fn(&Archive) -> Result<Purged>, check: &dyn Fn(&Archive, bool)) {
    for kind in kinds {
        let prepared = prepared(*kind);
        for count in 0.. {
            let archive = prepared.copy();
            if *kind == Kind::Bucket { Crash::Writes(count) } else { Crash::Steps(count) }.begin(&archive);
            let done = change(&archive).is_ok();
            Crash::end(&archive);
            check(&archive, done);
            archive.assert_valid();
            archive.assert_nothing_is_left();
            archive.assert_staging_is_empty();
            if done {
                assert!(count >= 3, "only {count} steps");
                break;
            }
        }
    }
}

#[test]
fn a_purge_is_done_or_not_begun() {
    let before: Vec<State> = VERSIONS.iter().map(|files| state(files)).collect();
    crash_everywhere(&KINDS, &|archive| archive.root.purge("urn:a", &purge()), &|archive, done| {
        let is_begun = archive.root.object("urn:a").unwrap().inventory().files(1).len() == 0;
        let recovered = archive.recover();
        let after = states(&archive.root).unwrap();
        let outcome = recovered.first().map(|found| found.outcome);
        if done || outcome.is_some() {
            assert_eq!(after, rest());
        } else {
            assert!(!is_begun, "a change that was visible went away");
            assert_eq!(after, before);
        }
        assert_eq!(outcome, (!done && after != before).then_some(Outcome::Purged));
        // Nobody is hindered by it, and asking again changes nothing.
        archive.root.purge("urn:a", &purge()).unwrap();
        assert_eq!(states(&archive.root).unwrap(), rest());
        assert_eq!(notes(&archive.root), [Some("Deleted: for a test"), Some("Deleted: for a test"), None]);
        assert!(archive.root.recover(None).unwrap().is_empty());
    });
}

#[test]
fn another_machine_finishes_the_purge_of_the_dead() {
    crash_everywhere(&[Kind::Bucket], &|archive| archive.root.purge("urn:a", &purge()), &|archive, _| {
        let other = archive.elsewhere();
        other.purge("urn:a", &purge()).unwrap();
        assert_eq!(states(&other).unwrap(), rest());
        archive.assert_valid();
        archive.assert_nothing_is_left();
        // The first machine comes back, and finds nothing to do that was not done.
        archive.recover();
        archive.root.purge("urn:a", &purge()).unwrap();
        assert_eq!(states(&archive.root).unwrap(), rest());
    });
}

#[test]
fn an_object_of_which_nothing_is_left_is_removed() {
    let mut all = Purge::default();
    (1..=3).for_each(|version| all.add_version(version));
    crash_everywhere(&KINDS, &|archive| archive.root.purge("urn:a", &all), &|archive, done| {
        let recovered = archive.recover();
        assert!(done || recovered.first().is_none_or(|found| found.outcome == Outcome::Removed));
        match archive.root.purge("urn:a", &all) {
            Ok(purged) => assert!(!done && purged.removed),
            Err(error) => assert!(matches!(error, Error::NoSuchObject { .. }), "{error}"),
        }
        assert_eq!(states(&archive.root), None);
        assert_eq!(archive.put(VERSIONS[0]).unwrap().version.number(), 1);
    });
}

#[test]
fn a_version_that_comes_meanwhile_keeps_its_files() {
    let prepared = prepared(Kind::Bucket);
    for writes in 0.. {
        let archive = prepared.copy();
        Crash::Writes(writes).begin(&archive);
        let done = archive.root.purge("urn:a", &purge()).is_ok();
        Crash::end(&archive);
        // Another machine, which knows nothing of the purge, adds a version between.
        let other = archive.elsewhere();
        let draft = other.draft("urn:a", &DraftOptions { session: "s", start: Start::Empty, fixity: &[] }).unwrap();
        draft.add("b/e", &mut "first".as_bytes(), &Expected::default(), "").unwrap();
        let created = "2026-01-31T08:00:00Z".to_owned();
        draft.commit(VersionRecord { created, message: None, user: None }).unwrap();
        archive.recover();
        archive.root.purge("urn:a", &purge()).unwrap();
        let mut expected = rest();
        expected.push(state(&[("b/e", "first")]));
        assert_eq!(states(&archive.root).unwrap(), expected);
        archive.assert_valid();
        archive.assert_nothing_is_left();
        if done {
            break;
        }
    }
}

#[test]
fn what_is_purged_is_counted() {
    let archive = prepared(Kind::Local);
    let purged = archive.root.purge("urn:a", &purge()).unwrap();
    // Of version 1, `first` and `gone` are needed nowhere; `one` and `shared` are.
    let expected = Purged { files: 5, content_files: 2, content_bytes: 9, removed: false };
    assert_eq!(purged, expected);
    assert_eq!(archive.root.purge("urn:a", &purge()).unwrap(), Purged::default());
    let mut unknown = Purge::default();
    unknown.add_version(4);
    assert!(matches!(archive.root.purge("urn:a", &unknown), Err(Error::NoSuchVersion { version: 4, .. })));
    let draft = archive.root.draft("urn:a", &DraftOptions { session: "t", start: Start::Head, fixity: &[] }).unwrap();
    assert!(matches!(archive.root.purge("urn:a", &purge()), Err(Error::Locked { .. })));
    drop(draft);
}

#[test]
fn a_reader_gets_the_right_bytes_or_an_error() {
    for kind in KINDS {
        let archive = Archive::new(kind);
        let long: String = "0123456789abcdef".repeat(64 << 10);
        archive.put(&[("long", &long), ("stays", "s")]).unwrap();
        let object = archive.root.object("urn:a").unwrap();
        let file = object.inventory().file(1, "long").unwrap();
        let mut reader = object.open_verified(&file).unwrap();
        let mut begun = vec![0; 1000];
        std::io::Read::read_exact(&mut reader, &mut begun).unwrap();
        let mut purge = Purge::default();
        purge.add_file(1, "long");
        archive.root.purge("urn:a", &purge).unwrap();
        match std::io::Read::read_to_end(&mut reader, &mut begun) {
            Ok(_) => assert!(begun == long.as_bytes()),
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::InvalidData, "{error}"),
        }
        assert!(matches!(object.open_verified(&file), Err(Error::Io { .. })));
    }
}

/// Which files of a version are purged: all of them, or by the bits of a number.
fn chosen(state: &State, choice: u8) -> BTreeSet<String> {
    let is_chosen = |number: usize| choice == u8::MAX || choice >> (number % 8) & 1 == 1;
    state.keys().enumerate().filter(|(number, _)| is_chosen(*number)).map(|(_, path)| path.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn what_remains_is_what_the_model_has(
        versions in prop::collection::vec(prop::collection::btree_map(0_usize..7, 0_usize..5, 0..6), 1..5),
        purges in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0_u8), Just(u8::MAX), any::<u8>()], 4), 1..4),
    ) {
        const PATHS: [&str; 7] = ["a", "b/c", "b/d", "b/e/f", "g/h/i/j", "k", "l/m"];
        let archive = Archive::new(Kind::Local);
        let mut model: Vec<State> = Vec::new();
        for version in &versions {
            let files: State =
                version.iter().map(|(path, text)| (PATHS[*path].to_owned(), format!("text {text}"))).collect();
            let given: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            archive.put(&given).unwrap();
            model.push(files);
        }
        for choices in &purges {
            let mut purge = Purge::default();
            for ((number, state), choice) in (1..).zip(&mut model).zip(choices) {
                let paths = chosen(state, *choice);
                if *choice == u8::MAX {
                    purge.add_version(number);
                }
                paths.iter().for_each(|path| purge.add_file(number, path));
                state.retain(|path, _| !paths.contains(path));
            }
            archive.root.purge("urn:a", &purge).unwrap();
            if !purge.is_empty() && model.iter().all(BTreeMap::is_empty) {
                prop_assert_eq!(states(&archive.root), None);
                break;
            }
            prop_assert_eq!(states(&archive.root), Some(model.clone()));
            let texts: BTreeSet<&String> = model.iter().flat_map(BTreeMap::values).collect();
            prop_assert_eq!(archive.root.object("urn:a").unwrap().inventory().manifest_len(), texts.len());
        }
        archive.assert_valid();
        archive.assert_nothing_is_left();
        archive.assert_staging_is_empty();
    }
}
