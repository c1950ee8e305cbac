//! Which packages are to be read again, and how much of that is done. Whose turn it is comes from partial indexes over the
//! packages that are there to be read; how many there are, from the figures that the database keeps.

use std::time::Duration;

use crate::db::oversight::rows_of_each;
use crate::db::packages::any_of;
use crate::db::{Database, DatabaseError, Statement, Transaction, package_figures, sql};
use crate::time::Timestamp;

/// A package that one process reads, and nobody else meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The package.
    pub package_id: String,
    /// Its object root.
    pub location: String,
    /// The period runs from then.
    pub since: Timestamp,
}

/// How much there is to read for packages that were last read, or taken in, at about the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The end of that time.
    pub until: Timestamp,
    /// How many packages.
    pub packages: u64,
    /// What is stored of them.
    pub bytes: u64,
}

/// Packages with their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many packages.
    pub packages: u64,
    /// What is stored of them.
    pub bytes: u64,
}

/// Takes the package that was read longest ago, if one is free that was not read since `before`.
pub async fn claim(
    database: &Database,
    holder: &str,
    now: Timestamp,
    before: Timestamp,
    until: Timestamp,
) -> Result<Option<Claimed>, DatabaseError> {
    let update = "UPDATE packages SET check_until = $1, check_holder = $2
                  WHERE id = (SELECT id FROM packages WHERE state NOT IN ('missing', 'deleted') AND check_until <= $3
                      AND check_since <= $4 ORDER BY check_since, checked, id LIMIT 1 /* lock */)
                  RETURNING id, location, check_since";
    let mut transaction = database.begin().await?;
    let row = transaction.row(sql(update).bind(until).bind(holder).bind(now).bind(before).skipping_locked()).await?;
    transaction.commit().await?;
    let claimed = |row: crate::db::Row| {
        Ok(Claimed { package_id: row.text("id")?, location: row.text("location")?, since: row.time("check_since")? })
    };
    row.map(claimed).transpose()
}

/// From when the period of the package runs whose turn is next.
pub async fn next(database: &Database, now: Timestamp) -> Result<Option<Timestamp>, DatabaseError> {
    let query = "SELECT check_since FROM packages WHERE state NOT IN ('missing', 'deleted') AND check_until <= $1
                 ORDER BY check_since, checked, id LIMIT 1";
    database.row(sql(query).bind(now)).await?.map(|row| row.time("check_since")).transpose()
}

/// Keeps a package, or lets it alone until then; `false` when somebody else has it.
pub async fn hold_until(
    database: &Database,
    package_id: &str,
    holder: &str,
    until: Timestamp,
) -> Result<bool, DatabaseError> {
    let update = "UPDATE packages SET check_until = $1 WHERE id = $2 AND check_holder = $3";
    Ok(database.execute(sql(update).bind(until).bind(package_id).bind(holder)).await? == 1)
}

/// Whether a package is still held, and is there to be read; locks it.
pub async fn holds_locked(
    transaction: &mut Transaction,
    package_id: &str,
    holder: &str,
) -> Result<bool, DatabaseError> {
    let query = "SELECT 1 AS one FROM packages
                 WHERE id = $1 AND check_holder = $2 AND check_until > 0 AND state NOT IN ('missing', 'deleted')";
    let query = sql(query).bind(package_id).bind(holder).locking();
    Ok(transaction.row(query).await?.is_some())
}

/// What is to be read, by the time from which the period runs, oldest first.
pub async fn slots(database: &Database, length: Duration) -> Result<Vec<Slot>, DatabaseError> {
    let micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX).max(1);
    let rows = database.rows(sql(SLOTS).bind(micros)).await?;
    let slot = |row: &crate::db::Row| {
        Ok(Slot {
            until: Timestamp(row.integer("slot")?.saturating_add(1).saturating_mul(micros)),
            packages: row.count("packages")?,
            bytes: row.count("bytes")?,
        })
    };
    rows.iter().map(slot).collect()
}

/// The statement of [`slots`].
pub(crate) const SLOTS: &str =
    "SELECT check_since / $1 AS slot, COUNT(*) AS packages, CAST(SUM(stored_bytes) AS BIGINT) AS bytes
     FROM packages WHERE state NOT IN ('missing', 'deleted') AND check_since >= 0 GROUP BY 1 ORDER BY 1";

/// Has a package read before all others: its period is over, and was over before that of any other.
pub async fn hasten(transaction: &mut Transaction, package_id: &str, since: Timestamp) -> Result<(), DatabaseError> {
    let oldest = transaction.row(sql(OLDEST)).await?;
    let oldest = oldest.map_or(Ok(None), |row| row.time_or_null("oldest"))?;
    let before = oldest.map_or(since, |oldest| Timestamp(oldest.0.saturating_sub(1)).min(since));
    let update = "UPDATE packages SET check_since = $1, check_until = 0 WHERE id = $2";
    transaction.execute(sql(update).bind(before).bind(package_id)).await.map(|_| ())
}

/// How much was read since that time.
pub async fn checked_since(database: &Database, since: Timestamp) -> Result<Amount, DatabaseError> {
    Ok(standing_in(database, None, since).await?.covered)
}

/// Where the checks stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What there is.
    pub all: Amount,
    /// What was read within the period.
    pub covered: Amount,
    /// What was never read since it was taken in.
    pub never: Amount,
    /// Packages of which something lies in an archive class, and could not be read when they were.
    pub cold_packages: u64,
    /// How many files that is.
    pub cold_files: u64,
    /// From when the period of the package runs whose turn is next.
    pub oldest: Option<Timestamp>,
}

/// The statement that finds the next turn.
pub(crate) const OLDEST: &str =
    "SELECT MIN(check_since) AS oldest FROM packages WHERE state NOT IN ('missing', 'deleted')";
/// The statement that finds the next turn in a contract. A test looks at its plan, as at those of the others.
pub const OLDEST_OF: &str = "SELECT check_since AS oldest FROM packages
     WHERE contract_id = $c AND state NOT IN ('missing', 'deleted') ORDER BY check_since LIMIT 1";

/// What there is on some contracts, and what of it was checked on the day `from` or later; 0 is no day.
pub fn whole_days(contract_ids: Option<&[&str]>, from: i64) -> Statement {
    let mut values = Vec::new();
    let chosen = contract_ids.map(|ids| any_of("contract_id", ids, &mut values)).unwrap_or_default();
    let place = values.len() + 1;
    let sum = |what: &str| format!("CAST(COALESCE(SUM({what}), 0) AS BIGINT)");
    let text = format!(
        "SELECT {} AS packages, {} AS bytes, {} AS covered, {} AS covered_bytes, {} AS never, {} AS never_bytes,
             {} AS cold, {} AS cold_files
         FROM packages_counted WHERE state NOT IN ('missing', 'deleted'){chosen}",
        sum("packages"),
        sum("bytes"),
        sum(&format!("CASE WHEN day >= ${place} THEN packages END")),
        sum(&format!("CASE WHEN day >= ${place} THEN bytes END")),
        sum("CASE WHEN day = 0 THEN packages END"),
        sum("CASE WHEN day = 0 THEN bytes END"),
        sum("cold_packages"),
        sum("cold_files"),
    );
    values.into_iter().fold(Statement::assembled(text), Statement::bind).bind(from)
}

/// What was checked on some contracts in a stretch of time that is no whole number of days.
pub fn part_of_day(contract_ids: Option<&[&str]>, since: Timestamp, until: Timestamp) -> Statement {
    let mut values = Vec::new();
    // An expression, so that the index of times is read and no other.
    let contract = "COALESCE(contract_id, '')";
    let chosen = contract_ids.map(|ids| any_of(contract, ids, &mut values)).unwrap_or_default();
    let (first, second) = (values.len() + 1, values.len() + 2);
    let text = format!(
        "SELECT COUNT(*) AS packages, CAST(COALESCE(SUM(stored_bytes), 0) AS BIGINT) AS bytes FROM packages
         WHERE state NOT IN ('missing', 'deleted') AND checked >= ${first} AND checked < ${second}{chosen}"
    );
    values.into_iter().fold(Statement::assembled(text), Statement::bind).bind(since).bind(until)
}

/// Where the checks of some contracts stand; `since` is when the period begins that ends now.
pub async fn standing_of(
    database: &Database,
    contract_ids: &[&str],
    since: Timestamp,
) -> Result<Standing, DatabaseError> {
    let mut standing = standing_in(database, Some(contract_ids), since).await?;
    for row in rows_of_each(database, contract_ids, OLDEST_OF, &[]).await? {
        standing.oldest = [standing.oldest, row.time_or_null("oldest")?].into_iter().flatten().min();
    }
    Ok(standing)
}

/// Where the checks stand; `since` is when the period begins that ends now.
pub async fn standing(database: &Database, since: Timestamp) -> Result<Standing, DatabaseError> {
    let mut standing = standing_in(database, None, since).await?;
    if let Some(row) = database.row(sql(OLDEST)).await? {
        standing.oldest = row.time_or_null("oldest")?;
    }
    Ok(standing)
}

/// All of it but whose turn is next. Whole days come from the figures that are kept, the rest of the first one from the
/// packages themselves.
async fn standing_in(
    database: &Database,
    contract_ids: Option<&[&str]>,
    since: Timestamp,
) -> Result<Standing, DatabaseError> {
    let since = since.max(package_figures::begin(1));
    let first = package_figures::day(since);
    let from = if package_figures::begin(first) == since { first } else { first + 1 };
    let mut standing = Standing::default();
    if let Some(row) = database.row(whole_days(contract_ids, from)).await? {
        let amount = |packages: &str, bytes: &str| {
            Ok::<_, DatabaseError>(Amount { packages: row.count(packages)?, bytes: row.count(bytes)? })
        };
        standing.all = amount("packages", "bytes")?;
        standing.covered = amount("covered", "covered_bytes")?;
        standing.never = amount("never", "never_bytes")?;
        standing.cold_packages = row.count("cold")?;
        standing.cold_files = row.count("cold_files")?;
    }
    if from > first
        && let Some(row) = database.row(part_of_day(contract_ids, since, package_figures::begin(from))).await?
    {
        standing.covered.packages += row.count("packages")?;
        standing.covered.bytes = standing.covered.bytes.saturating_add(row.count("bytes")?);
    }
    Ok(standing)
}
