//! The walls of the house, kept by reading the sources. `ARCHITECTURE.md` says why they stand where they do.

use std::path::{Path, PathBuf};

/// No file is longer; about half of it is comfortable.
const MAX_LINES: usize = 800;

struct Source {
    path: String,
    text: String,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every Rust file below a directory of the repository.
fn sources(directory: &str) -> Vec<Source> {
    let root = repository();
    let mut directories = vec![root.join(directory)];
    let mut found = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("text");
                found.push(Source { path: path.strip_prefix(&root).expect("inside").display().to_string(), text });
            }
        }
    }
    assert!(!found.is_empty(), "{directory} holds no source");
    found
}

/// Every file below `directory`, except those below one of `except`, is free of all `words`.
fn free_of(directory: &str, except: &[&str], words: &[&str]) {
    let mut crossed = Vec::new();
    for source in sources(directory) {
        if except.iter().any(|except| source.path.starts_with(except)) {
            continue;
        }
        let here = words.iter().filter(|word| source.text.contains(**word));
        crossed.extend(here.map(|word| format!("{}: {word}", source.path)));
    }
    assert!(crossed.is_empty(), "{crossed:#?}");
}

#[test]
fn the_archive_knows_neither_database_nor_listener_and_calls_out_in_one_folder() {
    free_of("crates/archive/src", &[], &["sqlx", "axum", "std::net", "TcpListener", "dipper_core", "dipper_server"]);
    free_of("crates/archive/src", &["crates/archive/src/bucket/"], &["reqwest", "tokio"]);
}

#[test]
fn the_core_never_listens_and_is_never_put_on_the_wire() {
    free_of("crates/core/src", &[], &["axum", "hyper", "TcpListener", "dipper_server"]);
    free_of("crates/core/src", &[], &["derive(Serialize", ", Serialize", "Serialize,"]);
}

#[test]
fn one_function_decides_which_state_follows() {
    free_of("crates/core/src", &["crates/core/src/order.rs", "crates/core/src/progress.rs"], &["transition("]);
    free_of("crates/server/src", &[], &["transition(", "orders::update", "orders::insert"]);
}

#[test]
fn one_file_may_write_without_the_helper_because_it_is_the_helper() {
    let allow = ["disallowed", "_methods"].concat();
    // The second one is a test, which lays out what crashes leave.
    let except = [
        "crates/archive/src/publish.rs",
        "crates/archive/src/ocfl/crash_tests.rs",
        "crates/archive/src/ocfl/purge_crash_tests.rs",
    ];
    for directory in ["crates/archive/src", "crates/core/src", "crates/server/src"] {
        free_of(directory, &except, &[allow.as_str()]);
    }
}

#[test]
fn the_server_knows_no_statements() {
    free_of("crates/server/src", &[], &["sqlx", "db::sql(", "Statement"]);
}

#[test]
fn the_words_of_a_contract_stand_in_its_folder_alone() {
    let words = ["\"DISSEMINATED\"", "UPLOADING_TO_S3", "FIXITY_CHECK", "dissemination.delivered", "ARCHIVE_NOT_FOUND"];
    let dps = "crates/server/src/dialect/dps/";
    free_of("crates/archive/src", &[], &words);
    free_of("crates/core/src", &[], &words);
    // The command line is a client of the contract, and speaks it.
    free_of("crates/server/src", &[dps, "crates/server/src/cli/"], &words);
}

#[test]
fn dialects_do_not_name_each_other() {
    let folders = std::fs::read_dir(repository().join("crates/server/src/dialect")).expect("a directory");
    let folders = folders.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir());
    let names: Vec<String> =
        folders.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    for name in &names {
        for other in names.iter().filter(|other| *other != name) {
            let path = format!("dialect::{other}");
            free_of(&format!("crates/server/src/dialect/{name}"), &[], &[path.as_str(), &format!("super::{other}")]);
        }
    }
}

#[test]
fn routes_are_registered_through_the_description_alone() {
    // Anything else would be missing from the walks that hold all routes against the table of rights: one over the
    // description, and one over the pages of the console, which has a list of its own.
    free_of(
        "crates/server/src",
        &["crates/server/src/http/openapi.rs", "crates/server/src/console/routes.rs"],
        &[".route(", ".route_service(", ".nest_service("],
    );
}

#[test]
fn files_stay_small_and_tests_do_not_wait_for_time_to_pass() {
    let mut found = Vec::new();
    let sleep = ["thread", "::sleep("].concat();
    for directory in ["crates/archive", "crates/core", "crates/server"] {
        for source in sources(directory) {
            let lines = source.text.lines().count();
            if lines > MAX_LINES {
                found.push(format!("{} has {lines} lines", source.path));
            }
            let is_test = source.path.contains("/tests/");
            if is_test && (source.text.contains(&sleep) || source.text.contains(&["time", "::sleep("].concat())) {
                found.push(format!("{} sleeps", source.path));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
