//! The catalogue's record of a package, made from its OCFL object: the storage root is the truth.
//!
//! What OCFL has no place for stands in the message of each version that we write, a line for each thing: the depositor's
//! label of the version, the names of the package, the name of the container that was handed in.

use std::collections::HashMap;

use dipper_archive::digest::{Algorithm, Digest};
use dipper_archive::ocfl::{self, Inventory, Object};

use crate::db::identifiers::Names;
use crate::db::packages::{Package, PackageState, Version};
use crate::identifier;
use crate::ids;
use crate::time::Timestamp;

/// The address of the user in the versions that we write.
pub(crate) const SOFTWARE: &str = "urn:dipper:software";

/// How the first line of a version's message begins when the depositor gave the version a name of its own.
const LABEL: &str = "Version label: ";
/// The first line otherwise.
const NO_LABEL: &str = "Ingested";
const IDENTIFIER: &str = "Identifier: ";
const URN: &str = "URN: ";
const CONTAINER: &str = "Container: ";
/// How the line begins that is added to the message of a version when files of it are deleted.
const DELETED: &str = "Content deleted by Dipper: order ";

/// What the message of a version records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The depositor's name for the version.
    pub label: Option<String>,
    /// The identifier of the package.
    pub identifier: Option<String>,
    /// The URN of the package.
    pub urn: Option<String>,
    /// The file name of what was handed in.
    pub container_name: Option<String>,
}

impl Recorded {
    /// The message. None of the values may hold a line break.
    pub fn message(&self) -> String {
        let label = self.label.as_deref();
        let mut message = label.map_or_else(|| NO_LABEL.to_owned(), |label| format!("{LABEL}{label}"));
        let lines = [(IDENTIFIER, &self.identifier), (URN, &self.urn), (CONTAINER, &self.container_name)];
        for (name, value) in lines {
            if let Some(value) = value {
                message.push_str(&format!("\n{name}{value}"));
            }
        }
        message
    }

    /// What a message records; older ones have no more than the label.
    pub fn read(message: &str) -> Recorded {
        let value = |name: &str| message.lines().skip(1).find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        Recorded {
            label: message.lines().next().and_then(|line| line.strip_prefix(LABEL)).map(str::to_owned),
            identifier: value(IDENTIFIER).filter(|text| identifier::parse(text).is_some()),
            urn: value(URN),
            container_name: value(CONTAINER),
        }
    }

    /// What a version records, if it is one of ours: other software may write such lines and mean something else.
    pub(crate) fn of(version: &ocfl::Version, is_ours: bool) -> Recorded {
        let by_us = version.user().is_some_and(|user| user.address.as_deref() == Some(SOFTWARE));
        version.message().filter(|_| is_ours || by_us).map(Recorded::read).unwrap_or_default()
    }
}

/// The line that is added to the messages of versions of which files are deleted, by us or by anybody who made them.
pub(crate) fn deleted_note(order_id: &str) -> String {
    format!("{DELETED}{order_id}")
}

/// Whether files of a version were deleted.
pub(crate) fn lost_files(version: &ocfl::Version) -> bool {
    version.message().is_some_and(|message| message.lines().any(|line| line.starts_with(DELETED)))
}

/// A package as its object says it is.
#[derive(Clone, Debug)]
pub struct Described {
    /// The package. Names that the object does not record are those that it gets when nobody knows of others.
    pub package: Package,
    /// Its versions, oldest first.
    pub versions: Vec<Version>,
    /// Whether the object records its identifier.
    pub is_named: bool,
    /// The digest of the inventory, which stands for the whole object, and its algorithm.
    pub digest: (Algorithm, Digest),
}

/// The record of the package in `object`. A package whose OCFL identifier is not one of ours belongs to
/// `foreign_contract`, under its OCFL identifier; `None` when none is given. `node` is for the identifier of a package that
/// has none.
pub fn describe(
    object: &Object,
    foreign_contract: Option<&str>,
    node: &str,
    now: Timestamp,
) -> Result<Option<Described>, ocfl::Error> {
    let inventory = object.inventory();
    let ours = ids::from_ocfl_id(object.id());
    let is_ours = ours.is_some();
    let foreign = foreign_contract.map(|contract_id| (contract_id.to_owned(), object.id().to_owned()));
    let Some((contract_id, object_id)) = ours.or(foreign) else {
        return Ok(None);
    };
    let sizes = sizes(object, inventory)?;
    // A version of which everything was deleted is there no more, although its number stays.
    let with_content = inventory.versions().iter().filter(|version| !(version.is_empty() && lost_files(version)));
    let versions: Vec<Version> =
        with_content.map(|version| describe_version(inventory, version, &sizes, is_ours)).collect();
    let last = versions.last();
    let created = inventory.versions().first().and_then(|version| version.created_at()).map_or(now, Timestamp::from);
    let (names, is_named) = names(object, is_ours, node, created);
    let package = Package {
        id: ids::package_id(object.id()),
        contract_id,
        object_id,
        identifier: names.identifier,
        urn: names.urn,
        ocfl_id: object.id().to_owned(),
        location: object.path().to_owned(),
        state: PackageState::Preserved,
        reason: None,
        head: last.map_or(inventory.head().number(), |version| version.number),
        size_bytes: last.map_or(0, |version| version.size_bytes),
        file_count: last.map_or(0, |version| version.file_count),
        created,
        updated: now,
        verified: None,
    };
    let digest = (inventory.algorithm(), *object.inventory_digest());
    Ok(Some(Described { package, versions, is_named, digest }))
}

/// The depositor's name for a version of an object.
pub(crate) fn label_of(object: &Object, version: &ocfl::Version) -> Option<String> {
    Recorded::of(version, ids::from_ocfl_id(object.id()).is_some()).label
}

/// The URN that an object records.
pub(crate) fn recorded_urn(object: &Object) -> Option<String> {
    let is_ours = ids::from_ocfl_id(object.id()).is_some();
    object.inventory().versions().iter().rev().find_map(|version| Recorded::of(version, is_ours).urn)
}

/// The names that the newest version records which records any.
fn names(object: &Object, is_ours: bool, node: &str, created: Timestamp) -> (Names, bool) {
    let recorded: Vec<Recorded> =
        object.inventory().versions().iter().rev().map(|version| Recorded::of(version, is_ours)).collect();
    let urn = recorded.iter().find_map(|recorded| recorded.urn.clone());
    match recorded.iter().find_map(|recorded| recorded.identifier.clone()) {
        Some(identifier) => (Names { identifier, urn }, true),
        None => (Names { identifier: derived_identifier(object.id(), node, created), urn }, false),
    }
}

/// The identifier of a package of which nobody knows another one.
pub(crate) fn derived_identifier(ocfl_id: &str, node: &str, created: Timestamp) -> String {
    identifier::make(&identifier::series(node, created), identifier::derived_serial(ocfl_id, 0))
}

/// The length of each content file that some version uses. A file that is missing counts nothing here; the fixity
/// check tells of it.
fn sizes<'a>(object: &Object, inventory: &'a Inventory) -> Result<HashMap<&'a str, u64>, ocfl::Error> {
    let lengths = object.lengths()?;
    let mut sizes = HashMap::with_capacity(inventory.manifest_len());
    for (_, content_path) in inventory.manifest() {
        match lengths.of(content_path) {
            Ok(size) => {
                sizes.insert(content_path, size);
            }
            Err(ocfl::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sizes)
}

fn describe_version(
    inventory: &Inventory,
    version: &ocfl::Version,
    sizes: &HashMap<&str, u64>,
    is_ours: bool,
) -> Version {
    let number = version.number().number();
    let files = inventory.files(number);
    let file_count = files.len() as u64;
    let size_bytes = files.filter_map(|file| sizes.get(file.content_path)).sum();
    let recorded = Recorded::of(version, is_ours);
    Version {
        number,
        label: recorded.label,
        container_name: recorded.container_name,
        size_bytes,
        file_count,
        created: version.created_at().map_or(Timestamp(0), Timestamp::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_is_read_from_them() {
        let full = Recorded {
            label: Some("2024: the second".to_owned()),
            identifier: Some("8-2016040610214".to_owned()),
            urn: Some("urn:nbn:de:hbz:6:1-31323".to_owned()),
            container_name: Some("06-Apr-2016-T-15-10-01.zip".to_owned()),
        };
        let table = [
            (full.clone(), "Version label: 2024: the second\nIdentifier: 8-2016040610214\n"),
            (
                Recorded { label: None, urn: None, ..full.clone() },
                "Ingested\nIdentifier: 8-2016040610214\nContainer: 06-",
            ),
            (Recorded::default(), "Ingested"),
            // As earlier programs wrote it.
            (Recorded { label: full.label.clone(), ..Recorded::default() }, "Version label: 2024: the second"),
        ];
        for (recorded, start) in table {
            let message = recorded.message();
            assert!(message.starts_with(start), "{message}");
            assert_eq!(Recorded::read(&message), recorded);
        }
        let foreign = Recorded::read("Fixed\nIdentifier: of the box on the left");
        assert_eq!(foreign, Recorded::default());
    }
}
