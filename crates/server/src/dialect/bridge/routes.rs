//! The base of the service, and its accounts.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dipper_core::Caller;

use super::wire::{AccountAnswer, Details};
use crate::app::App;
use crate::http::checksum;
use crate::http::input::PathNames;
use crate::http::problem::{Problem, Refused};
use crate::http::refusal::Refusal;
use crate::http::refused;
use crate::signin::{BasicPermit, Operator, Read};

/// What this Bridge is
#[utoipa::path(
    get,
    path = "",
    tag = "Bridge",
    security(("basic" = [])),
    responses((status = 200, description = "The version, and the types of checksums", body = Details), Refused)
)]
pub(super) async fn details(_: BasicPermit<Read>) -> Json<Details> {
    Json(Details { bridge_version: env!("CARGO_PKG_VERSION"), supported_checksum_types: checksum::NAMES })
}

/// Add an account, or give it another password
///
/// The account is a contract with a client of the same name. Whoever adds it operates it from then on. The password is shown
/// this once; one that the account had before stops working at once.
#[utoipa::path(
    put,
    path = "/account/{accountId}",
    tag = "Bridge",
    security(("basic" = [])),
    params(("accountId" = String, Path, description = "1 to 100 of the characters A-Z a-z 0-9 . _ - @")),
    responses(
        (status = 201, description = "The account and its credentials", body = AccountAnswer),
        (status = 404, description = "No account is named", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The name is taken", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The name cannot be one", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn account_put(
    State(app): State<App>,
    permit: BasicPermit<Operator>,
    names: PathNames,
) -> Result<(StatusCode, Json<AccountAnswer>), Refusal> {
    put(&app, &permit.caller, &names).await
}

/// Add an account, or give it another password
///
/// The same as `PUT`.
#[utoipa::path(
    post,
    path = "/account/{accountId}",
    tag = "Bridge",
    security(("basic" = [])),
    params(("accountId" = String, Path, description = "1 to 100 of the characters A-Z a-z 0-9 . _ - @")),
    responses(
        (status = 201, description = "The account and its credentials", body = AccountAnswer),
        (status = 404, description = "No account is named", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The name is taken", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The name cannot be one", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn account_post(
    State(app): State<App>,
    permit: BasicPermit<Operator>,
    names: PathNames,
) -> Result<(StatusCode, Json<AccountAnswer>), Refusal> {
    put(&app, &permit.caller, &names).await
}

async fn put(app: &App, caller: &Caller, names: &PathNames) -> Result<(StatusCode, Json<AccountAnswer>), Refusal> {
    let account = app.intake().account_put(caller, names.get("accountId")).await.map_err(refused::account)?;
    let answer = AccountAnswer {
        account_username: account.id.clone(),
        account_password: account.password.reveal().to_owned(),
        account_id: account.id,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// The accounts that the caller operates
#[utoipa::path(
    get,
    path = "/account",
    tag = "Bridge",
    security(("basic" = [])),
    responses((status = 200, description = "Their identifiers, sorted", body = Vec<String>), Refused)
)]
pub(super) async fn account_list(
    State(app): State<App>,
    permit: BasicPermit<Operator>,
) -> Result<Json<Vec<String>>, Refusal> {
    app.intake().account_list(&permit.caller).await.map(Json).map_err(|error| refused::database(&error))
}
