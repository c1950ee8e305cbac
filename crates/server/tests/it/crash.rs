//! `kill -9` at random points of ingest, preparation and notices: after the last restart everything that was promised
//! is there, once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::cli_support::{Dipper, Running};
use super::support::{DPS, PATIENCE};
use crate::receiver::Receiver;

const ROUNDS: u32 = 5;

/// What the program is told: the receiver may be called, and a worker that was killed is missed soon. The log is kept
/// short, because nobody reads it while the server runs.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("DIPPER_EGRESS_ALLOW", "127.0.0.1"),
    ("DIPPER_WORKER_LEASE_SECONDS", "2"),
    ("DIPPER_WORKER_HEARTBEAT_SECONDS", "1"),
    ("DIPPER_WEBHOOK_TIMEOUT_SECONDS", "1"),
    ("DIPPER_LOG_LEVEL", "error"),
];

fn ingest_arguments<'a>(source: &'a Path, object_id: &'a str) -> [&'a str; 6] {
    ["ingest", source.to_str().expect("UTF-8"), "--contract", "2d17", "--object-id", object_id]
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

fn source(program: &Dipper, name: &str, random: &mut SmallRng) -> PathBuf {
    let source = program.path(name);
    std::fs::create_dir_all(source.join("sub")).expect("made");
    let mut large = vec![0; random.random_range(4..16) << 20];
    random.fill_bytes(&mut large);
    std::fs::write(source.join("large.bin"), large).expect("written");
    for number in 0..100 {
        std::fs::write(source.join(format!("sub/{number}.txt")), format!("{name} {number}")).expect("written");
    }
    source
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_nothing_is_lost_or_done_twice() {
    let seed: u64 = std::env::var("CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("CRASH_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let program = Dipper::new();
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
    let mut sources = vec![source(&program, "first", &mut random)];
    let mut archives = vec![archive_id(&program.json(&ingest_arguments(&sources[0], "object-0")))];

    for round in 1..=ROUNDS {
        let (server, url) = program.serve(&ENVIRONMENT);
        let token = client.token(&url).await;
        for archive_id in &archives {
            client.order(&url, &token, archive_id).await;
        }
        // A new object in every other round, and a new version of an old one otherwise.
        let object = if round % 2 == 0 { 0 } else { round };
        let fresh = source(&program, &format!("source-{round}"), &mut random);
        let object_id = format!("object-{object}");
        let ingesting = Running::start(program.command(&ingest_arguments(&fresh, &object_id)));
        // How long that is, is up to chance and the machine; every point is as good as any other.
        let watched = client.confirmed.keys().last().expect("an order").clone();
        for _ in 0..random.random_range(0..60) {
            client.dissemination(&url, &token, &watched).await;
        }
        // Dropping them kills them.
        if random.random_bool(0.5) {
            drop(server);
            drop(ingesting);
        } else {
            drop(ingesting);
            drop(server);
        }
        sources.push(fresh);
        // The interrupted ingest is begun again and goes on.
        let ingested = program.json(&ingest_arguments(&sources[sources.len() - 1], &object_id));
        assert_eq!(ingested["files"], 101);
        if object == round {
            archives.push(archive_id(&ingested));
        }
    }

    let (server, url) = program.serve(&ENVIRONMENT);
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

    let stopping = tokio::task::spawn_blocking(move || server.stop(Signal::TERM));
    let ended = tokio::time::timeout(PATIENCE, stopping).await.expect("in time").expect("joined");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(program.json(&["verify"])["valid"], true);
    // Every version was recorded once, and the chain is whole.
    assert_eq!(program.json(&["audit", "verify"])["valid"], true);
    let log = program.json(&["audit", "list", "--kind", "ingest", "--limit", "10000"]);
    let entries = log["entries"].as_array().expect("entries");
    let versions: BTreeSet<String> =
        entries.iter().map(|entry| format!("{} {}", entry["archiveId"], entry["version"])).collect();
    assert_eq!((versions.len(), entries.len()), (ROUNDS as usize + 1, ROUNDS as usize + 1), "{log}");
    crate::peers::ocfl_validate(&object_roots(&program.path("data/archive")), &[]);
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
