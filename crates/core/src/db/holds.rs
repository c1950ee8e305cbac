//! Legal holds: what must not be deleted. Whoever sets one, and whoever begins a deletion, holds the lock on the contract.

use crate::db::packages::any_of;
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::time::Timestamp;

const COLUMNS: &str = "id, contract_id, object_id, reason, set_by, created, lifted, lifted_by, lift_reason";

/// A legal hold, in force or lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegalHold {
    /// Its identifier.
    pub id: String,
    /// The contract.
    pub contract_id: String,
    /// The depositor's name for the package; `None` when all packages of the contract are held.
    pub object_id: Option<String>,
    /// Why.
    pub reason: String,
    /// Who set it.
    pub set_by: String,
    /// When it was set.
    pub created: Timestamp,
    /// When it was lifted.
    pub lifted: Option<Timestamp>,
    /// Who lifted it.
    pub lifted_by: Option<String>,
    /// Why it was lifted.
    pub lift_reason: Option<String>,
}

/// Writes a new hold.
pub async fn insert(transaction: &mut Transaction, hold: &LegalHold) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO holds (id, contract_id, object_id, reason, set_by, created)
                  VALUES ($1, $2, $3, $4, $5, $6)";
    let statement = sql(insert)
        .bind(&hold.id)
        .bind(&hold.contract_id)
        .bind(hold.object_id.clone())
        .bind(&hold.reason)
        .bind(&hold.set_by)
        .bind(hold.created);
    transaction.execute(statement).await.map(|_| ())
}

/// Lifts a hold; `false` when it is not in force.
pub async fn lift(
    transaction: &mut Transaction,
    id: &str,
    by: &str,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let update = "UPDATE holds SET lifted = $1, lifted_by = $2, lift_reason = $3 WHERE id = $4 AND lifted IS NULL";
    let statement = sql(update).bind(now).bind(by).bind(reason.map(str::to_owned)).bind(id);
    Ok(transaction.execute(statement).await? == 1)
}

/// A hold by its identifier.
pub async fn get(database: &Database, id: &str) -> Result<Option<LegalHold>, DatabaseError> {
    let text = format!("SELECT {COLUMNS} FROM holds WHERE id = $1");
    database.row(Statement::assembled(text).bind(id)).await?.as_ref().map(hold).transpose()
}

/// The holds on some contracts (`None`: on all), the oldest first; with those that were lifted, if they are wanted.
pub async fn list(
    database: &Database,
    contract_ids: Option<&[&str]>,
    with_lifted: bool,
) -> Result<Vec<LegalHold>, DatabaseError> {
    let mut values = Vec::new();
    let mut text = format!("SELECT {COLUMNS} FROM holds WHERE 1 = 1");
    if let Some(contract_ids) = contract_ids {
        text.push_str(&any_of("contract_id", contract_ids, &mut values));
    }
    if !with_lifted {
        text.push_str(" AND lifted IS NULL");
    }
    text.push_str(" ORDER BY id");
    let statement = values.into_iter().fold(Statement::assembled(text), Statement::bind);
    database.rows(statement).await?.iter().map(hold).collect()
}

/// The holds in force on a contract as a whole and on packages of it. The caller holds the lock on the contract, so none is
/// set before the transaction ends.
pub async fn in_force(transaction: &mut Transaction, contract_id: &str) -> Result<Vec<LegalHold>, DatabaseError> {
    let text = format!("SELECT {COLUMNS} FROM holds WHERE contract_id = $1 AND lifted IS NULL ORDER BY id");
    transaction.rows(Statement::assembled(text).bind(contract_id)).await?.iter().map(hold).collect()
}

fn hold(row: &Row) -> Result<LegalHold, DatabaseError> {
    Ok(LegalHold {
        id: row.text("id")?,
        contract_id: row.text("contract_id")?,
        object_id: row.text_or_null("object_id")?,
        reason: row.text("reason")?,
        set_by: row.text("set_by")?,
        created: row.time("created")?,
        lifted: row.time_or_null("lifted")?,
        lifted_by: row.text_or_null("lifted_by")?,
        lift_reason: row.text_or_null("lift_reason")?,
    })
}
