//! Asking again for a deletion that came to no good end: for what of its files is still there, as it was when the deletion was
//! asked for. It is an order of its own, and the policy, legal holds and approvals hold for it as for any other.

use std::sync::Arc;

use dipper_archive::ocfl;
use tracing::info;

use super::request::{conflicts, receive};
use super::{Agent, DeletionError, decision};
use crate::db::deletions::{self, Deletion, DeletionFile, Entry, Removal};
use crate::db::events::EventKind;
use crate::db::orders::Order;
use crate::db::{contracts, steps};
use crate::ids;
use crate::installation::Installation;
use crate::order::OrderState;
use crate::oversight::acts;
use crate::sentence::sentence;
use crate::steps::is_another;

/// Asks again, for the client that asked before. `agent` is who does so.
pub async fn again(installation: &Arc<Installation>, agent: &Agent, order_id: &str) -> Result<Order, DeletionError> {
    let view = decision::view(installation, order_id).await?;
    let failed = view.order;
    if !matches!(failed.state, OrderState::Failed | OrderState::Rejected) {
        return Err(DeletionError::NotFailed { order_id: failed.id, state: failed.state });
    }
    let request = deletions::request(&installation.database, order_id).await?;
    // What is stored from now on is not meant.
    let now = installation.clock.now();
    let (context, before, entries) = (Arc::clone(installation), failed.clone(), view.entries);
    let looking = tokio::task::spawn_blocking(move || left(&context, &before, entries)).await;
    let looked = looking.map_err(|error| DeletionError::Interrupted(error.to_string()))?;
    let entries = looked.map_err(|error| DeletionError::Interrupted(error.to_string()))?;
    if entries.is_empty() {
        return Err(DeletionError::NothingLeft(failed.id));
    }
    let settings = &installation.settings;
    let size_bytes = entries.iter().flat_map(|(_, files)| files).map(|file| file.size_bytes).sum();
    let mut order = Order {
        id: ids::new_id(),
        state: OrderState::Received,
        size_bytes,
        created: now,
        updated: now,
        failure: None,
        ..failed.clone()
    };
    let deletion = Deletion {
        order_id: order.id.clone(),
        policy: settings.deletion.policy,
        due: settings.deletion.due(now),
        file_count: entries.iter().map(|(entry, _)| entry.file_count).sum(),
        size_bytes,
        approved_by: None,
        approved: None,
        ..view.deletion
    };
    let mut transaction = installation.database.begin().await?;
    contracts::lock(&mut transaction, &failed.contract_id).await?;
    let names: Vec<&str> = entries.iter().map(|(entry, _)| entry.object_id.as_str()).collect();
    let faults = conflicts(&mut transaction, &failed.contract_id, &names).await?;
    if !faults.is_empty() {
        return Err(DeletionError::Faults(faults));
    }
    for (entry, _) in &entries {
        if let Some(existing) = deletions::unfinished(&mut transaction, &entry.package_id).await? {
            return Err(DeletionError::Again(existing));
        }
    }
    receive(&mut transaction, (agent, settings), &mut order, &deletion, &entries, request.as_deref()).await?;
    steps::dead_settle(&mut transaction, &failed.id, now).await?;
    let detail = sentence!("order {} was repeated as order {}", failed.id, order.id);
    acts::record(&mut transaction, agent, EventKind::OrderRepeated, &failed, detail, now).await?;
    transaction.commit().await?;
    info!(order_id, new_order_id = %order.id, agent = %agent.told(), files = deletion.file_count, "deletion repeated");
    installation.wake_workers();
    Ok(order)
}

/// What the deletion was to remove and did not, as far as it is there: nothing that came later under the same names.
fn left(
    installation: &Installation,
    order: &Order,
    entries: Vec<(Entry, Vec<DeletionFile>)>,
) -> Result<Vec<(Entry, Vec<DeletionFile>)>, ocfl::Error> {
    let mut found = Vec::new();
    for (entry, files) in entries {
        let object = match installation.archive.object(&entry.ocfl_id) {
            Err(ocfl::Error::NoSuchObject { .. }) => continue,
            object => object?,
        };
        let is_left = |file: &DeletionFile| {
            let is_there = object.inventory().file(file.version, &file.path).is_some();
            file.state != Removal::Deleted && is_there && !is_another(&object, order, file)
        };
        let pending = |file| DeletionFile { state: Removal::Pending, reason: None, ..file };
        let files: Vec<DeletionFile> = files.into_iter().filter(is_left).map(pending).collect();
        if !files.is_empty() {
            let number = u32::try_from(found.len() + 1).unwrap_or(u32::MAX);
            let file_count = files.len() as u64;
            let entry = Entry { number, file_count, state: Removal::Pending, reason: None, ended: None, ..entry };
            found.push((entry, files));
        }
    }
    Ok(found)
}
