//! A database that goes away in the middle of something: what has been computed is not computed again, and nobody waits
//! for ever.

use std::time::{Duration, Instant};

use dipper_core::db::orders::Order;
use dipper_core::db::{Database, DatabaseError, Place, sql};
use dipper_core::installation::Places;
use dipper_core::order::OrderState;
use dipper_core::settings::Settings;

use super::bench::{Bench, CLIENT};
use crate::postgres::{self, TestDatabase};
use crate::wire::Wire;

/// A bench that reaches its database over a wire, with an order.
async fn over(wire: &Wire, database: TestDatabase, settings: Settings) -> (Bench, Order) {
    let directory = tempfile::tempdir().unwrap();
    let server = wire.server(&database);
    let places = Places { database: Some(server), ..Places::new(&directory.path().join("data")) };
    let bench = Bench::at(settings, directory, places, Some(database)).await;
    let package_id = bench.package("p").await;
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    (bench, order)
}

/// Ends the connection of whoever writes a delivery, so many times.
fn end_connections(bench: &Bench, times: u32) {
    bench.database.as_ref().unwrap().psql(&format!(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION end_connection() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('tries') <= {times} THEN
                 PERFORM pg_terminate_backend(pg_backend_pid());
                 PERFORM pg_sleep(60);
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER end_connection BEFORE INSERT ON deliveries FOR EACH ROW EXECUTE FUNCTION end_connection()"
    ));
}

/// How the preparation stands: its state, its attempts and claims, and how often it was published and recorded.
fn preparation(bench: &Bench) -> String {
    bench.database.as_ref().unwrap().psql(
        "SELECT state, attempts, fence, (SELECT COUNT(*) FROM deliveries),
             (SELECT COUNT(*) FROM events WHERE kind = 'order delivered')
         FROM steps WHERE kind = 'prepare'",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_published_when_the_database_is_back_and_the_package_is_read_once() {
    let database = postgres::database().await;
    let wire = Wire::to(&database);
    let (bench, order) = over(&wire, database, Settings::default()).await;
    end_connections(&bench, 3);
    assert_eq!(bench.work().await, 2);
    assert_eq!(bench.view(&order).await.order.state, OrderState::Delivered);
    assert_eq!(preparation(&bench), "done|1|1|1|1");
    assert_eq!(bench.database.as_ref().unwrap().psql("SELECT last_value FROM tries"), "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_whose_answer_was_lost_is_found_to_have_taken_place() {
    let database = postgres::database().await;
    let wire = Wire::to(&database);
    let (bench, order) = over(&wire, database, Settings::default()).await;
    wire.lose_commit_after("order delivered");
    assert_eq!(bench.work().await, 2);
    assert_eq!(wire.lost(), 1);
    let view = bench.view(&order).await;
    assert_eq!((view.order.state, view.links.len()), (OrderState::Delivered, 1));
    assert_eq!(preparation(&bench), "done|1|1|1|1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stays_away_is_waited_for_no_longer_than_the_lease() {
    let database = postgres::database().await;
    let wire = Wire::to(&database);
    let settings = Settings { lease: Duration::from_secs(1), ..Settings::default() };
    let (bench, order) = over(&wire, database, settings).await;
    end_connections(&bench, 1_000_000);
    bench.work().await;
    assert_eq!(preparation(&bench), "waiting|1|1|0|0");
    bench.database.as_ref().unwrap().psql("DROP TRIGGER end_connection ON deliveries");
    bench.clock.advance(Duration::from_secs(60));
    bench.work().await;
    assert_eq!(bench.view(&order).await.order.state, OrderState::Delivered);
    assert_eq!(preparation(&bench), "done|2|2|1|1");
}

/// Longer than any wait of the test below, and shorter than that of a connection that nobody gives up.
const SOON: Duration = Duration::from_secs(20);

/// What comes of a call that may not hang.
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, call).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_holds_nobody_for_ever() {
    let test_database = postgres::database().await;
    let wire = Wire::to(&test_database);
    let mut server = wire.server(&test_database);
    server.max_connections = 4;
    server.acquire_timeout = Duration::from_millis(500);
    server.statement_timeout = Duration::from_millis(500);
    let place = Place::Server(server);
    let database = Database::open(&place).await.unwrap();
    let mut listener = database.listen().await.unwrap().unwrap();
    let mut begun = database.begin().await.unwrap();
    let insert = || sql("INSERT INTO contracts (id, created) VALUES ('lost', 0)");
    begun.execute(insert()).await.unwrap();

    wire.hush(true);
    let began = Instant::now();
    // In the middle of a transaction, at its end, and before one; with a connection at hand, and without.
    let refused = in_time(begun.execute(sql("DELETE FROM contracts"))).await.unwrap_err();
    assert!(matches!(refused, DatabaseError::Silent) && refused.is_busy(), "{refused:?}");
    assert!(in_time(begun.commit()).await.is_err());
    for _ in 0..6 {
        let (checked, begun, opened) =
            in_time(async { tokio::join!(database.check(), database.begin(), Database::schema(&place)) }).await;
        for refused in [checked.unwrap_err(), begun.map(|_| ()).unwrap_err(), opened.map(|_| ()).unwrap_err()] {
            assert!(refused.is_busy(), "{refused:?}");
        }
    }
    assert!(tokio::time::timeout(Duration::from_millis(500), listener.check()).await.is_err());
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());

    wire.hush(false);
    // Every place in the pool can be taken again: none is held by a connection that has been given up.
    let all = async {
        loop {
            let begun = tokio::join!(database.begin(), database.begin(), database.begin(), database.begin());
            if let (Ok(_), Ok(_), Ok(_), Ok(_)) = begun {
                return;
            }
        }
    };
    in_time(all).await;
    assert_eq!(test_database.psql("SELECT COUNT(*) FROM contracts"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_ended_at_the_server_too() {
    let test_database = postgres::database().await;
    let mut server = super::bench::server(&test_database);
    server.statement_timeout = Duration::from_secs(1);
    let database = Database::open(&Place::Server(server)).await.unwrap();
    let refused = in_time(database.rows(sql("SELECT CAST(pg_sleep(1000) AS TEXT) AS slept"))).await.unwrap_err();
    assert!(refused.is_busy(), "{refused:?}");
    let sleeping = || {
        test_database
            .psql("SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE 'SELECT CAST(pg_sleep%' AND state = 'active'")
    };
    let began = Instant::now();
    while sleeping() != "0" {
        assert!(began.elapsed() < SOON);
    }
}
