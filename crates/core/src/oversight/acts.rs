//! What an operator does about the work. Each act is one transaction, with an event and an entry of the audit log. Whoever
//! calls these has looked whether it is allowed.

use std::sync::Arc;

use tracing::info;

use super::{OversightError, Result};
use crate::audit::{self, AuditEntry, AuditKind};
use crate::db::events::{Event, EventKind};
use crate::db::orders::{Failure, FailureCode, Order, OrderKind};
use crate::db::packages::{self, PackageState};
use crate::db::{DatabaseError, Transaction, checks, deliveries, deposits, events, excerpts, orders, restores, steps};
use crate::deletion::{Agent, again};
use crate::ids;
use crate::installation::Installation;
use crate::order::{OrderState, Signal};
use crate::progress::{self, ProgressError};
use crate::sentence::sentence;
use crate::time::Timestamp;
use crate::trace;

/// The greatest urgency; the least is 1.
const HIGHEST: i64 = 100;

/// Orders again what failed or was rejected: a new order like it, for the same client. Gives its identifier.
///
/// An order never goes back, so this one has states, events and a delivery of its own. Duplicates are judged as they are
/// for any order. A deletion is asked for as far as it was not carried out, and has to be approved again where that is the
/// policy.
pub async fn retry(installation: &Arc<Installation>, agent: &Agent, order_id: &str) -> Result<String> {
    let kind = orders::get(&installation.database, order_id).await?.map(|order| order.kind);
    if kind == Some(OrderKind::Deletion) {
        return Ok(again::again(installation, agent, order_id).await?.id);
    }
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let failed = locked(&mut transaction, order_id).await?;
    if !matches!(failed.state, OrderState::Failed | OrderState::Rejected) {
        return Err(OversightError::NotFailed { order_id: failed.id, state: failed.state });
    }
    let order = Order {
        id: ids::new_id(),
        state: OrderState::Received,
        created: now,
        updated: now,
        delivered: None,
        failure: None,
        ..failed.clone()
    };
    match repeat(&mut transaction, installation, &failed, &order).await {
        Err(OversightError::Database(error)) if error.is_duplicate() => {
            drop(transaction);
            let existing = match order.kind {
                OrderKind::Dissemination => orders::unfinished(&installation.database, &order).await?,
                _ => None,
            };
            return Err(OversightError::Again { existing: existing.map(|order| order.id) });
        }
        repeated => repeated?,
    }
    steps::dead_settle(&mut transaction, &failed.id, now).await?;
    let detail = sentence!("order {} was repeated as order {}", failed.id, order.id);
    record(&mut transaction, agent, EventKind::OrderRepeated, &failed, detail, now).await?;
    transaction.commit().await?;
    info!(order_id, new_order_id = %order.id, agent = %agent.told(), "order repeated");
    installation.wake_workers();
    Ok(order.id)
}

/// Stores an order like another one, with what belongs to its kind.
async fn repeat(
    transaction: &mut Transaction,
    installation: &Installation,
    failed: &Order,
    order: &Order,
) -> Result<()> {
    progress::receive(transaction, order, &installation.settings).await?;
    match order.kind {
        OrderKind::Deposit => deposits::again(transaction, &failed.id, &order.id).await?,
        OrderKind::Restore => {
            if !restores::again(transaction, &failed.id, &order.id).await? {
                return Err(OversightError::NotRepeated(order.kind));
            }
        }
        OrderKind::Dissemination => {
            excerpts::again(transaction, &failed.id, &order.id).await?;
            let package = packages::get_locked(transaction, &order.package_id).await?;
            let package = package.ok_or_else(|| OversightError::PackageUnknown(order.package_id.clone()))?;
            if package.state != PackageState::Preserved {
                return Err(OversightError::Unfit { package_id: package.id, state: package.state });
            }
        }
        // Whose files are looked for again.
        OrderKind::Deletion => {}
    }
    Ok(())
}

/// Has an order that failed or was rejected told of no more, because it needs nothing more.
pub async fn dismiss(installation: &Installation, agent: &Agent, order_id: &str) -> Result<()> {
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let order = locked(&mut transaction, order_id).await?;
    if !matches!(order.state, OrderState::Failed | OrderState::Rejected) {
        return Err(OversightError::NotFailed { order_id: order.id, state: order.state });
    }
    if steps::dead_settle(&mut transaction, order_id, now).await? == 0 {
        return Err(OversightError::SeenTo(order.id));
    }
    let detail = sentence!("order {order_id}, which is {}, needs nothing more", order.state);
    record(&mut transaction, agent, EventKind::OrderDismissed, &order, detail, now).await?;
    transaction.commit().await?;
    info!(order_id, agent = %agent.told(), "order dismissed");
    Ok(())
}

/// Ends an order that is under way; takes back what was delivered for it. What had ended before stays as it is.
pub async fn cancel(installation: &Installation, agent: &Agent, order_id: &str) -> Result<OrderState> {
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let mut order = locked(&mut transaction, order_id).await?;
    let not_cancellable = |state| OversightError::NotCancellable { order_id: order_id.to_owned(), state };
    let state = order.state;
    if state == OrderState::Delivered {
        let released = match order.kind {
            OrderKind::Restore => restores::release(&mut transaction, order_id, now).await?,
            _ => deliveries::release(&mut transaction, order_id, now).await?,
        };
        if !released {
            return Err(not_cancellable(state));
        }
    } else {
        let message = sentence!("Withdrawn by {}.", agent.told());
        let failure = Some(Failure { code: FailureCode::Cancelled, message });
        let settings = &installation.settings;
        match progress::advance(&mut transaction, &mut order, Signal::Cancelled, failure, now, settings).await {
            Ok(_) => {}
            Err(ProgressError::Refused(_) | ProgressError::Overtaken(_)) => return Err(not_cancellable(state)),
            Err(ProgressError::Database(error)) => return Err(error.into()),
        }
    }
    let (kind, detail) = match state {
        OrderState::Delivered => {
            (EventKind::DeliveryTakenBack, sentence!("the delivery of order {order_id} was taken back"))
        }
        _ => (EventKind::OrderWithdrawn, sentence!("order {order_id} was withdrawn while it was {state}")),
    };
    record(&mut transaction, agent, kind, &order, detail, now).await?;
    transaction.commit().await?;
    if order.state.is_finished() && !state.is_finished() {
        trace::order_ended(&order);
    }
    info!(order_id, agent = %agent.told(), "{kind}");
    installation.wake_notifier();
    // What was given back is deleted soon.
    installation.wake_sweeper();
    Ok(order.state)
}

/// Gives an order that is under way another urgency.
pub async fn priority_set(installation: &Installation, agent: &Agent, order_id: &str, rank: i64) -> Result<()> {
    if !(1..=HIGHEST).contains(&rank) {
        return Err(OversightError::Rank(rank));
    }
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let mut order = locked(&mut transaction, order_id).await?;
    let before = std::mem::replace(&mut order.rank, rank);
    if !orders::rank_set(&mut transaction, order_id, rank).await? {
        return Err(OversightError::Finished { order_id: order.id, state: order.state });
    }
    steps::rank_set(&mut transaction, &order, installation.settings.ageing).await?;
    let detail = sentence!("the urgency of order {order_id} was {before} and is {rank}");
    record(&mut transaction, agent, EventKind::OrderMoved, &order, detail, now).await?;
    transaction.commit().await?;
    info!(order_id, rank, agent = %agent.told(), "order given another urgency");
    installation.wake_workers();
    Ok(())
}

/// Has a package read whole before all others.
pub async fn verify_soon(installation: &Installation, agent: &Agent, package_id: &str) -> Result<()> {
    let Some(period) = installation.settings.fixity.period else {
        return Err(OversightError::NotScheduled(package_id.to_owned()));
    };
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let found = packages::get_locked(&mut transaction, package_id).await?;
    let package = found.ok_or_else(|| OversightError::PackageUnknown(package_id.to_owned()))?;
    if matches!(package.state, PackageState::Missing | PackageState::Deleted) {
        return Err(OversightError::NothingStored { package_id: package.id, state: package.state });
    }
    checks::hasten(&mut transaction, package_id, now.minus(period)).await?;
    let mut event = Event::new(EventKind::CheckAskedFor, now);
    (event.agent, event.package_id) = (agent.told(), Some(package.id.clone()));
    events::insert(&mut transaction, &event).await?;
    let detail = sentence!("the package is to be read whole before all others");
    let entry = AuditEntry::of(AuditKind::Administration, &package, now);
    audit::record(&mut transaction, AuditEntry { agent: agent.told(), detail, ..entry });
    transaction.commit().await?;
    info!(package_id, agent = %agent.told(), "check asked for");
    installation.wake_scrubber();
    Ok(())
}

async fn locked(transaction: &mut Transaction, order_id: &str) -> Result<Order> {
    let found = orders::get_locked(transaction, order_id).await?;
    found.ok_or_else(|| OversightError::OrderUnknown(order_id.to_owned()))
}

/// The act, for the order's own record and for the log that cannot be changed.
pub(crate) async fn record(
    transaction: &mut Transaction,
    agent: &Agent,
    kind: EventKind,
    order: &Order,
    detail: String,
    now: Timestamp,
) -> std::result::Result<(), DatabaseError> {
    let package_id = Some(order.package_id.clone()).filter(|id| !id.is_empty());
    let mut event = Event::new(kind, now);
    (event.agent, event.order_id, event.package_id) = (agent.told(), Some(order.id.clone()), package_id.clone());
    event.detail.clone_from(&detail);
    events::insert(transaction, &event).await?;
    let entry = AuditEntry {
        agent: agent.told(),
        package_id,
        object_id: Some(order.object_id.clone()).filter(|id| !id.is_empty()),
        version: Some(order.version).filter(|version| *version > 0),
        detail,
        ..AuditEntry::new(AuditKind::Administration, &order.contract_id, now)
    };
    audit::record(transaction, entry);
    Ok(())
}
