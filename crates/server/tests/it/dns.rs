//! The DNS RESTful API: the status of objects, under all their names and in all their states.

use std::collections::BTreeSet;
use std::time::Duration;

use dipper_core::Role;
use dipper_core::db::ingests;
use dipper_core::db::packages::PackageState;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};

use super::dns_support::{CONTRACTOR, DNS, ORIG_NAME, URN};
use super::support::{Server, answer, header};

/// Percent-encoded as `encodeURIComponent` does it.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[tokio::test]
async fn an_object_is_described_as_in_the_description_of_the_service() {
    let server = Server::start(&[("identifiers.node", "8")]).await;
    let contractor = server.contractor(CONTRACTOR).await;
    let identifier = server.example().await.identifier;
    assert!(identifier.starts_with("8-"), "{identifier}");
    let answered = contractor.ask(&format!("/status/index?urn={}", encoded(URN))).await;
    assert_eq!(header(&answered, "content-type"), "application/json");
    let expected = format!(
        "{{\"result\":[{{\"type\":\"Object\",\"status\":\"archived\",\"urn\":\"{URN}\",\"contractor\":\"{CONTRACTOR}\",\
         \"origName\":\"{ORIG_NAME}\",\"identifier\":\"{identifier}\",\"packages\":[\"{ORIG_NAME}.zip\"],\
         \"statusInt\":100,\"statusLongDescription\":\"The object is archived.\"}}]}}"
    );
    assert_eq!(answered.text().await.expect("text"), expected);
}

#[tokio::test]
async fn every_name_finds_it_and_several_must_all_match() {
    let server = Server::start(&[]).await;
    let contractor = server.contractor(CONTRACTOR).await;
    let other = server.contractor("other").await;
    let name = "Ärger & Söhne = 100 % / ?#+\"";
    let first = server.hand_in(CONTRACTOR, name, Some("urn:nbn:de:x-1"), "erste Lieferung+1.zip", ("a", b"1")).await;
    let delta = server.hand_in(CONTRACTOR, name, None, "delta&2.tgz", ("a", b"2")).await;
    assert_eq!((first.version, delta.version, &first.package_id), (1, 2, &delta.package_id));
    server.hand_in("other", name, None, "erste Lieferung+1.zip", ("b", b"3")).await;

    let (identifier, urn, origin) = (encoded(&first.identifier), "urn%3Anbn%3Ade%3Ax-1", encoded(name));
    let containers = [encoded("erste Lieferung+1.zip"), encoded("delta&2.tgz")];
    let [container, second] = &containers;
    for query in [
        format!("urn={urn}"),
        "urn=URN:NBN:de:x-1".to_owned(),
        format!("identifier={identifier}"),
        format!("origName={origin}"),
        format!("containerName={container}"),
        format!("containerName={second}"),
        format!("urn={urn}&identifier={identifier}&origName={origin}&containerName={second}"),
        format!("urn={urn}&identifier=&unknown=1&listallobjects=1"),
    ] {
        let (status, body) = contractor.status(&query).await;
        assert_eq!(status, 200, "{query}: {body}");
        assert_eq!(body["result"].as_array().map(Vec::len), Some(1), "{query}: {body}");
        let found = &body["result"][0];
        assert_eq!((&found["origName"], &found["contractor"]), (&json!(name), &json!(CONTRACTOR)), "{query}");
        assert_eq!(found["packages"], json!(["erste Lieferung+1.zip", "delta&2.tgz"]), "oldest first");
    }
    let unknown = json!({ "status": "not found", "statusInt": 404 });
    for query in [
        "urn=urn:nbn:de:x-2".to_owned(),
        format!("identifier={identifier}0"),
        "origName=nothing".to_owned(),
        "containerName=nothing".to_owned(),
        format!("urn={urn}&containerName=nothing"),
        "urn=%00&origName=%00&containerName=%00&identifier=%00".to_owned(),
        "urn=%ff%fe".to_owned(),
        format!("origName={}", "x".repeat(5000)),
    ] {
        assert_eq!(contractor.status(&query).await, (404, unknown.clone()), "{query}");
    }
    let (status, body) = other.status(&format!("origName={origin}")).await;
    assert_eq!((status, body["result"][0]["urn"].as_str()), (200, Some("")), "its own, which has no urn");
    for query in [format!("urn={urn}"), format!("identifier={identifier}"), format!("containerName={second}")] {
        assert_eq!(other.status(&query).await, (404, unknown.clone()), "what is another's is not there: {query}");
    }
    // A client of both has to do with both.
    let both = server.client("both", &[(CONTRACTOR, Role::Read), ("other", Role::Read)]).await;
    let path = format!("{}{DNS}/status/index?containerName={container}", server.url);
    let found = server.http.get(path).basic_auth("both", Some(both.reveal())).send().await.expect("sent");
    let (_, body) = answer(found).await;
    assert_eq!(body["result"].as_array().map(Vec::len), Some(2), "{body}");
}

#[tokio::test]
async fn each_state_has_its_word_and_number() {
    let server = Server::start(&[]).await;
    let contractor = server.contractor(CONTRACTOR).await;
    let object = server.example().await;
    let entries = || contractor.entries("listallobjects=true");
    let entry = |kind: &str, status: &str, number| (kind.to_owned(), status.to_owned(), number);
    assert_eq!(entries().await, [entry("Object", "archived", 100)]);

    let ocfl_id = dipper_core::ids::ocfl_id(CONTRACTOR, ORIG_NAME);
    let now = server.clock.now();
    let lease_until = now.plus(Duration::from_secs(60));
    assert!(ingests::begin(server.database(), &ocfl_id, "a test", now, lease_until).await.expect("noted"));
    let expected =
        [entry("QueueEntry", "package in progress", 202), entry("Object", "Object is in transient state", 50)];
    assert_eq!(entries().await, expected, "a version is being added");
    server.clock.advance(Duration::from_secs(61));
    assert_eq!(entries().await, [entry("Object", "archived", 100)], "whoever added one has died");

    for state in [PackageState::Damaged, PackageState::Missing] {
        server.package_state(&object.package_id, state, "a.txt does not match its digest").await;
        assert_eq!(entries().await, [entry("Object", "archived - but check needed", 51)]);
        let (_, body) = contractor.status(&format!("origName={}", encoded(ORIG_NAME))).await;
        let described = body["result"][0]["statusLongDescription"].as_str().expect("text");
        assert!(described.contains("a.txt does not match"), "{described}");
    }
    server.package_state(&object.package_id, PackageState::Deleted, "on request").await;
    assert_eq!(contractor.status("listallobjects=true").await.0, 404);
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let server = Server::start(&[]).await;
    let contractor = server.contractor(CONTRACTOR).await;
    for (query, part) in [
        ("", "nothing is named"),
        ("urn=&identifier=", "nothing is named"),
        ("unknown=x", "nothing is named"),
        ("urn=a&urn=b", "`urn` is given more than once"),
        ("listallobjects=1&limit=0", "`limit` must be a whole number from 1 to 1000"),
        ("listallobjects=1&limit=x", "`limit` must be"),
        ("listallobjects=1&cursor=x", "`cursor` is not one that a list gave"),
    ] {
        let (status, body) = contractor.status(query).await;
        assert_eq!((status, &body["status"], &body["statusInt"]), (400, &json!("bad request"), &json!(400)), "{query}");
        assert!(body["msg"].as_str().expect("text").contains(part), "{query}: {body}");
    }
    for (method, path, status) in
        [("DELETE", "/status/index", 405), ("GET", "/status", 404), ("GET", "/automatedRetrieval/x", 404)]
    {
        let (found, body) = answer(contractor.request(method, path).send().await.expect("sent")).await;
        assert_eq!(found, status, "{method} {path}: {body}");
    }
    let off = Server::start(&[("dns.enabled", "false")]).await;
    assert_eq!(off.get(&format!("{DNS}/status/index?urn=x")).await.status(), 404);
}

#[tokio::test]
async fn who_asks_signs_in_with_name_and_secret() {
    let server = Server::start(&[]).await;
    let contractor = server.contractor(CONTRACTOR).await;
    server.example().await;
    let writer = server.client("writer", &[(CONTRACTOR, Role::Write)]).await;
    let path = format!("{}{DNS}/status/index?urn={URN}", server.url);
    let get = || server.http.get(&path);
    let token = server.token(CONTRACTOR, &contractor.secret).await;
    for (request, status, word) in [
        (get(), 401, "unauthorized"),
        (get().basic_auth(CONTRACTOR, Some("wrong")), 401, "unauthorized"),
        (get().basic_auth("nobody", Some("wrong")), 401, "unauthorized"),
        (get().basic_auth(CONTRACTOR, None::<&str>), 401, "unauthorized"),
        (get().header("authorization", "Basic %%%"), 401, "unauthorized"),
        (get().bearer_auth(&token), 401, "unauthorized"),
        (get().basic_auth("writer", Some(writer.reveal())), 403, "forbidden"),
        (get().basic_auth(CONTRACTOR, Some(contractor.secret.reveal())), 200, ""),
    ] {
        let answered = request.send().await.expect("sent");
        if status == 401 {
            assert_eq!(header(&answered, "www-authenticate"), "Basic realm=\"dipper\", charset=\"UTF-8\"");
        }
        let (found, body) = answer(answered).await;
        assert_eq!((found, body["status"].as_str().unwrap_or_default()), (status, word), "{body}");
    }
    let post = server.http.post(format!("{}{DNS}/automatedRetrieval/queueForRetrievalJSON", server.url));
    let (status, body) = answer(post.json(&json!({ "urn": URN })).send().await.expect("sent")).await;
    assert_eq!((status, &body["success"]), (401, &json!("false")));

    for _ in 0..5 {
        get().basic_auth(CONTRACTOR, Some("guess")).send().await.expect("sent");
    }
    let refused = get().basic_auth(CONTRACTOR, Some(contractor.secret.reveal())).send().await.expect("sent");
    assert_eq!(refused.status(), 429, "even the right secret has to wait");
    assert!(header(&refused, "retry-after").parse::<u64>().expect("seconds") >= 1);
    assert_eq!(refused.json::<Value>().await.expect("JSON")["status"], "too many requests");
}

#[tokio::test]
async fn a_poller_costs_one_hash() {
    let server = Server::start(&[]).await;
    let contractor = server.contractor(CONTRACTOR).await;
    server.example().await;
    // The server runs on the thread of the test, which is the one that is listened to.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    for _ in 0..30 {
        assert_eq!(contractor.status(&format!("urn={URN}")).await.0, 200);
    }
    let text = recorder.handle().render();
    assert!(text.contains("\ndipper_sign_in_hashes_total 1\n"), "{text}");
    assert!(text.contains("dipper_http_request_duration_seconds"), "{text}");
}

#[tokio::test]
async fn all_objects_are_listed_in_one_answer_or_page_by_page() {
    let server = Server::start(&[]).await;
    let contractor = server.contractor(CONTRACTOR).await;
    assert_eq!(contractor.status("listallobjects").await.0, 404, "there is none");
    // More than are read at a time, twice.
    let names: BTreeSet<String> = (0..1203).map(|number| format!("object {number}")).collect();
    for name in &names {
        server.listed_package(CONTRACTOR, name).await;
    }
    server.listed_package("other", "another's").await;

    let names_in = |body: &Value| -> Vec<String> {
        let entries = body["result"].as_array().expect("entries");
        entries.iter().map(|entry| entry["origName"].as_str().expect("a name").to_owned()).collect()
    };
    for query in ["listallobjects", "listallobjects=", "listallobjects=true", "listallobjects=0"] {
        let answered = contractor.ask(&format!("/status/index?{query}")).await;
        assert_eq!(header(&answered, "content-length"), "", "it is written while it is read");
        let (_, body) = answer(answered).await;
        let listed = names_in(&body);
        assert_eq!(listed.len(), names.len(), "{query}");
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), names);
        assert!(body.get("nextCursor").is_none());
    }
    let (mut listed, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let (status, body) = contractor.status(&format!("listallobjects=1&limit=400{cursor}")).await;
        assert_eq!(status, 200, "{body}");
        listed.extend(names_in(&body));
        pages += 1;
        let Some(next) = body["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((pages, listed.len()), (4, names.len()));
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), names);
    let (status, body) = contractor.status("listallobjects=1&limit=1&origName=object%207").await;
    assert_eq!((status, names_in(&body)), (200, vec!["object 7".to_owned()]), "one object is one page");
    assert!(body.get("nextCursor").is_none(), "{body}");
}
