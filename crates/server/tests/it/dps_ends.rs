//! The DPS contract: how disseminations end other than by being fetched.

use std::time::Duration;

use dipper_core::Role;
use dipper_core::db::packages::PackageState;
use serde_json::json;

use super::support::{Server, code};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn what_is_not_delivered_yet_can_be_cancelled() {
    let server = Server::start(&[]).await;
    let package = server.small_package("2d17", "one").await;
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let id = caller.order(&package.id).await;
    let path = format!("/disseminations/{id}");
    let (status, body) = caller.delete(&path).await;
    assert_eq!((status, &body["status"], &body["error"]["code"]), (200, &json!("REJECTED"), &json!("CANCELLED")));
    let (status, again) = caller.delete(&path).await;
    assert_eq!((status, &again), (200, &body), "once more changes nothing");
    server.work().await;
    assert_eq!(caller.dissemination(&id).await["status"], "REJECTED");
    let (status, body) = caller.post(&format!("{path}/download-links"), &json!({})).await;
    assert_eq!((status, code(&body)), (409, "DISSEMINATION_NOT_DELIVERED"));
    // The way is free for a new order.
    caller.order(&package.id).await;
}

#[tokio::test]
async fn what_is_delivered_can_be_given_back() {
    let server = Server::start(&[]).await;
    let package = server.small_package("2d17", "one").await;
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let reader = server.caller("reader", &[("2d17", Role::Read)]).await;
    let writer = server.caller("writer", &[("2d17", Role::Read), ("2d17", Role::Write)]).await;
    let id = caller.order(&package.id).await;
    server.work().await;
    let link = caller.link(&id).await;
    assert_eq!(server.http.get(&link).send().await.expect("sent").status(), 200);
    let path = format!("/disseminations/{id}");
    let (status, body) = reader.delete(&path).await;
    assert_eq!((status, code(&body)), (403, "ACCESS_DENIED"));
    let (status, body) = writer.delete(&path).await;
    assert_eq!((status, &body["status"]), (200, &json!("DISSEMINATED")));
    assert!(body.get("files").is_none() && body.get("error").is_none(), "{body}");
    let gone = server.http.get(&link).send().await.expect("sent");
    assert_eq!(gone.status(), 410);
    assert_eq!(code(&gone.json().await.expect("JSON")), "DELIVERY_NOT_KEPT");
    let (status, body) = caller.post(&format!("{path}/download-links"), &json!({})).await;
    assert_eq!((status, code(&body)), (410, "DELIVERY_NOT_KEPT"));
}

#[tokio::test]
async fn links_expire_and_are_made_anew_as_long_as_the_delivery_is_kept() {
    let server = Server::start(&[("delivery.link_hours", "1"), ("delivery.keep_hours", "3")]).await;
    let package = server.small_package("2d17", "one").await;
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let id = caller.order(&package.id).await;
    let links = format!("/disseminations/{id}/download-links");
    let (status, body) = caller.post(&links, &json!({})).await;
    assert_eq!((status, code(&body)), (409, "DISSEMINATION_NOT_DELIVERED"));
    server.work().await;
    let fetch = async |link: &str| server.http.get(link).send().await.expect("sent");
    let first = caller.link(&id).await;
    assert_eq!(fetch(&first).await.status(), 200);
    server.clock.advance(HOUR);
    let expired = fetch(&first).await;
    assert_eq!(expired.status(), 403);
    assert_eq!(code(&expired.json().await.expect("JSON")), "LINK_EXPIRED");

    let (status, renewed) = caller.post(&links, &json!({})).await;
    assert_eq!((status, &renewed["status"]), (200, &json!("DISSEMINATED")));
    let second = renewed["files"][0]["downloadURL"].as_str().expect("a link").to_owned();
    assert_eq!(caller.link(&id).await, second);
    assert_eq!(fetch(&second).await.status(), 200);
    assert_eq!(fetch(&first).await.status(), 403);
    assert_eq!(server.work().await, 0, "nothing is prepared again");

    // A link never outlives the content behind it.
    server.clock.advance(HOUR + HOUR / 2);
    let (_, renewed) = caller.post(&links, &json!({})).await;
    let third = renewed["files"][0]["downloadURL"].as_str().expect("a link").to_owned();
    server.clock.advance(HOUR / 2);
    let gone = fetch(&third).await.status().as_u16();
    assert!(gone == 403 || gone == 410, "{gone}");
    let (status, body) = caller.post(&links, &json!({})).await;
    assert_eq!((status, code(&body)), (410, "DELIVERY_NOT_KEPT"));
}

#[tokio::test]
async fn a_flipped_bit_fails_the_dissemination_and_marks_the_package() {
    let server = Server::start(&[]).await;
    let package = server.small_package("2d17", "one").await;
    package.flip("representations/r1/b.txt", 2);
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let id = caller.order(&package.id).await;
    // Damage is looked at twice before it is believed.
    server.work_twice().await;
    let failed = caller.dissemination(&id).await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("FAILED"), &json!("FIXITY_CHECK_FAILED")));
    assert!(failed["error"]["message"].as_str().expect("a message").contains("b.txt"), "{failed}");
    assert!(failed.get("files").is_none() && failed.get("dateDelivered").is_none());
    let (status, body) = caller.post("/disseminations", &json!({ "archiveId": package.id })).await;
    assert_eq!((status, code(&body)), (422, "ARCHIVE_NOT_PRESERVED"));
    let (_, archive) = caller.get(&format!("/archives/{}", package.id)).await;
    assert_eq!(archive["status"], "DAMAGED");
}

#[tokio::test]
async fn a_missing_file_fails_it_too() {
    let server = Server::start(&[]).await;
    let package = server.small_package("2d17", "one").await;
    dipper_archive::publish::remove_file(&package.content.join("METS.xml")).expect("removed");
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let id = caller.order(&package.id).await;
    // Damage is looked at twice before it is believed.
    server.work_twice().await;
    assert_eq!(caller.dissemination(&id).await["status"], "FAILED");
}

#[tokio::test]
async fn what_is_no_longer_allowed_when_its_turn_comes_is_rejected() {
    let server = Server::start(&[]).await;
    let (one, two) = (server.small_package("2d17", "one").await, server.small_package("2d17", "two").await);
    let revoked = server.caller("revoked", &[("2d17", Role::Read)]).await;
    let other = server.caller("other", &[("2d17", Role::Read)]).await;
    let (first, second) = (revoked.order(&one.id).await, other.order(&two.id).await);
    assert!(server.administration().client_revoke("revoked", "2d17", Role::Read).await.expect("revoked"));
    server.package_state(&two.id, PackageState::Deleted, "on request").await;
    server.work().await;
    for (caller, id, code) in [(&other, &first, "ACCESS_DENIED"), (&other, &second, "ARCHIVE_NOT_PRESERVED")] {
        let body = caller.dissemination(id).await;
        assert_eq!((&body["status"], &body["error"]["code"]), (&json!("REJECTED"), &json!(code)));
    }
}
