//! What to do after a crash, or about one: unfinished changes of the storage root are finished, and the catalogue
//! is told of versions that it has not heard of.

use std::sync::Arc;
use std::time::Duration;

use dipper_archive::ocfl;
use tracing::{info, warn};

use crate::db::{DatabaseError, ingests};
use crate::index;
use crate::installation::Installation;
use crate::register;

/// Drafts that nobody went on with are removed after this time.
const DRAFTS_KEPT: Duration = Duration::from_secs(14 * 24 * 3600);
/// A note of an ingest that came to nothing is removed after this time.
const NOTES_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Why the recovery could not be finished. Running it again is safe.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The storage root failed.
    #[error("an interrupted change of the storage root could not be finished: {0}")]
    Archive(#[from] ocfl::Error),
    /// The catalogue failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The recovery itself ended.
    #[error("the recovery was interrupted: {0}")]
    Interrupted(String),
}

/// Finishes what a crash left, of this process or of another. Changes that living processes make are left alone.
pub async fn recover(installation: &Arc<Installation>) -> Result<(), RecoveryError> {
    let archive = Arc::clone(&installation.archive);
    let recovering = tokio::task::spawn_blocking(move || archive.recover(Some(DRAFTS_KEPT))).await;
    let recovered = recovering.map_err(|error| RecoveryError::Interrupted(error.to_string()))??;
    for object in &recovered {
        info!(ocfl_id = %object.id, path = %object.path, outcome = ?object.outcome, "an interrupted change was finished");
    }
    for (ocfl_id, started) in ingests::list(&installation.database).await? {
        let age = installation.clock.now().since(started);
        reconcile(installation, ocfl_id, age > NOTES_KEPT).await?;
    }
    Ok(())
}

/// Writes the record of an object that was about to change, as the storage root has it now.
async fn reconcile(installation: &Arc<Installation>, ocfl_id: String, forget: bool) -> Result<(), RecoveryError> {
    let now = installation.clock.now();
    let (context, id) = (Arc::clone(installation), ocfl_id.clone());
    let describing = tokio::task::spawn_blocking(move || match context.archive.object(&id) {
        Ok(object) => register::describe(&object, None, now),
        Err(ocfl::Error::NoSuchObject { .. }) => Ok(None),
        Err(error) => Err(error),
    });
    let described = describing.await.map_err(|error| RecoveryError::Interrupted(error.to_string()))?;
    let mut transaction = installation.database.begin().await?;
    match described {
        Ok(Some((package, versions))) => {
            index::put(&mut transaction, package, &versions, "package ingested", now).await?;
        }
        Ok(None) => {}
        // A fixity check will tell; other objects are not held up by it.
        Err(error) => warn!(%ocfl_id, %error, "an object could not be read"),
    }
    if forget {
        ingests::end(&mut transaction, &ocfl_id).await?;
    }
    transaction.commit().await?;
    Ok(())
}
