//! Crashes between any two steps of a change, and of the recovery from it.

#![allow(clippy::disallowed_methods, reason = "tests make damaged trees, which nothing else should")]

use std::path::Path;
use std::sync::Arc;

use super::staging::fault;
use super::*;
use crate::glacier::Glacier;
use crate::storage::{LocalStorage, Storage};

/// The back ends on which everything is crashed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Local,
    Bucket,
}

pub(super) const KINDS: [Kind; 2] = [Kind::Local, Kind::Bucket];

pub(super) struct Archive {
    directory: tempfile::TempDir,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) root: StorageRoot,
    pub(super) path: std::path::PathBuf,
    pub(super) server: Option<Glacier>,
}

impl Archive {
    pub(super) fn new(kind: Kind) -> Archive {
        Archive::filled(kind, |_, _| {})
    }

    /// An archive that holds what this one does.
    pub(super) fn copy(&self) -> Archive {
        let kind = if self.server.is_some() { Kind::Bucket } else { Kind::Local };
        Archive::filled(kind, |path, server| match (&self.server, server) {
            (Some(ours), Some(theirs)) => copy_tree(ours.server.directory(), theirs.server.directory()),
            _ => copy_tree(&self.path, path),
        })
    }

    fn filled(kind: Kind, fill: impl FnOnce(&Path, Option<&Glacier>)) -> Archive {
        let directory = tempfile::tempdir().unwrap();
        let server = (kind == Kind::Bucket).then(Glacier::start);
        let (path, storage): (_, Arc<dyn Storage>) = match &server {
            Some(server) => (server.objects("r"), server.storage("r")),
            None => {
                let path = directory.path().join("root");
                std::fs::create_dir(&path).unwrap();
                (path.clone(), Arc::new(LocalStorage::open(&path).unwrap()))
            }
        };
        fill(&path, server.as_ref());
        let staging = directory.path().join("staging");
        let is_empty = storage.list("").unwrap().is_empty();
        let root = match is_empty {
            true => StorageRoot::create(Arc::clone(&storage), &staging, Layout::default()),
            false => StorageRoot::open(Arc::clone(&storage), &staging),
        };
        Archive { directory, root: root.unwrap(), storage, path, server }
    }

    /// The same root with a staging directory of its own, as another machine has it.
    pub(super) fn elsewhere(&self) -> StorageRoot {
        StorageRoot::open(Arc::clone(&self.storage), &self.directory.path().join("other staging")).unwrap()
    }

    /// Begins a version with the files, and commits it.
    pub(super) fn put(&self, files: &[(&str, &str)]) -> Result<Committed> {
        self.put_from(&self.root, files)
    }

    fn put_from(&self, root: &StorageRoot, files: &[(&str, &str)]) -> Result<Committed> {
        let draft = root.draft("urn:a", &DraftOptions { session: "s", start: Start::Empty, fixity: &[] })?;
        for (path, text) in files {
            if draft.take_staged(path, text)?.is_none() {
                draft.add(path, &mut text.as_bytes(), &Expected::default(), text)?;
            }
        }
        let created = "2026-01-31T08:00:00Z".to_owned();
        draft.commit(VersionRecord { created, message: None, user: None })
    }

    fn head(&self) -> Option<u32> {
        match self.root.object("urn:a") {
            Ok(object) => Some(object.inventory().head().number()),
            Err(Error::NoSuchObject { .. }) => None,
            Err(error) => panic!("a reader is disturbed: {error}"),
        }
    }

    pub(super) fn assert_valid(&self) {
        let report = validate_root(&self.storage, &ValidateOptions::default()).unwrap();
        assert!(report.is_valid(), "{:#?}", report.problems);
    }

    /// Nothing lies in the storage that no inventory names, nor what a validator elsewhere would not know.
    pub(super) fn assert_nothing_is_left(&self) {
        let mut expected = std::collections::BTreeSet::new();
        for path in self.root.objects() {
            let object = self.root.object_at(&path.unwrap()).unwrap();
            let inventory = object.inventory();
            expected.insert(format!("{}/{}", object.path(), inventory.spec().object_declaration()));
            let versions =
                inventory.versions().iter().map(Version::number).filter(|number| can_tell(inventory, *number));
            let versions = versions.map(|number| format!("{}/{number}", object.path()));
            for directory in versions.chain([object.path().to_owned()]) {
                expected.insert(format!("{directory}/inventory.json"));
                expected.insert(format!("{directory}/inventory.json.sha512"));
            }
            expected.extend(inventory.manifest().map(|(_, content)| format!("{}/{content}", object.path())));
        }
        let mut found = std::collections::BTreeSet::new();
        let take = &mut |path: &str, _| {
            if path.contains('/') && !path.starts_with("extensions/") {
                found.insert(path.to_owned());
            }
        };
        self.storage.list_below("", take).unwrap();
        assert_eq!(found, expected);
    }

    pub(super) fn assert_staging_is_empty(&self) {
        let files = |name: &str| std::fs::read_dir(self.root.staging().join(name)).map_or(0, Iterator::count);
        assert_eq!((files("locks"), files("intents"), files("removed")), (0, 0, 0));
    }

    /// Whether a draft is left to go on with.
    fn has_draft(&self) -> bool {
        let Ok(mut drafts) = std::fs::read_dir(self.root.staging().join("drafts")) else { return false };
        drafts.next().is_some()
    }

    /// Recovers, with crashes after ever more steps of the recovery itself.
    pub(super) fn recover(&self) -> Vec<Recovered> {
        for steps in 0.. {
            fault::after(Some(steps));
            let recovered = self.root.recover(None);
            fault::after(None);
            match recovered {
                Ok(recovered) => return recovered,
                Err(Error::Io { path, .. }) if path == "fault" => {}
                Err(error) => panic!("{error}"),
            }
        }
        unreachable!()
    }
}

/// Whether an inventory of a version can name everything that lies there: what the states up to it use. A directory that holds
/// nothing has one in any case.
fn can_tell(inventory: &Inventory, version: VersionNumber) -> bool {
    let number = |path: &str| path.split_once('/').and_then(|(name, _)| VersionNumber::parse(name).ok()).unwrap();
    let used: std::collections::BTreeSet<_> =
        (1..=version.number()).flat_map(|number| inventory.files(number)).map(|file| *file.digest).collect();
    let mut below = inventory.manifest().filter(|(_, path)| number(path) <= version);
    let is_bare = inventory.manifest().all(|(_, path)| number(path) != version);
    is_bare || below.all(|(digest, _)| used.contains(digest))
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &to),
            false => std::fs::copy(entry.path(), to).map(|_| ()).unwrap(),
        }
    }
}

/// How a process ends in the middle of a change.
#[derive(Clone, Copy)]
pub(super) enum Crash {
    /// After a number of steps.
    Steps(u32),
    /// After a number of writes have reached the server.
    Writes(u32),
}

impl Crash {
    pub(super) fn begin(self, archive: &Archive) {
        match (self, &archive.server) {
            (Crash::Writes(writes), Some(server)) => server.die_after(Some(writes)),
            (Crash::Steps(steps), _) => fault::after(Some(steps)),
            (Crash::Writes(_), None) => unreachable!(),
        }
    }

    pub(super) fn end(archive: &Archive) {
        fault::after(None);
        if let Some(server) = &archive.server {
            server.die_after(None);
        }
    }
}

/// Runs a change with a crash after every number of steps on a disk, and after every write to a server; `check` gets the
/// head after recovery.
fn crash_everywhere(
    prepare: impl Fn(&Archive),
    change: impl Fn(&Archive) -> Result<()>,
    check: impl Fn(&Archive, Option<u32>),
) -> u32 {
    let crash = |kind, crash: &dyn Fn(u32) -> Crash| {
        let prepared = Archive::new(kind);
        prepare(&prepared);
        let once = |count, goes_on| crash_once(prepared.copy(), (crash(count), goes_on), &change, &check);
        (0..).find(|count| once(*count, true) & once(*count, false)).unwrap_or_default()
    };
    let writes = crash(Kind::Bucket, &Crash::Writes);
    assert!(writes >= 4, "only {writes} writes");
    crash(Kind::Local, &Crash::Steps)
}

/// One crash, after which somebody goes on with the draft, or it is left until it is old; whether the change was done
/// before it came to that.
fn crash_once(
    archive: Archive,
    (crash, goes_on): (Crash, bool),
    change: &impl Fn(&Archive) -> Result<()>,
    check: &impl Fn(&Archive, Option<u32>),
) -> bool {
    let before = archive.head();
    crash.begin(&archive);
    let done = change(&archive).is_ok();
    Crash::end(&archive);
    // A reader in between finds the object before or after the change, and never an error.
    let between = archive.head();
    if archive.server.is_some() {
        archive.assert_valid();
    }
    let recovered = archive.recover();
    let after = archive.head();
    if between != before {
        assert_eq!(between, after, "a change that was visible went away");
    }
    if !done {
        // Whoever keeps a catalogue learns of every change that its maker could not tell of.
        assert_eq!(recovered.first().map(|found| found.id.as_str()), (after != before).then_some("urn:a"));
    }
    archive.assert_valid();
    if !goes_on {
        archive.root.recover(Some(std::time::Duration::ZERO)).unwrap();
        assert!(!archive.has_draft());
    }
    // What a draft has in a bucket is for whoever goes on with it.
    if !archive.has_draft() {
        archive.assert_nothing_is_left();
    }
    archive.assert_staging_is_empty();
    check(&archive, after);
    archive.assert_nothing_is_left();
    assert!(archive.root.recover(None).unwrap().is_empty());
    done
}

#[test]
fn a_first_version_is_there_whole_or_not_at_all() {
    let files = [("a", "1"), ("b/c", "2")];
    let steps = crash_everywhere(
        |_| {},
        |archive| archive.put(&files).map(|_| ()),
        |archive, head| {
            if head.is_none() {
                assert_eq!(archive.put(&files).unwrap().version.number(), 1);
            }
            archive.assert_valid();
        },
    );
    assert!(steps >= 6, "only {steps} steps");
}

#[test]
fn a_later_version_is_there_whole_or_not_at_all() {
    let (first, second) = ([("a", "1")], [("a", "2"), ("d/new", "3")]);
    let steps = crash_everywhere(
        |archive| {
            archive.put(&first).unwrap();
        },
        |archive| archive.put(&second).map(|_| ()),
        |archive, head| {
            if head == Some(1) {
                assert_eq!(archive.put(&second).unwrap().version.number(), 2);
            }
            assert_eq!(archive.head(), Some(2));
            assert_eq!(archive.put(&first).unwrap().version.number(), 3);
            archive.assert_valid();
        },
    );
    assert!(steps >= 8, "only {steps} steps");
}

#[test]
fn a_removal_is_done_or_not_begun() {
    let steps = crash_everywhere(
        |archive| {
            archive.put(&[("a", "1")]).unwrap();
        },
        |archive| archive.root.remove("urn:a"),
        |archive, head| {
            if head.is_some() && archive.server.is_some() {
                // The server was away from the start.
                archive.root.remove("urn:a").unwrap();
            }
            assert_eq!(archive.head(), None);
            assert_eq!(archive.put(&[("again", "1")]).unwrap().version.number(), 1);
        },
    );
    assert!(steps >= 3, "only {steps} steps");
}

#[test]
fn a_root_inventory_that_was_cut_off_is_written_again() {
    for torn in ["inventory.json", "inventory.json.sha512"] {
        let archive = Archive::new(Kind::Local);
        let object = archive.path.join(archive.put(&[("a", "1")]).unwrap().path);
        // Four steps to the intent, and the one after it is the rename.
        fault::after(Some(4));
        let result = archive.put(&[("a", "2")]);
        fault::after(None);
        assert!(result.is_err() && object.join("v2").exists());
        assert_eq!(archive.head(), Some(1));
        // What a crash inside the writing of a file leaves: a part beside it, and old or new under the name.
        std::fs::write(object.join(format!(".{torn}.1-1.part")), "half").unwrap();
        if torn == "inventory.json.sha512" {
            std::fs::copy(object.join("v2/inventory.json"), object.join("inventory.json")).unwrap();
        }
        let recovered = archive.recover();
        let version = VersionNumber::new(2);
        assert_eq!(recovered.first().map(|recovered| recovered.outcome), Some(Outcome::Committed(version)));
        assert_eq!(archive.head(), Some(2));
        archive.assert_valid();
    }
}

#[test]
fn a_change_of_a_living_process_is_left_alone() {
    let archive = Archive::new(Kind::Local);
    archive.put(&[("a", "1")]).unwrap();
    let draft = archive.root.draft("urn:a", &DraftOptions { session: "t", start: Start::Head, fixity: &[] }).unwrap();
    std::fs::create_dir_all(archive.root.staging().join("intents")).unwrap();
    let intent = staging::Intent {
        id: "urn:a".to_owned(),
        object: archive.root.object("urn:a").unwrap().path().to_owned(),
        change: staging::Change::Remove,
    };
    intent.write(&staging::Place::new(archive.root.staging(), "urn:a")).unwrap();
    assert!(archive.root.recover(None).unwrap().is_empty());
    drop(draft);
    assert_eq!(archive.root.recover(None).unwrap()[0].outcome, Outcome::Removed);
}

#[test]
fn another_writers_version_is_not_overwritten_by_recovery() {
    let archive = Archive::new(Kind::Local);
    let object = archive.path.join(archive.put(&[("a", "1")]).unwrap().path);
    // Up to the intent, not to the rename.
    for steps in 0..20 {
        fault::after(Some(steps));
        let _ = archive.put(&[("a", "ours")]);
        fault::after(None);
        if Path::new(&archive.root.staging().join("intents")).read_dir().is_ok_and(|mut found| found.next().is_some()) {
            break;
        }
    }
    assert!(!object.join("v2").exists());
    assert!(matches!(archive.put(&[("a", "x")]), Err(Error::Unrecovered { .. })));
    let other = archive.root.staging().with_file_name("other staging");
    let theirs = StorageRoot::open(Arc::clone(&archive.storage), &other).unwrap();
    let draft = theirs.draft("urn:a", &DraftOptions { session: "s", start: Start::Empty, fixity: &[] }).unwrap();
    draft.add("a", &mut "theirs".as_bytes(), &Expected::default(), "").unwrap();
    let created = "2026-01-31T08:00:00Z".to_owned();
    let committed = draft.commit(VersionRecord { created, message: None, user: None }).unwrap();
    assert_eq!(archive.root.recover(None).unwrap()[0].outcome, Outcome::RolledBack);
    assert_eq!(archive.root.object("urn:a").unwrap().inventory_digest(), &committed.inventory_digest);
    archive.assert_valid();
}

#[test]
fn what_a_crash_leaves_in_the_middle_of_writing_a_document_is_not_published() {
    for first in [true, false] {
        let archive = Archive::new(Kind::Local);
        if !first {
            archive.put(&[("a", "1")]).unwrap();
        }
        // The last step before the documents are written is the third.
        fault::after(Some(2));
        archive.put(&[("a", "2")]).unwrap_err();
        fault::after(None);
        let only = |directory: &Path| std::fs::read_dir(directory).unwrap().next().unwrap().unwrap().path();
        let object = only(&only(&archive.root.staging().join("drafts"))).join("object");
        let version = object.join(if first { "v1" } else { "v2" });
        for directory in [&object, &version] {
            std::fs::write(directory.join(".inventory.json.4711-1.part"), b"{ half of").unwrap();
        }
        archive.put(&[("a", "2")]).unwrap();
        archive.assert_valid();
    }
}

/// A bucket, with a version in it or without.
fn prepared(with_version: bool) -> Archive {
    let archive = Archive::new(Kind::Bucket);
    if with_version {
        archive.put(&[("a", "0")]).unwrap();
    }
    archive
}

#[test]
fn whoever_meets_a_claim_of_the_dead_brings_it_to_its_end() {
    for base in [false, true] {
        let prepared = prepared(base);
        let mut finished = 0;
        for writes in 0.. {
            let archive = prepared.copy();
            let before = archive.head().unwrap_or(0);
            Crash::Writes(writes).begin(&archive);
            let done = archive.put(&[("a", "1"), ("b", "1")]).is_ok();
            Crash::end(&archive);
            // Another machine, which knows nothing of the first one's intent.
            let other = archive.elsewhere();
            let theirs = archive.put_from(&other, &[("a", "2"), ("c", "2")]).unwrap().version.number();
            finished += u32::from(theirs == before + 2);
            archive.assert_valid();
            // The first machine comes back, and learns whether it was its version that counted.
            let recovered = archive.recover();
            let committed = Outcome::Committed(VersionNumber::new(before + 1));
            let expected = if theirs == before + 2 { committed } else { Outcome::RolledBack };
            // Who died before the version was about to be published knows of nothing to bring to its end.
            match recovered.first().map(|found| found.outcome) {
                None => assert!(done || theirs == before + 1),
                outcome => assert_eq!(outcome, Some(expected)),
            }
            archive.root.recover(Some(std::time::Duration::ZERO)).unwrap();
            archive.assert_valid();
            archive.assert_nothing_is_left();
            assert_eq!(archive.head(), Some(theirs));
            if done {
                break;
            }
        }
        assert!(finished >= 3, "only {finished} were finished by others");
    }
}

#[test]
fn what_a_machine_that_never_comes_back_left_can_be_tidied_away() {
    for base in [false, true] {
        let prepared = prepared(base);
        for writes in 0.. {
            let archive = prepared.copy();
            Crash::Writes(writes).begin(&archive);
            let done = archive.put(&[("a", "1"), ("b", "1")]).is_ok();
            Crash::end(&archive);
            let other = archive.elsewhere();
            other.tidy("urn:a").unwrap();
            archive.assert_valid();
            archive.assert_nothing_is_left();
            other.tidy("urn:a").unwrap();
            archive.assert_nothing_is_left();
            if done {
                break;
            }
        }
    }
}

#[test]
fn what_a_draft_has_in_a_bucket_goes_with_it_and_not_before() {
    for base in [false, true] {
        let archive = prepared(base);
        let options = DraftOptions { session: "s", start: Start::Empty, fixity: &[] };
        let keys = || {
            let mut keys = Vec::new();
            archive.storage.list_below("", &mut |path, _| keys.push(path.to_owned())).unwrap();
            keys.sort_unstable();
            keys
        };
        let before = keys();
        let draft = archive.root.draft("urn:a", &options).unwrap();
        draft.add("a", &mut "1".as_bytes(), &Expected::default(), "stamp").unwrap();
        draft.checkpoint().unwrap();
        let object = draft.object_path.clone();
        drop(draft);
        // Also of a machine that dies in the middle of everything: the object is as it was.
        assert!(keys().iter().any(|key| key.starts_with(&object) && key.ends_with("/a")));
        archive.assert_valid();
        archive.root.tidy("urn:a").unwrap();
        let draft = archive.root.draft("urn:a", &options).unwrap();
        assert!(draft.take_staged("a", "stamp").unwrap().is_some(), "it was tidied away");
        draft.abandon().unwrap();
        assert_eq!(keys(), before);

        // An old copy of the staging directory comes back after its draft was committed.
        let draft = archive.root.draft("urn:a", &options).unwrap();
        draft.add("a", &mut "1".as_bytes(), &Expected::default(), "stamp").unwrap();
        draft.checkpoint().unwrap();
        let (directory, copy) = (draft.directory.clone(), archive.path.with_file_name("copy"));
        copy_tree(&directory, &copy);
        draft.commit(VersionRecord { created: "2026-01-31T08:00:00Z".to_owned(), message: None, user: None }).unwrap();
        copy_tree(&copy, &directory);
        std::fs::remove_dir_all(copy).unwrap();
        archive.root.recover(Some(std::time::Duration::ZERO)).unwrap();
        assert!(!archive.has_draft());
        archive.assert_valid();
    }
}

#[test]
fn a_writer_that_was_overtaken_while_it_slept_publishes_nothing() {
    let archive = Archive::new(Kind::Bucket);
    archive.put(&[("a", "1")]).unwrap();
    let draft = archive.root.draft("urn:a", &DraftOptions { session: "s", start: Start::Head, fixity: &[] }).unwrap();
    draft.add("slow", &mut "slow".as_bytes(), &Expected::default(), "").unwrap();
    let other = archive.elsewhere();
    assert_eq!(archive.put_from(&other, &[("a", "fast")]).unwrap().version.number(), 2);
    let created = "2026-01-31T08:00:00Z".to_owned();
    let late = draft.commit(VersionRecord { created, message: None, user: None });
    assert!(matches!(late, Err(Error::HeadMoved { .. })));
    archive.assert_valid();
    archive.assert_nothing_is_left();
    archive.assert_staging_is_empty();
}
