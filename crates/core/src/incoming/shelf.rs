//! The shelf: where a submission lies while it is worked on, out of reach of its sender and on the same file system, so
//! that it is moved and never copied.
//!
//! Each has a directory of its own that is named after it, `<areas>/.incoming/<contract>/<submission>/`, with the file under
//! its own name in it; what is to be told of it lies beside that directory until it is put where its sender finds it. Every
//! move can be repeated. Everything here blocks.

use std::io;
use std::path::{Path, PathBuf};

use dipper_archive::publish;
use tracing::{info, warn};

use super::{is_finished, report, scan};
use crate::area::Areas;
use crate::db::submissions::{FileStamp, Submission};

/// Where one submission comes from, and where it lies while it is worked on.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    incoming: PathBuf,
    path: String,
    directory: PathBuf,
    name: String,
}

impl Shelf {
    pub(super) fn new(areas: &Areas, submission: &Submission) -> Shelf {
        Shelf {
            incoming: areas.incoming(&submission.contract_id),
            path: submission.path.clone(),
            directory: areas.shelves().join(&submission.contract_id).join(&submission.id),
            name: submission.name.clone(),
        }
    }

    /// The file, while it is here.
    pub(super) fn file(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// Whether the file is here.
    pub(super) fn holds(&self) -> bool {
        self.file().symlink_metadata().is_ok()
    }

    /// Takes the file, if it is still the one that was seen; otherwise it stays with its sender.
    pub(super) fn take(&self, seen: FileStamp) -> io::Result<bool> {
        publish::create_closed_directories(&self.directory)?;
        match publish::rename_new(&self.incoming.join(&self.path), &self.file()) {
            Err(error) if is_gone(&error) => {
                publish::remove_tree(&self.directory)?;
                return Ok(false);
            }
            moved => moved?,
        }
        let metadata = self.file().symlink_metadata()?;
        if is_finished(&metadata) && scan::stamp(&metadata) == seen {
            return Ok(true);
        }
        self.put_back()?;
        Ok(false)
    }

    /// Keeps what is to be told of the file until it goes back.
    pub(super) fn keep_report(&self, text: &str) -> io::Result<()> {
        publish::write_file(&self.kept_report(), text.as_bytes())
    }

    /// Gives the file back to its sender, with the report that was kept; how it is then, unless the sender has put another
    /// one under its name meanwhile.
    pub(super) fn give_back(&self) -> io::Result<Option<FileStamp>> {
        if self.kept_report().is_file() {
            self.make_way()?;
            publish::replace(&self.kept_report(), &self.report())?;
        }
        let put_back = if self.holds() { self.put_back()? } else { true };
        match self.incoming.join(&self.path).symlink_metadata() {
            Ok(metadata) if put_back => Ok(Some(scan::stamp(&metadata))),
            _ => Ok(None),
        }
    }

    /// Removes the file, and what was said of earlier ones under its name.
    pub(super) fn clear(&self) -> io::Result<()> {
        publish::remove_tree(&self.directory)?;
        publish::remove_file(&self.kept_report())?;
        match publish::remove_file(&self.report()) {
            // Its directory may be gone.
            Err(error) if is_gone(&error) => Ok(()),
            removed => removed,
        }
    }

    /// `false` when another file has taken its place: that is what its sender wants to hand in.
    fn put_back(&self) -> io::Result<bool> {
        self.make_way()?;
        let moved = publish::rename_new(&self.file(), &self.incoming.join(&self.path));
        let put_back = match moved {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                info!(path = %self.path, "a file that was sent again under its name is dropped");
                false
            }
            moved => moved.map(|()| true)?,
        };
        publish::remove_tree(&self.directory)?;
        Ok(put_back)
    }

    /// Its directory may have been removed when it became empty.
    fn make_way(&self) -> io::Result<()> {
        let path = self.incoming.join(&self.path);
        path.parent().map_or(Ok(()), publish::create_closed_directories)
    }

    fn kept_report(&self) -> PathBuf {
        self.directory.with_extension("report")
    }

    fn report(&self) -> PathBuf {
        self.incoming.join(report::beside(&self.path))
    }
}

/// Puts files back that lie here although the catalogue knows nothing of them, as after a catalogue was restored that is
/// older than they are.
pub(super) fn put_back_strays(areas: &Areas, known: impl Fn(&str) -> bool) -> io::Result<()> {
    for contract in names_in(&areas.shelves())? {
        let shelves = areas.shelves().join(&contract);
        for id in names_in(&shelves)?.into_iter().filter(|id| !known(id)) {
            let directory = shelves.join(&id);
            for name in if directory.is_dir() { names_in(&directory)? } else { Vec::new() } {
                warn!(%contract, %name, "a file that nobody remembers goes back to where it was handed in");
                let to = areas.incoming(&contract).join(&name);
                match publish::rename_new(&directory.join(&name), &to) {
                    Err(error) => warn!(%error, from = %directory.display(), "it could not be put back"),
                    Ok(()) => publish::remove_tree(&directory)?,
                }
            }
        }
    }
    Ok(())
}

fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(Result::transpose).collect()
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
