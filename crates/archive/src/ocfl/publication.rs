//! A version on its way from a draft into the storage root: by one rename where directories move, and file by file
//! in a bucket.
//!
//! [`Publication::finish`] brings it to its end from wherever it stands, so a commit and the recovery from a crash do
//! the same. Where directories move, the order is: the version directory (or the whole new object) renamed into place;
//! the root inventory; its sidecar. What happens in a bucket is in `claim.rs`.

use std::io::{self, Read as _};
use std::path::Path;

use super::claim;
use super::error::{Error, Result};
use super::object::is_absent;
use super::root::StorageRoot;
use super::sidecar::{self, INVENTORY, INVENTORY_BYTES, SMALL_FILE_BYTES, join, sidecar_name};
use super::staging::fault;
use super::version::VersionNumber;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::storage::{Condition, Storage};

/// A version that is about to be published: what its intent says.
pub(super) struct Publication<'a> {
    pub(super) root: &'a StorageRoot,
    /// The object root in the storage root.
    pub(super) object: &'a str,
    pub(super) version: VersionNumber,
    /// The digest of its inventory.
    pub(super) inventory: Digest,
    /// The digest of the root inventory that it follows; none for a new object.
    pub(super) base: Option<Digest>,
    /// The directory of its draft.
    pub(super) draft: &'a Path,
}

impl Publication<'_> {
    /// Whether the version is part of the object in the end; otherwise another one came first, or what was staged is
    /// gone, and nothing of this one is left.
    pub(super) fn finish(&self) -> Result<bool> {
        if self.storage().moves_directories() { self.move_in() } else { claim::copy_in(self) }
    }

    pub(super) fn storage(&self) -> &dyn Storage {
        self.root.storage().as_ref()
    }

    pub(super) fn version_directory(&self) -> String {
        join(self.object, &self.version.to_string())
    }

    fn move_in(&self) -> Result<bool> {
        if !self.is_in_place()? && !self.rename()? {
            return Ok(false);
        }
        fault::step()?;
        // What is in place now may be the version of another writer that came first.
        if !self.is_in_place()? {
            return Ok(false);
        }
        if self.base.is_some() && self.is_newest()? {
            self.replace_root_inventory()?;
            self.remove_strays()?;
        }
        Ok(true)
    }

    /// Whether the inventory in the version directory is the one that was about to be published.
    pub(super) fn is_in_place(&self) -> Result<bool> {
        let path = join(&self.version_directory(), INVENTORY);
        let mut hasher = Hasher::new(self.algorithm());
        let mut take = || -> io::Result<()> {
            let mut source = self.storage().open(&path, 0..INVENTORY_BYTES)?;
            let mut block = vec![0; 128 << 10];
            loop {
                match source.read(&mut block)? {
                    0 => return Ok(()),
                    count => hasher.update(block.get(..count).unwrap_or_default()),
                }
            }
        };
        match take() {
            Ok(()) => Ok(hasher.finish() == self.inventory),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(Error::io(path)(error)),
        }
    }

    /// The algorithm of the object: inventories have one of two (OCFL 1.1 section 3.5.1).
    fn algorithm(&self) -> Algorithm {
        let is_sha256 = self.inventory.as_bytes().len() == Algorithm::Sha256.len_bytes();
        if is_sha256 { Algorithm::Sha256 } else { Algorithm::Sha512 }
    }

    /// Whether the object is what it was when the draft was begun.
    pub(super) fn follows_base(&self) -> Result<bool> {
        let found = match sidecar::read_root(self.storage(), self.object) {
            Ok(proven) => Some(proven.digest),
            Err(Error::Io { source, .. }) if is_absent(&source) => None,
            Err(error) => return Err(error),
        };
        Ok(found == self.base)
    }

    /// Renames what is staged into place, if it is there and the object is what it was; whether that was done.
    fn rename(&self) -> Result<bool> {
        let staged = self.draft.join("object");
        let (staged, path) = match self.base {
            None => (staged, self.object.to_owned()),
            Some(_) => (staged.join(self.version.to_string()), self.version_directory()),
        };
        if !staged.is_dir() || !self.follows_base()? {
            return Ok(false);
        }
        match self.storage().publish(&staged, &path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(Error::io(path)(error)),
        }
    }

    /// Whether no later version has been added: then the root inventory is, or shall be, this version's.
    fn is_newest(&self) -> Result<bool> {
        let Some(next) = self.version.next() else { return Ok(true) };
        let path = join(self.object, &next.to_string());
        Ok(self.storage().entry(&path).map_err(Error::io(path))?.is_none())
    }

    /// Copies inventory and sidecar of the version directory, which is in place, over those of the object root.
    fn replace_root_inventory(&self) -> Result<()> {
        let (storage, algorithm) = (self.storage(), self.algorithm());
        let directory = self.version_directory();
        for (name, limit) in
            [(INVENTORY.to_owned(), INVENTORY_BYTES), (sidecar_name(algorithm.name()), SMALL_FILE_BYTES)]
        {
            let from = join(&directory, &name);
            let bytes = storage.read(&from, limit).map_err(Error::io(from))?;
            let to = join(self.object, &name);
            storage.write(&to, &bytes, Condition::None).map_err(Error::io(to))?;
            fault::step()?;
        }
        Ok(())
    }

    /// Removes what a crash in the middle of replacing a file left beside it.
    fn remove_strays(&self) -> Result<()> {
        let storage = self.storage();
        for entry in storage.list(self.object).map_err(Error::io(self.object))? {
            if entry.name.starts_with(".inventory.json") && entry.name.ends_with(".part") {
                let path = join(self.object, &entry.name);
                storage.remove(&path).map_err(Error::io(path))?;
            }
        }
        Ok(())
    }
}
