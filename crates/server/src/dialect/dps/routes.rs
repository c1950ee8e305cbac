//! The endpoints.

use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderName, StatusCode};
use dipper_core::db::orders::{OrderFilter, OrderKind};
use dipper_core::intake::{IntakeError, OrderDissemination, OrderView, PackageFilter, Portion};

use super::errors::{archive_unknown, dissemination_unknown, refusal};
use super::wire::{Archive, ArchivePage, Dissemination, DisseminationOrder, DisseminationPage, ErrorAnswer};
use super::{DIALECT, mapping};
use crate::app::App;
use crate::http::cursor;
use crate::http::input::{JsonBody, Parameters, PathNames};
use crate::http::refusal::Refusal;
use crate::signin::{Permit, Read};

/// Entries on a page, unless the client says how many.
const PAGE: u64 = 100;
const MAX_PAGE: u64 = 1000;

/// Create a dissemination
///
/// Orders the delivery of an archived package. Checked in this order: the token and its role for the package's
/// contract, whether the archive exists, whether it is preserved, whether this client has it ordered already.
#[utoipa::path(
    post,
    path = "/v1/disseminations",
    tag = "Disseminations",
    request_body = DisseminationOrder,
    responses(
        (status = 201, description = "The dissemination", body = Dissemination,
            headers(("Location" = String, description = "Where to follow it"))),
        (status = 400, description = "The body is wrong", body = ErrorAnswer),
        (status = 401, description = "No token, or one that is not accepted", body = ErrorAnswer),
        (status = 403, description = "No role `{contractId}_R`", body = ErrorAnswer),
        (status = 404, description = "There is no such archive", body = ErrorAnswer),
        (status = 409, description = "Already under way: its id is in `details`, its address in `Location`",
            body = ErrorAnswer, headers(("Location" = String, description = "The one under way"))),
        (status = 413, description = "The body is too long", body = ErrorAnswer),
        (status = 422, description = "The archive is not preserved", body = ErrorAnswer),
        (status = 429, description = "Too many requests", body = ErrorAnswer),
        (status = 503, description = "No room left, or too busy: `Retry-After` says when to come back",
            body = ErrorAnswer),
    )
)]
pub(super) async fn dissemination_create(
    State(app): State<App>,
    permit: Permit<Read>,
    JsonBody(order): JsonBody<DisseminationOrder>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Dissemination>), Refusal> {
    let (priority, rank) = mapping::priority(order.priority, app.settings().dps.priority_order)?;
    if order.archive_id.is_empty() {
        return Err(Refusal::bad_request("the field `archiveId` is empty"));
    }
    let command = OrderDissemination {
        package_id: order.archive_id,
        portion: Portion::default(),
        priority,
        rank,
        dialect: DIALECT,
    };
    let view = app.intake().order_dissemination(&permit.caller, command).await.map_err(|error| refuse(&app, error))?;
    let address = location(&app, &view.order.id);
    let body = mapping::dissemination(view);
    Ok((StatusCode::CREATED, [(LOCATION, address)], Json(body)))
}

/// Fetch a dissemination
#[utoipa::path(
    get,
    path = "/v1/disseminations/{disseminationId}",
    tag = "Disseminations",
    params(("disseminationId" = String, Path)),
    responses(
        (status = 200, description = "The dissemination", body = Dissemination),
        (status = 401, description = "No token, or one that is not accepted", body = ErrorAnswer),
        (status = 403, description = "No role `{contractId}_R`", body = ErrorAnswer),
        (status = 404, description = "There is no such dissemination", body = ErrorAnswer),
    )
)]
pub(super) async fn dissemination_get(
    State(app): State<App>,
    permit: Permit<Read>,
    names: PathNames,
) -> Result<Json<Dissemination>, Refusal> {
    let view = visible(&app, &permit, names.get("disseminationId")).await?;
    Ok(Json(mapping::dissemination(view)))
}

/// List disseminations
///
/// Newest first, of all contracts that the token may read.
#[utoipa::path(
    get,
    path = "/v1/disseminations",
    tag = "Disseminations",
    params(
        ("contractId" = Option<String>, Query, description = "Of this contract alone"),
        ("archiveId" = Option<String>, Query, description = "Of this archive alone"),
        ("status" = Option<String>, Query, description = "In this status alone; several with commas between",
            pattern = "^([A-Z0-9_]+(,[A-Z0-9_]+)*)?$"),
        ("limit" = Option<u64>, Query, description = "Entries on a page, 100 unless given", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before; anything else is refused"),
    ),
    responses(
        (status = 200, description = "A page", body = DisseminationPage),
        (status = 400, description = "A parameter is wrong", body = ErrorAnswer),
        (status = 401, description = "No token, or one that is not accepted", body = ErrorAnswer),
        (status = 403, description = "No role `{contractId}_R`", body = ErrorAnswer),
    )
)]
pub(super) async fn dissemination_list(
    State(app): State<App>,
    permit: Permit<Read>,
    query: Parameters,
) -> Result<Json<DisseminationPage>, Refusal> {
    let limit = limit(&query)?;
    let filter = OrderFilter {
        kind: OrderKind::Dissemination,
        contract_id: query.one("contractId")?.map(str::to_owned),
        package_id: query.one("archiveId")?.map(str::to_owned),
        states: query.one("status")?.map(mapping::states).transpose()?,
        dialect: Some(DIALECT.to_owned()),
        before: query.one("cursor")?.map(|cursor| cursor::read('o', cursor)).transpose()?,
        limit: limit + 1,
    };
    let mut views = app.intake().order_list(&permit.caller, &filter).await.map_err(|error| refuse(&app, error))?;
    let next_cursor = page_end(&mut views, limit).map(|view| cursor::write('o', &view.order.id));
    let disseminations = views.into_iter().map(mapping::dissemination).collect();
    Ok(Json(DisseminationPage { disseminations, next_cursor }))
}

/// Cancel or release a dissemination
///
/// What is not delivered yet ends as `REJECTED` with the error `CANCELLED`. The links of what is delivered stop
/// working. For the client that ordered, and for roles `{contractId}_W`. Repeating it changes nothing.
#[utoipa::path(
    delete,
    path = "/v1/disseminations/{disseminationId}",
    tag = "Disseminations",
    params(("disseminationId" = String, Path)),
    responses(
        (status = 200, description = "The dissemination as it is now", body = Dissemination),
        (status = 401, description = "No token, or one that is not accepted", body = ErrorAnswer),
        (status = 403, description = "Ordered by another client", body = ErrorAnswer),
        (status = 404, description = "There is no such dissemination", body = ErrorAnswer),
    )
)]
pub(super) async fn dissemination_delete(
    State(app): State<App>,
    permit: Permit<Read>,
    names: PathNames,
) -> Result<Json<Dissemination>, Refusal> {
    let view = visible(&app, &permit, names.get("disseminationId")).await?;
    let cancelled = app.intake().order_cancel(&permit.caller, &view.order.id).await;
    let view = cancelled.map_err(|error| refuse(&app, error))?;
    Ok(Json(mapping::dissemination(view)))
}

/// Make new download links
///
/// For a delivered dissemination that is still kept; nothing is prepared again. Earlier links keep their time.
#[utoipa::path(
    post,
    path = "/v1/disseminations/{disseminationId}/download-links",
    tag = "Disseminations",
    params(("disseminationId" = String, Path)),
    responses(
        (status = 200, description = "The dissemination with the new links", body = Dissemination),
        (status = 401, description = "No token, or one that is not accepted", body = ErrorAnswer),
        (status = 403, description = "No role `{contractId}_R`", body = ErrorAnswer),
        (status = 404, description = "There is no such dissemination", body = ErrorAnswer),
        (status = 409, description = "It is not delivered", body = ErrorAnswer),
        (status = 410, description = "The delivery was released, or its time is over: order again", body = ErrorAnswer),
        (status = 422, description = "The archive is not preserved any more", body = ErrorAnswer),
    )
)]
pub(super) async fn download_links_create(
    State(app): State<App>,
    permit: Permit<Read>,
    names: PathNames,
) -> Result<Json<Dissemination>, Refusal> {
    let view = visible(&app, &permit, names.get("disseminationId")).await?;
    let renewed = app.intake().delivery_renew(&permit.caller, &view.order.id).await;
    let view = renewed.map_err(|error| refuse(&app, error))?;
    Ok(Json(mapping::dissemination(view)))
}

/// List archived packages
///
/// Sorted by identifier, of all contracts that the token may read.
#[utoipa::path(
    get,
    path = "/v1/archives",
    tag = "Archives",
    params(
        ("contractId" = Option<String>, Query, description = "Of this contract alone"),
        ("objectId" = Option<String>, Query, description = "With this name of the depositor's alone"),
        ("limit" = Option<u64>, Query, description = "Entries on a page, 100 unless given", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before; anything else is refused"),
    ),
    responses(
        (status = 200, description = "A page", body = ArchivePage),
        (status = 400, description = "A parameter is wrong", body = ErrorAnswer),
        (status = 401, description = "No token, or one that is not accepted", body = ErrorAnswer),
        (status = 403, description = "No role `{contractId}_R`", body = ErrorAnswer),
    )
)]
pub(super) async fn archive_list(
    State(app): State<App>,
    permit: Permit<Read>,
    query: Parameters,
) -> Result<Json<ArchivePage>, Refusal> {
    let limit = limit(&query)?;
    let filter = PackageFilter {
        contract_id: query.one("contractId")?.map(str::to_owned),
        object_id: query.one("objectId")?.map(str::to_owned),
        after: query.one("cursor")?.map(|cursor| cursor::read('a', cursor)).transpose()?.unwrap_or_default(),
        limit: limit + 1,
    };
    let mut packages = app.intake().package_list(&permit.caller, &filter).await.map_err(|error| refuse(&app, error))?;
    let next_cursor = page_end(&mut packages, limit).map(|package| cursor::write('a', &package.id));
    Ok(Json(ArchivePage { archives: packages.into_iter().map(mapping::archive).collect(), next_cursor }))
}

/// Fetch an archived package
#[utoipa::path(
    get,
    path = "/v1/archives/{archiveId}",
    tag = "Archives",
    params(("archiveId" = String, Path)),
    responses(
        (status = 200, description = "The package", body = Archive),
        (status = 401, description = "No token, or one that is not accepted", body = ErrorAnswer),
        (status = 403, description = "No role `{contractId}_R`", body = ErrorAnswer),
        (status = 404, description = "There is no such archive", body = ErrorAnswer),
    )
)]
pub(super) async fn archive_get(
    State(app): State<App>,
    permit: Permit<Read>,
    names: PathNames,
) -> Result<Json<Archive>, Refusal> {
    let id = names.get("archiveId");
    match app.intake().package_get(&permit.caller, id).await {
        Ok((package, _)) => Ok(Json(mapping::archive(package))),
        // Only an order is told 403; here a package of somebody else's looks like none.
        Err(IntakeError::NotAllowed { .. }) => Err(archive_unknown(id)),
        Err(error) => Err(refuse(&app, error)),
    }
}

/// An order that was made in this contract and that the caller may see.
async fn visible(app: &App, permit: &Permit<Read>, id: &str) -> Result<OrderView, Refusal> {
    let view = app.intake().order_get(&permit.caller, id).await.map_err(|error| refuse(app, error))?;
    if view.order.dialect == DIALECT { Ok(view) } else { Err(dissemination_unknown(id)) }
}

fn refuse(app: &App, error: IntakeError) -> Refusal {
    refusal(error, |id| location(app, id))
}

fn location(app: &App, id: &str) -> String {
    format!("{}{}/v1/disseminations/{id}", app.public_url(), app.settings().dps.base_path)
}

fn limit(query: &Parameters) -> Result<u32, Refusal> {
    let limit = query.integer("limit", 1..=MAX_PAGE)?.unwrap_or(PAGE);
    Ok(u32::try_from(limit).unwrap_or(u32::MAX - 1))
}

/// Cuts a list down to a page; the last entry of it when there is more.
fn page_end<T>(list: &mut Vec<T>, limit: u32) -> Option<&T> {
    let limit = limit as usize;
    if list.len() <= limit {
        return None;
    }
    list.truncate(limit);
    list.last()
}
