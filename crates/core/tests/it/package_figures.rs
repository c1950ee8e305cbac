//! The figures of packages that the database keeps: always what counting the packages gives.

use std::collections::BTreeMap;

use dipper_core::db::checks::{self, Amount, Standing};
use dipper_core::db::packages::PackageState;
use dipper_core::db::{Database, Statement, package_figures, processes, sql};
use dipper_core::time::Timestamp;

use super::bench::Bench;

const DAY: i64 = 86_400_000_000;
/// 2026-01-01.
const START: i64 = 20_454 * DAY;

/// What is there, package by package.
struct Counted {
    contract_id: String,
    state: PackageState,
    checked: i64,
    since: i64,
    bytes: u64,
    cold_files: u64,
}

async fn counted(database: &Database) -> Vec<Counted> {
    let query = "SELECT contract_id, state, checked, check_since, stored_bytes, cold_files FROM packages";
    let rows = database.rows(sql(query)).await.unwrap();
    let row = |row: &dipper_core::db::Row| Counted {
        contract_id: row.text("contract_id").unwrap(),
        state: row.parse("state").unwrap(),
        checked: row.integer("checked").unwrap(),
        since: row.integer("check_since").unwrap(),
        bytes: row.count("stored_bytes").unwrap(),
        cold_files: row.count("cold_files").unwrap(),
    };
    rows.iter().map(row).collect()
}

fn standing(all: &[Counted], contract_ids: &[&str], since: i64) -> Standing {
    let mut standing = Standing::default();
    let add = |amount: &mut Amount, bytes: u64| {
        amount.packages += 1;
        amount.bytes += bytes;
    };
    for package in all {
        let is_there = !matches!(package.state, PackageState::Missing | PackageState::Deleted);
        if !is_there || !contract_ids.contains(&package.contract_id.as_str()) {
            continue;
        }
        add(&mut standing.all, package.bytes);
        if package.checked > 0 && package.checked >= since {
            add(&mut standing.covered, package.bytes);
        }
        if package.checked == 0 {
            add(&mut standing.never, package.bytes);
        }
        standing.cold_packages += u64::from(package.cold_files > 0);
        standing.cold_files += package.cold_files;
        let turn = Timestamp(package.since);
        standing.oldest = Some(standing.oldest.map_or(turn, |oldest| oldest.min(turn)));
    }
    standing
}

async fn compare(database: &Database) {
    let all = counted(database).await;
    let times = [0, START, START + 1, START + DAY, START + DAY * 3 + 7, START + DAY * 40];
    for since in times {
        let at = Timestamp(since);
        for contract_ids in [["one", "two"].as_slice(), &["one"], &["two"], &["three"], &[]] {
            let found = checks::standing_of(database, contract_ids, at).await.unwrap();
            assert_eq!(found, standing(&all, contract_ids, since), "{since} {contract_ids:?}");
        }
        let whole = standing(&all, &["one", "two"], since);
        assert_eq!(checks::standing(database, at).await.unwrap(), whole, "{since}");
        assert_eq!(checks::checked_since(database, at).await.unwrap(), whole.covered, "{since}");
    }
    let states = package_figures::by_state(database, None).await.unwrap();
    for state in PackageState::ALL {
        let count = all.iter().filter(|package| package.state == *state).count();
        assert_eq!(states.of(*state), count as u64, "{state}");
    }
    let mut contracts = BTreeMap::new();
    for package in &all {
        *contracts.entry(package.contract_id.clone()).or_insert(0_u64) += 1;
    }
    let mut found = package_figures::by_contract(database).await.unwrap();
    found.retain(|_, count| *count > 0);
    assert_eq!(found, contracts);
}

#[tokio::test]
async fn the_figures_are_what_counting_gives() {
    let bench = Bench::new().await;
    let database = &bench.installation.database;
    for contract_id in ["one", "two"] {
        bench.administration.contract_add(contract_id).await.unwrap();
    }
    compare(database).await;
    let insert = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < 200)
         INSERT INTO packages (id, contract_id, object_id, ocfl_id, location, state, head, size_bytes, file_count, created,
             updated, checked, check_since, stored_bytes, cold_files)
         SELECT 'p' || n, CASE n % 3 WHEN 0 THEN 'one' ELSE 'two' END, 'o' || n, 'u' || n, 'l' || n,
             CASE n % 7 WHEN 0 THEN 'damaged' WHEN 1 THEN 'missing' WHEN 2 THEN 'deleted' ELSE 'preserved' END, 1, 1, 1, 1, 1,
             CASE n % 5 WHEN 0 THEN 0 ELSE {START} + n * {DAY} / 10 END, {START} + n * 11, n * 13,
             CASE n % 11 WHEN 0 THEN n ELSE 0 END FROM numbers"
    );
    let changes = [
        insert,
        "UPDATE packages SET state = 'deleted' WHERE size_bytes = 1 AND stored_bytes % 4 = 0".to_owned(),
        format!(
            "UPDATE packages SET checked = {START} + {DAY} * 30 + 5, check_since = {START} WHERE contract_id = 'one'"
        ),
        "UPDATE packages SET stored_bytes = stored_bytes * 2, cold_files = 0 WHERE state = 'preserved'".to_owned(),
        "UPDATE packages SET check_until = 5, stored_bytes = stored_bytes".to_owned(),
        "UPDATE packages SET contract_id = 'two', checked = 0, cold_files = 3 WHERE state = 'damaged'".to_owned(),
        "DELETE FROM packages WHERE state = 'missing'".to_owned(),
        "DELETE FROM packages WHERE contract_id = 'one'".to_owned(),
    ];
    for change in changes {
        let changed = database.execute(Statement::assembled(change)).await.unwrap();
        assert!(changed > 0);
        // What was only noted counts as what is added up does.
        compare(database).await;
        package_figures::add_up(database).await.unwrap();
        compare(database).await;
        processes::tidy(database, bench.clock.now()).await.unwrap();
        compare(database).await;
    }
    let rows = "SELECT COUNT(*) AS n FROM package_figures WHERE packages = 0";
    assert_eq!(database.row(sql(rows)).await.unwrap().unwrap().count("n").unwrap(), 0);
    let all = counted(database).await;
    assert!(!all.is_empty());
}

#[tokio::test]
async fn several_that_add_up_at_once_count_nothing_twice() {
    let bench = Bench::new().await;
    let database = &bench.installation.database;
    bench.administration.contract_add("one").await.unwrap();
    for number in 0..8 {
        let insert = format!(
            "INSERT INTO packages (id, contract_id, object_id, ocfl_id, location, state, head, size_bytes, file_count, created,
                 updated, checked, check_since, stored_bytes)
             VALUES ('p{number}', 'one', 'o{number}', 'u{number}', 'l{number}', 'preserved', 1, 1, 1, 1, 1, {START}, {START}, 5)"
        );
        database.execute(Statement::assembled(insert)).await.unwrap();
        let (one, two, three) = tokio::join!(
            package_figures::add_up(database),
            package_figures::add_up(database),
            package_figures::add_up(database)
        );
        [one, two, three].into_iter().for_each(Result::unwrap);
        compare(database).await;
    }
}
