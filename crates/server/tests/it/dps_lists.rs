//! The DPS contract: lists, pages, filters, and what one contract may see of another.

use dipper_core::Role;
use dipper_core::db::packages::PackageState;
use serde_json::{Value, json};

use super::support::{Server, code};

fn ids(page: &Value, list: &str, name: &str) -> Vec<String> {
    let entries = page[list].as_array().expect("a list");
    entries.iter().map(|entry| entry[name].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn disseminations_are_listed_newest_first_in_pages() {
    let server = Server::start(&[]).await;
    let caller = server.caller("harvester", &[("2d17", Role::Read), ("other", Role::Read)]).await;
    let mut ordered = Vec::new();
    let mut packages = Vec::new();
    for number in 0..7 {
        let contract = if number % 2 == 0 { "2d17" } else { "other" };
        let package = server.small_package(contract, &format!("object-{number}")).await;
        ordered.push(caller.order(&package.id).await);
        packages.push(package);
    }
    ordered.reverse();
    let (_, all) = caller.get("/disseminations").await;
    assert_eq!(ids(&all, "disseminations", "disseminationId"), ordered);
    assert!(all.get("nextCursor").is_none());

    let (mut found, mut path, mut sizes) = (Vec::new(), "/disseminations?limit=3".to_owned(), Vec::new());
    loop {
        let (status, page) = caller.get(&path).await;
        assert_eq!(status, 200, "{page}");
        let page_ids = ids(&page, "disseminations", "disseminationId");
        sizes.push(page_ids.len());
        found.extend(page_ids);
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/disseminations?limit=3&cursor={cursor}");
    }
    assert_eq!((found, sizes), (ordered.clone(), vec![3, 3, 1]));

    let count = async |query: &str| {
        let (status, page) = caller.get(&format!("/disseminations?{query}")).await;
        assert_eq!(status, 200, "{page}");
        ids(&page, "disseminations", "disseminationId").len()
    };
    assert_eq!(count("contractId=2d17").await, 4);
    assert_eq!(count("contractId=unknown").await, 0);
    assert_eq!(count(&format!("archiveId={}", packages[0].id)).await, 1);
    assert_eq!(count("status=RECEIVED").await, 7);
    assert_eq!(count("status=DISSEMINATED").await, 0);
    assert_eq!(caller.delete(&format!("/disseminations/{}", ordered[0])).await.0, 200);
    assert_eq!(count("status=REJECTED").await, 1);
    assert_eq!(count("status=REJECTED,RECEIVED").await, 7);
    assert_eq!(count("status=RECEIVED&contractId=other&limit=2").await, 2);
    assert_eq!(count("limit=1000&unknown=1").await, 7);
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let server = Server::start(&[]).await;
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    for (query, named) in [
        ("limit=0", "`limit`"),
        ("limit=1001", "`limit`"),
        ("limit=ten", "`limit`"),
        ("limit=-1", "`limit`"),
        ("limit=1&limit=2", "`limit`"),
        ("cursor=abc", "`cursor`"),
        ("cursor=%00", "`cursor`"),
    ] {
        for list in ["disseminations", "archives"] {
            let (status, body) = caller.get(&format!("/{list}?{query}")).await;
            assert_eq!((status, code(&body)), (400, "BAD_REQUEST"), "{list} {query}");
            assert!(body["error"]["message"].as_str().expect("text").contains(named), "{body}");
        }
    }
    let (status, body) = caller.get("/disseminations?status=DONE").await;
    assert_eq!(status, 400);
    assert!(body["error"]["message"].as_str().expect("text").contains("`status`"), "{body}");
}

#[tokio::test]
async fn archives_are_listed_and_found_by_name() {
    let server = Server::start(&[]).await;
    let caller = server.caller("harvester", &[("2d17", Role::Read), ("third", Role::Write)]).await;
    let mut stored = Vec::new();
    for name in ["one", "two", "blå/bær"] {
        stored.push(server.small_package("2d17", name).await.id);
    }
    server.small_package("other", "one").await;
    server.small_package("third", "one").await;
    let by_name = stored.clone();
    stored.sort();
    let (_, first) = caller.get("/archives?limit=2").await;
    let (_, second) =
        caller.get(&format!("/archives?limit=2&cursor={}", first["nextCursor"].as_str().expect("more"))).await;
    let mut found = ids(&first, "archives", "archiveId");
    found.extend(ids(&second, "archives", "archiveId"));
    assert_eq!(found, stored);
    assert!(second.get("nextCursor").is_none());

    let (_, named) = caller.get("/archives?objectId=bl%C3%A5/b%C3%A6r").await;
    assert_eq!(ids(&named, "archives", "archiveId"), [by_name[2].clone()]);
    server.package_state(&by_name[0], PackageState::Damaged, "a bit flipped").await;
    let (status, one) = caller.get(&format!("/archives/{}", by_name[0])).await;
    assert_eq!(status, 200);
    let expected = [
        ("contractId", json!("2d17")),
        ("objectId", json!("one")),
        ("status", json!("DAMAGED")),
        ("sumSizeInBytes", json!(16)),
        ("fileCount", json!(3)),
        ("version", json!(1)),
    ];
    for (name, value) in expected {
        assert_eq!(one[name], value, "{name}");
    }
}

/// What a client may not see looks exactly like what does not exist.
#[tokio::test]
async fn other_peoples_contracts_look_like_nothing() {
    let server = Server::start(&[]).await;
    let package = server.small_package("2d17", "one").await;
    let owner = server.caller("owner", &[("2d17", Role::Read)]).await;
    let stranger = server.caller("stranger", &[("other", Role::Read), ("other", Role::Write)]).await;
    let id = owner.order(&package.id).await;
    server.work().await;

    let unknown = "0000000000000000000000";
    let same = |body: &Value, id: &str| body.to_string().replace(id, "ID");
    for (method, suffix) in [("GET", ""), ("DELETE", ""), ("POST", "/download-links")] {
        let ask = async |id: &str| {
            let path = format!("/disseminations/{id}{suffix}");
            let answer = stranger.ask(method.parse().expect("a method"), &path, None).await;
            (answer.status().as_u16(), same(&answer.json().await.expect("JSON"), id))
        };
        let (theirs, none) = (ask(&id).await, ask(unknown).await);
        assert_eq!(theirs, none, "{method} {suffix}");
        assert_eq!(theirs.0, 404);
    }
    let theirs = stranger.get(&format!("/archives/{}", package.id)).await;
    let none = stranger.get("/archives/0123456789abcdef01234567").await;
    assert_eq!(theirs.0, 404);
    assert_eq!(same(&theirs.1, &package.id), same(&none.1, "0123456789abcdef01234567"));
    for list in ["/disseminations", "/disseminations?contractId=2d17", "/archives", "/archives?contractId=2d17"] {
        let (status, page) = stranger.get(list).await;
        let entries = page["disseminations"].as_array().or(page["archives"].as_array()).expect("a list");
        assert_eq!((status, entries.len()), (200, 0), "{list}");
    }
    assert_eq!(owner.dissemination(&id).await["status"], "DISSEMINATED");
    for strange in ["%00", "%ff", "a%2fb", "..", &"x".repeat(3000)] {
        let (status, body) = owner.get(&format!("/disseminations/{strange}")).await;
        assert!(status == 404 || status == 400, "{strange}: {status} {body}");
    }
}
