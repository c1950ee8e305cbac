//! The catalogue's database: SQLite in the data directory, or a PostgreSQL server that several processes share. Statements
//! are written once, with `$1` parameters, and values travel as integers, texts and blobs; what differs is in
//! `sqlite.rs`, `postgres.rs` and the two folders of migrations. Where SQLite would read a table by the wrong index, the
//! statement says which (`/* INDEXED BY name */`, see `statement.rs`).
//!
//! The other files each own the statements of one table or two.
//!
//! # Transactions
//!
//! SQLite has one writer at a time. PostgreSQL (READ COMMITTED) has many, so whoever reads in a transaction what he then
//! decides on locks those rows ([`Statement::locking`]; functions that do so are named `…_locked`), lets a unique index
//! judge, or writes with a condition and looks whether the row was changed.
//!
//! So that no two transactions wait for each other, rows are locked in this order, and rows of one table in the order
//! of their keys (packages: of their locations):
//!
//! shares, contracts, legal holds, clients, client keys, sessions, orders, excerpts, deletions, steps, packages, identifiers,
//! ingests, deliveries, restores, recalls, area files, submissions, deposits, gateways, webhooks, notices, mails,
//! tallies, audit heads
//!
//! The figures of packages (`package_figures.rs`) have no place in it: a transaction adds rows to them and locks none, and
//! whoever adds them up holds nothing else.
//!
//! Tallies and entries of the audit log are written by [`Transaction::commit`], after everything else, so that nobody who
//! wants to append to a chain holds it while he waits for another lock.
//!
//! A queue is taken from with [`Statement::skipping_locked`], which waits for nobody. Where the server finds a deadlock all
//! the same, the error is one that [`DatabaseError::is_busy`] calls passing.
//!
//! When a connection is lost during `COMMIT`, nobody here knows whether the transaction took place. So every transaction
//! can be tried again as a whole: a step's is fenced by the step, which it also ends; an order's by the index of
//! unfinished orders; a notice's by the fence of its claim; the rest says what shall be, not what is to be added.

pub mod area_files;
pub mod audit;
pub mod checks;
pub mod chores;
pub mod claims;
pub mod client_keys;
pub mod contracts;
pub mod deletions;
pub mod deliveries;
pub mod deposits;
pub mod events;
pub mod excerpts;
pub(crate) mod figures;
pub mod gateways;
pub mod holds;
pub mod identifiers;
pub mod ingests;
pub mod installation;
pub mod mails;
pub mod notices;
pub mod orders;
pub mod oversight;
pub mod package_figures;
pub mod package_names;
pub mod package_search;
pub mod packages;
mod postgres;
pub mod processes;
pub mod recalls;
pub mod restores;
mod schema;
pub mod sessions;
mod sqlite;
mod statement;
pub mod steps;
pub mod submissions;
pub mod tallies;
pub mod uploads;
pub mod webhooks;

use std::path::PathBuf;

use sqlx::Sqlite;
use sqlx::pool::PoolConnection;

pub use postgres::{Listener, Server};
pub use schema::Schema;
pub use statement::{Row, Statement, Value, sql};

use crate::audit::AuditEntry;
use crate::audit::chain::Sealer;
use crate::meter;
use crate::time::Timestamp;

/// Where the catalogue is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file of the embedded database.
    File(PathBuf),
    /// A database of a PostgreSQL server.
    Server(Server),
}

/// An error of the database. Its text is for the log, never for a client.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The database refused or could not be reached.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the database's schema could not be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The schema is not the one that this program works with.
    #[error("{0}")]
    Schema(Schema),
    /// The server keeps texts in an encoding that does not take all of them.
    #[error("the database keeps texts in {0}: create it with ENCODING 'UTF8'")]
    Encoding(String),
    /// The database's address cannot be used. It may hold a password, so it is not told.
    #[error("the database's address cannot be used: {0}")]
    Address(&'static str),
    /// A statement of the transaction had failed before, so nothing of it was kept.
    #[error("the transaction was rolled back, because one of its statements had failed")]
    RolledBack,
    /// The connection does not answer any more.
    #[error("the database does not answer")]
    Silent,
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
        // SQLITE_FULL; SQLITE_IOERR_WRITE and _FSYNC, which a file system may answer instead; disk_full.
        self.has_code(&["13", "778", "1034", "53100"])
    }

    /// Whether trying again after a while may help: somebody else kept the database for longer than is waited for, or
    /// it does not answer now.
    pub fn is_busy(&self) -> bool {
        // SQLITE_BUSY and its extended codes; serialization_failure, deadlock_detected, lock_not_available,
        // query_canceled, too_many_connections, out_of_memory; read_only_sql_transaction, which a server answers that
        // has just lost its role to another.
        const CODES: [&str; 10] = ["5", "261", "517", "40001", "40P01", "55P03", "57014", "53300", "53200", "25006"];
        match self {
            DatabaseError::Silent | DatabaseError::Database(sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) => {
                true
            }
            DatabaseError::Database(_) => self.is_lost() || self.has_code(&CODES),
            _ => false,
        }
    }

    /// Whether the connection is gone.
    fn is_lost(&self) -> bool {
        matches!(self, DatabaseError::Database(error) if postgres::is_lost(error))
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
    engine: Engine,
    /// Seals the ends of the chains of the audit log.
    sealer: Option<Sealer>,
}

#[derive(Clone, Debug)]
enum Engine {
    Sqlite(sqlite::File),
    Postgres(postgres::Pool),
}

impl Database {
    /// Opens the database. A file is created if it is missing, and its schema brought up to date. The schema of a server
    /// must be the one that this program works with: other programs may be using it.
    pub async fn open(place: &Place) -> Result<Database, DatabaseError> {
        let engine = match place {
            Place::File(path) => Engine::Sqlite(sqlite::open(path).await?),
            Place::Server(server) => Engine::Postgres(server.open().await?),
        };
        Ok(Database { engine, sealer: None })
    }

    /// The same database, in which the ends of the audit log's chains are sealed.
    #[must_use]
    pub fn sealing(self, sealer: Sealer) -> Database {
        Database { sealer: Some(sealer), ..self }
    }

    /// What seals the ends of the audit log's chains, if anything does.
    pub(crate) fn sealer(&self) -> Option<&Sealer> {
        self.sealer.as_ref()
    }

    /// Which schema a database has. Nothing is created.
    pub async fn schema(place: &Place) -> Result<Schema, DatabaseError> {
        match place {
            Place::File(path) => sqlite::schema(path).await,
            Place::Server(server) => server.schema().await,
        }
    }

    /// Brings a database's schema up to date, or to the version `target`; never back.
    pub async fn migrate(place: &Place, target: Option<i64>) -> Result<(), DatabaseError> {
        let schema = Database::schema(place).await?;
        if schema.found > schema.wanted {
            return Err(DatabaseError::Schema(schema));
        }
        match place {
            Place::File(path) => sqlite::migrate(path, target).await,
            Place::Server(server) => server.migrate(target).await,
        }
    }

    /// Begins a transaction that may write. It is rolled back unless it is committed.
    pub async fn begin(&self) -> Result<Transaction, DatabaseError> {
        let begin = async {
            Ok(match &self.engine {
                Engine::Sqlite(file) => Connection::Sqlite(file.begin().await?),
                Engine::Postgres(pool) => Connection::Postgres(pool.begin().await?),
            })
        };
        let connection = meter::database("begin", begin).await?;
        Ok(Transaction {
            connection: Some(connection),
            has_failed: false,
            audit: Vec::new(),
            tallies: Vec::new(),
            sealer: self.sealer.clone(),
        })
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
        let read = async {
            match &self.engine {
                Engine::Sqlite(file) => file.rows(statement).await,
                Engine::Postgres(pool) => pool.rows(statement).await,
            }
        };
        meter::database("read", read).await
    }

    /// The first row of a reading statement, if there is one.
    pub async fn row(&self, statement: Statement) -> Result<Option<Row>, DatabaseError> {
        Ok(self.rows(statement).await?.into_iter().next())
    }

    /// How many connections are open, and how many of them are idle.
    pub fn connections(&self) -> (u32, u32) {
        let (open, idle) = match &self.engine {
            Engine::Sqlite(file) => file.connections(),
            Engine::Postgres(pool) => pool.connections(),
        };
        (open, u32::try_from(idle).unwrap_or(u32::MAX))
    }

    /// Whether the database answers.
    pub async fn check(&self) -> Result<(), DatabaseError> {
        self.row(sql("SELECT COUNT(*) AS n FROM contracts")).await.map(|_| ())
    }

    /// Whether other machines may be using the database too.
    pub fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// What the clock shows that all processes of the installation go by, if it is not this machine's own.
    pub async fn now(&self) -> Result<Option<Timestamp>, DatabaseError> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(None),
            Engine::Postgres(pool) => pool.now().await.map(Some),
        }
    }

    /// Tells every process that listens. Never inside of a transaction: those that announce something commit one after
    /// the other.
    pub async fn announce(&self, message: &str) -> Result<(), DatabaseError> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(pool) => pool.announce(message).await,
        }
    }

    /// Listens to what processes announce, on a connection of its own; `None` where the database cannot tell.
    pub async fn listen(&self) -> Result<Option<Listener>, DatabaseError> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(None),
            Engine::Postgres(pool) => pool.listen().await.map(Some),
        }
    }

    /// Closes every connection. Statements that run are finished first.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(file) => file.close().await,
            Engine::Postgres(pool) => pool.close().await,
        }
    }
}

#[derive(Debug)]
enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(postgres::Held),
}

/// A transaction that may write.
///
/// The statements that begin and end it are our own: the library's bookkeeping does not survive a commit that fails
/// because the disk is full. A transaction that is dropped, or whose commit fails, is rolled back.
#[derive(Debug)]
pub struct Transaction {
    /// Absent once it is committed.
    connection: Option<Connection>,
    has_failed: bool,
    /// Entries that the commit appends to the audit log.
    audit: Vec<AuditEntry>,
    /// What the commit adds to the tallies.
    tallies: Vec<tallies::Tallied>,
    sealer: Option<Sealer>,
}

impl Transaction {
    /// Runs a statement; returns how many rows it changed.
    pub async fn execute(&mut self, statement: Statement) -> Result<u64, DatabaseError> {
        meter::database("write", self.call(statement)).await
    }

    async fn call(&mut self, statement: Statement) -> Result<u64, DatabaseError> {
        let done = match &mut self.connection {
            Some(Connection::Sqlite(connection)) => {
                let done = statement.into_sqlite().execute(&mut **connection).await;
                done.map(|done| done.rows_affected()).map_err(DatabaseError::from)
            }
            Some(Connection::Postgres(connection)) => connection.execute(statement).await,
            None => return Err(DatabaseError::RolledBack),
        };
        self.noted(done)
    }

    /// Every row that a statement gives.
    pub async fn rows(&mut self, statement: Statement) -> Result<Vec<Row>, DatabaseError> {
        meter::database("write", self.call_for_rows(statement)).await
    }

    async fn call_for_rows(&mut self, statement: Statement) -> Result<Vec<Row>, DatabaseError> {
        let rows = match &mut self.connection {
            Some(Connection::Sqlite(connection)) => {
                let rows = statement.into_sqlite().fetch_all(&mut **connection).await;
                rows.map(|rows| rows.into_iter().map(Row::from).collect()).map_err(DatabaseError::from)
            }
            Some(Connection::Postgres(connection)) => connection.rows(statement).await,
            None => return Err(DatabaseError::RolledBack),
        };
        self.noted(rows)
    }

    /// The first row that a statement gives, if there is one.
    pub async fn row(&mut self, statement: Statement) -> Result<Option<Row>, DatabaseError> {
        // Not `fetch_optional`: a statement with RETURNING that is not read to its end stays open.
        Ok(self.rows(statement).await?.into_iter().next())
    }

    /// Has an entry appended to the audit log by the commit.
    pub(crate) fn owe_audit(&mut self, entry: AuditEntry) {
        self.audit.push(entry);
    }

    /// Has something added to the tallies by the commit.
    pub(crate) fn owe_tally(&mut self, tallied: tallies::Tallied) {
        self.tallies.push(tallied);
    }

    /// Makes everything durable at once. After an error that [`DatabaseError::is_busy`] calls passing it may have been
    /// made durable all the same: the connection was lost before the answer came.
    pub async fn commit(mut self) -> Result<(), DatabaseError> {
        // PostgreSQL would answer this COMMIT with a rollback, and call it a success.
        if self.has_failed {
            return Err(DatabaseError::RolledBack);
        }
        let tallied = std::mem::take(&mut self.tallies);
        tallies::add(&mut self, tallied).await?;
        let entries = std::mem::take(&mut self.audit);
        if !entries.is_empty() {
            let sealer = self.sealer.take();
            audit::append(&mut self, entries, sealer.as_ref()).await?;
        }
        meter::database("commit", self.call(sql("COMMIT"))).await?;
        self.connection = None;
        Ok(())
    }

    fn noted<T>(&mut self, done: Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        self.has_failed |= done.is_err();
        done
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        match self.connection.take() {
            // The database rolls back when the connection is gone.
            Some(Connection::Sqlite(mut connection)) => connection.close_on_drop(),
            // Making a connection costs much more here, and another transaction may be waiting for the locks.
            Some(Connection::Postgres(connection)) => postgres::roll_back(connection),
            None => {}
        }
    }
}
