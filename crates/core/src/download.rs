//! Fetching: a delivered file, computed again from the archive and verified piece by piece before a byte leaves.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dipper_archive::digest::{Algorithm, Digest};
use dipper_archive::package::{
    Checkpoints, Content, Form, Layout, PrepareError, ReadError, SourceError, VerifiedReader, prove,
};
use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::assembly::{Assembly, AssemblyError, LAYOUT_FORMAT, Scope};
use crate::db::orders::Order;
use crate::db::packages::{Package, PackageState};
use crate::db::restores::RestoreFile;
use crate::db::{DatabaseError, deliveries, orders, packages};
use crate::fixity;
use crate::installation::Installation;
use crate::trace;

/// How long a link into the store works that a client is led on to: it is followed at once.
const REDIRECT_LIFETIME: Duration = Duration::from_secs(3600);
/// Pieces that wait for a slow client; each is as long as the distance of checkpoints.
const PIECES_AHEAD: usize = 1;
/// How many files the layouts in the cache may hold together: about 60 MiB.
const CACHED_FILES: usize = 200_000;
/// How many layouts the cache holds at the most.
const CACHED_LAYOUTS: usize = 256;

/// Why a link leads to nothing.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Dipper did not make this link.
    #[error("the link's signature is not genuine: use the link exactly as it was given")]
    Forged,
    /// The link was good once.
    #[error("the link has expired: ask for new download links")]
    Expired,
    /// The delivery was released, its package is not preserved any more, or the rules have changed since.
    #[error("what the link led to is not kept any more: {0}")]
    Gone(String),
    /// The content lies in an archive class again, since the time for which it was recalled is over.
    #[error("the package lies in cold storage again: order it again, and new links are made once it was brought back")]
    Archived,
    /// The stored bytes are not what they should be. Nothing of them is handed out.
    #[error("stored content is damaged; the archive has been told")]
    Damaged,
    /// The package cannot be read now. For the log.
    #[error("the package cannot be read: {0}")]
    Archive(#[from] AssemblyError),
    /// No link into the store of deliveries can be made now. For the log.
    #[error("the store of deliveries: {0}")]
    Store(#[source] io::Error),
    /// The database failed. For the log.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// What a link leads to.
#[derive(Clone, Debug)]
pub enum Fetch {
    /// A file that is computed from the archive.
    Computed(Download),
    /// A file that lies in the store of deliveries.
    Stored {
        /// The name under which it is saved.
        filename: String,
        /// A link into the store.
        link: String,
    },
}

/// Opens deliveries, and remembers what it takes to read the ones in use.
#[derive(Clone, Debug)]
pub(crate) struct Downloads {
    installation: Arc<Installation>,
    cache: Arc<Mutex<Cache>>,
}

/// What was used last comes first. A file is known by its delivery and number.
type Cache = VecDeque<((String, u32), Opened)>;

#[derive(Clone, Debug)]
struct Opened {
    layout: Arc<Layout>,
    checkpoints: Arc<Checkpoints>,
}

/// A delivered file that is open for reading.
#[derive(Clone, Debug)]
pub struct Download {
    /// The name under which it is saved.
    pub filename: String,
    /// Its length in bytes.
    pub len: u64,
    /// The algorithm of its checksum.
    pub algorithm: Algorithm,
    /// The checksum over all its bytes.
    pub checksum: Digest,
    package_id: String,
    /// The object root inside the storage root.
    root: String,
    order_id: String,
    opened: Opened,
    installation: Arc<Installation>,
}

impl Downloads {
    pub(crate) fn new(installation: Arc<Installation>) -> Downloads {
        Downloads { installation, cache: Arc::default() }
    }

    pub(crate) async fn open(&self, delivery_id: &str, number: u32) -> Result<Fetch, DownloadError> {
        let gone = |reason: &str| DownloadError::Gone(reason.to_owned());
        let database = &self.installation.database;
        let delivery = deliveries::get(database, delivery_id).await?.ok_or_else(|| gone("it was removed"))?;
        if delivery.released.is_some() {
            return Err(gone("its client gave it back"));
        }
        if self.installation.clock.now() >= delivery.kept_until {
            return Err(gone("its time is over"));
        }
        let file = delivery.files.iter().find(|file| file.number == number).ok_or_else(|| gone("it was removed"))?;
        // What lies in another store than today's is computed again, which gives the same bytes.
        if let Some(store) = &self.installation.store
            && let Some(key) = store.key_of(&delivery, file)
        {
            let now = self.installation.clock.now();
            let expires = now.plus(REDIRECT_LIFETIME).min(delivery.kept_until);
            let link = store.link(expires, now, key, &file.filename).await.map_err(DownloadError::Store)?;
            return Ok(Fetch::Stored { filename: file.filename.clone(), link });
        }
        if file.layout_format != LAYOUT_FORMAT {
            return Err(gone("it was prepared by another version of this program; order the package again"));
        }
        let order = orders::get(database, &delivery.order_id).await?.ok_or_else(|| gone("it was removed"))?;
        let package = packages::get(database, &order.package_id).await?.ok_or_else(|| gone("it was removed"))?;
        if package.state != PackageState::Preserved {
            return Err(gone(&format!("the package is {}", package.state)));
        }
        let opened = self.opened(&package, &order, &file.part, delivery_id, number).await?;
        Ok(Fetch::Computed(Download {
            filename: file.filename.clone(),
            len: file.size_bytes,
            algorithm: file.algorithm,
            checksum: file.checksum,
            package_id: package.id,
            root: package.location,
            order_id: order.id,
            opened,
            installation: Arc::clone(&self.installation),
        }))
    }

    /// A file of a restore, which is computed from the archive as all others are.
    pub(crate) fn single(
        &self,
        restore_id: &str,
        file: &RestoreFile,
        checkpoints: Option<Vec<u8>>,
    ) -> Result<Download, DownloadError> {
        let key = (restore_id.to_owned(), file.number);
        let opened = match self.cached(&key) {
            Some(opened) => opened,
            None => {
                let opened = open_single(file, checkpoints)?;
                self.remember(key, opened.clone());
                opened
            }
        };
        let filename = file.path.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Download {
            filename,
            len: file.size_bytes,
            algorithm: file.algorithm,
            checksum: file.digest,
            package_id: file.package_id.clone(),
            root: file.root.clone(),
            order_id: restore_id.to_owned(),
            opened,
            installation: Arc::clone(&self.installation),
        })
    }

    /// A stored file by itself. What makes ranges of it verifiable comes from reading it whole, once as long as it is in the
    /// cache.
    pub(crate) async fn stored(&self, package: &Package, content: Content) -> Result<Download, DownloadError> {
        let key = (format!("{}/{}", package.id, content.digest), 0);
        let opened = match self.cached(&key) {
            Some(opened) => opened,
            None => {
                let (installation, package, content) = (self.installation.clone(), package.clone(), content.clone());
                let runtime = tokio::runtime::Handle::current();
                let proving = move || {
                    let checkpoints = match proven(&installation, &package, &content) {
                        Err((DownloadError::Damaged, reason)) => {
                            let recording = fixity::damage_record(&installation, &package.id, &reason);
                            return runtime.block_on(recording).map_err(Into::into).and(Err(DownloadError::Damaged));
                        }
                        proven => proven.map_err(|(error, _)| error)?,
                    };
                    let layout = Layout::new("", Form::Single, vec![content], 0).map_err(AssemblyError::from)?;
                    Ok(Opened { layout: Arc::new(layout), checkpoints: Arc::new(checkpoints) })
                };
                let proved = tokio::task::spawn_blocking(proving).await;
                let opened = proved.map_err(|error| DownloadError::Store(io::Error::other(error)))??;
                self.remember(key, opened.clone());
                opened
            }
        };
        Ok(Download {
            filename: content.logical_path.rsplit('/').next().unwrap_or_default().to_owned(),
            len: content.size,
            algorithm: content.algorithm,
            checksum: content.digest,
            package_id: package.id.clone(),
            root: package.location.clone(),
            order_id: package.id.clone(),
            opened,
            installation: Arc::clone(&self.installation),
        })
    }

    async fn opened(
        &self,
        package: &Package,
        order: &Order,
        part: &str,
        delivery_id: &str,
        number: u32,
    ) -> Result<Opened, DownloadError> {
        let key = (delivery_id.to_owned(), number);
        if let Some(opened) = self.cached(&key) {
            return Ok(opened);
        }
        let broken = |message: String| DatabaseError::Value { column: "checkpoints".to_owned(), message };
        let bytes = deliveries::checkpoints(&self.installation.database, delivery_id, number).await?;
        let checkpoints = Checkpoints::from_bytes(&bytes.unwrap_or_default())
            .map_err(|error| DownloadError::Database(broken(error.to_string())))?;
        let scope = Scope::of(&self.installation.database, order).await?;
        let (archive, package, part) = (Arc::clone(&self.installation.archive), package.clone(), part.to_owned());
        let lay_out = move || Assembly::open(&archive, &package, &scope)?.layout(&part);
        let laid_out = tokio::task::spawn_blocking(lay_out).await;
        let layout = match laid_out.map_err(|error| DownloadError::Database(broken(error.to_string())))? {
            Err(AssemblyError::Archive(error)) if error.is_archived() => return Err(DownloadError::Archived),
            laid_out => laid_out?,
        };
        let opened = Opened { layout: Arc::new(layout), checkpoints: Arc::new(checkpoints) };
        self.remember(key, opened.clone());
        Ok(opened)
    }

    fn cached(&self, key: &(String, u32)) -> Option<Opened> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let position = cache.iter().position(|(cached, _)| cached == key)?;
        let entry = cache.remove(position)?;
        let opened = entry.1.clone();
        cache.push_front(entry);
        Some(opened)
    }

    /// Keeps what was used last; the newest entry stays even if it alone is more than the cache should hold.
    fn remember(&self, key: (String, u32), opened: Opened) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.push_front((key, opened));
        let mut files = 0;
        let mut kept = 0;
        for (_, opened) in cache.iter() {
            files += opened.layout.contents().len();
            if kept > 0 && (files > CACHED_FILES || kept == CACHED_LAYOUTS) {
                break;
            }
            kept += 1;
        }
        cache.truncate(kept);
    }
}

/// The checkpoints of a stored file, from reading it unless it is small. Damage is looked at twice before it is believed, and
/// comes with what is wrong.
fn proven(
    installation: &Installation,
    package: &Package,
    content: &Content,
) -> Result<Checkpoints, (DownloadError, String)> {
    if let Some(small) = Checkpoints::of_small(content.algorithm, content.digest, content.size) {
        return Ok(small);
    }
    let storage = installation.archive.storage().as_ref();
    let look = || prove(content, storage, &[], &|| false, &|_| {});
    let failure = match look().or_else(|_| look()) {
        Ok(proven) => return Ok(proven.checkpoints),
        Err(failure) => failure,
    };
    let reason = failure.to_string();
    let error = match failure {
        failure if failure.is_archived() => DownloadError::Archived,
        PrepareError::Fixity { .. } => DownloadError::Damaged,
        PrepareError::Source(SourceError::Io { .. }) => DownloadError::Store(io::Error::other(reason.clone())),
        PrepareError::Source(_) => {
            let content_path = content.location.strip_prefix(&package.location).and_then(|rest| rest.strip_prefix('/'));
            match content_path.is_some_and(|path| fixity::was_deleted(&installation.archive, &package.location, path)) {
                true => DownloadError::Gone("it was deleted from the archive".to_owned()),
                false => DownloadError::Damaged,
            }
        }
        _ => DownloadError::Store(io::Error::other(reason.clone())),
    };
    Err((error, reason))
}

fn open_single(file: &RestoreFile, checkpoints: Option<Vec<u8>>) -> Result<Opened, DownloadError> {
    let broken =
        |message: String| DownloadError::Database(DatabaseError::Value { column: "checkpoints".to_owned(), message });
    let checkpoints = match checkpoints {
        Some(bytes) => Checkpoints::from_bytes(&bytes).map_err(|error| broken(error.to_string()))?,
        None => Checkpoints::of_small(file.algorithm, file.digest, file.size_bytes)
            .ok_or_else(|| broken("there are none".to_owned()))?,
    };
    let layout = Layout::new("", Form::Single, vec![file.content()], 0).map_err(AssemblyError::from)?;
    Ok(Opened { layout: Arc::new(layout), checkpoints: Arc::new(checkpoints) })
}

/// The pieces of a range, one after the other.
#[derive(Debug)]
pub struct Pieces {
    first: Option<Result<Bytes, ReadError>>,
    others: mpsc::Receiver<Result<Bytes, ReadError>>,
}

impl Pieces {
    /// The next piece; nothing after the last one, and after an error.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReadError>> {
        match self.first.take() {
            Some(first) => Some(first),
            None => self.others.recv().await,
        }
    }
}

impl Download {
    /// As [`Download::stream`], but content that cannot be read because it lies in an archive class is told here, before
    /// an answer begins.
    pub async fn begin(&self, range: Range<u64>) -> Result<Pieces, DownloadError> {
        if self.installation.archive.storage().has_archive_classes() {
            return self.begin_sure(range).await;
        }
        Ok(Pieces { first: None, others: self.stream(range) })
    }

    /// As [`Download::begin`], and content that was deleted since, or is not what it should be, is told here as well, as far
    /// as it is in the first piece.
    pub async fn begin_sure(&self, range: Range<u64>) -> Result<Pieces, DownloadError> {
        let mut others = self.stream(range);
        match others.recv().await {
            Some(Err(ReadError::Source(error))) if error.is_archived() => Err(DownloadError::Archived),
            Some(Err(failure)) if self.was_deleted(&failure) => {
                Err(DownloadError::Gone("it was deleted from the archive".to_owned()))
            }
            Some(Err(failure)) if is_damage(&failure) => Err(DownloadError::Damaged),
            first => Ok(Pieces { first, others }),
        }
    }

    /// The bytes of a range, each piece verified before it is sent. After an error nothing follows; the receiver
    /// must break off then, so that nobody takes the beginning for the whole.
    ///
    /// Reading stops when the receiver is dropped.
    pub fn stream(&self, range: Range<u64>) -> mpsc::Receiver<Result<Bytes, ReadError>> {
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        let download = self.clone();
        let runtime = tokio::runtime::Handle::current();
        let span = trace::download(&self.order_id, range.end.saturating_sub(range.start));
        tokio::task::spawn_blocking(move || {
            let _entered = span.enter();
            if let Err(failure) = download.send(range, &sender) {
                warn!(package_id = %download.package_id, %failure, "a download was broken off");
                if is_damage(&failure) && !download.was_deleted(&failure) {
                    runtime.block_on(download.report(&failure.to_string()));
                }
                // The client may have gone already.
                let _ = sender.blocking_send(Err(failure));
            }
        });
        receiver
    }

    fn send(&self, range: Range<u64>, sender: &mpsc::Sender<Result<Bytes, ReadError>>) -> Result<(), ReadError> {
        let storage = Arc::clone(self.installation.archive.storage());
        let (layout, checkpoints) = (Arc::clone(&self.opened.layout), Arc::clone(&self.opened.checkpoints));
        let mut reader = VerifiedReader::new(layout, storage, checkpoints, range)?;
        while let Some(piece) = reader.next_chunk()? {
            if sender.blocking_send(Ok(Bytes::from(piece))).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Whether what is missing was deleted since this was opened.
    fn was_deleted(&self, failure: &ReadError) -> bool {
        let ReadError::Source(SourceError::Missing { location, .. }) = failure else { return false };
        let content_path = location.strip_prefix(&self.root).and_then(|rest| rest.strip_prefix('/'));
        content_path.is_some_and(|path| fixity::was_deleted(&self.installation.archive, &self.root, path))
    }

    async fn report(&self, reason: &str) {
        if let Err(failure) = fixity::damage_record(&self.installation, &self.package_id, reason).await {
            error!(package_id = %self.package_id, %failure, "damage could not be recorded");
        }
    }
}

fn is_damage(error: &ReadError) -> bool {
    match error {
        ReadError::Damaged { .. } | ReadError::Changed { .. } => true,
        ReadError::Source(source) => !matches!(source, SourceError::Io { .. }),
        ReadError::Range { .. } => false,
    }
}
