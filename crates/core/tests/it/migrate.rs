//! The schema: brought up to date with what is in it, and refused when it is another.

use dipper_core::db::{Database, DatabaseError, Place, sql};
use dipper_core::installation::{Installation, InstallationError, Places};
use dipper_core::settings::Settings;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use super::ENGINE;
use super::bench::server;
use crate::Engine;
use crate::postgres::{self, TestDatabase};

/// A directory for an installation, and a database without a schema.
fn bare() -> (tempfile::TempDir, Places, Option<TestDatabase>) {
    let directory = tempfile::tempdir().unwrap();
    let database = match ENGINE {
        Engine::Sqlite => None,
        Engine::Postgres => Some(postgres::shared().bare_database()),
    };
    let server = database.as_ref().map(server);
    let places = Places { database: server, ..Places::new(directory.path()) };
    (directory, places, database)
}

async fn open(places: &Places) -> Result<Installation, InstallationError> {
    Installation::open(places.clone(), Settings::default(), Default::default()).await
}

fn told(error: InstallationError) -> String {
    assert!(matches!(error, InstallationError::Database(DatabaseError::Schema(_))), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_schema_of_the_first_version_is_brought_up_to_date_with_what_is_in_it() {
    let (_directory, places, database) = bare();
    let catalogue = places.catalogue();
    let schema = Database::schema(&catalogue).await.unwrap();
    assert_eq!(schema.found, 0);
    Database::migrate(&catalogue, Some(1)).await.unwrap();
    assert_eq!(Database::schema(&catalogue).await.unwrap().found, 1);
    raw(&catalogue, &database, ROWS).await;

    Database::migrate(&catalogue, None).await.unwrap();
    let schema = Database::schema(&catalogue).await.unwrap();
    assert!(schema.is_current() && schema.found > 1, "{schema:?}");
    Database::migrate(&catalogue, None).await.unwrap();
    let installation = open(&places).await.unwrap();
    let clients = dipper_core::db::contracts::client_list(&installation.database).await.unwrap();
    assert_eq!(clients.len(), 1);
    let order = dipper_core::db::orders::get(&installation.database, "o1").await.unwrap().unwrap();
    assert_eq!((order.object_id.as_str(), order.version), ("p", 1));
    let query = "SELECT contract_id, size_bytes, turn_at FROM steps";
    let step = installation.database.row(sql(query)).await.unwrap().unwrap();
    let turn = 1 - 50 * 60_000_000;
    assert_eq!(step.text("contract_id").unwrap(), "2d17");
    assert_eq!((step.integer("size_bytes").unwrap(), step.integer("turn_at").unwrap()), (1, turn));
}

/// Runs statements behind the program's back.
async fn raw(catalogue: &Place, database: &Option<TestDatabase>, statements: &[&'static str]) {
    match (catalogue, database) {
        (Place::File(path), _) => {
            let options = SqliteConnectOptions::new().filename(path);
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            for statement in statements {
                connection.execute(*statement).await.unwrap();
            }
            connection.close().await.unwrap();
        }
        (Place::Server(_), Some(database)) => statements.iter().for_each(|statement| drop(database.psql(statement))),
        (Place::Server(_), None) => panic!("a server without a database"),
    }
}

/// Rows as the first version of the program wrote them.
const ROWS: &[&str] = &[
    "INSERT INTO contracts VALUES ('2d17', 1)",
    "INSERT INTO clients VALUES ('reader', 'hash', 1, NULL)",
    "INSERT INTO client_grants VALUES ('reader', '2d17', 'read')",
    "INSERT INTO packages VALUES ('p1', '2d17', 'p', 'urn:dipper:2d17:p', 'p', 'preserved', NULL, 1, 1, 1, 1, 1, 1)",
    "INSERT INTO orders VALUES ('o1', 'dissemination', 'dps', '2d17', 'reader', 1, 'p1', 'p', 1, 1, 'queued', 0, 50,
            50, 1, 1, NULL, NULL, NULL)",
    "INSERT INTO steps VALUES ('s1', 'o1', 'prepare', 'ready', 50, 1, 0, NULL, 0, 0, NULL, 1, 1)",
    "INSERT INTO webhooks VALUES ('w1', 'reader', 'https://example.org/', 'abc', NULL, NULL, 1, NULL, NULL)",
];

#[tokio::test]
async fn a_newer_schema_is_refused_with_what_to_do() {
    let (_directory, places, database) = bare();
    let catalogue = places.catalogue();
    Database::migrate(&catalogue, None).await.unwrap();
    let text = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                SELECT 1000, 'from the future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
    raw(&catalogue, &database, &[text]).await;
    let refused = told(open(&places).await.unwrap_err());
    assert!(refused.contains("use the newer program"), "{refused}");
    let refused = Database::migrate(&catalogue, None).await.unwrap_err();
    assert!(refused.to_string().contains("use the newer program"), "{refused}");
}

#[tokio::test]
async fn an_older_schema_is_migrated_in_a_file_and_refused_on_a_server() {
    let (_directory, places, _database) = bare();
    for target in [None, Some(1)] {
        if let Some(target) = target {
            Database::migrate(&places.catalogue(), Some(target)).await.unwrap();
        }
        match (ENGINE, open(&places).await) {
            (Engine::Sqlite, opened) => drop(opened.unwrap()),
            (Engine::Postgres, refused) => {
                let refused = told(refused.unwrap_err());
                assert!(refused.contains("run `dipper migrate`"), "{refused}");
            }
        }
    }
}

#[tokio::test]
async fn many_that_migrate_at_once_take_turns() {
    if ENGINE == Engine::Sqlite {
        // Whoever opens a file holds the lock of its directory.
        return;
    }
    let (_directory, places, _database) = bare();
    let catalogue = places.catalogue();
    let migrate = || Database::migrate(&catalogue, None);
    let (one, two, three) = tokio::join!(migrate(), migrate(), migrate());
    [one, two, three].into_iter().for_each(Result::unwrap);
    assert!(Database::schema(&catalogue).await.unwrap().is_current());
}
