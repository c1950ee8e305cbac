//! Notices: messages owed to partners, each with a life and attempts of its own.

use crate::db::packages::any_of;
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::time::Timestamp;

/// A notice that this process has claimed for one attempt.
#[derive(Clone, Debug)]
pub struct NoticeLease {
    /// The message's identifier, the same at every attempt.
    pub id: String,
    /// Where it goes.
    pub webhook_id: String,
    /// The order it tells of.
    pub order_id: String,
    /// The fencing token of this claim.
    pub fence: i64,
    /// Which attempt this is, from 1.
    pub attempt: i64,
    /// How many attempts failed since it was made or replayed.
    pub failures: i64,
    /// When it was made.
    pub created: Timestamp,
    /// When no further attempt is made.
    pub give_up: Timestamp,
}

/// A notice, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The message's identifier.
    pub id: String,
    /// Where it goes.
    pub webhook_id: String,
    /// The order it tells of.
    pub order_id: String,
    /// pending, accepted or abandoned.
    pub state: String,
    /// When the next attempt is due, if it is pending.
    pub due: Timestamp,
    /// How many attempts were made.
    pub attempts: u64,
    /// When it was made.
    pub created: Timestamp,
}

/// One attempt to deliver a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: i64,
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in microseconds.
    pub duration_micros: u64,
    /// The HTTP status of the answer, if there was one.
    pub status: Option<i64>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeEnd {
    /// The partner has it.
    Accepted,
    /// It is tried again at that time.
    Later(Timestamp),
    /// It is given up.
    Abandoned,
}

/// Adds a notice for one webhook, due at once.
pub async fn insert(
    transaction: &mut Transaction,
    id: &str,
    webhook_id: &str,
    order_id: &str,
    now: Timestamp,
    give_up: Timestamp,
) -> Result<(), DatabaseError> {
    let insert =
        "INSERT INTO notices (id, webhook_id, order_id, state, due, fence, attempts, failures, give_up, created)
                  VALUES ($1, $2, $3, 'pending', $4, 0, 0, 0, $5, $4)";
    let statement = sql(insert).bind(id).bind(webhook_id).bind(order_id).bind(now).bind(give_up);
    transaction.execute(statement).await.map(|_| ())
}

/// Claims the notice that is due longest. A claim that outlives its lease is due again.
pub async fn claim(
    transaction: &mut Transaction,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<NoticeLease>, DatabaseError> {
    let update = "UPDATE notices SET due = $1, fence = fence + 1, attempts = attempts + 1
                  WHERE (id, webhook_id) = (
                      SELECT id, webhook_id FROM notices WHERE state = 'pending' AND due <= $2 ORDER BY due LIMIT 1
                      /* lock */)
                  RETURNING id, webhook_id, order_id, fence, attempts, failures, created, give_up";
    let row = transaction.row(sql(update).bind(until).bind(now).skipping_locked()).await?;
    row.as_ref().map(lease).transpose()
}

/// When the next notice is due, if any is pending.
pub async fn next_due(database: &Database) -> Result<Option<Timestamp>, DatabaseError> {
    let query = sql("SELECT MIN(due) AS due FROM notices WHERE state = 'pending'");
    database.row(query).await?.map_or(Ok(None), |row| row.time_or_null("due"))
}

/// Records an attempt and what follows it; `false` when another process has claimed the notice since.
pub async fn end(
    transaction: &mut Transaction,
    lease: &NoticeLease,
    attempt: &Attempt,
    end: NoticeEnd,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let (state, due, finished) = match end {
        NoticeEnd::Accepted => ("accepted", now, Some(now)),
        NoticeEnd::Later(due) => ("pending", due, None),
        NoticeEnd::Abandoned => ("abandoned", now, Some(now)),
    };
    let update = "UPDATE notices SET state = $1, due = $2, finished = $3, failures = failures + $4
                  WHERE id = $5 AND webhook_id = $6 AND fence = $7 AND state = 'pending'";
    let statement = sql(update)
        .bind(state)
        .bind(due)
        .bind(finished)
        .bind(attempt.failure.is_some())
        .bind(&lease.id)
        .bind(&lease.webhook_id)
        .bind(lease.fence);
    if transaction.execute(statement).await? != 1 {
        return Ok(false);
    }
    let insert = "INSERT INTO notice_attempts (notice_id, webhook_id, number, at, duration_micros, status, failure)
                  VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    let statement = sql(insert)
        .bind(&lease.id)
        .bind(&lease.webhook_id)
        .bind(attempt.number)
        .bind(attempt.at)
        .bind(attempt.duration_micros)
        .bind(attempt.status)
        .bind(attempt.failure.clone());
    transaction.execute(statement).await?;
    Ok(true)
}

/// Owes a notice anew, under the same identifier; to how many webhooks, 0 when there is none.
pub async fn replay(
    transaction: &mut Transaction,
    id: &str,
    webhook_id: Option<&str>,
    now: Timestamp,
    give_up: Timestamp,
) -> Result<u64, DatabaseError> {
    let text = "UPDATE notices SET state = 'pending', due = $1, failures = 0, give_up = $2,
                    finished = NULL, fence = fence + 1 WHERE id = $3";
    let statement = match webhook_id {
        Some(webhook_id) => Statement::assembled(format!("{text} AND webhook_id = $4"))
            .bind(now)
            .bind(give_up)
            .bind(id)
            .bind(webhook_id),
        None => sql(text).bind(now).bind(give_up).bind(id),
    };
    transaction.execute(statement).await
}

/// Gives up every pending notice of a webhook that was disabled.
pub async fn abandon_all(
    transaction: &mut Transaction,
    webhook_id: &str,
    now: Timestamp,
) -> Result<u64, DatabaseError> {
    let update = "UPDATE notices SET state = 'abandoned', finished = $1, fence = fence + 1
                  WHERE webhook_id = $2 AND state = 'pending'";
    transaction.execute(sql(update).bind(now).bind(webhook_id)).await
}

/// The notices of a webhook, newest first: at most `limit` of them, older than the one with the identifier `before` where
/// that is given.
pub async fn list(
    database: &Database,
    webhook_id: &str,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Notice>, DatabaseError> {
    let older = if before.is_some() { " AND id < $2" } else { "" };
    let text = format!(
        "SELECT id, webhook_id, order_id, state, due, attempts, created FROM notices
         WHERE webhook_id = $1{older} ORDER BY id DESC LIMIT {limit}"
    );
    let statement = [Some(webhook_id), before].into_iter().flatten().fold(Statement::assembled(text), Statement::bind);
    database.rows(statement).await?.iter().map(notice).collect()
}

/// A notice to a webhook.
pub async fn get(database: &Database, id: &str, webhook_id: &str) -> Result<Option<Notice>, DatabaseError> {
    let query = "SELECT id, webhook_id, order_id, state, due, attempts, created FROM notices
                 WHERE id = $1 AND webhook_id = $2";
    database.row(sql(query).bind(id).bind(webhook_id)).await?.as_ref().map(notice).transpose()
}

/// The attempts of some notices to a webhook, each with its notice; those of one notice oldest first.
pub async fn attempts_of(
    database: &Database,
    webhook_id: &str,
    ids: &[&str],
) -> Result<Vec<(String, Attempt)>, DatabaseError> {
    let mut values = vec![webhook_id];
    let text = format!(
        "SELECT notice_id, number, at, duration_micros, status, failure FROM notice_attempts
         WHERE webhook_id = $1{} ORDER BY notice_id, number",
        any_of("notice_id", ids, &mut values)
    );
    let rows = database.rows(values.into_iter().fold(Statement::assembled(text), Statement::bind)).await?;
    rows.iter().map(|row| Ok((row.text("notice_id")?, attempt(row)?))).collect()
}

fn attempt(row: &Row) -> Result<Attempt, DatabaseError> {
    Ok(Attempt {
        number: row.integer("number")?,
        at: row.time("at")?,
        duration_micros: row.count("duration_micros")?,
        status: row.integer_or_null("status")?,
        failure: row.text_or_null("failure")?,
    })
}

fn lease(row: &Row) -> Result<NoticeLease, DatabaseError> {
    Ok(NoticeLease {
        id: row.text("id")?,
        webhook_id: row.text("webhook_id")?,
        order_id: row.text("order_id")?,
        fence: row.integer("fence")?,
        attempt: row.integer("attempts")?,
        failures: row.integer("failures")?,
        created: row.time("created")?,
        give_up: row.time("give_up")?,
    })
}

fn notice(row: &Row) -> Result<Notice, DatabaseError> {
    Ok(Notice {
        id: row.text("id")?,
        webhook_id: row.text("webhook_id")?,
        order_id: row.text("order_id")?,
        state: row.text("state")?,
        due: row.time("due")?,
        attempts: row.count("attempts")?,
        created: row.time("created")?,
    })
}
