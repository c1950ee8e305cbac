//! Restores through the Bridge API in both of its texts: ordered, checked, fetched, expired.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dipper_archive::digest::Algorithm;
use dipper_core::db::{Statement, packages, restores};
use serde_json::{Value, json};

use super::bridge_support::{Account, BRIDGE, OTM, digest, md5, noise, sum};
use super::support::{Server, header};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The files of a restore by filegroup and identifier: version, status, size and checksum.
fn files(restore: &Value) -> BTreeMap<String, [String; 4]> {
    let text = |file: &Value, name: &str| file[name].as_str().expect("text").to_owned();
    let entry = |file: &Value| {
        let name = format!("{}/{}", text(file, "filegroup"), text(file, "file"));
        (name, ["version", "status", "size", "checksum"].map(|field| text(file, field)))
    };
    restore["files"].as_array().expect("files").iter().map(entry).collect()
}

async fn restore_of(account: &Account<'_>, id: &str) -> Value {
    let (status, body) = account.get(&format!("{BRIDGE}/restore/{id}")).await;
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test]
async fn files_are_checked_and_then_fetched_one_by_one() {
    let server = Server::start(&[]).await;
    let operator = server.operator("ops").await;
    let account = server.account(&operator, "uni").await;
    let large = noise(2_500_000);
    server.version("uni", "one", "v1", &[("a/large.bin", &large), ("empty", b"")]).await;
    server.version("uni", "two", "v1", &[("x", b"first"), ("y", b"why")]).await;
    server.version("uni", "two", "v2", &[("x", b"second")]).await;

    let wanted = json!({"one": {}, "two": {"files": {"x": md5(b"nothing")}}});
    let (status, body) = account.post("/bridge/restore", &wanted).await;
    assert_eq!(
        (status, &body["errors"][0]["filegroup"], &body["errors"][0]["file"]),
        (422, &json!("two"), &json!("x"))
    );
    assert_eq!(account.get("/bridge/restore").await, (200, json!({})), "nothing was begun");

    let sha512 = sum(Algorithm::Sha512, b"first");
    let wanted = json!({"one": {"version": "v1"}, "two": {"files": {"x": sha512}}});
    let id = account.restore("/bridge/restore?checksum-type=SHA-512", &wanted).await;
    let accepted = restore_of(&account, &id).await;
    assert_eq!((&accepted["status"], &accepted["expiration"]), (&json!("RESTORE_ACCEPTED"), &json!("")));
    let early = account.fetch(&format!("/bridge/restore/{id}/two/x"), &[]).await;
    assert_eq!(early.status(), 409);
    assert_eq!(account.get(&format!("/otm/restore/{id}/status")).await.1["file-count"], "3");

    server.work().await;
    let staged = restore_of(&account, &id).await;
    assert_eq!(staged["status"], "RESTORE_STAGED", "{staged}");
    let entry =
        |version: &str, bytes: &[u8]| [version.to_owned(), "staged".to_owned(), bytes.len().to_string(), md5(bytes)];
    let expected: BTreeMap<String, [String; 4]> = [
        ("one/a/large.bin".to_owned(), entry("v1", &large)),
        ("one/empty".to_owned(), entry("v1", b"")),
        ("two/x".to_owned(), entry("v1", b"first")),
    ]
    .into();
    assert_eq!(files(&staged), expected);
    assert_eq!(account.get("/bridge/restore?status=STAGED").await.1[&id], staged);
    assert_eq!(account.get("/bridge/restore?status=RESTORE_ACCEPTED").await, (200, json!({})));

    // What was made ready stands in the audit log, of the filegroup and of a file.
    let (_, log) = account.get("/bridge/audit/one").await;
    let types: Vec<&str> =
        log["one"][0]["one"].as_array().expect("events").iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(types, ["ingest", "restoration"], "{log}");
    let (_, log) = account.get("/otm/audit/two/x").await;
    let last = log["two"][0]["x"].as_array().and_then(|events| events.last()).expect("an event");
    assert_eq!((&last["type"], &last["event"]["identifier"]), (&json!("restoration"), &json!("x")), "{log}");
    assert_eq!(last["event"]["checksum"], sum(Algorithm::Sha512, b"first"));
    assert_eq!(account.get("/bridge/audit/three").await.0, 404);
    let event = json!({"event-type": "replication", "event": {"version": "v1", "replicated-to": "the northern node"}});
    let body = json!({"one": event});
    assert_eq!(account.post("/otm/audit", &body).await.0, 403, "for operators");
    assert_eq!(operator.post("/otm/audit?account=uni", &body).await, (200, Value::Null));
    let (_, log) = account.get("/otm/audit/one").await;
    let last = log["one"][0]["one"].as_array().and_then(|events| events.last()).expect("an event");
    assert_eq!((&last["type"], &last["details"]), (&json!("replication"), &json!("replicated-to: the northern node")));
    let wrong = json!({"one": {"event-type": "party", "event": {}}});
    assert_eq!(operator.post("/otm/audit?account=uni", &wrong).await.0, 422);

    // The whole, under each type of checksum.
    for (name, algorithm) in [("MD5", Algorithm::Md5), ("SHA-256", Algorithm::Sha256), ("SHA-512", Algorithm::Sha512)] {
        let path = format!("/bridge/restore/{id}/one/a%2Flarge.bin?checksum-type={name}");
        let answer = account.fetch(&path, &[]).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "etag"), format!("\"{}\"", sum(algorithm, &large)));
        assert_eq!(header(&answer, "content-length"), large.len().to_string());
        assert_eq!(header(&answer, "content-type"), "application/octet-stream");
        assert!(answer.bytes().await.expect("bytes") == large);
    }
    let path = format!("/otm/restore/{id}/two/x");
    let answer = account.fetch(&path, &[]).await;
    let base64 = |algorithm| BASE64_STANDARD.encode(digest(algorithm, b"first").as_bytes());
    let [md5, sha256, sha512] = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512].map(base64);
    assert_eq!(header(&answer, "digest"), format!("SHA-512={sha512},SHA-256={sha256},MD5={md5}"));
    let structured = format!("sha-512=:{sha512}:, sha-256=:{sha256}:, md5=:{md5}:");
    assert_eq!(header(&answer, "repr-digest"), structured);
    assert_eq!(answer.bytes().await.expect("bytes").as_ref(), b"first");
    assert_eq!(restore_of(&account, &id).await["status"], "RESTORE_STAGED", "one is left");
    assert_eq!(account.fetch(&format!("/bridge/restore/{id}/one/empty"), &[]).await.status(), 200);
    let complete = server.until(async || restore_of(&account, &id).await["status"] == "RESTORE_COMPLETE").await;
    assert!(complete, "every file was fetched");
    let (_, status) = account.get(&format!("/otm/restore/{id}/status")).await;
    assert_eq!(
        (&status["status"], &status["details"]),
        (&json!("RESTORE_COMPLETE"), &json!("3 of 3 files were fetched"))
    );
    assert_eq!(account.get("/otm/restore?status=COMPLETE").await.1[&id], status);
    for missing in ["one/a", "one/large.bin", "two/y", "three/x", "one/", "one/a/large.bin/"] {
        assert_eq!(account.get(&format!("/bridge/restore/{id}/{missing}")).await.0, 404, "{missing}");
    }
}

#[tokio::test]
async fn parts_are_verified_and_conditions_kept() {
    let server = Server::start(&[]).await;
    let operator = server.operator("ops").await;
    let account = server.account(&operator, "uni").await;
    let large = noise(3_000_000);
    let ingested = server.version("uni", "fg", "", &[("large.bin", &large)]).await;
    let id = account.restore("/otm/restore", &json!({"fg": {"files": {"large.bin": {}}}})).await;
    server.work().await;
    let path = format!("/bridge/restore/{id}/fg/large.bin");
    let etag = format!("\"{}\"", md5(&large));
    for (range, start, end) in
        [("bytes=0-0", 0, 1), ("bytes=1048575-2097152", 1_048_575, 2_097_153), ("bytes=-5", 2_999_995, 3_000_000)]
    {
        let part = account.fetch(&path, &[("range", range), ("if-range", &etag)]).await;
        assert_eq!((part.status().as_u16(), header(&part, "etag")), (206, etag.clone()));
        assert_eq!(header(&part, "content-range"), format!("bytes {start}-{}/3000000", end - 1));
        assert!(part.bytes().await.expect("bytes") == large[start..end], "{range}");
    }
    let whole = account.fetch(&path, &[("range", "bytes=5-9"), ("if-range", "\"old\"")]).await;
    assert_eq!((whole.status().as_u16(), whole.bytes().await.expect("bytes").len()), (200, large.len()));
    let beyond = account.fetch(&path, &[("range", "bytes=3000000-")]).await;
    assert_eq!((beyond.status().as_u16(), header(&beyond, "content-range").as_str()), (416, "bytes */3000000"));
    assert_eq!(account.fetch(&path, &[("if-none-match", &etag)]).await.status(), 304);
    assert_eq!(account.fetch(&path, &[("if-match", "\"old\"")]).await.status(), 412);
    let head = account.request("HEAD", &path).send().await.expect("sent");
    assert_eq!((head.status().as_u16(), header(&head, "content-length").as_str()), (200, "3000000"));

    // A byte goes bad: what does not touch its piece is still handed out, and nothing wrong ever is.
    let package = packages::get(server.database(), &ingested.package_id).await.expect("read").expect("there");
    let file = server.installation.data.archive().join(&package.location).join("v1/content/large.bin");
    let mut altered = large.clone();
    altered[2_500_000] ^= 1;
    std::fs::write(&file, &altered).expect("written");
    let good = account.fetch(&path, &[("range", "bytes=0-999999")]).await;
    assert!(good.bytes().await.expect("bytes") == large[..1_000_000]);
    let bad = account.fetch(&path, &[("range", "bytes=2200000-2200001")]).await;
    assert_eq!(bad.status(), 409, "not a byte of it");
    let request = account.request("GET", &path).send().await;
    let read = match request {
        Ok(answer) if answer.status() == 200 => answer.bytes().await.ok(),
        _ => None,
    };
    assert_eq!(read, None, "what is right at first is broken off");
    let marked = async || {
        let package = packages::get(server.database(), &ingested.package_id).await.expect("read").expect("there");
        package.state == packages::PackageState::Damaged
    };
    assert!(server.until(marked).await, "the package is marked");
    let (status, body) = account.get(&path).await;
    assert_eq!((status, &body["type"]), (409, &json!("urn:dipper:problem:not-ready")), "{body}");
    let (status, body) = account.post("/bridge/restore", &json!({"fg": {}})).await;
    assert_eq!(status, 422, "{body}");
    assert!(body["errors"][0]["detail"].as_str().expect("text").contains("damaged"), "{body}");
}

#[tokio::test]
async fn a_file_that_is_damaged_is_named_and_the_others_are_handed_out() {
    let server = Server::start(&[]).await;
    let operator = server.operator("ops").await;
    let account = server.account(&operator, "uni").await;
    let ingested = server.version("uni", "fg", "", &[("bad", b"bad"), ("good", b"good")]).await;
    server.version("uni", "other", "", &[("fine", b"fine")]).await;
    let package = packages::get(server.database(), &ingested.package_id).await.expect("read").expect("there");
    let content = server.installation.data.archive().join(&package.location).join("v1/content/bad");
    std::fs::write(content, b"BAD").expect("written");
    let id = account.restore("/bridge/restore", &json!({"fg": null, "other": {}})).await;
    server.work_twice().await;
    let restore = restore_of(&account, &id).await;
    assert_eq!(restore["status"], "RESTORE_ERROR", "{restore}");
    assert!(restore["details"].as_str().expect("text").contains("fg/bad"), "{restore}");
    let status = |name: &str| files(&restore)[name][1].clone();
    assert_eq!(["fg/bad", "fg/good", "other/fine"].map(status), ["error", "staged", "staged"]);
    assert_eq!(account.get(&format!("/bridge/restore/{id}/fg/bad")).await.0, 409);
    assert_eq!(account.fetch(&format!("/bridge/restore/{id}/other/fine"), &[]).await.status(), 200);
    assert_eq!(account.get("/bridge/restore?status=ERROR").await.1.as_object().map(|found| found.len()), Some(1));
}

#[tokio::test]
async fn a_restore_expires_is_kept_longer_and_given_back() {
    let server = Server::start(&[("bridge.restore_hours", "24"), ("bridge.restore_max_hours", "72")]).await;
    let operator = server.operator("ops").await;
    let (account, other) = (server.account(&operator, "uni").await, server.account(&operator, "other").await);
    server.version("uni", "fg", "v", &[("a", b"a")]).await;
    let request = json!({"fg": {"version": "v", "files": {"a": {"SHA-512": sum(Algorithm::Sha512, b"a")}}}});
    let id = account.restore("/otm/restore", &request).await;
    assert_eq!(account.get(&format!("/otm/restore/{id}")).await, (200, request), "as it came");
    let expiration = format!("/bridge/restore/{id}/expiration");
    assert_eq!(account.ask("PUT", &expiration).await.0, 409, "its time has not begun");
    server.work().await;
    let path = format!("/otm/restore/{id}/fg/a");
    for path in
        [&path, &format!("/bridge/restore/{id}"), &format!("/otm/restore/{id}"), &format!("/otm/restore/{id}/status")]
    {
        assert_eq!(other.get(path).await.0, 404, "another's: {path}");
    }
    assert_eq!(other.ask("DELETE", &format!("/bridge/restore/{id}")).await.0, 404);
    assert_eq!(other.ask("PUT", &expiration).await.0, 404);

    server.clock.advance(DAY - Duration::from_secs(60));
    let (status, body) = account.ask("PUT", &expiration).await;
    assert_eq!((status, &body["status"], &body["restore-id"]), (200, &json!("RESTORE_STAGED"), &json!(id)));
    server.clock.advance(DAY - Duration::from_secs(60));
    assert_eq!(account.fetch(&path, &[]).await.status(), 200);
    let at = |time: dipper_core::time::Timestamp| json!({"expiration": time.to_string()});
    let now = server.clock.now();
    let put = async |body: Value| {
        let request = account.request("PUT", &format!("/otm/restore/{id}/expiration")).json(&body);
        request.send().await.expect("sent").status().as_u16()
    };
    for (body, expected) in [
        (at(now.plus(4 * DAY)), 422),
        (at(now), 422),
        (json!({"expiration": "tomorrow"}), 400),
        (json!({"until": "tomorrow"}), 400),
        (at(now.plus(2 * DAY)), 200),
    ] {
        assert_eq!(put(body.clone()).await, expected, "{body}");
    }
    server.clock.advance(2 * DAY);
    assert_eq!(restore_of(&account, &id).await["status"], "RESTORE_EXPIRED");
    assert_eq!(account.get(&path).await.0, 404);
    assert_eq!(account.ask("PUT", &expiration).await.0, 404);
    assert_eq!(account.get("/bridge/restore").await, (200, json!({})));
    assert_eq!(account.get("/bridge/restore?status=EXPIRED").await.1.as_object().map(|found| found.len()), Some(1));

    for work in [false, true] {
        let id = account.restore("/bridge/restore", &json!({"fg": {}})).await;
        if work {
            server.work().await;
        }
        assert_eq!(account.ask("DELETE", &format!("{OTM}/restore/{id}")).await.0, 204);
        server.work().await;
        assert_eq!(restore_of(&account, &id).await["status"], "RESTORE_EXPIRED");
        assert_eq!(account.get(&format!("/bridge/restore/{id}/fg/a")).await.0, 404);
        assert_eq!(account.ask("DELETE", &format!("{BRIDGE}/restore/{id}")).await.0, 204, "once more");
    }
}

#[tokio::test]
async fn many_files_are_listed_whole_and_what_was_asked_in_one_text_is_told_in_the_other() {
    let server = Server::start(&[]).await;
    let operator = server.operator("ops").await;
    let account = server.account(&operator, "uni").await;
    let names: Vec<String> = (0..2500).map(|number| format!("d/{number:04}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    server.version("uni", "fg", "v", &files).await;
    server.version("uni", "one", "", &[("x", b"x")]).await;
    let id = account.restore("/bridge/restore", &json!({"fg": {"version": "v"}, "one": {}})).await;
    server.work().await;
    let restore = restore_of(&account, &id).await;
    let found = self::files(&restore);
    assert_eq!((found.len(), &restore["status"]), (2501, &json!("RESTORE_STAGED")));
    assert!(names.iter().all(|name| found[&format!("fg/{name}")][3] == md5(name.as_bytes())));
    let (_, request) = account.get(&format!("/otm/restore/{id}")).await;
    assert_eq!(request["fg"]["files"].as_object().map(|files| files.len()), Some(2500));
    assert_eq!(request["one"]["files"]["x"]["MD5"], md5(b"x"));
    // Restores of one list after the other.
    for _ in 0..4 {
        account.restore("/otm/restore", &json!({"one": {}})).await;
    }
    for base in [BRIDGE, OTM] {
        let (mut found, mut path) = (0, format!("{base}/restore?limit=2&status=ACCEPTED"));
        for _ in 0..3 {
            let answer = account.fetch(&path, &[]).await;
            let link = header(&answer, "link");
            found += answer.json::<Value>().await.expect("JSON").as_object().expect("an object").len();
            let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
            let Some(next) = next else { break };
            assert!(next.contains("status=ACCEPTED"), "{next}");
            path = format!("{base}/restore{next}");
        }
        assert_eq!(found, 4);
    }
}

#[tokio::test]
async fn what_expired_long_ago_is_forgotten_with_its_list() {
    let server = Server::start(&[("bridge.restore_hours", "24"), ("bridge.restore_remembered_days", "10")]).await;
    let operator = server.operator("ops").await;
    let account = server.account(&operator, "uni").await;
    let names: Vec<String> = (0..4100).map(|number| format!("{number:04}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    server.version("uni", "fg", "v", &files).await;
    let old = account.restore("/bridge/restore", &json!({"fg": {}})).await;
    let withdrawn = account.restore("/bridge/restore", &json!({"fg": {}})).await;
    assert_eq!(account.ask("DELETE", &format!("{BRIDGE}/restore/{withdrawn}")).await.0, 204);
    server.work().await;
    let count = async |table: &str| {
        let query = Statement::assembled(format!("SELECT COUNT(*) AS n FROM {table}"));
        server.database().row(query).await.expect("read").expect("a row").count("n").expect("a number")
    };
    let forget = async || {
        let before = server.clock.now().minus(server.installation.settings.restore_remembered);
        restores::forget(server.database(), before).await.expect("forgotten")
    };
    assert_eq!((forget().await, count("restores").await, count("restore_files").await), (0, 2, 8200));
    server.clock.advance(10 * DAY);
    let late = account.restore("/bridge/restore", &json!({"fg": {}})).await;
    server.work().await;
    // One that was withdrawn ten days ago, and one that expired nine days ago.
    assert_eq!((forget().await, count("restores").await, count("restore_files").await), (1, 2, 8200));
    assert_eq!(account.get(&format!("{BRIDGE}/restore/{withdrawn}")).await.0, 404);
    assert_eq!(restore_of(&account, &old).await["status"], "RESTORE_EXPIRED");
    server.clock.advance(DAY);
    assert_eq!((forget().await, count("restores").await, count("restore_files").await), (1, 1, 4100));
    assert_eq!(account.get(&format!("{OTM}/restore/{old}/status")).await.0, 404);
    assert_eq!(account.get(&format!("{BRIDGE}/restore/{old}/fg/0000")).await.0, 404);
    assert_eq!(restore_of(&account, &late).await["status"], "RESTORE_EXPIRED");
}
