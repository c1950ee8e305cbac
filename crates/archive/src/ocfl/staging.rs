//! The staging directory: locks, drafts, and the intents of changes that are under way.
//!
//! `locks/<key>` is held by whoever changes the object; `drafts/<key>/<session>` is a version in the making;
//! `intents/<key>.json` says what a change is about to do to the storage root; `removed/<key>` is an object on its
//! way out. The key is the SHA-256 of the object's id.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::purge::Purge;
use super::sidecar::digest_of;
use crate::digest::Algorithm;
use crate::publish;

/// The paths of one object in the staging directory.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    staging: PathBuf,
    key: String,
}

impl Place {
    pub(crate) fn new(staging: &Path, id: &str) -> Place {
        Place { staging: staging.to_owned(), key: digest_of(Algorithm::Sha256, id.as_bytes()).to_string() }
    }

    pub(crate) fn with_key(staging: &Path, key: &str) -> Place {
        Place { staging: staging.to_owned(), key: key.to_owned() }
    }

    fn lock(&self) -> PathBuf {
        self.staging.join("locks").join(&self.key)
    }

    pub(crate) fn drafts(&self) -> PathBuf {
        drafts(&self.staging).join(&self.key)
    }

    pub(crate) fn draft(&self, session: &str) -> PathBuf {
        self.drafts().join(digest_of(Algorithm::Sha256, session.as_bytes()).to_string())
    }

    pub(crate) fn intent(&self) -> PathBuf {
        intents(&self.staging).join(format!("{}.json", self.key))
    }

    pub(crate) fn removed(&self) -> PathBuf {
        removed(&self.staging).join(&self.key)
    }

    /// Takes the exclusive lock of the object; `None` when another process or thread holds it. A process that dies
    /// lets go of it.
    pub(crate) fn try_lock(&self) -> Result<Option<ObjectLock>> {
        let path = self.lock();
        let failed = |error| Error::io(path.display().to_string())(error);
        if let Some(directory) = path.parent() {
            publish::create_directories(directory).map_err(failed)?;
        }
        loop {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // The holder before may have removed the file after it was opened here: a lock on a file without a
            // name excludes nobody.
            if is_same_file(&file, &path).map_err(failed)? {
                return Ok(Some(ObjectLock { path, _file: file }));
            }
        }
    }
}

/// The directory of all drafts.
pub(crate) fn drafts(staging: &Path) -> PathBuf {
    staging.join("drafts")
}

/// The directory of all intents.
pub(crate) fn intents(staging: &Path) -> PathBuf {
    staging.join("intents")
}

/// The directory of objects on their way out.
pub(crate) fn removed(staging: &Path) -> PathBuf {
    staging.join("removed")
}

fn is_same_file(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let held = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((held.dev(), held.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The exclusive right to change one object.
#[derive(Debug)]
pub(crate) struct ObjectLock {
    path: PathBuf,
    _file: File,
}

impl Drop for ObjectLock {
    fn drop(&mut self) {
        // While it is still held: nobody else can have taken it. A lock file that stays does no harm.
        let _ = publish::discard_staged(&self.path);
    }
}

/// What is about to be done to the storage root, written and synced before it is begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The object's id.
    pub(crate) id: String,
    /// The object root in the storage root.
    pub(crate) object: String,
    pub(crate) change: Change,
}

/// The change of an [`Intent`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(crate) enum Change {
    /// A version is published.
    Version {
        /// Its number.
        version: String,
        /// The digest of its inventory.
        inventory: String,
        /// The digest of the root inventory that it follows; none for a new object.
        base: Option<String>,
        /// The name of the draft's directory.
        draft: String,
    },
    /// The object is removed.
    Remove,
    /// Files are removed from its versions.
    Purge {
        /// Which.
        files: Purge,
    },
}

impl Intent {
    pub(crate) fn write(&self, place: &Place) -> Result<()> {
        let path = place.intent();
        let failed = |error: io::Error| Error::io(path.display().to_string())(error);
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        if let Some(directory) = path.parent() {
            publish::create_directories(directory).map_err(failed)?;
        }
        publish::write_file(&path, &bytes).map_err(failed)
    }

    /// The intent of an object; `None` when no change of it is under way.
    pub(crate) fn read(place: &Place) -> Result<Option<Intent>> {
        let path = place.intent();
        let failed = |error: io::Error| Error::io(path.display().to_string())(error);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    pub(crate) fn clear(place: &Place) -> Result<()> {
        let path = place.intent();
        publish::remove_file(&path).map_err(Error::io(path.display().to_string()))
    }
}

/// Removes the staging directory of a draft, and that of the object's drafts when it is then empty. What the draft has in
/// the storage is left: it is part of a version now, or `content.rs` has removed it.
pub(crate) fn forget_draft(draft: &Path) -> Result<()> {
    publish::remove_tree(draft).map_err(Error::io(draft.display().to_string()))?;
    if let Some(drafts) = draft.parent() {
        // Fails when there are other drafts of the object.
        let _ = rustix::fs::rmdir(drafts);
    }
    Ok(())
}

/// Points at which the tests pretend that the process dies.
pub(crate) mod fault {
    #[cfg(test)]
    thread_local! {
        static STEPS_LEFT: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
    }

    /// Lets the next `steps` steps pass and ends at the one after; `None` lets all pass.
    #[cfg(test)]
    pub(crate) fn after(steps: Option<u32>) {
        STEPS_LEFT.set(steps);
    }

    /// One step of a change is done.
    #[cfg(test)]
    pub(crate) fn step() -> crate::ocfl::Result<()> {
        match STEPS_LEFT.get() {
            Some(0) => Err(crate::ocfl::Error::io("fault")(std::io::Error::other("the process ends here"))),
            left => {
                STEPS_LEFT.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }

    #[cfg(not(test))]
    #[inline]
    #[allow(clippy::unnecessary_wraps, reason = "the same signature as the one that fails in tests")]
    pub(crate) fn step() -> crate::ocfl::Result<()> {
        Ok(())
    }
}
