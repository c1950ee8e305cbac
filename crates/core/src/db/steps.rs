//! Steps: the queue. A step is claimed under a lease; each claim raises its fence, and nothing that a former holder
//! writes passes the fence.

use crate::db::{Database, DatabaseError, Row, Transaction, sql};
use crate::ids;
use crate::named::named;
use crate::time::Timestamp;

/// The kinds of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// Takes a received order into the queue.
    Admit,
    /// Verifies the package and publishes the delivery.
    Prepare,
}

named!(StepKind, "kind of step": Admit => "admit", Prepare => "prepare");

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

/// Adds a step that can be claimed at once.
pub async fn insert(
    transaction: &mut Transaction,
    order_id: &str,
    kind: StepKind,
    rank: i64,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO steps (id, order_id, kind, state, rank, run_after, lease_until, fence, attempts, created,
                      updated)
                  VALUES ($1, $2, $3, 'ready', $4, $5, 0, 0, 0, $5, $5)";
    let statement = sql(insert).bind(ids::new_id()).bind(order_id).bind(kind.name()).bind(rank).bind(now);
    transaction.execute(statement).await.map(|_| ())
}

/// Makes ready what waited long enough, and what was leased to a worker that has not been heard of since.
pub async fn sweep(transaction: &mut Transaction, now: Timestamp) -> Result<u64, DatabaseError> {
    // Rows that somebody holds are being swept, claimed or ended by others.
    let waited = "UPDATE steps SET state = 'ready', updated = $1
                  WHERE id IN (SELECT id FROM steps WHERE state = 'waiting' AND run_after <= $1 /* lock */)";
    let lost = "UPDATE steps SET state = 'ready', updated = $1
                WHERE id IN (SELECT id FROM steps WHERE state = 'leased' AND lease_until < $1 /* lock */)";
    let mut changed = transaction.execute(sql(waited).bind(now).skipping_locked()).await?;
    changed += transaction.execute(sql(lost).bind(now).skipping_locked()).await?;
    Ok(changed)
}

/// Claims the most urgent ready step, the oldest order's among equals.
pub async fn claim(
    transaction: &mut Transaction,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Lease>, DatabaseError> {
    let update = "UPDATE steps SET state = 'leased', holder = $1, lease_until = $2, fence = fence + 1,
                      attempts = attempts + 1, updated = $3
                  WHERE id = (SELECT id FROM steps WHERE state = 'ready' ORDER BY rank DESC, order_id, id LIMIT 1
                              /* lock */)
                  RETURNING id, order_id, kind, fence, attempts";
    let row = transaction.row(sql(update).bind(holder).bind(until).bind(now).skipping_locked()).await?;
    row.as_ref().map(lease).transpose()
}

/// Whether the next claim would find a step, without taking the write lock.
pub async fn any_claimable(database: &Database, now: Timestamp) -> Result<bool, DatabaseError> {
    let query = "SELECT 1 AS n WHERE EXISTS (SELECT 1 FROM steps WHERE state = 'ready')
                     OR EXISTS (SELECT 1 FROM steps WHERE state = 'waiting' AND run_after <= $1)
                     OR EXISTS (SELECT 1 FROM steps WHERE state = 'leased' AND lease_until < $1)";
    Ok(database.row(sql(query).bind(now)).await?.is_some())
}

/// When the next claim can find something that it cannot find now: a wait or a lease is over then.
pub async fn next_due(database: &Database) -> Result<Option<Timestamp>, DatabaseError> {
    let query = "SELECT MIN(due) AS due FROM (
                     SELECT MIN(run_after) AS due FROM steps WHERE state = 'waiting'
                     UNION ALL SELECT MIN(lease_until) + 1 AS due FROM steps WHERE state = 'leased') AS both_kinds";
    database.row(sql(query)).await?.map_or(Ok(None), |row| row.time_or_null("due"))
}

/// Lengthens a lease; `false` when it is held by somebody else or nobody.
pub async fn renew(transaction: &mut Transaction, lease: &Lease, until: Timestamp) -> Result<bool, DatabaseError> {
    let update = "UPDATE steps SET lease_until = $1 WHERE id = $2 AND fence = $3 AND state = 'leased'";
    Ok(transaction.execute(sql(update).bind(until).bind(&lease.step_id).bind(lease.fence)).await? == 1)
}

/// Whether the lease still holds, and goes on to hold until the end of the transaction: the fence of what is published
/// in it.
pub async fn holds(transaction: &mut Transaction, lease: &Lease) -> Result<bool, DatabaseError> {
    let query = "SELECT id FROM steps WHERE id = $1 AND fence = $2 AND state = 'leased'";
    Ok(transaction.row(sql(query).bind(&lease.step_id).bind(lease.fence).locking()).await?.is_some())
}

/// How a claimed step ends.
#[derive(Clone, Debug)]
pub enum StepEnd {
    /// It is done.
    Done,
    /// It is tried again after a time, with the reason.
    Later(Timestamp, String),
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
    let (state, run_after, failure, uncounted) = match end {
        StepEnd::Done => ("done", now, None, 0_i64),
        StepEnd::Later(run_after, reason) => ("waiting", run_after, Some(reason), 0),
        StepEnd::HandedBack => ("ready", now, None, 1),
        StepEnd::Dead(reason) => ("dead", now, Some(reason), 0),
    };
    let update = "UPDATE steps SET state = $1, run_after = $2, failure = COALESCE($3, failure), holder = NULL,
                      lease_until = 0, updated = $4, attempts = attempts - $5
                  WHERE id = $6 AND fence = $7 AND state = 'leased'";
    let statement = sql(update)
        .bind(state)
        .bind(run_after)
        .bind(failure)
        .bind(now)
        .bind(uncounted)
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

/// How many steps are in each state that is not done.
pub async fn counts(database: &Database) -> Result<Vec<StepCount>, DatabaseError> {
    let query = "SELECT state, COUNT(*) AS n, MIN(created) AS oldest FROM steps
                 WHERE state IN ('ready', 'waiting', 'leased', 'dead') GROUP BY state ORDER BY state";
    let rows = database.rows(sql(query)).await?;
    rows.iter()
        .map(|row| Ok(StepCount { state: row.text("state")?, count: row.count("n")?, oldest: row.time("oldest")? }))
        .collect()
}

fn lease(row: &Row) -> Result<Lease, DatabaseError> {
    Ok(Lease {
        step_id: row.text("id")?,
        order_id: row.text("order_id")?,
        kind: row.parse("kind")?,
        fence: row.integer("fence")?,
        attempt: row.integer("attempts")?,
    })
}
