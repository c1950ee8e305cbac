//! The one door: what contracts, console and command line can ask for, with the checks that hold for all of them. Finding
//! packages by their names is in `intake/lookup.rs` and `intake/search.rs`, deposits in `intake/deposit.rs`, the audit log in `intake/audit.rs`,
//! what of a package can be asked for in `intake/portion.rs`, delivery into areas in `intake/retrieval.rs`, what lies there in `intake/outgoing.rs`, files that are handed back one
//! by one in `intake/restore.rs`, and one file that somebody looks at in `intake/stored.rs`.

mod account;
mod audit;
mod deletion;
mod deposit;
mod filegroup;
mod history;
mod lookup;
pub(crate) mod notice;
mod outgoing;
mod portion;
mod restore;
mod retrieval;
mod search;
mod stored;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use dipper_archive::ocfl;
use tracing::{Instrument as _, info};

use crate::assembly::Scope;
use crate::caller::{Caller, Role};
use crate::db::area_files::AreaFile;
use crate::db::deliveries::Delivery;
use crate::db::orders::{Channel, Failure, FailureCode, Order, OrderFilter, OrderKind};
use crate::db::packages::{Package, PackageState, Version};
use crate::db::steps::{self, Worked};
use crate::db::{DatabaseError, area_files, deliveries, orders, packages};
use crate::deletion::Agent;
use crate::download::{DownloadError, Downloads, Fetch};
use crate::excerpt::Excerpt;
use crate::ids;
use crate::installation::Installation;
use crate::link::{LinkClaim, Links};
use crate::listing::Listings;
use crate::meter;
use crate::order::{OrderState, Signal};
use crate::oversight::Oversight;
use crate::progress::{self, ProgressError};
use crate::sentence::sentence;
use crate::trace;
use portion::Resolved;

pub use account::{Account, AccountError};
pub use audit::{AuditQuery, AuditRecord};
pub use deposit::{DepositCommand, DepositError, DepositFault};
pub use filegroup::{Filegroup, FilegroupError, StoredFile};
pub use history::FollowedOrder;
pub use lookup::{PackageRecord, PackageWork};
pub use notice::{ClientWebhook, NoticeError};
pub use outgoing::{AreaUse, OpenedFile, OutgoingError, OutgoingFile};
pub use portion::{FolderQuery, Portion};
pub use restore::{OrderRestore, RestoreError, RestoreView, RestoredFile};
pub use retrieval::OrderRetrieval;
pub use stored::{MOST_BYTES, StoredContent, StoredError, StoredQuery};

/// The door to one installation; cheap to clone.
#[derive(Clone)]
pub struct Intake {
    installation: Arc<Installation>,
    links: Links,
    downloads: Downloads,
    listings: Listings,
}

/// An order with what was handed out for it.
#[derive(Clone, Debug)]
pub struct OrderView {
    /// The order.
    pub order: Order,
    /// Its delivery, once there is one.
    pub delivery: Option<Delivery>,
    /// A link for each file of the delivery, where it is delivered by link.
    pub links: Vec<String>,
    /// Its file in the area of the contract, once there is room for one, where it is delivered into that.
    pub area_file: Option<AreaFile>,
}

/// What a client says when it orders a package.
#[derive(Clone, Debug)]
pub struct OrderDissemination {
    /// The package.
    pub package_id: String,
    /// What of it.
    pub portion: Portion,
    /// The urgency as the client gave it.
    pub priority: i64,
    /// The urgency as the queue sees it: higher goes first.
    pub rank: i64,
    /// The language of the contract in which it is asked for.
    pub dialect: &'static str,
}

/// Which packages a list holds.
#[derive(Clone, Debug, Default)]
pub struct PackageFilter {
    /// Of one contract alone.
    pub contract_id: Option<String>,
    /// With one name alone.
    pub object_id: Option<String>,
    /// After the package with this identifier.
    pub after: String,
    /// How many at the most.
    pub limit: u32,
}

/// Why something that was asked for is not done.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The caller lacks the role that it takes.
    #[error("the {role} role on the contract is needed for this")]
    NotAllowed {
        /// The role.
        role: Role,
    },
    /// There is no such package, as far as the caller may know.
    #[error("there is no package {0}")]
    PackageUnknown(String),
    /// The package has no such version.
    #[error("package {package_id} has no version {version}")]
    VersionUnknown {
        /// The package.
        package_id: String,
        /// The version.
        version: u32,
    },
    /// The package, or the part of it that is meant, has no such file or folder.
    #[error("package {package_id} has nothing at {path:?} there")]
    PathUnknown {
        /// The package.
        package_id: String,
        /// The path.
        path: String,
    },
    /// What the archive says of the package cannot be read. For the log, unless it lies in cold storage.
    #[error("the archive cannot be read: {0}")]
    Archive(#[from] ocfl::Error),
    /// There is no such order, as far as the caller may know.
    #[error("there is no order {0}")]
    OrderUnknown(String),
    /// The package is there, but cannot be handed out.
    #[error("package {package_id} is {state} and cannot be handed out{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    NotPreserved {
        /// The package.
        package_id: String,
        /// Its state.
        state: PackageState,
        /// Why, if it is known.
        reason: Option<String>,
    },
    /// That was ordered already, and the order is under way: by link, the same of the package by this client in the same dialect,
    /// so that the order can be shown there; into an area, the same content by anybody.
    #[error("order {existing} for the same package is under way")]
    AlreadyOrdered {
        /// The order that is under way.
        existing: String,
    },
    /// The order has no delivery yet, or never will.
    #[error("order {order_id} is {state}, so there is nothing to fetch")]
    NotDelivered {
        /// The order.
        order_id: String,
        /// Its state.
        state: OrderState,
    },
    /// The delivery was released, or is kept no longer.
    #[error("the delivery of order {0} is not kept any more: order the package again")]
    Gone(String),
    /// No link into the store can be made now. For the log; a client is told to come back.
    #[error(transparent)]
    Store(io::Error),
    /// The database failed. For the log; a client is told that something went wrong.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Intake {
    /// The door to an installation whose links begin as `links` says.
    pub fn new(installation: Arc<Installation>, links: Links) -> Intake {
        let downloads = Downloads::new(Arc::clone(&installation));
        Intake { installation, links, downloads, listings: Listings::default() }
    }

    /// The door for operators to the same installation.
    pub fn oversight(&self) -> Oversight {
        Oversight::new(Arc::clone(&self.installation))
    }

    /// Makes the links of deliveries.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Orders a package, or a part of it. The checks come in this order: the caller's right, the package, its state, the
    /// version, the files, duplicates.
    pub async fn order_dissemination(
        &self,
        caller: &Caller,
        command: OrderDissemination,
    ) -> Result<OrderView, IntakeError> {
        let package = self.package_orderable(caller, &command.package_id).await?;
        let Resolved { scope, size_bytes } = self.resolve(&package, command.portion).await?;
        let order = Order {
            priority: command.priority,
            rank: command.rank,
            ..self.new_order(caller, package, &scope, size_bytes, command.dialect)
        };
        self.order_accept(order, &scope, "order received").await
    }

    /// An order by link, without urgency.
    fn new_order(&self, caller: &Caller, package: Package, scope: &Scope, size_bytes: u64, dialect: &str) -> Order {
        let now = self.installation.clock.now();
        Order {
            id: ids::new_id(),
            kind: OrderKind::Dissemination,
            dialect: dialect.to_owned(),
            contract_id: package.contract_id,
            client_id: caller.client_id.clone(),
            client_stored: caller.stored,
            package_id: package.id,
            object_id: package.object_id,
            version: scope.version,
            named_version: scope.is_named.then_some(scope.version),
            view: scope.view,
            excerpt: scope.excerpt.as_ref().map(Excerpt::fingerprint),
            channel: Channel::Link,
            area_name: None,
            size_bytes,
            state: OrderState::Received,
            priority: 0,
            rank: 0,
            created: now,
            updated: now,
            delivered: None,
            failure: None,
        }
    }

    /// Stores an order and has it worked on; `told` is what the log says of it.
    async fn order_accept(&self, order: Order, scope: &Scope, told: &'static str) -> Result<OrderView, IntakeError> {
        self.order_store(&order, scope).instrument(trace::intake(&order)).await?;
        meter::order_received();
        info!(order_id = %order.id, package_id = %order.package_id, client_id = %order.client_id, "{told}");
        self.installation.wake_workers();
        Ok(OrderView { order, delivery: None, links: Vec::new(), area_file: None })
    }

    async fn order_store(&self, order: &Order, scope: &Scope) -> Result<(), IntakeError> {
        let database = &self.installation.database;
        loop {
            if let Some(existing) = orders::unfinished(database, order).await? {
                return Err(IntakeError::AlreadyOrdered { existing: existing.id });
            }
            let mut transaction = database.begin().await?;
            match progress::receive_of(&mut transaction, order, scope, &self.installation.settings).await {
                Ok(()) => return Ok(transaction.commit().await?),
                // The index of unfinished orders is the judge. It also makes it safe to ask again after an error at the
                // commit: the order that was stored all the same is found then.
                // Somebody was faster: the next turn finds that order, unless it is finished by then.
                Err(error) if error.is_duplicate() => drop(transaction),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// An order that the caller may see.
    pub async fn order_get(&self, caller: &Caller, id: &str) -> Result<OrderView, IntakeError> {
        let order = self.order_readable(caller, id).await?;
        let delivery = match order.delivered {
            Some(_) => deliveries::of_order(&self.installation.database, id).await?,
            None => None,
        };
        let area_file = match order.channel {
            Channel::Link => None,
            Channel::Area => area_files::of_orders(&self.installation.database, &[id]).await?.pop(),
        };
        self.view(order, delivery, area_file).await
    }

    /// How far the reading for an order is that the caller may see, while somebody reads and knows that.
    pub async fn order_worked(&self, caller: &Caller, id: &str) -> Result<Option<Worked>, IntakeError> {
        self.order_readable(caller, id).await?;
        Ok(steps::worked(&self.installation.database, id).await?)
    }

    async fn view(
        &self,
        order: Order,
        delivery: Option<Delivery>,
        area_file: Option<AreaFile>,
    ) -> Result<OrderView, IntakeError> {
        let links = match &delivery {
            Some(delivery) if delivery.released.is_none() && order.channel == Channel::Link => {
                self.links.of(delivery, self.installation.clock.now()).await.map_err(IntakeError::Store)?
            }
            _ => Vec::new(),
        };
        Ok(OrderView { order, delivery, links, area_file })
    }

    /// Orders that the caller may see, newest first.
    pub async fn order_list(&self, caller: &Caller, filter: &OrderFilter) -> Result<Vec<OrderView>, IntakeError> {
        let database = &self.installation.database;
        let orders = orders::list(database, &caller.grants.contracts(Role::Read), filter).await?;
        let delivered: Vec<&str> =
            orders.iter().filter(|order| order.delivered.is_some()).map(|order| order.id.as_str()).collect();
        let found = deliveries::of_orders(database, &delivered).await?;
        let mut found: HashMap<String, Delivery> =
            found.into_iter().map(|delivery| (delivery.order_id.clone(), delivery)).collect();
        let in_areas = orders.iter().filter(|order| order.channel == Channel::Area);
        let in_areas: Vec<&str> = in_areas.map(|order| order.id.as_str()).collect();
        let area_files =
            if in_areas.is_empty() { Vec::new() } else { area_files::of_orders(database, &in_areas).await? };
        let mut area_files: HashMap<String, AreaFile> =
            area_files.into_iter().map(|file| (file.order_id.clone(), file)).collect();
        let mut views = Vec::with_capacity(orders.len());
        for order in orders {
            let (delivery, area_file) = (found.remove(&order.id), area_files.remove(&order.id));
            views.push(self.view(order, delivery, area_file).await?);
        }
        Ok(views)
    }

    /// Withdraws an order that is not delivered yet, or gives a delivery back; what has ended otherwise stays as it
    /// is. For the client that ordered, and for those who write or operate on the contract.
    pub async fn order_cancel(&self, caller: &Caller, id: &str) -> Result<OrderView, IntakeError> {
        loop {
            let order = self.order_readable(caller, id).await?;
            let may = order.client_id == caller.client_id
                || caller.grants.has(&order.contract_id, Role::Write)
                || caller.grants.has(&order.contract_id, Role::Operator);
            if !may {
                return Err(IntakeError::NotAllowed { role: Role::Write });
            }
            match self.order_end(order, &caller.client_id).await {
                Ok(()) => return self.order_get(caller, id).await,
                // It moved between the reading and the writing: look again.
                Err(ProgressError::Overtaken(_) | ProgressError::Refused(_)) => {}
                Err(ProgressError::Database(error)) => return Err(error.into()),
            }
        }
    }

    async fn order_end(&self, mut order: Order, client_id: &str) -> Result<(), ProgressError> {
        let was_finished = order.state.is_finished();
        let now = self.installation.clock.now();
        let mut transaction = self.installation.database.begin().await?;
        if order.state == OrderState::Delivered {
            if deliveries::release(&mut transaction, &order.id, now).await? {
                progress::record_release(&mut transaction, &order, client_id, now).await?;
            }
        } else if !was_finished {
            let message = sentence!("Withdrawn by {}.", Agent::client(client_id, false).told());
            let failure = Some(Failure { code: FailureCode::Cancelled, message });
            let settings = &self.installation.settings;
            progress::advance(&mut transaction, &mut order, Signal::Cancelled, failure, now, settings).await?;
        }
        transaction.commit().await?;
        if !was_finished {
            trace::order_ended(&order);
        }
        self.installation.wake_notifier();
        // What was given back is deleted soon: links into the store work until then.
        self.installation.wake_sweeper();
        Ok(())
    }

    /// New links for a delivery that is still kept, without preparing it again. Earlier links keep their time.
    pub async fn delivery_renew(&self, caller: &Caller, order_id: &str) -> Result<OrderView, IntakeError> {
        let order = self.order_readable(caller, order_id).await?;
        let package = self.package_readable(caller, &order.package_id).await?;
        let database = &self.installation.database;
        let Some(delivery) = deliveries::of_order(database, order_id).await? else {
            return Err(IntakeError::NotDelivered { order_id: order.id, state: order.state });
        };
        if package.state != PackageState::Preserved {
            return Err(not_preserved(package));
        }
        if order.channel == Channel::Area {
            // Nothing leads to it but its name.
            return self.order_get(caller, order_id).await;
        }
        let now = self.installation.clock.now();
        let expires = now.plus(self.installation.settings.link_lifetime).min(delivery.kept_until);
        let mut transaction = database.begin().await?;
        if !deliveries::extend(&mut transaction, &delivery.id, expires, now).await? {
            return Err(IntakeError::Gone(order.id));
        }
        transaction.commit().await?;
        self.order_get(caller, order_id).await
    }

    /// A package that the caller may read, with its versions.
    pub async fn package_get(&self, caller: &Caller, id: &str) -> Result<(Package, Vec<Version>), IntakeError> {
        let package = self.package_readable(caller, id).await?;
        let versions = packages::versions(&self.installation.database, id).await?;
        Ok((package, versions))
    }

    /// Packages that the caller may read, sorted by identifier.
    pub async fn package_list(&self, caller: &Caller, filter: &PackageFilter) -> Result<Vec<Package>, IntakeError> {
        let mut contract_ids = caller.grants.contracts(Role::Read);
        if let Some(wanted) = &filter.contract_id {
            contract_ids.retain(|contract_id| contract_id == wanted);
        }
        let object_id = filter.object_id.as_deref();
        let database = &self.installation.database;
        Ok(packages::list(database, Some(&contract_ids), object_id, &filter.after, filter.limit).await?)
    }

    /// What a link leads to. The link is all that is asked of the caller.
    pub async fn download_open(&self, claim: &LinkClaim) -> Result<Fetch, DownloadError> {
        if !self.links.is_genuine(claim) {
            return Err(DownloadError::Forged);
        }
        if claim.has_expired(self.installation.clock.now()) {
            return Err(DownloadError::Expired);
        }
        self.downloads.open(&claim.delivery_id, claim.number).await
    }

    /// Whether the database and the storage root answer; the text says what does not.
    pub async fn check(&self) -> Result<(), String> {
        self.installation.check().await
    }

    async fn package_readable(&self, caller: &Caller, id: &str) -> Result<Package, IntakeError> {
        let not_allowed = IntakeError::NotAllowed { role: Role::Read };
        // Who may read nothing at all does not learn what exists.
        if !caller.grants.has_anywhere(Role::Read) {
            return Err(not_allowed);
        }
        let Some(package) = packages::get(&self.installation.database, id).await? else {
            return Err(IntakeError::PackageUnknown(id.to_owned()));
        };
        if caller.grants.has(&package.contract_id, Role::Read) { Ok(package) } else { Err(not_allowed) }
    }

    async fn order_readable(&self, caller: &Caller, id: &str) -> Result<Order, IntakeError> {
        let found = orders::get(&self.installation.database, id).await?;
        found
            .filter(|order| order.kind == OrderKind::Dissemination && caller.grants.has(&order.contract_id, Role::Read))
            .ok_or_else(|| IntakeError::OrderUnknown(id.to_owned()))
    }
}

fn not_preserved(package: Package) -> IntakeError {
    IntakeError::NotPreserved { package_id: package.id, state: package.state, reason: package.reason }
}
