//! Webhooks: the addresses to which a client's notices go, with their encrypted secrets.

use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::time::Timestamp;

/// A webhook as the catalogue keeps it. Secrets are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its identifier.
    pub id: String,
    /// Whose notices go there.
    pub client_id: String,
    /// Where they go.
    pub url: String,
    /// The secret that signs, encrypted.
    pub secret: Vec<u8>,
    /// The former secret, encrypted, and until when it signs as well.
    pub previous: Option<(Vec<u8>, Timestamp)>,
    /// When it was added.
    pub created: Timestamp,
    /// Since when nothing is sent there, and why.
    pub disabled: Option<(Timestamp, String)>,
}

const COLUMNS: &str =
    "id, client_id, url, secret, previous_secret, previous_expires, created, disabled, disabled_reason";

/// Adds a webhook.
pub async fn insert(transaction: &mut Transaction, webhook: &Webhook) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO webhooks (id, client_id, url, secret, created) VALUES ($1, $2, $3, $4, $5)";
    let statement = sql(insert)
        .bind(&webhook.id)
        .bind(&webhook.client_id)
        .bind(&webhook.url)
        .bind(webhook.secret.clone())
        .bind(webhook.created);
    transaction.execute(statement).await.map(|_| ())
}

/// Puts a new secret in force; the one before signs as well until `previous_expires`.
pub async fn secret_rotate(
    transaction: &mut Transaction,
    id: &str,
    secret: Vec<u8>,
    previous_expires: Timestamp,
) -> Result<bool, DatabaseError> {
    let update = "UPDATE webhooks SET previous_secret = secret, previous_expires = $1, secret = $2 WHERE id = $3";
    Ok(transaction.execute(sql(update).bind(previous_expires).bind(secret).bind(id)).await? == 1)
}

/// Keeps a webhook from being changed or removed until the end of the transaction: whoever changes it together with its
/// notices locks it first.
pub async fn lock(transaction: &mut Transaction, id: &str) -> Result<(), DatabaseError> {
    transaction.row(sql("SELECT id FROM webhooks WHERE id = $1").bind(id).locking()).await.map(|_| ())
}

/// Stops a webhook with a reason, or lets it go on; `false` when there is none.
pub async fn disable(
    transaction: &mut Transaction,
    id: &str,
    disabled: Option<(Timestamp, String)>,
) -> Result<bool, DatabaseError> {
    let (since, reason) = disabled.unzip();
    let update = "UPDATE webhooks SET disabled = $1, disabled_reason = $2 WHERE id = $3";
    Ok(transaction.execute(sql(update).bind(since).bind(reason).bind(id)).await? == 1)
}

/// Removes a webhook with its notices; `false` when there is none.
pub async fn remove(transaction: &mut Transaction, id: &str) -> Result<bool, DatabaseError> {
    Ok(transaction.execute(sql("DELETE FROM webhooks WHERE id = $1").bind(id)).await? == 1)
}

/// A webhook by its identifier.
pub async fn get(database: &Database, id: &str) -> Result<Option<Webhook>, DatabaseError> {
    let query = Statement::assembled(format!("SELECT {COLUMNS} FROM webhooks WHERE id = $1")).bind(id);
    database.row(query).await?.as_ref().map(webhook).transpose()
}

/// The webhooks of one client, or of all, oldest first.
pub async fn list(database: &Database, client_id: Option<&str>) -> Result<Vec<Webhook>, DatabaseError> {
    let query = match client_id {
        Some(client_id) => {
            Statement::assembled(format!("SELECT {COLUMNS} FROM webhooks WHERE client_id = $1 ORDER BY id"))
                .bind(client_id)
        }
        None => Statement::assembled(format!("SELECT {COLUMNS} FROM webhooks ORDER BY id")),
    };
    database.rows(query).await?.iter().map(webhook).collect()
}

/// The webhooks to which a notice for a client is owed. None of them is removed until the end of the transaction.
pub async fn enabled_ids_locked(transaction: &mut Transaction, client_id: &str) -> Result<Vec<String>, DatabaseError> {
    let query = sql("SELECT id FROM webhooks WHERE client_id = $1 AND disabled IS NULL ORDER BY id");
    transaction.rows(query.bind(client_id).keeping()).await?.iter().map(|row| row.text("id")).collect()
}

fn webhook(row: &Row) -> Result<Webhook, DatabaseError> {
    let previous = row.blob_or_null("previous_secret")?.zip(row.time_or_null("previous_expires")?);
    let disabled = row.time_or_null("disabled")?;
    let reason = row.text_or_null("disabled_reason")?.unwrap_or_default();
    Ok(Webhook {
        id: row.text("id")?,
        client_id: row.text("client_id")?,
        url: row.text("url")?,
        secret: row.blob("secret")?,
        previous,
        created: row.time("created")?,
        disabled: disabled.map(|since| (since, reason)),
    })
}
