//! What fixity checks find, on record.

use crate::db::events::Event;
use crate::db::packages::PackageState;
use crate::db::{DatabaseError, Transaction, events, packages};
use crate::installation::Installation;
use crate::meter;
use crate::time::Timestamp;

/// Marks a package as damaged in a transaction of its own, with an event.
pub async fn damage_record(installation: &Installation, package_id: &str, reason: &str) -> Result<(), DatabaseError> {
    let mut transaction = installation.database.begin().await?;
    damage(&mut transaction, package_id, reason, installation.clock.now()).await?;
    transaction.commit().await
}

/// Marks a package as damaged, with an event. One that is deleted or marked already keeps its state.
pub async fn damage(
    transaction: &mut Transaction,
    package_id: &str,
    reason: &str,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    meter::damaged();
    let found = packages::get_locked(transaction, package_id).await?;
    let mark = found.is_some_and(|package| matches!(package.state, PackageState::Preserved | PackageState::Missing));
    if mark {
        packages::state_set(transaction, package_id, PackageState::Damaged, Some(reason.to_owned()), now).await?;
    }
    record(transaction, package_id, false, reason, now).await
}

/// Records that all content of a package was read and matched; a mark of damage is lifted when `lift` says that the
/// whole object was checked.
pub async fn success(
    transaction: &mut Transaction,
    package_id: &str,
    lift: bool,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let found = packages::get_locked(transaction, package_id).await?;
    if lift && found.is_some_and(|package| matches!(package.state, PackageState::Damaged | PackageState::Missing)) {
        packages::state_set(transaction, package_id, PackageState::Preserved, None, now).await?;
    }
    packages::verified_set(transaction, package_id, now).await?;
    record(transaction, package_id, true, "", now).await
}

async fn record(
    transaction: &mut Transaction,
    package_id: &str,
    success: bool,
    detail: &str,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let mut event = Event::new("fixity check", now);
    event.success = success;
    event.package_id = Some(package_id.to_owned());
    event.detail = detail.to_owned();
    events::insert(transaction, &event).await
}
