//! The demo, as a reader of the first page runs it.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use crate::cli_support::{Dipper, Running, run};

const LISTEN: [&str; 4] = ["--listen", "127.0.0.1:0", "--data", "shown"];

#[test]
fn the_demo_shows_the_whole_way_and_can_be_shown_again() {
    let dipper = Dipper::new();
    dipper.write("own/letter.txt", b"Dear archive,\n");
    let demo = |arguments: &[&str]| {
        let mut command = dipper.command(&[&["demo", "--exit"], &LISTEN[..], arguments].concat());
        command.env_remove("DIPPER_DATA_DIRECTORY");
        run(command)
    };
    let first = demo(&[]);
    assert_eq!(first.code, 0, "{first:?}");
    for part in ["order delivered", "its signature is right", "is right", "holds a valid bag"] {
        assert!(first.stdout.contains(part), "{part}: {first:?}");
    }
    let again = demo(&["own", "--json"]).json(0);
    let packages = again["packages"].as_array().expect("a list");
    assert_eq!(packages.len(), 2);
    let seen = (&packages[0]["unchanged"], &packages[0]["version"], &packages[0]["notice"]);
    assert_eq!(seen, (&json!(true), &json!(1), &json!("dissemination.delivered")));
    assert_eq!((&packages[1]["objectId"], &packages[1]["files"]), (&json!("own"), &json!(1)));
    for package in packages {
        let file = dipper.path(package["delivered"][0]["path"].as_str().expect("a path"));
        assert_eq!(json!(std::fs::metadata(file).expect("a file").len()), package["delivered"][0]["bytes"]);
    }
    let mut webhooks = dipper.command(&["--json", "webhook", "list", "--data", "shown"]);
    webhooks.env_remove("DIPPER_DATA_DIRECTORY");
    assert_eq!(run(webhooks).json(0), json!({ "webhooks": [] }));
}

#[test]
fn the_demo_leaves_a_server_whose_hints_work_until_it_is_stopped() {
    let dipper = Dipper::new();
    let mut running = Running::start(dipper.command(&[&["demo"], &LISTEN[..]].concat()));
    let mut script = Vec::new();
    loop {
        let line = running.line();
        let last = line.contains(" fetch DISSEMINATION_ID");
        if line.starts_with("  ") {
            script.push(line.trim().to_owned());
        }
        if last {
            break;
        }
    }
    // All that is to be pasted, up to the line that wants an identifier filled in.
    let export = script.iter().position(|line| line.starts_with("export ")).expect("a line");
    let pasted = format!("set -e\n{}\n", script[export..script.len() - 1].join("\n"));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &pasted]).current_dir(dipper.directory.path()).stdin(Stdio::null());
    let pasted = run(shell);
    assert_eq!(pasted.code, 0, "{pasted:?}");
    assert!(pasted.stdout.contains("HTTP/1.1 201 Created"), "{pasted:?}");
    assert!(pasted.stdout.contains("status:  DISSEMINATED"), "{pasted:?}");
    let ended = running.stop(Signal::INT);
    assert_eq!(ended.code, 0, "{ended:?}");
}
