//! Where the bytes of a delivery go while they are verified: nowhere, into the store of deliveries, or into the area of the
//! contract.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use dipper_archive::bucket::{Fault, Upload};
use dipper_archive::package::{Layout, PrepareError, SourceError};
use tokio::runtime::Handle;

use super::StepError;
use super::prepare::damaged;
use crate::area::placing::{Placement, PlacingError};
use crate::assembly::Part;
use crate::db::orders::{Channel, Failure, FailureCode, Order};
use crate::db::steps::Lease;
use crate::hold::Hold;
use crate::installation::Installation;
use crate::order::Signal;
use crate::sentence::sentence;
use crate::store::upload::{UploadError, Uploads};

/// The destination of one attempt.
pub(super) enum Destination {
    /// Nothing is written: the package is computed again when it is fetched.
    Computed,
    /// Objects in the store of deliveries.
    Store(Uploads),
    /// A file in the area of the contract.
    Area(Box<Placement>),
}

/// What takes the bytes of one file.
pub(super) enum Writer<'a> {
    Nothing,
    Upload(Upload<'a>),
    File(File),
}

impl Destination {
    /// Where an order is to be delivered. What earlier attempts left there is cleared away.
    pub(super) async fn of(
        installation: &Arc<Installation>,
        lease: &Lease,
        order: &Order,
    ) -> Result<Destination, StepError> {
        match (order.channel, &installation.store) {
            (Channel::Area, _) => {
                let (context, lease, order) = (Arc::clone(installation), lease.clone(), order.clone());
                let opening = tokio::task::spawn_blocking(move || Placement::new(&context, &lease, &order)).await;
                let opened = opening.map_err(|error| StepError::Passing(error.to_string()))?;
                Ok(Destination::Area(Box::new(opened.map_err(placing_error)?)))
            }
            (Channel::Link, Some(store)) => Ok(Destination::Store(Uploads::new(installation, store, lease).await?)),
            (Channel::Link, None) => Ok(Destination::Computed),
        }
    }

    /// What goes into the store of deliveries, if that is where it goes.
    pub(super) fn uploads(&self) -> Option<&Uploads> {
        match self {
            Destination::Store(uploads) => Some(uploads),
            Destination::Computed | Destination::Area(_) => None,
        }
    }

    /// Begins one file, on a thread that may block. `cancelled` is asked while what takes the bytes waits.
    pub(super) fn begin<'c>(
        &mut self,
        number: u32,
        part: &Part,
        layout: &Layout,
        cancelled: &'c dyn Fn() -> bool,
    ) -> Result<Writer<'c>, StepError> {
        Ok(match self {
            Destination::Computed => Writer::Nothing,
            Destination::Store(uploads) => {
                let upload = uploads.begin(number, &part.filename, layout.len()).map_err(upload_error)?;
                Writer::Upload(upload.cancelled_by(cancelled))
            }
            Destination::Area(placement) => {
                Handle::current().block_on(placement.reserve(layout.len())).map_err(placing_error)?;
                Writer::File(placement.create().map_err(placing_error)?)
            }
        })
    }

    /// All bytes of a file were right and are written. On a thread that may block.
    pub(super) fn finish(&mut self, writer: Writer<'_>, hold: &Hold) -> Result<(), StepError> {
        match (self, writer) {
            (Destination::Store(uploads), Writer::Upload(upload)) => {
                uploads.keep(upload.finish().map_err(|error| store_error(error, hold))?);
                Ok(())
            }
            (Destination::Area(placement), Writer::File(file)) => placement.finish(&file).map_err(placing_error),
            _ => Ok(()),
        }
    }

    /// Makes the objects of what was uploaded. The lease was found to hold.
    pub(super) async fn complete(&mut self) -> Result<(), StepError> {
        match self {
            Destination::Store(uploads) => uploads.complete().await.map_err(upload_error),
            Destination::Computed | Destination::Area(_) => Ok(()),
        }
    }

    /// Clears away what was written, as far as that is possible now.
    pub(super) async fn abort(self) {
        match self {
            Destination::Computed => {}
            Destination::Store(uploads) => uploads.abort().await,
            Destination::Area(placement) => placement.abort(),
        }
    }

    /// What an error of the verifying read, or of what takes its bytes, means for the step.
    pub(super) fn prepare_error(&self, error: PrepareError, hold: &Hold) -> StepError {
        match error {
            PrepareError::Cancelled => cancelled(hold),
            error if error.is_archived() => StepError::Archived,
            PrepareError::Sink(error) => match self {
                Destination::Area(placement) => placing_error(placement.write_error(error)),
                Destination::Computed | Destination::Store(_) => store_error(error, hold),
            },
            error @ (PrepareError::Fixity { .. } | PrepareError::Source(SourceError::WrongSize { .. })) => {
                damaged(error.to_string())
            }
            error if error.is_retryable() => StepError::Passing(error.to_string()),
            error => damaged(error.to_string()),
        }
    }
}

impl Writer<'_> {
    /// Whether there is anything that takes bytes.
    pub(super) fn is_needed(&self) -> bool {
        !matches!(self, Writer::Nothing)
    }

    /// Takes the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Writer::Nothing => Ok(()),
            Writer::Upload(upload) => upload.write(bytes),
            Writer::File(file) => file.write_all(bytes),
        }
    }
}

fn cancelled(hold: &Hold) -> StepError {
    if hold.is_lost() { StepError::Lost } else { StepError::Stopped }
}

fn store_error(error: io::Error, hold: &Hold) -> StepError {
    if Upload::is_cancelled(&error) { cancelled(hold) } else { upload_error(UploadError::Store(error)) }
}

fn upload_error(error: UploadError) -> StepError {
    match error {
        UploadError::Condemned => StepError::Lost,
        UploadError::Database(error) => error.into(),
        // Nothing is wrong with the order, nor with the archive. Whether the store has to come back, or somebody has
        // to set its credentials right: until then the order waits.
        UploadError::Store(error) => match Fault::of(&error) {
            Some(Fault::Unavailable | Fault::Refused | Fault::NoBucket) => StepError::Away(error.to_string()),
            _ => StepError::Passing(error.to_string()),
        },
    }
}

pub(super) fn placing_error(error: PlacingError) -> StepError {
    match error {
        PlacingError::Lost => StepError::Lost,
        PlacingError::Database(error) => error.into(),
        PlacingError::Unfit(reason) => StepError::Passing(reason),
        // As with a store that is away: the disk is full, or the file system not there. The order waits for it.
        error @ PlacingError::Io { .. } => StepError::Away(sentence!("the area cannot be written to: {error}")),
        PlacingError::Full { needed_bytes, full } => {
            let message = sentence!(
                "The area is full: {} of {} bytes are taken, and this package needs {needed_bytes}. Fetch what lies there \
                 and give it back, or wait until it is removed, and order again; or ask the archive for more room.",
                full.used_bytes,
                full.quota_bytes
            );
            let failure = Failure { code: FailureCode::AreaFull, message };
            StepError::Final { signal: Signal::Failed, failure, damage: None }
        }
    }
}
