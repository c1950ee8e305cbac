//! Packages and their versions.

use std::collections::BTreeMap;

use crate::db::{Database, DatabaseError, Row, Statement, Transaction, package_names, sql};
use crate::named::named;
use crate::time::Timestamp;

/// Whether a package can be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageState {
    /// Stored, and nothing is known against it.
    Preserved,
    /// A fixity check failed.
    Damaged,
    /// The storage root does not hold it any more, though nobody deleted it.
    Missing,
    /// Deleted.
    Deleted,
}

named!(
    PackageState, "state of a package":
    Preserved => "preserved",
    Damaged => "damaged",
    Missing => "missing",
    Deleted => "deleted",
);

/// A package: one OCFL object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its identifier, derived from `ocfl_id`.
    pub id: String,
    /// The contract it belongs to.
    pub contract_id: String,
    /// The depositor's name for it, unique in the contract.
    pub object_id: String,
    /// The identifier under which people know it, unique in the installation.
    pub identifier: String,
    /// Its URN, if it has one.
    pub urn: Option<String>,
    /// The OCFL object's identifier.
    pub ocfl_id: String,
    /// The object root inside the storage root.
    pub location: String,
    /// Whether it can be handed out.
    pub state: PackageState,
    /// Why it is not preserved.
    pub reason: Option<String>,
    /// The number of the newest version.
    pub head: u32,
    /// The sizes of the newest version's files, added up.
    pub size_bytes: u64,
    /// How many files the newest version has.
    pub file_count: u64,
    /// When its first version was made.
    pub created: Timestamp,
    /// When its record last changed.
    pub updated: Timestamp,
    /// When all its content last matched its digests.
    pub verified: Option<Timestamp>,
}

/// A version of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number, from 1.
    pub number: u32,
    /// The depositor's own name for it.
    pub label: Option<String>,
    /// The file name of what was handed in.
    pub container_name: Option<String>,
    /// The sizes of its files, added up.
    pub size_bytes: u64,
    /// How many files it has.
    pub file_count: u64,
    /// When it was made.
    pub created: Timestamp,
}

/// Which packages are looked for: those to which all of it applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageQuery {
    /// With that URN, whatever the case of its letters.
    pub urn: Option<String>,
    /// With that identifier.
    pub identifier: Option<String>,
    /// With the depositor's name.
    pub object_id: Option<String>,
    /// With a version that was handed in under that file name.
    pub container_name: Option<String>,
}

/// Every package has names: [`identifiers::settle`](crate::db::identifiers::settle) comes before [`put`].
const COLUMNS: &str = "id, contract_id, object_id, ocfl_id, location, state, reason, head, size_bytes, file_count, \
                       created, updated, verified, \
                       (SELECT identifier FROM identifiers i WHERE i.ocfl_id = packages.ocfl_id) AS identifier, \
                       (SELECT urn FROM identifiers i WHERE i.ocfl_id = packages.ocfl_id) AS urn";

/// Makes a row for a package that the catalogue does not know, for [`put`]; `false` when somebody else has just done so.
///
/// No index is named: of two who insert one package at the same time, any of the indexes may be the first to refuse.
pub async fn insert(transaction: &mut Transaction, package: &Package) -> Result<bool, DatabaseError> {
    let insert =
        "INSERT INTO packages (id, contract_id, object_id, ocfl_id, location, state, head, size_bytes, file_count,
                      created, updated, check_since, stored_bytes)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $8) ON CONFLICT DO NOTHING";
    let statement = sql(insert)
        .bind(&package.id)
        .bind(&package.contract_id)
        .bind(&package.object_id)
        .bind(&package.ocfl_id)
        .bind(&package.location)
        .bind(package.state.name())
        .bind(package.head)
        .bind(package.size_bytes)
        .bind(package.file_count)
        .bind(package.created)
        .bind(package.updated);
    Ok(transaction.execute(statement).await? == 1)
}

/// Writes a package with its versions, in place of what the catalogue knew of it. Its names are in a table of their own.
pub async fn put(transaction: &mut Transaction, package: &Package, versions: &[Version]) -> Result<(), DatabaseError> {
    let upsert = "INSERT INTO packages (id, contract_id, object_id, ocfl_id, location, state, reason, head, size_bytes,
                      file_count, created, updated, verified, check_since, stored_bytes)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $12, $9)
                  ON CONFLICT (id) DO UPDATE SET contract_id = excluded.contract_id, object_id = excluded.object_id,
                      location = excluded.location, state = excluded.state, reason = excluded.reason,
                      head = excluded.head, size_bytes = excluded.size_bytes, file_count = excluded.file_count,
                      created = excluded.created, updated = excluded.updated, verified = excluded.verified,
                      stored_bytes = CASE WHEN packages.stored_bytes > excluded.stored_bytes THEN packages.stored_bytes
                                     ELSE excluded.stored_bytes END";
    let statement = sql(upsert)
        .bind(&package.id)
        .bind(&package.contract_id)
        .bind(&package.object_id)
        .bind(&package.ocfl_id)
        .bind(&package.location)
        .bind(package.state.name())
        .bind(package.reason.clone())
        .bind(package.head)
        .bind(package.size_bytes)
        .bind(package.file_count)
        .bind(package.created)
        .bind(package.updated)
        .bind(package.verified);
    transaction.execute(statement).await?;
    let delete = sql("DELETE FROM versions WHERE package_id = $1").bind(&package.id);
    transaction.execute(delete).await?;
    for version in versions {
        let insert = "INSERT INTO versions (package_id, number, label, container_name, size_bytes, file_count, created)
                      VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let statement = sql(insert)
            .bind(&package.id)
            .bind(version.number)
            .bind(version.label.clone())
            .bind(version.container_name.clone())
            .bind(version.size_bytes)
            .bind(version.file_count)
            .bind(version.created);
        transaction.execute(statement).await?;
    }
    package_names::put(transaction, &package.id).await
}

/// Records what became known of a package's content.
pub async fn state_set(
    transaction: &mut Transaction,
    id: &str,
    state: PackageState,
    reason: Option<String>,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let update = "UPDATE packages SET state = $1, reason = $2, updated = $3 WHERE id = $4";
    transaction.execute(sql(update).bind(state.name()).bind(reason).bind(now).bind(id)).await.map(|_| ())
}

/// Records that all content of a package was read and matched.
pub async fn verified_set(transaction: &mut Transaction, id: &str, now: Timestamp) -> Result<(), DatabaseError> {
    let update = "UPDATE packages SET verified = $1 WHERE id = $2";
    transaction.execute(sql(update).bind(now).bind(id)).await.map(|_| ())
}

/// Records that all stored content of a package was read, so many bytes of it, whatever was found: it is not to be read
/// again before the period is over. `cold_files` could not be read.
pub async fn checked_set(
    transaction: &mut Transaction,
    id: &str,
    stored_bytes: u64,
    cold_files: u64,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let update =
        "UPDATE packages SET checked = $1, check_since = $1, check_until = 0, stored_bytes = $2, cold_files = $3
                  WHERE id = $4";
    transaction.execute(sql(update).bind(now).bind(stored_bytes).bind(cold_files).bind(id)).await.map(|_| ())
}

/// A package by its identifier.
pub async fn get(database: &Database, id: &str) -> Result<Option<Package>, DatabaseError> {
    let query = Statement::assembled(format!("SELECT {COLUMNS} FROM packages WHERE id = $1")).bind(id);
    database.row(query).await?.as_ref().map(package).transpose()
}

/// Packages by their identifiers, in no particular order.
pub async fn get_all(database: &Database, ids: &[&str]) -> Result<Vec<Package>, DatabaseError> {
    let mut found = Vec::with_capacity(ids.len());
    for some in ids.chunks(IDS_AT_A_TIME) {
        let mut values = Vec::with_capacity(some.len());
        let chosen = any_of("id", some, &mut values);
        let text = format!("SELECT {COLUMNS} FROM packages WHERE 1 = 1{chosen}");
        let rows = database.rows(values.into_iter().fold(Statement::assembled(text), Statement::bind)).await?;
        for row in &rows {
            found.push(package(row)?);
        }
    }
    Ok(found)
}

/// A package by the depositor's name for it.
pub async fn find(database: &Database, contract_id: &str, object_id: &str) -> Result<Option<Package>, DatabaseError> {
    let query = format!("SELECT {COLUMNS} FROM packages WHERE contract_id = $1 AND object_id = $2");
    let query = Statement::assembled(query).bind(contract_id).bind(object_id);
    database.row(query).await?.as_ref().map(package).transpose()
}

/// A package inside a transaction, locked, so that what is decided on it still holds at the commit.
pub async fn get_locked(transaction: &mut Transaction, id: &str) -> Result<Option<Package>, DatabaseError> {
    let query = Statement::assembled(format!("SELECT {COLUMNS} FROM packages WHERE id = $1")).bind(id);
    transaction.row(query.locking()).await?.as_ref().map(package).transpose()
}

/// The package whose object root is at a place inside the storage root, locked.
pub async fn at_location_locked(
    transaction: &mut Transaction,
    location: &str,
) -> Result<Option<Package>, DatabaseError> {
    let query = Statement::assembled(format!("SELECT {COLUMNS} FROM packages WHERE location = $1")).bind(location);
    transaction.row(query.locking()).await?.as_ref().map(package).transpose()
}

/// The versions of a package, oldest first.
pub async fn versions(database: &Database, id: &str) -> Result<Vec<Version>, DatabaseError> {
    let query = "SELECT number, label, container_name, size_bytes, file_count, created FROM versions
                 WHERE package_id = $1 ORDER BY number";
    database.rows(sql(query).bind(id)).await?.iter().map(version).collect()
}

/// As [`versions`], inside of a transaction that has locked the package.
pub async fn versions_within(transaction: &mut Transaction, id: &str) -> Result<Vec<Version>, DatabaseError> {
    let query = "SELECT number, label, container_name, size_bytes, file_count, created FROM versions
                 WHERE package_id = $1 ORDER BY number";
    transaction.rows(sql(query).bind(id)).await?.iter().map(version).collect()
}

/// The versions of some packages, each with the package's identifier; those of one package oldest first.
pub async fn versions_of(database: &Database, ids: &[&str]) -> Result<Vec<(String, Version)>, DatabaseError> {
    let mut found = Vec::new();
    for some in ids.chunks(IDS_AT_A_TIME) {
        let mut values = Vec::with_capacity(some.len());
        let chosen = any_of("package_id", some, &mut values);
        let text = format!(
            "SELECT package_id, number, label, container_name, size_bytes, file_count, created FROM versions
             WHERE 1 = 1{chosen} ORDER BY package_id, number"
        );
        let rows = database.rows(values.into_iter().fold(Statement::assembled(text), Statement::bind)).await?;
        for row in &rows {
            found.push((row.text("package_id")?, version(row)?));
        }
    }
    Ok(found)
}

/// How many files a version has.
pub async fn file_count(transaction: &mut Transaction, id: &str, number: u32) -> Result<Option<u64>, DatabaseError> {
    let query = sql("SELECT file_count FROM versions WHERE package_id = $1 AND number = $2").bind(id).bind(number);
    transaction.row(query).await?.map(|row| row.count("file_count")).transpose()
}

/// One version of a package.
pub async fn version_get(database: &Database, id: &str, number: u32) -> Result<Option<Version>, DatabaseError> {
    let query = "SELECT number, label, container_name, size_bytes, file_count, created FROM versions
                 WHERE package_id = $1 AND number = $2";
    database.row(sql(query).bind(id).bind(number)).await?.as_ref().map(version).transpose()
}

fn version(row: &Row) -> Result<Version, DatabaseError> {
    Ok(Version {
        number: row.number("number")?,
        label: row.text_or_null("label")?,
        container_name: row.text_or_null("container_name")?,
        size_bytes: row.count("size_bytes")?,
        file_count: row.count("file_count")?,
        created: row.time("created")?,
    })
}

/// The packages of some contracts (`None`: of all), sorted by identifier, at most `limit` of them after `after`.
pub async fn list(
    database: &Database,
    contract_ids: Option<&[&str]>,
    object_id: Option<&str>,
    after: &str,
    limit: u32,
) -> Result<Vec<Package>, DatabaseError> {
    let mut text = format!("SELECT {COLUMNS} FROM packages WHERE id > $1");
    let mut values: Vec<&str> = vec![after];
    if let Some(object_id) = object_id {
        values.push(object_id);
        text.push_str(&format!(" AND object_id = ${}", values.len()));
    }
    if let Some(contract_ids) = contract_ids {
        text.push_str(&any_of("contract_id", contract_ids, &mut values));
    }
    text.push_str(&format!(" ORDER BY id LIMIT {limit}"));
    let statement = values.into_iter().fold(Statement::assembled(text), Statement::bind);
    database.rows(statement).await?.iter().map(package).collect()
}

/// The packages of some contracts that a query is for, sorted by identifier, at most `limit` of them after `after`.
pub async fn search(
    database: &Database,
    contract_ids: &[&str],
    query: &PackageQuery,
    after: &str,
    limit: u32,
) -> Result<Vec<Package>, DatabaseError> {
    database.rows(searching(contract_ids, query, after, limit)).await?.iter().map(package).collect()
}

/// The statement of [`search`]. A test looks at its plan.
pub fn searching(contract_ids: &[&str], query: &PackageQuery, after: &str, limit: u32) -> Statement {
    let key = query.urn.as_deref().map(crate::urn::key);
    let conditions = [
        ("ocfl_id = (SELECT i.ocfl_id FROM identifiers i WHERE i.urn_key = ", key.as_deref()),
        ("ocfl_id = (SELECT i.ocfl_id FROM identifiers i WHERE i.identifier = ", query.identifier.as_deref()),
        ("object_id = (", query.object_id.as_deref()),
        ("id IN (SELECT v.package_id FROM versions v WHERE v.container_name = ", query.container_name.as_deref()),
    ];
    let mut text = format!("SELECT {COLUMNS} FROM packages WHERE id > $1");
    let mut values: Vec<&str> = vec![after];
    for (condition, wanted) in conditions {
        if let Some(wanted) = wanted {
            values.push(wanted);
            text.push_str(&format!(" AND {condition}${})", values.len()));
        }
    }
    text.push_str(&any_of("contract_id", contract_ids, &mut values));
    text.push_str(&format!(" ORDER BY id LIMIT {limit}"));
    values.into_iter().fold(Statement::assembled(text), Statement::bind)
}

/// Those of some contracts' packages that have one of these identifiers, or one of these names of their depositors.
pub async fn named(
    database: &Database,
    contract_ids: &[&str],
    identifiers: &[&str],
    object_ids: &[&str],
) -> Result<Vec<Package>, DatabaseError> {
    let by_identifier = "ocfl_id IN (SELECT i.ocfl_id FROM identifiers i WHERE 1 = 1";
    let mut found = BTreeMap::new();
    for (begin, column, end, wanted) in
        [(by_identifier, "i.identifier", ")", identifiers), ("1 = 1", "object_id", "", object_ids)]
    {
        for some in wanted.chunks(IDS_AT_A_TIME) {
            let mut values = Vec::with_capacity(some.len() + contract_ids.len());
            let chosen = any_of(column, some, &mut values);
            let of = any_of("contract_id", contract_ids, &mut values);
            let text = format!("SELECT {COLUMNS} FROM packages WHERE {begin}{chosen}{end}{of}");
            let statement = values.into_iter().fold(Statement::assembled(text), Statement::bind);
            for row in database.rows(statement).await? {
                let package = package(&row)?;
                found.insert(package.id.clone(), package);
            }
        }
    }
    Ok(found.into_values().collect())
}

/// The depositor's names for the packages of a contract that are not deleted, sorted, at most `limit` of them after `after`.
pub async fn object_ids(
    database: &Database,
    contract_id: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<String>, DatabaseError> {
    let query = "SELECT object_id FROM packages WHERE contract_id = $1 AND object_id > $2 AND state <> 'deleted'
                 ORDER BY object_id LIMIT $3";
    let rows = database.rows(sql(query).bind(contract_id).bind(after).bind(limit)).await?;
    rows.iter().map(|row| row.text("object_id")).collect()
}

/// Packages that have no names, each with the time at which it was made: a catalogue that knew none has such.
pub async fn unnamed(database: &Database, limit: u32) -> Result<Vec<(String, Timestamp)>, DatabaseError> {
    let query = "SELECT ocfl_id, created FROM packages
                 WHERE NOT EXISTS (SELECT 1 FROM identifiers i WHERE i.ocfl_id = packages.ocfl_id)
                 ORDER BY ocfl_id LIMIT $1";
    let rows = database.rows(sql(query).bind(limit)).await?;
    rows.iter().map(|row| Ok((row.text("ocfl_id")?, row.time("created")?))).collect()
}

/// Databases take so many parameters in one statement, and no more.
pub(super) const IDS_AT_A_TIME: usize = 500;

/// ` AND column IN ($n, …)`, which holds for nothing when there are no values.
pub(super) fn any_of<'a>(column: &str, wanted: &[&'a str], values: &mut Vec<&'a str>) -> String {
    if wanted.is_empty() {
        return " AND 1 = 0".to_owned();
    }
    let first = values.len() + 1;
    values.extend(wanted);
    let parameters: Vec<String> = (first..=values.len()).map(|number| format!("${number}")).collect();
    format!(" AND {column} IN ({})", parameters.join(", "))
}

fn package(row: &Row) -> Result<Package, DatabaseError> {
    Ok(Package {
        id: row.text("id")?,
        contract_id: row.text("contract_id")?,
        object_id: row.text("object_id")?,
        identifier: row.text("identifier")?,
        urn: row.text_or_null("urn")?,
        ocfl_id: row.text("ocfl_id")?,
        location: row.text("location")?,
        state: row.parse("state")?,
        reason: row.text_or_null("reason")?,
        head: row.number("head")?,
        size_bytes: row.count("size_bytes")?,
        file_count: row.count("file_count")?,
        created: row.time("created")?,
        updated: row.time("updated")?,
        verified: row.time_or_null("verified")?,
    })
}
