//! What a depositor does in the console.

use dipper_core::Role;
use serde_json::json;

use super::drive;
use crate::support::Server;

/// As many packages as there are rounds: each orders one of its own.
const ROUNDS: usize = 9;

#[tokio::test]
async fn a_depositor_finds_orders_follows_and_fetches() {
    let server = Server::start(&[]).await;
    let text = b"alpha".repeat(20_000);
    let told = server.package("2d17", "told of", &[("a.txt", b"alpha")]).await.id;
    for round in 0..ROUNDS {
        let files: [(&str, &[u8]); 5] = [
            ("letters/1850/a.txt", &text),
            ("letters/1850/b.txt", b"beta"),
            ("letters/1851/c with a rather long name that has to be broken somewhere on a phone.txt", b"gamma"),
            ("photos/one & two.tif", b"image"),
            ("readme.txt", b"read me"),
        ];
        server.package("2d17", &format!("estate/Ibsen-{round}"), &files).await;
    }
    let secret = server.client("anna", &[("2d17", Role::Read)]).await;
    let administration = server.administration();
    administration.webhook_add("anna", "https://example.org/hook").await.expect("added");
    server.order_as("anna", "2d17", &told).await;
    server.work().await;
    administration.contract_quota_set("2d17", Some(50_000_000)).await.expect("set");
    drive(&server, "depositor", json!({ "client": { "id": "anna", "secret": secret.reveal() } })).await;
}
