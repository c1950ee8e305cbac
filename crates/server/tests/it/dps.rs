//! The DPS contract: ordering a package and following it.

use dipper_archive::digest::Algorithm;
use dipper_core::Role;
use dipper_core::db::packages::PackageState;
use reqwest::Method;
use serde_json::{Value, json};

use super::packages::hex;
use super::support::{DPS, Server, code, header};

/// RFC 3339 with microseconds and an explicit offset.
fn is_timestamp(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 32 && text.as_bytes()[10] == b'T' && text.as_bytes()[19] == b'.' && text.ends_with("+00:00")
}

#[tokio::test]
async fn a_package_is_ordered_followed_and_fetched() {
    let server = Server::start(&[]).await;
    let package = server.small_package("2d17", "digifoto_1").await;
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let order = json!({ "archiveId": package.id, "priority": 70, "unknown": { "fields": "are ignored" } });
    let created = caller.ask(Method::POST, "/disseminations", Some(&order)).await;
    assert_eq!(created.status(), 201);
    let location = header(&created, "location");
    let created: Value = created.json().await.expect("JSON");
    let id = created["disseminationId"].as_str().expect("an id");
    assert!(id.len() == 22 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    assert_eq!(location, format!("{}{DPS}/disseminations/{id}", server.url));
    let expected = [
        ("archiveId", json!(package.id)),
        ("clientId", json!("harvester")),
        ("contractId", json!("2d17")),
        ("objectId", json!("digifoto_1")),
        ("sumSizeInBytes", json!(16)),
        ("status", json!("RECEIVED")),
        ("priority", json!(70)),
    ];
    for (name, value) in &expected {
        assert_eq!(&created[*name], value, "{name}");
    }
    assert!(is_timestamp(&created["dateCreated"]) && is_timestamp(&created["dateUpdated"]), "{created}");
    for absent in ["files", "error", "dateDelivered", "expirationDate"] {
        assert!(created.get(absent).is_none(), "{absent}");
    }
    assert_eq!(caller.dissemination(id).await, created);

    assert!(server.work_once().await);
    assert_eq!(caller.dissemination(id).await["status"], "QUEUED");
    server.work().await;
    let delivered = caller.dissemination(id).await;
    assert_eq!(delivered["status"], "DISSEMINATED");
    assert!(is_timestamp(&delivered["dateDelivered"]) && is_timestamp(&delivered["expirationDate"]));
    let file = &delivered["files"][0];
    assert_eq!(delivered["files"].as_array().map(Vec::len), Some(1));
    assert_eq!((&file["filename"], &file["checksumAlgorithm"]), (&json!("digifoto_1.tar"), &json!("MD5")));
    assert_eq!(file["expirationDate"], delivered["expirationDate"]);
    let bytes = server.http.get(file["downloadURL"].as_str().expect("a link")).send().await.expect("sent");
    let bytes = bytes.bytes().await.expect("all of it");
    assert_eq!(file["filesize"], bytes.len());
    assert_eq!(file["checksum"], hex(Algorithm::Md5, &bytes));
    assert!(bytes.windows(5).any(|window| window == b"alpha"));
}

#[tokio::test]
async fn an_order_without_a_priority_has_the_usual_one() {
    let server = Server::start(&[]).await;
    let package = server.small_package("2d17", "one").await;
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let usual =
        [json!(null), json!(50), json!(50.0)].map(|priority| json!({ "archiveId": package.id, "priority": priority }));
    for order in usual.into_iter().chain([json!({ "archiveId": package.id })]) {
        let (status, body) = caller.post("/disseminations", &order).await;
        assert_eq!((status, &body["priority"]), (201, &json!(50)));
        let id = body["disseminationId"].as_str().expect("an id");
        assert_eq!(caller.delete(&format!("/disseminations/{id}")).await.0, 200);
    }
}

#[tokio::test]
async fn checks_come_in_the_order_of_the_contract() {
    let server = Server::start(&[]).await;
    let package = server.small_package("2d17", "one").await;
    let foreign = server.small_package("other", "one").await;
    let reader = server.caller("reader", &[("2d17", Role::Read)]).await;
    let writer = server.caller("writer", &[("2d17", Role::Write)]).await;
    let nobody = server.caller("nobody", &[]).await;
    let order = |id: &str| json!({ "archiveId": id });

    let url = format!("{}{DPS}/disseminations", server.url);
    let bare = server.http.post(&url).body("not even JSON").send().await.expect("sent");
    assert_eq!((bare.status().as_u16(), header(&bare, "www-authenticate").as_str()), (401, "Bearer realm=\"dipper\""));
    assert_eq!(code(&bare.json().await.expect("JSON")), "UNAUTHORIZED");

    // A role on another contract, or of another kind, does not help, whether the archive exists or not.
    for caller in [&writer, &nobody] {
        for id in [package.id.as_str(), "0123456789abcdef01234567"] {
            assert_eq!(caller.post("/disseminations", &order(id)).await.0, 403);
        }
    }
    server.package_state(&foreign.id, PackageState::Damaged, "a bit flipped").await;
    let (status, body) = reader.post("/disseminations", &order(&foreign.id)).await;
    assert_eq!((status, code(&body)), (403, "ACCESS_DENIED"), "the right comes before the state");

    for id in ["0123456789abcdef01234567", "x", "../../etc/passwd", "æ", &"9".repeat(1000)] {
        let (status, body) = reader.post("/disseminations", &order(id)).await;
        assert_eq!((status, code(&body)), (404, "ARCHIVE_NOT_FOUND"), "{id}");
    }

    for state in [PackageState::Damaged, PackageState::Missing, PackageState::Deleted] {
        server.package_state(&package.id, state, "the reason").await;
        let (status, body) = reader.post("/disseminations", &order(&package.id)).await;
        assert_eq!((status, code(&body)), (422, "ARCHIVE_NOT_PRESERVED"), "{state}");
        assert_eq!(body["error"]["details"], "the reason");
    }
    server.package_state(&package.id, PackageState::Preserved, "").await;

    let id = reader.order(&package.id).await;
    let again = reader.ask(Method::POST, "/disseminations", Some(&order(&package.id))).await;
    assert_eq!(again.status(), 409);
    assert_eq!(header(&again, "location"), format!("{}{DPS}/disseminations/{id}", server.url));
    let again: Value = again.json().await.expect("JSON");
    assert_eq!((code(&again), &again["error"]["details"]), ("DISSEMINATION_EXISTS", &json!(id)));
    // Another client's order is no duplicate, and a finished one is none either.
    let second = server.caller("second", &[("2d17", Role::Read)]).await;
    assert_ne!(second.order(&package.id).await, id);
    server.work().await;
    assert_ne!(reader.order(&package.id).await, id);
}

#[tokio::test]
async fn a_wrong_body_is_refused_with_the_name_of_the_field() {
    let server = Server::start(&[("server.max_body_bytes", "4096")]).await;
    let package = server.small_package("2d17", "one").await;
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let url = format!("{}{DPS}/disseminations", server.url);
    let post = |body: String| server.http.post(&url).bearer_auth(&caller.token).body(body).send();
    let id = &package.id;
    for (body, named) in [
        (String::new(), "no body"),
        ("{".to_owned(), "not JSON"),
        ("[]".to_owned(), "not a JSON object"),
        ("{}".to_owned(), "`archiveId`"),
        (r#"{"archiveId":7}"#.to_owned(), "`archiveId`"),
        (r#"{"archiveId":null}"#.to_owned(), "`archiveId`"),
        (r#"{"archiveId":""}"#.to_owned(), "`archiveId`"),
        (format!(r#"{{"archiveId":"{id}","priority":"high"}}"#), "`priority`"),
        (format!(r#"{{"archiveId":"{id}","priority":5.5}}"#), "`priority`"),
        (format!(r#"{{"archiveId":"{id}","priority":0}}"#), "`priority`"),
        (format!(r#"{{"archiveId":"{id}","priority":101}}"#), "`priority`"),
        (format!(r#"{{"archiveId":"{id}","priority":1e99}}"#), "`priority`"),
        ("[".repeat(4000), "not JSON"),
    ] {
        let answer = post(body.clone()).await.expect("sent");
        assert_eq!((answer.status().as_u16(), header(&answer, "content-type").as_str()), (400, "application/json"));
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(code(&answer), "BAD_REQUEST", "{body}");
        let message = answer["error"]["message"].as_str().expect("a message");
        assert!(message.contains(named), "{body}: {message}");
    }
    let invalid_utf8 = server.http.post(&url).bearer_auth(&caller.token).body(vec![b'"', 0xff, b'"']).send().await;
    assert_eq!(invalid_utf8.expect("sent").status(), 400);
    let long = post("x".repeat(5000)).await.expect("sent");
    assert_eq!(long.status(), 413);
    assert_eq!(code(&long.json().await.expect("JSON")), "BODY_TOO_LARGE");
}

#[tokio::test]
async fn urgent_orders_go_first_and_equal_ones_by_age() {
    for (order, expected) in [("high-first", [2, 1, 3, 0]), ("low-first", [0, 1, 3, 2])] {
        let server = Server::start(&[("dps.priority_order", order)]).await;
        let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
        let mut ids = Vec::new();
        for (number, priority) in [10, 50, 90, 50].into_iter().enumerate() {
            let package = server.small_package("2d17", &format!("object-{number}")).await;
            let body = json!({ "archiveId": package.id, "priority": priority });
            let (_, body) = caller.post("/disseminations", &body).await;
            ids.push(body["disseminationId"].as_str().expect("an id").to_owned());
        }
        // Every order is admitted before the first is prepared, so that all of them compete.
        let mut done: Vec<usize> = Vec::new();
        while server.work_once().await {
            for (number, id) in ids.iter().enumerate() {
                let is_done = caller.dissemination(id).await["status"] == "DISSEMINATED";
                if is_done && !done.contains(&number) {
                    done.push(number);
                }
            }
        }
        assert_eq!(done, expected, "{order}");
    }
}

#[tokio::test]
async fn the_base_path_the_checksum_and_the_split_are_configurable() {
    let changes = [
        ("dps.base_path", "/nb/dps"),
        ("delivery.checksum", "SHA-256"),
        ("delivery.split", "representation"),
        ("server.public_url", "https://dipper.example.org/archive/"),
    ];
    let server = Server::start(&changes).await;
    let package = server.small_package("2d17", "one").await;
    let secret = server.client("harvester", &[("2d17", Role::Read)]).await;
    let http = reqwest::Client::new();
    let base = format!("http://{}", server.serving.addr);
    let form = [("grant_type", "client_credentials"), ("client_id", "harvester"), ("client_secret", secret.reveal())];
    let token = http.post(format!("{base}/oauth2/token")).form(&form).send().await.expect("sent");
    let token = token.json::<Value>().await.expect("JSON")["access_token"].as_str().expect("a token").to_owned();
    let order = http.post(format!("{base}/nb/dps/v1/disseminations")).bearer_auth(&token);
    let order = order.json(&json!({ "archiveId": package.id })).send().await.expect("sent");
    let location = header(&order, "location");
    let path = location.strip_prefix("https://dipper.example.org/archive").expect("the public address").to_owned();
    server.work().await;
    let body = http.get(format!("{base}{path}")).bearer_auth(&token).send().await.expect("sent");
    let body: Value = body.json().await.expect("JSON");
    let names: Vec<_> = body["files"].as_array().expect("files").iter().map(|file| &file["filename"]).collect();
    assert_eq!(names, ["one.tar", "one_r1.tar"]);
    for file in body["files"].as_array().expect("files") {
        assert_eq!(file["checksumAlgorithm"], "SHA-256");
        let link = file["downloadURL"].as_str().expect("a link");
        let local = link.replace("https://dipper.example.org/archive", &base);
        let bytes = http.get(local).send().await.expect("sent").bytes().await.expect("all of it");
        assert_eq!(file["checksum"], hex(Algorithm::Sha256, &bytes));
    }
    let elsewhere = http.get(format!("{base}{DPS}/archives")).bearer_auth(&token).send().await.expect("sent");
    assert_eq!(elsewhere.status(), 404);
}
