//! How quickly the console's pages answer on a catalogue of a million packages: the median of each, held against 300 ms.
//!
//! Run by hand with `cargo bench -p dipper --bench console`. The catalogue is SQLite's, or with `DIPPER_DATABASE_URL` an empty
//! database of PostgreSQL; it is filled by statements of this file, besides one package that is really there. `BENCH_PACKAGES`
//! and `BENCH_ORDERS` make it smaller.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark prints, and may end where it stands"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dipper_core::db::{Database, Place, Server, Statement};
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use serde_json::Value;

const PACKAGES: u64 = 1_000_000;
const ORDERS: u64 = 200_000;
const AUDIT_ENTRIES: u64 = 300_000;
/// So many rows are filled in with one statement.
const AT_A_TIME: u64 = 50_000;
/// How often each page is asked for.
const TIMES: usize = 15;
const BOUND: Duration = Duration::from_millis(300);

/// What is filled in, with `{n}` for a number from 0, `{id}` for it in 24 digits, and `{now}` for the time.
const PACKAGE: &str = "INSERT INTO packages (id, contract_id, object_id, ocfl_id, location, state, head, size_bytes, file_count,
        created, updated, verified, checked, check_since, stored_bytes)
    {numbers} SELECT {id}, CASE WHEN n % 10 = 0 THEN '7bd2' ELSE '2d17' END, 'object-' || n, 'urn:dipper:x:object-' || n,
        'location-' || n, CASE WHEN n % 5000 = 7 THEN 'damaged' WHEN n % 997 = 5 THEN 'deleted' ELSE 'preserved' END, 1,
        1000000 + n, 10, {now} - (1000000 - n) * 250000000, {now} - n, {now} - n * 7000000, {now} - n * 7000000,
        {now} - n * 7000000, 1000000 + n
    FROM numbers";
const VERSION: &str =
    "INSERT INTO versions (package_id, number, label, size_bytes, file_count, created, container_name)
    {numbers} SELECT {id}, 1, 'first', 1000000 + n, 10, {now} - (1000000 - n) * 250000000, 'delivery-' || n || '.tar'
    FROM numbers";
const IDENTIFIER: &str = "INSERT INTO identifiers (ocfl_id, identifier, urn, urn_key)
    {numbers} SELECT 'urn:dipper:x:object-' || n, '1-20260101' || n, 'urn:nbn:de:x-' || n, 'urn:nbn:de:x-' || n FROM numbers";
const NAMES: [&str; 4] = ["'object-' || n", "'1-20260101' || n", "'urn:nbn:de:x-' || n", "'delivery-' || n || '.tar'"];
const NAME: &str = "INSERT INTO package_names (contract_id, name, package_id)
    {numbers} SELECT CASE WHEN n % 10 = 0 THEN '7bd2' ELSE '2d17' END, {name}, {id} FROM numbers";
/// Of a hundred orders two have failed, and of two hundred and fifty one is open.
const ORDER: &str = "INSERT INTO orders (id, kind, dialect, contract_id, client_id, client_stored, package_id, object_id, version,
        size_bytes, state, finished, priority, rank, created, updated, delivered)
    {numbers} SELECT substr({id}, 3), 'dissemination', 'dps', CASE WHEN n % 10 = 0 THEN '7bd2' ELSE '2d17' END, 'reader', 1, {id},
        'object-' || n, 1, 1000000 + n,
        CASE WHEN n % 250 = 3 THEN 'queued' WHEN n % 50 = 7 THEN 'failed' ELSE 'delivered' END,
        CASE WHEN n % 250 = 3 THEN 0 ELSE 1 END, 50, 50, {now} - (200000 - n) * 3000000, {now} - (200000 - n) * 3000000,
        CASE WHEN n % 250 = 3 OR n % 50 = 7 THEN NULL ELSE {now} - (200000 - n) * 3000000 END
    FROM numbers";
const STEP: &str =
    "INSERT INTO steps (id, order_id, kind, state, rank, run_after, lease_until, fence, attempts, created, updated,
        contract_id, size_bytes, turn_at)
    SELECT 's' || id, id, 'prepare', 'ready', 50, 0, 0, 0, 0, created, updated, contract_id, size_bytes, created
    FROM orders WHERE finished = 0";
const DELIVERY: &str = "INSERT INTO deliveries (id, order_id, contract_id, created, expires, kept_until)
    SELECT 'd' || id, id, contract_id, delivered, delivered + 604800000000, delivered + 604800000000
    FROM orders WHERE state = 'delivered'";
const DELIVERED_FILE: &str =
    "INSERT INTO delivery_files (delivery_id, number, part, filename, size_bytes, algorithm, checksum,
        layout_format, checkpoints)
    SELECT 'd' || id, 1, '', object_id || '.tar', size_bytes, 'md5', '0123456789abcdef0123456789abcdef', 1, {blob}
    FROM orders WHERE state = 'delivered'";
const EVENT: &str = "INSERT INTO events (id, at, kind, outcome, agent, order_id, package_id, detail)
    SELECT 'e' || id, created, 'order received', 'success', 'client reader', id, package_id, '' FROM orders";
const AUDIT: &str = "INSERT INTO audit (contract_id, number, at, kind, outcome, agent, package_id, object_id, version, algorithm,
        digest, size_bytes, file_count, detail, whole, previous, hash)
    {numbers} SELECT '7bd2', n + 1001, {now} - (300000 - n) * 60000000,
        CASE n % 3 WHEN 0 THEN 'ingest' WHEN 1 THEN 'fixity' ELSE 'administration' END, 'success', 'dipper', {id}, 'object-' || n, 1,
        'sha512', '{digest}', 1000000, 10, 'everything is as it was', 1, '{hash}', '{hash}'
    FROM numbers";

const NUMBERS: &str = "WITH RECURSIVE numbers (n) AS
    (SELECT CAST($1 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < CAST($2 AS BIGINT) - 1)";
const ID: &str = "substr('000000000000000000000000' || n, length('' || n) + 1)";

/// How many there are, unless the environment says otherwise.
fn amount(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// A server process, and somebody who has signed in to its console.
struct Bench {
    directory: tempfile::TempDir,
    server: Option<Child>,
    url: String,
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

impl Bench {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dipper"));
        command.args(arguments).env("DIPPER_DATA_DIRECTORY", self.directory.path().join("data"));
        command.env("DIPPER_LOG_LEVEL", "error").env("DIPPER_SERVER_RATE_LIMIT_PER_SECOND", "0");
        command.env("DIPPER_FIXITY_PERIOD_DAYS", "0");
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).arg("--json").output().expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    async fn start() -> Bench {
        let directory = tempfile::tempdir().expect("a directory");
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        let mut bench = Bench { directory, server: None, url: String::new(), http, cookies: BTreeMap::new() };
        if std::env::var("DIPPER_DATABASE_URL").is_ok() {
            bench.json(&["migrate"]);
        }
        for contract in ["2d17", "7bd2"] {
            bench.json(&["contract", "add", contract]);
        }
        bench.ingest();
        let begun = Instant::now();
        bench.fill().await;
        let (packages, orders) = (amount("BENCH_PACKAGES", PACKAGES), amount("BENCH_ORDERS", ORDERS));
        println!("{packages} packages, {orders} orders, filled in {:.0} s", begun.elapsed().as_secs_f64());
        bench.json(&["client", "add", "reader", "--contract", "2d17", "--role", "read"]);
        let added = bench.json(&["client", "add", "olga", "--contract", "2d17", "--role", "read"]);
        for (contract, role) in [("2d17", "operator"), ("7bd2", "read"), ("7bd2", "operator")] {
            bench.json(&["client", "grant", "olga", "--contract", contract, "--role", role]);
        }
        let mut serving = bench.command(&["serve", "--without-worker", "--listen", "127.0.0.1:0"]);
        let mut server = serving.stdout(Stdio::piped()).spawn().expect("the program runs");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        bench.url = line.trim().strip_prefix("listening on ").expect("an address").to_owned();
        bench.server = Some(server);
        bench.sign_in(added["clientSecret"].as_str().expect("a secret")).await;
        bench
    }

    /// A package whose files are really there: a thousand in one folder.
    fn ingest(&self) {
        let source = self.directory.path().join("real");
        let folder = source.join("letters");
        std::fs::create_dir_all(&folder).expect("made");
        for number in 0..1000 {
            std::fs::write(folder.join(format!("{number:04}.txt")), format!("letter {number}")).expect("written");
        }
        let path: &Path = &source;
        let path = path.to_str().expect("text");
        self.json(&["ingest", "--contract", "2d17", "--object-id", "real", path]);
    }

    async fn fill(&self) {
        let server = std::env::var("DIPPER_DATABASE_URL").ok();
        let (place, blob) = match &server {
            Some(url) => {
                (Place::Server(Server::new(url).expect("an address")), "decode(repeat('00', 48), 'hex')".to_owned())
            }
            None => (Place::File(self.directory.path().join("data/dipper.db")), "zeroblob(48)".to_owned()),
        };
        let database = Database::open(&place).await.expect("opened");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros().to_string();
        let (digest, hash) = ("0".repeat(128), "0".repeat(64));
        let run = async |text: &str, count: Option<u64>| {
            let marks = [("{numbers}", NUMBERS), ("{id}", ID), ("{now}", &now), ("{blob}", &blob)];
            let marks = marks.into_iter().chain([("{digest}", digest.as_str()), ("{hash}", hash.as_str())]);
            let text = marks.fold(text.to_owned(), |text, (mark, meaning)| text.replace(mark, meaning));
            let Some(count) = count else {
                database.execute(Statement::assembled(text)).await.expect("filled");
                return;
            };
            for first in (0..count).step_by(usize::try_from(AT_A_TIME).expect("small")) {
                let statement = Statement::assembled(text.clone()).bind(first).bind(count.min(first + AT_A_TIME));
                database.execute(statement).await.expect("filled");
            }
        };
        let (packages, orders) = (amount("BENCH_PACKAGES", PACKAGES), amount("BENCH_ORDERS", ORDERS));
        for text in [PACKAGE, VERSION, IDENTIFIER] {
            run(text, Some(packages)).await;
        }
        for name in NAMES {
            run(&NAME.replace("{name}", name), Some(packages)).await;
        }
        run(ORDER, Some(orders)).await;
        for text in [STEP, DELIVERY, DELIVERED_FILE, EVENT] {
            run(text, None).await;
        }
        run(AUDIT, Some(AUDIT_ENTRIES)).await;
        if server.is_some() {
            run("ANALYZE", None).await;
        }
        database.close().await;
    }

    async fn sign_in(&mut self, secret: &str) {
        let page = self.get("/sign-in").await.1;
        let csrf = page.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
        let form = [("csrf", csrf), ("name", "olga"), ("secret", secret)];
        let request =
            self.http.post(format!("{}/console/sign-in", self.url)).header("cookie", self.cookie()).form(&form);
        let answer = request.send().await.expect("sent");
        assert_eq!(answer.status(), 303);
        self.keep(answer.headers());
    }

    fn cookie(&self) -> String {
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    fn keep(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(SET_COOKIE) {
            let pair = line.to_str().expect("text").split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a pair");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }

    /// A page, and how long it took.
    async fn get(&mut self, path: &str) -> (Duration, String) {
        let begun = Instant::now();
        let request = self.http.get(format!("{}/console{path}", self.url)).header("cookie", self.cookie());
        let answer = request.send().await.expect("sent");
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.expect("text");
        let took = begun.elapsed();
        assert!(status == 200, "{path}: {status} {:?} {text}", headers.get(LOCATION));
        self.keep(&headers);
        (took, text)
    }

    /// The path below the console's of the first link of a page that begins so.
    async fn link(&mut self, page: &str, begin: &str) -> String {
        let text = self.get(page).await.1;
        let begin = format!("href=\"/console{begin}");
        let found = text.split(&begin).nth(1).and_then(|rest| rest.split('"').next());
        let rest = found.unwrap_or_else(|| panic!("no {begin} on {page}")).replace("&amp;", "&").replace("&#38;", "&");
        format!("{}{rest}", begin.trim_start_matches("href=\"/console"))
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

#[tokio::main]
async fn main() {
    let mut bench = Bench::start().await;
    let package = bench.link("/packages?q=real", "/packages/").await;
    let order = bench.link("/orders?state=delivered", "/orders/").await;
    let mut later = Vec::new();
    for list in [
        "/packages",
        "/packages?state=preserved",
        "/packages?state=preserved&order=name",
        "/packages?q=object-5&state=preserved&order=name",
        "/orders?state=delivered",
    ] {
        let begin = format!("{}?", list.split('?').next().unwrap_or_default());
        later.push(bench.link(list, &begin).await);
    }
    let mut pages: Vec<String> = [
        "/packages",
        "/packages?q=object-7",
        "/packages?q=object-777777",
        "/packages?q=1-20260101",
        "/packages?q=urn%3Anbn%3Ade%3Ax-5",
        "/packages?q=delivery-99&order=name",
        "/packages?q=nothing",
        "/packages?state=damaged",
        "/packages?state=damaged&order=name",
        "/packages?contract=7bd2&from=2024-01-01&until=2024-02-01",
        "/packages?q=object-5&state=deleted&order=name",
        "/orders",
        "/orders?state=open",
        "/orders?state=ended",
        "/outgoing",
        "/webhooks",
        "/operations",
        "/processes",
        "/fixity",
        "/deliveries",
        "/deletions",
        "/contracts",
        "/clients",
        "/clients/reader",
        "/audit",
        "/audit?contract=7bd2&kind=ingest",
        "/sessions",
    ]
    .map(str::to_owned)
    .into();
    pages.extend(later);
    pages.extend([package.clone(), format!("{package}/files"), format!("{package}/files?folder=letters")]);
    pages.extend([order.clone(), format!("{order}/receipt")]);
    let mut slow = 0;
    for page in pages {
        let mut times = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            times.push(bench.get(&page).await.0);
        }
        times.sort_unstable();
        let median = times.get(TIMES / 2).copied().unwrap_or_default();
        let longest = times.last().copied().unwrap_or_default();
        let verdict = if median <= BOUND { "" } else { "   TOO SLOW" };
        slow += usize::from(median > BOUND);
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        println!("median {:>7.1} ms   longest {:>7.1} ms   {page}{verdict}", millis(median), millis(longest));
    }
    println!("{slow} pages take longer than {} ms", BOUND.as_millis());
    assert_eq!(slow, 0, "pages are too slow");
}
