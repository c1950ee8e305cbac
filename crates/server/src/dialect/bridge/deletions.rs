//! What is deleted for good.

use std::io::Write as _;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use dipper_core::Role;
use dipper_core::deletion::{DeletionCommand, DeletionSummary};

use super::DIALECT;
use super::mapping::{self, DEFAULT_CHECKSUM, DELETE, DELETE_STATES};
use super::wire::{DeleteAccepted, DeleteAnswer, DeleteEntry, DeletedFileAnswer, SelectionBody, SelectionRequest};
use crate::app::App;
use crate::http::input::{Parameters, PathNames, read_body};
use crate::http::listed::{Deletions, json, listed};
use crate::http::problem::{Problem, Refused, RefusedBody};
use crate::http::refusal::Refusal;
use crate::http::stream::written;
use crate::http::{checksum, json as read, refused};
use crate::signin::{BasicPermit, Read, Write};

/// Delete files
///
/// Everything that is named must be there; otherwise nothing is begun. Without files, all files of the version are meant;
/// without anything, all files of all versions. A checksum must match the stored file; without a version, it selects the newest
/// one that has it. When the files are removed, the archive's operator decides: at once, after a time in which that can be
/// withdrawn, or after somebody else has approved it.
#[utoipa::path(
    post,
    path = "/delete",
    tag = "Bridge",
    security(("basic" = [])),
    params(("checksum-type" = Option<String>, Query, description = "`MD5` (unless given), `SHA-256` or `SHA-512`")),
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
    parameters: Parameters,
    request: Request,
) -> Result<(StatusCode, Json<DeleteAccepted>), Refusal> {
    let checksum = checksum::asked(&parameters)?.unwrap_or(DEFAULT_CHECKSUM);
    let contract_id = permit.caller.account(Role::Write).ok_or_else(|| refused::no_account(Role::Write))?.to_owned();
    let body = read_body(request).await?;
    let entries = mapping::deletions(read::parse::<SelectionRequest>(&body)?)?;
    let command = DeletionCommand { contract_id, dialect: DIALECT, checksum, reason: None, entries, request: None };
    let order = app.intake().deletion(&permit.caller, command).await.map_err(refused::deletion)?;
    Ok((StatusCode::ACCEPTED, Json(DeleteAccepted { delete_id: order.id })))
}

/// The deletions that are under way
///
/// The newest comes first.
#[utoipa::path(
    get,
    path = "/delete",
    tag = "Bridge",
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
    listed(&parameters, source, |summary: &DeletionSummary| {
        let status = mapping::delete_status(summary.order.state)?;
        Some(DeleteEntry { files: summary.deletion.file_count.to_string(), status })
    })
    .await
}

/// A deletion with its files
#[utoipa::path(
    get,
    path = "/delete/{deleteId}",
    tag = "Bridge",
    security(("basic" = [])),
    params(("deleteId" = String, Path, description = "The deletion")),
    responses(
        (status = 200, description = "The deletion", body = DeleteAnswer),
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
    let view = app.intake().deletion_view(&permit.caller, names.get("deleteId")).await.map_err(refused::deletion)?;
    let status = mapping::delete_status(view.order.state).ok_or_else(Refusal::internal)?;
    Ok(json(written(move |writer| {
        write!(writer, "{{\"status\":")?;
        serde_json::to_writer(&mut *writer, &status)?;
        if let Some(failure) = &view.order.failure {
            write!(writer, ",\"details\":")?;
            serde_json::to_writer(&mut *writer, &failure.message)?;
        }
        write!(writer, ",\"filegroups\":{{")?;
        for (index, (entry, files)) in view.entries.iter().enumerate() {
            write!(writer, "{}", if index > 0 { "," } else { "" })?;
            serde_json::to_writer(&mut *writer, &entry.object_id)?;
            write!(writer, ":{{")?;
            // A file that several versions have is told once, by the newest of them.
            let mut files: Vec<_> = files.iter().collect();
            files.sort_by(|one, other| (&one.path, other.version).cmp(&(&other.path, one.version)));
            files.dedup_by(|one, other| one.path == other.path);
            for (index, file) in files.into_iter().enumerate() {
                write!(writer, "{}", if index > 0 { "," } else { "" })?;
                serde_json::to_writer(&mut *writer, &file.path)?;
                write!(writer, ":")?;
                let answer = DeletedFileAnswer { status: mapping::removal(file.state), details: file.reason.clone() };
                serde_json::to_writer(&mut *writer, &answer)?;
            }
            write!(writer, "}}")?;
        }
        write!(writer, "}}}}")
    })))
}
