//! The server before a real browser: headless Chromium is driven through scenarios by `harness.mjs`, which judges every page
//! and keeps pictures of it below `target/tmp/screenshots`.

mod description;
mod sign_in;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::peers;
use crate::support::Server;

/// Enough for the longest scenario on a busy machine. Something hangs that takes longer.
const LONGEST_SECONDS: &str = "400";

/// Drives a scenario, a script beside this file, with what it needs to know. Nothing must be found.
async fn drive(server: &Server, scenario: &str, facts: Value) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = here.join("tests/it/browser").join(scenario).with_extension("mjs");
    let url = server.url.clone();
    let ran = tokio::task::spawn_blocking(move || {
        let programs = peers::install(&["browser"]);
        let task = json!({
            "modules": programs.join("../modules"),
            "url": url,
            "screenshots": Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots"),
            "locales": here.join("locales"),
            "facts": facts,
        });
        let mut command = Command::new("timeout");
        command.arg(LONGEST_SECONDS).arg(programs.join("node")).arg(script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        child.stdin.take().expect("its input").write_all(task.to_string().as_bytes()).expect("taken");
        child.wait_with_output().expect("it ran")
    });
    let ran = ran.await.expect("it ran");
    assert!(ran.status.success(), "{scenario}: {}\n{}", ran.status, peers::told(&ran));
}
