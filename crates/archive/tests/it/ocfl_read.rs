//! Reading inventories and objects that other software wrote.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dipper_archive::ocfl::StorageRoot;
use dipper_archive::storage::LocalStorage;

/// The conformance objects beside the repository, when they are there.
pub(crate) fn fixtures(kind: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/ocfl").join(kind);
    if !path.is_dir() {
        println!("skipped: the conformance objects {} are not there", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn valid_objects_of_others_are_read_in_every_version() {
    for kind in ["good-objects", "warn-objects"] {
        let Some(objects) = fixtures(kind) else { return };
        let directory = tempfile::tempdir().unwrap();
        copy(&objects, directory.path());
        std::fs::write(directory.path().join("0=ocfl_1.1"), "ocfl_1.1\n").unwrap();
        let storage = Arc::new(LocalStorage::open(directory.path()).unwrap());
        let root = StorageRoot::open(storage, directory.path()).unwrap();
        let paths: Vec<_> = root.objects().map(Result::unwrap).collect();
        assert_eq!(paths.len(), std::fs::read_dir(&objects).unwrap().count());
        assert!(paths.is_sorted());
        for path in paths {
            let object = root.object_at(&path).unwrap();
            for version in object.inventory().versions() {
                let number = version.number().number();
                let then = object.inventory_of(number).unwrap();
                assert_eq!(then.files(number).len(), version.len(), "{path} {number}");
                for file in then.files(number) {
                    let mut bytes = Vec::new();
                    let copied = object.copy_verified(&then.file(number, file.logical_path).unwrap(), &mut bytes);
                    assert_eq!(copied.unwrap(), object.lengths().unwrap().of(file.content_path).unwrap());
                }
            }
            assert_eq!(root.object(object.id()).map(|found| found.id().to_owned()).unwrap(), object.id());
        }
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
