//! Areas: the directories of a contract's own, in which it finds what was ordered into them, and leaves what is to be
//! ingested.
//!
//! ```text
//! <area.directory>/<contract>/outgoing/<identifier>.tar   what was delivered
//! <area.directory>/<contract>/incoming/                   what is handed in
//! <area.directory>/.staging/<order>-<fence>.part          what is not complete yet
//! <area.directory>/.incoming/<contract>/<submission>/     what was handed in and is worked on
//! ```
//!
//! The rules:
//!
//! - All of it is one file system, and all machines of an installation see the same.
//! - A file appears in `outgoing` by one rename, whole, verified and on disk. What is being written lies in `.staging`,
//!   which is part of no area.
//! - The name of a file there follows from the package and what was ordered of it. A new delivery under a name replaces the
//!   old one; one of an older version does not replace one of a newer version.
//! - Room is reserved before the first byte is written, under the lock on the contract, and so is a file placed or removed:
//!   what the catalogue says of an area holds for the directory.

pub(crate) mod placing;
pub mod sweep;

use std::io;
use std::path::{Path, PathBuf};

use dipper_archive::publish;

/// Where files lie that are not complete. No contract has such a name.
const STAGING: &str = ".staging";
/// Where files lie that were handed in while they are worked on. No contract has such a name.
const SHELVES: &str = ".incoming";

/// The areas of an installation. Nothing is created before it is needed.
#[derive(Clone, Debug)]
pub struct Areas {
    root: PathBuf,
}

/// The area of one contract.
#[derive(Clone, Debug)]
pub struct Area {
    directory: PathBuf,
}

impl Areas {
    pub(crate) fn new(root: PathBuf) -> Areas {
        Areas { root }
    }

    /// The directory that holds all areas.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where files lie that are not complete.
    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join(STAGING)
    }

    /// Where files lie that were handed in while they are worked on.
    pub(crate) fn shelves(&self) -> PathBuf {
        self.root.join(SHELVES)
    }

    /// Where a contract hands in, if the directory is there.
    pub(crate) fn incoming(&self, contract_id: &str) -> PathBuf {
        Area { directory: self.root.join(contract_id) }.incoming()
    }

    /// The area of a contract, whose directories are created if they are missing. Blocks.
    pub fn ensure(&self, contract_id: &str) -> io::Result<Area> {
        if !is_area_name(contract_id) {
            let message = format!("contract {contract_id:?} can have no area: its name cannot be that of a directory");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let area = Area { directory: self.root.join(contract_id) };
        for directory in [area.outgoing(), area.incoming()] {
            publish::create_closed_directories(&directory)?;
        }
        Ok(area)
    }
}

/// Whether a contract of that name can have an area: it is one part of a path, and not hidden.
pub fn is_area_name(contract_id: &str) -> bool {
    const LONGEST_BYTES: usize = 255;
    (1..=LONGEST_BYTES).contains(&contract_id.len())
        && !contract_id.starts_with('.')
        && !contract_id.contains('/')
        && !contract_id.contains(char::is_control)
}

impl Area {
    /// What was delivered. Its contract reads it, and changes nothing.
    pub fn outgoing(&self) -> PathBuf {
        self.directory.join("outgoing")
    }

    /// What the contract hands in.
    pub fn incoming(&self) -> PathBuf {
        self.directory.join("incoming")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_area_is_made_below_the_root_and_nowhere_else() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let areas = Areas::new(directory.path().join("data/areas"));
        for wrong in ["", ".", "..", STAGING, "../other", "a/b", "a\nb", &"a".repeat(256)] {
            let refused = areas.ensure(wrong).map(|_| ()).map_err(|error| error.kind());
            assert_eq!(refused, Err(io::ErrorKind::InvalidInput), "{wrong:?}");
        }
        assert!(!areas.root().exists());
        for _ in 0..2 {
            let area = areas.ensure("hbz@admin_1.x")?;
            assert_eq!(area.outgoing(), directory.path().join("data/areas/hbz@admin_1.x/outgoing"));
            for made in [area.outgoing(), area.incoming(), areas.root().to_owned()] {
                let mode = std::fs::metadata(&made)?.permissions().mode();
                assert_eq!(mode & 0o027, 0, "{} is open to others: {mode:o}", made.display());
            }
        }
        Ok(())
    }
}
