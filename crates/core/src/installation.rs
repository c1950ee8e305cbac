//! One installation, opened: data directory, catalogue, storage root, key and settings, which everything else shares.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dipper_archive::ocfl::{self, StorageRoot, layout};
use dipper_archive::publish;
use dipper_archive::storage::{LocalStorage, Storage};
use tokio::sync::Notify;

use crate::data::DataDirectory;
use crate::db::{Database, DatabaseError};
use crate::secret::{Key, SecretError};
use crate::settings::Settings;
use crate::time::Clock;

/// Where an installation lies.
#[derive(Clone, Debug)]
pub struct Places {
    /// The data directory; made when it is missing.
    pub data: PathBuf,
    /// The storage root, if it is not inside the data directory.
    pub archive: Option<PathBuf>,
    /// The staging directory, if it is not inside the data directory.
    pub staging: Option<PathBuf>,
    /// The layout of a storage root that is created.
    pub layout: layout::Layout,
}

impl Places {
    /// All of it in one data directory.
    pub fn new(data: &Path) -> Places {
        Places { data: data.to_owned(), archive: None, staging: None, layout: layout::Layout::default() }
    }
}

/// Why an installation cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    /// A directory cannot be used.
    #[error("{0}: {1}")]
    Directory(String, #[source] io::Error),
    /// Staging is on another file system than the storage root, so nothing could be moved into place at once.
    #[error("{staging} is not on the file system of the storage root {archive}: set archive.staging")]
    OtherFileSystem {
        /// The staging directory.
        staging: String,
        /// The storage root.
        archive: String,
    },
    /// The storage root cannot be used.
    #[error("the storage root {0}: {1}")]
    Archive(String, #[source] ocfl::Error),
    /// The catalogue cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The key cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// One installation.
#[derive(Debug)]
pub struct Installation {
    /// Where its files lie.
    pub data: DataDirectory,
    /// The catalogue.
    pub database: Database,
    /// The storage root.
    pub archive: Arc<StorageRoot>,
    /// Encrypts what the catalogue keeps of secrets.
    pub key: Key,
    /// What time it is.
    pub clock: Clock,
    /// What was set.
    pub settings: Settings,
    steps_ready: Notify,
    notices_due: Notify,
}

impl Installation {
    /// Opens an installation, and creates what is missing of it.
    pub async fn open(places: Places, settings: Settings, clock: Clock) -> Result<Installation, InstallationError> {
        let at = |path: &Path| {
            let path = path.display().to_string();
            move |error| InstallationError::Directory(path, error)
        };
        let data = DataDirectory::open(&places.data).map_err(at(&places.data))?;
        let (lock, data) = tokio::task::spawn_blocking(move || (data.lock_setup(), data))
            .await
            .map_err(|error| at(&places.data)(io::Error::other(error)))?;
        let lock = lock.map_err(at(&places.data))?;
        let key = Key::load_or_create(&data.keys().join("master.key"))?;
        let archive = open_archive(&data, &places)?;
        let database = Database::open(&data.database()).await?;
        drop(lock);
        Ok(Installation {
            data,
            database,
            archive: Arc::new(archive),
            key,
            clock,
            settings,
            steps_ready: Notify::new(),
            notices_due: Notify::new(),
        })
    }

    /// Tells the workers of this process that a step may be ready. Other processes find it by polling.
    pub fn wake_workers(&self) {
        self.steps_ready.notify_one();
    }

    /// Tells the notifier of this process that a notice may be due.
    pub fn wake_notifier(&self) {
        self.notices_due.notify_one();
    }

    pub(crate) async fn steps_ready(&self) {
        self.steps_ready.notified().await;
    }

    pub(crate) async fn notices_due(&self) {
        self.notices_due.notified().await;
    }

    /// Whether the database and the storage root answer; the text says what does not.
    pub async fn check(&self) -> Result<(), String> {
        self.database.check().await.map_err(|error| error.to_string())?;
        let storage = Arc::clone(self.archive.storage());
        let declaration = self.archive.spec().root_declaration();
        let listed = tokio::task::spawn_blocking(move || storage.entry(declaration).map(|entry| entry.is_some()));
        match listed.await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err("the storage root has lost its declaration".to_owned()),
            Ok(Err(error)) => Err(format!("the storage root does not answer: {error}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn open_archive(data: &DataDirectory, places: &Places) -> Result<StorageRoot, InstallationError> {
    let root = places.archive.clone().unwrap_or_else(|| data.archive());
    let staging = places.staging.clone().unwrap_or_else(|| data.staging());
    for directory in [&root, &staging] {
        publish::create_directories(directory)
            .map_err(|error| InstallationError::Directory(directory.display().to_string(), error))?;
    }
    same_file_system(&root, &staging)?;
    let name = root.display().to_string();
    let storage: Arc<dyn Storage> =
        Arc::new(LocalStorage::open(&root).map_err(|error| InstallationError::Directory(name.clone(), error))?);
    let opened = match StorageRoot::open(Arc::clone(&storage), &staging) {
        Err(ocfl::Error::NotARoot) => StorageRoot::create(storage, &staging, places.layout.clone()),
        opened => opened,
    };
    opened.map_err(|error| InstallationError::Archive(name, error))
}

fn same_file_system(archive: &Path, staging: &Path) -> Result<(), InstallationError> {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| {
        std::fs::metadata(path)
            .map(|metadata| metadata.dev())
            .map_err(|error| InstallationError::Directory(path.display().to_string(), error))
    };
    if device(archive)? == device(staging)? {
        return Ok(());
    }
    Err(InstallationError::OtherFileSystem {
        staging: staging.display().to_string(),
        archive: archive.display().to_string(),
    })
}
