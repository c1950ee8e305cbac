//! The server before a real browser: headless Chromium is driven through scenarios by `harness.mjs`, which judges every page
//! and keeps pictures of it below `target/tmp/screenshots`.

mod depositor;
mod description;
mod operator;
mod sign_in;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::peers;
use crate::support::Server;

/// Enough for the longest scenario on a busy machine. Something hangs that takes longer.
const LONGEST_SECONDS: &str = "600";

/// Drives a scenario, a script beside this file, with what it needs to know. Nothing must be found. Whenever the scenario
/// asks for `work`, the server does every step that is ready.
async fn drive(server: &Server, scenario: &str, facts: Value) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = here.join("tests/it/browser").join(scenario).with_extension("mjs");
    let programs = tokio::task::spawn_blocking(|| peers::install(&["browser"])).await.expect("installed");
    let task = json!({
        "modules": programs.join("../modules"),
        "url": server.url,
        "screenshots": Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots"),
        "locales": here.join("locales"),
        "facts": facts,
    });
    let mut command = Command::new("timeout");
    command.arg(LONGEST_SECONDS).arg(programs.join("node")).arg(script);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    let mut input = child.stdin.take().expect("its input");
    writeln!(input, "{task}").expect("taken");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let (sender, mut wishes) = mpsc::unbounded_channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().expect("it ran"));
    while let Some(wish) = wishes.recv().await {
        assert_eq!(wish, "work", "{scenario} asks for something else");
        server.work().await;
        writeln!(input, "done").expect("taken");
    }
    let ran = ended.await.expect("it ran");
    assert!(ran.status.success(), "{scenario}: {}\n{}", ran.status, peers::told(&ran));
}
