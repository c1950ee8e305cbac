//! A file on its way into an area: room for it, its bytes beside all areas, its name in the transaction that delivers it.
//!
//! A crash leaves a file in `.staging` that the next attempt or the sweep removes, and never one under a wrong name:
//! before the rename nothing is visible, and after it the file is whole. If the transaction that holds the rename does not
//! come about, the next attempt makes the same bytes and renames once more.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dipper_archive::publish;
use tracing::{info, warn};

use crate::area::Areas;
use crate::db::area_files::{self, AreaFile, Full, Placed};
use crate::db::events::{Event, EventKind};
use crate::db::orders::Order;
use crate::db::steps::{self, Lease};
use crate::db::{DatabaseError, Transaction, contracts, deliveries, events};
use crate::installation::Installation;
use crate::sentence::sentence;
use crate::time::Timestamp;

/// How the name of a file ends that is not complete.
const SUFFIX: &str = ".part";

/// Why a file does not get into an area.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlacingError {
    /// There is no room for it.
    #[error("the area has no room for {needed_bytes} bytes: {full:?}")]
    Full { needed_bytes: u64, full: Full },
    /// The order is not one for an area, or its contract can have none.
    #[error("{0}")]
    Unfit(String),
    /// The directory cannot be used now.
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Somebody else holds the step, or has cleared the file away.
    #[error("the step is somebody else's now")]
    Lost,
}

/// The file of one attempt.
#[derive(Debug)]
pub(crate) struct Placement {
    installation: Arc<Installation>,
    lease: Lease,
    order: Order,
    name: String,
    staged: PathBuf,
}

impl Placement {
    /// None yet. What earlier attempts left is removed, as far as it can be. Blocks.
    pub(crate) fn new(
        installation: &Arc<Installation>,
        lease: &Lease,
        order: &Order,
    ) -> Result<Placement, PlacingError> {
        let Some(name) = order.area_name.clone() else {
            return Err(PlacingError::Unfit("an order into an area has no name there".to_owned()));
        };
        let staging = installation.areas.staging();
        publish::create_closed_directories(&staging).map_err(|source| failed(&staging, source))?;
        for entry in std::fs::read_dir(&staging).map_err(|source| failed(&staging, source))?.flatten() {
            let earlier = entry
                .file_name()
                .to_str()
                .and_then(attempt_of)
                .is_some_and(|(order_id, fence)| order_id == lease.order_id && fence < lease.fence);
            if earlier {
                discard(&entry.path());
            }
        }
        let staged = staging.join(format!("{}-{}{SUFFIX}", lease.order_id, lease.fence));
        let (installation, lease, order) = (Arc::clone(installation), lease.clone(), order.clone());
        Ok(Placement { installation, lease, order, name, staged })
    }

    /// The directory that holds everything in the tar: the name without its ending.
    pub(crate) fn top(&self) -> &str {
        self.name.strip_suffix(".tar").unwrap_or(&self.name)
    }

    /// The name under which it will be found.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reserves room for so many bytes, before the first is written.
    pub(crate) async fn reserve(&self, size_bytes: u64) -> Result<(), PlacingError> {
        let Installation { database, clock, settings, .. } = self.installation.as_ref();
        let mut transaction = database.begin().await?;
        contracts::lock(&mut transaction, &self.order.contract_id).await?;
        if !steps::holds(&mut transaction, &self.lease).await? {
            return Err(PlacingError::Lost);
        }
        let quota = contracts::quota(&mut transaction, &self.order.contract_id).await?;
        let file = AreaFile {
            order_id: self.order.id.clone(),
            contract_id: self.order.contract_id.clone(),
            name: self.name.clone(),
            version: self.order.version,
            size_bytes,
            reserved: clock.now(),
            placed: None,
            fetched: None,
            removed: None,
        };
        let reserved = area_files::reserve(&mut transaction, &file, quota.unwrap_or(settings.area.quota_bytes)).await?;
        if let Err(full) = reserved {
            return Err(PlacingError::Full { needed_bytes: size_bytes, full });
        }
        Ok(transaction.commit().await?)
    }

    /// The file, empty. Blocks.
    pub(crate) fn create(&self) -> Result<File, PlacingError> {
        publish::create_new(&self.staged).map_err(|source| failed(&self.staged, source))
    }

    /// All of it is written: it is on disk when this returns. Blocks.
    pub(crate) fn finish(&self, file: &File) -> Result<(), PlacingError> {
        file.sync_all().map_err(|source| failed(&self.staged, source))
    }

    /// What an error of writing means.
    pub(crate) fn write_error(&self, source: io::Error) -> PlacingError {
        failed(&self.staged, source)
    }

    /// Gives the file its name, as the last thing in the transaction that delivers it and has locked the contract and the
    /// step. A file of a newer version that has the name stays.
    pub(crate) async fn publish(&self, transaction: &mut Transaction, now: Timestamp) -> Result<(), PlacingError> {
        let Order { id, contract_id, version, package_id, .. } = &self.order;
        match area_files::place(transaction, id, contract_id, &self.name, *version, now).await? {
            Placed::NewerThere => {
                let detail = sentence!("{}: a newer version has been delivered under that name", self.name);
                record(transaction, EventKind::DeliveryNotPlaced, id, package_id, detail, now).await?;
                discard(&self.staged);
                return Ok(());
            }
            Placed::Under { replaced: Some(replaced) } => {
                deliveries::remove_of(transaction, &replaced, now).await?;
                let detail = sentence!("{}: replaced by order {id}", self.name);
                record(transaction, EventKind::DeliveryRemoved, &replaced, package_id, detail, now).await?;
            }
            Placed::Under { replaced: None } => {}
        }
        let (areas, contract_id) = (self.installation.areas.clone(), contract_id.clone());
        let (staged, name) = (self.staged.clone(), self.name.clone());
        let renaming = tokio::task::spawn_blocking(move || rename(&areas, &contract_id, &staged, &name)).await;
        renaming.map_err(|error| PlacingError::Unfit(error.to_string()))?
    }

    /// Removes what was written, unless it has its name already.
    pub(crate) fn abort(&self) {
        discard(&self.staged);
    }
}

fn rename(areas: &Areas, contract_id: &str, staged: &Path, name: &str) -> Result<(), PlacingError> {
    let area = areas.ensure(contract_id).map_err(|source| failed(areas.root(), source))?;
    let target = area.outgoing().join(name);
    publish::replace(staged, &target).map_err(|source| match source.kind() {
        // The sweep, or the next attempt, took this one for dead.
        io::ErrorKind::NotFound if !staged.exists() => PlacingError::Lost,
        _ => failed(&target, source),
    })
}

/// The order and the fence that the name of an incomplete file speaks of.
pub(super) fn attempt_of(name: &str) -> Option<(&str, i64)> {
    let (order_id, fence) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((order_id, fence.parse().ok()?))
}

pub(super) fn discard(path: &Path) {
    match publish::discard_staged(path) {
        Ok(()) => info!(path = %path.display(), "an incomplete file of an area is removed"),
        Err(error) => warn!(path = %path.display(), %error, "an incomplete file of an area could not be removed yet"),
    }
}

pub(super) async fn record(
    transaction: &mut Transaction,
    kind: EventKind,
    order_id: &str,
    package_id: &str,
    detail: String,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let mut event = Event::new(kind, now);
    (event.order_id, event.package_id) = (Some(order_id.to_owned()), Some(package_id.to_owned()));
    event.detail = detail;
    events::insert(transaction, &event).await
}

fn failed(path: &Path, source: io::Error) -> PlacingError {
    match source.kind() {
        io::ErrorKind::InvalidInput => PlacingError::Unfit(source.to_string()),
        _ => PlacingError::Io { path: path.display().to_string(), source },
    }
}
