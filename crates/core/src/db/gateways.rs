//! Gateways: where the files of a contract's deposits are fetched from, with encrypted passwords.

use crate::db::packages::any_of;
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
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

/// What is known of how a gateway answers, without what it is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayStanding {
    /// The contract whose deposits come from there.
    pub contract_id: String,
    /// What its addresses begin with.
    pub url: String,
    /// When it was registered.
    pub registered: Timestamp,
    /// When a deposit was last stored, with all its files from there.
    pub stored: Option<Timestamp>,
    /// When a deposit last failed because of it, and why.
    pub failed: Option<(Timestamp, String)>,
    /// How many deposits wait for it.
    pub waiting: u64,
    /// When it is called again for one of them, and why the last call failed.
    pub next: Option<(Timestamp, String)>,
}

/// The gateways of some contracts, by contract.
pub async fn standing(database: &Database, contract_ids: &[&str]) -> Result<Vec<GatewayStanding>, DatabaseError> {
    let mut values = Vec::with_capacity(contract_ids.len());
    let chosen = any_of("contract_id", contract_ids, &mut values);
    let text = format!("SELECT contract_id, url, updated FROM gateways WHERE 1 = 1{chosen} ORDER BY contract_id");
    let statement = values.into_iter().fold(Statement::assembled(text), Statement::bind);
    let mut found = Vec::new();
    for row in database.rows(statement).await? {
        let contract_id = row.text("contract_id")?;
        // Each of these is the end of an index, or a few rows of one.
        let stored = "SELECT updated FROM orders WHERE contract_id = $1 AND kind = 'deposit' AND state = 'stored'
                      ORDER BY id DESC LIMIT 1";
        let stored = database.row(sql(stored).bind(&contract_id)).await?;
        let failed = "SELECT updated, COALESCE(failure_message, '') AS message FROM orders
                      WHERE contract_id = $1 AND kind = 'deposit' AND state = 'failed' AND failure_code = 'gateway'
                      ORDER BY id DESC LIMIT 1";
        let failed = database.row(sql(failed).bind(&contract_id)).await?;
        let waiting = "SELECT COUNT(*) AS n, MIN(run_after) AS next, COALESCE(MAX(failure), '') AS reason FROM steps
                       WHERE contract_id = $1 AND state = 'waiting' AND waits_for = 'gateway'";
        let waiting = database.row(sql(waiting).bind(&contract_id)).await?;
        let (mut count, mut next) = (0, None);
        if let Some(waiting) = waiting {
            count = waiting.count("n")?;
            let reason = waiting.text("reason")?;
            next = waiting.time_or_null("next")?.map(|next| (next, reason));
        }
        found.push(GatewayStanding {
            url: row.text("url")?,
            registered: row.time("updated")?,
            stored: stored.map(|row| row.time("updated")).transpose()?,
            failed: failed
                .map(|row| Ok::<_, DatabaseError>((row.time("updated")?, row.text("message")?)))
                .transpose()?,
            waiting: count,
            next,
            contract_id,
        });
    }
    Ok(found)
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
