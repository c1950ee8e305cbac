//! Deletions: what is to be removed, and, once that is done, what is remembered of it. A deletion is an order with a row
//! here, one for each package, and one for each file of each version.

use dipper_archive::digest::{Algorithm, Digest};

use crate::db::packages::any_of;
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::named::named;
use crate::order::OrderState;
use crate::time::Timestamp;

/// How many files are written with one statement: SQLite looks for each parameter by its name.
const FILES_AT_A_TIME: usize = 50;

/// When a deletion that was asked for is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// At once.
    Immediate,
    /// After a time in which it can be withdrawn.
    Grace,
    /// After somebody else has approved it.
    Approval,
}

named!(Policy, "policy of deletions": Immediate => "immediate", Grace => "grace", Approval => "approval");

/// What a part of a deletion asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All files of all versions.
    Package,
    /// All files of a version.
    Version,
    /// Some files.
    Files,
}

named!(Scope, "scope of a deletion": Package => "package", Version => "version", Files => "files");

/// How far a deletion is with a package or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is there.
    Pending,
    /// It is gone.
    Deleted,
    /// It was not deleted.
    Error,
}

named!(Removal, "state of a removal": Pending => "pending", Deleted => "deleted", Error => "error");

/// What a deletion asks for, besides its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Its order.
    pub order_id: String,
    /// The contract of the packages.
    pub contract_id: String,
    /// The type of the checksums that are told again.
    pub checksum_type: Algorithm,
    /// When it is carried out.
    pub policy: Policy,
    /// When the time is over in which it can be withdrawn.
    pub due: Option<Timestamp>,
    /// Why it was asked for.
    pub reason: Option<String>,
    /// How many files it concerns, in each version in which they are.
    pub file_count: u64,
    /// Their sizes, added up.
    pub size_bytes: u64,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// When it was approved.
    pub approved: Option<Timestamp>,
}

/// What a deletion asks for of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the deletion, from 1.
    pub number: u32,
    /// The package.
    pub package_id: String,
    /// The depositor's name for the package.
    pub object_id: String,
    /// The OCFL object.
    pub ocfl_id: String,
    /// The version as it was asked for.
    pub label: Option<String>,
    /// What of it.
    pub scope: Scope,
    /// How many files.
    pub file_count: u64,
    /// How far that is.
    pub state: Removal,
    /// Why it was not deleted.
    pub reason: Option<String>,
    /// When it was deleted, or given up.
    pub ended: Option<Timestamp>,
}

/// A file of a version that is to be removed, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionFile {
    /// The version.
    pub version: u32,
    /// The depositor's name for the version; empty when it has none.
    pub label: String,
    /// The logical path.
    pub path: String,
    /// The length in bytes.
    pub size_bytes: u64,
    /// The algorithm of the content digest.
    pub algorithm: Algorithm,
    /// The digests that are on record, the content digest among them.
    pub digests: Vec<(Algorithm, Digest)>,
    /// How far that is.
    pub state: Removal,
    /// Why it was not deleted.
    pub reason: Option<String>,
}

impl DeletionFile {
    /// The digest in one algorithm, if it is on record.
    pub fn digest(&self, algorithm: Algorithm) -> Option<&Digest> {
        self.digests.iter().find(|(known, _)| *known == algorithm).map(|(_, digest)| digest)
    }
}

/// What is remembered of a file that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The deletion.
    pub order_id: String,
    /// The depositor's name for the package.
    pub object_id: String,
    /// The file.
    pub file: DeletionFile,
    /// Who asked for it.
    pub client_id: String,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When it was deleted.
    pub deleted: Timestamp,
}

/// Where each digest stands.
const DIGESTS: [(Algorithm, &str); 3] =
    [(Algorithm::Md5, "md5"), (Algorithm::Sha256, "sha256"), (Algorithm::Sha512, "sha512")];

const FILE_COLUMNS: &str =
    "f.version, f.label, f.path, f.size_bytes, f.algorithm, f.md5, f.sha256, f.sha512, f.state, f.reason";

/// Writes a deletion with its entries and their files.
pub async fn insert(
    transaction: &mut Transaction,
    deletion: &Deletion,
    entries: &[(Entry, Vec<DeletionFile>)],
    request: Option<&[u8]>,
) -> Result<(), DatabaseError> {
    let insert =
        "INSERT INTO deletions (order_id, contract_id, checksum_type, policy, due, reason, file_count, size_bytes, request)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let statement = sql(insert)
        .bind(&deletion.order_id)
        .bind(&deletion.contract_id)
        .bind(deletion.checksum_type.name())
        .bind(deletion.policy.name())
        .bind(deletion.due)
        .bind(deletion.reason.clone())
        .bind(deletion.file_count)
        .bind(deletion.size_bytes)
        .bind(request.map(<[u8]>::to_vec));
    transaction.execute(statement).await?;
    for (entry, files) in entries {
        let insert = "INSERT INTO deletion_entries (order_id, number, package_id, object_id, ocfl_id, label, scope,
                          file_count, state)
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let statement = sql(insert)
            .bind(&deletion.order_id)
            .bind(entry.number)
            .bind(&entry.package_id)
            .bind(&entry.object_id)
            .bind(&entry.ocfl_id)
            .bind(entry.label.clone())
            .bind(entry.scope.name())
            .bind(entry.file_count)
            .bind(entry.state.name());
        transaction.execute(statement).await?;
        insert_files(transaction, &deletion.order_id, entry.number, files).await?;
    }
    Ok(())
}

/// The request for a deletion as it came, if it is to be given back.
pub async fn request(database: &Database, order_id: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
    let query = "SELECT request FROM deletions WHERE order_id = $1 AND request IS NOT NULL";
    database.row(sql(query).bind(order_id)).await?.map(|row| row.blob("request")).transpose()
}

async fn insert_files(
    transaction: &mut Transaction,
    order_id: &str,
    entry: u32,
    files: &[DeletionFile],
) -> Result<(), DatabaseError> {
    const COLUMNS: usize = 10;
    let mut number = 0_u64;
    for some in files.chunks(FILES_AT_A_TIME) {
        let row = |row: usize| {
            let first = 3 + row * COLUMNS;
            let parameters: Vec<String> = (first..first + COLUMNS).map(|number| format!("${number}")).collect();
            format!("($1, $2, {})", parameters.join(", "))
        };
        let rows: Vec<String> = (0..some.len()).map(row).collect();
        let text = format!(
            "INSERT INTO deletion_files (order_id, entry, number, version, label, path, size_bytes, algorithm, md5, sha256,
                 sha512, state) VALUES {}",
            rows.join(", ")
        );
        let mut statement = Statement::assembled(text).bind(order_id).bind(entry);
        for file in some {
            number += 1;
            statement = statement.bind(number).bind(file.version).bind(&file.label).bind(&file.path);
            statement = statement.bind(file.size_bytes).bind(file.algorithm.name());
            for (algorithm, _) in DIGESTS {
                statement = statement.bind(file.digest(algorithm).map(ToString::to_string));
            }
            statement = statement.bind(file.state.name());
        }
        transaction.execute(statement).await?;
    }
    Ok(())
}

/// A deletion by its order.
pub async fn get(database: &Database, order_id: &str) -> Result<Option<Deletion>, DatabaseError> {
    Ok(of_orders(database, &[order_id]).await?.pop())
}

/// The deletions of some orders, in no particular order.
pub async fn of_orders(database: &Database, order_ids: &[&str]) -> Result<Vec<Deletion>, DatabaseError> {
    let mut values = Vec::with_capacity(order_ids.len());
    let chosen = any_of("order_id", order_ids, &mut values);
    let text = format!(
        "SELECT order_id, contract_id, checksum_type, policy, due, reason, file_count, size_bytes, approved_by, approved
         FROM deletions WHERE 1 = 1{chosen}"
    );
    let statement = values.into_iter().fold(Statement::assembled(text), Statement::bind);
    database.rows(statement).await?.iter().map(deletion).collect()
}

/// The entries of a deletion.
pub async fn entries(database: &Database, order_id: &str) -> Result<Vec<Entry>, DatabaseError> {
    let query = "SELECT number, package_id, object_id, ocfl_id, label, scope, file_count, state, reason, ended
                 FROM deletion_entries WHERE order_id = $1 ORDER BY number";
    database.rows(sql(query).bind(order_id)).await?.iter().map(entry).collect()
}

/// The files of an entry.
pub async fn files(database: &Database, order_id: &str, entry: u32) -> Result<Vec<DeletionFile>, DatabaseError> {
    let text =
        format!("SELECT {FILE_COLUMNS} FROM deletion_files f WHERE f.order_id = $1 AND f.entry = $2 ORDER BY f.number");
    database.rows(Statement::assembled(text).bind(order_id).bind(entry)).await?.iter().map(file).collect()
}

/// Records who approved a deletion; `false` when somebody had done so before.
pub async fn approve(
    transaction: &mut Transaction,
    order_id: &str,
    by: &str,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let update = "UPDATE deletions SET approved_by = $1, approved = $2 WHERE order_id = $3 AND approved IS NULL";
    Ok(transaction.execute(sql(update).bind(by).bind(now).bind(order_id)).await? == 1)
}

/// How an entry ended: deleted but for some files, which have their reasons, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryEnd {
    /// All files are gone, but for those at these places (version and path), which are kept for that reason.
    Deleted(Vec<(u32, String, String)>),
    /// None was deleted, for that reason.
    Failed(String),
}

/// Records how an entry ended; `false` when that was recorded before.
pub async fn end_entry(
    transaction: &mut Transaction,
    order_id: &str,
    number: u32,
    end: &EntryEnd,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let (state, reason) = match end {
        EntryEnd::Deleted(kept) if kept.is_empty() => (Removal::Deleted, None),
        EntryEnd::Deleted(kept) => (Removal::Error, Some(format!("{} of the files were not deleted", kept.len()))),
        EntryEnd::Failed(reason) => (Removal::Error, Some(reason.clone())),
    };
    let update = "UPDATE deletion_entries SET state = $1, reason = $2, ended = $3
                  WHERE order_id = $4 AND number = $5 AND state = 'pending'";
    let statement = sql(update).bind(state.name()).bind(reason.clone()).bind(now).bind(order_id).bind(number);
    if transaction.execute(statement).await? == 0 {
        return Ok(false);
    }
    if let EntryEnd::Deleted(kept) = end {
        for (version, path, why) in kept {
            let update = "UPDATE deletion_files SET state = 'error', reason = $1
                          WHERE order_id = $2 AND entry = $3 AND version = $4 AND path = $5";
            let statement = sql(update).bind(why).bind(order_id).bind(number).bind(*version).bind(path);
            transaction.execute(statement).await?;
        }
    }
    let (files, reason) = match end {
        EntryEnd::Deleted(_) => (Removal::Deleted, None),
        EntryEnd::Failed(_) => (Removal::Error, reason),
    };
    let update = "UPDATE deletion_files SET state = $1, reason = $2
                  WHERE order_id = $3 AND entry = $4 AND state = 'pending'";
    transaction.execute(sql(update).bind(files.name()).bind(reason).bind(order_id).bind(number)).await?;
    Ok(true)
}

/// Whether content of a package is being removed now.
pub async fn is_under_way(transaction: &mut Transaction, package_id: &str) -> Result<bool, DatabaseError> {
    let query = "SELECT e.order_id FROM deletion_entries e JOIN orders o ON o.id = e.order_id
                 WHERE e.package_id = $1 AND e.state = 'pending' AND o.state = 'deleting'";
    Ok(transaction.row(sql(query).bind(package_id)).await?.is_some())
}

/// An unfinished deletion of a package, if there is one.
pub async fn unfinished(transaction: &mut Transaction, package_id: &str) -> Result<Option<String>, DatabaseError> {
    let query = "SELECT e.order_id AS order_id FROM deletion_entries e JOIN orders o ON o.id = e.order_id
                 WHERE e.package_id = $1 AND o.finished = 0 ORDER BY e.order_id";
    transaction.row(sql(query).bind(package_id)).await?.map(|row| row.text("order_id")).transpose()
}

/// The deletion that is removing content of a contract's packages now, of one package where it is named.
pub async fn under_way(
    transaction: &mut Transaction,
    contract_id: &str,
    object_id: Option<&str>,
) -> Result<Option<String>, DatabaseError> {
    let query = "SELECT d.order_id AS order_id FROM deletions d
                     JOIN orders o ON o.id = d.order_id JOIN deletion_entries e ON e.order_id = d.order_id
                 WHERE d.contract_id = $1 AND o.state = 'deleting' AND e.state = 'pending'
                     AND (e.object_id = $2 OR $3 = 1) ORDER BY d.order_id";
    let statement = sql(query).bind(contract_id).bind(object_id.unwrap_or_default()).bind(object_id.is_none());
    transaction.row(statement).await?.map(|row| row.text("order_id")).transpose()
}

/// The unfinished deposits of a package.
pub async fn deposits_under_way(
    transaction: &mut Transaction,
    package_id: &str,
) -> Result<Option<String>, DatabaseError> {
    let query = "SELECT id FROM orders WHERE package_id = $1 AND kind = 'deposit' AND finished = 0 ORDER BY id";
    transaction.row(sql(query).bind(package_id)).await?.map(|row| row.text("id")).transpose()
}

/// What is remembered of the deleted files of a package, of one path where it is given: the latest deletion last.
pub async fn tombstones(
    database: &Database,
    contract_id: &str,
    object_id: &str,
    path: Option<&str>,
) -> Result<Vec<Tombstone>, DatabaseError> {
    let and = if path.is_some() { " AND f.path = $3" } else { "" };
    let text = format!(
        "SELECT {FILE_COLUMNS}, e.order_id AS order_id, e.object_id AS object_id, e.ended AS ended,
             o.client_id AS client_id, d.approved_by AS approved_by, d.reason AS why
         FROM deletion_entries e
             JOIN deletions d ON d.order_id = e.order_id JOIN orders o ON o.id = e.order_id
             JOIN deletion_files f ON f.order_id = e.order_id AND f.entry = e.number
         WHERE d.contract_id = $1 AND e.object_id = $2 AND f.state = 'deleted'{and}
         ORDER BY e.order_id, f.entry, f.number"
    );
    let mut statement = Statement::assembled(text).bind(contract_id).bind(object_id);
    if let Some(path) = path {
        statement = statement.bind(path);
    }
    let tombstone = |row: &Row| {
        Ok(Tombstone {
            order_id: row.text("order_id")?,
            object_id: row.text("object_id")?,
            file: file(row)?,
            client_id: row.text("client_id")?,
            approved_by: row.text_or_null("approved_by")?,
            reason: row.text_or_null("why")?,
            deleted: row.time_or_null("ended")?.unwrap_or(Timestamp(0)),
        })
    };
    database.rows(statement).await?.iter().map(tombstone).collect()
}

/// Which deletions a list holds.
#[derive(Clone, Debug, Default)]
pub struct DeletionFilter {
    /// Of one contract alone.
    pub contract_id: Option<String>,
    /// In one of these states alone; `None` for all.
    pub states: Option<Vec<OrderState>>,
    /// Older than the one whose order has this identifier.
    pub before: Option<String>,
    /// How many at the most.
    pub limit: u32,
}

fn algorithm(row: &Row, column: &'static str) -> Result<Algorithm, DatabaseError> {
    let name = row.text(column)?;
    let unexpected =
        || DatabaseError::Value { column: column.to_owned(), message: format!("{name:?} is no digest algorithm") };
    Algorithm::from_name(&name).ok_or_else(unexpected)
}

fn deletion(row: &Row) -> Result<Deletion, DatabaseError> {
    Ok(Deletion {
        order_id: row.text("order_id")?,
        contract_id: row.text("contract_id")?,
        checksum_type: algorithm(row, "checksum_type")?,
        policy: row.parse("policy")?,
        due: row.time_or_null("due")?,
        reason: row.text_or_null("reason")?,
        file_count: row.count("file_count")?,
        size_bytes: row.count("size_bytes")?,
        approved_by: row.text_or_null("approved_by")?,
        approved: row.time_or_null("approved")?,
    })
}

fn entry(row: &Row) -> Result<Entry, DatabaseError> {
    Ok(Entry {
        number: row.number("number")?,
        package_id: row.text("package_id")?,
        object_id: row.text("object_id")?,
        ocfl_id: row.text("ocfl_id")?,
        label: row.text_or_null("label")?,
        scope: row.parse("scope")?,
        file_count: row.count("file_count")?,
        state: row.parse("state")?,
        reason: row.text_or_null("reason")?,
        ended: row.time_or_null("ended")?,
    })
}

fn file(row: &Row) -> Result<DeletionFile, DatabaseError> {
    let mut digests = Vec::new();
    for (algorithm, column) in DIGESTS {
        if let Some(text) = row.text_or_null(column)? {
            let unexpected =
                |message| DatabaseError::Value { column: column.to_owned(), message: format!("{text:?}: {message}") };
            let digest = Digest::parse(algorithm, &text).map_err(|error| unexpected(error.to_string()))?;
            digests.push((algorithm, digest));
        }
    }
    Ok(DeletionFile {
        version: row.number("version")?,
        label: row.text("label")?,
        path: row.text("path")?,
        size_bytes: row.count("size_bytes")?,
        algorithm: algorithm(row, "algorithm")?,
        digests,
        state: row.parse("state")?,
        reason: row.text_or_null("reason")?,
    })
}
