//! A storage root in a directory of the local file system.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Condition, Entry, EntryKind, Revision, Storage, check, join};
use crate::digest::{Algorithm, Hasher};
use crate::publish;

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
            // Fails on the first directory that is not empty, which is where to stop. One that is gone may have been
            // removed before a crash that left those above it.
            if !matches!(rustix::fs::rmdir(directory), Ok(()) | Err(rustix::io::Errno::NOENT)) {
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

    fn list_below(&self, directory: &str, found: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        let mut open = vec![String::new()];
        while let Some(below) = open.pop() {
            let path = if below.is_empty() { directory.to_owned() } else { join(directory, &below) };
            let entries = match self.list(&path) {
                Ok(entries) => entries,
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            for entry in entries {
                let path = join(&below, &entry.name);
                match entry.kind {
                    EntryKind::Directory => open.push(path),
                    EntryKind::File => found(&path, entry.len),
                    EntryKind::Other => {}
                }
            }
        }
        Ok(())
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

    fn moves_directories(&self) -> bool {
        true
    }

    fn read_revision(&self, path: &str, limit: u64) -> io::Result<(Vec<u8>, Revision)> {
        let bytes = self.read(path, limit)?;
        let revision = revision_of(&bytes);
        Ok((bytes, revision))
    }

    /// The condition holds against writers who keep to the object's lock: between the look and the write there is
    /// a moment.
    fn write(&self, path: &str, bytes: &[u8], condition: Condition<'_>) -> io::Result<()> {
        let full = self.full(path)?;
        if let Some(parent) = full.parent() {
            publish::create_directories(parent)?;
        }
        match condition {
            Condition::None => publish::write_file(&full, bytes),
            Condition::Absent => publish::write_new_file(&full, bytes),
            Condition::Unchanged(expected) => match self.read(path, u64::MAX) {
                Ok(found) if revision_of(&found) == *expected => publish::write_file(&full, bytes),
                Ok(_) => Err(super::changed(path)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(super::changed(path)),
                Err(error) => Err(error),
            },
        }
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

    fn remove_files(&self, directory: &str, names: &[String]) -> io::Result<()> {
        let full = self.full(directory)?;
        names.iter().try_for_each(|name| check(&join(directory, name)))?;
        publish::remove_files(&full, names)?;
        if let Some(name) = names.first() {
            self.remove_empty_above(&full.join(name));
        }
        Ok(())
    }
}

fn revision_of(bytes: &[u8]) -> Revision {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(bytes);
    Revision::new(hasher.finish().to_string())
}
