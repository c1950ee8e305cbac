//! The DNS RESTful API: retrievals, from the order to the file that is fetched.

use dipper_core::Role;
use dipper_core::db::packages::PackageState;
use serde_json::{Value, json};

use super::dns_support::{CONTRACTOR, Contractor, DNS, ORIG_NAME, URN};
use super::support::{Server, answer};

fn success() -> (u16, Value) {
    (200, json!({ "success": "true" }))
}

/// The orders that there are, whatever became of them.
async fn orders(server: &Server) -> usize {
    server
        .administration()
        .event_list(None, None, 1000)
        .await
        .expect("events")
        .iter()
        .filter(|event| event.kind == "order received")
        .count()
}

async fn is_refused(contractor: &Contractor<'_>, body: Value, part: &str) {
    let (status, told) = contractor.retrieve(&body).await;
    assert_eq!((status, &told["success"]), (200, &json!("false")), "{body}: {told}");
    assert!(told["msg"].as_str().expect("a reason").contains(part), "{body}: {told}");
}

#[tokio::test]
async fn what_is_ordered_is_queued_once() {
    let server = Server::start(&[]).await;
    let contractor = server.contractor(CONTRACTOR).await;
    let identifier = server.example().await.identifier;
    for body in [
        json!({ "urn": URN }),
        json!({ "identifier": identifier }),
        json!({ "origName": ORIG_NAME }),
        json!({ "urn": URN, "identifier": identifier, "origName": ORIG_NAME, "unknown": [1] }),
        json!({ "urn": URN, "identifier": "", "origName": null, "version": null, "surface": false }),
        json!({ "urn": URN, "version": 1 }),
    ] {
        assert_eq!(contractor.retrieve(&body).await, success(), "{body}");
    }
    assert_eq!(orders(&server).await, 1);
    let entries = contractor.entries(&format!("urn={URN}")).await;
    let entry = |kind: &str, status: &str, number| (kind.to_owned(), status.to_owned(), number);
    assert_eq!(entries, [entry("QueueEntry", "package in progress", 900), entry("Object", "archived", 100)]);
    let (_, body) = contractor.status(&format!("urn={URN}")).await;
    let entry = &body["result"][0];
    assert_eq!((&entry["urn"], &entry["contractor"]), (&json!(URN), &json!(CONTRACTOR)), "{entry}");
    assert_eq!((&entry["origName"], &entry["identifier"]), (&json!(ORIG_NAME), &json!(identifier)), "{entry}");
    assert!(entry.get("packages").is_none() && entry["statusLongDescription"].is_string(), "{entry}");
    // Another content of it is another order.
    assert_eq!(contractor.retrieve(&json!({ "urn": URN, "surface": true })).await, success());
    assert_eq!(orders(&server).await, 2);
}

#[tokio::test]
async fn what_cannot_be_ordered_is_told_why() {
    let server = Server::start(&[]).await;
    let contractor = server.contractor(CONTRACTOR).await;
    let object = server.example().await;
    server.contractor("other").await;
    server.hand_in(CONTRACTOR, "second", Some("urn:nbn:de:x-2"), "second.zip", ("a", b"2")).await;
    server.hand_in("other", ORIG_NAME, Some("urn:nbn:de:x-3"), "third.zip", ("a", b"3")).await;
    for body in [json!({}), json!({ "urn": "", "identifier": null }), json!({ "containerName": "second.zip" })] {
        is_refused(&contractor, body, "give urn, identifier or origName").await;
    }
    for body in [
        json!({ "urn": "urn:nbn:de:nothing" }),
        json!({ "urn": "urn:nbn:de:x-3" }),
        json!({ "urn": URN, "origName": "second" }),
        json!({ "urn": "\u{0}", "origName": "\u{0}" }),
    ] {
        is_refused(&contractor, body, "there is no such object").await;
    }
    is_refused(&contractor, json!({ "urn": URN, "version": 2 }), "no version 2").await;
    let both = server.client("both", &[(CONTRACTOR, Role::Read), ("other", Role::Read)]).await;
    let both = Contractor { server: &server, name: "both".to_owned(), secret: both };
    is_refused(&both, json!({ "origName": ORIG_NAME }), "several contractors").await;
    server.package_state(&object.package_id, PackageState::Damaged, "a secret path").await;
    is_refused(&contractor, json!({ "urn": URN }), "has been checked").await;
    server.package_state(&object.package_id, PackageState::Deleted, "on request").await;
    is_refused(&contractor, json!({ "urn": URN }), "no such object").await;
    assert_eq!(orders(&server).await, 0);
}

#[tokio::test]
async fn a_wrong_body_names_the_field() {
    let server = Server::start(&[("server.max_body_bytes", "2000")]).await;
    let contractor = server.contractor(CONTRACTOR).await;
    let long = format!("{{\"urn\":\"{}\"}}", "x".repeat(3000));
    for (body, status, part) in [
        ("", 400, "no body"),
        ("{", 400, "not JSON"),
        ("[]", 400, "not a JSON object"),
        ("{\"urn\":7}", 400, "`urn`"),
        ("{\"urn\":\"a\",\"version\":\"1\"}", 400, "`version`"),
        ("{\"urn\":\"a\",\"version\":-1}", 400, "`version`"),
        ("{\"urn\":\"a\",\"surface\":\"yes\"}", 400, "`surface`"),
        (long.as_str(), 413, "longer than the 2000 bytes"),
    ] {
        let request = contractor.request("POST", "/automatedRetrieval/queueForRetrievalJSON").body(body.to_owned());
        let (found, told) = answer(request.send().await.expect("sent")).await;
        assert_eq!((found, &told["success"]), (status, &json!("false")), "{body:.60}: {told}");
        assert!(told["msg"].as_str().expect("text").contains(part), "{body:.60}: {told}");
    }
}

#[tokio::test]
async fn the_address_of_the_printed_example_orders_too() {
    let server = Server::start(&[]).await;
    let contractor = server.contractor(CONTRACTOR).await;
    server.example().await;
    let post = async |query: &str| {
        let request = contractor.request("POST", &format!("/status/index?{query}"));
        answer(request.send().await.expect("sent")).await
    };
    assert_eq!(post("urn=urn%3Anbn%3Ade%3Ahbz%3A6%3A1-31323").await, success());
    assert_eq!(orders(&server).await, 1);
    let (status, told) = post("urn=urn%3Anbn%3Ade%3Anothing").await;
    assert_eq!((status, &told["success"]), (200, &json!("false")));
    let (status, told) = post("").await;
    assert_eq!((status, &told["success"]), (200, &json!("false")));
    let bare = server.http.post(format!("{}{DNS}/status/index?urn={URN}", server.url)).send().await.expect("sent");
    assert_eq!(bare.status(), 401);
}
