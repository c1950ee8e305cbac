//! Every rule of the validator by itself: a valid object of ours, one thing made wrong, and the code expected.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use dipper_archive::digest::{Algorithm, Hasher};
use dipper_archive::ocfl::{Code, Layout, Report, ValidateOptions, validate_object, validate_root};
use dipper_archive::storage::{LocalStorage, Storage};

use tempfile::TempDir;

use crate::ocfl_read::copy;
use crate::ocfl_write::Archive;

/// The sound objects: one with two versions (`a`, `dir/b` and a copy of `a`; then `a` changed), and one without files.
static SOUND: LazyLock<(Archive, PathBuf, PathBuf)> = LazyLock::new(|| {
    let archive = Archive::new(Layout::default());
    archive.put("urn:a", &[("a", b"1"), ("dir/b", b"2"), ("copy", b"1")]);
    let full = archive.put("urn:a", &[("a", b"changed"), ("dir/b", b"2")]);
    let empty = archive.put("urn:empty", &[]);
    let (full, empty) = (archive.path().join(full.path), archive.path().join(empty.path));
    (archive, full, empty)
});

/// A copy of the sound object with files, to be damaged.
struct Sample {
    _directory: TempDir,
    path: PathBuf,
}

impl Sample {
    fn new() -> Sample {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("object");
        copy(&SOUND.1, &path);
        Sample { _directory: directory, path }
    }

    fn inventory(&self, directory: &str) -> String {
        std::fs::read_to_string(self.path.join(directory).join("inventory.json")).unwrap()
    }

    /// Writes an inventory with a sidecar that fits.
    fn write_inventory(&self, directory: &str, text: &str) {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(text.as_bytes());
        let directory = self.path.join(directory);
        std::fs::write(directory.join("inventory.json"), text).unwrap();
        std::fs::write(directory.join("inventory.json.sha512"), format!("{} inventory.json\n", hasher.finish()))
            .unwrap();
    }

    /// Replaces text in the newest inventory, in both places.
    fn edit(&self, from: &str, to: &str) {
        let text = self.inventory("");
        assert!(text.contains(from), "{from} is not in {text}");
        let text = text.replacen(from, to, 1);
        self.write_inventory("", &text);
        self.write_inventory("v2", &text);
    }

    fn edit_first(&self, from: &str, to: &str) {
        let text = self.inventory("v1");
        assert!(text.contains(from), "{from} is not in {text}");
        self.write_inventory("v1", &text.replace(from, to));
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        let path = self.path.join(path);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path.join(from), self.path.join(to)).unwrap();
    }

    fn validate(&self) -> Report {
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(&self.path).unwrap());
        validate_object(&storage, "", &ValidateOptions::default()).unwrap()
    }
}

fn has(report: &Report, code: Code) -> bool {
    report.problems.iter().any(|problem| problem.code == code)
}

/// The content digest of `1`, the md5 of `1`, and a digest of nothing here.
const ONE: &str = "4dff4ea340f0a823f15d3f4f01ab62eae0e5da579ccb851f8db9dfe84c58b2b37b89903a740e1ee172da793a6e79d560e5f7f9bd058a12a280433ed6fa46510a";
const ONE_MD5: &str = "c4ca4238a0b923820dcc509a6f75849b";

type Damage = fn(&Sample);

fn rules() -> Vec<(Code, &'static str, Damage)> {
    use Code::*;
    vec![
        (E001, "file in the object root", |o| o.write("stray", "")),
        (E001, "directory in the object root", |o| o.write("stray/file", "")),
        (E003, "no declaration", |o| o.remove("0=ocfl_object_1.1")),
        (E003, "two declarations", |o| o.write("0=ocfl_object_1.0", "ocfl_object_1.0\n")),
        (E004, "unknown version declared", |o| o.rename("0=ocfl_object_1.1", "0=ocfl_object_9.9")),
        (E005, "declaration with another number", |o| o.rename("0=ocfl_object_1.1", "1=ocfl_object_1.1")),
        (E006, "declaration of something else", |o| o.rename("0=ocfl_object_1.1", "0=object_1.1")),
        (E007, "declaration without line feed", |o| o.write("0=ocfl_object_1.1", "ocfl_object_1.1")),
        (E008, "no versions", |o| {
            o.write_inventory("", r#"{"id":"urn:a","type":"https://ocfl.io/1.1/spec/#inventory","digestAlgorithm":"sha512","head":"v1","manifest":{},"versions":{}}"#);
        }),
        (E009, "sequence from 2", |o| o.edit("\"v1\": {", "\"v3\": {")),
        (E010, "gap", |o| o.edit("\"v2\": {", "\"v3\": {")),
        (E010, "version directory missing", |o| o.remove("v1")),
        (E012, "mixed padding", |o| o.edit("\"v2\": {", "\"v02\": {")),
        (E013, "mixed padding", |o| o.edit("\"v2\": {", "\"v02\": {")),
        (E014, "content path with another padding", |o| o.edit("\"v1/content/a\"", "\"v01/content/a\"")),
        (E015, "file in a version directory", |o| o.write("v1/stray", "")),
        (E016, "content directory missing", |o| o.remove("v1/content")),
        (E017, "contentDirectory with a slash", |o| o.edit("\"head\"", "\"contentDirectory\": \"a/b\", \"head\"")),
        (E018, "contentDirectory ..", |o| o.edit("\"head\"", "\"contentDirectory\": \"..\", \"head\"")),
        (E108, "contentDirectory empty", |o| o.edit("\"head\"", "\"contentDirectory\": \"\", \"head\"")),
        (E108, "contentDirectory is a number", |o| o.edit("\"head\"", "\"contentDirectory\": 7, \"head\"")),
        (E019, "contentDirectory set later", |o| o.edit("\"head\"", "\"contentDirectory\": \"content\", \"head\"")),
        (E020, "contentDirectory changed", |o| o.edit("\"head\"", "\"contentDirectory\": \"data\", \"head\"")),
        (E023, "file not in the manifest", |o| o.write("v1/content/stray", "")),
        (E024, "empty directory", |o| std::fs::create_dir(o.path.join("v1/content/empty")).unwrap()),
        (E025, "digestAlgorithm md5", |o| o.edit("\"sha512\"", "\"md5\"")),
        (E025, "digestAlgorithm of another type", |o| o.edit("\"sha512\"", "[]")),
        (E031, "digest not in hexadecimal", |o| o.edit(ONE, "no digest")),
        (E033, "not JSON", |o| o.write_inventory("", "{")),
        (E033, "a list", |o| o.write_inventory("", "[]")),
        (E033, "a key twice", |o| o.edit("\"head\"", "\"head\": \"v2\", \"head\"")),
        (E034, "inventory misnamed", |o| o.rename("inventory.json", "Inventory.json")),
        (E036, "no id", |o| o.edit("\"id\": \"urn:a\",", "")),
        (E036, "no head", |o| o.edit("\"head\": \"v2\",", "")),
        (E037, "empty id", |o| o.edit("\"urn:a\"", "\"\"")),
        (E037, "id of another type", |o| o.edit("\"urn:a\"", "7")),
        (E038, "type of something else", |o| o.edit("https://ocfl.io/1.1/spec/#inventory", "inventory")),
        (E038, "type of another version than declared", |o| o.edit("ocfl.io/1.1", "ocfl.io/1.0")),
        (E039, "digest of another length", |o| o.edit(ONE, ONE_MD5)),
        (E040, "head not the newest", |o| o.edit("\"head\": \"v2\"", "\"head\": \"v1\"")),
        (E040, "head in a version directory", |o| {
            let text = o.inventory("");
            o.write_inventory("v1", &text);
        }),
        (E041, "no manifest", |o| o.edit("\"manifest\"", "\"manifesto\"")),
        (E041, "no versions", |o| o.edit("\"versions\"", "\"version\"")),
        (E042, "content path elsewhere", |o| o.edit("\"v1/content/a\"", "\"v1/elsewhere/a\"")),
        (E042, "content path without version", |o| o.edit("\"v1/content/a\"", "\"content/a\"")),
        (E043, "no versions", |o| o.edit("\"versions\"", "\"version\"")),
        (E044, "versions a list", |o| {
            o.write_inventory("", r#"{"id":"urn:a","type":"https://ocfl.io/1.1/spec/#inventory","digestAlgorithm":"sha512","head":"v1","manifest":{},"versions":[]}"#);
        }),
        (E046, "version directory missing", |o| o.remove("v2")),
        (E046, "version directory unknown", |o| o.write("v3/content/a", "")),
        (E046, "version key malformed", |o| o.edit("\"v1\": {", "\"one\": {")),
        (E047, "version a string", |o| o.edit("\"v1\": {", "\"v1\": \"first\", \"v7\": {")),
        (E048, "no created", |o| o.edit("\"created\"", "\"createt\"")),
        (E048, "no state", |o| o.edit("\"state\"", "\"stage\"")),
        (E049, "created without offset", |o| o.edit("2026-01-31T08:00:00Z", "2026-01-31T08:00:00")),
        (E049, "created without seconds", |o| o.edit("2026-01-31T08:00:00Z", "2026-01-31T08:00Z")),
        (E049, "created not a date", |o| o.edit("2026-01-31T08:00:00Z", "2026-02-31T08:00:00Z")),
        (E050, "state digest in capitals", |o| {
            let state = format!("\"{ONE}\": [\n     \"a\"");
            o.edit(&state, &state.to_uppercase().replace("\"A\"", "\"a\""));
        }),
        (E051, "logical path a number", |o| o.edit("\"dir/b\"", "7")),
        (E052, "logical path with ..", |o| o.edit("\"dir/b\"", "\"dir/../b\"")),
        (E052, "logical path with an empty part", |o| o.edit("\"dir/b\"", "\"dir//b\"")),
        (E053, "logical path with a slash first", |o| o.edit("\"dir/b\"", "\"/dir/b\"")),
        (E053, "logical path with a slash last", |o| o.edit("\"dir/b\"", "\"dir/b/\"")),
        (E054, "user without a name", |o| o.edit("\"name\": \"Dipper\",", "")),
        (E054, "user a string", |o| o.edit("\"user\": {", "\"user\": \"Dipper\", \"x\": {")),
        (E057, "fixity block a list", |o| o.edit("\"md5\": {", "\"md5\": [], \"x\": {")),
        (E057, "fixity path unknown", |o| {
            o.edit(&format!("\"{ONE_MD5}\": [\n    \"v1"), &format!("\"{ONE_MD5}\": [\n    \"v9"))
        }),
        (E057, "fixity digest of another length", |o| o.edit(ONE_MD5, "c4ca")),
        (E058, "no sidecar", |o| o.remove("inventory.json.sha512")),
        (E058, "no sidecar in a version", |o| o.remove("v1/inventory.json.sha512")),
        (E059, "sidecar of another algorithm", |o| o.rename("inventory.json.sha512", "inventory.json.sha256")),
        (E060, "another digest in the sidecar", |o| {
            o.write("inventory.json.sha512", &format!("{ONE} inventory.json\n"))
        }),
        (E061, "sidecar without the name", |o| o.write("inventory.json.sha512", ONE)),
        (E061, "sidecar with another name", |o| o.write("v1/inventory.json.sha512", &format!("{ONE} other.json\n"))),
        (E063, "no inventory", |o| o.remove("inventory.json")),
        (E064, "root inventory not the newest version's", |o| {
            let text = o.inventory("");
            o.write_inventory("", &text.replace('\n', "\n "));
        }),
        (E066, "logical path renamed", |o| o.edit_first("\"dir/b\"", "\"dir/c\"")),
        (E066, "file exchanged", |o| o.edit_first("\"a\",\n     \"copy\"", "\"a\",\n     \"copied\"")),
        (E067, "file in extensions", |o| o.write("extensions/file", "")),
        (E092, "content altered", |o| o.write("v1/content/a", "2")),
        (E092, "content cut off", |o| o.write("v2/content/a", "chang")),
        (E092, "content missing", |o| o.remove("v1/content/dir/b")),
        (E092, "a digest without paths", |o| o.edit("\"v1/content/a\"", "")),
        (E093, "content altered", |o| o.write("v1/content/a", "2")),
        (E093, "another fixity value", |o| o.edit(ONE_MD5, &"0".repeat(32))),
        (E094, "message a list", |o| o.edit("\"deposit\"", "[]")),
        (E095, "logical path twice", |o| o.edit("\"copy\"", "\"a\"")),
        (E095, "file and directory", |o| o.edit("\"copy\"", "\"dir\"")),
        (E096, "manifest digest twice", |o| {
            o.edit("\"manifest\": {", &format!("\"manifest\": {{ \"{}\": [\"v1/content/a\"],", ONE.to_uppercase()));
        }),
        (E097, "fixity digest twice", |o| {
            o.edit("\"md5\": {", &format!("\"md5\": {{ \"{}\": [\"v1/content/a\"],", ONE_MD5.to_uppercase()));
        }),
        (E099, "content path with .", |o| o.edit("\"v1/content/a\"", "\"v1/content/./a\"")),
        (E100, "content path with a slash first", |o| o.edit("\"v1/content/a\"", "\"/v1/content/a\"")),
        (E101, "content path twice", |o| o.edit("\"v1/content/dir/b\"", "\"v1/content/a\"")),
        (E101, "content file and directory", |o| o.edit("\"v1/content/dir/b\"", "\"v1/content/a/b\"")),
        (E102, "unknown key", |o| o.edit("\"head\"", "\"more\": {}, \"head\"")),
        (E102, "unknown key of a version", |o| o.edit("\"created\"", "\"more\": [1], \"created\"")),
        (E102, "unknown key of a user", |o| o.edit("\"name\"", "\"more\": true, \"name\"")),
        (E103, "earlier specification later", |o| {
            o.edit("ocfl.io/1.1", "ocfl.io/1.0");
            o.rename("0=ocfl_object_1.1", "0=ocfl_object_1.0");
            o.write("0=ocfl_object_1.0", "ocfl_object_1.0\n");
        }),
        (E104, "version key without v", |o| o.edit("\"v1\": {", "\"1\": {")),
        (E105, "version key v0", |o| o.edit("\"v1\": {", "\"v0\": {")),
        (E106, "manifest a list", |o| o.edit("\"manifest\": {", "\"manifest\": [], \"x\": {")),
        (E107, "digest that no version uses", |o| {
            o.edit("\"manifest\": {", &format!("\"manifest\": {{ \"{}\": [\"v1/content/x\"],", "0".repeat(128)));
        }),
        (E110, "another id before", |o| o.edit_first("\"urn:a\"", "\"urn:b\"")),
        (E111, "fixity a list", |o| o.edit("\"fixity\": {", "\"fixity\": [], \"x\": {")),
        (W001, "padded versions", |o| {
            for name in ["v1", "v2"] {
                o.rename(name, &name.replace('v', "v0"));
            }
            for directory in ["", "v01", "v02"] {
                let text = o.inventory(directory).replace("\"v1", "\"v01").replace("\"v2", "\"v02");
                o.write_inventory(directory, &text);
            }
        }),
        (W002, "directory in a version directory", |o| o.write("v1/more/file", "")),
        (W003, "content directory without files", |o| {
            std::fs::remove_dir_all(&o.path).unwrap();
            copy(&SOUND.2, &o.path);
            std::fs::create_dir(o.path.join("v1/content")).unwrap();
        }),
        (W005, "id no URI", |o| {
            for directory in ["", "v1", "v2"] {
                o.write_inventory(directory, &o.inventory(directory).replace("urn:a", "a"));
            }
        }),
        (W007, "no message", |o| {
            for directory in ["", "v1", "v2"] {
                o.write_inventory(directory, &o.inventory(directory).replace("\"message\": \"deposit\",", ""));
            }
        }),
        (W008, "no address", |o| {
            for directory in ["", "v1", "v2"] {
                let text = o.inventory(directory).replace(",\n    \"address\": \"mailto:dipper@example.org\"", "");
                o.write_inventory(directory, &text);
            }
        }),
        (W009, "address no URI", |o| {
            for directory in ["", "v1", "v2"] {
                o.write_inventory(directory, &o.inventory(directory).replace("mailto:", ""));
            }
        }),
        (W010, "no inventory in a version", |o| {
            o.remove("v1/inventory.json");
            o.remove("v1/inventory.json.sha512");
        }),
        (W011, "another message before", |o| o.edit_first("deposit", "the first deposit")),
        (W013, "unknown extension", |o| o.write("extensions/own/file", "")),
    ]
}

#[test]
fn each_rule_is_found_by_its_code() {
    let sound = Sample::new().validate();
    assert!(sound.problems.is_empty(), "{:#?}", sound.problems);
    let mut failed = Vec::new();
    for (code, what, damage) in rules() {
        let object = Sample::new();
        damage(&object);
        let report = object.validate();
        if !has(&report, code) || report.is_valid() == code.is_error() {
            failed.push(format!("{code}, {what}: {:#?}", report.problems));
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn links_are_found_and_not_followed() {
    for place in ["link", "v1/link", "v1/content/link", "extensions/link"] {
        let object = Sample::new();
        let path = object.path.join(place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
        assert!(has(&object.validate(), Code::E090), "{place}");
    }
    let object = Sample::new();
    object.remove("v1/content/a");
    std::os::unix::fs::symlink("copy", object.path.join("v1/content/a")).unwrap();
    let report = object.validate();
    assert!(has(&report, Code::E090) && has(&report, Code::E092), "{:#?}", report.problems);
}

#[test]
fn sha256_digests_not_in_hexadecimal_and_sha256_itself() {
    let object = Sample::new();
    object.edit("\"sha512\"", "\"sha256\"");
    object.edit(ONE, "none");
    let report = object.validate();
    assert!(has(&report, Code::E030) && has(&report, Code::W004), "{:#?}", report.problems);
}

#[test]
fn without_hashing_only_the_structure_is_looked_at() {
    let object = Sample::new();
    object.write("v1/content/a", "2");
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(&object.path).unwrap());
    let options = ValidateOptions { hash: false, ..ValidateOptions::default() };
    assert!(validate_object(&storage, "", &options).unwrap().problems.is_empty());
    object.remove("v1/content/a");
    assert!(!validate_object(&storage, "", &options).unwrap().is_valid());
}

#[test]
fn unknown_fixity_algorithms_are_ignored() {
    let object = Sample::new();
    object.edit("\"md5\": {", "\"crc99\": { \"zz\": [\"v1/content/a\"] }, \"md5\": {");
    assert!(object.validate().problems.is_empty());
}

type RootDamage = fn(&Path);

fn root_rules() -> Vec<(Code, &'static str, RootDamage)> {
    use Code::*;
    fn write(path: PathBuf, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    fn object(root: &Path) -> PathBuf {
        let mut path = root.to_owned();
        while !path.join("0=ocfl_object_1.1").exists() {
            let next = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            path = next.into_iter().find(|path| path.is_dir() && !path.ends_with("extensions")).unwrap();
        }
        path
    }
    vec![
        (E069, "no declaration", |root| std::fs::remove_file(root.join("0=ocfl_1.1")).unwrap()),
        (E070, "layout without description", |root| write(root.join("ocfl_layout.json"), r#"{"extension": "0004"}"#)),
        (E070, "layout not JSON", |root| write(root.join("ocfl_layout.json"), "layout")),
        (E071, "layout unknown", |root| {
            write(root.join("ocfl_layout.json"), r#"{"extension": "mine", "description": ""}"#);
        }),
        (E072, "file above an object", |root| write(object(root).with_file_name("stray"), "")),
        (E084, "file above an object", |root| write(object(root).with_file_name("stray"), "")),
        (E073, "empty directory", |root| std::fs::create_dir_all(root.join("empty")).unwrap()),
        (E085, "directory that leads to no object", |root| write(root.join("other/file"), "")),
        (E088, "directory that leads to no object", |root| write(root.join("other/file"), "")),
        (E076, "two declarations", |root| write(root.join("0=ocfl_1.0"), "ocfl_1.0\n")),
        (E077, "unknown version", |root| write(root.join("0=ocfl_7.7"), "ocfl_7.7\n")),
        (E078, "another number", |root| write(root.join("1=ocfl_1.1"), "ocfl_1.1\n")),
        (E079, "declaration of something else", |root| write(root.join("0=other"), "other\n")),
        (E080, "declaration with other text", |root| write(root.join("0=ocfl_1.1"), "ocfl\n")),
        (E081, "object of a later version", |root| {
            std::fs::remove_file(root.join("0=ocfl_1.1")).unwrap();
            write(root.join("0=ocfl_1.0"), "ocfl_1.0\n");
        }),
        (E083, "object in two places", |root| copy(&object(root), &root.join("twice"))),
        (W014, "object in another place", |root| copy(&object(root), &root.join("twice"))),
        (W015, "objects at different depths", |root| copy(&object(root), &root.join("twice"))),
        (E090, "link", |root| std::os::unix::fs::symlink("/", root.join("link")).unwrap()),
        (E092, "content of an object altered", |root| write(object(root).join("v1/content/a"), "2")),
        (E112, "file in extensions", |root| write(root.join("extensions/file"), "")),
        (W016, "unknown extension", |root| write(root.join("extensions/own/file"), "")),
    ]
}

#[test]
fn each_rule_of_a_storage_root_is_found_by_its_code() {
    let mut failed = Vec::new();
    for (code, what, damage) in root_rules() {
        let archive = Archive::new(Layout::default());
        archive.put("urn:a", &[("a", b"1")]);
        let storage = archive.root.storage();
        let validate = || validate_root(storage, &ValidateOptions::default()).unwrap();
        assert!(validate().problems.is_empty());
        damage(&archive.path());
        let report = validate();
        if !has(&report, code) || (code.is_error() && report.is_valid()) {
            failed.push(format!("{code}, {what}: {:#?}", report.problems));
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_object_is_told_of_and_counted() {
    let archive = Archive::new(Layout::default());
    for number in 0..40 {
        archive.put(&format!("urn:{number}"), &[("a", format!("{number}").as_bytes()), ("b", b"same")]);
    }
    let told = std::sync::Mutex::new(Vec::new());
    let tell = |object: &dipper_archive::ocfl::ObjectReport| {
        assert!(object.is_valid());
        told.lock().unwrap().push(object.id.clone().unwrap());
    };
    for threads in [1, 2, 7] {
        told.lock().unwrap().clear();
        let options = ValidateOptions { threads: Some(threads), object: Some(&tell), ..ValidateOptions::default() };
        let report = validate_root(archive.root.storage(), &options).unwrap();
        assert!(report.problems.is_empty());
        assert_eq!((report.checked.objects, report.checked.files, report.invalid_objects), (40, 80, 0));
        let mut ids = told.lock().unwrap().clone();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 40);
    }
}
