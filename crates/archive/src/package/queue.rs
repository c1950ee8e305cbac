//! The order of work while a package is prepared: jobs are handed out in the order of the package, their results
//! are taken in the same order, and what lies between the two is bounded in bytes.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::layout::Layout;
use super::prepare::PrepareError;

/// A piece of the package on its way from a worker to the checksum. The content digest may share it.
pub(super) type Bytes = Arc<Vec<u8>>;

/// Files up to this size are read whole by one worker; larger ones go through in chunks.
const WHOLE_FILE_BYTES: u64 = 4 << 20;

/// Small files are read together up to this size and number, so that handing over costs little.
const GROUP_BYTES: u64 = 256 << 10;
const GROUP_FILES: usize = 64;

/// How many bytes may be read but not yet taken, over all workers.
const AHEAD_BYTES: u64 = 32 << 20;

/// How many chunks of a large file wait for the checksum, and how large they are.
const CHUNKS_AHEAD: usize = 8;
pub(super) const CHUNK_BYTES: u64 = 256 << 10;

/// Some consecutive pieces of the package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// What lies there is made by the layout.
    Made(Range<u64>),
    /// Contents that are read whole, with their headers.
    Files(Range<usize>),
    /// One large content, with its header.
    Large(usize),
}

/// A job's results, as the checksum takes them.
pub(super) struct Ready {
    pub(super) pieces: Receiver<Bytes>,
    /// Where the job's last byte lies in the package.
    pub(super) end: u64,
    pub(super) files: usize,
    weight: u64,
}

pub(super) struct Queue<'a> {
    pub(super) layout: &'a Layout,
    group_files: usize,
    state: Mutex<State>,
    changed: Condvar,
    stopped: AtomicBool,
    failure: Mutex<Option<PrepareError>>,
}

/// Stops a queue when it goes out of scope, also by a panic of the caller's sink.
pub(super) struct StopAtEnd<'a>(pub(super) &'a Queue<'a>);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct State {
    /// Where the next job begins.
    next: u64,
    next_file: usize,
    ahead: u64,
    ready: VecDeque<Ready>,
}

impl<'a> Queue<'a> {
    /// A queue over a layout. Where each file waits for a network, small ones are not read in groups: that one after
    /// the other is what takes the time.
    pub(super) fn new(layout: &'a Layout, waits: bool) -> Queue<'a> {
        Queue {
            layout,
            group_files: if waits { 1 } else { GROUP_FILES },
            state: Mutex::new(State { next: 0, next_file: 0, ahead: 0, ready: VecDeque::new() }),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    /// The next job, once there is room for its bytes; `None` when there are no more or the queue was stopped.
    pub(super) fn take(&self) -> Option<(Job, SyncSender<Bytes>)> {
        let mut state = self.lock();
        loop {
            if self.is_stopped() {
                return None;
            }
            let (job, end, files) = self.job_at(&state)?;
            let weight = match job {
                Job::Large(_) => CHUNK_BYTES * 2 * CHUNKS_AHEAD as u64,
                _ => end - state.next,
            };
            if state.ahead > 0 && state.ahead + weight > AHEAD_BYTES {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (sender, pieces) = sync_channel(CHUNKS_AHEAD);
            state.next = end;
            state.next_file += files;
            state.ahead += weight;
            state.ready.push_back(Ready { pieces, end, files, weight });
            self.changed.notify_all();
            return Some((job, sender));
        }
    }

    /// The results of the job after the last one; `None` when there are no more or the queue was stopped.
    pub(super) fn ready(&self) -> Option<Ready> {
        let mut state = self.lock();
        loop {
            if self.is_stopped() {
                return None;
            }
            if let Some(ready) = state.ready.pop_front() {
                return Some(ready);
            }
            if state.next >= self.layout.len() && state.next_file >= self.layout.contents().len() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives back the room of a job whose results were taken.
    pub(super) fn done(&self, ready: &Ready) {
        self.lock().ahead -= ready.weight;
        self.changed.notify_all();
    }

    /// Stops all work because of `failure`; the first failure is the one that counts.
    pub(super) fn fail(&self, failure: PrepareError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        self.stop();
    }

    /// Stops all work: nobody gets a job any more, and nobody is left waiting.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        self.stopped.store(true, Ordering::Release);
        // A worker that waits for its pieces to be taken learns by this that nobody will.
        state.ready.clear();
        self.changed.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(super) fn into_failure(self) -> Option<PrepareError> {
        self.failure.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job that begins where the last one ended, with its end and its number of files.
    fn job_at(&self, state: &State) -> Option<(Job, u64, usize)> {
        let layout = self.layout;
        let (start, first) = (state.next, state.next_file);
        if start < layout.front_len() {
            let end = layout.front_len().min(layout.locate(start)?.end);
            return Some((Job::Made(start..end), end, 0));
        }
        let Some(content) = layout.contents().get(first) else {
            return (start < layout.len()).then(|| (Job::Made(start..layout.len()), layout.len(), 0));
        };
        if content.size > WHOLE_FILE_BYTES {
            return Some((Job::Large(first), layout.start(first + 1), 1));
        }
        let mut files = 1;
        while files < self.group_files
            && first + files < layout.contents().len()
            && layout.start(first + files + 1) - start <= GROUP_BYTES
        {
            files += 1;
        }
        Some((Job::Files(first..first + files), layout.start(first + files), files))
    }
}
