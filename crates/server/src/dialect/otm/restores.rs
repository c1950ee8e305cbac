//! Files that are made ready to be fetched, and fetched.

use std::io;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dipper_archive::digest::Algorithm;
use dipper_core::db::restores::Checksums;
use dipper_core::intake::{Intake, OrderRestore, RestoreView};
use dipper_core::time::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::DIALECT;
use super::mapping::{self, RESTORE, RESTORE_STATES};
use super::wire::{ExpirationRequest, RestoreAccepted, RestoreAnswer, SelectionBody, SelectionRequest};
use crate::app::App;
use crate::http::input::{Parameters, PathNames, read_body};
use crate::http::listed::{Restores, json, listed};
use crate::http::problem::{Problem, Refused, RefusedBody};
use crate::http::refusal::Refusal;
use crate::http::restored::{self, Asked};
use crate::http::stream::{PieceWriter, told};
use crate::http::{checksum, json as read, refused};
use crate::signin::{BasicPermit, Operator, Read};

const DIGEST: HeaderName = HeaderName::from_static("digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// Files that are looked up at a time.
const FILES: u32 = 1000;

/// Have files restored
///
/// The files are checked once, and can then be fetched one by one for a limited time. Everything that is named must be there;
/// otherwise nothing is begun. Without files, all files of the version are meant; without anything, those of the latest
/// version. A checksum must match the stored file; without a version, it selects the newest one that has it.
#[utoipa::path(
    post,
    path = "/restore",
    tag = "OTM Bridge",
    security(("basic" = [])),
    request_body = SelectionBody,
    responses(
        (status = 202, description = "It is under way", body = RestoreAccepted),
        Refused,
        RefusedBody,
    )
)]
pub(super) async fn restore_order(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    request: Request,
) -> Result<(StatusCode, Json<RestoreAccepted>), Refusal> {
    let body = read_body(request).await?;
    let selections = mapping::selections(read::parse::<SelectionRequest>(&body)?)?;
    let command = OrderRestore { selections, request: body.to_vec(), dialect: DIALECT };
    let view = app.intake().restore_order(&permit.caller, command).await.map_err(refused::restore)?;
    Ok((StatusCode::ACCEPTED, Json(RestoreAccepted { restore_id: view.restore.id })))
}

/// The restores whose time is not over
///
/// The newest comes first.
#[utoipa::path(
    get,
    path = "/restore",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(
        ("status" = Option<String>, Query, description = "Those in one state alone, with or without `RESTORE_`"),
        ("limit" = Option<u64>, Query, description = "So many at a time; the header `Link` leads to the next ones. All \
            at once unless given", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "Where a page begins, from such a link"),
    ),
    responses(
        (status = 200, description = "The restores by their identifiers", body = BTreeMap<String, RestoreAnswer>),
        Refused,
    )
)]
pub(super) async fn restore_list(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let state = parameters.state(RESTORE, &RESTORE_STATES)?;
    let source = Restores { intake: app.intake().clone(), caller: permit.caller, state };
    listed(&parameters, source, |view: &RestoreView| Some(mapping::restore(view))).await
}

/// The request for a restore
///
/// As it came; of one that was asked for in other words, the files that it has.
#[utoipa::path(
    get,
    path = "/restore/{restoreId}",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(("restoreId" = String, Path, description = "The restore")),
    responses(
        (status = 200, description = "The request", body = SelectionBody),
        (status = 404, description = "There is no such restore", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn restore_get(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    names: PathNames,
) -> Result<Response, Refusal> {
    let (intake, id) = (app.intake().clone(), names.get("restoreId"));
    let view = intake.restore_get(&permit.caller, id).await.map_err(refused::restore)?;
    if view.restore.dialect == DIALECT {
        let request = intake.restore_request(&permit.caller, id).await.map_err(refused::restore)?;
        return Ok(json(Body::from(request)));
    }
    Ok(json(told(async move |writer| files_of(writer, &intake, &view).await)))
}

/// Writes the files of a restore as a request for them would name them. Those of one filegroup follow each other.
async fn files_of(mut writer: PieceWriter, intake: &Intake, view: &RestoreView) -> io::Result<PieceWriter> {
    let (mut after, mut open): (u32, Option<String>) = (0, None);
    writer.buffer().push(b'{');
    loop {
        let page = intake.restore_files(&view.restore.id, after, FILES).await.map_err(io::Error::other)?;
        let Some(last) = page.last() else { break };
        after = last.number;
        for file in page {
            if open.as_ref() == Some(&file.object_id) {
                writer.buffer().push(b',');
            } else {
                writer.buffer().extend_from_slice(if open.is_some() { b"}}," } else { b"" });
                serde_json::to_writer(writer.buffer(), &file.object_id)?;
                writer.buffer().extend_from_slice(b":{\"files\":{");
                open = Some(file.object_id.clone());
            }
            serde_json::to_writer(writer.buffer(), &file.path)?;
            writer.buffer().push(b':');
            serde_json::to_writer(writer.buffer(), &mapping::told(None, &file.checksums))?;
        }
        writer.pass_on().await?;
    }
    writer.buffer().extend_from_slice(if open.is_some() { b"}}}" } else { b"}" });
    Ok(writer)
}

/// Where a restore stands
#[utoipa::path(
    get,
    path = "/restore/{restoreId}/status",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(("restoreId" = String, Path, description = "The restore")),
    responses(
        (status = 200, description = "Where it stands", body = RestoreAnswer),
        (status = 404, description = "There is no such restore", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn restore_status(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    names: PathNames,
) -> Result<Json<RestoreAnswer>, Refusal> {
    let view = app.intake().restore_get(&permit.caller, names.get("restoreId")).await.map_err(refused::restore)?;
    Ok(Json(mapping::restore(&view)))
}

/// Tell that a restore has finished
///
/// For storage outside of the Bridge. The archive of this one is its own, and finishes by itself.
#[utoipa::path(
    post,
    path = "/restore/{restoreId}",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(("restoreId" = String, Path, description = "The restore")),
    responses(
        (status = 409, description = "The archive finishes by itself", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn restore_complete(_: BasicPermit<Operator>) -> Refusal {
    refused::by_itself()
}

/// Keep a restore for another time
///
/// An addition to the service. Without a body, it is kept for as long as a new one, counted from now.
#[utoipa::path(
    put,
    path = "/restore/{restoreId}/expiration",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(("restoreId" = String, Path, description = "The restore")),
    request_body = Option<ExpirationRequest>,
    responses(
        (status = 200, description = "The restore, and until when it is kept", body = RestoreAnswer),
        (status = 404, description = "There is no such restore, or its time is over", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "It is not ready yet, and its time has not begun", body = Problem,
            content_type = "application/problem+json"),
        Refused,
        RefusedBody,
    )
)]
pub(super) async fn restore_extend(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    names: PathNames,
    request: Request,
) -> Result<Json<RestoreAnswer>, Refusal> {
    let body = read_body(request).await?;
    let asked = if body.is_empty() { ExpirationRequest::default() } else { read::parse(&body)? };
    let until = asked.expiration.as_deref().map(expiration).transpose()?;
    let view = app.intake().restore_extend(&permit.caller, names.get("restoreId"), until).await;
    let view = view.map_err(refused::restore)?;
    Ok(Json(mapping::restore(&view)))
}

fn expiration(text: &str) -> Result<Timestamp, Refusal> {
    OffsetDateTime::parse(text, &Rfc3339).map(Timestamp::from).map_err(|_| {
        Refusal::bad_request(format!(
            "the field `expiration` is wrong: {text:?} is not a time as in 2026-12-31T23:59:59Z"
        ))
    })
}

/// Give a restore back before its time
///
/// An addition to the service: its files can be fetched no more, and one that is not ready yet is withdrawn.
#[utoipa::path(
    delete,
    path = "/restore/{restoreId}",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(("restoreId" = String, Path, description = "The restore")),
    responses(
        (status = 204, description = "It is given back"),
        (status = 404, description = "There is no such restore", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn restore_release(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    names: PathNames,
) -> Result<StatusCode, Refusal> {
    app.intake().restore_release(&permit.caller, names.get("restoreId")).await.map_err(refused::restore)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Fetch a restored file
///
/// What is sent was verified; a connection is broken off rather than end with wrong bytes. A `Range` continues a download that
/// broke off. Slashes in the file's identifier may be written as `%2F`.
#[utoipa::path(
    get,
    path = "/restore/{restoreId}/{filegroupId}/{*fileId}",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(
        ("restoreId" = String, Path, description = "The restore"),
        ("filegroupId" = String, Path, description = "The filegroup"),
        ("fileId" = String, Path, description = "The file"),
    ),
    responses(
        (status = 200, description = "The file, with its checksums in `Digest` (RFC 3230) and `Repr-Digest` (RFC 9530)",
            content_type = "application/octet-stream"),
        (status = 206, description = "The part that was asked for", content_type = "application/octet-stream"),
        (status = 304, description = "The client has it already"),
        (status = 404, description = "It is not part of the restore, whose time may be over", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "It is not ready yet, or cannot be handed out", body = Problem,
            content_type = "application/problem+json"),
        (status = 412, description = "The file is another than `If-Match` asks for", body = Problem,
            content_type = "application/problem+json"),
        (status = 416, description = "The range lies outside of the file, or there are several", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn restored_fetch(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    method: Method,
    names: PathNames,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (restore_id, filegroup, file) = (names.get("restoreId"), names.get("filegroupId"), names.get("fileId"));
    let opened = app.intake().restored_open(&permit.caller, restore_id, filegroup, file).await;
    let opened = opened.map_err(refused::restore)?;
    let checksums = opened.file.checksums;
    let asked = Asked { restore_id, method: &method, headers: &headers, etag: Algorithm::Sha512 };
    let mut response = restored::send(&app, asked, opened).await?.into_response();
    // Of the whole file, also when a part of it is sent.
    let each = |of: &dyn Fn(&str, &str) -> String| {
        let known = Checksums::ALGORITHMS.into_iter().rev().filter_map(|algorithm| {
            let encoded = BASE64_STANDARD.encode(checksums.of(algorithm)?.as_bytes());
            Some(of(checksum::name(algorithm)?, &encoded))
        });
        known.collect::<Vec<_>>()
    };
    restored::put(&mut response, DIGEST, &each(&|name, value| format!("{name}={value}")).join(","));
    let structured = each(&|name, value| format!("{}=:{value}:", name.to_lowercase()));
    restored::put(&mut response, REPR_DIGEST, &structured.join(", "));
    Ok(response)
}
