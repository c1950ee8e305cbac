//! Files in the incoming directories of areas, and what became of them.
//!
//! A row that is not taken stands for a file that lies under its path; there is one of these for a path at the most. Whoever
//! has the chore of picking up writes these rows, and works on what it has taken; the end of that work is fenced by the
//! holder's name.

use crate::db::packages::any_of;
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::named::named;
use crate::time::Timestamp;

const COLUMNS: &str = "id, contract_id, path, name, object_id, size_bytes, modified, inode, state, taken, attempts, due, \
                       reason, package_id, version, created, updated";

/// Where a submission stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmissionState {
    /// It is not old enough yet, or others come first, or it is tried again later.
    Waiting,
    /// It is read now.
    Working,
    /// It became a version of a package.
    Ingested,
    /// It was a list, and its answer is in the outgoing directory.
    Answered,
    /// It is not valid. It lies under its name again, with a report beside it.
    Refused,
}

named!(
    SubmissionState, "state of a submission":
    Waiting => "waiting",
    Working => "working",
    Ingested => "ingested",
    Answered => "answered",
    Refused => "refused",
);

impl SubmissionState {
    /// Whether there is nothing left of the file but what it became.
    pub fn is_done(self) -> bool {
        matches!(self, SubmissionState::Ingested | SubmissionState::Answered)
    }
}

/// What tells that a file is still the one that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Its length in bytes.
    pub size_bytes: u64,
    /// When it was last written, in nanoseconds since 1970, by the clock of its file system.
    pub modified: i64,
    /// Its number in its file system.
    pub inode: i64,
}

/// A file in the incoming directory of an area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Its identifier.
    pub id: String,
    /// The contract in whose area it was left.
    pub contract_id: String,
    /// Its path below the incoming directory.
    pub path: String,
    /// The last part of the path: the name of the container.
    pub name: String,
    /// The name that a package which it becomes would have; `None` of a list.
    pub object_id: Option<String>,
    /// How the file was when it was last seen.
    pub stamp: FileStamp,
    /// Where it stands.
    pub state: SubmissionState,
    /// Whether it was taken out of the incoming directory, out of reach of its sender.
    pub taken: bool,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// When it may be worked on.
    pub due: Timestamp,
    /// Why it was refused, or has to wait.
    pub reason: Option<String>,
    /// The package that it became a version of.
    pub package_id: Option<String>,
    /// Which version.
    pub version: Option<u32>,
    /// When it was first seen as it is.
    pub created: Timestamp,
    /// When its record last changed.
    pub updated: Timestamp,
}

/// Which submissions a list holds: those to which all of it applies.
#[derive(Clone, Debug, Default)]
pub struct SubmissionFilter {
    /// In these states; empty for any.
    pub states: Vec<SubmissionState>,
    /// That would be a package of one of these names; empty for any.
    pub object_ids: Vec<String>,
    /// With one of these file names; empty for any.
    pub names: Vec<String>,
    /// After the submission with this identifier.
    pub after: String,
    /// How many at the most.
    pub limit: u32,
}

/// How the work on a submission ended.
#[derive(Clone, Debug)]
pub struct Outcome<'a> {
    /// The state that it has now.
    pub state: SubmissionState,
    /// Why, where it was refused.
    pub reason: Option<&'a str>,
    /// The package and the version that it became, with the depositor's name for the package.
    pub package: Option<(&'a str, u32, &'a str)>,
}

/// Notes a file that was not known yet. If its path is known already, nothing is changed.
pub async fn insert(transaction: &mut Transaction, submission: &Submission) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO submissions (id, contract_id, path, name, object_id, size_bytes, modified, inode, state,
                      taken, holder, attempts, due, created, updated)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', $11, $12, $13, $14)
                  ON CONFLICT DO NOTHING";
    let statement = sql(insert)
        .bind(&submission.id)
        .bind(&submission.contract_id)
        .bind(&submission.path)
        .bind(&submission.name)
        .bind(submission.object_id.clone())
        .bind(submission.stamp.size_bytes)
        .bind(submission.stamp.modified)
        .bind(submission.stamp.inode)
        .bind(submission.state.name())
        .bind(submission.taken)
        .bind(submission.attempts)
        .bind(submission.due)
        .bind(submission.created)
        .bind(submission.updated);
    transaction.execute(statement).await.map(|_| ())
}

/// The files that lie in the incoming directories of all contracts, as far as they are known.
pub async fn lying(database: &Database) -> Result<Vec<Submission>, DatabaseError> {
    let text = format!("SELECT {COLUMNS} FROM submissions WHERE taken = 0 AND state IN ('waiting', 'refused')");
    list_of(database, Statement::assembled(text)).await
}

/// The submissions that were taken and whose files are not cleared away yet.
pub async fn taken(database: &Database) -> Result<Vec<Submission>, DatabaseError> {
    let text = format!("SELECT {COLUMNS} FROM submissions WHERE taken = 1 ORDER BY id");
    list_of(database, Statement::assembled(text)).await
}

/// Has a file that lies there looked at, now that it is another one, or its sender asks for it.
pub async fn renew(
    transaction: &mut Transaction,
    id: &str,
    stamp: FileStamp,
    due: Timestamp,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let update = "UPDATE submissions SET state = 'waiting', size_bytes = $1, modified = $2, inode = $3, due = $4,
                      attempts = 0, reason = NULL, created = $5, updated = $5
                  WHERE id = $6 AND taken = 0";
    let statement =
        sql(update).bind(stamp.size_bytes).bind(stamp.modified).bind(stamp.inode).bind(due).bind(now).bind(id);
    transaction.execute(statement).await.map(|_| ())
}

/// Forgets a submission.
pub async fn forget(transaction: &mut Transaction, id: &str) -> Result<(), DatabaseError> {
    transaction.execute(sql("DELETE FROM submissions WHERE id = $1").bind(id)).await.map(|_| ())
}

/// Forgets what was done with before a time.
pub async fn forget_done(database: &Database, before: Timestamp) -> Result<u64, DatabaseError> {
    let delete = "DELETE FROM submissions WHERE state IN ('ingested', 'answered') AND updated < $1 AND taken = 0";
    database.execute(sql(delete).bind(before)).await
}

/// The contracts that have something to be worked on now, sorted.
pub async fn due_contracts(database: &Database, now: Timestamp) -> Result<Vec<String>, DatabaseError> {
    let query =
        "SELECT DISTINCT contract_id FROM submissions WHERE state = 'waiting' AND due <= $1 ORDER BY contract_id";
    database.rows(sql(query).bind(now)).await?.iter().map(|row| row.text("contract_id")).collect()
}

/// What is to be worked on next of a contract: what has waited longest.
pub async fn next_of(
    database: &Database,
    contract_id: &str,
    now: Timestamp,
) -> Result<Option<Submission>, DatabaseError> {
    let text = format!(
        "SELECT {COLUMNS} FROM submissions WHERE contract_id = $1 AND state = 'waiting' AND due <= $2
         ORDER BY due, id LIMIT 1"
    );
    Ok(list_of(database, Statement::assembled(text).bind(contract_id).bind(now)).await?.pop())
}

/// When the next submission may be worked on, of those that wait.
pub async fn next_due(database: &Database) -> Result<Option<Timestamp>, DatabaseError> {
    let row = database.row(sql("SELECT MIN(due) AS due FROM submissions WHERE state = 'waiting'")).await?;
    row.map_or(Ok(None), |row| row.time_or_null("due"))
}

/// Notes that a submission is taken out of the incoming directory and worked on; `false` when it does not wait any more.
pub async fn take(database: &Database, id: &str, holder: &str, now: Timestamp) -> Result<bool, DatabaseError> {
    let update = "UPDATE submissions SET state = 'working', taken = 1, holder = $1, updated = $2
                  WHERE id = $3 AND state = 'waiting'";
    Ok(database.execute(sql(update).bind(holder).bind(now).bind(id)).await? == 1)
}

/// Puts a submission whose worker is gone back into the line.
pub async fn reclaim(database: &Database, id: &str, now: Timestamp) -> Result<(), DatabaseError> {
    let update = "UPDATE submissions SET state = 'waiting', holder = '', due = $1, updated = $1
                  WHERE id = $2 AND state = 'working'";
    database.execute(sql(update).bind(now).bind(id)).await.map(|_| ())
}

/// Has a submission wait until a time, because of something that will pass; `false` when somebody else works on it.
pub async fn postpone(
    database: &Database,
    id: &str,
    holder: &str,
    reason: &str,
    due: Timestamp,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let update =
        "UPDATE submissions SET state = 'waiting', holder = '', attempts = attempts + 1, reason = $1, due = $2,
                      updated = $3
                  WHERE id = $4 AND state = 'working' AND holder = $5";
    let statement = sql(update).bind(reason).bind(due).bind(now).bind(id).bind(holder);
    Ok(database.execute(statement).await? == 1)
}

/// Ends the work on a submission; `false` when somebody else works on it.
pub async fn end(
    transaction: &mut Transaction,
    id: &str,
    holder: &str,
    outcome: &Outcome<'_>,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let update = "UPDATE submissions SET state = $1, holder = '', reason = $2, package_id = $3, version = $4,
                      object_id = COALESCE($5, object_id), updated = $6
                  WHERE id = $7 AND state = 'working' AND holder = $8";
    let statement = sql(update)
        .bind(outcome.state.name())
        .bind(outcome.reason)
        .bind(outcome.package.map(|(id, _, _)| id))
        .bind(outcome.package.map(|(_, version, _)| version))
        .bind(outcome.package.map(|(_, _, object_id)| object_id))
        .bind(now)
        .bind(id)
        .bind(holder);
    Ok(transaction.execute(statement).await? == 1)
}

/// Notes that nothing of a submission is left out of its sender's reach, and how its file is if it lies under its path
/// again; what was noted of that path in between is forgotten.
pub async fn settle(
    transaction: &mut Transaction,
    submission: &Submission,
    stamp: Option<FileStamp>,
) -> Result<(), DatabaseError> {
    if let Some(stamp) = stamp {
        let delete = "DELETE FROM submissions WHERE contract_id = $1 AND path = $2 AND taken = 0
                          AND state IN ('waiting', 'refused')";
        transaction.execute(sql(delete).bind(&submission.contract_id).bind(&submission.path)).await?;
        let update = "UPDATE submissions SET size_bytes = $1, modified = $2, inode = $3 WHERE id = $4";
        let statement = sql(update).bind(stamp.size_bytes).bind(stamp.modified).bind(stamp.inode);
        transaction.execute(statement.bind(&submission.id)).await?;
    }
    let update = sql("UPDATE submissions SET taken = 0 WHERE id = $1").bind(&submission.id);
    transaction.execute(update).await.map(|_| ())
}

/// The submissions of some contracts (`None`: of all) that pass a filter, in the order in which they were first seen.
pub async fn list(
    database: &Database,
    contract_ids: Option<&[&str]>,
    filter: &SubmissionFilter,
) -> Result<Vec<Submission>, DatabaseError> {
    let mut values: Vec<&str> = vec![&filter.after];
    let mut text = format!("SELECT {COLUMNS} FROM submissions WHERE id > $1");
    if !filter.states.is_empty() && !filter.states.iter().any(|state| state.is_done()) {
        // In the words of the indexes, which are used only then.
        text.push_str(" AND state IN ('waiting', 'working', 'refused')");
    }
    let states: Vec<&str> = filter.states.iter().map(|state| state.name()).collect();
    let object_ids: Vec<&str> = filter.object_ids.iter().map(String::as_str).collect();
    let names: Vec<&str> = filter.names.iter().map(String::as_str).collect();
    for (column, wanted) in [("state", &states), ("object_id", &object_ids), ("name", &names)] {
        if !wanted.is_empty() {
            text.push_str(&any_of(column, wanted, &mut values));
        }
    }
    if let Some(contract_ids) = contract_ids {
        text.push_str(&any_of("contract_id", contract_ids, &mut values));
    }
    text.push_str(&format!(" ORDER BY id LIMIT {}", filter.limit));
    list_of(database, values.into_iter().fold(Statement::assembled(text), Statement::bind)).await
}

async fn list_of(database: &Database, statement: Statement) -> Result<Vec<Submission>, DatabaseError> {
    database.rows(statement).await?.iter().map(submission).collect()
}

fn submission(row: &Row) -> Result<Submission, DatabaseError> {
    Ok(Submission {
        id: row.text("id")?,
        contract_id: row.text("contract_id")?,
        path: row.text("path")?,
        name: row.text("name")?,
        object_id: row.text_or_null("object_id")?,
        stamp: FileStamp {
            size_bytes: row.count("size_bytes")?,
            modified: row.integer("modified")?,
            inode: row.integer("inode")?,
        },
        state: row.parse("state")?,
        taken: row.integer("taken")? == 1,
        attempts: row.number("attempts")?,
        due: row.time("due")?,
        reason: row.text_or_null("reason")?,
        package_id: row.text_or_null("package_id")?,
        version: row.integer_or_null("version")?.and_then(|version| u32::try_from(version).ok()),
        created: row.time("created")?,
        updated: row.time("updated")?,
    })
}
