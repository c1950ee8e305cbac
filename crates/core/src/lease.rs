//! The lease on an object while it is changed: renewed as long as its holder lives, seen by all machines that share the
//! catalogue. Where the storage keeps the conditions of a write, two writers cannot harm each other without it either;
//! where it does not, this is what keeps them apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;
use tracing::warn;

use crate::db::{DatabaseError, ingests};
use crate::ingest::IngestControl;
use crate::installation::Installation;
use crate::time::Timestamp;

/// The right to change an object. When it is dropped without having been released, others wait until it ends.
pub(crate) struct Lease {
    installation: Arc<Installation>,
    ocfl_id: String,
    lost: Arc<AtomicBool>,
    renewing: JoinHandle<()>,
}

impl Lease {
    /// Takes the lease; `None` when another machine has it.
    pub(crate) async fn take(
        installation: &Arc<Installation>,
        ocfl_id: &str,
        now: Timestamp,
    ) -> Result<Option<Lease>, DatabaseError> {
        let until = now.plus(installation.settings.lease);
        if !ingests::begin(&installation.database, ocfl_id, &installation.holder, now, until).await? {
            return Ok(None);
        }
        let lost = Arc::new(AtomicBool::new(false));
        let renewing = tokio::spawn(renew(Arc::clone(installation), ocfl_id.to_owned(), Arc::clone(&lost)));
        Ok(Some(Lease { installation: Arc::clone(installation), ocfl_id: ocfl_id.to_owned(), lost, renewing }))
    }

    /// Has the work stop when the lease is lost.
    pub(crate) fn guard(&self, control: IngestControl) -> IngestControl {
        let (lost, cancelled) = (Arc::clone(&self.lost), control.cancelled);
        IngestControl { cancelled: Box::new(move || lost.load(Ordering::Relaxed) || cancelled()), ..control }
    }

    /// Becomes true when the lease is lost.
    pub(crate) fn watch(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.lost)
    }

    /// Whether somebody else has it.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Lets others change the object at once.
    pub(crate) async fn release(self) -> Result<(), DatabaseError> {
        let installation = &self.installation;
        ingests::release(&installation.database, &self.ocfl_id, &installation.holder, installation.clock.now()).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renew(installation: Arc<Installation>, ocfl_id: String, lost: Arc<AtomicBool>) {
    let settings = &installation.settings;
    let mut until = installation.clock.now().plus(settings.lease);
    loop {
        tokio::time::sleep(settings.heartbeat).await;
        let now = installation.clock.now();
        let next = now.plus(settings.lease);
        match ingests::renew(&installation.database, &ocfl_id, &installation.holder, next).await {
            Ok(true) => until = next,
            Ok(false) => break,
            // The database may be back before the lease is over.
            Err(error) if now < until => warn!(%ocfl_id, %error, "the lease on an object could not be renewed"),
            Err(_) => break,
        }
    }
    lost.store(true, Ordering::Relaxed);
}
