//! The outgoing directory over https: what lies there, fetched whole, in parts and by nobody else.

use std::time::Duration;

use dipper_archive::digest::Algorithm;
use dipper_core::Role;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::cli_support::noise;
use super::dns_support::{CONTRACTOR, Contractor, URN};
use super::packages::hex;
use super::support::{PATIENCE, Server, answer, header};

/// A contractor whose example object was delivered; the name of the file.
async fn delivered(server: &Server) -> (Contractor<'_>, String) {
    let contractor = server.contractor(CONTRACTOR).await;
    let content = noise(3_000_000);
    let object = server.hand_in(CONTRACTOR, "one", Some(URN), "one.zip", ("content.bin", &content)).await;
    retrieve(&contractor).await;
    (contractor, format!("{}.tar", object.identifier))
}

async fn retrieve(contractor: &Contractor<'_>) {
    assert_eq!(contractor.retrieve(&json!({ "urn": URN })).await, (200, json!({ "success": "true" })));
    contractor.server.work().await;
    let entries = contractor.entries(&format!("urn={URN}")).await;
    assert_eq!(entries.len(), 1, "nothing is under way any more: {entries:?}");
}

async fn listed(contractor: &Contractor<'_>) -> Vec<Value> {
    let (status, body) = answer(contractor.ask("/outgoing/").await).await;
    assert_eq!(status, 200, "{body}");
    body["files"].as_array().expect("files").clone()
}

async fn get(contractor: &Contractor<'_>, name: &str, headers: &[(&str, &str)]) -> Response {
    let request = contractor.request("GET", &format!("/outgoing/{name}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("sent")
}

/// Waits until it is noted that a file was fetched.
async fn fetched(contractor: &Contractor<'_>) -> Value {
    let noted = async {
        loop {
            let file = listed(contractor).await.pop().expect("a file");
            if file["fetched"].is_string() {
                return file;
            }
        }
    };
    tokio::time::timeout(PATIENCE, noted).await.expect("it is noted")
}

#[tokio::test]
async fn what_was_delivered_is_listed_and_fetched() {
    let server = Server::start(&[]).await;
    let contractor = server.contractor("other").await;
    assert!(listed(&contractor).await.is_empty());
    let (contractor, name) = delivered(&server).await;
    let file = listed(&contractor).await.pop().expect("a file");
    assert_eq!((&file["name"], &file["contractor"]), (&json!(name), &json!(CONTRACTOR)));
    assert!(file.get("fetched").is_none() && file["delivered"].is_string(), "{file}");
    let head = contractor.request("HEAD", &format!("/outgoing/{name}")).send().await.expect("sent");
    assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, file["sizeBytes"].to_string()));
    assert!(listed(&contractor).await[0].get("fetched").is_none(), "asking is not fetching");

    let whole = get(&contractor, &name, &[]).await;
    assert_eq!(whole.status(), 200);
    assert_eq!(header(&whole, "content-type"), "application/x-tar");
    assert!(header(&whole, "content-disposition").contains(&name));
    let etag = header(&whole, "etag");
    let bytes = whole.bytes().await.expect("all of it");
    assert_eq!(json!(bytes.len()), file["sizeBytes"]);
    assert_eq!(file["md5"], hex(Algorithm::Md5, &bytes));
    let noted = fetched(&contractor).await;
    assert_ne!(noted["expires"], file["expires"], "it is removed sooner now");
    assert_eq!(get(&contractor, &name, &[("if-none-match", &etag)]).await.status(), 304);

    // The same again later is another file, and was not fetched.
    server.clock.advance(Duration::from_secs(60));
    retrieve(&contractor).await;
    assert!(listed(&contractor).await[0].get("fetched").is_none());
    assert_eq!(get(&contractor, &name, &[("if-match", &etag)]).await.status(), 412);
}

#[tokio::test]
async fn a_download_that_broke_off_goes_on_and_counts_once_it_is_whole() {
    let server = Server::start(&[]).await;
    let (contractor, name) = delivered(&server).await;
    let whole = get(&contractor, &name, &[("range", "bytes=0-999999")]).await;
    assert_eq!(whole.status(), 206);
    let etag = header(&whole, "etag");
    let mut bytes = whole.bytes().await.expect("a part").to_vec();
    let file = listed(&contractor).await.pop().expect("a file");
    let size = file["sizeBytes"].as_u64().expect("a number");
    assert!(file.get("fetched").is_none());
    // From another place, and out of turn.
    let last = get(&contractor, &name, &[("range", "bytes=2000000-"), ("if-range", &etag)]).await;
    assert_eq!(
        (last.status(), header(&last, "content-range")),
        (StatusCode::PARTIAL_CONTENT, format!("bytes 2000000-{}/{size}", size - 1),)
    );
    let last = last.bytes().await.expect("a part");
    let again = get(&contractor, &name, &[("range", "bytes=1000000-1999999"), ("if-range", &etag)]).await;
    bytes.extend_from_slice(&again.bytes().await.expect("a part"));
    bytes.extend_from_slice(&last);
    assert_eq!(file["md5"], hex(Algorithm::Md5, &bytes));
    fetched(&contractor).await;
    let outside = get(&contractor, &name, &[("range", &format!("bytes={size}-"))]).await;
    assert_eq!(
        (outside.status(), header(&outside, "content-range")),
        (StatusCode::RANGE_NOT_SATISFIABLE, format!("bytes */{size}"),)
    );
    let stale = get(&contractor, &name, &[("range", "bytes=0-0"), ("if-range", "\"old\"")]).await;
    assert_eq!(stale.status(), 200, "another file than the client's is sent whole");
}

#[tokio::test]
async fn nobody_else_sees_it_and_no_name_leads_elsewhere() {
    let server = Server::start(&[]).await;
    let (contractor, name) = delivered(&server).await;
    let other = server.contractor("other").await;
    assert!(listed(&other).await.is_empty());
    assert_eq!(get(&other, &name, &[]).await.status(), 404);
    for wrong in ["nothing.tar", "..", "%2e%2e%2f%2e%2e%2fdipper.db", "..%2fincoming%2fa", "%00", "a%2fb"] {
        assert_eq!(get(&contractor, wrong, &[]).await.status(), 404, "{wrong}");
    }
    let bare = server.http.get(format!("{}/daweb3/outgoing/{name}", server.url)).send().await.expect("sent");
    assert_eq!(bare.status(), 401);

    let secret = server.client("both", &[(CONTRACTOR, Role::Read), ("other", Role::Read)]).await;
    let both = Contractor { server: &server, name: "both".to_owned(), secret };
    assert_eq!((listed(&both).await.len(), get(&both, &name, &[]).await.status().as_u16()), (1, 200));
}

#[tokio::test]
async fn a_file_that_is_gone_is_not_there() {
    let server = Server::start(&[]).await;
    let (contractor, name) = delivered(&server).await;
    let outgoing = server.installation.areas.ensure(CONTRACTOR).expect("an area").outgoing();
    dipper_archive::publish::remove_file(&outgoing.join(&name)).expect("removed");
    let (status, body) = answer(get(&contractor, &name, &[]).await).await;
    assert_eq!((status, body["status"].as_str()), (404, Some("not found")), "{body}");
}
