//! What happened to packages and orders, and what keeps a package, for whoever may read them.

use crate::caller::{Caller, Role};
use crate::db::events::{self, Event};
use crate::db::holds::{self, LegalHold};
use crate::db::orders::Order;
use crate::db::steps::Worked;
use crate::db::{excerpts, orders, steps};
use crate::excerpt::Excerpt;
use crate::intake::{Intake, IntakeError};
use crate::time::Timestamp;

/// An order of any kind, as somebody follows it who may read its contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedOrder {
    /// The order.
    pub order: Order,
    /// How far the work on it is, while somebody works on it and knows that.
    pub worked: Option<Worked>,
    /// Its events, oldest first; the newest of them, if there are very many.
    pub events: Vec<Event>,
}

impl Intake {
    /// A dissemination, deposit, restore or deletion on a contract that the caller may read, with at most `limit` events.
    pub async fn order_follow(&self, caller: &Caller, id: &str, limit: u32) -> Result<FollowedOrder, IntakeError> {
        let database = &self.installation.database;
        let found = orders::get(database, id).await?;
        let order = found
            .filter(|order| caller.grants.has(&order.contract_id, Role::Read))
            .ok_or_else(|| IntakeError::OrderUnknown(id.to_owned()))?;
        let worked = if order.state.is_finished() { None } else { steps::worked(database, id).await? };
        let events = events::list(database, Some(id), None, limit).await?;
        Ok(FollowedOrder { order, worked, events })
    }

    /// What the clock shows by which deliveries are kept.
    pub fn now(&self) -> Timestamp {
        self.installation.clock.now()
    }

    /// The newest events of a package, newest first: at most `limit` of them, older than the event `before` where that is
    /// given.
    pub async fn package_events(
        &self,
        caller: &Caller,
        id: &str,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Event>, IntakeError> {
        let package = self.package_readable(caller, id).await?;
        Ok(events::of_package(&self.installation.database, &package.id, before, limit).await?)
    }

    /// The events of an order, oldest first; the newest of them, if there are more than `limit`.
    pub async fn order_events(&self, caller: &Caller, id: &str, limit: u32) -> Result<Vec<Event>, IntakeError> {
        let order = self.order_readable(caller, id).await?;
        Ok(events::list(&self.installation.database, Some(&order.id), None, limit).await?)
    }

    /// The files and folders that were chosen for an order, if it is not for all.
    pub async fn order_excerpt(&self, caller: &Caller, id: &str) -> Result<Option<Excerpt>, IntakeError> {
        let order = self.order_readable(caller, id).await?;
        Ok(excerpts::get(&self.installation.database, &order.id).await?)
    }

    /// The legal holds that keep a package from being deleted now.
    pub async fn package_holds(&self, caller: &Caller, id: &str) -> Result<Vec<LegalHold>, IntakeError> {
        let package = self.package_readable(caller, id).await?;
        let of_contract = [package.contract_id.as_str()];
        let mut found = holds::list(&self.installation.database, Some(&of_contract), false).await?;
        found.retain(|hold| hold.object_id.as_ref().is_none_or(|object_id| *object_id == package.object_id));
        Ok(found)
    }
}
