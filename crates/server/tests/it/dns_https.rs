//! The DNS RESTful API over https, asked with `curl` as the description of the service prints it.

use std::process::Command;

use serde_json::{Value, json};

use super::dns_support::{CONTRACTOR, DNS, URN};
use super::support::{Server, address_of_a_neighbour, header};
use crate::authority::Authority;
use crate::peers;

/// The second example of the description. The other one is the same with GET.
const EXAMPLE: &str = "curl -v -H \"Accept: application/json\" X POST -u username --url \
                       \"https://server/daweb3/status/index?urn=urn%3Anbn%3Ade%3Ahbz%3A6%3A1-31323\"";

async fn secured(authority: &Authority) -> Server {
    let settings = authority.settings(7);
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let mut server = Server::start(&settings).await;
    let root = reqwest::Certificate::from_pem(&std::fs::read(authority.root()).expect("a root")).expect("a root");
    server.http = reqwest::Client::builder().tls_certs_only([root]).build().expect("a client");
    server
}

/// Runs a line of the description, with this server and these credentials in place of its own; what came from the server.
async fn run(line: String, server: &Server, authority: &Authority, credentials: &str) -> Vec<Value> {
    let port = server.serving.addr.port();
    let line = line.replace("https://server/", &format!("https://localhost:{port}/"));
    let line = line.replace("-u username", &format!("-u {credentials}"));
    // Whoever writes X for -X has curl look for a host of that name first, which is nowhere near.
    let near = "--resolve X:80:127.0.0.1 --resolve GET:80:127.0.0.1 --resolve POST:80:127.0.0.1 --noproxy '*'";
    let line = line.replace("curl -v", &format!("curl -v --cacert {} {near}", authority.root().display()));
    let ran = tokio::task::spawn_blocking(move || Command::new("sh").args(["-c", &line]).output());
    let ran = ran.await.expect("it ends").expect("a shell");
    let told = peers::told(&ran);
    assert!(ran.status.success(), "{told}");
    let answers = String::from_utf8(ran.stdout).expect("text");
    serde_json::Deserializer::from_str(&answers).into_iter().map(|answer| answer.expect("JSON")).collect()
}

#[tokio::test]
async fn the_examples_of_the_description_work_as_they_are_printed() {
    let authority = Authority::new();
    let server = secured(&authority).await;
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let contractor = server.contractor(CONTRACTOR).await;
    server.example().await;
    let credentials = format!("{CONTRACTOR}:{}", contractor.secret.reveal());
    let run = |line: String| run(line, &server, &authority, &credentials);

    // As printed, without the hyphen: curl sends GET to that address, whatever word stands before it.
    for line in [EXAMPLE.to_owned(), EXAMPLE.replace("X POST", "X GET"), EXAMPLE.replace("X POST", "-X GET")] {
        let answered = run(line.clone()).await;
        assert_eq!(answered.len(), 1, "{line}: {answered:?}");
        assert_eq!(answered[0]["result"][0]["urn"], URN, "{line}: {answered:?}");
    }
    let retrieved = [json!({ "success": "true" })];
    assert_eq!(run(EXAMPLE.replace("X POST", "-X POST")).await, retrieved, "as it is meant");
    let address = "automatedRetrieval/queueForRetrievalJSON\" -d '{\"urn\":\"urn:nbn:de:hbz:6:1-31323\"}'";
    let text = EXAMPLE.replace("status/index?urn=urn%3Anbn%3Ade%3Ahbz%3A6%3A1-31323\"", address);
    assert_eq!(run(text.replace("X POST", "-X POST")).await, retrieved, "as the text has it");
    let answered = contractor.ask(&format!("/status/index?urn={URN}")).await;
    assert_eq!(header(&answered, "strict-transport-security"), "max-age=31536000");
    assert_eq!(answered.json::<Value>().await.expect("JSON")["result"][0]["statusInt"], 900);
}

/// From another machine, in plain http: not even who has no credentials learns what is there. Without a network there is
/// no other address to ask from; what is decided for which is tested in full beside the decision.
#[tokio::test]
async fn nothing_is_answered_in_plain_http() {
    let Some(ip) = address_of_a_neighbour() else { return };
    for public_url in ["https://dipper.example.org", ""] {
        let server = Server::start(&[("server.listen", "0.0.0.0:0"), ("server.public_url", public_url)]).await;
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
        let http = http.expect("a client");
        let url = format!("http://{ip}:{}{DNS}", server.serving.addr.port());
        let path = "/status/index?urn=urn%3Anbn";
        for request in [http.get(format!("{url}{path}")), http.get(format!("{url}{path}")).basic_auth("a", Some("b"))] {
            let answered = request.send().await.expect("sent");
            if public_url.is_empty() {
                assert_eq!(answered.status(), 403);
                let body: Value = answered.json().await.expect("JSON");
                assert_eq!(body["status"], "forbidden", "in the shape of the service: {body}");
            } else {
                assert_eq!(answered.status(), 308);
                assert_eq!(header(&answered, "location"), format!("{public_url}{DNS}{path}"));
            }
        }
        let order = http.post(format!("{url}/automatedRetrieval/queueForRetrievalJSON")).json(&json!({ "urn": URN }));
        let answered = order.send().await.expect("sent");
        assert_eq!(answered.status(), 403);
        assert_eq!(answered.json::<Value>().await.expect("JSON")["success"], "false");
    }
}
