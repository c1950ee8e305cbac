//! How far the work on a step is, from the worker that does it to the record that others read, while it is held in its middle.

use std::time::Duration;

use dipper_core::caller::{Caller, Role};
use dipper_core::db::steps::{self, StepKind, Worked};
use dipper_core::installation::Places;
use dipper_core::intake::OrderRestore;
use dipper_core::order::OrderState;
use dipper_core::selection::Selection;
use dipper_core::settings::Settings;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, CLIENT, CONTRACT, places};
use crate::glacier::Glacier;

const FIRST: usize = 70_000;
const SECOND: usize = 30_000;
const LAST: usize = 100_000;

/// A package of three files in a bucket, and a worker that often says how far it is.
async fn bench(server: &Glacier) -> (Bench, String) {
    let directory = tempfile::tempdir().unwrap();
    let (places, database) = places(&directory.path().join("data")).await;
    let places = Places { archive_bucket: Some(server.settings("r")), ..places };
    let settings = Settings { heartbeat: Duration::from_millis(1), ..Settings::default() };
    let bench = Bench::at(settings, directory, places, database).await;
    let files = [("a.bin", vec![1; FIRST]), ("b.bin", vec![2; SECOND]), ("last.bin", vec![3; LAST])];
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (*path, bytes.as_slice())).collect();
    let package = bench.ingest(&bench.source("source", &files), "p").await.unwrap();
    (bench, package.package_id)
}

/// Has an order carried out, of which the last file is held.
fn begun(bench: &Bench, server: &Glacier) -> JoinHandle<()> {
    server.hold("last.bin");
    let worker = bench.worker.clone();
    tokio::spawn(async move { while worker.run_one(&CancellationToken::new()).await.unwrap() {} })
}

/// What is on record, once so much of it was read.
async fn recorded(bench: &Bench, order_id: &str, least: u64) -> Worked {
    let reading = async {
        loop {
            match steps::worked(&bench.installation.database, order_id).await.unwrap() {
                Some(worked) if worked.done_bytes >= least => return worked,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("it is put on record")
}

/// What an operator is shown of the one step that runs.
async fn shown(bench: &Bench) -> (StepKind, Worked) {
    let grants = [(CONTRACT.to_owned(), Role::Operator)].into_iter().collect();
    let operator = Caller { client_id: "olga".to_owned(), grants, stored: false };
    let running = bench.intake.oversight().work(&operator).await.unwrap().running;
    assert_eq!(running.len(), 1, "{running:?}");
    (running[0].kind, running[0].worked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_says_how_much_of_it_was_read() {
    let server = Glacier::start();
    let (bench, package_id) = bench(&server).await;
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    assert_eq!(bench.intake.order_worked(&bench.reader(CLIENT), &order.id).await.unwrap(), None);
    let working = begun(&bench, &server);
    let before_last = (FIRST + SECOND) as u64;
    let worked = recorded(&bench, &order.id, before_last).await;
    assert!(worked.done_bytes + LAST as u64 <= worked.all_bytes, "{worked:?}");
    assert_eq!(bench.intake.order_worked(&bench.reader(CLIENT), &order.id).await.unwrap(), Some(worked));
    assert_eq!(shown(&bench).await, (StepKind::Prepare, worked));
    server.release();
    working.await.unwrap();
    let view = bench.view(&order).await;
    assert_eq!(view.order.state, OrderState::Delivered);
    assert_eq!(view.delivery.unwrap().files[0].size_bytes, worked.all_bytes);
    assert_eq!(steps::worked(&bench.installation.database, &order.id).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_says_how_much_of_it_was_checked() {
    let server = Glacier::start();
    let (bench, _) = bench(&server).await;
    let selections = vec![Selection { object_id: "p".to_owned(), version: None, files: None }];
    let command = OrderRestore { selections, request: Vec::new(), dialect: "test" };
    let restore = bench.intake.restore_order(&bench.reader(CLIENT), command).await.unwrap().restore;
    let working = begun(&bench, &server);
    let before_last = (FIRST + SECOND) as u64;
    let worked = recorded(&bench, &restore.id, before_last).await;
    assert_eq!(worked, Worked { done_bytes: before_last, all_bytes: before_last + LAST as u64 });
    assert_eq!(shown(&bench).await, (StepKind::Check, worked));
    server.release();
    working.await.unwrap();
    let ended = bench.intake.restore_get(&bench.reader(CLIENT), &restore.id).await.unwrap();
    assert_eq!(ended.restore.order, OrderState::Delivered);
    assert_eq!(steps::worked(&bench.installation.database, &restore.id).await.unwrap(), None);
}
