//! Whose turn it is: within a contract and between contracts. Pure arithmetic; `db/claims.rs` keeps the figures.
//!
//! **Within a contract** each step has a key that never changes, its turn: the time of its order, moved back by one
//! stretch of waiting for each point of urgency. The least turn goes first. So a point of urgency is worth a fixed
//! time of waiting, equals go oldest first, whatever waits overtakes the newer and more urgent in the end, and no row
//! is rewritten as time passes.
//!
//! **Between contracts** it is start-time fair queueing (Goyal, Vin and Cheng, 1996). Each contract carries the tag at
//! which its last step would be finished if it had its share of one machine alone. The next step of a contract starts
//! at that tag, or at the virtual time if that is later, so that nobody saves up a claim by being idle. The least
//! start goes next, and pays for its step: the cost divided by the contract's weight. The virtual time is the
//! greatest start that was ever given, which needs no row that everybody writes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::db::steps::StepKind;
use crate::time::Timestamp;

/// What every preparation costs besides its bytes, so that many small orders weigh something.
const PREPARE_COST_BYTES: u64 = 4 << 20;
/// What a step costs that reads no content.
const LIGHT_COST_BYTES: u64 = 64 << 10;
/// Tags count in parts of a KiB, so that a weight still divides a small cost finely.
const PARTS: u64 = 1000;
/// How long before its order's time a step that reads no content has its turn: such steps go before the
/// preparations of their contract, unless one of those has waited for so long already.
const LIGHT_HEAD_START: Duration = Duration::from_secs(24 * 3600);

/// How the work of the machines is divided among contracts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// The weight of a contract that is not named in `weights`.
    pub default_weight: u32,
    /// The weights of single contracts: a contract of weight 4 gets four times the share of one of weight 1 while
    /// both have work waiting.
    pub weights: BTreeMap<String, u32>,
    /// How many steps of one contract are worked on at a time, over all processes; 0 for no bound.
    pub max_steps_per_contract: u64,
    /// How many bytes the steps of one contract that are worked on may have together, over all processes; 0 for no
    /// bound. A larger step is worked on alone.
    pub max_bytes_per_contract: u64,
}

impl Default for Shares {
    fn default() -> Shares {
        Shares { default_weight: 1, weights: BTreeMap::new(), max_steps_per_contract: 0, max_bytes_per_contract: 0 }
    }
}

impl Shares {
    /// The weight of a contract.
    pub fn weight(&self, contract_id: &str) -> u32 {
        self.weights.get(contract_id).copied().unwrap_or(self.default_weight).max(1)
    }

    /// Whether there is a bound on what a contract may hold.
    pub fn has_bounds(&self) -> bool {
        self.max_steps_per_contract > 0 || self.max_bytes_per_contract > 0
    }

    /// Whether a contract that holds this much may take on a step of so many bytes.
    pub fn admits(&self, held: Held, size_bytes: u64) -> bool {
        let steps = self.max_steps_per_contract;
        (steps == 0 || held.steps < steps) && fits(self.max_bytes_per_contract, held.bytes, size_bytes)
    }
}

/// Whether `size_bytes` more may be in flight beside `held_bytes`. What is larger than the bound goes alone; 0 is no
/// bound.
pub fn fits(bound_bytes: u64, held_bytes: u64, size_bytes: u64) -> bool {
    bound_bytes == 0 || held_bytes == 0 || held_bytes.saturating_add(size_bytes) <= bound_bytes
}

/// The steps of a contract that are being worked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// How many.
    pub steps: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Where a contract stands in virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Where its last step started.
    pub start: i64,
    /// Where its next step may start at the earliest.
    pub finish: i64,
}

impl Tags {
    /// Where the contract's next step starts.
    pub fn next_start(self, virtual_time: i64) -> i64 {
        self.finish.max(virtual_time)
    }

    /// The tags after a step of that cost was taken on.
    pub fn charged(self, virtual_time: i64, cost: i64, weight: u32) -> Tags {
        let start = self.next_start(virtual_time);
        Tags { start, finish: start.saturating_add((cost / i64::from(weight.max(1))).max(1)) }
    }
}

/// A contract that has a step ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The contract.
    pub contract_id: String,
    /// Where it stands.
    pub tags: Tags,
    /// What it holds.
    pub held: Held,
    /// The turn of its first step.
    pub turn_at: Timestamp,
    /// The size of its first step.
    pub size_bytes: u64,
}

/// The contracts that may take on a step now, the next one first.
pub fn line_up(mut candidates: Vec<Candidate>, virtual_time: i64, shares: &Shares) -> Vec<Candidate> {
    candidates.retain(|candidate| shares.admits(candidate.held, candidate.size_bytes));
    candidates.sort_by(|one, other| {
        let key = |candidate: &Candidate| (candidate.tags.next_start(virtual_time), candidate.turn_at);
        key(one).cmp(&key(other)).then_with(|| one.contract_id.cmp(&other.contract_id))
    });
    candidates
}

/// What a step costs its contract.
pub fn cost(kind: StepKind, size_bytes: u64) -> i64 {
    let bytes = if kind.reads_content() { PREPARE_COST_BYTES.saturating_add(size_bytes) } else { LIGHT_COST_BYTES };
    i64::try_from((bytes >> 10).saturating_mul(PARTS)).unwrap_or(i64::MAX)
}

/// When a step has its turn within its contract.
pub fn turn_at(kind: StepKind, ordered: Timestamp, rank: i64, ageing: Duration) -> Timestamp {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    let head_start = if kind.reads_content() { 0 } else { micros(LIGHT_HEAD_START) };
    let urgency = rank.saturating_mul(micros(ageing));
    Timestamp(ordered.0.saturating_sub(urgency).saturating_sub(head_start))
}
