//! What all processes of one installation must agree on.

use crate::db::{Database, DatabaseError, sql};

const KEY_FINGERPRINT: &str = "key_fingerprint";
const IDENTIFIERS: &str = "identifiers";

/// The fingerprint of the key that encrypted what the catalogue keeps of secrets, once a process has noted it.
pub async fn key_fingerprint(database: &Database) -> Result<Option<String>, DatabaseError> {
    let query = sql("SELECT value FROM installation WHERE name = $1").bind(KEY_FINGERPRINT);
    database.row(query).await?.map(|row| row.text("value")).transpose()
}

/// Notes the fingerprint, unless somebody was faster; the one that holds from now on.
pub async fn key_fingerprint_note(database: &Database, fingerprint: &str) -> Result<String, DatabaseError> {
    let insert = sql("INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING");
    database.execute(insert.bind(KEY_FINGERPRINT).bind(fingerprint)).await?;
    Ok(key_fingerprint(database).await?.unwrap_or_default())
}

/// Whether it was noted that every package has an identifier.
pub async fn identifiers_given(database: &Database) -> Result<bool, DatabaseError> {
    let query = sql("SELECT value FROM installation WHERE name = $1").bind(IDENTIFIERS);
    Ok(database.row(query).await?.is_some())
}

/// Notes that every package has an identifier, and that none is stored without one from now on.
pub async fn identifiers_given_note(database: &Database) -> Result<(), DatabaseError> {
    let insert = sql("INSERT INTO installation (name, value) VALUES ($1, 'given') ON CONFLICT DO NOTHING");
    database.execute(insert.bind(IDENTIFIERS)).await.map(|_| ())
}
