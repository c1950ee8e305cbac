//! Deletions and legal holds from the command line, beside a running server; and what is left when it is killed.

use std::path::PathBuf;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use serde_json::Value;

use super::cli_support::{Dipper, noise, run, wait_until};
use crate::peers;

const QUICK: [(&str, &str); 3] =
    [("DIPPER_WORKER_LEASE_SECONDS", "2"), ("DIPPER_WORKER_HEARTBEAT_SECONDS", "1"), ("DIPPER_LOG_LEVEL", "error")];

/// Whether a deletion is over; looked at now and then only, because looking takes longer than deleting.
fn is_seen_deleted(program: &Dipper, id: &str) -> bool {
    rand::random_ratio(1, 20_000) && state(program, id) == "deleted"
}

/// Stores files as a version of a package; the package's identifier.
fn ingest(program: &Dipper, object_id: &str, label: &str, files: &[(&str, &[u8])]) -> String {
    let source = format!("source-{object_id}-{label}");
    for (path, bytes) in files {
        program.write(&format!("{source}/{path}"), bytes);
    }
    let arguments = ["ingest", &source, "--contract", "2d17", "--object-id", object_id, "--version", label];
    program.json(&arguments)["archiveId"].as_str().expect("an identifier").to_owned()
}

fn order(program: &Dipper, arguments: &[&str]) -> String {
    let ordered = program.json(&[&["deletion", "order", "2d17"], arguments].concat());
    ordered["deletionId"].as_str().expect("an identifier").to_owned()
}

fn state(program: &Dipper, id: &str) -> String {
    program.json(&["deletion", "show", id])["state"].as_str().expect("a state").to_owned()
}

fn files_below(directory: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        let Ok(entries) = std::fs::read_dir(next) else { continue };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found
}

fn holds(program: &Dipper, bytes: &[u8]) -> bool {
    let archive = files_below(&program.path("data/archive"));
    archive.iter().any(|path| std::fs::read(path).is_ok_and(|found| found == bytes))
}

/// Valid for us and for others.
fn assert_sound(program: &Dipper) {
    assert_eq!(program.json(&["verify"])["valid"], true);
    let declared = files_below(&program.path("data/archive"));
    let declared = declared.iter().filter(|path| path.file_name().is_some_and(|name| name == "0=ocfl_object_1.1"));
    let objects: Vec<PathBuf> = declared.map(|path| path.parent().expect("a directory").to_owned()).collect();
    peers::ocfl_validate(&objects, peers::PURGED);
}

#[test]
fn an_operator_deletes_a_version_and_then_everything() {
    let program = Dipper::with_client();
    let archive_id = ingest(&program, "fg", "one", &[("a", b"shared"), ("b", b"only in one")]);
    ingest(&program, "fg", "two", &[("c", b"shared")]);
    let (server, url) = program.serve(&QUICK);
    // Somebody has a delivery of what goes.
    let ordered = run(program.client(&url, &["--json", "order", &archive_id, "--wait"])).json(0);
    let delivered = ordered["disseminationId"].as_str().expect("an id").to_owned();

    let why = ["--reason", "asked for by the depositor", "--by", "anna"];
    let id = order(&program, &[&["fg", "--version", "one"], &why[..]].concat());
    wait_until("the deletion", || state(&program, &id) == "deleted");
    assert!(!holds(&program, b"only in one") && holds(&program, b"shared"));
    let shown = program.json(&["package", "show", &archive_id]);
    assert_eq!(shown["versions"].as_array().map(Vec::len), Some(1), "{shown}");
    assert_sound(&program);
    // The delivery was of the version that stays.
    assert_eq!(run(program.client(&url, &["fetch", &delivered, "--output", "kept.tar"])).code, 0);

    let id = order(&program, &[&["fg"], &why[..]].concat());
    wait_until("the deletion", || state(&program, &id) == "deleted");
    assert!(!holds(&program, b"shared"));
    let stones = program.json(&["deletion", "tombstones", "2d17", "fg"]);
    let stones = stones["tombstones"].as_array().expect("a list");
    assert_eq!(stones.len(), 3);
    assert!(stones.iter().all(|stone| stone["orderedBy"] == "anna" && stone["why"] == "asked for by the depositor"));
    assert!(stones.iter().all(|stone| stone["checksums"]["sha512"].as_str().is_some_and(|sha512| sha512.len() == 128)));
    let fetched = run(program.client(&url, &["fetch", &delivered, "--output", "gone.tar"]));
    assert_ne!(fetched.code, 0, "{fetched:?}");
    let refused = run(program.client(&url, &["order", &archive_id]));
    assert_ne!(refused.code, 0, "{refused:?}");
    // The root does not bring it back.
    assert_eq!(program.json(&["index"])["objects"], 0);
    assert_eq!(program.json(&["package", "show", &archive_id])["state"], "deleted");
    assert_sound(&program);
    let ended = server.stop(Signal::TERM);
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn holds_and_approvals_are_given_and_refused() {
    let program = Dipper::with_client();
    program.write("data/dipper.toml", b"[deletion]\npolicy = \"approval\"\n");
    ingest(&program, "fg", "one", &[("a", b"1")]);
    let hold = program.json(&["hold", "set", "2d17", "--object-id", "fg", "--reason", "case 7", "--by", "olga"]);
    let hold = hold["holdId"].as_str().expect("an identifier").to_owned();
    let refused = program.run(&["deletion", "order", "2d17", "fg", "--by", "anna"]);
    assert_eq!(refused.error(7), "fg: a legal hold keeps it: case 7");
    let listed = program.json(&["hold", "list", "--contract", "2d17"]);
    assert_eq!(
        (&listed["holds"][0]["setBy"], &listed["holds"][0]["objectId"]),
        (&"operator olga".into(), &"fg".into())
    );
    program.json(&["hold", "lift", &hold, "--reason", "settled", "--by", "olga"]);
    assert_eq!(program.json(&["hold", "list"])["holds"], Value::Array(Vec::new()));
    assert_eq!(program.run(&["hold", "lift", &hold, "--by", "olga"]).code, 4);

    let id = order(&program, &["fg", "--by", "anna"]);
    let (server, _url) = program.serve(&QUICK);
    assert_eq!(state(&program, &id), "held");
    let same = program.run(&["deletion", "approve", &id, "--by", "Anna"]);
    assert_eq!(same.error(5), "anna asked for this deletion: somebody else must approve it");
    assert_eq!(program.run(&["deletion", "approve", "nothing", "--by", "olga"]).code, 4);
    assert!(holds(&program, b"1"));
    let approved = program.json(&["deletion", "approve", &id, "--by", "olga"]);
    assert_eq!(approved["approvedBy"], "operator olga");
    wait_until("the deletion", || state(&program, &id) == "deleted");
    assert!(!holds(&program, b"1"));
    assert_eq!(program.run(&["deletion", "approve", &id, "--by", "berta"]).code, 7);
    assert_eq!(program.run(&["deletion", "withdraw", &id, "--by", "anna"]).code, 7);
    let listed = program.json(&["deletion", "list", "--state", "deleted"]);
    assert_eq!(listed["deletions"][0]["deletionId"], id.as_str());
    server.stop(Signal::TERM);
}

#[test]
fn what_is_withdrawn_in_time_stays() {
    let program = Dipper::with_client();
    program.write("data/dipper.toml", b"[deletion]\npolicy = \"grace\"\ngrace_days = 1\n");
    ingest(&program, "fg", "one", &[("a", b"1")]);
    let (server, _url) = program.serve(&QUICK);
    let id = order(&program, &["fg", "--file", "a", "--by", "anna"]);
    assert_eq!(state(&program, &id), "held");
    let withdrawn = program.json(&["deletion", "withdraw", &id, "--by", "anna"]);
    assert_eq!(
        (withdrawn["state"].as_str(), &withdrawn["failure"]),
        (Some("cancelled"), &"Withdrawn by operator anna.".into())
    );
    let faults = program.run(&["deletion", "order", "2d17", "fg", "--file", "b", "--file", "c", "--by", "anna"]);
    assert_eq!(faults.code, 4, "{faults:?}");
    assert!(
        faults.stderr.contains("fg: b: there is no such file") && faults.stderr.contains("fg: c: there is"),
        "{faults:?}"
    );
    assert!(holds(&program, b"1"));
    // With no time to wait it goes at once.
    server.stop(Signal::TERM);
    program.write("data/dipper.toml", b"[deletion]\npolicy = \"grace\"\ngrace_days = 0\n");
    let (server, _url) = program.serve(&QUICK);
    let id = order(&program, &["fg", "--by", "anna"]);
    wait_until("the deletion", || state(&program, &id) == "deleted");
    assert!(!holds(&program, b"1"));
    server.stop(Signal::TERM);
}

#[test]
fn a_kill_in_the_middle_of_a_deletion_ends_before_or_after_it() {
    // One of each kind for the other engine: what is killed is the same.
    let rounds = if super::ENGINE == crate::Engine::Postgres { 2 } else { 4 };
    let seed: u64 = std::env::var("CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("CRASH_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let program = Dipper::with_client();
    let names: Vec<String> = (0..150).map(|number| format!("directory {}/{number}", number % 7)).collect();
    for round in 0..rounds {
        let object_id = format!("fg{round}");
        let gone = noise(1 << 20);
        let contents: Vec<String> = names.iter().map(|name| format!("{round} {name}")).collect();
        let mut files: Vec<(&str, &[u8])> =
            names.iter().zip(&contents).map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
        files.push(("large", &gone));
        let archive_id = ingest(&program, &object_id, "one", &files);
        ingest(&program, &object_id, "two", &files[..75]);
        ingest(&program, &object_id, "three", &[("kept", contents[0].as_bytes()), ("new", object_id.as_bytes())]);
        let archive = files_below(&program.path("data/archive"));
        let is_last = |path: &&PathBuf| std::fs::read(path).is_ok_and(|found| found == contents[100].as_bytes());
        let last = archive.iter().find(is_last).expect("it is stored");
        let (server, _url) = program.serve(&QUICK);
        let label = if round % 2 == 0 { "one" } else { "two" };
        let id = order(&program, &[&object_id, "--version", label, "--by", "anna"]);
        // It has begun when it says what it is about to do; it may also be over before that was seen.
        let intents = program.path("data/staging/intents");
        let is_intended = || std::fs::read_dir(&intents).is_ok_and(|mut entries| entries.next().is_some());
        wait_until("the beginning", || is_intended() || !last.exists() || is_seen_deleted(&program, &id));
        // How long it goes on is up to chance and the machine; every point is as good as any other.
        for _ in 0..random.random_range(0..5_000) {
            std::hint::black_box(last.exists());
        }
        println!("round {round}: {}", if is_intended() { "killed in the middle" } else { "killed before or after" });
        // Dropping it kills it.
        drop(server);
        let (server, _url) = program.serve(&QUICK);
        wait_until("the deletion", || state(&program, &id) == "deleted");
        assert!(holds(&program, contents[0].as_bytes()), "the third version has the same bytes");
        assert_eq!(holds(&program, contents[100].as_bytes()), round % 2 == 1, "only the first version has them");
        let shown = program.json(&["package", "show", &archive_id]);
        assert_eq!(shown["versions"].as_array().map(Vec::len), Some(2), "{shown}");
        let stones = program.json(&["deletion", "tombstones", "2d17", &object_id]);
        let expected = if round % 2 == 0 { files.len() } else { 75 };
        assert_eq!(stones["tombstones"].as_array().map(Vec::len), Some(expected));
        assert_sound(&program);
        let ended = server.stop(Signal::TERM);
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    assert_eq!(program.json(&["index"])["changed"], 0);
}
