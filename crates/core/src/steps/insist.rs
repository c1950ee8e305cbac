//! Patience with a catalogue that is away for a moment: what a step has computed for hours is not thrown away because the
//! database was restarted just then.

use std::time::{Duration, Instant};

use tracing::warn;

use crate::db::DatabaseError;
use crate::hold::Hold;
use crate::installation::Installation;
use crate::progress::ProgressError;
use crate::settings::backoff;
use crate::steps::StepError;

/// The waits between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// Why a transaction of a step did not come about.
#[derive(Debug)]
pub(super) enum Failed {
    /// The database is away, or busy. Nobody knows whether the transaction took place.
    Away(DatabaseError),
    /// Trying again at once does not help.
    Step(StepError),
}

impl From<DatabaseError> for Failed {
    fn from(error: DatabaseError) -> Failed {
        if error.is_busy() { Failed::Away(error) } else { Failed::Step(error.into()) }
    }
}

impl From<ProgressError> for Failed {
    fn from(error: ProgressError) -> Failed {
        match error {
            ProgressError::Database(error) => error.into(),
            error => Failed::Step(error.into()),
        }
    }
}

impl From<StepError> for Failed {
    fn from(error: StepError) -> Failed {
        Failed::Step(error)
    }
}

/// Tries a transaction again until the database has taken it, for as long as the lease may hold without having been
/// renewed. The transaction must find out by itself that an earlier attempt took place after all.
pub(super) struct Insistence<'a> {
    hold: &'a Hold,
    began: Instant,
    longest: Duration,
    failures: i64,
}

impl<'a> Insistence<'a> {
    pub(super) fn new(installation: &Installation, hold: &'a Hold) -> Insistence<'a> {
        Insistence { hold, began: Instant::now(), longest: installation.settings.lease, failures: 0 }
    }

    /// Waits until the transaction is to be tried again. An error says that it is not.
    pub(super) async fn wait(&mut self, failed: Failed) -> Result<(), StepError> {
        let error = match failed {
            Failed::Away(error) => error,
            Failed::Step(error) => return Err(error),
        };
        if self.hold.is_lost() {
            return Err(StepError::Lost);
        }
        self.failures += 1;
        let pause = backoff(PAUSE, PAUSE_LONGEST, self.failures);
        // Past that time another worker does the step again anyway.
        if self.hold.is_over() || self.began.elapsed() + pause >= self.longest {
            return Err(error.into());
        }
        warn!(%error, failures = self.failures, "the catalogue did not take what the step had to say, and is asked again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
