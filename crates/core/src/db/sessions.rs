//! Who is signed in to the console.

use crate::caller::{Caller, Grants};
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::time::Timestamp;

const COLUMNS: &str = "id, client_id, name, stored, grants, agent, address, created, seen, expires";

/// A session: one browser in which somebody has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its identifier, which gives no right to it.
    pub id: String,
    /// Who signed in. Of a client that is stored here, the grants are those of the moment at which it signed in.
    pub caller: Caller,
    /// What people call whoever it is.
    pub name: String,
    /// The program that was signed in with, as it calls itself.
    pub agent: String,
    /// The address that it was signed in from.
    pub address: String,
    /// When it began.
    pub created: Timestamp,
    /// When it was last used, to about a minute.
    pub seen: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

/// Writes a new session.
pub async fn insert(transaction: &mut Transaction, session: &Session, token_digest: &str) -> Result<(), DatabaseError> {
    let insert =
        "INSERT INTO sessions (id, client_id, name, stored, grants, agent, address, created, seen, expires, token_digest)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let grants: Vec<String> =
        session.caller.grants.iter().map(|(contract_id, role)| format!("{role} {contract_id}")).collect();
    let statement = sql(insert)
        .bind(&session.id)
        .bind(&session.caller.client_id)
        .bind(&session.name)
        .bind(i64::from(session.caller.stored))
        .bind(grants.join("\n"))
        .bind(&session.agent)
        .bind(&session.address)
        .bind(session.created)
        .bind(session.seen)
        .bind(session.expires)
        .bind(token_digest);
    transaction.execute(statement).await.map(|_| ())
}

/// The session with this token, unless it has ended.
pub async fn find(database: &Database, token_digest: &str, now: Timestamp) -> Result<Option<Session>, DatabaseError> {
    let query = format!("SELECT {COLUMNS} FROM sessions WHERE token_digest = $1 AND expires > $2");
    let row = database.row(Statement::assembled(query).bind(token_digest).bind(now)).await?;
    row.as_ref().map(session).transpose()
}

/// The sessions of a client that have not ended, the newest first.
pub async fn list(database: &Database, client_id: &str, now: Timestamp) -> Result<Vec<Session>, DatabaseError> {
    let query =
        format!("SELECT {COLUMNS} FROM sessions WHERE client_id = $1 AND expires > $2 ORDER BY id DESC LIMIT 1000");
    let rows = database.rows(Statement::assembled(query).bind(client_id).bind(now)).await?;
    rows.iter().map(session).collect()
}

/// Notes that a session was used, and until when it lasts now.
pub async fn touch(
    transaction: &mut Transaction,
    id: &str,
    seen: Timestamp,
    expires: Timestamp,
) -> Result<(), DatabaseError> {
    let update = sql("UPDATE sessions SET seen = $1, expires = $2 WHERE id = $3");
    transaction.execute(update.bind(seen).bind(expires).bind(id)).await.map(|_| ())
}

/// Ends a session of a client; `false` when it has no such session.
pub async fn remove(transaction: &mut Transaction, client_id: &str, id: &str) -> Result<bool, DatabaseError> {
    let delete = sql("DELETE FROM sessions WHERE id = $1 AND client_id = $2");
    Ok(transaction.execute(delete.bind(id).bind(client_id)).await? == 1)
}

/// Ends all sessions of a client, except for one if it is named; how many there were.
pub async fn remove_all(
    transaction: &mut Transaction,
    client_id: &str,
    except: Option<&str>,
) -> Result<u64, DatabaseError> {
    let delete = sql("DELETE FROM sessions WHERE client_id = $1 AND id <> $2");
    transaction.execute(delete.bind(client_id).bind(except.unwrap_or_default())).await
}

/// Forgets what has ended.
pub async fn sweep(transaction: &mut Transaction, now: Timestamp) -> Result<u64, DatabaseError> {
    transaction.execute(sql("DELETE FROM sessions WHERE expires <= $1").bind(now)).await
}

fn session(row: &Row) -> Result<Session, DatabaseError> {
    let text = row.text("grants")?;
    let mut grants = Grants::default();
    for line in text.lines() {
        let grant = line.split_once(' ').and_then(|(role, contract_id)| Some((role.parse().ok()?, contract_id)));
        let (role, contract_id) = grant.ok_or_else(|| DatabaseError::Value {
            column: "grants".to_owned(),
            message: format!("{line:?} is no role and contract"),
        })?;
        grants.add(contract_id, role);
    }
    let caller = Caller { client_id: row.text("client_id")?, grants, stored: row.integer("stored")? != 0 };
    Ok(Session {
        id: row.text("id")?,
        caller,
        name: row.text("name")?,
        agent: row.text("agent")?,
        address: row.text("address")?,
        created: row.time("created")?,
        seen: row.time("seen")?,
        expires: row.time("expires")?,
    })
}
