//! Brings a package within reach: what lies in an archive class is recalled, and the step sleeps until it can be read.
//!
//! A recall lasts from minutes to days, so the step holds neither worker nor lease meanwhile: it waits as a step that is
//! looked at again after a while. All orders for a version share one recall through the table `recalls`; an order that is
//! more urgent than those before it makes the recall faster where the storage can.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use dipper_archive::storage::{Availability, Tier, at_once};
use time::OffsetDateTime;
use tracing::info;

use crate::assembly::{self, Scope};
use crate::db::orders::{Failure, FailureCode, Order};
use crate::db::packages::Package;
use crate::db::recalls::{self, RecallRecord};
use crate::db::steps::{Lease, StepEnd, StepKind, WaitsFor};
use crate::db::{orders, steps};
use crate::hold::Hold;
use crate::installation::Installation;
use crate::order::Signal;
use crate::progress;
use crate::sentence::sentence;
use crate::steps::{StepError, prepare};
use crate::time::Timestamp;

/// Requests for recalls that are under way at a time, at the least.
const REQUESTS_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

/// What the storage says of a version.
struct Reach {
    /// Files that cannot be read yet.
    missing: usize,
    /// Until when all can be read, if the storage says so of any.
    until: Option<Timestamp>,
}

pub(super) async fn run(installation: &Arc<Installation>, lease: &Lease, hold: &Hold) -> Result<(), StepError> {
    let order = orders::get(&installation.database, &lease.order_id).await?.ok_or(StepError::Lost)?;
    let package = prepare::still_allowed(installation, &order, lease.attempt).await?;
    let settings = &installation.settings.recall;
    let now = installation.clock.now();
    let tier = settings.tier(order.rank);
    let known = recalls::get(&installation.database, &order.package_id, order.version).await?;
    if let Some(known) = &known {
        match known.readable_until {
            // Whoever asked for it has found it readable, and long enough for the reading to begin.
            Some(until) if until > now.plus(settings.poll) => return go_on(installation, lease, &order, None).await,
            Some(_) => {}
            None if now > known.requested.plus(settings.give_up) => {
                return Err(given_up(installation, &order).await?);
            }
            // Somebody has looked a moment ago, and it is as fast as it has to be.
            None if known.tier >= tier && now < known.checked.plus(settings.poll) => {
                return sleep(installation, lease, &order, known.clone(), known.checked.plus(settings.poll)).await;
            }
            None => {}
        }
    }
    let asked = known.as_ref().filter(|known| known.readable_until.is_none()).map(|known| known.tier);
    let scope = Scope::of(&installation.database, &order).await?;
    let (context, holding) = (Arc::clone(installation), hold.clone());
    let looking = tokio::task::spawn_blocking(move || reach(&context, &package, &scope, tier, asked, &holding));
    let reach = looking.await.map_err(|error| StepError::Passing(error.to_string()))??;
    let mut record = RecallRecord {
        package_id: order.package_id.clone(),
        version: order.version,
        tier: asked.map_or(tier, |asked| asked.max(tier)),
        requested: known.as_ref().filter(|_| asked.is_some()).map_or(now, |known| known.requested),
        checked: now,
        readable_until: None,
    };
    if reach.missing == 0 {
        record.readable_until = reach.until;
        return go_on(installation, lease, &order, Some(record)).await;
    }
    info!(files = reach.missing, tier = tier.name(), "content is being recalled");
    sleep(installation, lease, &order, record, now.plus(settings.poll)).await
}

/// Everything can be read: the package is prepared next.
async fn go_on(
    installation: &Installation,
    lease: &Lease,
    order: &Order,
    record: Option<RecallRecord>,
) -> Result<(), StepError> {
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let order = orders::get_locked(&mut transaction, &order.id).await?.ok_or(StepError::Lost)?;
    if !steps::end(&mut transaction, lease, StepEnd::Done, now).await? {
        return Err(StepError::Lost);
    }
    steps::insert(&mut transaction, &order, StepKind::Prepare, installation.settings.ageing, now).await?;
    steps::hasten(&mut transaction, StepKind::Recall, &order.package_id, now).await?;
    match record {
        Some(record) if record.readable_until.is_some() => recalls::note(&mut transaction, &record).await?,
        // Nothing of it is in an archive class, so there is nothing to remember.
        Some(record) => recalls::forget(&mut transaction, &record.package_id, record.version).await?,
        None => {}
    }
    transaction.commit().await?;
    installation.wake_workers();
    Ok(())
}

/// It is on its way: the order says so, and the step is looked at again then.
async fn sleep(
    installation: &Installation,
    lease: &Lease,
    order: &Order,
    record: RecallRecord,
    until: Timestamp,
) -> Result<(), StepError> {
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let mut order = orders::get_locked(&mut transaction, &order.id).await?.ok_or(StepError::Lost)?;
    if !steps::end(&mut transaction, lease, StepEnd::Asleep(until, WaitsFor::Recall), now).await? {
        return Err(StepError::Lost);
    }
    progress::advance(&mut transaction, &mut order, Signal::RecallStarted, None, now, &installation.settings).await?;
    recalls::note(&mut transaction, &record).await?;
    Ok(transaction.commit().await?)
}

async fn given_up(installation: &Installation, order: &Order) -> Result<StepError, StepError> {
    let hours = installation.settings.recall.give_up.as_secs() / 3600;
    let mut transaction = installation.database.begin().await?;
    recalls::forget(&mut transaction, &order.package_id, order.version).await?;
    transaction.commit().await?;
    let message = sentence!(
        "The package lies in cold storage, and the storage did not bring it back within {hours} hours. The archive has \
         been told."
    );
    let failure = Failure { code: FailureCode::System, message };
    Ok(StepError::Final { signal: Signal::Failed, failure, damage: None })
}

/// A preparation met content that cannot be read any more, because the recall is over: it is recalled again.
pub(super) async fn begin_again(installation: &Installation, lease: &Lease) -> Result<(), StepError> {
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let order = orders::get_locked(&mut transaction, &lease.order_id).await?.ok_or(StepError::Lost)?;
    if !steps::end(&mut transaction, lease, StepEnd::Done, now).await? {
        return Err(StepError::Lost);
    }
    recalls::forget(&mut transaction, &order.package_id, order.version).await?;
    steps::insert(&mut transaction, &order, StepKind::Recall, installation.settings.ageing, now).await?;
    transaction.commit().await?;
    info!("content went back into an archive class before it was read; it is recalled again");
    installation.wake_workers();
    Ok(())
}

/// Looks at every file that is to be delivered, and asks for those that are out of reach. `asked` is the tier at which
/// this was done before.
fn reach(
    installation: &Installation,
    package: &Package,
    scope: &Scope,
    tier: Tier,
    asked: Option<Tier>,
    hold: &Hold,
) -> Result<Reach, StepError> {
    let storage = installation.archive.storage().as_ref();
    let look = |wanted: &dyn Fn(&str) -> bool| storage.availability(&package.location, wanted).map_err(failed);
    let inventories = look(&|path| !is_content(path))?;
    let cold = if inventories.iter().all(|(_, found)| found.is_readable()) {
        let needed = needed(installation, package, scope)?;
        let mut cold = look(&|path| needed.contains(path))?;
        cold.extend(inventories);
        cold
    } else {
        // Which content the version needs is not known yet. An object is rarely cold in parts, so all of it is asked for
        // at once: one wait instead of two.
        look(&|_| true)?
    };
    let missing: Vec<&(String, Availability)> = cold.iter().filter(|(_, found)| !found.is_readable()).collect();
    let is_faster = asked.is_none_or(|asked| tier > asked);
    let asking: Vec<&str> = missing
        .iter()
        .filter(|(_, found)| is_faster || matches!(found, Availability::Archived { .. }))
        .map(|(path, _)| path.as_str())
        .collect();
    let at_a_time = storage.reads_at_once().unwrap_or(REQUESTS_AT_ONCE);
    let readable = AtomicUsize::new(0);
    at_once(at_a_time, &asking, &|path: &&str| {
        if hold.is_over() {
            return Err(if hold.is_lost() { StepError::Lost } else { StepError::Stopped });
        }
        let days = installation.settings.recall.days;
        let path = format!("{}/{path}", package.location);
        if storage.recall(&path, tier, days).map_err(failed)? == dipper_archive::storage::Recall::Readable {
            readable.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })?;
    let until = cold.iter().filter_map(|(_, found)| match found {
        Availability::Recalled { until: Some(until), .. } => Some(timestamp(*until)),
        _ => None,
    });
    Ok(Reach { missing: missing.len().saturating_sub(readable.into_inner()), until: until.min() })
}

/// The content of an order, by its paths below the object.
fn needed(installation: &Installation, package: &Package, scope: &Scope) -> Result<HashSet<String>, StepError> {
    let object = installation.archive.object_at(&package.location).map_err(prepare::archive_error)?;
    let inventory = object.inventory_of(scope.version).map_err(prepare::archive_error)?;
    Ok(assembly::content_paths(&inventory, scope))
}

/// Whether a path below an object is one of a version's content.
fn is_content(path: &str) -> bool {
    let mut parts = path.split('/');
    let is_version = parts.next().is_some_and(|part| part.strip_prefix('v').is_some_and(|number| !number.is_empty()));
    is_version && parts.next().is_some_and(|part| !part.starts_with("inventory."))
}

fn failed(error: std::io::Error) -> StepError {
    StepError::Passing(sentence!("the content could not be recalled: {error}"))
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::from(OffsetDateTime::from(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inventories_are_no_content() {
        let table = [
            ("inventory.json", false),
            ("inventory.json.sha512", false),
            ("0=ocfl_object_1.1", false),
            ("v1/inventory.json", false),
            ("v1/inventory.json.sha512", false),
            ("v1/content/a", true),
            ("v12/data/inventory.json", true),
            ("extensions/0001/config.json", false),
        ];
        for (path, expected) in table {
            assert_eq!(is_content(path), expected, "{path}");
        }
    }
}
