//! Long files that were begun and cut off, by a source that broke off or by a process that died: what is there of them
//! stays in the draft, with a note of what a later run needs to go on. Whether the bytes are still those of the file,
//! its digest tells in the end.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::sidecar::digest_of;
use crate::digest::Algorithm;
use crate::publish;

/// From this length on it is worth a note.
pub(super) const NOTED_BYTES: u64 = 8 << 20;

/// Where the bytes of an added file come from, when they may come in two goes.
pub trait Source: Read {
    /// Told before the first byte is read: they are to come from `position` on. `None` when they cannot; then the source
    /// is asked again, for all of them.
    fn begin(&mut self, position: Position<'_>) -> io::Result<Option<Announced>>;

    /// Told of bytes that are read again from where they are staged. An error ends it.
    fn passed(&mut self, bytes: u64) -> io::Result<()>;
}

/// From where on bytes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position<'a> {
    /// All of them.
    Start,
    /// Those behind the ones that came with this tag.
    Behind(u64, &'a str),
}

/// What a source says of its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// How many there are.
    pub len: Option<u64>,
    /// What tells, in a later run, that they are still the same; a source without one cannot be gone on with.
    pub tag: Option<String>,
}

/// A source that comes in one go.
pub(super) struct Plain<'a>(pub(super) &'a mut dyn Read);

impl Read for Plain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Source for Plain<'_> {
    fn begin(&mut self, position: Position<'_>) -> io::Result<Option<Announced>> {
        Ok((position == Position::Start).then(Announced::default))
    }

    fn passed(&mut self, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
}

/// A file that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// Its logical path.
    pub(super) path: String,
    /// What the caller said about the source.
    pub(super) stamp: String,
    /// What the source said about its bytes.
    pub(super) tag: String,
    /// The name of its staged file below the content directory.
    pub(super) name: String,
}

impl Begun {
    pub(super) fn write(&self, draft: &Path) -> io::Result<()> {
        let path = place(draft, &self.path);
        if let Some(directory) = path.parent() {
            publish::create_directories(directory)?;
        }
        publish::write_file(&path, &serde_json::to_vec(self)?)
    }

    /// Takes the note away; that there is none is no error.
    pub(super) fn forget(draft: &Path, logical_path: &str) -> io::Result<()> {
        publish::discard_staged(&place(draft, logical_path))
    }

    /// All notes of a draft.
    pub(super) fn all(draft: &Path) -> io::Result<Vec<Begun>> {
        let entries = match std::fs::read_dir(draft.join(DIRECTORY)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let bytes = std::fs::read(entry?.path())?;
            // What a crash left in the middle of writing a note is none.
            found.extend(serde_json::from_slice::<Begun>(&bytes));
        }
        Ok(found)
    }
}

const DIRECTORY: &str = "begun";

fn place(draft: &Path, logical_path: &str) -> PathBuf {
    draft.join(DIRECTORY).join(format!("{}.json", digest_of(Algorithm::Sha256, logical_path.as_bytes())))
}

/// The bytes of a file: first those that are staged, then those of the source.
pub(super) struct Continued<'s> {
    source: &'s mut dyn Source,
    /// What is staged, and how much is left of it to read.
    staged: Option<(io::Take<File>, u64)>,
    tag: &'s str,
    /// The source could not go on.
    pub(super) is_refused: bool,
}

impl<'s> Continued<'s> {
    pub(super) fn new(source: &'s mut dyn Source, staged: Option<(File, u64)>, tag: &'s str) -> Continued<'s> {
        let staged = staged.map(|(file, len)| (file.take(len), len));
        Continued { source, staged, tag, is_refused: false }
    }
}

impl Read for Continued<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some((staged, len)) = &mut self.staged {
            let count = staged.read(buffer)?;
            if count > 0 {
                self.source.passed(count as u64)?;
                return Ok(count);
            }
            let position = Position::Behind(*len, self.tag);
            self.staged = None;
            if self.source.begin(position)?.is_none() {
                self.is_refused = true;
                return Err(io::Error::other("the source does not go on where it was"));
            }
        }
        self.source.read(buffer)
    }
}
