//! A storage root in a bucket: writers that share nothing but it, roots that others made, archive classes, and other
//! people's judgement of what we write.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dipper_archive::bucket::BucketSettings;
use dipper_archive::digest::Algorithm;
use dipper_archive::ocfl::{
    Committed, DraftOptions, Error, Expected, Layout, Start, StorageRoot, ValidateOptions, VersionRecord, validate_root,
};
use dipper_archive::package::{Content, Control, Form, Options, prepare};
use dipper_archive::storage::{Availability, BucketStorage, Recall, Tier, is_archived};

use crate::glacier::Glacier;
use crate::peers;

const PREFIX: &str = "r";

struct Archive {
    server: Glacier,
    root: StorageRoot,
    beside: tempfile::TempDir,
}

impl Archive {
    fn new() -> Archive {
        let server = Glacier::start();
        let beside = tempfile::tempdir().unwrap();
        let root =
            StorageRoot::create(server.storage(PREFIX), &beside.path().join("staging"), Layout::default()).unwrap();
        Archive { server, root, beside }
    }

    /// The same root as another machine has it.
    fn machine(&self, name: &str) -> StorageRoot {
        StorageRoot::open(self.server.storage(PREFIX), &self.beside.path().join(name)).unwrap()
    }

    /// What lies in the bucket, as a storage root on disk. A bucket has no empty directories.
    fn mirror(&self) -> PathBuf {
        let objects = self.server.objects(PREFIX);
        prune(&objects);
        objects
    }

    fn assert_flawless(&self) {
        let report = validate_root(self.root.storage(), &ValidateOptions::default()).unwrap();
        assert!(report.problems.is_empty(), "{:#?}", report.problems);
        let mirror = self.mirror();
        let mut judged: Vec<PathBuf> = self.root.objects().map(|path| mirror.join(path.unwrap())).collect();
        judged.push(mirror.clone());
        let layout = std::fs::read(mirror.join("ocfl_layout.json")).unwrap();
        // The judge refuses roots that name a layout it does not know, and judges them without.
        std::fs::remove_file(mirror.join("ocfl_layout.json")).unwrap();
        peers::ocfl_validate(&judged, &[]);
        std::fs::write(mirror.join("ocfl_layout.json"), layout).unwrap();
    }
}

fn prune(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            prune(&path);
            // Fails when something is left in it.
            let _ = std::fs::remove_dir(&path);
        }
    }
}

fn record() -> VersionRecord {
    let user = Some(dipper_archive::ocfl::User { name: "Test".to_owned(), address: Some("urn:test".to_owned()) });
    VersionRecord { created: "2026-01-31T08:00:00Z".to_owned(), message: Some("m".to_owned()), user }
}

fn put(root: &StorageRoot, id: &str, start: Start, files: &[(&str, &[u8])]) -> Result<Committed, Error> {
    let draft = root.draft(id, &DraftOptions { session: "s", start, fixity: &[Algorithm::Md5] })?;
    for (path, mut bytes) in files.iter().copied() {
        draft.add(path, &mut bytes, &Expected::default(), "")?;
    }
    draft.commit(record())
}

#[test]
fn what_is_written_to_a_bucket_is_valid_for_others() {
    let archive = Archive::new();
    let large = vec![3; 6 << 20];
    put(
        &archive.root,
        "urn:many",
        Start::Empty,
        &[("a file", b"1"), ("same", b"1"), ("empty", b""), ("large", &large)],
    )
    .unwrap();
    let second = put(&archive.root, "urn:many", Start::Head, &[("added/å", b"2"), ("again", b"1")]).unwrap();
    assert_eq!((second.new_files, second.files), (1, 6));
    put(&archive.root, "urn:none", Start::Empty, &[]).unwrap();
    put(&archive.root, "urn:gone", Start::Empty, &[("x", b"x")]).unwrap();
    archive.root.remove("urn:gone").unwrap();
    for number in 0..12 {
        put(&archive.root, "urn:versions", Start::Empty, &[("file", format!("{number}").as_bytes())]).unwrap();
    }
    assert_eq!(archive.root.objects().count(), 3);
    assert!(matches!(archive.root.object("urn:gone"), Err(Error::NoSuchObject { .. })));
    archive.assert_flawless();
}

#[test]
fn only_what_is_new_is_uploaded() {
    let archive = Archive::new();
    let (one, two) = (vec![1; 100_000], vec![2; 100_000]);
    put(&archive.root, "urn:a", Start::Empty, &[("one", &one), ("two", &two)]).unwrap();
    archive.server.forget_requests();
    put(&archive.root, "urn:a", Start::Empty, &[("moved/one", &one), ("two", &two), ("three", b"3")]).unwrap();
    // The file, the version's inventory and sidecar, the root's inventory and sidecar.
    assert_eq!(archive.server.requests("PUT"), 5);
}

/// How many bytes lie below a directory.
fn bytes_below(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let len = |path: PathBuf| if path.is_dir() { bytes_below(&path) } else { path.metadata().map_or(0, |it| it.len()) };
    // What is removed meanwhile counts for nothing.
    entries.filter_map(|entry| Some(len(entry.ok()?.path()))).sum()
}

/// Bytes without end, and what lies in a directory at most while they are read.
struct Watched<'a> {
    left: u64,
    seed: u8,
    directory: &'a Path,
    most: &'a AtomicU64,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.most.fetch_max(bytes_below(self.directory), Ordering::Relaxed);
        let count = buffer.len().min(usize::try_from(self.left).unwrap());
        for (index, byte) in buffer[..count].iter_mut().enumerate() {
            *byte = (index % 251) as u8 ^ self.seed;
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[test]
fn a_local_disk_never_holds_more_than_a_bounded_part() {
    const LONG: u64 = 64 << 20;
    const PART: u64 = 5 << 20;
    let archive = Archive::new();
    let staging = archive.beside.path().join("staging");
    let most = AtomicU64::new(0);
    let options = DraftOptions { session: "s", start: Start::Empty, fixity: &[] };
    let draft = archive.root.draft("urn:a", &options).unwrap();
    let watched = |left, seed| Watched { left, seed, directory: &staging, most: &most };
    // Its length is told, or not; and many that are no longer than a part.
    let told = Expected { len: Some(LONG), ..Expected::default() };
    draft.add("told", &mut watched(LONG, 1), &told, "").unwrap();
    assert!(most.swap(0, Ordering::Relaxed) < PART / 4, "{most:?}");
    draft.add("untold", &mut watched(LONG, 2), &Expected::default(), "").unwrap();
    assert!(most.load(Ordering::Relaxed) <= PART + (1 << 20), "{most:?}");
    for number in 0..32 {
        draft.add(&format!("short/{number}"), &mut watched(PART, 10 + number), &Expected::default(), "").unwrap();
    }
    let bound = (64 << 20) + PART + (1 << 20);
    assert!((16 << 20..bound).contains(&most.load(Ordering::Relaxed)), "{most:?}");
    // What is wrong never appears.
    draft.checkpoint().unwrap();
    let objects = archive.server.objects(PREFIX);
    let before = bytes_below(&objects);
    let wrong = [(Algorithm::Md5, "00".repeat(16).parse().unwrap())];
    let wrong = Expected { len: None, digests: &wrong };
    assert!(matches!(draft.add("wrong", &mut watched(LONG, 3), &wrong, ""), Err(Error::Altered { .. })));
    draft.add("same", &mut watched(LONG, 1), &Expected::default(), "").unwrap();
    assert_eq!((bytes_below(&objects), archive.server.server.unfinished()), (before, 0));
    let committed = draft.commit(record()).unwrap();
    assert_eq!((committed.files, committed.new_bytes), (35, 2 * LONG + 32 * PART));
    archive.assert_flawless();
}

#[test]
fn what_is_in_the_bucket_already_is_not_brought_there_again() {
    const LONG: u64 = 12 << 20;
    let archive = Archive::new();
    let options = DraftOptions { session: "s", start: Start::Empty, fixity: &[] };
    let any = Expected::default();
    let draft = archive.root.draft("urn:a", &options).unwrap();
    draft.add("long", &mut io::repeat(1).take(LONG), &any, "stamp").unwrap();
    draft.add("small", &mut &b"small"[..], &any, "stamp").unwrap();
    draft.checkpoint().unwrap();
    draft.add("late", &mut io::repeat(2).take(LONG), &any, "stamp").unwrap();
    draft.add("later", &mut &b"later"[..], &any, "stamp").unwrap();
    // The process dies with a line that is not written, and a file that is not brought there yet.
    drop(draft);
    archive.server.forget_requests();
    let draft = archive.root.draft("urn:a", &options).unwrap();
    for (path, is_there) in [("long", true), ("small", true), ("late", false), ("later", false)] {
        assert_eq!(draft.take_staged(path, "stamp").unwrap().is_some(), is_there, "{path}");
    }
    assert_eq!(archive.server.requests("PUT"), 0);
    draft.add("late", &mut io::repeat(3).take(LONG), &any, "stamp").unwrap();
    let committed = draft.commit(record()).unwrap();
    assert_eq!((committed.new_files, committed.new_bytes), (3, 2 * LONG + 5));
    let stored = committed.inventory.manifest().map(|(_, path)| path.to_owned()).collect::<Vec<_>>();
    assert!(stored.iter().all(|path| path.starts_with("v1/content/d-")), "{stored:?}");
    archive.assert_flawless();

    // What somebody took away meanwhile is brought there again.
    let draft = archive.root.draft("urn:a", &options).unwrap();
    draft.add("new", &mut &b"new"[..], &any, "stamp").unwrap();
    draft.checkpoint().unwrap();
    drop(draft);
    let next = format!("{}/v2", committed.path);
    archive.machine("other").storage().remove(&next).unwrap();
    let draft = archive.root.draft("urn:a", &options).unwrap();
    assert!(draft.take_staged("new", "stamp").unwrap().is_none());
    draft.add("new", &mut &b"new"[..], &any, "stamp").unwrap();
    draft.checkpoint().unwrap();
    archive.machine("other").storage().remove(&next).unwrap();
    assert!(matches!(draft.commit(record()), Err(Error::Io { .. })), "a version without its bytes");
    archive.assert_flawless();
}

#[test]
fn of_writers_that_share_nothing_but_the_bucket_one_wins_each_version() {
    let archive = Archive::new();
    const WRITERS: usize = 4;
    const EACH: usize = 4;
    let machines: Vec<StorageRoot> = (0..WRITERS).map(|number| archive.machine(&format!("machine {number}"))).collect();
    let moved = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for (writer, root) in machines.iter().enumerate() {
            let moved = &moved;
            scope.spawn(move || {
                for number in 0..EACH {
                    let name = format!("{writer}-{number}");
                    let files = [(name.as_str(), name.as_bytes()), ("shared", name.as_bytes())];
                    loop {
                        match put_over(root, &files) {
                            Ok(_) => break,
                            Err(Error::HeadMoved { .. }) => {
                                moved.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
    });
    let object = archive.root.object("urn:a").unwrap();
    let inventory = object.inventory();
    assert_eq!(inventory.head().number() as usize, WRITERS * EACH);
    // Each version follows the one before, so the last has every writer's files.
    let names: Vec<&str> = inventory.files(inventory.head().number()).map(|file| file.logical_path).collect();
    assert_eq!(names.len(), WRITERS * EACH + 1);
    for number in 1..=inventory.head().number() {
        for file in inventory.files(number) {
            let mut text = Vec::new();
            object.copy_verified(&file, &mut text).unwrap();
            assert!(file.logical_path == "shared" || text == file.logical_path.as_bytes());
        }
    }
    archive.assert_flawless();
    println!("{} of {} commits came too late once", moved.into_inner(), WRITERS * EACH);
}

/// Adds files over those of the newest version; a file that is there is replaced.
fn put_over(root: &StorageRoot, files: &[(&str, &[u8])]) -> Result<Committed, Error> {
    let draft = root.draft("urn:a", &DraftOptions { session: "s", start: Start::Head, fixity: &[] })?;
    for (path, mut bytes) in files.iter().copied() {
        draft.remove(path);
        draft.add(path, &mut bytes, &Expected::default(), "")?;
    }
    draft.commit(record())
}

#[test]
fn roots_that_others_made_are_adopted() {
    let archive = Archive::new();
    let (id, path) = ("urn:theirs", "some/where/theirs");
    let source = archive.beside.path().join("source");
    std::fs::create_dir_all(source.join("sub dir")).unwrap();
    std::fs::write(source.join("a.txt"), "a").unwrap();
    std::fs::write(source.join("sub dir/å.txt"), "b").unwrap();
    let bucket = archive.server.objects("adopted");
    std::fs::create_dir_all(bucket.join("some/where")).unwrap();
    let made = std::process::Command::new(peers::tool("ocfl-object.py"))
        .args(["create", "--id", id, "--spec-version", "1.0", "--digest", "sha512", "--message", "first"])
        .args(["--name", "somebody", "--address", "mailto:somebody@example.org", "--srcdir"])
        .arg(&source)
        .arg("--objdir")
        .arg(bucket.join(path))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", peers::told(&made));
    std::fs::write(bucket.join("0=ocfl_1.0"), "ocfl_1.0\n").unwrap();
    let root = StorageRoot::open(archive.server.storage("adopted"), &archive.beside.path().join("s2")).unwrap();
    assert_eq!(root.objects().map(Result::unwrap).collect::<Vec<_>>(), [path]);
    put(&root, id, Start::Head, &[("ours", b"by us")]).unwrap();
    let report = validate_root(root.storage(), &ValidateOptions::default()).unwrap();
    assert!(report.is_valid(), "{:#?}", report.problems);
    peers::ocfl_validate(&[bucket.join(path)], &[]);
}

#[test]
fn damage_in_a_bucket_is_found() {
    type Harm = fn(&Path);
    let table: [(&str, Harm, &str); 5] = [
        ("a flipped byte", |object| std::fs::write(content(object, "a"), "X").unwrap(), "E092"),
        ("a missing file", |object| std::fs::remove_file(content(object, "a")).unwrap(), "E092"),
        ("a lost inventory", |object| std::fs::remove_file(object.join("inventory.json")).unwrap(), "E063"),
        ("a lost sidecar", |object| std::fs::remove_file(object.join("inventory.json.sha512")).unwrap(), "E058"),
        ("a stranger", |object| std::fs::write(object.join("v1/content/stranger"), "x").unwrap(), "E023"),
    ];
    for (what, harm, code) in table {
        let archive = Archive::new();
        put(&archive.root, "urn:a", Start::Empty, &[("a", b"a")]).unwrap();
        let second = put(&archive.root, "urn:a", Start::Head, &[("b", b"b")]).unwrap();
        harm(&archive.server.objects(PREFIX).join(&second.path));
        let report = validate_root(archive.root.storage(), &ValidateOptions::default()).unwrap();
        let codes: Vec<String> = report.problems.iter().map(|problem| problem.code.to_string()).collect();
        assert!(codes.iter().any(|found| found == code), "{what}: {codes:?}");
    }
}

/// The content file of version 1 with that name.
fn content(object: &Path, name: &str) -> PathBuf {
    let upload = std::fs::read_dir(object.join("v1/content")).unwrap().next().unwrap().unwrap();
    upload.path().join(name)
}

#[test]
fn what_is_in_an_archive_class_is_not_damaged() {
    let archive = Archive::new();
    let one = put(&archive.root, "urn:a", Start::Empty, &[("a", b"a"), ("b", b"b")]).unwrap();
    put(&archive.root, "urn:b", Start::Empty, &[("a", b"warm")]).unwrap();
    let storage = archive.root.storage();
    let frozen = archive.server.freeze(&format!("{PREFIX}/{}/v1/content/", one.path), "GLACIER");
    assert_eq!(frozen, 2);
    let availability = |wanted: &dyn Fn(&str) -> bool| storage.availability(&one.path, wanted).unwrap();
    archive.server.forget_requests();
    let cold = availability(&|_| true);
    assert_eq!(cold.len(), 2);
    assert!(cold.iter().all(|(_, found)| *found == Availability::Archived { class: "GLACIER".to_owned() }), "{cold:?}");
    assert_eq!((archive.server.requests("LIST"), archive.server.requests("HEAD")), (1, 2));
    assert_eq!(availability(&|path| path.ends_with("/a")).len(), 1);

    let report = validate_root(storage, &ValidateOptions::default()).unwrap();
    assert!(report.is_valid(), "{:#?}", report.problems);
    assert_eq!(report.archived_files, 2);
    let path = format!("{}/{}", one.path, cold[0].0);
    assert!(is_archived(&storage.read(&path, 100).unwrap_err()));

    // Asked for, asked for again, faster, and slower.
    assert_eq!(storage.recall(&path, Tier::Bulk, 2).unwrap(), Recall::Begun);
    assert_eq!(storage.recall(&path, Tier::Bulk, 2).unwrap(), Recall::UnderWay);
    assert_eq!(storage.recall(&path, Tier::Expedited, 2).unwrap(), Recall::Begun);
    assert_eq!(storage.recall(&path, Tier::Standard, 2).unwrap(), Recall::UnderWay);
    let now = availability(&|path| path == cold[0].0);
    assert_eq!(now, [(cold[0].0.clone(), Availability::Recalling { class: "GLACIER".to_owned() })]);
    assert!(is_archived(&storage.read(&path, 100).unwrap_err()));

    archive.server.finish_recalls();
    assert_eq!(storage.read(&path, 100).unwrap().len(), 1);
    assert_eq!(storage.recall(&path, Tier::Bulk, 9).unwrap(), Recall::Readable);
    let now = availability(&|path| path == cold[0].0);
    assert!(
        matches!(&now[0].1, Availability::Recalled { until: Some(until), .. } if *until > std::time::SystemTime::now())
    );
    assert_eq!(validate_root(storage, &ValidateOptions::default()).unwrap().archived_files, 1);

    archive.server.expire_recalls();
    assert!(is_archived(&storage.read(&path, 100).unwrap_err()));
    assert!(storage.recall("nothing", Tier::Bulk, 1).is_err());
}

#[test]
fn an_object_whose_inventory_is_cold_is_not_checked_and_not_damaged() {
    let archive = Archive::new();
    let one = put(&archive.root, "urn:a", Start::Empty, &[("a", b"a")]).unwrap();
    archive.server.freeze(&format!("{PREFIX}/{}", one.path), "DEEP_ARCHIVE");
    let report = validate_root(archive.root.storage(), &ValidateOptions::default()).unwrap();
    assert!(report.is_valid() && report.archived_files > 0, "{:#?}", report.problems);
    let error = archive.root.object("urn:a").unwrap_err();
    assert!(matches!(&error, Error::Io { source, .. } if is_archived(source)), "{error}");
    // There is no expedited tier for this class.
    let path = format!("{}/inventory.json", one.path);
    assert_eq!(archive.root.storage().recall(&path, Tier::Expedited, 1).unwrap(), Recall::Begun);
    assert_eq!(archive.server.recalls()[0].1, "Standard");
}

#[test]
fn many_small_files_do_not_wait_for_one_another() {
    const FILES: usize = 200;
    let archive = Archive::new();
    let names: Vec<String> = (0..FILES).map(|number| format!("f{number}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    put(&archive.root, "urn:a", Start::Empty, &files).unwrap();
    archive.server.delay(Duration::from_millis(20));
    archive.server.forget_requests();
    let object = archive.root.object("urn:a").unwrap();
    let (lengths, inventory) = (object.lengths().unwrap(), object.inventory());
    let contents: Vec<Content> = inventory
        .files(1)
        .map(|file| Content {
            logical_path: file.logical_path.to_owned(),
            size: lengths.of(file.content_path).unwrap(),
            digest: *file.digest,
            algorithm: inventory.algorithm(),
            location: format!("{}/{}", object.path(), file.content_path),
        })
        .collect();
    assert_eq!(archive.server.requests("HEAD"), 0);
    let layout =
        Arc::new(dipper_archive::package::Layout::new("package", Form::Plain, contents, 1_700_000_000).unwrap());
    let storage = archive.root.storage();
    let options = Options::new(Algorithm::Md5);
    let prepared = prepare(&layout, storage.as_ref(), &options, Control::default(), None).unwrap();
    assert!(archive.server.most_waiting() > 2, "they are read one after the other");

    let checkpoints = Arc::new(prepared.checkpoints);
    let len = checkpoints.len();
    let mut reader =
        dipper_archive::package::VerifiedReader::new(layout, Arc::clone(storage), checkpoints, 0..len).unwrap();
    let mut read = 0;
    while let Some(chunk) = reader.next_chunk().unwrap() {
        read += chunk.len() as u64;
    }
    assert_eq!(read, len);
    assert!(archive.server.most_waiting() > 2, "they are read one after the other");
}

#[test]
fn a_server_without_conditions_is_noticed() {
    let archive = Archive::new();
    let keeps = |settings: BucketSettings| BucketStorage::new(archive.server.server.open(settings)).keeps_conditions();
    assert!(keeps(archive.server.settings("p")).unwrap());
    let told = dipper_archive::bucket::ConditionalPut::No;
    assert!(!keeps(BucketSettings { conditional_put: told, ..archive.server.settings("p") }).unwrap());
    assert!(std::fs::read_dir(archive.server.objects("p")).unwrap().next().is_none());
}
