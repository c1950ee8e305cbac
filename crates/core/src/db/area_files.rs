//! Files in the outgoing directories of areas, from the moment at which room is reserved for them. Whoever changes them
//! holds the lock on the contract.

use crate::db::packages::any_of;
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::time::Timestamp;

const COLUMNS: &str = "order_id, contract_id, name, version, size_bytes, reserved, placed, fetched, removed";

/// A file in the outgoing directory of an area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AreaFile {
    /// The order that it was delivered for.
    pub order_id: String,
    /// The contract whose area it is in.
    pub contract_id: String,
    /// Its file name.
    pub name: String,
    /// The version of the package.
    pub version: u32,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// When room was reserved for it.
    pub reserved: Timestamp,
    /// When it appeared under its name.
    pub placed: Option<Timestamp>,
    /// When it was fetched whole for the first time.
    pub fetched: Option<Timestamp>,
    /// When it was removed, replaced, or given up before it appeared.
    pub removed: Option<Timestamp>,
}

/// What keeps a file from being taken into an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// The bytes that lie there, or have room reserved.
    pub used_bytes: u64,
    /// The bytes that may lie there.
    pub quota_bytes: u64,
}

/// What becomes of a file that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It takes the name, in place of what was delivered for that order.
    Under {
        /// The order whose file it replaces.
        replaced: Option<String>,
    },
    /// A newer version of the package has the name: it is left alone.
    NewerThere,
}

/// Reserves room for a file, in place of what the order had reserved before. What lies under the same name, or will, is
/// counted once: by the largest. The caller holds the lock on the contract.
pub async fn reserve(
    transaction: &mut Transaction,
    file: &AreaFile,
    quota_bytes: u64,
) -> Result<Result<(), Full>, DatabaseError> {
    let query = "SELECT CAST(COALESCE(SUM(CASE WHEN name = $2 THEN 0 ELSE largest END), 0) AS BIGINT) AS others,
                     CAST(COALESCE(SUM(CASE WHEN name = $2 THEN largest ELSE 0 END), 0) AS BIGINT) AS here
                 FROM (SELECT name, MAX(size_bytes) AS largest FROM area_files
                       WHERE contract_id = $1 AND removed IS NULL AND order_id <> $3 GROUP BY name) AS names";
    let row = transaction.row(sql(query).bind(&file.contract_id).bind(&file.name).bind(&file.order_id)).await?;
    let (others, here) =
        row.map_or(Ok((0, 0)), |row| Ok::<_, DatabaseError>((row.count("others")?, row.count("here")?)))?;
    if quota_bytes > 0 && others.saturating_add(here.max(file.size_bytes)) > quota_bytes {
        return Ok(Err(Full { used_bytes: others.saturating_add(here), quota_bytes }));
    }
    let upsert = "INSERT INTO area_files (order_id, contract_id, name, version, size_bytes, reserved)
                  VALUES ($1, $2, $3, $4, $5, $6)
                  ON CONFLICT (order_id) DO UPDATE SET size_bytes = excluded.size_bytes, reserved = excluded.reserved";
    let statement = sql(upsert)
        .bind(&file.order_id)
        .bind(&file.contract_id)
        .bind(&file.name)
        .bind(file.version)
        .bind(file.size_bytes)
        .bind(file.reserved);
    transaction.execute(statement).await?;
    Ok(Ok(()))
}

/// Gives the file of an order its name, unless that of a newer version has it. The caller holds the lock on the contract.
pub async fn place(
    transaction: &mut Transaction,
    order_id: &str,
    contract_id: &str,
    name: &str,
    version: u32,
    now: Timestamp,
) -> Result<Placed, DatabaseError> {
    let query = "SELECT order_id, version FROM area_files
                 WHERE contract_id = $1 AND name = $2 AND placed IS NOT NULL AND removed IS NULL";
    let there = transaction.row(sql(query).bind(contract_id).bind(name).locking()).await?;
    let there = there.map(|row| Ok::<_, DatabaseError>((row.text("order_id")?, row.number("version")?))).transpose()?;
    let replaced = match there {
        Some((_, there)) if there > version => {
            give_up(transaction, order_id, now).await?;
            return Ok(Placed::NewerThere);
        }
        Some((replaced, _)) => {
            remove(transaction, &replaced, now).await?;
            Some(replaced)
        }
        None => None,
    };
    let update = sql("UPDATE area_files SET placed = $1 WHERE order_id = $2");
    transaction.execute(update.bind(now).bind(order_id)).await?;
    Ok(Placed::Under { replaced })
}

/// Notes that a file has lost its name, or loses it now; `false` when that was noted before.
pub async fn remove(transaction: &mut Transaction, order_id: &str, now: Timestamp) -> Result<bool, DatabaseError> {
    let update = "UPDATE area_files SET removed = $1 WHERE order_id = $2 AND placed IS NOT NULL AND removed IS NULL";
    Ok(transaction.execute(sql(update).bind(now).bind(order_id)).await? == 1)
}

/// Files whose time is over: fetched before `fetched`, or never and placed before `placed`, or given back.
pub async fn over(
    database: &Database,
    fetched: Timestamp,
    placed: Timestamp,
    limit: u32,
) -> Result<Vec<AreaFile>, DatabaseError> {
    let text = format!(
        "SELECT {COLUMNS} FROM area_files
         WHERE placed IS NOT NULL AND removed IS NULL
             AND (fetched <= $1 OR (fetched IS NULL AND placed <= $2)
                  OR EXISTS (SELECT 1 FROM deliveries d WHERE d.order_id = area_files.order_id AND d.released IS NOT NULL))
         ORDER BY placed LIMIT $3"
    );
    let statement = Statement::assembled(text).bind(fetched).bind(placed).bind(limit);
    database.rows(statement).await?.iter().map(area_file).collect()
}

/// Whether a name in an area is somebody's: of a file that is there, or will be.
pub async fn is_held(transaction: &mut Transaction, contract_id: &str, name: &str) -> Result<bool, DatabaseError> {
    let query = "SELECT order_id FROM area_files WHERE contract_id = $1 AND name = $2 AND removed IS NULL";
    Ok(transaction.row(sql(query).bind(contract_id).bind(name)).await?.is_some())
}

/// How many bytes lie in the area of a contract, or have room reserved there.
pub async fn used_bytes(database: &Database, contract_id: &str) -> Result<u64, DatabaseError> {
    let query = "SELECT CAST(COALESCE(SUM(largest), 0) AS BIGINT) AS used
                 FROM (SELECT MAX(size_bytes) AS largest FROM area_files
                       WHERE contract_id = $1 AND removed IS NULL GROUP BY name) AS names";
    database.row(sql(query).bind(contract_id)).await?.map_or(Ok(0), |row| row.count("used"))
}

/// The files of some orders, in no particular order.
pub async fn of_orders(database: &Database, order_ids: &[&str]) -> Result<Vec<AreaFile>, DatabaseError> {
    let mut values = Vec::with_capacity(order_ids.len());
    let text = format!("SELECT {COLUMNS} FROM area_files WHERE 1 = 1{}", any_of("order_id", order_ids, &mut values));
    let statement = values.into_iter().fold(Statement::assembled(text), Statement::bind);
    database.rows(statement).await?.iter().map(area_file).collect()
}

/// The files that lie in the outgoing directories of some contracts, or those of them that have one name; sorted by
/// contract and name.
pub async fn placed(
    database: &Database,
    contract_ids: &[&str],
    name: Option<&str>,
) -> Result<Vec<AreaFile>, DatabaseError> {
    let mut values = Vec::with_capacity(contract_ids.len() + 1);
    let mut text = format!(
        "SELECT {COLUMNS} FROM area_files WHERE placed IS NOT NULL AND removed IS NULL{}",
        any_of("contract_id", contract_ids, &mut values)
    );
    if let Some(name) = name {
        values.push(name);
        text.push_str(&format!(" AND name = ${}", values.len()));
    }
    text.push_str(" ORDER BY contract_id, name");
    let statement = values.into_iter().fold(Statement::assembled(text), Statement::bind);
    database.rows(statement).await?.iter().map(area_file).collect()
}

/// As [`placed`], at most `limit` files behind one, which is named by its contract and its name.
pub async fn placed_after(
    database: &Database,
    contract_ids: &[&str],
    after: (&str, &str),
    limit: u32,
) -> Result<Vec<AreaFile>, DatabaseError> {
    let mut values = vec![after.0, after.1];
    let text = format!(
        "SELECT {COLUMNS} FROM area_files
         WHERE placed IS NOT NULL AND removed IS NULL AND (contract_id, name) > ($1, $2){}
         ORDER BY contract_id, name LIMIT {limit}",
        any_of("contract_id", contract_ids, &mut values)
    );
    let statement = values.into_iter().fold(Statement::assembled(text), Statement::bind);
    database.rows(statement).await?.iter().map(area_file).collect()
}

/// How much lies in the areas of some contracts, or has room reserved there, and how much may where a contract has a quota
/// of its own; sorted by contract.
pub async fn uses(
    database: &Database,
    contract_ids: &[&str],
) -> Result<Vec<(String, u64, Option<u64>)>, DatabaseError> {
    let mut values = Vec::with_capacity(contract_ids.len());
    let text = format!(
        "SELECT id, quota_bytes,
             (SELECT CAST(COALESCE(SUM(largest), 0) AS BIGINT)
              FROM (SELECT MAX(size_bytes) AS largest FROM area_files
                    WHERE contract_id = contracts.id AND removed IS NULL GROUP BY name) AS names) AS used
         FROM contracts WHERE 1 = 1{} ORDER BY id",
        any_of("id", contract_ids, &mut values)
    );
    let statement = values.into_iter().fold(Statement::assembled(text), Statement::bind);
    let rows = database.rows(statement).await?;
    rows.iter()
        .map(|row| {
            let quota = row.integer_or_null("quota_bytes")?.and_then(|quota| u64::try_from(quota).ok());
            Ok((row.text("id")?, row.count("used")?, quota))
        })
        .collect()
}

/// Notes that the file under a name was fetched whole by somebody who had opened it at a time; nothing when that was noted
/// before, or another file has that name since. Gives its order and that order's package.
pub async fn fetched(
    transaction: &mut Transaction,
    contract_id: &str,
    name: &str,
    opened: Timestamp,
    now: Timestamp,
) -> Result<Option<(String, Option<String>)>, DatabaseError> {
    let update = "UPDATE area_files SET fetched = $1
                  WHERE contract_id = $2 AND name = $3 AND placed <= $4 AND fetched IS NULL AND removed IS NULL
                  RETURNING order_id, (SELECT package_id FROM orders WHERE orders.id = area_files.order_id) AS package_id";
    let statement = sql(update).bind(now).bind(contract_id).bind(name).bind(opened);
    let row = transaction.row(statement).await?;
    row.map(|row| Ok((row.text("order_id")?, row.text_or_null("package_id")?))).transpose()
}

/// Gives up the room of an order that ends without a delivery.
pub async fn give_up(transaction: &mut Transaction, order_id: &str, now: Timestamp) -> Result<(), DatabaseError> {
    let update = "UPDATE area_files SET removed = $1 WHERE order_id = $2 AND placed IS NULL AND removed IS NULL";
    transaction.execute(sql(update).bind(now).bind(order_id)).await.map(|_| ())
}

fn area_file(row: &Row) -> Result<AreaFile, DatabaseError> {
    Ok(AreaFile {
        order_id: row.text("order_id")?,
        contract_id: row.text("contract_id")?,
        name: row.text("name")?,
        version: row.number("version")?,
        size_bytes: row.count("size_bytes")?,
        reserved: row.time("reserved")?,
        placed: row.time_or_null("placed")?,
        fetched: row.time_or_null("fetched")?,
        removed: row.time_or_null("removed")?,
    })
}
