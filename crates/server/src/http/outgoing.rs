//! Files of outgoing directories as answers, and the account of what was fetched of them.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::ETAG;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use dipper_core::Caller;
use dipper_core::intake::{Intake, OpenedFile, OutgoingError};
use dipper_core::meter::Channel;
use dipper_core::time::Timestamp;
use futures_util::stream;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio::sync::OwnedSemaphorePermit;

use super::file;
use super::refusal::Refusal;
use crate::app::App;
use crate::fetches::{Delivery, Fetch, Fetches};
use crate::metrics::{self, RunningDownload};

/// Bytes that are read at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// What a request is to get of a file that lies in the outgoing directory of a contract that the caller may read.
pub(crate) async fn send(
    app: &App,
    caller: &Caller,
    name: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let OpenedFile { contract_id, file, opened } = app.intake().outgoing_open(caller, name).await.map_err(refusal)?;
    let file = File::from_std(file);
    let found = file.metadata().await.map_err(|error| refusal(OutgoingError::Io(name.to_owned(), error)))?;
    let delivery = Delivery::new(&contract_id, name, &found);
    let etag = delivery.etag();
    let Some(sent) = file::select(method, headers, delivery.size(), &etag)? else {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response());
    };
    let body = if *method == Method::HEAD {
        Body::empty()
    } else {
        let permit = file::permit(app)?;
        let fetching = Fetching::begin(app, delivery, opened);
        fetching.send(file, sent.range.clone(), permit).await.map_err(|error| {
            tracing::error!(%error, name, "a delivered file cannot be read");
            Refusal::internal()
        })?
    };
    let mut response = (sent.status, body).into_response();
    sent.describe(response.headers_mut(), name);
    Ok(response)
}

fn refusal(error: OutgoingError) -> Refusal {
    let message = error.to_string();
    match error {
        OutgoingError::Unknown => Refusal::not_found(message),
        OutgoingError::Io(..) => {
            tracing::error!("a delivered file cannot be opened: {message}");
            Refusal::unavailable("the file cannot be read now: try again later", file::BUSY_SECONDS)
        }
        OutgoingError::Database(error) => {
            tracing::error!(%error, "a delivered file could not be looked up");
            Refusal::database(&error)
        }
    }
}

/// A file that is being sent. What was sent of it is known when this is dropped.
struct Fetching {
    intake: Intake,
    fetches: Arc<Fetches>,
    fetch: Fetch,
    /// Whether all that was asked for was sent.
    done: bool,
}

impl Fetching {
    fn begin(app: &App, delivery: Delivery, opened: Timestamp) -> Fetching {
        let fetches = app.fetches();
        let fetch = fetches.begin(delivery, opened);
        Fetching { intake: app.intake().clone(), fetches, fetch, done: false }
    }

    async fn send(mut self, mut file: File, range: Range<u64>, permit: OwnedSemaphorePermit) -> io::Result<Body> {
        file.set_max_buf_size(PIECE_BYTES);
        file.seek(SeekFrom::Start(range.start)).await?;
        if range.is_empty() {
            self.fetch.served(range.start, 0);
            self.done = true;
            return Ok(Body::empty());
        }
        let running = metrics::download(Channel::Https);
        let sending = Sending { fetching: self, file, range, running, _permit: permit };
        Ok(Body::from_stream(stream::try_unfold(sending, Sending::next)))
    }
}

struct Sending {
    fetching: Fetching,
    file: File,
    /// What is still to be sent.
    range: Range<u64>,
    running: RunningDownload,
    _permit: OwnedSemaphorePermit,
}

impl Sending {
    async fn next(mut self) -> io::Result<Option<(Bytes, Sending)>> {
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(None);
        }
        let mut piece = Vec::with_capacity(left.min(PIECE_BYTES));
        let count = (&mut self.file).take(left.min(PIECE_BYTES) as u64).read_to_end(&mut piece).await?;
        if count == 0 {
            // A file never shrinks that was delivered: somebody has been at it.
            tracing::error!("a delivered file ends early");
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.fetching.fetch.served(self.range.start, count);
        self.running.sent(count as u64);
        self.range.start += count as u64;
        self.fetching.done = self.range.is_empty();
        Ok(Some((piece.into(), self)))
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        if !self.done {
            self.fetches.cut_off(&self.fetch);
            return;
        }
        if !self.fetches.closed(&self.fetch) {
            return;
        }
        let (intake, fetches) = (self.intake.clone(), self.fetches.clone());
        let (delivery, opened) = (self.fetch.delivery.clone(), self.fetch.opened);
        let noting = async move {
            let Delivery { contract_id, name, .. } = &delivery;
            match intake.area_fetched(contract_id, name, opened).await {
                Ok(_) => tracing::info!(contract_id, name, "a delivery was fetched over https"),
                Err(error) => {
                    tracing::error!(contract_id, name, %error, "that a delivery was fetched could not be noted");
                    fetches.forget(&delivery);
                }
            }
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(noting);
        }
    }
}
