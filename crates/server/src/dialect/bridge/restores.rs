//! Files that are made ready to be fetched, and fetched.

use std::io;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use dipper_archive::digest::Algorithm;
use dipper_core::intake::{Intake, OrderRestore, RestoreView};
use dipper_core::time::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::DIALECT;
use super::mapping::{self, DEFAULT_CHECKSUM, RESTORE, RESTORE_STATES};
use super::wire::{
    ExpirationAnswer, ExpirationRequest, RestoreAccepted, RestoreAnswer, SelectionBody, SelectionRequest,
};
use crate::app::App;
use crate::http::input::{Parameters, PathNames, read_body};
use crate::http::listed::{Entry, Restores, json, listed};
use crate::http::problem::{Problem, Refused, RefusedBody};
use crate::http::refusal::Refusal;
use crate::http::restored::{self, Asked};
use crate::http::stream::{PieceWriter, told};
use crate::http::{checksum, json as read, refused};
use crate::signin::{BasicPermit, Read};

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
    tag = "Bridge",
    security(("basic" = [])),
    params(("checksum-type" = Option<String>, Query, description = "`MD5` (unless given), `SHA-256` or `SHA-512`")),
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
    parameters: Parameters,
    request: Request,
) -> Result<(StatusCode, Json<RestoreAccepted>), Refusal> {
    let algorithm = checksum::asked(&parameters)?.unwrap_or(DEFAULT_CHECKSUM);
    let body = read_body(request).await?;
    let selections = mapping::selections(read::parse::<SelectionRequest>(&body)?, algorithm)?;
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
    tag = "Bridge",
    security(("basic" = [])),
    params(
        ("status" = Option<String>, Query, description = "Those in one state alone, with or without `RESTORE_`"),
        ("checksum-type" = Option<String>, Query, description = "`MD5` (unless given), `SHA-256` or `SHA-512`"),
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
    let algorithm = checksum::asked(&parameters)?.unwrap_or(DEFAULT_CHECKSUM);
    let entry = WithFiles { intake: app.intake().clone(), algorithm };
    let source = Restores { intake: app.intake().clone(), caller: permit.caller, state };
    listed(&parameters, source, entry).await
}

/// A restore with its files
#[utoipa::path(
    get,
    path = "/restore/{restoreId}",
    tag = "Bridge",
    security(("basic" = [])),
    params(
        ("restoreId" = String, Path, description = "The restore"),
        ("checksum-type" = Option<String>, Query, description = "`MD5` (unless given), `SHA-256` or `SHA-512`"),
    ),
    responses(
        (status = 200, description = "The restore", body = RestoreAnswer),
        (status = 404, description = "There is no such restore", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn restore_get(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    names: PathNames,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let algorithm = checksum::asked(&parameters)?.unwrap_or(DEFAULT_CHECKSUM);
    let intake = app.intake().clone();
    let view = intake.restore_get(&permit.caller, names.get("restoreId")).await.map_err(refused::restore)?;
    Ok(json(told(async move |mut writer| {
        describe(&mut writer, &intake, &view, algorithm).await?;
        Ok(writer)
    })))
}

/// A restore as an entry of a list.
struct WithFiles {
    intake: Intake,
    algorithm: Algorithm,
}

impl Entry<RestoreView> for WithFiles {
    async fn write(&self, writer: &mut PieceWriter, start: Vec<u8>, view: &RestoreView) -> io::Result<bool> {
        writer.buffer().extend_from_slice(&start);
        describe(writer, &self.intake, view, self.algorithm).await?;
        Ok(true)
    }
}

/// Writes a restore with its files, which may be many.
async fn describe(
    writer: &mut PieceWriter,
    intake: &Intake,
    view: &RestoreView,
    algorithm: Algorithm,
) -> io::Result<()> {
    writer.buffer().extend_from_slice(b"{\"files\":[");
    let (mut after, mut between) = (0, "");
    loop {
        let page = intake.restore_files(&view.restore.id, after, FILES).await.map_err(io::Error::other)?;
        let Some(last) = page.last() else { break };
        after = last.number;
        for file in page {
            writer.buffer().extend_from_slice(between.as_bytes());
            serde_json::to_writer(writer.buffer(), &mapping::restored(file, algorithm))?;
            between = ",";
        }
        writer.pass_on().await?;
    }
    // What follows the files stands in braces of its own.
    let end = serde_json::to_vec(&mapping::restore_end(view))?;
    writer.buffer().extend_from_slice(b"],");
    writer.buffer().extend_from_slice(end.get(1..).unwrap_or_default());
    Ok(())
}

/// Keep a restore for another time
///
/// An addition to the service. Without a body, it is kept for as long as a new one, counted from now.
#[utoipa::path(
    put,
    path = "/restore/{restoreId}/expiration",
    tag = "Bridge",
    security(("basic" = [])),
    params(("restoreId" = String, Path, description = "The restore")),
    request_body = Option<ExpirationRequest>,
    responses(
        (status = 200, description = "The restore, and until when it is kept", body = ExpirationAnswer),
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
) -> Result<Json<ExpirationAnswer>, Refusal> {
    let body = read_body(request).await?;
    let asked = if body.is_empty() { ExpirationRequest::default() } else { read::parse(&body)? };
    let until = asked.expiration.as_deref().map(expiration).transpose()?;
    let view = app.intake().restore_extend(&permit.caller, names.get("restoreId"), until).await;
    let view = view.map_err(refused::restore)?;
    Ok(Json(ExpirationAnswer {
        status: mapping::restore_status(view.state),
        expiration: mapping::expiration(&view),
        restore_id: view.restore.id,
    }))
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
    tag = "Bridge",
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
    tag = "Bridge",
    security(("basic" = [])),
    params(
        ("restoreId" = String, Path, description = "The restore"),
        ("filegroupId" = String, Path, description = "The filegroup"),
        ("fileId" = String, Path, description = "The file"),
        ("checksum-type" = Option<String>, Query, description = "What the entity tag is: `MD5` (unless given), \
            `SHA-256` or `SHA-512`"),
    ),
    responses(
        (status = 200, description = "The file, with its checksum as the entity tag",
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
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let etag = checksum::asked(&parameters)?.unwrap_or(DEFAULT_CHECKSUM);
    let (restore_id, filegroup, file) = (names.get("restoreId"), names.get("filegroupId"), names.get("fileId"));
    let opened = app.intake().restored_open(&permit.caller, restore_id, filegroup, file).await;
    let asked = Asked { restore_id, method: &method, headers: &headers, etag };
    Ok(restored::send(&app, asked, opened.map_err(refused::restore)?).await?.into_response())
}
