//! Gateways: where the files of a contract's deposits are fetched from, with encrypted passwords.

use crate::db::{Database, DatabaseError, Row, Transaction, sql};
use crate::time::Timestamp;

/// A gateway as the catalogue keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayRecord {
    /// The contract whose deposits come from there.
    pub contract_id: String,
    /// What its addresses begin with.
    pub url: String,
    /// The name with which Dipper signs in there.
    pub username: String,
    /// The password, encrypted.
    pub password: Vec<u8>,
    /// When the contract first had a gateway.
    pub created: Timestamp,
    /// When this one was registered.
    pub updated: Timestamp,
}

/// Writes the gateway of a contract in the place of the one before.
pub async fn put(transaction: &mut Transaction, gateway: &GatewayRecord) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO gateways (contract_id, url, username, password, created, updated)
                  VALUES ($1, $2, $3, $4, $5, $6)
                  ON CONFLICT (contract_id) DO UPDATE SET url = excluded.url, username = excluded.username,
                      password = excluded.password, updated = excluded.updated";
    let statement = sql(insert)
        .bind(&gateway.contract_id)
        .bind(&gateway.url)
        .bind(&gateway.username)
        .bind(gateway.password.clone())
        .bind(gateway.created)
        .bind(gateway.updated);
    transaction.execute(statement).await.map(|_| ())
}

/// The gateway of a contract, if it has one.
pub async fn get(database: &Database, contract_id: &str) -> Result<Option<GatewayRecord>, DatabaseError> {
    let query = "SELECT contract_id, url, username, password, created, updated FROM gateways WHERE contract_id = $1";
    database.row(sql(query).bind(contract_id)).await?.as_ref().map(gateway).transpose()
}

fn gateway(row: &Row) -> Result<GatewayRecord, DatabaseError> {
    Ok(GatewayRecord {
        contract_id: row.text("contract_id")?,
        url: row.text("url")?,
        username: row.text("username")?,
        password: row.blob("password")?,
        created: row.time("created")?,
        updated: row.time("updated")?,
    })
}
