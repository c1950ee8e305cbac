//! One stored file by itself, for whoever may read its package and wants to look at it: without an order, and verified before
//! it leaves as everything is that is handed out.

use dipper_archive::package::Content;

use crate::caller::Caller;
use crate::db::events::{Event, EventKind};
use crate::db::orders::View;
use crate::db::{DatabaseError, events, packages};
use crate::download::{Download, DownloadError};
use crate::intake::{Intake, IntakeError};
use crate::sentence::sentence;

/// The largest file that is handed out without an order: it is read whole before its first byte leaves, which an order does
/// ahead of time.
pub const MOST_BYTES: u64 = 1024 * 1024 * 1024;

/// Which file is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredQuery {
    /// Which version of the package; `None` for the newest.
    pub version: Option<u32>,
    /// That version alone, or what all versions up to it add up to.
    pub view: View,
    /// The path there.
    pub path: String,
}

/// A stored file, open for reading.
#[derive(Clone, Debug)]
pub struct StoredContent {
    /// The package.
    pub package_id: String,
    /// The version that was asked for.
    pub version: u32,
    /// The path in it.
    pub path: String,
    /// Its bytes, each piece verified before it leaves.
    pub download: Download,
}

/// Why a stored file is not handed out.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// It is not there, or not for the caller.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// It takes an order.
    #[error("the file has {0} bytes: what is larger than {MOST_BYTES} bytes is handed out by an order alone")]
    TooLarge(u64),
    /// It cannot be read.
    #[error(transparent)]
    Download(#[from] DownloadError),
}

impl Intake {
    /// Opens a file of a package that the caller may read. One that was not read lately is read whole first, unless it is
    /// small.
    pub async fn stored_open(
        &self,
        caller: &Caller,
        package_id: &str,
        query: &StoredQuery,
    ) -> Result<StoredContent, StoredError> {
        let package = self.package_orderable(caller, package_id).await?;
        let versions = packages::versions(&self.installation.database, &package.id).await.map_err(IntakeError::from)?;
        let version = self.version_of(&package, &versions, query.version)?;
        let listing = self.listing(&package, version, query.view).await?;
        let unknown = || IntakeError::PathUnknown { package_id: package.id.clone(), path: query.path.clone() };
        let (file, size) = listing.find(&query.path).ok_or_else(unknown)?;
        if size > MOST_BYTES {
            return Err(StoredError::TooLarge(size));
        }
        let content = Content {
            logical_path: query.path.clone(),
            size,
            digest: *file.digest,
            algorithm: file.algorithm,
            location: format!("{}/{}", package.location, file.content_path),
        };
        let download = self.downloads.stored(&package, content).await?;
        Ok(StoredContent { package_id: package.id, version, path: query.path.clone(), download })
    }

    /// Records that a client has fetched a file whole.
    pub async fn stored_fetched(
        &self,
        client_id: &str,
        package_id: &str,
        version: u32,
        path: &str,
    ) -> Result<(), DatabaseError> {
        let mut event = Event::new(EventKind::FileFetched, self.installation.clock.now());
        (event.package_id, event.agent) = (Some(package_id.to_owned()), format!("client {client_id}"));
        event.detail = sentence!("{path} of version {version}");
        let mut transaction = self.installation.database.begin().await?;
        events::insert(&mut transaction, &event).await?;
        transaction.commit().await
    }
}
