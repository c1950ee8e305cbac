//! A storage of which one directory was listed as a whole: what is listed below it costs no request any more.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::{Bound, Range};
use std::path::Path;

use super::{Condition, Entry, EntryKind, Revision, Storage};

/// A view of a storage. Listings below the directory are answered from memory, all else by the storage.
pub(crate) struct Tree<'a> {
    storage: &'a dyn Storage,
    directory: String,
    /// By path below the directory.
    files: BTreeMap<Box<str>, u64>,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(storage: &'a dyn Storage, directory: &str) -> io::Result<Tree<'a>> {
        let mut files = BTreeMap::new();
        storage.list_below(directory, &mut |path, len| {
            files.insert(path.into(), len);
        })?;
        Ok(Tree { storage, directory: directory.to_owned(), files })
    }

    /// A path as one below the directory; `None` when it is not.
    fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.directory.is_empty() {
            return Some(path);
        }
        let rest = path.strip_prefix(&self.directory)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }
}

impl Storage for Tree<'_> {
    fn moves_directories(&self) -> bool {
        self.storage.moves_directories()
    }

    fn list(&self, directory: &str) -> io::Result<Vec<Entry>> {
        let Some(below) = self.below(directory) else { return self.storage.list(directory) };
        let prefix = if below.is_empty() { String::new() } else { format!("{below}/") };
        let mut entries: Vec<Entry> = Vec::new();
        let range = self.files.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        for (path, len) in range {
            let Some(rest) = path.strip_prefix(&prefix) else { break };
            match rest.split_once('/') {
                // All files of a directory follow one another.
                Some((name, _)) if entries.last().is_some_and(|last| last.name == name) => {}
                Some((name, _)) => {
                    entries.push(Entry { name: name.to_owned(), kind: EntryKind::Directory, len: 0 });
                }
                None => entries.push(Entry { name: rest.to_owned(), kind: EntryKind::File, len: *len }),
            }
        }
        if entries.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    fn list_below(&self, directory: &str, found: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        self.storage.list_below(directory, found)
    }

    fn entry(&self, path: &str) -> io::Result<Option<Entry>> {
        self.storage.entry(path)
    }

    fn open(&self, path: &str, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        self.storage.open(path, range)
    }

    fn read_revision(&self, path: &str, limit: u64) -> io::Result<(Vec<u8>, Revision)> {
        self.storage.read_revision(path, limit)
    }

    fn write(&self, path: &str, bytes: &[u8], condition: Condition<'_>) -> io::Result<()> {
        self.storage.write(path, bytes, condition)
    }

    fn publish(&self, staged: &Path, path: &str) -> io::Result<()> {
        self.storage.publish(staged, path)
    }

    fn withdraw(&self, path: &str, to: &Path) -> io::Result<()> {
        self.storage.withdraw(path, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.storage.remove(path)
    }
}
