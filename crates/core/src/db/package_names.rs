//! The names by which packages are looked for: one row for each name of a package, whatever kind of name it is, so that
//! one index finds them all. The letters A to Z stand in it as small ones.

use crate::db::{DatabaseError, Transaction, sql};

/// A text as the names have it.
pub fn key(text: &str) -> String {
    text.to_ascii_lowercase()
}

/// Writes the names of a package anew, from the tables that keep them. Whoever calls this has locked the package.
pub(super) async fn put(transaction: &mut Transaction, package_id: &str) -> Result<(), DatabaseError> {
    let delete = sql("DELETE FROM package_names WHERE package_id = $1");
    transaction.execute(delete.bind(package_id)).await?;
    let insert = "INSERT INTO package_names (contract_id, name, package_id)
                  SELECT contract_id, lower(object_id), id FROM packages WHERE id = $1
                  UNION SELECT p.contract_id, lower(i.identifier), p.id FROM packages p
                      JOIN identifiers i ON i.ocfl_id = p.ocfl_id WHERE p.id = $1
                  UNION SELECT p.contract_id, i.urn_key, p.id FROM packages p
                      JOIN identifiers i ON i.ocfl_id = p.ocfl_id WHERE p.id = $1 AND i.urn_key IS NOT NULL
                  UNION SELECT p.contract_id, lower(v.container_name), p.id FROM packages p
                      JOIN versions v ON v.package_id = p.id WHERE p.id = $1 AND v.container_name IS NOT NULL";
    transaction.execute(sql(insert).bind(package_id)).await.map(|_| ())
}

/// The same, of the package that is an OCFL object, if there is one.
pub(crate) async fn put_of_object(transaction: &mut Transaction, ocfl_id: &str) -> Result<(), DatabaseError> {
    let query = sql("SELECT id FROM packages WHERE ocfl_id = $1").bind(ocfl_id).locking();
    match transaction.row(query).await? {
        Some(row) => put(transaction, &row.text("id")?).await,
        None => Ok(()),
    }
}
