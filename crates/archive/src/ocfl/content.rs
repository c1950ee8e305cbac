//! Where the bytes of a draft's files are kept until it is committed.
//!
//! Where directories move they are staged, and become part of the root with one rename. In a bucket they go to their
//! place at once, which is a directory of the draft's own (`claim.rs`) and no part of the object before the version is
//! claimed: a long file while its bytes come, small ones together, after they were staged. So what is staged at a time is
//! bounded, however much the version holds.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::begun::{Begun, NOTED_BYTES};
use super::claim;
use super::error::{Error, Result};
use super::inventory::Inventory;
use super::journal::Line;
use super::path::content_names;
use super::remains;
use super::root::StorageRoot;
use super::sidecar::join;
use super::staging::{Place, forget_draft};
use super::write::Draft;
use crate::publish;
use crate::storage::{LocalFile, Streamed};

/// What `draft.json` says: what the bytes are good for, and where they are.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) base: Option<String>,
    pub(super) fixity: Vec<String>,
    /// The directory that is the draft's own, where the bytes go straight into the root.
    pub(super) own: Option<OwnDirectory>,
}

/// A directory of the storage to which one draft writes, and nobody else.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OwnDirectory {
    /// The object root.
    pub(super) object: String,
    /// Relative to the object root.
    pub(super) directory: String,
}

impl Header {
    /// Whether what was staged under `self` is good for a draft that would begin with `other`.
    pub(super) fn fits(&self, other: &Header) -> bool {
        (&self.id, &self.version, &self.base, &self.fixity) == (&other.id, &other.version, &other.base, &other.fixity)
            && self.own.is_some() == other.own.is_some()
    }

    pub(super) fn read(draft: &Path) -> Option<Header> {
        serde_json::from_slice(&std::fs::read(draft.join(HEADER)).ok()?).ok()
    }

    pub(super) fn write(&self, draft: &Path) -> io::Result<()> {
        publish::write_file(&draft.join(HEADER), &serde_json::to_vec_pretty(self)?)
    }
}

const HEADER: &str = "draft.json";

impl OwnDirectory {
    fn path(&self) -> String {
        join(&self.object, &self.directory)
    }
}

/// The directories in the storage of all drafts that an object has here.
pub(super) fn own_directories(place: &Place) -> Result<HashSet<String>> {
    let drafts = place.drafts();
    let entries = match std::fs::read_dir(&drafts) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(error) => return Err(Error::io(drafts.display().to_string())(error)),
    };
    let own = entries.filter_map(|entry| Header::read(&entry.ok()?.path())?.own);
    Ok(own.map(|own| own.path()).collect())
}

/// Removes a draft that came to nothing, with what it has in the storage.
pub(super) fn drop_draft(root: &StorageRoot, draft: &Path) -> Result<()> {
    if let Some(own) = Header::read(draft).and_then(|header| header.own) {
        claim::settle(root, &own.object)?;
        let storage = root.storage().as_ref();
        let state = claim::read_root(storage, &own.object)?;
        let prefix = format!("{}/", own.directory);
        let is_named = |inventory: &Inventory| inventory.manifest().any(|(_, path)| path.starts_with(&prefix));
        // Whoever brings an old copy of the staging directory back must not lose what was committed since.
        if !state.as_ref().is_some_and(|state| is_named(&state.inventory)) {
            let path = own.path();
            storage.end_streams(&path).map_err(Error::io(&path))?;
            storage.remove(&path).map_err(Error::io(&path))?;
        }
        if state.is_none() {
            remains::remove_bare_declaration(storage, &own.object)?;
        }
    }
    forget_draft(draft)
}

/// A content file that is being written.
pub(super) struct NewContent {
    /// Below the content directory, or the draft's own in it.
    pub(super) name: String,
    bytes: Bytes,
    /// How many bytes it has, and how many of them were there before.
    len: u64,
    present: u64,
    announced: Option<u64>,
    /// What would be noted of it, as soon as it is long enough.
    note: Option<Begun>,
}

enum Bytes {
    Staged(File),
    Streamed(Box<dyn Streamed>),
    /// In the storage.
    Stored,
}

impl NewContent {
    /// The staged file with the bytes; none when they are in the storage.
    pub(super) fn staged(&self, draft: &Draft<'_>) -> Option<PathBuf> {
        matches!(self.bytes, Bytes::Staged(_)).then(|| draft.content_file(&self.name))
    }

    pub(super) fn is_noted(&self, draft: &Draft<'_>, logical_path: &str) -> bool {
        draft.files().begun.get(logical_path).is_some_and(|begun| begun.name == self.name)
    }

    /// From now on bytes come that a later run can go on with.
    pub(super) fn announce(&mut self, len: Option<u64>, note: Option<Begun>) {
        self.announced = len;
        self.note = note;
    }
}

/// A name as it is remembered. Two that look alike do no harm: one of them is passed over.
fn name_hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

impl Draft<'_> {
    /// Creates the file for the bytes of a logical path under the first name that is free.
    pub(super) fn create_content(&self, logical_path: &str) -> Result<NewContent> {
        let mut last = io::ErrorKind::AlreadyExists.into();
        let is_reserved = |name: &str| self.own.is_some() && !self.files().names.insert(name_hash(name));
        for name in content_names(logical_path) {
            if is_reserved(&name) {
                continue;
            }
            let path = self.content_file(&name);
            let directory = path.parent().unwrap_or(&self.directory);
            match publish::create_staged_directories(directory).and_then(|()| publish::create_new(&path)) {
                Ok(file) => {
                    let bytes = Bytes::Staged(file);
                    return Ok(NewContent { name, bytes, len: 0, present: 0, announced: None, note: None });
                }
                Err(error) if is_taken(&error) => last = error,
                Err(error) => return Err(Error::io(path.display().to_string())(error)),
            }
        }
        Err(Error::io(logical_path)(last))
    }

    /// The file of one that was begun in an earlier run, with what is there of it to read.
    pub(super) fn open_begun(&self, begun: &Begun) -> io::Result<(NewContent, File)> {
        let path = self.content_file(&begun.name);
        let len = std::fs::metadata(&path)?.len();
        let bytes = Bytes::Staged(OpenOptions::new().append(true).open(&path)?);
        let content = NewContent { name: begun.name.clone(), bytes, len: 0, present: len, announced: None, note: None };
        Ok((content, File::open(path)?))
    }

    /// Takes the next bytes of a file.
    pub(super) fn write_content(&self, content: &mut NewContent, block: &[u8]) -> io::Result<()> {
        let there = usize::try_from(content.present.saturating_sub(content.len)).unwrap_or(usize::MAX);
        content.len += block.len() as u64;
        let block = block.get(there.min(block.len())..).unwrap_or_default();
        let most_staged = self.root.storage().streams_above();
        if let Bytes::Staged(_) = content.bytes
            && content.len.max(content.announced.unwrap_or(0)) > most_staged
        {
            self.stream_content(content)?;
        }
        match &mut content.bytes {
            Bytes::Staged(file) => file.write_all(block)?,
            Bytes::Streamed(stream) => stream.write_all(block)?,
            Bytes::Stored => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        if content.len >= NOTED_BYTES
            && let Some(note) = content.note.take()
        {
            note.write(&self.directory)?;
            self.files().begun.insert(note.path.clone(), note);
        }
        Ok(())
    }

    /// Goes on in the storage with what is staged of a file.
    fn stream_content(&self, content: &mut NewContent) -> io::Result<()> {
        self.declare()?;
        let storage = self.root.storage();
        let mut stream = storage.stream(&self.stored_path(&content.name), content.announced)?;
        let staged = self.content_file(&content.name);
        io::copy(&mut File::open(&staged)?, &mut stream)?;
        content.bytes = Bytes::Streamed(stream);
        publish::discard_staged(&staged)
    }

    /// All bytes of a file are there, and are to be kept.
    pub(super) fn finish_content(&self, content: &mut NewContent) -> io::Result<()> {
        match std::mem::replace(&mut content.bytes, Bytes::Stored) {
            Bytes::Streamed(stream) => stream.finish(),
            others => {
                content.bytes = others;
                Ok(())
            }
        }
    }

    /// Removes a file that is not wanted.
    pub(super) fn discard_content(&self, content: NewContent) -> io::Result<()> {
        let NewContent { name, bytes, .. } = content;
        match bytes {
            Bytes::Staged(_) => publish::discard_staged(&self.content_file(&name))?,
            Bytes::Streamed(stream) => drop(stream),
            Bytes::Stored => self.root.storage().remove_files("", &[self.stored_path(&name)])?,
        }
        self.files().names.remove(&name_hash(&name));
        Ok(())
    }

    /// Makes the bytes of files durable, and brings them to where they stay.
    pub(super) fn keep_staged(&self, mut staged: Vec<PathBuf>) -> io::Result<()> {
        // A file may have been taken out of the draft again since it was noted.
        staged.retain(|file| file.exists());
        if self.own.is_none() {
            return publish::sync_staged(&self.directory, &staged);
        }
        if staged.is_empty() {
            return Ok(());
        }
        self.declare()?;
        let object = self.staged_object();
        let local = |local: &PathBuf| -> io::Result<LocalFile> {
            let name = local.strip_prefix(&object).ok().and_then(Path::to_str).ok_or(io::ErrorKind::InvalidInput)?;
            let len = std::fs::metadata(local)?.len();
            Ok(LocalFile { local: local.clone(), path: join(&self.object_path, name), len })
        };
        let files = staged.iter().map(local).collect::<io::Result<Vec<_>>>()?;
        self.root.storage().upload(&files)?;
        staged.iter().try_for_each(|file| publish::discard_staged(file))
    }

    /// Has the directory of a new object known for one, before anything lies in it.
    fn declare(&self) -> io::Result<()> {
        if self.base.is_none() && self.declared.get().is_none() {
            claim::declare(self.root.storage().as_ref(), &self.object_path, self.root.spec())?;
            let _ = self.declared.set(());
        }
        Ok(())
    }

    pub(super) fn staged_content(&self) -> PathBuf {
        self.staged_version().join(&self.content_directory)
    }

    /// The staged file of a name below the content directory.
    pub(super) fn content_file(&self, name: &str) -> PathBuf {
        self.staged_object().join(self.content_prefix()).join(name)
    }

    fn stored_path(&self, name: &str) -> String {
        format!("{}/{}{name}", self.object_path, self.content_prefix())
    }

    /// With what the content paths of the draft's files begin.
    pub(super) fn content_prefix(&self) -> String {
        match &self.own {
            Some(own) => format!("{}/", own.directory),
            None => format!("{}/{}/", self.version, self.content_directory),
        }
    }

    /// The draft's own files in the storage, by their names, with their lengths; none where they are staged.
    fn stored_contents(&self) -> Result<HashMap<String, u64>> {
        let mut found = HashMap::new();
        if let Some(own) = &self.own {
            let path = own.path();
            let take = &mut |name: &str, len| {
                found.insert(name.to_owned(), len);
            };
            self.root.storage().list_below(&path, take).map_err(Error::io(path))?;
        }
        Ok(found)
    }

    /// Which of the files that the journal tells of are there, and what was begun; removes all others.
    pub(super) fn find_contents(&self, lines: &[Line]) -> Result<(Vec<bool>, HashMap<String, Begun>)> {
        let prefix = self.content_prefix();
        let mut stored = self.stored_contents()?;
        let mut staged = HashSet::new();
        let mut there = Vec::with_capacity(lines.len());
        let mut names = HashSet::new();
        for line in lines {
            let name = line.content.strip_prefix(&prefix);
            there.push(name.is_none_or(|name| match &self.own {
                Some(_) => stored.get(name) == Some(&line.len),
                None => {
                    let path = self.content_file(name);
                    std::fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() == line.len)
                }
            }));
            if let Some(name) = name.filter(|_| there.last() == Some(&true)) {
                names.insert(name);
            }
        }
        if self.own.is_none() {
            staged.extend(names.iter().map(|name| self.content_file(name)));
        }
        stored.retain(|name, _| !names.contains(name.as_str()));
        self.remove_stored(stored.into_keys().collect())?;
        self.files().names.extend(names.iter().map(|name| name_hash(name)));
        let failed = |error| Error::io(self.directory.display().to_string())(error);
        let mut begun = HashMap::new();
        for note in Begun::all(&self.directory).map_err(failed)? {
            let path = self.content_file(&note.name);
            if self.own.is_none() && !staged.contains(&path) && path.is_file() {
                staged.insert(path);
                begun.insert(note.path.clone(), note);
            } else {
                Begun::forget(&self.directory, &note.path).map_err(failed)?;
            }
        }
        keep_only(&self.staged_content(), &|path| staged.contains(path)).map_err(failed)?;
        Ok((there, begun))
    }

    /// Removes files of the draft that no version names, and looks whether those are there that one does.
    pub(super) fn remove_unused(&self, inventory: &Inventory) -> Result<()> {
        let content = self.staged_content();
        let failed = |error| Error::io(content.display().to_string())(error);
        let prefix = self.content_prefix();
        let mut used: HashSet<&str> = inventory.manifest().filter_map(|(_, path)| path.strip_prefix(&prefix)).collect();
        if self.own.is_some() {
            keep_only(&content, &|_| false).map_err(failed)?;
            let mut stored = self.stored_contents()?;
            stored.retain(|name, _| !used.remove(name.as_str()));
            self.remove_stored(stored.into_keys().collect())?;
        } else {
            let paths: HashSet<PathBuf> = used.iter().map(|name| self.content_file(name)).collect();
            keep_only(&content, &|path| paths.contains(path)).map_err(failed)?;
            used.retain(|name| !self.content_file(name).is_file());
        }
        match used.into_iter().next() {
            Some(missing) => Err(Error::io(self.stored_path(missing))(io::ErrorKind::NotFound.into())),
            None => Ok(()),
        }
    }

    fn remove_stored(&self, names: Vec<String>) -> Result<()> {
        let Some(own) = self.own.as_ref().filter(|_| !names.is_empty()) else { return Ok(()) };
        let path = own.path();
        self.root.storage().remove_files(&path, &names).map_err(Error::io(path))
    }

    /// Clears away what a run that died was streaming.
    pub(super) fn end_streams(&self) -> Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        let path = own.path();
        self.root.storage().end_streams(&path).map_err(Error::io(path))
    }
}

fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, InvalidFilename, IsADirectory, NotADirectory};
    matches!(error.kind(), AlreadyExists | InvalidFilename | IsADirectory | NotADirectory)
}

/// Removes the files below `directory` that are not to be kept, and directories that are empty then, itself included.
fn keep_only(directory: &Path, keep: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            keep_only(&path, keep)?;
        } else if !keep(&path) {
            publish::discard_staged(&path)?;
        }
    }
    match rustix::fs::rmdir(directory) {
        Ok(()) | Err(rustix::io::Errno::NOTEMPTY | rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
