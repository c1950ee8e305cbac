//! Deliveries that are put into a bucket, and everything that can go wrong on the way.

use std::num::NonZeroUsize;
use std::time::Duration;

use dipper_archive::bucket::{BucketSettings, ObjectType};
use dipper_core::db::orders::Order;
use dipper_core::db::{chores, sql};
use dipper_core::download::Fetch;
use dipper_core::link::LinkClaim;
use dipper_core::order::OrderState;
use dipper_core::settings::Settings;
use dipper_core::store::sweep::{Sweeper, Swept};
use dipper_core::time::Timestamp;
use url::Url;

use super::bench::{Bench, CLIENT};
use crate::s3::{S3Server, Wrong};

/// Content of more than one part.
fn content() -> Vec<u8> {
    (0..6_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

async fn bench(server: &S3Server, settings: Settings) -> Bench {
    Bench::storing(settings, Some(server.settings("out/dips"))).await
}

/// A bench that has no more than one part on its way, so that the first has arrived when the second is sent.
async fn one_by_one(server: &S3Server) -> Bench {
    let settings = BucketSettings { concurrency: NonZeroUsize::MIN, ..server.settings("out/dips") };
    Bench::storing(Settings::default(), Some(settings)).await
}

/// An impatient bench, so that a store that is away is noticed at once.
async fn impatient(server: &S3Server) -> Bench {
    let settings = BucketSettings { retries: 0, ..server.settings("out/dips") };
    Bench::storing(Settings::default(), Some(settings)).await
}

async fn ordered(bench: &Bench, files: &[(&str, &[u8])]) -> Order {
    let package_id = bench.ingest(&bench.source("source", files), "p").await.unwrap().package_id;
    bench.order(CLIENT, &package_id).await.unwrap().order
}

async fn noted(bench: &Bench) -> i64 {
    let row = bench.installation.database.row(sql("SELECT COUNT(*) AS n FROM uploads")).await.unwrap().unwrap();
    row.integer("n").unwrap()
}

async fn swept(bench: &Bench) -> Swept {
    Sweeper::new(bench.installation.clone()).sweep().await.unwrap()
}

async fn events(bench: &Bench, order: &Order) -> Vec<String> {
    let events = bench.administration.event_list(Some(&order.id), None, 100).await.unwrap();
    events.into_iter().map(|event| event.kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_lies_in_the_bucket_as_it_would_be_computed() {
    let server = S3Server::start();
    let bench = bench(&server, Settings::default()).await;
    let order = ordered(&bench, &[("a.bin", &content()), ("b.txt", b"beta")]).await;
    bench.work().await;
    let view = bench.view(&order).await;
    assert_eq!(view.order.state, OrderState::Delivered, "{:?}", view.order.failure);
    let delivery = view.delivery.unwrap();
    assert_eq!(server.keys(), [format!("out/dips/{}/1-1/p.tar", order.id)]);
    assert_eq!((server.unfinished(), noted(&bench).await), (0, 0));

    // The link is good, and says how the file is named and what it is.
    let answer = reqwest::get(&view.links[0]).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/x-tar");
    assert!(answer.headers()["content-disposition"].to_str().unwrap().contains("filename=\"p.tar\""));
    let fetched = answer.bytes().await.unwrap();
    assert_eq!(fetched.len() as u64, delivery.files[0].size_bytes);

    // Without the store the same delivery is computed from the archive: the same bytes.
    let url = Url::parse(&bench.intake.links().url(&delivery, &delivery.files[0])).unwrap();
    let query = |wanted: &str| url.query_pairs().find(|(name, _)| name == wanted).unwrap().1.into_owned();
    let claim = LinkClaim {
        delivery_id: delivery.id.clone(),
        number: 1,
        expires: query("expires").parse().unwrap(),
        signature: query("signature"),
    };
    let Fetch::Stored { filename, link } = bench.intake.download_open(&claim).await.unwrap() else {
        panic!("it is computed");
    };
    assert_eq!(filename, "p.tar");
    assert!(reqwest::get(&link).await.unwrap().bytes().await.unwrap() == fetched);
    let elsewhere = "UPDATE deliveries SET store = 's3://another'";
    bench.installation.database.execute(sql(elsewhere)).await.unwrap();
    let Fetch::Computed(download) = bench.intake.download_open(&claim).await.unwrap() else {
        panic!("it is stored");
    };
    let mut stream = download.stream(0..download.len);
    let mut computed = Vec::new();
    while let Some(piece) = stream.recv().await {
        computed.extend_from_slice(&piece.unwrap());
    }
    assert!(computed == fetched);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_ends_the_upload_and_no_object_appears() {
    let server = S3Server::start();
    let bench = one_by_one(&server).await;
    // The damage is the last byte: a part has gone up when it shows.
    let mut content = [content(), content()].concat();
    let order = ordered(&bench, &[("a.bin", &content)]).await;
    let file = bench.content_file(&content);
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(file, content).unwrap();
    bench.work().await;
    bench.clock.advance(bench.installation.settings.backoff);
    bench.work().await;
    assert_eq!(bench.view(&order).await.order.state, OrderState::Failed);
    let parts = server.faults.requests().iter().filter(|request| request.contains("partNumber=1")).count();
    assert_eq!(parts, 2, "damage is looked at twice, and each time a part had gone up");
    assert!(server.keys().is_empty());
    assert_eq!((server.unfinished(), noted(&bench).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_waits_for_a_store_that_is_away_and_is_no_damage() {
    let server = S3Server::start();
    let bench = impatient(&server).await;
    let order = ordered(&bench, &[("a.bin", &content())]).await;
    let settings = &bench.installation.settings;
    for wrong in [Wrong::Cut, Wrong::Answer(503, "SlowDown"), Wrong::Answer(403, "InvalidAccessKeyId")] {
        server.faults.plan("POST", "", wrong, usize::MAX);
        server.faults.plan("PUT", "", wrong, usize::MAX);
        // Many more times than a step is tried.
        for _ in 0..4 {
            bench.work().await;
            bench.clock.advance(settings.store_pause);
        }
        let view = bench.view(&order).await;
        assert!(!view.order.state.is_finished(), "{:?}", view.order.failure);
        server.faults.clear();
    }
    bench.work().await;
    let view = bench.view(&order).await;
    assert_eq!(view.order.state, OrderState::Delivered);
    assert_eq!((server.keys().len(), server.unfinished(), noted(&bench).await), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_in_between_there_is_one_object_in_the_end() {
    let table = [
        ("PUT", "partNumber=1", Wrong::Cut),
        ("PUT", "partNumber=2", Wrong::Answer(500, "InternalError")),
        ("PUT", "partNumber=2", Wrong::LostAnswer),
        ("POST", "uploadId=", Wrong::Answer(200, "InternalError")),
        ("POST", "uploadId=", Wrong::LostAnswer),
        ("HEAD", "", Wrong::Cut),
    ];
    for (method, part, wrong) in table {
        let server = S3Server::start();
        let bench = impatient(&server).await;
        let order = ordered(&bench, &[("a.bin", &content())]).await;
        server.faults.plan(method, part, wrong, 1);
        bench.work().await;
        bench.clock.advance(Duration::from_secs(20));
        bench.work().await;
        assert_eq!(server.faults.happened(), 1, "{method} {part} {wrong:?}");
        let view = bench.view(&order).await;
        assert_eq!(view.order.state, OrderState::Delivered, "{method} {part} {wrong:?}");
        assert_eq!((server.keys().len(), server.unfinished(), noted(&bench).await), (1, 0, 0), "{method} {part}");
        let fetched = reqwest::get(&view.links[0]).await.unwrap().bytes().await.unwrap();
        assert_eq!(fetched.len() as u64, view.delivery.unwrap().files[0].size_bytes);
    }
}

/// A worker that died leaves parts behind; the next one to claim the step clears them away first.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_attempt_clears_away_what_a_dead_worker_left() {
    let server = S3Server::start();
    let bench = one_by_one(&server).await;
    let order = ordered(&bench, &[("a.bin", &content())]).await;
    server.faults.plan("PUT", "partNumber=2", Wrong::Silence, 1);
    let dying = tokio::spawn({
        let worker = bench.worker.clone();
        async move { while worker.run_one(&tokio_util::sync::CancellationToken::new()).await.unwrap() {} }
    });
    while server.faults.happened() == 0 {
        tokio::task::yield_now().await;
    }
    // The thread that waits for the part lives on for a while, as that of a stalled worker would.
    dying.abort();
    assert!(server.unfinished() > 0);
    assert_eq!(noted(&bench).await, 1);
    bench.clock.advance(bench.installation.settings.lease + Duration::from_secs(1));
    bench.work().await;
    assert_eq!(bench.view(&order).await.order.state, OrderState::Delivered);
    assert_eq!(server.keys(), [format!("out/dips/{}/2-1/p.tar", order.id)]);
    assert_eq!((server.unfinished(), noted(&bench).await), (0, 0));
}

/// The same for an order that nobody works on any more.
#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_clears_away_uploads_whose_lease_is_long_over() {
    let server = S3Server::start();
    let bench = bench(&server, Settings::default()).await;
    let order = ordered(&bench, &[("a.txt", b"alpha")]).await;
    let bucket = server.bucket("out/dips");
    let key = format!("{}/1-1/p.tar", order.id);
    let (upload_id, note_key) = (bucket.begin_upload(&key, &ObjectType::default()).await.unwrap(), key.clone());
    let database = &bench.installation.database;
    let now = bench.clock.now();
    let leased = "UPDATE steps SET state = 'leased', fence = 1, holder = 'somebody', lease_until = $1";
    database.execute(sql(leased).bind(now.plus(Duration::from_secs(60)))).await.unwrap();
    let step = database.row(sql("SELECT id FROM steps")).await.unwrap().unwrap();
    let note = dipper_core::db::uploads::UploadNote {
        id: "u".to_owned(),
        store: "s3://dips/out/dips".to_owned(),
        object_key: note_key,
        upload_id: Some(upload_id),
        order_id: order.id.clone(),
        step_id: step.text("id").unwrap(),
        fence: 1,
        created: now,
    };
    dipper_core::db::uploads::insert(database, &note).await.unwrap();
    // While the lease holds, and for as long again, nothing is touched.
    for _ in 0..2 {
        assert_eq!(swept(&bench).await.uploads, 0);
        bench.clock.advance(Duration::from_secs(59));
    }
    assert!(server.unfinished() > 0);
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(swept(&bench).await.uploads, 1);
    assert_eq!((server.unfinished(), noted(&bench).await), (0, 0));
    // Should its worker wake up: it may not publish.
    let mut transaction = database.begin().await.unwrap();
    assert!(!dipper_core::db::uploads::publish(&mut transaction, "u").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_back_or_over_is_deleted_and_recorded_once() {
    let server = S3Server::start();
    let bench = bench(&server, Settings::default()).await;
    let kept = ordered(&bench, &[("a.txt", b"alpha")]).await;
    bench.work().await;
    let package_id = bench.package("other").await;
    let returned = bench.order(CLIENT, &package_id).await.unwrap().order;
    bench.work().await;
    assert_eq!(swept(&bench).await, Swept::default());
    assert_eq!(server.keys().len(), 2);

    bench.intake.order_cancel(&bench.reader(CLIENT), &returned.id).await.unwrap();
    assert!(bench.view(&returned).await.links.is_empty());
    // Deleting fails at first: nothing is recorded then.
    server.faults.plan("POST", "delete", Wrong::Answer(403, "AccessDenied"), 1);
    assert!(Sweeper::new(bench.installation.clone()).sweep().await.is_err());
    assert!(!events(&bench, &returned).await.contains(&"delivery removed".to_owned()));
    assert_eq!(swept(&bench).await.deliveries, 1);
    assert_eq!(server.keys(), [format!("out/dips/{}/1-1/p.tar", kept.id)]);
    assert_eq!(swept(&bench).await.deliveries, 0);

    bench.clock.advance(bench.installation.settings.delivery_kept);
    assert_eq!(swept(&bench).await.deliveries, 1);
    assert!(server.keys().is_empty());
    for order in [&kept, &returned] {
        let removed = events(&bench, order).await.into_iter().filter(|kind| kind == "delivery removed").count();
        assert_eq!(removed, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_nobody_remembers_go_and_other_peoples_stay() {
    let server = S3Server::start();
    let bench = bench(&server, Settings { orphan_age: Duration::ZERO, ..Settings::default() }).await;
    let order = ordered(&bench, &[("a.txt", b"alpha")]).await;
    bench.work().await;
    let delivered = format!("out/dips/{}/1-1/p.tar", order.id);
    let stays = [
        delivered.clone(),
        "out/dips/README".to_owned(),
        "out/dips/another-order/1-1/p.tar".to_owned(),
        format!("out/other/{}/1-1/p.tar", order.id),
        format!("out/dips/{}/notes.txt", order.id),
    ];
    let goes = format!("out/dips/{}/7-1/p.tar", order.id);
    for key in stays[1..].iter().chain([&goes]) {
        let file = server.objects().join(key);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x").unwrap();
    }
    assert_eq!(swept(&bench).await.orphans, 1);
    let mut stays = stays.to_vec();
    stays.sort_unstable();
    assert_eq!(server.keys(), stays);
    // The whole store is looked through now and then only.
    std::fs::write(server.objects().join(&goes), "x").unwrap();
    assert_eq!(swept(&bench).await.orphans, 0);
    bench.clock.advance(bench.installation.settings.sweep_all);
    assert_eq!(swept(&bench).await.orphans, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_sweeps_at_a_time() {
    let server = S3Server::start();
    let bench = bench(&server, Settings::default()).await;
    let order = ordered(&bench, &[("a.txt", b"alpha")]).await;
    bench.work().await;
    bench.intake.order_cancel(&bench.reader(CLIENT), &order.id).await.unwrap();
    let (database, now) = (&bench.installation.database, bench.clock.now());
    let until = now.plus(Duration::from_secs(600));
    let claimed = chores::claim(database, chores::SWEEP_DELIVERIES, "another", now, until).await.unwrap();
    assert_eq!(claimed, Some(Timestamp(0)));
    assert_eq!(swept(&bench).await, Swept::default());
    assert_eq!(server.keys().len(), 1);
    // Its time is over.
    bench.clock.advance(Duration::from_secs(601));
    assert_eq!(swept(&bench).await.deliveries, 1);
}
