//! Claiming: which ready step is next, and whose it becomes.
//!
//! The contracts that have ready steps are found by jumping from one to the next in the index `steps_ready`, so a
//! claim costs by the number of contracts and not by the length of the queue. The row of the contract in `shares` is
//! locked while one of its steps is claimed: its tags and the bounds on what it holds are exact however many
//! processes claim at the same time. A transaction locks one such row at the most, and steps after it.

use crate::db::steps::{Lease, StepKind};
use crate::db::{Database, DatabaseError, Row, Transaction, sql};
use crate::share::{self, Candidate, Held, Shares, Tags};
use crate::time::Timestamp;

/// How often the line is looked at again because others were claiming at the same moment.
const MAX_TURNS: usize = 8;
/// How many steps are made ready in one transaction.
const SWEPT_AT_A_TIME: i64 = 1000;

/// Who wants a step, and what is allowed to them.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// Host, process and slot.
    pub holder: &'a str,
    /// The present time.
    pub now: Timestamp,
    /// When the lease runs out.
    pub until: Timestamp,
    /// How many bytes the step may have.
    pub room_bytes: u64,
    /// How many it may have if it goes before another contract's step that is larger than there is room for.
    pub overtaking_bytes: u64,
    /// How work is divided.
    pub shares: &'a Shares,
}

/// What became of a claim.
#[derive(Clone, Debug)]
pub enum Claimed {
    /// The next step, and how many bytes it has.
    Step(Lease, u64),
    /// The next step is larger than there is room for; this one of another contract goes before it.
    Overtaking(Lease, u64),
    /// The next step is larger than there is room for, and no other may go before it.
    NoRoom,
    /// No step is ready that its contract may have worked on now.
    Nothing,
}

/// Whether a claim could find a step, without taking a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// A step is ready.
    pub ready: bool,
    /// A step has waited long enough, or its lease has run out: [`sweep`] makes it ready.
    pub due: bool,
    /// A step is being worked on.
    pub held: bool,
}

/// Looks what there is to do.
pub async fn outlook(database: &Database, now: Timestamp) -> Result<Outlook, DatabaseError> {
    let query = "SELECT
                     (SELECT COUNT(*) FROM (SELECT 1 FROM steps WHERE state = 'ready' LIMIT 1) AS a) AS is_ready,
                     (SELECT COUNT(*) FROM (SELECT 1 FROM steps WHERE state = 'waiting' AND run_after <= $1 LIMIT 1) AS b)
                     + (SELECT COUNT(*) FROM (SELECT 1 FROM steps WHERE state = 'leased' AND lease_until < $1 LIMIT 1) AS c)
                         AS is_due,
                     (SELECT COUNT(*) FROM (SELECT 1 FROM steps WHERE state = 'leased' LIMIT 1) AS d) AS is_held";
    let row = database.row(sql(query).bind(now)).await?;
    let flag = |column| row.as_ref().map_or(Ok(false), |row| Ok::<_, DatabaseError>(row.integer(column)? != 0));
    Ok(Outlook { ready: flag("is_ready")?, due: flag("is_due")?, held: flag("is_held")? })
}

/// Makes ready what waited long enough, and what was leased to a worker that has not been heard of since.
pub async fn sweep(database: &Database, now: Timestamp) -> Result<u64, DatabaseError> {
    // Rows that somebody holds are being swept or ended by others.
    let waited = "UPDATE steps SET state = 'ready', updated = $1
                  WHERE id IN (SELECT id FROM steps WHERE state = 'waiting' AND run_after <= $1
                               ORDER BY run_after LIMIT $2 /* lock */)";
    let lost = "UPDATE steps SET state = 'ready', updated = $1
                WHERE id IN (SELECT id FROM steps WHERE state = 'leased' AND lease_until < $1
                             ORDER BY lease_until LIMIT $2 /* lock */)";
    let mut transaction = database.begin().await?;
    let mut swept = 0;
    for update in [waited, lost] {
        swept += transaction.execute(sql(update).bind(now).bind(SWEPT_AT_A_TIME).skipping_locked()).await?;
    }
    transaction.commit().await?;
    Ok(swept)
}

/// Closes the books when nothing is left to do: who used much then starts level with all others when work comes
/// again.
pub async fn settle(database: &Database) -> Result<(), DatabaseError> {
    let open = "SELECT contract_id FROM shares WHERE start_tag < finish_tag LIMIT 1";
    if database.row(sql(open)).await?.is_some() {
        let mut transaction = database.begin().await?;
        // One after the other in this order, so that two who do this do not wait for each other.
        let all = "SELECT contract_id FROM shares WHERE start_tag < finish_tag ORDER BY contract_id";
        let rows = transaction.rows(sql(all).locking()).await?;
        for row in &rows {
            let update = "UPDATE shares SET start_tag = finish_tag WHERE contract_id = $1";
            transaction.execute(sql(update).bind(row.text("contract_id")?)).await?;
        }
        transaction.commit().await?;
    }
    Ok(())
}

/// Claims the next step of the contract whose turn it is; if there is no room for that, one of another contract that may
/// go before it.
pub async fn claim(database: &Database, claim: &Claim<'_>) -> Result<Claimed, DatabaseError> {
    let mut passed_over: Vec<String> = Vec::new();
    let mut room = Room { bytes: claim.room_bytes, is_overtaking: false };
    let mut turns = 0;
    loop {
        let mut transaction = database.begin().await?;
        let (virtual_time, candidates) = candidates(&mut transaction).await?;
        let mut line = share::line_up(candidates, virtual_time, claim.shares);
        line.retain(|candidate| !passed_over.contains(&candidate.contract_id));
        if let Some(first) = line.first()
            && first.size_bytes > room.bytes
        {
            room.overtake(claim);
        }
        if room.is_overtaking {
            line.retain(|candidate| candidate.size_bytes <= room.bytes);
        }
        let Some(first) = line.first() else {
            transaction.commit().await?;
            return Ok(if room.is_overtaking { Claimed::NoRoom } else { Claimed::Nothing });
        };
        let tags = share_locked(&mut transaction, &first.contract_id).await?;
        let start = tags.next_start(virtual_time);
        turns += 1;
        let overtaken = line.get(1).is_some_and(|second| start > second.tags.next_start(virtual_time));
        if overtaken && turns < MAX_TURNS {
            // Somebody claimed a step of this contract a moment ago: look whose turn it is now.
            transaction.commit().await?;
            continue;
        }
        let taken = take(&mut transaction, claim, room.bytes, &first.contract_id, tags, virtual_time).await?;
        transaction.commit().await?;
        match taken {
            Taken::Step(lease, bytes) if room.is_overtaking => return Ok(Claimed::Overtaking(lease, bytes)),
            Taken::Step(lease, bytes) => return Ok(Claimed::Step(lease, bytes)),
            // A larger one came first meanwhile.
            Taken::NoRoom => room.overtake(claim),
            Taken::Nothing => {}
        }
        passed_over.push(first.contract_id.clone());
    }
}

/// What there is room for in one claim.
struct Room {
    bytes: u64,
    is_overtaking: bool,
}

impl Room {
    /// From now on the step would go before one that does not fit.
    fn overtake(&mut self, claim: &Claim<'_>) {
        self.bytes = claim.room_bytes.min(claim.overtaking_bytes);
        self.is_overtaking = true;
    }
}

/// What came of the first step of a contract.
enum Taken {
    Step(Lease, u64),
    NoRoom,
    Nothing,
}

/// Takes the first step of a contract whose share is locked; nothing when it has none left or holds enough.
async fn take(
    transaction: &mut Transaction,
    claim: &Claim<'_>,
    room_bytes: u64,
    contract_id: &str,
    tags: Tags,
    virtual_time: i64,
) -> Result<Taken, DatabaseError> {
    let Some(step) = transaction.row(sql(FIRST).bind(contract_id).skipping_locked()).await? else {
        return Ok(Taken::Nothing);
    };
    let size_bytes = step.count("size_bytes")?;
    if !claim.shares.admits(held(transaction, contract_id).await?, size_bytes) {
        return Ok(Taken::Nothing);
    }
    if size_bytes > room_bytes {
        return Ok(Taken::NoRoom);
    }
    let update = "UPDATE steps SET state = 'leased', holder = $1, lease_until = $2, fence = fence + 1,
                      attempts = attempts + 1, updated = $3, done_bytes = 0, all_bytes = 0
                  WHERE id = $4 AND state = 'ready'
                  RETURNING id, order_id, kind, fence, attempts";
    let update = sql(update).bind(claim.holder).bind(claim.until).bind(claim.now).bind(step.text("id")?);
    let Some(row) = transaction.row(update).await? else {
        return Ok(Taken::Nothing);
    };
    let kind: StepKind = step.parse("kind")?;
    let charged = tags.charged(virtual_time, share::cost(kind, size_bytes), claim.shares.weight(contract_id));
    let update = "UPDATE shares SET start_tag = $1, finish_tag = $2 WHERE contract_id = $3";
    transaction.execute(sql(update).bind(charged.start).bind(charged.finish).bind(contract_id)).await?;
    Ok(Taken::Step(lease(&row)?, size_bytes))
}

/// The first step of a contract. A test looks at its plan.
pub const FIRST: &str = "SELECT id, kind, size_bytes FROM steps WHERE state = 'ready' AND contract_id = $1
                         ORDER BY turn_at, order_id, id LIMIT 1";

/// The contracts that have ready steps, and the virtual time. A test looks at its plan.
///
/// The recursion jumps from one contract to the next in the index; each row costs a few look-ups. They are subqueries
/// rather than a join, so that the planner has no choice: on a table that grew since its statistics were taken it would
/// read the whole of it.
pub const CANDIDATES: &str = "
    WITH RECURSIVE waiting (contract_id) AS (
        SELECT (SELECT contract_id FROM steps WHERE state = 'ready' ORDER BY contract_id LIMIT 1)
        UNION ALL
        SELECT (SELECT contract_id FROM steps WHERE state = 'ready' AND contract_id > waiting.contract_id
                ORDER BY contract_id LIMIT 1)
        FROM waiting WHERE waiting.contract_id IS NOT NULL
    )
    SELECT waiting.contract_id AS contract_id,
        (SELECT turn_at FROM steps WHERE state = 'ready' AND contract_id = waiting.contract_id
         ORDER BY turn_at, order_id, id LIMIT 1) AS turn_at,
        (SELECT size_bytes FROM steps WHERE state = 'ready' AND contract_id = waiting.contract_id
         ORDER BY turn_at, order_id, id LIMIT 1) AS size_bytes,
        COALESCE(shares.start_tag, 0) AS start_tag, COALESCE(shares.finish_tag, 0) AS finish_tag,
        (SELECT COUNT(*) FROM steps held WHERE held.state = 'leased' AND held.contract_id = waiting.contract_id)
            AS held_steps,
        (SELECT CAST(COALESCE(SUM(held.size_bytes), 0) AS BIGINT) FROM steps held
         WHERE held.state = 'leased' AND held.contract_id = waiting.contract_id) AS held_bytes,
        (SELECT COALESCE(MAX(start_tag), 0) FROM shares) AS virtual_time
    FROM waiting
    LEFT JOIN shares ON shares.contract_id = waiting.contract_id
    WHERE waiting.contract_id IS NOT NULL";

async fn candidates(transaction: &mut Transaction) -> Result<(i64, Vec<Candidate>), DatabaseError> {
    let rows = transaction.rows(sql(CANDIDATES)).await?;
    let virtual_time = rows.first().map_or(Ok(0), |row| row.integer("virtual_time"))?;
    Ok((virtual_time, rows.iter().map(candidate).collect::<Result<_, _>>()?))
}

fn candidate(row: &Row) -> Result<Candidate, DatabaseError> {
    Ok(Candidate {
        contract_id: row.text("contract_id")?,
        tags: tags(row)?,
        held: held_of(row)?,
        turn_at: row.time("turn_at")?,
        size_bytes: row.count("size_bytes")?,
    })
}

async fn share_locked(transaction: &mut Transaction, contract_id: &str) -> Result<Tags, DatabaseError> {
    let query = || sql("SELECT start_tag, finish_tag FROM shares WHERE contract_id = $1").bind(contract_id).locking();
    if let Some(row) = transaction.row(query()).await? {
        return tags(&row);
    }
    let insert = "INSERT INTO shares (contract_id, start_tag, finish_tag) VALUES ($1, 0, 0)
                  ON CONFLICT (contract_id) DO NOTHING";
    transaction.execute(sql(insert).bind(contract_id)).await?;
    let row = transaction.row(query()).await?;
    row.as_ref().map_or(Ok(Tags::default()), tags)
}

async fn held(transaction: &mut Transaction, contract_id: &str) -> Result<Held, DatabaseError> {
    let query = "SELECT COUNT(*) AS held_steps, CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) AS held_bytes
                 FROM steps WHERE state = 'leased' AND contract_id = $1";
    let row = transaction.row(sql(query).bind(contract_id)).await?;
    row.as_ref().map_or(Ok(Held::default()), held_of)
}

fn tags(row: &Row) -> Result<Tags, DatabaseError> {
    Ok(Tags { start: row.integer("start_tag")?, finish: row.integer("finish_tag")? })
}

fn held_of(row: &Row) -> Result<Held, DatabaseError> {
    Ok(Held { steps: row.count("held_steps")?, bytes: row.count("held_bytes")? })
}

fn lease(row: &Row) -> Result<Lease, DatabaseError> {
    Ok(Lease {
        step_id: row.text("id")?,
        order_id: row.text("order_id")?,
        kind: row.parse("kind")?,
        fence: row.integer("fence")?,
        attempt: row.integer("attempts")?,
    })
}
