//! What claiming a step costs when much is queued: the median with 1,000,000 orders beside that with 1,000.
//!
//! Run by hand with `cargo bench -p dipper-core --bench claim`. Both queues are measured in turns in one run, so that
//! the ratio says more than the figures. The bound is 2.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and may end where it stands"
)]

use std::time::{Duration, Instant};

use dipper_core::db::claims::{Claim, Claimed, claim};
use dipper_core::db::steps::{self, StepEnd};
use dipper_core::db::{Database, Place, Server, Statement, sql};
use dipper_core::share::Shares;
use dipper_core::time::Timestamp;

#[path = "../tests/it/postgres.rs"]
mod postgres;

const SHORT: u64 = 1_000;
const LONG: u64 = 1_000_000;
const CONTRACTS: u64 = 20;
const CLAIMS: usize = 400;
const BOUND: f64 = 2.0;

#[tokio::main]
async fn main() {
    println!("claiming a step, {CONTRACTS} contracts, median of {CLAIMS}; bound {BOUND}");
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let server = |database: &postgres::TestDatabase| Place::Server(Server::new(&database.url()).expect("an address"));
    let file = |orders: u64| Place::File(directory.path().join(format!("{orders}.db")));
    let (short, long) = (queue(&file(SHORT), SHORT).await, queue(&file(LONG), LONG).await);
    compare("SQLite", &short, &long).await;
    let (for_short, for_long) = (postgres::database().await, postgres::database().await);
    let short = queue(&server(&for_short), SHORT).await;
    let long = queue(&server(&for_long), LONG).await;
    compare("PostgreSQL", &short, &long).await;
}

async fn compare(engine: &str, short: &Database, long: &Database) {
    let (mut with_short, mut with_long) = (Vec::new(), Vec::new());
    for _ in 0..CLAIMS {
        with_short.push(claim_one(short).await);
        with_long.push(claim_one(long).await);
    }
    let (with_short, with_long) = (median(with_short), median(with_long));
    let ratio = with_long.as_secs_f64() / with_short.as_secs_f64();
    let verdict = if ratio <= BOUND { "kept" } else { "BROKEN" };
    println!(
        "  {engine}: {SHORT} queued {} µs, {LONG} queued {} µs: {ratio:.2} {verdict}",
        with_short.as_micros(),
        with_long.as_micros()
    );
}

/// How long a claim takes. The step is ended afterwards, so that the next claim finds another one.
async fn claim_one(database: &Database) -> Duration {
    let now = Timestamp::now();
    let shares = Shares::default();
    let until = now.plus(Duration::from_secs(60));
    let wanted = Claim { holder: "bench", now, until, room_bytes: u64::MAX, overtaking_bytes: 0, shares: &shares };
    let began = Instant::now();
    let claimed = claim(database, &wanted).await.expect("claimed");
    let took = began.elapsed();
    let Claimed::Step(lease, _) = claimed else { panic!("nothing to claim") };
    let mut transaction = database.begin().await.expect("begun");
    assert!(steps::end(&mut transaction, &lease, StepEnd::Done, now).await.expect("ended"));
    transaction.commit().await.expect("committed");
    took
}

async fn queue(place: &Place, orders: u64) -> Database {
    Database::migrate(place, None).await.expect("a schema");
    let database = Database::open(place).await.expect("a database");
    fill(&database, orders).await;
    database
}

/// So many orders, spread over the contracts, each with its preparation ready.
async fn fill(database: &Database, orders: u64) {
    let numbers =
        "WITH RECURSIVE numbers (n) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < $1)";
    let insert_orders = format!(
        "INSERT INTO orders (id, kind, dialect, contract_id, client_id, client_stored, package_id, object_id,
             version, size_bytes, state, finished, priority, rank, created, updated)
         {numbers} SELECT 'order-' || CAST(100000000 + n AS TEXT), 'dissemination', 'test', 'c' || CAST(n % {CONTRACTS} AS TEXT),
             'client', 1, 'package-' || CAST(n AS TEXT), 'object', 1, (n * 7919) % 1000000000, 'queued', 0,
             n % 100, n % 100, n * 1000, n * 1000
         FROM numbers"
    );
    database.execute(Statement::assembled(insert_orders).bind(orders)).await.expect("orders");
    let insert_steps =
        "INSERT INTO steps (id, order_id, contract_id, kind, state, rank, size_bytes, turn_at, run_after,
                            lease_until, fence, attempts, created, updated)
                        SELECT 'step-' || id, id, contract_id, 'prepare', 'ready', rank, size_bytes,
                            created - rank * 60000000, created, 0, 0, 0, created, created
                        FROM orders";
    database.execute(sql(insert_steps)).await.expect("steps");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
