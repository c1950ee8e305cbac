//! What was done with filegroups and files.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use dipper_core::Role;

use super::mapping;
use super::wire::{AuditBody, AuditEvent, AuditRequest};
use crate::app::App;
use crate::http::input::{Parameters, PathNames, read_body};
use crate::http::problem::{Problem, Refused, RefusedBody};
use crate::http::refusal::Refusal;
use crate::http::{audited, json as read, refused};
use crate::signin::{BasicPermit, Operator, Read};

/// What one report tells: of a filegroup, or of a file of it, by identifier.
type AuditAnswer = BTreeMap<String, Vec<BTreeMap<String, Vec<AuditEvent>>>>;

/// What was done with a filegroup
///
/// The oldest comes first. Under the identifier of the filegroup stand the events of the filegroup as a whole; those of one
/// file are asked for with its identifier. Also of filegroups that were deleted.
#[utoipa::path(
    get,
    path = "/audit/{filegroupId}",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(
        ("filegroupId" = String, Path, description = "The filegroup"),
        ("limit" = Option<u64>, Query, description = "So many events at a time, 1000 unless given; the header `Link` leads to \
            the next ones", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "Where a page begins, from such a link"),
    ),
    responses(
        (status = 200, description = "The events", body = BTreeMap<String, Vec<BTreeMap<String, Vec<AuditEvent>>>>),
        (status = 404, description = "Nothing is known of such a filegroup", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn audit_filegroup(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    names: PathNames,
    parameters: Parameters,
) -> Result<(HeaderMap, Json<AuditAnswer>), Refusal> {
    report(&app, &permit, &names, &parameters, None).await
}

/// What was done with a file
///
/// The oldest comes first. Slashes in its identifier may be written as `%2F`.
#[utoipa::path(
    get,
    path = "/audit/{filegroupId}/{*fileId}",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(
        ("filegroupId" = String, Path, description = "The filegroup"),
        ("fileId" = String, Path, description = "The file"),
        ("limit" = Option<u64>, Query, description = "So many events at a time, 1000 unless given; the header `Link` leads to \
            the next ones", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "Where a page begins, from such a link"),
    ),
    responses(
        (status = 200, description = "The events", body = BTreeMap<String, Vec<BTreeMap<String, Vec<AuditEvent>>>>),
        (status = 404, description = "Nothing is known of such a filegroup or file", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn audit_file(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    names: PathNames,
    parameters: Parameters,
) -> Result<(HeaderMap, Json<AuditAnswer>), Refusal> {
    report(&app, &permit, &names, &parameters, Some(names.get("fileId"))).await
}

async fn report(
    app: &App,
    permit: &BasicPermit<Read>,
    names: &PathNames,
    parameters: &Parameters,
    path: Option<&str>,
) -> Result<(HeaderMap, Json<AuditAnswer>), Refusal> {
    let filegroup = names.get("filegroupId");
    let (headers, records) = audited::page(app, permit, parameters, filegroup, path).await?;
    let events = records.iter().map(mapping::event).collect();
    let about = BTreeMap::from([(path.unwrap_or(filegroup).to_owned(), events)]);
    Ok((headers, Json(BTreeMap::from([(filegroup.to_owned(), vec![about])]))))
}

/// Add events to the audit log
///
/// For what was done elsewhere, such as a copy that was made in another archive. All of them are added, or none. The account is
/// the one that is named, or the only one that the caller operates.
#[utoipa::path(
    post,
    path = "/audit",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(("account" = Option<String>, Query, description = "The account whose filegroups are named")),
    request_body = AuditBody,
    responses(
        (status = 200, description = "They are added"),
        Refused,
        RefusedBody,
    )
)]
pub(super) async fn audit_add(
    State(app): State<App>,
    permit: BasicPermit<Operator>,
    parameters: Parameters,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let account = parameters.one("account")?.or_else(|| permit.caller.account(Role::Operator));
    let account = account.ok_or_else(|| {
        Refusal::unprocessable("ACCOUNT", "name the account in the parameter `account`: several are operated")
    })?;
    let body = read_body(request).await?;
    let entries = mapping::audit(read::parse::<AuditRequest>(&body)?, account, &permit.caller.client_id)?;
    app.intake().audit_add(&permit.caller, entries).await.map_err(refused::audit)?;
    Ok(StatusCode::OK)
}
