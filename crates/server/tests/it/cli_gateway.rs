//! The gateway of a contract, from the command line.

use serde_json::Value;

use super::cli_support::{Dipper, Ran, run};

const PASSWORD: &str = "a gateway's own secret";

fn gateway(program: &Dipper, arguments: &[&str]) -> Ran {
    let mut command = program.command(&[&["--json", "gateway"], arguments].concat());
    command.env("DIPPER_EGRESS_ALLOW", "127.0.0.0/8");
    run(command)
}

#[test]
fn a_gateway_is_set_shown_and_replaced_and_its_password_is_told_to_nobody() {
    let program = Dipper::with_client();
    let none = gateway(&program, &["show", "2d17"]).json(0);
    assert_eq!((none["contractId"].as_str(), &none["gateway"]), (Some("2d17"), &Value::Null));

    program.write("password", format!("{PASSWORD}\n").as_bytes());
    for (url, username) in [("http://127.0.0.1:8080/files", "dipper"), ("http://127.0.0.1:8081/other", "somebody")] {
        let set = ["set", "2d17", url, "--username", username, "--password-file", "password"];
        let told = gateway(&program, &set);
        let shown = told.json(0);
        assert_eq!(shown["gateway"]["url"], format!("{url}/"));
        assert_eq!(shown["gateway"]["username"], username);
        assert!(!told.stdout.contains(PASSWORD) && !told.stderr.contains(PASSWORD), "{told:?}");
        assert_eq!(gateway(&program, &["show", "2d17"]).json(0), shown);
    }

    let set = |contract: &str, url: &str, username: &str, file: &str| {
        gateway(&program, &["set", contract, url, "--username", username, "--password-file", file])
    };
    let good = "http://127.0.0.1:8082/files";
    program.write("two-lines", b"one\ntwo");
    let wrong = [
        (set("none", good, "dipper", "password"), 4, "none"),
        (set("2d17", "ftp://127.0.0.1/files", "dipper", "password"), 2, "ftp"),
        (set("2d17", "http://10.0.0.1/files", "dipper", "password"), 2, "10.0.0.1"),
        (set("2d17", good, "with:colon", "password"), 2, "user name"),
        (set("2d17", good, "dipper", "two-lines"), 2, "password"),
        (set("2d17", good, "dipper", "missing"), 1, "missing"),
        (gateway(&program, &["show", "none"]), 4, "none"),
    ];
    for (ran, code, named) in wrong {
        let told = ran.stderr.clone();
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{named}: {ran:?}");
        assert!(told.contains(named) && !told.contains(PASSWORD), "{named}: {told}");
    }
    // What is refused changes nothing.
    let shown = gateway(&program, &["show", "2d17"]).json(0);
    assert_eq!(shown["gateway"]["url"], "http://127.0.0.1:8081/other/");
}
