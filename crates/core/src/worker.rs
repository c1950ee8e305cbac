//! The worker: claims steps, keeps their leases alive while they run, and records how they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info, warn};

use crate::db::claims::{self, Claim, Claimed};
use crate::db::orders::{Failure, FailureCode};
use crate::db::steps::{Lease, StepEnd, StepKind, WaitsFor};
use crate::db::{DatabaseError, orders, steps};
use crate::fixity;
use crate::hold::Hold;
use crate::installation::{Installation, host_name};
use crate::meter::{self, StepOutcome};
use crate::order::Signal;
use crate::progress::{self, ProgressError};
use crate::sentence::sentence;
use crate::settings::backoff;
use crate::steps::{StepError, run as run_step};
use crate::trace;

/// Works on the steps of one installation.
#[derive(Clone, Debug)]
pub struct Worker {
    installation: Arc<Installation>,
    /// Host and process: every slot of this process adds its number.
    process: Arc<str>,
    room: Arc<Room>,
}

/// The bytes of the steps that this process works on.
#[derive(Debug, Default)]
struct Room {
    /// One slot claims at a time, so that what it may take is what it finds.
    claiming: tokio::sync::Mutex<()>,
    bytes: AtomicU64,
    /// The bytes of the steps that went before one for which there was no room, since the last that went in its turn.
    overtaken_bytes: AtomicU64,
}

/// A step of this process that takes room until it is dropped.
struct Seat<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Room {
    /// How many bytes another step may have. What is larger than the bound goes alone.
    fn left(&self, bound_bytes: u64) -> u64 {
        match self.bytes.load(Ordering::SeqCst) {
            0 => u64::MAX,
            _ if bound_bytes == 0 => u64::MAX,
            taken => bound_bytes.saturating_sub(taken),
        }
    }

    /// How many bytes a step may have that goes before one for which there is no room. All of them together have as many
    /// as the bound at the most, so that a large step waits for its room, but not for ever. What has no bytes takes no
    /// room, and may always go.
    fn left_for_overtaking(&self, bound_bytes: u64) -> u64 {
        bound_bytes.saturating_sub(self.overtaken_bytes.load(Ordering::SeqCst))
    }

    fn take_in_turn(&self, bytes: u64) -> Seat<'_> {
        self.overtaken_bytes.store(0, Ordering::SeqCst);
        self.take(bytes)
    }

    fn take_overtaking(&self, bytes: u64) -> Seat<'_> {
        self.overtaken_bytes.fetch_add(bytes, Ordering::SeqCst);
        self.take(bytes)
    }

    fn take(&self, bytes: u64) -> Seat<'_> {
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
        Seat { room: self, bytes }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.room.bytes.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

impl Worker {
    /// A worker that is known to other processes by host and process.
    pub fn new(installation: Arc<Installation>) -> Worker {
        let process = format!("{}:{}", host_name(), std::process::id()).into();
        Worker { installation, process, room: Arc::default() }
    }

    /// The installation that it works for.
    pub fn installation(&self) -> &Arc<Installation> {
        &self.installation
    }

    /// How it is called where it is told who holds which step: host and process. Each slot adds its number.
    pub fn name(&self) -> &str {
        &self.process
    }

    /// How many steps it works on at a time.
    pub fn slots(&self) -> u64 {
        self.installation.settings.worker_count.max(1) as u64
    }

    /// Works until it is told to stop. Steps that run then have until `deadline` after that to finish; what is
    /// not finished is handed back unharmed.
    pub async fn run(self, stop: CancellationToken, deadline: Duration) {
        let give_back = CancellationToken::new();
        let mut slots = JoinSet::new();
        let _slots = meter::slots(self.installation.settings.worker_count.max(1));
        for slot in 0..self.installation.settings.worker_count.max(1) {
            let (worker, stop, give_back) = (self.clone(), stop.clone(), give_back.clone());
            slots.spawn(async move { worker.slot(slot, stop, give_back).await });
        }
        stop.cancelled().await;
        if tokio::time::timeout(deadline, async { while slots.join_next().await.is_some() {} }).await.is_err() {
            give_back.cancel();
            while slots.join_next().await.is_some() {}
        }
    }

    async fn slot(&self, slot: usize, stop: CancellationToken, give_back: CancellationToken) {
        while !stop.is_cancelled() {
            match self.turn(slot, &give_back).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => warn!(slot, %error, "the queue could not be read"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.installation.steps_ready() => {}
            }
        }
    }

    /// Claims one step and does it to its end; `false` when there was none. Tests drive the worker by hand with it.
    pub async fn run_one(&self, give_back: &CancellationToken) -> Result<bool, DatabaseError> {
        self.turn(0, give_back).await
    }

    async fn turn(&self, slot: usize, give_back: &CancellationToken) -> Result<bool, DatabaseError> {
        let Some((lease, seat)) = self.claim(slot).await? else {
            return Ok(false);
        };
        // Several steps may have become ready at once, and each call wakes one slot.
        self.installation.wake_own_worker();
        let span = trace::step(&lease);
        self.work(lease, give_back).instrument(span).await;
        drop(seat);
        if self.installation.settings.shares.has_bounds() {
            // What its contract was kept from may be for another process.
            self.installation.wake_workers();
        }
        Ok(true)
    }

    async fn claim(&self, slot: usize) -> Result<Option<(Lease, Seat<'_>)>, DatabaseError> {
        let Installation { database, clock, settings, .. } = self.installation.as_ref();
        let _alone = self.room.claiming.lock().await;
        let now = clock.now();
        // Looking costs no lock.
        let outlook = claims::outlook(database, now).await?;
        if outlook.due {
            claims::sweep(database, now).await?;
        } else if !outlook.ready {
            if !outlook.held {
                claims::settle(database).await?;
            }
            return Ok(None);
        }
        let claim = Claim {
            holder: &format!("{}:{slot}", self.process),
            now,
            until: now.plus(settings.lease),
            room_bytes: self.room.left(settings.max_bytes_in_flight),
            overtaking_bytes: self.room.left_for_overtaking(settings.max_bytes_in_flight),
            shares: &settings.shares,
        };
        match claims::claim(database, &claim).await? {
            Claimed::Step(lease, bytes) => Ok(Some((lease, self.room.take_in_turn(bytes)))),
            Claimed::Overtaking(lease, bytes) => Ok(Some((lease, self.room.take_overtaking(bytes)))),
            Claimed::NoRoom | Claimed::Nothing => Ok(None),
        }
    }

    async fn work(&self, lease: Lease, give_back: &CancellationToken) {
        let settings = &self.installation.settings;
        let running = meter::step(lease.kind);
        // A step that was claimed too often without an end takes its workers down with it.
        let result = if lease.attempt > settings.max_attempts {
            let lost = sentence!("given up after {} attempts that ended without a result", lease.attempt - 1);
            Err(StepError::Passing(lost))
        } else {
            let hold = Hold::default();
            let step = run_step(&self.installation, &lease, &hold);
            tokio::pin!(step);
            tokio::select! {
                result = &mut step => result,
                () = self.keep(&lease, &hold, give_back) => step.await,
            }
        };
        running.ended(outcome(&result, lease.attempt < settings.max_attempts));
        if let Err(failure) = result {
            match self.end(&lease, failure).await {
                Ok(()) => {}
                // The lease runs out, and the step is claimed again.
                Err(failure) => error!(%failure, "the end of a step could not be recorded"),
            }
        }
    }

    /// Renews the lease until it is lost or the worker has to give the step back; tells the step through `hold`.
    async fn keep(&self, lease: &Lease, hold: &Hold, give_back: &CancellationToken) {
        let settings = &self.installation.settings;
        loop {
            tokio::select! {
                () = give_back.cancelled() => return hold.stop(),
                () = tokio::time::sleep(settings.heartbeat) => {}
            }
            match self.renew(lease, hold).await {
                Ok(true) => {}
                Ok(false) => return hold.lose(),
                // The fence decides in the end; until then the work may still be worth doing.
                Err(error) => warn!(%error, "the lease could not be renewed"),
            }
        }
    }

    async fn renew(&self, lease: &Lease, hold: &Hold) -> Result<bool, DatabaseError> {
        let until = self.installation.clock.now().plus(self.installation.settings.lease);
        let mut transaction = self.installation.database.begin().await?;
        let held = steps::renew(&mut transaction, lease, until, hold.worked()).await?;
        transaction.commit().await?;
        Ok(held)
    }

    /// Records a step that did not do its work.
    async fn end(&self, lease: &Lease, failure: StepError) -> Result<(), DatabaseError> {
        let settings = &self.installation.settings;
        let now = self.installation.clock.now();
        let (pause, waits_for) = match failure {
            StepError::Unreachable(_) => (settings.deposit.pause, WaitsFor::Gateway),
            _ => (settings.store_pause, WaitsFor::Storage),
        };
        match failure {
            StepError::Lost => {
                info!("the step was lost to another worker, or its order has ended");
                Ok(())
            }
            StepError::Stopped | StepError::Archived => self.end_step(lease, StepEnd::HandedBack).await,
            StepError::Away(reason) | StepError::Unreachable(reason) => {
                let wait = pause;
                warn!(%reason, wait_seconds = wait.as_secs(), "the step waits for what is away");
                self.end_step(lease, StepEnd::Postponed(now.plus(wait), waits_for, reason)).await
            }
            StepError::Passing(reason) if lease.attempt < settings.max_attempts => {
                let wait = backoff(settings.backoff, settings.max_backoff, lease.attempt);
                warn!(%reason, wait_seconds = wait.as_secs(), "the step failed and is tried again");
                self.end_step(lease, StepEnd::Later(now.plus(wait), reason)).await
            }
            StepError::Passing(reason) => {
                error!(%reason, "the step failed for the last time");
                let message = match lease.kind {
                    StepKind::Recall => sentence!(
                        "The package lies in cold storage, and could not be brought back. The archive has been told."
                    ),
                    StepKind::Pull => {
                        sentence!("The files could not be fetched and stored. The archive has been told.")
                    }
                    StepKind::Admit | StepKind::Prepare | StepKind::Check | StepKind::Delete => {
                        sentence!("The order could not be carried out. The archive has been told.")
                    }
                };
                let failure = Failure { code: FailureCode::System, message };
                self.end_order(lease, Signal::Failed, failure, None, StepEnd::Dead(reason)).await
            }
            StepError::Final { signal, failure, damage } => {
                warn!(reason = %failure.message, "the order comes to no good end");
                let end = StepEnd::Dead(failure.message.clone());
                self.end_order(lease, signal, failure, damage, end).await
            }
        }
    }

    async fn end_step(&self, lease: &Lease, end: StepEnd) -> Result<(), DatabaseError> {
        let mut transaction = self.installation.database.begin().await?;
        steps::end(&mut transaction, lease, end, self.installation.clock.now()).await?;
        transaction.commit().await?;
        self.installation.wake_workers();
        Ok(())
    }

    async fn end_order(
        &self,
        lease: &Lease,
        signal: Signal,
        failure: Failure,
        damage: Option<String>,
        end: StepEnd,
    ) -> Result<(), DatabaseError> {
        let installation = &self.installation;
        let now = installation.clock.now();
        let mut transaction = installation.database.begin().await?;
        let Some(mut order) = orders::get_locked(&mut transaction, &lease.order_id).await? else {
            return Ok(());
        };
        if !steps::end(&mut transaction, lease, end, now).await? {
            return Ok(());
        }
        if let Some(reason) = damage.filter(|_| !order.package_id.is_empty()) {
            fixity::damage(&mut transaction, &order.package_id, &reason, now).await?;
        }
        let settings = &installation.settings;
        match progress::advance(&mut transaction, &mut order, signal, Some(failure), now, settings).await {
            Ok(_) => {}
            // It ended in another way meanwhile, which stands.
            Err(ProgressError::Refused(_) | ProgressError::Overtaken(_)) => return Ok(()),
            Err(ProgressError::Database(error)) => return Err(error),
        }
        transaction.commit().await?;
        trace::order_ended(&order);
        installation.wake_notifier();
        Ok(())
    }
}

fn outcome(result: &Result<(), StepError>, may_repeat: bool) -> StepOutcome {
    match result {
        Ok(()) => StepOutcome::Done,
        Err(StepError::Away(_) | StepError::Unreachable(_)) => StepOutcome::Later,
        Err(StepError::Passing(_)) if may_repeat => StepOutcome::Later,
        Err(StepError::Passing(_) | StepError::Final { .. }) => StepOutcome::Dead,
        Err(StepError::Stopped | StepError::Archived) => StepOutcome::HandedBack,
        Err(StepError::Lost) => StepOutcome::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_what_others_leave_and_a_large_step_goes_alone() {
        let room = Room::default();
        assert_eq!((room.left(100), room.left(0)), (u64::MAX, u64::MAX));
        let one = room.take(60);
        assert_eq!((room.left(100), room.left(0)), (40, u64::MAX));
        let large = room.take(500);
        assert_eq!(room.left(100), 0);
        drop(one);
        assert_eq!(room.left(100), 0);
        drop(large);
        assert_eq!(room.left(100), u64::MAX);
    }

    #[test]
    fn as_many_bytes_as_the_bound_overtake_and_then_the_next_has_its_turn() {
        let room = Room::default();
        assert_eq!(room.left_for_overtaking(100), 100);
        for left in [60, 20] {
            drop(room.take_overtaking(40));
            assert_eq!(room.left_for_overtaking(100), left);
        }
        drop(room.take_overtaking(0));
        drop(room.take_overtaking(30));
        assert_eq!(room.left_for_overtaking(100), 0);
        drop(room.take_in_turn(500));
        assert_eq!(room.left_for_overtaking(100), 100);
    }
}
