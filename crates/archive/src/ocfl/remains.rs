//! Where directories do not move, a change that is under way, or that a crash cut off, can be seen in the storage: files
//! that no root inventory names. They are no part of any object. Here is how they are told from damage, and how they
//! are removed.

use std::collections::HashSet;

use super::claim::{self, read_root, upload_of};
use super::content::own_directories;
use super::error::{Error, Result};
use super::inventory::Inventory;
use super::object::is_absent;
use super::remove;
use super::root::StorageRoot;
use super::sidecar::{INVENTORY, SMALL_FILE_BYTES, join, sidecar_digest, sidecar_name};
use super::staging::{Intent, Place};
use super::version::VersionNumber;
use crate::digest::Digest;
use crate::storage::{Entry, EntryKind, Storage};

/// What a directory in a storage root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The root of an object, whole or damaged.
    Object,
    /// An object that is being made or removed.
    Unfinished,
    /// A directory that leads to objects.
    Way,
}

pub(crate) fn is_declaration(name: &str) -> bool {
    name.starts_with("0=ocfl_object_")
}

/// What the directory is that holds these entries.
pub(crate) fn standing(storage: &dyn Storage, path: &str, entries: &[Entry]) -> Result<Standing> {
    if !entries.iter().any(|entry| is_declaration(&entry.name)) {
        return Ok(Standing::Way);
    }
    let has_inventory = entries.iter().any(|entry| entry.name == INVENTORY);
    if storage.moves_directories() || has_inventory {
        return Ok(Standing::Object);
    }
    // An object that has lost its root inventory has a sidecar of it, which a new one has not yet, and a first version
    // with an inventory, which one on its way out has not any more.
    let has_sidecar = entries.iter().any(|entry| entry.name.starts_with("inventory.json."));
    let first = entries.iter().find(|entry| VersionNumber::parse(&entry.name).is_ok_and(|found| found.number() == 1));
    if let Some(first) = first.filter(|_| has_sidecar) {
        let path = format!("{}/{INVENTORY}", join(path, &first.name));
        if storage.entry(&path).map_err(Error::io(path))?.is_some() {
            return Ok(Standing::Object);
        }
    }
    Ok(Standing::Unfinished)
}

/// Whether there is an object at `path`, readable or not.
pub(crate) fn is_there(storage: &dyn Storage, path: &str) -> Result<bool> {
    if storage.moves_directories() {
        return Ok(storage.entry(path).map_err(Error::io(path))?.is_some());
    }
    match storage.list(path) {
        Ok(entries) => Ok(standing(storage, path, &entries)? != Standing::Unfinished),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(Error::io(path)(error)),
    }
}

/// Whether a version directory that the root inventory does not know may be that of a version in the making.
pub(crate) fn is_in_the_making(storage: &dyn Storage, root: &Inventory, version: VersionNumber) -> bool {
    !storage.moves_directories() && root.head().next() == Some(version)
}

/// Whether the inventory of a version may have gone before its sidecar, because the object is being removed.
pub(crate) fn is_going(storage: &dyn Storage, version: VersionNumber) -> bool {
    !storage.moves_directories() && version.number() == 1
}

/// Whether a file, by its path in the object, may be one that a writer who came too late has not removed yet.
pub(crate) fn is_late(storage: &dyn Storage, content_directory: &str, path: &str) -> bool {
    let inner = path.split_once('/').map(|(_, inner)| inner);
    !storage.moves_directories() && inner.is_some_and(|inner| upload_of(inner, content_directory).is_some())
}

/// Whether a root sidecar that does not fit, or is missing, may be one that has not followed its inventory yet: then it
/// is that of the version before, and the newest version has its own.
pub(crate) fn sidecar_lags(storage: &dyn Storage, object: &str, root: &Inventory, found: &Digest) -> bool {
    if storage.moves_directories() {
        return false;
    }
    let name = sidecar_name(root.algorithm().name());
    let stated = |directory: &str| {
        let text = storage.read(&join(directory, &name), SMALL_FILE_BYTES).ok()?;
        sidecar_digest(&text)
    };
    let of_version = |number: u32| {
        let version = root.version(number)?;
        stated(&join(object, &version.number().to_string()))
    };
    let head = root.head().number();
    if of_version(head).as_ref() != Some(found) {
        return false;
    }
    match stated(object) {
        None => head == 1,
        Some(stated) => head > 1 && of_version(head - 1) == Some(stated),
    }
}

impl StorageRoot {
    /// Removes what interrupted changes of an object left where directories do not move, except for what drafts have
    /// there that can be gone on with from here. The caller knows that nobody elsewhere is changing the object, and that
    /// whoever was has been gone for long.
    pub fn tidy(&self, id: &str) -> Result<()> {
        let storage = self.storage().as_ref();
        if storage.moves_directories() {
            return Ok(());
        }
        // Somebody here is at work, or has left an intent, which is for the recovery.
        let place = Place::new(self.staging(), id);
        let Some(_lock) = place.try_lock()? else { return Ok(()) };
        if Intent::read(&place)?.is_some() {
            return Ok(());
        }
        let Some(object) = self.object_path(id)? else { return Ok(()) };
        claim::settle(self, &object)?;
        storage.end_streams(&object).map_err(Error::io(&object))?;
        let own = own_directories(&place)?;
        match read_root(storage, &object)? {
            Some(state) => remove_unnamed(storage, &object, &state.inventory, &own),
            None if !own.is_empty() => Ok(()),
            None => match storage.list(&object) {
                Ok(entries) if standing(storage, &object, &entries)? == Standing::Unfinished => {
                    remove::remove_in_order(storage, &object)
                }
                Err(error) if !is_absent(&error) => Err(Error::io(object)(error)),
                _ => Ok(()),
            },
        }
    }
}

/// Removes the declaration of a new object that has nothing else.
pub(super) fn remove_bare_declaration(storage: &dyn Storage, object: &str) -> Result<()> {
    let entries = match storage.list(object) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(Error::io(object)(error)),
    };
    if !entries.iter().all(|entry| is_declaration(&entry.name)) {
        return Ok(());
    }
    let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    storage.remove_files(object, &names).map_err(Error::io(object))
}

/// Removes the directories of writers who came too late, and a next version that was never claimed, but none that is to
/// be kept.
fn remove_unnamed(storage: &dyn Storage, object: &str, inventory: &Inventory, kept: &HashSet<String>) -> Result<()> {
    let content = inventory.content_directory();
    let upload = |path: &str| -> Option<String> {
        let (version, inner) = path.split_once('/')?;
        Some(format!("{version}/{content}/{}", upload_of(inner, content)?))
    };
    let named: HashSet<String> = inventory.manifest().filter_map(|(_, path)| upload(path)).collect();
    let mut unnamed = HashSet::new();
    let mut take = |path: &str, _| unnamed.extend(upload(path).filter(|upload| !named.contains(upload)));
    storage.list_below(object, &mut take).map_err(Error::io(object))?;
    if kept.is_empty() {
        unnamed.extend(inventory.head().next().map(|next| next.to_string()));
    }
    let paths = unnamed.into_iter().map(|directory| join(object, &directory));
    for path in paths.filter(|path| !kept.contains(path)) {
        storage.remove(&path).map_err(Error::io(path))?;
    }
    Ok(())
}

/// The entries that are directories.
pub(crate) fn directories(entries: Vec<Entry>) -> impl Iterator<Item = String> {
    entries.into_iter().filter(|entry| entry.kind == EntryKind::Directory).map(|entry| entry.name)
}
