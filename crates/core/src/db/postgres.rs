//! PostgreSQL: the catalogue and queue of an installation that several processes and machines share.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Connection as _, PgPool, Postgres};

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
        Ok(Server { options: Arc::new(options), max_connections: 10, acquire_timeout: Duration::from_secs(10) })
    }

    fn pool_options(&self) -> PgPoolOptions {
        PgPoolOptions::new()
            .acquire_timeout(self.acquire_timeout)
            // A connection that has died shows at its first use, which is repeated then: see `begin` and `rows`.
            .test_before_acquire(false)
    }

    pub(super) async fn schema(&self) -> Result<Schema, DatabaseError> {
        let mut connection = sqlx::PgConnection::connect_with(&self.options).await?;
        let found = schema_of(&mut connection).await;
        // It has answered; how it is closed does not matter any more.
        let _ = connection.close().await;
        found
    }

    pub(super) async fn migrate(&self, target: Option<i64>) -> Result<(), DatabaseError> {
        let mut connection = sqlx::PgConnection::connect_with(&self.options).await?;
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
        let pool = self
            .pool_options()
            .max_connections(self.max_connections)
            .connect_with(self.options.as_ref().clone())
            .await?;
        let mut connection = pool.acquire().await?;
        schema_of(&mut connection).await?.check()?;
        drop(connection);
        Ok(Pool { pool, server: self.clone() })
    }
}

async fn schema_of(connection: &mut sqlx::PgConnection) -> Result<Schema, DatabaseError> {
    let query = sql("SELECT 1 AS n WHERE to_regclass('_sqlx_migrations') IS NOT NULL");
    match query.into_postgres().fetch_optional(&mut *connection).await? {
        Some(_) => schema::look(connection, Dialect::Postgres).await,
        None => Ok(schema::empty()),
    }
}

/// The connections of one process.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pool: PgPool,
    pub(super) server: Server,
}

impl Pool {
    /// Begins a transaction. A connection that died while nobody used it shows here, before anything was done, and is
    /// replaced.
    pub(super) async fn begin(&self) -> Result<PoolConnection<Postgres>, DatabaseError> {
        let mut connection = self.pool.acquire().await?;
        match sql("BEGIN").into_postgres().execute(&mut *connection).await {
            Err(error) if is_lost(&error) => connection.close_on_drop(),
            begun => {
                begun?;
                return Ok(connection);
            }
        }
        drop(connection);
        let mut connection = self.acquire_live().await?;
        sql("BEGIN").into_postgres().execute(&mut *connection).await?;
        Ok(connection)
    }

    /// Every row of a statement that only reads, and so can be repeated when the connection is lost.
    pub(super) async fn rows(&self, statement: Statement) -> Result<Vec<Row>, DatabaseError> {
        let mut connection = self.pool.acquire().await?;
        match statement.clone().into_postgres().fetch_all(&mut *connection).await {
            Err(error) if is_lost(&error) => connection.close_on_drop(),
            rows => return Ok(rows?.into_iter().map(Row::from).collect()),
        }
        drop(connection);
        let mut connection = self.acquire_live().await?;
        let rows = statement.into_postgres().fetch_all(&mut *connection).await?;
        Ok(rows.into_iter().map(Row::from).collect())
    }

    /// A connection that has just answered. Each that has not leaves the pool, so this comes to an end.
    async fn acquire_live(&self) -> Result<PoolConnection<Postgres>, DatabaseError> {
        loop {
            let mut connection = self.pool.acquire().await?;
            match connection.ping().await {
                Ok(()) => return Ok(connection),
                Err(_) => connection.close_on_drop(),
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
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(Listener(listener))
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
pub(super) fn roll_back(mut connection: PoolConnection<Postgres>) {
    // Outside of a runtime nothing can be sent any more: the server rolls back when the connection is gone.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return connection.close_on_drop();
    };
    runtime.spawn(async move {
        if sql("ROLLBACK").into_postgres().execute(&mut *connection).await.is_err() {
            connection.close_on_drop();
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
