//! What a request costs: `GET` of one dissemination and `POST` of a new one, on SQLite and on PostgreSQL, next to the
//! rates at which `pgbench` selects and inserts single rows on the same database server in the same run.
//!
//! Run by hand with `cargo bench -p dipper --bench http`. The load comes from this process, so that it takes its part
//! of the same cores; the same is true of `pgbench`. Both databases sync every commit to the disk.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark prints, and may end where it stands"
)]

#[path = "../../core/tests/it/postgres.rs"]
mod postgres;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dipper_core::db::{Database, Place, Server, Statement};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// Packages in the catalogue: more than can be ordered in the time.
const PACKAGES: u64 = 200_000;
/// Disseminations among which `GET` chooses.
const ORDERS: usize = 1000;
/// Requests under way at a time, and connections of `pgbench`.
const AT_ONCE: usize = 16;
const SECONDS: u64 = 8;
/// How long requests are sent before they are counted.
const WARM_UP: Duration = Duration::from_secs(2);

/// A server process over one database, with a client that has signed in.
struct Bench {
    directory: tempfile::TempDir,
    database_url: Option<String>,
    server: Option<Child>,
    url: String,
    http: reqwest::Client,
    token: String,
}

impl Bench {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dipper"));
        command.args(arguments).env("DIPPER_DATA_DIRECTORY", self.directory.path().join("data"));
        command.env("DIPPER_LOG_LEVEL", "error").env("DIPPER_SERVER_RATE_LIMIT_PER_SECOND", "0");
        if let Some(url) = &self.database_url {
            command.env("DIPPER_DATABASE_URL", url);
        }
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).arg("--json").output().expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    async fn start(database_url: Option<String>) -> Bench {
        let directory = tempfile::tempdir().expect("a directory");
        let (http, url, token) = (reqwest::Client::new(), String::new(), String::new());
        let mut bench = Bench { directory, database_url, server: None, url, http, token };
        if bench.database_url.is_some() {
            bench.json(&["migrate"]);
        }
        bench.json(&["contract", "add", "2d17"]);
        bench.fill().await;
        let added = bench.json(&["client", "add", "reader", "--contract", "2d17", "--role", "read"]);
        let mut serving = bench.command(&["serve", "--without-worker", "--listen", "127.0.0.1:0"]);
        let mut server = serving.stdout(Stdio::piped()).spawn().expect("the program runs");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        bench.url = line.trim().strip_prefix("listening on ").expect("an address").to_owned();
        bench.server = Some(server);
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "reader"),
            ("client_secret", added["clientSecret"].as_str().expect("a secret")),
        ];
        let answer = bench.http.post(format!("{}/oauth2/token", bench.url)).form(&form).send().await.expect("sent");
        let answer: Value = answer.json().await.expect("JSON");
        bench.token = answer["access_token"].as_str().expect("a token").to_owned();
        bench
    }

    /// Packages that are there as far as the catalogue knows: nobody prepares them here.
    async fn fill(&self) {
        let place = match &self.database_url {
            Some(url) => Place::Server(Server::new(url).expect("an address")),
            None => Place::File(self.directory.path().join("data/dipper.db")),
        };
        let database = Database::open(&place).await.expect("opened");
        let id = "substr('000000000000000000000000' || CAST(n AS TEXT), length(CAST(n AS TEXT)) + 1)";
        let numbers =
            "WITH RECURSIVE numbers (n) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < $1)";
        let packages = format!(
            "INSERT INTO packages (id, contract_id, object_id, ocfl_id, location, state, head, size_bytes, file_count,
                 created, updated)
             {numbers} SELECT {id}, '2d17', 'object-' || CAST(n AS TEXT), 'urn:dipper:2d17:object-' || CAST(n AS TEXT),
                 'location-' || CAST(n AS TEXT), 'preserved', 1, 1000000, 10, n, n FROM numbers"
        );
        let versions = format!(
            "INSERT INTO versions (package_id, number, size_bytes, file_count, created)
             {numbers} SELECT {id}, 1, 1000000, 10, n FROM numbers"
        );
        let identifiers = format!(
            "INSERT INTO identifiers (ocfl_id, identifier)
             {numbers} SELECT 'urn:dipper:2d17:object-' || CAST(n AS TEXT), 'identifier-' || CAST(n AS TEXT) FROM numbers"
        );
        for text in [packages, versions, identifiers] {
            database.execute(Statement::assembled(text).bind(PACKAGES)).await.expect("filled");
        }
        if self.database_url.is_some() {
            database.execute(Statement::assembled("ANALYZE".to_owned())).await.expect("looked at");
        }
        database.close().await;
    }

    fn disseminations(&self) -> String {
        format!("{}/dps-submission/v1/disseminations", self.url)
    }

    async fn order(&self, number: usize) -> Option<String> {
        let body = json!({ "archiveId": package_id(number) });
        let request = self.http.post(self.disseminations()).bearer_auth(&self.token).json(&body);
        let answer = request.send().await.expect("sent");
        let status = answer.status();
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["disseminationId"].as_str().map(str::to_owned)
    }

    async fn look(&self, id: &str) {
        let request = self.http.get(format!("{}/{id}", self.disseminations())).bearer_auth(&self.token);
        let answer = request.send().await.expect("sent");
        assert_eq!(answer.status(), StatusCode::OK);
        answer.bytes().await.expect("a body");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn package_id(number: usize) -> String {
    format!("{number:024}")
}

/// Rate and latencies of one kind of request.
struct Measured {
    per_second: f64,
    median: Duration,
    p99: Duration,
}

/// Keeps `AT_ONCE` requests under way for `SECONDS`, after a while in which they are not counted.
async fn measure<Request, Answer>(request: Request) -> Measured
where
    Request: Fn(usize) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = ()> + Send,
{
    let (request, next) = (Arc::new(request), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now() + WARM_UP;
    let end = began + Duration::from_secs(SECONDS);
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (request, next) = (Arc::clone(&request), Arc::clone(&next));
        senders.spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < end {
                let sent = Instant::now();
                request(next.fetch_add(1, Ordering::Relaxed)).await;
                if sent >= began {
                    latencies.push(sent.elapsed());
                }
            }
            latencies
        });
    }
    let mut latencies: Vec<Duration> = senders.join_all().await.into_iter().flatten().collect();
    let seconds = began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: usize| latencies.get((latencies.len() * share / 100).min(latencies.len() - 1)).copied();
    Measured {
        per_second: latencies.len() as f64 / seconds,
        median: at(50).unwrap_or_default(),
        p99: at(99).unwrap_or_default(),
    }
}

fn told(what: &str, measured: &Measured) {
    let (median, p99) = (measured.median.as_secs_f64() * 1e3, measured.p99.as_secs_f64() * 1e3);
    println!("{what:<28} {:>9.0} a second   median {median:>7.2} ms   p99 {p99:>7.2} ms", measured.per_second);
}

/// Both requests against one server.
async fn requests(name: &str, bench: Bench) -> (Measured, Measured) {
    let bench = Arc::new(bench);
    let mut ids = Vec::with_capacity(ORDERS);
    for number in 0..ORDERS {
        ids.extend(bench.order(number).await);
    }
    let (bench_of_get, ids) = (Arc::clone(&bench), Arc::new(ids));
    let get = measure(move |number| {
        let (bench, ids) = (Arc::clone(&bench_of_get), Arc::clone(&ids));
        async move { bench.look(&ids[number % ids.len()]).await }
    })
    .await;
    told(&format!("{name}: GET a dissemination"), &get);
    let post = measure(move |number| {
        let bench = Arc::clone(&bench);
        async move { drop(bench.order(ORDERS + number).await) }
    })
    .await;
    told(&format!("{name}: POST a new one"), &post);
    (get, post)
}

/// What `pgbench` reaches with one statement for each transaction.
fn pgbench(database: &postgres::TestDatabase, what: &str, script: &str, directory: &Path) -> f64 {
    let file = directory.join("script.sql");
    std::fs::write(&file, script).expect("written");
    let mut command = database.program("pgbench");
    command.args(["--no-vacuum", "--jobs=2", "--protocol=prepared", &format!("--client={AT_ONCE}")]);
    command.arg(format!("--time={SECONDS}")).arg(format!("--file={}", file.display()));
    let output = command.output().expect("pgbench runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let per_second = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    let per_second = per_second.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    println!("{what:<28} {per_second:>9.0} a second");
    per_second
}

#[tokio::main]
async fn main() {
    println!("{AT_ONCE} clients, {SECONDS} s for each figure, {PACKAGES} packages");
    requests("SQLite", Bench::start(None).await).await;
    let cluster: &postgres::Cluster = Box::leak(Box::new(postgres::Cluster::start("fsync = on")));
    let database = cluster.bare_database();
    let (get, post) = requests("PostgreSQL", Bench::start(Some(database.url())).await).await;

    let beside = cluster.bare_database();
    beside.psql(&format!(
        "CREATE TABLE one (id TEXT PRIMARY KEY, body TEXT NOT NULL);
         INSERT INTO one SELECT n::text, repeat('x', 300) FROM generate_series(0, {ORDERS}) AS n;
         CREATE TABLE another (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body TEXT NOT NULL);
         ANALYZE"
    ));
    let directory = tempfile::tempdir().expect("a directory");
    let script = |text: &str| format!("\\set n random(0, {})\n{text}\n", ORDERS - 1);
    let select = script("SELECT id, body FROM one WHERE id = CAST(:n AS TEXT);");
    let select = pgbench(&beside, "pgbench: SELECT a row", &select, directory.path());
    let insert = script("INSERT INTO another (body) VALUES ('body ' || :n);");
    let insert = pgbench(&beside, "pgbench: INSERT a row", &insert, directory.path());
    println!(
        "on PostgreSQL, a GET costs as {:.1} SELECTs, and a POST as {:.1} INSERTs",
        select / get.per_second,
        insert / post.per_second
    );
}
