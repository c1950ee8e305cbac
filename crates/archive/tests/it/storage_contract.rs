//! What every back end of `Storage` promises: one suite, run on each of them.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dipper_archive::bucket::ConditionalPut;
use dipper_archive::storage::{BucketStorage, Condition, EntryKind, LocalFile, LocalStorage, Recall, Storage, Tier};
use tempfile::TempDir;

use crate::glacier::Glacier;

/// A storage, with a local directory beside it, and all that it needs to live.
struct Place {
    storage: Arc<dyn Storage>,
    beside: TempDir,
    _server: Option<Glacier>,
}

impl Place {
    fn local() -> Place {
        let beside = tempfile::tempdir().unwrap();
        std::fs::create_dir(beside.path().join("root")).unwrap();
        let storage = Arc::new(LocalStorage::open(&beside.path().join("root")).unwrap());
        Place { storage, beside, _server: None }
    }

    fn bucket(prefix: &str, conditional_put: ConditionalPut) -> Place {
        let server = Glacier::start();
        let settings = dipper_archive::bucket::BucketSettings { conditional_put, ..server.settings(prefix) };
        let storage = Arc::new(BucketStorage::new(server.server.open(settings)));
        Place { storage, beside: tempfile::tempdir().unwrap(), _server: Some(server) }
    }

    fn put(&self, path: &str, text: &str) {
        self.storage.write(path, text.as_bytes(), Condition::None).unwrap();
    }

    fn text(&self, path: &str) -> Option<String> {
        match self.storage.read(path, 1 << 20) {
            Ok(bytes) => Some(String::from_utf8(bytes).unwrap()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    fn names(&self, directory: &str) -> Vec<(String, bool, u64)> {
        let entries = self.storage.list(directory).unwrap();
        entries.into_iter().map(|entry| (entry.name, entry.kind == EntryKind::Directory, entry.len)).collect()
    }

    fn below(&self, directory: &str) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        self.storage.list_below(directory, &mut |path, len| found.push((path.to_owned(), len))).unwrap();
        found.sort_unstable();
        found
    }

    /// A local directory with files.
    fn staged(&self, files: &[(&str, &[u8])]) -> PathBuf {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        let directory = self.beside.path().join(format!("staged {}", COUNTER.fetch_add(1, Ordering::Relaxed)));
        for (name, bytes) in files {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        directory
    }
}

fn on_every_back_end(test: fn(&Place)) {
    test(&Place::local());
    test(&Place::bucket("an/archive", ConditionalPut::Auto));
    test(&Place::bucket("", ConditionalPut::No));
}

#[test]
fn what_was_written_is_read_whole_and_in_ranges() {
    on_every_back_end(|place| {
        place.put("a/b/c", "0123456789");
        place.put("empty", "");
        let read = |path: &str, range| {
            let mut text = String::new();
            place.storage.open(path, range).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(read("a/b/c", 0..u64::MAX), "0123456789");
        assert_eq!(read("a/b/c", 3..7), "3456");
        assert_eq!(read("a/b/c", 8..100), "89");
        assert_eq!(read("a/b/c", 10..20), "");
        assert_eq!(read("a/b/c", 20..30), "");
        assert_eq!(read("a/b/c", 5..5), "");
        assert_eq!(read("empty", 0..u64::MAX), "");
        assert_eq!(place.storage.read("a/b/c", 10).unwrap(), b"0123456789");
        assert_eq!(place.storage.read("a/b/c", 9).unwrap_err().kind(), ErrorKind::InvalidData);
        place.put("a/b/c", "new");
        assert_eq!(place.text("a/b/c").unwrap(), "new");
        for missing in ["nothing", "a/nothing", "a/b/c/d"] {
            let error = place.storage.read(missing, 1).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory), "{missing}: {error}");
        }
    });
}

#[test]
fn directories_are_listed_in_order_with_lengths() {
    on_every_back_end(|place| {
        for (path, text) in [("d/z", "1"), ("d/a-b", "22"), ("d/a/x", "333"), ("d/a/y/z", ""), ("d/å b+c%20", "4444")]
        {
            place.put(path, text);
        }
        let name = |name: &str, is_directory, len| (name.to_owned(), is_directory, len);
        assert_eq!(place.names(""), [name("d", true, 0)]);
        let expected = [name("a", true, 0), name("a-b", false, 2), name("z", false, 1), name("å b+c%20", false, 4)];
        assert_eq!(place.names("d"), expected);
        assert_eq!(place.storage.list("e").unwrap_err().kind(), ErrorKind::NotFound);
        let found = |path: &str, len| (path.to_owned(), len);
        let all = [found("a-b", 2), found("a/x", 3), found("a/y/z", 0), found("z", 1), found("å b+c%20", 4)];
        assert_eq!(place.below("d"), all);
        assert_eq!(place.below("d/a"), [found("x", 3), found("y/z", 0)]);
        assert!(place.below("nothing").is_empty());
        let kind = |path: &str| place.storage.entry(path).unwrap().map(|entry| (entry.kind, entry.len));
        assert_eq!(kind("d/a-b"), Some((EntryKind::File, 2)));
        assert_eq!(kind("d/a"), Some((EntryKind::Directory, 0)));
        assert_eq!(kind(""), Some((EntryKind::Directory, 0)));
        assert_eq!((kind("d/b"), kind("d/z/z")), (None, None));
    });
}

#[test]
fn long_listings_are_whole() {
    let server = Glacier::start();
    let storage = server.storage("root");
    let directory = server.objects("root/many");
    std::fs::create_dir_all(directory.join("below")).unwrap();
    for index in 0..1200 {
        std::fs::write(directory.join(format!("{index:04}")), "x").unwrap();
        std::fs::write(directory.join(format!("below/{index:04}")), "xy").unwrap();
    }
    assert_eq!(storage.list("many").unwrap().len(), 1201);
    let mut bytes = 0;
    storage.list_below("many", &mut |_, len| bytes += len).unwrap();
    assert_eq!(bytes, 3600);
    storage.remove("many").unwrap();
    assert!(storage.entry("many").unwrap().is_none());
}

#[test]
fn conditions_hold() {
    on_every_back_end(|place| {
        let storage = &place.storage;
        let refused = |written: std::io::Result<()>| assert_eq!(written.unwrap_err().kind(), ErrorKind::AlreadyExists);
        storage.write("x/file", b"one", Condition::Absent).unwrap();
        refused(storage.write("x/file", b"two", Condition::Absent));
        let (bytes, one) = storage.read_revision("x/file", 100).unwrap();
        assert_eq!(bytes, b"one");
        storage.write("x/file", b"two", Condition::Unchanged(&one)).unwrap();
        refused(storage.write("x/file", b"three", Condition::Unchanged(&one)));
        assert_eq!(place.text("x/file").unwrap(), "two");
        let (_, two) = storage.read_revision("x/file", 100).unwrap();
        assert_ne!(one, two);
        storage.remove("x/file").unwrap();
        refused(storage.write("x/file", b"three", Condition::Unchanged(&two)));
        assert_eq!(storage.read_revision("x/file", 100).unwrap_err().kind(), ErrorKind::NotFound);
        storage.write("x/file", b"four", Condition::Absent).unwrap();
        assert_eq!(storage.read_revision("x/file", 3).unwrap_err().kind(), ErrorKind::InvalidData);
    });
}

#[test]
fn of_many_who_write_under_a_condition_one_gets_through() {
    let server = Glacier::start();
    let storage = server.storage("root");
    let race = |round: &str, condition: Condition<'_>| {
        let winners = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let (storage, winners) = (&storage, &winners);
                scope.spawn(move || {
                    let text = format!("{round} {writer}");
                    match storage.write("file", text.as_bytes(), condition) {
                        Ok(()) => {
                            winners.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
                    }
                });
            }
        });
        winners.into_inner()
    };
    assert_eq!(race("first", Condition::Absent), 1);
    let (_, revision) = storage.read_revision("file", 100).unwrap();
    assert_eq!(race("second", Condition::Unchanged(&revision)), 1);
}

#[test]
fn a_directory_is_published_with_all_in_it() {
    let place = Place::local();
    let staged = place.staged(&[("one", b"1"), ("deep/er/two", b"22"), ("empty", b""), ("å b", b"3")]);
    place.storage.publish(&staged, "x/y").unwrap();
    let expected = [("deep/er/two", 2), ("empty", 0), ("one", 1), ("å b", 1)];
    assert_eq!(place.below("x/y"), expected.map(|(path, len)| (path.to_owned(), len)));
    let file = LocalFile { local: place.beside.path().join("f"), path: "f".to_owned(), len: 0 };
    assert_eq!(place.storage.upload(&[file]).unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(place.storage.stream("f", None).is_err());
}

#[test]
fn where_directories_move_they_do_so_as_a_whole() {
    let place = Place::local();
    assert!(place.storage.moves_directories());
    let staged = place.staged(&[("one", b"1")]);
    place.storage.publish(&staged, "x/y").unwrap();
    assert!(!staged.exists());
    let second = place.staged(&[("two", b"2")]);
    assert_eq!(place.storage.publish(&second, "x/y").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(place.below("x/y"), [("one".to_owned(), 1)]);
    let out = place.beside.path().join("out");
    place.storage.withdraw("x/y", &out).unwrap();
    assert!(out.join("one").exists() && place.storage.entry("x").unwrap().is_none());
}

#[test]
fn where_they_do_not_files_are_copied_and_streamed() {
    let server = Glacier::start();
    let (storage, place) = (server.storage("root"), Place::local());
    assert!(!storage.moves_directories());
    let names: Vec<String> = (0..40).map(|index| format!("many/{index}")).collect();
    let mut files: Vec<(&str, &[u8])> = vec![("å b", b"3"), ("empty", b"")];
    files.extend(names.iter().map(|name| (name.as_str(), name.as_bytes())));
    let staged = place.staged(&files);
    let local = |(name, bytes): &(&str, &[u8])| LocalFile {
        local: staged.join(name),
        path: format!("x/{name}"),
        len: bytes.len() as u64,
    };
    let files: Vec<LocalFile> = files.iter().map(local).collect();
    server.die_after(Some(10));
    storage.upload(&files).unwrap_err();
    server.die_after(None);
    storage.upload(&files).unwrap();
    let mut found = std::collections::BTreeMap::new();
    let take = &mut |path: &str, len| {
        found.insert(format!("x/{path}"), len);
    };
    storage.list_below("x", take).unwrap();
    assert_eq!(found, files.into_iter().map(|file| (file.path, file.len)).collect());

    let bytes: Vec<u8> = (0..12_000_000_u32).map(|number| (number % 251) as u8).collect();
    for (name, len) in [("told", Some(bytes.len() as u64)), ("untold", None), ("little", None)] {
        let bytes = if name == "little" { &bytes[..10] } else { &bytes };
        let mut stream = storage.stream(name, len).unwrap();
        bytes.chunks(1_000_003).for_each(|chunk| stream.write_all(chunk).unwrap());
        assert!(storage.entry(name).unwrap().is_none());
        stream.finish().unwrap();
        assert!(storage.read(name, u64::MAX).unwrap() == bytes);
    }
    let mut stream = storage.stream("given up", None).unwrap();
    stream.write_all(&bytes).unwrap();
    drop(stream);
    assert_eq!((storage.entry("given up").unwrap(), server.server.unfinished()), (None, 0));
    storage.end_streams("").unwrap();
    for error in [storage.withdraw("x", Path::new("/nowhere")), storage.publish(Path::new("/nowhere"), "y")] {
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn removal_takes_what_is_below_and_no_more() {
    on_every_back_end(|place| {
        for path in ["d/a/1", "d/a/2/3", "d/ab", "e/f"] {
            place.put(path, "x");
        }
        place.storage.remove("d/a").unwrap();
        assert_eq!(place.below(""), [("d/ab".to_owned(), 1), ("e/f".to_owned(), 1)]);
        place.storage.remove("e/f").unwrap();
        assert!(place.storage.entry("e").unwrap().is_none());
        place.storage.remove("nothing/at/all").unwrap();
        assert_eq!(place.storage.remove("").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(place.below(""), [("d/ab".to_owned(), 1)]);
    });
}

#[test]
fn paths_that_lead_out_are_refused() {
    on_every_back_end(|place| {
        for path in ["/a", "a/", "a//b", "..", "a/../b", "./a"] {
            let storage = &place.storage;
            let refused = [
                storage.list(path).map(|_| ()).unwrap_err(),
                storage.entry(path).map(|_| ()).unwrap_err(),
                storage.open(path, 0..1).map(|_| ()).unwrap_err(),
                storage.write(path, b"", Condition::None).unwrap_err(),
                storage.remove(path).unwrap_err(),
                storage.list_below(path, &mut |_, _| {}).unwrap_err(),
            ];
            for error in refused {
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}: {error}");
            }
        }
    });
}

#[test]
fn what_is_in_no_archive_class_is_readable() {
    on_every_back_end(|place| {
        place.put("d/file", "x");
        assert!(place.storage.availability("d", &|_| true).unwrap().is_empty());
        assert_eq!(place.storage.recall("d/file", Tier::Expedited, 3).unwrap(), Recall::Readable);
    });
}
