//! Deposits: what is to be stored, and how far that is. A deposit is an order with a row here and one for each file.

use std::collections::HashMap;

use dipper_archive::digest::{Algorithm, Digest};

use crate::db::orders::{self, Order};
use crate::db::packages::{IDS_AT_A_TIME, any_of};
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::named::named;
use crate::order::OrderState;

/// How many files are written with one statement. SQLite looks for each parameter by its name, from the first on: many make
/// it slow.
const FILES_AT_A_TIME: usize = 50;

/// What a depositor wants to have stored as one version of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Its order.
    pub order_id: String,
    /// The contract of the package.
    pub contract_id: String,
    /// The depositor's name for the package.
    pub object_id: String,
    /// The depositor's name for the version; empty when it has none.
    pub label: String,
    /// The type of the checksums that are told again.
    pub checksum_type: Algorithm,
    /// What stands for the files and all that was said about them.
    pub fingerprint: String,
    /// How many files it has.
    pub file_count: u64,
    /// How many of them were fetched.
    pub retrieved: u64,
    /// How many an earlier version has already.
    pub existing: u64,
    /// The bytes of both.
    pub done_bytes: u64,
    /// Nothing else may be deposited as this version; otherwise it failed, or was deleted since.
    pub counts: bool,
    /// The number of the version, once it is stored.
    pub version: Option<u32>,
}

/// A deposit with its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositView {
    /// The order.
    pub order: Order,
    /// What it is to store.
    pub deposit: Deposit,
}

/// How far a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// It has not been fetched.
    Pending,
    /// It was fetched, and its checksum matched.
    Retrieved,
    /// An earlier version has it; it is not fetched.
    Existing,
}

named!(FileState, "state of a file": Pending => "pending", Retrieved => "retrieved", Existing => "existing");

/// A file of a deposit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositFile {
    /// Its place in the order of the paths, from 1.
    pub number: u64,
    /// Its path: the depositor's identifier of the file.
    pub path: String,
    /// Its length: as it was declared, if it was; once it is there, as it is.
    pub size_bytes: Option<u64>,
    /// The checksums that were declared, one at least.
    pub digests: Vec<(Algorithm, Digest)>,
    /// How far it is.
    pub state: FileState,
}

/// Which deposits a list holds: of each package the newest one, if it is in one of the states.
#[derive(Clone, Debug, Default)]
pub struct DepositFilter {
    /// Of this contract.
    pub contract_id: String,
    /// In one of these states alone; `None` for all.
    pub states: Option<Vec<OrderState>>,
    /// Older than the one whose order has this identifier.
    pub before: Option<String>,
    /// How many at the most.
    pub limit: u32,
}

/// Where each type of checksum stands.
const DIGESTS: [(Algorithm, &str); 3] =
    [(Algorithm::Md5, "md5"), (Algorithm::Sha256, "sha256"), (Algorithm::Sha512, "sha512")];

const COLUMNS: &str = "d.order_id, d.label, d.checksum_type, d.fingerprint, d.file_count, d.retrieved, d.existing, \
                       d.done_bytes, d.counts, d.version AS stored_version";

/// Writes a deposit. One that counts for the same version makes it a duplicate.
pub async fn insert(transaction: &mut Transaction, deposit: &Deposit) -> Result<(), DatabaseError> {
    let insert =
        "INSERT INTO deposits (order_id, contract_id, object_id, label, checksum_type, fingerprint, file_count,
                      retrieved, existing, done_bytes, counts, version)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let statement = sql(insert)
        .bind(&deposit.order_id)
        .bind(&deposit.contract_id)
        .bind(&deposit.object_id)
        .bind(&deposit.label)
        .bind(deposit.checksum_type.name())
        .bind(&deposit.fingerprint)
        .bind(deposit.file_count)
        .bind(deposit.retrieved)
        .bind(deposit.existing)
        .bind(deposit.done_bytes)
        .bind(deposit.counts)
        .bind(deposit.version);
    transaction.execute(statement).await.map(|_| ())
}

/// Writes the files of a deposit, many with each statement.
pub async fn insert_files(
    transaction: &mut Transaction,
    order_id: &str,
    files: &[DepositFile],
) -> Result<(), DatabaseError> {
    const COLUMNS: usize = 7;
    for some in files.chunks(FILES_AT_A_TIME) {
        let rows: Vec<String> = (0..some.len()).map(|row| parameters(2 + row * COLUMNS, COLUMNS)).collect();
        let text = format!(
            "INSERT INTO deposit_files (order_id, number, path, size_bytes, md5, sha256, sha512, state) VALUES {}",
            rows.join(", ")
        );
        let mut statement = Statement::assembled(text).bind(order_id);
        for file in some {
            statement = statement.bind(file.number).bind(&file.path).bind(file.size_bytes);
            for (algorithm, _) in DIGESTS {
                let digest = file.digests.iter().find(|(known, _)| *known == algorithm);
                statement = statement.bind(digest.map(|(_, digest)| digest.to_string()));
            }
            statement = statement.bind(file.state.name());
        }
        transaction.execute(statement).await?;
    }
    Ok(())
}

/// Writes what a deposit that failed was to store, for another order. One that counts for the same version makes it a
/// duplicate.
pub async fn again(transaction: &mut Transaction, failed: &str, order_id: &str) -> Result<(), DatabaseError> {
    let insert =
        "INSERT INTO deposits (order_id, contract_id, object_id, label, checksum_type, fingerprint, file_count,
                      retrieved, existing, done_bytes, counts, version)
                  SELECT $1, contract_id, object_id, label, checksum_type, fingerprint, file_count, 0, 0, 0, 1, NULL
                  FROM deposits WHERE order_id = $2";
    transaction.execute(sql(insert).bind(order_id).bind(failed)).await?;
    let insert = "INSERT INTO deposit_files (order_id, number, path, size_bytes, md5, sha256, sha512, state)
                  SELECT $1, number, path, size_bytes, md5, sha256, sha512, 'pending'
                  FROM deposit_files WHERE order_id = $2";
    transaction.execute(sql(insert).bind(order_id).bind(failed)).await.map(|_| ())
}

/// A row of parameters that begins with the one that they all share.
fn parameters(first: usize, count: usize) -> String {
    let numbers: Vec<String> = (first..first + count).map(|number| format!("${number}")).collect();
    format!("($1, {})", numbers.join(", "))
}

/// The deposits that count for some packages, whatever version they are.
pub async fn counting(
    transaction: &mut Transaction,
    contract_id: &str,
    object_ids: &[&str],
) -> Result<HashMap<(String, String), DepositView>, DatabaseError> {
    let mut found = HashMap::new();
    for some in object_ids.chunks(IDS_AT_A_TIME) {
        let mut values = vec![contract_id];
        let chosen = any_of("d.object_id", some, &mut values);
        let text = format!(
            "SELECT {}, {COLUMNS} FROM deposits d JOIN orders ON orders.id = d.order_id
             WHERE d.contract_id = $1 AND d.counts = 1{chosen}",
            orders::columns()
        );
        let rows = transaction.rows(values.into_iter().fold(Statement::assembled(text), Statement::bind)).await?;
        for row in &rows {
            let found_view = view(row)?;
            let key = (found_view.deposit.object_id.clone(), found_view.deposit.label.clone());
            found.insert(key, found_view);
        }
    }
    Ok(found)
}

/// Lets something else be deposited as the same version.
pub async fn discount(transaction: &mut Transaction, order_id: &str) -> Result<(), DatabaseError> {
    let update = "UPDATE deposits SET counts = 0 WHERE order_id = $1";
    transaction.execute(sql(update).bind(order_id)).await.map(|_| ())
}

/// Lets something else be deposited as a version of a package that was deleted, or as any version of it.
pub async fn discount_deleted(
    transaction: &mut Transaction,
    contract_id: &str,
    object_id: &str,
    version: Option<u32>,
) -> Result<(), DatabaseError> {
    let update = "UPDATE deposits SET counts = 0
                  WHERE contract_id = $1 AND object_id = $2 AND counts = 1 AND version IS NOT NULL
                      AND (CAST($3 AS BIGINT) IS NULL OR version = $3)";
    transaction.execute(sql(update).bind(contract_id).bind(object_id).bind(version)).await.map(|_| ())
}

/// The version is part of the archive.
pub async fn stored(transaction: &mut Transaction, order_id: &str, version: u32) -> Result<(), DatabaseError> {
    let update = "UPDATE deposits SET version = $2 WHERE order_id = $1";
    transaction.execute(sql(update).bind(order_id).bind(version)).await.map(|_| ())
}

/// Notes that files are there, with their lengths. What was noted before is passed over.
pub async fn progress(
    transaction: &mut Transaction,
    order_id: &str,
    state: FileState,
    files: &[(u64, u64)],
) -> Result<(), DatabaseError> {
    for some in files.chunks(FILES_AT_A_TIME) {
        // The numbers are written out, so that each row is looked up by its key: joined with a list, the database might
        // read all rows of the deposit instead.
        let (numbers, sizes): (Vec<String>, Vec<String>) = (0..some.len())
            .map(|row| (3 + row * 2, 4 + row * 2))
            .map(|(number, size)| (format!("${number}"), format!("WHEN ${number} THEN ${size}")))
            .unzip();
        let text = format!(
            "UPDATE deposit_files SET state = $1, size_bytes = CASE number {} END
             WHERE order_id = $2 AND number IN ({}) AND state = 'pending'
             RETURNING size_bytes",
            sizes.join(" "),
            numbers.join(", ")
        );
        let mut statement = Statement::assembled(text).bind(state.name()).bind(order_id);
        for (number, size_bytes) in some {
            statement = statement.bind(*number).bind(*size_bytes);
        }
        let changed = transaction.rows(statement).await?;
        let bytes = changed.iter().map(|row| row.count("size_bytes")).sum::<Result<u64, _>>()?;
        let update = match state {
            FileState::Existing => {
                "UPDATE deposits SET existing = existing + $2, done_bytes = done_bytes + $3 WHERE order_id = $1"
            }
            FileState::Pending | FileState::Retrieved => {
                "UPDATE deposits SET retrieved = retrieved + $2, done_bytes = done_bytes + $3 WHERE order_id = $1"
            }
        };
        transaction.execute(sql(update).bind(order_id).bind(changed.len() as u64).bind(bytes)).await?;
    }
    Ok(())
}

/// The deposit of an order.
pub async fn get(database: &Database, order_id: &str) -> Result<Option<DepositView>, DatabaseError> {
    let text = format!(
        "SELECT {}, {COLUMNS} FROM deposits d JOIN orders ON orders.id = d.order_id WHERE d.order_id = $1",
        orders::columns()
    );
    database.row(Statement::assembled(text).bind(order_id)).await?.as_ref().map(view).transpose()
}

/// The newest deposit of a package.
pub async fn newest(
    database: &Database,
    contract_id: &str,
    object_id: &str,
) -> Result<Option<DepositView>, DatabaseError> {
    let text = format!(
        "SELECT {}, {COLUMNS} FROM deposits d JOIN orders ON orders.id = d.order_id
         WHERE d.contract_id = $1 AND d.object_id = $2 ORDER BY d.order_id DESC LIMIT 1",
        orders::columns()
    );
    let query = Statement::assembled(text).bind(contract_id).bind(object_id);
    database.row(query).await?.as_ref().map(view).transpose()
}

/// Deposits that pass a filter, newest first.
pub async fn list(database: &Database, filter: &DepositFilter) -> Result<Vec<DepositView>, DatabaseError> {
    let mut text = format!(
        "SELECT {}, {COLUMNS} FROM orders JOIN deposits d ON d.order_id = orders.id
         WHERE orders.kind = 'deposit' AND orders.contract_id = $1
             AND NOT EXISTS (SELECT 1 FROM deposits later
                             WHERE later.contract_id = d.contract_id AND later.object_id = d.object_id
                                 AND later.order_id > d.order_id)",
        orders::columns()
    );
    let mut values = vec![filter.contract_id.as_str()];
    if let Some(states) = &filter.states {
        let names: Vec<&str> = states.iter().map(|state| state.name()).collect();
        text.push_str(&any_of("orders.state", &names, &mut values));
    }
    if let Some(before) = &filter.before {
        values.push(before);
        text.push_str(&format!(" AND orders.id < ${}", values.len()));
    }
    text.push_str(&format!(" ORDER BY orders.id DESC LIMIT {}", filter.limit));
    let query = values.into_iter().fold(Statement::assembled(text), Statement::bind);
    database.rows(query).await?.iter().map(view).collect()
}

/// Whether an earlier deposit of the same package is still under way.
pub async fn has_earlier(database: &Database, order: &Order) -> Result<bool, DatabaseError> {
    let query = "SELECT id FROM orders WHERE package_id = $1 AND finished = 0 AND kind = 'deposit' AND id < $2 LIMIT 1";
    Ok(database.row(sql(query).bind(&order.package_id).bind(&order.id)).await?.is_some())
}

/// The files of a deposit after one of them, in their order.
pub async fn files(
    database: &Database,
    order_id: &str,
    after: u64,
    limit: u32,
) -> Result<Vec<DepositFile>, DatabaseError> {
    let query = "SELECT number, path, size_bytes, md5, sha256, sha512, state FROM deposit_files
                 WHERE order_id = $1 AND number > $2 ORDER BY number LIMIT $3";
    let rows = database.rows(sql(query).bind(order_id).bind(after).bind(limit)).await?;
    rows.iter().map(file).collect()
}

fn view(row: &Row) -> Result<DepositView, DatabaseError> {
    let checksum_type = row.text("checksum_type")?;
    let unknown = || DatabaseError::Value {
        column: "checksum_type".to_owned(),
        message: format!("{checksum_type:?} is no checksum type"),
    };
    let deposit = Deposit {
        order_id: row.text("order_id")?,
        contract_id: row.text("contract_id")?,
        object_id: row.text("object_id")?,
        label: row.text("label")?,
        checksum_type: Algorithm::from_name(&checksum_type).ok_or_else(unknown)?,
        fingerprint: row.text("fingerprint")?,
        file_count: row.count("file_count")?,
        retrieved: row.count("retrieved")?,
        existing: row.count("existing")?,
        done_bytes: row.count("done_bytes")?,
        counts: row.integer("counts")? != 0,
        version: row.integer_or_null("stored_version")?.and_then(|version| u32::try_from(version).ok()),
    };
    Ok(DepositView { order: orders::order(row)?, deposit })
}

fn file(row: &Row) -> Result<DepositFile, DatabaseError> {
    let mut digests = Vec::with_capacity(DIGESTS.len());
    for (algorithm, column) in DIGESTS {
        if let Some(text) = row.text_or_null(column)? {
            let digest = Digest::parse(algorithm, &text)
                .map_err(|error| DatabaseError::Value { column: column.to_owned(), message: error.to_string() })?;
            digests.push((algorithm, digest));
        }
    }
    Ok(DepositFile {
        number: row.count("number")?,
        path: row.text("path")?,
        size_bytes: row.integer_or_null("size_bytes")?.and_then(|size| u64::try_from(size).ok()),
        digests,
        state: row.parse("state")?,
    })
}
