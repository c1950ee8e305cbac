//! Version directories: what lies in them, and their inventories compared with the root's.

use super::Problems;
use super::content::Content;
use super::object::{has_file, sidecar};
use crate::ocfl::inventory::{Inventory, Parsed, Version};
use crate::ocfl::problem::Code;
use crate::ocfl::remains;
use crate::ocfl::sidecar::{INVENTORY, INVENTORY_BYTES, join};
use crate::ocfl::version::SpecVersion;
use crate::storage::{Entry, EntryKind, Storage};

/// How many differences of one version are told.
const DIFFERENCES: usize = 10;

pub(super) fn check(
    storage: &dyn Storage,
    object: &str,
    entries: &[Entry],
    root: &Inventory,
    root_bytes: &[u8],
    content: &mut Content,
    problems: &mut Problems,
) {
    let mut newest_spec: Option<SpecVersion> = None;
    let mut content_directories = Vec::new();
    for version in root.versions() {
        let name = version.number().to_string();
        if !entries.iter().any(|entry| entry.name == name && entry.kind == EntryKind::Directory) {
            continue;
        }
        let directory = join(object, &name);
        let entries = match storage.list(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                problems.add(Code::E046, &directory, format!("cannot be listed: {error}"));
                continue;
            }
        };
        let (spec, algorithm) = if !has_file(&entries, INVENTORY) {
            problems.add(Code::W010, &directory, "there is no inventory.json");
            (None, None)
        } else if version.number() == root.head() {
            newest_inventory(storage, &directory, &entries, root, root_bytes, problems);
            (Some(root.spec()), Some(root.algorithm().name().to_owned()))
        } else {
            earlier_inventory(storage, &directory, &entries, root, version, content, problems)
        };
        if let (Some(before), Some(spec)) = (newest_spec, spec)
            && spec < before
        {
            problems.add(Code::E103, &directory, format!("OCFL {spec}, after a version of OCFL {before}"));
        }
        newest_spec = newest_spec.max(spec);
        let goes = remains::is_going(storage, version.number());
        let has_content = version_entries(&directory, &entries, algorithm.as_deref(), goes, root, problems);
        content_directories.push((name, directory, has_content));
    }
    // Only now is it known what every inventory expects of each file.
    for (name, directory, has_content) in content_directories {
        let path = join(&directory, root.content_directory());
        if !has_content {
            if content.expects_in(&name) {
                problems.add(Code::E016, &directory, "the manifest has files in it, and there is no content directory");
            }
        } else if content.walk(storage, &path, problems) == 0 {
            problems.add(Code::W003, &path, "a content directory without files");
        }
    }
    if let Some(before) = newest_spec.filter(|before| root.spec() < *before) {
        let message = format!("OCFL {}, after a version of OCFL {before}", root.spec());
        problems.add(Code::E103, object, message);
    }
}

/// The inventory of the newest version is the root's, byte for byte (section 3.7).
fn newest_inventory(
    storage: &dyn Storage,
    directory: &str,
    entries: &[Entry],
    root: &Inventory,
    root_bytes: &[u8],
    problems: &mut Problems,
) {
    let path = join(directory, INVENTORY);
    match storage.read(&path, INVENTORY_BYTES) {
        Ok(bytes) => {
            if bytes != root_bytes {
                problems.add(Code::E064, &path, "not the same as the inventory in the object root");
            }
            let other = (bytes != root_bytes).then(|| Inventory::parse(&bytes).algorithm_name).flatten();
            let algorithm = other.unwrap_or_else(|| root.algorithm().name().to_owned());
            sidecar(storage, directory, entries, Some(&algorithm), &bytes, problems);
        }
        Err(error) => problems.unreadable(Code::E064, &path, &error),
    }
}

/// The inventory of an earlier version, by itself and beside the root's.
fn earlier_inventory(
    storage: &dyn Storage,
    directory: &str,
    entries: &[Entry],
    root: &Inventory,
    version: &Version,
    content: &mut Content,
    problems: &mut Problems,
) -> (Option<SpecVersion>, Option<String>) {
    let path = join(directory, INVENTORY);
    let bytes = match storage.read(&path, INVENTORY_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => {
            problems.unreadable(Code::E033, &path, &error);
            return (None, None);
        }
    };
    let Parsed { inventory, findings, algorithm_name } = Inventory::parse(&bytes);
    for finding in findings {
        // A warning about the object's habits is told once, not for every version.
        if finding.code.is_error() || !problems.has(finding.code) {
            problems.list.push(finding.at(&path));
        }
    }
    sidecar(storage, directory, entries, algorithm_name.as_deref(), &bytes, problems);
    let Some(inventory) = inventory else { return (None, algorithm_name) };
    if inventory.head() != version.number() {
        let message = format!("head is {}, in the directory of {}", inventory.head(), version.number());
        problems.add(Code::E040, &path, message);
    }
    if inventory.id() != root.id() {
        let code = if root.spec() == SpecVersion::V1_0 { Code::E037 } else { Code::E110 };
        problems.add(code, &path, format!("the id is {:?}, and {:?} in the root", inventory.id(), root.id()));
    }
    content_directory(&path, &inventory, root, problems);
    for then in inventory.versions() {
        compare_version(&path, &inventory, then, root, problems);
    }
    if let Some(missing) = root
        .versions()
        .iter()
        .find(|known| known.number() < inventory.head() && inventory.version(known.number().number()).is_none())
    {
        problems.add(Code::E066, &path, format!("{} is missing", missing.number()));
    }
    content.expect(&inventory);
    (Some(inventory.spec()), algorithm_name)
}

fn content_directory(path: &str, inventory: &Inventory, root: &Inventory, problems: &mut Problems) {
    let (then, now) = (inventory.content_directory(), root.content_directory());
    if then != now {
        problems.add(Code::E020, path, format!("contentDirectory is {then}, and {now} in the root"));
        problems.add(Code::E019, path, format!("contentDirectory is {then}, and {now} in the root"));
    } else if root.names_content_directory() && !inventory.names_content_directory() {
        problems.add(Code::E019, path, "contentDirectory is set in a later version only");
    }
}

/// A version as an earlier inventory describes it, and as the root does (sections 3.7 and 3.5.3.1).
fn compare_version(path: &str, inventory: &Inventory, then: &Version, root: &Inventory, problems: &mut Problems) {
    let number = then.number().number();
    let Some(now) = root.version(number) else {
        return problems.add(Code::E066, path, format!("{} is not in the root inventory", then.number()));
    };
    let same_algorithm = inventory.algorithm() == root.algorithm();
    let mut differences = 0;
    let mut differ = |logical_path: &str, how: &str| {
        differences += 1;
        if differences <= DIFFERENCES {
            problems.add(Code::E066, path, format!("{}: {logical_path:?} {how}", then.number()));
        }
    };
    let (mut ours, mut theirs) = (inventory.files(number).peekable(), root.files(number).peekable());
    loop {
        match (ours.peek(), theirs.peek()) {
            (None, None) => break,
            (Some(one), Some(two)) if one.logical_path == two.logical_path => {
                let is_same = if same_algorithm {
                    one.digest == two.digest
                } else {
                    // Digests of two algorithms cannot be compared; the content files that they stand for can.
                    inventory
                        .content_paths(one.digest)
                        .all(|path| root.content_paths(two.digest).any(|other| other == path))
                };
                if !is_same {
                    differ(one.logical_path, "is another file in the root inventory");
                }
                ours.next();
                theirs.next();
            }
            (Some(one), Some(two)) if one.logical_path > two.logical_path => {
                differ(two.logical_path, "is in the root inventory only");
                theirs.next();
            }
            (Some(one), _) => {
                differ(one.logical_path, "is not in the root inventory");
                ours.next();
            }
            (None, Some(two)) => {
                differ(two.logical_path, "is in the root inventory only");
                theirs.next();
            }
        }
    }
    for (key, differs) in [
        ("created", then.created() != now.created()),
        ("message", then.message() != now.message()),
        ("user", then.user() != now.user()),
    ] {
        if differs {
            problems.add(Code::W011, path, format!("{}: {key} is not as in the root inventory", then.number()));
        }
    }
}

/// What may lie in a version directory (section 3.3); whether it has a content directory.
fn version_entries(
    directory: &str,
    entries: &[Entry],
    algorithm: Option<&str>,
    goes: bool,
    root: &Inventory,
    problems: &mut Problems,
) -> bool {
    let mut has_content = false;
    for entry in entries {
        let path = join(directory, &entry.name);
        match entry.kind {
            EntryKind::Directory if entry.name == root.content_directory() => has_content = true,
            EntryKind::Directory => problems.add(Code::W002, &path, "a directory beside the content directory"),
            EntryKind::File => {
                let of = entry.name.strip_prefix("inventory.json.");
                let is_left = goes && of.is_some() && !has_file(entries, INVENTORY);
                if entry.name != INVENTORY && !is_left && (of.is_none() || of != algorithm) {
                    problems.add(Code::E015, &path, "a file that does not belong in a version directory");
                }
            }
            EntryKind::Other => {
                problems.add(Code::E090, &path, "a link, or something else that is neither file nor directory");
            }
        }
    }
    has_content
}
