//! Recalls: which packages were asked for from archive classes, so that all orders for one share it.

use std::cmp::Reverse;

use dipper_archive::storage::Tier;

use crate::db::{Database, DatabaseError, Transaction, sql};
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

/// The recall of a version, if one was begun.
pub async fn get(database: &Database, package_id: &str, version: u32) -> Result<Option<RecallRecord>, DatabaseError> {
    let query = "SELECT tier, requested, checked, readable_until FROM recalls WHERE package_id = $1 AND version = $2";
    let Some(row) = database.row(sql(query).bind(package_id).bind(version)).await? else {
        return Ok(None);
    };
    let name = row.text("tier")?;
    Ok(Some(RecallRecord {
        package_id: package_id.to_owned(),
        version,
        // The slowest is the safe guess: whoever wants more asks again.
        tier: TIERS.into_iter().find(|tier| tier.name() == name).unwrap_or(Tier::Bulk),
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
        let name = other.text("tier")?;
        let noted = TIERS.into_iter().find(|tier| tier.name() == name).unwrap_or(tier);
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
