//! Where files are fetched from, and what is deposited.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use dipper_archive::digest::Algorithm;
use dipper_core::Role;
use dipper_core::gateway::GatewayRegistration;
use dipper_core::intake::DepositCommand;
use dipper_core::secret::Secret;

use super::DIALECT;
use super::mapping::{self, DEPOSIT, DEPOSIT_STATES};
use super::wire::{DepositAnswer, DepositBody, DepositRequest, Registration};
use crate::app::App;
use crate::http::input::{JsonBody, Parameters, PathNames, read_body};
use crate::http::listed::{Deposits, listed};
use crate::http::problem::{Problem, Refused, RefusedBody};
use crate::http::refusal::Refusal;
use crate::http::{json as read, refused};
use crate::signin::{BasicPermit, Operator, Read, Write};

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
    let contract_id = permit.caller.account(Role::Read).ok_or_else(|| refused::no_account(Role::Read))?.to_owned();
    let states = mapping::deposit_states(asked);
    let source = Deposits { intake: app.intake().clone(), caller: permit.caller, contract_id, states };
    listed(&parameters, source, mapping::deposit_answer).await
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
