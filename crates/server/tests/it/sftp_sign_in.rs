//! Who may sign in over SFTP, with what, and what the server proves itself with.

use std::process::Stdio;
use std::time::Instant;

use dipper_core::Role;

use super::cli_support::{Dipper, run};
use super::sftp_support::{CLIENT, CONTRACT, Contractor, Raw, failed, programs, succeeded};
use super::support::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_the_secret_and_guessing_is_slowed_down() {
    let contractor = Contractor::start(&[]).await;
    contractor.deliver("a.tar", b"content");
    let by_password = |password: &str| {
        let options = ["PreferredAuthentications=password", "PubkeyAuthentication=no"];
        contractor.batch(contractor.by_password("sftp", password, &options), "get outgoing/a.tar got")
    };
    succeeded(&by_password(contractor.secret.reveal()));
    assert_eq!(std::fs::read(contractor.path("got")).expect("fetched"), b"content");
    assert!(failed(&by_password("wrong")).contains("Permission denied"));
    // Five failures are free. After them even the right password is not heard for a second, in which a slow machine may not
    // come to say it.
    let began = Instant::now();
    let passwords = ["1", "2", "3", "4", "5", contractor.secret.reveal()];
    while Raw::try_passwords(contractor.port, CLIENT, &passwords).await {
        assert!(began.elapsed() < PATIENCE, "guessing is not slowed down");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_other_kinds_do_not_stand_in_the_way_of_a_password() {
    let contractor = Contractor::start(&[]).await;
    for (name, kind) in [("rsa", "rsa"), ("ecdsa", "ecdsa"), ("strange", "ed25519")] {
        contractor.make_key(name, kind);
    }
    let offered = |names: &[&str]| {
        let files: Vec<_> =
            names.iter().map(|name| format!("IdentityFile={}", contractor.path(name).display())).collect();
        let options: Vec<_> =
            files.iter().map(String::as_str).chain(["PreferredAuthentications=publickey,password"]).collect();
        contractor.batch(contractor.by_password("sftp", contractor.secret.reveal(), &options), "ls")
    };
    succeeded(&offered(&["rsa", "strange"]));
    contractor.add_key(CLIENT, "ecdsa").await;
    contractor.write("password", b"wrong");
    let key = format!("IdentityFile={}", contractor.path("ecdsa").display());
    let mut command = contractor.ssh("sftp", contractor.port, &[&key, "BatchMode=yes"]);
    succeeded(&contractor.batch(
        {
            command.env_remove("SSH_ASKPASS");
            command
        },
        "ls",
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_may_not_read_are_refused() {
    let contractor = Contractor::start(&[]).await;
    let by_key = |client_id: &str| contractor.batch_as(contractor.by_key("sftp"), client_id, "ls");
    succeeded(&by_key(CLIENT));
    // The key of another client, and a client that does not exist.
    contractor.server.client("c2", &[(CONTRACT, Role::Read)]).await;
    for client_id in ["c2", "nobody"] {
        assert!(failed(&by_key(client_id)).contains("Permission denied"));
    }
    contractor.server.client("c3", &[(CONTRACT, Role::Write), (CONTRACT, Role::Operator)]).await;
    contractor.add_key("c3", "key").await;
    assert!(failed(&by_key("c3")).contains("Permission denied"));
    let administration = contractor.server.administration();
    administration.client_enable(CLIENT, false).await.expect("disabled");
    assert!(failed(&by_key(CLIENT)).contains("Permission denied"));
    administration.client_enable(CLIENT, true).await.expect("enabled");
    succeeded(&by_key(CLIENT));
    let keys = administration.client_key_list(CLIENT).await.expect("listed");
    administration.client_key_remove(CLIENT, &keys[0].key.fingerprint).await.expect("removed");
    assert!(failed(&by_key(CLIENT)).contains("Permission denied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_reads_cannot_write() {
    let contractor = Contractor::start_with(&[], &[(CONTRACT, Role::Read)]).await;
    contractor.write("package", b"content");
    for batch in ["put package incoming/package", "mkdir incoming/new"] {
        let refused = failed(&contractor.batch(contractor.by_key("sftp"), batch));
        assert!(refused.to_lowercase().contains("permission denied"), "{refused}");
    }
    succeeded(&contractor.batch(contractor.by_key("sftp"), "ls incoming"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_key_stays_the_same() {
    let contractor = Contractor::start(&[]).await;
    let known = std::fs::read_to_string(contractor.path("known_hosts")).expect("known");
    let contractor = contractor.restart(&[]).await;
    let again = std::fs::read_to_string(contractor.path("known_hosts")).expect("known");
    assert_eq!(known.lines().next(), again.lines().next());
    succeeded(&contractor.batch(contractor.by_key("sftp"), "ls"));
}

#[test]
fn keys_are_added_listed_and_removed_by_the_operator() {
    programs();
    let dipper = Dipper::with_client();
    let key = |name: &str, kind: &str| {
        let mut command = std::process::Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-C", "anna@archiv", "-t", kind, "-f"]).arg(dipper.path(name));
        succeeded(&command.output().expect("ssh-keygen runs"));
        format!("{name}.pub")
    };
    let file = key("key", "ed25519");
    let added = dipper.json(&["client", "key", "add", "c1", &file]);
    let fingerprint = added["fingerprint"].as_str().expect("a fingerprint").to_owned();
    let mut command = std::process::Command::new("ssh-keygen");
    let told = succeeded(&command.arg("-lf").arg(dipper.path(&file)).output().expect("ssh-keygen runs"));
    assert!(told.contains(&fingerprint), "{told}");
    let listed = dipper.json(&["client", "key", "list", "c1"]);
    assert_eq!(
        (&listed["keys"][0]["fingerprint"], &listed["keys"][0]["comment"]),
        (&added["fingerprint"], &"anna@archiv".into())
    );
    assert!(dipper.run(&["client", "key", "add", "c1", &file]).stderr.contains("exists already"));
    let rsa = key("rsa", "rsa");
    assert!(dipper.run(&["client", "key", "add", "c1", &rsa]).stderr.contains("ssh-keygen -t ed25519"));
    assert!(dipper.run(&["client", "key", "add", "c1", "key"]).stderr.contains("private key"));
    assert!(dipper.run(&["client", "key", "add", "nobody", &file]).stderr.contains("no client nobody"));
    dipper.json(&["client", "key", "remove", "c1", &fingerprint]);
    assert_eq!(dipper.json(&["client", "key", "list", "c1"])["keys"], serde_json::json!([]));
    let mut command = dipper.command(&["client", "key", "add", "c1", "-"]);
    command.stdin(Stdio::from(std::fs::File::open(dipper.path(&file)).expect("a key")));
    assert_eq!(run(command).code, 0);

    let shown = dipper.json(&["sftp", "host-key", "--host", "sftp.example.org", "--port", "2222"]);
    assert!(shown["knownHosts"].as_str().expect("a line").starts_with("[sftp.example.org]:2222 ssh-ed25519 AAAA"));
    assert_eq!(shown["fingerprint"], dipper.json(&["sftp", "host-key"])["fingerprint"]);
}
