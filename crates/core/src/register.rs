//! The catalogue's record of a package, made from its OCFL object: the storage root is the truth.

use std::collections::HashMap;

use dipper_archive::ocfl::{self, Inventory, Object};

use crate::db::packages::{Package, PackageState, Version};
use crate::ids;
use crate::time::Timestamp;

/// How a version's message begins when the depositor gave the version a name of its own.
const LABEL_PREFIX: &str = "Version label: ";

/// The message of a version that has a label.
pub fn label_message(label: &str) -> String {
    format!("{LABEL_PREFIX}{label}")
}

/// The record of the package in `object`. A package whose OCFL identifier is not one of ours belongs to
/// `foreign_contract`, under its OCFL identifier; `None` when none is given.
pub fn describe(
    object: &Object,
    foreign_contract: Option<&str>,
    now: Timestamp,
) -> Result<Option<(Package, Vec<Version>)>, ocfl::Error> {
    let inventory = object.inventory();
    let ours = ids::from_ocfl_id(object.id());
    let is_ours = ours.is_some();
    let foreign = foreign_contract.map(|contract_id| (contract_id.to_owned(), object.id().to_owned()));
    let Some((contract_id, object_id)) = ours.or(foreign) else {
        return Ok(None);
    };
    let sizes = sizes(object, inventory)?;
    let versions: Vec<Version> =
        inventory.versions().iter().map(|version| describe_version(inventory, version, &sizes, is_ours)).collect();
    let (first, last) = (versions.first(), versions.last());
    let package = Package {
        id: ids::package_id(object.id()),
        contract_id,
        object_id,
        ocfl_id: object.id().to_owned(),
        location: object.path().to_owned(),
        state: PackageState::Preserved,
        reason: None,
        head: inventory.head().number(),
        size_bytes: last.map_or(0, |version| version.size_bytes),
        file_count: last.map_or(0, |version| version.file_count),
        created: first.map_or(now, |version| version.created),
        updated: now,
        verified: None,
    };
    Ok(Some((package, versions)))
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
    let label = version.message().and_then(|message| message.strip_prefix(LABEL_PREFIX)).filter(|_| is_ours);
    Version {
        number,
        label: label.map(str::to_owned),
        size_bytes,
        file_count,
        created: version.created_at().map_or(Timestamp(0), Timestamp::from),
    }
}
