//! Removing an object: out of the storage root at once, then from the disk.

use super::error::{Error, Result};
use super::object::is_absent;
use super::remains;
use super::root::StorageRoot;
use super::sidecar::{INVENTORY, join};
use super::staging::{Change, Intent, Place, fault};
use super::version::VersionNumber;
use crate::publish;
use crate::storage::{EntryKind, Storage};

impl StorageRoot {
    /// Removes an object with all its versions; [`Error::NoSuchObject`] when there is none. After a crash
    /// [`StorageRoot::recover`] finishes it.
    pub fn remove(&self, id: &str) -> Result<()> {
        let place = Place::new(self.staging(), id);
        let _lock = place.try_lock()?.ok_or_else(|| Error::Locked { id: id.to_owned() })?;
        if Intent::read(&place)?.is_some() {
            return Err(Error::Unrecovered { id: id.to_owned() });
        }
        let missing = || Error::NoSuchObject { id: id.to_owned() };
        let object = self.object_path(id)?.ok_or_else(missing)?;
        if !remains::is_there(self.storage().as_ref(), &object)? {
            return Err(missing());
        }
        // An object that cannot be read is removed as well, but never one that has another id.
        if let Ok(found) = self.object_at(&object)
            && found.id() != id
        {
            let found = found.id().to_owned();
            return Err(Error::WrongObject { path: object, expected: id.to_owned(), found });
        }
        let intent = Intent { id: id.to_owned(), object, change: Change::Remove };
        intent.write(&place)?;
        fault::step()?;
        withdraw(self, &place, &intent)?;
        self.forget(id);
        Ok(())
    }
}

/// Carries out the intent to remove an object, wherever it stands.
pub(super) fn withdraw(root: &StorageRoot, place: &Place, intent: &Intent) -> Result<()> {
    if !root.storage().moves_directories() {
        remove_in_order(root.storage().as_ref(), &intent.object)?;
        return Intent::clear(place);
    }
    let removed = place.removed();
    let failed = |error| Error::io(removed.display().to_string())(error);
    if let Some(directory) = removed.parent() {
        publish::create_directories(directory).map_err(failed)?;
    }
    match root.storage().entry(&intent.object).map_err(Error::io(&intent.object))? {
        Some(_) => {
            // What an interrupted removal of an earlier object with this id left.
            publish::remove_tree(&removed).map_err(failed)?;
            match root.storage().withdraw(&intent.object, &removed) {
                Err(error) if !is_absent(&error) => return Err(Error::io(&intent.object)(error)),
                _ => {}
            }
        }
        // Gone already; the directories above it may be left, and are empty.
        None => root.storage().remove(&intent.object).map_err(Error::io(&intent.object))?,
    }
    fault::step()?;
    publish::remove_tree(&removed).map_err(failed)?;
    fault::step()?;
    Intent::clear(place)
}

/// Removes an object where nothing can be moved: it is there until its root inventory goes, and gone from then on.
///
/// The first version's inventory goes before that, so that it cannot be taken for a claim of a new object (`claim.rs`);
/// the declaration goes last, so that nobody takes what is left for a directory that leads to objects.
pub(super) fn remove_in_order(storage: &dyn Storage, object: &str) -> Result<()> {
    let remove = |path: &str| storage.remove(path).map_err(Error::io(path));
    let entries = match storage.list(object) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(Error::io(object)(error)),
    };
    let is_first = |name: &str| VersionNumber::parse(name).is_ok_and(|version| version.number() == 1);
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Directory && is_first(&entry.name)) {
        remove(&format!("{object}/{}/{INVENTORY}", entry.name))?;
        fault::step()?;
    }
    remove(&join(object, INVENTORY))?;
    fault::step()?;
    let (last, others): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| remains::is_declaration(&entry.name));
    for entry in others.into_iter().chain(last) {
        remove(&join(object, &entry.name))?;
        fault::step()?;
    }
    // What was written meanwhile by somebody who had not noticed.
    remove(object)
}
