//! Fair shares in the catalogue: contracts take turns by their weights, bounds hold however many claim at once.

use std::collections::BTreeMap;
use std::time::Duration;

use dipper_core::db::claims::{self, Claim, Claimed};
use dipper_core::db::orders::{Channel, Order, OrderKind, View};
use dipper_core::db::steps::{self, Lease, StepEnd, StepKind};
use dipper_core::db::{Database, Statement, sql};
use dipper_core::ids;
use dipper_core::installation::Installation;
use dipper_core::order::OrderState;
use dipper_core::progress;
use dipper_core::settings::Settings;
use dipper_core::share::Shares;

use super::bench::Bench;

const MIB: u64 = 1 << 20;

/// An order that is stored with its preparation ready, of a package that nobody looks for.
async fn ready(bench: &Bench, contract_id: &str, rank: i64, size_bytes: u64) -> String {
    let now = bench.clock.now();
    let order = Order {
        id: ids::new_id(),
        kind: OrderKind::Dissemination,
        dialect: "test".to_owned(),
        contract_id: contract_id.to_owned(),
        client_id: ids::new_id(),
        client_stored: false,
        package_id: ids::new_id(),
        object_id: "p".to_owned(),
        version: 1,
        view: View::Version,
        channel: Channel::Link,
        area_name: None,
        named_version: None,
        excerpt: None,
        size_bytes,
        state: OrderState::Received,
        priority: rank,
        rank,
        created: now,
        updated: now,
        delivered: None,
        failure: None,
    };
    let Installation { database, settings, .. } = bench.installation.as_ref();
    let mut transaction = database.begin().await.unwrap();
    progress::receive(&mut transaction, &order, settings).await.unwrap();
    transaction.execute(sql("DELETE FROM steps WHERE order_id = $1").bind(&order.id)).await.unwrap();
    steps::insert(&mut transaction, &order, StepKind::Prepare, settings.ageing, now).await.unwrap();
    transaction.commit().await.unwrap();
    order.id
}

async fn claim_within(bench: &Bench, room_bytes: u64, overtaking_bytes: u64) -> Claimed {
    let Installation { database, settings, clock, .. } = bench.installation.as_ref();
    let (now, shares) = (clock.now(), &settings.shares);
    let until = now.plus(settings.lease);
    let claim = Claim { holder: "hand", now, until, room_bytes, overtaking_bytes, shares };
    claims::claim(database, &claim).await.unwrap()
}

async fn claim(bench: &Bench) -> Option<Lease> {
    match claim_within(bench, u64::MAX, 0).await {
        Claimed::Step(lease, _) => Some(lease),
        _ => None,
    }
}

async fn end(bench: &Bench, lease: &Lease) {
    let mut transaction = bench.installation.database.begin().await.unwrap();
    assert!(steps::end(&mut transaction, lease, StepEnd::Done, bench.clock.now()).await.unwrap());
    transaction.commit().await.unwrap();
}

async fn contract_of(database: &Database, lease: &Lease) -> String {
    let row = database.row(sql("SELECT contract_id FROM orders WHERE id = $1").bind(&lease.order_id)).await.unwrap();
    row.unwrap().text("contract_id").unwrap()
}

fn sharing(shares: Shares) -> Settings {
    Settings { shares, ..Settings::default() }
}

#[tokio::test]
async fn many_urgent_orders_of_one_contract_do_not_hold_up_the_single_one_of_another() {
    let bench = Bench::new().await;
    for _ in 0..40 {
        ready(&bench, "many", 100, 64 * MIB).await;
    }
    for _ in 0..5 {
        let lease = claim(&bench).await.unwrap();
        end(&bench, &lease).await;
    }
    bench.clock.advance(Duration::from_secs(3600));
    let single = ready(&bench, "one", 1, 512 * MIB).await;
    assert_eq!(claim(&bench).await.unwrap().order_id, single);
}

#[tokio::test]
async fn contracts_take_turns_by_their_weights() {
    let weights = BTreeMap::from([("heavy".to_owned(), 4), ("medium".to_owned(), 2)]);
    let bench = Bench::with(sharing(Shares { weights, ..Shares::default() })).await;
    for _ in 0..40 {
        for contract_id in ["heavy", "light", "medium"] {
            ready(&bench, contract_id, 50, 16 * MIB).await;
        }
    }
    let mut counted: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..35 {
        let lease = claim(&bench).await.unwrap();
        *counted.entry(contract_of(&bench.installation.database, &lease).await).or_default() += 1;
        end(&bench, &lease).await;
    }
    let near = |contract_id: &str, wanted: u32| counted[contract_id].abs_diff(wanted) <= 1;
    assert!(near("heavy", 20) && near("medium", 10) && near("light", 5), "{counted:?}");
}

#[tokio::test]
async fn bytes_are_shared_and_not_the_number_of_orders() {
    let bench = Bench::new().await;
    for _ in 0..64 {
        ready(&bench, "small", 50, 28 * MIB).await;
    }
    for _ in 0..8 {
        ready(&bench, "large", 50, 252 * MIB).await;
    }
    let mut small = 0;
    let mut large = 0;
    while large < 6 {
        let lease = claim(&bench).await.unwrap();
        match contract_of(&bench.installation.database, &lease).await.as_str() {
            "small" => small += 1,
            _ => large += 1,
        }
        end(&bench, &lease).await;
    }
    // Each step pays 4 MiB besides its bytes: eight small ones cost what a large one does.
    assert!((32..=56).contains(&small), "{small} small ones beside {large} large ones");
}

#[tokio::test]
async fn the_books_are_closed_when_nothing_is_left_to_do() {
    let bench = Bench::new().await;
    ready(&bench, "greedy", 50, 1 << 40).await;
    let lease = claim(&bench).await.unwrap();
    end(&bench, &lease).await;
    // The worker finds nothing, and nobody works.
    assert_eq!(bench.work().await, 0);
    let greedy = ready(&bench, "greedy", 60, MIB).await;
    ready(&bench, "modest", 50, MIB).await;
    assert_eq!(claim(&bench).await.unwrap().order_id, greedy, "an old debt is held against it");
}

#[tokio::test]
async fn waiting_is_worth_urgency() {
    let bench = Bench::new().await;
    let patient = ready(&bench, "c", 40, MIB).await;
    bench.clock.advance(Duration::from_secs(9 * 60));
    let urgent = ready(&bench, "c", 50, MIB).await;
    bench.clock.advance(Duration::from_secs(2 * 60));
    let late = ready(&bench, "c", 50, MIB).await;
    let mut claimed = Vec::new();
    while let Some(lease) = claim(&bench).await {
        claimed.push(lease.order_id);
    }
    assert_eq!(claimed, [urgent, patient, late]);
}

#[tokio::test]
async fn a_contract_holds_no_more_than_its_bounds() {
    let shares = Shares { max_steps_per_contract: 3, max_bytes_per_contract: 100 * MIB, ..Shares::default() };
    let bench = Bench::with(sharing(shares)).await;
    let sizes = [40, 40, 40, 10, 10, 10, 500];
    let mut numbers = BTreeMap::new();
    for (number, size) in sizes.into_iter().enumerate() {
        numbers.insert(ready(&bench, "c", 50 - number as i64, size * MIB).await, number);
    }
    let mut held = Vec::new();
    let mut seen = Vec::new();
    while seen.len() < sizes.len() {
        match claim(&bench).await {
            Some(lease) => {
                seen.push(numbers[&lease.order_id]);
                held.push(lease);
            }
            None => {
                let lease: Lease = held.remove(0);
                end(&bench, &lease).await;
            }
        }
        let bytes: u64 = held.iter().map(|lease| sizes[numbers[&lease.order_id]]).sum();
        assert!(held.len() <= 3 && (bytes <= 100 || held.len() == 1), "{held:?}");
    }
    // The bounds keep nobody from its turn: the order stays that of the turns.
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
    ready(&bench, "other", 1, MIB).await;
    assert!(claim(&bench).await.is_some(), "a bound of one contract holds up another");
}

#[tokio::test]
async fn what_there_is_no_room_for_is_overtaken_by_others_and_waited_for_in_the_end() {
    let bench = Bench::new().await;
    let large = ready(&bench, "c", 90, 100 * MIB).await;
    let behind = ready(&bench, "c", 10, MIB).await;
    let larger = ready(&bench, "d", 90, 200 * MIB).await;
    let small = ready(&bench, "e", 10, MIB).await;
    let light = ready(&bench, "f", 10, 0).await;
    // Whose turn it is does not matter when nothing else fits: none of its own contract goes before it.
    match claim_within(&bench, 99 * MIB, MIB).await {
        Claimed::Overtaking(lease, bytes) => assert_eq!((lease.order_id, bytes), (small, MIB)),
        other => panic!("{other:?}"),
    }
    // Enough has gone before it; but what has no bytes keeps nobody waiting.
    match claim_within(&bench, 99 * MIB, 0).await {
        Claimed::Overtaking(lease, bytes) => assert_eq!((lease.order_id, bytes), (light, 0)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(claim_within(&bench, 99 * MIB, 99 * MIB).await, Claimed::NoRoom));
    for (room, expected) in [(100, large), (200, larger), (1, behind)] {
        match claim_within(&bench, room * MIB, 0).await {
            Claimed::Step(lease, _) => assert_eq!(lease.order_id, expected),
            other => panic!("{room}: {other:?}"),
        }
    }
    assert!(matches!(claim_within(&bench, u64::MAX, 0).await, Claimed::Nothing));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_claim_at_once_and_nothing_is_claimed_twice_or_beyond_its_bounds() {
    let shares = Shares { max_steps_per_contract: 2, ..Shares::default() };
    let bench = std::sync::Arc::new(Bench::with(sharing(shares)).await);
    let mut orders = 0;
    for number in 0..60 {
        orders += 1;
        ready(&bench, ["a", "b", "c"][number % 3], number as i64, MIB).await;
    }
    let claimed = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut claimers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (bench, claimed) = (std::sync::Arc::clone(&bench), std::sync::Arc::clone(&claimed));
        claimers.spawn(async move {
            while claimed.lock().unwrap().len() < orders {
                let Some(lease) = claim(&bench).await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let query = "SELECT contract_id, COUNT(*) AS n FROM steps WHERE state = 'leased' GROUP BY contract_id";
                for row in bench.installation.database.rows(sql(query)).await.unwrap() {
                    assert!(row.count("n").unwrap() <= 2);
                }
                end(&bench, &lease).await;
                claimed.lock().unwrap().push(lease.step_id);
            }
        });
    }
    while let Some(ended) = claimers.join_next().await {
        ended.unwrap();
    }
    let mut claimed = claimed.lock().unwrap().clone();
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed.len(), orders);
}

#[tokio::test]
async fn claiming_reads_indexes_and_nothing_else() {
    let bench = Bench::new().await;
    if let Some(database) = &bench.database {
        // A table without rows is read as a whole.
        database.psql(
            "SET session_replication_role = replica;
             INSERT INTO steps (id, order_id, contract_id, kind, state, rank, size_bytes, turn_at, run_after, lease_until,
                 fence, attempts, created, updated)
             SELECT n::text, n::text, 'c' || n % 20, 'prepare', 'ready', 50, 1, n, 0, 0, 0, 0, 0, 0
             FROM generate_series(1, 20000) AS n;
             ANALYZE steps",
        );
        let plan = database.psql(&format!("EXPLAIN {}", claims::CANDIDATES));
        assert!(!plan.contains("Seq Scan on steps") && !plan.contains("Sort"), "{plan}");
        assert!(plan.contains("using steps_ready"), "{plan}");
        let plan = database.psql(&format!("EXPLAIN {} FOR UPDATE SKIP LOCKED", claims::FIRST.replace("$1", "'c1'")));
        assert!(plan.contains("using steps_ready") && !plan.contains("Sort"), "{plan}");
        return;
    }
    let plan = explained(&bench, claims::CANDIDATES).await;
    let scans = |line: &&String| line.starts_with("SCAN steps");
    let scanned: Vec<_> = plan.iter().filter(scans).collect();
    // The first contract is the first entry of the index.
    assert_eq!(scanned, ["SCAN steps USING COVERING INDEX steps_ready"], "{plan:#?}");
    assert!(plan.iter().any(|line| line.contains("steps_ready (contract_id=?)")), "{plan:#?}");
    assert!(plan.iter().any(|line| line.contains("steps_held (contract_id=?)")), "{plan:#?}");
    let plan = explained(&bench, claims::FIRST).await;
    assert_eq!(plan, ["SEARCH steps USING INDEX steps_ready (contract_id=?)"]);
}

async fn explained(bench: &Bench, query: &str) -> Vec<String> {
    let statement = Statement::assembled(format!("EXPLAIN QUERY PLAN {query}"));
    let rows = bench.installation.database.rows(statement).await.unwrap();
    rows.iter().map(|row| row.text("detail").unwrap()).collect()
}
