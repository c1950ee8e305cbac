//! The files that are being written now, and what is to become of their modes (see [`dipper_core::incoming`]).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dipper_core::incoming::{FINISHED, UNFINISHED};
use rustix::fs::{self, Mode, Stat};
use rustix::io::Result;

/// The same file under whatever name: device and inode.
type FileId = (u64, u64);

/// The files that some connection of this process has open for writing, with how many times it has.
#[derive(Debug, Default)]
pub(super) struct Uploads(Mutex<HashMap<FileId, usize>>);

impl Uploads {
    /// A file was opened for writing: it is unfinished from now on.
    pub(super) fn begin(&self, file: impl AsFd, stat: &Stat) -> Result<()> {
        let mut open = self.open();
        fs::fchmod(file, Mode::from_raw_mode(UNFINISHED))?;
        *open.entry(id(stat)).or_insert(0) += 1;
        Ok(())
    }

    /// It was closed by its client: it is finished, unless somebody else still writes to it. Its bytes are durable.
    pub(super) fn finish(&self, file: impl AsFd, stat: &Stat) -> Result<()> {
        let mut open = self.open();
        if leave(&mut open, stat) { fs::fchmod(file, Mode::from_raw_mode(FINISHED)) } else { Ok(()) }
    }

    /// Its connection was cut off: it stays unfinished.
    pub(super) fn abandon(&self, stat: &Stat) {
        leave(&mut self.open(), stat);
    }

    /// It was given the name that it is to have: it is finished, unless somebody writes to it.
    pub(super) fn renamed(&self, file: impl AsFd, stat: &Stat) -> Result<()> {
        let open = self.open();
        if open.contains_key(&id(stat)) { Ok(()) } else { fs::fchmod(file, Mode::from_raw_mode(FINISHED)) }
    }

    // The mode is set under the lock, so that what one connection finishes is not what another begins.
    fn open(&self) -> MutexGuard<'_, HashMap<FileId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nobody has the file open any more.
fn leave(open: &mut HashMap<FileId, usize>, stat: &Stat) -> bool {
    match open.entry(id(stat)) {
        Entry::Occupied(mut entry) if *entry.get() > 1 => {
            *entry.get_mut() -= 1;
            false
        }
        Entry::Occupied(entry) => {
            entry.remove();
            true
        }
        Entry::Vacant(_) => true,
    }
}

fn id(stat: &Stat) -> FileId {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dipper_core::incoming::is_finished;

    #[test]
    fn a_file_is_finished_when_the_last_writer_has_closed_it() -> std::io::Result<()> {
        let file = tempfile::tempfile()?;
        let stat = fs::fstat(&file)?;
        let uploads = Uploads::default();
        let finished = || file.metadata().map(|metadata| is_finished(&metadata));
        uploads.begin(&file, &stat)?;
        uploads.begin(&file, &stat)?;
        uploads.finish(&file, &stat)?;
        assert!(!finished()?);
        uploads.renamed(&file, &stat)?;
        assert!(!finished()?, "somebody writes to it");
        uploads.finish(&file, &stat)?;
        assert!(finished()?);
        uploads.begin(&file, &stat)?;
        assert!(!finished()?, "it was opened again");
        uploads.abandon(&stat);
        assert!(!finished()?, "its connection was cut off");
        uploads.renamed(&file, &stat)?;
        assert!(finished()?);
        Ok(())
    }
}
