//! Signing in to the console, with a client's secret and at an issuer of people's own.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use dipper_core::Role;
use serde_json::{Value, json};

use super::drive;
use crate::peers;
use crate::support::Server;

/// Somebody else's OpenID Connect provider.
struct Provider {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Provider {
    /// One that has its address, and waits for what it is to know.
    fn start() -> Provider {
        let programs = peers::install(&["browser"]);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser/issuer.mjs");
        let mut command = Command::new(programs.join("node"));
        command.arg(script).arg(programs.join("../modules"));
        // What it says of itself is that it is none for earnest use.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let address = lines.next().expect("a line").expect("an address");
        Provider { child, lines, address }
    }

    fn tell(&mut self, task: &Value) {
        let input = self.child.stdin.as_mut().expect("its input");
        writeln!(input, "{task}").expect("taken");
        assert_eq!(self.lines.next().expect("a line").expect("text"), "ready");
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_client_signs_in_and_out() {
    let server = Server::start(&[]).await;
    let secret = server.client("reader", &[("2d17", Role::Read)]).await;
    drive(&server, "sign_in", json!({ "client": { "id": "reader", "secret": secret.reveal() } })).await;
}

/// With `told_by_token`, the provider's ID tokens say which roles somebody has; otherwise it has to be asked for them.
async fn people_sign_in(told_by_token: bool) {
    let mut provider = tokio::task::spawn_blocking(Provider::start).await.expect("started");
    let server = Server::start(&[
        ("console.oidc.issuer", &provider.address),
        ("console.oidc.name", "Example ID"),
        ("console.oidc.client_id", "dipper"),
        ("console.oidc.client_secret", "a secret/with: signs"),
        ("console.oidc.scopes", "openid,profile,roles"),
    ])
    .await;
    let task = json!({
        "client": {
            "client_id": "dipper",
            "client_secret": "a secret/with: signs",
            "redirect_uris": [format!("{}/console/sign-in/back", server.url)],
            "post_logout_redirect_uris": [format!("{}/console/sign-in", server.url)],
        },
        "idToken": told_by_token,
        "accounts": {
            "ada": { "name": "Ada", "realm_access": { "roles": ["2d17_R", "offline_access"] } },
            "bob": { "name": "Bob", "realm_access": { "roles": [] } },
        },
    });
    provider.tell(&task);
    // What people see of it is the same; once is enough.
    let facts = json!({ "name": "Example ID", "once": !told_by_token });
    drive(&server, "issuer_sign_in", facts).await;
}

#[tokio::test]
async fn people_sign_in_at_an_issuer_whose_tokens_tell_their_roles() {
    people_sign_in(true).await;
}

#[tokio::test]
async fn people_sign_in_at_an_issuer_that_has_to_be_asked_for_their_roles() {
    people_sign_in(false).await;
}
