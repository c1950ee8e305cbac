//! The real program in a directory of its own, and a server process for it to talk to.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use dipper_archive::publish;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::ENGINE;
use super::support::PATIENCE;
use crate::Engine;
use crate::postgres::{self, TestDatabase};

/// A directory in which the program is run. Its data directory is `data` in there.
pub(crate) struct Dipper {
    pub(crate) directory: tempfile::TempDir,
    /// Its catalogue, if that is no file.
    pub(crate) database: Option<TestDatabase>,
    /// What the program reaches without a proxy.
    pub(crate) no_proxy: Option<&'static str>,
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A program that runs until it is told to stop.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Dipper {
    pub(crate) fn new() -> Dipper {
        let database = (ENGINE == Engine::Postgres).then(|| postgres::shared().bare_database());
        let dipper = Dipper { directory: tempfile::tempdir().expect("a directory"), database, no_proxy: None };
        if dipper.database.is_some() {
            assert_eq!(dipper.json(&["migrate"])["before"], 0);
        }
        dipper
    }

    /// A directory with the contract `2d17` and the client `c1`, which may read it; its secret is in `secret`.
    pub(crate) fn with_client() -> Dipper {
        let dipper = Dipper::new();
        dipper.json(&["contract", "add", "2d17"]);
        let added = dipper.json(&["client", "add", "c1", "--contract", "2d17", "--role", "read"]);
        assert_eq!(added["clientId"], "c1");
        dipper.write("secret", added["clientSecret"].as_str().expect("a secret").as_bytes());
        dipper
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        publish::create_directories(path.parent().expect("a parent")).expect("made");
        publish::write_file(&path, content).expect("written");
        path
    }

    /// Ingests one file of so many bytes as `object_id`; the package's identifier.
    pub(crate) fn ingest(&self, object_id: &str, content: &[u8]) -> String {
        self.write(&format!("source-{object_id}/file.bin"), content);
        let source = format!("source-{object_id}");
        let ingested = self.json(&["ingest", &source, "--contract", "2d17", "--object-id", object_id]);
        ingested["archiveId"].as_str().expect("an identifier").to_owned()
    }

    /// As if the database had been lost; the tables are there again, without anything in them.
    pub(crate) fn lose_catalogue(&self) {
        match &self.database {
            Some(database) => {
                database.psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
                self.json(&["migrate"]);
            }
            None => {
                for name in ["dipper.db", "dipper.db-wal", "dipper.db-shm"] {
                    publish::remove_file(&self.path("data").join(name)).expect("removed");
                }
            }
        }
    }

    /// Where the only file of a package that [`Dipper::ingest`] made is stored.
    pub(crate) fn content(&self, archive_id: &str) -> PathBuf {
        let shown = self.json(&["package", "show", archive_id]);
        let location = shown["location"].as_str().expect("a place").to_owned();
        self.path("data/archive").join(location).join("v1/content/file.bin")
    }

    /// Changes one byte of it.
    pub(crate) fn damage(&self, archive_id: &str) {
        let content = self.content(archive_id);
        let mut bytes = std::fs::read(&content).expect("content");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        publish::write_file(&content, &bytes).expect("written");
    }

    /// The program with nothing in its environment but where its data is.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dipper"));
        command.args(arguments).current_dir(self.directory.path()).env_clear();
        command.env("DIPPER_DATA_DIRECTORY", self.path("data")).stdin(Stdio::null());
        if let Some(database) = &self.database {
            command.env("DIPPER_DATABASE_URL", database.url());
        }
        // Nothing on this machine is reached through a proxy, except by those that are told so.
        command.env("http_proxy", "http://127.0.0.1:1");
        if let Some(hosts) = &self.no_proxy {
            command.env("no_proxy", hosts);
        }
        command
    }

    /// The program as a client of a server.
    pub(crate) fn client(&self, url: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.env("DIPPER_SERVER", url).env("DIPPER_CLIENT_ID", "c1");
        command.env("DIPPER_CLIENT_SECRET_FILE", self.path("secret"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments))
    }

    /// The one JSON document that a command prints when all is well.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        run(self.command(&[&["--json"], arguments].concat())).json(0)
    }

    /// Starts a server.
    pub(crate) fn serve(&self, environment: &[(&str, &str)]) -> (Running, String) {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.envs(environment.iter().copied());
        let mut running = Running::start(command);
        let line = running.line();
        let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).trim().to_owned();
        (running, url)
    }
}

pub(crate) fn run(mut command: Command) -> Ran {
    let output = command.output().expect("the program runs");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

impl Ran {
    /// The document on standard output of a command that ended with `code`.
    pub(crate) fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The error of a command that ended with `code` and printed nothing else.
    pub(crate) fn error(&self, code: i32) -> &str {
        assert_eq!((self.code, self.stdout.as_str()), (code, ""), "{self:?}");
        let told = self.stderr.lines().find_map(|line| line.strip_prefix("error: "));
        told.unwrap_or_else(|| panic!("{self:?}"))
    }
}

impl Running {
    pub(crate) fn start(command: Command) -> Running {
        Running::start_telling(command, Stdio::piped())
    }

    /// Starts it with its log in a place of its own.
    pub(crate) fn start_telling(mut command: Command, log: Stdio) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the program runs");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Running { child, stdout }
    }

    /// The next line on standard output; empty when a program whose log is elsewhere has ended.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        if line.is_empty()
            && let Some(mut log) = self.child.stderr.take()
        {
            let mut stderr = String::new();
            let _ = log.read_to_string(&mut stderr);
            panic!("the program has ended: {stderr}");
        }
        line
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("it still runs");
    }

    /// Tells it to stop, and waits for its end.
    pub(crate) fn stop(mut self, signal: Signal) -> Ran {
        self.signal(signal);
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).expect("text");
        self.child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
        let code = self.child.wait().expect("it ends").code().unwrap_or(-1);
        Ran { code, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition.
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::yield_now();
    }
}

/// Bytes that look random and are the same every time.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(len)
    .collect()
}

/// The names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
