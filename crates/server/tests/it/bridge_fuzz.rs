//! The Bridge API before a fuzzer that has read its description: nothing breaks, and nothing is answered that the
//! description does not know.

use std::process::Command;

use dipper_core::Role;

use super::support::Server;
use crate::peers;

/// Enough for every route to be met with what its description allows, and with what it does not.
const EXAMPLES: &str = "12";

#[tokio::test]
async fn a_fuzzer_finds_nothing_that_the_description_does_not_know() {
    let server = Server::start(&[("server.rate_limit_per_second", "0")]).await;
    let grants = [("fuzz", Role::Read), ("fuzz", Role::Write), ("fuzz", Role::Operator)];
    let secret = server.client("fuzz", &grants).await;
    server.version("fuzz", "filegroup-1", "2026-01-31", &[("a/b.tif", b"tif"), ("c.tif", b"")]).await;
    let scripts = peers::install(&["schemathesis"]);
    let credentials = format!("fuzz:{}", secret.reveal());
    let document = format!("{}/openapi.json", server.url);
    let ran = tokio::task::spawn_blocking(move || {
        let mut command = Command::new("timeout");
        command.arg("240").arg(scripts.join("schemathesis")).arg("run").arg(document);
        command.args(["--include-path-regex", "^/(bridge|otm)(/|$)", "--auth", &credentials]);
        command.args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ]);
        command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", "20261122"]);
        command.args(["--workers", "2", "--no-color", "--warnings", "off", "--request-timeout", "20"]);
        command.args(["--suppress-health-check", "all", "--generation-database", "none"]);
        command.output().expect("it runs")
    });
    let ran = ran.await.expect("it ran");
    assert!(ran.status.success(), "{}", peers::told(&ran));
}
