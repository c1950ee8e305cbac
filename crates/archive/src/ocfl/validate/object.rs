//! The structure of one object: what lies in its root, its inventory and sidecar, and its extensions.

use super::content::{Check, Content};
use super::{Problems, names, versions};
use crate::digest::{Algorithm, Digest};
use crate::ocfl::inventory::{Inventory, Parsed};
use crate::ocfl::problem::{Code, Problem};
use crate::ocfl::remains;
use crate::ocfl::sidecar::{
    INVENTORY, INVENTORY_BYTES, SMALL_FILE_BYTES, digest_of, join, sidecar_digest, sidecar_name,
};
use crate::ocfl::version::{SpecVersion, VersionNumber};
use crate::storage::{Entry, EntryKind, Storage, Tree};

/// What the structure of an object says, before any content is read.
pub(super) struct Inspected {
    pub(super) id: Option<String>,
    pub(super) head: Option<u32>,
    pub(super) digest: Option<(Algorithm, Digest)>,
    pub(super) spec: Option<SpecVersion>,
    pub(super) problems: Vec<Problem>,
    /// How many files are in an archive class and could not be read.
    pub(super) archived: u64,
    /// The files to hash.
    pub(super) checks: Vec<Check>,
}

/// Looks at everything of an object but the bytes of its content.
pub(super) fn inspect(storage: &dyn Storage, path: &str) -> Inspected {
    let mut inspected = Inspected {
        id: None,
        head: None,
        digest: None,
        spec: None,
        problems: Vec::new(),
        archived: 0,
        checks: Vec::new(),
    };
    let mut problems = Problems::default();
    if let Err(error) = inspect_listed(storage, path, &mut problems, &mut inspected) {
        problems.add(Code::E003, path, format!("cannot be listed: {error}"));
    }
    (inspected.problems, inspected.archived) = (problems.list, problems.archived);
    inspected
}

/// Where each listing waits for a network, one for the whole object is enough.
fn inspect_listed(
    storage: &dyn Storage,
    path: &str,
    problems: &mut Problems,
    inspected: &mut Inspected,
) -> std::io::Result<()> {
    if storage.reads_at_once().is_some() {
        let tree = Tree::new(storage, path)?;
        inspect_entries(&tree, path, &tree.list(path)?, problems, inspected);
    } else {
        inspect_entries(storage, path, &storage.list(path)?, problems, inspected);
    }
    Ok(())
}

fn inspect_entries(
    storage: &dyn Storage,
    path: &str,
    entries: &[Entry],
    problems: &mut Problems,
    inspected: &mut Inspected,
) {
    inspected.spec = names::OBJECT.check(storage, path, entries, problems);
    if !has_file(entries, INVENTORY) {
        problems.add(Code::E063, path, "there is no inventory.json");
        if entries.iter().any(|entry| entry.name.to_lowercase() == INVENTORY) {
            problems.add(Code::E034, path, "the inventory is not named inventory.json");
        }
        root_entries(storage, path, entries, None, None, problems);
        return;
    }
    let inventory_path = join(path, INVENTORY);
    let bytes = match storage.read(&inventory_path, INVENTORY_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => return problems.unreadable(Code::E063, &inventory_path, &error),
    };
    let Parsed { inventory, findings, algorithm_name } = Inventory::parse(&bytes);
    problems.list.extend(findings.into_iter().map(|finding| finding.at(&inventory_path)));
    root_sidecar(storage, path, entries, inventory.as_ref(), algorithm_name.as_deref(), &bytes, problems);
    root_entries(storage, path, entries, inventory.as_ref(), algorithm_name.as_deref(), problems);
    let Some(inventory) = inventory else { return };
    if let Some(spec) = inspected.spec
        && spec != inventory.spec()
        && !problems.has(Code::E038)
    {
        let message = format!("the object declares OCFL {spec} and its inventory OCFL {}", inventory.spec());
        problems.add(Code::E038, &inventory_path, message);
    }
    inspected.id = Some(inventory.id().to_owned()).filter(|id| !id.is_empty());
    inspected.head = Some(inventory.head().number());
    inspected.digest = Some((inventory.algorithm(), digest_of(inventory.algorithm(), &bytes)));
    let mut content = Content::new(path);
    content.expect(&inventory);
    versions::check(storage, path, entries, &inventory, &bytes, &mut content, problems);
    inspected.checks = content.finish(problems);
}

pub(super) fn has_file(entries: &[Entry], name: &str) -> bool {
    entries.iter().any(|entry| entry.name == name && entry.kind == EntryKind::File)
}

/// The sidecar of an inventory (section 3.6).
pub(super) fn sidecar(
    storage: &dyn Storage,
    directory: &str,
    entries: &[Entry],
    algorithm: Option<&str>,
    inventory: &[u8],
    problems: &mut Problems,
) {
    let Some(algorithm) = algorithm else {
        if !entries.iter().any(|entry| entry.name.starts_with("inventory.json.")) {
            problems.add(Code::E058, directory, "the inventory has no sidecar");
        }
        return;
    };
    let name = sidecar_name(algorithm);
    let path = join(directory, &name);
    if !has_file(entries, &name) {
        problems.add(Code::E058, directory, format!("there is no {name}"));
        if entries.iter().any(|entry| entry.name.starts_with("inventory.json.")) {
            problems.add(Code::E059, directory, format!("the sidecar is not named {name}"));
        }
        return;
    }
    let text = match storage.read(&path, SMALL_FILE_BYTES) {
        Ok(text) => text,
        Err(error) => return problems.unreadable(Code::E061, &path, &error),
    };
    let Some(stated) = sidecar_digest(&text) else {
        return problems.add(Code::E061, &path, "not of the form DIGEST inventory.json");
    };
    let Some(algorithm) = Algorithm::from_name(algorithm) else { return };
    let found = digest_of(algorithm, inventory);
    if found != stated {
        problems.add(Code::E060, &path, format!("states {stated}, and the inventory has {found}"));
    }
}

/// The sidecar of the root inventory, which may follow its inventory a moment later.
fn root_sidecar(
    storage: &dyn Storage,
    path: &str,
    entries: &[Entry],
    root: Option<&Inventory>,
    algorithm: Option<&str>,
    inventory: &[u8],
    problems: &mut Problems,
) {
    let mut found = Problems::default();
    sidecar(storage, path, entries, algorithm, inventory, &mut found);
    let lags = |root: &Inventory| remains::sidecar_lags(storage, path, root, &digest_of(root.algorithm(), inventory));
    if found.list.is_empty() || !root.is_some_and(lags) {
        problems.append(found);
    }
}

/// What may lie in an object root (section 3.1).
fn root_entries(
    storage: &dyn Storage,
    path: &str,
    entries: &[Entry],
    inventory: Option<&Inventory>,
    algorithm: Option<&str>,
    problems: &mut Problems,
) {
    for entry in entries {
        let at = join(path, &entry.name);
        match entry.kind {
            EntryKind::File => {
                let is_sidecar = match algorithm {
                    Some(algorithm) => entry.name == sidecar_name(algorithm),
                    None => entry.name.starts_with("inventory.json."),
                };
                if entry.name != INVENTORY && !is_sidecar && !names::OBJECT.is_like(&entry.name) {
                    problems.add(Code::E001, &at, "a file that does not belong in an object root");
                }
            }
            EntryKind::Directory => directory(storage, &entry.name, &at, inventory, problems),
            EntryKind::Other => {
                problems.add(Code::E001, &at, "neither file nor directory");
                problems.add(Code::E090, &at, "a link, or something else that is neither file nor directory");
            }
        }
    }
    let Some(inventory) = inventory else { return };
    let is_there = |name: &str| entries.iter().any(|entry| entry.name == name && entry.kind == EntryKind::Directory);
    let mut missing_before = None;
    for version in inventory.versions() {
        let name = version.number().to_string();
        if !is_there(&name) {
            problems.add(Code::E046, path, format!("the inventory has {name}, and there is no such directory"));
            missing_before = Some(name);
        } else if let Some(missing) = missing_before.take() {
            problems.add(Code::E010, path, format!("there is a directory {name}, and none for {missing} before it"));
        }
    }
}

fn directory(storage: &dyn Storage, name: &str, at: &str, inventory: Option<&Inventory>, problems: &mut Problems) {
    match name {
        "logs" => {}
        "extensions" => names::extensions(storage, at, (Code::E067, Code::W013), problems),
        _ => {
            let Ok(number) = VersionNumber::parse(name) else {
                problems.add(Code::E001, at, "a directory that does not belong in an object root");
                return;
            };
            let is_known = |inventory: &Inventory| {
                inventory.version(number.number()).is_some_and(|version| version.number() == number)
            };
            let is_next = |inventory: &Inventory| remains::is_in_the_making(storage, inventory, number);
            if inventory.is_some_and(|inventory| !is_known(inventory) && !is_next(inventory)) {
                problems.add(Code::E046, at, "a version directory that the inventory does not know");
            }
        }
    }
}
