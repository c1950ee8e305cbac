//! Clears away what nobody needs in the areas: files that were fetched some time ago, or given back, or never fetched; what
//! dead workers left; and, now and then, files under names of ours that nobody remembers. One process does it at a time
//! for all.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use dipper_archive::publish;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::placing::{attempt_of, discard, record};
use crate::db::area_files::{self, AreaFile};
use crate::db::chores::{self, SWEEP_AREAS};
use crate::db::events::EventKind;
use crate::db::{DatabaseError, contracts, deliveries, orders, steps};
use crate::identifier;
use crate::ids;
use crate::installation::Installation;
use crate::sentence::sentence;
use crate::time::Timestamp;

/// How many rows are taken from the catalogue at a time.
const BATCH: u32 = 100;

/// What a sweep cleared away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AreaSwept {
    /// Files whose time was over.
    pub removed: u64,
    /// Incomplete files that nobody works on.
    pub staged: u64,
    /// Files under names of ours that nobody remembers.
    pub orphans: u64,
}

/// Why a sweep broke off. What it has not done is done by the next.
#[derive(Debug, thiserror::Error)]
pub enum AreaSweepError {
    /// A directory cannot be used now.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Another process took over.
    #[error("another process sweeps now")]
    Overtaken,
}

/// Sweeps the areas of one installation.
#[derive(Clone, Debug)]
pub struct AreaSweeper {
    installation: Arc<Installation>,
    holder: Arc<str>,
}

impl AreaSweeper {
    /// A sweeper of its own name.
    pub fn new(installation: Arc<Installation>) -> AreaSweeper {
        AreaSweeper { installation, holder: ids::new_id().into() }
    }

    /// Sweeps at once and then regularly until it is told to stop.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                // What is broken off is repeated by the next sweep.
                () = stop.cancelled() => return,
                swept = self.sweep() => match swept {
                    Ok(AreaSwept { removed: 0, staged: 0, orphans: 0 }) => {}
                    Ok(AreaSwept { removed, staged, orphans }) => {
                        info!(removed, staged, orphans, "the areas were swept");
                    }
                    Err(AreaSweepError::Overtaken) => debug!("another process sweeps the areas"),
                    Err(error) => warn!(%error, "the areas could not be swept"),
                },
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.installation.area_sweep_due() => {}
                () = tokio::time::sleep(self.installation.settings.sweep) => {}
            }
        }
    }

    /// Sweeps once; does nothing while another process is at it.
    pub async fn sweep(&self) -> Result<AreaSwept, AreaSweepError> {
        let Some(last_listed) = self.claim().await? else { return Ok(AreaSwept::default()) };
        let began = self.installation.clock.now();
        let listing_due = began >= last_listed.plus(self.installation.settings.sweep_all);
        let swept = self.sweep_claimed(listing_due).await;
        let listed = (listing_due && swept.is_ok()).then_some(began);
        chores::end(&self.installation.database, SWEEP_AREAS, &self.holder, listed).await?;
        swept
    }

    async fn sweep_claimed(&self, listing_due: bool) -> Result<AreaSwept, AreaSweepError> {
        let removed = self.sweep_files().await?;
        let staged = self.sweep_staging().await?;
        let orphans = if listing_due { self.sweep_orphans().await? } else { 0 };
        Ok(AreaSwept { removed, staged, orphans })
    }

    async fn claim(&self) -> Result<Option<Timestamp>, DatabaseError> {
        let now = self.installation.clock.now();
        let until = now.plus(self.installation.settings.sweep_lease);
        chores::claim(&self.installation.database, SWEEP_AREAS, &self.holder, now, until).await
    }

    /// Says between two pieces of work that this process is still at it.
    async fn go_on(&self) -> Result<(), AreaSweepError> {
        self.claim().await?.map(|_| ()).ok_or(AreaSweepError::Overtaken)
    }

    /// Files whose time is over. One that cannot be removed now does not keep the others.
    async fn sweep_files(&self) -> Result<u64, AreaSweepError> {
        let installation = &self.installation;
        let area = &installation.settings.area;
        let mut count = 0;
        loop {
            let now = installation.clock.now();
            let (fetched, placed) = (now.minus(area.kept_fetched), now.minus(area.kept));
            let found = area_files::over(&installation.database, fetched, placed, BATCH).await?;
            let mut failed = None;
            for file in &found {
                match remove_file(installation, file, None, now).await {
                    Ok(removed) => count += u64::from(removed),
                    Err(error @ AreaSweepError::Io(..)) => failed = failed.or(Some(error)),
                    Err(error) => return Err(error),
                }
            }
            match failed {
                Some(error) => return Err(error),
                None if found.len() < BATCH as usize => return Ok(count),
                None => self.go_on().await?,
            }
        }
    }

    /// Incomplete files of attempts whose lease has been over for as long again.
    async fn sweep_staging(&self) -> Result<u64, AreaSweepError> {
        let installation = &self.installation;
        let mut count = 0;
        for path in list(installation.areas.staging()).await? {
            let Some((order_id, fence)) = path.file_name().and_then(|name| attempt_of(name.to_str()?)) else {
                continue;
            };
            let since = installation.clock.now().minus(installation.settings.lease);
            if !steps::is_leased(&installation.database, order_id, fence, since).await? {
                discard(&path);
                count += 1;
            }
        }
        Ok(count)
    }

    /// Files that got their name while the transaction that would have said so was lost, and whose order has ended
    /// otherwise since. Names that are not ours are let alone.
    async fn sweep_orphans(&self) -> Result<u64, AreaSweepError> {
        let installation = &self.installation;
        let mut count = 0;
        for contract_id in contracts::ids(&installation.database).await? {
            let outgoing = installation.areas.root().join(&contract_id).join("outgoing");
            if !super::is_area_name(&contract_id) {
                continue;
            }
            for path in list(outgoing).await? {
                let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| is_ours(name)) else {
                    continue;
                };
                let mut transaction = installation.database.begin().await?;
                contracts::lock(&mut transaction, &contract_id).await?;
                if !area_files::is_held(&mut transaction, &contract_id, name).await? {
                    warn!(%contract_id, name, "a file that no order remembers is removed from an area");
                    unlink(installation, &contract_id, name).await?;
                    count += 1;
                }
                transaction.commit().await?;
            }
            self.go_on().await?;
        }
        Ok(count)
    }
}

/// Removes a file from an area; `false` when that was done before. The file goes before the note of it: what is recorded as
/// removed is. Nobody places another one meanwhile.
pub(crate) async fn remove_file(
    installation: &Installation,
    file: &AreaFile,
    why: Option<String>,
    now: Timestamp,
) -> Result<bool, AreaSweepError> {
    let database = &installation.database;
    let package_id = orders::get(database, &file.order_id).await?.map(|order| order.package_id);
    let mut transaction = database.begin().await?;
    contracts::lock(&mut transaction, &file.contract_id).await?;
    if !area_files::remove(&mut transaction, &file.order_id, now).await? {
        return Ok(false);
    }
    deliveries::remove_of(&mut transaction, &file.order_id, now).await?;
    let why = why.unwrap_or_else(|| match file.fetched {
        Some(_) => sentence!("it was fetched"),
        None => sentence!("its time was over, or it was given back"),
    });
    let detail = sentence!("{} from the area of contract {}: {why}", file.name, file.contract_id);
    let package_id = package_id.unwrap_or_default();
    record(&mut transaction, EventKind::DeliveryRemoved, &file.order_id, &package_id, detail, now).await?;
    unlink(installation, &file.contract_id, &file.name).await?;
    transaction.commit().await?;
    Ok(true)
}

async fn unlink(installation: &Installation, contract_id: &str, name: &str) -> Result<(), AreaSweepError> {
    let (areas, contract_id, name) = (installation.areas.clone(), contract_id.to_owned(), name.to_owned());
    let place = format!("{contract_id}/{name}");
    let unlinking = tokio::task::spawn_blocking(move || {
        let area = areas.ensure(&contract_id)?;
        publish::remove_file(&area.outgoing().join(name))
    });
    let unlinked = unlinking.await.map_err(io::Error::other).and_then(|unlinked| unlinked);
    unlinked.map_err(|error| AreaSweepError::Io(place, error))
}

/// What lies in a directory; nothing when there is none.
async fn list(directory: PathBuf) -> Result<Vec<PathBuf>, AreaSweepError> {
    let place = directory.display().to_string();
    let listing = tokio::task::spawn_blocking(move || match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
    });
    let listed = listing.await.map_err(io::Error::other).and_then(|listed| listed);
    listed.map_err(|error| AreaSweepError::Io(place, error))
}

/// Whether a file name is one that a delivery gets.
fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix(".tar").map(|name| name.strip_suffix("_surface").unwrap_or(name));
    let identifier = name.map(|name| match name.split_once("_v") {
        Some((identifier, version)) if version.parse::<u32>().is_ok() => identifier,
        _ => name,
    });
    identifier.is_some_and(|identifier| identifier::parse(identifier).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_names_are_told_from_others() {
        let table = [
            ("8-2016040610214.tar", true),
            ("8-2016040610214_v3.tar", true),
            ("8-2016040610214_surface.tar", true),
            ("8-2016040610214_v3_surface.tar", true),
            ("8-2016040610214_vx.tar", false),
            ("8-2016040610214", false),
            ("report.csv", false),
            ("holiday.tar", false),
            (".tar", false),
        ];
        for (name, expected) in table {
            assert_eq!(is_ours(name), expected, "{name}");
        }
        assert_eq!(attempt_of("0A-17.part"), Some(("0A", 17)));
        assert_eq!((attempt_of("0A-17"), attempt_of("0A.part"), attempt_of("0A-x.part")), (None, None, None));
    }
}
