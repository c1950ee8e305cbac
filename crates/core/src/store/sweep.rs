//! Clears away what nobody needs in the store of deliveries: uploads whose worker died, objects of deliveries that
//! were given back or are kept no longer, and what nobody remembers. One process does it at a time for all.
//!
//! Nothing is touched but what has the form of our keys, below our prefix, and belongs to an order that this catalogue
//! knows.

use std::io;
use std::sync::Arc;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::upload::{UploadError, discard};
use super::{DeliveryStore, order_of};
use crate::db::chores::{self, SWEEP_DELIVERIES};
use crate::db::deliveries::Delivery;
use crate::db::events::{Event, EventKind};
use crate::db::{DatabaseError, deliveries, events, orders, uploads};
use crate::ids;
use crate::installation::Installation;
use crate::time::Timestamp;

/// How many rows are taken from the catalogue at a time.
const BATCH: u32 = 100;

/// What a sweep cleared away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Uploads that nobody would have ended.
    pub uploads: u64,
    /// Deliveries whose time was over.
    pub deliveries: u64,
    /// Objects and uploads that nothing pointed to.
    pub orphans: u64,
}

/// Why a sweep broke off. What it has not done is done by the next.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The store refused or could not be reached.
    #[error(transparent)]
    Store(#[from] io::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Another process took over.
    #[error("another process sweeps now")]
    Overtaken,
}

impl From<UploadError> for SweepError {
    fn from(error: UploadError) -> SweepError {
        match error {
            UploadError::Store(error) => SweepError::Store(error),
            UploadError::Database(error) => SweepError::Database(error),
            UploadError::Condemned => SweepError::Overtaken,
        }
    }
}

/// Sweeps the store of one installation.
#[derive(Clone, Debug)]
pub struct Sweeper {
    installation: Arc<Installation>,
    holder: Arc<str>,
}

impl Sweeper {
    /// A sweeper of its own name.
    pub fn new(installation: Arc<Installation>) -> Sweeper {
        Sweeper { installation, holder: ids::new_id().into() }
    }

    /// Sweeps at once and then regularly until it is told to stop. Without a store there is nothing to do.
    pub async fn run(self, stop: CancellationToken) {
        if self.installation.store.is_none() {
            return;
        }
        while !stop.is_cancelled() {
            tokio::select! {
                // A request that is broken off is repeated by the next sweep.
                () = stop.cancelled() => return,
                swept = self.sweep() => match swept {
                    Ok(Swept { uploads: 0, deliveries: 0, orphans: 0 }) => {}
                    Ok(Swept { uploads, deliveries, orphans }) => {
                        info!(uploads, deliveries, orphans, "the store of deliveries was swept");
                    }
                    Err(SweepError::Overtaken) => debug!("another process sweeps the store of deliveries"),
                    Err(error) => warn!(%error, "the store of deliveries could not be swept"),
                },
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.installation.sweep_due() => {}
                () = tokio::time::sleep(self.installation.settings.sweep) => {}
            }
        }
    }

    /// Sweeps once; does nothing while another process is at it.
    pub async fn sweep(&self) -> Result<Swept, SweepError> {
        let Some(store) = &self.installation.store else { return Ok(Swept::default()) };
        let Some(last_listed) = self.claim().await? else { return Ok(Swept::default()) };
        let began = self.installation.clock.now();
        let listing_due = began >= last_listed.plus(self.installation.settings.sweep_all);
        let swept = self.sweep_claimed(store, listing_due).await;
        let listed = (listing_due && swept.is_ok()).then_some(began);
        chores::end(&self.installation.database, SWEEP_DELIVERIES, &self.holder, listed).await?;
        swept
    }

    async fn sweep_claimed(&self, store: &DeliveryStore, listing_due: bool) -> Result<Swept, SweepError> {
        let mut swept = Swept { uploads: self.sweep_uploads(store).await?, ..Swept::default() };
        swept.deliveries = self.sweep_deliveries(store).await?;
        if listing_due {
            swept.orphans = self.sweep_unknown_objects(store).await? + self.sweep_unknown_uploads(store).await?;
        }
        Ok(swept)
    }

    async fn claim(&self) -> Result<Option<Timestamp>, DatabaseError> {
        let now = self.installation.clock.now();
        let until = now.plus(self.installation.settings.sweep_lease);
        chores::claim(&self.installation.database, SWEEP_DELIVERIES, &self.holder, now, until).await
    }

    /// Says between two pieces of work that this process is still at it.
    async fn go_on(&self) -> Result<(), SweepError> {
        self.claim().await?.map(|_| ()).ok_or(SweepError::Overtaken)
    }

    /// Uploads that were noted, and whose lease has been over for as long again.
    async fn sweep_uploads(&self, store: &DeliveryStore) -> Result<u64, SweepError> {
        let installation = &self.installation;
        let mut count = 0;
        loop {
            let before = installation.clock.now().minus(installation.settings.lease);
            let found = uploads::abandoned(&installation.database, store.place(), before, BATCH).await?;
            for note in &found {
                info!(order_id = %note.order_id, key = %note.object_key, "an abandoned upload is cleared away");
                discard(store, &installation.database, note).await?;
                count += 1;
            }
            if found.len() < BATCH as usize {
                return Ok(count);
            }
            self.go_on().await?;
        }
    }

    /// Deliveries that were given back, or are kept no longer.
    async fn sweep_deliveries(&self, store: &DeliveryStore) -> Result<u64, SweepError> {
        let database = &self.installation.database;
        let mut count = 0;
        loop {
            let now = self.installation.clock.now();
            let found = deliveries::over(database, store.place(), now, BATCH).await?;
            for delivery in &found {
                count += u64::from(remove_delivery(&self.installation, store, delivery, now).await?);
            }
            if found.len() < BATCH as usize {
                return Ok(count);
            }
            self.go_on().await?;
        }
    }

    /// Objects of our orders that no delivery names.
    async fn sweep_unknown_objects(&self, store: &DeliveryStore) -> Result<u64, SweepError> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = store.bucket().list("", true, after.as_deref()).await?;
            let old = page.objects.iter().filter(|object| self.is_old(object.modified));
            let keys: Vec<_> = old.filter_map(|object| Some((order_of(&object.key)?, object.key.as_str()))).collect();
            let orphans = self.orphans(&keys).await?;
            for key in &orphans {
                warn!(key, "an object that no delivery names is deleted");
            }
            count += orphans.len() as u64;
            store.bucket().delete_many(&orphans).await?;
            after = page.next;
            if after.is_none() {
                return Ok(count);
            }
            self.go_on().await?;
        }
    }

    /// Uploads of our orders that were never noted, or whose note was lost, where the server can tell of them.
    async fn sweep_unknown_uploads(&self, store: &DeliveryStore) -> Result<u64, SweepError> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = match store.bucket().unfinished_uploads("", after.as_ref()).await {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(count),
                page => page?,
            };
            let old = page.uploads.iter().filter(|upload| self.is_old(upload.begun));
            let keys: Vec<_> = old.filter_map(|upload| Some((order_of(&upload.key)?, upload.key.as_str()))).collect();
            let orphans = self.orphans(&keys).await?;
            for upload in page.uploads.iter().filter(|upload| orphans.contains(&upload.key)) {
                warn!(key = %upload.key, "an upload that nobody remembers is aborted");
                store.bucket().abort_upload(&upload.key, &upload.id).await?;
                count += 1;
            }
            after = page.next;
            if after.is_none() {
                return Ok(count);
            }
            self.go_on().await?;
        }
    }

    async fn orphans(&self, keys: &[(&str, &str)]) -> Result<Vec<String>, DatabaseError> {
        let mut orphans = Vec::new();
        // Databases take so many parameters in one statement, and no more.
        for some in keys.chunks(500) {
            let found = uploads::orphans(&self.installation.database, some).await?;
            orphans.extend(found.into_iter().map(str::to_owned));
        }
        Ok(orphans)
    }

    /// Whether something that nobody remembers is so old that nobody can be about to remember it. The time is the
    /// server's, so the margin is wide.
    fn is_old(&self, written: Option<OffsetDateTime>) -> bool {
        let age = OffsetDateTime::now_utc() - written.unwrap_or_else(OffsetDateTime::now_utc);
        written.is_some() && age >= self.installation.settings.orphan_age
    }
}

/// Removes the objects of a delivery; `false` when that was done before. The objects go first: what is recorded as removed is.
pub(crate) async fn remove_delivery(
    installation: &Installation,
    store: &DeliveryStore,
    delivery: &Delivery,
    now: Timestamp,
) -> Result<bool, SweepError> {
    let database = &installation.database;
    let keys: Vec<String> = delivery.files.iter().filter_map(|file| file.object_key.clone()).collect();
    store.bucket().delete_many(&keys).await?;
    let order = orders::get(database, &delivery.order_id).await?;
    let mut transaction = database.begin().await?;
    if !deliveries::remove(&mut transaction, &delivery.id, now).await? {
        return Ok(false);
    }
    let mut event = Event::new(EventKind::DeliveryRemoved, now);
    event.order_id = Some(delivery.order_id.clone());
    event.package_id = order.map(|order| order.package_id);
    event.detail = keys.iter().map(|key| store.bucket().place(key)).collect::<Vec<_>>().join("\n");
    events::insert(&mut transaction, &event).await?;
    transaction.commit().await?;
    Ok(true)
}
