//! A server over a database server: what its clients see while that is away, and several servers over one.

use dipper_core::Role;
use dipper_server::config::{Settings, Sources};
use reqwest::Method;
use serde_json::json;

use super::cli_support::Dipper;
use super::support::{Place, Server, answer, code, header};
use crate::postgres::Cluster;

const READER: [(&str, Role); 1] = [("2d17", Role::Read)];

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_requests_are_told_to_come_back_and_then_all_goes_on() {
    let cluster = Cluster::of_one_test();
    let place =
        Place { directory: tempfile::tempdir().expect("a directory"), database: Some(cluster.database().await) };
    let server = Server::start_in(place, &[("database.acquire_timeout_seconds", "1")], true).await;
    let stored = server.small_package("2d17", "p").await;
    let secret = server.client("reader", &READER).await;
    let caller = server.caller_with(server.token("reader", &secret).await);
    let first = caller.order(&stored.id).await;

    cluster.control(&["stop", "-m", "immediate"]);
    let order = json!({ "archiveId": stored.id });
    for (method, path, body) in [
        (Method::POST, "/disseminations".to_owned(), Some(&order)),
        (Method::GET, format!("/disseminations/{first}"), None),
        (Method::GET, "/disseminations".to_owned(), None),
    ] {
        let refused = caller.ask(method, &path, body).await;
        assert_eq!(header(&refused, "retry-after"), "5", "{path}");
        let (status, body) = answer(refused).await;
        assert_eq!((status, code(&body)), (503, "UNAVAILABLE"), "{path}: {body}");
        assert!(!body.to_string().contains("postgres"), "{body}");
    }
    let form = [("grant_type", "client_credentials"), ("client_id", "reader"), ("client_secret", secret.reveal())];
    let refused = server.http.post(format!("{}/oauth2/token", server.url)).form(&form).send().await.expect("sent");
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (503, "5".to_owned()));
    assert_eq!(server.get("/readyz").await.status(), 503);
    assert_eq!(server.get("/healthz").await.status(), 200);

    cluster.control(&["start"]);
    while caller.ask(Method::GET, "/disseminations", None).await.status() != 200 {}
    while caller.dissemination(&first).await["status"] != "DISSEMINATED" {
        // A step whose end could not be written down is taken up when its lease is over.
        server.clock.advance(std::time::Duration::from_secs(1));
    }
    let second = caller.order(&stored.id).await;
    while caller.dissemination(&second).await["status"] != "DISSEMINATED" {}
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_over_one_database_and_one_set_of_keys_are_one() {
    let one = Server::start(&[]).await;
    let data = one.installation.data.root().to_owned();
    let place = Place { directory: tempfile::tempdir().expect("a directory"), database: None };
    let url = one.place.database.as_ref().expect("a database").url();
    let (keys, root) = (data.join("keys").display().to_string(), data.join("archive").display().to_string());
    let changes = [
        ("database.url", url.as_str()),
        ("keys.directory", keys.as_str()),
        ("archive.root", root.as_str()),
        ("server.public_url", one.url.as_str()),
    ];
    let other = Server::start_in(place, &changes, true).await;
    let stored = one.small_package("2d17", "p").await;
    let secret = one.client("reader", &READER).await;
    let caller = one.caller_with(one.token("reader", &secret).await);
    // The first one only listens: the other does the work, and is woken for it.
    let id = caller.order(&stored.id).await;
    while caller.dissemination(&id).await["status"] != "DISSEMINATED" {}
    let link = caller.link(&id).await;
    let path = link.strip_prefix(&one.url).expect("a link to the public address");
    let address = other.serving.addr;
    let fetched = other.http.get(format!("http://{address}{path}")).send().await.expect("sent");
    assert_eq!(fetched.status(), 200);
    let list = other.http.get(format!("http://{address}{}/disseminations", super::support::DPS));
    let listed = list.bearer_auth(&caller.token).send().await.expect("sent");
    assert_eq!(listed.status(), 200, "a token of the one is good at the other");
    other.stop().await;
    one.stop().await;
}

#[test]
fn a_database_without_tables_is_refused_until_it_is_migrated() {
    let dipper = Dipper { directory: tempfile::tempdir().expect("a directory"), database: None, no_proxy: None };
    let database = crate::postgres::shared().bare_database();
    dipper.write("url", database.url().as_bytes());
    let url_file = dipper.path("url").display().to_string();
    let run = |arguments: &[&str]| {
        let mut command = dipper.command(arguments);
        command.env("DIPPER_DATABASE_URL_FILE", &url_file);
        super::cli_support::run(command)
    };
    let refused = run(&["contract", "add", "2d17"]);
    assert!(refused.error(1).contains("run `dipper migrate`"), "{refused:?}");
    let told = run(&["migrate", "--check"]);
    assert!(told.error(7).contains("no catalogue yet"), "{told:?}");
    let made = run(&["migrate"]);
    assert!(made.code == 0 && made.stdout.contains("the tables were made"), "{made:?}");
    let told = run(&["migrate", "--check"]);
    assert!(told.code == 0 && told.stdout.contains("is up to date"), "{told:?}");
    let missing = run(&["contract", "list"]);
    assert!(missing.error(4).contains("there is no installation"), "{missing:?}");
    assert_eq!(run(&["contract", "add", "2d17"]).code, 0);
    assert!(run(&["contract", "list"]).stdout.contains("2d17"));

    std::fs::remove_file(dipper.path("data/keys/master.key")).expect("removed");
    let refused = run(&["contract", "add", "other"]);
    assert!(refused.error(1).contains("copy the keys"), "{refused:?}");
}

#[test]
fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let overrides = vec![("database.url".to_owned(), "postgres://dipper:hunter2@127.0.0.1:1/x".to_owned())];
    let settings = Settings::load(&Sources { overrides, ..Sources::default() }).expect("valid");
    assert!(!format!("{settings:?}").contains("hunter2"));
    let dipper = Dipper { directory: tempfile::tempdir().expect("a directory"), database: None, no_proxy: None };
    let mut command = dipper.command(&["migrate", "--check"]);
    command.env("DIPPER_DATABASE_URL", "postgres://dipper:hunter2@127.0.0.1:1/x");
    let refused = super::cli_support::run(command);
    let told = refused.error(6);
    assert!(told.contains("database x at 127.0.0.1:1") && !refused.stderr.contains("hunter2"), "{refused:?}");
}
