//! A worker's hold on the step that it runs, as the step sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::db::steps::Worked;

/// Whether a step that runs is still this worker's to do, and how far it is with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hold {
    state: Arc<AtomicU8>,
    worked: Arc<(AtomicU64, AtomicU64)>,
}

const HELD: u8 = 0;
const STOPPED: u8 = 1;
const LOST: u8 = 2;

impl Hold {
    /// Whether the work is to be dropped, for whatever reason.
    pub(crate) fn is_over(&self) -> bool {
        self.state.load(Ordering::Relaxed) != HELD
    }

    /// Whether the lease went to somebody else, or the order has ended.
    pub(crate) fn is_lost(&self) -> bool {
        self.state.load(Ordering::Relaxed) == LOST
    }

    /// The worker is to stop: the step is to be handed back.
    pub(crate) fn stop(&self) {
        self.end(STOPPED);
    }

    /// The lease is lost. That stays so, whatever else is said.
    pub(crate) fn lose(&self) {
        self.end(LOST);
    }

    /// Notes how far the work is. It is put on record when the lease is renewed.
    pub(crate) fn note(&self, worked: Worked) {
        let (done, all) = self.worked.as_ref();
        all.store(worked.all_bytes, Ordering::Relaxed);
        done.store(worked.done_bytes.min(worked.all_bytes), Ordering::Relaxed);
    }

    /// How far the work is.
    pub(crate) fn worked(&self) -> Worked {
        let (done, all) = self.worked.as_ref();
        Worked { done_bytes: done.load(Ordering::Relaxed), all_bytes: all.load(Ordering::Relaxed) }
    }

    fn end(&self, state: u8) {
        self.state.fetch_max(state, Ordering::Relaxed);
    }
}
