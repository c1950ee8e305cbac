//! The bench on which the tests work: one installation in a temporary directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dipper_archive::bucket::BucketSettings;
use dipper_core::administration::Administration;
use dipper_core::caller::{Caller, Grants, Role};
use dipper_core::db::Server;
use dipper_core::db::orders::Order;
use dipper_core::db::packages::PackageState;
use dipper_core::ingest::{IngestCommand, IngestControl, IngestError, Ingested, ingest};
use dipper_core::installation::{Installation, Places};
use dipper_core::intake::{Intake, IntakeError, OrderDissemination, OrderView, Portion};
use dipper_core::link::Links;
use dipper_core::settings::Settings;
use dipper_core::time::{Clock, Timestamp};
use dipper_core::worker::Worker;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::ENGINE;
use crate::Engine;
use crate::postgres::{self, TestDatabase};

pub(crate) const CONTRACT: &str = "2d17";
pub(crate) const CLIENT: &str = "reader";

/// One installation on this module's database, with a contract and a client that may read it.
pub(crate) struct Bench {
    pub(crate) directory: TempDir,
    pub(crate) installation: Arc<Installation>,
    pub(crate) intake: Intake,
    pub(crate) administration: Administration,
    pub(crate) worker: Worker,
    pub(crate) clock: Clock,
    /// Where its catalogue is, if that is no file.
    pub(crate) database: Option<TestDatabase>,
}

/// A standing time: 2026-01-01T00:00:00Z.
const START: Timestamp = Timestamp(1_767_225_600_000_000);

/// The places of an installation without anything, and its database if that is no file.
pub(crate) async fn places(data: &Path) -> (Places, Option<TestDatabase>) {
    let database = match ENGINE {
        Engine::Sqlite => None,
        Engine::Postgres => Some(postgres::database().await),
    };
    let server = database.as_ref().map(server);
    (Places { database: server, ..Places::new(data) }, database)
}

/// The places of a bench's installation, to open it once more.
pub(crate) fn places_of(bench: &Bench) -> Places {
    let server = bench.database.as_ref().map(server);
    Places { database: server, ..Places::new(&bench.directory.path().join("data")) }
}

/// Where a test's database is, for the core.
pub(crate) fn server(database: &TestDatabase) -> Server {
    Server::new(&database.url()).unwrap()
}

impl Bench {
    pub(crate) async fn new() -> Bench {
        Bench::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Bench {
        Bench::storing(settings, None).await
    }

    /// With a bucket that deliveries are put into.
    pub(crate) async fn storing(settings: Settings, deliveries: Option<BucketSettings>) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let (places, database) = places(&directory.path().join("data")).await;
        let places = Places { deliveries, ..places };
        Bench::at(settings, directory, places, database).await
    }

    /// A bench with a catalogue that the test brings along.
    pub(crate) async fn at(
        settings: Settings,
        directory: TempDir,
        places: Places,
        database: Option<TestDatabase>,
    ) -> Bench {
        let clock = Clock::standing(START);
        let installation = Arc::new(Installation::open(places, settings, clock.clone()).await.unwrap());
        let links = Links::new(&installation.key, Url::parse("http://127.0.0.1:1/").unwrap());
        let links = links.direct(installation.store.clone());
        let bench = Bench {
            intake: Intake::new(Arc::clone(&installation), links),
            administration: Administration::new(Arc::clone(&installation)),
            worker: Worker::new(Arc::clone(&installation)),
            installation,
            clock,
            directory,
            database,
        };
        bench.administration.contract_add(CONTRACT).await.unwrap();
        let grants: Grants = [(CONTRACT.to_owned(), Role::Read)].into_iter().collect();
        bench.administration.client_add(CLIENT, &grants).await.unwrap();
        bench
    }

    /// A client of that name that may read the contract, as its token says.
    pub(crate) fn reader(&self, client_id: &str) -> Caller {
        let grants = [(CONTRACT.to_owned(), Role::Read)].into_iter().collect();
        Caller { client_id: client_id.to_owned(), grants, stored: client_id == CLIENT }
    }

    /// Writes files below a directory of their own, and returns it.
    pub(crate) fn source(&self, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let source = self.directory.path().join(name);
        for (path, bytes) in files {
            let path = source.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        source
    }

    pub(crate) async fn ingest(&self, source: &Path, object_id: &str) -> Result<Ingested, IngestError> {
        self.ingest_as(source, object_id, None).await
    }

    pub(crate) async fn ingest_as(
        &self,
        source: &Path,
        object_id: &str,
        label: Option<&str>,
    ) -> Result<Ingested, IngestError> {
        let command = IngestCommand {
            path: source.to_owned(),
            contract_id: CONTRACT.to_owned(),
            object_id: object_id.to_owned(),
            label: label.map(str::to_owned),
            ..IngestCommand::default()
        };
        ingest(&self.installation, command, IngestControl::default()).await
    }

    /// A package of one small file.
    pub(crate) async fn package(&self, object_id: &str) -> String {
        let source = self.source(&format!("source-{object_id}"), &[("a.txt", object_id.as_bytes())]);
        self.ingest(&source, object_id).await.unwrap().package_id
    }

    pub(crate) async fn order(&self, client_id: &str, package_id: &str) -> Result<OrderView, IntakeError> {
        self.order_ranked(client_id, package_id, 50).await
    }

    pub(crate) async fn order_ranked(
        &self,
        client_id: &str,
        package_id: &str,
        rank: i64,
    ) -> Result<OrderView, IntakeError> {
        let command = OrderDissemination {
            package_id: package_id.to_owned(),
            portion: Portion::default(),
            priority: rank,
            rank,
            dialect: "test",
        };
        self.intake.order_dissemination(&self.reader(client_id), command).await
    }

    pub(crate) async fn view(&self, order: &Order) -> OrderView {
        self.intake.order_get(&self.reader(CLIENT), &order.id).await.unwrap()
    }

    /// Works until nothing is ready.
    pub(crate) async fn work(&self) -> u32 {
        let mut steps = 0;
        while self.worker.run_one(&CancellationToken::new()).await.unwrap() {
            steps += 1;
        }
        steps
    }

    pub(crate) async fn package_state(&self, package_id: &str) -> PackageState {
        dipper_core::db::packages::get(&self.installation.database, package_id).await.unwrap().unwrap().state
    }

    /// The one content file of the archive whose bytes are these.
    pub(crate) fn content_file(&self, bytes: &[u8]) -> PathBuf {
        let files = files_below(&self.directory.path().join("data/archive"));
        let found: Vec<_> = files.into_iter().filter(|(_, content)| content == bytes).map(|(path, _)| path).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    }
}

/// Every file below a directory with its bytes.
pub(crate) fn files_below(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            files.insert(path, bytes);
        }
    }
    files
}
