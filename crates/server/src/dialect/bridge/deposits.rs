//! Where files are fetched from, and what is deposited.

use std::io;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use dipper_core::Role;
use dipper_core::db::deposits::DepositView;
use dipper_core::gateway::GatewayRegistration;
use dipper_core::intake::{DepositCommand, Intake};
use dipper_core::secret::Secret;

use super::DIALECT;
use super::mapping::{self, DEFAULT_CHECKSUM, DEPOSIT, DEPOSIT_STATES};
use super::wire::{DepositAnswer, DepositBody, DepositEntry, DepositRequest, DepositStatus, Registration};
use crate::app::App;
use crate::http::input::{JsonBody, Parameters, PathNames, read_body};
use crate::http::listed::{Deposits, json, listed};
use crate::http::problem::{Problem, Refused, RefusedBody};
use crate::http::refusal::Refusal;
use crate::http::stream::{PieceWriter, told};
use crate::http::{checksum, json as read, refused};
use crate::signin::{BasicPermit, Read, Write};

/// Files that are looked up at a time.
const FILES: u32 = 1000;

/// Register the gateway from which files are fetched
///
/// A later registration replaces the one before, and is used for every call from then on.
#[utoipa::path(
    post,
    path = "/register",
    tag = "Bridge",
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
    tag = "Bridge",
    security(("basic" = [])),
    params(("checksum-type" = Option<String>, Query, description = "`MD5` (unless given), `SHA-256` or `SHA-512`")),
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
    parameters: Parameters,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let checksum_type = checksum::asked(&parameters)?.unwrap_or(DEFAULT_CHECKSUM);
    let contract_id = permit.caller.account(Role::Write).ok_or_else(|| refused::no_account(Role::Write))?;
    let body = read_body(request).await?;
    let entries = mapping::deposit(read::parse::<DepositRequest>(&body)?, checksum_type);
    drop(body);
    let command = DepositCommand { contract_id: contract_id.to_owned(), dialect: DIALECT, checksum_type, entries };
    app.intake().deposit(&permit.caller, command).await.map_err(refused::deposit)?;
    Ok(StatusCode::CREATED)
}

/// The deposits that are not complete
///
/// Of each filegroup its newest deposit; the one that was accepted last comes first.
#[utoipa::path(
    get,
    path = "/deposit",
    tag = "Bridge",
    security(("basic" = [])),
    params(
        ("status" = Option<String>, Query, description = "Those in one state alone, with or without `DEPOSIT_`"),
        ("limit" = Option<u64>, Query, description = "So many at a time; the header `Link` leads to the next ones. All \
            at once unless given", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "Where a page begins, from such a link"),
    ),
    responses(
        (status = 200, description = "The deposits by their filegroups", body = BTreeMap<String, DepositEntry>),
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
    listed(&parameters, source, |view: &DepositView| {
        let status = mapping::deposit_status(view.order.state)?;
        Some(DepositEntry { files: view.deposit.file_count.to_string(), status })
    })
    .await
}

/// The newest deposit of a filegroup, with its files
///
/// Also once it is complete, and after the filegroup was deleted.
#[utoipa::path(
    get,
    path = "/deposit/{filegroupId}",
    tag = "Bridge",
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
pub(super) async fn deposit_get(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    names: PathNames,
) -> Result<Response, Refusal> {
    let contract_id = permit.caller.account(Role::Read).ok_or_else(|| refused::no_account(Role::Read))?;
    let intake = app.intake().clone();
    let found = intake.deposit_view(&permit.caller, contract_id, names.get("filegroupId")).await;
    let view = found.map_err(refused::deposit)?;
    let status = mapping::deposit_status(view.order.state).ok_or_else(Refusal::internal)?;
    Ok(json(told(async move |writer| describe(writer, &intake, &view, status).await)))
}

/// Writes a deposit with its files, which may be many.
async fn describe(
    mut writer: PieceWriter,
    intake: &Intake,
    view: &DepositView,
    status: DepositStatus,
) -> io::Result<PieceWriter> {
    writer.buffer().push(b'{');
    serde_json::to_writer(writer.buffer(), &view.deposit.object_id)?;
    writer.buffer().extend_from_slice(b":{\"deposit-state\":");
    serde_json::to_writer(writer.buffer(), &status)?;
    if let Some(failure) = &view.order.failure {
        writer.buffer().extend_from_slice(b",\"details\":");
        serde_json::to_writer(writer.buffer(), &failure.message)?;
    }
    writer.buffer().extend_from_slice(b",\"files\":{");
    let (mut after, mut between) = (0, "");
    loop {
        let page = intake.deposit_files(view, after, FILES).await.map_err(io::Error::other)?;
        let Some(last) = page.last() else { break };
        after = last.number;
        for file in page {
            writer.buffer().extend_from_slice(between.as_bytes());
            serde_json::to_writer(writer.buffer(), &file.path)?;
            writer.buffer().push(b':');
            serde_json::to_writer(writer.buffer(), &mapping::deposited(&file, view.deposit.checksum_type))?;
            between = ",";
        }
        writer.pass_on().await?;
    }
    writer.buffer().extend_from_slice(b"}}}");
    Ok(writer)
}
