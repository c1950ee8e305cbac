//! E-mail to the people of a contract, taken by somebody else's mail server.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dipper_core::db::mails::Correspondence;
use dipper_core::fixity;
use dipper_core::intake::{Intake, OrderRetrieval, Portion};
use dipper_core::language::Language;
use dipper_core::link::Links;
use dipper_core::{Caller, Role};
use serde_json::Value;
use tokio::sync::mpsc;

use super::support::{PATIENCE, Server};
use crate::authority::Authority;
use crate::peers;

const USER: &str = "dipper";
const PASSWORD: &str = "väldig hemmelig";

/// A mail server that speaks STARTTLS and wants a password.
struct MailServer {
    child: Child,
    port: String,
    root: String,
    lines: mpsc::UnboundedReceiver<Value>,
    _authority: Authority,
}

impl MailServer {
    /// One that answers its first recipients with these codes.
    async fn start(codes: &[&str]) -> MailServer {
        let codes: Vec<String> = codes.iter().map(|code| (*code).to_owned()).collect();
        tokio::task::spawn_blocking(move || MailServer::launch(&codes)).await.expect("launched")
    }

    fn launch(codes: &[String]) -> MailServer {
        let authority = Authority::new();
        let [(_, certificate), (_, key)] = authority.settings(1);
        let python = peers::install(&["mail"]).join("python");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/peers/mail_server.py");
        let mut child = Command::new(python)
            .args([script, &certificate, &key, USER, PASSWORD])
            .args(codes)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let port = lines.next().expect("a line").expect("a port");
        let (sender, receiver) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).expect("JSON"));
            }
        });
        let root = authority.root().display().to_string();
        MailServer { child, port, root, lines: receiver, _authority: authority }
    }

    fn settings(&self) -> [(&str, &str); 8] {
        [
            ("mail.server", "localhost"),
            ("mail.port", &self.port),
            ("mail.certificates", &self.root),
            ("mail.user", USER),
            ("mail.password", PASSWORD),
            ("mail.from", "Digitalt arkiv på Ås <archive@example.org>"),
            ("server.public_url", "https://archive.example.org"),
            ("sftp.listen", "127.0.0.1:0"),
        ]
    }

    async fn next(&mut self) -> Value {
        tokio::time::timeout(PATIENCE, self.lines.recv()).await.expect("a message in time").expect("a message")
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Orders a package into the area of its contract.
async fn retrieve(server: &Server, contract_id: &str, package_id: &str) {
    let base = url::Url::parse(&server.url).expect("an address");
    let intake = Intake::new(server.installation.clone(), Links::new(&server.installation.key, base));
    let grants = [(contract_id.to_owned(), Role::Read)].into_iter().collect();
    let caller = Caller { client_id: "fetcher".to_owned(), grants, stored: false };
    let order = OrderRetrieval { package_id: package_id.to_owned(), portion: Portion::default(), dialect: "dns" };
    intake.retrieval_order(&caller, order).await.expect("ordered");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_people_of_a_contract_are_told_in_their_language_how_to_get_their_package() {
    let mut mail = MailServer::start(&[]).await;
    let server = Server::start_working(&mail.settings()).await;
    let table = [
        (Language::German, "Ihr Paket Bände №1 liegt bereit", "Größe:", "um "),
        (Language::English, "Your package Bände №1 is ready", "Size:", " at "),
        (Language::Norwegian, "Pakken Bände №1 er klar", "Størrelse:", " kl. "),
    ];
    for (language, subject, size, until) in table {
        let contract_id = format!("contract-{language}");
        server.client(&format!("client-{language}"), &[(&contract_id, Role::Read)]).await;
        let address = format!("{language}@example.com");
        let administration = server.administration();
        let correspondence = Correspondence { address: Some(address.clone()), language };
        administration.contract_correspondence_set(&contract_id, &correspondence).await.expect("set");
        let package_id = server.package(&contract_id, "Bände №1", &[("a.txt", b"abc")]).await.id;
        retrieve(&server, &contract_id, &package_id).await;
        let message = mail.next().await;
        assert_eq!((&message["to"][0], &message["tls"]), (&Value::from(address), &Value::from(true)), "{message}");
        let headers = &message["headers"];
        assert_eq!(headers["subject"], subject);
        assert_eq!(headers["from"], "Digitalt arkiv på Ås <archive@example.org>");
        assert_eq!(headers["auto-submitted"], "auto-generated");
        assert!(headers["message-id"].as_str().expect("text").ends_with("@example.org>"), "{headers}");
        let body = message["body"].as_str().expect("text");
        let (package, _) = administration.package_get(&package_id).await.expect("there");
        let link = format!("https://archive.example.org/daweb3/outgoing/{}.tar", package.identifier);
        assert!(body.contains("archive.example.org, port 0, outgoing/"), "{body}");
        for expected in ["Bände №1", &package.identifier, &link, size, until] {
            assert!(body.contains(expected), "{expected} is not in {body}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_mail_server_does_not_take_now_is_sent_later_and_what_it_never_takes_is_not() {
    let mut mail = MailServer::start(&["451", "550"]).await;
    let server = Server::start_working(&mail.settings()).await;
    server.client("client", &[("2d17", Role::Read)]).await;
    let correspondence = Correspondence { address: Some("people@example.com".to_owned()), language: Language::English };
    server.administration().contract_correspondence_set("2d17", &correspondence).await.expect("set");
    for (object_id, refused) in [("first", "451"), ("second", "550"), ("third", "")] {
        let package_id = server.package("2d17", object_id, &[("a.txt", object_id.as_bytes())]).await.id;
        retrieve(&server, "2d17", &package_id).await;
        if !refused.is_empty() {
            assert_eq!(mail.next().await["refused"], refused);
        }
    }
    let told = |message: &Value| message["headers"]["subject"].as_str().expect("text").to_owned();
    assert_eq!(told(&mail.next().await), "Your package third is ready");
    // The first is tried again when its time has come, the second never.
    server.clock.advance(Duration::from_secs(61));
    server.installation.wake_notifier();
    assert_eq!(told(&mail.next().await), "Your package first is ready");
    server.stop().await;
    assert!(mail.lines.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_told_to_the_people_of_the_contract_and_to_the_operators_once() {
    let mut mail = MailServer::start(&[]).await;
    let mut settings = mail.settings().to_vec();
    settings.push(("mail.operators", "duty@example.org,night@example.org"));
    let server = Server::start_working(&settings).await;
    server.client("client", &[("2d17", Role::Read)]).await;
    let correspondence = Correspondence { address: Some("people@example.com".to_owned()), language: Language::German };
    server.administration().contract_correspondence_set("2d17", &correspondence).await.expect("set");
    let package = server.package("2d17", "Bände №1", &[("a.txt", b"abc")]).await;
    let found = "v1/content/a.txt: the digest is another";
    for _ in 0..2 {
        fixity::damage_record(&server.installation, &package.id, found).await.expect("recorded");
    }
    let messages = [mail.next().await, mail.next().await];
    let find = |to: &str| {
        let is_to = |message: &&Value| message["to"].as_array().expect("recipients").contains(&Value::from(to));
        messages.iter().find(is_to).unwrap_or_else(|| panic!("nothing for {to}: {messages:?}"))
    };
    let (people, operators) = (find("people@example.com"), find("night@example.org"));
    assert_eq!(people["headers"]["subject"], "Gespeicherte Inhalte von Bände №1 sind beschädigt");
    assert_eq!(operators["headers"]["subject"], "Stored content of Bände №1 is damaged");
    assert_eq!(operators["to"].as_array().map(Vec::len), Some(2));
    for message in [people, operators] {
        let body = message["body"].as_str().expect("text");
        assert!(body.contains(found) && body.contains("Bände №1"), "{body}");
    }
    server.stop().await;
    assert!(mail.lines.try_recv().is_err());
}
