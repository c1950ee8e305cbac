//! Files removed from versions for good, judged by other people's validator; and removed from their objects by us.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use dipper_archive::digest::{Algorithm, Hasher};
use dipper_archive::ocfl::{
    Error, Layout, Object, Purge, StorageRoot, ValidateOptions, validate_object, validate_root,
};
use dipper_archive::storage::{LocalStorage, Storage};
use serde_json::Value;

use crate::ocfl_read::{copy, fixtures};
use crate::ocfl_write::{Archive, add, options, record, tree};
use crate::peers;

fn purge_of(versions: &[u32], files: &[(u32, &str)]) -> Purge {
    let mut purge = Purge::default();
    versions.iter().for_each(|version| purge.add_version(*version));
    files.iter().for_each(|(version, path)| purge.add_file(*version, path));
    purge
}

fn assert_valid(storage: &Arc<dyn Storage>, path: &str) {
    let report = validate_object(storage, path, &ValidateOptions::default()).unwrap();
    assert!(report.is_valid(), "{path}: {:#?}", report.problems);
}

/// Whether bytes lie anywhere below a directory.
fn holds(directory: &Path, text: &str) -> bool {
    tree(directory).iter().any(|path| std::fs::read(directory.join(path)).is_ok_and(|bytes| bytes == text.as_bytes()))
}

/// Some validators ask of the inventory of every version that it names all content that lies in the versions up to it
/// (E023). ocfl-py asks it of the newest alone.
fn assert_named_by_each_version(object: &Path) {
    let files = tree(object);
    let number =
        |path: &str| path.split_once('/').and_then(|(version, _)| version.strip_prefix('v')?.parse::<u32>().ok());
    for path in files.iter().filter(|path| path.ends_with("/inventory.json")) {
        let version = number(path).expect("a version directory");
        let inventory: Value = serde_json::from_slice(&std::fs::read(object.join(path)).unwrap()).unwrap();
        let manifest = inventory["manifest"].as_object().unwrap().values();
        let named: BTreeSet<&str> =
            manifest.flat_map(|paths| paths.as_array().unwrap()).map(|path| path.as_str().unwrap()).collect();
        let is_content = |path: &&String| path.matches('/').count() > 1 && number(path).is_some_and(|at| at <= version);
        let has_own = files.iter().filter(is_content).any(|path| number(path) == Some(version));
        let unnamed: Vec<_> = files.iter().filter(is_content).filter(|path| !named.contains(path.as_str())).collect();
        assert!(unnamed.is_empty() || !has_own, "{path} does not name {unnamed:?}");
    }
}

#[test]
fn objects_are_valid_for_others_after_every_kind_of_purge() {
    let kinds = [
        ("first version", purge_of(&[1], &[])),
        ("middle version", purge_of(&[2], &[])),
        ("newest version", purge_of(&[3], &[])),
        ("all but the first", purge_of(&[2, 3], &[])),
        ("all but the newest", purge_of(&[1, 2], &[])),
        ("one file", purge_of(&[], &[(1, "alone")])),
        ("a file of which others have the bytes", purge_of(&[], &[(1, "shared/first")])),
        ("a file in all versions", purge_of(&[], &[(1, "same"), (2, "same"), (3, "same")])),
        ("all but one file", purge_of(&[1, 2], &[(3, "same"), (3, "shared/third")])),
    ];
    let archive = Archive::new(Layout::default());
    let mut paths: Vec<PathBuf> = Vec::new();
    for (kind, purge) in &kinds {
        let id = format!("urn:{kind}");
        archive.put(&id, &[("alone", b"alone"), ("shared/first", b"shared"), ("same", b"same"), ("å/x", b"1")]);
        archive.put(&id, &[("shared/second", b"shared"), ("same", b"same"), ("å/x", b"2"), ("second", b"second")]);
        archive.put(&id, &[("shared/third", b"shared"), ("same", b"same"), ("third", b"third")]);
        let purged = archive.root.purge(&id, purge).unwrap();
        assert!(purged.files > 0 && !purged.removed, "{kind}: {purged:?}");
        paths.push(archive.path().join(archive.root.object(&id).unwrap().path()));
    }
    let report = validate_root(archive.root.storage(), &ValidateOptions::default()).unwrap();
    assert!(report.problems.iter().all(|problem| !problem.code.is_error()), "{:#?}", report.problems);
    peers::ocfl_validate(&paths, peers::PURGED);
    paths.iter().for_each(|path| assert_named_by_each_version(path));
    // What is gone is gone, and what another version needs is there.
    let [first, .., one, shared, _, _] = paths.as_slice() else { panic!("{paths:?}") };
    assert!(!holds(first, "alone") && holds(first, "shared") && holds(first, "2"));
    assert!(!holds(one, "alone") && holds(one, "1"));
    assert!(holds(shared, "shared"));
}

#[test]
fn an_object_of_which_nothing_is_left_goes() {
    let archive = Archive::new(Layout::default());
    archive.put("urn:a", &[("a", b"a")]);
    archive.put("urn:a", &[("b", b"b")]);
    assert!(!archive.root.purge("urn:a", &purge_of(&[], &[(2, "b")])).unwrap().removed);
    let purged = archive.root.purge("urn:a", &purge_of(&[], &[(1, "a")])).unwrap();
    assert!(purged.removed && (purged.files, purged.content_bytes) == (1, 1));
    assert!(matches!(archive.root.object("urn:a"), Err(Error::NoSuchObject { .. })));
    assert!(matches!(archive.root.purge("urn:a", &purge_of(&[1], &[])), Err(Error::NoSuchObject { .. })));
    archive.put("urn:a", &[("new", b"new")]);
    assert_eq!(archive.root.object("urn:a").unwrap().inventory().versions().len(), 1);
}

/// Objects of others, in a root that is ours to change.
struct Theirs {
    directory: tempfile::TempDir,
    storage: Arc<dyn Storage>,
}

impl Theirs {
    fn copy_of(objects: &Path) -> Theirs {
        let directory = tempfile::tempdir().unwrap();
        copy(objects, &directory.path().join("root"));
        std::fs::write(directory.path().join("root/0=ocfl_1.1"), "ocfl_1.1\n").unwrap();
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(&directory.path().join("root")).unwrap());
        Theirs { directory, storage }
    }

    fn root(&self) -> StorageRoot {
        StorageRoot::open(Arc::clone(&self.storage), &self.directory.path().join("staging")).unwrap()
    }
}

/// Purges every object with what `choose` says of it, and has it judged. Objects that share an id are done one by one.
fn purge_theirs(kind: &str, choose: &dyn Fn(&Object) -> Purge) -> usize {
    let Some(objects) = fixtures(kind) else { return usize::MAX };
    let mut rewritten = Vec::new();
    let mut kept = Vec::new();
    for found in std::fs::read_dir(&objects).unwrap() {
        let found = found.unwrap();
        let one = tempfile::tempdir().unwrap();
        copy(&found.path(), &one.path().join(found.file_name()));
        let theirs = Theirs::copy_of(one.path());
        let root = theirs.root();
        let Some(path) = root.objects().next() else { continue };
        let object = root.object_at(&path.unwrap()).unwrap();
        let purge = choose(&object);
        let purged = root.purge(object.id(), &purge).unwrap();
        if purged.removed {
            assert!(tree(&theirs.directory.path().join("root")).iter().all(|path| path == "0=ocfl_1.1"));
            continue;
        }
        assert_valid(&theirs.storage, object.path());
        rewritten.push(theirs.directory.path().join("root").join(object.path()));
        kept.push(theirs);
    }
    assert_valid_for_others(&rewritten);
    rewritten.len()
}

#[test]
fn objects_of_others_are_valid_after_purges() {
    for kind in ["good-objects", "warn-objects"] {
        let first = |object: &Object| {
            let mut purge = Purge::default();
            purge.add_version(object.inventory().versions().first().unwrap().number().number());
            purge
        };
        let newest = |object: &Object| {
            let mut purge = Purge::default();
            purge.add_version(object.inventory().head().number());
            purge
        };
        // The first file of each version.
        let some = |object: &Object| {
            let mut purge = Purge::default();
            for version in object.inventory().versions() {
                let number = version.number().number();
                object.inventory().files(number).take(1).for_each(|file| purge.add_file(number, file.logical_path));
            }
            purge
        };
        let choices: [&dyn Fn(&Object) -> Purge; 3] = [&first, &newest, &some];
        for choose in choices {
            assert!(purge_theirs(kind, choose) >= 2);
        }
    }
}

#[test]
fn version_directories_without_inventories_stay_as_they_are_or_get_one() {
    let archive = Archive::new(Layout::default());
    archive.put("urn:a", &[("a", b"1"), ("keep", b"k")]);
    archive.put("urn:a", &[("a", b"2"), ("keep", b"k")]);
    archive.put("urn:a", &[("a", b"3"), ("keep", b"k")]);
    let object = archive.path().join(archive.root.object("urn:a").unwrap().path());
    for version in ["v1", "v2"] {
        for name in ["inventory.json", "inventory.json.sha512"] {
            std::fs::remove_file(object.join(version).join(name)).unwrap();
        }
    }
    archive.root.purge("urn:a", &purge_of(&[], &[(1, "a")])).unwrap();
    assert!(!object.join("v1/inventory.json").exists() && object.join("v1/content/keep").exists());
    // All that the second version directory held goes: the directory alone would be no version.
    archive.root.purge("urn:a", &purge_of(&[2], &[])).unwrap();
    assert!(object.join("v2/inventory.json").exists() && !object.join("v2/content").exists());
    assert_valid(archive.root.storage(), archive.root.object("urn:a").unwrap().path());
    assert_valid_for_others(&[object]);
}

#[test]
fn objects_in_1_0_with_other_algorithms_and_directories_are_purged() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    std::fs::create_dir_all(source.join("sub dir")).unwrap();
    std::fs::write(source.join("a.txt"), "a").unwrap();
    std::fs::write(source.join("sub dir/å.txt"), "b").unwrap();
    for (number, (spec, digest)) in [("1.0", "sha512"), ("1.1", "sha512"), ("1.0", "sha256")].into_iter().enumerate() {
        let root = directory.path().join(format!("root {number}"));
        let object = root.join("object");
        std::fs::create_dir(&root).unwrap();
        let made = Command::new(peers::tool("ocfl-object.py"))
            .args(["create", "--id", "urn:theirs", "--spec-version", spec, "--digest", digest])
            .args(["--fixity", "md5", "--message", "first", "--name", "somebody"])
            .args(["--address", "mailto:somebody@example.org"])
            .arg("--srcdir")
            .arg(&source)
            .arg("--objdir")
            .arg(&object)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", peers::told(&made));
        if number > 0 {
            rename_content(&object, digest);
        }
        std::fs::write(root.join(format!("0=ocfl_{spec}")), format!("ocfl_{spec}\n")).unwrap();
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(&root).unwrap());
        let opened = StorageRoot::open(Arc::clone(&storage), &directory.path().join("staging")).unwrap();
        let draft = opened.draft("urn:theirs", &options("more")).unwrap();
        add(&draft, "a.txt", b"a").unwrap();
        add(&draft, "new", b"new").unwrap();
        draft.commit(record()).unwrap();
        let purged = opened.purge("urn:theirs", &purge_of(&[1], &[])).unwrap();
        assert_eq!((purged.files, purged.content_files), (2, 1));
        assert!(holds(&object, "a") && !holds(&object, "b"));
        assert_judged(&storage, &object);
        opened.purge("urn:theirs", &purge_of(&[], &[(2, "a.txt")])).unwrap();
        assert!(!holds(&object, "a") && holds(&object, "new"));
        assert_judged(&storage, &object);
    }
}

/// Valid for us and for others, who may warn of what their own tools leave out.
fn assert_judged(storage: &Arc<dyn Storage>, object: &Path) {
    assert_valid(storage, "object");
    assert_valid_for_others(&[object.to_owned()]);
}

/// Objects of others may do what others warn of.
fn assert_valid_for_others(paths: &[PathBuf]) {
    let judged = Command::new(peers::tool("ocfl-validate.py")).arg("--quiet").args(paths).output().unwrap();
    assert!(judged.status.success(), "{}", peers::told(&judged));
}

/// Calls the content directories of an object otherwise.
fn rename_content(object: &Path, digest: &str) {
    for directory in ["", "v1"].map(|name| object.join(name)) {
        if directory.join("content").exists() {
            std::fs::rename(directory.join("content"), directory.join("stuff")).unwrap();
        }
        let text = std::fs::read_to_string(directory.join("inventory.json")).unwrap();
        let text = text.replace("/content/", "/stuff/").replacen('{', "{ \"contentDirectory\": \"stuff\",", 1);
        std::fs::write(directory.join("inventory.json"), &text).unwrap();
        let mut hasher = Hasher::new(Algorithm::from_name(digest).unwrap());
        hasher.update(text.as_bytes());
        let sidecar = format!("{} inventory.json\n", hasher.finish());
        std::fs::write(directory.join(format!("inventory.json.{digest}")), sidecar).unwrap();
    }
}
