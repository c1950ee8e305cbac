//! How an order moves: state, event, next step and notices, always in the caller's one transaction.

use crate::assembly::Scope;
use crate::db::events::{Event, EventKind};
use crate::db::orders::{Channel, Failure, Order, OrderKind};
use crate::db::steps::StepKind;
use crate::db::tallies::{self, Tally};
use crate::db::{
    DatabaseError, Transaction, area_files, deposits, events, excerpts, mails, notices, orders, steps, webhooks,
};
use crate::ids;
use crate::order::{OrderState, Refused, Signal, Transition, transition};
use crate::sentence::sentence;
use crate::settings::Settings;
use crate::time::Timestamp;

/// Why an order did not move.
#[derive(Debug, thiserror::Error)]
pub enum ProgressError {
    /// The order has ended, or is somewhere else than was thought: somebody else moved it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Another transaction moved the order first.
    #[error("order {0} was moved by somebody else at the same time")]
    Overtaken(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Stores a new order with its first step.
pub async fn receive(transaction: &mut Transaction, order: &Order, settings: &Settings) -> Result<(), DatabaseError> {
    orders::insert(transaction, order).await?;
    record(transaction, order, &format!("client {}", order.client_id)).await?;
    steps::insert(transaction, order, StepKind::Admit, settings.ageing, order.created).await
}

/// As [`receive`], for a dissemination: what it is for is stored, and told by the event.
pub async fn receive_of(
    transaction: &mut Transaction,
    order: &Order,
    scope: &Scope,
    settings: &Settings,
) -> Result<(), DatabaseError> {
    orders::insert(transaction, order).await?;
    let detail = match &scope.excerpt {
        Some(excerpt) => {
            excerpts::insert(transaction, &order.id, excerpt).await?;
            sentence!("{}: {}", scope.told(), excerpt.told())
        }
        None => scope.told(),
    };
    record_with(transaction, order, &format!("client {}", order.client_id), detail).await?;
    steps::insert(transaction, order, StepKind::Admit, settings.ageing, order.created).await
}

/// When an order that was received has its first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At once.
    Now,
    /// Then, unless it is withdrawn before.
    At(Timestamp),
    /// When somebody has decided so.
    Decided,
}

/// As [`receive`], for an order that may have to wait. `agent` is who asked for it, as events name it.
pub async fn receive_as(
    transaction: &mut Transaction,
    order: &mut Order,
    agent: &str,
    begin: Begin,
    settings: &Settings,
) -> Result<(), ProgressError> {
    orders::insert(transaction, order).await?;
    record(transaction, order, agent).await?;
    let now = order.created;
    if begin != Begin::Now {
        advance(transaction, order, Signal::PutOff, None, now, settings).await?;
    }
    match begin {
        Begin::Now => steps::insert(transaction, order, StepKind::Admit, settings.ageing, now).await?,
        Begin::At(due) => steps::insert_for(transaction, order, StepKind::Admit, settings.ageing, due).await?,
        Begin::Decided => {}
    }
    Ok(())
}

/// Applies a signal to an order. `order` is changed only when the order moved.
///
/// Who admits an order says which step follows. A finished order takes its remaining steps out of the queue. A finished
/// dissemination owes a notice to each webhook of its client.
pub async fn advance(
    transaction: &mut Transaction,
    order: &mut Order,
    signal: Signal,
    failure: Option<Failure>,
    now: Timestamp,
    settings: &Settings,
) -> Result<Transition, ProgressError> {
    let step = transition(order.kind, order.state, signal)?;
    let Transition::To(next) = step else {
        return Ok(step);
    };
    let mut moved = order.clone();
    moved.state = next;
    moved.updated = now;
    moved.failure = failure;
    if next == OrderState::Delivered {
        moved.delivered = Some(now);
        let tally = Tally { delivered_orders: 1, delivered_bytes: moved.size_bytes, ..Tally::default() };
        tallies::record(transaction, &moved.contract_id, now, tally);
    }
    if !orders::update(transaction, &moved, order.state).await? {
        return Err(ProgressError::Overtaken(order.id.clone()));
    }
    record(transaction, &moved, "").await?;
    if next.is_finished() {
        steps::drop_unfinished(transaction, &moved.id, now).await?;
        match moved.kind {
            OrderKind::Dissemination => settle_dissemination(transaction, &moved, now, settings).await?,
            OrderKind::Deposit => settle_deposit(transaction, &moved, now).await?,
            OrderKind::Restore | OrderKind::Deletion => {}
        }
    }
    *order = moved;
    Ok(step)
}

/// What a finished dissemination gives up, and what it owes.
async fn settle_dissemination(
    transaction: &mut Transaction,
    order: &Order,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), DatabaseError> {
    if order.channel == Channel::Area && order.state != OrderState::Delivered {
        area_files::give_up(transaction, &order.id, now).await?;
    }
    owe_notices(transaction, order, now, settings).await?;
    owe_mail(transaction, order, now, settings).await
}

/// The next deposit of the package may go on. One that failed may be sent again, with the same files or others.
async fn settle_deposit(transaction: &mut Transaction, order: &Order, now: Timestamp) -> Result<(), DatabaseError> {
    steps::hasten(transaction, StepKind::Pull, &order.package_id, now).await?;
    if order.state != OrderState::Stored {
        deposits::discount(transaction, &order.id).await?;
    }
    Ok(())
}

/// Records that a client gave a delivery back.
pub async fn record_release(
    transaction: &mut Transaction,
    order: &Order,
    client_id: &str,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let mut event = Event::new(EventKind::DeliveryReleased, now);
    event.order_id = Some(order.id.clone());
    event.package_id = Some(order.package_id.clone());
    event.agent = format!("client {client_id}");
    events::insert(transaction, &event).await
}

async fn record(transaction: &mut Transaction, order: &Order, agent: &str) -> Result<(), DatabaseError> {
    let detail = order.failure.as_ref().map(|failure| failure.message.clone()).unwrap_or_default();
    record_with(transaction, order, agent, detail).await
}

async fn record_with(
    transaction: &mut Transaction,
    order: &Order,
    agent: &str,
    detail: String,
) -> Result<(), DatabaseError> {
    let mut event = Event::moved(order);
    event.detail = detail;
    if !agent.is_empty() {
        event.agent = agent.to_owned();
    }
    events::insert(transaction, &event).await
}

/// An e-mail to the people of the contract, when a package lies ready in their area.
async fn owe_mail(
    transaction: &mut Transaction,
    order: &Order,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), DatabaseError> {
    if let Some(mail) = &settings.mail
        && (order.state, order.channel) == (OrderState::Delivered, Channel::Area)
    {
        mails::insert(transaction, &order.id, &order.contract_id, now, now.plus(mail.give_up)).await?;
    }
    Ok(())
}

/// One message, under one identifier, to every webhook of the client; provided that the contract in which the order was made has
/// words for it.
async fn owe_notices(
    transaction: &mut Transaction,
    order: &Order,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), DatabaseError> {
    if settings.noticed.as_ref().is_some_and(|noticed| !noticed.contains(&order.dialect.as_str())) {
        return Ok(());
    }
    let id = format!("msg_{}", ids::new_id());
    for webhook_id in webhooks::enabled_ids_locked(transaction, &order.client_id).await? {
        let give_up = now.plus(settings.webhook_give_up);
        notices::insert(transaction, &id, &webhook_id, &order.id, now, give_up).await?;
    }
    Ok(())
}
