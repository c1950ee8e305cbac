//! A process tells that it is there, for as long as it is.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::db::processes::{self, Process, ProcessKind};
use crate::db::{DatabaseError, package_figures, restores};
use crate::installation::{Installation, host_name};
use crate::time::Timestamp;

/// How long a process is remembered that stopped telling.
pub const REMEMBERED: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
/// After so many signs of life something is cleared away.
const TIDIED_EVERY: u32 = 240;

/// A process that tells that it is there until this is ended.
#[derive(Debug)]
pub struct Presence {
    stop: CancellationToken,
    telling: JoinHandle<()>,
}

impl Presence {
    /// Begins to tell. `name` is the name under which the process holds leases; `slots` is how many steps it works on at a
    /// time.
    pub fn begin(installation: &Arc<Installation>, name: &str, kind: ProcessKind, slots: u64) -> Presence {
        let now = installation.clock.now();
        let process = Process {
            name: name.to_owned(),
            host: host_name(),
            kind,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slots,
            started: now,
            seen: now,
        };
        let stop = CancellationToken::new();
        let telling = tokio::spawn(tell(Arc::clone(installation), process, stop.clone()));
        Presence { stop, telling }
    }

    /// Takes the process away: it stops, and holds no leases any more.
    pub async fn end(self) {
        self.stop.cancel();
        // A panic in it is no reason not to stop.
        let _ = self.telling.await;
    }
}

/// Clears away what nobody asks for any more: old figures, and restores whose time was over long ago.
async fn tidy(installation: &Installation, now: Timestamp) -> Result<(), DatabaseError> {
    processes::tidy(&installation.database, now).await?;
    let before = now.minus(installation.settings.restore_remembered);
    let forgotten = restores::forget(&installation.database, before).await?;
    if forgotten > 0 {
        debug!(forgotten, "restores were cleared away");
    }
    Ok(())
}

async fn tell(installation: Arc<Installation>, mut process: Process, stop: CancellationToken) {
    let mut told = 0_u32;
    while !stop.is_cancelled() {
        process.seen = installation.clock.now();
        let forgotten = process.seen.minus(REMEMBERED);
        // Whoever cannot reach the database says so elsewhere, and louder.
        if let Err(error) = processes::put(&installation.database, &process, forgotten).await {
            debug!(%error, "the catalogue was not told that this process is there");
        } else if told.is_multiple_of(TIDIED_EVERY)
            && let Err(error) = tidy(&installation, process.seen).await
        {
            debug!(%error, "what nobody asks for any more could not be cleared away");
        }
        if let Err(error) = package_figures::add_up(&installation.database).await {
            debug!(%error, "the figures of packages were not added up");
        }
        told = told.wrapping_add(1);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(installation.settings.heartbeat) => {}
        }
    }
    if let Err(error) = processes::remove(&installation.database, &process.name).await {
        debug!(%error, "the catalogue was not told that this process stops");
    }
}
