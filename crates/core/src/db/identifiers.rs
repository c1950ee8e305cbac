//! Identifiers and URNs of packages. Each is unique in the installation, and the database is the judge.

use crate::db::{Database, DatabaseError, Row, Transaction, sql};
use crate::identifier::{self, Parts};
use crate::urn;

/// The names by which people know a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Its identifier.
    pub identifier: String,
    /// Its URN, if it has one.
    pub urn: Option<String>,
}

/// Who has a URN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The OCFL object.
    pub ocfl_id: String,
    /// Whether it is there, or about to be. A reservation that came to nothing holds nobody up.
    pub is_alive: bool,
}

/// The names of an object, if it has any.
pub async fn get(database: &Database, ocfl_id: &str) -> Result<Option<Names>, DatabaseError> {
    let query = sql("SELECT identifier, urn FROM identifiers WHERE ocfl_id = $1");
    database.row(query.bind(ocfl_id)).await?.as_ref().map(names).transpose()
}

/// The next serial number of a series. It is used up, whatever becomes of it.
pub async fn serial_next(database: &Database, series: &str) -> Result<u64, DatabaseError> {
    let count = "INSERT INTO serials (series, last) VALUES ($1, 1)
                 ON CONFLICT (series) DO UPDATE SET last = serials.last + 1 RETURNING last";
    let mut transaction = database.begin().await?;
    let row = transaction.row(sql(count).bind(series)).await?;
    transaction.commit().await?;
    row.map_or(Ok(1), |row| row.count("last"))
}

/// Has the serial numbers of a series go on after one that is in use.
pub async fn serial_raise(database: &Database, parts: Parts<'_>) -> Result<(), DatabaseError> {
    let raise = "INSERT INTO serials (series, last) VALUES ($1, $2)
                 ON CONFLICT (series) DO UPDATE SET last = excluded.last WHERE serials.last < excluded.last";
    database.execute(sql(raise).bind(parts.series).bind(parts.serial)).await.map(|_| ())
}

/// Gives an object its names; `false` when it has some, or another object has one of these.
pub async fn reserve(database: &Database, ocfl_id: &str, names: &Names) -> Result<bool, DatabaseError> {
    let mut transaction = database.begin().await?;
    let is_new = insert(&mut transaction, ocfl_id, names).await?;
    transaction.commit().await?;
    Ok(is_new)
}

async fn insert(transaction: &mut Transaction, ocfl_id: &str, names: &Names) -> Result<bool, DatabaseError> {
    let insert = "INSERT INTO identifiers (ocfl_id, identifier, urn, urn_key) VALUES ($1, $2, $3, $4)
                  ON CONFLICT DO NOTHING";
    let statement = sql(insert)
        .bind(ocfl_id)
        .bind(&names.identifier)
        .bind(names.urn.clone())
        .bind(names.urn.as_deref().map(urn::key));
    Ok(transaction.execute(statement).await? == 1)
}

/// Gives an object that has no URN one; `false` when it has one, or another object has this one.
pub async fn urn_give(database: &Database, ocfl_id: &str, wanted: &str) -> Result<bool, DatabaseError> {
    let update = "UPDATE identifiers SET urn = $1, urn_key = $2
                  WHERE ocfl_id = $3 AND urn IS NULL
                      AND NOT EXISTS (SELECT 1 FROM identifiers other WHERE other.urn_key = $2)";
    let statement = sql(update).bind(wanted).bind(urn::key(wanted)).bind(ocfl_id);
    match database.execute(statement).await {
        Ok(changed) => Ok(changed == 1),
        // Somebody was faster.
        Err(error) if error.is_duplicate() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Who has a URN.
pub async fn urn_holder(database: &Database, wanted: &str) -> Result<Option<Holder>, DatabaseError> {
    let query = "SELECT ocfl_id,
                     (SELECT COUNT(*) FROM packages WHERE packages.ocfl_id = identifiers.ocfl_id)
                     + (SELECT COUNT(*) FROM ingests WHERE ingests.ocfl_id = identifiers.ocfl_id) AS lives
                 FROM identifiers WHERE urn_key = $1";
    let row = database.row(sql(query).bind(urn::key(wanted))).await?;
    row.map(|row| Ok(Holder { ocfl_id: row.text("ocfl_id")?, is_alive: row.count("lives")? > 0 })).transpose()
}

/// Gives up what was reserved for an object that never came to be.
pub async fn forget(database: &Database, ocfl_id: &str) -> Result<(), DatabaseError> {
    let delete = "DELETE FROM identifiers WHERE ocfl_id = $1
                      AND NOT EXISTS (SELECT 1 FROM packages WHERE packages.ocfl_id = $1)
                      AND NOT EXISTS (SELECT 1 FROM ingests WHERE ingests.ocfl_id = $1)";
    database.execute(sql(delete).bind(ocfl_id)).await.map(|_| ())
}

/// Sees to it that an object which the storage root holds has names, and gives them. What the root says of them holds
/// (`recorded`); otherwise what the catalogue knows, and otherwise `names`. A name that another object has is not taken
/// from it.
pub async fn settle(
    transaction: &mut Transaction,
    ocfl_id: &str,
    names: &Names,
    recorded: bool,
) -> Result<Names, DatabaseError> {
    let Some(known) = get_locked(transaction, ocfl_id).await? else {
        return settle_new(transaction, ocfl_id, names).await;
    };
    // A URN that was reserved and not recorded yet belongs to the version that is being made.
    let wanted = Names { identifier: names.identifier.clone(), urn: names.urn.clone().or_else(|| known.urn.clone()) };
    if !recorded || known == wanted || taken(transaction, ocfl_id, &wanted).await? {
        return Ok(known);
    }
    let update = "UPDATE identifiers SET identifier = $1, urn = $2, urn_key = $3 WHERE ocfl_id = $4";
    let statement = sql(update)
        .bind(&wanted.identifier)
        .bind(wanted.urn.clone())
        .bind(wanted.urn.as_deref().map(urn::key))
        .bind(ocfl_id);
    transaction.execute(statement).await?;
    Ok(wanted)
}

async fn settle_new(transaction: &mut Transaction, ocfl_id: &str, names: &Names) -> Result<Names, DatabaseError> {
    if insert(transaction, ocfl_id, names).await? {
        return Ok(names.clone());
    }
    let series = identifier::parse(&names.identifier).map_or("", |parts| parts.series);
    let mut attempt = 0;
    loop {
        let found = get_locked(transaction, ocfl_id).await?;
        if let Some(known) = found {
            return Ok(known);
        }
        tracing::warn!(%ocfl_id, ?names, "another object has a name that this one says it has: it gets a new one");
        let serial = identifier::derived_serial(ocfl_id, attempt);
        let other = Names { identifier: identifier::make(series, serial), urn: None };
        if insert(transaction, ocfl_id, &other).await? {
            return Ok(other);
        }
        attempt += 1;
    }
}

async fn taken(transaction: &mut Transaction, ocfl_id: &str, names: &Names) -> Result<bool, DatabaseError> {
    let query = "SELECT ocfl_id FROM identifiers WHERE (identifier = $1 OR urn_key = $2) AND ocfl_id <> $3";
    let key = names.urn.as_deref().map(urn::key);
    let statement = sql(query).bind(&names.identifier).bind(key).bind(ocfl_id);
    Ok(transaction.row(statement).await?.is_some())
}

async fn get_locked(transaction: &mut Transaction, ocfl_id: &str) -> Result<Option<Names>, DatabaseError> {
    let query = sql("SELECT identifier, urn FROM identifiers WHERE ocfl_id = $1").bind(ocfl_id).locking();
    transaction.row(query).await?.as_ref().map(names).transpose()
}

fn names(row: &Row) -> Result<Names, DatabaseError> {
    Ok(Names { identifier: row.text("identifier")?, urn: row.text_or_null("urn")? })
}
