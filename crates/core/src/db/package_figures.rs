//! How many packages there are of what. The database keeps the figures itself, by contract, state and day of the last check, so
//! that asking for them costs the same however many packages there are.

use std::collections::BTreeMap;

use crate::db::packages::{PackageState, any_of};
use crate::db::{Database, DatabaseError, Statement, Transaction, sql};
use crate::time::Timestamp;

/// A day in microseconds.
const DAY: i64 = 86_400_000_000;

/// The day that a time is in; 0 is for what never happened.
pub(super) fn day(at: Timestamp) -> i64 {
    at.0.div_euclid(DAY).max(0)
}

/// When a day begins.
pub(super) fn begin(day: i64) -> Timestamp {
    Timestamp(day.saturating_mul(DAY))
}

/// How many packages there are in each state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateCounts(Vec<(PackageState, u64)>);

impl StateCounts {
    /// How many there are in one.
    pub fn of(&self, state: PackageState) -> u64 {
        self.0.iter().find(|(known, _)| *known == state).map_or(0, |(_, count)| *count)
    }
}

/// How many packages there are in each state, on some contracts or (`None`) on all.
pub async fn by_state(database: &Database, contract_ids: Option<&[&str]>) -> Result<StateCounts, DatabaseError> {
    let rows = database.rows(states(contract_ids)).await?;
    let counts: Result<_, DatabaseError> = rows.iter().map(|row| Ok((row.parse("state")?, row.count("n")?))).collect();
    Ok(StateCounts(counts?))
}

/// The statement of [`by_state`]. A test looks at its plan.
pub fn states(contract_ids: Option<&[&str]>) -> Statement {
    let mut values = Vec::new();
    let chosen = contract_ids.map(|ids| any_of("contract_id", ids, &mut values)).unwrap_or_default();
    let text = format!(
        "SELECT state, CAST(SUM(packages) AS BIGINT) AS n FROM packages_counted WHERE 1 = 1{chosen} GROUP BY state"
    );
    values.into_iter().fold(Statement::assembled(text), Statement::bind)
}

/// How many packages belong to each contract that has any, whatever their state.
pub async fn by_contract(database: &Database) -> Result<BTreeMap<String, u64>, DatabaseError> {
    let query = "SELECT contract_id, CAST(SUM(packages) AS BIGINT) AS n FROM packages_counted GROUP BY contract_id";
    let rows = database.rows(sql(query)).await?;
    rows.iter().map(|row| Ok((row.text("contract_id")?, row.count("n")?))).collect()
}

/// Adds up what was noted of changes, where the database only notes them.
pub async fn add_up(database: &Database) -> Result<(), DatabaseError> {
    if !database.is_shared() {
        return Ok(());
    }
    let add = "WITH taken AS (DELETE FROM package_changes WHERE ctid IN (SELECT ctid FROM package_changes /* lock */)
                   RETURNING *)
               INSERT INTO package_figures (contract_id, state, day, packages, bytes, cold_packages, cold_files)
               SELECT contract_id, state, day, SUM(packages), SUM(bytes), SUM(cold_packages), SUM(cold_files)
               FROM taken GROUP BY contract_id, state, day ORDER BY contract_id, state, day
               ON CONFLICT (contract_id, state, day) DO UPDATE SET
                   packages = package_figures.packages + excluded.packages,
                   bytes = package_figures.bytes + excluded.bytes,
                   cold_packages = package_figures.cold_packages + excluded.cold_packages,
                   cold_files = package_figures.cold_files + excluded.cold_files";
    database.execute(sql(add).skipping_locked()).await.map(|_| ())
}

/// Forgets figures of what there is nothing of any more.
pub(super) async fn sweep(transaction: &mut Transaction) -> Result<(), DatabaseError> {
    let forget =
        "DELETE FROM package_figures WHERE packages = 0 AND bytes = 0 AND cold_packages = 0 AND cold_files = 0";
    transaction.execute(sql(forget)).await.map(|_| ())
}
