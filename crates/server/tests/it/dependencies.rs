//! Dependencies: each stands in `ARCHITECTURE.md` with its reason, comes from the registry, and has a licence under
//! which this program may be handed on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Licences that ask for no more than their notice.
const LICENCES: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

fn metadata() -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let version = Command::new("rustc").arg("-vV").output().expect("rustc runs").stdout;
    let version = String::from_utf8(version).expect("text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", host])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// An expression of SPDX licences: one side of each `OR` is enough, both sides of each `AND` are needed.
fn is_permitted(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    expression.split(" AND ").all(|needed| needed.split(" OR ").any(|choice| LICENCES.contains(&choice.trim())))
}

#[test]
fn every_package_may_be_handed_on_and_comes_from_the_registry() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let mut found = Vec::new();
    for package in packages.iter().filter(|package| !package["source"].is_null()) {
        let name = text(package, "name");
        if !is_permitted(text(package, "license")) {
            found.push(format!("{name}: licence {:?}", text(package, "license")));
        }
        if text(package, "source") != "registry+https://github.com/rust-lang/crates.io-index" {
            found.push(format!("{name}: from {}", text(package, "source")));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(packages.len() > 100, "{} packages", packages.len());
}

#[test]
fn the_architecture_names_every_direct_dependency_and_no_other() {
    let metadata = metadata();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        if !package["source"].is_null() {
            continue;
        }
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            if !text(dependency, "name").starts_with("dipper") {
                let users = used.entry(text(dependency, "name").to_owned()).or_default();
                users.insert(text(package, "name").to_owned());
            }
        }
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ARCHITECTURE.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, list) = page.split_once("\n## Dependencies\n").expect("the chapter");
    let named: BTreeSet<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .flat_map(|row| row.split(" | ").next().unwrap_or_default().split(", "))
        .filter_map(|name| name.trim().strip_prefix('`')?.strip_suffix('`'))
        .collect();
    let missing: Vec<_> = used.iter().filter(|(name, _)| !named.contains(name.as_str())).collect();
    let unused: Vec<_> = named.iter().filter(|name| !used.contains_key(**name)).collect();
    assert!(missing.is_empty() && unused.is_empty(), "not on the page: {missing:?}; not used: {unused:?}");
}
