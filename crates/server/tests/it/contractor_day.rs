//! What a contractor does from the first key to the last package, with the programs that people have: `dipper` on the side of
//! the archive, OpenSSH's `sftp`, `curl` and `bagit.py` on the other.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::cli_support::{Dipper, names, wait_until};
use super::sftp_support::succeeded;
use crate::peers;

/// What the contractor has on a machine of its own.
struct Desk {
    directory: tempfile::TempDir,
    base: String,
    secret: String,
    sftp_port: String,
}

impl Desk {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn sftp(&self, batch: &str) -> String {
        let mut command = Command::new("sftp");
        command.args(["-F", "none", "-b", "-", "-i", "id", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]);
        command.args([
            "-o",
            "UserKnownHostsFile=known_hosts",
            "-o",
            "StrictHostKeyChecking=yes",
            "-P",
            &self.sftp_port,
        ]);
        command.arg("anna@127.0.0.1").current_dir(&self.directory).env_remove("SSH_AUTH_SOCK");
        let mut running =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sftp runs");
        running.stdin.take().expect("piped").write_all(batch.as_bytes()).expect("told");
        succeeded(&running.wait_with_output().expect("it ends"))
    }

    fn curl(&self, path: &str, arguments: &[&str]) -> Value {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--noproxy", "*", "--user", &format!("anna:{}", self.secret)]);
        let output = command.args(arguments).arg(format!("{}/daweb3{path}", self.base)).output().expect("curl runs");
        serde_json::from_str(&succeeded(&output)).expect("JSON")
    }
}

/// A bag as the tool of the Library of Congress makes it, as a tar.
fn bag(directory: &Path, name: &str, content: &[u8]) {
    let bag = directory.join(name);
    std::fs::create_dir(&bag).expect("made");
    std::fs::write(bag.join("a.txt"), content).expect("written");
    succeeded(&Command::new(peers::tool("bagit.py")).arg("--quiet").arg(&bag).output().expect("bagit.py runs"));
    let mut tar = Command::new("tar");
    tar.arg("-cf").arg(directory.join(format!("{name}.tar"))).arg("-C").arg(directory).arg(name);
    succeeded(&tar.output().expect("tar runs"));
}

#[test]
fn a_package_goes_in_over_sftp_and_comes_back() {
    peers::install(&["ssh"]);
    let dipper = Dipper::new();
    let directory = tempfile::tempdir().expect("a directory");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-N", "", "-t", "ed25519", "-f"]).arg(directory.path().join("id"));
    succeeded(&keygen.output().expect("ssh-keygen runs"));
    dipper.json(&["contract", "add", "2d17"]);
    let added = dipper.json(&["client", "add", "anna", "--contract", "2d17", "--role", "read", "--role", "write"]);
    let secret = added["clientSecret"].as_str().expect("a secret").to_owned();
    let public = directory.path().join("id.pub").display().to_string();
    dipper.json(&["client", "key", "add", "anna", &public]);
    let (mut running, base) = dipper.serve(&[
        ("DIPPER_SFTP_LISTEN", "127.0.0.1:0"),
        ("DIPPER_AREA_SETTLE_SECONDS", "0"),
        ("DIPPER_AREA_PICKUP_SECONDS", "1"),
    ]);
    let sftp_port = running.line().trim().rsplit(':').next().expect("a port").to_owned();
    let host = dipper.json(&["sftp", "host-key", "--host", "127.0.0.1", "--port", &sftp_port]);
    let desk = Desk { directory, base, secret, sftp_port };
    std::fs::write(desk.path("known_hosts"), host["knownHosts"].as_str().expect("a line")).expect("written");

    bag(desk.directory.path(), "letters", b"Dear Anna");
    desk.sftp("put letters.tar incoming/\n");
    let submissions = |state: &str| {
        let listed = dipper.json(&["submission", "list", "--contract", "2d17", "--state", state]);
        listed["submissions"].as_array().expect("a list").clone()
    };
    wait_until("the ingest", || !submissions("ingested").is_empty());
    let submission = submissions("ingested").remove(0);
    let told = (&submission["path"], &submission["objectId"], &submission["version"], &submission["reason"]);
    assert_eq!(told, (&"letters.tar".into(), &"letters".into(), &1.into(), &Value::Null));
    assert!(submissions("refused").is_empty());

    // What is not a bag comes back with a report, and the list says the same.
    std::fs::write(desk.path("broken.tar"), b"no tar at all").expect("written");
    desk.sftp("put broken.tar incoming/\n");
    wait_until("the refusal", || !submissions("refused").is_empty());
    let refused = submissions("refused").remove(0);
    assert_eq!((&refused["path"], &refused["archiveId"]), (&"broken.tar".into(), &Value::Null));
    let reason = refused["reason"].as_str().expect("a reason").to_owned();
    wait_until("the report", || desk.sftp("ls -1 incoming\n").contains("broken.tar.report.txt"));
    desk.sftp("get incoming/broken.tar.report.txt\n");
    let report = std::fs::read_to_string(desk.path("broken.tar.report.txt")).expect("a report");
    assert!(report.contains(&reason), "{reason:?} in {report}");
    let table = dipper.run(&["submission", "list"]).stdout;
    assert!(table.contains("letters.tar") && table.contains("broken.tar"), "{table}");

    let identifier = desk.curl("/status/index?origName=letters", &[])["result"][0]["identifier"].clone();
    let name = format!("{}.tar", identifier.as_str().expect("an identifier"));
    let json = ["-H", "Content-Type: application/json", "-d", r#"{"origName":"letters"}"#];
    assert_eq!(desk.curl("/automatedRetrieval/queueForRetrievalJSON", &json)["success"], "true");
    wait_until("the delivery", || desk.sftp("ls -1 outgoing\n").contains(&name));
    let before = desk.curl("/outgoing/", &[])["files"][0].clone();
    assert_eq!((&before["name"], &before["fetched"]), (&name.as_str().into(), &Value::Null));
    desk.sftp(&format!("get outgoing/{name}\n"));
    let got = desk.path(&name);
    assert_eq!(std::fs::metadata(&got).expect("fetched").len(), before["sizeBytes"].as_u64().expect("a size"));
    wait_until("the fetch is noted", || desk.curl("/outgoing/", &[])["files"][0]["fetched"].is_string());
    let after = desk.curl("/outgoing/", &[])["files"][0].clone();
    assert!(after["expires"].as_str() < before["expires"].as_str(), "{before} {after}");

    let out = desk.path("out");
    std::fs::create_dir(&out).expect("made");
    succeeded(&Command::new("tar").arg("-xf").arg(&got).arg("-C").arg(&out).output().expect("tar runs"));
    let delivered = out.join(names(&out).remove(0));
    succeeded(
        &Command::new(peers::tool("bagit.py")).arg("--validate").arg(&delivered).output().expect("bagit.py runs"),
    );
    assert_eq!(std::fs::read(delivered.join("data/a.txt")).expect("delivered"), b"Dear Anna");
}
