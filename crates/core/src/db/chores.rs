//! What one process at a time does for all: each chore has a row, which is leased.

use crate::db::{Database, DatabaseError, sql};
use crate::time::Timestamp;

/// Clearing away in the store of deliveries.
pub const SWEEP_DELIVERIES: &str = "sweep deliveries";
/// Clearing away in the areas.
pub const SWEEP_AREAS: &str = "sweep areas";
/// Picking up what lies in the incoming directories of areas.
pub const PICK_UP: &str = "pick up submissions";

/// Takes a chore until a time, if nobody else has it, or lengthens it; gives when everything was last looked through.
pub async fn claim(
    database: &Database,
    name: &'static str,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Timestamp>, DatabaseError> {
    let update = "UPDATE chores SET holder = $1, lease_until = $2
                  WHERE name = $3 AND (holder = $1 OR lease_until < $4) RETURNING listed";
    let mut transaction = database.begin().await?;
    let row = transaction.row(sql(update).bind(holder).bind(until).bind(name).bind(now)).await?;
    transaction.commit().await?;
    row.map(|row| row.time("listed")).transpose()
}

/// Gives a chore back, and tells when everything was last looked through if it was now.
pub async fn end(
    database: &Database,
    name: &'static str,
    holder: &str,
    listed: Option<Timestamp>,
) -> Result<(), DatabaseError> {
    let update = "UPDATE chores SET lease_until = 0, listed = COALESCE($1, listed) WHERE name = $2 AND holder = $3";
    database.execute(sql(update).bind(listed).bind(name).bind(holder)).await.map(|_| ())
}
