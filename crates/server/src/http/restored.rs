//! A file by itself as an answer, of a restore or as it is stored: all of it or a range, verified before it leaves, and noted
//! once it was fetched whole.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, ETAG, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use dipper_archive::digest::{Algorithm, Digest};
use dipper_core::download::{Download, DownloadError, Pieces};
use dipper_core::intake::{Intake, RestoredFile, StoredContent};
use dipper_core::meter::Channel;
use dipper_core::time::Timestamp;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;

use super::file::{self, BUSY_SECONDS};
use super::refusal::Refusal;
use crate::app::App;
use crate::fetches::{Delivery, Fetch, Fetches};
use crate::metrics::{self, RunningDownload};

/// How a file is asked for.
pub(crate) struct Asked<'a> {
    /// The restore.
    pub(crate) restore_id: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// The kind of checksum that the entity tag is.
    pub(crate) etag: Algorithm,
}

/// Answers with a file of a restore, or a part of it.
pub(crate) async fn send(app: &App, asked: Asked<'_>, restored: RestoredFile) -> Result<Response, Refusal> {
    let RestoredFile { file, download } = restored;
    let checksum: Digest = file.checksums.of(asked.etag).unwrap_or(file.digest);
    let etag = format!("\"{checksum}\"");
    let delivery = Delivery::of_restore(asked.restore_id, file.number, file.size_bytes);
    let noting = Noting { delivery, channel: Channel::Restore, owed: Owed::Restored(file.number) };
    answer(app, (asked.method, asked.headers), &download, etag, noting).await
}

/// Answers with a stored file that a client looks at, or a part of it.
pub(crate) async fn send_stored(
    app: &App,
    client_id: &str,
    method: &Method,
    headers: &HeaderMap,
    stored: StoredContent,
) -> Result<Response, Refusal> {
    let StoredContent { package_id, version, path, download } = stored;
    let etag = format!("\"{}\"", download.checksum);
    let delivery = Delivery::of_stored(client_id, &package_id, &path, &download.checksum.to_string(), download.len);
    let owed = Owed::Stored { client_id: client_id.to_owned(), package_id, version, path };
    let noting = Noting { delivery, channel: Channel::File, owed };
    answer(app, (method, headers), &download, etag, noting).await
}

/// What is noted of a file that is sent.
struct Noting {
    delivery: Delivery,
    channel: Channel,
    owed: Owed,
}

/// Where it is noted that a file was fetched whole.
enum Owed {
    /// In the restore, of the file with this number.
    Restored(u32),
    /// Among the events of the package.
    Stored { client_id: String, package_id: String, version: u32, path: String },
}

async fn answer(
    app: &App,
    (method, headers): (&Method, &HeaderMap),
    download: &Download,
    etag: String,
    noting: Noting,
) -> Result<Response, Refusal> {
    let Some(sent) = file::select(method, headers, download.len, &etag)? else {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response());
    };
    let body = if *method == Method::HEAD {
        Body::empty()
    } else {
        let permit = file::permit(app)?;
        let fetching = Fetching::begin(app, noting);
        let range = sent.range.clone();
        if range.is_empty() {
            fetching.all_sent(range)
        } else {
            let pieces = download.begin_sure(range.clone()).await.map_err(refusal)?;
            fetching.send(pieces, range, permit)
        }
    };
    let mut response = (sent.status, body).into_response();
    sent.describe(response.headers_mut(), &download.filename);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

/// Adds a header. A value that no header can hold is left out.
pub(crate) fn put(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

pub(crate) fn refusal(error: DownloadError) -> Refusal {
    let message = error.to_string();
    match error {
        DownloadError::Gone(_) => Refusal::not_found("the file was deleted from the archive"),
        DownloadError::Archived => {
            Refusal::conflict("CONTENT_ARCHIVED", "the file lies in cold storage again: ask for a new restore")
        }
        DownloadError::Damaged => Refusal::conflict("NOT_READY", message),
        DownloadError::Database(error) => {
            tracing::error!(%error, "a restored file could not be opened");
            Refusal::database(&error)
        }
        DownloadError::Forged | DownloadError::Expired | DownloadError::Store(_) | DownloadError::Archive(_) => {
            tracing::error!("a restored file could not be opened: {message}");
            Refusal::unavailable("the file cannot be read now: try again later", BUSY_SECONDS)
        }
    }
}

/// A file that is being sent. What was sent of it is known when this is dropped.
struct Fetching {
    intake: Intake,
    fetches: Arc<Fetches>,
    fetch: Fetch,
    channel: Channel,
    owed: Option<Owed>,
    /// Whether all that was asked for was sent.
    done: bool,
}

impl Fetching {
    fn begin(app: &App, noting: Noting) -> Fetching {
        let fetches = app.fetches();
        let fetch = fetches.begin(noting.delivery, Timestamp::now());
        let owed = Some(noting.owed);
        Fetching { intake: app.intake().clone(), fetches, fetch, channel: noting.channel, owed, done: false }
    }

    /// Of an empty file.
    fn all_sent(mut self, range: Range<u64>) -> Body {
        self.fetch.served(range.start, 0);
        self.done = true;
        Body::empty()
    }

    fn send(self, pieces: Pieces, range: Range<u64>, permit: OwnedSemaphorePermit) -> Body {
        let running = metrics::download(self.channel);
        let sending = Sending { fetching: self, pieces, range, running, _permit: permit };
        Body::from_stream(stream::try_unfold(sending, Sending::next))
    }
}

struct Sending {
    fetching: Fetching,
    pieces: Pieces,
    /// What is still to be sent.
    range: Range<u64>,
    running: RunningDownload,
    _permit: OwnedSemaphorePermit,
}

impl Sending {
    async fn next(mut self) -> io::Result<Option<(Bytes, Sending)>> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let piece = match self.pieces.next().await {
            Some(piece) => piece.map_err(io::Error::other)?,
            // The reader is gone without a word: no end of the file either.
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        self.fetching.fetch.served(self.range.start, piece.len());
        self.running.sent(piece.len() as u64);
        self.range.start = self.range.start.saturating_add(piece.len() as u64).min(self.range.end);
        self.fetching.done = self.range.is_empty();
        Ok(Some((piece, self)))
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
        let (delivery, owed) = (self.fetch.delivery.clone(), self.owed.take());
        let noting = async move {
            let noted = match owed {
                Some(Owed::Restored(number)) => {
                    intake.restored_fetched(&delivery.contract_id, number).await.map(|_| ())
                }
                Some(Owed::Stored { client_id, package_id, version, path }) => {
                    intake.stored_fetched(&client_id, &package_id, version, &path).await
                }
                None => Ok(()),
            };
            if let Err(error) = noted {
                tracing::error!(owner = delivery.contract_id, file = delivery.name, %error, "a fetched file was not noted");
                fetches.forget(&delivery);
            }
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(noting);
        }
    }
}
