//! Ingests under way: noted before anything is written to the archive, so that a version that a crash left without
//! its record in the catalogue is found.

use crate::db::{Database, DatabaseError, Transaction, sql};
use crate::time::Timestamp;

/// Notes that an object is about to change.
pub async fn begin(database: &Database, ocfl_id: &str, now: Timestamp) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO ingests (ocfl_id, started) VALUES ($1, $2)
                  ON CONFLICT (ocfl_id) DO UPDATE SET started = excluded.started";
    database.execute(sql(insert).bind(ocfl_id).bind(now)).await.map(|_| ())
}

/// The catalogue knows the object as it is now.
pub async fn end(transaction: &mut Transaction, ocfl_id: &str) -> Result<(), DatabaseError> {
    transaction.execute(sql("DELETE FROM ingests WHERE ocfl_id = $1").bind(ocfl_id)).await.map(|_| ())
}

/// The objects that were about to change, with the times at which that began.
pub async fn list(database: &Database) -> Result<Vec<(String, Timestamp)>, DatabaseError> {
    let rows = database.rows(sql("SELECT ocfl_id, started FROM ingests ORDER BY ocfl_id")).await?;
    rows.iter().map(|row| Ok((row.text("ocfl_id")?, row.time("started")?))).collect()
}
