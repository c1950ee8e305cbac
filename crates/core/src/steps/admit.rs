//! Takes a received order into the queue.

use crate::db::orders;
use crate::db::steps::{self, Lease, StepEnd};
use crate::installation::Installation;
use crate::order::Signal;
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
    progress::advance(&mut transaction, &mut order, Signal::Admitted, None, now, &installation.settings).await?;
    transaction.commit().await?;
    installation.wake_workers();
    Ok(())
}
