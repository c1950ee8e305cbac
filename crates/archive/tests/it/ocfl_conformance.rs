//! The validator against the conformance objects of the specification, whose names give the expected codes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use dipper_archive::ocfl::{Report, ValidateOptions, validate_object};
use dipper_archive::storage::{LocalStorage, Storage};

use crate::ocfl_read::fixtures;

fn validate(path: &Path) -> Report {
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(path).unwrap());
    validate_object(&storage, "", &ValidateOptions::default()).unwrap()
}

fn codes(report: &Report) -> BTreeSet<String> {
    report.problems.iter().map(|problem| problem.code.to_string()).collect()
}

/// The codes at the beginning of a name such as `E003_E063_empty`.
fn expected(name: &str) -> BTreeSet<String> {
    let is_code = |part: &&str| part.len() == 4 && part[1..].bytes().all(|byte| byte.is_ascii_digit());
    name.split('_').take_while(is_code).map(str::to_owned).collect()
}

fn each(kind: &str, check: impl Fn(&str, &Report) -> Result<(), String>) {
    let Some(objects) = fixtures(kind) else { return };
    let mut names: Vec<_> = std::fs::read_dir(&objects).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let mut failed = Vec::new();
    for path in &names {
        let name = path.file_name().unwrap().to_str().unwrap();
        let report = validate(path);
        if let Err(reason) = check(name, &report) {
            failed.push(format!("{name}: {reason}; found {:#?}", report.problems));
        }
    }
    assert!(!names.is_empty());
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), names.len(), failed.join("\n"));
}

#[test]
fn bad_objects_have_all_the_codes_of_their_names() {
    each("bad-objects", |name, report| {
        let missing: Vec<_> = expected(name).difference(&codes(report)).cloned().collect();
        if report.is_valid() {
            return Err("is taken for valid".to_owned());
        }
        if missing.is_empty() { Ok(()) } else { Err(format!("without {missing:?}")) }
    });
}

#[test]
fn objects_with_warnings_are_valid_and_have_all_the_codes_of_their_names() {
    each("warn-objects", |name, report| {
        let missing: Vec<_> = expected(name).difference(&codes(report)).cloned().collect();
        if !report.is_valid() {
            return Err("is not taken for valid".to_owned());
        }
        if missing.is_empty() { Ok(()) } else { Err(format!("without {missing:?}")) }
    });
}

#[test]
fn good_objects_have_neither_errors_nor_warnings() {
    each("good-objects", |_, report| if report.problems.is_empty() { Ok(()) } else { Err("has problems".to_owned()) });
}
