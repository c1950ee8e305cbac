//! PostgreSQL: the catalogue and queue of an installation that several processes and machines share.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use tokio::runtime::Handle;

use crate::db::schema::{self, Dialect, Schema};
use crate::db::{DatabaseError, Row, Statement, sql};
use crate::time::Timestamp;

/// On which processes announce what they made ready.
const CHANNEL: &str = "dipper";

/// Where a PostgreSQL database is, and how much of it is used.
#[derive(Clone)]
pub struct Server {
    options: Arc<PgConnectOptions>,
    /// How many connections this process has at the most, besides the one on which it listens.
    pub max_connections: u32,
    /// How long a request or worker waits for a free connection, or for a database that does not answer.
    pub acquire_timeout: Duration,
    /// How long it waits for the answer to a statement: a server that was cut off in the middle never tells.
    pub statement_timeout: Duration,
}

/// Without the password.
impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Server({self})")
    }
}

/// Host, port and database, for messages: nothing that is secret.
impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        let database = options.get_database().unwrap_or(options.get_username());
        match options.get_socket() {
            Some(socket) => write!(formatter, "database {database} at {}", socket.display()),
            None => write!(formatter, "database {database} at {}:{}", options.get_host(), options.get_port()),
        }
    }
}

impl Server {
    /// Reads an address such as `postgres://user:password@host:5432/database?sslmode=verify-full`. What it leaves out
    /// comes from the environment as in other programs for PostgreSQL (PGHOST, PGPASSWORD and so on) or has a default.
    pub fn new(url: &str) -> Result<Server, DatabaseError> {
        // The causes of these errors may hold the address, and so the password.
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("postgres" | "postgresql")) {
            return Err(DatabaseError::Address("it does not begin with postgres://"));
        }
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            DatabaseError::Address("it is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=MODE")
        })?;
        let options = options.application_name("dipper").options([
            // What the locks of the catalogue's transactions rest on, whatever the server has as its default.
            ("default_transaction_isolation", "read committed"),
            // A process that is stopped in the middle of a transaction must not hold up the others for long.
            ("idle_in_transaction_session_timeout", "20s"),
            ("lock_timeout", "20s"),
        ]);
        Ok(Server {
            options: Arc::new(options),
            max_connections: 10,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
        })
    }

    /// A connection outside of any pool.
    async fn connect(&self) -> Result<PgConnection, DatabaseError> {
        answered(self.acquire_timeout, PgConnection::connect_with(&self.options)).await
    }

    fn pool_options(&self) -> PgPoolOptions {
        PgPoolOptions::new()
            .acquire_timeout(self.acquire_timeout)
            // A connection that has died shows at its first use, which is repeated then: see `begin` and `rows`.
            .test_before_acquire(false)
    }

    pub(super) async fn schema(&self) -> Result<Schema, DatabaseError> {
        let mut connection = self.connect().await?;
        let found = schema_of(&mut connection).await;
        // It has answered; how it is closed does not matter any more.
        let _ = connection.close().await;
        found
    }

    pub(super) async fn migrate(&self, target: Option<i64>) -> Result<(), DatabaseError> {
        let mut connection = self.connect().await?;
        let encoding = sql("SELECT pg_encoding_to_char(encoding) AS name FROM pg_database \
                            WHERE datname = current_database()");
        let encoding = Row::from(encoding.into_postgres().fetch_one(&mut connection).await?).text("name")?;
        if encoding != "UTF8" {
            return Err(DatabaseError::Encoding(encoding));
        }
        // Waiting for the others who migrate may take longer than any lock of a running installation.
        sqlx::query("SET lock_timeout = 0").execute(&mut connection).await?;
        schema::migrate(&mut connection, Dialect::Postgres, target).await?;
        let _ = connection.close().await;
        Ok(())
    }

    /// Connects, and looks whether the schema is the one that this program works with.
    pub(super) async fn open(&self) -> Result<Pool, DatabaseError> {
        // The server is not to work on for nobody.
        let patience = format!("{}ms", self.statement_timeout.as_millis());
        let options = self.options.as_ref().clone().options([("statement_timeout", patience)]);
        let pool = self.pool_options().max_connections(self.max_connections).connect_with(options).await?;
        let pool = Pool { pool, server: self.clone() };
        let mut connection = pool.acquire().await?;
        let schema = schema_of(connection.get_mut()?);
        tokio::time::timeout(self.statement_timeout, schema).await.map_err(|_| DatabaseError::Silent)??.check()?;
        drop(connection);
        Ok(pool)
    }
}

async fn schema_of(connection: &mut PgConnection) -> Result<Schema, DatabaseError> {
    let query = sql("SELECT 1 AS n WHERE to_regclass('_sqlx_migrations') IS NOT NULL");
    match query.into_postgres().fetch_optional(&mut *connection).await? {
        Some(_) => schema::look(connection, Dialect::Postgres).await,
        None => Ok(schema::empty()),
    }
}

/// Waits for the server, but not for ever.
async fn answered<T>(
    patience: Duration,
    call: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, DatabaseError> {
    match tokio::time::timeout(patience, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(DatabaseError::Silent),
    }
}

/// A connection of the pool, in use. Whatever is asked over it is answered in time, or the connection goes away; so it
/// does if it cannot be given back in time.
#[derive(Debug)]
pub(super) struct Held {
    /// Absent once it went away.
    connection: Option<PoolConnection<Postgres>>,
    patience: Duration,
}

impl Held {
    fn get_mut(&mut self) -> Result<&mut PgConnection, DatabaseError> {
        self.connection.as_deref_mut().ok_or(DatabaseError::Silent)
    }

    /// Runs a statement; returns how many rows it changed.
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, DatabaseError> {
        let (patience, connection) = (self.patience, self.get_mut()?);
        let done = answered(patience, statement.into_postgres().execute(connection)).await;
        Ok(self.noted(done)?.rows_affected())
    }

    /// Every row that a statement gives.
    pub(super) async fn rows(&mut self, statement: Statement) -> Result<Vec<Row>, DatabaseError> {
        let (patience, connection) = (self.patience, self.get_mut()?);
        let rows = answered(patience, statement.into_postgres().fetch_all(connection)).await;
        Ok(self.noted(rows)?.into_iter().map(Row::from).collect())
    }

    async fn ping(&mut self) -> Result<(), DatabaseError> {
        let (patience, connection) = (self.patience, self.get_mut()?);
        let answer = answered(patience, connection.ping()).await;
        self.noted(answer)
    }

    /// Nobody knows what comes next over a connection that did not answer.
    fn noted<T>(&mut self, answer: Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        if matches!(answer, Err(DatabaseError::Silent)) {
            self.close();
        }
        answer
    }

    /// Has the connection leave the pool.
    fn close(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.close_on_drop();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        // Outside of a runtime nobody can look whether the connection is still good.
        match Handle::try_current() {
            Ok(runtime) => {
                // The library asks the server once more, and waits for as long as that takes.
                let back = connection.return_to_pool();
                let patience = self.patience;
                runtime.spawn(async move { tokio::time::timeout(patience, back).await });
            }
            Err(_) => connection.close_on_drop(),
        }
    }
}

/// The connections of one process.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pool: PgPool,
    pub(super) server: Server,
}

impl Pool {
    async fn acquire(&self) -> Result<Held, DatabaseError> {
        let connection = self.pool.acquire().await?;
        Ok(Held { connection: Some(connection), patience: self.server.statement_timeout })
    }

    /// Begins a transaction. A connection that died while nobody used it shows here, before anything was done, and is
    /// replaced.
    pub(super) async fn begin(&self) -> Result<Held, DatabaseError> {
        let mut connection = self.acquire().await?;
        match connection.execute(sql("BEGIN")).await {
            Err(error) if error.is_lost() => connection.close(),
            begun => return begun.map(|_| connection),
        }
        let mut connection = self.acquire_live().await?;
        connection.execute(sql("BEGIN")).await?;
        Ok(connection)
    }

    /// Every row of a statement that only reads, and so can be repeated when the connection is lost.
    pub(super) async fn rows(&self, statement: Statement) -> Result<Vec<Row>, DatabaseError> {
        let mut connection = self.acquire().await?;
        match connection.rows(statement.clone()).await {
            Err(error) if error.is_lost() => connection.close(),
            rows => return rows,
        }
        self.acquire_live().await?.rows(statement).await
    }

    /// A connection that has just answered. Each that has not leaves the pool, so this comes to an end.
    async fn acquire_live(&self) -> Result<Held, DatabaseError> {
        loop {
            let mut connection = self.acquire().await?;
            match connection.ping().await {
                Ok(()) => return Ok(connection),
                // To ask the next one would take as long again.
                Err(DatabaseError::Silent) => return Err(DatabaseError::Silent),
                Err(_) => connection.close(),
            }
        }
    }

    /// What the server's clock shows.
    pub(super) async fn now(&self) -> Result<Timestamp, DatabaseError> {
        let query = sql("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS now");
        match self.rows(query).await?.first() {
            Some(row) => row.time("now"),
            None => Err(sqlx::Error::RowNotFound.into()),
        }
    }

    pub(super) async fn announce(&self, message: &str) -> Result<(), DatabaseError> {
        let query = sql("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(message);
        self.rows(query).await.map(|_| ())
    }

    pub(super) async fn listen(&self) -> Result<Listener, DatabaseError> {
        // Outside of the pool, so that it takes nobody's place.
        let options = self.server.pool_options().max_connections(1);
        let pool = options.connect_with(self.server.options.as_ref().clone()).await?;
        let listening = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok(Listener(listener))
        };
        answered(self.server.statement_timeout, listening).await
    }

    pub(super) fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A connection on which is heard what processes of the installation announce.
pub struct Listener(PgListener);

impl Listener {
    /// The next message. An error says that the connection is lost: listening begins anew then, with another one, by
    /// whoever knows what to look at after a time in which nothing was heard.
    pub async fn next(&mut self) -> Result<String, DatabaseError> {
        match self.0.try_recv().await? {
            Some(notification) => Ok(notification.payload().to_owned()),
            None => Err(DatabaseError::Silent),
        }
    }

    /// Whether the connection still answers.
    pub async fn check(&mut self) -> Result<(), DatabaseError> {
        sql("SELECT 1").into_postgres().execute(&mut self.0).await?;
        Ok(())
    }
}

/// Rolls back a transaction that was given up, without making anybody wait. The connection goes back to the pool, or
/// away if even that fails.
pub(super) fn roll_back(mut connection: Held) {
    // Outside of a runtime nothing can be sent any more: the server rolls back when the connection is gone.
    let Ok(runtime) = Handle::try_current() else {
        return connection.close();
    };
    runtime.spawn(async move {
        if connection.execute(sql("ROLLBACK")).await.is_err() {
            connection.close();
        }
    });
}

/// Whether the connection is gone, whoever ended it.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => true,
        // 57P01 to 57P03: the server is shut down, has crashed, or does not take connections yet; 25P03 and 57P05: it
        // ended a session that was idle for too long; class 08: the connection failed.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            matches!(code.as_ref(), "57P01" | "57P02" | "57P03" | "57P05" | "25P03") || code.starts_with("08")
        }),
        _ => false,
    }
}
