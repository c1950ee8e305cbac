//! SQLite, the embedded database: one file in the data directory, shared by the server and the command line.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::db::{Database, DatabaseError};

const MIGRATIONS: [(i64, &str, &str); 1] =
    [(1, "catalogue", include_str!("../../migrations/sqlite/0001_catalogue.sql"))];

/// How many connections read at the same time.
const READERS: u32 = 8;

pub(super) async fn open(path: &Path) -> Result<Database, DatabaseError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // FULL syncs the log at every commit: what was answered survives a power cut.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(30))
        .pragma("cache_size", "-8192");
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(60))
        .connect_with(options.clone())
        .await?;
    migrate(&writer).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(Duration::from_secs(60))
        .connect_with(options.read_only(true).create_if_missing(false))
        .await?;
    Ok(Database { writer, readers })
}

async fn migrate(pool: &sqlx::SqlitePool) -> Result<(), DatabaseError> {
    let migrations = MIGRATIONS
        .into_iter()
        .map(|(version, name, text)| {
            Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, text.into_sql_str(), false)
        })
        .collect();
    Ok(Migrator::with_migrations(migrations).run(pool).await?)
}
