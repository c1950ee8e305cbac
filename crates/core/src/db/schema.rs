//! The catalogue's schema: its versions, and which one a database has. Each engine has a folder of migrations; the same
//! numbers do the same in both.

use std::borrow::Cow;

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{SqlSafeStr, SqlStr};

use crate::db::DatabaseError;

/// Number and name of each migration, and what it does in SQLite and in PostgreSQL.
const MIGRATIONS: [(i64, &str, &str, &str); 23] = [
    (
        1,
        "catalogue",
        include_str!("../../migrations/sqlite/0001_catalogue.sql"),
        include_str!("../../migrations/postgres/0001_catalogue.sql"),
    ),
    (
        2,
        "installation",
        include_str!("../../migrations/sqlite/0002_installation.sql"),
        include_str!("../../migrations/postgres/0002_installation.sql"),
    ),
    (
        3,
        "figures",
        include_str!("../../migrations/sqlite/0003_figures.sql"),
        include_str!("../../migrations/postgres/0003_figures.sql"),
    ),
    (
        4,
        "shares",
        include_str!("../../migrations/sqlite/0004_shares.sql"),
        include_str!("../../migrations/postgres/0004_shares.sql"),
    ),
    (
        5,
        "delivery store",
        include_str!("../../migrations/sqlite/0005_delivery_store.sql"),
        include_str!("../../migrations/postgres/0005_delivery_store.sql"),
    ),
    (
        6,
        "recalls",
        include_str!("../../migrations/sqlite/0006_recalls.sql"),
        include_str!("../../migrations/postgres/0006_recalls.sql"),
    ),
    (
        7,
        "ingest leases",
        include_str!("../../migrations/sqlite/0007_ingest_leases.sql"),
        include_str!("../../migrations/postgres/0007_ingest_leases.sql"),
    ),
    (
        8,
        "identifiers",
        include_str!("../../migrations/sqlite/0008_identifiers.sql"),
        include_str!("../../migrations/postgres/0008_identifiers.sql"),
    ),
    (
        9,
        "client keys",
        include_str!("../../migrations/sqlite/0009_client_keys.sql"),
        include_str!("../../migrations/postgres/0009_client_keys.sql"),
    ),
    (
        10,
        "mails",
        include_str!("../../migrations/sqlite/0010_mails.sql"),
        include_str!("../../migrations/postgres/0010_mails.sql"),
    ),
    (
        11,
        "submissions",
        include_str!("../../migrations/sqlite/0011_submissions.sql"),
        include_str!("../../migrations/postgres/0011_submissions.sql"),
    ),
    (
        12,
        "order kinds",
        include_str!("../../migrations/sqlite/0012_order_kinds.sql"),
        include_str!("../../migrations/postgres/0012_order_kinds.sql"),
    ),
    (
        13,
        "audit",
        include_str!("../../migrations/sqlite/0013_audit.sql"),
        include_str!("../../migrations/postgres/0013_audit.sql"),
    ),
    (
        14,
        "restores",
        include_str!("../../migrations/sqlite/0014_restores.sql"),
        include_str!("../../migrations/postgres/0014_restores.sql"),
    ),
    (
        15,
        "damage mails",
        include_str!("../../migrations/sqlite/0015_damage_mails.sql"),
        include_str!("../../migrations/postgres/0015_damage_mails.sql"),
    ),
    (
        16,
        "deletions",
        include_str!("../../migrations/sqlite/0016_deletions.sql"),
        include_str!("../../migrations/postgres/0016_deletions.sql"),
    ),
    (
        17,
        "sessions",
        include_str!("../../migrations/sqlite/0017_sessions.sql"),
        include_str!("../../migrations/postgres/0017_sessions.sql"),
    ),
    (
        18,
        "oversight",
        include_str!("../../migrations/sqlite/0018_oversight.sql"),
        include_str!("../../migrations/postgres/0018_oversight.sql"),
    ),
    (
        19,
        "excerpts",
        include_str!("../../migrations/sqlite/0019_excerpts.sql"),
        include_str!("../../migrations/postgres/0019_excerpts.sql"),
    ),
    (
        20,
        "deletion requests",
        include_str!("../../migrations/sqlite/0020_deletion_requests.sql"),
        include_str!("../../migrations/postgres/0020_deletion_requests.sql"),
    ),
    (
        21,
        "package figures",
        include_str!("../../migrations/sqlite/0021_package_figures.sql"),
        include_str!("../../migrations/postgres/0021_package_figures.sql"),
    ),
    (
        22,
        "console",
        include_str!("../../migrations/sqlite/0022_console.sql"),
        include_str!("../../migrations/postgres/0022_console.sql"),
    ),
    (
        23,
        "collation",
        include_str!("../../migrations/sqlite/0023_collation.sql"),
        include_str!("../../migrations/postgres/0023_collation.sql"),
    ),
];

/// Where applied migrations are noted.
const TABLE: &str = "_sqlx_migrations";

/// Whose dialect of SQL is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The embedded database.
    Sqlite,
    /// The database server.
    Postgres,
}

/// The version of a database's schema, against the one that this program works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The version that the database has; 0 when it is empty.
    pub found: i64,
    /// The version that this program works with.
    pub wanted: i64,
}

impl Schema {
    /// Whether this program can work with the database.
    pub fn is_current(self) -> bool {
        self.found == self.wanted
    }

    /// The database as it is, or why this program cannot work with it.
    pub(super) fn check(self) -> Result<(), DatabaseError> {
        if self.is_current() { Ok(()) } else { Err(DatabaseError::Schema(self)) }
    }
}

/// What is to be done about a schema that is not the one that this program works with.
impl std::fmt::Display for Schema {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Schema { found, wanted } = self;
        match found.cmp(wanted) {
            _ if *found == 0 => write!(formatter, "the database has no catalogue yet: run `dipper migrate`"),
            std::cmp::Ordering::Less => write!(
                formatter,
                "the database's schema has version {found}, and this program works with version {wanted}: stop the \
                 other programs that use it, and run `dipper migrate`"
            ),
            std::cmp::Ordering::Equal => write!(formatter, "the database's schema has version {found}"),
            std::cmp::Ordering::Greater => write!(
                formatter,
                "the database's schema has version {found}, and this program works with version {wanted} at the most: \
                 use the newer program that has migrated the database"
            ),
        }
    }
}

/// The migrations of one dialect.
fn migrations(dialect: Dialect) -> Vec<Migration> {
    let migration = |(version, name, sqlite, postgres): (i64, &'static str, &'static str, &'static str)| {
        let text: SqlStr = match dialect {
            Dialect::Sqlite => sqlite.into_sql_str(),
            Dialect::Postgres => postgres.into_sql_str(),
        };
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, text, false)
    };
    MIGRATIONS.into_iter().map(migration).collect()
}

/// Which version a database has. One that is half migrated, or whose migrations were others, is an error.
///
/// Says nothing of a database without the table of migrations: that is for the engine to find out.
pub(super) async fn look<C: Migrate>(connection: &mut C, dialect: Dialect) -> Result<Schema, DatabaseError> {
    let known = migrations(dialect);
    let wanted = known.last().map_or(0, |migration| migration.version);
    if let Some(version) = connection.dirty_version(TABLE).await? {
        return Err(MigrateError::Dirty(version).into());
    }
    let applied = connection.list_applied_migrations(TABLE).await?;
    for migration in &known {
        let other = |applied: &&sqlx::migrate::AppliedMigration| {
            applied.version == migration.version && applied.checksum != migration.checksum
        };
        if let Some(other) = applied.iter().find(other) {
            return Err(MigrateError::VersionMismatch(other.version).into());
        }
    }
    let found = applied.iter().map(|applied| applied.version).max().unwrap_or(0);
    Ok(Schema { found, wanted })
}

/// The schema of a database that has nothing.
pub(super) fn empty() -> Schema {
    Schema { found: 0, wanted: MIGRATIONS.last().map_or(0, |(version, ..)| *version) }
}

/// Brings a database up to date, or to the version `target`. Several programs that do so at once take turns, where the
/// engine has locks for that.
pub(super) async fn migrate<C: Migrate>(
    connection: &mut C,
    dialect: Dialect,
    target: Option<i64>,
) -> Result<(), DatabaseError> {
    let migrator = Migrator::with_migrations(migrations(dialect));
    Ok(migrator.run_direct(target, connection, false).await?)
}
