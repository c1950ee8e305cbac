//! Reading an object: its inventory, any version of it, and any file of a version.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::Arc;

use super::error::{Error, Result};
use super::inventory::{Inventory, VersionFile};
use super::sidecar::{self, join};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::storage::{EntryKind, Storage};

/// An object as it was when it was opened. A new version does not disturb it: what it names never changes.
#[derive(Clone)]
pub struct Object {
    storage: Arc<dyn Storage>,
    path: String,
    inventory: Arc<Inventory>,
    inventory_digest: Digest,
}

impl Object {
    /// Opens the object at `path`, whose root inventory must have the digest of its sidecar.
    pub(crate) fn open(storage: &Arc<dyn Storage>, path: &str) -> Result<Object> {
        match sidecar::read_root(storage.as_ref(), path) {
            Ok(proven) => Ok(Object {
                storage: Arc::clone(storage),
                path: path.to_owned(),
                inventory: Arc::new(proven.inventory),
                inventory_digest: proven.digest,
            }),
            Err(Error::Io { source, .. }) if is_absent(&source) => Err(Error::NoSuchObject { id: path.to_owned() }),
            Err(error) => Err(error),
        }
    }

    /// The object whose root inventory is known.
    pub(crate) fn known(storage: &Arc<dyn Storage>, path: &str, inventory: Arc<Inventory>, digest: Digest) -> Object {
        Object { storage: Arc::clone(storage), path: path.to_owned(), inventory, inventory_digest: digest }
    }

    /// The object's id.
    pub fn id(&self) -> &str {
        self.inventory.id()
    }

    /// The object root, relative to the storage root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where its bytes lie.
    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The root inventory.
    pub fn inventory(&self) -> &Arc<Inventory> {
        &self.inventory
    }

    /// The digest of the root inventory's bytes, which stands for the whole object as it is now.
    pub fn inventory_digest(&self) -> &Digest {
        &self.inventory_digest
    }

    /// The inventory as it was when version `number` was made. Where that version directory keeps none, the root
    /// inventory, which describes all versions.
    pub fn inventory_of(&self, number: u32) -> Result<Arc<Inventory>> {
        let missing = || Error::NoSuchVersion { path: self.path.clone(), version: number };
        let version = self.inventory.version(number).ok_or_else(missing)?;
        if number == self.inventory.head().number() {
            return Ok(Arc::clone(&self.inventory));
        }
        let directory = join(&self.path, &version.number().to_string());
        let inventory = match sidecar::read_version(self.storage.as_ref(), &directory) {
            Ok(proven) => proven.inventory,
            Err(Error::Io { source, .. }) if is_absent(&source) => return Ok(Arc::clone(&self.inventory)),
            Err(error) => return Err(error),
        };
        if inventory.id() != self.id() {
            let (path, expected, found) = (directory, self.id().to_owned(), inventory.id().to_owned());
            return Err(Error::WrongObject { path, expected, found });
        }
        Ok(Arc::new(inventory))
    }

    /// For asking after the lengths of content files, of one or of all.
    pub fn lengths(&self) -> Result<Lengths> {
        let (storage, path) = (Arc::clone(&self.storage), self.path.clone());
        let mut listed = None;
        // Where each question waits for a network, one listing answers them all.
        if storage.reads_at_once().is_some() {
            let mut found = HashMap::new();
            let mut take = |path: &str, len| {
                found.insert(path.into(), len);
            };
            storage.list_below(&path, &mut take).map_err(Error::io(&path))?;
            listed = Some(found);
        }
        Ok(Lengths { storage, path, listed })
    }

    /// Bytes of a content file **as they lie there, not verified**: for code that hashes the whole file itself
    /// before it lets anybody have the end of it. All others use [`Object::open_verified`].
    pub fn open_range(&self, content_path: &str, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let path = join(&self.path, content_path);
        self.storage.open(&path, range).map_err(Error::io(&path))
    }

    /// A reader that ends without error only if all it gave has the file's digest: the last bytes are held back
    /// until they are proven, and a file that was altered is an error of kind `InvalidData` instead of an end.
    pub fn open_verified(&self, file: &VersionFile<'_>) -> Result<VerifiedReader> {
        let source = self.open_range(file.content_path, 0..u64::MAX)?;
        Ok(VerifiedReader::new(source, file.algorithm, *file.digest))
    }

    /// Copies a file to `sink` and returns its length. When the file was altered, the copy is short and the result
    /// is [`Error::Altered`].
    pub fn copy_verified(&self, file: &VersionFile<'_>, sink: &mut dyn Write) -> Result<u64> {
        let path = join(&self.path, file.content_path);
        let mut reader = self.open_verified(file)?;
        let copied = io::copy(&mut reader, sink);
        match reader.found {
            Some(found) if found != reader.expected => Err(Error::Altered {
                path,
                algorithm: file.algorithm,
                expected: Box::new(reader.expected),
                found: Box::new(found),
            }),
            _ => copied.map_err(Error::io(path)),
        }
    }
}

/// The lengths of an object's content files: see [`Object::lengths`].
pub struct Lengths {
    storage: Arc<dyn Storage>,
    path: String,
    /// By content path, if all were listed.
    listed: Option<HashMap<Box<str>, u64>>,
}

impl Lengths {
    /// The length of a content file in bytes; an error of kind `NotFound` when there is no such file.
    pub fn of(&self, content_path: &str) -> Result<u64> {
        let path = join(&self.path, content_path);
        let found = match &self.listed {
            Some(listed) => listed.get(content_path).copied(),
            None => {
                let entry = self.storage.entry(&path).map_err(Error::io(&path))?;
                entry.filter(|entry| entry.kind == EntryKind::File).map(|entry| entry.len)
            }
        };
        found.ok_or_else(|| Error::io(path)(io::ErrorKind::NotFound.into()))
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Object").field("path", &self.path).field("id", &self.id()).finish_non_exhaustive()
    }
}

pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Reads a file and verifies it: see [`Object::open_verified`].
pub struct VerifiedReader {
    source: Box<dyn Read + Send>,
    hasher: Option<Hasher>,
    expected: Digest,
    found: Option<Digest>,
    /// What was read and not given yet: one block ahead of the caller.
    held: Vec<u8>,
    given: usize,
    next: Vec<u8>,
}

const BLOCK_BYTES: usize = 128 * 1024;

impl VerifiedReader {
    pub(crate) fn new(source: Box<dyn Read + Send>, algorithm: Algorithm, expected: Digest) -> VerifiedReader {
        VerifiedReader {
            source,
            hasher: Some(Hasher::new(algorithm)),
            expected,
            found: None,
            held: Vec::new(),
            given: 0,
            next: Vec::new(),
        }
    }

    /// Reads one block into `next`; at the end of the file, finishes the digest.
    fn read_ahead(&mut self) -> io::Result<()> {
        self.next.clear();
        self.source.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut self.next)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.next);
        }
        if self.next.is_empty()
            && let Some(hasher) = self.hasher.take()
        {
            self.found = Some(hasher.finish());
        }
        Ok(())
    }

    fn refuse_altered(&self) -> io::Result<()> {
        match self.found {
            Some(found) if found != self.expected => {
                let message = format!("the file was altered: its digest is {found}, not {}", self.expected);
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
            _ => Ok(()),
        }
    }
}

impl Read for VerifiedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.refuse_altered()?;
        if self.given == self.held.len() && self.found.is_none() {
            if self.next.is_empty() {
                self.read_ahead()?;
            }
            std::mem::swap(&mut self.held, &mut self.next);
            self.given = 0;
            if self.found.is_none() {
                self.read_ahead()?;
            }
            self.refuse_altered()?;
        }
        let rest = self.held.get(self.given..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.given += count;
        Ok(count)
    }
}
