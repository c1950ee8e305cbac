//! The arithmetic of shares against the promises that are made of it, in a model of the queue without a database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dipper_core::db::steps::StepKind;
use dipper_core::share::{Candidate, Held, Shares, Tags, cost, line_up, turn_at};
use dipper_core::time::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;

/// A step that is ready: when it has its turn, its number, its size.
type Ready = (Timestamp, u64, u64);

/// The queue as `db/claims.rs` keeps it.
struct Model {
    shares: Shares,
    ready: BTreeMap<String, BTreeSet<Ready>>,
    tags: BTreeMap<String, Tags>,
    held: BTreeMap<String, Held>,
    /// What each contract has paid.
    paid: BTreeMap<String, i64>,
    numbers: u64,
}

impl Model {
    fn new(weights: &[u32]) -> Model {
        let weights = weights.iter().enumerate().map(|(number, weight)| (name(number), *weight)).collect();
        let shares = Shares { weights, ..Shares::default() };
        let (ready, tags, held, paid) = Default::default();
        Model { shares, ready, tags, held, paid, numbers: 0 }
    }

    fn add(&mut self, contract: usize, ordered: Timestamp, rank: i64, size_bytes: u64) -> u64 {
        self.numbers += 1;
        let turn = turn_at(StepKind::Prepare, ordered, rank, Duration::from_secs(60));
        self.ready.entry(name(contract)).or_default().insert((turn, self.numbers, size_bytes));
        self.numbers
    }

    fn line(&self) -> (i64, Vec<Candidate>) {
        let virtual_time = self.tags.values().map(|tags| tags.start).max().unwrap_or(0);
        let candidates = self.ready.iter().filter_map(|(contract_id, steps)| {
            let (turn_at, _, size_bytes) = *steps.first()?;
            Some(Candidate {
                contract_id: contract_id.clone(),
                tags: self.tags.get(contract_id).copied().unwrap_or_default(),
                held: self.held.get(contract_id).copied().unwrap_or_default(),
                turn_at,
                size_bytes,
            })
        });
        (virtual_time, line_up(candidates.collect(), virtual_time, &self.shares))
    }

    /// The contract and number of the step that is claimed, and its size.
    fn claim(&mut self) -> Option<(String, u64, u64)> {
        let (virtual_time, line) = self.line();
        let contract_id = line.first()?.contract_id.clone();
        let (_, number, size_bytes) = self.ready.get_mut(&contract_id)?.pop_first()?;
        let price = cost(StepKind::Prepare, size_bytes);
        let tags = self.tags.entry(contract_id.clone()).or_default();
        *tags = tags.charged(virtual_time, price, self.shares.weight(&contract_id));
        let held = self.held.entry(contract_id.clone()).or_default();
        *held = Held { steps: held.steps + 1, bytes: held.bytes + size_bytes };
        *self.paid.entry(contract_id.clone()).or_default() += price;
        Some((contract_id, number, size_bytes))
    }

    fn end(&mut self, contract_id: &str, size_bytes: u64) {
        let held = self.held.get_mut(contract_id).unwrap();
        *held = Held { steps: held.steps - 1, bytes: held.bytes - size_bytes };
    }
}

fn name(contract: usize) -> String {
    format!("c{contract}")
}

const MAX_BYTES: u64 = 1 << 30;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// While all have work waiting, what two contracts paid by their weights differs by their greatest steps at most.
    #[test]
    fn shares_follow_the_weights(
        weights in prop::collection::vec(1_u32..9, 2..7),
        sizes in prop::collection::vec(0..MAX_BYTES, 50),
        ranks in prop::collection::vec(1_i64..101, 20),
    ) {
        let mut model = Model::new(&weights);
        for round in 0..600 {
            for contract in 0..weights.len() {
                // Nobody ever runs dry, and each has sizes and urgencies of its own.
                while model.ready.get(&name(contract)).is_none_or(|steps| steps.len() < 3) {
                    let at = round + contract * 7 + model.numbers as usize;
                    let (size, rank) = (sizes[at % sizes.len()] >> contract, ranks[at % ranks.len()]);
                    model.add(contract, Timestamp(round as i64), rank, size);
                }
            }
            prop_assert!(model.claim().is_some());
        }
        let share = |contract: usize| {
            let paid = model.paid.get(&name(contract)).copied().unwrap_or(0);
            paid / i64::from(weights[contract])
        };
        let greatest = |contract: usize| cost(StepKind::Prepare, MAX_BYTES >> contract) / i64::from(weights[contract]);
        for one in 0..weights.len() {
            for other in 0..one {
                // Each claim rounds its price down by one part at the most.
                let bound = greatest(one) + greatest(other) + 600;
                let difference = (share(one) - share(other)).abs();
                prop_assert!(difference <= bound, "{one} {other}: {difference} > {bound}");
            }
        }
    }

    /// Who comes new has its turn after one step of each other contract at the latest, however many wait there, and
    /// however urgent they are.
    #[test]
    fn a_newcomer_waits_for_one_step_of_each_other(
        weights in prop::collection::vec(1_u32..9, 2..7),
        sizes in prop::collection::vec(0..MAX_BYTES, 40),
        before in 0_usize..200,
    ) {
        let mut model = Model::new(&weights);
        let newcomer = weights.len() - 1;
        for number in 0..1000 {
            model.add(number % newcomer, Timestamp(0), 100, sizes[number % sizes.len()]);
        }
        for _ in 0..before {
            prop_assert!(model.claim().is_some());
        }
        let wanted = model.add(newcomer, Timestamp(1_000_000), 1, MAX_BYTES);
        let turns = (0..).find(|_| model.claim().is_some_and(|(_, number, _)| number == wanted)).unwrap();
        prop_assert!(turns < weights.len(), "{turns} turns");
    }

    /// Idleness saves nothing up: after a long pause a contract gets its share and not what it missed.
    #[test]
    fn nobody_catches_up_on_what_it_did_not_ask_for(sizes in prop::collection::vec(1..MAX_BYTES, 30)) {
        let mut model = Model::new(&[1, 1]);
        for size in sizes.iter().cycle().take(500) {
            model.add(0, Timestamp(0), 50, *size);
            prop_assert!(model.claim().is_some());
        }
        let before = model.paid.clone();
        for number in 0..400 {
            let size = sizes[number % sizes.len()];
            model.add(0, Timestamp(1), 50, size);
            model.add(1, Timestamp(1), 50, size);
        }
        for _ in 0..400 {
            prop_assert!(model.claim().is_some());
        }
        let gained = |contract| model.paid.get(&name(contract)).copied().unwrap_or(0)
            - before.get(&name(contract)).copied().unwrap_or(0);
        let bound = 2 * cost(StepKind::Prepare, MAX_BYTES) + 400;
        prop_assert!((gained(0) - gained(1)).abs() <= bound);
    }

    /// Within a contract nothing that came later than the head start of its urgency goes first, whatever its rank.
    #[test]
    fn nothing_starves_within_a_contract(
        arrivals in prop::collection::vec((0_i64..7_200, 1_i64..101), 2..120),
        claims in prop::collection::vec(any::<bool>(), 240),
    ) {
        let mut model = Model::new(&[1]);
        let mut arrivals = arrivals;
        arrivals.sort_unstable();
        let mut coming = arrivals.iter();
        let mut known: BTreeMap<u64, (i64, i64)> = BTreeMap::new();
        let claimed = |model: &mut Model, known: &mut BTreeMap<u64, (i64, i64)>| -> Result<(), TestCaseError> {
            if let Some((contract_id, number, size)) = model.claim() {
                model.end(&contract_id, size);
                let (ordered, rank) = known.remove(&number).unwrap();
                for (earlier, less_urgent) in known.values() {
                    let head_start = (rank - less_urgent) * 60;
                    prop_assert!(ordered - earlier <= head_start, "{ordered} {rank}: {earlier} {less_urgent}");
                }
            }
            Ok(())
        };
        for is_claim in claims {
            if is_claim {
                claimed(&mut model, &mut known)?;
            } else if let Some((seconds, rank)) = coming.next() {
                let number = model.add(0, Timestamp(seconds * 1_000_000), *rank, 0);
                known.insert(number, (*seconds, *rank));
            }
        }
        while !known.is_empty() {
            claimed(&mut model, &mut known)?;
        }
    }

    /// A step is refused only if every contract that waits is at its bound; and no bound is ever broken.
    #[test]
    fn no_slot_is_idle_while_somebody_may_work(
        weights in prop::collection::vec(1_u32..9, 1..6),
        steps in prop::collection::vec((any::<Index>(), 0..MAX_BYTES), 1..200),
        ends in prop::collection::vec(any::<Index>(), 300),
        max_steps in 0_u64..4,
        max_bytes in prop::sample::select(vec![0, MAX_BYTES / 2, MAX_BYTES, 3 * MAX_BYTES]),
    ) {
        let mut model = Model::new(&weights);
        model.shares.max_steps_per_contract = max_steps;
        model.shares.max_bytes_per_contract = max_bytes;
        for (contract, size) in &steps {
            model.add(contract.index(weights.len()), Timestamp(0), 50, *size);
        }
        let mut running: Vec<(String, u64)> = Vec::new();
        let mut ends = ends.iter().cycle();
        let mut done = 0;
        while done < steps.len() {
            match model.claim() {
                Some((contract_id, _, size)) => running.push((contract_id, size)),
                None => {
                    for (contract_id, waiting) in model.ready.iter().filter(|(_, waiting)| !waiting.is_empty()) {
                        let held = model.held.get(contract_id).copied().unwrap_or_default();
                        let (_, _, size) = *waiting.first().unwrap();
                        prop_assert!(!model.shares.admits(held, size) && held.steps > 0, "{contract_id} could work");
                    }
                    let ending = ends.next().unwrap().index(running.len());
                    let (contract_id, size) = running.swap_remove(ending);
                    model.end(&contract_id, size);
                    done += 1;
                }
            }
            for held in model.held.values() {
                prop_assert!(max_steps == 0 || held.steps <= max_steps);
                prop_assert!(max_bytes == 0 || held.bytes <= max_bytes || held.steps == 1, "{held:?}");
            }
        }
    }
}
