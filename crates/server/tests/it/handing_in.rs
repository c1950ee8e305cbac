//! Handing in: a file that is left in an incoming directory of a running server becomes an object that its contractor finds,
//! and lists come back filled in.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use dipper_archive::digest::{Algorithm, Hasher};
use dipper_archive::publish;
use reqwest::Response;
use serde_json::Value;

use super::dns_support::{CONTRACTOR, Contractor, DNS};
use super::support::{PATIENCE, Server};

const SETTINGS: [(&str, &str); 2] = [("area.pickup_seconds", "1"), ("area.settle_seconds", "0")];
const HEADER: &str = "identifier;origName;createddate;updateddate;statuscode;erfolg;bemerkung";

/// The tar of a bag with one payload file of that content, whose manifest says what is given.
fn bag(content: &str, checksum: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, text) in [
        ("bagit.txt", "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"),
        ("manifest-sha256.txt", &format!("{checksum}  data/x\n")),
        ("data/x", content),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("top/{path}"), text.as_bytes()).expect("appended");
    }
    tar.into_inner().expect("a tar")
}

pub(crate) fn good_bag(content: &str) -> Vec<u8> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(content.as_bytes());
    bag(content, &hasher.finish().to_string())
}

/// Leaves a file in the contractor's incoming directory, and tells the server.
fn leave(server: &Server, name: &str, bytes: &[u8]) -> PathBuf {
    let area = server.installation.areas.ensure(CONTRACTOR).expect("an area");
    let path = area.incoming().join(name);
    publish::write_file(&path, bytes).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("set");
    server.installation.wake_incoming();
    path
}

/// What appears in the contractor's outgoing directory.
async fn answer_of(contractor: &Contractor<'_>, name: &str) -> Vec<u8> {
    let outgoing = contractor.server.installation.areas.ensure(CONTRACTOR).expect("an area").outgoing();
    let began = Instant::now();
    while !outgoing.join(name).exists() {
        assert!(began.elapsed() < PATIENCE, "no answer came");
        // Asking takes time, which the server has to work meanwhile.
        contractor.ask("/status/index?listallobjects=1").await;
    }
    std::fs::read(outgoing.join(name)).expect("read")
}

/// The entries of a query, once there are some that will do.
async fn entries_when(contractor: &Contractor<'_>, query: &str, will_do: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let (_, body) = contractor.status(query).await;
        if will_do(&body["result"]) {
            return body["result"].clone();
        }
        assert!(began.elapsed() < PATIENCE, "{body}");
    }
}

async fn post(contractor: &Contractor<'_>, path: &str, body: Vec<u8>) -> Response {
    contractor.request("POST", path).header("Content-Type", "text/csv").body(body).send().await.expect("sent")
}

#[tokio::test]
async fn what_is_left_in_incoming_becomes_an_object() {
    let server = Server::start_working(&SETTINGS).await;
    let contractor = server.contractor(CONTRACTOR).await;
    let path = leave(&server, "März 1.tar", &good_bag("alpha"));
    let found = entries_when(&contractor, "origName=M%C3%A4rz%201", |found| found[0]["statusInt"] == 100).await;
    assert_eq!((&found[0]["packages"][0], found.as_array().map(Vec::len)), (&"März 1.tar".into(), Some(1)));
    assert!(!path.exists());

    // A delta that is not valid, and one that is no package yet.
    let zeros = "0".repeat(64);
    leave(&server, "März 1.tar", &bag("beta", &zeros));
    let refused = |found: &Value| found[0]["statusInt"] == 201;
    let found = entries_when(&contractor, "origName=M%C3%A4rz%201", refused).await;
    assert_eq!(
        (&found[0]["type"], &found[0]["status"]),
        (&"QueueEntry".into(), &"package in progress error: (201) ".into())
    );
    assert!(found[0]["statusLongDescription"].as_str().is_some_and(|text| text.contains("checksum")), "{found}");
    assert_eq!((&found[0]["identifier"], &found[1]["statusInt"]), (&found[1]["identifier"], &100.into()));
    leave(&server, "new.tar", &bag("gamma", &zeros));
    for query in ["origName=new", "containerName=new.tar"] {
        let found = entries_when(&contractor, query, refused).await;
        assert_eq!((&found[0]["origName"], &found[0]["identifier"]), (&"new".into(), &"".into()), "{query}");
    }
    let all = contractor.entries("listallobjects=1").await;
    let numbers: Vec<u64> = all.iter().map(|(_, _, number)| *number).collect();
    assert_eq!(numbers, [201, 201, 100], "{all:?}");
    let report = path.with_file_name("new.tar.report.txt");
    assert!(report.is_file());
    leave(&server, "new.tar", &good_bag("gamma"));
    entries_when(&contractor, "origName=new", |found| found[0]["statusInt"] == 100).await;
    server.stop().await;
}

#[tokio::test]
async fn a_list_in_incoming_comes_back_filled_in() {
    let server = Server::start_working(&SETTINGS).await;
    let contractor = server.contractor(CONTRACTOR).await;
    let done = server.hand_in(CONTRACTOR, "März", None, "März.zip", ("a.txt", b"alpha")).await;
    let identifier = done.identifier;
    // As Excel writes it: cp1252, and lines that end in CR LF.
    let mut list = format!("{HEADER}\r\n;M").into_bytes();
    list.extend(b"\xe4rz;;;;;\r\n");
    list.extend(format!("{identifier};;;;;;\r\n;unknown;;;;;\r\n").as_bytes());
    let path = leave(&server, "Status-\u{e4}.csv", &list);
    let answer = answer_of(&contractor, "Status-\u{e4}.csv").await;
    let (text, _, _) = encoding_rs::WINDOWS_1252.decode(&answer);
    let rows: Vec<Vec<&str>> = text.split("\r\n").map(|line| line.split(';').collect()).collect();
    assert_eq!(rows.len(), 5, "{text}");
    for row in &rows[1..3] {
        assert_eq!(
            (row[0], row[1], &row[4..]),
            (identifier.as_str(), "März", &["100", "true", "fertig archiviert"][..])
        );
        assert_eq!((row[2].len(), row[3].len()), ("2026-11-22 04:30:00".len(), 19), "{row:?}");
    }
    assert_eq!(rows[3], ["", "unknown", "", "", "404", "false", "nicht gefunden"]);
    assert!(!path.exists());

    leave(&server, "Retrieval_1.CSV", format!("{HEADER}\n{identifier};;;;;;\n;März;;;;;\n").as_bytes());
    let answer = String::from_utf8(answer_of(&contractor, "Retrieval_1.CSV").await).expect("UTF-8");
    assert!(answer.contains(";900;true;Abruf beauftragt\n"), "{answer}");
    answer_of(&contractor, &format!("{identifier}.tar")).await;

    let wrong = leave(&server, "wrong.csv", b"name;state\n");
    let report = wrong.with_file_name("wrong.csv.report.txt");
    entries_when(&contractor, "listallobjects=1", |_| report.exists()).await;
    server.stop().await;
}

#[tokio::test]
async fn a_list_is_filled_in_by_curl_as_it_came() {
    let server = Server::start(&[]).await;
    let contractor = server.contractor(CONTRACTOR).await;
    let identifier = server.hand_in(CONTRACTOR, "März", None, "März.zip", ("a.txt", b"alpha")).await.identifier;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("list.csv");
    publish::write_file(&file, b"origName;bemerkung\nM\xe4rz;\nM\xe4rz;\n").expect("written");
    let mut results = Vec::new();
    for what in ["status", "retrieval", "retrieval"] {
        let (url, file) = (format!("{}{DNS}/report/{what}", server.url), format!("@{}", file.display()));
        let user = format!("{}:{}", contractor.name, contractor.secret.reveal());
        let curl = tokio::task::spawn_blocking(move || {
            let arguments =
                ["--silent", "--fail", "-H", "Content-Type: text/csv", "-u", &user, "--data-binary", &file, &url];
            Command::new("curl").args(arguments).output().expect("curl")
        });
        let output = curl.await.expect("joined");
        assert!(output.status.success(), "{what}: {output:?}");
        let lines: Vec<Vec<u8>> = output.stdout.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        assert!(lines[1].starts_with(b"M\xe4rz;"), "{:?}", String::from_utf8_lossy(&lines[1]));
        results
            .push(lines[1..3].iter().map(|line| String::from_utf8_lossy(&line[5..]).into_owned()).collect::<Vec<_>>());
    }
    assert!(results[0][0].starts_with(&format!("fertig archiviert;{identifier};")), "{results:?}");
    assert!(results[1][0].starts_with("Abruf beauftragt;") && results[1][0].ends_with(";900;true"), "{results:?}");
    for row in [&results[1][1], &results[2][0], &results[2][1]] {
        assert!(row.starts_with("Abruf war bereits beauftragt;") && row.ends_with(";900;true"), "{results:?}");
    }
    let refused = post(&contractor, "/report/status", b"name\n".to_vec()).await;
    assert_eq!(refused.status(), 400);
    let told: Value = refused.json().await.expect("JSON");
    assert!(told["msg"].as_str().is_some_and(|msg| msg.contains("origName")), "{told}");

    // Another contractor's objects are not there.
    let other = server.contractor("other").await;
    let answer = post(&other, "/report/retrieval", format!("identifier\n{identifier}\n").into_bytes()).await;
    assert!(answer.text().await.expect("text").contains(";404;false;nicht gefunden"));
    let stranger = server.http.post(format!("{}{DNS}/report/status", server.url)).body("origName\n").send().await;
    assert_eq!(stranger.expect("sent").status(), 401);
}

#[tokio::test]
async fn ten_thousand_rows_are_filled_in() {
    let server = Server::start(&[]).await;
    let contractor = server.contractor(CONTRACTOR).await;
    for name in ["first", "last"] {
        server.hand_in(CONTRACTOR, name, None, &format!("{name}.zip"), ("a.txt", name.as_bytes())).await;
    }
    let rows: String = (0..9_998).map(|number| format!(";none {number};;;;;\n")).collect();
    let list = format!("{HEADER}\n;first;;;;;\n{rows};last;;;;;\n");
    let answer = post(&contractor, "/report/status", list.into_bytes()).await;
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.expect("text");
    assert_eq!(text.lines().count(), 10_001);
    assert_eq!(text.lines().filter(|line| line.ends_with(";404;false;nicht gefunden")).count(), 9_998);
    for line in [text.lines().nth(1), text.lines().last()] {
        assert!(line.is_some_and(|line| line.ends_with(";100;true;fertig archiviert")), "{line:?}");
    }
}
