//! Preparing a version: files are copied into a draft, hashed on the way, and become a version with [`Draft::commit`].
//! Where their bytes go until then is in `content.rs`.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::begun::{Begun, Continued, Plain, Position, Source};
use super::claim;
use super::content::{Header, NewContent, OwnDirectory, drop_draft};
use super::error::{Error, Result};
use super::journal::{Journal, Line};
use super::object::Object;
use super::pass::{Pass, PassError, Passed};
use super::path::check_logical;
use super::root::StorageRoot;
use super::staging::{Intent, ObjectLock, Place};
use super::version::VersionNumber;
use crate::digest::{Algorithm, Digest};
use crate::publish;

/// How a draft is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DraftOptions<'a> {
    /// What the version is made for, such as the id of an order: a draft that was interrupted is found again under
    /// the same key.
    pub session: &'a str,
    /// What the version's files are before any is added.
    pub start: Start,
    /// The digests that are kept in the fixity block, besides the content digest.
    pub fixity: &'a [Algorithm],
}

/// The files that a draft begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// None: what is added is the whole version.
    Empty,
    /// Those of the newest version, to add and remove some.
    Head,
}

/// What the bytes of a file must be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// The length.
    pub len: Option<u64>,
    /// Digests, in any algorithms.
    pub digests: &'a [(Algorithm, Digest)],
}

/// A file of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedFile {
    /// The length in bytes.
    pub len: u64,
    /// Every digest that was computed, the content digest first.
    pub digests: Vec<(Algorithm, Digest)>,
    /// Whether the bytes are new to the object.
    pub is_new: bool,
}

/// A version in the making. Files may be added from several threads.
///
/// Dropping a draft keeps what is staged: begin it again with the same session to go on, or [`Draft::abandon`] it.
pub struct Draft<'r> {
    pub(super) root: &'r StorageRoot,
    pub(super) id: String,
    pub(super) place: Place,
    pub(super) lock: ObjectLock,
    pub(super) directory: PathBuf,
    pub(super) object_path: String,
    /// The object as it was when the draft was begun; `None` when it is new.
    pub(super) base: Option<Object>,
    pub(super) version: VersionNumber,
    pub(super) algorithm: Algorithm,
    pub(super) content_directory: String,
    /// The directory in the storage that is this draft's alone; none where the whole version directory is.
    pub(super) own: Option<OwnDirectory>,
    /// A new object is known for one in the storage.
    pub(super) declared: OnceLock<()>,
    pub(super) fixity: Vec<Algorithm>,
    files: Mutex<Files>,
}

/// The files of the draft and what is known of their bytes.
pub(super) struct Files {
    pub(super) state: BTreeMap<Arc<str>, StateFile>,
    /// All content of the draft, used by the state or not, by content digest.
    pub(super) contents: HashMap<Digest, Content>,
    pub(super) journal: Journal,
    /// What an earlier run of the session staged, by logical path.
    pub(super) earlier: HashMap<String, Line>,
    /// Files of which a part is there, by logical path.
    pub(super) begun: HashMap<String, Begun>,
    /// The names that are given below the draft's own directory, as hashes.
    pub(super) names: HashSet<u64>,
}

#[derive(Clone, Copy)]
pub(super) struct StateFile {
    pub(super) digest: Digest,
    /// Added in this draft, not taken over from the version before.
    added: bool,
}

pub(super) struct Content {
    pub(super) len: u64,
    /// The content path in the object.
    pub(super) path: Arc<str>,
    /// Stored in this version, not in an earlier one.
    pub(super) is_new: bool,
    /// A file of the version has it.
    pub(super) is_used: bool,
    pub(super) fixity: Sums,
}

/// Digests as they are kept for very many files: of each the algorithm, by its place in [`Algorithm::ALL`], and its bytes.
pub(super) struct Sums(Box<[u8]>);

impl Sums {
    fn new(digests: impl Iterator<Item = (Algorithm, Digest)>) -> Sums {
        let mut bytes = Vec::new();
        for (algorithm, digest) in digests {
            bytes.extend(
                Algorithm::ALL.iter().zip(0_u8..).find(|(known, _)| **known == algorithm).map(|(_, place)| place),
            );
            bytes.extend_from_slice(digest.as_bytes());
        }
        Sums(bytes.into())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Algorithm, Digest)> {
        let mut left = &*self.0;
        std::iter::from_fn(move || {
            let (place, rest) = left.split_first()?;
            let algorithm = *Algorithm::ALL.get(usize::from(*place))?;
            let (value, rest) = rest.split_at_checked(algorithm.len_bytes())?;
            left = rest;
            Some((algorithm, Digest::from_bytes(value)?))
        })
    }
}

impl StorageRoot {
    /// Begins a new object, or a new version of an existing one, and holds the object's lock until the draft is
    /// committed or dropped. What an interrupted run of the same session staged is there again, unless the object
    /// has got another version since.
    pub fn draft(&self, id: &str, options: &DraftOptions<'_>) -> Result<Draft<'_>> {
        let place = Place::new(self.staging(), id);
        let lock = place.try_lock()?.ok_or_else(|| Error::Locked { id: id.to_owned() })?;
        if Intent::read(&place)?.is_some() {
            return Err(Error::Unrecovered { id: id.to_owned() });
        }
        self.settle(id)?;
        let base = match self.object(id) {
            Ok(object) => Some(object),
            Err(Error::NoSuchObject { .. }) => None,
            Err(error) => return Err(error),
        };
        let object_path = match (&base, self.layout()) {
            (Some(object), _) => object.path().to_owned(),
            (None, Some(layout)) => layout.object_path(id)?,
            (None, None) => return Err(Error::UnknownLayout { id: id.to_owned() }),
        };
        let inventory = base.as_ref().map(Object::inventory);
        let version = match inventory {
            Some(inventory) => inventory
                .head()
                .next()
                .ok_or_else(|| Error::NoNextVersion { path: object_path.clone(), head: inventory.head() })?,
            None => VersionNumber::FIRST,
        };
        let algorithm = inventory.map_or(Algorithm::Sha512, |inventory| inventory.algorithm());
        let mut fixity = options.fixity.to_vec();
        fixity.sort_unstable();
        fixity.dedup();
        fixity.retain(|known| *known != algorithm);
        let content_directory = inventory.map_or("content", |inventory| inventory.content_directory()).to_owned();
        let header = Header {
            id: id.to_owned(),
            version: version.to_string(),
            base: base.as_ref().map(|object| object.inventory_digest().to_string()),
            fixity: fixity.iter().map(ToString::to_string).collect(),
            own: (!self.storage().moves_directories()).then(|| OwnDirectory {
                object: object_path.clone(),
                directory: format!("{version}/{content_directory}/{}", claim::upload_name()),
            }),
        };
        let directory = place.draft(options.session);
        let (header, journal, lines) = open_directory(self, &directory, header)?;
        let mut draft = Draft {
            root: self,
            id: id.to_owned(),
            place,
            lock,
            directory,
            object_path,
            version,
            algorithm,
            content_directory,
            own: header.own,
            declared: OnceLock::new(),
            fixity,
            base,
            files: Mutex::new(Files {
                state: BTreeMap::new(),
                contents: HashMap::new(),
                journal,
                earlier: HashMap::new(),
                begun: HashMap::new(),
                names: HashSet::new(),
            }),
        };
        if let Some(lines) = lines {
            draft.take_up(lines)?;
        }
        if options.start == Start::Head {
            draft.start_from_head();
        }
        Ok(draft)
    }
}

/// Makes the draft's directory, or opens the one of an interrupted run when that was for the same version; then with what
/// its journal tells.
fn open_directory(
    root: &StorageRoot,
    directory: &Path,
    header: Header,
) -> Result<(Header, Journal, Option<Vec<Line>>)> {
    let failed = |error: io::Error| Error::io(directory.display().to_string())(error);
    let found = Header::read(directory).filter(|found| found.fits(&header));
    let is_found = found.is_some();
    let header = match found {
        Some(found) => found,
        None => {
            drop_draft(root, directory)?;
            publish::create_directories(directory).map_err(failed)?;
            header.write(directory).map_err(failed)?;
            header
        }
    };
    let (journal, lines) = Journal::open(directory).map_err(failed)?;
    Ok((header, journal, is_found.then_some(lines)))
}

impl Draft<'_> {
    /// The object's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The number that the version will have.
    pub fn version(&self) -> VersionNumber {
        self.version
    }

    /// The object as it was when the draft was begun; `None` when this is its first version.
    pub fn base(&self) -> Option<&Object> {
        self.base.as_ref()
    }

    /// How many files the version has so far.
    pub fn len(&self) -> usize {
        self.files().state.len()
    }

    /// Whether the version has no files yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a file that an interrupted run of this session staged under the same path from a source with the same
    /// stamp, without reading it again. `None` when there is none: add it then.
    pub fn take_staged(&self, logical_path: &str, stamp: &str) -> Result<Option<StagedFile>> {
        let mut files = self.files();
        let Some(line) = files.earlier.get(logical_path).filter(|line| line.stamp == stamp) else { return Ok(None) };
        let digest = line.digests.get(self.algorithm.name()).and_then(|text| text.parse::<Digest>().ok());
        let Some(digest) = digest.filter(|digest| files.contents.contains_key(digest)) else { return Ok(None) };
        let known = line.digests.iter().filter_map(|(name, value)| {
            let algorithm = Algorithm::from_name(name)?;
            Some((algorithm, Digest::parse(algorithm, value).ok()?))
        });
        let known: Vec<_> = known.collect();
        files.insert(logical_path, digest)?;
        Ok(files.contents.get(&digest).map(|content| self.staged_file(digest, content, &known)))
    }

    /// Adds a file: copies `source` into the draft and computes all digests on the way. Bytes that the object has
    /// already, in whatever version, are not stored again.
    ///
    /// `stamp` is anything that changes when the source does, such as its size and modification time.
    pub fn add(
        &self,
        logical_path: &str,
        source: &mut dyn Read,
        expected: &Expected<'_>,
        stamp: &str,
    ) -> Result<StagedFile> {
        self.add_from(logical_path, &mut Plain(source), expected, stamp)
    }

    /// As [`Draft::add`]; but when the source breaks off, or this process dies, what is staged of a long file is kept,
    /// and the next call with the same path and stamp asks the source for the rest. What is there is read again then,
    /// because its digests are not known.
    pub fn add_from(
        &self,
        logical_path: &str,
        source: &mut dyn Source,
        expected: &Expected<'_>,
        stamp: &str,
    ) -> Result<StagedFile> {
        self.files().check(logical_path)?;
        let is_known = self.is_known(expected);
        let begun = self.files().begun.get(logical_path).cloned();
        if let Some(begun) = begun {
            if begun.stamp == stamp
                && !is_known
                && let Some(added) = self.go_on(&begun, source, expected)?
            {
                return Ok(added);
            }
            self.discard_begun(&begun)?;
        }
        let announced = source.begin(Position::Start).map_err(Error::io(logical_path))?.unwrap_or_default();
        let mut content = if is_known { None } else { Some(self.create_content(logical_path)?) };
        if let Some(content) = &mut content {
            let noted = announced.tag.filter(|_| self.own.is_none());
            let note = noted.map(|tag| {
                let (path, stamp, name) = (logical_path.to_owned(), stamp.to_owned(), content.name.clone());
                Begun { path, stamp, tag, name }
            });
            content.announce(expected.len.or(announced.len), note);
        }
        self.take_in(logical_path, &mut Continued::new(source, None, ""), content, expected, stamp)
    }

    /// Adds a file that was begun in an earlier run; `None` when the source does not go on where it was.
    fn go_on(&self, begun: &Begun, source: &mut dyn Source, expected: &Expected<'_>) -> Result<Option<StagedFile>> {
        let opened = self.open_begun(begun).and_then(|(content, file)| {
            let len = file.metadata()?.len();
            Ok((content, file, len))
        });
        let (content, file, len) = opened.map_err(Error::io(self.directory.display().to_string()))?;
        if expected.len.is_some_and(|expected| len > expected) {
            return Ok(None);
        }
        let mut continued = Continued::new(source, Some((file, len)), &begun.tag);
        match self.take_in(&begun.path, &mut continued, Some(content), expected, &begun.stamp) {
            Err(_) if continued.is_refused => Ok(None),
            added => added.map(Some),
        }
    }

    /// Has the bytes of a file in the draft, if they are the right ones. Of one that was cut off, what is noted stays.
    fn take_in(
        &self,
        logical_path: &str,
        source: &mut dyn Read,
        mut content: Option<NewContent>,
        expected: &Expected<'_>,
        stamp: &str,
    ) -> Result<StagedFile> {
        let in_draft = || self.directory.display().to_string();
        let mut algorithms = vec![self.algorithm];
        algorithms.extend(&self.fixity);
        algorithms.extend(expected.digests.iter().map(|(algorithm, _)| *algorithm));
        algorithms.sort_unstable();
        algorithms.dedup();
        let mut sink = |block: &[u8]| content.as_mut().map_or(Ok(()), |content| self.write_content(content, block));
        let passed = Pass::new().run(source, &algorithms, &mut sink);
        let is_cut = matches!(passed, Err(PassError::Source(_)));
        let passed = passed.map_err(|error| match error {
            PassError::Source(error) => Error::io(logical_path)(error),
            PassError::Sink(error) => Error::io(in_draft())(error),
        });
        let added = passed.and_then(|passed| {
            check_expected(logical_path, expected, &passed)?;
            if let Some(content) = &mut content
                && !self.is_stored(&passed)
            {
                self.finish_content(content).map_err(Error::io(in_draft()))?;
            }
            self.insert(logical_path, &passed, content.as_ref(), stamp)
        });
        if let Some(content) = content {
            let is_noted = content.is_noted(self, logical_path);
            if is_noted && !is_cut {
                self.forget_begun(logical_path)?;
            }
            let stays = added.as_ref().is_ok_and(|added| added.keeps_file) || (is_noted && is_cut);
            if !stays {
                self.discard_content(content).map_err(Error::io(in_draft()))?;
            }
        }
        added.map(|added| added.file)
    }

    fn discard_begun(&self, begun: &Begun) -> Result<()> {
        let path = self.content_file(&begun.name);
        publish::discard_staged(&path).map_err(Error::io(path.display().to_string()))?;
        self.forget_begun(&begun.path)
    }

    fn forget_begun(&self, logical_path: &str) -> Result<()> {
        self.files().begun.remove(logical_path);
        Begun::forget(&self.directory, logical_path).map_err(Error::io(self.directory.display().to_string()))
    }

    /// Adds a file whose bytes the object has already, in whatever version, by their content digest: nothing is read.
    /// `false` when it has none with that digest; nothing is added then.
    pub fn keep(&self, logical_path: &str, digest: &Digest) -> Result<bool> {
        if self.base_content(digest).is_none() {
            return Ok(false);
        }
        self.files().insert(logical_path, *digest)?;
        Ok(true)
    }

    /// Makes what was added so far durable: from here another run of the session goes on.
    pub fn checkpoint(&self) -> Result<()> {
        self.files().journal.flush(&|staged| self.keep_staged(staged)).map_err(self.failed())
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> Error + use<'_> {
        Error::io(self.directory.display().to_string())
    }

    /// Removes a file from the version; whether it was there. Its bytes stay in earlier versions.
    pub fn remove(&self, logical_path: &str) -> bool {
        self.files().state.remove(logical_path).is_some()
    }

    /// Gives up: removes all that is staged.
    pub fn abandon(self) -> Result<()> {
        drop_draft(self.root, &self.directory)
    }

    pub(super) fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory that becomes the object root, or part of it.
    pub(super) fn staged_object(&self) -> PathBuf {
        self.directory.join("object")
    }

    pub(super) fn staged_version(&self) -> PathBuf {
        self.staged_object().join(self.version.to_string())
    }

    /// Whether the expected bytes are in the object or the draft already, so that reading them is enough.
    fn is_known(&self, expected: &Expected<'_>) -> bool {
        let Some((_, digest)) = expected.digests.iter().find(|(algorithm, _)| *algorithm == self.algorithm) else {
            return false;
        };
        self.files().contents.contains_key(digest) || self.base_content(digest).is_some()
    }

    /// Where an earlier version of the object has these bytes.
    pub(super) fn base_content(&self, digest: &Digest) -> Option<&str> {
        self.base.as_ref().and_then(|base| base.inventory().content_paths(digest).next())
    }

    /// Whether the bytes that were read are in the object or the draft already.
    fn is_stored(&self, passed: &Passed) -> bool {
        passed
            .digest(self.algorithm)
            .is_some_and(|digest| self.files().contents.contains_key(&digest) || self.base_content(&digest).is_some())
    }

    fn insert(
        &self,
        logical_path: &str,
        passed: &Passed,
        written: Option<&NewContent>,
        stamp: &str,
    ) -> Result<Inserted> {
        let digest = passed.digest(self.algorithm).unwrap_or(Digest::EMPTY);
        let fixity = passed.digests.iter().filter(|(algorithm, _)| self.fixity.contains(algorithm)).copied();
        let mut files = self.files();
        files.check(logical_path)?;
        let Files { contents, journal, .. } = &mut *files;
        let mut keeps_file = false;
        let content = match contents.entry(digest) {
            Slot::Occupied(known) => known.into_mut(),
            Slot::Vacant(new) => {
                let (path, is_new) = match (self.base_content(&digest), written) {
                    (Some(path), _) => (path.into(), false),
                    (None, Some(written)) => ((self.content_prefix() + &written.name).into(), true),
                    (None, None) => {
                        let reason = format!("the bytes of {logical_path} went while they were read");
                        return Err(Error::Unwritable { id: self.id.clone(), reason });
                    }
                };
                keeps_file = is_new;
                new.insert(Content { len: passed.len, path, is_new, is_used: false, fixity: Sums::new(fixity) })
            }
        };
        let line = Line {
            path: logical_path.to_owned(),
            len: passed.len,
            stamp: stamp.to_owned(),
            content: content.path.to_string(),
            digests: passed.digests.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        };
        let file = self.staged_file(digest, content, &passed.digests);
        let staged = written.filter(|_| keeps_file).and_then(|written| written.staged(self));
        if let Err(error) = journal.add(&line, staged, &|staged| self.keep_staged(staged)) {
            if keeps_file {
                contents.remove(&digest);
            }
            return Err(self.failed()(error));
        }
        files.insert(logical_path, digest)?;
        Ok(Inserted { file, keeps_file })
    }

    fn staged_file(&self, digest: Digest, content: &Content, known: &[(Algorithm, Digest)]) -> StagedFile {
        let others = known.iter().filter(|(algorithm, _)| *algorithm != self.algorithm);
        let digests = [(self.algorithm, digest)].into_iter().chain(others.copied()).collect();
        StagedFile { len: content.len, digests, is_new: content.is_new }
    }

    /// Finds again what an interrupted run staged, and removes files that no line of the journal vouches for.
    fn take_up(&mut self, lines: Vec<Line>) -> Result<()> {
        self.end_streams()?;
        let (there, begun) = self.find_contents(&lines)?;
        let prefix = self.content_prefix();
        let mut files = self.files();
        files.begun = begun;
        for (line, is_there) in lines.into_iter().zip(there) {
            let parsed = |name: &str| line.digests.get(name).and_then(|text| text.parse::<Digest>().ok());
            let Some(digest) = parsed(self.algorithm.name()) else { continue };
            let is_new = line.content.starts_with(&prefix);
            if !is_there || (!is_new && self.base_content(&digest) != Some(&line.content)) {
                continue;
            }
            let fixity = self.fixity.iter().filter_map(|algorithm| Some((*algorithm, parsed(algorithm.name())?)));
            let (path, fixity) = (line.content.as_str().into(), Sums::new(fixity));
            let content = Content { len: line.len, path, is_new, is_used: false, fixity };
            files.contents.entry(digest).or_insert(content);
            files.earlier.insert(line.path.clone(), line);
        }
        Ok(())
    }

    fn start_from_head(&mut self) {
        let Some(inventory) = self.base.as_ref().map(|base| Arc::clone(base.inventory())) else { return };
        let mut files = self.files();
        for file in inventory.files(inventory.head().number()) {
            files.state.insert(file.logical_path.into(), StateFile { digest: *file.digest, added: false });
        }
    }
}

struct Inserted {
    file: StagedFile,
    /// Whether the staged file is part of the version; otherwise the bytes are elsewhere.
    keeps_file: bool,
}

impl Files {
    /// Refuses a path that is malformed, taken in this draft, or the directory of another.
    fn check(&self, logical_path: &str) -> Result<()> {
        let refuse = |reason| Error::LogicalPath { path: logical_path.to_owned(), reason };
        check_logical(logical_path).map_err(refuse)?;
        if self.state.get(logical_path).is_some_and(|file| file.added) {
            return Err(refuse("is added twice"));
        }
        let mut above = logical_path;
        while let Some((directory, _)) = above.rsplit_once('/') {
            if self.state.contains_key(directory) {
                return Err(refuse("needs a directory where a file is"));
            }
            above = directory;
        }
        let inside = format!("{logical_path}/");
        let next = self.state.range::<str, _>((Bound::Included(inside.as_str()), Bound::Unbounded)).next();
        if next.is_some_and(|(path, _)| path.starts_with(&inside)) {
            return Err(refuse("is the directory of another file"));
        }
        Ok(())
    }

    fn insert(&mut self, logical_path: &str, digest: Digest) -> Result<()> {
        self.check(logical_path)?;
        self.state.insert(logical_path.into(), StateFile { digest, added: true });
        Ok(())
    }
}

fn check_expected(logical_path: &str, expected: &Expected<'_>, passed: &Passed) -> Result<()> {
    if let Some(expected) = expected.len.filter(|len| *len != passed.len) {
        return Err(Error::Length { path: logical_path.to_owned(), expected, found: passed.len });
    }
    for (algorithm, expected) in expected.digests {
        let found = passed.digest(*algorithm).unwrap_or(Digest::EMPTY);
        if found != *expected {
            let (expected, found) = (Box::new(*expected), Box::new(found));
            return Err(Error::Altered { path: logical_path.to_owned(), algorithm: *algorithm, expected, found });
        }
    }
    Ok(())
}
