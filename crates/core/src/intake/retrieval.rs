//! Retrievals: orders that are delivered into the area of the package's contract.

use crate::assembly::Scope;
use crate::caller::Caller;
use crate::db::events::{Event, EventKind};
use crate::db::orders::{Channel, Order};
use crate::db::packages::Package;
use crate::db::{area_files, events};
use crate::intake::portion::{Portion, Resolved};
use crate::intake::{Intake, IntakeError, OrderView};
use crate::sentence::sentence;
use crate::time::Timestamp;

/// The urgency of a retrieval, in the middle of what orders have.
const RANK: i64 = 50;

/// What is to be delivered into the area of a contract.
#[derive(Clone, Debug)]
pub struct OrderRetrieval {
    /// The package.
    pub package_id: String,
    /// What of it.
    pub portion: Portion,
    /// The language of the contract in which it is asked for.
    pub dialect: &'static str,
}

impl Intake {
    /// Orders a package, or a part of it, into the area of its contract. The checks come in this order: the caller's right,
    /// the package, its state, the version, the files, duplicates: the same content that is under way for the contract
    /// already, whoever ordered it.
    pub async fn retrieval_order(&self, caller: &Caller, command: OrderRetrieval) -> Result<OrderView, IntakeError> {
        let package = self.package_orderable(caller, &command.package_id).await?;
        let Resolved { scope, size_bytes } = self.resolve(&package, command.portion).await?;
        let order = Order {
            channel: Channel::Area,
            area_name: Some(area_name(&package, &scope)),
            priority: RANK,
            rank: RANK,
            ..self.new_order(caller, package, &scope, size_bytes, command.dialect)
        };
        self.order_accept(order, &scope, "retrieval received").await
    }

    /// Notes that a file of an area was fetched whole; it is removed some time later. `opened` is the time at which it was
    /// opened: a file that took its place since was not fetched. Says whether this was the first time.
    pub async fn area_fetched(&self, contract_id: &str, name: &str, opened: Timestamp) -> Result<bool, IntakeError> {
        let now = self.installation.clock.now();
        let mut transaction = self.installation.database.begin().await?;
        let found = area_files::fetched(&mut transaction, contract_id, name, opened, now).await?;
        let Some((order_id, package_id)) = found else { return Ok(false) };
        let mut event = Event::new(EventKind::DeliveryFetched, now);
        (event.order_id, event.package_id) = (Some(order_id), package_id);
        event.detail = sentence!("{name} from the area of contract {contract_id}");
        events::insert(&mut transaction, &event).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// The name of the file: it follows from what was ordered, so that the same order gives the same name again. The newest
/// version has no number in it, whether it was asked for by that or not.
fn area_name(package: &Package, scope: &Scope) -> String {
    let scope = Scope { is_named: scope.version != package.head, ..scope.clone() };
    format!("{}{}.tar", package.identifier, scope.suffix())
}
