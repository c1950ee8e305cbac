//! What the connections of a process share: where the areas are, and what is known about the files in them.

use std::io;
use std::sync::Arc;

use dipper_core::installation::Installation;
use dipper_core::intake::Intake;
use rustix::fs::Stat;
use tokio::runtime::Handle;

use super::files::Root;
use super::places::{Share, Side};
use super::refusal::Refusal;
use super::uploads::Uploads;
use super::wire::Code;
use crate::fetches::{Delivery, Fetch, Fetches};
use crate::metrics;

/// The areas, and what is known about the files in them.
pub(super) struct Area {
    installation: Arc<Installation>,
    intake: Intake,
    runtime: Handle,
    /// The longest file that may be handed in; 0 for no bound.
    max_file_bytes: u64,
    pub(super) uploads: Uploads,
    pub(super) fetches: Arc<Fetches>,
}

impl Area {
    pub(super) fn new(
        installation: Arc<Installation>,
        intake: Intake,
        fetches: Arc<Fetches>,
        max_file_bytes: u64,
    ) -> Area {
        let (runtime, uploads) = (Handle::current(), Uploads::default());
        Area { installation, intake, runtime, max_file_bytes, uploads, fetches }
    }

    /// Opens the directories of contracts, which are made if need be.
    pub(super) fn open(&self, contracts: &[(String, bool)]) -> io::Result<Vec<Share>> {
        let open = |(contract_id, writes): &(String, bool)| {
            let area = self.installation.areas.ensure(contract_id)?;
            let directory = area.outgoing().parent().map(std::path::Path::to_owned).unwrap_or_default();
            let root = |side: Side| Root::open(&directory, side.name());
            let (outgoing, incoming) = (root(Side::Outgoing)?, root(Side::Incoming)?);
            Ok(Share { contract_id: contract_id.clone(), outgoing, incoming, writes: *writes })
        };
        contracts.iter().map(open).collect()
    }

    /// A file in outgoing is opened for reading.
    pub(super) fn fetch(&self, contract_id: &str, name: &str, stat: &Stat) -> Fetch {
        self.fetches.begin(Delivery::of_stat(contract_id, name, stat), self.installation.clock.now())
    }

    /// Refuses a file that is longer than permitted.
    pub(super) fn check_size(&self, size: u64) -> Result<(), Refusal> {
        if self.max_file_bytes == 0 || size <= self.max_file_bytes {
            return Ok(());
        }
        let message = format!("A file may have {} bytes at the most.", self.max_file_bytes);
        Err(Refusal::new(Code::Failure, &message))
    }

    /// So many bytes were handed in.
    pub(super) fn received(&self, count: usize) {
        metrics::sftp_received(count as u64);
    }

    /// A file was handed in, and may be complete.
    pub(super) fn handed_in(&self) {
        self.installation.wake_incoming();
    }

    /// A delivery was fetched whole. It is noted beside what the client does next.
    pub(super) fn fetched(self: &Arc<Area>, fetch: &Fetch) {
        let (area, delivery, opened) = (self.clone(), fetch.delivery.clone(), fetch.opened);
        self.runtime.spawn(async move {
            let Delivery { contract_id, name, .. } = &delivery;
            match area.intake.area_fetched(contract_id, name, opened).await {
                Ok(_) => tracing::info!(contract_id, name, "a delivery was fetched over SFTP"),
                Err(error) => {
                    tracing::error!(contract_id, name, %error, "that a delivery was fetched could not be noted");
                    area.fetches.forget(&delivery);
                }
            }
        });
    }
}
