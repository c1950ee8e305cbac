//! The commands of an operator, as a script runs them.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use super::cli_support::{Dipper, Running, noise, run, wait_until};

#[test]
fn the_command_line_says_what_is_wrong_with_it() {
    let dipper = Dipper::new();
    let help = dipper.run(&["--help"]);
    assert_eq!(help.code, 0);
    for part in ["Exit codes:", "3  damage was found", "130  it was interrupted"] {
        assert!(help.stdout.contains(part), "{part}");
    }
    assert_eq!(dipper.run(&["--version"]).stdout, format!("dipper {}\n", env!("CARGO_PKG_VERSION")));
    dipper.run(&["nonsense"]).error(2);
    dipper.run(&["client", "add", "c1"]).error(2);
    let role = dipper.run(&["client", "add", "c1", "--contract", "a", "--role", "reader"]);
    assert!(role.error(2).contains("reader"), "{role:?}");
}

#[test]
fn a_mistyped_directory_does_not_become_an_installation() {
    let dipper = Dipper::new();
    for arguments in [
        &["package", "list"][..],
        &["contract", "list"],
        &["client", "list"],
        &["webhook", "list"],
        &["verify"],
        &["events"],
        &["queue"],
        &["process", "list"],
        &["ingest", ".", "--contract", "a", "--object-id", "b"],
    ] {
        let ran = dipper.run(arguments);
        assert!(ran.error(4).contains("there is no installation in"), "{ran:?}");
    }
    assert!(!dipper.path("data").exists());
}

#[test]
fn contracts_and_clients() {
    let dipper = Dipper::new();
    assert_eq!(dipper.json(&["contract", "add", "2d17"]), json!({ "contractId": "2d17", "added": true }));
    assert_eq!(dipper.json(&["contract", "add", "2d17"]), json!({ "contractId": "2d17", "added": false }));
    dipper.run(&["contract", "add", "a/b"]).error(2);
    dipper.json(&["contract", "add", "4711"]);
    let listed = json!([{ "contractId": "2d17", "packages": 0 }, { "contractId": "4711", "packages": 0 }]);
    assert_eq!(dipper.json(&["contract", "list"])["contracts"], listed);

    let set = |options: &[&str]| dipper.json(&[&["contract", "set", "2d17"], options].concat());
    let untouched = json!({ "contractId": "2d17", "mail": null, "language": "en", "quotaBytes": null, "usedBytes": 0 });
    assert_eq!(set(&[]), untouched);
    assert_eq!(set(&["--quota", "1000"])["quotaBytes"], 1000);
    assert_eq!(set(&["--quota", "default"]), untouched);
    let people = json!({ "mail": "people@example.org", "language": "nb", "contractId": "2d17", "quotaBytes": null,
        "usedBytes": 0 });
    assert_eq!(set(&["--mail", "people@example.org", "--language", "nb"]), people);
    assert_eq!(set(&[]), people);
    assert_eq!(set(&["--mail", ""])["mail"], json!(null));
    dipper.run(&["contract", "set", "2d17", "--mail", "people"]).error(2);
    dipper.run(&["contract", "set", "2d17", "--language", "fr"]).error(2);
    dipper.run(&["contract", "set", "nowhere", "--language", "de"]).error(4);

    let add = ["client", "add", "c1", "--contract", "2d17", "--contract", "4711", "--role", "read", "--role", "write"];
    let added = dipper.json(&add);
    let secret = added["clientSecret"].as_str().expect("a secret").to_owned();
    assert_eq!((added["clientId"].as_str(), secret.len()), (Some("c1"), 43));
    assert_eq!(dipper.run(&add).error(7), "client c1 exists already");
    dipper.run(&["client", "add", "c2", "--contract", "none", "--role", "read"]).error(4);

    let list = || dipper.json(&["client", "list"])["clients"][0].clone();
    let grants = json!([
        { "contractId": "2d17", "role": "read" },
        { "contractId": "2d17", "role": "write" },
        { "contractId": "4711", "role": "read" },
        { "contractId": "4711", "role": "write" },
    ]);
    assert_eq!(list()["grants"], grants);
    let revoked =
        dipper.json(&["client", "revoke", "c1", "--contract", "4711", "--role", "write", "--role", "operator"]);
    assert_eq!(revoked["revoked"], json!([{ "contractId": "4711", "role": "write" }]));
    let granted = dipper.json(&["client", "grant", "c1", "--contract", "4711", "--role", "operator"]);
    assert_eq!(granted["granted"], json!([{ "contractId": "4711", "role": "operator" }]));
    dipper.run(&["client", "grant", "c1", "--contract", "none", "--role", "read"]).error(4);
    dipper.run(&["client", "grant", "nobody", "--contract", "4711", "--role", "read"]).error(4);
    let text = dipper.run(&["client", "list"]).stdout;
    assert!(text.contains("read+write on 2d17, read+operator on 4711"), "{text}");

    assert_eq!(dipper.json(&["client", "disable", "c1"]), json!({ "clientId": "c1", "enabled": false }));
    assert!(list()["disabled"].is_string());
    assert_eq!(dipper.json(&["client", "enable", "c1"])["enabled"], true);
    assert!(list()["disabled"].is_null());
    dipper.run(&["client", "disable", "nobody"]).error(4);
    let renewed = dipper.json(&["client", "secret", "c1"]);
    assert_ne!(renewed["clientSecret"].as_str(), Some(secret.as_str()));
    dipper.run(&["client", "secret", "nobody"]).error(4);
}

#[test]
fn webhooks() {
    let dipper = Dipper::with_client();
    let added = dipper.json(&["webhook", "add", "c1", "https://hooks.example.org/dipper"]);
    let id = added["webhookId"].as_str().expect("an identifier");
    assert!(added["secret"].as_str().expect("a secret").starts_with("whsec_"));
    dipper.run(&["webhook", "add", "nobody", "https://hooks.example.org/"]).error(4);
    dipper.run(&["webhook", "add", "c1", "no address"]).error(2);
    dipper.run(&["webhook", "add", "c1", "ftp://hooks.example.org/"]).error(2);
    // The settings of the server decide whether it is called; here it is worth a warning.
    let private = || dipper.command(&["--json", "webhook", "add", "c1", "http://127.0.0.1:9/"]);
    let mut allowed = private();
    allowed.env("DIPPER_EGRESS_ALLOW", "127.0.0.1");
    assert_eq!(run(allowed).stderr, "");
    let warned = run(private());
    assert!(warned.stderr.contains("egress.allow"), "{warned:?}");
    let second = warned.json(0)["webhookId"].as_str().expect("an identifier").to_owned();
    dipper.run(&["webhook", "remove", &second]);

    let listed = dipper.json(&["webhook", "list", "c1"])["webhooks"].as_array().expect("a list").clone();
    assert_eq!(listed.len(), 2);
    assert_eq!((&listed[0]["webhookId"], &listed[0]["disabled"]), (&added["webhookId"], &json!(null)));
    assert!(listed.iter().all(|webhook| webhook.get("secret").is_none()), "{listed:?}");
    let rotated = dipper.json(&["webhook", "rotate", id, "--overlap-hours", "2"]);
    assert_ne!(rotated["secret"], added["secret"]);
    let first = || dipper.json(&["webhook", "list"])["webhooks"][0].clone();
    assert!(first()["oldSecretExpires"].is_string());
    dipper.json(&["webhook", "disable", id]);
    assert_eq!(first()["disabledReason"], "disabled by the operator");
    dipper.json(&["webhook", "enable", id]);
    assert!(first()["disabled"].is_null());
    assert_eq!(dipper.json(&["webhook", "attempts", id]), json!({ "webhookId": id, "notices": [] }));
    assert_eq!(dipper.json(&["webhook", "remove", id]), json!({ "webhookId": id, "removed": true }));
    for command in ["rotate", "disable", "enable", "remove", "attempts", "replay"] {
        dipper.run(&["webhook", command, id]).error(4);
    }
}

#[test]
fn ingest_stores_versions_and_refuses_what_is_wrong() {
    let dipper = Dipper::with_client();
    dipper.write("source/a.txt", b"hello\n");
    dipper.write("source/sub/b.bin", &noise(100_000));
    let ingest = |version: &[&str]| {
        let arguments = ["ingest", "source", "--contract", "2d17", "--object-id", "foto 1", "--json"];
        run(dipper.command(&[&arguments, version].concat()))
    };
    let first = ingest(&["--version", "first"]);
    assert_eq!(first.stderr, "", "no bar where nobody sees it");
    let first = first.json(0);
    let archive_id = first["archiveId"].as_str().expect("an identifier");
    let identifier = first["identifier"].as_str().expect("an identifier");
    assert!(identifier.starts_with("1-20") && identifier.ends_with('1'), "{identifier}");
    let expected = json!({
        "archiveId": archive_id, "identifier": identifier, "urn": null, "version": 1, "label": "first", "contractId": "2d17", "objectId": "foto 1",
        "files": 2, "bytes": 100_006, "newBytes": 100_006, "unchanged": false, "warnings": [],
    });
    assert_eq!(first, expected);
    let again = ingest(&["--version", "first"]).json(0);
    assert_eq!((&again["unchanged"], &again["newBytes"], &again["version"]), (&json!(true), &json!(0), &json!(1)));

    dipper.write("source/a.txt", b"hello again\n");
    ingest(&["--version", "first"]).error(7);
    let second = ingest(&[]).json(0);
    assert_eq!((&second["version"], &second["label"], &second["newBytes"]), (&json!(2), &json!(null), &json!(12)));

    let shown = dipper.json(&["package", "show", archive_id]);
    assert_eq!((&shown["version"], &shown["state"]), (&json!(2), &json!("preserved")));
    assert_eq!((&shown["versions"][0]["label"], &shown["identifier"]), (&json!("first"), &json!(identifier)));
    assert_eq!(shown["versions"][1]["container"], "source");
    let set = |quota: &str| dipper.json(&["contract", "set", "2d17", "--quota", quota]);
    assert_eq!(set("8000")["quotaBytes"], 8000);
    assert_eq!(set("default")["quotaBytes"], json!(null));
    dipper.run(&["contract", "set", "none", "--quota", "0"]).error(4);
    let listed = dipper.json(&["package", "list", "--contract", "2d17", "--limit", "1"]);
    assert_eq!((&listed["packages"][0]["objectId"], &listed["next"]), (&json!("foto 1"), &json!(archive_id)));
    let rest = dipper.json(&["package", "list", "--after", archive_id]);
    assert_eq!(rest, json!({ "packages": [], "next": null }));
    assert_eq!(dipper.json(&["package", "list", "--object-id", "foto 2"])["packages"], json!([]));
    dipper.run(&["package", "list", "--contract", "none"]).error(4);
    dipper.run(&["package", "show", "none"]).error(4);

    let bad = |source: &str, contract: &str, object: &str| {
        dipper.run(&["ingest", source, "--contract", contract, "--object-id", object])
    };
    bad("source", "none", "a").error(4);
    bad("source", "2d17", "a\nb").error(2);
    assert!(bad("nowhere", "2d17", "a").error(1).contains("nowhere"));
    let events = dipper.json(&["events", "--package", archive_id]);
    let kinds: Vec<_> = events["events"].as_array().expect("a list").iter().map(|event| &event["kind"]).collect();
    assert_eq!(kinds, ["package ingested", "package ingested"]);
    assert_eq!(dipper.json(&["queue"]), json!({ "steps": [], "held": [], "recalls": [] }));
    assert_eq!(dipper.json(&["process", "list"]), json!({ "processes": [] }));
    for act in [&["retry", "none"][..], &["cancel", "none"], &["priority", "none", "9"]] {
        dipper.run(&[&["queue"], act, &["--by", "Olga"]].concat()).error(4);
    }
    dipper.run(&["queue", "priority", "none", "101", "--by", "Olga"]).error(2);
}

#[test]
fn a_bag_that_is_wrong_is_refused_with_the_file_that_is() {
    let dipper = Dipper::with_client();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/dipper-at-the-river");
    let good = dipper.json(&["ingest", sample, "--contract", "2d17", "--object-id", "good"]);
    assert_eq!(good["warnings"], json!([]));
    dipper.write("bag/bagit.txt", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n");
    dipper.write("bag/data/a.txt", b"hello\n");
    dipper.write("bag/manifest-md5.txt", b"00000000000000000000000000000000  data/a.txt\n");
    let bad = dipper.run(&["ingest", "bag", "--contract", "2d17", "--object-id", "bad"]);
    bad.error(3);
    assert!(bad.stderr.contains("data/a.txt"), "{bad:?}");
    assert_eq!(dipper.json(&["package", "list", "--object-id", "bad"])["packages"], json!([]));
}

#[test]
fn verify_finds_a_changed_byte_and_the_catalogue_can_be_rebuilt() {
    let dipper = Dipper::with_client();
    let (one, other) = (dipper.ingest("one", &noise(50_000)), dipper.ingest("other", b"other"));
    let intact = dipper.json(&["verify"]);
    assert_eq!((&intact["valid"], &intact["objects"], &intact["bytes"]), (&json!(true), &json!(2), &json!(50_005)));
    assert!(dipper.json(&["package", "show", &one])["verified"].is_string());

    dipper.damage(&one);
    let structure = dipper.json(&["verify", "--no-hash"]);
    assert_eq!(structure["valid"], true);
    let found = run(dipper.command(&["verify", "--object-id", "one", "--json"]));
    assert!(found.stderr.starts_with("error: 1 error in the storage root"), "{found:?}");
    let found = found.json(3);
    assert_eq!((&found["valid"], &found["marked"], &found["invalidObjects"]), (&json!(false), &json!(1), &json!(1)));
    assert!(found["problems"][0]["path"].as_str().expect("a path").ends_with("v1/content/file.bin"), "{found}");
    assert_eq!(dipper.json(&["package", "show", &one])["state"], "damaged");
    assert_eq!(dipper.json(&["verify", "--package", &other])["valid"], true);
    dipper.run(&["verify", "--package", "none"]).error(4);
    dipper.run(&["verify", "--object-id", "none"]).error(4);

    dipper.lose_catalogue();
    let indexed = dipper.json(&["index"]);
    assert_eq!((&indexed["objects"], &indexed["added"]), (&json!(2), &json!(2)));
    assert_eq!(dipper.json(&["index"])["added"], 0);
    assert_eq!(dipper.json(&["contract", "list"])["contracts"], json!([{ "contractId": "2d17", "packages": 2 }]));
    dipper.run(&["index", "--contract", "none"]).error(4);
}

#[test]
fn an_interrupted_ingest_goes_on() {
    let dipper = Dipper::with_client();
    // Long enough to be interrupted, and sparse, so that it is not written before it is read.
    let source = dipper.write("source/zeros.bin", b"");
    let file = std::fs::OpenOptions::new().write(true).open(&source).expect("a file");
    file.set_len(400_000_000).expect("made longer");
    let arguments = ["ingest", "source", "--contract", "2d17", "--object-id", "zeros", "--json"];
    let running = Running::start(dipper.command(&arguments));
    let drafts = dipper.path("data/staging/drafts");
    wait_until("a draft", || drafts.read_dir().is_ok_and(|mut drafts| drafts.next().is_some()));
    let stopped = running.stop(Signal::INT);
    assert!(stopped.error(130).contains("goes on from here"), "{stopped:?}");
    assert_eq!(dipper.json(&["package", "list"])["packages"], json!([]));
    file.set_len(4_000_000).expect("made shorter");
    let ingested = run(dipper.command(&arguments)).json(0);
    assert_eq!((&ingested["bytes"], &ingested["version"]), (&json!(4_000_000), &json!(1)));
    assert_eq!(dipper.json(&["verify"])["valid"], true);
}

#[test]
fn the_settings_are_checked_all_at_once() {
    let dipper = Dipper::new();
    assert_eq!(dipper.json(&["config", "check"]), json!({ "valid": true, "problems": [] }));
    let defaults = dipper.run(&["config", "default"]);
    assert_eq!(defaults.code, 0);
    dipper.write("default.toml", defaults.stdout.as_bytes());
    assert_eq!(dipper.run(&["config", "check", "--config", "default.toml"]).code, 0);

    dipper.write("bad.toml", b"[server]\nlisten = \"nowhere\"\nlisetn = 1\n[delivry]\nlink_hours = 1\n");
    let mut command = dipper.command(&["config", "check", "--config", "bad.toml", "--json"]);
    command.env("DIPPER_WORKER_COUNT", "two").env("DIPPER_SERVER", "http://127.0.0.1:1").env("DIPPER_TOKEN", "x");
    let checked = run(command).json(1);
    let keys: Vec<_> = checked["problems"].as_array().expect("a list").iter().map(|one| &one["key"]).collect();
    assert!(
        ["server.lisetn", "delivry", "DIPPER_WORKER_COUNT"].iter().all(|key| keys.contains(&&json!(key))),
        "{keys:?}"
    );
    assert!(!keys.contains(&&json!("DIPPER_SERVER")), "{keys:?}");

    // The same words stop every other command, before it touches anything.
    let mut command = dipper.command(&["contract", "add", "a"]);
    command.env("DIPPER_WORKER_CUONT", "2");
    assert!(run(command).error(1).contains("did you mean DIPPER_WORKER_COUNT?"));
    assert!(!dipper.path("data").exists());
}

#[test]
fn nobody_has_to_read_to_the_end() {
    let dipper = Dipper::new();
    for arguments in [
        &["completions", "bash"][..],
        &["completions", "zsh"],
        &["config", "default"],
        &["--help"],
        &["config", "check"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = dipper.command(arguments).stdout(writer).stderr(Stdio::piped()).output().expect("it runs");
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
    let script = dipper.run(&["completions", "fish"]);
    assert!(script.code == 0 && script.stdout.contains("complete -c dipper"), "{script:?}");
}

#[test]
fn several_processes_start_on_an_empty_directory_at_once() {
    let dipper = Dipper::new();
    let names: Vec<String> = (0..6).map(|number| format!("contract-{number}")).collect();
    let started: Vec<_> = names
        .iter()
        .map(|name| {
            let mut command = dipper.command(&["contract", "add", name]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs")
        })
        .collect();
    let ((one, first), (other, second)) = (dipper.serve(&[]), dipper.serve(&[]));
    for child in started {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_ne!(first, second);
    let listed = dipper.json(&["contract", "list"])["contracts"].as_array().expect("a list").clone();
    let listed: Vec<_> = listed.iter().filter_map(|contract| contract["contractId"].as_str()).collect();
    assert_eq!(listed, names);
    for (running, signal) in [(one, Signal::TERM), (other, Signal::INT)] {
        let ended = running.stop(signal);
        assert_eq!(ended.code, 0, "{ended:?}");
    }
}

#[test]
fn an_address_that_is_taken_is_told() {
    let dipper = Dipper::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let ran = dipper.run(&["serve", "--listen", &address]);
    assert!(ran.error(1).contains(&format!("cannot listen on {address}")), "{ran:?}");
}
