//! Ordering and following as a client, against the program's own server.

use std::io::{Read, Write};
use std::iter::repeat;
use std::net::TcpListener;

use dipper_core::time::Clock;
use dipper_server::config::{Settings, Sources};
use dipper_server::serve::Server;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::cli_support::{Dipper, names, noise, run, wait_until};

#[test]
fn a_package_is_ordered_followed_and_fetched() {
    let dipper = Dipper::with_client();
    let archive_id = dipper.ingest("foto", &noise(300_000));
    let (server, url) = dipper.serve(&[]);
    let client = |arguments: &[&str]| run(dipper.client(&url, arguments));

    let ordered = client(&["order", &archive_id, "--priority", "80", "--wait", "--timeout", "60", "--json"]);
    assert!(ordered.stderr.contains("DISSEMINATED"), "{ordered:?}");
    let ordered = ordered.json(0);
    let id = ordered["disseminationId"].as_str().expect("an identifier");
    let seen = (&ordered["status"], &ordered["priority"], &ordered["archiveId"], &ordered["objectId"]);
    assert_eq!(seen, (&json!("DISSEMINATED"), &json!(80), &json!(archive_id), &json!("foto")));
    let status = client(&["status", id]);
    assert!(status.code == 0 && status.stdout.contains("status:  DISSEMINATED"), "{status:?}");
    assert_eq!(client(&["status", id, "--json"]).json(0)["disseminationId"], id);

    let fetched = client(&["fetch", id, "--json"]).json(0);
    let file = &fetched["files"][0];
    assert_eq!((&file["path"], &file["resumedFrom"], &file["wasHere"]), (&json!("foto.tar"), &json!(0), &json!(false)));
    let len = std::fs::metadata(dipper.path("foto.tar")).expect("a file").len();
    assert_eq!(file["bytes"], json!(len));
    assert_eq!(client(&["fetch", id, "--json"]).json(0)["files"][0]["wasHere"], true);
    assert_eq!(client(&["fetch", id, "--output", "other.tar"]).code, 0);
    assert_eq!(client(&["fetch", id, "--output", "some/where/"]).code, 0);
    assert_eq!(client(&["fetch", id, "-o", "some"]).code, 0);
    for name in ["other.tar", "some/where/foto.tar", "some/foto.tar"] {
        let same =
            std::fs::read(dipper.path(name)).expect(name) == std::fs::read(dipper.path("foto.tar")).expect("a file");
        assert!(same, "{name}");
    }
    dipper.write("taken.tar", b"mine");
    let taken = client(&["fetch", id, "--output", "taken.tar"]);
    assert!(taken.error(7).contains("exists with other content"), "{taken:?}");
    assert_eq!(std::fs::read(dipper.path("taken.tar")).expect("kept"), b"mine");

    let events = dipper.json(&["events", "--order", id])["events"].as_array().expect("a list").clone();
    assert_eq!(events.last().expect("an event")["kind"], "order delivered");
    assert_eq!(server.stop(Signal::TERM).code, 0);
}

#[test]
fn what_a_client_may_not_do_is_told_by_the_exit_code() {
    let dipper = Dipper::with_client();
    dipper.json(&["contract", "add", "4711"]);
    dipper.write("source/a.txt", b"a");
    let other = dipper.json(&["ingest", "source", "--contract", "4711", "--object-id", "a"]);
    let other = other["archiveId"].as_str().expect("an identifier");
    let (_server, url) = dipper.serve(&[]);
    let client = |arguments: &[&str]| run(dipper.client(&url, arguments));
    client(&["order", other]).error(5);
    client(&["order", "000000000000000000000000"]).error(4);
    client(&["order", other, "--priority", "101"]).error(2);
    client(&["status", "0000000000000000000000"]).error(4);
    client(&["fetch", "0000000000000000000000"]).error(4);
    client(&["status", "0000000000000000000000", "--timeout", "1"]).error(2);

    let mut wrong = dipper.client(&url, &["status", "0000000000000000000000"]);
    wrong.env_remove("DIPPER_CLIENT_SECRET_FILE").env("DIPPER_CLIENT_SECRET", "wrong-secret");
    let wrong = run(wrong);
    assert!(wrong.error(5).contains("invalid_client"), "{wrong:?}");
    assert!(!wrong.stderr.contains("wrong-secret"), "{wrong:?}");
    let mut none = dipper.client(&url, &["status", "0000000000000000000000"]);
    none.env_remove("DIPPER_CLIENT_SECRET_FILE");
    run(none).error(2);
    let mut token = dipper.client(&url, &["status", "0000000000000000000000"]);
    token.env("DIPPER_TOKEN", "not.a.token");
    run(token).error(5);
    let mut elsewhere = dipper.client(&url, &["status", "x", "--token-url", &format!("{url}/nowhere")]);
    elsewhere.env("DIPPER_SERVER", "http://127.0.0.1:1");
    run(elsewhere).error(4);
}

#[test]
fn several_files_go_into_a_directory() {
    let dipper = Dipper::with_client();
    for name in ["one/a.txt", "two/b.txt"] {
        dipper.write(&format!("source/representations/{name}"), name.as_bytes());
    }
    let ingested = dipper.json(&["ingest", "source", "--contract", "2d17", "--object-id", "foto"]);
    let archive_id = ingested["archiveId"].as_str().expect("an identifier");
    let (_server, url) = dipper.serve(&[("DIPPER_DELIVERY_SPLIT", "representation")]);
    let client = |arguments: &[&str]| run(dipper.client(&url, arguments));
    let ordered = client(&["order", archive_id, "--wait", "--json"]).json(0);
    let delivered: Vec<_> = ordered["files"].as_array().expect("a list").iter().map(|file| &file["filename"]).collect();
    assert!(delivered.len() >= 2, "{ordered}");
    let id = ordered["disseminationId"].as_str().expect("an identifier");
    let fetched = client(&["fetch", id, "--output", "out", "--json"]).json(0);
    let mut expected: Vec<_> = delivered.iter().filter_map(|name| name.as_str()).collect();
    expected.sort_unstable();
    assert_eq!(names(&dipper.path("out")), expected);
    assert_eq!(fetched["files"].as_array().map(Vec::len), Some(expected.len()));
}

#[test]
fn damage_that_the_order_finds_is_told() {
    let dipper = Dipper::with_client();
    let archive_id = dipper.ingest("foto", &noise(100_000));
    dipper.damage(&archive_id);
    let (_server, url) = dipper.serve(&[]);
    let client = |arguments: &[&str]| run(dipper.client(&url, arguments));
    let ordered = client(&["order", &archive_id, "--wait", "--json"]);
    assert!(ordered.stderr.contains("error: order "), "{ordered:?}");
    let ordered = ordered.json(3);
    assert_eq!((&ordered["status"], &ordered["error"]["code"]), (&json!("FAILED"), &json!("FIXITY_CHECK_FAILED")));
    let id = ordered["disseminationId"].as_str().expect("an identifier");
    client(&["fetch", id]).error(3);
    assert_eq!(client(&["status", id]).code, 0);
    assert_eq!(dipper.json(&["package", "show", &archive_id])["state"], "damaged");
    // From now on it is refused at once.
    client(&["order", &archive_id]).error(7);
}

#[test]
fn notices_are_listed_with_their_attempts_and_sent_again() {
    let dipper = Dipper::with_client();
    let archive_id = dipper.ingest("foto", b"content");
    let receiver = TcpListener::bind("127.0.0.1:0").expect("a port");
    let hook = format!("http://{}/", receiver.local_addr().expect("an address"));
    std::thread::spawn(move || {
        // The first notice is refused, all others are taken.
        for (stream, status) in receiver.incoming().zip(["500 Out of order"].into_iter().chain(repeat("204 Taken"))) {
            let mut stream = stream.expect("a connection");
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !request.ends_with(b"}}") {
                let read = stream.read(&mut piece).expect("a request");
                request.extend(&piece[..read]);
            }
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).expect("answered");
        }
    });
    let allow = ("DIPPER_EGRESS_ALLOW", "127.0.0.1");
    let mut add = dipper.command(&["--json", "webhook", "add", "c1", &hook]);
    add.env(allow.0, allow.1);
    let webhook = run(add).json(0)["webhookId"].as_str().expect("an identifier").to_owned();
    let (_server, url) = dipper.serve(&[allow, ("DIPPER_WEBHOOK_MAX_BACKOFF_SECONDS", "1")]);
    assert_eq!(run(dipper.client(&url, &["order", &archive_id, "--wait"])).code, 0);

    let notice = || dipper.json(&["webhook", "attempts", &webhook])["notices"][0].clone();
    wait_until("an accepted notice", || notice()["state"] == "accepted");
    let first = notice();
    let id = first["noticeId"].as_str().expect("an identifier");
    let statuses = |notice: &Value| -> Vec<Value> {
        notice["attempts"].as_array().expect("a list").iter().map(|attempt| attempt["status"].clone()).collect()
    };
    assert_eq!(statuses(&first), [json!(500), json!(204)]);
    assert_eq!(dipper.json(&["webhook", "replay", id]), json!({ "noticeId": id, "webhooks": 1 }));
    dipper.run(&["webhook", "replay", id, "--webhook", "none"]).error(4);
    wait_until("another attempt", || statuses(&notice()) == [json!(500), json!(204), json!(204)]);
    let text = dipper.run(&["webhook", "attempts", &webhook]).stdout;
    assert!(text.contains(id) && text.contains("204"), "{text}");
}

#[test]
fn a_server_that_is_not_there_may_come_back() {
    let dipper = Dipper::with_client();
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let ran = run(dipper.client(&format!("http://{free}"), &["status", "x"]));
    assert!(ran.error(6).contains("cannot be reached"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_nobody_works_on_can_be_waited_for_and_not_be_made_twice() {
    let dipper = Dipper::with_client();
    let archive_id = dipper.ingest("foto", b"content");
    let overrides =
        [("data_directory", dipper.path("data").display().to_string()), ("server.listen", "127.0.0.1:0".to_owned())];
    let database = dipper.database.as_ref().map(|database| ("database.url", database.url()));
    let overrides = overrides.into_iter().chain(database).map(|(key, value)| (key.to_owned(), value)).collect();
    let settings = Settings::load(&Sources { overrides, ..Sources::default() }).expect("valid settings");
    let server = Server::open(settings, Clock::system()).await.expect("opened");
    let (url, shutdown) = (server.public_url().to_owned(), CancellationToken::new());
    let serving = server.start_listening(shutdown.clone()).expect("started");
    tokio::task::block_in_place(|| {
        let client = |arguments: &[&str]| run(dipper.client(&url, arguments));
        let ordered = client(&["order", &archive_id, "--json"]).json(0);
        let id = ordered["disseminationId"].as_str().expect("an identifier");
        let again = client(&["order", &archive_id]);
        assert!(again.error(7).contains(id), "{again:?}");
        let waited = client(&["status", id, "--wait", "--timeout", "1"]);
        assert!(waited.error(6).contains("is still RECEIVED"), "{waited:?}");
        let fetched = client(&["fetch", id]);
        assert!(fetched.error(6).contains("--wait"), "{fetched:?}");
        let queue = dipper.json(&["queue"]);
        assert_eq!((&queue["steps"][0]["state"], &queue["steps"][0]["count"]), (&json!("ready"), &json!(1)));

        // An operator sees that nobody works, and what can be done about an order.
        let processes = dipper.json(&["process", "list"]);
        let process = &processes["processes"][0];
        assert_eq!(
            (&process["kind"], &process["slots"], &process["isThere"]),
            (&json!("server"), &json!(0), &json!(true))
        );
        dipper.json(&["queue", "priority", id, "90", "--by", "Olga"]);
        dipper.run(&["queue", "retry", id, "--by", "Olga"]).error(7);
        assert_eq!(dipper.json(&["queue", "cancel", id, "--by", "Olga"])["state"], "cancelled");
        dipper.run(&["queue", "cancel", id, "--by", "Olga"]).error(7);
        let acts = dipper.json(&["audit", "list", "--kind", "administration"]);
        let told = acts["entries"].as_array().expect("a list").iter().map(|act| act["agent"].as_str().expect("text"));
        let told: Vec<_> = told.filter(|agent| *agent == "operator Olga").collect();
        assert_eq!(told.len(), 2, "{acts}");
    });
    shutdown.cancel();
    serving.finished().await.expect("ended");
    assert_eq!(dipper.json(&["process", "list"]), json!({ "processes": [] }));
}
