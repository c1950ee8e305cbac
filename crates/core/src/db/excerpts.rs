//! What was chosen of a package for an order.

use crate::db::{Database, DatabaseError, Transaction, sql};
use crate::excerpt::Excerpt;

/// Writes what was chosen for an order.
pub async fn insert(transaction: &mut Transaction, order_id: &str, excerpt: &Excerpt) -> Result<(), DatabaseError> {
    let insert = sql("INSERT INTO excerpts (order_id, entries) VALUES ($1, $2)");
    transaction.execute(insert.bind(order_id).bind(excerpt.to_bytes())).await.map(|_| ())
}

/// Writes for another order what was chosen for one.
pub async fn again(transaction: &mut Transaction, order_id: &str, other: &str) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO excerpts (order_id, entries) SELECT $1, entries FROM excerpts WHERE order_id = $2";
    transaction.execute(sql(insert).bind(other).bind(order_id)).await.map(|_| ())
}

/// What was chosen for an order; nothing of one that is for all.
pub async fn get(database: &Database, order_id: &str) -> Result<Option<Excerpt>, DatabaseError> {
    let query = sql("SELECT entries FROM excerpts WHERE order_id = $1").bind(order_id);
    let Some(row) = database.row(query).await? else { return Ok(None) };
    let unexpected = || DatabaseError::Value { column: "entries".to_owned(), message: "is no choice".to_owned() };
    Excerpt::from_bytes(row.blob("entries")?).map(Some).ok_or_else(unexpected)
}
