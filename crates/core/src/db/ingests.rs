//! Ingests under way: noted before anything is written to the archive, so that a version that a crash left without
//! its record in the catalogue is found. The note is a lease: of two machines that would change an object at the same
//! time it lets one.

use crate::db::packages::any_of;
use crate::db::statement::Row;
use crate::db::{Database, DatabaseError, Statement, Transaction, sql};
use crate::time::Timestamp;

/// An object that is about to change, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The object.
    pub ocfl_id: String,
    /// When that began.
    pub started: Timestamp,
    /// The staging directory in which it is prepared.
    pub holder: String,
    /// Until when nobody else may change it.
    pub lease_until: Timestamp,
}

/// Notes that an object is about to change, and takes the lease on it. `false` when another holder has it. The same
/// holder may take it again: its processes keep one another out by a lock that ends with them.
pub async fn begin(
    database: &Database,
    ocfl_id: &str,
    holder: &str,
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<bool, DatabaseError> {
    let insert = "INSERT INTO ingests (ocfl_id, started, holder, lease_until) VALUES ($1, $2, $3, $4)
                  ON CONFLICT (ocfl_id) DO UPDATE
                  SET started = excluded.started, holder = excluded.holder, lease_until = excluded.lease_until
                  WHERE ingests.lease_until <= $2 OR ingests.holder = $3";
    let statement = sql(insert).bind(ocfl_id).bind(now).bind(holder).bind(lease_until);
    Ok(database.execute(statement).await? == 1)
}

/// Keeps the lease for longer; `false` when it went to somebody else.
pub async fn renew(
    database: &Database,
    ocfl_id: &str,
    holder: &str,
    lease_until: Timestamp,
) -> Result<bool, DatabaseError> {
    let update = "UPDATE ingests SET lease_until = $3 WHERE ocfl_id = $1 AND holder = $2";
    Ok(database.execute(sql(update).bind(ocfl_id).bind(holder).bind(lease_until)).await? == 1)
}

/// Gives the lease up. The note stays: it is not known what became of the object.
pub async fn release(database: &Database, ocfl_id: &str, holder: &str, now: Timestamp) -> Result<(), DatabaseError> {
    renew(database, ocfl_id, holder, now).await.map(|_| ())
}

/// Those of some packages to which somebody is adding a version now.
pub async fn changing(
    database: &Database,
    contract_ids: &[&str],
    package_ids: &[&str],
    now: Timestamp,
) -> Result<Vec<String>, DatabaseError> {
    // There are few notes, whatever is asked.
    let mut values = Vec::with_capacity(contract_ids.len());
    let text = format!(
        "SELECT p.id AS id FROM ingests i JOIN packages p ON p.ocfl_id = i.ocfl_id
         WHERE 1 = 1{} AND i.lease_until > ${}",
        any_of("p.contract_id", contract_ids, &mut values),
        contract_ids.len() + 1
    );
    let statement = values.into_iter().fold(Statement::assembled(text), Statement::bind).bind(now);
    let mut ids: Vec<String> =
        database.rows(statement).await?.iter().map(|row| row.text("id")).collect::<Result<_, _>>()?;
    ids.retain(|id| package_ids.contains(&id.as_str()));
    Ok(ids)
}

/// The catalogue knows the object as it is now.
pub async fn end(transaction: &mut Transaction, ocfl_id: &str, holder: &str) -> Result<(), DatabaseError> {
    let delete = "DELETE FROM ingests WHERE ocfl_id = $1 AND holder = $2";
    transaction.execute(sql(delete).bind(ocfl_id).bind(holder)).await.map(|_| ())
}

/// Whether the object is still one that was about to change.
pub async fn is_noted(transaction: &mut Transaction, ocfl_id: &str) -> Result<bool, DatabaseError> {
    Ok(transaction.row(sql("SELECT ocfl_id FROM ingests WHERE ocfl_id = $1").bind(ocfl_id)).await?.is_some())
}

/// Whether somebody has the right to change the object now.
pub async fn is_held(transaction: &mut Transaction, ocfl_id: &str, now: Timestamp) -> Result<bool, DatabaseError> {
    let query = sql("SELECT ocfl_id FROM ingests WHERE ocfl_id = $1 AND lease_until > $2");
    Ok(transaction.row(query.bind(ocfl_id).bind(now)).await?.is_some())
}

/// Forgets a note that nobody has renewed since it was read.
pub async fn forget(transaction: &mut Transaction, note: &Note) -> Result<(), DatabaseError> {
    let delete = "DELETE FROM ingests WHERE ocfl_id = $1 AND holder = $2 AND lease_until = $3";
    let statement = sql(delete).bind(note.ocfl_id.as_str()).bind(note.holder.as_str()).bind(note.lease_until);
    transaction.execute(statement).await.map(|_| ())
}

/// The objects that were about to change.
pub async fn list(database: &Database) -> Result<Vec<Note>, DatabaseError> {
    let select = "SELECT ocfl_id, started, holder, lease_until FROM ingests ORDER BY ocfl_id";
    let read = |row: &Row| {
        Ok(Note {
            ocfl_id: row.text("ocfl_id")?,
            started: row.time("started")?,
            holder: row.text("holder")?,
            lease_until: row.time("lease_until")?,
        })
    };
    database.rows(sql(select)).await?.iter().map(read).collect()
}
