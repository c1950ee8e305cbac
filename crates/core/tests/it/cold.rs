//! Cold storage: packages in archive classes are recalled, shared and waited for, without a worker that waits.

use std::time::Duration;

use dipper_archive::bucket::BucketSettings;
use dipper_archive::digest::{Algorithm, Hasher};
use dipper_archive::storage::Tier;
use dipper_core::caller::{Caller, Role};
use dipper_core::db::orders::Order;
use dipper_core::db::packages::{self, PackageState};
use dipper_core::db::restores::RestoreState;
use dipper_core::db::sql;
use dipper_core::deletion::{DeletionCommand, DeletionEntry};
use dipper_core::download::{DownloadError, Fetch};
use dipper_core::installation::Places;
use dipper_core::intake::{OrderDissemination, OrderRestore, Portion, RestoreView};
use dipper_core::order::OrderState;
use dipper_core::selection::Selection;
use dipper_core::settings::Settings;
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, CLIENT, CONTRACT, places};
use super::orders::claim;
use crate::glacier::Glacier;
use crate::s3::S3Server;

const PREFIX: &str = "r";
const OTHER: &str = "other";

/// An archive in a bucket with one package, whose files below `part` are in an archive class.
async fn cold(server: &Glacier, part: &str, class: &'static str) -> (Bench, String) {
    cold_delivering(server, part, class, None).await
}

/// The same, with a bucket that deliveries are put into.
async fn cold_delivering(
    server: &Glacier,
    part: &str,
    class: &'static str,
    deliveries: Option<BucketSettings>,
) -> (Bench, String) {
    let directory = tempfile::tempdir().unwrap();
    let (places, database) = places(&directory.path().join("data")).await;
    let places = Places { archive_bucket: Some(server.settings(PREFIX)), deliveries, ..places };
    let bench = Bench::at(Settings::default(), directory, places, database).await;
    let package_id = bench.package("p").await;
    let package = packages::get(&bench.installation.database, &package_id).await.unwrap().unwrap();
    assert!(server.freeze(&format!("{PREFIX}/{}{part}", package.location), class) > 0);
    (bench, package_id)
}

async fn order(bench: &Bench, client_id: &str, package_id: &str, rank: i64) -> Order {
    let command = OrderDissemination {
        package_id: package_id.to_owned(),
        portion: Portion::default(),
        priority: rank,
        rank,
        dialect: "test",
    };
    bench.intake.order_dissemination(&bench.reader(client_id), command).await.unwrap().order
}

async fn state(bench: &Bench, order: &Order) -> OrderState {
    bench.view(order).await.order.state
}

/// Lets the time pass after which a recall is looked at again, and works.
async fn look_again(bench: &Bench) -> u32 {
    bench.clock.advance(bench.installation.settings.recall.poll + Duration::from_secs(1));
    bench.work().await
}

/// Tiers of all recalls that were begun or made faster.
fn tiers(server: &Glacier) -> Vec<String> {
    server.recalls().into_iter().map(|(_, tier, _)| tier).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_orders_share_a_recall_and_hold_no_worker() {
    let server = Glacier::start();
    let (bench, package_id) = cold(&server, "/v1/content", "GLACIER").await;
    let one = order(&bench, CLIENT, &package_id, 50).await;
    let other = order(&bench, OTHER, &package_id, 40).await;
    bench.work().await;
    assert_eq!(
        (state(&bench, &one).await, state(&bench, &other).await),
        (OrderState::Recalling, OrderState::Recalling)
    );
    let days = bench.installation.settings.recall.days as i32;
    let recalls = server.recalls();
    assert_eq!(recalls.len(), 1, "{recalls:?}");
    assert_eq!((recalls[0].1.as_str(), recalls[0].2), ("Standard", days));
    assert!(bench.administration.step_held(10).await.unwrap().is_empty());
    let counts = bench.administration.step_counts().await.unwrap();
    assert_eq!(counts.iter().map(|count| (count.state.as_str(), count.count)).collect::<Vec<_>>(), [("waiting", 2)]);
    let under_way = bench.administration.recall_under_way(10).await.unwrap();
    assert_eq!(under_way.len(), 1, "{under_way:?}");
    let shown = &under_way[0];
    assert_eq!((shown.package_id.as_str(), shown.version, shown.orders), (package_id.as_str(), 1, 2));
    assert_eq!((shown.tier, shown.requested), (Tier::Standard, bench.clock.now()));

    // However long it takes, nothing is tried too often, and the storage is asked once for both.
    server.forget_requests();
    for _ in 0..2 * bench.installation.settings.max_attempts {
        look_again(&bench).await;
        assert_eq!(state(&bench, &one).await, OrderState::Recalling);
    }
    assert_eq!(server.recalls().len(), 1);
    let row = bench.installation.database.row(sql("SELECT MAX(attempts) AS n FROM steps WHERE state = 'waiting'"));
    assert_eq!(row.await.unwrap().unwrap().integer("n").unwrap(), 0);

    server.finish_recalls();
    look_again(&bench).await;
    assert_eq!(
        (state(&bench, &one).await, state(&bench, &other).await),
        (OrderState::Delivered, OrderState::Delivered)
    );
    assert!(bench.administration.recall_under_way(10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tier_follows_the_priority_and_is_raised_by_a_more_urgent_order() {
    let server = Glacier::start();
    let (bench, package_id) = cold(&server, "/v1/content", "GLACIER").await;
    order(&bench, CLIENT, &package_id, 10).await;
    bench.work().await;
    assert_eq!(tiers(&server), ["Bulk"]);
    let urgent = order(&bench, OTHER, &package_id, 95).await;
    bench.work().await;
    assert_eq!(tiers(&server), ["Bulk", "Expedited"]);
    // One that is less urgent takes what was asked for.
    order(&bench, "third", &package_id, 50).await;
    look_again(&bench).await;
    assert_eq!(tiers(&server), ["Bulk", "Expedited"]);
    server.finish_recalls();
    look_again(&bench).await;
    assert_eq!(state(&bench, &urgent).await, OrderState::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_cold_again_is_recalled_again_and_is_no_damage() {
    let server = Glacier::start();
    let (bench, package_id) = cold(&server, "/v1/content", "GLACIER").await;
    let first = order(&bench, CLIENT, &package_id, 50).await;
    bench.work().await;
    server.finish_recalls();
    look_again(&bench).await;
    let view = bench.view(&first).await;
    let opened = bench.intake.download_open(&claim(&bench, &view, 0)).await.unwrap();
    let Fetch::Computed(download) = opened else { panic!("it is not computed") };
    assert!(download.begin(0..download.len).await.is_ok());

    server.expire_recalls();
    let refused = download.begin(0..download.len).await;
    assert!(matches!(refused, Err(DownloadError::Archived)), "{refused:?}");
    // The catalogue still takes it for readable: the preparation finds out, and has it recalled again.
    let again = order(&bench, CLIENT, &package_id, 50).await;
    bench.work().await;
    assert_eq!(server.recalls().len(), 2);
    assert!(!state(&bench, &again).await.is_finished());
    assert_eq!(bench.package_state(&package_id).await, PackageState::Preserved);
    server.finish_recalls();
    look_again(&bench).await;
    assert_eq!(state(&bench, &again).await, OrderState::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_store_does_not_go_cold_with_the_archive() {
    let (server, store) = (Glacier::start(), S3Server::start());
    let deliveries = Some(store.settings("out/dips"));
    let (bench, package_id) = cold_delivering(&server, "/v1/content", "GLACIER", deliveries).await;
    let first = order(&bench, CLIENT, &package_id, 50).await;
    bench.work().await;
    assert_eq!((state(&bench, &first).await, store.keys().len()), (OrderState::Recalling, 0));
    server.finish_recalls();
    look_again(&bench).await;
    let view = bench.view(&first).await;
    assert_eq!((view.order.state, store.keys().len()), (OrderState::Delivered, 1));

    server.expire_recalls();
    let fetched = reqwest::get(&view.links[0]).await.unwrap();
    assert_eq!(fetched.status(), 200);
    assert_eq!(fetched.bytes().await.unwrap().len() as u64, view.delivery.unwrap().files[0].size_bytes);
    // For another order the catalogue still takes it for readable. What had begun to go up is cleared away again.
    let second = order(&bench, CLIENT, &package_id, 50).await;
    bench.work().await;
    assert_eq!((state(&bench, &second).await.is_finished(), server.recalls().len()), (false, 2));
    assert_eq!((store.keys().len(), store.unfinished()), (1, 0));
    server.finish_recalls();
    look_again(&bench).await;
    assert_eq!((state(&bench, &second).await, store.keys().len()), (OrderState::Delivered, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_inventory_is_recalled_with_the_content() {
    let server = Glacier::start();
    let (bench, package_id) = cold(&server, "", "DEEP_ARCHIVE").await;
    let order = order(&bench, CLIENT, &package_id, 100).await;
    bench.work().await;
    assert_eq!(state(&bench, &order).await, OrderState::Recalling);
    // There is no faster tier in this class.
    assert!(tiers(&server).len() > 2 && tiers(&server).iter().all(|tier| tier == "Standard"), "{:?}", tiers(&server));
    server.finish_recalls();
    look_again(&bench).await;
    assert_eq!(state(&bench, &order).await, OrderState::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_withdrawn_while_it_waits_is_not_looked_at_again() {
    let server = Glacier::start();
    let (bench, package_id) = cold(&server, "/v1/content", "GLACIER").await;
    let order = order(&bench, CLIENT, &package_id, 50).await;
    bench.work().await;
    bench.intake.order_cancel(&bench.reader(CLIENT), &order.id).await.unwrap();
    server.finish_recalls();
    assert_eq!(look_again(&bench).await, 0);
    assert_eq!(state(&bench, &order).await, OrderState::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recall_that_the_storage_refuses_is_tried_again_and_fails_in_the_end() {
    let server = Glacier::start();
    let (bench, package_id) = cold(&server, "/v1/content", "GLACIER").await;
    let order = order(&bench, CLIENT, &package_id, 50).await;
    server.die_after(Some(0));
    for _ in 0..bench.installation.settings.max_attempts {
        bench.work().await;
        assert!(!state(&bench, &order).await.is_finished() || bench.work().await == 0);
        bench.clock.advance(bench.installation.settings.max_backoff);
    }
    let view = bench.view(&order).await;
    assert_eq!(view.order.state, OrderState::Failed);
    let failure = view.order.failure.unwrap();
    assert!(failure.message.contains("cold storage"), "{failure:?}");
    assert_eq!(bench.package_state(&package_id).await, PackageState::Preserved);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recall_that_never_ends_is_given_up() {
    let server = Glacier::start();
    let (bench, package_id) = cold(&server, "/v1/content", "GLACIER").await;
    let order = order(&bench, CLIENT, &package_id, 50).await;
    bench.work().await;
    bench.clock.advance(bench.installation.settings.recall.give_up);
    look_again(&bench).await;
    let view = bench.view(&order).await;
    assert_eq!(view.order.state, OrderState::Failed);
    assert!(view.order.failure.unwrap().message.contains("within 120 hours"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_died_after_it_asked_is_followed_by_another() {
    let server = Glacier::start();
    let (bench, package_id) = cold(&server, "/v1/content", "GLACIER").await;
    let order = order(&bench, CLIENT, &package_id, 50).await;
    // Admitted; then the recall's requests reach the storage, and the catalogue never hears of it.
    assert!(bench.worker.run_one(&CancellationToken::new()).await.unwrap());
    let lost = "UPDATE steps SET state = 'leased', holder = 'dead', fence = fence + 1, attempts = 1, lease_until = $1
                WHERE state = 'ready'";
    bench.installation.database.execute(sql(lost).bind(bench.clock.now())).await.unwrap();
    let package = packages::get(&bench.installation.database, &package_id).await.unwrap().unwrap();
    let storage = std::sync::Arc::clone(bench.installation.archive.storage());
    let asking = move || {
        let cold = storage.availability(&package.location, &|_| true).unwrap();
        for (path, _) in cold {
            let path = format!("{}/{path}", package.location);
            storage.recall(&path, dipper_archive::storage::Tier::Standard, 8).unwrap();
        }
    };
    tokio::task::spawn_blocking(asking).await.unwrap();
    bench.clock.advance(Duration::from_secs(1));
    bench.work().await;
    assert_eq!(state(&bench, &order).await, OrderState::Recalling);
    assert_eq!(server.recalls().len(), 1);
    server.finish_recalls();
    look_again(&bench).await;
    assert_eq!(state(&bench, &order).await, OrderState::Delivered);
}

async fn restore(bench: &Bench, client_id: &str) -> RestoreView {
    let selections = vec![Selection { object_id: "p".to_owned(), version: None, files: None }];
    let command = OrderRestore { selections, request: Vec::new(), dialect: "test" };
    bench.intake.restore_order(&bench.reader(client_id), command).await.unwrap()
}

async fn restored(bench: &Bench, client_id: &str, id: &str) -> (OrderState, RestoreState) {
    let view = bench.intake.restore_get(&bench.reader(client_id), id).await.unwrap();
    (view.restore.order, view.state)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_restore_are_recalled_before_they_are_checked() {
    let server = Glacier::start();
    let (bench, package_id) = cold(&server, "/v1/content", "GLACIER").await;
    let one = restore(&bench, CLIENT).await.restore;
    bench.work().await;
    assert_eq!(restored(&bench, CLIENT, &one.id).await, (OrderState::Recalling, RestoreState::Accepted));
    assert_eq!(tiers(&server), ["Standard"]);
    // It is waited for without a worker, and asked for once.
    assert!(bench.administration.step_held(10).await.unwrap().is_empty());
    for _ in 0..2 * bench.installation.settings.max_attempts {
        look_again(&bench).await;
    }
    assert_eq!(restored(&bench, CLIENT, &one.id).await.0, OrderState::Recalling);
    assert_eq!(server.recalls().len(), 1);
    server.finish_recalls();
    look_again(&bench).await;
    assert_eq!(restored(&bench, CLIENT, &one.id).await, (OrderState::Delivered, RestoreState::Staged));
    let reader = bench.reader(CLIENT);
    let file = bench.intake.restored_open(&reader, &one.id, "p", "a.txt").await.unwrap();
    assert!(file.download.begin(0..1).await.is_ok());

    // What went cold again cannot be fetched, is no damage, and is recalled for whoever asks for it anew.
    server.expire_recalls();
    assert!(matches!(file.download.begin(0..1).await, Err(DownloadError::Archived)));
    assert_eq!(bench.package_state(&package_id).await, PackageState::Preserved);
    let other = restore(&bench, OTHER).await.restore;
    bench.work().await;
    assert_eq!((restored(&bench, OTHER, &other.id).await.0, server.recalls().len()), (OrderState::Recalling, 2));
    bench.clock.advance(bench.installation.settings.recall.give_up);
    look_again(&bench).await;
    assert_eq!(restored(&bench, OTHER, &other.id).await.0, OrderState::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_looked_up_in_inventories_and_needs_no_recall() {
    let server = Glacier::start();
    let (bench, package_id) = cold(&server, "/v1/content", "DEEP_ARCHIVE").await;
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(b"p");
    let entry = |checksum: String| DeletionEntry {
        filegroup: "p".to_owned(),
        version: None,
        files: Some(vec![("a.txt".to_owned(), Some(checksum))]),
    };
    let command = |checksum| DeletionCommand {
        contract_id: CONTRACT.to_owned(),
        dialect: "test",
        checksum: Algorithm::Sha512,
        reason: None,
        entries: vec![entry(checksum)],
        request: None,
    };
    let grants = [(CONTRACT.to_owned(), Role::Read), (CONTRACT.to_owned(), Role::Write)].into_iter().collect();
    let gateway = Caller { client_id: "gateway".to_owned(), grants, stored: false };
    assert!(bench.intake.deletion(&gateway, command("0".repeat(128))).await.is_err());
    bench.intake.deletion(&gateway, command(hasher.finish().to_string())).await.unwrap();
    bench.work().await;
    assert_eq!((bench.package_state(&package_id).await, server.recalls().len()), (PackageState::Deleted, 0));
}
