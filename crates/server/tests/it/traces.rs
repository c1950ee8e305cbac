//! Traces as a collector of OpenTelemetry gets them: one for each order, from all processes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cli_support::{Dipper, noise, run};
use crate::receiver::Receiver;
use crate::s3::S3Server;
use crate::store;
use crate::support::DPS;

/// A span with the process that it came from.
type Sent = (String, Span);

/// A collector that keeps everything.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Sent>>>,
}

impl Collector {
    async fn start() -> Collector {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let spans = Arc::new(Mutex::new(Vec::new()));
        let kept = spans.clone();
        let take = async move |headers: HeaderMap, body: Bytes| {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            let request = ExportTraceServiceRequest::decode(body).expect("what the protocol says");
            let mut kept = kept.lock().expect("unpoisoned");
            for resource in request.resource_spans {
                let process = resource.resource.expect("a resource").attributes;
                let attribute = |name: &str| process.iter().find(|attribute| attribute.key == name).cloned();
                let text = |name: &str| match attribute(name).and_then(|found| found.value?.value) {
                    Some(any_value::Value::StringValue(text)) => text,
                    other => panic!("{name}: {other:?}"),
                };
                assert_eq!(text("service.name"), "archive");
                for scope in resource.scope_spans {
                    kept.extend(scope.spans.into_iter().map(|span| (text("service.instance.id"), span)));
                }
            }
        };
        let router = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Collector { url, spans }
    }

    /// The spans of an order, by their names.
    fn of(&self, order_id: &str) -> BTreeMap<String, Vec<Sent>> {
        let mut found: BTreeMap<String, Vec<Sent>> = BTreeMap::new();
        for (process, span) in self.spans.lock().expect("unpoisoned").iter() {
            if hex::encode(&span.trace_id) == dipper_core::ids::trace_id(order_id) {
                found.entry(span.name.clone()).or_default().push((process.clone(), span.clone()));
            }
        }
        found
    }
}

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn order(url: &str, dipper: &Dipper, archive_id: &str) -> String {
    let secret = std::fs::read_to_string(dipper.path("secret")).expect("the secret");
    let http = reqwest::Client::new();
    let form = [("grant_type", "client_credentials"), ("client_id", "c1"), ("client_secret", secret.trim())];
    let token = http.post(format!("{url}/oauth2/token")).form(&form).send().await.expect("sent");
    let token: Value = token.json().await.expect("JSON");
    let request = http.post(format!("{url}{DPS}/disseminations")).header("traceparent", TRACEPARENT);
    let request = request.bearer_auth(token["access_token"].as_str().expect("a token"));
    let answer = request.json(&json!({ "archiveId": archive_id })).send().await.expect("sent");
    assert_eq!(answer.status(), 201);
    let answer: Value = answer.json().await.expect("JSON");
    answer["disseminationId"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_trace_in_whichever_processes_it_is_worked_on() {
    let collector = Collector::start().await;
    let dipper = Dipper::with_client();
    let package = dipper.ingest("one", &noise(300_000));
    let damaged = dipper.ingest("two", &noise(1000));
    dipper.damage(&damaged);
    let mut receiver = Receiver::start(&[]).await;
    dipper.json(&["webhook", "add", "c1", &receiver.url]);
    let environment = [
        ("DIPPER_EGRESS_ALLOW", "127.0.0.1"),
        ("DIPPER_WORKER_BACKOFF_SECONDS", "1"),
        ("DIPPER_TELEMETRY_OTLP_ENDPOINT", collector.url.as_str()),
        ("DIPPER_TELEMETRY_SERVICE_NAME", "archive"),
        // Traces do not depend on what is logged.
        ("DIPPER_LOG_LEVEL", "error"),
    ];
    let (first, url) = dipper.serve(&environment);
    let id = order(&url, &dipper, &package).await;
    let failed = order(&url, &dipper, &damaged).await;
    receiver.next().await;
    receiver.next().await;
    assert_eq!(first.stop(Signal::TERM).code, 0);
    // Another process hands out what the first one prepared.
    let (second, url) = dipper.serve(&environment);
    run(dipper.client(&url, &["--json", "fetch", &id])).json(0);
    assert_eq!(second.stop(Signal::TERM).code, 0);

    let spans = collector.of(&id);
    let count = |name: &str| spans.get(name).map_or(0, Vec::len);
    let counts: Vec<(&str, usize)> = spans.keys().map(|name| (name.as_str(), count(name))).collect();
    let expected = [("download", 1), ("intake", 1), ("notice", 1), ("order", 1), ("step", 2), ("verification", 1)];
    assert_eq!(counts, expected);
    let one = |name: &str| &spans[name][0].1;
    let whole = one("order");
    assert_eq!((whole.parent_span_id.len(), &whole.span_id), (0, &whole.trace_id[8..].to_vec()));
    let ids: BTreeSet<&Vec<u8>> = spans.values().flatten().map(|(_, span)| &span.span_id).collect();
    assert_eq!(ids.len(), 7, "every span has an id of its own");
    for (_, span) in spans.values().flatten().filter(|(_, span)| span.name != "order") {
        assert!(ids.contains(&span.parent_span_id), "{span:?}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    }
    for name in ["intake", "step", "notice", "download"] {
        assert_eq!(one(name).parent_span_id, whole.span_id, "{name}");
    }
    let prepare = spans["step"].iter().map(|(_, span)| span).find(|span| {
        let kind = span.attributes.iter().find(|attribute| attribute.key == "kind").expect("a kind");
        kind.value.as_ref().and_then(|value| value.value.clone())
            == Some(any_value::Value::StringValue("prepare".to_owned()))
    });
    let prepare = prepare.expect("the step that prepares");
    assert_eq!(one("verification").parent_span_id, prepare.span_id);
    assert!(prepare.events.iter().any(|event| event.name == "package verified"), "{prepare:?}");
    assert!(whole.start_time_unix_nano <= prepare.start_time_unix_nano);
    let links: Vec<String> = one("intake").links.iter().map(|link| hex::encode(&link.trace_id)).collect();
    assert_eq!(links, ["4bf92f3577b34da6a3ce929d0e0e4736"]);
    let processes: BTreeSet<&String> = spans.values().flatten().map(|(process, _)| process).collect();
    assert_eq!(processes.len(), 2, "{processes:?}");

    let spans = collector.of(&failed);
    assert_eq!(spans["step"].len(), 3, "one that admits, and two looks");
    let state = &spans["order"][0].1.attributes.iter().find(|attribute| attribute.key == "state");
    assert!(format!("{state:?}").contains("failed"), "{state:?}");
    let traces: BTreeSet<Vec<u8>> =
        collector.spans.lock().expect("unpoisoned").iter().map(|(_, span)| span.trace_id.clone()).collect();
    assert_eq!(traces.len(), 2, "nothing but orders is traced");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_told_with_its_bytes_and_parts() {
    let collector = Collector::start().await;
    let storage = S3Server::start();
    let (dipper, mut environment) = store::program(&storage);
    let package = dipper.ingest("one", &noise(6 << 20));
    environment.push(("DIPPER_TELEMETRY_OTLP_ENDPOINT".to_owned(), collector.url.clone()));
    environment.push(("DIPPER_TELEMETRY_SERVICE_NAME".to_owned(), "archive".to_owned()));
    let environment: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (server, url) = dipper.serve(&environment);
    let id = order(&url, &dipper, &package).await;
    run(dipper.client(&url, &["--json", "status", &id, "--wait"])).json(0);
    assert_eq!(server.stop(Signal::TERM).code, 0);
    let spans = collector.of(&id);
    let [(_, upload)] = spans["upload"].as_slice() else { panic!("{:?}", spans["upload"]) };
    assert_eq!(upload.parent_span_id, spans["verification"][0].1.span_id);
    let told = |name: &str| {
        let found = upload.attributes.iter().find(|attribute| attribute.key == name);
        found.and_then(|attribute| attribute.value.clone()?.value).unwrap_or_else(|| panic!("{name}: {upload:?}"))
    };
    let [key] = storage.keys().try_into().expect("one object");
    let len = std::fs::metadata(storage.objects().join(&key)).expect("a file").len();
    assert_eq!(told("bytes"), any_value::Value::IntValue(len as i64));
    assert_eq!(told("parts"), any_value::Value::IntValue(2));
    let any_value::Value::StringValue(told) = told("key") else { panic!("{upload:?}") };
    assert!(key.ends_with(&told), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_stops_nothing() {
    let dipper = Dipper::with_client();
    let package = dipper.ingest("one", b"content");
    let environment = [("DIPPER_TELEMETRY_OTLP_ENDPOINT", "http://127.0.0.1:1")];
    let (server, url) = dipper.serve(&environment);
    let id = order(&url, &dipper, &package).await;
    run(dipper.client(&url, &["--json", "status", &id, "--wait"])).json(0);
    let ended = server.stop(Signal::TERM);
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.contains("traces are lost"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn none_is_sent_when_none_is_wanted() {
    let collector = Collector::start().await;
    let dipper = Dipper::with_client();
    let package = dipper.ingest("one", b"content");
    let environment = [("DIPPER_TELEMETRY_OTLP_ENDPOINT", collector.url.as_str()), ("DIPPER_TELEMETRY_RATIO", "0")];
    let (server, url) = dipper.serve(&environment);
    let id = order(&url, &dipper, &package).await;
    run(dipper.client(&url, &["--json", "status", &id, "--wait"])).json(0);
    assert_eq!(server.stop(Signal::TERM).code, 0);
    assert!(collector.spans.lock().expect("unpoisoned").is_empty());
}
