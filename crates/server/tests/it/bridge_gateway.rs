//! A repository's day with the Bridge: nginx with a password file is its gateway.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::bridge_support::{md5, noise, sum};
use super::support::Server;
use crate::peers;
use dipper_archive::digest::Algorithm;

const USER: &str = "dipper";
const PASSWORD: &str = "swordfish";

/// An nginx that serves a directory to whoever knows the password. It is gone with this.
struct Gateway {
    directory: tempfile::TempDir,
    process: Child,
    url: String,
}

impl Gateway {
    async fn start(server: &Server) -> Gateway {
        peers::install(&["nginx"]);
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::create_dir(directory.path().join("files")).expect("made");
        std::fs::write(directory.path().join("passwords"), format!("{USER}:{{PLAIN}}{PASSWORD}\n")).expect("written");
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: String = temporary.map(|kind| format!("{kind}_temp_path {};\n", path(kind))).concat();
        // The name that the workers run under must be one that can read the directory.
        let user = if is_root() { "user root;" } else { "" };
        let config = format!(
            "daemon off; worker_processes 1; pid {}; error_log stderr; {user}\n\
             events {{}}\n\
             http {{ access_log off; {temporary}\n\
               server {{ listen 127.0.0.1:{port};\n\
                 location /gateway/ {{ alias {}/; auth_basic files; auth_basic_user_file {}; }}\n\
                 location /moved/ {{ rewrite ^/moved/(.*)$ /gateway/$1 redirect; }} }} }}\n",
            path("pid"),
            path("files"),
            path("passwords"),
        );
        std::fs::write(directory.path().join("nginx.conf"), config).expect("written");
        let mut command = Command::new(nginx());
        command.arg("-c").arg(directory.path().join("nginx.conf")).args(["-e", "stderr"]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nginx starts");
        let url = format!("http://127.0.0.1:{port}/gateway");
        let gateway = Gateway { directory, process, url };
        let answers = async || server.http.get(&gateway.url).send().await.is_ok();
        assert!(server.until(answers).await, "nginx does not listen");
        gateway
    }

    fn put(&self, filegroup: &str, file: &str, bytes: &[u8]) {
        let path = self.directory.path().join("files").join(filegroup).join(file);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn nginx() -> PathBuf {
    let known = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
    known.into_iter().map(PathBuf::from).find(|path| path.is_file()).expect("nginx is installed")
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    Path::new("/proc/self").metadata().is_ok_and(|found| found.uid() == 0)
}

#[tokio::test]
async fn filegroups_are_deposited_listed_and_restored() {
    let server = Server::start(&[("egress.allow", "127.0.0.1")]).await;
    let gateway = Gateway::start(&server).await;
    let operator = server.operator("ops").await;
    let (account, other) = (server.account(&operator, "uni").await, server.account(&operator, "other").await);
    let (large, name) = (noise(1_500_000), "ü & 1/b c.bin");
    gateway.put("fg-1", name, &large);
    gateway.put("fg-1", "empty", b"");
    gateway.put("fg-2", "x", b"ex");
    let first = json!({
        "fg-1": {"version": "2026-01", "files": {name: md5(&large), "empty": md5(b"")}},
        "fg-2": {"files": {"x": md5(b"ex")}},
    });

    let (status, body) = account.post("/bridge/deposit", &first).await;
    assert_eq!((status, &body["type"]), (409, &json!("urn:dipper:problem:no-gateway")), "{body}");
    let registration = json!({"gateway-url": gateway.url, "gateway-username": USER, "gateway-password": PASSWORD});
    for path in ["/bridge/register", "/otm/register"] {
        assert_eq!(account.post(path, &registration).await, (200, Value::Null));
    }
    // One that answers with where the files are.
    let mut moved = registration.clone();
    moved["gateway-url"] = gateway.url.replace("/gateway", "/moved").into();
    assert_eq!(other.post("/bridge/register", &moved).await.0, 200);
    for wrong in [json!({"gateway-url": "ftp://x", "gateway-username": "a", "gateway-password": "b"}), json!({})] {
        let status = account.post("/otm/register", &wrong).await.0;
        assert!([400, 422].contains(&status), "{wrong}: {status}");
    }
    assert_eq!(account.get("/bridge/deposit/fg-1").await.0, 404);
    assert_eq!(account.post("/bridge/deposit", &first).await, (201, Value::Null));
    let (_, accepted) = account.get("/bridge/deposit/fg-1").await;
    let file = |status: &str, size: &str, bytes: &[u8]| json!({"status": status, "size": size, "checksum": md5(bytes)});
    let files = json!({name: file("pending", "", &large), "empty": file("pending", "", b"")});
    assert_eq!(accepted, json!({"fg-1": {"deposit-state": "DEPOSIT_ACCEPTED", "files": files}}));
    let entry = |files: &str| json!({"files": files, "status": "DEPOSIT_ACCEPTED"});
    assert_eq!(account.get("/bridge/deposit").await.1, json!({"fg-1": entry("2"), "fg-2": entry("1")}));
    assert_eq!(account.get("/otm/deposit?status=ACCEPTED").await.1["fg-2"]["file-count"], "1");
    assert_eq!(account.get("/bridge/deposit?status=DEPOSIT_STAGED").await, (200, json!({})));

    server.work_twice().await;
    let (_, complete) = account.get("/bridge/deposit/fg-1").await;
    let files = json!({name: file("retrieved", "1500000", &large), "empty": file("retrieved", "0", b"")});
    assert_eq!(complete, json!({"fg-1": {"deposit-state": "DEPOSIT_COMPLETE", "files": files}}));
    let (_, told) = account.get("/otm/deposit/fg-1/status").await;
    assert_eq!((&told["fg-1"]["status"], &told["fg-1"]["version"]), (&json!("DEPOSIT_COMPLETE"), &json!("2026-01")));
    assert_eq!(account.get("/bridge/deposit").await, (200, json!({})), "none that is not complete");
    assert_eq!(account.post("/bridge/deposit", &first).await.0, 201, "the same again");
    assert_eq!(account.get("/bridge/deposit").await, (200, json!({})), "nothing happens");

    // A version of it that shares a file; and the same names on another account.
    gateway.put("fg-1", "new", b"new");
    let second = json!({"fg-1": {"version": "2026-02", "files": {
        name: {"size": large.len(), "SHA-512": sum(Algorithm::Sha512, &large)},
        "new": {"size": "3", "MD5": md5(b"new"), "SHA-256": sum(Algorithm::Sha256, b"new")},
    }}});
    assert_eq!(account.post("/otm/deposit?deposit-format=files", &second).await.0, 201);
    let conflict = json!({"fg-1": {"version": "2026-01", "files": {"empty": md5(b"")}}});
    let (status, body) = account.post("/bridge/deposit", &conflict).await;
    assert_eq!((status, &body["errors"][0]["filegroup"]), (409, &json!("fg-1")), "{body}");
    gateway.put("fg-1", "of the other", b"other");
    let others = json!({"fg-1": {"version": "2026-01", "files": {"of the other": md5(b"other")}}});
    assert_eq!(other.post("/bridge/deposit", &others).await.0, 201);
    server.work_twice().await;
    let (_, complete) = account.get("/bridge/deposit/fg-1").await;
    let status = |file: &str| complete["fg-1"]["files"][file]["status"].clone();
    assert_eq!((status(name), status("new")), (json!("existing"), json!("retrieved")), "{complete}");
    let (_, listed) = account.get("/bridge/list/fg-1").await;
    assert_eq!((&listed["checksum-type"], listed["fg-1"].as_array().map(Vec::len)), (&json!("MD5"), Some(2)));
    assert_eq!(listed["fg-1"][0]["files"][name], json!({"size": "1500000", "checksum": md5(&large)}));
    let (_, of_file) = account.get("/otm/list/fg-1/new").await;
    let told = json!({"size": "3", "MD5": md5(b"new"), "SHA-256": sum(Algorithm::Sha256, b"new"),
        "SHA-512": sum(Algorithm::Sha512, b"new")});
    assert_eq!(of_file, json!({"filegroup": "fg-1", "2026-02": {"new": told}}));
    assert_eq!(other.get("/bridge/list").await, (200, json!(["fg-1"])));
    let (_, listed) = other.get("/bridge/list/fg-1").await;
    assert_eq!(listed["fg-1"][0]["files"].as_object().map(|files| files.len()), Some(1), "{listed}");

    let wanted = json!({"fg-1": {"files": {"empty": md5(b""), name: md5(&large)}}, "fg-2": {}});
    let id = account.restore("/bridge/restore", &wanted).await;
    server.work().await;
    let (_, restore) = account.get(&format!("/bridge/restore/{id}")).await;
    let versions: Vec<&str> =
        restore["files"].as_array().expect("files").iter().filter_map(|file| file["version"].as_str()).collect();
    assert_eq!((restore["status"].as_str(), versions.len()), (Some("RESTORE_STAGED"), 3), "{restore}");
    assert!(versions.contains(&"2026-01") && versions.contains(&"2026-02"), "{versions:?}");
    let path = format!("/otm/restore/{id}/fg-1/{}", "%C3%BC%20%26%201%2Fb%20c.bin");
    assert!(account.fetch(&path, &[]).await.bytes().await.expect("bytes") == large);
    assert_eq!(other.get(&path).await.0, 404);
    let id = other.restore("/bridge/restore", &json!({"fg-1": {}})).await;
    server.work().await;
    let fetched = other.fetch(&format!("/bridge/restore/{id}/fg-1/of%20the%20other"), &[]).await;
    assert_eq!(fetched.bytes().await.expect("bytes").as_ref(), b"other");

    // What is deleted is gone, for the restore as well; the rest, and what others have of the same names, stays.
    let wrong = json!({"fg-1": {"files": {"new": md5(b"old")}}, "fg-3": {}});
    let (status, body) = account.post("/bridge/delete", &wrong).await;
    assert_eq!((status, body["errors"].as_array().map(Vec::len)), (422, Some(2)), "{body}");
    let deletion = json!({"fg-1": {"version": "2026-02", "files": {"new": {"MD5": md5(b"new")}}}, "fg-2": {}});
    let (status, body) = account.post("/otm/delete", &deletion).await;
    assert_eq!(status, 202, "{body}");
    let id = body["delete-id"].as_str().expect("an id").to_owned();
    let listed = json!({"files": "2", "status": "DELETE_ACCEPTED"});
    assert_eq!(account.get("/bridge/delete").await, (200, json!({ id.clone(): listed })));
    assert_eq!(other.get(&format!("/bridge/delete/{id}")).await.0, 404);
    server.work_twice().await;
    let gone = json!({"status": "deleted"});
    let expected = json!({"status": "DELETE_COMPLETE", "filegroups": {"fg-1": {"new": gone}, "fg-2": {"x": gone}}});
    assert_eq!(account.get(&format!("/bridge/delete/{id}")).await, (200, expected));
    let (_, told) = account.get(&format!("/otm/delete/{id}/status")).await;
    assert_eq!((&told[&id]["file-count"], &told[&id]["status"]), (&json!("2"), &json!("DELETE_COMPLETE")));
    let (_, request) = account.get(&format!("/otm/delete/{id}")).await;
    assert_eq!(request, deletion, "with its checksums");
    assert_eq!(account.get("/bridge/list").await, (200, json!(["fg-1"])));
    assert_eq!(account.get("/otm/list/fg-1/new").await.0, 404);
    assert_eq!(account.get("/bridge/list/fg-2").await.0, 404);
    assert_eq!(other.get("/bridge/list").await, (200, json!(["fg-1"])));
    assert_eq!(account.get("/bridge/deposit/fg-2").await.1["fg-2"]["deposit-state"], "DEPOSIT_COMPLETE", "its record");
    let (_, log) = account.get("/bridge/audit/fg-2").await;
    let types: Vec<&str> =
        log["fg-2"][0]["fg-2"].as_array().expect("events").iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!((types.first(), types.last()), (Some(&"ingest"), Some(&"deletion")), "{log}");
    // Asked for with the draft, it is told without its checksums.
    let draft = json!({"fg-1": {"files": {"of the other": md5(b"other")}}});
    let (status, body) = other.post("/bridge/delete", &draft).await;
    assert_eq!(status, 202, "{body}");
    let path = format!("/otm/delete/{}", body["delete-id"].as_str().expect("an id"));
    assert_eq!(other.get(&path).await, (200, json!({"fg-1": {"files": {"of the other": {}}}})));
    assert_eq!(account.get(&path).await.0, 404);
}

#[tokio::test]
async fn a_gateway_whose_files_are_others_leaves_no_deposit_behind() {
    let server = Server::start(&[("egress.allow", "127.0.0.1"), ("deposit.attempts", "1")]).await;
    let gateway = Gateway::start(&server).await;
    let operator = server.operator("ops").await;
    let account = server.account(&operator, "uni").await;
    gateway.put("fg", "good", b"good");
    gateway.put("fg", "bad", b"bad");
    let registration = json!({"gateway-url": gateway.url, "gateway-username": USER, "gateway-password": PASSWORD});
    assert_eq!(account.post("/otm/register", &registration).await.0, 200);
    let wrong = json!({"fg": {"files": {"good": md5(b"good"), "bad": md5(b"other")}}});
    for _ in 0..2 {
        assert_eq!(account.post("/bridge/deposit", &wrong).await.0, 201);
        server.work_twice().await;
        let (_, failed) = account.get("/bridge/deposit/fg").await;
        assert_eq!(failed["fg"]["deposit-state"], "DEPOSIT_ERROR", "{failed}");
        assert!(failed["fg"]["details"].as_str().expect("text").contains("bad"), "{failed}");
    }
    assert_eq!(account.get("/bridge/deposit?status=ERROR").await.1["fg"]["status"], "DEPOSIT_ERROR");
    assert_eq!(account.get("/bridge/list").await, (200, json!([])));
    let faulty =
        json!({"fg": {"files": {"../x": md5(b"x"), "y": "12", "z": md5(b"z")}}, "a/b": {"files": {"q": md5(b"q")}}});
    let (status, body) = account.post("/bridge/deposit", &faulty).await;
    let errors = body["errors"].as_array().expect("errors");
    let named: Vec<(&str, Option<&str>)> =
        errors.iter().map(|error| (error["filegroup"].as_str().expect("a name"), error["file"].as_str())).collect();
    assert_eq!(status, 422, "{body}");
    for expected in [("fg", Some("../x")), ("fg", Some("y")), ("a/b", None)] {
        assert!(named.contains(&expected), "{expected:?} in {named:?}");
    }
}

#[tokio::test]
async fn names_that_are_keys_of_an_answer_come_once() {
    let server = Server::start(&[]).await;
    let operator = server.operator("ops").await;
    let account = server.account(&operator, "uni").await;
    server.version("uni", "checksum-type", "1", &[("checksum-type", b"a")]).await;
    let answer = account.fetch("/bridge/list/checksum-type?checksum-type=SHA-512", &[]).await;
    let text = answer.text().await.expect("text");
    assert_eq!(text.matches("\"checksum-type\":[").count() + text.matches("\"checksum-type\":\"").count(), 1, "{text}");
    let listed: Value = serde_json::from_str(&text).expect("JSON");
    let expected = json!({"size": "1", "checksum": sum(Algorithm::Sha512, b"a")});
    assert_eq!(listed, json!({"checksum-type": [{"version": "1", "files": {"checksum-type": expected}}]}));
    server.version("uni", "filegroup", "filegroup", &[("a", b"a")]).await;
    let text = account.fetch("/otm/list/filegroup", &[]).await.text().await.expect("text");
    assert_eq!(text.matches("\"filegroup\":").count(), 1, "{text}");
    let listed: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&listed["filegroup"], &listed["v1"]["a"]["size"]), (&json!("filegroup"), &json!("1")), "{listed}");
}

#[tokio::test]
async fn a_long_request_is_read_up_to_the_limit_of_the_bridge() {
    let server = Server::start(&[("server.max_body_bytes", "1024"), ("bridge.max_body_bytes", "20000")]).await;
    let operator = server.operator("ops").await;
    let account = server.account(&operator, "uni").await;
    server.version("uni", "fg", "", &[("a", b"a")]).await;
    let wanted = |count: usize| {
        let files: serde_json::Map<String, Value> =
            (0..count).map(|number| (format!("f{number}"), json!(""))).collect();
        json!({"fg": {"files": files}})
    };
    let (status, body) = account.post("/bridge/restore", &wanted(1000)).await;
    assert_eq!((status, body["errors"].as_array().map(Vec::len)), (422, Some(1000)));
    let (status, body) = account.post("/otm/restore", &wanted(5000)).await;
    assert_eq!((status, &body["status"]), (413, &json!(413)), "{body}");
}
