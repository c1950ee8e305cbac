//! What an operator looks at: the steps that are open and the orders that ended badly, on some contracts. Each list is read
//! from an index in the order in which it is wanted, contract by contract, so that it costs by what it shows.

use crate::db::packages::any_of;
use crate::db::steps::{StepKind, WaitsFor, Worked};
use crate::db::{Database, DatabaseError, Row, Statement, Value};
use crate::named::named;
use crate::order::{OrderKind, OrderState};
use crate::time::Timestamp;

/// So many contracts are asked for in one statement.
const CONTRACTS_AT_A_TIME: usize = 50;
/// Notices that were given up are counted up to this number.
const ABANDONED: u64 = 1000;

/// The states of steps that are not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepState {
    /// It can be claimed.
    Ready,
    /// It waits for something.
    Waiting,
    /// It is being worked on.
    Leased,
    /// It was given up.
    Dead,
}

named!(StepState, "state of a step": Ready => "ready", Waiting => "waiting", Leased => "leased", Dead => "dead");

/// How many steps of a kind are in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueCount {
    /// What is to be done.
    pub kind: StepKind,
    /// Where the steps stand.
    pub state: StepState,
    /// How many.
    pub count: u64,
    /// When the oldest of them was made.
    pub oldest: Timestamp,
    /// Since when the first of them has been in that state.
    pub since: Timestamp,
}

/// How many steps wait for the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitCount {
    /// For what, as far as it is known.
    pub waits_for: Option<WaitsFor>,
    /// How many.
    pub count: u64,
    /// When the first of them is looked at again.
    pub next: Timestamp,
}

/// A step that is ready, waits or is being worked on, with its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenStep {
    /// What is to be done.
    pub kind: StepKind,
    /// Where it stands.
    pub state: StepState,
    /// Its order.
    pub order_id: String,
    /// What is asked for with that.
    pub order_kind: OrderKind,
    /// Where the order stands.
    pub order_state: OrderState,
    /// The contract.
    pub contract_id: String,
    /// Who ordered.
    pub client_id: String,
    /// The package; empty where the order concerns several.
    pub package_id: String,
    /// The depositor's name for it.
    pub object_id: String,
    /// The bytes that the step reads.
    pub size_bytes: u64,
    /// The urgency, from 1 to 100.
    pub rank: i64,
    /// How often it was claimed.
    pub attempts: u64,
    /// When it was made.
    pub created: Timestamp,
    /// Since when it has been in its state.
    pub since: Timestamp,
    /// When it is looked at again, while it waits.
    pub run_after: Timestamp,
    /// Until when the lease holds, while it is worked on.
    pub lease_until: Timestamp,
    /// Host, process and slot that works on it.
    pub holder: String,
    /// What it waits for, while it waits.
    pub waits_for: Option<WaitsFor>,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// How far a deposit is.
    pub progress: Option<Progress>,
    /// How far the reading is, where that is known.
    pub worked: Worked,
}

/// How far the work on a deposit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Files that are there.
    pub done_files: u64,
    /// All files.
    pub all_files: u64,
    /// The bytes of those that are there.
    pub done_bytes: u64,
}

/// An order that came to no good end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedOrder {
    /// The order.
    pub id: String,
    /// What was asked for.
    pub kind: OrderKind,
    /// How it ended.
    pub state: OrderState,
    /// The contract.
    pub contract_id: String,
    /// Who ordered.
    pub client_id: String,
    /// The package; empty where the order concerns several.
    pub package_id: String,
    /// The depositor's name for it.
    pub object_id: String,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Why, as its client may read it.
    pub message: String,
    /// Why, as the step told it; nothing once somebody has seen to it.
    pub cause: Option<String>,
}

/// What was handed out and is still kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptDelivery {
    /// Its identifier.
    pub id: String,
    /// Its order.
    pub order_id: String,
    /// The contract.
    pub contract_id: String,
    /// Who ordered.
    pub client_id: String,
    /// The package.
    pub package_id: String,
    /// The depositor's name for it.
    pub object_id: String,
    /// Whether it was put into a store of deliveries.
    pub is_stored: bool,
    /// The lengths of its files, added up.
    pub size_bytes: u64,
    /// When it was published.
    pub created: Timestamp,
    /// When its newest links expire.
    pub expires: Timestamp,
    /// Until when it is kept.
    pub kept_until: Timestamp,
}

/// How many there are of something, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountSince {
    /// How many.
    pub count: u64,
    /// When the first of them came to be.
    pub first: Option<Timestamp>,
}

/// A statement for each of some contracts, all their rows together. `text` names the contract `$c`; its parameters with
/// numbers come first.
fn each(contract_ids: &[&str], text: &str, values: &[Value]) -> Statement {
    let part = |number: usize| {
        let text = text.replace("$c", &format!("${}", values.len() + number + 1));
        format!("SELECT * FROM ({text}) AS c{number}")
    };
    let parts: Vec<String> = (0..contract_ids.len()).map(part).collect();
    let statement = values.iter().cloned().fold(Statement::assembled(parts.join(" UNION ALL ")), Statement::bind);
    contract_ids.iter().fold(statement, |statement, id| statement.bind(*id))
}

pub(super) async fn rows_of_each(
    database: &Database,
    contract_ids: &[&str],
    text: &str,
    values: &[Value],
) -> Result<Vec<Row>, DatabaseError> {
    let mut rows = Vec::new();
    for some in contract_ids.chunks(CONTRACTS_AT_A_TIME) {
        rows.extend(database.rows(each(some, text, values)).await?);
    }
    Ok(rows)
}

/// The steps of a contract by kind and state. A test looks at its plan, as at those of the others.
pub const QUEUE: &str = "SELECT kind, state, COUNT(*) AS n, MIN(created) AS oldest, MIN(updated) AS since FROM steps
     WHERE contract_id = $c AND state IN ('ready', 'waiting', 'leased', 'dead') GROUP BY kind, state";

/// How many steps of each kind are in each state that is not done.
pub async fn queue(database: &Database, contract_ids: &[&str]) -> Result<Vec<QueueCount>, DatabaseError> {
    let mut found: Vec<QueueCount> = Vec::new();
    for row in rows_of_each(database, contract_ids, QUEUE, &[]).await? {
        let count = QueueCount {
            kind: row.parse("kind")?,
            state: row.parse("state")?,
            count: row.count("n")?,
            oldest: row.time("oldest")?,
            since: row.time("since")?,
        };
        match found.iter_mut().find(|known| (known.kind, known.state) == (count.kind, count.state)) {
            Some(known) => {
                known.count += count.count;
                known.oldest = known.oldest.min(count.oldest);
                known.since = known.since.min(count.since);
            }
            None => found.push(count),
        }
    }
    let place = |kind: StepKind| StepKind::ALL.iter().position(|known| *known == kind);
    found.sort_by_key(|count| (place(count.kind), count.state));
    Ok(found)
}

/// The waiting steps of a contract by what they wait for.
pub const WAITS: &str = "SELECT waits_for, COUNT(*) AS n, MIN(run_after) AS next FROM steps
     WHERE contract_id = $c AND state = 'waiting' GROUP BY waits_for";

/// How many steps wait for what.
pub async fn waits(database: &Database, contract_ids: &[&str]) -> Result<Vec<WaitCount>, DatabaseError> {
    let mut found: Vec<WaitCount> = Vec::new();
    for row in rows_of_each(database, contract_ids, WAITS, &[]).await? {
        let count = WaitCount { waits_for: waits_for(&row)?, count: row.count("n")?, next: row.time("next")? };
        match found.iter_mut().find(|known| known.waits_for == count.waits_for) {
            Some(known) => {
                known.count += count.count;
                known.next = known.next.min(count.next);
            }
            None => found.push(count),
        }
    }
    found.sort_by_key(|count| count.waits_for);
    Ok(found)
}

fn waits_for(row: &Row) -> Result<Option<WaitsFor>, DatabaseError> {
    if row.text("waits_for")?.is_empty() { Ok(None) } else { row.parse("waits_for").map(Some) }
}

/// The columns of an open step; the steps of one contract in one state come before it as `s`.
const STEP: &str = "s.kind, s.state, s.order_id, o.kind AS order_kind, o.state AS order_state, s.contract_id, o.client_id, \
     o.package_id, o.object_id, s.size_bytes, s.rank, s.attempts, s.created, s.updated, s.run_after, s.lease_until, \
     COALESCE(s.holder, '') AS holder, s.waits_for, s.failure, s.turn_at, d.file_count, d.retrieved, d.existing, \
     d.done_bytes, s.done_bytes AS worked_bytes, s.all_bytes";
const STEP_JOINS: &str = "JOIN orders o ON o.id = s.order_id LEFT JOIN deposits d ON d.order_id = s.order_id";

/// The statement for the steps of a contract in a state, in the order in which their list is shown.
pub fn steps_in(state: StepState) -> String {
    let (state, order) = match state {
        StepState::Ready => ("ready", "turn_at, order_id, id"),
        StepState::Waiting => ("waiting", "run_after"),
        StepState::Leased => ("leased", "updated, id"),
        StepState::Dead => ("dead", "kind, created"),
    };
    format!(
        "SELECT {STEP} FROM (SELECT * FROM steps WHERE state = '{state}' AND contract_id = $c ORDER BY {order} LIMIT $1) AS s
         {STEP_JOINS}"
    )
}

/// Steps in a state, at most `limit`: those that are ready in the order of their turns, those that wait by when they are
/// looked at again, those that are worked on by since when.
pub async fn steps(
    database: &Database,
    contract_ids: &[&str],
    state: StepState,
    limit: u32,
) -> Result<Vec<OpenStep>, DatabaseError> {
    let rows = rows_of_each(database, contract_ids, &steps_in(state), &[limit.into()]).await?;
    let mut found: Vec<(Timestamp, OpenStep)> = Vec::with_capacity(rows.len());
    for row in &rows {
        let step = open_step(row)?;
        let place = match state {
            StepState::Ready => row.time("turn_at")?,
            StepState::Waiting => step.run_after,
            StepState::Leased => step.since,
            StepState::Dead => step.created,
        };
        found.push((place, step));
    }
    found.sort_by(|(one, first), (other, second)| one.cmp(other).then_with(|| first.order_id.cmp(&second.order_id)));
    found.truncate(limit as usize);
    Ok(found.into_iter().map(|(_, step)| step).collect())
}

fn open_step(row: &Row) -> Result<OpenStep, DatabaseError> {
    let progress = match row.integer_or_null("file_count")? {
        Some(_) => Some(Progress {
            done_files: row.count("retrieved")?.saturating_add(row.count("existing")?),
            all_files: row.count("file_count")?,
            done_bytes: row.count("done_bytes")?,
        }),
        None => None,
    };
    Ok(OpenStep {
        kind: row.parse("kind")?,
        state: row.parse("state")?,
        order_id: row.text("order_id")?,
        order_kind: row.parse("order_kind")?,
        order_state: row.parse("order_state")?,
        contract_id: row.text("contract_id")?,
        client_id: row.text("client_id")?,
        package_id: row.text("package_id")?,
        object_id: row.text("object_id")?,
        size_bytes: row.count("size_bytes")?,
        rank: row.integer("rank")?,
        attempts: row.count("attempts")?,
        created: row.time("created")?,
        since: row.time("updated")?,
        run_after: row.time("run_after")?,
        lease_until: row.time("lease_until")?,
        holder: row.text("holder")?,
        waits_for: waits_for(row)?,
        failure: row.text_or_null("failure")?,
        progress,
        worked: Worked { done_bytes: row.count("worked_bytes")?, all_bytes: row.count("all_bytes")? },
    })
}

/// The steps that anybody works on, of any contract: by holder, with how many there are of each.
pub async fn held(database: &Database) -> Result<Vec<(String, u64)>, DatabaseError> {
    let query = "SELECT COALESCE(holder, '') AS holder, COUNT(*) AS n FROM steps WHERE state = 'leased'
                 GROUP BY holder ORDER BY 1";
    let rows = database.rows(Statement::assembled(query.to_owned())).await?;
    rows.iter().map(|row| Ok((row.text("holder")?, row.count("n")?))).collect()
}

/// The orders of a contract that ended badly, the last ones first.
pub const ENDED: &str = "SELECT id, kind, state, contract_id, client_id, package_id, object_id, created, updated,
         COALESCE(failure_message, '') AS message,
         (SELECT MIN(s.failure) FROM steps s WHERE s.order_id = orders.id AND s.state = 'dead') AS cause
     FROM orders WHERE contract_id = $c AND state IN ('failed', 'rejected') AND updated >= $1
     ORDER BY updated DESC, id DESC LIMIT $2";

/// The orders that failed or were rejected since a time, the last ones first.
pub async fn ended(
    database: &Database,
    contract_ids: &[&str],
    since: Timestamp,
    limit: u32,
) -> Result<Vec<EndedOrder>, DatabaseError> {
    let rows = rows_of_each(database, contract_ids, ENDED, &[since.into(), limit.into()]).await?;
    let order = |row: &Row| {
        Ok(EndedOrder {
            id: row.text("id")?,
            kind: row.parse("kind")?,
            state: row.parse("state")?,
            contract_id: row.text("contract_id")?,
            client_id: row.text("client_id")?,
            package_id: row.text("package_id")?,
            object_id: row.text("object_id")?,
            created: row.time("created")?,
            ended: row.time("updated")?,
            message: row.text("message")?,
            cause: row.text_or_null("cause")?,
        })
    };
    let mut found: Vec<EndedOrder> = rows.iter().map(order).collect::<Result<_, DatabaseError>>()?;
    found.sort_by(|one, other| (other.ended, &other.id).cmp(&(one.ended, &one.id)));
    found.truncate(limit as usize);
    Ok(found)
}

/// How many orders of a contract have steps that were given up and that nobody has seen to.
pub const DEAD: &str = "SELECT COUNT(*) AS n, MIN(updated) AS first FROM steps
     WHERE contract_id = $c AND state = 'dead' AND updated >= $1";

/// The orders that failed since a time, and to which nobody has seen.
pub async fn dead(database: &Database, contract_ids: &[&str], since: Timestamp) -> Result<CountSince, DatabaseError> {
    added_up(rows_of_each(database, contract_ids, DEAD, &[since.into()]).await?)
}

fn added_up(rows: Vec<Row>) -> Result<CountSince, DatabaseError> {
    let mut all = CountSince::default();
    for row in rows {
        all.count += row.count("n")?;
        all.first = [all.first, row.time_or_null("first")?].into_iter().flatten().min();
    }
    Ok(all)
}

/// The notices about orders on some contracts that were given up since a time.
pub async fn abandoned(
    database: &Database,
    contract_ids: &[&str],
    since: Timestamp,
) -> Result<CountSince, DatabaseError> {
    added_up(database.rows(given_up(contract_ids, since)).await?)
}

/// The statement of [`abandoned`].
pub fn given_up(contract_ids: &[&str], since: Timestamp) -> Statement {
    let mut values = Vec::with_capacity(contract_ids.len());
    // An expression, so that nobody begins with all orders of the contracts.
    let chosen = any_of("COALESCE(o.contract_id, '')", contract_ids, &mut values);
    let place = values.len() + 1;
    let text = format!(
        "SELECT COUNT(*) AS n, MIN(finished) AS first FROM (
             SELECT n.finished FROM notices n JOIN orders o ON o.id = n.order_id
             WHERE n.state = 'abandoned' AND n.finished >= ${place}{chosen} LIMIT {ABANDONED}) AS given_up"
    );
    values.into_iter().fold(Statement::assembled(text), Statement::bind).bind(since)
}

/// The deliveries of a contract that are kept, those first that are kept the shortest.
pub const KEPT: &str = "SELECT deliveries.id, deliveries.order_id, deliveries.contract_id, o.client_id, o.package_id,
         o.object_id, deliveries.store, deliveries.created, deliveries.expires, deliveries.kept_until,
         (SELECT CAST(COALESCE(SUM(f.size_bytes), 0) AS BIGINT) FROM delivery_files f WHERE f.delivery_id = deliveries.id)
             AS size_bytes
     FROM deliveries JOIN orders o ON o.id = deliveries.order_id
     WHERE deliveries.contract_id = $c AND deliveries.removed IS NULL AND deliveries.released IS NULL
         AND deliveries.kept_until >= $1 AND (deliveries.kept_until, deliveries.id) > ($1, $2)
     ORDER BY deliveries.kept_until, deliveries.id LIMIT $3";

/// The deliveries that are kept at a time, those first that are kept the shortest, behind the place `after`.
pub async fn kept(
    database: &Database,
    contract_ids: &[&str],
    after: (Timestamp, &str),
    limit: u32,
) -> Result<Vec<KeptDelivery>, DatabaseError> {
    let values = [after.0.into(), after.1.into(), limit.into()];
    let rows = rows_of_each(database, contract_ids, KEPT, &values).await?;
    let delivery = |row: &Row| {
        Ok(KeptDelivery {
            id: row.text("id")?,
            order_id: row.text("order_id")?,
            contract_id: row.text("contract_id")?,
            client_id: row.text("client_id")?,
            package_id: row.text("package_id")?,
            object_id: row.text("object_id")?,
            is_stored: row.text_or_null("store")?.is_some(),
            size_bytes: row.count("size_bytes")?,
            created: row.time("created")?,
            expires: row.time("expires")?,
            kept_until: row.time("kept_until")?,
        })
    };
    let mut found: Vec<KeptDelivery> = rows.iter().map(delivery).collect::<Result<_, DatabaseError>>()?;
    found.sort_by(|one, other| (one.kept_until, &one.id).cmp(&(other.kept_until, &other.id)));
    found.truncate(limit as usize);
    Ok(found)
}

/// The statement of a list for one contract, with its values. A test looks at its plan.
pub fn of_one(contract_id: &str, text: &str, values: &[Value]) -> Statement {
    each(&[contract_id], text, values)
}
