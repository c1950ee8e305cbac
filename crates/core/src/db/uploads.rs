//! Uploads under way into the store of deliveries.

use crate::db::packages::any_of;
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::time::Timestamp;

/// An upload that was about to begin, and has not ended as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadNote {
    /// Its identifier.
    pub id: String,
    /// The bucket and prefix.
    pub store: String,
    /// The key below the prefix.
    pub object_key: String,
    /// What the server calls the upload, once it is known.
    pub upload_id: Option<String>,
    /// The order that it is for.
    pub order_id: String,
    /// The step that began it.
    pub step_id: String,
    /// The fence of the lease under which it was begun.
    pub fence: i64,
    /// When it was begun.
    pub created: Timestamp,
}

/// Notes an upload that is about to begin.
pub async fn insert(database: &Database, note: &UploadNote) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO uploads (id, store, object_key, upload_id, order_id, step_id, fence, condemned, created)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)";
    let statement = sql(insert)
        .bind(&note.id)
        .bind(&note.store)
        .bind(&note.object_key)
        .bind(note.upload_id.clone())
        .bind(&note.order_id)
        .bind(&note.step_id)
        .bind(note.fence)
        .bind(note.created);
    database.execute(statement).await.map(|_| ())
}

/// Notes what the server calls an upload; `false` when the note is gone or condemned.
pub async fn name(database: &Database, id: &str, upload_id: &str) -> Result<bool, DatabaseError> {
    let update = "UPDATE uploads SET upload_id = $1 WHERE id = $2 AND condemned = 0";
    Ok(database.execute(sql(update).bind(upload_id).bind(id)).await? == 1)
}

/// Forgets an upload in the transaction that publishes what it made; `false` when that may not be published, because
/// somebody is clearing it away or has done so.
pub async fn publish(transaction: &mut Transaction, id: &str) -> Result<bool, DatabaseError> {
    let delete = "DELETE FROM uploads WHERE id = $1 AND condemned = 0";
    Ok(transaction.execute(sql(delete).bind(id)).await? == 1)
}

/// From now on nothing may be published from an upload; `false` when it has been already, or is forgotten.
pub async fn condemn(database: &Database, id: &str) -> Result<bool, DatabaseError> {
    let update = "UPDATE uploads SET condemned = 1 WHERE id = $1";
    Ok(database.execute(sql(update).bind(id)).await? == 1)
}

/// Forgets an upload of which nothing is left.
pub async fn forget(database: &Database, id: &str) -> Result<(), DatabaseError> {
    database.execute(sql("DELETE FROM uploads WHERE id = $1").bind(id)).await.map(|_| ())
}

/// What earlier attempts of a step have left.
pub async fn of_earlier(database: &Database, step_id: &str, fence: i64) -> Result<Vec<UploadNote>, DatabaseError> {
    let query = "SELECT id, store, object_key, upload_id, order_id, step_id, fence, created FROM uploads
                 WHERE step_id = $1 AND fence < $2 ORDER BY id";
    database.rows(sql(query).bind(step_id).bind(fence)).await?.iter().map(note).collect()
}

/// Uploads into a store whose lease is over since `before` or longer, the oldest first.
pub async fn abandoned(
    database: &Database,
    store: &str,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<UploadNote>, DatabaseError> {
    let query = "SELECT u.id, u.store, u.object_key, u.upload_id, u.order_id, u.step_id, u.fence, u.created
                 FROM uploads u
                 WHERE u.store = $1 AND NOT EXISTS (
                     SELECT 1 FROM steps s
                     WHERE s.id = u.step_id AND s.fence = u.fence AND s.state = 'leased' AND s.lease_until > $2)
                 ORDER BY u.id LIMIT $3";
    let statement = sql(query).bind(store).bind(before).bind(limit);
    database.rows(statement).await?.iter().map(note).collect()
}

/// Those of some keys that nobody needs: of orders that this catalogue knows, under no delivery, and not noted as an
/// upload under way. Keys of orders that it does not know may be somebody else's.
pub async fn orphans<'a>(database: &Database, keys: &[(&'a str, &'a str)]) -> Result<Vec<&'a str>, DatabaseError> {
    let orders: Vec<&str> = keys.iter().map(|(order_id, _)| *order_id).collect();
    let known = texts(database, "SELECT id AS found FROM orders WHERE 1 = 1", "id", &orders).await?;
    let all: Vec<&str> = keys.iter().map(|(_, key)| *key).collect();
    let named = "SELECT object_key AS found FROM delivery_files WHERE object_key IS NOT NULL";
    let mut needed = texts(database, named, "object_key", &all).await?;
    needed.extend(texts(database, "SELECT object_key AS found FROM uploads WHERE 1 = 1", "object_key", &all).await?);
    let is_orphan =
        |order_id: &str, key: &str| known.iter().any(|id| id == order_id) && !needed.iter().any(|it| it == key);
    Ok(keys.iter().filter(|(order_id, key)| is_orphan(order_id, key)).map(|(_, key)| *key).collect())
}

async fn texts(database: &Database, query: &str, column: &str, wanted: &[&str]) -> Result<Vec<String>, DatabaseError> {
    let mut values = Vec::with_capacity(wanted.len());
    let text = format!("{query}{}", any_of(column, wanted, &mut values));
    let rows = database.rows(values.into_iter().fold(Statement::assembled(text), Statement::bind)).await?;
    rows.iter().map(|row| row.text("found")).collect()
}

fn note(row: &Row) -> Result<UploadNote, DatabaseError> {
    Ok(UploadNote {
        id: row.text("id")?,
        store: row.text("store")?,
        object_key: row.text("object_key")?,
        upload_id: row.text_or_null("upload_id")?,
        order_id: row.text("order_id")?,
        step_id: row.text("step_id")?,
        fence: row.integer("fence")?,
        created: row.time("created")?,
    })
}
