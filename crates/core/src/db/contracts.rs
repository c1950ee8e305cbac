//! Contracts, clients and the roles that clients have on contracts.

use crate::caller::{Grants, Role};
use crate::db::packages::{IDS_AT_A_TIME, any_of};
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, package_figures, sql};
use crate::time::Timestamp;

/// A client as the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its identifier.
    pub id: String,
    /// When it was added.
    pub created: Timestamp,
    /// Since when it may not sign in.
    pub disabled: Option<Timestamp>,
    /// What it may do.
    pub grants: Grants,
}

/// Adds a contract; `false` when it was there already.
pub async fn add(transaction: &mut Transaction, id: &str, now: Timestamp) -> Result<bool, DatabaseError> {
    let insert = sql("INSERT INTO contracts (id, created) VALUES ($1, $2) ON CONFLICT DO NOTHING");
    Ok(transaction.execute(insert.bind(id).bind(now)).await? == 1)
}

/// Whether the contract exists.
pub async fn exists(database: &Database, id: &str) -> Result<bool, DatabaseError> {
    Ok(database.row(sql("SELECT id FROM contracts WHERE id = $1").bind(id)).await?.is_some())
}

/// Every contract with the number of its packages, sorted.
pub async fn list(database: &Database) -> Result<Vec<(String, u64)>, DatabaseError> {
    let packages = package_figures::by_contract(database).await?;
    let counted = |id: String| {
        let count = packages.get(&id).copied().unwrap_or_default();
        (id, count)
    };
    Ok(ids(database).await?.into_iter().map(counted).collect())
}

/// Locks a contract, so that nobody else changes its area until the transaction ends; `false` when there is none.
pub async fn lock(transaction: &mut Transaction, id: &str) -> Result<bool, DatabaseError> {
    let query = sql("SELECT id FROM contracts WHERE id = $1").bind(id).locking();
    Ok(transaction.row(query).await?.is_some())
}

/// How many bytes may lie in the area of a contract, if it has a quota of its own.
pub async fn quota(transaction: &mut Transaction, id: &str) -> Result<Option<u64>, DatabaseError> {
    let row = transaction.row(sql("SELECT quota_bytes FROM contracts WHERE id = $1").bind(id)).await?;
    let quota = row.map_or(Ok(None), |row| row.integer_or_null("quota_bytes"))?;
    Ok(quota.and_then(|quota| u64::try_from(quota).ok()))
}

/// Gives a contract a quota of its own, or takes it away; `false` when there is no such contract.
pub async fn quota_set(
    transaction: &mut Transaction,
    id: &str,
    quota_bytes: Option<u64>,
) -> Result<bool, DatabaseError> {
    let update = sql("UPDATE contracts SET quota_bytes = $1 WHERE id = $2");
    Ok(transaction.execute(update.bind(quota_bytes).bind(id)).await? == 1)
}

/// Every contract, sorted.
pub async fn ids(database: &Database) -> Result<Vec<String>, DatabaseError> {
    let rows = database.rows(sql("SELECT id FROM contracts ORDER BY id")).await?;
    rows.iter().map(|row| row.text("id")).collect()
}

/// Adds a client with a hashed secret and its roles. A client that exists is a duplicate.
pub async fn client_add(
    transaction: &mut Transaction,
    id: &str,
    secret_hash: &str,
    grants: &Grants,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let insert = sql("INSERT INTO clients (id, secret_hash, created) VALUES ($1, $2, $3)");
    transaction.execute(insert.bind(id).bind(secret_hash).bind(now)).await?;
    for (contract_id, role) in grants.iter() {
        grant(transaction, id, contract_id, role).await?;
    }
    Ok(())
}

/// Gives a client a role on a contract.
pub async fn grant(
    transaction: &mut Transaction,
    client_id: &str,
    contract_id: &str,
    role: Role,
) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO client_grants (client_id, contract_id, role) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    transaction.execute(sql(insert).bind(client_id).bind(contract_id).bind(role.name())).await.map(|_| ())
}

/// Takes a role on a contract from a client; `false` when it did not have it.
pub async fn revoke(
    transaction: &mut Transaction,
    client_id: &str,
    contract_id: &str,
    role: Role,
) -> Result<bool, DatabaseError> {
    let delete = "DELETE FROM client_grants WHERE client_id = $1 AND contract_id = $2 AND role = $3";
    Ok(transaction.execute(sql(delete).bind(client_id).bind(contract_id).bind(role.name())).await? == 1)
}

/// Replaces a client's secret; `false` when there is no such client.
pub async fn client_secret_replace(
    transaction: &mut Transaction,
    id: &str,
    secret_hash: &str,
) -> Result<bool, DatabaseError> {
    let update = sql("UPDATE clients SET secret_hash = $1 WHERE id = $2");
    Ok(transaction.execute(update.bind(secret_hash).bind(id)).await? == 1)
}

/// Lets a client sign in or not; `false` when there is no such client.
pub async fn client_disable(
    transaction: &mut Transaction,
    id: &str,
    disabled: Option<Timestamp>,
) -> Result<bool, DatabaseError> {
    let update = sql("UPDATE clients SET disabled = $1 WHERE id = $2");
    Ok(transaction.execute(update.bind(disabled).bind(id)).await? == 1)
}

/// A client and the hash of its secret.
pub async fn client_get(database: &Database, id: &str) -> Result<Option<(Client, String)>, DatabaseError> {
    // One statement, because whoever signs in for each request has it run for each request.
    let query = "SELECT clients.id, secret_hash, created, disabled, contract_id, role
                 FROM clients LEFT JOIN client_grants ON client_grants.client_id = clients.id WHERE clients.id = $1";
    let rows = database.rows(sql(query).bind(id)).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let mut client = client(first)?;
    for row in &rows {
        if let Some(contract_id) = row.text_or_null("contract_id")? {
            client.grants.add(&contract_id, row.parse("role")?);
        }
    }
    Ok(Some((client, first.text("secret_hash")?)))
}

/// Those of some contracts that are written to by a client of their own name, sorted.
pub async fn accounts(database: &Database, contract_ids: &[&str]) -> Result<Vec<String>, DatabaseError> {
    let mut found = Vec::new();
    for some in contract_ids.chunks(IDS_AT_A_TIME) {
        let mut values = vec![Role::Write.name()];
        let chosen = any_of("contract_id", some, &mut values);
        let text = format!(
            "SELECT contract_id FROM client_grants WHERE client_id = contract_id AND role = $1{chosen} ORDER BY contract_id"
        );
        let rows = database.rows(values.into_iter().fold(Statement::assembled(text), Statement::bind)).await?;
        for row in &rows {
            found.push(row.text("contract_id")?);
        }
    }
    Ok(found)
}

/// Every client, sorted.
pub async fn client_list(database: &Database) -> Result<Vec<Client>, DatabaseError> {
    let rows = database.rows(sql("SELECT id, created, disabled FROM clients ORDER BY id")).await?;
    let mut clients = Vec::with_capacity(rows.len());
    for row in rows {
        let mut client = client(&row)?;
        client.grants = grants(database, &client.id).await?;
        clients.push(client);
    }
    Ok(clients)
}

async fn grants(database: &Database, client_id: &str) -> Result<Grants, DatabaseError> {
    let query = sql("SELECT contract_id, role FROM client_grants WHERE client_id = $1").bind(client_id);
    let rows = database.rows(query).await?;
    rows.iter().map(|row| Ok((row.text("contract_id")?, row.parse("role")?))).collect()
}

fn client(row: &Row) -> Result<Client, DatabaseError> {
    Ok(Client {
        id: row.text("id")?,
        created: row.time("created")?,
        disabled: row.time_or_null("disabled")?,
        grants: Grants::default(),
    })
}
