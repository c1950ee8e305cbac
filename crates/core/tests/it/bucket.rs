//! An installation whose archive is in a bucket: ingest, index, verify and order on it, archive classes, and two machines
//! that would change the same object.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dipper_core::db::ingests;
use dipper_core::db::packages::{self, PackageState};
use dipper_core::index::index;
use dipper_core::ingest::IngestError;
use dipper_core::installation::{Installation, Places};
use dipper_core::order::OrderState;
use dipper_core::recovery::recover;
use dipper_core::settings::Settings;
use dipper_core::verify::{VerifyCommand, VerifyReport, verify};

use super::bench::{Bench, CLIENT, CONTRACT, files_below, places};
use super::deposit::{command, depositor, registration};
use super::gateway::Gateway;
use crate::glacier::Glacier;
use crate::postgres::TestDatabase;

const PREFIX: &str = "r";

async fn bench(server: &Glacier) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let (places, database) = places(&directory.path().join("data")).await;
    let places = Places { archive_bucket: Some(server.settings(PREFIX)), ..places };
    Bench::at(Settings::default(), directory, places, database).await
}

async fn verified(installation: &Arc<Installation>) -> VerifyReport {
    verify(installation, VerifyCommand::default(), Box::new(|_| {})).await.unwrap()
}

/// The one object of the bucket with these bytes.
fn object(server: &Glacier, bytes: &[u8]) -> std::path::PathBuf {
    let files = files_below(&server.objects(PREFIX));
    let found: Vec<_> = files.into_iter().filter(|(_, content)| content == bytes).map(|(path, _)| path).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_in_a_bucket_is_ordered_indexed_and_verified() {
    let server = Glacier::start();
    let bench = bench(&server).await;
    let package_id = bench.package("p").await;
    assert!(!bench.directory.path().join("data/archive").exists());
    let source = bench.source("second", &[("a.txt", b"p"), ("b.txt", b"new")]);
    let second = bench.ingest(&source, "p").await.unwrap();
    assert_eq!((second.version, second.new_bytes), (2, 3));
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    bench.work().await;
    assert_eq!(bench.view(&order).await.order.state, OrderState::Delivered);
    let report = verified(&bench.installation).await;
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
    assert_eq!((report.checked.objects, report.archived_files), (1, 0));

    // Another machine that has nothing but the bucket.
    let (other, _database) = places(&bench.directory.path().join("other")).await;
    let other = Places { archive_bucket: Some(server.settings(PREFIX)), ..other };
    let other = Installation::open(other, Settings::default(), bench.clock.clone()).await.unwrap();
    let other = Arc::new(other);
    let found = index(&other, None, |_| {}).await.unwrap();
    assert_eq!((found.objects, found.added), (1, 1));
    let known = packages::list(&bench.installation.database, None, None, "", 10).await.unwrap();
    let rebuilt = packages::list(&other.database, None, None, "", 10).await.unwrap();
    assert_eq!(known[0].location, rebuilt[0].location);
    assert_eq!((known[0].head, known[0].size_bytes), (rebuilt[0].head, rebuilt[0].size_bytes));

    // A byte that changes below the server.
    std::fs::write(object(&server, b"new"), b"neW").unwrap();
    let report = verified(&bench.installation).await;
    assert_eq!((report.is_valid(), report.marked), (false, 1));
    assert_eq!(bench.package_state(&package_id).await, PackageState::Damaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_becomes_a_package_in_a_bucket() {
    let (server, gateway) = (Glacier::start(), Gateway::new().await);
    let directory = tempfile::tempdir().unwrap();
    let (places, database) = places(&directory.path().join("data")).await;
    let places = Places { archive_bucket: Some(server.settings(PREFIX)), ..places };
    let settings = Settings { egress_allow: vec!["127.0.0.1".to_owned()], ..Settings::default() };
    let bench = Bench::at(settings, directory, places, database).await;
    let caller = depositor(CONTRACT);
    bench.intake.gateway_register(&caller, CONTRACT, registration(&gateway.url())).await.unwrap();
    for (version, files) in [("1", vec![("a", b"alpha".as_slice())]), ("2", vec![("a", b"alpha"), ("b", b"beta")])] {
        files.iter().for_each(|(path, bytes)| gateway.has(&format!("fg/{path}"), bytes));
        bench.intake.deposit(&caller, command("fg", version, &files)).await.unwrap();
        bench.work().await;
    }
    let stored = bench.intake.deposit_view(&caller, CONTRACT, "fg").await.unwrap();
    assert_eq!(stored.order.state, OrderState::Stored, "{:?}", stored.order.failure);
    assert_eq!((stored.deposit.version, stored.deposit.existing, stored.deposit.retrieved), (Some(2), 1, 1));
    assert_eq!(gateway.count(), 2);
    object(&server, b"alpha");
    let report = verified(&bench.installation).await;
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_an_archive_class_is_no_damage_to_anybody() {
    let server = Glacier::start();
    let bench = bench(&server).await;
    let (cold, warm) = (bench.package("cold").await, bench.package("warm").await);
    let location = packages::get(&bench.installation.database, &cold).await.unwrap().unwrap().location;
    assert!(server.freeze(&format!("{PREFIX}/{location}/v1/content"), "GLACIER") == 1);
    let report = verified(&bench.installation).await;
    assert_eq!((report.is_valid(), report.archived_files, report.marked), (true, 1, 0));
    let verified_at = |id: String| {
        let database = bench.installation.database.clone();
        async move { packages::get(&database, &id).await.unwrap().unwrap().verified }
    };
    assert!(verified_at(cold.clone()).await.is_none() && verified_at(warm).await.is_some());
    // Nor does a cold inventory make the index lose the package.
    server.freeze(&format!("{PREFIX}/{location}"), "DEEP_ARCHIVE");
    let report = index(&bench.installation, None, |_| {}).await.unwrap();
    assert_eq!((report.objects, report.archived, report.missing), (2, vec![location], 0));
    assert!(report.unreadable.is_empty());
    assert_eq!(bench.package_state(&cold).await, PackageState::Preserved);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_another_machine_changes_is_left_to_it() {
    let server = Glacier::start();
    let bench = bench(&server).await;
    let package_id = bench.package("p").await;
    let database = &bench.installation.database;
    let ocfl_id = packages::get(database, &package_id).await.unwrap().unwrap().ocfl_id;
    let lease = Duration::from_secs(60);
    let now = bench.clock.now();
    assert!(ingests::begin(database, &ocfl_id, "another machine", now, now.plus(lease)).await.unwrap());
    assert!(!ingests::begin(database, &ocfl_id, "a third", now, now.plus(lease)).await.unwrap());
    let source = bench.source("second", &[("a.txt", b"2")]);
    assert!(matches!(bench.ingest(&source, "p").await, Err(IngestError::Busy(_))));
    // It is alive: it renews what it holds.
    bench.clock.advance(lease / 2);
    assert!(ingests::renew(database, &ocfl_id, "another machine", bench.clock.now().plus(lease)).await.unwrap());
    bench.clock.advance(lease * 3 / 4);
    assert!(matches!(bench.ingest(&source, "p").await, Err(IngestError::Busy(_))));
    // It dies. Whoever comes next may go on, and the dead one's renewal comes too late.
    bench.clock.advance(lease);
    assert_eq!(bench.ingest(&source, "p").await.unwrap().version, 2);
    assert!(!ingests::renew(database, &ocfl_id, "another machine", bench.clock.now().plus(lease)).await.unwrap());
    assert!(ingests::list(database).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_machine_left_that_never_came_back_is_removed() {
    let server = Glacier::start();
    let bench = bench(&server).await;
    let database = &bench.installation.database;
    let (other, _other_database) = other_machine(&server, &bench).await;
    // It noted in the catalogue that they share what it was about to do, and died while it uploaded.
    let ocfl_id = format!("urn:dipper:{CONTRACT}:lost");
    let now = bench.clock.now();
    assert!(ingests::begin(database, &ocfl_id, "a machine that died", now, now).await.unwrap());
    leave_half(&server, &other, &ocfl_id);
    assert!(!files_below(&server.objects(PREFIX)).keys().all(|path| !is_content(path)));
    recover(&bench.installation).await.unwrap();
    assert!(files_below(&server.objects(PREFIX)).keys().any(|path| is_content(path)), "it may still come back");
    bench.clock.advance(Duration::from_secs(3 * 86_400));
    recover(&bench.installation).await.unwrap();
    assert!(files_below(&server.objects(PREFIX)).keys().all(|path| !is_content(path)));
    assert!(ingests::list(database).await.unwrap().is_empty());
}

fn is_content(path: &Path) -> bool {
    path.to_string_lossy().contains("/content/")
}

/// An installation with the same bucket and a data directory of its own.
async fn other_machine(server: &Glacier, bench: &Bench) -> (Arc<Installation>, Option<TestDatabase>) {
    let (places, database) = places(&bench.directory.path().join("machine")).await;
    let places = Places { archive_bucket: Some(server.settings(PREFIX)), ..places };
    let opened = Installation::open(places, Settings::default(), bench.clock.clone()).await;
    (Arc::new(opened.unwrap()), database)
}

/// Begins an object and loses the server in the middle of its content.
fn leave_half(server: &Glacier, machine: &Arc<Installation>, ocfl_id: &str) {
    use dipper_archive::ocfl::{DraftOptions, Expected, Start, VersionRecord};
    let archive = Arc::clone(&machine.archive);
    let id = ocfl_id.to_owned();
    server.die_after(Some(2));
    let failed = std::thread::spawn(move || {
        let draft = archive.draft(&id, &DraftOptions { session: "s", start: Start::Empty, fixity: &[] }).unwrap();
        for name in ["a", "b", "c"] {
            draft.add(name, &mut name.as_bytes(), &Expected::default(), "").unwrap();
        }
        let record = VersionRecord { created: "2026-01-31T08:00:00Z".to_owned(), message: None, user: None };
        draft.commit(record).is_err()
    });
    assert!(failed.join().unwrap());
    server.die_after(None);
}
