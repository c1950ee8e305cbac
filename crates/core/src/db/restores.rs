//! Restores: files that are made ready to be fetched one by one, and what was fetched of them. Where the work on a restore
//! stands, its order says.

use dipper_archive::digest::{Algorithm, Digest};
use dipper_archive::package::Content;

use crate::db::orders::{Failure, OrderKind};
use crate::db::packages::{PackageState, any_of};
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::named::named;
use crate::order::OrderState;
use crate::time::Timestamp;

/// Rows that one statement inserts. SQLite looks for each parameter by its name, from the first on.
const ROWS_AT_A_TIME: usize = 50;
/// Restores that are looked up to be cleared away, and files that one statement clears away: nobody waits for that for long.
const FORGOTTEN_AT_A_TIME: u32 = 100;
const FILES_FORGOTTEN_AT_A_TIME: u64 = 2000;

/// A restore, with what its order says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// The identifier of its order, and so its own.
    pub id: String,
    /// The contract.
    pub contract_id: String,
    /// The language of the contract in which it was asked for.
    pub dialect: String,
    /// Where the work on it stands.
    pub order: OrderState,
    /// Why that did not come to its good end.
    pub failure: Option<Failure>,
    /// When it was asked for.
    pub created: Timestamp,
    /// When the order last changed.
    pub updated: Timestamp,
    /// How many files it has.
    pub file_count: u64,
    /// How many of them were not fetched whole yet.
    pub unfetched: u64,
    /// Until when the files can be fetched; unknown until all were looked at.
    pub expires: Option<Timestamp>,
    /// When it was given back.
    pub released: Option<Timestamp>,
}

/// A file of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreFile {
    /// Its number in the restore, from 1.
    pub number: u32,
    /// The package.
    pub package_id: String,
    /// The depositor's name for the package.
    pub object_id: String,
    /// The logical path.
    pub path: String,
    /// The number of the version.
    pub version: u32,
    /// The label of the version, empty when it has none.
    pub label: String,
    /// The object root inside the storage root.
    pub root: String,
    /// The path of the bytes below the object root.
    pub content_path: String,
    /// Its length.
    pub size_bytes: u64,
    /// The algorithm of the content digest.
    pub algorithm: Algorithm,
    /// The content digest.
    pub digest: Digest,
    /// Its checksums, as far as they are known.
    pub checksums: Checksums,
    /// Whether it can be fetched.
    pub state: FileState,
    /// Why it cannot.
    pub reason: Option<String>,
    /// When it was first fetched whole.
    pub fetched: Option<Timestamp>,
}

impl RestoreFile {
    /// Its content, as the archive keeps it.
    pub fn content(&self) -> Content {
        Content {
            logical_path: self.path.clone(),
            size: self.size_bytes,
            digest: self.digest,
            algorithm: self.algorithm,
            location: format!("{}/{}", self.root, self.content_path),
        }
    }
}

/// The checksums of a file that partners ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksums {
    /// MD5.
    pub md5: Option<Digest>,
    /// SHA-256.
    pub sha256: Option<Digest>,
    /// SHA-512.
    pub sha512: Option<Digest>,
}

impl Checksums {
    /// The kinds that there are.
    pub const ALGORITHMS: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512];

    /// The one of that kind.
    pub fn of(&self, algorithm: Algorithm) -> Option<Digest> {
        match algorithm {
            Algorithm::Md5 => self.md5,
            Algorithm::Sha256 => self.sha256,
            Algorithm::Sha512 => self.sha512,
            _ => None,
        }
    }

    /// Notes the one of that kind.
    pub fn set(&mut self, algorithm: Algorithm, digest: Digest) {
        match algorithm {
            Algorithm::Md5 => self.md5 = Some(digest),
            Algorithm::Sha256 => self.sha256 = Some(digest),
            Algorithm::Sha512 => self.sha512 = Some(digest),
            _ => {}
        }
    }

    /// The kinds that are not known yet.
    pub fn missing(&self) -> Vec<Algorithm> {
        Checksums::ALGORITHMS.into_iter().filter(|algorithm| self.of(*algorithm).is_none()).collect()
    }
}

/// Whether a file of a restore can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// It was not looked at yet.
    Pending,
    /// It was read whole and found right.
    Staged,
    /// It cannot be handed out.
    Failed,
}

named!(FileState, "state of a file": Pending => "pending", Staged => "staged", Failed => "failed");

/// Where a restore stands for whoever asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreState {
    /// Its files are being looked at, or wait for that.
    Accepted,
    /// Every file can be fetched.
    Staged,
    /// Every file was fetched.
    Complete,
    /// Not every file can be handed out.
    Failed,
    /// Its time is over, or it was given back.
    Expired,
}

/// Which restores a list holds.
#[derive(Clone, Debug)]
pub struct RestoreFilter {
    /// In that state alone; otherwise all but those whose time is over.
    pub state: Option<RestoreState>,
    /// Older than the one with this identifier.
    pub before: Option<String>,
    /// How many at the most.
    pub limit: u32,
    /// The present time.
    pub now: Timestamp,
    /// One that failed before this time counts as expired, although no file of it ever could be fetched.
    pub forgotten: Timestamp,
}

impl Restore {
    /// Where it stands at a time. One that failed before `forgotten` is not told of for ever.
    pub fn state(&self, now: Timestamp, forgotten: Timestamp) -> RestoreState {
        let is_over = match self.expires {
            Some(expires) => expires <= now,
            None => self.order.is_finished() && self.updated <= forgotten,
        };
        match self.order {
            _ if is_over || self.released.is_some() => RestoreState::Expired,
            OrderState::Delivered if self.unfetched == 0 => RestoreState::Complete,
            OrderState::Delivered => RestoreState::Staged,
            state if state.is_finished() => RestoreState::Failed,
            _ => RestoreState::Accepted,
        }
    }
}

/// Writes a new restore, whose order is there already, with its files.
pub async fn insert(
    transaction: &mut Transaction,
    order_id: &str,
    request: &[u8],
    files: &[RestoreFile],
) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO restores (order_id, request, file_count, unfetched) VALUES ($1, $2, $3, $3)";
    let statement = sql(insert).bind(order_id).bind(request.to_vec()).bind(files.len() as u64);
    transaction.execute(statement).await?;
    let (full, rest) = files.as_chunks::<ROWS_AT_A_TIME>();
    let text = inserting(ROWS_AT_A_TIME);
    for some in full {
        transaction.execute(with_files(&text, order_id, some)).await?;
    }
    if !rest.is_empty() {
        transaction.execute(with_files(&inserting(rest.len()), order_id, rest)).await?;
    }
    Ok(())
}

/// The statement for so many rows.
fn inserting(rows: usize) -> String {
    const COLUMNS: usize = 16;
    let row = |index: usize| {
        let parameters: Vec<String> = (1..=COLUMNS).map(|column| format!("${}", index * COLUMNS + column)).collect();
        format!("({}, 'pending')", parameters.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO restore_files (order_id, number, package_id, object_id, path, version, label, root, content, size_bytes,
             algorithm, digest, md5, sha256, sha512, fetched, state)
         VALUES {}",
        rows.join(", ")
    )
}

fn with_files(text: &str, order_id: &str, files: &[RestoreFile]) -> Statement {
    let digest = |digest: Option<Digest>| digest.map(|digest| digest.to_string());
    files.iter().fold(Statement::assembled(text.to_owned()), |statement, file| {
        statement
            .bind(order_id)
            .bind(file.number)
            .bind(&file.package_id)
            .bind(&file.object_id)
            .bind(&file.path)
            .bind(file.version)
            .bind(&file.label)
            .bind(&file.root)
            .bind(&file.content_path)
            .bind(file.size_bytes)
            .bind(file.algorithm.name())
            .bind(file.digest.to_string())
            .bind(digest(file.checksums.md5))
            .bind(digest(file.checksums.sha256))
            .bind(digest(file.checksums.sha512))
            .bind(file.fetched)
    })
}

const RESTORE: &str = "o.id, o.contract_id, o.dialect, o.state, o.created, o.updated, o.failure_code, o.failure_message, \
                       r.file_count, r.unfetched, r.expires, r.released";
const FILE: &str = "f.number, f.package_id, f.object_id, f.path, f.version, f.label, f.root, f.content, \
                    f.size_bytes AS file_bytes, f.algorithm, f.digest, f.md5, f.sha256, f.sha512, \
                    f.state AS file_state, f.reason, f.fetched";

/// A restore by its identifier.
pub async fn get(database: &Database, id: &str) -> Result<Option<Restore>, DatabaseError> {
    let text = format!("SELECT {RESTORE} FROM restores r JOIN orders o ON o.id = r.order_id WHERE r.order_id = $1");
    database.row(Statement::assembled(text).bind(id)).await?.as_ref().map(restore).transpose()
}

/// The request for a restore, as it came.
pub async fn request(database: &Database, id: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
    let row = database.row(sql("SELECT request FROM restores WHERE order_id = $1").bind(id)).await?;
    row.map(|row| row.blob("request")).transpose()
}

/// The restores of some contracts that pass a filter, newest first.
pub async fn list(
    database: &Database,
    contract_ids: &[&str],
    filter: &RestoreFilter,
) -> Result<Vec<Restore>, DatabaseError> {
    let mut values: Vec<&str> = vec![filter.before.as_deref().unwrap_or("~")];
    let mut text = format!("SELECT {RESTORE} FROM orders o JOIN restores r ON r.order_id = o.id WHERE o.id < $1");
    text.push_str(&any_of("o.kind", &[OrderKind::Restore.name()], &mut values));
    text.push_str(&any_of("o.contract_id", contract_ids, &mut values));
    let (now, forgotten) = (values.len() + 1, values.len() + 2);
    let over = format!(
        "CASE WHEN r.released IS NOT NULL OR r.expires <= ${now} THEN 1
              WHEN r.expires IS NULL AND o.finished = 1 AND o.updated <= ${forgotten} THEN 1 ELSE 0 END"
    );
    text.push_str(match filter.state {
        None | Some(RestoreState::Expired) => "",
        Some(RestoreState::Accepted) => " AND o.finished = 0",
        Some(RestoreState::Staged) => " AND o.state = 'delivered' AND r.unfetched > 0",
        Some(RestoreState::Complete) => " AND o.state = 'delivered' AND r.unfetched = 0",
        Some(RestoreState::Failed) => " AND o.finished = 1 AND o.state <> 'delivered'",
    });
    let is_over = i64::from(filter.state == Some(RestoreState::Expired));
    text.push_str(&format!(" AND {over} = {is_over} ORDER BY o.id DESC LIMIT {}", filter.limit));
    let statement = values.into_iter().fold(Statement::assembled(text), Statement::bind);
    let rows = database.rows(statement.bind(filter.now).bind(filter.forgotten)).await?;
    rows.iter().map(restore).collect()
}

/// Files of a restore in the order of their numbers, at most `limit` of them after the number `after`.
pub async fn files(database: &Database, id: &str, after: u32, limit: u32) -> Result<Vec<RestoreFile>, DatabaseError> {
    let text = format!(
        "SELECT {FILE} FROM restore_files f WHERE f.order_id = $1 AND f.number > $2 ORDER BY f.number LIMIT $3"
    );
    let rows = database.rows(Statement::assembled(text).bind(id).bind(after).bind(limit)).await?;
    rows.iter().map(file).collect()
}

/// Files of a restore that were not looked at yet.
pub async fn pending(database: &Database, id: &str, limit: u32) -> Result<Vec<RestoreFile>, DatabaseError> {
    let text = format!(
        "SELECT {FILE} FROM restore_files f WHERE f.order_id = $1 AND f.state = 'pending' ORDER BY f.number LIMIT $2"
    );
    let rows = database.rows(Statement::assembled(text).bind(id).bind(limit)).await?;
    rows.iter().map(file).collect()
}

/// The lengths of the files of a restore that were not looked at yet, added up.
pub async fn pending_bytes(database: &Database, id: &str) -> Result<u64, DatabaseError> {
    let query = "SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) AS file_bytes FROM restore_files
                 WHERE order_id = $1 AND state = 'pending'";
    let row = database.row(sql(query).bind(id)).await?;
    row.map_or(Ok(0), |row| row.count("file_bytes"))
}

/// A file of a restore that is to be fetched.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The restore.
    pub restore: Restore,
    /// The file.
    pub file: RestoreFile,
    /// Its checkpoints, if it has any of its own.
    pub checkpoints: Option<Vec<u8>>,
    /// The state of its package.
    pub package: PackageState,
    /// Why the package is not preserved.
    pub package_reason: Option<String>,
}

/// One file of a restore with everything that is asked before it is handed out.
pub async fn wanted(
    database: &Database,
    id: &str,
    object_id: &str,
    path: &str,
) -> Result<Option<Wanted>, DatabaseError> {
    let text = format!(
        "SELECT {RESTORE}, {FILE}, f.checkpoints, p.state AS package_state, p.reason AS package_reason
         FROM restore_files f JOIN restores r ON r.order_id = f.order_id JOIN orders o ON o.id = f.order_id
             JOIN packages p ON p.id = f.package_id
         WHERE f.order_id = $1 AND f.object_id = $2 AND f.path = $3"
    );
    let row = database.row(Statement::assembled(text).bind(id).bind(object_id).bind(path)).await?;
    let wanted = |row: Row| {
        Ok(Wanted {
            restore: restore(&row)?,
            file: file(&row)?,
            checkpoints: row.blob_or_null("checkpoints")?,
            package: row.parse("package_state")?,
            package_reason: row.text_or_null("package_reason")?,
        })
    };
    row.map(wanted).transpose()
}

/// Notes that a file was read whole and found right, with its checksums.
pub async fn staged(
    transaction: &mut Transaction,
    id: &str,
    number: u32,
    checksums: &Checksums,
    checkpoints: Option<Vec<u8>>,
) -> Result<(), DatabaseError> {
    let update = "UPDATE restore_files SET state = 'staged', md5 = $1, sha256 = $2, sha512 = $3, checkpoints = $4
                  WHERE order_id = $5 AND number = $6";
    let digest = |digest: Option<Digest>| digest.map(|digest| digest.to_string());
    let statement = sql(update)
        .bind(digest(checksums.md5))
        .bind(digest(checksums.sha256))
        .bind(digest(checksums.sha512))
        .bind(checkpoints)
        .bind(id)
        .bind(number);
    transaction.execute(statement).await.map(|_| ())
}

/// Notes that a file cannot be handed out.
pub async fn failed(transaction: &mut Transaction, id: &str, number: u32, reason: &str) -> Result<(), DatabaseError> {
    let update = "UPDATE restore_files SET state = 'failed', reason = $1, checkpoints = NULL
                  WHERE order_id = $2 AND number = $3";
    transaction.execute(sql(update).bind(reason).bind(id).bind(number)).await.map(|_| ())
}

/// The first files of a restore that cannot be handed out.
pub async fn failures(transaction: &mut Transaction, id: &str, limit: u32) -> Result<Vec<RestoreFile>, DatabaseError> {
    let text = format!(
        "SELECT {FILE} FROM restore_files f WHERE f.order_id = $1 AND f.state = 'failed' ORDER BY f.number LIMIT $2"
    );
    let rows = transaction.rows(Statement::assembled(text).bind(id).bind(limit)).await?;
    rows.iter().map(file).collect()
}

/// The versions that files of a restore are from: package, its depositor's name, number and label of the version, how many
/// files of it and their bytes.
pub async fn versions(transaction: &mut Transaction, id: &str) -> Result<Vec<RestoredVersion>, DatabaseError> {
    let query = "SELECT package_id, object_id, version, label, COUNT(*) AS file_count,
                     CAST(SUM(size_bytes) AS BIGINT) AS file_bytes,
                     CAST(SUM(CASE WHEN state = 'failed' THEN 1 ELSE 0 END) AS BIGINT) AS failed
                 FROM restore_files WHERE order_id = $1
                 GROUP BY package_id, object_id, version, label ORDER BY package_id, version";
    let rows = transaction.rows(sql(query).bind(id)).await?;
    let version = |row: &Row| {
        Ok(RestoredVersion {
            package_id: row.text("package_id")?,
            object_id: row.text("object_id")?,
            number: row.number("version")?,
            label: row.text("label")?,
            file_count: row.count("file_count")?,
            size_bytes: row.count("file_bytes")?,
            failed: row.count("failed")?,
        })
    };
    rows.iter().map(version).collect()
}

/// The files of a restore that are from one version, or those of them that cannot be handed out.
pub async fn of_version(
    transaction: &mut Transaction,
    id: &str,
    version: &RestoredVersion,
    failed: bool,
) -> Result<Vec<RestoreFile>, DatabaseError> {
    let only = if failed { " AND f.state = 'failed'" } else { "" };
    let text = format!(
        "SELECT {FILE} FROM restore_files f
         WHERE f.order_id = $1 AND f.package_id = $2 AND f.version = $3{only} ORDER BY f.number"
    );
    let statement = Statement::assembled(text).bind(id).bind(&version.package_id).bind(version.number);
    transaction.rows(statement).await?.iter().map(file).collect()
}

/// A version that files of a restore are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredVersion {
    /// The package.
    pub package_id: String,
    /// The depositor's name for it.
    pub object_id: String,
    /// The number of the version.
    pub number: u32,
    /// Its label, empty when it has none.
    pub label: String,
    /// How many files of it.
    pub file_count: u64,
    /// Their sizes, added up.
    pub size_bytes: u64,
    /// How many of them cannot be handed out.
    pub failed: u64,
}

/// Sets until when the files can be fetched; `false` when it was given back, or its time was over already.
pub async fn expires_set(
    transaction: &mut Transaction,
    id: &str,
    expires: Timestamp,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let update = "UPDATE restores SET expires = $1
                  WHERE order_id = $2 AND released IS NULL AND (expires IS NULL OR expires > $3)";
    Ok(transaction.execute(sql(update).bind(expires).bind(id).bind(now)).await? == 1)
}

/// Writes what a restore that failed was to make ready, for another order; `false` when that is not known any more.
pub async fn again(transaction: &mut Transaction, failed: &str, order_id: &str) -> Result<bool, DatabaseError> {
    let insert = "INSERT INTO restores (order_id, request, file_count, unfetched)
                  SELECT $1, request, file_count, file_count FROM restores WHERE order_id = $2";
    if transaction.execute(sql(insert).bind(order_id).bind(failed)).await? == 0 {
        return Ok(false);
    }
    let insert =
        "INSERT INTO restore_files (order_id, number, package_id, object_id, path, version, label, root, content,
                      size_bytes, algorithm, digest, md5, sha256, sha512, state)
                  SELECT $1, number, package_id, object_id, path, version, label, root, content,
                      size_bytes, algorithm, digest, md5, sha256, sha512, 'pending'
                  FROM restore_files WHERE order_id = $2";
    let copied = transaction.execute(sql(insert).bind(order_id).bind(failed)).await?;
    let query = sql("SELECT file_count FROM restores WHERE order_id = $1").bind(order_id);
    let known = transaction.row(query).await?.map(|row| row.count("file_count")).transpose()?;
    // Its list may be half cleared away.
    Ok(known == Some(copied))
}

/// The restores whose time was over before `before`. A test looks at its plan.
pub const OVER: &str = "SELECT r.order_id, r.file_count FROM restores r JOIN orders o ON o.id = r.order_id
     WHERE o.finished = 1 AND (r.expires <= $1 OR r.released <= $1 OR (r.expires IS NULL AND o.updated <= $1))
     ORDER BY r.order_id LIMIT $2";

/// Clears away the restores whose time was over before `before`, with their lists of files, a part of a list at a time. What
/// it has not come to is done by the next time.
pub async fn forget(database: &Database, before: Timestamp) -> Result<u64, DatabaseError> {
    let mut forgotten = 0;
    loop {
        let over = database.rows(sql(OVER).bind(before).bind(FORGOTTEN_AT_A_TIME)).await?;
        for row in &over {
            let (id, file_count) = (row.text("order_id")?, row.count("file_count")?);
            let mut number = 0;
            while number < file_count {
                number += FILES_FORGOTTEN_AT_A_TIME;
                let delete = "DELETE FROM restore_files WHERE order_id = $1 AND number <= $2";
                database.execute(sql(delete).bind(&id).bind(number)).await?;
            }
            database.execute(sql("DELETE FROM restores WHERE order_id = $1").bind(&id)).await?;
            forgotten += 1;
        }
        if over.len() < FORGOTTEN_AT_A_TIME as usize {
            return Ok(forgotten);
        }
    }
}

/// Takes back a restore: its files can be fetched no more. `false` when that was done before.
pub async fn release(transaction: &mut Transaction, id: &str, now: Timestamp) -> Result<bool, DatabaseError> {
    let update = "UPDATE restores SET released = $1 WHERE order_id = $2 AND released IS NULL";
    Ok(transaction.execute(sql(update).bind(now).bind(id)).await? == 1)
}

/// Notes that a file was fetched whole; `false` when it was before.
pub async fn fetched(
    transaction: &mut Transaction,
    id: &str,
    number: u32,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let update = "UPDATE restore_files SET fetched = $1 WHERE order_id = $2 AND number = $3 AND fetched IS NULL";
    if transaction.execute(sql(update).bind(now).bind(id).bind(number)).await? == 0 {
        return Ok(false);
    }
    let update = "UPDATE restores SET unfetched = unfetched - 1 WHERE order_id = $1";
    transaction.execute(sql(update).bind(id)).await.map(|_| true)
}

fn restore(row: &Row) -> Result<Restore, DatabaseError> {
    let failure = match row.text_or_null("failure_code")? {
        Some(_) => Some(Failure { code: row.parse("failure_code")?, message: row.text("failure_message")? }),
        None => None,
    };
    Ok(Restore {
        id: row.text("id")?,
        contract_id: row.text("contract_id")?,
        dialect: row.text("dialect")?,
        order: row.parse("state")?,
        failure,
        created: row.time("created")?,
        updated: row.time("updated")?,
        file_count: row.count("file_count")?,
        unfetched: row.count("unfetched")?,
        expires: row.time_or_null("expires")?,
        released: row.time_or_null("released")?,
    })
}

fn file(row: &Row) -> Result<RestoreFile, DatabaseError> {
    let algorithm = row.text("algorithm")?;
    let unknown = || DatabaseError::Value { column: "algorithm".to_owned(), message: algorithm.clone() };
    let digest = |column: &str| {
        let parsed = row.text_or_null(column)?.map(|text| text.parse::<Digest>());
        parsed
            .transpose()
            .map_err(|error| DatabaseError::Value { column: column.to_owned(), message: error.to_string() })
    };
    Ok(RestoreFile {
        number: row.number("number")?,
        package_id: row.text("package_id")?,
        object_id: row.text("object_id")?,
        path: row.text("path")?,
        version: row.number("version")?,
        label: row.text("label")?,
        root: row.text("root")?,
        content_path: row.text("content")?,
        size_bytes: row.count("file_bytes")?,
        algorithm: Algorithm::from_name(&algorithm).ok_or_else(unknown)?,
        digest: digest("digest")?.ok_or_else(unknown)?,
        checksums: Checksums { md5: digest("md5")?, sha256: digest("sha256")?, sha512: digest("sha512")? },
        state: row.parse("file_state")?,
        reason: row.text_or_null("reason")?,
        fetched: row.time_or_null("fetched")?,
    })
}
