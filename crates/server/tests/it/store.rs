//! Deliveries in a bucket, at the boundary: ordered over the DPS contract, told by a webhook, fetched from the storage.

use std::time::Duration;

use dipper_archive::publish;
use dipper_core::Role;
use dipper_core::store::sweep::Sweeper;
use reqwest::redirect::Policy;
use rustix::process::Signal;
use serde_json::json;

use crate::cli_support::{Dipper, Running, noise, run, wait_until};
use crate::receiver::Receiver;
use crate::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY, Wrong};
use crate::support::{Server, code};

/// What leads a server of the tests to a bucket.
fn settings(storage: &S3Server) -> Vec<(&'static str, String)> {
    vec![
        ("delivery.store", format!("s3://{BUCKET}/out")),
        ("delivery_s3.endpoint", storage.endpoint()),
        ("delivery_s3.region", "us-east-1".to_owned()),
        ("delivery_s3.path_style", "true".to_owned()),
        ("delivery_s3.allow_http", "true".to_owned()),
        ("delivery_s3.access_key_id", ACCESS_KEY.to_owned()),
        ("delivery_s3.secret_access_key", SECRET_KEY.to_owned()),
        ("delivery_s3.part_bytes", (5 << 20).to_string()),
    ]
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings.iter().map(|(key, value)| (*key, value.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_told_and_fetched_from_the_bucket() {
    let storage = S3Server::start();
    let mut changes = settings(&storage);
    changes.push(("egress.allow", "127.0.0.1".to_owned()));
    let server = Server::start_working(&borrowed(&changes)).await;
    let package = server.small_package("2d17", "one").await;
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let mut receiver = Receiver::start(&[]).await;
    server.administration().webhook_add("harvester", &receiver.url).await.expect("added");
    let id = caller.order(&package.id).await;
    let told = receiver.next().await.json();
    assert_eq!(told["type"], "dissemination.delivered", "{told}");
    let shown = caller.dissemination(&id).await;
    assert_eq!(shown["status"], "DISSEMINATED");
    for file in [&told["data"]["files"][0], &shown["files"][0]] {
        let link = file["downloadURL"].as_str().expect("a link");
        assert!(link.starts_with(&storage.endpoint()), "{link}");
        let answer = server.http.get(link).send().await.expect("sent");
        assert_eq!(answer.status(), 200);
        assert!(answer.headers()["content-disposition"].to_str().expect("text").contains("one.tar"));
        let bytes = answer.bytes().await.expect("the file");
        assert_eq!(bytes.len() as u64, file["filesize"]);
        assert_eq!(md5(&bytes), file["checksum"]);
    }
    server.stop().await;
}

/// The MD5 checksum of what was delivered.
pub(crate) fn md5(bytes: &[u8]) -> String {
    let mut hasher = dipper_archive::digest::Hasher::new(dipper_archive::digest::Algorithm::Md5);
    hasher.update(bytes);
    hasher.finish().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn links_to_dipper_lead_on_to_the_bucket_while_the_delivery_is_kept() {
    let storage = S3Server::start();
    let mut changes = settings(&storage);
    changes.push(("delivery.store_links", "redirect".to_owned()));
    let server = Server::start(&borrowed(&changes)).await;
    let package = server.small_package("2d17", "one").await;
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let id = caller.order(&package.id).await;
    server.work().await;
    let shown = caller.dissemination(&id).await;
    let link = shown["files"][0]["downloadURL"].as_str().expect("a link").to_owned();
    assert!(link.starts_with(&server.url), "{link}");
    let client = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client");
    let answer = client.get(&link).send().await.expect("sent");
    assert_eq!(answer.status(), 302);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert!(answer.headers()["location"].to_str().expect("text").starts_with(&storage.endpoint()));
    let bytes = server.http.get(&link).send().await.expect("sent").bytes().await.expect("the file");
    assert_eq!(md5(&bytes), shown["files"][0]["checksum"]);

    // The link that was changed, the one that has expired, and the one to what was given back.
    assert_eq!(client.get(link.replace("expires=", "expires=1")).send().await.expect("sent").status(), 403);
    let (status, _) = caller.delete(&format!("/disseminations/{id}")).await;
    assert_eq!(status, 200);
    let gone = client.get(&link).send().await.expect("sent");
    assert_eq!(gone.status(), 410);
    assert_eq!(code(&gone.json().await.expect("JSON")), "DELIVERY_NOT_KEPT");
    let swept = Sweeper::new(server.installation.clone()).sweep().await.expect("swept");
    assert_eq!((swept.deliveries, storage.keys().len()), (1, 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_has_no_link_into_the_bucket() {
    let storage = S3Server::start();
    let mut changes = settings(&storage);
    changes.push(("delivery.link_hours", "1".to_owned()));
    let server = Server::start(&borrowed(&changes)).await;
    let package = server.small_package("2d17", "one").await;
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let id = caller.order(&package.id).await;
    server.work().await;
    let link = caller.link(&id).await;
    assert!(link.contains("X-Amz-Expires=3600"), "{link}");
    server.clock.advance(Duration::from_secs(600));
    assert!(caller.link(&id).await.contains("X-Amz-Expires=3000"));
    server.clock.advance(Duration::from_secs(3000));
    let link = caller.link(&id).await;
    let refused = server.http.get(&link).send().await.expect("sent");
    assert_eq!(refused.status(), 403);
    assert_eq!(code(&refused.json().await.expect("JSON")), "LINK_EXPIRED");
    let (status, renewed) = caller.post(&format!("/disseminations/{id}/download-links"), &json!({})).await;
    assert_eq!(status, 200);
    let link = renewed["files"][0]["downloadURL"].as_str().expect("a link");
    assert_eq!(server.http.get(link).send().await.expect("sent").status(), 200);
    server.stop().await;
}

/// The program with its data directory, its bucket, and a client.
pub(crate) fn program(storage: &S3Server) -> (Dipper, Vec<(String, String)>) {
    let program = Dipper::with_client();
    let variable = |key: &str| format!("DIPPER_{}", key.replace('.', "_").to_uppercase());
    let mut environment: Vec<_> = settings(storage).into_iter().map(|(key, value)| (variable(key), value)).collect();
    // A worker that was killed is missed soon.
    for (key, value) in [("WORKER_LEASE_SECONDS", "2"), ("WORKER_HEARTBEAT_SECONDS", "1"), ("LOG_LEVEL", "error")] {
        environment.push((format!("DIPPER_{key}"), value.to_owned()));
    }
    (program, environment)
}

fn serve(program: &Dipper, environment: &[(String, String)]) -> (Running, String) {
    let environment: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    program.serve(&environment)
}

fn order(program: &Dipper, url: &str, archive_id: &str) -> String {
    let ordered = run(program.client(url, &["--json", "order", archive_id])).json(0);
    ordered["disseminationId"].as_str().expect("an id").to_owned()
}

#[test]
fn a_kill_in_the_middle_of_an_upload_leaves_one_object_and_no_orphan() {
    let storage = S3Server::start();
    let (program, environment) = program(&storage);
    let content = noise(12 << 20);
    let archive_id = program.ingest("large", &content);
    for (method, part) in [("PUT", "partNumber=2"), ("POST", "uploadId=")] {
        let (server, url) = serve(&program, &environment);
        let objects = storage.keys().len();
        let before = storage.faults.happened();
        storage.faults.plan(method, part, Wrong::Silence, 1);
        let id = order(&program, &url, &archive_id);
        wait_until("the request that hangs", || storage.faults.happened() > before);
        // Dropping it kills it.
        drop(server);
        assert_eq!(storage.keys().len(), objects);

        let (server, url) = serve(&program, &environment);
        wait_until("the delivery", || is_delivered(&program, &id));
        let fetched = run(program.client(&url, &["--json", "fetch", &id, "--output", "fetched.tar"]));
        assert_eq!(fetched.code, 0, "{fetched:?}");
        assert_eq!(storage.keys().len(), objects + 1, "{:?}", storage.keys());
        assert_eq!(storage.unfinished(), 0);
        let ended = server.stop(Signal::TERM);
        assert_eq!(ended.code, 0, "{ended:?}");
        publish::remove_file(&program.path("fetched.tar")).expect("removed");
    }
}

fn is_delivered(program: &Dipper, id: &str) -> bool {
    let events = program.json(&["events", "--order", id]);
    events["events"].as_array().is_some_and(|events| events.iter().any(|event| event["kind"] == "order delivered"))
}
