//! The bytes of a package as the storage gives them, unverified. Nothing outside this folder reads them so.

use std::collections::HashMap;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::layout::{Layout, Piece};
use crate::storage::{Storage, at_once, is_archived};

/// What the storage did instead of giving the bytes of a file.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file is not there.
    #[error("{logical_path:?} is not in the storage any more, at {location:?}")]
    Missing {
        /// The logical path.
        logical_path: String,
        /// Where it should be.
        location: String,
    },
    /// The file is longer or shorter than the package says.
    #[error("{logical_path:?} should have {expected} bytes, but the storage has {found}")]
    WrongSize {
        /// The logical path.
        logical_path: String,
        /// The size that was recorded.
        expected: u64,
        /// The size that was found; for a file that grew, at least one more than was recorded.
        found: u64,
    },
    /// Reading failed; trying again may help.
    #[error("{logical_path:?} could not be read: {source}")]
    Io {
        /// The logical path.
        logical_path: String,
        /// The error of the storage.
        source: io::Error,
    },
}

impl SourceError {
    /// Whether the file is in an archive class, and must be recalled before it can be read.
    pub fn is_archived(&self) -> bool {
        matches!(self, SourceError::Io { source, .. } if is_archived(source))
    }

    /// The logical path of the file.
    pub fn logical_path(&self) -> &str {
        match self {
            SourceError::Missing { logical_path, .. }
            | SourceError::WrongSize { logical_path, .. }
            | SourceError::Io { logical_path, .. } => logical_path,
        }
    }
}

/// Opens a content of a layout from `skip` on.
pub(super) fn open(
    layout: &Layout,
    storage: &dyn Storage,
    index: usize,
    skip: u64,
) -> Result<ContentReader, SourceError> {
    let content = layout.contents().get(index);
    let (logical_path, location, size) =
        content.map(|content| (&*content.logical_path, &*content.location, content.size)).unwrap_or_default();
    open_content(storage, (logical_path, location), size, skip)
}

/// Opens a content, by its logical path and its location, from `skip` on, with one byte more than it should have, by
/// which a file that grew shows.
pub(super) fn open_content(
    storage: &dyn Storage,
    (logical_path, location): (&str, &str),
    size: u64,
    skip: u64,
) -> Result<ContentReader, SourceError> {
    match storage.open(location, skip..size.saturating_add(1)) {
        Ok(reader) => Ok(ContentReader { reader, logical_path: logical_path.to_owned(), size, position: skip }),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(SourceError::Missing { logical_path: logical_path.to_owned(), location: location.to_owned() })
        }
        Err(source) => Err(SourceError::Io { logical_path: logical_path.to_owned(), source }),
    }
}

/// One content that is being read.
pub(super) struct ContentReader {
    reader: Box<dyn Read + Send>,
    logical_path: String,
    size: u64,
    position: u64,
}

impl ContentReader {
    /// Appends up to `limit` bytes of the content; fails when it ends too early, or does not end where it should.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, limit: u64) -> Result<(), SourceError> {
        let wanted = limit.min(self.size - self.position);
        let before = out.len();
        out.reserve(wanted as usize);
        let read = self.reader.by_ref().take(wanted).read_to_end(out);
        let found = (out.len() - before) as u64;
        self.position += found;
        read.map_err(|source| self.io(source))?;
        if found < wanted {
            return Err(self.wrong_size(self.position));
        }
        if self.position == self.size {
            self.check_end()?;
        }
        Ok(())
    }

    /// Reads the next bytes into `bytes`, until it or the content is at its end; returns how many there were.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) -> Result<usize, SourceError> {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty() && self.left() > 0) {
            let wanted = rest.len().min(usize::try_from(self.left()).unwrap_or(usize::MAX));
            let read = match self.reader.read(rest.get_mut(..wanted).unwrap_or_default()) {
                Ok(0) => return Err(self.wrong_size(self.position)),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(self.io(source)),
            };
            filled += read;
            self.position += read as u64;
        }
        if self.left() == 0 {
            self.check_end()?;
        }
        Ok(filled)
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> u64 {
        self.size - self.position
    }

    fn check_end(&mut self) -> Result<(), SourceError> {
        loop {
            return match self.reader.read(&mut [0]) {
                Ok(0) => Ok(()),
                Ok(_) => Err(self.wrong_size(self.size.saturating_add(1))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => Err(self.io(source)),
            };
        }
    }

    fn wrong_size(&self, found: u64) -> SourceError {
        SourceError::WrongSize { logical_path: self.logical_path.clone(), expected: self.size, found }
    }

    fn io(&self, source: io::Error) -> SourceError {
        SourceError::Io { logical_path: self.logical_path.clone(), source }
    }
}

/// A range of a package, read in order. A large file is opened once, not once for each piece.
pub(super) struct RawReader {
    layout: Arc<Layout>,
    storage: Arc<dyn Storage>,
    range: Range<u64>,
    open: Option<ContentReader>,
    /// Whole contents that were read ahead, by index.
    ahead: HashMap<usize, Vec<u8>>,
}

impl RawReader {
    pub(super) fn new(layout: Arc<Layout>, storage: Arc<dyn Storage>, range: Range<u64>) -> RawReader {
        RawReader { layout, storage, range, open: None, ahead: HashMap::new() }
    }

    /// The next bytes, `limit` of them unless the range ends before.
    pub(super) fn next(&mut self, limit: u64) -> Result<Vec<u8>, SourceError> {
        let end = self.range.end.min(self.range.start.saturating_add(limit));
        let mut out = Vec::with_capacity(end.saturating_sub(self.range.start) as usize);
        if let Some(threads) = self.storage.reads_at_once() {
            self.read_ahead(end, threads)?;
        }
        while self.range.start < end {
            let before = out.len();
            self.append_piece(&mut out, end)?;
            self.range.start += (out.len() - before) as u64;
        }
        Ok(out)
    }

    /// Reads the contents that lie whole between here and `end`, several at a time.
    fn read_ahead(&mut self, end: u64, threads: NonZeroUsize) -> Result<(), SourceError> {
        let mut wanted = Vec::new();
        let mut position = self.range.start;
        while let Some(located) = self.layout.locate(position).filter(|_| position < end) {
            if let Piece::Content(index) = located.piece
                && located.start == position
                && located.end <= end
            {
                wanted.push(index);
            }
            position = located.end;
        }
        if wanted.len() < 2 {
            return Ok(());
        }
        let read = Mutex::new(HashMap::with_capacity(wanted.len()));
        at_once(threads, &wanted, &|index: &usize| {
            let mut bytes = Vec::new();
            open(&self.layout, &*self.storage, *index, 0)?.append(&mut bytes, u64::MAX)?;
            read.lock().unwrap_or_else(PoisonError::into_inner).insert(*index, bytes);
            Ok(())
        })?;
        self.ahead = read.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(())
    }

    fn append_piece(&mut self, out: &mut Vec<u8>, end: u64) -> Result<(), SourceError> {
        let position = self.range.start;
        let wanted = end - position;
        if let Some(content) = self.open.as_mut().filter(|content| content.left() > 0) {
            return content.append(out, wanted);
        }
        // `wanted` is above 0 and inside the package, so there is a piece.
        let Some(located) = self.layout.locate(position) else { return Ok(()) };
        match located.piece {
            Piece::Made(bytes) => {
                let skip = (position - located.start) as usize;
                let take = wanted.min(located.end - position) as usize;
                out.extend(bytes.iter().skip(skip).take(take));
                Ok(())
            }
            Piece::Content(index) => {
                if let Some(bytes) = self.ahead.remove(&index) {
                    out.extend(bytes);
                    return Ok(());
                }
                let mut content = open(&self.layout, &*self.storage, index, position - located.start)?;
                content.append(out, wanted)?;
                self.open = Some(content);
                Ok(())
            }
        }
    }
}
