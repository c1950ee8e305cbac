//! What an operator sees of the work, and how it is steered.
//!
//! [`Oversight`] is a door like [`crate::intake::Intake`]: it takes a caller, and shows what belongs to the contracts on which
//! that one is an operator. Processes belong to nobody, and are shown to every operator. What is read is in
//! `db/oversight.rs`; what it comes to, `verdict.rs` says, which is pure; what can be done about orders is in
//! `acts.rs`, about contracts and clients in `management.rs`.

pub mod acts;
pub mod management;
pub mod presence;
pub mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::caller::{Caller, Role};
use crate::db::checks::{self, Standing};
use crate::db::gateways::{self, GatewayStanding};
use crate::db::oversight::{self as look, EndedOrder, KeptDelivery, OpenStep, QueueCount, StepState};
use crate::db::packages::{self, PackageState};
use crate::db::processes::{self, Process};
use crate::db::recalls::{self, RecallUnderWay};
use crate::db::tallies::{self, Tally, Unit};
use crate::db::{DatabaseError, orders, package_figures};
use crate::deletion::{Agent, DeletionError};
use crate::installation::Installation;
use crate::order::{OrderKind, OrderState};
use crate::time::Timestamp;
use verdict::{Facts, Finding};

/// For how long orders that ended badly, and notices that were given up, are told of.
const TOLD: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many entries each list of the work has at the most.
const SHOWN: u32 = 50;

/// The operators' door to one installation; cheap to clone.
#[derive(Clone, Debug)]
pub struct Oversight {
    installation: Arc<Installation>,
}

/// The state of the work on some contracts.
#[derive(Clone, Debug)]
pub struct WorkState {
    /// The time of all this.
    pub now: Timestamp,
    /// What is to be said of it, what matters most first.
    pub findings: Vec<Finding>,
    /// How many steps are where.
    pub queue: Vec<QueueCount>,
    /// The steps that are worked on, those that were claimed first at the top.
    pub running: Vec<OpenStep>,
    /// The steps that wait, those that are looked at first at the top.
    pub waiting: Vec<OpenStep>,
    /// The steps that are ready, of each contract in the order of their turns.
    pub ready: Vec<OpenStep>,
    /// What is being brought back from archive classes.
    pub recalls: Vec<RecallUnderWay>,
    /// The orders that ended badly in the last days.
    pub ended: Vec<EndedOrder>,
}

/// A process, and what it works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessView {
    /// The process. `None`: nobody of that name is known, although it holds leases.
    pub process: Option<Process>,
    /// Its name.
    pub name: String,
    /// Whether it was heard of lately.
    pub is_there: bool,
    /// How many leases it holds, on any contract.
    pub held: u64,
    /// Those on the contracts of whoever looks.
    pub leases: Vec<OpenStep>,
}

/// Where the checks of some contracts stand.
#[derive(Clone, Debug)]
pub struct FixityView {
    /// The time of this.
    pub now: Timestamp,
    /// Within which time every package is read again; `None` for never.
    pub period: Option<Duration>,
    /// What there is, and what of it was read within the period.
    pub standing: Standing,
    /// Packages that are damaged.
    pub damaged: u64,
    /// Packages that the storage root has lost.
    pub missing: u64,
    /// What was checked on each day, oldest first, without gaps.
    pub days: Vec<(Timestamp, Tally)>,
}

/// Why something is not shown, or not done.
#[derive(Debug, thiserror::Error)]
pub enum OversightError {
    /// The caller operates no contract.
    #[error("the operator role is needed for this")]
    NotAllowed,
    /// There is no such order, as far as the caller may know.
    #[error("there is no order {0}")]
    OrderUnknown(String),
    /// There is no such package, as far as the caller may know.
    #[error("there is no package {0}")]
    PackageUnknown(String),
    /// The order did not fail.
    #[error("order {order_id} is {state}: it neither failed nor was rejected")]
    NotFailed {
        /// The order.
        order_id: String,
        /// Its state.
        state: OrderState,
    },
    /// What was asked for is for its depositor to ask for again.
    #[error("a {0} is not repeated for somebody else: whoever asked for it can ask again")]
    NotRepeated(OrderKind),
    /// Somebody has ordered it again, or said that it needs nothing more.
    #[error("order {0} was seen to already")]
    SeenTo(String),
    /// A deletion cannot be asked for again.
    #[error(transparent)]
    Deletion(#[from] DeletionError),
    /// The package cannot be handed out.
    #[error("package {package_id} is {state}, so the order would fail again: have the package verified first")]
    Unfit {
        /// The package.
        package_id: String,
        /// Its state.
        state: PackageState,
    },
    /// The same was ordered again already.
    #[error("the same was asked for again already{}", existing.as_ref().map(|id| format!(": order {id}")).unwrap_or_default())]
    Again {
        /// The other order, if it is known.
        existing: Option<String>,
    },
    /// The order cannot be ended.
    #[error("order {order_id} is {state} and cannot be withdrawn any more")]
    NotCancellable {
        /// The order.
        order_id: String,
        /// Its state.
        state: OrderState,
    },
    /// The order has ended.
    #[error("order {order_id} is {state}: only what is under way has an urgency")]
    Finished {
        /// The order.
        order_id: String,
        /// Its state.
        state: OrderState,
    },
    /// No urgency.
    #[error("{0} is no urgency: use 1 to 100")]
    Rank(i64),
    /// There is nothing to read.
    #[error("package {package_id} is {state}: there is nothing to read")]
    NothingStored {
        /// The package.
        package_id: String,
        /// Its state.
        state: PackageState,
    },
    /// Nothing is read regularly.
    #[error("nothing is read by itself (fixity.period_days is 0): run `dipper verify --package {0}`")]
    NotScheduled(String),
    /// The database failed. For the log.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

type Result<T> = std::result::Result<T, OversightError>;

impl Oversight {
    /// The door to an installation.
    pub fn new(installation: Arc<Installation>) -> Oversight {
        Oversight { installation }
    }

    /// The state of the work: whether it is stuck, and why.
    pub async fn work(&self, caller: &Caller) -> Result<WorkState> {
        let contract_ids = operated(caller)?;
        let database = &self.installation.database;
        let now = self.installation.clock.now();
        let queue = look::queue(database, &contract_ids).await?;
        let findings = verdict::verdict(&self.facts(&contract_ids, &queue, now).await?);
        Ok(WorkState {
            now,
            findings,
            queue,
            running: look::steps(database, &contract_ids, StepState::Leased, SHOWN).await?,
            waiting: look::steps(database, &contract_ids, StepState::Waiting, SHOWN).await?,
            ready: look::steps(database, &contract_ids, StepState::Ready, SHOWN).await?,
            recalls: recalls::under_way(database, Some(&contract_ids), SHOWN).await?,
            ended: look::ended(database, &contract_ids, now.minus(TOLD), SHOWN).await?,
        })
    }

    async fn facts(&self, contract_ids: &[&str], queue: &[QueueCount], now: Timestamp) -> Result<Facts> {
        let Installation { database, settings, .. } = self.installation.as_ref();
        let in_state = |state: StepState| queue.iter().filter(move |count| count.state == state);
        let held = look::held(database).await?;
        let late = match (settings.fixity.period, checks::next(database, now).await?) {
            (Some(period), Some(next)) => Some(now.since(next.plus(period))),
            _ => None,
        };
        let states = package_figures::by_state(database, Some(contract_ids)).await?;
        Ok(Facts {
            now: Some(now),
            silence: settings.lease,
            ready: look::CountSince {
                count: in_state(StepState::Ready).map(|count| count.count).sum(),
                first: in_state(StepState::Ready).map(|count| count.since).min(),
            },
            running: in_state(StepState::Leased).map(|count| count.count).sum(),
            held: held.iter().map(|(_, count)| count).sum(),
            waits: look::waits(database, contract_ids).await?,
            processes: processes::list(database).await?,
            failed: look::dead(database, contract_ids, now.minus(TOLD)).await?,
            fixity_late: late,
            damaged: states.of(PackageState::Damaged),
            abandoned: look::abandoned(database, contract_ids, now.minus(TOLD)).await?,
        })
    }

    /// The processes of the installation, by name, with what they work on.
    pub async fn processes(&self, caller: &Caller) -> Result<Vec<ProcessView>> {
        process_views(&self.installation, Some(&operated(caller)?)).await
    }

    /// What was done in each of the last hours, oldest first, without gaps; the last one is the present hour.
    pub async fn throughput(&self, caller: &Caller, hours: u32) -> Result<Vec<(Timestamp, Tally)>> {
        self.tallied(&operated(caller)?, Unit::Hour, hours).await
    }

    /// Where the checks stand, and what was checked on each of the last days.
    pub async fn fixity(&self, caller: &Caller, days: u32) -> Result<FixityView> {
        let contract_ids = operated(caller)?;
        let Installation { database, settings, clock, .. } = self.installation.as_ref();
        let (now, period) = (clock.now(), settings.fixity.period);
        let since = now.minus(period.unwrap_or(crate::scrub::plan::DAY * 90));
        let states = package_figures::by_state(database, Some(&contract_ids)).await?;
        Ok(FixityView {
            now,
            period,
            standing: checks::standing_of(database, &contract_ids, since).await?,
            damaged: states.of(PackageState::Damaged),
            missing: states.of(PackageState::Missing),
            days: self.tallied(&contract_ids, Unit::Day, days).await?,
        })
    }

    async fn tallied(&self, contract_ids: &[&str], unit: Unit, count: u32) -> Result<Vec<(Timestamp, Tally)>> {
        let last = unit.begin(self.installation.clock.now());
        let first = last.minus(unit.length() * count.saturating_sub(1));
        let known = tallies::list(&self.installation.database, contract_ids, unit, first).await?;
        let known: BTreeMap<Timestamp, Tally> = known.into_iter().collect();
        let begins = (0..count).map(|number| first.plus(unit.length() * number));
        Ok(begins.map(|begin| (begin, known.get(&begin).copied().unwrap_or_default())).collect())
    }

    /// The gateways of the contracts, with what is known of how they answer.
    pub async fn gateways(&self, caller: &Caller) -> Result<Vec<GatewayStanding>> {
        Ok(gateways::standing(&self.installation.database, &operated(caller)?).await?)
    }

    /// The deliveries that are kept, those first that are kept the shortest: at most `limit` behind the place that an
    /// earlier page ended with.
    pub async fn deliveries(
        &self,
        caller: &Caller,
        after: Option<(Timestamp, &str)>,
        limit: u32,
    ) -> Result<Vec<KeptDelivery>> {
        let after = after.unwrap_or((self.installation.clock.now(), ""));
        Ok(look::kept(&self.installation.database, &operated(caller)?, after, limit).await?)
    }

    /// Orders again what failed, for the client that ordered it: gives the new order.
    pub async fn retry(&self, caller: &Caller, order_id: &str) -> Result<String> {
        self.steered(caller, order_id).await?;
        acts::retry(&self.installation, &agent(caller), order_id).await
    }

    /// Has an order that came to no good end told of no more: it needs nothing more.
    pub async fn dismiss(&self, caller: &Caller, order_id: &str) -> Result<()> {
        self.steered(caller, order_id).await?;
        acts::dismiss(&self.installation, &agent(caller), order_id).await
    }

    /// Ends an order that is under way, or gives back what was delivered for it.
    pub async fn cancel(&self, caller: &Caller, order_id: &str) -> Result<OrderState> {
        self.steered(caller, order_id).await?;
        acts::cancel(&self.installation, &agent(caller), order_id).await
    }

    /// Gives an order another urgency, 1 to 100: its steps move to another place in the line of its contract.
    pub async fn priority_set(&self, caller: &Caller, order_id: &str, rank: i64) -> Result<()> {
        self.steered(caller, order_id).await?;
        acts::priority_set(&self.installation, &agent(caller), order_id, rank).await
    }

    /// Has a package read whole before all others, by the next process that has time for it. One that is right again is
    /// open again.
    pub async fn verify_soon(&self, caller: &Caller, package_id: &str) -> Result<()> {
        let found = packages::get(&self.installation.database, package_id).await?;
        let known = found.filter(|package| caller.grants.has(&package.contract_id, Role::Operator));
        known.ok_or_else(|| OversightError::PackageUnknown(package_id.to_owned()))?;
        acts::verify_soon(&self.installation, &agent(caller), package_id).await
    }

    /// An order that the caller may steer is there.
    async fn steered(&self, caller: &Caller, order_id: &str) -> Result<()> {
        let found = orders::get(&self.installation.database, order_id).await?;
        let known = found.filter(|order| caller.grants.has(&order.contract_id, Role::Operator));
        known.map(|_| ()).ok_or_else(|| OversightError::OrderUnknown(order_id.to_owned()))
    }
}

/// The processes of an installation, with what they work on: on some contracts, or on all.
pub async fn process_views(installation: &Installation, contract_ids: Option<&[&str]>) -> Result<Vec<ProcessView>> {
    let database = &installation.database;
    let all = match contract_ids {
        Some(_) => Vec::new(),
        None => crate::db::contracts::ids(database).await?,
    };
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let leases = look::steps(database, contract_ids.unwrap_or(&all), StepState::Leased, SHOWN * 10).await?;
    let now = installation.clock.now();
    let mut views: BTreeMap<String, ProcessView> = BTreeMap::new();
    let view =
        |name: &str| ProcessView { process: None, name: name.to_owned(), is_there: false, held: 0, leases: Vec::new() };
    for process in processes::list(database).await? {
        let is_there = now.since(process.seen) <= installation.settings.lease;
        let name = process.name.clone();
        views.insert(name.clone(), ProcessView { process: Some(process), is_there, ..view(&name) });
    }
    for (holder, count) in look::held(database).await? {
        let name = process_of(&holder);
        views.entry(name.to_owned()).or_insert_with(|| view(name)).held += count;
    }
    for lease in leases {
        let name = process_of(&lease.holder).to_owned();
        views.entry(name.clone()).or_insert_with(|| view(&name)).leases.push(lease);
    }
    Ok(views.into_values().collect())
}

/// The process of a holder: its name without the number of the slot.
fn process_of(holder: &str) -> &str {
    holder.rsplit_once(':').map_or(holder, |(process, _)| process)
}

/// The contracts on which the caller is an operator.
fn operated(caller: &Caller) -> Result<Vec<&str>> {
    let contract_ids = caller.grants.contracts(Role::Operator);
    if contract_ids.is_empty() { Err(OversightError::NotAllowed) } else { Ok(contract_ids) }
}

fn agent(caller: &Caller) -> Agent {
    Agent::client(&caller.client_id, caller.stored)
}
