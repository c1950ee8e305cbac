//! Waking: how whoever makes work ready tells those who wait for it, in this process and in others, and how all of them
//! go by one clock.
//!
//! Nothing rests on a message: whoever waits looks by himself after a while. So messages may be lost, and a burst of
//! them becomes one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::db::{Database, DatabaseError, Listener};
use crate::ids;
use crate::installation::Installation;

/// How long after one message to other processes the next one is sent.
const SETTLE: Duration = Duration::from_millis(20);
/// How often the clock is set, and how long a listener may hear nothing before it asks whether it is still connected.
const MINUTE: Duration = Duration::from_secs(60);
/// The waits between two attempts to listen.
const RETRY: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// What wakes those who work for an installation.
#[derive(Debug)]
pub(crate) struct Bells {
    pub(crate) steps: Bell,
    pub(crate) notices: Bell,
    pub(crate) incoming: Bell,
    pub(crate) mails: Bell,
    pub(crate) checks: Bell,
    rung: Arc<Notify>,
    /// Tells the messages of this process from those of others.
    name: String,
}

/// What wakes one kind of waiting.
#[derive(Debug)]
pub(crate) struct Bell {
    kind: &'static str,
    here: Notify,
    for_others: AtomicBool,
    rung: Arc<Notify>,
}

impl Default for Bells {
    fn default() -> Bells {
        let rung = Arc::new(Notify::new());
        let bell = |kind| Bell { kind, here: Notify::new(), for_others: AtomicBool::new(false), rung: rung.clone() };
        Bells {
            steps: bell("steps"),
            notices: bell("notices"),
            incoming: bell("incoming"),
            mails: bell("mails"),
            checks: bell("checks"),
            rung,
            name: ids::new_id(),
        }
    }
}

impl Bell {
    /// Wakes one who waits here, and soon others elsewhere.
    pub(crate) fn ring(&self) {
        self.ring_here();
        self.for_others.store(true, Ordering::Release);
        self.rung.notify_one();
    }

    /// Wakes one who waits in this process.
    pub(crate) fn ring_here(&self) {
        self.here.notify_one();
    }

    /// Waits for the bell, but not longer than that.
    pub(crate) async fn wait(&self, longest: Duration) {
        // Whether it rang or the time is over, whoever waited looks.
        let _ = tokio::time::timeout(longest, self.here.notified()).await;
    }
}

impl Bells {
    fn all(&self) -> [&Bell; 5] {
        [&self.steps, &self.notices, &self.incoming, &self.mails, &self.checks]
    }

    /// Tells other processes what was rung since the last time.
    async fn tell(&self, database: &Database) -> Result<(), DatabaseError> {
        for bell in self.all() {
            if bell.for_others.swap(false, Ordering::Acquire) {
                database.announce(&format!("{} {}", bell.kind, self.name)).await?;
            }
        }
        Ok(())
    }

    /// Takes what another process told.
    fn hear(&self, message: &str) {
        let Some((kind, name)) = message.split_once(' ') else {
            return;
        };
        let bell = self.all().into_iter().find(|bell| bell.kind == kind);
        if let Some(bell) = bell.filter(|_| name != self.name) {
            bell.ring_here();
        }
    }
}

/// Tells the other processes of an installation now what this one made ready: for a program that ends soon.
pub async fn tell_others(installation: &Installation) {
    if let Err(error) = installation.bells.tell(&installation.database).await {
        debug!(%error, "other processes were not told; they look by themselves");
    }
}

/// Tells other processes, listens to them and keeps the clock right until it is told to stop. Every process that stays
/// runs this beside its workers, notifiers and listeners.
pub async fn run(installation: Arc<Installation>, stop: CancellationToken) {
    if !installation.database.is_shared() {
        return stop.cancelled().await;
    }
    let beside = async { tokio::join!(announce(&installation), listen(&installation), keep_time(&installation)) };
    tokio::select! {
        () = stop.cancelled() => {}
        _ = beside => {}
    }
    tell_others(&installation).await;
}

async fn announce(installation: &Installation) {
    loop {
        installation.bells.rung.notified().await;
        tell_others(installation).await;
        tokio::time::sleep(SETTLE).await;
    }
}

async fn keep_time(installation: &Installation) {
    loop {
        tokio::time::sleep(MINUTE).await;
        set_clock(installation).await;
    }
}

async fn set_clock(installation: &Installation) {
    if let Err(error) = installation.clock.follow(&installation.database).await {
        debug!(%error, "the database did not tell the time");
    }
}

async fn listen(installation: &Installation) {
    let mut wait = RETRY;
    loop {
        match installation.database.listen().await {
            Ok(Some(listener)) => {
                info!("listening for other processes");
                // It may be another server now, and nobody heard what was told meanwhile.
                set_clock(installation).await;
                installation.bells.all().into_iter().for_each(Bell::ring_here);
                wait = RETRY;
                let error = hear(installation, listener).await;
                warn!(%error, "the connection on which other processes are heard was lost");
            }
            Ok(None) => return,
            Err(error) => warn!(%error, "other processes cannot be heard"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_LONGEST);
    }
}

/// Listens until the connection is lost.
async fn hear(installation: &Installation, mut listener: Listener) -> DatabaseError {
    loop {
        match tokio::time::timeout(MINUTE, listener.next()).await {
            Ok(Ok(message)) => installation.bells.hear(&message),
            Ok(Err(error)) => return error,
            // A connection that a machine in between has forgotten is silent too.
            Err(_) => match tokio::time::timeout(MINUTE, listener.check()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(_) => return DatabaseError::Silent,
            },
        }
    }
}
