//! Rebuilding the catalogue, adopting what other software made, and catching up after a crash.

use std::sync::Arc;

use dipper_core::db::packages::{self, PackageState};
use dipper_core::db::{ingests, sql};
use dipper_core::index::{IndexError, index};
use dipper_core::installation::Installation;
use dipper_core::recovery::recover;
use dipper_core::settings::Settings;

use super::bench::{Bench, CLIENT, CONTRACT, places};
use crate::postgres::TestDatabase;

async fn fresh_catalogue(bench: &Bench) -> (Arc<Installation>, Option<TestDatabase>) {
    let (mut places, database) = places(&bench.directory.path().join("again")).await;
    places.archive = Some(bench.directory.path().join("data/archive"));
    (Arc::new(Installation::open(places, Settings::default(), bench.clock.clone()).await.unwrap()), database)
}

#[tokio::test]
async fn a_catalogue_built_from_the_root_says_what_the_lost_one_said() {
    let bench = Bench::new().await;
    let source = bench.source("source", &[("a", b"alpha")]);
    bench.ingest_as(&source, "p/1 ø", Some("first")).await.unwrap();
    bench.source("source", &[("b", b"beta")]);
    bench.ingest_as(&source, "p/1 ø", Some("second")).await.unwrap();
    bench.package("other").await;
    let (again, _database) = fresh_catalogue(&bench).await;
    let report = index(&again, None, |_| {}).await.unwrap();
    assert_eq!((report.objects, report.added, report.unreadable.len()), (2, 2, 0));
    let known = packages::list(&bench.installation.database, None, None, "", 10).await.unwrap();
    let rebuilt = packages::list(&again.database, None, None, "", 10).await.unwrap();
    assert_eq!(rebuilt, known);
    for package in &known {
        let versions = packages::versions(&bench.installation.database, &package.id).await.unwrap();
        assert_eq!(packages::versions(&again.database, &package.id).await.unwrap(), versions);
    }
    let report = index(&again, None, |_| {}).await.unwrap();
    assert_eq!((report.added, report.changed, report.missing), (0, 0, 0));
}

#[tokio::test]
async fn what_is_gone_from_the_root_is_marked_and_comes_back() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let package = packages::get(&bench.installation.database, &package_id).await.unwrap().unwrap();
    let place = bench.directory.path().join("data/archive").join(&package.location);
    let aside = bench.directory.path().join("aside");
    std::fs::rename(&place, &aside).unwrap();
    assert_eq!(index(&bench.installation, None, |_| {}).await.unwrap().missing, 1);
    assert_eq!(bench.package_state(&package_id).await, PackageState::Missing);
    std::fs::rename(&aside, &place).unwrap();
    assert_eq!(index(&bench.installation, None, |_| {}).await.unwrap().changed, 1);
    assert_eq!(bench.package_state(&package_id).await, PackageState::Preserved);
}

#[tokio::test]
async fn objects_of_other_software_are_adopted_by_a_contract() {
    let bench = Bench::new().await;
    let storage: Arc<dyn dipper_archive::storage::Storage> =
        Arc::new(dipper_archive::storage::LocalStorage::open(&bench.directory.path().join("data/archive")).unwrap());
    // The shape that other software writes: an identifier of its own, sha256, no message.
    for (path, bytes) in foreign_object() {
        storage.write(&format!("elsewhere/obj/{path}"), &bytes, dipper_archive::storage::Condition::None).unwrap();
    }
    let report = index(&bench.installation, None, |_| {}).await.unwrap();
    assert_eq!((report.objects, report.foreign, report.added), (1, 1, 0));
    let refused = index(&bench.installation, Some("unknown"), |_| {}).await;
    assert!(matches!(refused, Err(IndexError::ContractUnknown(_))), "{refused:?}");
    let report = index(&bench.installation, Some(CONTRACT), |_| {}).await.unwrap();
    assert_eq!((report.foreign, report.added), (0, 1));
    let found = packages::find(&bench.installation.database, CONTRACT, "ark:/12345/x").await.unwrap().unwrap();
    assert_eq!((found.location.as_str(), found.size_bytes), ("elsewhere/obj", 5));
    let order = bench.order(CLIENT, &found.id).await.unwrap().order;
    bench.work().await;
    assert!(bench.view(&order).await.delivery.is_some());
}

fn foreign_object() -> Vec<(&'static str, Vec<u8>)> {
    use dipper_archive::digest::{Algorithm, Hasher};
    let sha256 = |bytes: &[u8]| {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish().to_string()
    };
    let digest = sha256(b"hello");
    let inventory = format!(
        r#"{{"id":"ark:/12345/x","type":"https://ocfl.io/1.1/spec/#inventory","digestAlgorithm":"sha256","head":"v1",
            "manifest":{{"{digest}":["v1/content/hello.txt"]}},
            "versions":{{"v1":{{"created":"2020-01-02T03:04:05Z","state":{{"{digest}":["hello.txt"]}}}}}}}}"#
    );
    let sidecar = format!("{} inventory.json\n", sha256(inventory.as_bytes()));
    vec![
        ("0=ocfl_object_1.1", b"ocfl_object_1.1\n".to_vec()),
        ("inventory.json", inventory.clone().into_bytes()),
        ("inventory.json.sha256", sidecar.clone().into_bytes()),
        ("v1/inventory.json", inventory.into_bytes()),
        ("v1/inventory.json.sha256", sidecar.into_bytes()),
        ("v1/content/hello.txt", b"hello".to_vec()),
    ]
}

#[tokio::test]
async fn a_version_that_a_crash_kept_from_the_catalogue_is_found_at_the_next_start() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    // As a crash between the commit in the archive and the one in the catalogue leaves it.
    let database = &bench.installation.database;
    let ocfl_id = packages::get(database, &package_id).await.unwrap().unwrap().ocfl_id;
    let now = bench.clock.now();
    assert!(ingests::begin(database, &ocfl_id, "a machine that died", now, now).await.unwrap());
    database.execute(sql("DELETE FROM versions")).await.unwrap();
    database.execute(sql("DELETE FROM packages")).await.unwrap();
    recover(&bench.installation).await.unwrap();
    assert_eq!(bench.package_state(&package_id).await, PackageState::Preserved);
    assert_eq!(ingests::list(database).await.unwrap().len(), 1);
    bench.clock.advance(std::time::Duration::from_secs(2 * 86_400));
    recover(&bench.installation).await.unwrap();
    assert!(ingests::list(database).await.unwrap().is_empty());
}
