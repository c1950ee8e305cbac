//! Finishing what a crash interrupted.
//!
//! Whatever the moment of the crash, the object is as before or as after the change, never between: an intent says
//! what was about to be done, and all it needs is on disk. A change that a living process is making is left alone.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::commit::replace_root_inventory;
use super::error::{Error, Result};
use super::inventory::Inventory;
use super::object::is_absent;
use super::remove;
use super::root::StorageRoot;
use super::sidecar::{self, INVENTORY, INVENTORY_BYTES, digest_of, join};
use super::staging::{self, Change, Intent, Place, drop_draft, fault};
use super::version::VersionNumber;
use crate::digest::Digest;
use crate::publish;

/// An object whose interrupted change was brought to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The object's id.
    pub id: String,
    /// The object root, relative to the storage root.
    pub path: String,
    /// What became of the change.
    pub outcome: Outcome,
}

/// What became of an interrupted change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The version is part of the object.
    Committed(VersionNumber),
    /// The object is as it was before: another version had come first, or nothing was left to finish with.
    RolledBack,
    /// The object is removed.
    Removed,
}

impl StorageRoot {
    /// Finishes every change that a crash interrupted, and tells which. Run it when a process starts, and whenever
    /// [`Error::Unrecovered`] was met. Drafts that nobody has worked on for `drafts_older_than` are removed.
    pub fn recover(&self, drafts_older_than: Option<Duration>) -> Result<Vec<Recovered>> {
        let mut recovered = Vec::new();
        for name in names(&staging::intents(self.staging()))? {
            let Some(key) = name.strip_suffix(".json").filter(|key| !key.starts_with('.')) else { continue };
            recovered.extend(self.recover_one(&Place::with_key(self.staging(), key))?);
        }
        self.clear_removed()?;
        if let Some(age) = drafts_older_than {
            self.drop_old_drafts(age)?;
        }
        Ok(recovered)
    }

    fn recover_one(&self, place: &Place) -> Result<Option<Recovered>> {
        let Some(_lock) = place.try_lock()? else { return Ok(None) };
        // The process that held the lock until now may have finished by itself.
        let Some(intent) = Intent::read(place)? else { return Ok(None) };
        let outcome = match &intent.change {
            Change::Remove => {
                remove::withdraw(self, place, &intent)?;
                Outcome::Removed
            }
            Change::Version { version, inventory, base, draft } => {
                let change = VersionChange {
                    root: self,
                    object: &intent.object,
                    version,
                    inventory,
                    base: base.as_deref(),
                    draft: &place.drafts().join(draft),
                };
                let finished = change.finish()?;
                fault::step()?;
                drop_draft(change.draft)?;
                fault::step()?;
                Intent::clear(place)?;
                finished.map_or(Outcome::RolledBack, Outcome::Committed)
            }
        };
        match outcome {
            Outcome::Removed => self.forget(&intent.id),
            _ => self.learn(&intent.id, &intent.object),
        }
        Ok(Some(Recovered { id: intent.id, path: intent.object, outcome }))
    }

    /// Objects that were taken out of the root and not removed from the disk yet.
    fn clear_removed(&self) -> Result<()> {
        let directory = staging::removed(self.staging());
        for key in names(&directory)? {
            let place = Place::with_key(self.staging(), &key);
            if let Some(_lock) = place.try_lock()? {
                let path = place.removed();
                publish::remove_tree(&path).map_err(Error::io(path.display().to_string()))?;
            }
        }
        Ok(())
    }

    fn drop_old_drafts(&self, age: Duration) -> Result<()> {
        for key in names(&staging::drafts(self.staging()))? {
            let place = Place::with_key(self.staging(), &key);
            let Some(_lock) = place.try_lock()? else { continue };
            if Intent::read(&place)?.is_some() {
                continue;
            }
            for session in names(&place.drafts())? {
                let draft = place.drafts().join(session);
                if last_change(&draft).is_none_or(|unchanged| unchanged >= age) {
                    drop_draft(&draft)?;
                }
            }
        }
        Ok(())
    }
}

/// For how long nobody has added to a draft.
fn last_change(draft: &Path) -> Option<Duration> {
    let times = [draft.to_owned(), draft.join("draft.json"), draft.join("journal.jsonl")];
    let newest = times.iter().filter_map(|path| std::fs::metadata(path).ok()?.modified().ok()).max()?;
    Some(newest.elapsed().unwrap_or_default())
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::io(directory.display().to_string())(error);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// A version that was about to be published.
struct VersionChange<'a> {
    root: &'a StorageRoot,
    object: &'a str,
    version: &'a str,
    /// The digest of its inventory.
    inventory: &'a str,
    base: Option<&'a str>,
    draft: &'a Path,
}

impl VersionChange<'_> {
    /// The version, when it is part of the object in the end.
    fn finish(&self) -> Result<Option<VersionNumber>> {
        let Ok(version) = VersionNumber::parse(self.version) else { return Ok(None) };
        let Ok(expected) = self.inventory.parse::<Digest>() else { return Ok(None) };
        let directory = join(self.object, self.version);
        if self.inventory_in(&directory, &expected)?.is_none() && !self.publish(&directory)? {
            return Ok(None);
        }
        fault::step()?;
        // What is in place now may be the version of another writer that came first.
        let Some(inventory) = self.inventory_in(&directory, &expected)? else { return Ok(None) };
        if self.base.is_some() && self.is_newest(version)? {
            replace_root_inventory(self.root, self.object, version, inventory.algorithm())?;
            self.remove_strays()?;
        }
        Ok(Some(version))
    }

    /// The inventory in a version directory, if it is the one that was about to be published.
    fn inventory_in(&self, directory: &str, expected: &Digest) -> Result<Option<Inventory>> {
        let path = join(directory, INVENTORY);
        let bytes = match self.root.storage().read(&path, INVENTORY_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(Error::io(path)(error)),
        };
        let inventory = Inventory::read(&bytes).ok();
        Ok(inventory.filter(|inventory| digest_of(inventory.algorithm(), &bytes) == *expected))
    }

    /// Publishes what is staged, if it is there and the object is what it was; whether that was done.
    fn publish(&self, directory: &str) -> Result<bool> {
        let staged = self.draft.join("object");
        let (staged, path) = match self.base {
            None => (staged, self.object),
            Some(_) => (staged.join(self.version), directory),
        };
        if !staged.is_dir() {
            return Ok(false);
        }
        if let Some(base) = self.base {
            match sidecar::read_root(self.root.storage().as_ref(), self.object) {
                Ok(proven) if proven.digest.to_string() == base => {}
                Ok(_) => return Ok(false),
                Err(Error::Io { source, .. }) if is_absent(&source) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        match self.root.storage().publish(&staged, path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(Error::io(path)(error)),
        }
    }

    /// Whether no later version has been added: then the root inventory is, or shall be, this version's.
    fn is_newest(&self, version: VersionNumber) -> Result<bool> {
        let Some(next) = version.next() else { return Ok(true) };
        let path = join(self.object, &next.to_string());
        Ok(self.root.storage().entry(&path).map_err(Error::io(path))?.is_none())
    }

    /// Removes what a crash in the middle of replacing a file left beside it.
    fn remove_strays(&self) -> Result<()> {
        let storage = self.root.storage();
        for entry in storage.list(self.object).map_err(Error::io(self.object))? {
            if entry.name.starts_with(".inventory.json") && entry.name.ends_with(".part") {
                let path = join(self.object, &entry.name);
                storage.remove(&path).map_err(Error::io(path))?;
            }
        }
        Ok(())
    }
}
