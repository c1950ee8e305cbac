//! The audit log and the regular check on the command line: what the program tells, and what others can do with it.

use serde_json::{Value, json};

use super::cli_support::{Dipper, run};
use crate::metrics::python;

/// Reads PREMIS as the schema of version 3.0 has it, as far as it is written here: which elements may stand in which, in
/// which order, how often.
const PREMIS: &str = r#"
import json, sys, xml.etree.ElementTree as tree
NS = "{http://www.loc.gov/premis/v3}"
XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
def pair(name): return [(name + "Type", 1, 1), (name + "Value", 1, 1)]
MODELS = {
    "premis": [("object", 1, None), ("event", 0, None), ("agent", 0, None), ("rights", 0, None)],
    "object": [("objectIdentifier", 1, None)],
    "objectIdentifier": pair("objectIdentifier"),
    "event": [("eventIdentifier", 1, 1), ("eventType", 1, 1), ("eventDateTime", 1, 1),
        ("eventDetailInformation", 0, None), ("eventOutcomeInformation", 0, None),
        ("linkingAgentIdentifier", 0, None), ("linkingObjectIdentifier", 0, None)],
    "eventIdentifier": pair("eventIdentifier"),
    "eventDetailInformation": [("eventDetail", 0, 1)],
    "eventOutcomeInformation": [("eventOutcome", 1, 1), ("eventOutcomeDetail", 0, None)],
    "eventOutcomeDetail": [("eventOutcomeDetailNote", 0, 1)],
    "linkingAgentIdentifier": pair("linkingAgentIdentifier"),
    "linkingObjectIdentifier": pair("linkingObjectIdentifier"),
    "agent": [("agentIdentifier", 1, None), ("agentName", 0, None), ("agentType", 0, 1)],
    "agentIdentifier": pair("agentIdentifier"),
}
def check(element):
    assert element.tag.startswith(NS), element.tag
    name = element.tag[len(NS):]
    children = [child.tag[len(NS):] for child in element]
    if name not in MODELS:
        assert not children, (name, children)
        return
    place = 0
    for allowed, least, most in MODELS[name]:
        count = 0
        while place < len(children) and children[place] == allowed:
            place, count = place + 1, count + 1
        assert count >= least and (most is None or count <= most), (name, allowed, count)
    assert place == len(children), (name, children[place])
    assert element.get(XSI + "type") == ("intellectualEntity" if name == "object" else None)
    for child in element:
        check(child)
root = tree.fromstring(sys.stdin.read())
assert root.tag == NS + "premis" and root.get("version") == "3.0"
check(root)
known = {(p.find(NS + "objectIdentifierType").text, p.find(NS + "objectIdentifierValue").text)
    for p in root.iter(NS + "objectIdentifier")}
agents = {p.find(NS + "agentIdentifierValue").text for p in root.iter(NS + "agentIdentifier")}
for event in root.iter(NS + "event"):
    for link in event.iter(NS + "linkingObjectIdentifier"):
        assert tuple(part.text for part in link) in known, known
    for link in event.iter(NS + "linkingAgentIdentifier"):
        assert link.find(NS + "linkingAgentIdentifierValue").text in agents
print(json.dumps([event.find(NS + "eventType").text for event in root.iter(NS + "event")]))
"#;

fn premis(document: &str) -> Value {
    python(PREMIS, document).remove(0)
}

#[test]
fn the_audit_log_is_listed_verified_and_exported() {
    let dipper = Dipper::with_client();
    // The contract and its client were set up.
    assert_eq!(dipper.json(&["audit", "verify"])["chains"][0]["entries"], 2);
    let set_up = ["administration", "administration"];
    assert_eq!(premis(&dipper.run(&["audit", "export", "--format", "premis"]).stdout), json!(set_up));
    let (one, other) = (dipper.ingest("one & <only>", b"one"), dipper.ingest("other", b"other"));
    dipper.damage(&other);
    assert_eq!(dipper.run(&["verify"]).code, 3);
    let listed = dipper.json(&["audit", "list"]);
    let told = |entry: &Value| (entry["kind"].clone(), entry["success"].clone(), entry["archiveId"].clone());
    let entries: Vec<_> = listed["entries"].as_array().expect("entries").iter().map(told).collect();
    assert_eq!(entries.len(), 6, "{listed}");
    assert_eq!(entries[1], (json!("administration"), json!(true), Value::Null));
    assert_eq!(entries[2], (json!("ingest"), json!(true), json!(one)));
    let failed = dipper.json(&["audit", "list", "--failures", "--kind", "fixity", "--package", &other]);
    assert_eq!(failed["entries"].as_array().map(Vec::len), Some(1), "{failed}");
    let page = dipper.json(&["audit", "list", "--limit", "3"]);
    let rest = dipper.json(&["audit", "list", "--after", page["next"].as_str().expect("a cursor")]);
    assert_eq!(rest["entries"].as_array().map(Vec::len), Some(3), "{rest}");
    assert_eq!(dipper.json(&["audit", "list", "--until", "2020-01-01"])["entries"], json!([]));
    dipper.run(&["audit", "list", "--since", "yesterday"]).error(2);

    let verified = dipper.json(&["audit", "verify", "--contract", "2d17"]);
    assert_eq!((&verified["valid"], &verified["chains"][0]["entries"]), (&json!(true), &json!(6)));
    let head = verified["chains"][0]["head"].as_str().expect("a hash").to_owned();
    dipper.json(&["verify", "--package", &one]);
    let later = dipper.json(&["audit", "verify", "--since-head", &head]);
    assert_eq!((&later["chains"][0]["entries"], &later["chains"][0]["remembered"]), (&json!(7), &json!(6)));
    let strange = dipper.run(&["audit", "verify", "--since-head", &"0".repeat(64)]);
    assert!(strange.code == 3 && strange.stderr.contains("remembered"), "{strange:?}");

    let exported = dipper.run(&["audit", "export", "--format", "premis"]);
    let types = premis(&exported.stdout);
    let done = ["ingestion", "ingestion", "fixity check", "fixity check", "fixity check"];
    assert_eq!(types, json!([set_up.as_slice(), done.as_slice()].concat()));
    let of_one = premis(&dipper.run(&["audit", "export", "--format", "premis", "--package", &one]).stdout);
    assert_eq!(of_one.as_array().map(Vec::len), Some(3));
    let exported = dipper.run(&["audit", "export", "--format", "json", "--output", "log.json"]);
    assert_eq!((exported.code, exported.stdout.as_str()), (0, ""), "{exported:?}");
    let text = std::fs::read_to_string(dipper.path("log.json")).expect("written");
    let log: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(log["entries"].as_array().map(Vec::len), Some(7));
    let damaged = log["entries"].as_array().expect("entries").iter().find(|entry| entry["success"] == false);
    assert_eq!(damaged.expect("one that failed")["listed"][0]["path"], "file.bin");
    assert_ne!(dipper.run(&["audit", "export", "--format", "json", "--output", "log.json"]).code, 0);
}

#[test]
fn the_coverage_is_told() {
    let dipper = Dipper::with_client();
    let one = dipper.ingest("one", &[7; 1000]);
    dipper.ingest("other", &[8; 500]);
    dipper.json(&["verify", "--package", &one]);
    let told = dipper.json(&["fixity"]);
    assert_eq!(told["periodDays"], 90);
    assert_eq!(told["stored"], json!({ "packages": 2, "bytes": 1500 }));
    assert_eq!(told["checkedWithinPeriod"], json!({ "packages": 1, "bytes": 1000 }));
    assert_eq!(told["neverChecked"], json!({ "packages": 1, "bytes": 500 }));
    assert_eq!((&told["today"]["packages"], &told["damagedPackages"]), (&json!(1), &json!(0)));
    let shown = dipper.run(&["fixity"]).stdout;
    assert!(shown.contains("90 days") && shown.contains("never checked"), "{shown}");
}

/// What is set up at the command line is recorded as what is set up in the console, with who did it.
#[test]
fn what_is_set_up_at_the_command_line_is_on_record() {
    let dipper = Dipper::new();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl anna@home";
    dipper.write("key.pub", key.as_bytes());
    dipper.write("password", b"word");
    let by = |arguments: &[&str]| dipper.json(&[arguments, &["--by", " Olga Holm "]].concat());
    by(&["contract", "add", "2d17"]);
    assert_eq!(by(&["contract", "add", "2d17"])["added"], false);
    by(&["contract", "set", "2d17", "--mail", "archive@example.org", "--quota", "5"]);
    by(&["client", "add", "anna", "--contract", "2d17", "--role", "read"]);
    by(&["client", "grant", "anna", "--contract", "2d17", "--role", "write"]);
    by(&["client", "revoke", "anna", "--contract", "2d17", "--role", "write"]);
    let fingerprint =
        by(&["client", "key", "add", "anna", "key.pub"])["fingerprint"].as_str().expect("text").to_owned();
    by(&["client", "key", "remove", "anna", &fingerprint]);
    by(&["client", "secret", "anna"]);
    by(&["client", "disable", "anna"]);
    let webhook = by(&["webhook", "add", "anna", "https://example.org/hook"]);
    by(&["webhook", "remove", webhook["webhookId"].as_str().expect("text")]);
    let gateway = |url| ["gateway", "set", "2d17", url, "--username", "files", "--password-file", "password"];
    by(&gateway("https://93.184.216.34/files"));
    dipper.run(&gateway("https://anna:hidden@93.184.216.34/files")).error(2);
    // Looking changes nothing. Whoever does not say who they are is told of by the name under which they are logged in.
    by(&["client", "list"]);
    let mut logged_in = dipper.command(&["client", "enable", "anna"]);
    logged_in.env("LOGNAME", "ola");
    assert_eq!(run(logged_in).code, 0);
    dipper.run(&["client", "disable", "anna", "--by", " "]).error(2);
    let log = dipper.json(&["audit", "list", "--kind", "administration"]);
    let entries = log["entries"].as_array().expect("entries");
    let text = |entry: &Value, field: &str| entry[field].as_str().expect("text").to_owned();
    let details: Vec<String> = entries.iter().map(|entry| text(entry, "detail")).collect();
    let expected = [
        "the contract was added",
        "e-mail goes to archive@example.org",
        "the quota of the area is 5 bytes",
        "client anna was added with the roles read on 2d17",
        "client anna was given the role write",
        "the role write was taken from client anna",
        &format!("client anna was given the key {fingerprint}"),
        &format!("the key {fingerprint} was taken from client anna"),
        "client anna was given a new secret",
        "client anna may not sign in any more",
        "of client anna was added: https://example.org/hook",
        "of client anna was removed",
        "files are fetched from https://93.184.216.34/files/, as files",
        "client anna may sign in again",
    ];
    assert_eq!(details.len(), expected.len(), "{details:#?}");
    for (detail, expected) in details.iter().zip(expected) {
        assert!(detail.contains(expected), "{detail} {expected}");
    }
    let agents: Vec<String> = entries.iter().map(|entry| text(entry, "agent")).collect();
    let (last, others) = agents.split_last().expect("agents");
    assert!(others.iter().all(|agent| agent == "operator Olga Holm"), "{agents:?}");
    assert!(last.starts_with("operator ola@") && last.len() > "operator ola@".len(), "{last}");
    assert!(!log.to_string().contains("hidden"));
    assert_eq!(dipper.json(&["audit", "verify"])["valid"], true);
}
