//! What happened to packages and orders, and what keeps a package, for whoever may read them.

use crate::caller::Caller;
use crate::db::events::{self, Event};
use crate::db::excerpts;
use crate::db::holds::{self, LegalHold};
use crate::excerpt::Excerpt;
use crate::intake::{Intake, IntakeError};
use crate::time::Timestamp;

impl Intake {
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
