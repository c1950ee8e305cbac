//! The dashboard and the alert rules that are handed on with the program: they ask for figures that it shows.

use std::collections::BTreeSet;
use std::path::Path;

use dipper_archive::meter::{Kind, Metric};
use serde_json::Value;

use crate::metrics::python;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboards").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every query below a value, from the fields `expr`.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| queries(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

/// The names of figures in a query.
fn names(query: &str) -> BTreeSet<String> {
    let words = query.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    words.filter(|word| word.starts_with("dipper_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// The samples that a figure gives.
fn samples(metric: &Metric) -> Vec<String> {
    match metric.kind {
        Kind::Counter | Kind::Gauge => vec![metric.name.to_owned()],
        Kind::Histogram(_) => ["bucket", "sum", "count"].map(|part| format!("{}_{part}", metric.name)).to_vec(),
    }
}

/// Somebody else's parser takes every query; all that they name is shown by a server. That those figures are shown
/// indeed is another test's finding.
fn are_good(queries: &[String]) {
    const PARSE: &str = "
import json, sys, promql_parser
for query in json.load(sys.stdin):
    promql_parser.parse(query)
";
    let filled: Vec<String> = queries
        .iter()
        .map(|query| query.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*"))
        .collect();
    assert!(filled.iter().all(|query| !query.contains('$')), "a variable that is not filled in");
    python(PARSE, &serde_json::to_string(&filled).expect("JSON"));
    let known: BTreeSet<String> = dipper_server::metrics::all().flat_map(samples).collect();
    for query in queries {
        let unknown: Vec<_> = names(query).into_iter().filter(|name| !known.contains(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?} in {query}");
        assert!(!names(query).is_empty(), "{query}");
    }
}

#[test]
fn the_dashboard_shows_every_figure_and_no_other() {
    let dashboard: Value = serde_json::from_str(&file("dipper.json")).expect("JSON");
    let mut found = Vec::new();
    queries(&dashboard, &mut found);
    are_good(&found);
    let shown: BTreeSet<String> = found.iter().flat_map(|query| names(query)).collect();
    let missing: Vec<_> = dipper_server::metrics::all()
        .filter(|metric| !samples(metric).iter().any(|sample| shown.contains(sample)))
        .map(|metric| metric.name)
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        }
    }
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
}

#[test]
fn the_alert_rules_ask_for_what_is_shown() {
    const READ: &str = "
import json, sys, yaml
print(json.dumps(yaml.safe_load(sys.stdin)))
";
    let rules = python(READ, &file("alerts.yaml")).remove(0);
    let rules = rules["groups"][0]["rules"].as_array().expect("rules");
    let mut found = Vec::new();
    for rule in rules {
        for field in ["alert", "expr"] {
            assert!(rule[field].is_string(), "{rule}");
        }
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().expect("a severity")), "{rule}");
        for field in ["summary", "description"] {
            assert!(rule["annotations"][field].is_string(), "{rule}");
        }
        found.push(rule["expr"].as_str().expect("a query").to_owned());
    }
    are_good(&found);
}
