//! Writing objects: versions, deduplication, drafts that go on where they stopped, locks, removal.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dipper_archive::digest::{Algorithm, Digest};
use dipper_archive::ocfl::{
    Announced, Committed, Draft, DraftOptions, Error, Expected, Layout, Position, Source, Start, StorageRoot, User,
    VersionRecord,
};
use dipper_archive::storage::LocalStorage;
use tempfile::TempDir;

pub(crate) struct Archive {
    pub(crate) directory: TempDir,
    pub(crate) root: StorageRoot,
}

impl Archive {
    pub(crate) fn new(layout: Layout) -> Archive {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("root")).unwrap();
        let storage = LocalStorage::open(&directory.path().join("root")).unwrap();
        let root = StorageRoot::create(Arc::new(storage), &directory.path().join("staging"), layout).unwrap();
        Archive { directory, root }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("root")
    }

    pub(crate) fn put(&self, id: &str, files: &[(&str, &[u8])]) -> Committed {
        let draft = self.root.draft(id, &options("put")).unwrap();
        for (path, bytes) in files {
            add(&draft, path, bytes).unwrap();
        }
        draft.commit(record()).unwrap()
    }
}

pub(crate) fn options(session: &str) -> DraftOptions<'_> {
    DraftOptions { session, start: Start::Empty, fixity: &[Algorithm::Md5, Algorithm::Sha256] }
}

pub(crate) fn record() -> VersionRecord {
    VersionRecord {
        created: "2026-01-31T08:00:00Z".to_owned(),
        message: Some("deposit".to_owned()),
        user: Some(User { name: "Dipper".to_owned(), address: Some("mailto:dipper@example.org".to_owned()) }),
    }
}

pub(crate) fn add(draft: &Draft<'_>, path: &str, mut bytes: &[u8]) -> Result<(), Error> {
    draft.add(path, &mut bytes, &Expected::default(), "stamp").map(|_| ())
}

fn read(root: &StorageRoot, id: &str, version: u32, path: &str) -> Vec<u8> {
    let object = root.object(id).unwrap();
    let inventory = object.inventory_of(version).unwrap();
    let mut bytes = Vec::new();
    object.copy_verified(&inventory.file(version, path).unwrap(), &mut bytes).unwrap();
    bytes
}

/// The files under a directory, relative to it.
pub(crate) fn tree(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn versions_are_read_back_and_equal_bytes_are_stored_once() {
    let archive = Archive::new(Layout::default());
    let first = archive.put("urn:a", &[("one", b"1"), ("copy of one", b"1"), ("dir/empty", b"")]);
    assert_eq!((first.files, first.bytes, first.new_files, first.new_bytes), (3, 2, 2, 1));
    let second = archive.put("urn:a", &[("renamed", b"1"), ("dir/new", b"new")]);
    assert_eq!((second.files, second.bytes, second.new_files, second.new_bytes), (2, 4, 1, 3));
    assert_eq!(second.version.to_string(), "v2");
    assert_eq!(read(&archive.root, "urn:a", 1, "copy of one"), b"1");
    assert_eq!(read(&archive.root, "urn:a", 1, "dir/empty"), b"");
    assert_eq!(read(&archive.root, "urn:a", 2, "renamed"), b"1");
    assert_eq!(read(&archive.root, "urn:a", 2, "dir/new"), b"new");
    let object = archive.root.object("urn:a").unwrap();
    assert_eq!(object.inventory_digest(), &second.inventory_digest);
    assert!(object.inventory().file(2, "one").is_none());
    let file = object.inventory().file(2, "dir/new").unwrap();
    let md5 = object.inventory().fixity_of(Algorithm::Md5, file.content_path).unwrap();
    assert_eq!(md5.to_string(), "22af645d1859cb5ca6da0c484f1f37ea");
    assert!(tree(archive.root.staging()).is_empty(), "{:?}", tree(archive.root.staging()));
}

#[test]
fn a_version_can_be_made_from_the_one_before() {
    let archive = Archive::new(Layout::default());
    archive.put("urn:a", &[("keep", b"keep"), ("change", b"old"), ("drop", b"drop")]);
    let from_head = DraftOptions { start: Start::Head, ..options("edit") };
    let draft = archive.root.draft("urn:a", &from_head).unwrap();
    assert!(draft.remove("drop"));
    assert!(!draft.remove("drop"));
    add(&draft, "change", b"new").unwrap();
    add(&draft, "drop/now a directory", b"x").unwrap();
    let committed = draft.commit(record()).unwrap();
    let paths: Vec<_> = committed.inventory.files(2).map(|file| file.logical_path).collect();
    assert_eq!(paths, ["change", "drop/now a directory", "keep"]);
    assert_eq!((committed.files, committed.bytes, committed.new_files), (3, 8, 2));
    assert_eq!(read(&archive.root, "urn:a", 2, "change"), b"new");
    assert_eq!(read(&archive.root, "urn:a", 1, "change"), b"old");
}

#[test]
fn unacceptable_paths_and_conflicts_are_refused() {
    let archive = Archive::new(Layout::default());
    let draft = archive.root.draft("urn:a", &options("s")).unwrap();
    add(&draft, "a/b", b"1").unwrap();
    for path in ["", "/x", "x/", "x//y", "../x", "a/./b", "x\0", "x\ny", "a", "a/b", "a/b/c"] {
        assert!(matches!(add(&draft, path, b"2"), Err(Error::LogicalPath { .. })), "{path:?}");
    }
    add(&draft, "a/c", b"2").unwrap();
    assert_eq!(draft.commit(record()).unwrap().files, 2);
}

#[test]
fn odd_names_keep_their_bytes() {
    let archive = Archive::new(Layout::default());
    let long = format!("{}/{}", "l".repeat(300), "å".repeat(200));
    let deep = "deep/".repeat(300) + "file";
    let names = ["with space", "å.txt", "a\u{30a}.txt", "100%", "%2e%2e", "long-names", &long, &deep, "emoji 🐦"];
    let files: Vec<_> = names.iter().map(|name| (*name, name.as_bytes())).collect();
    archive.put("urn:a", &files);
    for name in names {
        assert_eq!(read(&archive.root, "urn:a", 1, name), name.as_bytes());
    }
}

#[test]
fn expectations_are_checked_and_a_wrong_file_leaves_nothing() {
    let archive = Archive::new(Layout::default());
    let draft = archive.root.draft("urn:a", &options("s")).unwrap();
    let wrong: Digest = "00".repeat(16).parse().unwrap();
    let expected = Expected { len: None, digests: &[(Algorithm::Md5, wrong)] };
    assert!(matches!(draft.add("a", &mut &b"x"[..], &expected, ""), Err(Error::Altered { .. })));
    let expected = Expected { len: Some(2), digests: &[] };
    assert!(matches!(draft.add("a", &mut &b"x"[..], &expected, ""), Err(Error::Length { expected: 2, found: 1, .. })));
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    assert!(matches!(draft.add("a", &mut Broken, &Expected::default(), ""), Err(Error::Io { .. })));
    let right: Digest = "9dd4e461268c8034f5c8564e155c67a6".parse().unwrap();
    let expected = Expected { len: Some(1), digests: &[(Algorithm::Md5, right)] };
    draft.add("b", &mut &b"x"[..], &expected, "").unwrap();
    let committed = draft.commit(record()).unwrap();
    assert_eq!(committed.files, 1);
    let object = archive.path().join(&committed.path);
    assert!(tree(&object).iter().all(|path| !path.ends_with("/a")));
}

#[test]
fn an_interrupted_draft_goes_on_where_it_stopped() {
    let archive = Archive::new(Layout::default());
    let big = vec![7; 1 << 20];
    let draft = archive.root.draft("urn:a", &options("order 1")).unwrap();
    // More than a batch of bytes, so that the journal is written, and then one more that is not.
    for number in 0_u8..65 {
        let mut bytes = big.clone();
        bytes[0] = number;
        add(&draft, &format!("big/{number}"), &bytes).unwrap();
    }
    drop(draft);
    let draft = archive.root.draft("urn:a", &options("order 1")).unwrap();
    assert!(draft.is_empty());
    let staged: Vec<_> =
        (0..65).filter(|number| draft.take_staged(&format!("big/{number}"), "stamp").unwrap().is_some()).collect();
    assert_eq!(staged, (0..64).collect::<Vec<_>>());
    assert!(draft.take_staged("big/0", "another stamp").unwrap().is_none());
    draft.remove("big/3");
    let committed = draft.commit(record()).unwrap();
    assert_eq!((committed.files, committed.new_bytes), (63, 63 << 20));
    assert_eq!(read(&archive.root, "urn:a", 1, "big/9")[0], 9);
    assert!(!archive.path().join(&committed.path).join("v1/content/big/3").exists());
    assert!(!archive.path().join(&committed.path).join("v1/content/big/64").exists());
}

/// Bytes that break off, and go on where they were as long as the tag is theirs.
struct Cut {
    bytes: Vec<u8>,
    tag: &'static str,
    position: usize,
    /// Where it breaks off.
    end: usize,
    asked: Vec<String>,
    passed: u64,
}

impl Cut {
    fn new(bytes: &[u8], tag: &'static str, end: usize) -> Cut {
        Cut { bytes: bytes.to_owned(), tag, position: 0, end, asked: Vec::new(), passed: 0 }
    }
}

impl Read for Cut {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.bytes[self.position..];
        if self.position >= self.end && !rest.is_empty() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let count = buffer.len().min(rest.len()).min(self.end - self.position);
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count;
        Ok(count)
    }
}

impl Source for Cut {
    fn begin(&mut self, position: Position<'_>) -> io::Result<Option<Announced>> {
        self.asked.push(format!("{position:?}"));
        self.position = match position {
            Position::Start => 0,
            Position::Behind(len, tag) if tag == self.tag => len as usize,
            Position::Behind(..) => return Ok(None),
        };
        Ok(Some(Announced { len: None, tag: Some(self.tag.to_owned()) }))
    }

    fn passed(&mut self, bytes: u64) -> io::Result<()> {
        self.passed += bytes;
        Ok(())
    }
}

#[test]
fn a_long_file_that_was_cut_off_goes_on_where_it_was() {
    const MIB: usize = 1 << 20;
    let bytes: Vec<u8> = (0..24 * MIB).map(|index| (index % 253) as u8).collect();
    let digest = {
        let mut hasher = dipper_archive::digest::Hasher::new(Algorithm::Md5);
        hasher.update(&bytes);
        hasher.finish()
    };
    let digests = [(Algorithm::Md5, digest)];
    let expected = Expected { len: Some(bytes.len() as u64), digests: &digests };
    for restarts in [false, true] {
        let archive = Archive::new(Layout::default());
        let draft = archive.root.draft("urn:a", &options("s")).unwrap();
        draft.add_from("short", &mut Cut::new(&bytes, "t", MIB), &expected, "stamp").unwrap_err();
        let mut cut = Cut::new(&bytes, "t", 17 * MIB + 5);
        draft.add_from("long", &mut cut, &expected, "stamp").unwrap_err();
        assert_eq!(cut.asked, ["Start"]);
        let draft = if restarts {
            drop(draft);
            archive.root.draft("urn:a", &options("s")).unwrap()
        } else {
            draft
        };
        let mut short = Cut::new(&bytes, "t", bytes.len());
        draft.add_from("short", &mut short, &expected, "stamp").unwrap();
        assert_eq!(short.asked, ["Start"], "too little to be kept");
        draft.remove("short");
        // A second cut, and the rest. What is written last of a block may be missing.
        let mut cut = Cut::new(&bytes, "t", 20 * MIB);
        draft.add_from("long", &mut cut, &expected, "stamp").unwrap_err();
        assert!(cut.asked[0].starts_with("Behind(1") && cut.passed >= 16 * MIB as u64, "{:?}", cut.asked);
        let mut rest = Cut::new(&bytes, "t", bytes.len());
        let added = draft.add_from("long", &mut rest, &expected, "stamp").unwrap();
        assert!((rest.asked.len(), rest.passed >= 19 * MIB as u64) == (1, true), "{:?}", rest.asked);
        assert_eq!((added.len, added.digests.contains(&digests[0])), (bytes.len() as u64, true));
        draft.commit(record()).unwrap();
        assert!(read(&archive.root, "urn:a", 1, "long") == bytes);
        let left = tree(&archive.path()).into_iter().filter(|path| path.contains("/content/")).count();
        assert_eq!((left, tree(archive.root.staging()).len()), (1, 0));
    }
}

#[test]
fn a_file_that_has_changed_since_it_was_cut_off_begins_anew() {
    const LEN: usize = 20 << 20;
    let (old, new) = (vec![1; LEN], vec![2; LEN]);
    let archive = Archive::new(Layout::default());
    let draft = archive.root.draft("urn:a", &options("s")).unwrap();
    let cut = |path: &str| {
        let any = Expected::default();
        draft.add_from(path, &mut Cut::new(&old, "old", 12 << 20), &any, "stamp").unwrap_err();
    };
    // It says so itself.
    cut("tagged");
    let mut source = Cut::new(&new, "new", LEN);
    draft.add_from("tagged", &mut source, &Expected::default(), "stamp").unwrap();
    assert_eq!((source.asked.len(), source.asked[1].as_str()), (2, "Start"));
    // The caller says so.
    cut("stamped");
    let mut source = Cut::new(&new, "old", LEN);
    draft.add_from("stamped", &mut source, &Expected::default(), "another stamp").unwrap();
    assert_eq!(source.asked, ["Start"]);
    // Its digest says so, and what is wrong is not gone on with.
    cut("altered");
    let mut hasher = dipper_archive::digest::Hasher::new(Algorithm::Md5);
    hasher.update(&new);
    let digests = [(Algorithm::Md5, hasher.finish())];
    let expected = Expected { len: None, digests: &digests };
    let altered = draft.add_from("altered", &mut Cut::new(&new, "old", LEN), &expected, "stamp");
    assert!(matches!(altered, Err(Error::Altered { .. })), "{altered:?}");
    let mut source = Cut::new(&new, "old", LEN);
    draft.add_from("altered", &mut source, &expected, "stamp").unwrap();
    assert_eq!(source.asked, ["Start"]);
    let committed = draft.commit(record()).unwrap();
    assert_eq!((committed.files, committed.new_files), (3, 1));
    assert!(read(&archive.root, "urn:a", 1, "altered") == new);
}

#[test]
fn a_draft_of_an_object_that_changed_begins_anew() {
    let archive = Archive::new(Layout::default());
    let draft = archive.root.draft("urn:a", &options("slow")).unwrap();
    for number in 0..1000 {
        add(&draft, &format!("{number}"), format!("{number}").as_bytes()).unwrap();
    }
    drop(draft);
    archive.put("urn:a", &[("other", b"other")]);
    let draft = archive.root.draft("urn:a", &options("slow")).unwrap();
    assert_eq!(draft.version().to_string(), "v2");
    assert!(draft.take_staged("1", "stamp").unwrap().is_none());
}

#[test]
fn one_writer_at_a_time_and_another_staging_directory_is_no_way_around() {
    let archive = Archive::new(Layout::default());
    archive.put("urn:a", &[("a", b"a")]);
    let draft = archive.root.draft("urn:a", &options("one")).unwrap();
    assert!(matches!(archive.root.draft("urn:a", &options("two")), Err(Error::Locked { .. })));
    assert!(matches!(archive.root.remove("urn:a"), Err(Error::Locked { .. })));
    let other =
        StorageRoot::open(Arc::clone(archive.root.storage()), &archive.directory.path().join("other staging")).unwrap();
    let theirs = other.draft("urn:a", &options("theirs")).unwrap();
    add(&theirs, "b", b"b").unwrap();
    theirs.commit(record()).unwrap();
    add(&draft, "c", b"c").unwrap();
    assert!(matches!(draft.commit(record()), Err(Error::HeadMoved { .. })));
    assert_eq!(read(&archive.root, "urn:a", 2, "b"), b"b");
    assert!(archive.root.recover(None).unwrap().is_empty());
    assert_eq!(archive.put("urn:a", &[("d", b"d")]).version.to_string(), "v3");
}

#[test]
fn two_first_versions_of_one_object_do_not_meet() {
    let archive = Archive::new(Layout::default());
    let other = StorageRoot::open(Arc::clone(archive.root.storage()), &archive.directory.path().join("other")).unwrap();
    let ours = archive.root.draft("urn:new", &options("s")).unwrap();
    let theirs = other.draft("urn:new", &options("s")).unwrap();
    add(&ours, "a", b"ours").unwrap();
    add(&theirs, "a", b"theirs").unwrap();
    theirs.commit(record()).unwrap();
    assert!(matches!(ours.commit(record()), Err(Error::HeadMoved { .. })));
    assert_eq!(read(&archive.root, "urn:new", 1, "a"), b"theirs");
}

#[test]
fn a_removed_object_leaves_nothing_behind() {
    let archive = Archive::new(Layout::default());
    let before = tree(&archive.path());
    archive.put("urn:a", &[("a", b"a")]);
    archive.put("urn:b", &[("b", b"b")]);
    archive.root.remove("urn:a").unwrap();
    assert!(matches!(archive.root.object("urn:a"), Err(Error::NoSuchObject { .. })));
    assert!(matches!(archive.root.remove("urn:a"), Err(Error::NoSuchObject { .. })));
    assert_eq!(read(&archive.root, "urn:b", 1, "b"), b"b");
    archive.root.remove("urn:b").unwrap();
    assert_eq!(tree(&archive.path()), before);
    assert_eq!(std::fs::read_dir(archive.path()).unwrap().count(), 3, "empty directories stayed");
    assert!(tree(archive.root.staging()).is_empty());
}

#[test]
fn altered_bytes_are_never_handed_out_whole() {
    let archive = Archive::new(Layout::default());
    for len in [1_usize, 1000, 128 * 1024, 128 * 1024 + 1, 1 << 20] {
        let id = format!("urn:{len}");
        let committed = archive.put(&id, &[("a", &vec![1; len])]);
        let content = archive.path().join(&committed.path).join("v1/content/a");
        let object = archive.root.object(&id).unwrap();
        let copy = || {
            let mut bytes = Vec::new();
            let copied = object.copy_verified(&object.inventory().file(1, "a").unwrap(), &mut bytes);
            (copied.map_err(|error| error.to_string()), bytes.len())
        };
        assert_eq!(copy(), (Ok(len as u64), len));
        for altered in [vec![2; len], vec![1; len - 1], vec![1; len + 1]] {
            std::fs::write(&content, &altered).unwrap();
            let (copied, given) = copy();
            assert!(copied.is_err_and(|error| error.contains("digest is")), "{len} {}", altered.len());
            assert!(given < altered.len().max(1), "{len}: {given} of {}", altered.len());
        }
    }
}

#[test]
fn a_reader_is_not_fooled_between_root_inventory_and_sidecar() {
    let archive = Archive::new(Layout::default());
    let first = archive.put("urn:a", &[("a", b"1")]);
    let object = archive.path().join(&first.path);
    let old = |name: &str| std::fs::read(object.join("v1").join(name)).unwrap();
    archive.put("urn:a", &[("a", b"2")]);
    let names = ["inventory.json", "inventory.json.sha512"];
    for name in names {
        let new = std::fs::read(object.join(name)).unwrap();
        std::fs::write(object.join(name), old(name)).unwrap();
        let seen = archive.root.object("urn:a").unwrap();
        let expected = if name == "inventory.json" { 1 } else { 2 };
        assert_eq!(seen.inventory().head().number(), expected, "with the old {name}");
        std::fs::write(object.join(name), new).unwrap();
    }
    std::fs::write(object.join("inventory.json"), old("inventory.json").repeat(2)).unwrap();
    assert!(archive.root.object("urn:a").is_err());
}

#[test]
fn old_drafts_are_dropped_and_those_in_use_are_not() {
    let archive = Archive::new(Layout::default());
    drop(archive.root.draft("urn:left", &options("s")).unwrap());
    let draft = archive.root.draft("urn:used", &options("s")).unwrap();
    archive.root.recover(Some(Duration::from_secs(3600))).unwrap();
    assert_eq!(std::fs::read_dir(archive.root.staging().join("drafts")).unwrap().count(), 2);
    archive.root.recover(Some(Duration::ZERO)).unwrap();
    assert_eq!(std::fs::read_dir(archive.root.staging().join("drafts")).unwrap().count(), 1);
    add(&draft, "a", b"a").unwrap();
    draft.commit(record()).unwrap();
}

#[test]
fn files_are_added_from_several_threads() {
    let archive = Archive::new(Layout::default());
    let draft = archive.root.draft("urn:a", &options("s")).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let draft = &draft;
            scope.spawn(move || {
                for number in 0..100 {
                    add(draft, &format!("{thread}/{number}"), format!("{}", number % 50).as_bytes()).unwrap();
                }
            });
        }
    });
    let committed = draft.commit(record()).unwrap();
    assert_eq!((committed.files, committed.new_files), (400, 50));
    assert_eq!(read(&archive.root, "urn:a", 1, "3/77"), b"27");
}
