//! E-mail that is owed to the people of a contract: one for each delivery in its area, and one, to the operators too, for
//! each package that was found damaged.

use std::time::Duration;

use crate::db::packages::Package;
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::ids;
use crate::language::Language;
use crate::time::Timestamp;

/// How long it is tried to tell of damage.
const DAMAGE_GIVE_UP: Duration = Duration::from_secs(5 * 24 * 3600);

/// Where the people of a contract are written to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correspondence {
    /// Their address, if they want e-mail.
    pub address: Option<String>,
    /// Their language.
    pub language: Language,
}

/// An e-mail that this process has claimed for one attempt.
#[derive(Clone, Debug)]
pub struct MailLease {
    /// The order it tells of; a number of its own, where it tells of damage.
    pub order_id: String,
    /// The damage that it tells of, if it does.
    pub damage: Option<Damage>,
    /// Where it goes; empty for the operators.
    pub address: String,
    /// The language it is written in.
    pub language: Language,
    /// The fencing token of this claim.
    pub fence: i64,
    /// Which attempt this is, from 1.
    pub attempt: i64,
    /// When it was made.
    pub created: Timestamp,
    /// When no further attempt is made.
    pub give_up: Timestamp,
}

/// A package that was found damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The package.
    pub package_id: String,
    /// What was found.
    pub reason: String,
}

/// What follows an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailEnd {
    /// The mail server has it.
    Accepted,
    /// It is tried again at that time, for that reason.
    Later(Timestamp, String),
    /// It is given up, for that reason.
    Abandoned(String),
}

/// Where and how the people of a contract are written to.
pub async fn correspondence(database: &Database, contract_id: &str) -> Result<Option<Correspondence>, DatabaseError> {
    let query = sql("SELECT mail_address, language FROM contracts WHERE id = $1").bind(contract_id);
    let row = database.row(query).await?;
    row.map(|row| Ok(Correspondence { address: row.text_or_null("mail_address")?, language: row.parse("language")? }))
        .transpose()
}

/// Sets the address of a contract's people, and their language; `false` when there is no such contract.
pub async fn correspondence_set(
    transaction: &mut Transaction,
    contract_id: &str,
    correspondence: &Correspondence,
) -> Result<bool, DatabaseError> {
    let update = sql("UPDATE contracts SET mail_address = $1, language = $2 WHERE id = $3")
        .bind(correspondence.address.clone())
        .bind(correspondence.language.name())
        .bind(contract_id);
    Ok(transaction.execute(update).await? == 1)
}

/// Owes the people of the order's contract an e-mail, due at once, if they want any; whether they do.
pub async fn insert(
    transaction: &mut Transaction,
    order_id: &str,
    contract_id: &str,
    now: Timestamp,
    give_up: Timestamp,
) -> Result<bool, DatabaseError> {
    let insert = "INSERT INTO mails (order_id, address, language, state, due, fence, attempts, give_up, created)
                  SELECT $1, mail_address, language, 'pending', $2, 0, 0, $3, $2 FROM contracts
                  WHERE id = $4 AND mail_address IS NOT NULL
                  ON CONFLICT DO NOTHING";
    let insert = sql(insert).bind(order_id).bind(now).bind(give_up).bind(contract_id);
    Ok(transaction.execute(insert).await? == 1)
}

/// Owes the people of a package's contract, if they want e-mail, and the operators a message that it is damaged.
pub async fn insert_damage(
    transaction: &mut Transaction,
    package: &Package,
    reason: &str,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let begin =
        "INSERT INTO mails (order_id, package_id, reason, address, language, state, due, fence, attempts, give_up,
                     created)";
    let give_up = now.plus(DAMAGE_GIVE_UP);
    let ends = [
        (
            "SELECT $1, $2, $3, mail_address, language, 'pending', $4, 0, 0, $5, $4 FROM contracts
          WHERE id = $6 AND mail_address IS NOT NULL",
            package.contract_id.as_str(),
        ),
        ("VALUES ($1, $2, $3, '', $6, 'pending', $4, 0, 0, $5, $4)", Language::English.name()),
    ];
    for (end, last) in ends {
        let insert = Statement::assembled(format!("{begin} {end}"))
            .bind(ids::new_id())
            .bind(&package.id)
            .bind(reason)
            .bind(now)
            .bind(give_up)
            .bind(last);
        transaction.execute(insert).await?;
    }
    Ok(())
}

/// Claims the e-mail that is due longest. A claim that outlives its lease is due again.
pub async fn claim(
    transaction: &mut Transaction,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<MailLease>, DatabaseError> {
    let update = "UPDATE mails SET due = $1, fence = fence + 1, attempts = attempts + 1
                  WHERE order_id = (
                      SELECT order_id FROM mails WHERE state = 'pending' AND due <= $2 ORDER BY due LIMIT 1
                      /* lock */)
                  RETURNING order_id, package_id, reason, address, language, fence, attempts, created, give_up";
    let row = transaction.row(sql(update).bind(until).bind(now).skipping_locked()).await?;
    row.as_ref().map(lease).transpose()
}

/// When the next e-mail is due, if any is pending.
pub async fn next_due(database: &Database) -> Result<Option<Timestamp>, DatabaseError> {
    let query = sql("SELECT MIN(due) AS due FROM mails WHERE state = 'pending'");
    database.row(query).await?.map_or(Ok(None), |row| row.time_or_null("due"))
}

/// Records what came of an attempt; `false` when another process has claimed the e-mail since.
pub async fn end(
    transaction: &mut Transaction,
    lease: &MailLease,
    end: MailEnd,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let (state, due, finished, failure) = match end {
        MailEnd::Accepted => ("accepted", now, Some(now), None),
        MailEnd::Later(due, failure) => ("pending", due, None, Some(failure)),
        MailEnd::Abandoned(failure) => ("abandoned", now, Some(now), Some(failure)),
    };
    let update = "UPDATE mails SET state = $1, due = $2, finished = $3, failure = $4
                  WHERE order_id = $5 AND fence = $6 AND state = 'pending'";
    let update = sql(update).bind(state).bind(due).bind(finished).bind(failure).bind(&lease.order_id).bind(lease.fence);
    Ok(transaction.execute(update).await? == 1)
}

fn lease(row: &Row) -> Result<MailLease, DatabaseError> {
    Ok(MailLease {
        order_id: row.text("order_id")?,
        damage: match row.text_or_null("package_id")? {
            Some(package_id) => Some(Damage { package_id, reason: row.text_or_null("reason")?.unwrap_or_default() }),
            None => None,
        },
        address: row.text("address")?,
        language: row.parse("language")?,
        fence: row.integer("fence")?,
        attempt: row.integer("attempts")?,
        created: row.time("created")?,
        give_up: row.time("give_up")?,
    })
}
