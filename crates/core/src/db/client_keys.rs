//! The public keys with which clients sign in over SFTP.

use crate::caller::Caller;
use crate::db::{Database, DatabaseError, Row, Transaction, contracts, sql};
use crate::time::Timestamp;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// What people tell it by: `SHA256:` and the digest in base 64, as OpenSSH prints it.
    pub fingerprint: String,
    /// The name of its algorithm, such as `ssh-ed25519`.
    pub algorithm: String,
    /// The key itself: base 64 of its encoding in RFC 4253.
    pub encoded: String,
    /// What its owner calls it.
    pub comment: String,
}

/// A public key that a client has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKey {
    /// The key.
    pub key: PublicKey,
    /// When it was added.
    pub created: Timestamp,
}

/// Adds a key. One that the client has already is a duplicate.
pub async fn insert(
    transaction: &mut Transaction,
    client_id: &str,
    key: &PublicKey,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO client_keys (client_id, fingerprint, algorithm, public_key, comment, created)
                  VALUES ($1, $2, $3, $4, $5, $6)";
    let insert = sql(insert).bind(client_id).bind(key.fingerprint.as_str()).bind(key.algorithm.as_str());
    let insert = insert.bind(key.encoded.as_str()).bind(key.comment.as_str()).bind(now);
    transaction.execute(insert).await.map(|_| ())
}

/// The keys of a client, sorted by fingerprint.
pub async fn list(database: &Database, client_id: &str) -> Result<Vec<ClientKey>, DatabaseError> {
    let query = "SELECT fingerprint, algorithm, public_key, comment, created FROM client_keys
                 WHERE client_id = $1 ORDER BY fingerprint";
    database.rows(sql(query).bind(client_id)).await?.iter().map(client_key).collect()
}

/// Removes a key; `false` when the client does not have it.
pub async fn remove(transaction: &mut Transaction, client_id: &str, fingerprint: &str) -> Result<bool, DatabaseError> {
    let delete = sql("DELETE FROM client_keys WHERE client_id = $1 AND fingerprint = $2");
    Ok(transaction.execute(delete.bind(client_id).bind(fingerprint)).await? == 1)
}

/// The client of this name, if it has this key and may sign in. That the other side holds the private key is for the
/// caller to prove.
pub async fn holder(
    database: &Database,
    client_id: &str,
    fingerprint: &str,
    encoded: &str,
) -> Result<Option<Caller>, DatabaseError> {
    let query = sql("SELECT public_key FROM client_keys WHERE client_id = $1 AND fingerprint = $2");
    let Some(row) = database.row(query.bind(client_id).bind(fingerprint)).await? else {
        return Ok(None);
    };
    if row.text("public_key")? != encoded {
        return Ok(None);
    }
    let found = contracts::client_get(database, client_id).await?;
    Ok(found.filter(|(client, _)| client.disabled.is_none()).map(|(client, _)| Caller {
        client_id: client.id,
        grants: client.grants,
        stored: true,
    }))
}

fn client_key(row: &Row) -> Result<ClientKey, DatabaseError> {
    let key = PublicKey {
        fingerprint: row.text("fingerprint")?,
        algorithm: row.text("algorithm")?,
        encoded: row.text("public_key")?,
        comment: row.text("comment")?,
    };
    Ok(ClientKey { key, created: row.time("created")? })
}
