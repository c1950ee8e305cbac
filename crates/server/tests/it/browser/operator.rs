//! What an operator does in the console.

use dipper_archive::digest::Algorithm;
use dipper_core::Role;
use dipper_core::deletion::{self, Agent, DeletionCommand, DeletionEntry};
use dipper_core::verify::{self, VerifyCommand};
use serde_json::json;

use super::drive;
use crate::packages::Stored;
use crate::support::{Caller, Server};

/// As many of everything as there are rounds: each steers its own.
const ROUNDS: usize = 9;

/// What the scan in a package is, as long as it is right.
const RIGHT: &[u8] = b"the content";

impl Server {
    /// A package that is ordered, and damaged before the order is worked on; with the order.
    async fn broken(&self, reader: &Caller<'_>, object_id: &str) -> (Stored, String) {
        let package = self.package("2d17", object_id, &[("scan.tif", RIGHT)]).await;
        let order = reader.order(&package.id).await;
        package.flip("scan.tif", 3);
        (package, order)
    }

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
    let (mut failed, mut mended) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        failed.push(server.broken(&reader, &format!("broken-{round}")).await);
        mended.push(server.broken(&reader, &format!("mended-{round}")).await);
    }
    server.work_twice().await;
    for (package, order) in failed.iter().chain(&mended) {
        assert_eq!(reader.dissemination(order).await["status"], "FAILED", "{}", package.id);
    }
    for (package, _) in &mended {
        std::fs::write(package.content.join("scan.tif"), RIGHT).expect("written");
        let command = VerifyCommand { package_id: Some(package.id.clone()), structure_only: false };
        verify::verify(&server.installation, command, Box::new(|_| {})).await.expect("read");
    }
    let (mut orders, mut delivered) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let name = format!("letters-{round}");
        let package = server.package("2d17", &name, &[("a.txt", b"alpha"), ("b.txt", b"beta")]).await;
        delivered.push(reader.order(&package.id).await);
    }
    server.work().await;
    let (mut deletions, mut unwanted) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let package = server.package("2d17", &format!("photos-{round}"), &[("a.tif", b"alpha")]).await;
        orders.push(reader.order(&package.id).await);
        for (list, name) in [(&mut deletions, "diary"), (&mut unwanted, "ledger")] {
            let name = format!("{name}-{round}");
            server.package("2d17", &name, &[("a.txt", b"alpha")]).await;
            list.push(server.deletion(&name).await);
        }
    }
    let secret = server.client("olga", &[("2d17", Role::Read), ("2d17", Role::Operator)]).await;
    let facts = json!({
        "client": { "id": "olga", "secret": secret.reveal() },
        "orders": orders,
        "delivered": delivered,
        "deletions": deletions,
        "unwanted": unwanted,
        "failed": failed.iter().map(|(_, order)| order).collect::<Vec<_>>(),
        "mended": mended.iter().map(|(_, order)| order).collect::<Vec<_>>(),
    });
    drive(&server, "operator", facts).await;
}
