//! Retrievals: orders that are delivered into the area of the package's contract.

use crate::caller::Caller;
use crate::db::events::Event;
use crate::db::orders::{Channel, Order, OrderKind, View};
use crate::db::packages::{Package, PackageState, Version};
use crate::db::{area_files, events, packages};
use crate::ids;
use crate::intake::{Intake, IntakeError, OrderView, not_preserved};
use crate::order::OrderState;
use crate::time::Timestamp;

/// The urgency of a retrieval, in the middle of what orders have.
const RANK: i64 = 50;

/// What is to be delivered into the area of a contract.
#[derive(Clone, Debug)]
pub struct OrderRetrieval {
    /// The package.
    pub package_id: String,
    /// Which version of it; `None` for the newest.
    pub version: Option<u32>,
    /// That version alone, or what all versions up to it add up to.
    pub view: View,
    /// The language of the contract in which it is asked for.
    pub dialect: &'static str,
}

impl Intake {
    /// Orders a package into the area of its contract. The checks come in this order: the caller's right, the package, its
    /// state, the version, duplicates: the same content that is under way for the contract already, whoever ordered it.
    pub async fn retrieval_order(&self, caller: &Caller, command: OrderRetrieval) -> Result<OrderView, IntakeError> {
        let package = self.package_readable(caller, &command.package_id).await?;
        if package.state != PackageState::Preserved {
            return Err(not_preserved(package));
        }
        let number = command.version.unwrap_or(package.head);
        let versions = packages::versions(&self.installation.database, &package.id).await?;
        if !versions.iter().any(|version| version.number == number) {
            return Err(IntakeError::VersionUnknown { package_id: package.id, version: number });
        }
        let now = self.installation.clock.now();
        let order = Order {
            id: ids::new_id(),
            kind: OrderKind::Dissemination,
            dialect: command.dialect.to_owned(),
            client_id: caller.client_id.clone(),
            client_stored: caller.stored,
            version: number,
            view: command.view,
            channel: Channel::Area,
            area_name: Some(area_name(&package, number, command.view)),
            size_bytes: size_bytes(&versions, number, command.view),
            contract_id: package.contract_id,
            package_id: package.id,
            object_id: package.object_id,
            state: OrderState::Received,
            priority: RANK,
            rank: RANK,
            created: now,
            updated: now,
            delivered: None,
            failure: None,
        };
        self.order_accept(order, "retrieval received").await
    }

    /// Notes that a file of an area was fetched whole; it is removed some time later. `opened` is the time at which it was
    /// opened: a file that took its place since was not fetched. Says whether this was the first time.
    pub async fn area_fetched(&self, contract_id: &str, name: &str, opened: Timestamp) -> Result<bool, IntakeError> {
        let now = self.installation.clock.now();
        let mut transaction = self.installation.database.begin().await?;
        let found = area_files::fetched(&mut transaction, contract_id, name, opened, now).await?;
        let Some((order_id, package_id)) = found else { return Ok(false) };
        let mut event = Event::new("delivery fetched", now);
        (event.order_id, event.package_id) = (Some(order_id), package_id);
        event.detail = format!("{name} from the area of contract {contract_id}");
        events::insert(&mut transaction, &event).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// The name of the file: it follows from what was ordered, so that the same order gives the same name again.
fn area_name(package: &Package, version: u32, view: View) -> String {
    let mut name = package.identifier.clone();
    if version != package.head {
        name.push_str(&format!("_v{version}"));
    }
    if view == View::Surface {
        name.push_str("_surface");
    }
    name + ".tar"
}

/// How much is read for it. Of several versions that is not known before their inventory is read: all of them together are
/// what it can be at the most.
fn size_bytes(versions: &[Version], number: u32, view: View) -> u64 {
    let is_read = |version: &&Version| match view {
        View::Version => version.number == number,
        View::Surface => version.number <= number,
    };
    versions.iter().filter(is_read).map(|version| version.size_bytes).sum()
}
