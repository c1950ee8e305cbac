//! The data directory: where one installation keeps its catalogue, its keys and, by default, its storage root.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use dipper_archive::publish;

/// The database file of a data directory, whether there is one or not.
pub(crate) fn database_of(root: &Path) -> PathBuf {
    root.join("dipper.db")
}

/// The keys of a data directory.
pub(crate) fn keys_of(root: &Path) -> PathBuf {
    root.join("keys")
}

/// The places inside a data directory.
#[derive(Clone, Debug)]
pub struct DataDirectory {
    root: PathBuf,
}

impl DataDirectory {
    /// Opens the directory, and creates it for its owner alone if it is missing.
    pub fn open(root: &Path) -> io::Result<DataDirectory> {
        if !root.is_dir() {
            if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                publish::create_directories(parent)?;
            }
            match std::fs::DirBuilder::new().mode(0o700).create(root) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        // Other programs are started with other working directories.
        let data = DataDirectory { root: root.canonicalize()? };
        publish::create_directories(&data.staging())?;
        publish::create_directories(&data.keys())?;
        Ok(data)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        database_of(&self.root)
    }

    /// The storage root, unless the configuration names another.
    pub fn archive(&self) -> PathBuf {
        self.root.join("archive")
    }

    /// Where versions are put together before they are published; on the storage root's file system.
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// The areas of contracts, unless the configuration names another place.
    pub fn areas(&self) -> PathBuf {
        self.root.join("areas")
    }

    /// Keys, for the owner alone.
    pub fn keys(&self) -> PathBuf {
        keys_of(&self.root)
    }

    /// The configuration that belongs to this installation, if the operator put one there.
    pub fn configuration(&self) -> PathBuf {
        self.root.join("dipper.toml")
    }

    /// Waits for the lock under which the directory is set up, so that two programs that start on an empty one at
    /// the same time do not both make keys and tables. It is given up when the file is dropped.
    pub fn lock_setup(&self) -> io::Result<File> {
        let path = self.root.join("setup.lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        file.lock()?;
        Ok(file)
    }
}
