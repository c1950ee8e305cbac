//! Delivered files, fetched through signed links. What is sent has been verified; if that fails half-way, the
//! connection is broken off, so that nobody takes the beginning for the whole.

use std::io;
use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dipper_archive::digest::Algorithm;
use dipper_core::download::{Download, DownloadError, Fetch};
use dipper_core::link::LinkClaim;
use dipper_core::meter::Channel;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;

use super::file::{self, BUSY_SECONDS};
use super::input::{Parameters, PathNames};
use super::refusal::Refusal;
use crate::app::App;
use crate::metrics;

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// Fetch a delivered file
///
/// The link is all that is needed. A `Range` continues a download that broke off.
#[utoipa::path(
    get,
    path = "/deliveries/{deliveryId}/{number}/{filename}",
    tag = "Deliveries",
    security(()),
    params(
        ("deliveryId" = String, Path),
        ("number" = u32, Path),
        ("filename" = String, Path),
        ("expires" = i64, Query, description = "When the link expires, in seconds since 1970"),
        ("signature" = String, Query, description = "Of this server, over the link"),
    ),
    responses(
        (status = 200, description = "The file", content_type = "application/x-tar"),
        (status = 206, description = "The part that was asked for", content_type = "application/x-tar"),
        (status = 302, description = "The file lies in other storage: `Location` leads there"),
        (status = 304, description = "The client has it already"),
        (status = 400, description = "A parameter is given twice"),
        (status = 403, description = "The link is not genuine, or has expired"),
        (status = 404, description = "The link ends in another name than the file's"),
        (status = 409, description = "The package went back into cold storage: order it again"),
        (status = 410, description = "The delivery was released, or is not kept any more"),
        (status = 412, description = "The file is another than `If-Match` asks for"),
        (status = 416, description = "The range lies outside of the file, or there are several"),
        (status = 503, description = "Too many downloads at a time; `Retry-After` says when to come back"),
    )
)]
pub(crate) async fn download(
    State(app): State<App>,
    method: Method,
    names: PathNames,
    query: Parameters,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let claim = claim(&names, &query)?;
    let opened = app.intake().download_open(&claim).await.map_err(refusal)?;
    let (Fetch::Computed(Download { filename, .. }) | Fetch::Stored { filename, .. }) = &opened;
    if filename != names.get("filename") {
        return Err(Refusal::not_found("the delivery holds no file of this name"));
    }
    let file = match opened {
        Fetch::Computed(file) => file,
        // The link that it leads on to is signed anew for each, so nobody may keep the answer.
        Fetch::Stored { link, .. } => {
            return Ok((StatusCode::FOUND, [(LOCATION, link), (CACHE_CONTROL, "no-store".to_owned())]).into_response());
        }
    };
    let etag = format!("\"{}\"", file.checksum);
    let Some(sent) = file::select(&method, &headers, file.len, &etag)? else {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response());
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        body(&file, sent.range.clone(), file::permit(&app)?).await?
    };
    let mut response = (sent.status, body).into_response();
    sent.describe(response.headers_mut(), &file.filename);
    if let Some(name) = digest_name(file.algorithm) {
        // RFC 9530: of the whole file, also when a part of it is sent.
        let digest = format!("{name}=:{}:", BASE64_STANDARD.encode(file.checksum.as_bytes()));
        if let Ok(digest) = HeaderValue::from_str(&digest) {
            response.headers_mut().insert(REPR_DIGEST, digest);
        }
    }
    Ok(response)
}

fn claim(names: &PathNames, query: &Parameters) -> Result<LinkClaim, Refusal> {
    let forged = || refusal(DownloadError::Forged);
    Ok(LinkClaim {
        delivery_id: names.get("deliveryId").to_owned(),
        number: names.get("number").parse().map_err(|_| forged())?,
        expires: query.one("expires")?.and_then(|text| text.parse().ok()).ok_or_else(forged)?,
        signature: query.one("signature")?.ok_or_else(forged)?.to_owned(),
    })
}

fn refusal(error: DownloadError) -> Refusal {
    let message = error.to_string();
    match error {
        DownloadError::Forged => Refusal::new(StatusCode::FORBIDDEN, "LINK_NOT_GENUINE", message),
        DownloadError::Expired => Refusal::new(StatusCode::FORBIDDEN, "LINK_EXPIRED", message),
        DownloadError::Gone(_) | DownloadError::Damaged => Refusal::new(StatusCode::GONE, "DELIVERY_NOT_KEPT", message),
        DownloadError::Archived => Refusal::new(StatusCode::CONFLICT, "CONTENT_ARCHIVED", message),
        DownloadError::Database(error) => {
            tracing::error!(%error, "a delivery could not be looked up");
            Refusal::database(&error)
        }
        DownloadError::Store(_) => {
            tracing::error!("a delivered file could not be opened: {message}");
            Refusal::unavailable("the file cannot be reached now: try again later", BUSY_SECONDS)
        }
        DownloadError::Archive(_) => {
            tracing::error!("a delivered file could not be opened: {message}");
            Refusal::internal()
        }
    }
}

fn digest_name(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::Md5 => Some("md5"),
        Algorithm::Sha1 => Some("sha"),
        Algorithm::Sha256 => Some("sha-256"),
        Algorithm::Sha512 => Some("sha-512"),
        // No names are registered for these.
        Algorithm::Sha512_256
        | Algorithm::Blake2b160
        | Algorithm::Blake2b256
        | Algorithm::Blake2b384
        | Algorithm::Blake2b512 => None,
    }
}

/// The bytes as they are verified. The permit is given back when the body is dropped.
async fn body(file: &Download, range: Range<u64>, permit: OwnedSemaphorePermit) -> Result<Body, Refusal> {
    let left = range.end - range.start;
    if left == 0 {
        return Ok(Body::empty());
    }
    let pieces = file.begin(range).await.map_err(refusal)?;
    let running = metrics::download(Channel::Link);
    Ok(Body::from_stream(stream::unfold(Some((pieces, left, permit, running)), async |state| {
        let (mut pieces, left, permit, running) = state?;
        if left == 0 {
            return None;
        }
        match pieces.next().await {
            Some(Ok(piece)) => {
                let left = left.saturating_sub(piece.len() as u64);
                running.sent(piece.len() as u64);
                Some((Ok::<Bytes, io::Error>(piece), Some((pieces, left, permit, running))))
            }
            Some(Err(error)) => Some((Err(io::Error::other(error)), None)),
            // The reader is gone without a word: no end of the file either.
            None => Some((Err(io::ErrorKind::UnexpectedEof.into()), None)),
        }
    })))
}
