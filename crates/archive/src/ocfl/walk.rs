//! Finding the objects of a storage root. Where each listing waits for a network, several are under way at a time.

use std::collections::VecDeque;
use std::thread;

use super::error::{Error, Result};
use super::object::is_absent;
use super::remains::{self, Standing};
use super::sidecar::join;
use crate::storage::{Entry, Storage};

/// What a walk comes upon.
pub(crate) enum Found {
    /// The root of an object.
    Object(String),
    /// A directory that leads to objects, or to nothing.
    Way(String, Vec<Entry>),
}

/// A walk through a storage root: in the order of paths where one directory is listed at a time.
pub(crate) struct Walk {
    /// Directories that are still to be listed, the next one last.
    left: Vec<String>,
    found: VecDeque<Found>,
}

impl Walk {
    pub(crate) fn new() -> Walk {
        Walk { left: vec![String::new()], found: VecDeque::new() }
    }

    pub(crate) fn next(&mut self, storage: &dyn Storage) -> Option<Result<Found>> {
        loop {
            if let Some(found) = self.found.pop_front() {
                return Some(Ok(found));
            }
            if self.left.is_empty() {
                return None;
            }
            if let Err(error) = self.go_on(storage) {
                self.left.clear();
                return Some(Err(error));
            }
        }
    }

    /// Lists the next directories.
    fn go_on(&mut self, storage: &dyn Storage) -> Result<()> {
        let width = storage.reads_at_once().map_or(1, usize::from);
        let mut next = self.left.split_off(self.left.len().saturating_sub(width));
        next.reverse();
        let mut entered = Vec::with_capacity(next.len());
        if let [only] = next.as_slice() {
            entered.push(enter(storage, only));
        } else {
            thread::scope(|scope| {
                let threads: Vec<_> = next.iter().map(|path| scope.spawn(move || enter(storage, path))).collect();
                let failed = |_| Err(Error::io("")(std::io::Error::other("a thread that lists has failed")));
                entered.extend(threads.into_iter().map(|thread| thread.join().unwrap_or_else(failed)));
            });
        }
        let mut below = Vec::new();
        for (path, entered) in next.into_iter().zip(entered) {
            match entered? {
                Some((Standing::Object, _)) => self.found.push_back(Found::Object(path)),
                Some((Standing::Way, entries)) => {
                    let is_way = |name: &String| !(path.is_empty() && name == "extensions");
                    let names = remains::directories(entries.clone()).filter(is_way);
                    below.extend(names.map(|name| join(&path, &name)));
                    self.found.push_back(Found::Way(path, entries));
                }
                Some((Standing::Unfinished, _)) | None => {}
            }
        }
        self.left.extend(below.into_iter().rev());
        Ok(())
    }
}

/// Lists a directory; `None` when it was removed while the walk was on its way.
fn enter(storage: &dyn Storage, path: &str) -> Result<Option<(Standing, Vec<Entry>)>> {
    let entries = match storage.list(path) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) && !path.is_empty() => return Ok(None),
        Err(error) => return Err(Error::io(path)(error)),
    };
    // The root of a storage root is no object, whatever lies in it.
    let standing = if path.is_empty() { Standing::Way } else { remains::standing(storage, path, &entries)? };
    Ok(Some((standing, entries)))
}
