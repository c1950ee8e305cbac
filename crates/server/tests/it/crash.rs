//! `kill -9` at random points of ingest, preparation and notices: after the last restart everything that was promised
//! is there, once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::receiver::Receiver;
use crate::support::{DPS, PATIENCE};

const ROUNDS: u32 = 8;

/// The program on one data directory.
struct Program {
    data: PathBuf,
}

impl Program {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dipper"));
        command.args(arguments).arg("--data").arg(&self.data);
        command.env("DIPPER_EGRESS_ALLOW", "127.0.0.1");
        // A worker that was killed is missed soon.
        command.env("DIPPER_WORKER_LEASE_SECONDS", "2").env("DIPPER_WORKER_HEARTBEAT_SECONDS", "1");
        command.env("DIPPER_WEBHOOK_TIMEOUT_SECONDS", "1");
        command.stdin(Stdio::null());
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).arg("--json").output().expect("started");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn ingest(&self, source: &Path, object_id: &str) -> Value {
        self.json(&["ingest", source.to_str().expect("UTF-8"), "--contract", "2d17", "--object-id", object_id])
    }

    /// Starts a server; returns it with its address.
    fn serve(&self) -> (Child, String) {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut server = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
        let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
        let line = lines.next().expect("a line").expect("text");
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("an address").to_owned();
        // The pipe is drained, so that the server never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        (server, url)
    }
}

/// What a client holds: its credentials, and the disseminations that the server confirmed to it.
struct Client {
    http: reqwest::Client,
    id: String,
    secret: String,
    confirmed: BTreeMap<String, String>,
}

impl Client {
    async fn token(&self, url: &str) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", self.id.as_str()),
            ("client_secret", self.secret.as_str()),
        ];
        let answer = self.http.post(format!("{url}/oauth2/token")).form(&form).send().await.expect("sent");
        let answer: Value = answer.json().await.expect("JSON");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    async fn order(&mut self, url: &str, token: &str, archive_id: &str) {
        let request = self.http.post(format!("{url}{DPS}/disseminations")).bearer_auth(token);
        let answer = request.json(&json!({ "archiveId": archive_id })).send().await.expect("sent");
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.expect("JSON");
        match status {
            201 => {
                let id = body["disseminationId"].as_str().expect("an id").to_owned();
                self.confirmed.insert(id, archive_id.to_owned());
            }
            // The one from before the crash is still under way.
            409 => {
                let id = body["error"]["details"].as_str().expect("an id");
                assert!(self.confirmed.contains_key(id), "an order that nobody made: {id}");
            }
            _ => panic!("{status}: {body}"),
        }
    }

    async fn dissemination(&self, url: &str, token: &str, id: &str) -> Value {
        let request = self.http.get(format!("{url}{DPS}/disseminations/{id}")).bearer_auth(token);
        request.send().await.expect("sent").json().await.expect("JSON")
    }
}

fn source(directory: &Path, name: &str, random: &mut SmallRng) -> PathBuf {
    let source = directory.join(name);
    std::fs::create_dir_all(source.join("sub")).expect("made");
    let mut large = vec![0; random.random_range(4..16) << 20];
    random.fill_bytes(&mut large);
    std::fs::write(source.join("large.bin"), large).expect("written");
    for number in 0..100 {
        std::fs::write(source.join(format!("sub/{number}.txt")), format!("{name} {number}")).expect("written");
    }
    source
}

fn kill(mut child: Child) {
    child.kill().expect("killed");
    child.wait().expect("reaped");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_nothing_is_lost_or_done_twice() {
    let seed: u64 = std::env::var("CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("CRASH_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().expect("a directory");
    let program = Program { data: directory.path().join("data") };
    program.json(&["contract", "add", "2d17"]);
    let added = program.json(&["client", "add", "reader", "--contract", "2d17", "--role", "read"]);
    let mut receiver = Receiver::start(&[]).await;
    program.json(&["webhook", "add", "reader", &receiver.url]);
    let mut client = Client {
        http: reqwest::Client::new(),
        id: added["clientId"].as_str().expect("an id").to_owned(),
        secret: added["clientSecret"].as_str().expect("a secret").to_owned(),
        confirmed: BTreeMap::new(),
    };
    let mut sources = vec![source(directory.path(), "first", &mut random)];
    let mut archives = vec![archive_id(&program.ingest(&sources[0], "object-0"))];

    for round in 1..=ROUNDS {
        let (server, url) = program.serve();
        let token = client.token(&url).await;
        for archive_id in &archives {
            client.order(&url, &token, archive_id).await;
        }
        // A new object in every other round, and a new version of an old one otherwise.
        let object = if round % 2 == 0 { 0 } else { round };
        let fresh = source(directory.path(), &format!("source-{round}"), &mut random);
        let path = fresh.to_str().expect("UTF-8");
        let object_id = format!("object-{object}");
        let mut command = program.command(&["ingest", path, "--contract", "2d17", "--object-id", &object_id]);
        let ingesting = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        // How long that is, is up to chance and the machine; every point is as good as any other.
        let watched = client.confirmed.keys().last().expect("an order").clone();
        for _ in 0..random.random_range(0..60) {
            client.dissemination(&url, &token, &watched).await;
        }
        if random.random_bool(0.5) {
            kill(server);
            kill(ingesting);
        } else {
            kill(ingesting);
            kill(server);
        }
        sources.push(fresh);
        // The interrupted ingest is begun again and goes on.
        let ingested = program.ingest(&sources[sources.len() - 1], &object_id);
        assert_eq!(ingested["files"], 101);
        if object == round {
            archives.push(archive_id(&ingested));
        }
    }

    let (mut server, url) = program.serve();
    let token = client.token(&url).await;
    for archive_id in &archives {
        client.order(&url, &token, archive_id).await;
    }
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    while client.confirmed.keys().any(|order| !ids.contains_key(order)) {
        let message = receiver.next().await;
        let body = message.json();
        assert_eq!(body["type"], "dissemination.delivered", "{body}");
        let order = body["data"]["disseminationId"].as_str().expect("an id").to_owned();
        ids.entry(order).or_default().insert(message.id().to_owned());
    }
    for (order, archive_id) in &client.confirmed {
        let found = client.dissemination(&url, &token, order).await;
        assert_eq!(found["status"], "DISSEMINATED", "{found}");
        assert_eq!(found["archiveId"], archive_id.as_str());
    }
    assert!(ids.keys().all(|order| client.confirmed.contains_key(order)), "a notice of an order that nobody made");
    assert!(ids.values().all(|ids| ids.len() == 1), "two ids for one notice: {ids:?}");

    terminate(&server);
    let ended = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(move || server.wait())).await;
    assert!(ended.expect("in time").expect("joined").expect("reaped").success());
    assert_eq!(program.json(&["verify"])["valid"], true);
    crate::peers::ocfl_validate(&object_roots(&program.data.join("archive")));
}

fn archive_id(ingested: &Value) -> String {
    ingested["archiveId"].as_str().expect("an id").to_owned()
}

/// The directories of all objects: the judge knows few storage layouts, and so is given objects instead of a root.
fn object_roots(directory: &Path) -> Vec<PathBuf> {
    let mut roots = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        if directory.join("inventory.json").exists() {
            roots.push(directory);
            continue;
        }
        let entries = std::fs::read_dir(&directory).expect("listed").map(|entry| entry.expect("read").path());
        open.extend(entries.filter(|path| path.is_dir()));
    }
    roots
}

fn terminate(child: &Child) {
    let id = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("signalled");
}
