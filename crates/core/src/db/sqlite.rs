//! SQLite, the embedded database: one file in the data directory, shared by the server and the command line.

use std::path::Path;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Sqlite, SqliteConnection, SqlitePool};

use crate::db::schema::{self, Dialect, Schema};
use crate::db::{DatabaseError, Row, Statement, sql};

/// How many connections read at the same time.
const READERS: u32 = 8;

/// The connections of one process.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// SQLite takes one writer at a time: one connection queues them fairly instead of letting them collide.
    writer: SqlitePool,
    readers: SqlitePool,
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // FULL syncs the log at every commit: what was answered survives a power cut.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(30))
        .pragma("cache_size", "-8192")
}

/// Opens the file, creates it if it is missing, and brings its schema up to date.
pub(super) async fn open(path: &Path) -> Result<File, DatabaseError> {
    let options = options(path);
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(60))
        .connect_with(options.clone())
        .await?;
    let mut connection = writer.acquire().await?;
    let schema = schema_of(&mut connection).await?;
    if schema.found > schema.wanted {
        return Err(DatabaseError::Schema(schema));
    }
    if !schema.is_current() {
        schema::migrate(&mut *connection, Dialect::Sqlite, None).await?;
    }
    drop(connection);
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(Duration::from_secs(60))
        .connect_with(options.read_only(true).create_if_missing(false))
        .await?;
    Ok(File { writer, readers })
}

/// Which schema the file has. It is not made if it is missing.
pub(super) async fn schema(path: &Path) -> Result<Schema, DatabaseError> {
    if !path.exists() {
        return Ok(schema::empty());
    }
    let mut connection = SqliteConnection::connect_with(&options(path)).await?;
    let found = schema_of(&mut connection).await;
    // It has answered; how it is closed does not matter any more.
    let _ = connection.close().await;
    found
}

pub(super) async fn migrate(path: &Path, target: Option<i64>) -> Result<(), DatabaseError> {
    let mut connection = SqliteConnection::connect_with(&options(path)).await?;
    schema::migrate(&mut connection, Dialect::Sqlite, target).await?;
    Ok(connection.close().await?)
}

async fn schema_of(connection: &mut SqliteConnection) -> Result<Schema, DatabaseError> {
    let query = sql("SELECT name FROM sqlite_schema WHERE name = '_sqlx_migrations'");
    match query.into_sqlite().fetch_optional(&mut *connection).await? {
        Some(_) => schema::look(connection, Dialect::Sqlite).await,
        None => Ok(schema::empty()),
    }
}

impl File {
    /// Begins a transaction: the only one that writes, until it ends.
    pub(super) async fn begin(&self) -> Result<PoolConnection<Sqlite>, DatabaseError> {
        let mut connection = self.writer.acquire().await?;
        match sql("BEGIN IMMEDIATE").into_sqlite().execute(&mut *connection).await {
            Ok(_) => Ok(connection),
            Err(error) => {
                connection.close_on_drop();
                Err(error.into())
            }
        }
    }

    /// Every row of a statement that only reads.
    pub(super) async fn rows(&self, statement: Statement) -> Result<Vec<Row>, DatabaseError> {
        let rows = statement.into_sqlite().fetch_all(&self.readers).await?;
        Ok(rows.into_iter().map(Row::from).collect())
    }

    pub(super) fn connections(&self) -> (u32, usize) {
        (self.readers.size() + self.writer.size(), self.readers.num_idle() + self.writer.num_idle())
    }

    /// The last connection to close writes the log back into the database file.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
