//! What contracts leave in their incoming directories: picked up when it is complete, refused with a report, never lost.

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dipper_core::db::submissions::{self, Outcome, Submission, SubmissionFilter, SubmissionState};
use dipper_core::db::{events, ingests, packages};
use dipper_core::incoming::{FINISHED, PickedUp, Pickup, UNFINISHED};
use dipper_core::ingest::{IngestCommand, IngestControl, ingest};
use dipper_core::settings::{AreaSettings, Settings};
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, CLIENT, CONTRACT, files_below};

const URN: &str = "urn:nbn:de:hbz:6:1-31323";
const SETTLE: Duration = Duration::from_secs(30);

/// A bench whose files are picked up as soon as they are seen, one at a time.
async fn bench() -> Bench {
    let area = AreaSettings { settle: Duration::ZERO, ..AreaSettings::default() };
    Bench::with(Settings { worker_count: 1, area, ..Settings::default() }).await
}

/// The tar of a bag with one payload file, which names these as its external identifiers.
fn bag(content: &str, external: &[&str]) -> Vec<u8> {
    let mut hasher = dipper_archive::digest::Hasher::new(dipper_archive::digest::Algorithm::Sha256);
    hasher.update(content.as_bytes());
    bag_with(content, &hasher.finish().to_string(), external)
}

fn bag_with(content: &str, checksum: &str, external: &[&str]) -> Vec<u8> {
    let info: String = external.iter().map(|value| format!("External-Identifier: {value}\n")).collect();
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in [
        ("bagit.txt", "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"),
        ("bag-info.txt", &info),
        ("manifest-sha256.txt", &format!("{checksum}  data/x\n")),
        ("data/x", content),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("top/{path}"), bytes.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn incoming_of(bench: &Bench, contract_id: &str) -> PathBuf {
    bench.installation.areas.ensure(contract_id).unwrap().incoming()
}

/// Leaves a file in the incoming directory of the bench's contract.
fn leave(bench: &Bench, name: &str, bytes: &[u8]) -> PathBuf {
    leave_for(bench, CONTRACT, name, bytes, FINISHED)
}

fn leave_for(bench: &Bench, contract_id: &str, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
    let path = incoming_of(bench, contract_id).join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

async fn pass(bench: &Bench) -> PickedUp {
    Pickup::new(Arc::clone(&bench.installation)).pass(&CancellationToken::new()).await.unwrap()
}

const NOTHING: PickedUp = PickedUp { ingested: 0, answered: 0, refused: 0, postponed: 0 };
const ONE: PickedUp = PickedUp { ingested: 1, answered: 0, refused: 0, postponed: 0 };
const ONE_REFUSED: PickedUp = PickedUp { ingested: 0, answered: 0, refused: 1, postponed: 0 };

async fn list(bench: &Bench) -> Vec<Submission> {
    let filter = SubmissionFilter { limit: 10_000, ..SubmissionFilter::default() };
    bench.intake.submission_list(&bench.reader(CLIENT), &filter).await.unwrap()
}

/// What lies in the incoming directory, and on the shelves.
fn names(bench: &Bench) -> (Vec<String>, usize) {
    let incoming = incoming_of(bench, CONTRACT);
    let names = files_below(&incoming).into_keys();
    let names = names.map(|path| path.strip_prefix(&incoming).unwrap().to_str().unwrap().to_owned()).collect();
    let shelves = bench.installation.areas.root().join(".incoming");
    (names, if shelves.is_dir() { files_below(&shelves).len() } else { 0 })
}

/// The versions of a package, each with the name of its container.
async fn versions(bench: &Bench, object_id: &str) -> Vec<String> {
    let database = &bench.installation.database;
    let Some(package) = packages::find(database, CONTRACT, object_id).await.unwrap() else { return Vec::new() };
    let versions = packages::versions(database, &package.id).await.unwrap();
    versions.into_iter().map(|version| version.container_name.unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_file_becomes_a_package_once_it_has_settled() {
    let bench = Bench::with(Settings { worker_count: 1, ..Settings::default() }).await;
    assert_eq!(pass(&bench).await, NOTHING);
    let path = leave(&bench, "sub/März 1.tar.gz", &bag("alpha", &[]));
    assert_eq!(pass(&bench).await, NOTHING);
    assert_eq!(list(&bench).await[0].state, SubmissionState::Waiting);
    bench.clock.advance(SETTLE - Duration::from_secs(1));
    assert_eq!(pass(&bench).await, NOTHING);
    // It grows: so it is not complete yet.
    leave(&bench, "sub/März 1.tar.gz", &bag("alpha and more", &[]));
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(pass(&bench).await, NOTHING);
    bench.clock.advance(SETTLE);
    assert_eq!(pass(&bench).await, ONE);

    assert!(!path.exists());
    assert_eq!(names(&bench), (vec![], 0));
    assert_eq!(versions(&bench, "März 1").await, ["März 1.tar.gz"]);
    let done = list(&bench).await.pop().unwrap();
    assert_eq!(
        (done.state, done.object_id.as_deref(), done.version),
        (SubmissionState::Ingested, Some("März 1"), Some(1))
    );
    let events = events::list(&bench.installation.database, None, done.package_id.as_deref(), 10).await.unwrap();
    assert_eq!((events[0].kind.as_str(), events[0].agent.as_str()), ("package ingested", "area 2d17"));
    assert!(events[0].detail.ends_with("from März 1.tar.gz"), "{}", events[0].detail);
    assert_eq!(pass(&bench).await, NOTHING);
}

#[tokio::test]
async fn what_is_not_complete_is_left_alone() {
    let bench = bench().await;
    let open = leave_for(&bench, CONTRACT, "open.tar", &bag("alpha", &[]), UNFINISHED);
    for name in ["a.tar.part", ".hidden.tar", "a.filepart", "a.report.txt"] {
        leave(&bench, name, b"whatever");
    }
    std::os::unix::fs::symlink(&open, incoming_of(&bench, CONTRACT).join("link.tar")).unwrap();
    assert_eq!(pass(&bench).await, NOTHING);
    assert!(list(&bench).await.is_empty());
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(FINISHED)).unwrap();
    assert_eq!(pass(&bench).await, ONE);
    assert_eq!(versions(&bench, "open").await, ["open.tar"]);
}

#[tokio::test]
async fn a_delta_is_told_by_its_name_or_by_its_urn() {
    let bench = bench().await;
    leave(&bench, "p.tar", &bag("one", &[URN]));
    assert_eq!(pass(&bench).await, ONE);
    leave(&bench, "p.TAR", &bag("two", &[]));
    assert_eq!(pass(&bench).await, ONE);
    leave(&bench, "another-name.tar", &bag("three", &[&URN.to_uppercase()]));
    assert_eq!(pass(&bench).await, ONE);
    assert_eq!(versions(&bench, "p").await, ["p.tar", "p.TAR", "another-name.tar"]);
    assert!(versions(&bench, "another-name").await.is_empty());
    assert_eq!(list(&bench).await.pop().unwrap().object_id.as_deref(), Some("p"));
    // The same once more is nothing new.
    leave(&bench, "another-name.tar", &bag("three", &[&URN.to_uppercase()]));
    assert_eq!(pass(&bench).await, ONE);
    assert_eq!(versions(&bench, "p").await.len(), 3);

    // A URN of another contract's package names none of ours.
    bench.administration.contract_add("other").await.unwrap();
    leave_for(&bench, "other", "q.tar", &bag("four", &[URN]), FINISHED);
    assert_eq!(pass(&bench).await, ONE_REFUSED);
    let report = incoming_of(&bench, "other").join("q.tar.report.txt");
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains("belongs to another package") && report.contains("External-Identifier"), "{report}");
}

#[tokio::test]
async fn what_is_not_valid_goes_back_with_a_report_until_it_is_corrected() {
    let bench = bench().await;
    leave(&bench, "p.tar", &bag_with("alpha", &"0".repeat(64), &[]));
    leave(&bench, "notes.pdf", b"%PDF");
    let cut = bag("beta", &[]);
    leave(&bench, "cut.tar", &cut[..cut.len() - 1400]);
    let picked = pass(&bench).await;
    assert_eq!(picked, PickedUp { refused: 3, ..NOTHING });
    let all = ["cut.tar", "cut.tar.report.txt", "notes.pdf", "notes.pdf.report.txt", "p.tar", "p.tar.report.txt"];
    assert_eq!(names(&bench), (all.map(str::to_owned).to_vec(), 0));
    let report = std::fs::read_to_string(incoming_of(&bench, CONTRACT).join("p.tar.report.txt")).unwrap();
    assert!(report.contains("1 problem found") && report.contains("data/x: its sha256 checksum"), "{report}");
    assert!(!report.contains(bench.directory.path().to_str().unwrap()), "{report}");
    let notes = std::fs::read_to_string(incoming_of(&bench, CONTRACT).join("notes.pdf.report.txt")).unwrap();
    assert!(notes.contains("\nnotes.pdf") || notes.contains("1. notes.pdf"), "{notes}");
    let refused = list(&bench).await;
    assert!(refused.iter().all(|submission| submission.state == SubmissionState::Refused && !submission.taken));
    assert!(refused[2].reason.as_deref().unwrap().contains("checksum"), "{refused:?}");
    let events = events::list(&bench.installation.database, None, None, 10).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "submission refused" && !event.success).count(), 3);
    // Nothing is kept of it: a draft would be gone on with.
    assert!(packages::find(&bench.installation.database, CONTRACT, "p").await.unwrap().is_none());

    // It is not looked at again, unless its sender asks for it.
    assert_eq!(pass(&bench).await, NOTHING);
    std::fs::remove_file(incoming_of(&bench, CONTRACT).join("notes.pdf.report.txt")).unwrap();
    assert_eq!(pass(&bench).await, ONE_REFUSED);
    assert!(incoming_of(&bench, CONTRACT).join("notes.pdf.report.txt").exists());

    leave(&bench, "p.tar", &bag("alpha", &[]));
    assert_eq!(pass(&bench).await, ONE);
    assert_eq!(versions(&bench, "p").await, ["p.tar"]);
    assert_eq!(names(&bench).0, all[..4]);
    // What its sender removes is forgotten.
    std::fs::remove_file(incoming_of(&bench, CONTRACT).join("notes.pdf")).unwrap();
    pass(&bench).await;
    assert!(!list(&bench).await.iter().any(|submission| submission.name == "notes.pdf"));
}

#[tokio::test]
async fn a_file_that_is_written_to_while_it_is_read_is_not_ingested() {
    let bench = bench().await;
    let path = leave(&bench, "p.tar", &bag("alpha", &[]));
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&stop);
    let writer = std::thread::spawn(move || {
        while !ends.load(Ordering::Relaxed) {
            // What is there already, so that the archive is valid at any moment.
            file.write_all_at(b"t", 0).unwrap();
        }
    });
    assert_eq!(pass(&bench).await, NOTHING);
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(versions(&bench, "p").await.is_empty() && path.exists());
    assert_eq!(names(&bench), (vec!["p.tar".to_owned()], 0));
    assert_eq!(pass(&bench).await, ONE);
}

/// Where the file of a submission lies while it is worked on.
fn shelf(bench: &Bench, submission: &Submission) -> PathBuf {
    let shelves = bench.installation.areas.root().join(".incoming");
    shelves.join(&submission.contract_id).join(&submission.id).join(&submission.name)
}

/// A submission that was noted and then taken by a process that died, as far as the catalogue knows.
async fn taken_by_the_dead(bench: &Bench, bytes: &[u8]) -> (Submission, PathBuf) {
    let path = leave(bench, "p.tar", bytes);
    bench.clock.advance(SETTLE);
    // Noted, but not old enough.
    assert_eq!(pass(bench).await, NOTHING);
    let noted = list(bench).await.pop().unwrap();
    let now = bench.clock.now();
    assert!(submissions::take(&bench.installation.database, &noted.id, "dead", now).await.unwrap());
    bench.clock.advance(SETTLE);
    (noted, path)
}

fn put_on_shelf(bench: &Bench, submission: &Submission, path: &Path) -> PathBuf {
    let shelf = shelf(bench, submission);
    std::fs::create_dir_all(shelf.parent().unwrap()).unwrap();
    std::fs::rename(path, &shelf).unwrap();
    shelf
}

async fn end(bench: &Bench, submission: &Submission, state: SubmissionState, reason: Option<&str>) {
    let mut transaction = bench.installation.database.begin().await.unwrap();
    let outcome = Outcome { state, reason, package: None };
    assert!(submissions::end(&mut transaction, &submission.id, "dead", &outcome, bench.clock.now()).await.unwrap());
    transaction.commit().await.unwrap();
}

/// What is left after everything was picked up.
async fn assert_ingested_once(bench: &Bench) {
    let mut passes = 0;
    while pass(bench).await != NOTHING || versions(bench, "p").await.is_empty() {
        bench.clock.advance(SETTLE);
        passes += 1;
        assert!(passes < 5, "{:?}", list(bench).await);
    }
    assert_eq!(versions(bench, "p").await, ["p.tar"]);
    assert_eq!(names(bench), (vec![], 0));
    let left = list(bench).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((left[0].state, left[0].taken), (SubmissionState::Ingested, false));
}

#[tokio::test]
async fn a_crash_before_the_file_was_taken_loses_nothing() {
    let bench = Bench::new().await;
    taken_by_the_dead(&bench, &bag("alpha", &[])).await;
    assert_ingested_once(&bench).await;
}

#[tokio::test]
async fn a_crash_after_the_file_was_taken_loses_nothing() {
    let bench = Bench::new().await;
    let (submission, path) = taken_by_the_dead(&bench, &bag("alpha", &[])).await;
    put_on_shelf(&bench, &submission, &path);
    assert_ingested_once(&bench).await;
}

#[tokio::test]
async fn a_crash_after_the_version_was_committed_stores_it_once() {
    let bench = Bench::new().await;
    let (submission, path) = taken_by_the_dead(&bench, &bag("alpha", &[])).await;
    let command = IngestCommand {
        path: put_on_shelf(&bench, &submission, &path),
        contract_id: CONTRACT.to_owned(),
        object_id: "p".to_owned(),
        ..IngestCommand::default()
    };
    ingest(&bench.installation, command, IngestControl::default()).await.unwrap();
    assert_ingested_once(&bench).await;
}

#[tokio::test]
async fn a_crash_before_the_file_was_cleared_away_stores_it_once() {
    for on_shelf in [true, false] {
        let bench = Bench::new().await;
        let (submission, path) = taken_by_the_dead(&bench, &bag("alpha", &[])).await;
        let shelf = put_on_shelf(&bench, &submission, &path);
        leave(&bench, "p.tar.report.txt", b"of an earlier one");
        let command = IngestCommand {
            path: shelf.clone(),
            contract_id: CONTRACT.to_owned(),
            object_id: "p".to_owned(),
            ..IngestCommand::default()
        };
        ingest(&bench.installation, command, IngestControl::default()).await.unwrap();
        end(&bench, &submission, SubmissionState::Ingested, None).await;
        if !on_shelf {
            std::fs::remove_file(&shelf).unwrap();
        }
        assert_ingested_once(&bench).await;
    }
}

#[tokio::test]
async fn a_crash_while_a_file_goes_back_leaves_it_with_its_report() {
    let bytes = bag_with("alpha", &"0".repeat(64), &[]);
    for moved in 0..3 {
        let bench = Bench::new().await;
        let (submission, path) = taken_by_the_dead(&bench, &bytes).await;
        let shelf = put_on_shelf(&bench, &submission, &path);
        let kept = shelf.parent().unwrap().with_extension("report");
        std::fs::write(&kept, "why").unwrap();
        end(&bench, &submission, SubmissionState::Refused, Some("why")).await;
        if moved > 0 {
            std::fs::rename(&kept, incoming_of(&bench, CONTRACT).join("p.tar.report.txt")).unwrap();
        }
        if moved > 1 {
            std::fs::rename(&shelf, &path).unwrap();
        }
        assert_eq!(pass(&bench).await, NOTHING);
        assert_eq!(names(&bench), (vec!["p.tar".to_owned(), "p.tar.report.txt".to_owned()], 0), "{moved}");
        let left = list(&bench).await;
        assert_eq!((left.len(), left[0].state, left[0].taken), (1, SubmissionState::Refused, false), "{moved}");
        assert_eq!(pass(&bench).await, NOTHING);
    }
}

#[tokio::test]
async fn a_file_that_was_sent_again_meanwhile_takes_the_place_of_the_refused_one() {
    let bench = Bench::new().await;
    let (submission, path) = taken_by_the_dead(&bench, &bag_with("alpha", &"0".repeat(64), &[])).await;
    put_on_shelf(&bench, &submission, &path);
    end(&bench, &submission, SubmissionState::Refused, Some("why")).await;
    leave(&bench, "p.tar", &bag("alpha", &[]));
    assert_ingested_once(&bench).await;
}

#[tokio::test]
async fn a_file_that_nobody_remembers_goes_back() {
    let bench = bench().await;
    let stray = bench.installation.areas.root().join(".incoming").join(CONTRACT).join("lost/p.tar");
    incoming_of(&bench, CONTRACT);
    std::fs::create_dir_all(stray.parent().unwrap()).unwrap();
    std::fs::write(&stray, bag("alpha", &[])).unwrap();
    assert_eq!(pass(&bench).await, ONE);
    assert_eq!(versions(&bench, "p").await, ["p.tar"]);
}

#[tokio::test]
async fn what_passes_is_waited_for() {
    let bench = bench().await;
    let database = &bench.installation.database;
    let now = bench.clock.now();
    let ocfl_id = dipper_core::ids::ocfl_id(CONTRACT, "p");
    assert!(ingests::begin(database, &ocfl_id, "another machine", now, now.plus(SETTLE)).await.unwrap());
    leave(&bench, "p.tar", &bag("alpha", &[]));
    leave(&bench, "q.tar", &bag("beta", &[]));
    assert_eq!(pass(&bench).await, PickedUp { ingested: 1, postponed: 1, ..NOTHING });
    assert_eq!(pass(&bench).await, NOTHING);
    let waiting = list(&bench).await.swap_remove(0);
    assert_eq!((waiting.state, waiting.attempts, waiting.taken), (SubmissionState::Waiting, 1, true));
    assert!(waiting.reason.as_deref().unwrap().contains("another process"), "{waiting:?}");
    bench.clock.advance(SETTLE);
    assert_eq!(pass(&bench).await, ONE);
    assert_eq!(names(&bench), (vec![], 0));
}

#[tokio::test]
async fn two_processes_do_not_work_on_the_same_file() {
    let bench = bench().await;
    for number in 0..6 {
        leave(&bench, &format!("p{number}.tar"), &bag(&format!("content {number}"), &[]));
    }
    let (one, other) = tokio::join!(pass(&bench), pass(&bench));
    assert_eq!(one.ingested + other.ingested, 6, "{one:?} {other:?}");
    assert!(one == NOTHING || other == NOTHING, "one at a time: {one:?} {other:?}");
    assert_eq!(names(&bench), (vec![], 0));
}

#[tokio::test]
async fn a_contract_that_hands_in_much_holds_nobody_up() {
    let bench = bench().await;
    bench.administration.contract_add("small").await.unwrap();
    for number in 0..8 {
        leave(&bench, &format!("p{number}.tar"), &bag(&format!("content {number}"), &[]));
    }
    leave_for(&bench, "small", "q.tar", &bag("beta", &[]), FINISHED);
    assert_eq!(pass(&bench).await, PickedUp { ingested: 9, ..NOTHING });
    let events = events::list(&bench.installation.database, None, None, 100).await.unwrap();
    let ingested: Vec<_> = events.iter().filter(|event| event.kind == "package ingested").collect();
    let place = ingested.iter().position(|event| event.agent == "area small");
    assert!(place.is_some_and(|place| place <= 1), "{place:?}");
}

#[tokio::test]
async fn thousands_of_files_are_noted_at_once_and_a_stopped_process_takes_none() {
    let bench = Bench::new().await;
    for number in 0..3000 {
        leave(&bench, &format!("☃ {number}.zip"), b"PK");
    }
    assert_eq!(pass(&bench).await, NOTHING);
    assert_eq!(list(&bench).await.len(), 3000);
    bench.clock.advance(SETTLE);
    let stopped = CancellationToken::new();
    stopped.cancel();
    let picked = Pickup::new(Arc::clone(&bench.installation)).pass(&stopped).await.unwrap();
    assert_eq!(picked, NOTHING);
    assert!(list(&bench).await.iter().all(|submission| submission.state == SubmissionState::Waiting));
}
