//! Where a storage root's bytes lie: one small trait, and its implementation on the local file system.
//!
//! Paths are relative to the root, parts joined by `/`, `""` for the root itself. A path that is absolute, or has
//! an empty part, `.` or `..`, is refused before the back end sees it, and no symbolic link is followed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::publish;

/// What a directory holds under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, without the directory.
    pub name: String,
    /// Whether it is a file, a directory or neither.
    pub kind: EntryKind,
    /// The length of a file in bytes; 0 otherwise.
    pub len: u64,
}

/// The kind of an [`Entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, socket, device or anything else that a storage root must not hold.
    Other,
}

/// A place that holds a storage root.
pub trait Storage: Send + Sync {
    /// What `directory` holds, sorted by name. `NotFound` when there is no such directory.
    fn list(&self, directory: &str) -> io::Result<Vec<Entry>>;

    /// What lies under `path`, if anything does.
    fn entry(&self, path: &str) -> io::Result<Option<Entry>>;

    /// The bytes of a file from `range.start` up to `range.end`, or to the end of the file if that comes first.
    fn open(&self, path: &str, range: Range<u64>) -> io::Result<Box<dyn Read + Send>>;

    /// Writes a small file in place of what was there: readers see the old bytes or the new ones.
    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Moves a complete and synced local directory under `path`, which must not exist: it appears whole or not at
    /// all. `AlreadyExists` when the name is taken. Directories above it are created.
    fn publish(&self, staged: &Path, path: &str) -> io::Result<()>;

    /// Moves what lies under `path` to a local directory that must not exist, all at once, and removes the
    /// directories above it that are then empty (not the root). Nobody finds it under `path` any more then.
    fn withdraw(&self, path: &str, to: &Path) -> io::Result<()>;

    /// Removes `path` with all below it, and the directories above it that are then empty (not the root).
    fn remove(&self, path: &str) -> io::Result<()>;

    /// The whole of a small file; `InvalidData` when it is longer than `limit` bytes.
    fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path, 0..limit.saturating_add(1))?.read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            let message = format!("{path} is longer than the {limit} bytes that are allowed for it");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(bytes)
    }
}

/// A storage root in a directory of the local file system.
#[derive(Debug)]
pub struct LocalStorage {
    root: PathBuf,
    handle: File,
}

impl LocalStorage {
    /// Opens an existing directory.
    pub fn open(root: &Path) -> io::Result<LocalStorage> {
        let handle = File::open(root)?;
        if !handle.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(LocalStorage { root: root.to_owned(), handle })
    }

    /// The directory that holds the root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn full(&self, path: &str) -> io::Result<PathBuf> {
        check(path)?;
        Ok(if path.is_empty() { self.root.clone() } else { self.root.join(path) })
    }

    /// Opens `path` for reading without following a symbolic link in any of its parts.
    #[cfg(target_os = "linux")]
    fn open_file(&self, path: &str) -> io::Result<File> {
        use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
        check(path)?;
        let path = if path.is_empty() { "." } else { path };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match openat2(&self.handle, path, flags, Mode::empty(), resolve) {
            Ok(file) => Ok(file.into()),
            // Kernels before 5.6, and sandboxes that do not know the call.
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => self.open_checked(path),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn open_file(&self, path: &str) -> io::Result<File> {
        check(path)?;
        self.open_checked(path)
    }

    fn remove_empty_above(&self, path: &Path) {
        let mut above = path.parent();
        while let Some(directory) = above.filter(|directory| *directory != self.root) {
            // Fails on the first directory that is not empty, which is where to stop.
            if rustix::fs::rmdir(directory).is_err() {
                break;
            }
            above = directory.parent();
        }
    }

    fn open_checked(&self, path: &str) -> io::Result<File> {
        let mut full = self.root.clone();
        for part in path.split('/').filter(|part| *part != ".") {
            full.push(part);
            if std::fs::symlink_metadata(&full)?.file_type().is_symlink() {
                let message = format!("{path} leads through a symbolic link");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        }
        File::open(full)
    }
}

impl Storage for LocalStorage {
    fn list(&self, directory: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for found in std::fs::read_dir(self.full(directory)?)? {
            let found = found?;
            let name = found.file_name().into_string().map_err(|name| {
                let message = format!("{directory}/{} is not named in UTF-8", name.display());
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?;
            let file_type = found.file_type()?;
            let (kind, len) = if file_type.is_dir() {
                (EntryKind::Directory, 0)
            } else if file_type.is_file() {
                (EntryKind::File, found.metadata()?.len())
            } else {
                (EntryKind::Other, 0)
            };
            entries.push(Entry { name, kind, len });
        }
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    fn entry(&self, path: &str) -> io::Result<Option<Entry>> {
        let metadata = match std::fs::symlink_metadata(self.full(path)?) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (kind, len) = if metadata.is_dir() {
            (EntryKind::Directory, 0)
        } else if metadata.is_file() {
            (EntryKind::File, metadata.len())
        } else {
            (EntryKind::Other, 0)
        };
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Some(Entry { name, kind, len }))
    }

    fn open(&self, path: &str, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        let mut file = self.open_file(path)?;
        if range.start > 0 {
            file.seek(SeekFrom::Start(range.start))?;
        }
        Ok(Box::new(file.take(range.end.saturating_sub(range.start))))
    }

    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let full = self.full(path)?;
        if let Some(parent) = full.parent() {
            publish::create_directories(parent)?;
        }
        publish::write_file(&full, bytes)
    }

    fn publish(&self, staged: &Path, path: &str) -> io::Result<()> {
        // The directories above may go again before the rename, when the last object in them is removed meanwhile.
        const ATTEMPTS: usize = 8;
        let full = self.full(path)?;
        let mut published = Ok(());
        for _ in 0..ATTEMPTS {
            if let Some(parent) = full.parent() {
                publish::create_directories(parent)?;
            }
            published = publish::rename_new(staged, &full);
            match &published {
                Err(error) if error.kind() == io::ErrorKind::NotFound && staged.exists() => {}
                _ => break,
            }
        }
        published
    }

    fn withdraw(&self, path: &str, to: &Path) -> io::Result<()> {
        let full = self.full(path)?;
        if full == self.root {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a storage root is not removed as a whole"));
        }
        publish::rename_new(&full, to)?;
        self.remove_empty_above(&full);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let full = self.full(path)?;
        if full == self.root {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a storage root is not removed as a whole"));
        }
        match std::fs::symlink_metadata(&full) {
            Ok(metadata) if metadata.is_dir() => publish::remove_tree(&full)?,
            Ok(_) => publish::remove_file(&full)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.remove_empty_above(&full);
        Ok(())
    }
}

fn check(path: &str) -> io::Result<()> {
    if path.is_empty() || path.split('/').all(|part| !matches!(part, "" | "." | "..")) {
        return Ok(());
    }
    let message = format!("{path:?} is not a path inside a storage root");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}
