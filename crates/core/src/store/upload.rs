//! The uploads of one attempt of a step. Each is noted in the catalogue before it begins, and forgotten when it is
//! published or nothing is left of it, so that a crash leaves nothing that nobody knows of.

use std::io;
use std::sync::Arc;

use dipper_archive::bucket::{Fault, Upload, UploadedParts};
use tracing::{Span, info, warn};

use super::{DeliveryStore, object_key, object_type};
use crate::db::steps::Lease;
use crate::db::uploads::UploadNote;
use crate::db::{Database, DatabaseError, Transaction, uploads};
use crate::ids;
use crate::installation::Installation;
use crate::meter::{self, Channel};
use crate::trace;

/// The uploads of one attempt.
#[derive(Debug)]
pub(crate) struct Uploads {
    installation: Arc<Installation>,
    store: DeliveryStore,
    lease: Lease,
    begun: Vec<Begun>,
}

#[derive(Debug)]
struct Begun {
    note: UploadNote,
    upload_id: Option<String>,
    uploaded: Option<UploadedParts>,
    /// Ends with the upload.
    span: Span,
}

/// Why an upload did not come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// The store refused or could not be reached.
    #[error("{0}")]
    Store(#[from] io::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Somebody else clears the upload away: the lease must be lost.
    #[error("the upload was given up by another process")]
    Condemned,
}

impl Uploads {
    /// None yet. What earlier attempts of the step left is cleared away, as far as the store can be reached.
    pub(crate) async fn new(
        installation: &Arc<Installation>,
        store: &DeliveryStore,
        lease: &Lease,
    ) -> Result<Uploads, DatabaseError> {
        let database = &installation.database;
        for note in uploads::of_earlier(database, &lease.step_id, lease.fence).await? {
            if note.store == store.place {
                info!(key = %note.object_key, "an upload of an earlier attempt is cleared away");
                discard_or_leave(store, database, &note).await;
            }
        }
        let (installation, store, lease) = (Arc::clone(installation), store.clone(), lease.clone());
        Ok(Uploads { installation, store, lease, begun: Vec::new() })
    }

    /// Begins the upload of one file, and gives what takes its bytes. On a thread that may block.
    pub(crate) fn begin(&mut self, number: u32, filename: &str, len: u64) -> Result<Upload<'static>, UploadError> {
        let note = UploadNote {
            id: ids::new_id(),
            store: self.store.place.clone(),
            object_key: object_key(&self.lease.order_id, self.lease.fence, number, filename),
            upload_id: None,
            order_id: self.lease.order_id.clone(),
            step_id: self.lease.step_id.clone(),
            fence: self.lease.fence,
            created: self.installation.clock.now(),
        };
        let bucket = self.store.bucket.clone();
        let upload_id = bucket.wait(async {
            uploads::insert(&self.installation.database, &note).await?;
            let span = trace::upload(&note.object_key);
            self.begun.push(Begun { note: note.clone(), upload_id: None, uploaded: None, span });
            let upload_id = bucket.begin_upload(&note.object_key, &object_type(filename)).await?;
            if let Some(begun) = self.begun.last_mut() {
                begun.upload_id = Some(upload_id.clone());
            }
            match uploads::name(&self.installation.database, &note.id, &upload_id).await? {
                true => Ok(upload_id),
                false => Err(UploadError::Condemned),
            }
        })?;
        Ok(bucket.upload(&note.object_key, &upload_id, Some(len)))
    }

    /// Keeps the parts of the upload that was begun last.
    pub(crate) fn keep(&mut self, uploaded: UploadedParts) {
        if let Some(begun) = self.begun.last_mut() {
            trace::uploaded(&begun.span, &uploaded);
            begun.uploaded = Some(uploaded);
        }
    }

    /// Makes the objects of their parts, and looks whether each is there with its whole length. Everything that was
    /// read has matched by now, and the caller has seen that the lease holds.
    pub(crate) async fn complete(&mut self) -> Result<(), UploadError> {
        let bucket = &self.store.bucket;
        for begun in &mut self.begun {
            let (Some(upload_id), Some(uploaded)) = (&begun.upload_id, &begun.uploaded) else {
                return Err(UploadError::Condemned);
            };
            let key = &begun.note.object_key;
            match bucket.complete_upload(key, upload_id, &uploaded.parts).await {
                Ok(_) => {}
                // The answer to a try that succeeded may have been lost. No other attempt has this key.
                Err(error) if Fault::of(&error) == Some(Fault::Missing) => {}
                Err(error) => return Err(error.into()),
            }
            bucket.check_len(key, uploaded.len).await?;
            meter::delivered(Channel::S3).increment(uploaded.len);
            begun.span = Span::none();
        }
        Ok(())
    }

    /// The keys of the files, in the order in which they were begun.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.begun.iter().map(|begun| begun.note.object_key.clone()).collect()
    }

    /// The place in which they are.
    pub(crate) fn place(&self) -> &str {
        self.store.place()
    }

    /// Forgets the uploads in the transaction that publishes them; `false` when they may not be published.
    pub(crate) async fn publish(&self, transaction: &mut Transaction) -> Result<bool, DatabaseError> {
        for begun in &self.begun {
            if !uploads::publish(transaction, &begun.note.id).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Clears away what was uploaded, as far as the store can be reached; the sweep does the rest.
    pub(crate) async fn abort(self) {
        for begun in self.begun {
            let note = UploadNote { upload_id: begun.upload_id, ..begun.note };
            discard_or_leave(&self.store, &self.installation.database, &note).await;
        }
    }
}

async fn discard_or_leave(store: &DeliveryStore, database: &Database, note: &UploadNote) {
    if let Err(error) = discard(store, database, note).await {
        warn!(key = %note.object_key, %error, "an upload could not be cleared away yet");
    }
}

/// Clears away an upload and what it made, and forgets it. It is condemned first: from then on its worker, should it
/// wake up again, cannot publish it.
pub(super) async fn discard(store: &DeliveryStore, database: &Database, note: &UploadNote) -> Result<(), UploadError> {
    if !uploads::condemn(database, &note.id).await? {
        return Ok(());
    }
    let (bucket, key) = (&store.bucket, &note.object_key);
    // No other upload has this key: if there is an object, this upload was completed, and is no more.
    if bucket.head(key).await?.is_none() {
        let aborted = match &note.upload_id {
            Some(upload_id) => bucket.abort_upload(key, upload_id).await,
            None => abort_unnamed(store, key).await,
        };
        match aborted {
            // Some servers do not tell an upload that has ended from one that is forbidden. If it goes on after all,
            // it is found when the store is looked through as a whole.
            Err(error) if Fault::of(&error) == Some(Fault::Refused) => warn!(%error, "an upload may go on"),
            aborted => aborted?,
        }
    }
    bucket.delete(key).await?;
    Ok(uploads::forget(database, &note.id).await?)
}

/// The crash may have come before the server's answer: what it calls the upload is found by the key, where it can tell.
async fn abort_unnamed(store: &DeliveryStore, key: &str) -> io::Result<()> {
    let directory = key.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut after = None;
    loop {
        let page = match store.bucket.unfinished_uploads(directory, after.as_ref()).await {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
            page => page?,
        };
        for upload in page.uploads.iter().filter(|upload| upload.key == key) {
            store.bucket.abort_upload(key, &upload.id).await?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}
