//! Making a draft a version of the object.
//!
//! The order, each step durable before the next: staged files; inventory and sidecar in the staged version; the intent;
//! the publication (`publication.rs`); the draft and the intent removed. Up to the intent a crash leaves the object as
//! it was, and the draft to go on with; from the intent on, `recover` finishes what was begun.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::error::{Error, Result};
use super::inventory::{Inventory, InventoryBuilder, VersionRecord};
use super::object::Object;
use super::publication::Publication;
use super::root::{StorageRoot, object_spec};
use super::sidecar::{INVENTORY, sidecar_name, sidecar_text};
use super::staging::{Change, Intent, fault, forget_draft};
use super::version::{SpecVersion, VersionNumber, declaration_text};
use super::write::Draft;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::publish;

/// A version that is part of the archive now.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The object root, relative to the storage root.
    pub path: String,
    /// The version's number.
    pub version: VersionNumber,
    /// The inventory.
    pub inventory: Arc<Inventory>,
    /// The digest of the inventory's bytes.
    pub inventory_digest: Digest,
    /// How many files the version has.
    pub files: u64,
    /// Their lengths together.
    pub bytes: u64,
    /// How many files were stored for it.
    pub new_files: u64,
    /// Their lengths together: what the version added to the archive.
    pub new_bytes: u64,
}

impl StorageRoot {
    /// The object with a version that was committed just now, without reading it.
    pub fn object_of(&self, committed: &Committed) -> Object {
        Object::known(self.storage(), &committed.path, Arc::clone(&committed.inventory), committed.inventory_digest)
    }
}

impl Draft<'_> {
    /// Publishes the version. It fails with [`Error::HeadMoved`] when the object has changed since the draft was
    /// begun. After any other error, begin the draft again with the same session: it is where it was, or
    /// [`recover`](super::StorageRoot::recover) has finished it.
    pub fn commit(self, record: VersionRecord) -> Result<Committed> {
        let base_digest = self.base.as_ref().map(|base| base.inventory_digest().to_string());
        self.check_head()?;
        let mut committed = self.build(record)?;
        self.checkpoint()?;
        fault::step()?;
        self.remove_unused(&committed.inventory)?;
        fault::step()?;
        committed.inventory_digest = self.write_documents(&committed.inventory)?;
        fault::step()?;
        let intent = Intent {
            id: self.id.clone(),
            object: self.object_path.clone(),
            change: Change::Version {
                version: self.version.to_string(),
                inventory: committed.inventory_digest.to_string(),
                base: base_digest,
                draft: self.directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            },
        };
        intent.write(&self.place)?;
        fault::step()?;
        let publication = Publication {
            root: self.root,
            object: &self.object_path,
            version: self.version,
            inventory: committed.inventory_digest,
            base: self.base.as_ref().map(|base| *base.inventory_digest()),
            draft: &self.directory,
        };
        // After an error it is not certain what is in the root: recovery finds out.
        if !publication.finish()? {
            Intent::clear(&self.place)?;
            return Err(Error::HeadMoved { id: self.id.clone() });
        }
        fault::step()?;
        forget_draft(&self.directory)?;
        fault::step()?;
        // Last: as long as the caller may not have learnt of the version, recovery tells of it.
        Intent::clear(&self.place)?;
        self.root.learn(&self.id, &self.object_path);
        drop(self.lock);
        Ok(committed)
    }

    /// Whether the object is still what it was when the draft was begun.
    fn check_head(&self) -> Result<()> {
        let moved = || Error::HeadMoved { id: self.id.clone() };
        match (&self.base, Object::open(self.root.storage(), &self.object_path)) {
            (None, Err(Error::NoSuchObject { .. })) => Ok(()),
            (Some(base), Ok(now)) if base.inventory_digest() == now.inventory_digest() => Ok(()),
            (_, Ok(_) | Err(Error::NoSuchObject { .. })) => Err(moved()),
            (_, Err(error)) => Err(error),
        }
    }

    /// The inventory with the new version. Its digest is not known before it is written.
    fn build(&self, record: VersionRecord) -> Result<Committed> {
        let unwritable = |reason: String| Error::Unwritable { id: self.id.clone(), reason };
        if self.id.is_empty() {
            return Err(unwritable("the id is empty".to_owned()));
        }
        let created = time::OffsetDateTime::parse(&record.created, &time::format_description::well_known::Rfc3339);
        if created.is_err() {
            return Err(unwritable(format!("created is {:?}, not a time as 2026-01-31T08:00:00Z", record.created)));
        }
        if record.user.as_ref().is_some_and(|user| user.name.is_empty()) {
            return Err(unwritable("the user has no name".to_owned()));
        }
        let mut builder = match &self.base {
            Some(base) => InventoryBuilder::after(base.inventory()),
            None => {
                let mut builder = InventoryBuilder::new(&self.id);
                builder.declare(self.root.spec(), Algorithm::Sha512, None);
                builder
            }
        };
        if let Some(base) = &self.base {
            // The declaration counts: the new inventory must say what the object root declares.
            let spec = object_spec(self.root.storage().as_ref(), base.path())?.unwrap_or(SpecVersion::V1_0);
            let named = base.inventory().names_content_directory().then(|| base.inventory().content_directory());
            builder.declare(spec, self.algorithm, named);
        }
        // What the draft knows of its files goes over into the inventory: with very many of them, both would be much.
        let (state, mut contents) = {
            let mut files = self.files();
            files.earlier.clear();
            (std::mem::take(&mut files.state), std::mem::take(&mut files.contents))
        };
        let mut base_lengths = None;
        let (mut bytes, mut new_files, mut new_bytes) = (0, 0, 0);
        for file in state.values() {
            let len = match contents.get_mut(&file.digest) {
                Some(content) => {
                    content.is_used = true;
                    content.len
                }
                None => match (&self.base, self.base_content(&file.digest)) {
                    (Some(base), Some(path)) => match &mut base_lengths {
                        Some(lengths) => lengths,
                        none => none.insert(base.lengths()?),
                    }
                    .of(path)?,
                    _ => 0,
                },
            };
            bytes += len;
        }
        let used = contents.values().filter(|content| content.is_used && content.is_new).count();
        builder.expect_fixity(used);
        for (digest, content) in contents.into_iter().filter(|(_, content)| content.is_used) {
            if content.is_new {
                builder.add_content(digest, Arc::clone(&content.path));
                new_files += 1;
                new_bytes += content.len;
            }
            for (algorithm, value) in content.fixity.iter() {
                let known = self.base.as_ref().and_then(|base| base.inventory().fixity_of(algorithm, &content.path));
                if known.is_none() {
                    builder.add_fixity(algorithm, Arc::clone(&content.path), value);
                }
            }
        }
        let count = state.len() as u64;
        let state = state.into_iter().map(|(path, file)| (path, file.digest)).collect();
        builder.add_version(self.version, record, state);
        let inventory = builder.finish().ok_or_else(|| unwritable("a file has no content".to_owned()))?;
        Ok(Committed {
            path: self.object_path.clone(),
            version: self.version,
            inventory: Arc::new(inventory),
            inventory_digest: Digest::EMPTY,
            files: count,
            bytes,
            new_files,
            new_bytes,
        })
    }

    /// Writes inventory, sidecar and declaration where they belong in the draft, and syncs all its directories.
    fn write_documents(&self, inventory: &Inventory) -> Result<Digest> {
        let (object, version) = (self.staged_object(), self.staged_version());
        publish::create_staged_directories(&version).map_err(Error::io(version.display().to_string()))?;
        clear_files(&version).map_err(Error::io(version.display().to_string()))?;
        let staged = version.join(INVENTORY);
        let mut hasher = Hasher::new(inventory.algorithm());
        let write = &mut |sink: &mut dyn Write| inventory.write_json(&mut Hashed { sink, hasher: &mut hasher });
        publish::write_file_with(&staged, write).map_err(Error::io(staged.display().to_string()))?;
        let digest = hasher.finish();
        let sidecar = sidecar_name(inventory.algorithm().name());
        write_staged(&version.join(&sidecar), sidecar_text(&digest).as_bytes())?;
        if self.base.is_none() {
            clear_files(&object).map_err(Error::io(object.display().to_string()))?;
            let copy = &mut |sink: &mut dyn Write| io::copy(&mut File::open(&staged)?, sink).map(|_| ());
            publish::write_file_with(&object.join(INVENTORY), copy).map_err(Error::io(object.display().to_string()))?;
            write_staged(&object.join(&sidecar), sidecar_text(&digest).as_bytes())?;
            let declaration = inventory.spec().object_declaration();
            write_staged(&object.join(declaration), declaration_text(declaration).as_bytes())?;
        }
        publish::sync_tree(&object).map_err(Error::io(object.display().to_string()))?;
        Ok(digest)
    }
}

/// What is written goes through the hasher.
struct Hashed<'a> {
    sink: &'a mut dyn Write,
    hasher: &'a mut Hasher,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.sink.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// Removes the files that lie directly in a staged directory: documents of an earlier attempt, and what a crash in the
/// middle of writing one left beside it.
fn clear_files(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            publish::discard_staged(&entry.path())?;
        }
    }
    Ok(())
}

fn write_staged(path: &Path, bytes: &[u8]) -> Result<()> {
    publish::write_file(path, bytes).map_err(Error::io(path.display().to_string()))
}
