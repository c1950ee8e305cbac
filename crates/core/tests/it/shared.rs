//! Several processes on one catalogue: what only a database server makes possible.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dipper_core::db::claims::{self, Claim, Claimed};
use dipper_core::db::orders::Order;
use dipper_core::db::{DatabaseError, Place, Server};
use dipper_core::installation::{Installation, InstallationError, Places};
use dipper_core::intake::IntakeError;
use dipper_core::order::OrderState;
use dipper_core::settings::Settings;
use dipper_core::time::{Clock, Timestamp};
use dipper_core::wake;
use dipper_core::worker::Worker;
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, CLIENT, server};
use crate::postgres;

/// Another process of the bench's installation, on another machine: nothing but catalogue, keys and storage root is
/// common to both.
async fn another(bench: &Bench, name: &str, settings: Settings) -> Result<Arc<Installation>, InstallationError> {
    let data = bench.directory.path().join("data");
    let places = Places {
        keys: Some(data.join("keys")),
        archive: Some(data.join("archive")),
        database: bench.database.as_ref().map(server),
        ..Places::new(&bench.directory.path().join(name))
    };
    Ok(Arc::new(Installation::open(places, settings, bench.clock.clone()).await?))
}

async fn until_delivered(bench: &Bench, orders: &[Order]) {
    for order in orders {
        while bench.view(order).await.order.state != OrderState::Delivered {
            tokio::task::yield_now().await;
        }
    }
}

/// Identifiers are put in the order of their bytes, and so is everything that is listed page by page: with the rules of a
/// language, as a database may have them for all that says nothing else, small letters would come between capital ones.
#[tokio::test]
async fn texts_are_compared_byte_by_byte_whatever_the_database_is_set_to() {
    let bench = Bench::new().await;
    let database = bench.database.as_ref().unwrap();
    assert_eq!(database.psql("SELECT 'a' < 'B'"), "t", "this database has the rules of a language");
    let others = "SELECT string_agg(table_name || '.' || column_name, ' ') FROM information_schema.columns
        JOIN information_schema.tables USING (table_schema, table_name) WHERE table_schema = 'public'
        AND table_type = 'BASE TABLE' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'
        AND table_name <> '_sqlx_migrations'";
    assert_eq!(database.psql(others), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_claim_at_once_never_claim_the_same_step() {
    let bench = Bench::new().await;
    let mut expected = BTreeSet::new();
    for number in 0..60 {
        let package_id = bench.package(&format!("p{number}")).await;
        expected.insert(bench.order(CLIENT, &package_id).await.unwrap().order.id);
    }
    let mut claimers = Vec::new();
    for number in 0..8 {
        let installation = another(&bench, &format!("machine-{number}"), Settings::default()).await.unwrap();
        let now = bench.clock.now();
        claimers.push(tokio::spawn(async move {
            let mut claimed = Vec::new();
            loop {
                let until = now.plus(Duration::from_secs(60));
                let shares = &installation.settings.shares;
                let claim = Claim { holder: "claimer", now, until, room_bytes: u64::MAX, overtaking_bytes: 0, shares };
                let claimed_now = claims::claim(&installation.database, &claim).await.unwrap();
                match claimed_now {
                    Claimed::Step(lease, _) => claimed.push(lease),
                    _ if claims::outlook(&installation.database, now).await.unwrap().ready => {}
                    _ => return claimed,
                }
            }
        }));
    }
    let mut claimed = Vec::new();
    for claimer in claimers {
        claimed.extend(claimer.await.unwrap());
    }
    assert!(claimed.iter().all(|lease| (lease.fence, lease.attempt) == (1, 1)), "{claimed:?}");
    assert_eq!(claimed.len(), expected.len());
    assert_eq!(claimed.into_iter().map(|lease| lease.order_id).collect::<BTreeSet<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_two_processes_do_each_step_once() {
    let bench = Bench::new().await;
    let mut orders = Vec::new();
    for number in 0..30 {
        let package_id = bench.package(&format!("p{number}")).await;
        orders.push(bench.order(CLIENT, &package_id).await.unwrap().order);
    }
    let other = another(&bench, "other", Settings::default()).await.unwrap();
    let stop = CancellationToken::new();
    let deadline = Duration::from_secs(30);
    let running = [
        tokio::spawn(bench.worker.clone().run(stop.clone(), deadline)),
        tokio::spawn(Worker::new(other).run(stop.clone(), deadline)),
    ];
    until_delivered(&bench, &orders).await;
    stop.cancel();
    for running in running {
        running.await.unwrap();
    }
    for order in &orders {
        let events = bench.administration.event_list(Some(&order.id), None, 100).await.unwrap();
        let kinds: BTreeSet<_> = events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!((events.len(), kinds.len()), (6, 6), "{events:?}");
    }
    let attempts = bench.database.as_ref().unwrap().psql("SELECT DISTINCT state, attempts, fence FROM steps");
    assert_eq!(attempts, "done|1|1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_elsewhere_is_woken_and_does_not_have_to_look() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let patient = Settings { poll: Some(Duration::from_secs(100_000)), ..Settings::default() };
    let other = another(&bench, "other", patient).await.unwrap();
    let stop = CancellationToken::new();
    let running = [
        tokio::spawn(wake::run(bench.installation.clone(), stop.clone())),
        tokio::spawn(wake::run(other.clone(), stop.clone())),
        tokio::spawn(Worker::new(other).run(stop.clone(), Duration::from_secs(30))),
    ];
    let listening =
        || {
            bench.database.as_ref().unwrap().psql(
                "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'",
            )
        };
    while listening() != "2" {}
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    until_delivered(&bench, &[order]).await;
    stop.cancel();
    for running in running {
        running.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_done_when_it_is_due_and_not_when_somebody_looks() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    // Something that passes kept the step from its work: it is due again in a moment.
    let soon = Timestamp::now().plus(Duration::from_millis(300)).0;
    let database = bench.database.as_ref().unwrap();
    database.psql(&format!("UPDATE steps SET state = 'waiting', run_after = {soon}"));
    let data = bench.directory.path().join("data");
    let places = Places { database: Some(server(database)), ..Places::new(&data) };
    let patient = Settings { poll: Some(Duration::from_secs(100_000)), ..Settings::default() };
    let going = Arc::new(Installation::open(places, patient, Clock::system()).await.unwrap());
    let stop = CancellationToken::new();
    let running = tokio::spawn(Worker::new(going).run(stop.clone(), Duration::from_secs(30)));
    until_delivered(&bench, &[order]).await;
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_process_with_other_keys_is_refused_and_leaves_none_behind() {
    let bench = Bench::new().await;
    let places = |keys: &str| Places {
        keys: Some(bench.directory.path().join(keys)),
        database: bench.database.as_ref().map(server),
        ..Places::new(&bench.directory.path().join("stranger"))
    };
    let open = |keys: &'static str| Installation::open(places(keys), Settings::default(), Clock::system());
    let refused = open("none").await.unwrap_err();
    assert!(matches!(refused, InstallationError::KeyMissing(_)), "{refused}");
    assert!(!places("none").key_file().exists());

    std::fs::create_dir(bench.directory.path().join("wrong")).unwrap();
    std::fs::write(places("wrong").key_file(), [7; 32]).unwrap();
    let refused = open("wrong").await.unwrap_err();
    assert!(matches!(refused, InstallationError::OtherKey(_)), "{refused}");
    open("data/keys").await.unwrap();
}

#[tokio::test]
async fn the_clock_is_that_of_the_database() {
    let bench = Bench::new().await;
    let clock = Clock::system();
    clock.follow(&bench.installation.database).await.unwrap();
    let shown =
        bench.database.as_ref().unwrap().psql("SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT");
    let apart = clock.now().0.abs_diff(shown.parse().unwrap());
    assert!(apart < 1_000_000, "{apart} µs apart");
    let before = bench.clock.now();
    bench.clock.follow(&bench.installation.database).await.unwrap();
    assert_eq!(bench.clock.now(), before);
}

#[tokio::test]
async fn a_transaction_with_a_failed_statement_is_not_called_committed() {
    let bench = Bench::new().await;
    let mut transaction = bench.installation.database.begin().await.unwrap();
    let now = bench.clock.now();
    assert!(dipper_core::db::contracts::add(&mut transaction, "lost", now).await.unwrap());
    let wrong = dipper_core::db::sql("INSERT INTO contracts (id, created) VALUES ('2d17', 0)");
    assert!(transaction.execute(wrong).await.unwrap_err().is_duplicate());
    assert!(matches!(transaction.commit().await, Err(DatabaseError::RolledBack)));
    let contracts = bench.administration.contract_list().await.unwrap();
    assert_eq!(contracts.len(), 1);
}

#[tokio::test]
async fn texts_sort_by_their_bytes_and_may_hold_anything() {
    let bench = Bench::new().await;
    for name in ["a", "B", "_", "ä", "Z"] {
        bench.administration.contract_add(name).await.ok();
    }
    let listed = bench.administration.contract_list().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(listed, ["2d17", "B", "Z", "_", "a"]);
    let found = dipper_core::db::orders::get(&bench.installation.database, "no\0order").await.unwrap();
    assert_eq!(found, None);
}

#[test]
fn a_password_is_never_told() {
    let address = "postgres://dipper:hunter2@db.example.org/catalogue?sslmode=verify-full";
    let place = Place::Server(Server::new(address).unwrap());
    let told = format!("{place:?}");
    assert!(told.contains("catalogue at db.example.org:5432") && !told.contains("hunter2"), "{told}");
    for wrong in ["mysql://dipper:hunter2@db/x", "dipper:hunter2@db/x", "postgres://u:hunter2@db:port/x"] {
        let refused = Server::new(wrong).unwrap_err();
        let told = format!("{refused} {refused:?}");
        assert!(matches!(refused, DatabaseError::Address(_)) && !told.contains("hunter2"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_database_loses_nothing_and_repeats_nothing() {
    let cluster = postgres::Cluster::of_one_test();
    let database = cluster.database().await;
    let directory = tempfile::tempdir().unwrap();
    let mut server = server(&database);
    server.acquire_timeout = Duration::from_secs(1);
    let places = Places { database: Some(server), ..Places::new(&directory.path().join("data")) };
    let settings = Settings { poll: Some(Duration::from_millis(50)), worker_count: 3, ..Settings::default() };
    let bench = Bench::at(settings, directory, places, Some(database)).await;
    let mut packages = Vec::new();
    for number in 0..25 {
        packages.push(bench.package(&format!("p{number}")).await);
    }
    let stop = CancellationToken::new();
    let running = [
        tokio::spawn(wake::run(bench.installation.clone(), stop.clone())),
        tokio::spawn(bench.worker.clone().run(stop.clone(), Duration::from_secs(30))),
    ];
    let mut orders = Vec::new();
    for (number, package_id) in packages.iter().enumerate() {
        if number % 5 == 4 {
            let mode = if number % 2 == 0 { "immediate" } else { "fast" };
            let restarting = tokio::task::spawn_blocking(move || cluster.control(&["restart", "-m", mode]));
            orders.push(order_patiently(&bench, package_id).await);
            restarting.await.unwrap();
        } else {
            orders.push(order_patiently(&bench, package_id).await);
        }
    }
    for id in &orders {
        while state_patiently(&bench, id).await != OrderState::Delivered {
            // A step whose end could not be written down is taken up when its lease is over.
            bench.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    }
    stop.cancel();
    for running in running {
        running.await.unwrap();
    }
    let database = bench.database.as_ref().unwrap();
    let count = |what: &str| database.psql(&format!("SELECT COUNT(*) FROM {what}"));
    assert_eq!(count("orders"), "25");
    assert_eq!(count("deliveries"), "25");
    assert_eq!(count("events WHERE kind = 'order delivered'"), "25");
    assert_eq!(count("steps WHERE state <> 'done'"), "0");
    assert_eq!(count("steps"), "50");
}

/// Orders a package as a client does that tries again when it is told to.
async fn order_patiently(bench: &Bench, package_id: &str) -> String {
    loop {
        match bench.order(CLIENT, package_id).await {
            Ok(view) => return view.order.id,
            // Nobody knew whether it was stored; it was.
            Err(IntakeError::AlreadyOrdered { existing }) => return existing,
            Err(IntakeError::Database(error)) => assert!(error.is_busy(), "{error:?}"),
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn state_patiently(bench: &Bench, id: &str) -> OrderState {
    loop {
        match bench.intake.order_get(&bench.reader(CLIENT), id).await {
            Ok(view) => return view.order.state,
            Err(IntakeError::Database(error)) => assert!(error.is_busy(), "{error:?}"),
            Err(error) => panic!("{error:?}"),
        }
    }
}
