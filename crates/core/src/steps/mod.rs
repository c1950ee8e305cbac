//! The steps of an order, one file each. A step may be repeated after a crash at any point; what it publishes, it
//! publishes in the one transaction that also ends it, past the fence.

mod admit;
mod check;
mod delete;
mod destination;
mod insist;
mod prepare;
pub(crate) mod pull;
mod recall;

use std::sync::Arc;

use crate::db::DatabaseError;
use crate::db::orders::Failure;
use crate::db::steps::{Lease, StepKind};
use crate::hold::Hold;
use crate::installation::Installation;
use crate::order::Signal;
use crate::progress::ProgressError;
use crate::sentence::sentence;

pub(crate) use delete::is_another;

/// Why a step did not do its work.
#[derive(Debug)]
pub(crate) enum StepError {
    /// It may go better another time.
    Passing(String),
    /// Something that the step needs is away. It is tried again until that is back, however often.
    Away(String),
    /// As [`StepError::Away`], of a partner that may stay away for long.
    Unreachable(String),
    /// It will not: the order ends with this signal and reason, and the package is marked if it is damaged.
    Final { signal: Signal, failure: Failure, damage: Option<String> },
    /// Content that is needed is in an archive class, and must be recalled first.
    Archived,
    /// Somebody else holds the step now, or the order has ended.
    Lost,
    /// The worker is to stop: the step is handed back.
    Stopped,
}

impl From<DatabaseError> for StepError {
    fn from(error: DatabaseError) -> StepError {
        StepError::Passing(error.to_string())
    }
}

impl From<ProgressError> for StepError {
    fn from(error: ProgressError) -> StepError {
        match error {
            ProgressError::Database(error) => error.into(),
            ProgressError::Refused(_) | ProgressError::Overtaken(_) => StepError::Lost,
        }
    }
}

/// Does one claimed step to its end.
pub(crate) async fn run(installation: &Arc<Installation>, lease: &Lease, hold: &Hold) -> Result<(), StepError> {
    match lease.kind {
        StepKind::Admit => admit::run(installation, lease).await,
        StepKind::Recall => match recall::run(installation, lease, hold).await {
            Err(StepError::Archived) => Err(StepError::Passing(sentence!("an inventory went back into cold storage"))),
            done => done,
        },
        StepKind::Prepare => match prepare::run(installation, lease, hold).await {
            Err(StepError::Archived) => recall::begin_again(installation, lease).await,
            done => done,
        },
        StepKind::Pull => pull::run(installation, lease, hold).await,
        StepKind::Check => check::run(installation, lease, hold).await,
        StepKind::Delete => delete::run(installation, lease, hold).await,
    }
}
