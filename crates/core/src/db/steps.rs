//! Steps: the queue. A step is claimed under a lease (`claims.rs`); each claim raises its fence, and nothing that a
//! former holder writes passes the fence.

use std::time::Duration;

use crate::db::orders::Order;
use crate::db::{Database, DatabaseError, Transaction, sql};
use crate::ids;
use crate::named::named;
use crate::share;
use crate::time::Timestamp;

/// The kinds of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// Takes a received order into the queue.
    Admit,
    /// Has content brought back from archive classes.
    Recall,
    /// Verifies the package and publishes the delivery.
    Prepare,
    /// Fetches the files of a deposit from their gateway, and stores them.
    Pull,
    /// Reads and checks what is to be restored.
    Check,
    /// Removes content.
    Delete,
}

named!(
    StepKind, "kind of step":
    Admit => "admit",
    Recall => "recall",
    Prepare => "prepare",
    Pull => "pull",
    Check => "check",
    Delete => "delete",
);

impl StepKind {
    /// Whether it reads the content of the order, and so costs by its size.
    pub fn reads_content(self) -> bool {
        match self {
            StepKind::Admit | StepKind::Recall | StepKind::Delete => false,
            StepKind::Prepare | StepKind::Pull | StepKind::Check => true,
        }
    }
}

/// What a waiting step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaitsFor {
    /// The storage, the store of deliveries, an area or a package that somebody else is changing.
    Storage,
    /// The gateway of a depositor.
    Gateway,
    /// Content from archive classes.
    Recall,
    /// The deposit of the version before.
    Turn,
    /// The next attempt, after one that failed.
    Retry,
    /// The end of the time in which it can be withdrawn.
    Grace,
}

named!(
    WaitsFor, "reason to wait":
    Storage => "storage",
    Gateway => "gateway",
    Recall => "recall",
    Turn => "turn",
    Retry => "retry",
    Grace => "grace",
);

/// A step that this process has claimed.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The step.
    pub step_id: String,
    /// Its order.
    pub order_id: String,
    /// What is to be done.
    pub kind: StepKind,
    /// The fencing token: a later claim has a higher one.
    pub fence: i64,
    /// Which attempt this is, from 1.
    pub attempt: i64,
}

/// How far the work on a step is, in bytes; 0 of 0 where nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worked {
    /// The bytes that were read.
    pub done_bytes: u64,
    /// All that are to be read.
    pub all_bytes: u64,
}

impl Worked {
    /// How much of it was read, of a hundred.
    pub fn percent(self) -> f64 {
        self.done_bytes as f64 / self.all_bytes.max(1) as f64 * 100.0
    }
}

/// How many steps are in which state, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepCount {
    /// ready, waiting, leased or dead.
    pub state: String,
    /// How many.
    pub count: u64,
    /// When the oldest of them was made.
    pub oldest: Timestamp,
}

/// A step that is being worked on, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldStep {
    /// Host, process and slot.
    pub holder: String,
    /// What is being done.
    pub kind: StepKind,
    /// For which order.
    pub order_id: String,
    /// On which contract.
    pub contract_id: String,
    /// The bytes that it reads.
    pub size_bytes: u64,
    /// Which attempt it is, from 1.
    pub attempt: i64,
    /// When it was claimed.
    pub claimed: Timestamp,
    /// When the lease runs out unless it is renewed.
    pub lease_until: Timestamp,
}

/// Adds a step of an order that can be claimed at once. `ageing` is what a point of urgency is worth in waiting.
pub async fn insert(
    transaction: &mut Transaction,
    order: &Order,
    kind: StepKind,
    ageing: Duration,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO steps (id, order_id, contract_id, kind, state, rank, size_bytes, turn_at, run_after,
                      lease_until, fence, attempts, created, updated)
                  VALUES ($1, $2, $3, $4, 'ready', $5, $6, $7, $8, 0, 0, 0, $8, $8)";
    let statement = sql(insert)
        .bind(ids::new_id())
        .bind(&order.id)
        .bind(&order.contract_id)
        .bind(kind.name())
        .bind(order.rank)
        .bind(if kind.reads_content() { order.size_bytes } else { 0 })
        .bind(share::turn_at(kind, order.created, order.rank, ageing))
        .bind(now);
    transaction.execute(statement).await.map(|_| ())
}

/// Adds a step of an order that cannot be claimed before a time.
pub async fn insert_for(
    transaction: &mut Transaction,
    order: &Order,
    kind: StepKind,
    ageing: Duration,
    due: Timestamp,
) -> Result<(), DatabaseError> {
    insert(transaction, order, kind, ageing, order.created).await?;
    let update = "UPDATE steps SET state = 'waiting', run_after = $1, waits_for = $2 WHERE order_id = $3 AND kind = $4 AND state = 'ready'";
    let update = sql(update).bind(due).bind(WaitsFor::Grace.name()).bind(&order.id).bind(kind.name());
    transaction.execute(update).await.map(|_| ())
}

/// When the next claim can find something that it cannot find now: a wait or a lease is over then.
pub async fn next_due(database: &Database) -> Result<Option<Timestamp>, DatabaseError> {
    let query = "SELECT MIN(due) AS due FROM (
                     SELECT MIN(run_after) AS due FROM steps WHERE state = 'waiting'
                     UNION ALL SELECT MIN(lease_until) + 1 AS due FROM steps WHERE state = 'leased') AS both_kinds";
    database.row(sql(query)).await?.map_or(Ok(None), |row| row.time_or_null("due"))
}

/// Lengthens a lease, and notes how far the work is; `false` when it is held by somebody else or nobody.
pub async fn renew(
    transaction: &mut Transaction,
    lease: &Lease,
    until: Timestamp,
    worked: Worked,
) -> Result<bool, DatabaseError> {
    let update = "UPDATE steps SET lease_until = $1, done_bytes = $4, all_bytes = $5
                  WHERE id = $2 AND fence = $3 AND state = 'leased'";
    let update = sql(update).bind(until).bind(&lease.step_id).bind(lease.fence);
    Ok(transaction.execute(update.bind(worked.done_bytes).bind(worked.all_bytes)).await? == 1)
}

/// How far the work on an order is, where somebody works on it and knows that.
pub async fn worked(database: &Database, order_id: &str) -> Result<Option<Worked>, DatabaseError> {
    let query = "SELECT done_bytes, all_bytes FROM steps WHERE order_id = $1 AND state = 'leased' AND all_bytes > 0
                 ORDER BY id";
    let row = database.row(sql(query).bind(order_id)).await?;
    row.map(|row| Ok(Worked { done_bytes: row.count("done_bytes")?, all_bytes: row.count("all_bytes")? })).transpose()
}

/// Whether the lease still holds, and goes on to hold until the end of the transaction: the fence of what is published
/// in it.
pub async fn holds(transaction: &mut Transaction, lease: &Lease) -> Result<bool, DatabaseError> {
    let query = "SELECT id FROM steps WHERE id = $1 AND fence = $2 AND state = 'leased'";
    Ok(transaction.row(sql(query).bind(&lease.step_id).bind(lease.fence).locking()).await?.is_some())
}

/// Whether some step of an order is being worked on under a fence, or was at a time after `since`.
pub async fn is_leased(
    database: &Database,
    order_id: &str,
    fence: i64,
    since: Timestamp,
) -> Result<bool, DatabaseError> {
    let query = "SELECT id FROM steps WHERE order_id = $1 AND fence = $2 AND state = 'leased' AND lease_until > $3";
    Ok(database.row(sql(query).bind(order_id).bind(fence).bind(since)).await?.is_some())
}

/// How a claimed step ends.
#[derive(Clone, Debug)]
pub enum StepEnd {
    /// It is done.
    Done,
    /// It is tried again after a time, with the reason.
    Later(Timestamp, String),
    /// It waits for something that takes its time, and is looked at again then. It has not failed: attempts are counted
    /// from the beginning.
    Asleep(Timestamp, WaitsFor),
    /// It is tried again after a time, because this is away, with the reason; the attempt does not count.
    Postponed(Timestamp, WaitsFor, String),
    /// It is handed back unharmed; the attempt does not count.
    HandedBack,
    /// It is given up, and kept with its reason.
    Dead(String),
}

/// Ends a claimed step; `false` when the lease does not hold any more, and nothing has changed then.
pub async fn end(
    transaction: &mut Transaction,
    lease: &Lease,
    end: StepEnd,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let (state, run_after, failure, uncounted, waits_for) = match end {
        StepEnd::Done => ("done", now, None, 0_i64, None),
        StepEnd::Later(run_after, reason) => ("waiting", run_after, Some(reason), 0, Some(WaitsFor::Retry)),
        StepEnd::Asleep(run_after, cause) => ("waiting", run_after, None, lease.attempt, Some(cause)),
        StepEnd::Postponed(run_after, cause, reason) => ("waiting", run_after, Some(reason), 1, Some(cause)),
        StepEnd::HandedBack => ("ready", now, None, 1, None),
        StepEnd::Dead(reason) => ("dead", now, Some(reason), 0, None),
    };
    let update = "UPDATE steps SET state = $1, run_after = $2, failure = COALESCE($3, failure), holder = NULL,
                      lease_until = 0, updated = $4, attempts = attempts - $5, waits_for = $6
                  WHERE id = $7 AND fence = $8 AND state = 'leased'";
    let statement = sql(update)
        .bind(state)
        .bind(run_after)
        .bind(failure)
        .bind(now)
        .bind(uncounted)
        .bind(waits_for.map_or("", WaitsFor::name))
        .bind(&lease.step_id)
        .bind(lease.fence);
    Ok(transaction.execute(statement).await? == 1)
}

/// Takes the unfinished steps of an order out of the queue, because the order has ended.
pub async fn drop_unfinished(
    transaction: &mut Transaction,
    order_id: &str,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let update = "UPDATE steps SET state = 'done', fence = fence + 1, holder = NULL, lease_until = 0, updated = $1
                  WHERE order_id = $2 AND state IN ('ready', 'waiting', 'leased')";
    transaction.execute(sql(update).bind(now).bind(order_id)).await.map(|_| ())
}

/// Has the sleeping steps of a kind looked at now that belong to unfinished orders of a package.
pub async fn hasten(
    transaction: &mut Transaction,
    kind: StepKind,
    package_id: &str,
    now: Timestamp,
) -> Result<u64, DatabaseError> {
    let update = "UPDATE steps SET run_after = $1
                  WHERE id IN (SELECT id FROM steps WHERE state = 'waiting' AND run_after > $1 AND kind = $2
                                   AND order_id IN (SELECT id FROM orders WHERE package_id = $3 AND finished = 0)
                               ORDER BY id /* lock */)";
    transaction.execute(sql(update).bind(now).bind(kind.name()).bind(package_id).skipping_locked()).await
}

/// Has the waiting steps of a kind tried now that belong to a contract.
pub async fn hasten_contract(
    transaction: &mut Transaction,
    kind: StepKind,
    contract_id: &str,
    now: Timestamp,
) -> Result<u64, DatabaseError> {
    let update = "UPDATE steps SET run_after = $1
                  WHERE id IN (SELECT id FROM steps WHERE state = 'waiting' AND run_after > $1 AND kind = $2
                                   AND contract_id = $3
                               ORDER BY id /* lock */)";
    transaction.execute(sql(update).bind(now).bind(kind.name()).bind(contract_id).skipping_locked()).await
}

/// Moves the unfinished steps of an order, which has another urgency now, to their place in the line.
pub async fn rank_set(transaction: &mut Transaction, order: &Order, ageing: Duration) -> Result<(), DatabaseError> {
    let query =
        "SELECT id, kind FROM steps WHERE order_id = $1 AND state IN ('ready', 'waiting', 'leased') ORDER BY id";
    for row in transaction.rows(sql(query).bind(&order.id).locking()).await? {
        let turn_at = share::turn_at(row.parse("kind")?, order.created, order.rank, ageing);
        let update = sql("UPDATE steps SET rank = $1, turn_at = $2 WHERE id = $3");
        transaction.execute(update.bind(order.rank).bind(turn_at).bind(row.text("id")?)).await?;
    }
    Ok(())
}

/// Lets the steps of an order rest that were given up, because somebody has seen to it.
pub async fn dead_settle(transaction: &mut Transaction, order_id: &str, now: Timestamp) -> Result<u64, DatabaseError> {
    let update = "UPDATE steps SET state = 'done', updated = $1 WHERE order_id = $2 AND state = 'dead'";
    transaction.execute(sql(update).bind(now).bind(order_id)).await
}

/// How many steps of a kind and contract are being worked on.
pub async fn held_of_contract(database: &Database, kind: StepKind, contract_id: &str) -> Result<u64, DatabaseError> {
    let query = "SELECT COUNT(*) AS n FROM steps WHERE state = 'leased' AND contract_id = $1 AND kind = $2";
    let row = database.row(sql(query).bind(contract_id).bind(kind.name())).await?;
    row.map_or(Ok(0), |row| row.count("n"))
}

/// How many steps are in each state that is not done.
pub async fn counts(database: &Database) -> Result<Vec<StepCount>, DatabaseError> {
    let query = "SELECT state, COUNT(*) AS n, MIN(created) AS oldest FROM steps
                 WHERE state IN ('ready', 'waiting', 'leased', 'dead') GROUP BY state ORDER BY state";
    let rows = database.rows(sql(query)).await?;
    rows.iter()
        .map(|row| Ok(StepCount { state: row.text("state")?, count: row.count("n")?, oldest: row.time("oldest")? }))
        .collect()
}

/// The steps that are being worked on, those that were claimed first at the top.
pub async fn held(database: &Database, limit: u32) -> Result<Vec<HeldStep>, DatabaseError> {
    let query = "SELECT COALESCE(holder, '') AS holder, kind, order_id, contract_id, size_bytes, attempts, updated,
                     lease_until
                 FROM steps WHERE state = 'leased' ORDER BY updated, id LIMIT $1";
    let rows = database.rows(sql(query).bind(limit)).await?;
    rows.iter()
        .map(|row| {
            Ok(HeldStep {
                holder: row.text("holder")?,
                kind: row.parse("kind")?,
                order_id: row.text("order_id")?,
                contract_id: row.text("contract_id")?,
                size_bytes: row.count("size_bytes")?,
                attempt: row.integer("attempts")?,
                claimed: row.time("updated")?,
                lease_until: row.time("lease_until")?,
            })
        })
        .collect()
}
