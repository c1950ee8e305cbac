//! Where files are fetched from, and what is deposited.

use std::collections::BTreeMap;
use std::io;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::LINK;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use dipper_archive::digest::Algorithm;
use dipper_core::Role;
use dipper_core::db::deposits::{DepositFilter, DepositView};
use dipper_core::gateway::GatewayRegistration;
use dipper_core::intake::DepositCommand;
use dipper_core::secret::Secret;

use super::DIALECT;
use super::lists::json;
use super::mapping::{self, DEPOSIT, DEPOSIT_STATES};
use super::wire::{DepositAnswer, DepositBody, DepositRequest, Registration};
use crate::app::App;
use crate::http::input::{JsonBody, Parameters, PathNames, read_body};
use crate::http::problem::{Problem, Refused, RefusedBody};
use crate::http::refusal::Refusal;
use crate::http::stream::told;
use crate::http::{cursor, json as read, refused};
use crate::signin::{BasicPermit, Operator, Read, Write};

const MAX_PAGE: u64 = 1000;
/// Deposits that are looked up at a time.
const PAGE: u32 = 500;
/// The kind of cursor.
const CURSOR: char = 'd';

/// Register the gateway from which files are fetched
///
/// A later registration replaces the one before, and is used for every call from then on.
#[utoipa::path(
    post,
    path = "/register",
    tag = "OTM Bridge",
    security(("basic" = [])),
    request_body = Registration,
    responses((status = 200, description = "It is registered"), Refused, RefusedBody)
)]
pub(super) async fn gateway_register(
    State(app): State<App>,
    permit: BasicPermit<Write>,
    JsonBody(asked): JsonBody<Registration>,
) -> Result<StatusCode, Refusal> {
    let contract_id = permit.caller.account(Role::Write).ok_or_else(|| refused::no_account(Role::Write))?;
    let registration = GatewayRegistration {
        url: asked.gateway_url,
        username: asked.gateway_username,
        password: Secret::new(asked.gateway_password),
    };
    let registered = app.intake().gateway_register(&permit.caller, contract_id, registration).await;
    registered.map_err(refused::deposit)?;
    Ok(StatusCode::OK)
}

/// Deposit filegroups
///
/// Each filegroup is a deposit of its own. Its files are fetched from the gateway; those that an earlier version has with the
/// same checksum are not. The same filegroup and version once more, with the same files and checksums, is accepted, and nothing
/// happens. One that cannot be accepted rejects the whole request.
#[utoipa::path(
    post,
    path = "/deposit",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(("deposit-format" = Option<String>, Query, description = "What the content is, which is for the depositor to \
        know: any is stored as it comes")),
    request_body = DepositBody,
    responses(
        (status = 201, description = "They are accepted"),
        (status = 409, description = "No gateway is registered, or the version was deposited with other files",
            body = Problem, content_type = "application/problem+json"),
        Refused,
        RefusedBody,
    )
)]
pub(super) async fn deposit_order(
    State(app): State<App>,
    permit: BasicPermit<Write>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let contract_id = permit.caller.account(Role::Write).ok_or_else(|| refused::no_account(Role::Write))?;
    let body = read_body(request).await?;
    let entries = mapping::deposit(read::parse::<DepositRequest>(&body)?);
    drop(body);
    let contract_id = contract_id.to_owned();
    let command = DepositCommand { contract_id, dialect: DIALECT, checksum_type: Algorithm::Md5, entries };
    app.intake().deposit(&permit.caller, command).await.map_err(refused::deposit)?;
    Ok(StatusCode::CREATED)
}

/// The deposits that are not complete
///
/// Of each filegroup its newest deposit; the one that was accepted last comes first.
#[utoipa::path(
    get,
    path = "/deposit",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(
        ("status" = Option<String>, Query, description = "Those in one state alone, with or without `DEPOSIT_`"),
        ("limit" = Option<u64>, Query, description = "So many at a time; the header `Link` leads to the next ones. All \
            at once unless given", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "Where a page begins, from such a link"),
    ),
    responses(
        (status = 200, description = "The deposits by their filegroups", body = BTreeMap<String, DepositAnswer>),
        Refused,
    )
)]
pub(super) async fn deposit_list(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let asked = parameters.state(DEPOSIT, &DEPOSIT_STATES)?;
    let limit = parameters.integer("limit", 1..=MAX_PAGE)?;
    let before = parameters.one("cursor")?.map(|given| cursor::read(CURSOR, given)).transpose()?;
    let contract_id = permit.caller.account(Role::Read).ok_or_else(|| refused::no_account(Role::Read))?.to_owned();
    let (intake, caller) = (app.intake().clone(), permit.caller);
    let first = u32::try_from(limit.unwrap_or(PAGE.into())).unwrap_or(PAGE);
    let states = Some(mapping::deposit_states(asked));
    let mut filter = DepositFilter { contract_id, states, before, limit: first };
    let mut page = intake.deposit_list(&caller, &filter).await.map_err(refused::deposit)?;
    let mut next = next_of(&page, first);
    let link = next.as_ref().filter(|_| limit.is_some());
    let link = link.map(|id| cursor::next_link(&parameters, &cursor::write(CURSOR, id)));
    next = next.filter(|_| limit.is_none());
    let mut response = json(told(async move |mut writer| {
        let mut before = b'{';
        loop {
            for view in &page {
                let Some(answer) = mapping::deposit_answer(view) else { continue };
                writer.buffer().push(before);
                serde_json::to_writer(writer.buffer(), &view.deposit.object_id)?;
                writer.buffer().push(b':');
                serde_json::to_writer(writer.buffer(), &answer)?;
                before = b',';
            }
            writer.pass_on().await?;
            let Some(last) = next.take() else { break };
            (filter.before, filter.limit) = (Some(last), PAGE);
            page = intake.deposit_list(&caller, &filter).await.map_err(io::Error::other)?;
            next = next_of(&page, PAGE);
        }
        writer.buffer().extend_from_slice(if before == b'{' { b"{}" } else { b"}" });
        Ok(writer)
    }));
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// Where the list goes on, if the page is full.
fn next_of(page: &[DepositView], limit: u32) -> Option<String> {
    page.last().filter(|_| page.len() == limit as usize).map(|view| view.order.id.clone())
}

/// Where the newest deposit of a filegroup stands
///
/// Also once it is complete, and after the filegroup was deleted.
#[utoipa::path(
    get,
    path = "/deposit/{filegroupId}/status",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(("filegroupId" = String, Path, description = "The filegroup")),
    responses(
        (status = 200, description = "The deposit, under the identifier of its filegroup",
            body = BTreeMap<String, DepositAnswer>),
        (status = 404, description = "There is no such deposit", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn deposit_status(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    names: PathNames,
) -> Result<Json<BTreeMap<String, DepositAnswer>>, Refusal> {
    let contract_id = permit.caller.account(Role::Read).ok_or_else(|| refused::no_account(Role::Read))?;
    let found = app.intake().deposit_view(&permit.caller, contract_id, names.get("filegroupId")).await;
    let view = found.map_err(refused::deposit)?;
    let answer = mapping::deposit_answer(&view).ok_or_else(Refusal::internal)?;
    Ok(Json(BTreeMap::from([(view.deposit.object_id, answer)])))
}

/// Tell that a deposit has finished
///
/// For storage outside of the Bridge. The archive of this one is its own, and finishes by itself.
#[utoipa::path(
    post,
    path = "/deposit/{filegroupId}",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(("filegroupId" = String, Path, description = "The filegroup")),
    responses(
        (status = 409, description = "The archive finishes by itself", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn deposit_complete(_: BasicPermit<Operator>) -> Refusal {
    refused::by_itself()
}
