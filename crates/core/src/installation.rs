//! One installation, opened: data directory, catalogue, storage root, key and settings, which everything else shares.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dipper_archive::bucket::{Bucket, BucketSettings, SettingsError};
use dipper_archive::ocfl::{self, StorageRoot, layout};
use dipper_archive::publish;
use dipper_archive::storage::{BucketStorage, LocalStorage, Metered, Storage};
use tokio::sync::Notify;

use crate::area::Areas;
use crate::audit::chain::Sealer;
use crate::data::{self, DataDirectory};
use crate::db::{self, Database, DatabaseError};
use crate::ids;
use crate::naming;
use crate::secret::{Key, SecretError};
use crate::settings::Settings;
use crate::store::DeliveryStore;
use crate::time::{Clock, Timestamp};
use crate::wake::Bells;

/// How often to look for work that nobody told of. A file tells nobody.
const POLL_ALONE: Duration = Duration::from_secs(1);
/// The same with a server that tells everybody.
const POLL_SHARED: Duration = Duration::from_secs(5);
/// The least wait for what was due already when it was last looked for.
const POLL_LEAST: Duration = Duration::from_millis(10);

/// Where an installation lies.
#[derive(Clone, Debug)]
pub struct Places {
    /// The data directory; made when it is missing.
    pub data: PathBuf,
    /// The catalogue, if it is not a file in the data directory.
    pub database: Option<db::Server>,
    /// The directory of the keys, if it is not inside the data directory.
    pub keys: Option<PathBuf>,
    /// The storage root, if it is not inside the data directory.
    pub archive: Option<PathBuf>,
    /// The bucket that holds the storage root, if it is not in a directory.
    pub archive_bucket: Option<BucketSettings>,
    /// The staging directory, if it is not inside the data directory.
    pub staging: Option<PathBuf>,
    /// The layout of a storage root that is created.
    pub layout: layout::Layout,
    /// The bucket that deliveries are put into, if they are not served from the archive.
    pub deliveries: Option<BucketSettings>,
    /// The directory of the areas, if it is not inside the data directory.
    pub areas: Option<PathBuf>,
}

impl Places {
    /// All of it in one data directory.
    pub fn new(data: &Path) -> Places {
        Places {
            data: data.to_owned(),
            database: None,
            keys: None,
            archive: None,
            archive_bucket: None,
            staging: None,
            layout: layout::Layout::default(),
            deliveries: None,
            areas: None,
        }
    }

    /// Where the catalogue is.
    pub fn catalogue(&self) -> db::Place {
        match &self.database {
            Some(server) => db::Place::Server(server.clone()),
            None => db::Place::File(data::database_of(&self.data)),
        }
    }

    /// The file of the key that encrypts what the catalogue keeps of secrets.
    pub fn key_file(&self) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| data::keys_of(&self.data)).join("master.key")
    }

    /// Whether there is an installation already: a mistyped directory holds none.
    pub fn hold_an_installation(&self) -> bool {
        match &self.database {
            // The catalogue is not enough: this machine may not have been given the keys yet.
            Some(_) => self.key_file().is_file(),
            None => data::database_of(&self.data).is_file(),
        }
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
    /// The bucket of the storage root cannot be used.
    #[error("the bucket of the storage root: {0}")]
    Bucket(#[source] SettingsError),
    /// The storage root cannot be used.
    #[error("the storage root {0}: {1}")]
    Archive(String, #[source] ocfl::Error),
    /// The catalogue cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The store of deliveries cannot be used.
    #[error("the store of deliveries: {0}")]
    Store(#[from] SettingsError),
    /// The key cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The catalogue was made with another key.
    #[error(
        "the catalogue belongs to another key than {0}: give every machine the same keys (keys.directory), or check \
         whether this is the right database"
    )]
    OtherKey(String),
    /// The catalogue was made with a key that this machine does not have.
    #[error(
        "the catalogue belongs to a key, and there is none at {0}: copy the keys of the installation's other machines \
         there (keys.directory), or restore them from a backup"
    )]
    KeyMissing(String),
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
    /// Stands for this staging directory in the catalogue, where it is noted who changes an object: its drafts and locks
    /// are seen by those alone who share it.
    pub(crate) holder: String,
    /// Encrypts what the catalogue keeps of secrets.
    pub key: Key,
    /// What time it is.
    pub clock: Clock,
    /// What was set.
    pub settings: Settings,
    /// The bucket that deliveries are put into, if they are not served from the archive.
    pub store: Option<DeliveryStore>,
    /// The directories of the contracts' own.
    pub areas: Areas,
    /// Wake workers and notifiers, here and in other processes.
    pub(crate) bells: Bells,
    sweep_due: Notify,
    area_sweep_due: Notify,
    /// How many orders this process is reading packages for.
    preparing: Arc<AtomicUsize>,
}

/// An order is being prepared, until this is dropped.
#[derive(Debug)]
pub(crate) struct Preparing(Arc<AtomicUsize>);

impl Drop for Preparing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
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
        // Paths inside the data directory are those of its real place from here on.
        let places = Places { data: data.root().to_owned(), ..places };
        let database = Database::open(&places.catalogue()).await?;
        let key = open_key(&database, &places.key_file()).await?;
        let database = database.sealing(Sealer::new(key.audit_key()));
        let store = places.deliveries.clone().map(DeliveryStore::open).transpose()?;
        let areas = Areas::new(places.areas.clone().unwrap_or_else(|| data.areas()));
        naming::name_older(&database, &settings.node).await?;
        let runtime = tokio::runtime::Handle::current();
        let opening = tokio::task::spawn_blocking(move || {
            let archive = open_archive(&data, &places, runtime)?;
            let staging = archive.staging();
            let holder =
                holder(staging).map_err(|error| InstallationError::Directory(staging.display().to_string(), error))?;
            Ok::<_, InstallationError>((data, archive, holder))
        });
        let failed = |error| InstallationError::Directory("the storage root".to_owned(), io::Error::other(error));
        let (data, archive, holder) = opening.await.map_err(failed)??;
        drop(lock);
        clock.follow(&database).await?;
        Ok(Installation {
            data,
            database,
            archive: Arc::new(archive),
            holder,
            key,
            clock,
            settings,
            store,
            areas,
            bells: Bells::default(),
            sweep_due: Notify::new(),
            area_sweep_due: Notify::new(),
            preparing: Arc::default(),
        })
    }

    /// Tells the workers that a step may be ready: those of this process at once, others soon, where the database can
    /// tell them. To be called after the commit that made it ready.
    pub fn wake_workers(&self) {
        self.bells.steps.ring();
    }

    /// Tells a further worker of this process alone that a step may be ready.
    pub(crate) fn wake_own_worker(&self) {
        self.bells.steps.ring_here();
    }

    /// Tells the notifiers and mailers that a notice or an e-mail may be due: those of this process at once, others soon,
    /// where the database can tell them. To be called after the commit that made it due.
    pub fn wake_notifier(&self) {
        self.bells.notices.ring();
        self.bells.mails.ring();
    }

    /// Tells whoever picks up submissions that a file in an incoming directory may be complete: in this process at once, in
    /// others soon, where the database can tell them.
    pub fn wake_incoming(&self) {
        self.bells.incoming.ring();
    }

    /// Tells whoever reads packages again that one is to be read now: in this process at once, in others soon, where the
    /// database can tell them.
    pub fn wake_scrubber(&self) {
        self.bells.checks.ring();
    }

    /// Waits until a package is to be read at once, but not longer than that.
    pub(crate) async fn check_asked_for(&self, longest: Duration) {
        self.bells.checks.wait(longest).await;
    }

    /// Tells the sweepers of this process that something may be cleared away.
    pub fn wake_sweeper(&self) {
        self.sweep_due.notify_one();
        self.area_sweep_due.notify_one();
    }

    /// Has what is less urgent give way until what this returns is dropped.
    pub(crate) fn preparing(&self) -> Preparing {
        self.preparing.fetch_add(1, Ordering::Relaxed);
        Preparing(Arc::clone(&self.preparing))
    }

    /// Whether this process is reading packages for orders.
    pub(crate) fn prepares_orders(&self) -> bool {
        self.preparing.load(Ordering::Relaxed) > 0
    }

    pub(crate) async fn area_sweep_due(&self) {
        self.area_sweep_due.notified().await;
    }

    pub(crate) async fn sweep_due(&self) {
        self.sweep_due.notified().await;
    }

    /// Waits until a step may be ready: somebody rang, the time has come at which one that waits is due, or it is time
    /// to look whether nobody rang who should have.
    pub(crate) async fn steps_ready(&self) {
        let due = db::steps::next_due(&self.database).await;
        self.bells.steps.wait(self.patience(due)).await;
    }

    /// Waits until a notice may be due.
    pub(crate) async fn notices_due(&self) {
        let due = db::notices::next_due(&self.database).await;
        self.bells.notices.wait(self.patience(due)).await;
    }

    /// Waits until a submission may be complete, or may be tried again, but not longer than that.
    pub(crate) async fn incoming_due(&self, longest: Duration) {
        let due = db::submissions::next_due(&self.database).await;
        self.bells.incoming.wait(self.patience(due).min(longest)).await;
    }

    /// Waits until an e-mail may be due.
    pub(crate) async fn mails_due(&self) {
        let due = db::mails::next_due(&self.database).await;
        self.bells.mails.wait(self.patience(due)).await;
    }

    /// How long to wait for something that is due then, as far as is known.
    fn patience(&self, due: Result<Option<Timestamp>, DatabaseError>) -> Duration {
        let poll = self.settings.poll.unwrap_or(if self.database.is_shared() { POLL_SHARED } else { POLL_ALONE });
        match due {
            Ok(Some(due)) => due.since(self.clock.now()).clamp(POLL_LEAST, poll),
            // Without an answer now there may be one then.
            Ok(None) | Err(_) => poll,
        }
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

/// The key that the catalogue belongs to. One that has none yet gets a new one, or the one that is there.
async fn open_key(database: &Database, path: &Path) -> Result<Key, InstallationError> {
    let name = || path.display().to_string();
    let is_new = !path.exists();
    if is_new && db::installation::key_fingerprint(database).await?.is_some() {
        return Err(InstallationError::KeyMissing(name()));
    }
    if let Some(directory) = path.parent() {
        publish::create_directories(directory)
            .map_err(|error| InstallationError::Directory(directory.display().to_string(), error))?;
    }
    let key = Key::load_or_create(path)?;
    if db::installation::key_fingerprint_note(database, key.fingerprint()).await? == key.fingerprint() {
        return Ok(key);
    }
    if is_new {
        // Another machine began at the same moment and was faster. Nothing was encrypted with this one.
        publish::remove_file(path).map_err(|error| InstallationError::Directory(name(), error))?;
        return Err(InstallationError::KeyMissing(name()));
    }
    Err(InstallationError::OtherKey(name()))
}

fn open_archive(
    data: &DataDirectory,
    places: &Places,
    runtime: tokio::runtime::Handle,
) -> Result<StorageRoot, InstallationError> {
    let staging = places.staging.clone().unwrap_or_else(|| data.staging());
    let make = |directory: &Path| {
        publish::create_directories(directory)
            .map_err(|error| InstallationError::Directory(directory.display().to_string(), error))
    };
    make(&staging)?;
    let (name, storage): (_, Arc<dyn Storage>) = match &places.archive_bucket {
        Some(settings) => {
            let bucket = Bucket::open(settings.clone(), runtime).map_err(InstallationError::Bucket)?;
            (bucket.place(""), Arc::new(Metered::new(BucketStorage::new(bucket), "bucket")))
        }
        None => {
            let root = places.archive.clone().unwrap_or_else(|| data.archive());
            make(&root)?;
            same_file_system(&root, &staging)?;
            let name = root.display().to_string();
            let storage =
                LocalStorage::open(&root).map_err(|error| InstallationError::Directory(name.clone(), error))?;
            (name, Arc::new(Metered::new(storage, "local")))
        }
    };
    let opened = match StorageRoot::open(Arc::clone(&storage), &staging) {
        Err(ocfl::Error::NotARoot) => StorageRoot::create(storage, &staging, places.layout.clone()),
        opened => opened,
    };
    opened.map_err(|error| InstallationError::Archive(name, error))
}

/// The name of this machine, for people who look for it.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The name of a staging directory: that of the machine, for people, and a number that no other has.
fn holder(staging: &Path) -> io::Result<String> {
    let path = staging.join("holder");
    let read = || std::fs::read_to_string(&path);
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = publish::write_new_file(&path, format!("{}:{}", host_name(), ids::new_id()).as_bytes());
            // Another process may have been faster.
            made.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })?;
            read()
        }
        found => found,
    }
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
