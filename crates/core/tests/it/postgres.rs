//! A real PostgreSQL for the tests: one server for each test process, started when a test first asks for it, and a
//! database of its own for each test.
//!
//! A shell script holds the server and waits at a pipe. When this process ends, however it does, the pipe closes, and the
//! script stops the server and removes its files.
#![allow(dead_code, reason = "each crate's tests and benchmarks use a part of it")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use dipper_core::db::{Database, Place, Server};
use tokio::sync::OnceCell;

/// Makes a server in `$1` with the programs in `$2` and the further settings `$3`, says `ready`, and drops each database
/// whose name it reads, until there is nothing more to read.
///
/// The server sorts texts as a person would, so that a column that should not be sorted so is found out.
const SCRIPT: &str = r#"
set -eu
trap '' INT TERM HUP
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; else "$@"; fi; }
cd "$1"
[ "$(id -u)" != 0 ] || chown 65534:65534 .
as "$2/initdb" -D data -U postgres -A trust --no-sync -E UTF8 --locale=C.UTF-8 --locale-provider=icu --icu-locale=en \
    >initdb.log 2>&1
printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$1'" "max_connections = 300" "shared_buffers = 64MB" \
    "fsync = off" "$3" >>data/postgresql.conf
as "$2/pg_ctl" -D data -l server.log -w -t 120 start >start.log 2>&1
echo ready
while read -r name; do
    "$2/dropdb" -h "$1" -U postgres --if-exists --force "$name" >/dev/null 2>&1 || true
done
as "$2/pg_ctl" -D data -w -m immediate stop >/dev/null 2>&1 || true
cd /
rm -rf "$1"
"#;

/// A running server.
pub(crate) struct Cluster {
    directory: PathBuf,
    programs: PathBuf,
    script: Mutex<ChildStdin>,
    // Nobody waits for the script: it outlives this process by the time that it takes to tidy up.
    _child: Child,
    template: OnceCell<()>,
}

/// A database for one test, removed when it is dropped.
pub(crate) struct TestDatabase {
    cluster: &'static Cluster,
    name: String,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);
const TEMPLATE: &str = "dipper_template";
/// What servers and clients call the socket in its directory.
pub(crate) const SOCKET: &str = ".s.PGSQL.5432";

/// The server that the tests of this process share.
pub(crate) fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(""))
}

/// An empty database with the newest schema.
pub(crate) async fn database() -> TestDatabase {
    shared().database().await
}

impl Cluster {
    /// Starts a server with further lines in its settings.
    pub(crate) fn start(settings: &str) -> Cluster {
        let programs = programs();
        let directory = tempfile::Builder::new().prefix("dipper-pg-").tempdir().unwrap().keep();
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).args([&directory, &programs]).arg(settings);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let log = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap_or_default();
        assert_eq!(ready, "ready\n", "{}{}{}", log("initdb.log"), log("start.log"), log("server.log"));
        let script = Mutex::new(child.stdin.take().unwrap());
        Cluster { directory, programs, script, _child: child, template: OnceCell::new() }
    }

    /// A server of one test alone, which stops and restarts it.
    pub(crate) fn of_one_test() -> &'static Cluster {
        Box::leak(Box::new(Cluster::start("")))
    }

    /// An empty database with the newest schema.
    pub(crate) async fn database(&'static self) -> TestDatabase {
        let template = || async {
            self.psql("postgres", &format!("CREATE DATABASE {TEMPLATE}"));
            Database::migrate(&Place::Server(Server::new(&self.url(TEMPLATE)).unwrap()), None).await.unwrap();
        };
        self.template.get_or_init(template).await;
        self.create(TEMPLATE)
    }

    /// A database without any schema.
    pub(crate) fn bare_database(&'static self) -> TestDatabase {
        self.create("template0")
    }

    fn create(&'static self, template: &str) -> TestDatabase {
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        TestDatabase { cluster: self, name }
    }

    fn url(&self, name: &str) -> String {
        format!("postgres:///{name}?host={}&user=postgres", self.directory.display())
    }

    /// Runs a statement; what it answers, a row a line.
    pub(crate) fn psql(&self, database: &str, statement: &str) -> String {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-q", "-t", "-A", "-U", "postgres", "-d", database, "-v", "ON_ERROR_STOP=1"]);
        let ran = command.arg("-h").arg(&self.directory).args(["-c", statement]).output().unwrap();
        assert!(ran.status.success(), "{statement}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim_end().to_owned()
    }

    /// Stops or starts the server as `pg_ctl` does it.
    pub(crate) fn control(&self, arguments: &[&str]) {
        let is_root = rustix::process::getuid().is_root();
        let mut command = Command::new(if is_root { "setpriv".into() } else { self.programs.join("pg_ctl") });
        if is_root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(self.programs.join("pg_ctl"));
        }
        command.arg("-D").arg(self.directory.join("data")).arg("-l").arg(self.directory.join("server.log"));
        let ran = command.args(["-w", "-s"]).args(arguments).current_dir(&self.directory);
        let ran = ran.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(ran.success(), "pg_ctl {arguments:?}");
    }
}

impl TestDatabase {
    /// Its address.
    pub(crate) fn url(&self) -> String {
        self.cluster.url(&self.name)
    }

    /// Its address for those who come to the server another way: over a socket in this directory.
    pub(crate) fn url_over(&self, directory: &Path) -> String {
        format!("postgres:///{}?host={}&user=postgres", self.name, directory.display())
    }

    /// The socket of its server.
    pub(crate) fn socket(&self) -> PathBuf {
        self.cluster.directory.join(SOCKET)
    }

    /// A program of the server's own, set up to work on this database.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.cluster.programs.join(name));
        command.env("PGHOST", &self.cluster.directory).env("PGUSER", "postgres").env("PGDATABASE", &self.name);
        command
    }

    /// Runs a statement in it; what it answers, a row a line.
    pub(crate) fn psql(&self, statement: &str) -> String {
        self.cluster.psql(&self.name, statement)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let mut script = self.cluster.script.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Without the script the server and its databases are gone anyhow.
        let _ = writeln!(script, "{}", self.name);
    }
}

/// Where the server's programs are: those of the newest version. They are installed if there are none.
fn programs() -> PathBuf {
    installed().unwrap_or_else(|| {
        let installer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/install");
        let ran = Command::new(&installer).arg("postgresql").output().unwrap();
        assert!(ran.status.success(), "{}: {}", installer.display(), String::from_utf8_lossy(&ran.stderr));
        installed().unwrap()
    })
}

fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.unwrap().path()).collect();
    versions.retain(|path| path.join("bin/initdb").is_file() && version(path).is_some());
    versions.sort_by_key(version);
    versions.pop().map(|version| version.join("bin"))
}
