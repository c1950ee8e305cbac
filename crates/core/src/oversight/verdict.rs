//! The answer to "is it stuck, and why": pure, from figures that others have read.

use std::time::Duration;

use crate::db::oversight::{CountSince, WaitCount};
use crate::db::processes::Process;
use crate::db::steps::WaitsFor;
use crate::time::Timestamp;

/// How long steps may be ready, while there are free slots, before that is worth a word: a claim takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is known.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The present time.
    pub now: Option<Timestamp>,
    /// How long a process may say nothing.
    pub silence: Duration,
    /// Steps that are ready.
    pub ready: CountSince,
    /// Steps that are worked on, of these contracts.
    pub running: u64,
    /// Steps that are worked on, of all contracts.
    pub held: u64,
    /// What steps wait for.
    pub waits: Vec<WaitCount>,
    /// The processes of the installation.
    pub processes: Vec<Process>,
    /// Orders that failed and that nobody has seen to.
    pub failed: CountSince,
    /// For how long the regular check is late.
    pub fixity_late: Option<Duration>,
    /// Packages that are damaged.
    pub damaged: u64,
    /// Notices that were given up.
    pub abandoned: CountSince,
}

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// All is well.
    Good,
    /// To be known.
    Note,
    /// To be looked at when there is time.
    Warning,
    /// To be looked at now.
    Trouble,
}

/// Something that can be said about the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// No process works, although steps are ready.
    NoWorker {
        /// How many.
        ready: u64,
        /// Since when the first of them has been.
        since: Option<Timestamp>,
    },
    /// A process has not been heard of, and none has taken its place.
    ProcessLost {
        /// Its name.
        name: String,
        /// When it was last heard of.
        seen: Timestamp,
    },
    /// Packages are damaged.
    Damaged {
        /// How many.
        packages: u64,
    },
    /// Orders failed.
    Failed {
        /// How many.
        orders: u64,
        /// When the first of them did.
        since: Option<Timestamp>,
    },
    /// The regular check is late.
    FixityBehind {
        /// For how long.
        late: Duration,
    },
    /// Notices were given up.
    Abandoned {
        /// How many.
        notices: u64,
        /// When the first of them was.
        since: Option<Timestamp>,
    },
    /// Steps are ready and slots are free, but a bound keeps them from being claimed.
    Bounded {
        /// How many.
        ready: u64,
        /// Since when the first of them has been.
        since: Option<Timestamp>,
    },
    /// Steps wait for something.
    Waiting {
        /// For what, as far as it is known.
        waits_for: Option<WaitsFor>,
        /// How many.
        steps: u64,
        /// When the first of them is looked at again.
        next: Timestamp,
    },
    /// Every slot is taken.
    Busy {
        /// How many steps are ready.
        ready: u64,
        /// How many slots there are.
        slots: u64,
        /// Since when the first of them has been ready.
        since: Option<Timestamp>,
    },
    /// Work goes on.
    Proceeding {
        /// How many steps are worked on.
        running: u64,
        /// How many are ready.
        ready: u64,
    },
    /// There is nothing to do.
    Idle,
}

impl Finding {
    /// How much it matters.
    pub fn weight(&self) -> Weight {
        match self {
            Finding::NoWorker { .. } | Finding::ProcessLost { .. } | Finding::Damaged { .. } => Weight::Trouble,
            Finding::Waiting { waits_for: Some(WaitsFor::Storage), .. } => Weight::Trouble,
            Finding::Failed { .. } | Finding::FixityBehind { .. } | Finding::Abandoned { .. } => Weight::Warning,
            Finding::Waiting { waits_for: Some(WaitsFor::Gateway | WaitsFor::Retry) | None, .. } => Weight::Warning,
            Finding::Bounded { .. } | Finding::Busy { .. } | Finding::Waiting { .. } => Weight::Note,
            Finding::Proceeding { .. } | Finding::Idle => Weight::Good,
        }
    }

    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Finding::NoWorker { .. } => "no-worker",
            Finding::ProcessLost { .. } => "process-lost",
            Finding::Damaged { .. } => "damaged",
            Finding::Failed { .. } => "failed",
            Finding::FixityBehind { .. } => "fixity-behind",
            Finding::Abandoned { .. } => "abandoned",
            Finding::Bounded { .. } => "bounded",
            Finding::Waiting { .. } => "waiting",
            Finding::Busy { .. } => "busy",
            Finding::Proceeding { .. } => "proceeding",
            Finding::Idle => "idle",
        }
    }
}

/// Everything that is to be said, what matters most first. There is always something.
pub fn verdict(facts: &Facts) -> Vec<Finding> {
    let Some(now) = facts.now else { return vec![Finding::Idle] };
    let mut findings: Vec<Finding> = lost(facts, now);
    let slots: u64 =
        facts.processes.iter().filter(|process| is_there(process, facts, now)).map(|process| process.slots).sum();
    let (ready, since) = (facts.ready.count, facts.ready.first);
    if ready > 0 && slots == 0 {
        findings.push(Finding::NoWorker { ready, since });
    } else if ready > 0 && facts.held >= slots {
        findings.push(Finding::Busy { ready, slots, since });
    } else if ready > 0 && since.is_some_and(|since| now.since(since) > PATIENCE) {
        findings.push(Finding::Bounded { ready, since });
    }
    for wait in facts.waits.iter().filter(|wait| wait.count > 0) {
        findings.push(Finding::Waiting { waits_for: wait.waits_for, steps: wait.count, next: wait.next });
    }
    if facts.damaged > 0 {
        findings.push(Finding::Damaged { packages: facts.damaged });
    }
    if facts.failed.count > 0 {
        findings.push(Finding::Failed { orders: facts.failed.count, since: facts.failed.first });
    }
    if let Some(late) = facts.fixity_late.filter(|late| !late.is_zero()) {
        findings.push(Finding::FixityBehind { late });
    }
    if facts.abandoned.count > 0 {
        findings.push(Finding::Abandoned { notices: facts.abandoned.count, since: facts.abandoned.first });
    }
    let is_stopped = ready > 0 && slots == 0;
    if facts.running > 0 || (ready > 0 && !is_stopped) {
        findings.push(Finding::Proceeding { running: facts.running, ready });
    } else if ready == 0 && facts.waits.iter().all(|wait| wait.count == 0) {
        findings.push(Finding::Idle);
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight()));
    findings
}

/// Whether a process was heard of lately.
fn is_there(process: &Process, facts: &Facts, now: Timestamp) -> bool {
    now.since(process.seen) <= facts.silence
}

/// The processes that fell silent. One that started on the same machine afterwards, for the same purpose, has taken the
/// place of one.
fn lost(facts: &Facts, now: Timestamp) -> Vec<Finding> {
    let mut successors: Vec<&Process> =
        facts.processes.iter().filter(|process| is_there(process, facts, now)).collect();
    let mut lost = Vec::new();
    for process in facts.processes.iter().filter(|process| !is_there(process, facts, now)) {
        let successor = successors.iter().position(|other| {
            (&other.host, other.kind) == (&process.host, process.kind) && other.started >= process.seen
        });
        match successor {
            Some(place) => {
                successors.swap_remove(place);
            }
            None => lost.push(Finding::ProcessLost { name: process.name.clone(), seen: process.seen }),
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::processes::ProcessKind;

    const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

    fn ago(seconds: u64) -> Timestamp {
        NOW.minus(Duration::from_secs(seconds))
    }

    fn process(name: &str, slots: u64, started: u64, seen: u64) -> Process {
        Process {
            name: name.to_owned(),
            host: name.split(':').next().unwrap_or_default().to_owned(),
            kind: ProcessKind::Worker,
            version: "1".to_owned(),
            slots,
            started: ago(started),
            seen: ago(seen),
        }
    }

    fn count(count: u64, seconds: u64) -> CountSince {
        CountSince { count, first: (count > 0).then(|| ago(seconds)) }
    }

    fn wait(waits_for: Option<WaitsFor>, count: u64) -> WaitCount {
        WaitCount { waits_for, count, next: NOW }
    }

    fn facts() -> Facts {
        Facts {
            now: Some(NOW),
            silence: Duration::from_secs(60),
            processes: vec![process("a:1", 2, 5000, 3)],
            ..Facts::default()
        }
    }

    /// What is told, in a word each and in this order.
    #[test]
    fn what_is_told_of_what_is_known() {
        let silent = vec![process("a:1", 2, 5000, 600)];
        let replaced = vec![process("a:1", 2, 5000, 600), process("a:2", 2, 500, 3)];
        let elsewhere = vec![process("a:1", 2, 5000, 600), process("b:2", 2, 500, 3)];
        let twins = vec![process("a:1", 2, 5000, 600), process("a:2", 2, 5000, 600), process("a:3", 2, 500, 3)];
        let answering = vec![process("a:1", 0, 5000, 3)];
        let storage = vec![wait(Some(WaitsFor::Storage), 3)];
        let many = vec![wait(None, 1), wait(Some(WaitsFor::Recall), 3), wait(Some(WaitsFor::Gateway), 2)];
        let table: Vec<(Facts, &[&str])> = vec![
            (Facts::default(), &["idle"]),
            (facts(), &["idle"]),
            (Facts { running: 1, held: 1, ..facts() }, &["proceeding"]),
            (Facts { running: 1, held: 1, ready: count(5, 5), ..facts() }, &["proceeding"]),
            (Facts { ready: count(5, 5), ..facts() }, &["proceeding"]),
            (Facts { ready: count(5, 500), ..facts() }, &["bounded", "proceeding"]),
            (Facts { running: 2, held: 2, ready: count(5, 500), ..facts() }, &["busy", "proceeding"]),
            // The slots are taken by others.
            (Facts { held: 2, ready: count(5, 500), ..facts() }, &["busy", "proceeding"]),
            (Facts { processes: Vec::new(), ready: count(5, 5), ..facts() }, &["no-worker"]),
            (Facts { processes: answering, ready: count(5, 5), ..facts() }, &["no-worker"]),
            (Facts { processes: silent.clone(), ready: count(5, 5), ..facts() }, &["process-lost", "no-worker"]),
            (Facts { processes: silent, ..facts() }, &["process-lost", "idle"]),
            (Facts { processes: replaced, ..facts() }, &["idle"]),
            (Facts { processes: elsewhere, ..facts() }, &["process-lost", "idle"]),
            (Facts { processes: twins, ..facts() }, &["process-lost", "idle"]),
            (Facts { waits: storage, ..facts() }, &["waiting"]),
            (Facts { waits: many, running: 1, held: 1, ..facts() }, &["waiting", "waiting", "waiting", "proceeding"]),
            (Facts { failed: count(2, 9), ..facts() }, &["failed", "idle"]),
            (Facts { fixity_late: Some(Duration::ZERO), ..facts() }, &["idle"]),
            (
                Facts {
                    damaged: 1,
                    failed: count(2, 9),
                    fixity_late: Some(Duration::from_secs(1)),
                    abandoned: count(3, 9),
                    ..facts()
                },
                &["damaged", "failed", "fixity-behind", "abandoned", "idle"],
            ),
        ];
        for (facts, expected) in table {
            let found = verdict(&facts);
            let names: Vec<&str> = found.iter().map(Finding::name).collect();
            assert_eq!(names, expected, "{facts:#?}");
            assert!(found.is_sorted_by_key(|finding| std::cmp::Reverse(finding.weight())));
        }
    }

    #[test]
    fn what_is_waited_for_weighs_by_who_can_do_something_about_it() {
        let weight = |waits_for| Finding::Waiting { waits_for, steps: 1, next: NOW }.weight();
        assert_eq!(weight(Some(WaitsFor::Storage)), Weight::Trouble);
        for waits_for in [None, Some(WaitsFor::Gateway), Some(WaitsFor::Retry)] {
            assert_eq!(weight(waits_for), Weight::Warning);
        }
        for waits_for in [WaitsFor::Recall, WaitsFor::Turn, WaitsFor::Grace] {
            assert_eq!(weight(Some(waits_for)), Weight::Note);
        }
    }
}
