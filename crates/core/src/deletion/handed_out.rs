//! Copies of content that is to be deleted, as they were handed out: their links end, and what lies in a store of deliveries
//! or in an area is removed before the archive's own bytes are.

use std::collections::BTreeSet;

use tracing::{info, warn};

use crate::area::sweep as areas;
use crate::db::events::{Event, EventKind};
use crate::db::orders::{Channel, Failure, FailureCode, Order, OrderKind, View};
use crate::db::{area_files, contracts, deliveries, events, orders};
use crate::installation::Installation;
use crate::order::Signal;
use crate::progress::{self, ProgressError};
use crate::sentence::sentence;
use crate::steps::StepError;
use crate::store::sweep as stores;
use crate::trace;

/// Ends the disseminations of some versions of a package, and removes what was delivered of them. Can be repeated.
pub(crate) async fn take_back(
    installation: &Installation,
    deletion: &Order,
    package_id: &str,
    versions: &BTreeSet<u32>,
) -> Result<(), StepError> {
    for order_id in orders::of_package(&installation.database, package_id, OrderKind::Dissemination).await? {
        take_back_one(installation, deletion, &order_id, versions).await?;
    }
    Ok(())
}

async fn take_back_one(
    installation: &Installation,
    deletion: &Order,
    order_id: &str,
    versions: &BTreeSet<u32>,
) -> Result<(), StepError> {
    let Some(order) = orders::get(&installation.database, order_id).await? else { return Ok(()) };
    if !holds_some(&order, versions) {
        return Ok(());
    }
    let order = end(installation, deletion, order).await?;
    let Some(delivery) = deliveries::of_order(&installation.database, order_id).await? else { return Ok(()) };
    let now = installation.clock.now();
    if order.channel == Channel::Area {
        let files = area_files::of_orders(&installation.database, &[order_id]).await?;
        for file in files.iter().filter(|file| file.placed.is_some() && file.removed.is_none()) {
            let why = Some(sentence!("what it holds is deleted"));
            areas::remove_file(installation, file, why, now).await.map_err(|error| away(&error))?;
        }
    }
    if delivery.removed.is_some() {
        return Ok(());
    }
    match (&delivery.store, &installation.store) {
        (None, _) => {}
        (Some(place), Some(store)) if place == store.place() => {
            stores::remove_delivery(installation, store, &delivery, now).await.map_err(|error| away(&error))?;
        }
        (Some(place), _) => {
            warn!(%order_id, %place, "a delivery lies in a store that is not configured any more: remove it there");
            let mut event = Event::new(EventKind::DeliveryNotRemoved, now);
            (event.success, event.order_id) = (false, Some(order_id.to_owned()));
            event.package_id = Some(order.package_id);
            event.detail = sentence!("{place} is not the store of deliveries any more");
            let mut transaction = installation.database.begin().await?;
            events::insert(&mut transaction, &event).await?;
            transaction.commit().await?;
        }
    }
    Ok(())
}

/// Whether an order hands out files of one of these versions.
fn holds_some(order: &Order, versions: &BTreeSet<u32>) -> bool {
    match order.view {
        View::Version => versions.contains(&order.version),
        View::Surface => versions.iter().any(|version| *version <= order.version),
    }
}

/// An order that is under way ends; of one that has delivered the links do.
async fn end(installation: &Installation, deletion: &Order, order: Order) -> Result<Order, StepError> {
    loop {
        let now = installation.clock.now();
        let mut transaction = installation.database.begin().await?;
        contracts::lock(&mut transaction, &order.contract_id).await?;
        let Some(mut order) = orders::get_locked(&mut transaction, &order.id).await? else { return Ok(order) };
        let mut ended = false;
        if order.state.is_finished() {
            if deliveries::release(&mut transaction, &order.id, now).await? {
                progress::record_release(&mut transaction, &order, &deletion.client_id, now).await?;
            }
        } else {
            let message = sentence!("The package, or a part of it, was deleted (deletion {}).", deletion.id);
            let failure = Some(Failure { code: FailureCode::NotPreserved, message });
            let settings = &installation.settings;
            match progress::advance(&mut transaction, &mut order, Signal::Rejected, failure, now, settings).await {
                Ok(_) => ended = true,
                // It moved between the reading and the writing: look again.
                Err(ProgressError::Refused(_) | ProgressError::Overtaken(_)) => continue,
                Err(ProgressError::Database(error)) => return Err(error.into()),
            }
        }
        transaction.commit().await?;
        if ended {
            info!(order_id = %order.id, deletion = %deletion.id, "an order ended because its package is deleted");
            trace::order_ended(&order);
            installation.wake_notifier();
        }
        return Ok(order);
    }
}

/// A deletion that has begun waits for what is away, however long.
fn away(error: &dyn std::fmt::Display) -> StepError {
    StepError::Away(sentence!("what was handed out could not be removed: {error}"))
}
