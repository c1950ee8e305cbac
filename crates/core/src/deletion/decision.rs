//! What is decided about a deletion that waits: that it is approved, or withdrawn; and what is told of deletions.

use std::collections::HashMap;

use tracing::info;

use super::request::covering;
use super::{Agent, DeletionError, DeletionSummary, DeletionView, Fault, FaultKind};
use crate::audit::{self, AuditEntry, AuditKind};
use crate::db::deletions::{self, Deletion, DeletionFilter, Policy, Tombstone};
use crate::db::events::{Event, EventKind};
use crate::db::orders::{Failure, FailureCode, Order, OrderFilter, OrderKind};
use crate::db::steps::StepKind;
use crate::db::{Transaction, contracts, events, holds, orders, steps};
use crate::installation::Installation;
use crate::order::{OrderState, Signal};
use crate::progress::{self, ProgressError};
use crate::sentence::sentence;
use crate::time::Timestamp;

/// Approves a deletion that waits for it. Whoever asked for it cannot.
pub async fn approve(
    installation: &Installation,
    agent: &Agent,
    order_id: &str,
) -> Result<DeletionView, DeletionError> {
    let (order, deletion) = load(installation, order_id).await?;
    if order.client_id.eq_ignore_ascii_case(&agent.name) {
        return Err(DeletionError::SamePerson(order.client_id));
    }
    let entries = deletions::entries(&installation.database, order_id).await?;
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    contracts::lock(&mut transaction, &order.contract_id).await?;
    let unknown = || DeletionError::Unknown(order_id.to_owned());
    let order = orders::get_locked(&mut transaction, order_id).await?.ok_or_else(unknown)?;
    let waits = order.state == OrderState::Held && deletion.policy == Policy::Approval;
    if !waits || !deletions::approve(&mut transaction, order_id, &agent.told(), now).await? {
        let approved = deletion.policy == Policy::Approval && (waits || deletion.approved.is_some());
        return Err(DeletionError::NotWaiting { order_id: order.id, state: order.state, approved });
    }
    let holds = holds::in_force(&mut transaction, &order.contract_id).await?;
    let mut faults = Vec::new();
    for entry in &entries {
        let held = covering(&holds, &entry.object_id).map(|hold| FaultKind::Held(hold.reason.clone()));
        faults.extend(held.map(|kind| Fault { filegroup: entry.object_id.clone(), file: None, kind }));
    }
    if !faults.is_empty() {
        return Err(DeletionError::Faults(faults));
    }
    steps::insert(&mut transaction, &order, StepKind::Admit, installation.settings.ageing, now).await?;
    let mut event = Event::new(EventKind::DeletionApproved, now);
    (event.agent, event.order_id) = (agent.told(), Some(order.id.clone()));
    event.package_id = Some(order.package_id.clone()).filter(|id| !id.is_empty());
    events::insert(&mut transaction, &event).await?;
    record(&mut transaction, agent, &order, sentence!("deletion {order_id} was approved"), now);
    transaction.commit().await?;
    info!(order_id, agent = %agent.told(), "deletion approved");
    installation.wake_workers();
    view(installation, order_id).await
}

/// Withdraws a deletion that has not begun. One that was withdrawn before stays so.
pub async fn withdraw(
    installation: &Installation,
    agent: &Agent,
    order_id: &str,
) -> Result<DeletionView, DeletionError> {
    loop {
        let unknown = || DeletionError::Unknown(order_id.to_owned());
        let now = installation.clock.now();
        let mut transaction = installation.database.begin().await?;
        let found = orders::get_locked(&mut transaction, order_id).await?;
        let mut order = found.filter(|order| order.kind == OrderKind::Deletion).ok_or_else(unknown)?;
        if order.state == OrderState::Cancelled {
            break;
        }
        let state = order.state;
        let failure = Failure { code: FailureCode::Cancelled, message: sentence!("Withdrawn by {}.", agent.told()) };
        let settings = &installation.settings;
        match progress::advance(&mut transaction, &mut order, Signal::Cancelled, Some(failure), now, settings).await {
            Ok(_) => {
                record(&mut transaction, agent, &order, sentence!("deletion {order_id} was withdrawn"), now);
                transaction.commit().await?;
                info!(order_id, agent = %agent.told(), "deletion withdrawn");
                break;
            }
            Err(ProgressError::Refused(_)) => {
                return Err(DeletionError::NotWithdrawable { order_id: order_id.to_owned(), state });
            }
            // It moved between the reading and the writing: look again.
            Err(ProgressError::Overtaken(_)) => {}
            Err(ProgressError::Database(error)) => return Err(error.into()),
        }
    }
    view(installation, order_id).await
}

/// For the log that cannot be changed.
fn record(transaction: &mut Transaction, agent: &Agent, order: &Order, detail: String, now: Timestamp) {
    let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let entry = AuditEntry {
        agent: agent.told(),
        package_id: known(&order.package_id),
        object_id: known(&order.object_id),
        detail,
        ..AuditEntry::new(AuditKind::Administration, &order.contract_id, now)
    };
    audit::record(transaction, entry);
}

/// A deletion with its files.
pub async fn view(installation: &Installation, order_id: &str) -> Result<DeletionView, DeletionError> {
    let (order, deletion) = load(installation, order_id).await?;
    let mut entries = Vec::new();
    for entry in deletions::entries(&installation.database, order_id).await? {
        let files = deletions::files(&installation.database, order_id, entry.number).await?;
        entries.push((entry, files));
    }
    Ok(DeletionView::new(order, deletion, entries))
}

/// The deletions on some contracts, newest first.
pub async fn list(
    installation: &Installation,
    contract_ids: &[&str],
    filter: &DeletionFilter,
) -> Result<Vec<DeletionSummary>, DeletionError> {
    let filter = OrderFilter {
        kind: OrderKind::Deletion,
        contract_id: filter.contract_id.clone(),
        states: filter.states.clone(),
        before: filter.before.clone(),
        limit: filter.limit,
        ..OrderFilter::default()
    };
    let database = &installation.database;
    let orders = orders::list(database, contract_ids, &filter).await?;
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = orders.iter().map(|order| order.id.as_str()).collect();
    let found = deletions::of_orders(database, &ids).await?;
    let mut found: HashMap<String, Deletion> =
        found.into_iter().map(|deletion| (deletion.order_id.clone(), deletion)).collect();
    let summary = |order: Order| {
        let deletion = found.remove(&order.id)?;
        Some(DeletionSummary { order, deletion })
    };
    Ok(orders.into_iter().filter_map(summary).collect())
}

/// What is remembered of the deleted files of a package, or of one file.
pub async fn tombstones(
    installation: &Installation,
    contract_id: &str,
    object_id: &str,
    path: Option<&str>,
) -> Result<Vec<Tombstone>, DeletionError> {
    Ok(deletions::tombstones(&installation.database, contract_id, object_id, path).await?)
}

/// A deletion and its order.
pub(crate) async fn load(installation: &Installation, order_id: &str) -> Result<(Order, Deletion), DeletionError> {
    let unknown = || DeletionError::Unknown(order_id.to_owned());
    let order = orders::get(&installation.database, order_id).await?.ok_or_else(unknown)?;
    let deletion = deletions::get(&installation.database, order_id).await?.ok_or_else(unknown)?;
    Ok((order, deletion))
}
