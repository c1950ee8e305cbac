//! A file that is being fetched: `NAME.part` with what came so far, and `NAME.part.json` beside it, which says of
//! what it is the beginning. A fetch that was cut off goes on from there, in another process as well.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use dipper_archive::digest::{Algorithm, Digest, Hasher};
use dipper_archive::publish;
use serde::{Deserialize, Serialize};

use crate::cli::exit::{Exit, told};

const BUFFER_BYTES: usize = 1 << 20;

/// What a fetched file must be.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) len: u64,
    pub(crate) algorithm: Algorithm,
    pub(crate) checksum: Digest,
}

/// Of what a part is the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    bytes: u64,
    checksum: String,
    etag: Option<String>,
}

/// A file that is being fetched, open for its next bytes.
pub(crate) struct Part {
    target: PathBuf,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    offset: u64,
    description: Description,
    expected: Expected,
}

impl Part {
    /// Opens the part of `target`, and reads what is in it. Blocks.
    pub(crate) fn open(target: &Path, expected: Expected) -> anyhow::Result<Part> {
        let path = suffixed(target, ".part");
        let context = || format!("{} cannot be written", path.display());
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.with_context(context)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("another process is fetching to {}", path.display());
                return Err(told(Exit::Again, message));
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        let checksum = expected.checksum.to_string();
        let mut part = Part {
            hasher: Hasher::new(expected.algorithm),
            description: Description { bytes: expected.len, checksum, etag: None },
            target: target.to_owned(),
            path: path.clone(),
            file,
            offset: 0,
            expected,
        };
        part.take_up().with_context(context)?;
        Ok(part)
    }

    /// Goes on with what is there if it is the beginning of the same file; otherwise begins anew.
    fn take_up(&mut self) -> io::Result<()> {
        let noted = std::fs::read(self.description_path()).ok();
        let noted: Option<Description> = noted.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let fits =
            noted.filter(|noted| noted.bytes == self.description.bytes && noted.checksum == self.description.checksum);
        let Some(noted) = fits.filter(|_| self.file.metadata().is_ok_and(|data| data.len() <= self.expected.len))
        else {
            return self.restart();
        };
        self.description = noted;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = self.file.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            self.hasher.update(buffer.get(..read).unwrap_or_default());
            self.offset += read as u64;
        }
    }

    /// Forgets what is there.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = Hasher::new(self.expected.algorithm);
        self.offset = 0;
        self.description.etag = None;
        self.note()
    }

    /// Notes by which tag the server knows the file, before any byte of that file is written.
    pub(crate) fn note_etag(&mut self, etag: Option<String>) -> io::Result<()> {
        if self.description.etag == etag {
            return Ok(());
        }
        self.description.etag = etag;
        self.note()
    }

    fn note(&self) -> io::Result<()> {
        let bytes = serde_json::to_vec(&self.description)?;
        publish::write_file(&self.description_path(), &bytes)
    }

    /// How many bytes are there.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The tag by which the server knew the file of which this is a part.
    pub(crate) fn etag(&self) -> Option<&str> {
        self.description.etag.as_deref()
    }

    /// How many bytes are missing.
    pub(crate) fn missing(&self) -> u64 {
        self.expected.len.saturating_sub(self.offset)
    }

    /// Appends bytes, which must not be more than are missing.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Whether all bytes are there and right.
    pub(crate) fn is_right(&self) -> bool {
        self.missing() == 0 && self.hasher.clone().finish() == self.expected.checksum
    }

    /// Gives the verified file its name. Blocks until it is on the disk.
    pub(crate) fn publish(self) -> anyhow::Result<()> {
        let target = self.target.display();
        self.file.sync_all().with_context(|| format!("{target} cannot be written"))?;
        match publish::rename_new(&self.path, &self.target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(told(Exit::Conflict, format!("{target} has been made by somebody else meanwhile")));
            }
            renamed => renamed.with_context(|| format!("{target} cannot be given its name"))?,
        }
        publish::remove_file(&self.description_path()).with_context(|| format!("{target}: clearing up"))
    }

    /// Removes a part that turned out wrong.
    pub(crate) fn discard(self) -> io::Result<()> {
        publish::remove_file(&self.path)?;
        publish::remove_file(&self.description_path())
    }

    fn description_path(&self) -> PathBuf {
        suffixed(&self.target, ".part.json")
    }
}

/// Whether a file is exactly what is expected. Blocks while it is read.
pub(crate) fn is_file(path: &Path, expected: &Expected) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != expected.len {
        return Ok(false);
    }
    let mut hasher = Hasher::new(expected.algorithm);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish() == expected.checksum),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(content: &[u8]) -> Expected {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(content);
        Expected { len: content.len() as u64, algorithm: Algorithm::Sha256, checksum: hasher.finish() }
    }

    #[test]
    fn a_part_is_taken_up_by_the_next_fetch_of_the_same_file_alone() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let target = directory.path().join("a.tar");
        let mut part = Part::open(&target, expected(b"hello world"))?;
        part.note_etag(Some("\"1\"".to_owned()))?;
        part.append(b"hello")?;
        let refused = Part::open(&target, expected(b"hello world")).err().expect("it is locked");
        assert_eq!(crate::cli::exit::exit_of(&refused), Exit::Again);
        drop(part);

        let mut part = Part::open(&target, expected(b"hello world"))?;
        assert_eq!((part.offset(), part.etag(), part.missing()), (5, Some("\"1\""), 6));
        part.append(b" world")?;
        assert!(part.is_right());
        drop(part);

        let mut part = Part::open(&target, expected(b"hello WORLD"))?;
        assert_eq!((part.offset(), part.etag()), (0, None));
        part.append(b"hello world")?;
        assert!(!part.is_right());
        drop(part);

        let part = Part::open(&target, expected(b"hello world"))?;
        part.discard()?;
        assert_eq!(std::fs::read_dir(directory.path())?.count(), 0);
        Ok(())
    }

    #[test]
    fn a_finished_part_gets_its_name_unless_it_is_taken() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let target = directory.path().join("a.tar");
        for taken in [false, true] {
            let mut part = Part::open(&target, expected(b"hello"))?;
            part.append(b"hello")?;
            let published = part.publish();
            assert_eq!(published.is_err(), taken);
            assert!(is_file(&target, &expected(b"hello"))?);
        }
        assert!(!is_file(&target, &expected(b"hallo"))?);
        Ok(())
    }
}
