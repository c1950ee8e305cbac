//! Removing files from versions for good: what remains is an object that never had them.
//!
//! Version numbers stay, so a version may be left without files; an object of which nothing is left is removed. Content
//! that a remaining file refers to stays where it lies, in whatever version directory. The inventory of that version can
//! then not be right: it would have to name the content that lies there (E023), and no state of its own uses it any more
//! (E107). Such a version is left without an inventory, which is permitted (W010).
//!
//! The order, on the local file system and in a bucket alike, after the intent is written: the inventory of the newest
//! version; the root inventory, which makes the purge visible; its sidecar; the inventories of the earlier versions; last
//! all content that no inventory names. Until the root inventory is replaced the object is as before, and from then on a
//! reader finds nothing of what is removed. Each of it is computed from what is there, so it can be repeated from the
//! beginning however far it came: by [`StorageRoot::recover`] from the intent, and by anybody else, who may have met the
//! object on another machine, by calling [`StorageRoot::purge`] with the same files again.
//!
//! Content is never overwritten. A reader that was under way gets the right bytes to the end, or an error.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::claim::{RootState, read_root};
use super::error::{Error, Result};
use super::inventory::{Inventory, InventoryBuilder};
use super::object::{Object, is_absent};
use super::remove;
use super::root::StorageRoot;
use super::sidecar::{INVENTORY, INVENTORY_BYTES, SMALL_FILE_BYTES, digest_of, join, sidecar_name, sidecar_text};
use super::staging::{Change, Intent, Place, fault};
use super::version::{SpecVersion, VersionNumber};
use crate::storage::{Condition, EntryKind, Storage, Tree};

/// How often a change by others is followed before it is called an error.
const ATTEMPTS: usize = 16;

/// What is to be removed from an object: of each version all files, or some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    #[serde(with = "pairs")]
    versions: BTreeMap<u32, Selection>,
    note: Option<String>,
}

/// Files of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// All of them.
    All,
    /// Those with these logical paths.
    Files(BTreeSet<String>),
}

/// A map whose keys are numbers, as a list: inside of an intent, which is read by its kind, the keys of an object would be
/// texts.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Selection;

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<u32, Selection>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<u32, Selection>, D::Error> {
        Ok(Vec::<(u32, Selection)>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// What was removed from an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// How many files, in each version in which they were.
    pub files: u64,
    /// How many stored files that no version needs any more.
    pub content_files: u64,
    /// Their lengths together: what is gone from the storage.
    pub content_bytes: u64,
    /// Whether nothing was left in any version, and the object is gone as a whole.
    pub removed: bool,
}

impl Purge {
    /// Adds all files of a version.
    pub fn add_version(&mut self, version: u32) {
        self.versions.insert(version, Selection::All);
    }

    /// Adds a file of a version.
    pub fn add_file(&mut self, version: u32, logical_path: &str) {
        let selection = self.versions.entry(version).or_insert_with(|| Selection::Files(BTreeSet::new()));
        if let Selection::Files(paths) = selection {
            paths.insert(logical_path.to_owned());
        }
    }

    /// Adds a line to the message of each version that loses files. It is the same when the purge is asked for again.
    pub fn set_note(&mut self, line: &str) {
        self.note = Some(line.to_owned());
    }

    /// What it takes, by version.
    pub fn versions(&self) -> impl Iterator<Item = (u32, &Selection)> {
        self.versions.iter().map(|(version, selection)| (*version, selection))
    }

    /// Whether it takes a file of a version.
    pub fn takes(&self, version: u32, logical_path: &str) -> bool {
        match self.versions.get(&version) {
            Some(Selection::All) => true,
            Some(Selection::Files(paths)) => paths.contains(logical_path),
            None => false,
        }
    }

    /// Whether it takes nothing at all.
    pub fn is_empty(&self) -> bool {
        self.versions.values().all(|selection| matches!(selection, Selection::Files(paths) if paths.is_empty()))
    }

    /// The inventory without what is taken.
    fn rest_of(&self, inventory: &Inventory) -> Result<Inventory> {
        let mut builder = InventoryBuilder::after(inventory);
        builder.remove_files(&|version, path| self.takes(version.number(), path), self.note.as_deref());
        finish(builder, inventory.id())
    }
}

fn finish(builder: InventoryBuilder, id: &str) -> Result<Inventory> {
    let unwritable = || Error::Unwritable { id: id.to_owned(), reason: "a file has no content".to_owned() };
    builder.finish().ok_or_else(unwritable)
}

impl StorageRoot {
    /// Removes files from versions of an object for good, and what no version needs any more from the storage. Paths that
    /// a version does not have, or not any more, are passed over. After a crash [`StorageRoot::recover`] finishes it, and so
    /// does the same call again.
    pub fn purge(&self, id: &str, purge: &Purge) -> Result<Purged> {
        let place = Place::new(self.staging(), id);
        let _lock = place.try_lock()?.ok_or_else(|| Error::Locked { id: id.to_owned() })?;
        if Intent::read(&place)?.is_some() {
            return Err(Error::Unrecovered { id: id.to_owned() });
        }
        self.settle(id)?;
        let object = self.object(id)?;
        for (version, _) in purge.versions() {
            if object.inventory().version(version).is_none() {
                return Err(Error::NoSuchVersion { path: object.path().to_owned(), version });
            }
        }
        if purge.is_empty() {
            return Ok(Purged::default());
        }
        let mut purged = outlook(&object, purge)?;
        let change = if purged.removed { Change::Remove } else { Change::Purge { files: purge.clone() } };
        let intent = Intent { id: id.to_owned(), object: object.path().to_owned(), change };
        intent.write(&place)?;
        fault::step()?;
        if purged.removed {
            remove::withdraw(self, &place, &intent)?;
        } else {
            purged.removed = carry_out(self, &place, &intent, purge)?.is_none();
        }
        if purged.removed {
            self.forget(id);
        }
        Ok(purged)
    }
}

/// What a purge will remove. Fails, before anything is changed, when an inventory cannot be read that would have to be
/// written again.
fn outlook(object: &Object, purge: &Purge) -> Result<Purged> {
    let inventory = object.inventory();
    let rest = purge.rest_of(inventory)?;
    for version in earlier_versions(inventory) {
        read_inventory(storage_of(object), &join(object.path(), &version.to_string()))?;
    }
    let count = |inventory: &Inventory| inventory.versions().iter().map(|version| version.len() as u64).sum::<u64>();
    let mut purged = Purged { files: count(inventory) - count(&rest), ..Purged::default() };
    purged.removed = count(&rest) == 0;
    let kept: HashSet<&str> = rest.manifest().map(|(_, path)| path).collect();
    let lengths = object.lengths()?;
    for (_, path) in inventory.manifest().filter(|(_, path)| purged.removed || !kept.contains(path)) {
        match lengths.of(path) {
            Ok(len) => {
                purged.content_files += 1;
                purged.content_bytes += len;
            }
            Err(Error::Io { source, .. }) if is_absent(&source) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(purged)
}

fn storage_of(object: &Object) -> &dyn Storage {
    object.storage().as_ref()
}

/// The versions but the newest, that one first that comes before it.
fn earlier_versions(inventory: &Inventory) -> impl Iterator<Item = VersionNumber> {
    inventory.versions().iter().rev().map(|version| version.number()).filter(|number| *number < inventory.head())
}

/// Carries out the intent to purge an object, wherever it stands; the inventory that remains, or `None` when nothing does.
pub(super) fn carry_out(
    root: &StorageRoot,
    place: &Place,
    intent: &Intent,
    purge: &Purge,
) -> Result<Option<Inventory>> {
    let storage = root.storage().as_ref();
    let Some(rest) = replace_root_inventory(storage, &intent.object, purge)? else {
        remove::withdraw(root, place, intent)?;
        return Ok(None);
    };
    let mut kept = Kept::default();
    kept.add(&rest);
    let mut bare = Vec::new();
    for version in earlier_versions(&rest) {
        let directory = join(&intent.object, &version.to_string());
        match replace_inventory(storage, &directory, purge, version, &kept)? {
            Some(inventory) => {
                kept.add(&inventory);
                write_for_bare(storage, &intent.object, &rest, &mut bare, inventory.spec(), &kept)?;
            }
            None => bare.push(version),
        }
    }
    write_for_bare(storage, &intent.object, &rest, &mut bare, SpecVersion::V1_0, &kept)?;
    remove_unnamed(storage, &intent.object, &rest, &kept)?;
    Intent::clear(place)?;
    Ok(Some(rest))
}

/// Writes the root inventory without what is purged, after that of the newest version, which proves it to readers until
/// its own sidecar follows.
fn replace_root_inventory(storage: &dyn Storage, object: &str, purge: &Purge) -> Result<Option<Inventory>> {
    for _ in 0..ATTEMPTS {
        let Some(RootState { inventory, bytes, revision }) = read_root(storage, object)? else { return Ok(None) };
        let rest = purge.rest_of(&inventory)?;
        if rest.versions().iter().all(|version| version.is_empty()) {
            return Ok(None);
        }
        let is_new = rest != inventory;
        let bytes = if is_new { rest.to_json() } else { bytes };
        let newest = join(object, &rest.head().to_string());
        write_different(storage, &join(&newest, INVENTORY), &bytes)?;
        let sidecar = sidecar_text(&digest_of(rest.algorithm(), &bytes));
        let name = sidecar_name(rest.algorithm().name());
        write_different(storage, &join(&newest, &name), sidecar.as_bytes())?;
        if is_new {
            let path = join(object, INVENTORY);
            match storage.write(&path, &bytes, Condition::Unchanged(&revision)) {
                Ok(()) => fault::step()?,
                // Somebody has published another version: it keeps its files, and the purge begins again.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(Error::io(path)(error)),
            }
        }
        write_different(storage, &join(object, &name), sidecar.as_bytes())?;
        return Ok(Some(rest));
    }
    let message = "the object was changed again and again while files were removed from it";
    Err(Error::io(object)(std::io::Error::other(message)))
}

/// Writes the inventory of a version directory, if it has one, without what is purged; what it says now. Removes it where
/// it cannot be right any more.
fn replace_inventory(
    storage: &dyn Storage,
    directory: &str,
    purge: &Purge,
    version: VersionNumber,
    kept: &Kept,
) -> Result<Option<Inventory>> {
    let Some((inventory, bytes)) = read_inventory(storage, directory)? else { return Ok(None) };
    let rest = purge.rest_of(&inventory)?;
    if kept.lies_unnamed(version, &rest) {
        // The sidecar first: by the inventory a repetition finds out what is to be done.
        for name in [sidecar_name(inventory.algorithm().name()), INVENTORY.to_owned()] {
            storage.remove_files(directory, &[name]).map_err(Error::io(directory))?;
            fault::step()?;
        }
        return Ok(None);
    }
    let bytes = if rest == inventory { bytes } else { rest.to_json() };
    write_documents(storage, directory, &rest, &bytes)?;
    Ok(Some(rest))
}

fn write_documents(storage: &dyn Storage, directory: &str, inventory: &Inventory, bytes: &[u8]) -> Result<()> {
    write_different(storage, &join(directory, INVENTORY), bytes)?;
    let sidecar = sidecar_text(&digest_of(inventory.algorithm(), bytes));
    let name = sidecar_name(inventory.algorithm().name());
    write_different(storage, &join(directory, &name), sidecar.as_bytes())
}

/// Version directories of other software may have no inventory. One that would be left with nothing at all gets what its
/// inventory would say, because a directory with nothing in it is none in a bucket. It declares no later version of the
/// specification than the next one that has an inventory.
fn write_for_bare(
    storage: &dyn Storage,
    object: &str,
    root: &Inventory,
    bare: &mut Vec<VersionNumber>,
    spec_before: SpecVersion,
    kept: &Kept,
) -> Result<()> {
    for version in bare.drain(..) {
        let directory = join(object, &version.to_string());
        if kept.directories.contains(version.to_string().as_str()) || !has_entries(storage, &directory)? {
            continue;
        }
        let mut builder = InventoryBuilder::after(root);
        builder.end_with(version);
        let named = root.names_content_directory().then(|| root.content_directory());
        builder.declare(spec_before, root.algorithm(), named);
        let inventory = finish(builder, root.id())?;
        write_documents(storage, &directory, &inventory, &inventory.to_json())?;
    }
    Ok(())
}

fn has_entries(storage: &dyn Storage, directory: &str) -> Result<bool> {
    match storage.list(directory) {
        Ok(entries) => Ok(!entries.is_empty()),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(Error::io(directory)(error)),
    }
}

/// The inventory of a version directory with its bytes; `None` when it has none. Its sidecar may not have followed it yet.
fn read_inventory(storage: &dyn Storage, directory: &str) -> Result<Option<(Inventory, Vec<u8>)>> {
    let path = join(directory, INVENTORY);
    let bytes = match storage.read(&path, INVENTORY_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(Error::io(path)(error)),
    };
    let inventory = Inventory::read(&bytes).map_err(|findings| Error::Inventory { path, findings })?;
    Ok(Some((inventory, bytes)))
}

/// Writes a file unless it says that already.
fn write_different(storage: &dyn Storage, path: &str, bytes: &[u8]) -> Result<()> {
    match storage.read(path, INVENTORY_BYTES.max(SMALL_FILE_BYTES)) {
        Ok(found) if found == bytes => return Ok(()),
        Ok(_) => {}
        Err(error) if is_absent(&error) => {}
        Err(error) => return Err(Error::io(path)(error)),
    }
    storage.write(path, bytes, Condition::None).map_err(Error::io(path))?;
    fault::step()
}

/// What the inventories name: content paths, and all directories that lead to them.
#[derive(Default)]
struct Kept {
    files: HashSet<Box<str>>,
    directories: HashSet<Box<str>>,
}

impl Kept {
    fn add(&mut self, inventory: &Inventory) {
        for (_, path) in inventory.manifest() {
            if self.files.insert(path.into()) {
                let mut above = path;
                while let Some((directory, _)) = above.rsplit_once('/')
                    && self.directories.insert(directory.into())
                {
                    above = directory;
                }
            }
        }
    }

    /// Whether content is kept, up to a version, that its inventory does not name. Not asked of a directory that holds nothing
    /// else: in a bucket it would be gone without its inventory.
    fn lies_unnamed(&self, version: VersionNumber, inventory: &Inventory) -> bool {
        if !self.directories.contains(version.to_string().as_str()) {
            return false;
        }
        let named: HashSet<&str> = inventory.manifest().map(|(_, path)| path).collect();
        let is_before = |path: &str| {
            let directory = path.split_once('/').map_or(path, |(directory, _)| directory);
            VersionNumber::parse(directory).is_ok_and(|number| number <= version)
        };
        self.files.iter().any(|path| is_before(path) && !named.contains(&**path))
    }
}

/// Removes every file below the content directories that no inventory names, and directories that are empty then.
fn remove_unnamed(storage: &dyn Storage, object: &str, root: &Inventory, kept: &Kept) -> Result<()> {
    // Where each listing waits for a network, one for the whole object is enough.
    let tree = match storage.reads_at_once() {
        Some(_) => Some(Tree::new(storage, object).map_err(Error::io(object))?),
        None => None,
    };
    let listed: &dyn Storage = tree.as_ref().map_or(storage, |tree| tree);
    remove_parts(storage, listed, object)?;
    for version in root.versions() {
        let version = version.number().to_string();
        remove_parts(storage, listed, &join(object, &version))?;
        let mut open = vec![join(&version, root.content_directory())];
        while let Some(directory) = open.pop() {
            let path = join(object, &directory);
            if !kept.directories.contains(directory.as_str()) {
                if tree.is_none() || has_entries(listed, &path)? {
                    storage.remove(&path).map_err(Error::io(path))?;
                    fault::step()?;
                }
                continue;
            }
            let mut unnamed = Vec::new();
            for entry in listed.list(&path).map_err(Error::io(&path))? {
                let inner = join(&directory, &entry.name);
                if entry.kind == EntryKind::Directory {
                    open.push(inner);
                } else if !kept.files.contains(inner.as_str()) {
                    unnamed.push(entry.name);
                }
            }
            if !unnamed.is_empty() {
                storage.remove_files(&path, &unnamed).map_err(Error::io(path))?;
                fault::step()?;
            }
        }
    }
    Ok(())
}

/// Removes what a crash in the middle of writing an inventory left beside it.
fn remove_parts(storage: &dyn Storage, listed: &dyn Storage, directory: &str) -> Result<()> {
    let entries = match listed.list(directory) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(Error::io(directory)(error)),
    };
    for entry in entries {
        if entry.name.starts_with(".inventory.json") && entry.name.ends_with(".part") {
            let path = join(directory, &entry.name);
            storage.remove(&path).map_err(Error::io(path))?;
        }
    }
    Ok(())
}
