//! A file as an answer: what of it is sent, and the headers that say so.

use std::ops::Range;

use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use dipper_core::store::{self, content_disposition};
use tokio::sync::OwnedSemaphorePermit;

use super::range::{Wanted, wanted};
use super::refusal::Refusal;
use crate::app::App;

/// When to come back while all downloads are taken.
pub(crate) const BUSY_SECONDS: u64 = 10;

/// What of a file is sent.
pub(crate) struct Sent {
    pub(crate) status: StatusCode,
    pub(crate) range: Range<u64>,
    len: u64,
    etag: String,
}

/// What a request is to get of `len` bytes under this entity tag, quoted; `None` if its sender has them already.
pub(crate) fn select(method: &Method, headers: &HeaderMap, len: u64, etag: &str) -> Result<Option<Sent>, Refusal> {
    // RFC 9110, 14.2: a range means something for GET alone.
    let mut conditions = headers.clone();
    if method == Method::HEAD {
        conditions.remove(RANGE);
    }
    let (status, range) = match wanted(&conditions, len, etag) {
        Wanted::Whole => (StatusCode::OK, 0..len),
        Wanted::Part(first, end) => (StatusCode::PARTIAL_CONTENT, first..end),
        Wanted::Unchanged => return Ok(None),
        Wanted::Changed => {
            let message = "the file is another than If-Match asks for";
            return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "PRECONDITION_FAILED", message));
        }
        Wanted::Unsatisfiable(reason) => {
            return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_NOT_SATISFIABLE", reason)
                .header(CONTENT_RANGE, &format!("bytes */{len}")));
        }
    };
    Ok(Some(Sent { status, range, len, etag: etag.to_owned() }))
}

/// The right to send one file, or when to come back.
pub(crate) fn permit(app: &App) -> Result<OwnedSemaphorePermit, Refusal> {
    app.downloads().try_acquire_owned().map_err(|_| {
        Refusal::unavailable("as many downloads as are allowed are running: try again later", BUSY_SECONDS)
    })
}

impl Sent {
    /// Says in the headers what is sent, of a file of that name.
    pub(crate) fn describe(&self, headers: &mut HeaderMap, filename: &str) {
        let range = &self.range;
        let mut put = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        };
        put(ETAG, self.etag.clone());
        put(CONTENT_LENGTH, (range.end - range.start).to_string());
        put(ACCEPT_RANGES, "bytes".to_owned());
        put(CONTENT_TYPE, store::CONTENT_TYPE.to_owned());
        put(CONTENT_DISPOSITION, content_disposition(filename));
        // What is sent is for whoever holds the link or the credentials alone.
        put(CACHE_CONTROL, "private, no-transform".to_owned());
        if self.status == StatusCode::PARTIAL_CONTENT {
            put(CONTENT_RANGE, format!("bytes {}-{}/{}", range.start, range.end - 1, self.len));
        }
    }
}
