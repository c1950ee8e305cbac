//! Where a storage root's bytes lie: one trait, with the local file system ([`LocalStorage`]) and a bucket of
//! S3-compatible object storage ([`BucketStorage`]) behind it.
//!
//! Paths are relative to the root, parts joined by `/`, `""` for the root itself. A path that is absolute, or has
//! an empty part, `.` or `..`, is refused before the back end sees it, and no symbolic link is followed.
//!
//! What the two promise:
//!
//! | | local file system | bucket |
//! |---|---|---|
//! | [`Storage::write`] | old bytes or new ones, durable when it returns | the same |
//! | its condition | holds among writers that share the object's lock | holds among all writers where the server knows conditional requests |
//! | [`Storage::publish`] | a directory appears whole or not at all | not there: [`Storage::upload`] and [`Storage::stream`] bring files, in no order |
//! | directories | exist by themselves, and may be empty | are what the keys have in common |
//!
//! The one who publishes asks [`Storage::moves_directories`] which of the two it is. Where directories do not move,
//! nothing that was published counts before a file that is written afterwards names it.
//!
//! # Cold storage
//!
//! Files in an archive class (`GLACIER`, `DEEP_ARCHIVE`) cannot be read before they were recalled:
//!
//! - [`Storage::availability`]`(directory, wanted) -> io::Result<Vec<(String, Availability)>>` tells which of the
//!   wanted files below a directory are, or were, in such a class. It costs one listing, and one request more for
//!   each cold file. On the local file system it costs nothing, and nothing is cold.
//! - [`Storage::recall`]`(path, tier, days) -> io::Result<Recall>` asks for one of them to be made readable. It may
//!   be asked again at any time.
//! - Reading a file that is not readable fails with an error for which [`is_archived`] is true: that is neither
//!   damage nor absence.

mod bucket;
mod cold;
mod incoming;
mod local;
mod metered;
mod tree;

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

pub use bucket::BucketStorage;
pub use cold::{Availability, Recall, Tier, is_archived};
pub use incoming::{LocalFile, Streamed};
pub use local::LocalStorage;
pub use metered::Metered;
pub(crate) use tree::Tree;

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

/// What must hold for a file to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition<'a> {
    /// Nothing: whatever is there is replaced.
    None,
    /// There is no such file; otherwise the error is of the kind `AlreadyExists`.
    Absent,
    /// The file is the one that was read; otherwise, also when it is gone, the error is of the kind `AlreadyExists`.
    Unchanged(&'a Revision),
}

/// Stands for the bytes of a file as they were when it was read. Only the storage that made it knows what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(String);

impl Revision {
    pub(crate) fn new(text: String) -> Revision {
        Revision(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A place that holds a storage root.
pub trait Storage: Send + Sync {
    /// Whether a directory can be moved into and out of the storage as a whole, by [`Storage::publish`] and
    /// [`Storage::withdraw`].
    fn moves_directories(&self) -> bool;

    /// How many reads should be under way at a time, where that is more than one for each core: where each of them
    /// waits for a network.
    fn reads_at_once(&self) -> Option<NonZeroUsize> {
        None
    }

    /// What `directory` holds, sorted by name. `NotFound` when there is no such directory.
    fn list(&self, directory: &str) -> io::Result<Vec<Entry>>;

    /// Every file below `directory`, with its path below it and its length, in no particular order. None when there
    /// is no such directory. Anything that is neither file nor directory is passed over.
    fn list_below(&self, directory: &str, found: &mut dyn FnMut(&str, u64)) -> io::Result<()>;

    /// What lies under `path`, if anything does.
    fn entry(&self, path: &str) -> io::Result<Option<Entry>>;

    /// The bytes of a file from `range.start` up to `range.end`, or to the end of the file if that comes first.
    fn open(&self, path: &str, range: Range<u64>) -> io::Result<Box<dyn Read + Send>>;

    /// The whole of a small file, and what stands for it as it is now; `InvalidData` when it is longer than `limit`.
    fn read_revision(&self, path: &str, limit: u64) -> io::Result<(Vec<u8>, Revision)>;

    /// Writes a small file if the condition holds: readers see the old bytes or the new ones. A failure that is not
    /// about the condition may have written it.
    fn write(&self, path: &str, bytes: &[u8], condition: Condition<'_>) -> io::Result<()>;

    /// Moves a complete and synced local directory to `path`, whole or not at all. The name must be free
    /// (`AlreadyExists`). `Unsupported` where directories do not move.
    fn publish(&self, staged: &Path, path: &str) -> io::Result<()>;

    /// The longest file that is brought by [`Storage::upload`]; longer ones are streamed, so that no local disk need
    /// hold them. No file is that long where directories move.
    fn streams_above(&self) -> u64 {
        u64::MAX
    }

    /// Copies complete local files to paths to which nobody else writes, several at a time. Each appears whole; after
    /// an error some are there, and all may be copied again. `Unsupported` where directories move.
    fn upload(&self, files: &[LocalFile]) -> io::Result<()> {
        let _ = files;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Begins a file of which not all bytes are there yet, and to which nobody else writes; `len` of them will come, if
    /// that is known. `Unsupported` where directories move.
    fn stream(&self, path: &str, len: Option<u64>) -> io::Result<Box<dyn Streamed>> {
        let _ = (path, len);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Clears away what processes that died had begun to stream below a directory, as far as the storage can tell.
    fn end_streams(&self, directory: &str) -> io::Result<()> {
        let _ = directory;
        Ok(())
    }

    /// Moves what lies under `path` to a local directory that must not exist, all at once, and removes the
    /// directories above it that are then empty (not the root). `Unsupported` where directories do not move.
    fn withdraw(&self, path: &str, to: &Path) -> io::Result<()>;

    /// Removes `path` with all below it, and the directories above it that are then empty (not the root).
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Removes many files of one directory, which keeps others, as [`Storage::remove`] would one after the other.
    fn remove_files(&self, directory: &str, names: &[String]) -> io::Result<()> {
        names.iter().try_for_each(|name| self.remove(&join(directory, name)))
    }

    /// Of the files below `directory` for which `wanted` is true, given its path below it: those that are in an
    /// archive class, with what can be done with them now. All others are readable.
    fn availability(&self, directory: &str, wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<(String, Availability)>> {
        let _ = (directory, wanted);
        Ok(Vec::new())
    }

    /// Whether files may be in archive classes at all. Where they may not, nobody need look.
    fn has_archive_classes(&self) -> bool {
        false
    }

    /// Asks for a file in an archive class to be made readable for a number of days; how that stands now.
    fn recall(&self, path: &str, tier: Tier, days: u32) -> io::Result<Recall> {
        let _ = (path, tier, days);
        Ok(Recall::Readable)
    }

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

/// How many threads to read with, when the caller does not say.
pub(crate) fn threads(storage: &dyn Storage) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    storage.reads_at_once().map_or(cores, |reads| reads.get().max(cores))
}

/// Does something with each item, several at a time on as many threads. The first error ends it.
pub fn at_once<T: Sync, E: Send>(
    threads: NonZeroUsize,
    items: &[T],
    act: &(dyn Fn(&T) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let work = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = act(item) {
                next.store(items.len(), Ordering::Relaxed);
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get().min(items.len()) {
            scope.spawn(work);
        }
        work();
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Joins a directory and a name; the directory may be the root itself, `""`.
pub(crate) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// Refuses what is no path inside a storage root.
fn check(path: &str) -> io::Result<()> {
    if path.is_empty() || path.split('/').all(|part| !matches!(part, "" | "." | "..")) {
        return Ok(());
    }
    let message = format!("{path:?} is not a path inside a storage root");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// The error of a write whose condition did not hold.
fn changed(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, format!("{path} is not what it was when it was read"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn work_is_shared_and_ends_with_the_first_error() {
        let threads = NonZeroUsize::MIN.saturating_add(7);
        let items: Vec<u64> = (0..1000).collect();
        let done = Mutex::new(HashSet::new());
        let note = |item: &u64| if done.lock().unwrap().insert(*item) { Ok(()) } else { Err(*item) };
        assert_eq!(at_once(threads, &items, &note), Ok(()));
        assert_eq!(done.lock().unwrap().len(), 1000);
        assert_eq!(
            at_once(threads, &items, &|item: &u64| if *item == 500 { Err("five hundred") } else { Ok(()) }),
            Err("five hundred")
        );
        assert_eq!(at_once::<u64, &str>(threads, &[], &|_| Err("never")), Ok(()));
    }
}
