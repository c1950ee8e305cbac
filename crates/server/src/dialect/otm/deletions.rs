//! What is deleted for good.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use dipper_core::Role;
use dipper_core::db::deletions::Scope;
use dipper_core::deletion::{DeletionCommand, DeletionSummary};

use super::DIALECT;
use super::mapping::{self, DELETE, DELETE_STATES};
use super::wire::{DeleteAccepted, DeleteEntry, SelectionBody, SelectionRequest};
use crate::app::App;
use crate::http::input::{Parameters, PathNames, read_body};
use crate::http::listed::{Deletions, json, listed};
use crate::http::problem::{Problem, Refused, RefusedBody};
use crate::http::refusal::Refusal;
use crate::http::stream::written;
use crate::http::{json as read, refused};
use crate::signin::{BasicPermit, Operator, Read, Write};

/// Delete files
///
/// Everything that is named must be there; otherwise nothing is begun. Without files, all files of the version are meant;
/// without anything, all files of all versions. A checksum must match the stored file; without a version, it selects the newest
/// one that has it. When the files are removed, the archive's operator decides: at once, after a time in which that can be
/// withdrawn, or after somebody else has approved it.
#[utoipa::path(
    post,
    path = "/delete",
    tag = "OTM Bridge",
    security(("basic" = [])),
    request_body = SelectionBody,
    responses(
        (status = 202, description = "It is under way", body = DeleteAccepted),
        (status = 409, description = "A legal hold keeps it, or a deposit of it is under way", body = Problem,
            content_type = "application/problem+json"),
        Refused,
        RefusedBody,
    )
)]
pub(super) async fn deletion_order(
    State(app): State<App>,
    permit: BasicPermit<Write>,
    request: Request,
) -> Result<(StatusCode, Json<DeleteAccepted>), Refusal> {
    let contract_id = permit.caller.account(Role::Write).ok_or_else(|| refused::no_account(Role::Write))?.to_owned();
    let body = read_body(request).await?;
    let (checksum, entries) = mapping::deletions(read::parse::<SelectionRequest>(&body)?)?;
    let command = DeletionCommand {
        contract_id,
        dialect: DIALECT,
        checksum,
        reason: None,
        entries,
        request: Some(body.to_vec()),
    };
    let order = app.intake().deletion(&permit.caller, command).await.map_err(refused::deletion)?;
    Ok((StatusCode::ACCEPTED, Json(DeleteAccepted { delete_id: order.id })))
}

/// The deletions that are under way
///
/// The newest comes first.
#[utoipa::path(
    get,
    path = "/delete",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(
        ("status" = Option<String>, Query, description = "Those in one state alone, with or without `DELETE_`"),
        ("limit" = Option<u64>, Query, description = "So many at a time; the header `Link` leads to the next ones. All \
            at once unless given", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "Where a page begins, from such a link"),
    ),
    responses(
        (status = 200, description = "The deletions by their identifiers", body = BTreeMap<String, DeleteEntry>),
        Refused,
    )
)]
pub(super) async fn deletion_list(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let asked = parameters.state(DELETE, &DELETE_STATES)?;
    let states = mapping::delete_states(asked);
    let source = Deletions { intake: app.intake().clone(), caller: permit.caller, states };
    listed(&parameters, source, |summary: &DeletionSummary| mapping::deletion(&summary.order, &summary.deletion)).await
}

/// The request for a deletion
///
/// As it came; one that was asked for with the draft of this contract is told without its checksums.
#[utoipa::path(
    get,
    path = "/delete/{deleteId}",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(("deleteId" = String, Path, description = "The deletion")),
    responses(
        (status = 200, description = "The request", body = SelectionBody),
        (status = 404, description = "There is no such deletion", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn deletion_get(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    names: PathNames,
) -> Result<Response, Refusal> {
    let (intake, id) = (app.intake(), names.get("deleteId"));
    if let Some(request) = intake.deletion_request(&permit.caller, id).await.map_err(refused::deletion)? {
        return Ok(json(Body::from(request)));
    }
    let view = intake.deletion_view(&permit.caller, id).await.map_err(refused::deletion)?;
    Ok(json(written(move |writer| {
        write!(writer, "{{")?;
        for (index, (entry, files)) in view.entries.iter().enumerate() {
            write!(writer, "{}", if index > 0 { "," } else { "" })?;
            serde_json::to_writer(&mut *writer, &entry.object_id)?;
            write!(writer, ":{{")?;
            if let Some(label) = &entry.label {
                write!(writer, "\"version\":")?;
                serde_json::to_writer(&mut *writer, label)?;
            }
            if entry.scope == Scope::Files {
                write!(writer, "{}\"files\":{{", if entry.label.is_some() { "," } else { "" })?;
                let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
                for (index, path) in paths.into_iter().enumerate() {
                    write!(writer, "{}", if index > 0 { "," } else { "" })?;
                    serde_json::to_writer(&mut *writer, path)?;
                    write!(writer, ":{{}}")?;
                }
                write!(writer, "}}")?;
            }
            write!(writer, "}}")?;
        }
        write!(writer, "}}")
    })))
}

/// Where a deletion stands
#[utoipa::path(
    get,
    path = "/delete/{deleteId}/status",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(("deleteId" = String, Path, description = "The deletion")),
    responses(
        (status = 200, description = "The deletion, under its identifier", body = BTreeMap<String, DeleteEntry>),
        (status = 404, description = "There is no such deletion", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn deletion_status(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    names: PathNames,
) -> Result<Json<BTreeMap<String, DeleteEntry>>, Refusal> {
    let view = app.intake().deletion_view(&permit.caller, names.get("deleteId")).await.map_err(refused::deletion)?;
    let answer = mapping::deletion(&view.order, &view.deletion).ok_or_else(Refusal::internal)?;
    Ok(Json(BTreeMap::from([(view.order.id, answer)])))
}

/// Tell that a deletion has finished
///
/// For storage outside of the Bridge. The archive of this one is its own, and finishes by itself.
#[utoipa::path(
    post,
    path = "/delete/{deleteId}",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(("deleteId" = String, Path, description = "The deletion")),
    responses(
        (status = 409, description = "The archive finishes by itself", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn deletion_complete(_: BasicPermit<Operator>) -> Refusal {
    refused::by_itself()
}
