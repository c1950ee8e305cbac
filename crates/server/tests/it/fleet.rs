//! Several servers and workers, each with a data directory of its own as if on a machine of its own, over one
//! PostgreSQL and one S3 server.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use dipper_core::db::{Database, sql};
use dipper_core::installation::Installation;
use dipper_core::settings::Settings as CoreSettings;
use dipper_core::time::Clock;
use dipper_server::config::{Settings, Sources};

use crate::cli_support::Running;
use crate::postgres::{Cluster, TestDatabase};
use crate::seaweed::{ACCESS_KEY, SECRET_KEY, Seaweed};

const BUCKET: &str = "storm";

/// All that runs. Everything ends with it.
pub(crate) struct Fleet {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) cluster: &'static Cluster,
    // It is dropped with this.
    _database: TestDatabase,
    pub(crate) seaweed: Seaweed,
    settings: Vec<(String, String)>,
    pub(crate) servers: Vec<Member>,
    pub(crate) workers: Vec<Member>,
    started: usize,
}

/// One process.
pub(crate) struct Member {
    pub(crate) running: Running,
    /// Where a server listens.
    pub(crate) address: String,
}

impl Fleet {
    /// The database, the storage and the schema; no process yet. `changes` are settings of every process.
    pub(crate) async fn new(changes: &[(&str, &str)]) -> Fleet {
        let directory = tempfile::tempdir().expect("a directory");
        let cluster = Cluster::of_one_test();
        let database = cluster.bare_database();
        let seaweed = Seaweed::start(BUCKET);
        let keys = directory.path().join("keys").display().to_string();
        let mut settings: Vec<(String, String)> =
            changes.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let mut set = |key: &str, value: &str| settings.push((key.to_owned(), value.to_owned()));
        set("database.url", &database.url());
        set("keys.directory", &keys);
        // As behind a balancer: a token of one server is good for the others.
        set("server.public_url", "http://dipper.test");
        set("archive.root", &format!("s3://{BUCKET}/archive"));
        set("delivery.store", &format!("s3://{BUCKET}/deliveries"));
        for section in ["archive_s3", "delivery_s3"] {
            set(&format!("{section}.endpoint"), &seaweed.endpoint());
            set(&format!("{section}.path_style"), "true");
            set(&format!("{section}.allow_http"), "true");
            set(&format!("{section}.access_key_id"), ACCESS_KEY);
            set(&format!("{section}.secret_access_key"), SECRET_KEY);
            // An S3 server that is away is soon noticed, and larger files take several parts.
            set(&format!("{section}.retries"), "1");
            set(&format!("{section}.part_bytes"), "5242880");
        }
        let fleet = Fleet {
            directory,
            cluster,
            _database: database,
            seaweed,
            settings,
            servers: Vec::new(),
            workers: Vec::new(),
            started: 0,
        };
        let migrated = fleet.command(&["migrate"], "setup").status().expect("the program runs");
        assert!(migrated.success(), "{migrated}");
        fleet
    }

    /// The settings of a process on machine `machine`.
    fn settings(&self, machine: &str) -> Vec<(String, String)> {
        let mut settings = self.settings.clone();
        settings.push(("data_directory".to_owned(), self.directory.path().join(machine).display().to_string()));
        settings
    }

    /// The program on a machine.
    pub(crate) fn command(&self, arguments: &[&str], machine: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dipper"));
        command.args(arguments).current_dir(self.directory.path()).env_clear().stdin(Stdio::null());
        command.env("http_proxy", "http://127.0.0.1:1").env("no_proxy", "127.0.0.1");
        for (key, value) in self.settings(machine) {
            command.env(format!("DIPPER_{}", key.to_uppercase().replace('.', "_")), value);
        }
        command
    }

    /// The installation itself, for what is set up before and looked at after.
    pub(crate) async fn installation(&self, change: impl Fn(&mut CoreSettings)) -> Arc<Installation> {
        let settings = Settings::load(&Sources { overrides: self.settings("setup"), ..Sources::default() });
        let settings = settings.expect("valid settings");
        let mut core = settings.core();
        change(&mut core);
        Arc::new(Installation::open(settings.places().expect("places"), core, Clock::system()).await.expect("opened"))
    }

    pub(crate) fn add_server(&mut self) {
        // The port is chosen here: a server that comes back is to be found where it was.
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let server = self.server(&format!("127.0.0.1:{port}"));
        self.servers.push(server);
    }

    fn server(&mut self, address: &str) -> Member {
        let mut member = self.spawn(&["serve", "--without-worker", "--listen", address]);
        let line = member.running.line();
        assert!(line.starts_with("listening on "), "{line:?}: {}", self.logs());
        member.address = address.to_owned();
        member
    }

    pub(crate) fn add_worker(&mut self) {
        let mut worker = self.spawn(&["worker"]);
        let line = worker.running.line();
        assert!(line.starts_with("working as "), "{line:?}: {}", self.logs());
        self.workers.push(worker);
    }

    fn spawn(&mut self, arguments: &[&str]) -> Member {
        self.started += 1;
        let machine = format!("machine-{}", self.started);
        let log = File::create(self.log(&machine)).expect("made");
        let running = Running::start_telling(self.command(arguments, &machine), log.into());
        Member { running, address: String::new() }
    }

    fn log(&self, machine: &str) -> PathBuf {
        self.directory.path().join(format!("{machine}.log"))
    }

    /// What the processes had to say.
    pub(crate) fn logs(&self) -> String {
        let logs = (1..=self.started).map(|number| self.log(&format!("machine-{number}")));
        logs.filter_map(|log| std::fs::read_to_string(log).ok()).filter(|log| !log.is_empty()).collect()
    }

    /// Kills a worker and starts another one.
    pub(crate) fn replace_worker(&mut self, number: usize) {
        drop(self.workers.swap_remove(number));
        self.add_worker();
    }

    /// Kills a server and starts it again where it was.
    pub(crate) fn replace_server(&mut self, number: usize) {
        let address = self.servers[number].address.clone();
        drop(self.servers.swap_remove(number));
        let server = self.server(&address);
        self.servers.push(server);
    }

    /// Whether a worker has steps that the queue takes for its own.
    pub(crate) async fn holds_steps(&self, database: &Database, worker: usize) -> bool {
        let process = format!("%:{}%", self.workers[worker].running.child.id());
        let query = sql("SELECT COUNT(*) AS n FROM steps WHERE state = 'leased' AND holder LIKE $1").bind(process);
        let row = database.row(query).await.expect("an answer").expect("a row");
        row.count("n").expect("a number") > 0
    }
}
