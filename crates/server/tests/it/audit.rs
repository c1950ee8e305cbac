//! The audit log and the regular check on the command line: what the program tells, and what others can do with it.

use serde_json::{Value, json};

use super::cli_support::Dipper;
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
    assert_eq!(dipper.json(&["audit", "verify"]), json!({ "valid": true, "chains": [] }));
    assert_eq!(premis(&dipper.run(&["audit", "export", "--format", "premis"]).stdout), json!([]));
    let (one, other) = (dipper.ingest("one & <only>", b"one"), dipper.ingest("other", b"other"));
    dipper.damage(&other);
    assert_eq!(dipper.run(&["verify"]).code, 3);
    let listed = dipper.json(&["audit", "list"]);
    let told = |entry: &Value| (entry["kind"].clone(), entry["success"].clone(), entry["archiveId"].clone());
    let entries: Vec<_> = listed["entries"].as_array().expect("entries").iter().map(told).collect();
    assert_eq!(entries.len(), 4, "{listed}");
    assert_eq!(entries[0], (json!("ingest"), json!(true), json!(one)));
    let failed = dipper.json(&["audit", "list", "--failures", "--kind", "fixity", "--package", &other]);
    assert_eq!(failed["entries"].as_array().map(Vec::len), Some(1), "{failed}");
    let page = dipper.json(&["audit", "list", "--limit", "3"]);
    let rest = dipper.json(&["audit", "list", "--after", page["next"].as_str().expect("a cursor")]);
    assert_eq!(rest["entries"].as_array().map(Vec::len), Some(1), "{rest}");
    assert_eq!(dipper.json(&["audit", "list", "--until", "2020-01-01"])["entries"], json!([]));
    dipper.run(&["audit", "list", "--since", "yesterday"]).error(2);

    let verified = dipper.json(&["audit", "verify", "--contract", "2d17"]);
    assert_eq!((&verified["valid"], &verified["chains"][0]["entries"]), (&json!(true), &json!(4)));
    let head = verified["chains"][0]["head"].as_str().expect("a hash").to_owned();
    dipper.json(&["verify", "--package", &one]);
    let later = dipper.json(&["audit", "verify", "--since-head", &head]);
    assert_eq!((&later["chains"][0]["entries"], &later["chains"][0]["remembered"]), (&json!(5), &json!(4)));
    let strange = dipper.run(&["audit", "verify", "--since-head", &"0".repeat(64)]);
    assert!(strange.code == 3 && strange.stderr.contains("remembered"), "{strange:?}");

    let exported = dipper.run(&["audit", "export", "--format", "premis"]);
    let types = premis(&exported.stdout);
    assert_eq!(types, json!(["ingestion", "ingestion", "fixity check", "fixity check", "fixity check"]));
    let of_one = premis(&dipper.run(&["audit", "export", "--format", "premis", "--package", &one]).stdout);
    assert_eq!(of_one.as_array().map(Vec::len), Some(3));
    let exported = dipper.run(&["audit", "export", "--format", "json", "--output", "log.json"]);
    assert_eq!((exported.code, exported.stdout.as_str()), (0, ""), "{exported:?}");
    let text = std::fs::read_to_string(dipper.path("log.json")).expect("written");
    let log: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(log["entries"].as_array().map(Vec::len), Some(5));
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
