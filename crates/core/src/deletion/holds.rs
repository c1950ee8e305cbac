//! Legal holds. One that is in force keeps every deletion of what it covers from being accepted, and one that was accepted
//! before from being begun. A deletion that has begun cannot be stopped, so a hold that would come too late is refused.

use super::{Agent, DeletionError, check_reason};
use crate::audit::{self, AuditEntry, AuditKind};
use crate::db::events::{Event, EventKind};
use crate::db::holds::{self, LegalHold};
use crate::db::{Transaction, contracts, deletions, events, packages};
use crate::ids;
use crate::installation::Installation;
use crate::sentence::sentence;

/// Sets a hold on a contract, or on one package of it.
pub async fn set(
    installation: &Installation,
    agent: &Agent,
    contract_id: &str,
    object_id: Option<&str>,
    reason: &str,
) -> Result<LegalHold, DeletionError> {
    check_reason(reason)?;
    if let Some(object_id) = object_id
        && packages::find(&installation.database, contract_id, object_id).await?.is_none()
    {
        let (contract_id, object_id) = (contract_id.to_owned(), object_id.to_owned());
        return Err(DeletionError::PackageUnknown { contract_id, object_id });
    }
    let hold = LegalHold {
        id: ids::new_id(),
        contract_id: contract_id.to_owned(),
        object_id: object_id.map(str::to_owned),
        reason: reason.trim().to_owned(),
        set_by: agent.told(),
        created: installation.clock.now(),
        lifted: None,
        lifted_by: None,
        lift_reason: None,
    };
    let mut transaction = installation.database.begin().await?;
    if !contracts::lock(&mut transaction, contract_id).await? {
        return Err(DeletionError::ContractUnknown(contract_id.to_owned()));
    }
    if let Some(order_id) = deletions::under_way(&mut transaction, contract_id, object_id).await? {
        return Err(DeletionError::TooLate(order_id));
    }
    holds::insert(&mut transaction, &hold).await?;
    record(&mut transaction, EventKind::HoldSet, &hold, agent, &hold.reason, hold.created).await?;
    transaction.commit().await?;
    Ok(hold)
}

/// Lifts a hold.
pub async fn lift(
    installation: &Installation,
    agent: &Agent,
    id: &str,
    reason: Option<&str>,
) -> Result<LegalHold, DeletionError> {
    reason.map_or(Ok(()), check_reason)?;
    let unknown = || DeletionError::HoldUnknown(id.to_owned());
    let hold = holds::get(&installation.database, id).await?.ok_or_else(unknown)?;
    let now = installation.clock.now();
    let by = agent.told();
    let mut transaction = installation.database.begin().await?;
    contracts::lock(&mut transaction, &hold.contract_id).await?;
    if !holds::lift(&mut transaction, id, &by, reason, now).await? {
        return Err(unknown());
    }
    record(&mut transaction, EventKind::HoldLifted, &hold, agent, reason.unwrap_or_default(), now).await?;
    transaction.commit().await?;
    let (lifted_by, lift_reason) = (Some(by), reason.map(str::to_owned));
    Ok(LegalHold { lifted: Some(now), lifted_by, lift_reason, ..hold })
}

async fn record(
    transaction: &mut Transaction,
    kind: EventKind,
    hold: &LegalHold,
    agent: &Agent,
    reason: &str,
    now: crate::time::Timestamp,
) -> Result<(), DeletionError> {
    let mut event = Event::new(kind, now);
    event.agent = agent.told();
    let package = |object_id: &String| ids::package_id(&ids::ocfl_id(&hold.contract_id, object_id));
    event.package_id = hold.object_id.as_ref().map(package);
    let (id, contract_id) = (&hold.id, &hold.contract_id);
    event.detail = match (&hold.object_id, reason) {
        (None, "") => sentence!("{id} on all packages of contract {contract_id}"),
        (None, reason) => sentence!("{id} on all packages of contract {contract_id}: {reason}"),
        (Some(object_id), "") => sentence!("{id} on {object_id} of {contract_id}"),
        (Some(object_id), reason) => sentence!("{id} on {object_id} of {contract_id}: {reason}"),
    };
    let detail = match kind {
        EventKind::HoldSet => sentence!("legal hold set: {}", event.detail),
        _ => sentence!("legal hold lifted: {}", event.detail),
    };
    let entry = AuditEntry {
        agent: agent.told(),
        package_id: event.package_id.clone(),
        object_id: hold.object_id.clone(),
        detail,
        ..AuditEntry::new(AuditKind::Administration, &hold.contract_id, now)
    };
    audit::record(transaction, entry);
    Ok(events::insert(transaction, &event).await?)
}
