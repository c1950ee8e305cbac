//! Takes a received order into the queue. What may lie in an archive class is recalled from here on, while the order waits
//! for its turn.

use crate::db::orders::{self, OrderKind};
use crate::db::steps::{self, Lease, StepEnd, StepKind};
use crate::installation::Installation;
use crate::order::{Signal, Transition};
use crate::progress;
use crate::steps::StepError;

pub(super) async fn run(installation: &Installation, lease: &Lease) -> Result<(), StepError> {
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let Some(mut order) = orders::get_locked(&mut transaction, &lease.order_id).await? else {
        return Err(StepError::Lost);
    };
    if !steps::end(&mut transaction, lease, StepEnd::Done, now).await? {
        return Err(StepError::Lost);
    }
    let settings = &installation.settings;
    let step = progress::advance(&mut transaction, &mut order, Signal::Admitted, None, now, settings).await?;
    if let Transition::To(_) = step {
        let is_cold = installation.archive.storage().has_archive_classes();
        let next = match order.kind {
            OrderKind::Dissemination if is_cold => StepKind::Recall,
            OrderKind::Dissemination => StepKind::Prepare,
            OrderKind::Deposit => StepKind::Pull,
            OrderKind::Restore => StepKind::Check,
            OrderKind::Deletion => StepKind::Delete,
        };
        steps::insert(&mut transaction, &order, next, settings.ageing, now).await?;
    }
    transaction.commit().await?;
    installation.wake_workers();
    Ok(())
}
