//! The endpoints.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use dipper_core::Caller;
use dipper_core::db::orders::View;
use dipper_core::db::packages::{PackageQuery, PackageState};
use dipper_core::intake::{OrderRetrieval, Portion};

use super::DIALECT;
use super::errors::{failure, not_ordered};
use super::listing::Listing;
use super::lists::{self, Asked, FillError};
use super::wire::{RetrievalAnswer, RetrievalRequest, StatusAnswer, StatusError, Success};
use crate::app::App;
use crate::http::input::{JsonBody, Parameters, read_body};
use crate::http::refusal::Refusal;
use crate::signin::{BasicPermit, Read};

const MAX_PAGE: u64 = 1000;
/// More objects than one name stands for.
const MANY: u32 = 100;

/// The status of an object
///
/// Named by `urn`, `identifier`, `origName` or `containerName`; where several are given, all must match. Work that is
/// under way for the object, or has failed, stands in front of it.
#[utoipa::path(
    get,
    path = "/status/index",
    tag = "DNS",
    security(("basic" = [])),
    params(
        ("urn" = Option<String>, Query, description = "The URN"),
        ("identifier" = Option<String>, Query, description = "The identifier"),
        ("origName" = Option<String>, Query, description = "The depositor's name"),
        ("containerName" = Option<String>, Query, description = "The name of a container that was handed in"),
        ("listallobjects" = Option<String>, Query, description = "With any value: all objects of the contractor"),
        ("limit" = Option<u64>, Query, description = "So many objects at a time", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before; anything else is refused"),
    ),
    responses(
        (status = 200, description = "The object", body = StatusAnswer),
        (status = 400, description = "Nothing is named", body = StatusError),
        (status = 401, description = "No credentials, or wrong ones", body = StatusError),
        (status = 403, description = "The client has the role `read` on no contract", body = StatusError),
        (status = 404, description = "There is no such object", body = StatusError),
        (status = 429, description = "Too many requests, or too many failed attempts to sign in", body = StatusError),
    )
)]
pub(super) async fn status_index(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let query = PackageQuery { container_name: text(&parameters, "containerName")?, ..named(&parameters)? };
    if query == PackageQuery::default() && !parameters.has("listallobjects") {
        return Err(nothing_named("urn, identifier, origName, containerName or listallobjects"));
    }
    let limit = parameters.integer("limit", 1..=MAX_PAGE)?;
    let cursor = parameters.one("cursor")?;
    let listing = Listing { intake: app.intake().clone(), caller: permit.caller, query };
    match limit.or(cursor.map(|_| MAX_PAGE)) {
        Some(limit) => listing.page(cursor, u32::try_from(limit).unwrap_or(u32::MAX)).await,
        None => listing.whole().await,
    }
}

/// Order the delivery of an object
///
/// The description of the service prints this address in its example of a retrieval, with the object in the query, beside
/// the one below in its text. Both are heard; asking for the status is `GET` alone.
#[utoipa::path(
    post,
    path = "/status/index",
    tag = "DNS",
    security(("basic" = [])),
    params(
        ("urn" = Option<String>, Query, description = "The URN"),
        ("identifier" = Option<String>, Query, description = "The identifier"),
        ("origName" = Option<String>, Query, description = "The depositor's name"),
    ),
    responses(
        (status = 200, description = "Whether the delivery is ordered", body = RetrievalAnswer),
        (status = 401, description = "No credentials, or wrong ones", body = StatusError),
        (status = 403, description = "The client has the role `read` on no contract", body = StatusError),
        (status = 429, description = "Too many requests, or too many failed attempts to sign in", body = StatusError),
    )
)]
pub(super) async fn status_index_post(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    parameters: Parameters,
) -> Result<Json<RetrievalAnswer>, Refusal> {
    let query = named(&parameters)?;
    order(&app, &permit.caller, query, &RetrievalRequest::default()).await.map(Json)
}

/// Order the delivery of an object into the outgoing directory
///
/// Named by `urn`, `identifier` or `origName`. An order that is under way already is a success, and stays the only one.
#[utoipa::path(
    post,
    path = "/automatedRetrieval/queueForRetrievalJSON",
    tag = "DNS",
    security(("basic" = [])),
    request_body = RetrievalRequest,
    responses(
        (status = 200, description = "Whether the delivery is ordered", body = RetrievalAnswer),
        (status = 400, description = "The body is no JSON object, or a field is wrong", body = RetrievalAnswer),
        (status = 401, description = "No credentials, or wrong ones", body = RetrievalAnswer),
        (status = 403, description = "The client has the role `read` on no contract", body = RetrievalAnswer),
        (status = 413, description = "The body is too long", body = RetrievalAnswer),
        (status = 429, description = "Too many requests, or too many failed attempts to sign in",
            body = RetrievalAnswer),
    )
)]
pub(super) async fn retrieval_queue(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    JsonBody(request): JsonBody<RetrievalRequest>,
) -> Result<Json<RetrievalAnswer>, Refusal> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let query = PackageQuery {
        urn: given(&request.urn),
        identifier: given(&request.identifier),
        object_id: given(&request.orig_name),
        container_name: None,
    };
    order(&app, &permit.caller, query, &request).await.map(Json)
}

/// Ask for the status of many objects
///
/// The body is a file with the columns `identifier;origName;createddate;updateddate;statuscode;erfolg;bemerkung`, separated by
/// semicolons, in UTF-8 or cp1252; one of the first two is enough. It comes back filled in, encoded as it came.
#[utoipa::path(
    post,
    path = "/report/status",
    tag = "DNS",
    security(("basic" = [])),
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 200, description = "The file, filled in", body = String, content_type = "text/csv"),
        (status = 400, description = "It is no such file", body = StatusError),
        (status = 401, description = "No credentials, or wrong ones", body = StatusError),
        (status = 403, description = "The client has the role `read` on no contract", body = StatusError),
        (status = 413, description = "The file is too long", body = StatusError),
        (status = 429, description = "Too many requests, or too many failed attempts to sign in", body = StatusError),
    )
)]
pub(super) async fn report_status(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    request: Request,
) -> Result<Response, Refusal> {
    report(&app, &permit.caller, Asked::Status, request).await
}

/// Order the delivery of many objects
///
/// The body is a file as for `/report/status`. Each object in it is ordered; one whose delivery is under way already counts as
/// ordered. The file comes back filled in.
#[utoipa::path(
    post,
    path = "/report/retrieval",
    tag = "DNS",
    security(("basic" = [])),
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 200, description = "The file, filled in", body = String, content_type = "text/csv"),
        (status = 400, description = "It is no such file", body = StatusError),
        (status = 401, description = "No credentials, or wrong ones", body = StatusError),
        (status = 403, description = "The client has the role `read` on no contract", body = StatusError),
        (status = 413, description = "The file is too long", body = StatusError),
        (status = 429, description = "Too many requests, or too many failed attempts to sign in", body = StatusError),
    )
)]
pub(super) async fn report_retrieval(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    request: Request,
) -> Result<Response, Refusal> {
    report(&app, &permit.caller, Asked::Retrieval, request).await
}

async fn report(app: &App, caller: &Caller, asked: Asked, request: Request) -> Result<Response, Refusal> {
    let body = read_body(request).await?;
    match lists::fill(app.intake(), caller, asked, body.to_vec()).await {
        Ok(filled) => {
            let content_type = format!("text/csv; charset={}", filled.charset);
            Ok(([(CONTENT_TYPE, content_type)], filled.bytes).into_response())
        }
        Err(FillError::Report(error)) => Err(Refusal::bad_request(error.to_string())),
        Err(FillError::Intake(error)) => Err(failure(error)),
        Err(error @ FillError::Broken(_)) => {
            tracing::error!(%error, "a request failed");
            Err(Refusal::internal())
        }
    }
}

async fn order(
    app: &App,
    caller: &Caller,
    query: PackageQuery,
    request: &RetrievalRequest,
) -> Result<RetrievalAnswer, Refusal> {
    let refused = |msg: &str| Ok(RetrievalAnswer { success: Success::False, msg: Some(msg.to_owned()) });
    if query == PackageQuery::default() {
        return refused(&nothing_named("urn, identifier or origName").message);
    }
    let mut found = app.intake().package_find(caller, &query, "", MANY).await.map_err(failure)?;
    found.retain(|record| record.package.state != PackageState::Deleted);
    let package_id = match found.as_slice() {
        [] => return refused("there is no such object, or what is given does not name the same one"),
        [record] => record.package.id.clone(),
        _ => return refused("that names objects of several contractors: give the urn or the identifier"),
    };
    let view = if request.surface == Some(true) { View::Surface } else { View::Version };
    let portion = Portion { version: request.version, view, excerpt: None };
    let command = OrderRetrieval { package_id, portion, dialect: DIALECT };
    match app.intake().retrieval_order(caller, command).await {
        Ok(_) => Ok(RetrievalAnswer { success: Success::True, msg: None }),
        Err(error) => not_ordered(error),
    }
}

/// What the parameters name an object by, wherever one can be named.
fn named(parameters: &Parameters) -> Result<PackageQuery, Refusal> {
    Ok(PackageQuery {
        urn: text(parameters, "urn")?,
        identifier: text(parameters, "identifier")?,
        object_id: text(parameters, "origName")?,
        container_name: None,
    })
}

fn text(parameters: &Parameters, name: &str) -> Result<Option<String>, Refusal> {
    Ok(parameters.one(name)?.map(str::to_owned))
}

fn nothing_named(choice: &str) -> Refusal {
    Refusal::bad_request(format!("nothing is named: give {choice}"))
}
