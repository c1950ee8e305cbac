//! Sharing the work out: every thread hashes files of the objects that are open, and opens the next object when
//! there are none left. So one object of many files and many objects of few both keep all cores busy, and no more
//! objects are in memory than there are threads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use super::content::Check;
use super::object::{Inspected, inspect};
use super::{ObjectReport, Problems, Progress, Report, ValidateOptions, has_errors};
use crate::ocfl::error::{Error, Result};
use crate::ocfl::pass::Pass;
use crate::ocfl::problem::{Code, Problem};
use crate::ocfl::version::SpecVersion;
use crate::storage::{self, Storage};

/// How many files, and how many bytes, a thread takes at once.
const BATCH_FILES: usize = 64;
const BATCH_BYTES: u64 = 8 << 20;
/// How many bytes of a large file pass between two reports of progress.
const PROGRESS_BYTES: u64 = 16 << 20;

type Objects<'a> = dyn Iterator<Item = Result<String>> + Send + 'a;

/// What the objects gave.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) problems: Vec<Problem>,
    pub(super) checked: Progress,
    pub(super) invalid_objects: u64,
    pub(super) archived_files: u64,
    /// The path and id of every object that has one.
    pub(super) ids: Vec<(String, String)>,
}

impl Outcome {
    pub(super) fn into_report(self) -> Report {
        let mut problems = self.problems;
        problems.sort_unstable();
        problems.dedup();
        let Outcome { checked, invalid_objects, archived_files, .. } = self;
        Report { problems, checked, invalid_objects, archived_files }
    }
}

/// Validates all objects. `root_spec` is what their storage root declares.
pub(super) fn run(
    storage: &dyn Storage,
    objects: &mut Objects<'_>,
    options: &ValidateOptions<'_>,
    root_spec: Option<SpecVersion>,
) -> Result<Outcome> {
    let threads = options.threads.unwrap_or_else(|| storage::threads(storage));
    let outcome = Outcome::default();
    let work = Work {
        storage,
        options,
        root_spec,
        keeps_ids: root_spec.is_some(),
        queue: Mutex::new(Queue {
            objects: Some(objects),
            open: VecDeque::new(),
            inspecting: 0,
            outcome,
            failed: None,
        }),
        changed: Condvar::new(),
        objects: AtomicU64::new(0),
        files: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        told: AtomicU64::new(0),
        cancelled: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            scope.spawn(|| work.run());
        }
        work.run();
    });
    let checked = work.progress();
    let queue = work.queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    match queue.failed {
        Some(error) => Err(error),
        None if work.cancelled.load(Ordering::Relaxed) => Err(Error::Cancelled),
        None => Ok(Outcome { checked, ..queue.outcome }),
    }
}

struct Work<'a, 'o> {
    storage: &'a dyn Storage,
    options: &'a ValidateOptions<'a>,
    root_spec: Option<SpecVersion>,
    keeps_ids: bool,
    queue: Mutex<Queue<'a, 'o>>,
    /// Something was put in the queue, or nothing more will be.
    changed: Condvar,
    objects: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    /// The bytes at the last report of progress.
    told: AtomicU64,
    /// Nothing more is to be read.
    cancelled: AtomicBool,
}

struct Queue<'a, 'o> {
    /// `None` when all have been taken.
    objects: Option<&'a mut Objects<'o>>,
    open: VecDeque<Arc<OpenObject>>,
    /// How many threads are about to put an object in.
    inspecting: usize,
    outcome: Outcome,
    failed: Option<Error>,
}

/// An object whose structure is known and whose content is being read.
struct OpenObject {
    report: Mutex<ObjectReport>,
    checks: Vec<Check>,
    next: AtomicUsize,
    done: AtomicUsize,
}

enum Task {
    Hash(Arc<OpenObject>, usize, usize),
    Inspect(String),
    End,
}

impl Work<'_, '_> {
    fn run(&self) {
        let mut pass = Pass::new();
        loop {
            match self.next_task() {
                Task::Hash(object, from, to) => self.hash(&object, from, to, &mut pass),
                Task::Inspect(path) => self.inspect(path),
                Task::End => return,
            }
        }
    }

    fn next_task(&self) -> Task {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Task::End;
            }
            while let Some(object) = queue.open.front() {
                if let Some((from, to)) = object.claim() {
                    return Task::Hash(Arc::clone(object), from, to);
                }
                queue.open.pop_front();
            }
            match queue.objects.as_mut().map(|objects| objects.next()) {
                Some(Some(Ok(path))) => {
                    queue.inspecting += 1;
                    return Task::Inspect(path);
                }
                Some(Some(Err(error))) => {
                    queue.failed = Some(error);
                    queue.objects = None;
                    self.changed.notify_all();
                }
                Some(None) => {
                    queue.objects = None;
                    self.changed.notify_all();
                }
                None if queue.inspecting == 0 => return Task::End,
                None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn inspect(&self, path: String) {
        let Inspected { id, head, digest, spec, problems, archived, checks } = inspect(self.storage, &path);
        let mut problems = Problems { list: problems, archived };
        if let (Some(root), Some(object)) = (self.root_spec, spec)
            && object > root
        {
            problems.add(Code::E081, &path, format!("OCFL {object} in a storage root of OCFL {root}"));
        }
        let (files, bytes) = (checks.len() as u64, checks.iter().map(|check| check.len).sum());
        let (problems, archived_files) = (problems.list, problems.archived);
        let report = ObjectReport { path, id, head, digest, files, bytes, problems, archived_files };
        let checks = if self.options.hash { checks } else { Vec::new() };
        let object = Arc::new(OpenObject {
            report: Mutex::new(report),
            checks,
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
        });
        let is_done = object.checks.is_empty();
        if is_done {
            self.finish(&object);
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.inspecting -= 1;
        if !is_done {
            queue.open.push_back(object);
        }
        drop(queue);
        self.changed.notify_all();
    }

    fn hash(&self, object: &OpenObject, from: usize, to: usize, pass: &mut Pass) {
        let checks = object.checks.get(from..to).unwrap_or_default();
        let mut found = Problems::default();
        for check in checks {
            if !check.run(self.storage, pass, &|bytes| self.go_on(bytes), &mut found) {
                self.cancelled.store(true, Ordering::Relaxed);
                return;
            }
            self.files.fetch_add(1, Ordering::Relaxed);
        }
        if !found.list.is_empty() || found.archived > 0 {
            let mut report = object.report.lock().unwrap_or_else(PoisonError::into_inner);
            report.problems.extend(found.list);
            report.archived_files += found.archived;
        }
        if object.done.fetch_add(checks.len(), Ordering::AcqRel) + checks.len() == object.checks.len() {
            self.finish(object);
        }
    }

    /// Hands in what was found about an object.
    fn finish(&self, object: &OpenObject) {
        let mut report = object.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.problems.sort_unstable();
        report.problems.dedup();
        if let Some(tell) = self.options.object {
            tell(&report);
        }
        let problems = std::mem::take(&mut report.problems);
        let archived_files = report.archived_files;
        let named = report.id.take().filter(|_| self.keeps_ids).map(|id| (report.path.clone(), id));
        drop(report);
        self.objects.fetch_add(1, Ordering::Relaxed);
        if let Some(tell) = self.options.progress {
            tell(self.progress());
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.outcome.invalid_objects += u64::from(has_errors(&problems));
        queue.outcome.archived_files += archived_files;
        queue.outcome.problems.extend(problems);
        queue.outcome.ids.extend(named);
    }

    /// Whether to go on after a piece of content was read.
    fn go_on(&self, bytes: u64) -> bool {
        self.tell(bytes);
        !self.cancelled.load(Ordering::Relaxed) && self.options.pace.is_none_or(|pace| pace(bytes))
    }

    fn tell(&self, bytes: u64) {
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let Some(tell) = self.options.progress else { return };
        let before = self.told.load(Ordering::Relaxed);
        let is_due = now >= before + PROGRESS_BYTES;
        if is_due && self.told.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tell(self.progress());
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            objects: self.objects.load(Ordering::Relaxed),
            files: self.files.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

impl OpenObject {
    /// The next files to read, if any are left. Called under the queue's lock.
    fn claim(&self) -> Option<(usize, usize)> {
        let from = self.next.load(Ordering::Relaxed);
        let (mut to, mut bytes) = (from, 0);
        while to < from + BATCH_FILES && bytes < BATCH_BYTES {
            let Some(check) = self.checks.get(to) else { break };
            bytes += check.len;
            to += 1;
        }
        self.next.store(to, Ordering::Relaxed);
        (to > from).then_some((from, to))
    }
}
