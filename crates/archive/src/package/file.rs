//! A prepared package as a local file, which appears under its name only when everything in it was verified.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::layout::Layout;
use super::prepare::{Control, Options, PrepareError, Prepared, prepare};
use crate::publish;
use crate::storage::Storage;

/// Why a package was not written to a file. Nothing lies under its name then.
#[derive(Debug, thiserror::Error)]
pub enum WriteFileError {
    /// There is something under that name already.
    #[error("{path:?} exists already; remove it or choose another name")]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The package is not as it should be, or could not be read or written.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The file could not be made or given its name.
    #[error("{path:?} could not be written: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

/// Prepares a package into the file `path`, which must not exist yet.
///
/// It is written beside that name as `.NAME.part`, synced and renamed. What a crash left there is replaced.
pub fn write_file(
    layout: &Layout,
    storage: &dyn Storage,
    options: &Options,
    control: Control<'_>,
    path: &Path,
) -> Result<Prepared, WriteFileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => WriteFileError::Exists { path: path.to_owned() },
        _ => WriteFileError::Io { path: path.to_owned(), source },
    };
    if std::fs::symlink_metadata(path).is_ok() {
        return Err(WriteFileError::Exists { path: path.to_owned() });
    }
    let staged = staged_name(path).map_err(failed)?;
    publish::remove_file(&staged).map_err(failed)?;
    let mut file = publish::create_new(&staged).map_err(failed)?;
    let written = prepare(layout, storage, options, control, Some(&mut |bytes| file.write_all(bytes)))
        .map_err(WriteFileError::from)
        .and_then(|prepared| {
            file.sync_all().and_then(|()| publish::rename_new(&staged, path)).map_err(failed)?;
            Ok(prepared)
        });
    if written.is_err() {
        // The first error is the one worth telling.
        let _ = publish::remove_file(&staged);
    }
    written
}

fn staged_name(path: &Path) -> io::Result<PathBuf> {
    let mut staged = std::ffi::OsString::from(".");
    staged.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    staged.push(".part");
    Ok(path.with_file_name(staged))
}
