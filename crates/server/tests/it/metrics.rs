//! The figures of a running server, read with somebody else's parser and held against what happened.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use dipper_archive::meter::{Kind, Metric};
use serde_json::{Value, json};

use crate::cli_support::{Dipper, Running, noise, run};
use crate::peers;
use crate::receiver::{Manner, Receiver};
use crate::s3::S3Server;
use crate::store;
use crate::support::PATIENCE;

/// One sample: its name, its labels and its value.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: Value,
    value: f64,
}

/// A page of figures, as `prometheus-client` reads it.
struct Page {
    /// The type and the help of each family.
    families: Vec<(String, String, String)>,
    samples: Vec<Sample>,
}

const PARSE: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families as parse
for family in parse(sys.stdin.read()):
    samples = [[sample.name, sample.labels, str(sample.value)] for sample in family.samples]
    print(json.dumps([family.name, family.type, family.documentation, samples]))
";

/// Runs a script of the peers' Python over a text; the lines that it prints.
pub(crate) fn python(script: &str, input: &str) -> Vec<Value> {
    let program = peers::install(&["prometheus"]).join("python");
    let mut command = Command::new(program);
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("Python runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", peers::told(&output));
    let lines = String::from_utf8(output.stdout).expect("text");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

impl Page {
    fn parse(text: &str) -> Page {
        let mut page = Page { families: Vec::new(), samples: Vec::new() };
        let word = |value: &Value| value.as_str().expect("text").to_owned();
        for family in python(PARSE, text) {
            page.families.push((word(&family[0]), word(&family[1]), word(&family[2])));
            for sample in family[3].as_array().expect("samples") {
                let value = word(&sample[2]).parse().expect("a number");
                page.samples.push(Sample { name: word(&sample[0]), labels: sample[1].clone(), value });
            }
        }
        page
    }

    /// The samples of a name with at least these labels, added up; nothing when there are none.
    fn value(&self, name: &str, labels: Value) -> Option<f64> {
        let wanted = labels.as_object().expect("labels");
        let values: Vec<f64> = self
            .samples
            .iter()
            .filter(|sample| sample.name == name)
            .filter(|sample| wanted.iter().all(|(label, value)| &sample.labels[label] == value))
            .map(|sample| sample.value)
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }
}

/// A server that shows its figures, and where.
struct Shown {
    _running: Running,
    url: String,
    metrics: String,
    http: reqwest::Client,
}

impl Shown {
    fn start(dipper: &Dipper, environment: &[(&str, &str)]) -> Shown {
        let environment = [&[("DIPPER_METRICS_LISTEN", "127.0.0.1:0")], environment].concat();
        let (mut running, url) = dipper.serve(&environment);
        let line = running.line();
        let metrics = line.strip_prefix("metrics at ").unwrap_or_else(|| panic!("{line:?}")).trim().to_owned();
        Shown { _running: running, url, metrics, http: reqwest::Client::new() }
    }

    async fn text(&self) -> String {
        let answer = self.http.get(&self.metrics).send().await.expect("sent");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        answer.text().await.expect("text")
    }

    /// The page once all these figures have these values. What the catalogue knows is kept for some seconds.
    async fn page(&self, expected: &[(&str, Value, f64)]) -> Page {
        let began = Instant::now();
        loop {
            let page = Page::parse(&self.text().await);
            let found = |(name, labels, value): &(&str, Value, f64)| page.value(name, labels.clone()) == Some(*value);
            let Some((name, labels, value)) = expected.iter().find(|expected| !found(expected)) else { return page };
            let is = page.value(name, labels.clone());
            assert!(began.elapsed() < PATIENCE, "{name}{labels} is {is:?} and not {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_what_is_shown() {
    let dipper = Dipper::with_client();
    let content = noise(300_000);
    let package = dipper.ingest("one", &content);
    let damaged = dipper.ingest("two", &content);
    dipper.damage(&damaged);
    let mut receiver = Receiver::start(&[Manner::Answer(500)]).await;
    dipper.json(&["webhook", "add", "c1", &receiver.url]);
    let environment = [("DIPPER_EGRESS_ALLOW", "127.0.0.1"), ("DIPPER_WORKER_BACKOFF_SECONDS", "1")];
    let shown = Shown::start(&dipper, &environment);

    let order = run(dipper.client(&shown.url, &["--json", "order", &package])).json(0);
    let id = order["disseminationId"].as_str().expect("an id");
    // Waiting would end with an error; the failure is told by the figures too.
    run(dipper.client(&shown.url, &["--json", "order", &damaged])).json(0);
    run(dipper.client(&shown.url, &["--json", "status", id, "--wait"])).json(0);
    run(dipper.client(&shown.url, &["--json", "fetch", id])).json(0);
    let refused = shown.http.get(format!("{}/dps-submission/v1/archives", shown.url)).bearer_auth("wrong");
    assert_eq!(refused.send().await.expect("sent").status(), 401);
    let form = [("grant_type", "client_credentials"), ("client_id", "c1"), ("client_secret", "wrong")];
    let refused = shown.http.post(format!("{}/oauth2/token", shown.url)).form(&form).send().await.expect("sent");
    assert_eq!(refused.status(), 401);
    for _ in 0..3 {
        receiver.next().await;
    }

    let tars: Vec<_> = std::fs::read_dir(dipper.directory.path())
        .expect("listed")
        .map(|entry| entry.expect("read"))
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "tar"))
        .collect();
    assert_eq!(tars.len(), 1, "{tars:?}");
    let len = tars[0].metadata().expect("a file").len() as f64;
    let none = || json!({});
    let expected = [
        ("dipper_orders_received_total", none(), 2.0),
        ("dipper_order_duration_seconds_count", json!({ "state": "delivered" }), 1.0),
        ("dipper_order_duration_seconds_count", json!({ "state": "failed" }), 1.0),
        ("dipper_step_duration_seconds_count", json!({ "kind": "admit", "outcome": "done" }), 2.0),
        ("dipper_step_duration_seconds_count", json!({ "kind": "prepare", "outcome": "done" }), 1.0),
        ("dipper_step_duration_seconds_count", json!({ "kind": "prepare", "outcome": "later" }), 1.0),
        ("dipper_step_duration_seconds_count", json!({ "kind": "prepare", "outcome": "dead" }), 1.0),
        ("dipper_steps_in_flight", none(), 0.0),
        ("dipper_step_bytes_in_flight", none(), 0.0),
        ("dipper_delivered_bytes_total", json!({ "channel": "link" }), len),
        ("dipper_downloads_in_flight", none(), 0.0),
        ("dipper_fixity_verified_packages_total", none(), 1.0),
        ("dipper_fixity_verified_bytes_total", none(), len),
        ("dipper_fixity_failures_total", none(), 1.0),
        ("dipper_notice_attempt_duration_seconds_count", json!({ "outcome": "refused" }), 1.0),
        ("dipper_notice_attempt_duration_seconds_count", json!({ "outcome": "accepted" }), 2.0),
        ("dipper_notice_acceptance_seconds_count", none(), 2.0),
        ("dipper_sign_in_failures_total", json!({ "reason": "token" }), 1.0),
        ("dipper_sign_in_failures_total", json!({ "reason": "credentials" }), 1.0),
        (
            "dipper_http_request_duration_seconds_count",
            json!({ "route": "/dps-submission/v1/disseminations", "method": "POST", "status": "2xx" }),
            2.0,
        ),
        ("dipper_http_requests_in_flight", none(), 0.0),
        ("dipper_database_errors_total", none(), 0.0),
        ("dipper_storage_errors_total", json!({ "backend": "local" }), 0.0),
        ("dipper_catalogue_up", none(), 1.0),
        ("dipper_queue_steps", json!({ "state": "ready" }), 0.0),
        ("dipper_queue_steps", json!({ "kind": "prepare", "state": "dead", "priority": "normal" }), 1.0),
        ("dipper_packages", json!({ "state": "preserved" }), 1.0),
        ("dipper_packages", json!({ "state": "damaged" }), 1.0),
        ("dipper_packages_never_verified", none(), 0.0),
        ("dipper_notices_pending", none(), 0.0),
        ("dipper_notice_oldest_pending_age_seconds", none(), 0.0),
    ];
    let page = shown.page(&expected).await;

    // The content went into its own digest and into the checksum, for the delivery and once more for the download; of
    // the damaged package twice.
    let hashed = page.value("dipper_hashed_bytes_total", none()).expect("shown");
    assert!(hashed >= 2.0 * len + 3.0 * content.len() as f64 && hashed <= 5.0 * len + 3.0 * content.len() as f64);
    // Twice for the damaged package, once for the delivery and once for the download, with an inventory each time.
    let read = page.value("dipper_storage_read_bytes_total", json!({ "backend": "local" })).expect("shown");
    assert!(read >= 4.0 * content.len() as f64 && read < 4.5 * content.len() as f64, "{read}");
    let age = page.value("dipper_fixity_oldest_verification_age_seconds", none()).expect("shown");
    assert!((0.0..PATIENCE.as_secs_f64()).contains(&age), "{age}");
    let dead = page.value("dipper_queue_oldest_step_age_seconds", json!({ "state": "dead" })).expect("shown");
    assert!(dead > 0.0 && dead < PATIENCE.as_secs_f64(), "{dead}");
    for operation in ["read", "begin", "write", "commit"] {
        let count = page.value("dipper_database_duration_seconds_count", json!({ "operation": operation }));
        assert!(count > Some(0.0), "{operation}: {count:?}");
    }
    assert!(page.value("dipper_worker_slots", none()) >= Some(1.0));
    assert!(page.value("process_resident_memory_bytes", none()) > Some(1e6));
    assert!(page.value("process_open_fds", none()) > Some(5.0));
    let started = page.value("process_start_time_seconds", none()).expect("shown");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!((now - 600.0..now + 1.0).contains(&started), "{started}");
    nothing_tells_whose_it_is(&page, &["c1", "2d17", &package, &damaged, id]);
    every_figure_is_shown(&page);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_into_a_store_is_delivered_too() {
    let storage = S3Server::start();
    let (dipper, environment) = store::program(&storage);
    let package = dipper.ingest("one", &noise(6 << 20));
    let environment: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let shown = Shown::start(&dipper, &environment);
    let by = |channel: &str| json!({ "channel": channel });
    shown.page(&[("dipper_delivered_bytes_total", by("s3"), 0.0)]).await;
    run(dipper.client(&shown.url, &["--json", "order", &package, "--wait"])).json(0);
    let [key] = storage.keys().try_into().expect("one object");
    let len = std::fs::metadata(storage.objects().join(key)).expect("a file").len() as f64;
    let expected = [
        ("dipper_delivered_bytes_total", by("s3"), len),
        ("dipper_delivered_bytes_total", by("link"), 0.0),
        ("dipper_fixity_verified_bytes_total", json!({}), len),
    ];
    shown.page(&expected).await;
}

/// No label names a client, a contract, a package or an order.
fn nothing_tells_whose_it_is(page: &Page, names: &[&str]) {
    for sample in &page.samples {
        let values = sample.labels.as_object().expect("labels").values();
        let told: Vec<_> = values.filter(|value| names.contains(&value.as_str().expect("text"))).collect();
        assert!(told.is_empty(), "{sample:?}");
    }
}

/// Every figure of the program, and no other, with its type and its help.
fn every_figure_is_shown(page: &Page) {
    let kind = |metric: &Metric| match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let mut known: Vec<(String, String, String)> = dipper_server::metrics::all()
        // The parser takes the suffix of counters away.
        .map(|metric| (metric.name.trim_end_matches("_total"), metric))
        .map(|(name, metric)| (name.to_owned(), kind(metric).to_owned(), metric.help.to_owned()))
        .collect();
    let mut shown = page.families.clone();
    known.sort();
    shown.sort();
    assert_eq!(shown, known);
}

#[test]
fn the_documentation_lists_every_figure_as_it_is() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let row = |metric: &Metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        format!("| `{}` | {kind} | {} | {} |", metric.name, labels.join(", "), metric.help).replace("|  |", "| |")
    };
    let known: Vec<String> = dipper_server::metrics::all().map(row).collect();
    let missing: Vec<&String> = known.iter().filter(|row| !page.lines().any(|line| line == **row)).collect();
    let rows = page.lines().filter(|line| line.starts_with("| `dipper_") || line.starts_with("| `process_"));
    let unknown: Vec<&str> = rows.filter(|line| !known.iter().any(|row| row == line)).collect();
    let told = missing.iter().map(|row| row.as_str()).collect::<Vec<_>>().join("\n");
    assert!(missing.is_empty() && unknown.is_empty(), "missing:\n{told}\nnot there any more:\n{}", unknown.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_shows_figures_and_nothing_else() {
    let dipper = Dipper::with_client();
    let shown = Shown::start(&dipper, &[]);
    let base = shown.metrics.strip_suffix("/metrics").expect("the page");
    assert_ne!(base, shown.url);
    for path in ["/", "/healthz", "/metrics/", "/oauth2/jwks"] {
        let answer = shown.http.get(format!("{base}{path}")).send().await.expect("sent");
        assert_eq!(answer.status(), 404, "{path}");
    }
    assert_eq!(shown.http.post(&shown.metrics).send().await.expect("sent").status(), 405);
    assert_eq!(shown.http.get(format!("{}/metrics", shown.url)).send().await.expect("sent").status(), 404);
    // Strangers may ask for whatever they like: what they invent makes no figure of its own.
    for number in 0..5 {
        let method = reqwest::Method::from_bytes(format!("INVENTED{number}").as_bytes()).expect("a method");
        let url = format!("{}/nowhere/{number}", shown.url);
        assert_eq!(shown.http.request(method, url).send().await.expect("sent").status(), 404);
    }
    let invented = json!({ "route": "none", "method": "other", "status": "4xx" });
    shown.page(&[("dipper_http_request_duration_seconds_count", invented, 5.0)]).await;
}
