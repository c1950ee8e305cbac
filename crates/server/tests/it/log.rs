//! The log: every line of a request carries its id, and none carries a secret.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use dipper_core::Role;
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{DPS, PATIENCE, Server};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("unpoisoned").clone()).expect("UTF-8")
    }

    /// The messages of the lines that carry this request id.
    fn of(&self, id: &str) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a JSON line"));
        lines
            .filter(|line| line["spans"].as_array().into_iter().flatten().any(|span| span["request_id"] == id))
            .collect()
    }
}

/// The only test that sets the subscriber of the process; it sees the lines of all others too.
#[tokio::test]
async fn every_line_of_a_request_carries_its_id_and_none_a_secret() {
    let lines = Lines::default();
    let writer = lines.clone();
    let filter = "info,dipper_core=info".parse().expect("a filter");
    let subscriber = dipper_server::log::json(filter, move || writer.clone());
    tracing::subscriber::set_global_default(subscriber).expect("the only one");

    let server = Server::start(&[]).await;
    let package = server.small_package("2d17", "one").await;
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let ask = async |method: Method, url: String, id: &str, token: &str, body: Option<Value>| {
        let request = server.http.request(method, url).header("x-request-id", id).bearer_auth(token);
        let request = body.iter().fold(request, |request, body| request.json(body));
        request.send().await.expect("sent")
    };
    let url = format!("{}{DPS}/disseminations", server.url);
    let order = json!({ "archiveId": package.id });
    let created = ask(Method::POST, url.clone(), "log-order-0001", &caller.token, Some(order)).await;
    let created: Value = created.json().await.expect("JSON");
    ask(Method::GET, url, "log-forged-0001", "forged.token.value", None).await;
    server.work().await;
    package.flip("METS.xml", 0);
    let link = caller.link(created["disseminationId"].as_str().expect("an id")).await;
    let broken = ask(Method::GET, link.clone(), "log-download-0001", "", None).await;
    assert!(broken.bytes().await.is_err());

    let messages = |id: &str| -> Vec<String> {
        lines.of(id).iter().map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(messages("log-order-0001"), ["order received", "request served"]);
    assert_eq!(messages("log-forged-0001"), ["a token was refused", "request served"]);
    let broken_off = async {
        while !messages("log-download-0001").iter().any(|message| message.contains("broken off")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, broken_off).await.expect("the thread that reads logs under the id too");
    let served = lines.of("log-order-0001").pop().expect("a line");
    for (name, value) in [("status", json!(201)), ("method", json!("POST")), ("peer", json!("127.0.0.1"))] {
        assert_eq!(served[name], value, "{served}");
    }
    let text = lines.text();
    let signature = link.split("signature=").nth(1).expect("a signature");
    for secret in [caller.token.as_str(), signature, "forged.token.value"] {
        assert!(!text.contains(secret), "a secret stands in the log");
    }
}
