//! The catalogue's database. Statements are written once, with `$1` parameters, and values travel as integers,
//! texts and blobs, so that another database is another arm of [`Database`] and a folder of migrations.
//!
//! The files beside this one each own the statements of one table or two.

pub mod contracts;
pub mod deliveries;
pub mod events;
pub(crate) mod figures;
pub mod ingests;
pub mod notices;
pub mod orders;
pub mod packages;
mod sqlite;
mod statement;
pub mod steps;
pub mod webhooks;

use std::path::Path;

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqlitePool};

use crate::meter;
pub use statement::{Row, Statement, Value, sql};

/// An error of the database. Its text is for the log, never for a client.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The database refused or could not be reached.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the database's schema could not be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A row holds what this program never wrote.
    #[error("the database holds an unexpected value in column {column}: {message}")]
    Value {
        /// The column.
        column: String,
        /// What is wrong with it.
        message: String,
    },
}

impl DatabaseError {
    /// Whether there is no room left for the database. Nothing was changed then.
    pub fn is_full(&self) -> bool {
        // SQLITE_FULL; SQLITE_IOERR_WRITE and _FSYNC, which a file system may answer instead.
        self.has_code(&["13", "778", "1034"])
    }

    /// Whether somebody else kept the database for longer than is waited for.
    pub fn is_busy(&self) -> bool {
        // SQLITE_BUSY and its extended codes.
        matches!(self, DatabaseError::Database(sqlx::Error::PoolTimedOut)) || self.has_code(&["5", "261", "517"])
    }

    fn has_code(&self, codes: &[&str]) -> bool {
        match self {
            DatabaseError::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| codes.contains(&code.as_ref()))
            }
            _ => false,
        }
    }

    /// Whether a unique index refused the row, that is: somebody was faster.
    pub fn is_duplicate(&self) -> bool {
        matches!(self, DatabaseError::Database(sqlx::Error::Database(error)) if error.is_unique_violation())
    }
}

/// A handle on the database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {
    /// SQLite takes one writer at a time: one connection queues them fairly instead of letting them collide.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Database {
    /// Opens the database file, creates it if it is missing, and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Database, DatabaseError> {
        sqlite::open(path).await
    }

    /// Begins a transaction that may write. It is rolled back unless it is committed.
    pub async fn begin(&self) -> Result<Transaction, DatabaseError> {
        meter::database("begin", Transaction::begin(&self.writer)).await
    }

    /// Runs one writing statement in a transaction of its own; returns how many rows it changed.
    pub async fn execute(&self, statement: Statement) -> Result<u64, DatabaseError> {
        let mut transaction = self.begin().await?;
        let changed = transaction.execute(statement).await?;
        transaction.commit().await?;
        Ok(changed)
    }

    /// Every row of a reading statement.
    pub async fn rows(&self, statement: Statement) -> Result<Vec<Row>, DatabaseError> {
        let call = async { Ok(statement.into_query().fetch_all(&self.readers).await?) };
        Ok(meter::database("read", call).await?.into_iter().map(Row::new).collect())
    }

    /// The first row of a reading statement, if there is one.
    pub async fn row(&self, statement: Statement) -> Result<Option<Row>, DatabaseError> {
        let call = async { Ok(statement.into_query().fetch_optional(&self.readers).await?) };
        Ok(meter::database("read", call).await?.map(Row::new))
    }

    /// How many connections are open, and how many of them are idle.
    pub fn connections(&self) -> (u32, u32) {
        let idle = self.readers.num_idle() + self.writer.num_idle();
        (self.readers.size() + self.writer.size(), u32::try_from(idle).unwrap_or(u32::MAX))
    }

    /// Whether the database answers.
    pub async fn check(&self) -> Result<(), DatabaseError> {
        self.row(sql("SELECT COUNT(*) AS n FROM contracts")).await.map(|_| ())
    }

    /// Closes every connection, so that the last one writes the log back into the database file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A transaction that may write.
///
/// The statements that begin and end it are our own: the library's bookkeeping does not survive a commit that fails
/// because the disk is full. A transaction that is dropped, or whose commit fails, takes its connection with it, and
/// the database rolls back.
#[derive(Debug)]
pub struct Transaction {
    connection: PoolConnection<Sqlite>,
    is_open: bool,
}

impl Transaction {
    async fn begin(pool: &SqlitePool) -> Result<Transaction, DatabaseError> {
        let mut transaction = Transaction { connection: pool.acquire().await?, is_open: true };
        transaction.call(sql("BEGIN IMMEDIATE")).await?;
        Ok(transaction)
    }

    /// Runs a statement; returns how many rows it changed.
    pub async fn execute(&mut self, statement: Statement) -> Result<u64, DatabaseError> {
        meter::database("write", self.call(statement)).await
    }

    async fn call(&mut self, statement: Statement) -> Result<u64, DatabaseError> {
        Ok(statement.into_query().execute(&mut *self.connection).await?.rows_affected())
    }

    /// Every row that a statement gives.
    pub async fn rows(&mut self, statement: Statement) -> Result<Vec<Row>, DatabaseError> {
        let call = async { Ok(statement.into_query().fetch_all(&mut *self.connection).await?) };
        Ok(meter::database("write", call).await?.into_iter().map(Row::new).collect())
    }

    /// The first row that a statement gives, if there is one.
    pub async fn row(&mut self, statement: Statement) -> Result<Option<Row>, DatabaseError> {
        // Not `fetch_optional`: a statement with RETURNING that is not read to its end stays open.
        Ok(self.rows(statement).await?.into_iter().next())
    }

    /// Makes everything durable at once.
    pub async fn commit(mut self) -> Result<(), DatabaseError> {
        meter::database("commit", self.call(sql("COMMIT"))).await?;
        self.is_open = false;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.is_open {
            self.connection.close_on_drop();
        }
    }
}
