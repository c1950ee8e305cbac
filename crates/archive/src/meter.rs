//! Figures of a running process: what they are called and mean, and those of this crate.
//!
//! Whoever wants to see them installs a recorder of the `metrics` facade; without one they cost next to nothing.

use std::io;
use std::time::{Duration, Instant};

use metrics::{Counter, Histogram, counter, gauge, histogram};

/// How a figure behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many observations fell below each of these bounds.
    Histogram(&'static [f64]),
}

/// One figure. Names follow the conventions of Prometheus: base units, and `_total` for what only grows.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// The names of its labels. No label ever tells of a contract, a client or a package.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

impl Metric {
    /// A figure that only grows.
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
        Metric { name, kind: Kind::Counter, labels, help }
    }

    /// A figure that goes up and down.
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
        Metric { name, kind: Kind::Gauge, labels, help }
    }

    /// Observations by size.
    pub const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        bounds: &'static [f64],
        help: &'static str,
    ) -> Metric {
        Metric { name, kind: Kind::Histogram(bounds), labels, help }
    }

    /// Tells the recorder what this figure means.
    pub fn describe(&self) {
        match self.kind {
            Kind::Counter => metrics::describe_counter!(self.name, self.help),
            Kind::Gauge => metrics::describe_gauge!(self.name, self.help),
            Kind::Histogram(_) => metrics::describe_histogram!(self.name, self.help),
        }
    }

    /// Makes the figure known with these values of its labels, in their order, before anything happens to it: a rate
    /// can be computed from the first event on then.
    pub fn begin(&self, values: &[&'static str]) {
        let labels: Vec<metrics::Label> = self
            .labels
            .iter()
            .zip(values)
            .map(|(name, value)| metrics::Label::from_static_parts(name, value))
            .collect();
        match self.kind {
            Kind::Counter => drop(counter!(self.name, labels)),
            Kind::Gauge => drop(gauge!(self.name, labels)),
            Kind::Histogram(_) => drop(histogram!(self.name, labels)),
        }
    }
}

/// Bounds for what takes from less than a millisecond to half a minute, in seconds.
pub const SHORT_SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

const HASHED_BYTES: Metric = Metric::counter(
    "dipper_hashed_bytes_total",
    &[],
    "Bytes that went into digests of contents and checksums of packages; a byte that goes into two counts twice.",
);

const STORAGE: Metric = Metric::histogram(
    "dipper_storage_duration_seconds",
    &["backend", "operation"],
    SHORT_SECONDS,
    "Time that the storage of the archive took for an operation; reading is told once a file, without what was done \
     between two reads.",
);
const STORAGE_ERRORS: Metric = Metric::counter(
    "dipper_storage_errors_total",
    &["backend", "operation"],
    "Operations of the storage of the archive that failed; what is not there, or is there already, is no failure.",
);
const STORAGE_BYTES: Metric = Metric::counter(
    "dipper_storage_read_bytes_total",
    &["backend"],
    "Bytes that were read from the storage of the archive.",
);

/// The figures of this crate.
pub const METRICS: &[Metric] = &[HASHED_BYTES, STORAGE, STORAGE_ERRORS, STORAGE_BYTES];

/// Makes this crate's figures known that do not wait for something to happen first.
pub fn begin() {
    HASHED_BYTES.begin(&[]);
}

/// Bytes went into digests.
pub(crate) fn hashed(bytes: u64) {
    counter!(HASHED_BYTES.name).increment(bytes);
}

/// Counts one operation of one storage. Its figures are looked up once, so that counting costs next to nothing.
#[derive(Clone)]
pub(crate) struct StorageMeter {
    duration: Histogram,
    errors: Counter,
    bytes: Counter,
}

impl std::fmt::Debug for StorageMeter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StorageMeter").finish_non_exhaustive()
    }
}

impl StorageMeter {
    pub(crate) fn new(backend: &'static str, operation: &'static str) -> StorageMeter {
        let labels = [("backend", backend), ("operation", operation)];
        StorageMeter {
            duration: histogram!(STORAGE.name, &labels),
            errors: counter!(STORAGE_ERRORS.name, &labels),
            bytes: counter!(STORAGE_BYTES.name, "backend" => backend),
        }
    }

    /// Takes the time of a call.
    pub(crate) fn time<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let began = Instant::now();
        let answer = call();
        self.took(began.elapsed());
        answer.inspect_err(|error| self.failed(error))
    }

    /// An operation took so long.
    pub(crate) fn took(&self, duration: Duration) {
        self.duration.record(duration);
    }

    /// An operation failed.
    pub(crate) fn failed(&self, error: &io::Error) {
        use io::ErrorKind::{AlreadyExists, Interrupted, NotADirectory, NotFound};
        if !matches!(error.kind(), AlreadyExists | Interrupted | NotADirectory | NotFound) {
            self.errors.increment(1);
        }
    }

    /// Bytes were read.
    pub(crate) fn bytes(&self, count: u64) {
        self.bytes.increment(count);
    }
}
