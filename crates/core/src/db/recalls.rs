//! Recalls: which packages were asked for from archive classes, so that all orders for one share it.

use std::cmp::Reverse;

use dipper_archive::storage::Tier;

use crate::db::packages::any_of;
use crate::db::{Database, DatabaseError, Statement, Transaction, sql};
use crate::time::Timestamp;

/// The tiers by their words in the database.
const TIERS: [Tier; 3] = [Tier::Bulk, Tier::Standard, Tier::Expedited];

/// How the recall of a package's version stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallRecord {
    /// The package.
    pub package_id: String,
    /// Its version.
    pub version: u32,
    /// The fastest tier that was asked for.
    pub tier: Tier,
    /// When it was first asked for.
    pub requested: Timestamp,
    /// When the storage was last asked how it stands.
    pub checked: Timestamp,
    /// Until when everything can be read; nothing as long as it cannot.
    pub readable_until: Option<Timestamp>,
}

/// A recall that orders wait for, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallUnderWay {
    /// The package.
    pub package_id: String,
    /// Its version.
    pub version: u32,
    /// On which contract.
    pub contract_id: String,
    /// The fastest tier that was asked for.
    pub tier: Tier,
    /// When it was first asked for.
    pub requested: Timestamp,
    /// When the storage was last asked how it stands.
    pub checked: Timestamp,
    /// How many orders wait for it.
    pub orders: u64,
}

/// The recalls that orders wait for, those that were asked for first at the top.
/// Of some contracts alone, where they are named.
pub async fn under_way(
    database: &Database,
    contract_ids: Option<&[&str]>,
    limit: u32,
) -> Result<Vec<RecallUnderWay>, DatabaseError> {
    let rows = database.rows(waited_for(contract_ids, limit)).await?;
    rows.iter()
        .map(|row| {
            Ok(RecallUnderWay {
                package_id: row.text("package_id")?,
                version: u32::try_from(row.count("version")?).unwrap_or(u32::MAX),
                contract_id: row.text("contract_id")?,
                tier: tier_of(&row.text("tier")?),
                requested: row.time("requested")?,
                checked: row.time("checked")?,
                orders: row.count("orders")?,
            })
        })
        .collect()
}

/// The statement of [`under_way`]. A test looks at its plan.
pub fn waited_for(contract_ids: Option<&[&str]>, limit: u32) -> Statement {
    let mut values = Vec::new();
    // Expressions, so that nobody begins with all orders of the contracts, or with all that are open: recalls are few.
    let chosen = contract_ids.map(|ids| any_of("COALESCE(orders.contract_id, '')", ids, &mut values));
    let chosen = chosen.unwrap_or_default();
    let query = format!(
        "SELECT recalls.package_id AS package_id, recalls.version AS version, MIN(orders.contract_id) AS contract_id,
                     MIN(recalls.tier) AS tier, MIN(recalls.requested) AS requested, MIN(recalls.checked) AS checked,
                     COUNT(*) AS orders
                 FROM recalls
                 JOIN orders ON orders.package_id = COALESCE(recalls.package_id, '') AND orders.version = recalls.version
                     AND orders.finished = 0
                 WHERE recalls.readable_until IS NULL{chosen}
                 GROUP BY recalls.package_id, recalls.version
                 ORDER BY MIN(recalls.requested), recalls.package_id, recalls.version LIMIT {limit}"
    );
    values.into_iter().fold(Statement::assembled(query), Statement::bind)
}

/// The tier that a word of the database stands for. The slowest is the safe guess: whoever wants more asks again.
fn tier_of(name: &str) -> Tier {
    TIERS.into_iter().find(|tier| tier.name() == name).unwrap_or(Tier::Bulk)
}

/// The recall of a version, if one was begun.
pub async fn get(database: &Database, package_id: &str, version: u32) -> Result<Option<RecallRecord>, DatabaseError> {
    let query = "SELECT tier, requested, checked, readable_until FROM recalls WHERE package_id = $1 AND version = $2";
    let Some(row) = database.row(sql(query).bind(package_id).bind(version)).await? else {
        return Ok(None);
    };
    Ok(Some(RecallRecord {
        package_id: package_id.to_owned(),
        version,
        tier: tier_of(&row.text("tier")?),
        requested: row.time("requested")?,
        checked: row.time("checked")?,
        readable_until: row.time_or_null("readable_until")?,
    }))
}

/// Notes how a recall stands. Of two who note the same recall, the earlier request and the faster tier stay while it is
/// under way.
pub async fn note(transaction: &mut Transaction, record: &RecallRecord) -> Result<(), DatabaseError> {
    let query = "SELECT tier, requested FROM recalls
                 WHERE package_id = $1 AND version = $2 AND readable_until IS NULL";
    let other = transaction.row(sql(query).bind(&record.package_id).bind(record.version).locking()).await?;
    let (mut tier, mut requested) = (record.tier, record.requested);
    if let Some(other) = other {
        let noted = tier_of(&other.text("tier")?);
        (tier, requested) = (tier.max(noted), Reverse(other.time("requested")?).max(Reverse(requested)).0);
    }
    let upsert = "INSERT INTO recalls (package_id, version, tier, requested, checked, readable_until)
                  VALUES ($1, $2, $3, $4, $5, $6)
                  ON CONFLICT (package_id, version) DO UPDATE SET tier = excluded.tier,
                      requested = excluded.requested, checked = excluded.checked,
                      readable_until = excluded.readable_until";
    let statement = sql(upsert)
        .bind(&record.package_id)
        .bind(record.version)
        .bind(tier.name())
        .bind(requested)
        .bind(record.checked)
        .bind(record.readable_until);
    transaction.execute(statement).await.map(|_| ())
}

/// Forgets a recall: whoever needs the version looks at the storage again.
pub async fn forget(transaction: &mut Transaction, package_id: &str, version: u32) -> Result<(), DatabaseError> {
    let delete = "DELETE FROM recalls WHERE package_id = $1 AND version = $2";
    transaction.execute(sql(delete).bind(package_id).bind(version)).await.map(|_| ())
}
