//! What was done with filegroups and files.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;

use super::mapping;
use super::wire::AuditEvent;
use crate::app::App;
use crate::http::audited;
use crate::http::input::{Parameters, PathNames};
use crate::http::problem::{Problem, Refused};
use crate::http::refusal::Refusal;
use crate::signin::{BasicPermit, Read};

/// What one report tells: of a filegroup, or of a file of it, by identifier.
type AuditAnswer = BTreeMap<String, Vec<BTreeMap<String, Vec<AuditEvent>>>>;

/// What was done with a filegroup
///
/// The oldest comes first. Under the identifier of the filegroup stand the events of the filegroup as a whole; those of one
/// file are asked for with its identifier. Also of filegroups that were deleted.
#[utoipa::path(
    get,
    path = "/audit/{filegroupId}",
    tag = "Bridge",
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
    tag = "Bridge",
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
