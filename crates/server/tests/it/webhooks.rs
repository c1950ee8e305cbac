//! Notices to partners: what they say, how they are signed, and what becomes of them when the partner misbehaves.

use std::time::Duration;

use dipper_core::Role;
use dipper_core::db::notices;
use dipper_core::db::webhooks;
use dipper_core::secret::{self, Secret};
use serde_json::json;

use super::support::{Caller, PATIENCE, Server, header};
use crate::receiver::{Manner, Receiver};

const ALLOW: (&str, &str) = ("egress.allow", "127.0.0.1");
/// Longer than the first waits between attempts, and well within what a receiver takes for a fresh time stamp.
const WAIT: Duration = Duration::from_secs(30);

impl Server {
    /// Waits until a notice has this state.
    async fn notice_is(&self, webhook_id: &str, state: &str) -> notices::Notice {
        let condition = async {
            loop {
                let mut found = notices::list(self.database(), webhook_id, None, 1).await.expect("listed");
                if let Some(notice) = found.pop().filter(|notice| notice.state == state) {
                    break notice;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, condition).await.unwrap_or_else(|_| panic!("no notice is {state}"))
    }

    /// Waits until so many attempts of the newest notice are on record.
    async fn attempts(&self, webhook_id: &str, count: usize) -> Vec<notices::Attempt> {
        let condition = async {
            loop {
                if let Some(notice) = notices::list(self.database(), webhook_id, None, 1).await.expect("listed").pop() {
                    let found = notices::attempts_of(self.database(), webhook_id, &[&notice.id]).await.expect("listed");
                    if found.len() >= count {
                        break found.into_iter().map(|(_, attempt)| attempt).collect();
                    }
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, condition).await.expect("the attempts are recorded")
    }

    fn later(&self) {
        self.clock.advance(WAIT);
        self.installation.wake_notifier();
    }
}

/// A server at work, with a client that orders one package and a webhook for it.
async fn ordered<'a>(server: &'a Server, receiver: &Receiver) -> (Caller<'a>, String, String, Secret) {
    let package = server.small_package("2d17", "one").await;
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let added = server.administration().webhook_add("harvester", &receiver.url).await.expect("added");
    let (webhook_id, secret) = (added.id, added.secret);
    let id = caller.order(&package.id).await;
    (caller, id, webhook_id, secret)
}

#[tokio::test]
async fn a_delivery_is_told_with_links_that_work() {
    let server = Server::start_working(&[ALLOW]).await;
    let mut receiver = Receiver::start(&[]).await;
    let (caller, id, webhook_id, secret) = ordered(&server, &receiver).await;
    let message = receiver.next().await;
    assert!(message.is_signed_with(secret.reveal()));
    let another = secret::new_webhook_secret().expect("random");
    assert!(!message.is_signed_with(another.reveal()));
    let body = message.json();
    let dissemination = caller.dissemination(&id).await;
    assert_eq!(body["type"], "dissemination.delivered");
    assert!(body["timestamp"].as_str().expect("a time").ends_with("+00:00"));
    for name in ["archiveId", "disseminationId", "objectId", "clientId", "contractId", "sumSizeInBytes", "files"] {
        assert_eq!(body["data"][name], dissemination[name], "{name}");
    }
    assert!(body["data"]["sumSizeInBytes"].is_u64());
    assert_eq!(body["data"].as_object().map(serde_json::Map::len), Some(7));
    let file = &body["data"]["files"][0];
    let names: Vec<_> = file.as_object().expect("a file").keys().map(String::as_str).collect();
    let expected = ["checksum", "checksumAlgorithm", "downloadURL", "expirationDate", "filename", "filesize"];
    assert!(names.len() == 6 && expected.iter().all(|name| names.contains(name)), "{names:?}");
    let fetched = server.http.get(file["downloadURL"].as_str().expect("a link")).send().await.expect("sent");
    assert_eq!((fetched.status().as_u16(), header(&fetched, "content-length")), (200, file["filesize"].to_string()));
    let notice = server.notice_is(&webhook_id, "accepted").await;
    assert_eq!((notice.id.as_str(), notice.attempts), (message.id(), 1));
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn failures_and_withdrawals_are_told_with_the_reason() {
    let server = Server::start(&[ALLOW]).await;
    let mut receiver = Receiver::start(&[]).await;
    let package = server.small_package("2d17", "one").await;
    package.flip("METS.xml", 0);
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let secret = server.administration().webhook_add("harvester", &receiver.url).await.expect("added").secret;
    let id = caller.order(&package.id).await;
    drop(caller);
    server.work_twice().await;
    let data = server.stop().await;
    // The notice was owed before the stop, and is sent by whoever comes next.
    let server = Server::start_in(data, &[ALLOW], true).await;
    server.later();
    let message = receiver.next().await;
    assert!(message.is_signed_with(secret.reveal()));
    let body = message.json();
    assert_eq!((&body["type"], &body["data"]["disseminationId"]), (&json!("dissemination.failed"), &json!(id)));
    assert!(body["data"]["reason"].as_str().expect("a reason").contains("METS.xml"), "{body}");
    assert!(body["data"].get("files").is_none());
}

#[tokio::test]
async fn a_rejection_is_told() {
    let server = Server::start(&[ALLOW]).await;
    let mut receiver = Receiver::start(&[]).await;
    let (caller, id, _, _) = ordered(&server, &receiver).await;
    assert_eq!(caller.delete(&format!("/disseminations/{id}")).await.0, 200);
    drop(caller);
    let data = server.stop().await;
    // The notice was owed before the stop, and is sent by whoever comes next.
    let _server = Server::start_in(data, &[ALLOW], true).await;
    let body = receiver.next().await.json();
    assert_eq!((&body["type"], &body["data"]["disseminationId"]), (&json!("dissemination.rejected"), &json!(id)));
    assert!(body["data"]["reason"].is_string());
}

#[tokio::test]
async fn what_is_not_accepted_is_sent_again_under_the_same_id() {
    let changes = [ALLOW, ("webhook.timeout_seconds", "1")];
    let server = Server::start_working(&changes).await;
    let manners = [Manner::Answer(500), Manner::Redirect, Manner::Hang, Manner::Answer(404)];
    let mut receiver = Receiver::start(&manners).await;
    let (_, _, webhook_id, secret) = ordered(&server, &receiver).await;
    let mut ids = Vec::new();
    let mut bodies = Vec::new();
    for attempt in 1..=5 {
        let message = receiver.next().await;
        assert!(message.is_signed_with(secret.reveal()), "attempt {attempt}");
        ids.push(message.id().to_owned());
        bodies.push(message.body.clone());
        server.attempts(&webhook_id, attempt).await;
        if attempt < 5 {
            server.clock.advance(WAIT * attempt as u32 / 2);
            server.later();
        }
    }
    ids.dedup();
    bodies.dedup();
    assert_eq!((ids.len(), bodies.len()), (1, 1), "the same message every time");
    let attempts = server.attempts(&webhook_id, 5).await;
    let statuses: Vec<_> = attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(500), Some(302), None, Some(404), Some(200)]);
    assert!(attempts[2].failure.is_some() && attempts[4].failure.is_none());
    assert_eq!(server.notice_is(&webhook_id, "accepted").await.attempts, 5);
    assert!(receiver.is_quiet(), "no redirect was followed");
}

#[tokio::test]
async fn a_receiver_that_is_gone_gets_nothing_more() {
    let server = Server::start_working(&[ALLOW]).await;
    let mut receiver = Receiver::start(&[Manner::Answer(410)]).await;
    let (caller, _, webhook_id, _) = ordered(&server, &receiver).await;
    receiver.next().await;
    server.notice_is(&webhook_id, "abandoned").await;
    let webhook = webhooks::get(server.database(), &webhook_id).await.expect("found").expect("a webhook");
    assert!(webhook.disabled.is_some_and(|(_, reason)| reason.contains("410")));
    let package = server.small_package("2d17", "two").await;
    let (_, _) = (caller.order(&package.id).await, server.later());
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn what_nobody_accepts_is_given_up_and_can_be_replayed() {
    let changes = [ALLOW, ("webhook.give_up_after_hours", "1")];
    let server = Server::start_working(&changes).await;
    let mut receiver = Receiver::start(&[Manner::Answer(503), Manner::Answer(503)]).await;
    let (_, _, webhook_id, secret) = ordered(&server, &receiver).await;
    let first = receiver.next().await;
    server.attempts(&webhook_id, 1).await;
    server.clock.advance(Duration::from_secs(3600));
    server.installation.wake_notifier();
    receiver.next().await;
    let given_up = server.notice_is(&webhook_id, "abandoned").await;
    let replayed = server.administration().notice_replay(&given_up.id, Some(&webhook_id)).await;
    assert_eq!(replayed.expect("replayed"), 1);
    let again = receiver.next().await;
    assert_eq!((again.id(), &again.body), (first.id(), &first.body));
    // An hour has passed for the server alone, so the time stamp is too new for the receiver's own check.
    assert!(!again.is_signed_with(secret.reveal()));
    server.notice_is(&webhook_id, "accepted").await;
}

#[tokio::test]
async fn both_secrets_sign_while_one_is_replaced() {
    let server = Server::start_working(&[ALLOW]).await;
    let mut receiver = Receiver::start(&[]).await;
    let (caller, _, webhook_id, old) = ordered(&server, &receiver).await;
    receiver.next().await;
    let new = server.administration().webhook_secret_rotate(&webhook_id, WAIT).await.expect("rotated");
    for (name, both) in [("two", true), ("three", false)] {
        let package = server.small_package("2d17", name).await;
        caller.order(&package.id).await;
        let message = receiver.next().await;
        let signatures = message.headers["webhook-signature"].to_str().expect("text").split(' ').count();
        assert_eq!((message.is_signed_with(new.reveal()), message.is_signed_with(old.reveal())), (true, both));
        assert_eq!(signatures, if both { 2 } else { 1 });
        server.clock.advance(WAIT);
    }
}

#[tokio::test]
async fn private_addresses_are_not_called_unless_they_are_allowed() {
    let server = Server::start(&[ALLOW]).await;
    let mut receiver = Receiver::start(&[]).await;
    let (caller, _, webhook_id, _) = ordered(&server, &receiver).await;
    drop(caller);
    server.work().await;
    let data = server.stop().await;
    let server = Server::start_in(data, &[], true).await;
    server.later();
    let added = server.administration().webhook_add("harvester", &receiver.url).await.expect("added");
    assert!(added.warning.is_some());
    let refused = server.administration().webhook_add("harvester", "ftp://example.org/").await;
    assert!(refused.is_err());
    let attempts = server.attempts(&webhook_id, 1).await;
    assert!(attempts[0].status.is_none() && attempts[0].failure.is_some());
    assert!(receiver.is_quiet());
}
