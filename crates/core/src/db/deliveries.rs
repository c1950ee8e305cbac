//! Deliveries and the files in them.

use dipper_archive::digest::{Algorithm, Digest};

use crate::db::packages::any_of;
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::time::Timestamp;

const COLUMNS: &str = "id, order_id, created, expires, kept_until, released, store, removed";

/// What was handed out for an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its identifier, part of the links.
    pub id: String,
    /// Its order.
    pub order_id: String,
    /// When it was published.
    pub created: Timestamp,
    /// When the newest links expire.
    pub expires: Timestamp,
    /// Until when new links can be had.
    pub kept_until: Timestamp,
    /// When the client gave it back.
    pub released: Option<Timestamp>,
    /// The bucket and prefix that its files were put into; `None` when they are computed from the archive.
    pub store: Option<String>,
    /// When its files were deleted there, or in the area in which they were.
    pub removed: Option<Timestamp>,
    /// What can be fetched.
    pub files: Vec<DeliveryFile>,
}

/// One file of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryFile {
    /// Its number in the delivery, from 1.
    pub number: u32,
    /// Which files of the version it holds: the name of a representation, or `""` for all.
    pub part: String,
    /// The name under which it is fetched.
    pub filename: String,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// The algorithm of the checksum.
    pub algorithm: Algorithm,
    /// The checksum over all its bytes.
    pub checksum: Digest,
    /// The number of the rules by which its bytes are computed.
    pub layout_format: u32,
    /// Its key in the store of the delivery.
    pub object_key: Option<String>,
}

/// Writes a delivery with its files, each with the checkpoints by which any range of it can be verified.
pub async fn insert(
    transaction: &mut Transaction,
    delivery: &Delivery,
    checkpoints: &[Vec<u8>],
) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO deliveries (id, order_id, created, expires, kept_until, store, contract_id)
                  VALUES ($1, $2, $3, $4, $5, $6, (SELECT contract_id FROM orders WHERE id = $2))";
    let statement = sql(insert)
        .bind(&delivery.id)
        .bind(&delivery.order_id)
        .bind(delivery.created)
        .bind(delivery.expires)
        .bind(delivery.kept_until)
        .bind(delivery.store.clone());
    transaction.execute(statement).await?;
    for (file, checkpoints) in delivery.files.iter().zip(checkpoints) {
        let insert = "INSERT INTO delivery_files (delivery_id, number, part, filename, size_bytes, algorithm, checksum,
                          layout_format, checkpoints, object_key)
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let statement = sql(insert)
            .bind(&delivery.id)
            .bind(file.number)
            .bind(&file.part)
            .bind(&file.filename)
            .bind(file.size_bytes)
            .bind(file.algorithm.name())
            .bind(file.checksum.to_string())
            .bind(file.layout_format)
            .bind(checkpoints.clone())
            .bind(file.object_key.clone());
        transaction.execute(statement).await?;
    }
    Ok(())
}

/// Whether there is a delivery of that identifier.
pub async fn exists(transaction: &mut Transaction, id: &str) -> Result<bool, DatabaseError> {
    Ok(transaction.row(sql("SELECT id FROM deliveries WHERE id = $1").bind(id)).await?.is_some())
}

/// The delivery of an order, if there is one.
pub async fn of_order(database: &Database, order_id: &str) -> Result<Option<Delivery>, DatabaseError> {
    Ok(load(database, "order_id", &[order_id]).await?.pop())
}

/// The deliveries of some orders, in no particular order.
pub async fn of_orders(database: &Database, order_ids: &[&str]) -> Result<Vec<Delivery>, DatabaseError> {
    load(database, "order_id", order_ids).await
}

/// A delivery by its identifier.
pub async fn get(database: &Database, id: &str) -> Result<Option<Delivery>, DatabaseError> {
    Ok(load(database, "id", &[id]).await?.pop())
}

/// The checkpoints of one file.
pub async fn checkpoints(
    database: &Database,
    delivery_id: &str,
    number: u32,
) -> Result<Option<Vec<u8>>, DatabaseError> {
    let query = sql("SELECT checkpoints FROM delivery_files WHERE delivery_id = $1 AND number = $2");
    database.row(query.bind(delivery_id).bind(number)).await?.map(|row| row.blob("checkpoints")).transpose()
}

/// Moves the end of the links, never back; `false` when the delivery was released or is kept no longer.
pub async fn extend(
    transaction: &mut Transaction,
    id: &str,
    expires: Timestamp,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let update = "UPDATE deliveries SET expires = CASE WHEN expires < $1 THEN $1 ELSE expires END
                  WHERE id = $2 AND released IS NULL AND kept_until > $3";
    Ok(transaction.execute(sql(update).bind(expires).bind(id).bind(now)).await? == 1)
}

/// Takes back a delivery: its links stop working. `false` when that was done before.
pub async fn release(transaction: &mut Transaction, order_id: &str, now: Timestamp) -> Result<bool, DatabaseError> {
    let update = "UPDATE deliveries SET released = $1 WHERE order_id = $2 AND released IS NULL";
    Ok(transaction.execute(sql(update).bind(now).bind(order_id)).await? == 1)
}

/// Deliveries whose files still lie in a store although they were given back or are kept no longer.
pub async fn over(
    database: &Database,
    store: &str,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Delivery>, DatabaseError> {
    let text = format!(
        "SELECT {COLUMNS} FROM deliveries
         WHERE store = $1 AND removed IS NULL AND (kept_until <= $2 OR released IS NOT NULL) ORDER BY kept_until LIMIT $3"
    );
    let rows = database.rows(Statement::assembled(text).bind(store).bind(now).bind(limit)).await?;
    with_files(database, rows.iter().map(delivery).collect::<Result<_, _>>()?).await
}

/// Records that the files of a delivery were deleted from its store; `false` when that was recorded before.
pub async fn remove(transaction: &mut Transaction, id: &str, now: Timestamp) -> Result<bool, DatabaseError> {
    let update = "UPDATE deliveries SET removed = $1 WHERE id = $2 AND removed IS NULL";
    Ok(transaction.execute(sql(update).bind(now).bind(id)).await? == 1)
}

/// As [`remove`], for the delivery of an order.
pub async fn remove_of(transaction: &mut Transaction, order_id: &str, now: Timestamp) -> Result<(), DatabaseError> {
    let update = "UPDATE deliveries SET removed = $1 WHERE order_id = $2 AND removed IS NULL";
    transaction.execute(sql(update).bind(now).bind(order_id)).await.map(|_| ())
}

async fn load(database: &Database, column: &'static str, wanted: &[&str]) -> Result<Vec<Delivery>, DatabaseError> {
    let mut values = Vec::with_capacity(wanted.len());
    let chosen = any_of(column, wanted, &mut values);
    let text = format!("SELECT {COLUMNS} FROM deliveries WHERE 1 = 1{chosen}");
    let rows = database.rows(values.into_iter().fold(Statement::assembled(text), Statement::bind)).await?;
    with_files(database, rows.iter().map(delivery).collect::<Result<_, _>>()?).await
}

async fn with_files(database: &Database, mut deliveries: Vec<Delivery>) -> Result<Vec<Delivery>, DatabaseError> {
    let ids: Vec<String> = deliveries.iter().map(|delivery| delivery.id.clone()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut values = Vec::with_capacity(ids.len());
    let chosen = any_of("delivery_id", &ids, &mut values);
    let text = format!(
        "SELECT delivery_id, number, part, filename, size_bytes, algorithm, checksum, layout_format, object_key
         FROM delivery_files WHERE 1 = 1{chosen} ORDER BY delivery_id, number"
    );
    let rows = database.rows(values.into_iter().fold(Statement::assembled(text), Statement::bind)).await?;
    for row in &rows {
        let id = row.text("delivery_id")?;
        if let Some(delivery) = deliveries.iter_mut().find(|delivery| delivery.id == id) {
            delivery.files.push(file(row)?);
        }
    }
    Ok(deliveries)
}

fn delivery(row: &Row) -> Result<Delivery, DatabaseError> {
    Ok(Delivery {
        id: row.text("id")?,
        order_id: row.text("order_id")?,
        created: row.time("created")?,
        expires: row.time("expires")?,
        kept_until: row.time("kept_until")?,
        released: row.time_or_null("released")?,
        store: row.text_or_null("store")?,
        removed: row.time_or_null("removed")?,
        files: Vec::new(),
    })
}

fn file(row: &Row) -> Result<DeliveryFile, DatabaseError> {
    let unexpected = |column: &str, message: String| DatabaseError::Value { column: column.to_owned(), message };
    let name = row.text("algorithm")?;
    let algorithm = Algorithm::from_name(&name)
        .ok_or_else(|| unexpected("algorithm", format!("{name:?} is no digest algorithm")))?;
    let checksum =
        Digest::parse(algorithm, &row.text("checksum")?).map_err(|error| unexpected("checksum", error.to_string()))?;
    Ok(DeliveryFile {
        number: row.number("number")?,
        part: row.text("part")?,
        filename: row.text("filename")?,
        size_bytes: row.count("size_bytes")?,
        algorithm,
        checksum,
        layout_format: row.number("layout_format")?,
        object_key: row.text_or_null("object_key")?,
    })
}
