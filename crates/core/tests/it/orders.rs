//! Orders from their intake to their delivery, and all the ways in which they end without one.

use std::time::Duration;

use dipper_archive::digest::{Algorithm, Hasher};
use dipper_core::caller::{Caller, Role};
use dipper_core::db::orders::{FailureCode, OrderFilter};
use dipper_core::db::packages::PackageState;
use dipper_core::download::{DownloadError, Fetch};
use dipper_core::intake::{IntakeError, OrderDissemination, OrderView, Portion};
use dipper_core::link::LinkClaim;
use dipper_core::order::OrderState;
use dipper_core::settings::{Settings, Split};
use url::Url;

use super::bench::{Bench, CLIENT, CONTRACT};

pub(super) fn claim(bench: &Bench, view: &OrderView, index: usize) -> LinkClaim {
    let delivery = view.delivery.as_ref().unwrap();
    let url = Url::parse(&bench.intake.links().url(delivery, &delivery.files[index])).unwrap();
    let query = |wanted: &str| url.query_pairs().find(|(name, _)| name == wanted).unwrap().1.into_owned();
    LinkClaim {
        delivery_id: delivery.id.clone(),
        number: delivery.files[index].number,
        expires: query("expires").parse().unwrap(),
        signature: query("signature"),
    }
}

pub(super) async fn fetch(bench: &Bench, view: &OrderView, index: usize) -> Vec<u8> {
    let opened = bench.intake.download_open(&claim(bench, view, index)).await.unwrap();
    let Fetch::Computed(download) = opened else { panic!("it is not computed") };
    let mut stream = download.stream(0..download.len);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.recv().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    bytes
}

fn unpacked(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = tar::Archive::new(tar)
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
        })
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn an_order_is_verified_delivered_and_fetched() {
    let bench = Bench::new().await;
    let source = bench.source("source", &[("a.txt", b"alpha"), ("sub/ø b.txt", b"beta")]);
    let package = bench.ingest(&source, "object/1").await.unwrap();
    let ordered = bench.order(CLIENT, &package.package_id).await.unwrap();
    assert_eq!(ordered.order.state, OrderState::Received);
    assert_eq!((ordered.order.size_bytes, ordered.order.version), (9, 1));

    assert_eq!(bench.work().await, 2);
    let view = bench.view(&ordered.order).await;
    assert_eq!(view.order.state, OrderState::Delivered);
    let file = &view.delivery.as_ref().unwrap().files[0];
    assert_eq!(file.filename, "object_1.tar");

    let tar = fetch(&bench, &view, 0).await;
    assert_eq!(tar.len() as u64, file.size_bytes);
    let mut hasher = Hasher::new(Algorithm::Md5);
    hasher.update(&tar);
    assert_eq!(hasher.finish(), file.checksum);
    let files = unpacked(&tar);
    let payload: Vec<_> = files.iter().filter(|(path, _)| path.starts_with("object_1/data/")).collect();
    assert_eq!(
        payload,
        [
            &("object_1/data/a.txt".to_owned(), b"alpha".to_vec()),
            &("object_1/data/sub/ø b.txt".to_owned(), b"beta".to_vec())
        ]
    );

    let events = bench.administration.event_list(Some(&view.order.id), None, 100).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["order received", "order queued", "order recalling", "order verifying", "order delivering", "order delivered"]
    );
}

#[tokio::test]
async fn the_same_package_gives_the_same_bytes_every_time() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let first = bench.order(CLIENT, &package_id).await.unwrap().order;
    bench.work().await;
    bench.clock.advance(Duration::from_secs(86_400));
    let second = bench.order(CLIENT, &package_id).await.unwrap().order;
    bench.work().await;
    let (first, second) = (bench.view(&first).await, bench.view(&second).await);
    assert_eq!(fetch(&bench, &first, 0).await, fetch(&bench, &second, 0).await);
}

#[tokio::test]
async fn a_stored_bag_comes_back_as_it_was_deposited() {
    let bench = Bench::new().await;
    let mut md5 = Hasher::new(Algorithm::Md5);
    md5.update(b"x");
    let manifest = format!("{}  data/x\n", md5.finish());
    let files: [(&str, &[u8]); 4] = [
        ("bagit.txt", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"),
        ("manifest-md5.txt", manifest.as_bytes()),
        ("data/x", b"x"),
        ("notes/own.txt", b"a tag file of the depositor"),
    ];
    let package = bench.ingest(&bench.source("bag", &files), "bag").await.unwrap();
    let order = bench.order(CLIENT, &package.package_id).await.unwrap().order;
    bench.work().await;
    let tar = fetch(&bench, &bench.view(&order).await, 0).await;
    let mut expected: Vec<_> = files.iter().map(|(path, bytes)| (format!("bag/{path}"), bytes.to_vec())).collect();
    expected.sort();
    assert_eq!(unpacked(&tar), expected);
}

#[tokio::test]
async fn representations_are_delivered_as_files_of_their_own() {
    let bench = Bench::with(Settings { split: Split::Representation, ..Settings::default() }).await;
    let files: [(&str, &[u8]); 3] =
        [("METS.xml", b"<mets/>"), ("representations/rep1/a.tif", b"one"), ("representations/rep2/a.jpg", b"two")];
    let package = bench.ingest(&bench.source("eark", &files), "eark").await.unwrap();
    let order = bench.order(CLIENT, &package.package_id).await.unwrap().order;
    bench.work().await;
    let view = bench.view(&order).await;
    let delivered: Vec<_> = view.delivery.as_ref().unwrap().files.iter().map(|file| file.filename.as_str()).collect();
    assert_eq!(delivered, ["eark.tar", "eark_rep1.tar", "eark_rep2.tar"]);
    let payload = |tar: &[u8]| -> Vec<_> {
        unpacked(tar).into_iter().map(|(path, _)| path).filter(|path| path.starts_with("eark/data/")).collect()
    };
    assert_eq!(payload(&fetch(&bench, &view, 0).await), ["eark/data/METS.xml"]);
    assert_eq!(payload(&fetch(&bench, &view, 2).await), ["eark/data/representations/rep2/a.jpg"]);
}

#[tokio::test]
async fn damage_fails_the_order_marks_the_package_and_makes_no_link() {
    for damage in [&b"A different byte"[..], b"", b"longer than it was before by some bytes"] {
        let bench = Bench::new().await;
        let source = bench.source("source", &[("a.txt", b"a different byte"), ("b.txt", b"untouched")]);
        let package_id = bench.ingest(&source, "p").await.unwrap().package_id;
        let order = bench.order(CLIENT, &package_id).await.unwrap().order;
        std::fs::write(bench.content_file(b"a different byte"), damage).unwrap();
        bench.work().await;
        // Damage is looked at twice before it is believed.
        assert_eq!(bench.view(&order).await.order.state, OrderState::Verifying);
        bench.clock.advance(bench.installation.settings.backoff);
        bench.work().await;
        let view = bench.view(&order).await;
        assert_eq!(view.order.state, OrderState::Failed);
        let failure = view.order.failure.unwrap();
        assert_eq!(failure.code, FailureCode::Fixity);
        assert!(failure.message.contains("a.txt"), "{}", failure.message);
        assert!(view.delivery.is_none());
        assert_eq!(bench.package_state(&package_id).await, PackageState::Damaged);
        let refused = bench.order(CLIENT, &package_id).await;
        assert!(matches!(refused, Err(IntakeError::NotPreserved { state: PackageState::Damaged, .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn damage_that_others_find_between_two_looks_fails_the_order_too() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    std::fs::write(bench.content_file(b"p"), b"q").unwrap();
    bench.work().await;
    let all = dipper_core::verify::VerifyCommand::default();
    dipper_core::verify::verify(&bench.installation, all, Box::new(|_| {})).await.unwrap();
    bench.clock.advance(bench.installation.settings.backoff);
    bench.work().await;
    let view = bench.view(&order).await;
    assert_eq!((view.order.state, view.order.failure.unwrap().code), (OrderState::Failed, FailureCode::Fixity));
}

#[tokio::test]
async fn damage_after_the_delivery_breaks_the_download_off_and_marks_the_package() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    bench.work().await;
    let view = bench.view(&order).await;
    std::fs::write(bench.content_file(b"p"), b"q").unwrap();
    let opened = bench.intake.download_open(&claim(&bench, &view, 0)).await.unwrap();
    let Fetch::Computed(download) = opened else { panic!("it is not computed") };
    let mut stream = download.stream(0..download.len);
    assert!(stream.recv().await.unwrap().is_err());
    assert!(stream.recv().await.is_none());
    assert_eq!(bench.package_state(&package_id).await, PackageState::Damaged);
    let refused = bench.intake.download_open(&claim(&bench, &view, 0)).await;
    assert!(matches!(refused, Err(DownloadError::Gone(_))), "{refused:?}");
}

#[tokio::test]
async fn intake_checks_right_package_state_and_duplicates_in_that_order() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let nobody = Caller { client_id: "nobody".to_owned(), grants: Default::default(), stored: false };
    let mut stranger = nobody.clone();
    stranger.grants.add("other", Role::Read);
    let mut writer = nobody.clone();
    writer.grants.add(CONTRACT, Role::Write);
    let command = |package_id: &str| OrderDissemination {
        package_id: package_id.to_owned(),
        portion: Portion::default(),
        priority: 1,
        rank: 1,
        dialect: "test",
    };
    for caller in [&nobody, &stranger, &writer] {
        let refused = bench.intake.order_dissemination(caller, command(&package_id)).await;
        assert!(matches!(refused, Err(IntakeError::NotAllowed { role: Role::Read })), "{refused:?}");
    }
    let refused = bench.intake.order_dissemination(&nobody, command("none")).await;
    assert!(matches!(refused, Err(IntakeError::NotAllowed { .. })), "{refused:?}");
    let refused = bench.intake.order_dissemination(&stranger, command("none")).await;
    assert!(matches!(refused, Err(IntakeError::PackageUnknown(_))), "{refused:?}");

    let first = bench.order(CLIENT, &package_id).await.unwrap().order;
    let refused = bench.order(CLIENT, &package_id).await;
    assert!(matches!(refused, Err(IntakeError::AlreadyOrdered { existing }) if existing == first.id));
    bench.order("another", &package_id).await.unwrap();
    bench.work().await;
    bench.order(CLIENT, &package_id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_orders_at_once_for_the_same_package_one_is_taken() {
    let bench = std::sync::Arc::new(Bench::new().await);
    let package_id = bench.package("p").await;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (bench, package_id) = (bench.clone(), package_id.clone());
            tokio::spawn(async move { bench.order(CLIENT, &package_id).await })
        })
        .collect();
    let mut taken = Vec::new();
    let mut existing = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(view) => taken.push(view.order.id),
            Err(IntakeError::AlreadyOrdered { existing: id }) => existing.push(id),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(taken.len(), 1);
    assert!(existing.iter().all(|id| *id == taken[0]));
}

#[tokio::test]
async fn what_is_no_longer_allowed_when_its_turn_comes_is_rejected() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    bench.administration.client_revoke(CLIENT, CONTRACT, Role::Read).await.unwrap();
    bench.work().await;
    let view = bench.view(&order).await;
    assert_eq!(view.order.state, OrderState::Rejected);
    assert_eq!(view.order.failure.unwrap().code, FailureCode::NotAllowed);

    let order = bench.order("outside", &package_id).await.unwrap().order;
    let mut transaction = bench.installation.database.begin().await.unwrap();
    let now = bench.clock.now();
    dipper_core::db::packages::state_set(&mut transaction, &package_id, PackageState::Deleted, None, now)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    bench.work().await;
    let view = bench.view(&order).await;
    assert_eq!(view.order.state, OrderState::Rejected);
    assert_eq!(view.order.failure.unwrap().code, FailureCode::NotPreserved);
}

#[tokio::test]
async fn an_order_can_be_withdrawn_and_a_delivery_given_back() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let reader = bench.reader(CLIENT);
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    let refused = bench.intake.order_cancel(&bench.reader("another"), &order.id).await;
    assert!(matches!(refused, Err(IntakeError::NotAllowed { role: Role::Write })), "{refused:?}");
    let view = bench.intake.order_cancel(&reader, &order.id).await.unwrap();
    assert_eq!(view.order.state, OrderState::Cancelled);
    assert_eq!(bench.work().await, 0);

    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    bench.work().await;
    let delivered = bench.view(&order).await;
    let view = bench.intake.order_cancel(&reader, &order.id).await.unwrap();
    assert_eq!(view.order.state, OrderState::Delivered);
    assert!(view.delivery.unwrap().released.is_some());
    let refused = bench.intake.download_open(&claim(&bench, &delivered, 0)).await;
    assert!(matches!(refused, Err(DownloadError::Gone(_))), "{refused:?}");
    let refused = bench.intake.delivery_renew(&reader, &order.id).await;
    assert!(matches!(refused, Err(IntakeError::Gone(_))), "{refused:?}");
    bench.intake.order_cancel(&reader, &order.id).await.unwrap();
}

#[tokio::test]
async fn links_expire_are_renewed_and_never_outlive_the_delivery() {
    let settings = Settings {
        link_lifetime: Duration::from_secs(3600),
        delivery_kept: Duration::from_secs(5400),
        ..Settings::default()
    };
    let bench = Bench::with(settings).await;
    let package_id = bench.package("p").await;
    let reader = bench.reader(CLIENT);
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    let refused = bench.intake.delivery_renew(&reader, &order.id).await;
    assert!(matches!(refused, Err(IntakeError::NotDelivered { state: OrderState::Received, .. })), "{refused:?}");
    bench.work().await;
    let first = bench.view(&order).await;
    bench.clock.advance(Duration::from_secs(3600));
    let refused = bench.intake.download_open(&claim(&bench, &first, 0)).await;
    assert!(matches!(refused, Err(DownloadError::Expired)), "{refused:?}");
    let renewed = bench.intake.delivery_renew(&reader, &order.id).await.unwrap();
    let delivery = renewed.delivery.clone().unwrap();
    assert_eq!(delivery.expires, delivery.kept_until);
    bench.intake.download_open(&claim(&bench, &renewed, 0)).await.unwrap();
    bench.clock.advance(Duration::from_secs(1800));
    let refused = bench.intake.download_open(&claim(&bench, &renewed, 0)).await;
    assert!(matches!(refused, Err(DownloadError::Expired)), "{refused:?}");
    let refused = bench.intake.delivery_renew(&reader, &order.id).await;
    assert!(matches!(refused, Err(IntakeError::Gone(_))), "{refused:?}");
}

#[tokio::test]
async fn a_list_holds_what_the_caller_may_see_newest_first() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let package_id = bench.package(&format!("p{number}")).await;
        ids.push(bench.order(CLIENT, &package_id).await.unwrap().order.id);
    }
    bench.work().await;
    ids.reverse();
    let reader = bench.reader(CLIENT);
    let filter = OrderFilter { limit: 3, ..OrderFilter::default() };
    let first = bench.intake.order_list(&reader, &filter).await.unwrap();
    let listed: Vec<_> = first.iter().map(|view| view.order.id.clone()).collect();
    assert_eq!(listed, ids[..3]);
    assert!(first.iter().all(|view| view.delivery.as_ref().is_some_and(|delivery| delivery.files.len() == 1)));
    let rest = OrderFilter { before: Some(ids[2].clone()), ..filter.clone() };
    let rest = bench.intake.order_list(&reader, &rest).await.unwrap();
    assert_eq!(rest.iter().map(|view| view.order.id.clone()).collect::<Vec<_>>(), ids[3..]);
    let none = OrderFilter { states: Some(vec![OrderState::Failed]), ..filter.clone() };
    assert!(bench.intake.order_list(&reader, &none).await.unwrap().is_empty());
    let mut stranger = reader.clone();
    stranger.grants = [("other".to_owned(), Role::Read)].into_iter().collect();
    assert!(bench.intake.order_list(&stranger, &filter).await.unwrap().is_empty());
    let hidden = bench.intake.order_get(&stranger, &ids[0]).await;
    assert!(matches!(hidden, Err(IntakeError::OrderUnknown(_))), "{hidden:?}");
}
