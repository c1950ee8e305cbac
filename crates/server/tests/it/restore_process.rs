//! Restores of many files by the real program: it is killed while it checks them, and goes on; and what one of a hundred
//! thousand files costs.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::cli_support::{Dipper, Running};

/// A program that was not optimised takes its time for so many files.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("DIPPER_SERVER_REQUEST_TIMEOUT_SECONDS", "600"),
    ("DIPPER_WORKER_LEASE_SECONDS", "2"),
    ("DIPPER_WORKER_HEARTBEAT_SECONDS", "1"),
    ("DIPPER_SERVER_RATE_LIMIT_PER_SECOND", "0"),
    ("DIPPER_LOG_LEVEL", "error"),
];
/// The least memory that is no sign of a list that is held as a whole.
const MEMORY: u64 = 400 << 20;

/// An installation with one filegroup, and its depositor.
struct Restores {
    program: Dipper,
    http: reqwest::Client,
    secret: String,
    files: usize,
}

fn name(number: usize) -> String {
    format!("d{:03}/{number:06}.txt", number % 100)
}

fn content(number: usize) -> Vec<u8> {
    format!("file {number} ").repeat(20).into_bytes()
}

impl Restores {
    fn new(files: usize) -> Restores {
        let program = Dipper::new();
        program.json(&["contract", "add", "uni"]);
        let added = program.json(&["client", "add", "uni", "--contract", "uni", "--role", "read"]);
        let secret = added["clientSecret"].as_str().expect("a secret").to_owned();
        let source = program.path("source");
        for directory in 0..100 {
            std::fs::create_dir_all(source.join(format!("d{directory:03}"))).expect("made");
        }
        for number in 0..files {
            std::fs::write(source.join(name(number)), content(number)).expect("written");
        }
        let source = source.to_str().expect("UTF-8").to_owned();
        let ingested = program.json(&["ingest", &source, "--contract", "uni", "--object-id", "fg"]);
        assert_eq!(ingested["files"], files);
        Restores { program, http: reqwest::Client::new(), secret, files }
    }

    fn serve(&self) -> (Running, String) {
        self.program.serve(&ENVIRONMENT)
    }

    /// Orders everything to be restored; its identifier, and how long the answer took.
    async fn order(&self, url: &str) -> (String, Duration) {
        let began = Instant::now();
        let request = self.http.post(format!("{url}/bridge/restore")).basic_auth("uni", Some(&self.secret));
        let answer = request.json(&json!({"fg": {}})).send().await.expect("sent");
        assert_eq!(answer.status(), 202);
        let body: Value = answer.json().await.expect("JSON");
        (body["restore-id"].as_str().expect("an id").to_owned(), began.elapsed())
    }

    async fn get(&self, url: &str) -> Vec<u8> {
        let answer = self.http.get(url).basic_auth("uni", Some(&self.secret)).send().await.expect("sent");
        assert_eq!(answer.status(), 200, "{url}");
        answer.bytes().await.expect("bytes").to_vec()
    }

    /// Where the restore stands, without its files.
    async fn status(&self, url: &str, id: &str) -> String {
        let body: Value =
            serde_json::from_slice(&self.get(&format!("{url}/otm/restore/{id}/status")).await).expect("JSON");
        body["status"].as_str().expect("text").to_owned()
    }

    /// Asks until all files can be fetched; the longest time that an answer took.
    async fn staged(&self, url: &str, id: &str, patience: Duration) -> Duration {
        let waiting = async {
            let mut longest = Duration::ZERO;
            loop {
                let began = Instant::now();
                let status = self.status(url, id).await;
                longest = longest.max(began.elapsed());
                match status.as_str() {
                    "RESTORE_STAGED" => break longest,
                    "RESTORE_ACCEPTED" => {}
                    other => panic!("{other}"),
                }
            }
        };
        tokio::time::timeout(patience, waiting).await.expect("in time")
    }

    /// Every file is there, and the ones that are looked at are what was stored. How long the list took.
    async fn assert_whole(&self, url: &str, id: &str) -> Duration {
        let began = Instant::now();
        let body = self.get(&format!("{url}/bridge/restore/{id}")).await;
        let took = began.elapsed();
        let restore: Value = serde_json::from_slice(&body).expect("JSON");
        let files = restore["files"].as_array().expect("files");
        assert_eq!(files.len(), self.files);
        assert!(files.iter().all(|file| file["status"] == "staged" && file["filegroup"] == "fg"));
        for number in [0, self.files / 2, self.files - 1] {
            let fetched = self.get(&format!("{url}/bridge/restore/{id}/fg/{}", name(number))).await;
            assert_eq!(fetched, content(number));
        }
        took
    }

    /// It was recorded once, and the log is whole.
    fn assert_recorded(&self) {
        let log = self.program.json(&["audit", "list", "--kind", "restoration"]);
        let entries = log["entries"].as_array().expect("entries");
        assert_eq!(entries.len(), 1, "{log}");
        assert_eq!((&entries[0]["success"], &entries[0]["files"]), (&json!(true), &json!(self.files)), "{log}");
        assert_eq!(self.program.json(&["audit", "verify"])["valid"], true);
        assert_eq!(self.program.json(&["verify"])["valid"], true);
    }
}

/// The most memory that a process had at a time.
fn memory(running: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.child.id())).expect("read");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_goes_on_after_the_program_was_killed() {
    let seed: u64 = std::env::var("CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("CRASH_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let restores = Restores::new(3000);
    let (server, url) = restores.serve();
    let (id, _) = restores.order(&url).await;
    let mut running = Some((server, url));
    // How much is checked until then is up to chance; every point is as good as any other.
    for _ in 0..4 {
        let (server, url) = running.take().unwrap_or_else(|| restores.serve());
        for _ in 0..random.random_range(0..25) {
            restores.status(&url, &id).await;
        }
        // This kills it.
        drop(server);
    }
    let (server, url) = restores.serve();
    restores.staged(&url, &id, super::support::PATIENCE).await;
    restores.assert_whole(&url, &id).await;
    let memory = memory(&server);
    assert!(memory < MEMORY, "{memory} bytes");
    restores.assert_recorded();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: the figures for a restore of a hundred thousand files"]
async fn a_restore_of_a_hundred_thousand_files_in_flat_memory() {
    let restores = Restores::new(100_000);
    let (server, url) = restores.serve();
    restores.get(&format!("{url}/bridge/restore")).await;
    let before = memory(&server);
    let (id, ordered) = restores.order(&url).await;
    let began = Instant::now();
    let longest = restores.staged(&url, &id, Duration::from_secs(3600)).await;
    let checked = began.elapsed();
    let listed = restores.assert_whole(&url, &id).await;
    let after = memory(&server);
    println!("POST {ordered:?}, checked in {checked:?}, the slowest status {longest:?}, the list in {listed:?}");
    println!("memory at the most: {} MiB before, {} MiB after", before >> 20, after >> 20);
    assert!(longest < Duration::from_secs(2) && after < 2 * MEMORY, "{longest:?}, {after} bytes");
    restores.assert_recorded();
}
