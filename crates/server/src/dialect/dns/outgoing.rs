//! The outgoing directory over https, for those who have no SFTP at hand.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;

use super::errors::failure;
use super::mapping;
use super::wire::{OutgoingAnswer, StatusError};
use crate::app::App;
use crate::http::input::PathNames;
use crate::http::outgoing;
use crate::http::refusal::Refusal;
use crate::signin::{BasicPermit, Read};

/// What lies in the outgoing directory
///
/// An addition to the service, which itself has nothing but SFTP for this.
#[utoipa::path(
    get,
    path = "/outgoing/",
    tag = "DNS",
    security(("basic" = [])),
    responses(
        (status = 200, description = "The files, none of them partial", body = OutgoingAnswer),
        (status = 401, description = "No credentials, or wrong ones", body = StatusError),
        (status = 403, description = "The client has the role `read` on no contract", body = StatusError),
    )
)]
pub(super) async fn outgoing_list(
    State(app): State<App>,
    permit: BasicPermit<Read>,
) -> Result<Json<OutgoingAnswer>, Refusal> {
    let listed = app.intake().outgoing_list(&permit.caller).await.map_err(failure)?;
    Ok(Json(OutgoingAnswer { files: listed.into_iter().map(mapping::outgoing).collect() }))
}

/// Fetch a file from the outgoing directory
///
/// A `Range` continues a download that broke off. Once all of it was fetched, it is removed some time later.
#[utoipa::path(
    get,
    path = "/outgoing/{name}",
    tag = "DNS",
    security(("basic" = [])),
    params(
        ("name" = String, Path, description = "The name of the file"),
    ),
    responses(
        (status = 200, description = "The file", content_type = "application/x-tar"),
        (status = 206, description = "The part that was asked for", content_type = "application/x-tar"),
        (status = 304, description = "The client has it already"),
        (status = 401, description = "No credentials, or wrong ones", body = StatusError),
        (status = 403, description = "The client has the role `read` on no contract", body = StatusError),
        (status = 404, description = "There is no such file", body = StatusError),
        (status = 412, description = "The file is another than `If-Match` asks for", body = StatusError),
        (status = 416, description = "The range lies outside of the file, or there are several", body = StatusError),
        (status = 503, description = "Too many downloads at a time; `Retry-After` says when to come back",
            body = StatusError),
    )
)]
pub(super) async fn outgoing_fetch(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    method: Method,
    names: PathNames,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    outgoing::send(&app, &permit.caller, names.get("name"), &method, &headers).await
}
