//! What to do after a crash, or about one: unfinished changes of the storage root are finished, and the catalogue
//! is told of versions that it has not heard of.

use std::sync::Arc;
use std::time::Duration;

use dipper_archive::ocfl;
use tracing::{info, warn};

use crate::db::events::EventKind;
use crate::db::ingests::{self, Note};
use crate::db::{DatabaseError, deletions};
use crate::ids;
use crate::index;
use crate::installation::Installation;
use crate::register::{self, Described};

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
    for note in ingests::list(&installation.database).await? {
        let now = installation.clock.now();
        // Another machine is at work, or was a moment ago.
        let is_held = now < note.lease_until;
        if is_held && note.holder != installation.holder {
            continue;
        }
        let forget = !is_held && now.since(note.started) > NOTES_KEPT && now.since(note.lease_until) > NOTES_KEPT;
        reconcile(installation, note, forget).await?;
    }
    Ok(())
}

/// Writes the record of an object that was about to change, as the storage root has it now.
async fn reconcile(installation: &Arc<Installation>, note: Note, forget: bool) -> Result<(), RecoveryError> {
    let now = installation.clock.now();
    let (context, ocfl_id) = (Arc::clone(installation), note.ocfl_id.clone());
    let describing = tokio::task::spawn_blocking(move || look(&context, &ocfl_id, forget));
    let described = describing.await.map_err(|error| RecoveryError::Interrupted(error.to_string()))?;
    let mut transaction = installation.database.begin().await?;
    // What a deletion has begun it goes on with itself, and records then.
    if deletions::is_under_way(&mut transaction, &ids::package_id(&note.ocfl_id)).await? {
        return Ok(());
    }
    match described {
        Ok(Some(described)) => {
            index::put(&mut transaction, described, EventKind::PackageIngested, now).await?;
        }
        Ok(None) => {}
        // A fixity check will tell; other objects are not held up by it.
        Err(error) => warn!(ocfl_id = %note.ocfl_id, %error, "an object could not be read"),
    }
    if !ingests::is_noted(&mut transaction, &note.ocfl_id).await? {
        // Its writer has told the catalogue meanwhile, and knows better than what was looked at before.
        return Ok(());
    }
    if forget {
        ingests::forget(&mut transaction, &note).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// What became of an object, after what its last writer began was brought to an end as far as that is possible; with
/// `tidy`, also after what a machine that never came back left of it was removed.
fn look(installation: &Installation, ocfl_id: &str, tidy: bool) -> Result<Option<Described>, ocfl::Error> {
    let archive = &installation.archive;
    if tidy {
        archive.tidy(ocfl_id)?;
    } else {
        archive.settle(ocfl_id)?;
    }
    match archive.object(ocfl_id) {
        Ok(object) => register::describe(&object, None, &installation.settings.node, installation.clock.now()),
        Err(ocfl::Error::NoSuchObject { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
