//! An archive whose content lies in cold storage, at the boundary: what a client and an operator see of it.

use std::process::Command;
use std::time::Duration;

use dipper_archive::publish;
use dipper_core::Role;
use dipper_core::db::packages;
use dipper_core::ingest::{IngestCommand, IngestControl, ingest};
use serde_json::json;

use crate::cli_support::{Ran, run};
use crate::glacier::Glacier;
use crate::s3::{ACCESS_KEY, BUCKET, SECRET_KEY};
use crate::support::{Server, answer, code};

const PREFIX: &str = "r";

/// What leads a server of the tests to the storage.
fn settings(storage: &Glacier) -> Vec<(&'static str, String)> {
    vec![
        ("archive.root", format!("s3://{BUCKET}/{PREFIX}")),
        ("archive_s3.endpoint", storage.server.endpoint()),
        ("archive_s3.path_style", "true".to_owned()),
        ("archive_s3.allow_http", "true".to_owned()),
        ("archive_s3.access_key_id", ACCESS_KEY.to_owned()),
        ("archive_s3.secret_access_key", SECRET_KEY.to_owned()),
        ("recall.poll_minutes", "1".to_owned()),
    ]
}

/// `dipper queue` on the server's data directory, beside it.
fn queue(server: &Server, storage: &Glacier, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dipper"));
    command.arg("queue").args(arguments).env("DIPPER_DATA_DIRECTORY", server.place.directory.path().join("data"));
    command.env("http_proxy", "http://127.0.0.1:1").env("no_proxy", "127.0.0.1");
    for (key, value) in settings(storage) {
        command.env(format!("DIPPER_{}", key.to_uppercase().replace('.', "_")), value);
    }
    run(command)
}

/// What is ready, and what was put off for the next look at a recall.
async fn look_again(server: &Server) {
    server.clock.advance(Duration::from_secs(61));
    server.work().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_waits_for_a_recall_and_a_link_to_what_went_cold_again_says_so() {
    let storage = Glacier::start();
    let settings = settings(&storage);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let server = Server::start(&settings).await;
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let source = server.place.directory.path().join("source");
    publish::create_directories(&source).expect("made");
    publish::write_file(&source.join("a.txt"), b"alpha").expect("written");
    let (contract_id, object_id) = ("2d17".to_owned(), "one".to_owned());
    let command = IngestCommand { path: source, contract_id, object_id, ..Default::default() };
    let package_id =
        ingest(&server.installation, command, IngestControl::default()).await.expect("ingested").package_id;
    let package = packages::get(server.database(), &package_id).await.expect("read").expect("there");
    assert_eq!(storage.freeze(&format!("{PREFIX}/{}/v1/content", package.location), "GLACIER"), 1);

    let id = caller.order(&package_id).await;
    server.work().await;
    assert_eq!(caller.dissemination(&id).await["status"], "DOWNLOADING_FROM_REPOSITORY");
    let shown = queue(&server, &storage, &["--json"]).json(0);
    let [recall] = shown["recalls"].as_array().expect("a list").as_slice() else { panic!("{shown}") };
    let facts = (&recall["archiveId"], &recall["version"], &recall["contractId"], &recall["tier"], &recall["orders"]);
    assert_eq!(facts, (&json!(package_id), &json!(1), &json!("2d17"), &json!("Standard"), &json!(1)));
    let told = queue(&server, &storage, &[]);
    assert!(told.stdout.contains("RECALLED PACKAGE") && told.stdout.contains(&package_id), "{told:?}");

    storage.finish_recalls();
    look_again(&server).await;
    assert_eq!(caller.dissemination(&id).await["status"], "DISSEMINATED");
    assert_eq!(queue(&server, &storage, &["--json"]).json(0)["recalls"], json!([]));
    let link = caller.link(&id).await;
    assert_eq!(server.http.get(&link).send().await.expect("sent").status(), 200);

    storage.expire_recalls();
    let refused = server.http.get(&link).send().await.expect("sent");
    let (status, body) = answer(refused).await;
    assert_eq!((status, code(&body)), (409, "CONTENT_ARCHIVED"), "{body}");
    assert!(!body.to_string().contains(&package.location), "{body}");
    // That is no damage: the package can be ordered again, and is recalled again.
    let again = caller.order(&package_id).await;
    server.work().await;
    storage.finish_recalls();
    look_again(&server).await;
    assert_eq!(caller.dissemination(&again).await["status"], "DISSEMINATED");
    assert_eq!(server.http.get(&link).send().await.expect("sent").status(), 200);
    server.stop().await;
}
