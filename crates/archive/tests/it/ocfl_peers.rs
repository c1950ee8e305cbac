//! What is written here, judged by other people's validator; and its own writing, extended by us.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use dipper_archive::digest::Algorithm;
use dipper_archive::ocfl::layout::{HashedTuples, OmitPrefixTuples};
use dipper_archive::ocfl::{
    DraftOptions, Layout, SpecVersion, Start, StorageRoot, ValidateOptions, validate_object, validate_root,
};
use dipper_archive::storage::{LocalStorage, Storage};

use crate::ocfl_read::{copy, fixtures};
use crate::ocfl_write::{Archive, add, options, record};
use crate::peers;

/// Whether `ocfl-validate.py` takes all of the objects or storage roots for valid, and what it says of errors.
fn ocfl_judgement(paths: &[PathBuf]) -> (bool, String) {
    let judged = Command::new(peers::tool("ocfl-validate.py")).arg("--quiet").args(paths).output().unwrap();
    (judged.status.success(), peers::told(&judged))
}

fn layouts() -> Vec<Layout> {
    vec![
        Layout::FlatDirect,
        Layout::HashAndId(HashedTuples::default()),
        Layout::default(),
        Layout::Hashed {
            tuples: HashedTuples { algorithm: Algorithm::Md5, size: 2, count: 15 },
            short_object_root: true,
        },
        Layout::FlatOmitPrefix { delimiter: ":".to_owned() },
        Layout::TupleOmitPrefix(OmitPrefixTuples::default()),
    ]
}

fn assert_flawless(storage: &Arc<dyn Storage>) {
    let report = validate_root(storage, &ValidateOptions::default()).unwrap();
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
}

#[test]
fn roots_in_every_layout_are_valid_for_others() {
    let mut roots: Vec<Archive> = Vec::new();
    let mut paths: Vec<PathBuf> = Vec::new();
    let long = format!("{}/{}", "l".repeat(300), "å".repeat(200));
    for layout in layouts() {
        let archive = Archive::new(layout);
        archive.put(
            "urn:many",
            &[
                ("a file", b"1"),
                ("the same", b"1"),
                ("empty", b""),
                ("also empty", b""),
                ("å nfc", b"nfc"),
                ("a\u{30a} nfd", b"nfd"),
                ("100%/%2e", b"percent"),
                (&long, b"long"),
                ("emoji 🐦", b"dipper"),
                ("back\\slash\"quote", b"json"),
            ],
        );
        archive.put("urn:many", &[("a file", b"changed"), ("moved/the same", b"1")]);
        let from_head = DraftOptions { start: Start::Head, ..options("third") };
        let draft = archive.root.draft("urn:many", &from_head).unwrap();
        draft.remove("a file");
        draft.commit(record()).unwrap();
        archive.put("urn:none", &[]);
        archive.put("urn:gone", &[("x", b"x")]);
        archive.root.remove("urn:gone").unwrap();
        for number in 0..12 {
            archive.put("urn:versions", &[("file", format!("{number}").as_bytes())]);
        }
        assert_flawless(archive.root.storage());
        paths.extend(archive.root.objects().map(|path| archive.path().join(path.unwrap())));
        paths.push(archive.path());
        if !matches!(archive.root.layout(), Some(Layout::FlatDirect | Layout::HashAndId(_))) {
            // The judge refuses roots that name a layout it does not know, and judges them without.
            std::fs::remove_file(archive.path().join("ocfl_layout.json")).unwrap();
        }
        roots.push(archive);
    }
    assert_eq!(paths.len(), roots.len() * 4);
    peers::ocfl_validate(&paths, &[]);
}

#[test]
fn the_judge_does_find_what_is_wrong() {
    let archive = Archive::new(Layout::default());
    let committed = archive.put("urn:a", &[("a", b"a")]);
    std::fs::write(archive.path().join(&committed.path).join("v1/content/a"), "b").unwrap();
    let (is_valid, text) = ocfl_judgement(&[archive.path().join(&committed.path)]);
    assert!(!is_valid && text.contains("E092"), "{text}");
}

#[test]
fn versions_added_to_objects_of_others_are_valid() {
    for kind in ["good-objects", "warn-objects"] {
        let Some(objects) = fixtures(kind) else { return };
        let directory = tempfile::tempdir().unwrap();
        copy(&objects, &directory.path().join("root"));
        std::fs::write(directory.path().join("root/0=ocfl_1.1"), "ocfl_1.1\n").unwrap();
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(&directory.path().join("root")).unwrap());
        let root = StorageRoot::open(Arc::clone(&storage), &directory.path().join("staging")).unwrap();
        let mut paths = Vec::new();
        for path in root.objects() {
            let path = path.unwrap();
            let before = root.object_at(&path).unwrap();
            let from_head = DraftOptions { start: Start::Head, ..options("more") };
            // Some conformance objects share an id; the index has the first.
            let draft = root.draft(before.id(), &from_head).unwrap();
            add(&draft, "added by us/file", b"new").unwrap();
            let committed = draft.commit(record()).unwrap();
            let after = root.object_at(&committed.path).unwrap();
            assert!(after.inventory().versions().len() >= 2);
            let report = validate_object(&storage, &committed.path, &ValidateOptions::default()).unwrap();
            assert!(report.is_valid(), "{:#?}", report.problems);
            paths.push(directory.path().join("root").join(&committed.path));
        }
        let (is_valid, text) = ocfl_judgement(&paths);
        assert!(is_valid, "{text}");
    }
}

#[test]
fn objects_that_others_wrote_in_1_0_are_read_and_extended() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    std::fs::create_dir_all(source.join("sub dir")).unwrap();
    std::fs::write(source.join("a.txt"), "a").unwrap();
    std::fs::write(source.join("sub dir/å.txt"), "b").unwrap();
    for (spec, digest) in [("1.0", "sha512"), ("1.1", "sha512"), ("1.0", "sha256")] {
        let root = directory.path().join(format!("root {spec} {digest}"));
        let object = root.join("object");
        std::fs::create_dir(&root).unwrap();
        let made = Command::new(peers::tool("ocfl-object.py"))
            .args(["create", "--id", "urn:theirs", "--spec-version", spec, "--digest", digest])
            .args(["--message", "first", "--name", "somebody", "--address", "mailto:somebody@example.org"])
            .arg("--srcdir")
            .arg(&source)
            .arg("--objdir")
            .arg(&object)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}{}",
            String::from_utf8_lossy(&made.stdout),
            String::from_utf8_lossy(&made.stderr)
        );
        std::fs::write(root.join(format!("0=ocfl_{spec}")), format!("ocfl_{spec}\n")).unwrap();
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(&root).unwrap());
        let opened = StorageRoot::open(Arc::clone(&storage), &directory.path().join("staging")).unwrap();
        let from_head = DraftOptions { start: Start::Head, ..options("more") };
        let draft = opened.draft("urn:theirs", &from_head).unwrap();
        add(&draft, "added", b"by us").unwrap();
        add(&draft, "copy of theirs", b"b").unwrap();
        let committed = draft.commit(record()).unwrap();
        assert_eq!((committed.files, committed.new_files), (4, 1));
        let expected = if spec == "1.0" { SpecVersion::V1_0 } else { SpecVersion::V1_1 };
        assert_eq!((committed.inventory.spec(), committed.inventory.algorithm().name()), (expected, digest));
        let report = validate_root(&storage, &ValidateOptions::default()).unwrap();
        assert!(report.is_valid(), "{:#?}", report.problems);
        let (is_valid, text) = ocfl_judgement(&[object]);
        assert!(is_valid, "{text}");
    }
}
