//! The audit log's tables: entries, their lists of files, and where each chain ends. Nothing here changes or removes an
//! entry, and the database refuses both.

use std::collections::BTreeMap;

use crate::audit::chain::{BEGINNING, Chained, Sealer, outcome};
use crate::audit::{AuditEntry, AuditFile, AuditKind};
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, Value, sql};
use crate::time::Timestamp;

/// How many files of a list are written with one statement.
const FILES_AT_A_TIME: usize = 200;
/// So many contracts are asked for in one statement.
const CONTRACTS_AT_A_TIME: usize = 50;

/// Where a chain ends, as the second place has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last entry.
    pub number: u64,
    /// Its hash.
    pub hash: String,
    /// The seal on both.
    pub seal: String,
}

/// Which entries a list holds: those to which all of it applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of these contracts alone; `None` for all.
    pub contract_ids: Option<Vec<String>>,
    /// Of this package alone.
    pub package_id: Option<String>,
    /// Of this kind alone.
    pub kind: Option<AuditKind>,
    /// Without those of administration: what was done with content alone.
    pub content_only: bool,
    /// With this outcome alone.
    pub success: Option<bool>,
    /// That happened at this time or later.
    pub since: Option<Timestamp>,
    /// That happened before this time.
    pub until: Option<Timestamp>,
    /// That concern this file: whole versions, or lists that hold it.
    pub path: Option<String>,
}

/// Where a page of a list begins: behind this entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditCursor {
    /// When the entry happened.
    pub at: Timestamp,
    /// The contract of its chain.
    pub contract_id: String,
    /// Its number there.
    pub number: u64,
}

impl AuditCursor {
    /// The place behind an entry.
    pub fn behind(chained: &Chained) -> AuditCursor {
        let entry = &chained.entry;
        AuditCursor { at: entry.at, contract_id: entry.contract_id.clone(), number: chained.number }
    }
}

/// Such as `1767225600000000.17.2d17`.
impl std::fmt::Display for AuditCursor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}.{}", self.at.0, self.number, self.contract_id)
    }
}

impl std::str::FromStr for AuditCursor {
    type Err = String;

    fn from_str(text: &str) -> Result<AuditCursor, String> {
        let parse = || {
            let (at, rest) = text.split_once('.')?;
            let (number, contract_id) = rest.split_once('.')?;
            let at = Timestamp(at.parse().ok()?);
            Some(AuditCursor { at, contract_id: contract_id.to_owned(), number: number.parse().ok()? })
        };
        parse().ok_or_else(|| format!("{text:?} is no place in the audit log: give what an earlier page ended with"))
    }
}

/// Appends entries, each to the chain of its contract. The last thing that a transaction does: chains are locked in the
/// order of their contracts, after everything else.
pub(super) async fn append(
    transaction: &mut Transaction,
    entries: Vec<AuditEntry>,
    sealer: Option<&Sealer>,
) -> Result<(), DatabaseError> {
    let mut chains: BTreeMap<String, Vec<AuditEntry>> = BTreeMap::new();
    for entry in entries {
        chains.entry(entry.contract_id.clone()).or_default().push(entry);
    }
    for (contract_id, entries) in chains {
        let mut head = head_locked(transaction, &contract_id).await?;
        for entry in entries {
            let chained = Chained::after(head.number + 1, &head.hash, entry);
            insert(transaction, &chained).await?;
            (head.number, head.hash) = (chained.number, chained.hash);
        }
        let seal = sealer.map(|sealer| sealer.seal(&contract_id, head.number, &head.hash)).unwrap_or_default();
        let update = "UPDATE audit_heads SET number = $1, hash = $2, seal = $3 WHERE contract_id = $4";
        transaction.execute(sql(update).bind(head.number).bind(head.hash).bind(seal).bind(contract_id)).await?;
    }
    Ok(())
}

async fn head_locked(transaction: &mut Transaction, contract_id: &str) -> Result<Head, DatabaseError> {
    let query = "SELECT number, hash, seal FROM audit_heads WHERE contract_id = $1";
    if let Some(row) = transaction.row(sql(query).bind(contract_id).locking()).await? {
        return head(&row);
    }
    // Of two who begin a chain at the same time, the second waits here for the first.
    let insert =
        "INSERT INTO audit_heads (contract_id, number, hash, seal) VALUES ($1, 0, $2, '') ON CONFLICT DO NOTHING";
    transaction.execute(sql(insert).bind(contract_id).bind(BEGINNING)).await?;
    match transaction.row(sql(query).bind(contract_id).locking()).await? {
        Some(row) => head(&row),
        None => Ok(Head { number: 0, hash: BEGINNING.to_owned(), seal: String::new() }),
    }
}

fn head(row: &Row) -> Result<Head, DatabaseError> {
    Ok(Head { number: row.count("number")?, hash: row.text("hash")?, seal: row.text("seal")? })
}

async fn insert(transaction: &mut Transaction, chained: &Chained) -> Result<(), DatabaseError> {
    let insert =
        "INSERT INTO audit (contract_id, number, at, kind, outcome, agent, package_id, object_id, version, label,
                      algorithm, digest, size_bytes, file_count, detail, whole, file_list, previous, hash)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";
    let entry = &chained.entry;
    let statement = sql(insert)
        .bind(&entry.contract_id)
        .bind(chained.number)
        .bind(entry.at)
        .bind(entry.kind.name())
        .bind(outcome(entry.success))
        .bind(&entry.agent)
        .bind(entry.package_id.clone())
        .bind(entry.object_id.clone())
        .bind(entry.version)
        .bind(entry.label.clone())
        .bind(entry.algorithm.clone())
        .bind(entry.digest.clone())
        .bind(entry.size_bytes)
        .bind(entry.file_count)
        .bind(&entry.detail)
        .bind(entry.whole)
        .bind(chained.file_list.clone())
        .bind(&chained.previous)
        .bind(&chained.hash);
    transaction.execute(statement).await?;
    for (chunk, files) in (0_u64..).zip(entry.files.chunks(FILES_AT_A_TIME)) {
        let mut text = "INSERT INTO audit_files (contract_id, number, position, path, size_bytes, algorithm, digest, \
                        outcome, detail) VALUES "
            .to_owned();
        for row in 0..files.len() {
            let first = 3 + row * 7;
            let parameters: Vec<String> = (first..first + 7).map(|number| format!("${number}")).collect();
            let comma = if row == 0 { "" } else { ", " };
            text.push_str(&format!("{comma}($1, $2, {})", parameters.join(", ")));
        }
        let mut statement = Statement::assembled(text).bind(&entry.contract_id).bind(chained.number);
        for (position, file) in (chunk * FILES_AT_A_TIME as u64 + 1..).zip(files) {
            statement = statement
                .bind(position)
                .bind(&file.path)
                .bind(file.size_bytes)
                .bind(file.algorithm.clone())
                .bind(file.digest.clone())
                .bind(outcome(file.success))
                .bind(&file.detail);
        }
        transaction.execute(statement).await?;
    }
    Ok(())
}

const COLUMNS: &str = "contract_id, number, at, kind, outcome, agent, package_id, object_id, version, label, algorithm, \
                       digest, size_bytes, file_count, detail, whole, file_list, previous, hash";

/// Entries to which a filter applies, by time, at most `limit` of them behind `after`. Their lists of files are asked for
/// with [`files`].
pub async fn list(
    database: &Database,
    filter: &AuditFilter,
    after: Option<&AuditCursor>,
    limit: u32,
) -> Result<Vec<Chained>, DatabaseError> {
    let several = filter.contract_ids.as_deref().filter(|ids| ids.len() > 1 && filter.package_id.is_none());
    let Some(contract_ids) = several else {
        return database.rows(listing(filter, after, limit)).await?.iter().map(chained).collect();
    };
    let mut found: Vec<Chained> = Vec::new();
    for some in contract_ids.chunks(CONTRACTS_AT_A_TIME) {
        let rows = database.rows(listing_each(filter, some, after, limit)).await?;
        found.extend(rows.iter().map(chained).collect::<Result<Vec<_>, _>>()?);
    }
    let place = |chained: &Chained| (chained.entry.at, chained.entry.contract_id.clone(), chained.number);
    found.sort_by_cached_key(place);
    found.truncate(limit as usize);
    Ok(found)
}

/// The first entries of each of some contracts, each read in the order of its index. A test looks at its plan.
pub fn listing_each(
    filter: &AuditFilter,
    contract_ids: &[String],
    after: Option<&AuditCursor>,
    limit: u32,
) -> Statement {
    let (mut parts, mut values) = (Vec::with_capacity(contract_ids.len()), Vec::new());
    for (number, contract_id) in contract_ids.iter().enumerate() {
        let one = AuditFilter { contract_ids: Some(vec![contract_id.clone()]), ..filter.clone() };
        let conditions = Conditions::of(&one, values).behind(after);
        let (begin, end) = (format!("SELECT {COLUMNS} FROM audit"), format!("ORDER BY at, number LIMIT {limit}"));
        parts.push(format!("SELECT * FROM ({begin} WHERE 1 = 1{} {end}) AS c{number}", conditions.text));
        values = conditions.values;
    }
    let text = format!("{} ORDER BY at, contract_id, number LIMIT {limit}", parts.join(" UNION ALL "));
    values.into_iter().fold(Statement::assembled(text), Statement::bind)
}

/// The statement of [`list`]. A test looks at its plan.
pub fn listing(filter: &AuditFilter, after: Option<&AuditCursor>, limit: u32) -> Statement {
    let conditions = Conditions::of(filter, Vec::new()).behind(after);
    // Of one contract, the index is in the order of these.
    let is_of_one = filter.package_id.is_none() && filter.contract_ids.as_ref().is_some_and(|ids| ids.len() == 1);
    let order = if is_of_one { "at, number" } else { "at, contract_id, number" };
    conditions.statement(&format!("SELECT {COLUMNS} FROM audit"), &format!("ORDER BY {order} LIMIT {limit}"))
}

/// What an entry is about: a contract, and a package of it with the depositor's name for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSubject {
    /// The contract.
    pub contract_id: String,
    /// The package.
    pub package_id: String,
    /// The depositor's name for it.
    pub object_id: Option<String>,
}

/// The packages that entries are about to which a filter applies, sorted by identifier, at most `limit` of them behind
/// the package `after`.
pub async fn subjects(
    database: &Database,
    filter: &AuditFilter,
    after: &str,
    limit: u32,
) -> Result<Vec<AuditSubject>, DatabaseError> {
    let mut conditions = Conditions::of(filter, Vec::new());
    conditions.add("package_id > $n", after);
    let columns = "package_id, MIN(contract_id) AS contract_id, MAX(object_id) AS object_id";
    let end = format!("GROUP BY package_id ORDER BY package_id LIMIT {limit}");
    let rows = database.rows(conditions.statement(&format!("SELECT {columns} FROM audit"), &end)).await?;
    let subject = |row: &Row| {
        Ok(AuditSubject {
            contract_id: row.text("contract_id")?,
            package_id: row.text("package_id")?,
            object_id: row.text_or_null("object_id")?,
        })
    };
    rows.iter().map(subject).collect()
}

/// The contracts that have entries to which a filter applies, sorted.
pub async fn contracts(database: &Database, filter: &AuditFilter) -> Result<Vec<String>, DatabaseError> {
    let conditions = Conditions::of(filter, Vec::new());
    let rows = database.rows(conditions.statement("SELECT DISTINCT contract_id FROM audit", "ORDER BY 1")).await?;
    rows.iter().map(|row| row.text("contract_id")).collect()
}

/// What entries must fulfil, with the values of its parameters.
struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    /// Those of a filter, in a statement that has some values already.
    fn of(filter: &AuditFilter, values: Vec<Value>) -> Conditions {
        let mut conditions = Conditions { text: String::new(), values };
        match filter.contract_ids.as_deref() {
            None => {}
            Some([]) => conditions.text.push_str(" AND 1 = 0"),
            // The entries of one package are few: its index is to be used, and this one's not.
            Some([one]) if filter.package_id.is_some() => conditions.add("COALESCE(contract_id, '') = $n", one),
            Some([one]) => conditions.add("contract_id = $n", one),
            Some(some) => conditions.add_row("contract_id IN ", some.iter().map(Value::from).collect()),
        }
        if let Some(package_id) = &filter.package_id {
            conditions.add("package_id = $n", package_id);
        }
        if let Some(kind) = filter.kind {
            conditions.add("kind = $n", kind.name());
        }
        if filter.content_only {
            conditions.add("kind <> $n", AuditKind::Administration.name());
        }
        if let Some(success) = filter.success {
            // Written out: the index of failures holds nothing else.
            conditions.text.push_str(&format!(" AND outcome = '{}'", outcome(success)));
        }
        if let Some(since) = filter.since {
            conditions.add("at >= $n", since);
        }
        if let Some(until) = filter.until {
            conditions.add("at < $n", until);
        }
        if let Some(path) = &filter.path {
            let concerned = "(whole = 1 OR EXISTS (SELECT 1 FROM audit_files f WHERE f.contract_id = audit.contract_id
                                 AND f.number = audit.number AND f.path = $n))";
            conditions.add(concerned, path);
        }
        conditions
    }

    /// And that they come after a place.
    fn behind(mut self, after: Option<&AuditCursor>) -> Conditions {
        if let Some(after) = after {
            // The first says again what the second says, for the planner.
            self.add("at >= $n", after.at);
            self.add_row(
                "(at, contract_id, number) > ",
                vec![after.at.into(), after.contract_id.as_str().into(), after.number.into()],
            );
        }
        self
    }

    fn add(&mut self, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.text.push_str(&format!(" AND {}", condition.replace("$n", &format!("${}", self.values.len()))));
    }

    fn add_row(&mut self, condition: &str, values: Vec<Value>) {
        let first = self.values.len() + 1;
        self.values.extend(values);
        let parameters: Vec<String> = (first..=self.values.len()).map(|number| format!("${number}")).collect();
        self.text.push_str(&format!(" AND {condition}({})", parameters.join(", ")));
    }

    fn statement(self, begin: &str, end: &str) -> Statement {
        let text = format!("{begin} WHERE 1 = 1{} {end}", self.text);
        self.values.into_iter().fold(Statement::assembled(text), Statement::bind)
    }
}

/// The files of an entry's list, in their order, at most `limit` of them behind the position `after`, each with its
/// position.
pub async fn files(
    database: &Database,
    contract_id: &str,
    number: u64,
    after: u64,
    limit: u32,
) -> Result<Vec<(u64, AuditFile)>, DatabaseError> {
    let query = "SELECT position, path, size_bytes, algorithm, digest, outcome, detail FROM audit_files
                 WHERE contract_id = $1 AND number = $2 AND position > $3 ORDER BY position LIMIT $4";
    let query = sql(query).bind(contract_id).bind(number).bind(after).bind(limit);
    database.rows(query).await?.iter().map(|row| Ok((row.count("position")?, file(row)?))).collect()
}

/// What an entry's list says of one file, if it names it.
pub async fn file_of(
    database: &Database,
    contract_id: &str,
    number: u64,
    path: &str,
) -> Result<Option<AuditFile>, DatabaseError> {
    let query = "SELECT path, size_bytes, algorithm, digest, outcome, detail FROM audit_files
                 WHERE contract_id = $1 AND number = $2 AND path = $3 ORDER BY position LIMIT 1";
    database.row(sql(query).bind(contract_id).bind(number).bind(path)).await?.as_ref().map(file).transpose()
}

/// The versions of a package in which a list of some entry names a file.
pub async fn versions_listing(database: &Database, package_id: &str, path: &str) -> Result<Vec<u32>, DatabaseError> {
    let query = "SELECT DISTINCT a.version FROM audit a WHERE a.package_id = $1 AND a.version IS NOT NULL
                     AND a.file_list IS NOT NULL AND EXISTS
                     (SELECT 1 FROM audit_files f WHERE f.contract_id = a.contract_id AND f.number = a.number
                          AND f.path = $2)";
    database.rows(sql(query).bind(package_id).bind(path)).await?.iter().map(|row| row.number("version")).collect()
}

/// The contracts that have a chain, or something that looks like a part of one, sorted.
pub(crate) async fn chains(database: &Database) -> Result<Vec<String>, DatabaseError> {
    let query = "SELECT contract_id FROM audit_heads UNION SELECT contract_id FROM audit
                 UNION SELECT contract_id FROM audit_files ORDER BY contract_id";
    database.rows(sql(query)).await?.iter().map(|row| row.text("contract_id")).collect()
}

/// Where a chain ends in its second place, and the greatest number that an entry of it has, both at the same moment.
pub(crate) async fn end(database: &Database, contract_id: &str) -> Result<(Option<Head>, u64), DatabaseError> {
    let query = "SELECT (SELECT MAX(number) FROM audit WHERE contract_id = $1) AS last, number, hash, seal
                 FROM (SELECT 1 AS one) AS always LEFT JOIN audit_heads ON contract_id = $1";
    let Some(row) = database.row(sql(query).bind(contract_id)).await? else { return Ok((None, 0)) };
    let last = row.integer_or_null("last")?.and_then(|last| u64::try_from(last).ok()).unwrap_or(0);
    let head = match row.integer_or_null("number")? {
        Some(_) => Some(head(&row)?),
        None => None,
    };
    Ok((head, last))
}

/// A page of a chain, by number.
pub(crate) async fn page(
    database: &Database,
    contract_id: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<(i64, Result<Chained, String>)>, DatabaseError> {
    let query =
        format!("SELECT {COLUMNS} FROM audit WHERE contract_id = $1 AND number > $2 ORDER BY number LIMIT {limit}");
    let rows = database.rows(Statement::assembled(query).bind(contract_id).bind(after)).await?;
    // What cannot be read was never written so: it was changed.
    rows.iter().map(|row| Ok((row.integer("number")?, chained(row).map_err(|error| error.to_string())))).collect()
}

/// The first entry that has files in the table of lists though it says that it has none, or is not there.
pub(crate) async fn stray_files(database: &Database, contract_id: &str) -> Result<Option<i64>, DatabaseError> {
    let query = "SELECT MIN(f.number) AS stray FROM audit_files f WHERE f.contract_id = $1 AND NOT EXISTS
                     (SELECT 1 FROM audit a WHERE a.contract_id = f.contract_id AND a.number = f.number
                          AND a.file_list IS NOT NULL)";
    let row = database.row(sql(query).bind(contract_id)).await?;
    row.map_or(Ok(None), |row| row.integer_or_null("stray"))
}

fn chained(row: &Row) -> Result<Chained, DatabaseError> {
    let version = row.integer_or_null("version")?.map(|_| row.number("version")).transpose()?;
    let size = |column: &str| row.integer_or_null(column)?.map(|_| row.count(column)).transpose();
    Ok(Chained {
        number: row.count("number")?,
        entry: AuditEntry {
            at: row.time("at")?,
            kind: row.parse("kind")?,
            success: success(row)?,
            agent: row.text("agent")?,
            contract_id: row.text("contract_id")?,
            package_id: row.text_or_null("package_id")?,
            object_id: row.text_or_null("object_id")?,
            version,
            label: row.text_or_null("label")?,
            algorithm: row.text_or_null("algorithm")?,
            digest: row.text_or_null("digest")?,
            size_bytes: size("size_bytes")?,
            file_count: size("file_count")?,
            detail: row.text("detail")?,
            whole: flag(row, "whole")?,
            files: Vec::new(),
        },
        file_list: row.text_or_null("file_list")?,
        previous: row.text("previous")?,
        hash: row.text("hash")?,
    })
}

fn file(row: &Row) -> Result<AuditFile, DatabaseError> {
    Ok(AuditFile {
        path: row.text("path")?,
        size_bytes: row.integer_or_null("size_bytes")?.map(|_| row.count("size_bytes")).transpose()?,
        algorithm: row.text_or_null("algorithm")?,
        digest: row.text_or_null("digest")?,
        success: success(row)?,
        detail: row.text("detail")?,
    })
}

/// Anything but these numbers was never written, so it must not pass for one of them.
fn flag(row: &Row, column: &str) -> Result<bool, DatabaseError> {
    match row.integer(column)? {
        0 => Ok(false),
        1 => Ok(true),
        other => {
            Err(DatabaseError::Value { column: column.to_owned(), message: format!("{other} is neither 0 nor 1") })
        }
    }
}

/// Anything but these words was never written, so it must not pass for one of them.
fn success(row: &Row) -> Result<bool, DatabaseError> {
    match row.text("outcome")?.as_str() {
        "success" => Ok(true),
        "failure" => Ok(false),
        other => Err(DatabaseError::Value { column: "outcome".to_owned(), message: format!("{other:?} is none") }),
    }
}
