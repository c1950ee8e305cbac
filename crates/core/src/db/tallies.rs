//! How much was done in each hour and on each day, by contract: what was checked, and what was delivered. A transaction
//! that records such a thing adds to the tallies when it commits.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::db::packages::any_of;
use crate::db::{Database, DatabaseError, Statement, Transaction, Value, sql};
use crate::named::named;
use crate::time::Timestamp;

/// How long hours are kept.
const HOURS_KEPT: Duration = Duration::from_secs(8 * 24 * 3600);

/// For what stretch of time things are added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// An hour.
    Hour,
    /// A day, in UTC.
    Day,
}

named!(Unit, "unit of time": Hour => "hour", Day => "day");

impl Unit {
    /// How long it is.
    pub fn length(self) -> Duration {
        match self {
            Unit::Hour => Duration::from_secs(3600),
            Unit::Day => Duration::from_secs(24 * 3600),
        }
    }

    /// When the one began that a time is in.
    pub fn begin(self, at: Timestamp) -> Timestamp {
        let length = i64::try_from(self.length().as_micros()).unwrap_or(i64::MAX);
        Timestamp(at.0.div_euclid(length).saturating_mul(length))
    }
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packages that were read whole.
    pub checked_packages: u64,
    /// Bytes that were read and held against their digests.
    pub checked_bytes: u64,
    /// Checks that found damage.
    pub failures: u64,
    /// Orders that were delivered.
    pub delivered_orders: u64,
    /// The sizes of their content, added up.
    pub delivered_bytes: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        let add = |one: &mut u64, other: u64| *one = one.saturating_add(other);
        add(&mut self.checked_packages, other.checked_packages);
        add(&mut self.checked_bytes, other.checked_bytes);
        add(&mut self.failures, other.failures);
        add(&mut self.delivered_orders, other.delivered_orders);
        add(&mut self.delivered_bytes, other.delivered_bytes);
    }
}

/// What was done for a contract, and when.
#[derive(Clone, Debug)]
pub struct Tallied {
    contract_id: String,
    at: Timestamp,
    tally: Tally,
}

/// Has something added to the tallies when the transaction commits.
pub(crate) fn record(transaction: &mut Transaction, contract_id: &str, at: Timestamp, tally: Tally) {
    transaction.owe_tally(Tallied { contract_id: contract_id.to_owned(), at, tally });
}

/// Adds what a transaction did. Rows are locked in the order of their keys.
pub(super) async fn add(transaction: &mut Transaction, tallied: Vec<Tallied>) -> Result<(), DatabaseError> {
    let mut rows: BTreeMap<(String, &'static str, Timestamp), Tally> = BTreeMap::new();
    for Tallied { contract_id, at, tally } in tallied {
        for unit in [Unit::Day, Unit::Hour] {
            rows.entry((contract_id.clone(), unit.name(), unit.begin(at))).or_default().add(tally);
        }
    }
    for ((contract_id, unit, since), tally) in rows {
        let upsert = "INSERT INTO tallies (contract_id, unit, since, checked_packages, checked_bytes, failures,
                          delivered_orders, delivered_bytes)
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                      ON CONFLICT (contract_id, unit, since) DO UPDATE SET
                          checked_packages = tallies.checked_packages + excluded.checked_packages,
                          checked_bytes = tallies.checked_bytes + excluded.checked_bytes,
                          failures = tallies.failures + excluded.failures,
                          delivered_orders = tallies.delivered_orders + excluded.delivered_orders,
                          delivered_bytes = tallies.delivered_bytes + excluded.delivered_bytes";
        let statement = sql(upsert)
            .bind(contract_id)
            .bind(unit)
            .bind(since)
            .bind(tally.checked_packages)
            .bind(tally.checked_bytes)
            .bind(tally.failures)
            .bind(tally.delivered_orders)
            .bind(tally.delivered_bytes);
        transaction.execute(statement).await?;
    }
    Ok(())
}

/// What was done on some contracts together since a time, by hour or day, oldest first. Where nothing was done there is no
/// row.
pub async fn list(
    database: &Database,
    contract_ids: &[&str],
    unit: Unit,
    since: Timestamp,
) -> Result<Vec<(Timestamp, Tally)>, DatabaseError> {
    let mut found: BTreeMap<Timestamp, Tally> = BTreeMap::new();
    for row in database.rows(listing(contract_ids, unit, since)).await? {
        let tally = Tally {
            checked_packages: row.count("checked_packages")?,
            checked_bytes: row.count("checked_bytes")?,
            failures: row.count("failures")?,
            delivered_orders: row.count("delivered_orders")?,
            delivered_bytes: row.count("delivered_bytes")?,
        };
        found.entry(row.time("since")?).or_default().add(tally);
    }
    Ok(found.into_iter().collect())
}

/// The statement of [`list`]. A test looks at its plan.
pub fn listing(contract_ids: &[&str], unit: Unit, since: Timestamp) -> Statement {
    let mut values = Vec::with_capacity(contract_ids.len());
    let chosen = any_of("contract_id", contract_ids, &mut values);
    let (unit_place, since_place) = (values.len() + 1, values.len() + 2);
    let text = format!(
        "SELECT since, checked_packages, checked_bytes, failures, delivered_orders, delivered_bytes FROM tallies
         WHERE 1 = 1{chosen} AND unit = ${unit_place} AND since >= ${since_place}"
    );
    let values = values.into_iter().map(Value::from);
    values.fold(Statement::assembled(text), Statement::bind).bind(unit.name()).bind(unit.begin(since))
}

/// Forgets hours that nobody asks for any more.
pub(crate) async fn sweep(transaction: &mut Transaction, now: Timestamp) -> Result<(), DatabaseError> {
    let delete = "DELETE FROM tallies WHERE unit = $1 AND since < $2
                      AND contract_id IN (SELECT id FROM contracts)";
    let before = Unit::Hour.begin(now.minus(HOURS_KEPT));
    transaction.execute(sql(delete).bind(Unit::Hour.name()).bind(before)).await.map(|_| ())
}
