//! Where a bag comes from: a directory, a tar or a zip. It is listed once, and then read once.
//!
//! Listing an archive reads headers and seeks over the payload, where it is not compressed as a whole. What no bag may hold is refused here, by name.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use zip::ZipArchive;

use super::path::refuse;
use super::tar::Tar;
use crate::storage::{EntryKind, LocalStorage, Storage};

/// Small archives may expand to this many times the ratio, whatever their own size is.
const RATIO_FLOOR_BYTES: u64 = 64 << 10;

/// What is accepted from a directory or archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The greatest number of files and directories.
    pub entries: u64,
    /// The greatest sum of the sizes of all files, expanded.
    pub bytes: u64,
    /// How many times its own size a compressed archive may expand to.
    pub expansion_ratio: u64,
    /// The greatest size of a manifest or another tag file that is read.
    pub tag_file_bytes: u64,
    /// Whether names may hold CR and LF, which BagIt allows. Other control characters are always refused.
    pub line_ends_in_names: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            entries: 1_000_000,
            bytes: 16 << 40,
            expansion_ratio: 200,
            tag_file_bytes: 256 << 20,
            line_ends_in_names: false,
        }
    }
}

impl Limits {
    /// To how many bytes a compressed archive may expand.
    pub(super) fn expanded(&self, path: &Path) -> io::Result<u64> {
        let bytes = std::fs::metadata(path)?.len();
        Ok(bytes.max(RATIO_FLOOR_BYTES).saturating_mul(self.expansion_ratio))
    }
}

/// A file in a directory or archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its path, from the top of the bag on.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
}

/// Why a directory or archive is not accepted at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It could not be read.
    #[error("{path:?} could not be read: {source}")]
    Io {
        /// The directory or archive.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a file, but neither a tar nor a zip.
    #[error("{path:?} is neither a directory nor a tar (plain or with gzip) nor a zip")]
    NotAnArchive {
        /// The file.
        path: PathBuf,
    },
    /// It is an archive without a bag in it.
    #[error(
        "{path:?} holds no bag: a tar or zip must have bagit.txt at its top or in its one top directory; \
         unpack it to hand in plain files"
    )]
    NotABag {
        /// The archive.
        path: PathBuf,
    },
    /// Something lies beside the directory of the bag.
    #[error("{entry:?} lies beside the bag; an archive holds one top directory and nothing else (RFC 8493 section 4)")]
    BesideTheBag {
        /// What lies there.
        entry: String,
    },
    /// The archive is malformed.
    #[error("{path:?} is not a readable archive: {message}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// An entry has a path that is not accepted.
    #[error("{entry:?} is refused: {reason}")]
    Path {
        /// The path.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An entry is neither a file nor a directory.
    #[error("{entry:?} is neither a plain file nor a directory; links, devices and the like are refused")]
    EntryKind {
        /// The path.
        entry: String,
    },
    /// Two entries have the same path, or one is a file where another needs a directory.
    #[error("{entry:?} is there twice, or is a file with other files below it")]
    Duplicate {
        /// The path.
        entry: String,
    },
    /// There are more entries than are accepted.
    #[error("there are more than the {limit} files and directories that are accepted")]
    TooMany {
        /// The limit.
        limit: u64,
    },
    /// The files are larger than is accepted.
    #[error("the files are larger than the {limit} bytes that are accepted")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// A tag file is larger than is accepted.
    #[error("{entry:?} is larger than the {limit} bytes that are accepted for a tag file")]
    TagFileTooLarge {
        /// The tag file.
        entry: String,
        /// The limit.
        limit: u64,
    },
}

/// An opened directory or archive.
pub(super) struct Source {
    path: PathBuf,
    body: Body,
}

enum Body {
    Directory(LocalStorage),
    Tar(Tar),
    Zip,
}

/// What a source holds, below the top of the bag.
pub(super) struct Listing {
    /// The files in the order in which they are read.
    pub(super) files: Vec<FileEntry>,
    /// Whether there is a directory `data`, be it empty.
    pub(super) has_data: bool,
    /// The tag files that say something about the others, by path.
    pub(super) tag_files: HashMap<String, Vec<u8>>,
    /// The directory that holds the bag, with a `/` at its end; empty for none.
    pub(super) root: String,
    /// Where each file is in a zip.
    positions: Vec<usize>,
}

/// Takes the files of a source, each once, from several threads when the source is a directory.
pub(super) type Visit<'a> = &'a (dyn Fn(&FileEntry, &mut dyn Read) -> io::Result<()> + Sync);

impl Source {
    pub(super) fn open(path: &Path) -> Result<Source, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        let body = if metadata.is_dir() {
            Body::Directory(LocalStorage::open(path).map_err(failed)?)
        } else {
            match archive_kind(path).map_err(failed)? {
                Some(body) if metadata.is_file() => body,
                _ => return Err(OpenError::NotAnArchive { path: path.to_owned() }),
            }
        };
        Ok(Source { path: path.to_owned(), body })
    }

    pub(super) fn is_archive(&self) -> bool {
        !matches!(self.body, Body::Directory(_))
    }

    /// Lists everything and reads the tag files.
    pub(super) fn list(&self, limits: &Limits) -> Result<Listing, OpenError> {
        let mut collector = Collector::new(limits);
        match &self.body {
            Body::Directory(storage) => self.list_directory(storage, "", &mut collector)?,
            Body::Tar(tar) => tar.list(&self.path, limits, &mut collector)?,
            Body::Zip => self.list_zip(limits, &mut collector)?,
        }
        collector.finish(&self.path, self.is_archive())
    }

    /// Reads every listed file once.
    pub(super) fn read(&self, listing: &Listing, visit: Visit<'_>) -> io::Result<()> {
        match &self.body {
            Body::Directory(storage) => read_directory(storage, listing, visit),
            Body::Tar(tar) => tar.read(&self.path, listing, visit),
            Body::Zip => self.read_zip(listing, visit),
        }
    }

    fn io(&self, source: io::Error) -> OpenError {
        OpenError::Io { path: self.path.clone(), source }
    }

    fn malformed(&self, message: &dyn std::fmt::Display) -> OpenError {
        OpenError::Archive { path: self.path.clone(), message: message.to_string() }
    }

    fn list_directory(
        &self,
        storage: &LocalStorage,
        directory: &str,
        collector: &mut Collector<'_>,
    ) -> Result<(), OpenError> {
        for entry in storage.list(directory).map_err(|error| self.io(error))? {
            let path = if directory.is_empty() { entry.name } else { format!("{directory}/{}", entry.name) };
            match entry.kind {
                EntryKind::File => {
                    let tag_file = collector.file(path, entry.len, 0)?.map(str::to_owned);
                    if let Some(path) = tag_file {
                        let bytes = storage.open(&path, 0..entry.len).map_err(|error| self.io(error))?;
                        collector.tag_file(path, bytes).map_err(|error| self.io(error))?;
                    }
                }
                EntryKind::Directory => {
                    collector.directory(path.clone())?;
                    self.list_directory(storage, &path, collector)?;
                }
                EntryKind::Other => return Err(OpenError::EntryKind { entry: path }),
            }
        }
        Ok(())
    }

    fn list_zip(&self, limits: &Limits, collector: &mut Collector<'_>) -> Result<(), OpenError> {
        let mut archive = self.open_zip().map_err(|error| self.malformed(&error))?;
        if archive.has_duplicate_names() {
            return Err(self.malformed(&"two entries have the same name"));
        }
        if archive.has_overlapping_files().map_err(|error| self.malformed(&error))? {
            return Err(self.malformed(&"entries share the same bytes"));
        }
        let ratio_limit = limits.expanded(&self.path).map_err(|error| self.io(error))?;
        for index in 0..archive.len() {
            let entry = archive.by_index_data(index).map_err(|error| self.malformed(&error))?;
            let name = entry.name().map_err(|error| self.malformed(&error))?.into_owned();
            let kind = entry.unix_mode().map_or(0, |mode| mode & 0o170_000);
            if entry.encrypted() || entry.is_symlink() || !matches!(kind, 0 | 0o100_000 | 0o040_000) {
                return Err(OpenError::EntryKind { entry: name });
            }
            if name.contains('\\') {
                return Err(OpenError::Path { entry: name, reason: "a zip separates parts by `/`" });
            }
            let (is_directory, size) = (entry.is_dir(), entry.size());
            if is_directory {
                collector.directory(name.trim_end_matches('/').to_owned())?;
                continue;
            }
            let tag_file = collector.file(name, size, index)?.map(str::to_owned);
            if collector.bytes > ratio_limit {
                return Err(OpenError::TooLarge { limit: ratio_limit });
            }
            if let Some(path) = tag_file {
                let entry = archive.by_index(index).map_err(|error| self.malformed(&error))?;
                collector.tag_file(path, entry).map_err(|error| self.malformed(&error))?;
            }
        }
        Ok(())
    }

    fn open_zip(&self) -> io::Result<ZipArchive<BufReader<File>>> {
        Ok(ZipArchive::new(BufReader::new(File::open(&self.path)?))?)
    }

    fn read_zip(&self, listing: &Listing, visit: Visit<'_>) -> io::Result<()> {
        let mut archive = self.open_zip()?;
        for (file, index) in listing.files.iter().zip(&listing.positions) {
            let mut entry = archive.by_index(*index)?;
            if entry.name()?.trim_start_matches("./").strip_prefix(&listing.root) != Some(&file.path) {
                return Err(io::Error::other("the archive changed while it was read"));
            }
            visit(file, &mut entry)?;
        }
        Ok(())
    }
}

/// Tells a tar and a zip by their first bytes.
fn archive_kind(path: &Path) -> io::Result<Option<Body>> {
    let mut start = Vec::new();
    File::open(path)?.take(512).read_to_end(&mut start)?;
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        return Ok(Some(Body::Zip));
    }
    Ok(Tar::recognise(&start).map(Body::Tar))
}

fn read_directory(storage: &LocalStorage, listing: &Listing, visit: Visit<'_>) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let work = || {
        while let Some(file) = listing.files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let opened: io::Result<Box<dyn Read + Send>> = storage.open(&file.path, 0..file.size.saturating_add(1));
            // What cannot be opened fails where it is read, so that it is reported with its name.
            let mut reader = opened.unwrap_or_else(|error| Box::new(Unopened(Some(error))));
            if let Err(error) = visit(file, &mut reader) {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                next.store(listing.files.len(), Ordering::Relaxed);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(listing.files.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// A file that could not be opened.
struct Unopened(Option<io::Error>);

impl Read for Unopened {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(self.0.take().unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }
}

/// Collects a listing and refuses what may not be in it.
pub(super) struct Collector<'a> {
    limits: &'a Limits,
    files: Vec<FileEntry>,
    positions: Vec<usize>,
    directories: HashSet<String>,
    tag_files: HashMap<String, Vec<u8>>,
    entries: u64,
    /// The sizes of all files, added up.
    pub(super) bytes: u64,
}

impl<'a> Collector<'a> {
    fn new(limits: &'a Limits) -> Collector<'a> {
        Collector {
            limits,
            files: Vec::new(),
            positions: Vec::new(),
            directories: HashSet::new(),
            tag_files: HashMap::new(),
            entries: 0,
            bytes: 0,
        }
    }

    fn check(&mut self, path: &str) -> Result<(), OpenError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(OpenError::TooMany { limit: self.limits.entries });
        }
        match refuse(path, self.limits.line_ends_in_names) {
            Some(reason) => Err(OpenError::Path { entry: path.to_owned(), reason }),
            None => Ok(()),
        }
    }

    pub(super) fn directory(&mut self, path: String) -> Result<(), OpenError> {
        let path = path.trim_start_matches("./");
        if matches!(path, "" | ".") {
            return Ok(());
        }
        self.check(path)?;
        self.directories.insert(path.to_owned());
        Ok(())
    }

    /// Adds a file; gives its path when its content is wanted as a tag file.
    pub(super) fn file(&mut self, path: String, size: u64, position: usize) -> Result<Option<&str>, OpenError> {
        let path = match path.strip_prefix("./") {
            Some(rest) => rest.trim_start_matches("./").to_owned(),
            None => path,
        };
        self.check(&path)?;
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.bytes {
            return Err(OpenError::TooLarge { limit: self.limits.bytes });
        }
        self.files.push(FileEntry { path, size });
        self.positions.push(position);
        let wanted = self.files.last().map(|file| file.path.as_str());
        Ok(wanted.filter(|path| is_tag_file(path) && size <= self.limits.tag_file_bytes))
    }

    pub(super) fn tag_file(&mut self, path: String, reader: impl Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        reader.take(self.limits.tag_file_bytes).read_to_end(&mut bytes)?;
        self.tag_files.insert(path, bytes);
        Ok(())
    }

    /// Finds the top of the bag and makes every path begin there.
    fn finish(mut self, path: &Path, is_archive: bool) -> Result<Listing, OpenError> {
        self.check_duplicates()?;
        let root = if is_archive { self.find_root(path)? } else { String::new() };
        if !root.is_empty() {
            for file in &mut self.files {
                file.path.drain(..root.len());
            }
            let tag_files = self.tag_files.into_iter();
            let inside = |(path, bytes): (String, _)| path.strip_prefix(&root).map(|path| (path.to_owned(), bytes));
            self.tag_files = tag_files.filter_map(inside).collect();
        }
        self.tag_files.retain(|path, _| !path.contains('/'));
        let unread = |file: &&FileEntry| {
            is_tag_file(&file.path) && !file.path.contains('/') && !self.tag_files.contains_key(&file.path)
        };
        if let Some(file) = self.files.iter().find(unread) {
            return Err(OpenError::TagFileTooLarge { entry: file.path.clone(), limit: self.limits.tag_file_bytes });
        }
        let has_data = self.directories.contains(&format!("{root}data"))
            || self.files.iter().any(|file| file.path.starts_with("data/"));
        Ok(Listing { files: self.files, has_data, tag_files: self.tag_files, root, positions: self.positions })
    }

    fn check_duplicates(&self) -> Result<(), OpenError> {
        let mut seen = HashSet::new();
        let mut directories = self.directories.iter().map(String::as_str).collect::<HashSet<_>>();
        for file in &self.files {
            if !seen.insert(file.path.as_str()) {
                return Err(OpenError::Duplicate { entry: file.path.clone() });
            }
            let mut path = file.path.as_str();
            while let Some((directory, _)) = path.rsplit_once('/') {
                directories.insert(directory);
                path = directory;
            }
        }
        match self.files.iter().find(|file| directories.contains(file.path.as_str())) {
            Some(file) => Err(OpenError::Duplicate { entry: file.path.clone() }),
            None => Ok(()),
        }
    }

    /// The top of the bag in an archive: the top of the archive, or its one top directory.
    fn find_root(&self, path: &Path) -> Result<String, OpenError> {
        if self.files.iter().any(|file| file.path == "bagit.txt") {
            return Ok(String::new());
        }
        let mut tops = self.files.iter().filter_map(|file| file.path.strip_suffix("/bagit.txt"));
        let Some(top) = tops.find(|top| !top.contains('/')) else {
            return Err(OpenError::NotABag { path: path.to_owned() });
        };
        let root = format!("{top}/");
        let paths = self.files.iter().map(|file| &file.path).chain(&self.directories);
        match paths.into_iter().find(|path| !path.starts_with(&root) && *path != top) {
            Some(entry) => Err(OpenError::BesideTheBag { entry: entry.clone() }),
            None => Ok(root),
        }
    }
}

/// Whether a file says something about the others of its bag, if it lies at the top of one.
fn is_tag_file(path: &str) -> bool {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let is_manifest = (name.starts_with("manifest-") || name.starts_with("tagmanifest-")) && name.ends_with(".txt");
    !directory.contains('/') && (is_manifest || matches!(name, "bagit.txt" | "bag-info.txt" | "fetch.txt"))
}
