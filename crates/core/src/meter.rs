//! Figures about orders, steps, notices, fixity and the database: what is counted as it happens, and what the
//! catalogue is asked for when somebody looks.

use std::future::Future;
use std::time::{Duration, Instant};

use dipper_archive::meter::{Metric, SHORT_SECONDS};
use metrics::{Counter, Gauge, counter, gauge, histogram};

use crate::db::DatabaseError;
use crate::db::figures::{self, Figures};
use crate::db::packages::PackageState;
use crate::db::steps::StepKind;
use crate::installation::Installation;
use crate::order::OrderState;
use crate::scrub::plan;

const STEP_SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0,
    43200.0,
];
const ACCEPTANCE_SECONDS: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0];
const ORDER_SECONDS: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0, 259200.0];

const ORDERS_RECEIVED: Metric = Metric::counter("dipper_orders_received_total", &[], "Orders that were accepted.");
const ORDERS_ENDED: Metric = Metric::histogram(
    "dipper_order_duration_seconds",
    &["state"],
    ORDER_SECONDS,
    "Time from the acceptance of an order to its end, by how it ended.",
);
const STEPS: Metric = Metric::histogram(
    "dipper_step_duration_seconds",
    &["kind", "outcome"],
    STEP_SECONDS,
    "Time that attempts of steps took: done, failed and tried again (later), given up (dead), handed back at shutdown \
     (handed_back), or taken over by another worker or needless by then (lost).",
);
const STEPS_RUNNING: Metric =
    Metric::gauge("dipper_steps_in_flight", &["kind"], "Steps that this process is working on.");
const BYTES_RUNNING: Metric = Metric::gauge(
    "dipper_step_bytes_in_flight",
    &[],
    "Bytes of the packages that this process is preparing for delivery.",
);
const SLOTS: Metric =
    Metric::gauge("dipper_worker_slots", &[], "Steps that this process can work on at a time; 0 if it does not work.");
const VERIFIED_PACKAGES: Metric = Metric::counter(
    "dipper_fixity_verified_packages_total",
    &[],
    "Packages that were read whole for a delivery and matched their digests.",
);
const VERIFIED_BYTES: Metric = Metric::counter(
    "dipper_fixity_verified_bytes_total",
    &[],
    "Bytes of the deliveries that were computed from packages whose every content matched its digest.",
);
const DELIVERED_BYTES: Metric = Metric::counter(
    "dipper_delivered_bytes_total",
    &["channel"],
    "Bytes of packages that were handed out, verified: sent to clients through \
     links of this server (link), or out of areas over https (https) or SFTP (sftp), or as \
     files of restores (restore), or one by one in the console (file), or put into the store of deliveries, from where \
     clients fetch them without this server (s3).",
);
const FIXITY_FAILURES: Metric = Metric::counter(
    "dipper_fixity_failures_total",
    &[],
    "Fixity checks that found a package damaged, each after a second look.",
);
const CHECKED_PACKAGES: Metric = Metric::counter(
    "dipper_fixity_scheduled_packages_total",
    &[],
    "Packages that were read again whole as scheduled, whatever was found.",
);
const CHECKED_BYTES: Metric =
    Metric::counter("dipper_fixity_scheduled_bytes_total", &[], "Stored bytes that were read again as scheduled.");
const NOTICE_ATTEMPTS: Metric = Metric::histogram(
    "dipper_notice_attempt_duration_seconds",
    &["outcome"],
    SHORT_SECONDS,
    "Time that attempts to deliver a notice took: accepted, answered with an error (refused), not answered \
     (unreachable), or needless by then (dropped).",
);
const NOTICE_ACCEPTANCE: Metric = Metric::histogram(
    "dipper_notice_acceptance_seconds",
    &[],
    ACCEPTANCE_SECONDS,
    "Time from the making of a notice to its acceptance by the receiver.",
);
const SUBMISSIONS: Metric = Metric::counter(
    "dipper_submissions_total",
    &["outcome"],
    "Files in incoming directories that were worked on: stored as a version of a package (ingested), lists that have \
     their answer (answered), given back with a \
     report (refused), or to be tried again (postponed).",
);
const DEPOSIT_FILES: Metric = Metric::counter(
    "dipper_deposit_files_total",
    &["source"],
    "Files of deposits that are there and match what was declared: fetched from a gateway (gateway), or known from an \
     earlier version (earlier).",
);
const DEPOSIT_BYTES: Metric = Metric::counter(
    "dipper_deposit_bytes_total",
    &[],
    "Bytes of files that were fetched from gateways and match what was declared.",
);
const DEPOSIT_FAILURES: Metric = Metric::counter(
    "dipper_deposit_failures_total",
    &["reason"],
    "Attempts to fetch a file that failed: the gateway was away or broke off (unreachable), did not take the credentials \
     (sign_in), would not give the file (refused), sent other bytes than were declared (mismatch), or led to where no \
     calls may go (forbidden).",
);
const DEPOSIT_WAITS: Metric = Metric::counter(
    "dipper_deposit_waits_total",
    &[],
    "Times that a deposit was put aside because its gateway was away; it goes on by itself.",
);
const DATABASE: Metric = Metric::histogram(
    "dipper_database_duration_seconds",
    &["operation"],
    SHORT_SECONDS,
    "Time that the database took: to read outside of transactions (read), to begin a transaction, waiting for a \
     connection and its lock included (begin), for a statement in one (write), to make one durable (commit).",
);
const DATABASE_ERRORS: Metric = Metric::counter(
    "dipper_database_errors_total",
    &["operation"],
    "Calls of the database that failed; a unique index that refuses a row is none.",
);

/// The figures that are counted as things happen.
pub const METRICS: &[Metric] = &[
    ORDERS_RECEIVED,
    ORDERS_ENDED,
    STEPS,
    STEPS_RUNNING,
    BYTES_RUNNING,
    SLOTS,
    VERIFIED_PACKAGES,
    VERIFIED_BYTES,
    DELIVERED_BYTES,
    FIXITY_FAILURES,
    CHECKED_PACKAGES,
    CHECKED_BYTES,
    NOTICE_ATTEMPTS,
    NOTICE_ACCEPTANCE,
    SUBMISSIONS,
    DEPOSIT_FILES,
    DEPOSIT_BYTES,
    DEPOSIT_FAILURES,
    DEPOSIT_WAITS,
    DATABASE,
    DATABASE_ERRORS,
];

const CATALOGUE_UP: Metric =
    Metric::gauge("dipper_catalogue_up", &[], "Whether the catalogue answered when its figures were last read.");
const QUEUE_STEPS: Metric = Metric::gauge(
    "dipper_queue_steps",
    &["kind", "state", "priority"],
    "Steps in the queue that are not done. It is the same queue for every process of an installation.",
);
const QUEUE_AGE: Metric = Metric::gauge(
    "dipper_queue_oldest_step_age_seconds",
    &["kind", "state", "priority"],
    "Time since the oldest of these steps was made; 0 when there is none.",
);
const PACKAGES: Metric = Metric::gauge("dipper_packages", &["state"], "Packages in the catalogue.");
const NEVER_VERIFIED: Metric = Metric::gauge(
    "dipper_packages_never_verified",
    &[],
    "Preserved packages whose content was never read whole since they were catalogued.",
);
const VERIFICATION_AGE: Metric = Metric::gauge(
    "dipper_fixity_oldest_verification_age_seconds",
    &[],
    "Time since the preserved package was verified whose last verification lies furthest back; 0 when there is none.",
);
const CHECK_AGE: Metric = Metric::gauge(
    "dipper_fixity_oldest_unchecked_age_seconds",
    &[],
    "Time since that package was last read whole, or taken in, for which that lies furthest back; 0 when there is none. \
     It stays below fixity.period_days while the schedule is kept.",
);
const COVERAGE: Metric = Metric::gauge(
    "dipper_fixity_coverage_ratio",
    &["of"],
    "Share of the packages (packages), and of what is stored of them (bytes), that was read whole within \
     fixity.period_days; 1 when there is nothing.",
);
const UNCHECKED: Metric =
    Metric::gauge("dipper_fixity_never_checked_packages", &[], "Packages that were not read since they were taken in.");
const COLD: Metric = Metric::gauge(
    "dipper_fixity_cold_packages",
    &[],
    "Packages of which content lay in an archive class when they were last read, and was left out.",
);
const NOTICES_PENDING: Metric =
    Metric::gauge("dipper_notices_pending", &[], "Notices that their receivers have not accepted yet.");
const NOTICE_AGE: Metric = Metric::gauge(
    "dipper_notice_oldest_pending_age_seconds",
    &[],
    "Time since the oldest pending notice was made; 0 when there is none.",
);
const SUBMISSIONS_OPEN: Metric = Metric::gauge(
    "dipper_submissions_open",
    &[],
    "Files in incoming directories that are complete and wait for their turn, or are worked on.",
);
const SUBMISSION_AGE: Metric = Metric::gauge(
    "dipper_submission_oldest_open_age_seconds",
    &[],
    "Time since the oldest of these files was first seen as it is; 0 when there is none.",
);
const CONNECTIONS: Metric = Metric::gauge(
    "dipper_database_connections",
    &["state"],
    "Connections to the database that this process holds: in use (used) or at rest (idle).",
);

/// The figures that [`read`] reads.
pub const CATALOGUE: &[Metric] = &[
    CATALOGUE_UP,
    QUEUE_STEPS,
    QUEUE_AGE,
    PACKAGES,
    NEVER_VERIFIED,
    VERIFICATION_AGE,
    CHECK_AGE,
    COVERAGE,
    UNCHECKED,
    COLD,
    NOTICES_PENDING,
    NOTICE_AGE,
    SUBMISSIONS_OPEN,
    SUBMISSION_AGE,
    CONNECTIONS,
];

const OPERATIONS: [&str; 4] = ["read", "begin", "write", "commit"];

/// Makes the figures known that do not wait for something to happen first.
pub fn begin() {
    for metric in [CHECKED_PACKAGES, CHECKED_BYTES] {
        metric.begin(&[]);
    }
    for metric in [ORDERS_RECEIVED, BYTES_RUNNING, SLOTS, VERIFIED_PACKAGES, VERIFIED_BYTES, FIXITY_FAILURES] {
        metric.begin(&[]);
    }
    for channel in Channel::ALL {
        DELIVERED_BYTES.begin(&[channel.name()]);
    }
    NOTICE_ACCEPTANCE.begin(&[]);
    for state in OrderState::ALL.iter().filter(|state| state.is_finished()) {
        ORDERS_ENDED.begin(&[state.name()]);
    }
    for kind in StepKind::ALL {
        STEPS_RUNNING.begin(&[kind.name()]);
        for outcome in StepOutcome::ALL {
            STEPS.begin(&[kind.name(), outcome.name()]);
        }
    }
    for outcome in ["accepted", "refused", "unreachable", "dropped"] {
        NOTICE_ATTEMPTS.begin(&[outcome]);
    }
    for outcome in ["ingested", "answered", "refused", "postponed"] {
        SUBMISSIONS.begin(&[outcome]);
    }
    for source in ["gateway", "earlier"] {
        DEPOSIT_FILES.begin(&[source]);
    }
    for reason in ["unreachable", "sign_in", "refused", "mismatch", "forbidden"] {
        DEPOSIT_FAILURES.begin(&[reason]);
    }
    for metric in [DEPOSIT_BYTES, DEPOSIT_WAITS] {
        metric.begin(&[]);
    }
    for operation in OPERATIONS {
        DATABASE.begin(&[operation]);
        DATABASE_ERRORS.begin(&[operation]);
    }
}

/// The ways on which packages are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Links of this server.
    Link,
    /// Areas, over https.
    Https,
    /// Areas, over SFTP.
    Sftp,
    /// The store of deliveries.
    S3,
    /// Restores, file by file.
    Restore,
    /// Stored files that people look at, without an order.
    File,
}

impl Channel {
    const ALL: [Channel; 6] =
        [Channel::Link, Channel::Https, Channel::Sftp, Channel::S3, Channel::Restore, Channel::File];

    fn name(self) -> &'static str {
        match self {
            Channel::Link => "link",
            Channel::Https => "https",
            Channel::Sftp => "sftp",
            Channel::S3 => "s3",
            Channel::Restore => "restore",
            Channel::File => "file",
        }
    }
}

/// Counts the bytes that are handed out on one way.
pub fn delivered(channel: Channel) -> Counter {
    counter!(DELIVERED_BYTES.name, "channel" => channel.name())
}

/// How an attempt of a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepOutcome {
    /// It did its work.
    Done,
    /// It failed and is tried again.
    Later,
    /// It is given up.
    Dead,
    /// The worker had to stop.
    HandedBack,
    /// Somebody else holds it, or the order has ended.
    Lost,
}

impl StepOutcome {
    const ALL: [StepOutcome; 5] =
        [StepOutcome::Done, StepOutcome::Later, StepOutcome::Dead, StepOutcome::HandedBack, StepOutcome::Lost];

    fn name(self) -> &'static str {
        match self {
            StepOutcome::Done => "done",
            StepOutcome::Later => "later",
            StepOutcome::Dead => "dead",
            StepOutcome::HandedBack => "handed_back",
            StepOutcome::Lost => "lost",
        }
    }
}

/// So much more of something, until it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    gauge: Gauge,
    amount: f64,
}

impl Running {
    fn new(gauge: Gauge, amount: f64) -> Running {
        gauge.increment(amount);
        Running { gauge, amount }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gauge.decrement(self.amount);
    }
}

/// A step that this process works on.
pub(crate) struct RunningStep {
    kind: StepKind,
    began: Instant,
    _running: Running,
}

/// A step was claimed and begins.
pub(crate) fn step(kind: StepKind) -> RunningStep {
    let running = Running::new(gauge!(STEPS_RUNNING.name, "kind" => kind.name()), 1.0);
    RunningStep { kind, began: Instant::now(), _running: running }
}

impl RunningStep {
    /// The attempt has ended.
    pub(crate) fn ended(self, outcome: StepOutcome) {
        let labels = [("kind", self.kind.name()), ("outcome", outcome.name())];
        histogram!(STEPS.name, &labels).record(self.began.elapsed());
    }
}

/// A package of so many bytes is being prepared, until what this returns is dropped.
pub(crate) fn preparing(bytes: u64) -> Running {
    Running::new(gauge!(BYTES_RUNNING.name), bytes as f64)
}

/// This process works on so many steps at a time, until what this returns is dropped.
pub(crate) fn slots(count: usize) -> Running {
    Running::new(gauge!(SLOTS.name), count as f64)
}

/// An order was stored.
pub(crate) fn order_received() {
    counter!(ORDERS_RECEIVED.name).increment(1);
}

/// An order that took so long has ended.
pub(crate) fn order_ended(state: OrderState, took: Duration) {
    histogram!(ORDERS_ENDED.name, "state" => state.name()).record(took);
}

/// A package was read whole and matched; so many bytes are to be delivered of it.
pub(crate) fn verified(bytes: u64) {
    counter!(VERIFIED_PACKAGES.name).increment(1);
    counter!(VERIFIED_BYTES.name).increment(bytes);
}

/// A package of so many stored bytes was read again as scheduled.
pub(crate) fn checked(bytes: u64) {
    counter!(CHECKED_PACKAGES.name).increment(1);
    counter!(CHECKED_BYTES.name).increment(bytes);
}

/// A package was found damaged.
pub(crate) fn damaged() {
    counter!(FIXITY_FAILURES.name).increment(1);
}

/// An attempt to deliver a notice has ended.
pub(crate) fn notice_attempted(outcome: &'static str, took: Duration) {
    histogram!(NOTICE_ATTEMPTS.name, "outcome" => outcome).record(took);
}

/// A notice was accepted so long after it was made.
pub(crate) fn notice_accepted(after: Duration) {
    histogram!(NOTICE_ACCEPTANCE.name).record(after);
}

/// A file was fetched from a gateway, and matched.
pub(crate) fn file_fetched(bytes: u64) {
    counter!(DEPOSIT_FILES.name, "source" => "gateway").increment(1);
    counter!(DEPOSIT_BYTES.name).increment(bytes);
}

/// A file of a deposit was there from an earlier version.
pub(crate) fn file_known() {
    counter!(DEPOSIT_FILES.name, "source" => "earlier").increment(1);
}

/// A file could not be fetched; why, in the word of the figure.
pub(crate) fn file_failed(reason: &'static str) {
    counter!(DEPOSIT_FAILURES.name, "reason" => reason).increment(1);
}

/// A deposit waits for its gateway.
pub(crate) fn deposit_waits() {
    counter!(DEPOSIT_WAITS.name).increment(1);
}

/// The work on a submission has ended.
pub(crate) fn submission_ended(outcome: &'static str) {
    counter!(SUBMISSIONS.name, "outcome" => outcome).increment(1);
}

/// Takes the time of a call of the database.
pub(crate) async fn database<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let began = Instant::now();
    let answer = call.await;
    histogram!(DATABASE.name, "operation" => operation).record(began.elapsed());
    if answer.as_ref().is_err_and(|error| !error.is_duplicate()) {
        counter!(DATABASE_ERRORS.name, "operation" => operation).increment(1);
    }
    answer
}

/// What a reading of the catalogue found.
#[derive(Clone, Debug)]
pub struct Reading {
    figures: Figures,
    now: crate::time::Timestamp,
    connections: (u32, u32),
}

/// Asks the catalogue for its figures.
pub async fn read(installation: &Installation) -> Result<Reading, DatabaseError> {
    let period = installation.settings.fixity.period.unwrap_or(plan::DAY * 90);
    let since = installation.clock.now().minus(period);
    let figures = figures::read(&installation.database, since).await?;
    let connections = installation.database.connections();
    Ok(Reading { figures, now: installation.clock.now(), connections })
}

/// Hands what was read to the recorder in force; without a reading, that there is none.
pub fn tell(reading: Option<&Reading>) {
    gauge!(CATALOGUE_UP.name).set(if reading.is_some() { 1.0 } else { 0.0 });
    let Some(Reading { figures, now, connections }) = reading else { return };
    let age = |since: Option<crate::time::Timestamp>| since.map_or(0.0, |since| now.since(since).as_secs_f64());
    for kind in StepKind::ALL {
        for state in figures::OPEN_STATES {
            for priority in figures::PRIORITIES {
                let labels = [("kind", kind.name()), ("state", state), ("priority", priority)];
                let found = figures.steps.get(&(kind.name(), state, priority));
                gauge!(QUEUE_STEPS.name, &labels).set(found.map_or(0.0, |(count, _)| *count as f64));
                gauge!(QUEUE_AGE.name, &labels).set(age(found.map(|(_, oldest)| *oldest)));
            }
        }
    }
    for state in PackageState::ALL {
        gauge!(PACKAGES.name, "state" => state.name()).set(figures.packages.of(*state) as f64);
    }
    gauge!(NEVER_VERIFIED.name).set(figures.never_verified as f64);
    gauge!(VERIFICATION_AGE.name).set(age(figures.oldest_verification));
    let checks = &figures.checks;
    gauge!(CHECK_AGE.name).set(age(checks.oldest));
    let ratio = |part: u64, all: u64| if all == 0 { 1.0 } else { part as f64 / all as f64 };
    let (covered, all) = (&checks.covered, &checks.all);
    gauge!(COVERAGE.name, "of" => "packages").set(ratio(covered.packages, all.packages));
    gauge!(COVERAGE.name, "of" => "bytes").set(ratio(covered.bytes, all.bytes));
    gauge!(UNCHECKED.name).set(checks.never.packages as f64);
    gauge!(COLD.name).set(checks.cold_packages as f64);
    gauge!(NOTICES_PENDING.name).set(figures.notices_pending as f64);
    gauge!(NOTICE_AGE.name).set(age(figures.oldest_notice));
    gauge!(SUBMISSIONS_OPEN.name).set(figures.submissions_open as f64);
    gauge!(SUBMISSION_AGE.name).set(age(figures.oldest_submission));
    let (open, idle) = *connections;
    gauge!(CONNECTIONS.name, "state" => "used").set(f64::from(open.saturating_sub(idle)));
    gauge!(CONNECTIONS.name, "state" => "idle").set(f64::from(idle));
}
