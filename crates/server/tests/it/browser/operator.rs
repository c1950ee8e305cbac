//! What an operator does in the console.

use dipper_archive::digest::Algorithm;
use dipper_core::Role;
use dipper_core::deletion::{self, Agent, DeletionCommand, DeletionEntry};
use serde_json::json;

use super::drive;
use crate::support::Server;

/// As many of everything as there are rounds: each steers its own.
const ROUNDS: usize = 6;

impl Server {
    /// Has a depositor ask for the deletion of a package; the order.
    async fn deletion(&self, object_id: &str) -> String {
        let command = DeletionCommand {
            contract_id: "2d17".to_owned(),
            dialect: deletion::OPERATOR,
            checksum: Algorithm::Md5,
            reason: Some("asked for by its owner".to_owned()),
            entries: vec![DeletionEntry { filegroup: object_id.to_owned(), ..DeletionEntry::default() }],
            request: None,
        };
        let agent = Agent::client("depositor", false);
        deletion::request::request(&self.installation, &agent, command).await.expect("ordered").id
    }
}

#[tokio::test]
async fn an_operator_sees_what_is_stuck_and_steers_it() {
    let server = Server::start(&[("deletion.policy", "approval")]).await;
    let reader = server.caller("reader", &[("2d17", Role::Read)]).await;
    let broken = server.package("2d17", "broken", &[("scan.tif", b"the content")]).await;
    let failed = reader.order(&broken.id).await;
    std::fs::write(broken.content.join("scan.tif"), b"the contend").expect("written");
    while reader.dissemination(&failed).await["status"] != "FAILED" {
        server.work_twice().await;
    }
    let (mut orders, mut delivered, mut deletions) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let name = format!("letters-{round}");
        let package = server.package("2d17", &name, &[("a.txt", b"alpha"), ("b.txt", b"beta")]).await;
        delivered.push(reader.order(&package.id).await);
    }
    server.work().await;
    for round in 0..ROUNDS {
        let package = server.package("2d17", &format!("photos-{round}"), &[("a.tif", b"alpha")]).await;
        orders.push(reader.order(&package.id).await);
        let name = format!("diary-{round}");
        server.package("2d17", &name, &[("a.txt", b"alpha")]).await;
        deletions.push(server.deletion(&name).await);
    }
    let secret = server.client("olga", &[("2d17", Role::Read), ("2d17", Role::Operator)]).await;
    let facts = json!({
        "client": { "id": "olga", "secret": secret.reveal() },
        "orders": orders,
        "delivered": delivered,
        "deletions": deletions,
    });
    drive(&server, "operator", facts).await;
}
