//! The processes of an installation: each tells from time to time that it is there, and takes its row away when it stops.

use crate::db::{Database, DatabaseError, Transaction, package_figures, sql, tallies};
use crate::named::named;
use crate::time::Timestamp;

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessKind {
    /// It answers, and may work on steps.
    Server,
    /// It works on steps, and answers nobody.
    Worker,
}

named!(ProcessKind, "kind of process": Server => "server", Worker => "worker");

/// A process of the installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Host and number: holders of leases are called so, with the number of their slot behind it.
    pub name: String,
    /// The machine.
    pub host: String,
    /// What it is for.
    pub kind: ProcessKind,
    /// The version of the program.
    pub version: String,
    /// How many steps it works on at a time; 0 when it leaves them to others.
    pub slots: u64,
    /// When it started.
    pub started: Timestamp,
    /// When it was last heard of.
    pub seen: Timestamp,
}

/// Tells that a process is there. Rows of processes that were not heard of since `forgotten` go.
pub async fn put(database: &Database, process: &Process, forgotten: Timestamp) -> Result<(), DatabaseError> {
    let upsert = "INSERT INTO processes (name, host, kind, version, slots, started, seen)
                  VALUES ($1, $2, $3, $4, $5, $6, $7)
                  ON CONFLICT (name) DO UPDATE SET host = excluded.host, kind = excluded.kind, version = excluded.version,
                      slots = excluded.slots, started = excluded.started, seen = excluded.seen";
    let statement = sql(upsert)
        .bind(&process.name)
        .bind(&process.host)
        .bind(process.kind.name())
        .bind(&process.version)
        .bind(process.slots)
        .bind(process.started)
        .bind(process.seen);
    let mut transaction = database.begin().await?;
    transaction.execute(statement).await?;
    forget(&mut transaction, forgotten).await?;
    transaction.commit().await
}

async fn forget(transaction: &mut Transaction, forgotten: Timestamp) -> Result<(), DatabaseError> {
    let delete = "DELETE FROM processes
                  WHERE name IN (SELECT name FROM processes WHERE seen < $1 ORDER BY name /* lock */)";
    transaction.execute(sql(delete).bind(forgotten).skipping_locked()).await.map(|_| ())
}

/// Clears away what nobody asks for any more: old hours of the tallies, and figures of nothing.
pub async fn tidy(database: &Database, now: Timestamp) -> Result<(), DatabaseError> {
    let mut transaction = database.begin().await?;
    tallies::sweep(&mut transaction, now).await?;
    package_figures::sweep(&mut transaction).await?;
    transaction.commit().await
}

/// Takes a process away that stops.
pub async fn remove(database: &Database, name: &str) -> Result<(), DatabaseError> {
    database.execute(sql("DELETE FROM processes WHERE name = $1").bind(name)).await.map(|_| ())
}

/// Every process that is known, by name.
pub async fn list(database: &Database) -> Result<Vec<Process>, DatabaseError> {
    let query = "SELECT name, host, kind, version, slots, started, seen FROM processes ORDER BY name";
    let rows = database.rows(sql(query)).await?;
    rows.iter()
        .map(|row| {
            Ok(Process {
                name: row.text("name")?,
                host: row.text("host")?,
                kind: row.parse("kind")?,
                version: row.text("version")?,
                slots: row.count("slots")?,
                started: row.time("started")?,
                seen: row.time("seen")?,
            })
        })
        .collect()
}
