//! The verifying read of a package: every content byte once, every file against its digest and size, the whole
//! stream into the checksum that will be promised, on all cores and in flat memory.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;

use super::checkpoints::{Checkpoints, Recorder};
use super::layout::Layout;
use super::queue::{Queue, StopAtEnd};
use super::raw::SourceError;
use super::work::work;
use crate::digest::{Algorithm, Digest};
use crate::meter;
use crate::storage::{self, Storage, is_archived};

/// How a package is prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The algorithm of the checksum over the whole package: MD5, SHA-1 or one of the SHA-2 family.
    pub checksum: Algorithm,
    /// The distance of checkpoints in bytes, a power of two of at least 1 MiB. A reader holds that many bytes in
    /// memory. By default it is as small as keeps their number below 65,536.
    pub checkpoint_interval: Option<u64>,
    /// The number of threads that read and digest files; by default one for each core, or as many as the storage should
    /// read with.
    pub threads: Option<NonZeroUsize>,
}

impl Options {
    /// The defaults, with that checksum.
    pub fn new(checksum: Algorithm) -> Options {
        Options { checksum, checkpoint_interval: None, threads: None }
    }
}

/// How far a preparation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the package that went into the checksum and the sink.
    pub bytes: u64,
    /// The length of the package.
    pub bytes_total: u64,
    /// Files that were read and found right.
    pub files: u64,
    /// The number of files.
    pub files_total: u64,
}

/// How the caller follows a preparation, and stops it.
#[derive(Default)]
pub struct Control<'a> {
    /// Called after each piece, on the calling thread.
    pub progress: Option<&'a mut dyn FnMut(Progress)>,
    /// Asked before each piece, on the calling thread; `true` stops the preparation.
    pub cancelled: Option<&'a dyn Fn() -> bool>,
}

impl fmt::Debug for Control<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Control").finish_non_exhaustive()
    }
}

/// What a preparation found: the promise that later reads are held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The length of the package in bytes.
    pub len: u64,
    /// The checksum of the whole package.
    pub checksum: Digest,
    /// The checkpoints of that checksum, for [`VerifiedReader`](super::VerifiedReader).
    pub checkpoints: Checkpoints,
}

/// Why a package is not handed out.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The content of a file has not the digest that was recorded.
    #[error("{logical_path:?} is damaged: its digest should be {expected}, but is {found}")]
    Fixity {
        /// The logical path.
        logical_path: String,
        /// The digest that was recorded.
        expected: Box<Digest>,
        /// The digest of what the storage holds.
        found: Box<Digest>,
    },
    /// A file is missing, has another size, or cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The options name a checksum without checkpoints, or an interval that is none.
    #[error(
        "{checksum} with checkpoints every {interval:?} bytes is not possible: \
         use md5 or a SHA algorithm, and a power of two of at least 1 MiB"
    )]
    Options {
        /// The checksum that was asked for.
        checksum: Algorithm,
        /// The interval that was asked for.
        interval: Option<u64>,
    },
    /// The caller stopped the preparation.
    #[error("the preparation was cancelled")]
    Cancelled,
    /// The sink failed.
    #[error("the package could not be passed on: {0}")]
    Sink(#[source] io::Error),
    /// A worker ended without a result, which is a defect of this program.
    #[error("the preparation ended after {position} of {len} bytes")]
    Interrupted {
        /// How far it came.
        position: u64,
        /// The length of the package.
        len: u64,
    },
}

impl PrepareError {
    /// Whether the same preparation may succeed when it is tried again, with nothing repaired.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            PrepareError::Source(SourceError::Io { .. }) | PrepareError::Sink(_) | PrepareError::Interrupted { .. }
        )
    }
}

impl PrepareError {
    /// Whether a file is in an archive class: it must be recalled, and the same preparation succeeds afterwards.
    pub fn is_archived(&self) -> bool {
        matches!(self, PrepareError::Source(SourceError::Io { source, .. }) if is_archived(source))
    }
}

/// Takes the bytes of a package in order, a piece at a time.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// Reads and verifies a whole package, and passes it to `sink` if there is one.
///
/// The sink gets bytes before the last file was verified, so what it builds must stay invisible until this returns
/// `Ok`. Once a mismatch is known it gets no more. The first problem that is found ends the preparation.
pub fn prepare(
    layout: &Layout,
    storage: &dyn Storage,
    options: &Options,
    control: Control<'_>,
    sink: Option<Sink<'_>>,
) -> Result<Prepared, PrepareError> {
    let recorder = Recorder::new(options.checksum, options.checkpoint_interval, layout.len());
    let Some(recorder) = recorder else {
        return Err(PrepareError::Options { checksum: options.checksum, interval: options.checkpoint_interval });
    };
    let threads = options.threads.map_or_else(|| storage::threads(storage), NonZeroUsize::get);
    let queue = Queue::new(layout, storage.reads_at_once().is_some());
    let recorder = std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&queue, storage));
        }
        // However the taking ends, no worker may go on waiting for it.
        let _stop = StopAtEnd(&queue);
        take_in_order(&queue, recorder, control, sink)
    });
    let recorder = match (queue.into_failure(), recorder) {
        (Some(failure), _) | (None, Err(failure)) => return Err(failure),
        (None, Ok(recorder)) => recorder,
    };
    if recorder.position() != layout.len() {
        return Err(PrepareError::Interrupted { position: recorder.position(), len: layout.len() });
    }
    let checkpoints = recorder.finish();
    Ok(Prepared { len: checkpoints.len(), checksum: checkpoints.checksum(), checkpoints })
}

/// Takes what the workers read in the order of the package, into the checksum and the sink.
fn take_in_order(
    queue: &Queue<'_>,
    mut recorder: Recorder,
    mut control: Control<'_>,
    mut sink: Option<Sink<'_>>,
) -> Result<Recorder, PrepareError> {
    let mut progress = Progress {
        bytes_total: queue.layout.len(),
        files_total: queue.layout.contents().len() as u64,
        ..Progress::default()
    };
    while let Some(ready) = queue.ready() {
        let start = recorder.position();
        for piece in &ready.pieces {
            if control.cancelled.is_some_and(|cancelled| cancelled()) {
                return Err(PrepareError::Cancelled);
            }
            recorder.update(&piece);
            if queue.is_stopped() {
                return Ok(recorder);
            }
            if let Some(sink) = &mut sink {
                sink(&piece).map_err(PrepareError::Sink)?;
            }
            progress.bytes = recorder.position();
            if let Some(progressed) = &mut control.progress {
                progressed(progress);
            }
        }
        if recorder.position() != ready.end {
            // Its worker failed; why is in the queue.
            return Ok(recorder);
        }
        meter::hashed(ready.end - start);
        progress.files += ready.files as u64;
        queue.done(&ready);
    }
    if let Some(progressed) = &mut control.progress {
        progressed(progress);
    }
    Ok(recorder)
}
