//! Reading a range of a prepared package, verified before a byte of it leaves.

use std::ops::Range;
use std::sync::Arc;

use super::checkpoints::Checkpoints;
use super::layout::Layout;
use super::raw::{RawReader, SourceError};
use crate::meter;
use crate::storage::Storage;

/// Why a range of a prepared package is not handed out.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The layout has another length than what was prepared.
    #[error("the package has {found} bytes now, but {prepared} were prepared; prepare it again")]
    Changed {
        /// The length that was prepared.
        prepared: u64,
        /// The length of the layout.
        found: u64,
    },
    /// The range begins after its end, or ends after the package.
    #[error("the range {start}..{end} is not inside the {len} bytes of the package")]
    Range {
        /// Where the range begins.
        start: u64,
        /// Where it ends.
        end: u64,
        /// The length of the package.
        len: u64,
    },
    /// A file is missing, has another size, or cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The bytes are not those whose checksum was promised.
    #[error("bytes {start}..{end} of the package are not those that were prepared; they were not handed out")]
    Damaged {
        /// Where the piece begins that failed its check.
        start: u64,
        /// Where it ends.
        end: u64,
    },
}

/// Reads a range of a package a piece at a time. Each piece is checked whole, from checkpoint to checkpoint, before
/// any byte of it is returned; after an error nothing more is.
pub struct VerifiedReader {
    raw: RawReader,
    checkpoints: Arc<Checkpoints>,
    range: Range<u64>,
    /// The checkpoint up to which everything was read.
    index: u64,
}

impl VerifiedReader {
    /// A reader of `range` of a package that [`prepare`](super::prepare()) made the checkpoints of.
    pub fn new(
        layout: Arc<Layout>,
        storage: Arc<dyn Storage>,
        checkpoints: Arc<Checkpoints>,
        range: Range<u64>,
    ) -> Result<VerifiedReader, ReadError> {
        let len = checkpoints.len();
        if layout.len() != len {
            return Err(ReadError::Changed { prepared: len, found: layout.len() });
        }
        if range.start > range.end || range.end > len {
            return Err(ReadError::Range { start: range.start, end: range.end, len });
        }
        let interval = checkpoints.interval();
        let index = range.start / interval;
        let aligned = index * interval..range.end.next_multiple_of(interval).min(len);
        Ok(VerifiedReader { raw: RawReader::new(layout, storage, aligned), checkpoints, range, index })
    }

    /// The next bytes of the range, at most a checkpoint interval of them; `None` after the last.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let chunk = self.verified_chunk();
        if chunk.is_err() {
            self.range.start = self.range.end;
        }
        chunk.map(Some)
    }

    fn verified_chunk(&mut self) -> Result<Vec<u8>, ReadError> {
        let start = self.index * self.checkpoints.interval();
        let mut bytes = self.raw.next(self.checkpoints.interval())?;
        let end = start + bytes.len() as u64;
        self.index += 1;
        let confirmed = self.checkpoints.hasher_at(self.index - 1).is_some_and(|mut hasher| {
            hasher.update(&bytes);
            meter::hashed(bytes.len() as u64);
            self.checkpoints.confirm(self.index, hasher)
        });
        if !confirmed {
            return Err(ReadError::Damaged { start, end });
        }
        bytes.truncate((self.range.end.min(end) - start) as usize);
        bytes.drain(..(self.range.start - start) as usize);
        self.range.start = end.min(self.range.end);
        Ok(bytes)
    }
}
