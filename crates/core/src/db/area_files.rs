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

/// The files of some orders, in no particular order.
pub async fn of_orders(database: &Database, order_ids: &[&str]) -> Result<Vec<AreaFile>, DatabaseError> {
    let mut values = Vec::with_capacity(order_ids.len());
    let text = format!("SELECT {COLUMNS} FROM area_files WHERE 1 = 1{}", any_of("order_id", order_ids, &mut values));
    let statement = values.into_iter().fold(Statement::assembled(text), Statement::bind);
    database.rows(statement).await?.iter().map(area_file).collect()
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
