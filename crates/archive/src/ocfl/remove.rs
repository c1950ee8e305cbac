//! Removing an object: out of the storage root at once, then from the disk.

use super::error::{Error, Result};
use super::object::is_absent;
use super::root::StorageRoot;
use super::staging::{Change, Intent, Place, fault};
use crate::publish;

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
        if self.storage().entry(&object).map_err(Error::io(&object))?.is_none() {
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
