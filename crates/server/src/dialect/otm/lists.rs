//! What was deposited.

use std::collections::HashSet;
use std::io::{self, Write as _};

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::{IntoResponse, Response};
use dipper_core::Caller;
use dipper_core::intake::{Filegroup, Intake};

use super::mapping;
use crate::app::App;
use crate::http::input::{Parameters, PathNames};
use crate::http::listed::json;
use crate::http::problem::{Problem, Refused};
use crate::http::refusal::Refusal;
use crate::http::stream::{PieceWriter, told, written};
use crate::http::{cursor, refused};
use crate::signin::{BasicPermit, Read};

const MAX_PAGE: u64 = 10_000;
/// Names that are looked up at a time.
const PAGE: u32 = 1000;
/// The kind of cursor.
const CURSOR: char = 'f';

/// The filegroups that were deposited
///
/// Sorted; those that were deleted are left out.
#[utoipa::path(
    get,
    path = "/list",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(
        ("limit" = Option<u64>, Query, description = "So many at a time; the header `Link` leads to the next ones. All \
            at once unless given", minimum = 1, maximum = 10000),
        ("cursor" = Option<String>, Query, description = "Where a page begins, from such a link"),
    ),
    responses((status = 200, description = "Their identifiers", body = Vec<String>), Refused)
)]
pub(super) async fn filegroup_list(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let limit = parameters.integer("limit", 1..=MAX_PAGE)?;
    let after = parameters.one("cursor")?.map(|given| cursor::read_name(CURSOR, given)).transpose()?;
    let (intake, caller) = (app.intake().clone(), permit.caller);
    let first = u32::try_from(limit.unwrap_or(PAGE.into())).unwrap_or(PAGE);
    let page = intake.filegroup_list(&caller, &after.unwrap_or_default(), first).await.map_err(refused::filegroup)?;
    let is_full = page.len() == first as usize;
    let next = page.last().filter(|_| is_full).cloned();
    match (limit, next) {
        (None, Some(_)) => Ok(json(told(async move |writer| all(writer, intake, caller, page).await))),
        (Some(_), Some(last)) => {
            let link = cursor::next_link(&parameters, &cursor::write(CURSOR, &last));
            let mut response = axum::Json(page).into_response();
            if let Ok(link) = HeaderValue::from_str(&link) {
                response.headers_mut().insert(LINK, link);
            }
            Ok(response)
        }
        (_, None) => Ok(axum::Json(page).into_response()),
    }
}

async fn all(
    mut writer: PieceWriter,
    intake: Intake,
    caller: Caller,
    mut page: Vec<String>,
) -> io::Result<PieceWriter> {
    let mut before = '[';
    while let Some(last) = page.last().cloned() {
        for name in &page {
            write!(writer.buffer(), "{before}")?;
            serde_json::to_writer(writer.buffer(), name)?;
            before = ',';
        }
        writer.pass_on().await?;
        page = intake.filegroup_list(&caller, &last, PAGE).await.map_err(io::Error::other)?;
    }
    writer.buffer().push(b']');
    Ok(writer)
}

/// The versions and files of a filegroup
///
/// Versions and files that were deleted are left out.
#[utoipa::path(
    get,
    path = "/list/{filegroupId}",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(("filegroupId" = String, Path, description = "The filegroup")),
    responses(
        (status = 200, description = "The identifier of the filegroup, and under the name of each version its files with \
            every checksum that is on record. Of several versions of one name the older ones are called v1, v2 and so on",
            body = BTreeMap<String, serde_json::Value>,
            example = json!({"filegroup": "filegroup-1", "2026-01-31": {"a/b.tif": {"size": "654321",
                "MD5": "d41d8cd98f00b204e9800998ecf8427e"}}})),
        (status = 404, description = "There is no such filegroup", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "The filegroup lies in cold storage", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn filegroup_get(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    names: PathNames,
) -> Result<Response, Refusal> {
    let opened = app.intake().filegroup_open(&permit.caller, names.get("filegroupId")).await;
    let filegroup = opened.map_err(refused::filegroup)?;
    Ok(json(written(move |writer| describe(writer, &filegroup, None))))
}

/// The versions of one file of a filegroup
///
/// Slashes in its identifier may be written as `%2F`.
#[utoipa::path(
    get,
    path = "/list/{filegroupId}/{*fileId}",
    tag = "OTM Bridge",
    security(("basic" = [])),
    params(
        ("filegroupId" = String, Path, description = "The filegroup"),
        ("fileId" = String, Path, description = "The file"),
    ),
    responses(
        (status = 200, description = "The same as for the filegroup, with that file alone",
            body = BTreeMap<String, serde_json::Value>),
        (status = 404, description = "There is no such filegroup, or no such file in it", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "The filegroup lies in cold storage", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn filegroup_file(
    State(app): State<App>,
    permit: BasicPermit<Read>,
    names: PathNames,
) -> Result<Response, Refusal> {
    let opened = app.intake().filegroup_open(&permit.caller, names.get("filegroupId")).await;
    let filegroup = opened.map_err(refused::filegroup)?;
    let path = names.get("fileId").to_owned();
    if !filegroup.has(&path) {
        return Err(Refusal::not_found("the filegroup has no such file"));
    }
    Ok(json(written(move |writer| describe(writer, &filegroup, Some(&path)))))
}

fn describe(writer: &mut PieceWriter, filegroup: &Filegroup, path: Option<&str>) -> io::Result<()> {
    let lengths = filegroup.lengths().map_err(io::Error::other)?;
    write!(writer, "{{\"filegroup\":")?;
    serde_json::to_writer(&mut *writer, &filegroup.package.object_id)?;
    for (number, name) in names(filegroup.versions()) {
        let mut files = filegroup.files(number, path, &lengths).peekable();
        if files.peek().is_none() {
            continue;
        }
        write!(writer, ",")?;
        serde_json::to_writer(&mut *writer, &name)?;
        let mut before = ":{";
        for file in files {
            write!(writer, "{before}")?;
            serde_json::to_writer(&mut *writer, file.path)?;
            write!(writer, ":")?;
            serde_json::to_writer(&mut *writer, &mapping::told(file.size_bytes, &file.checksums))?;
            before = ",";
        }
        write!(writer, "}}")?;
    }
    write!(writer, "}}")
}

/// What the versions are called, oldest first: by their labels, each once. What another version, or the filegroup, is called
/// by already has its number.
fn names(versions: &[(u32, String)]) -> Vec<(u32, String)> {
    let mut taken: HashSet<String> = HashSet::from(["filegroup".to_owned()]);
    let mut names: Vec<(u32, String)> = Vec::with_capacity(versions.len());
    for (number, label) in versions.iter().rev() {
        let mut name = label.clone();
        while !taken.insert(name.clone()) {
            name = if name == *label { format!("v{number}") } else { format!("{name}'") };
        }
        names.push((*number, name));
    }
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_has_a_name_of_its_own() {
        let versions = |labels: &[&str]| -> Vec<(u32, String)> {
            (1..).zip(labels).map(|(number, label)| (number, (*label).to_owned())).collect()
        };
        for (labels, expected) in [
            (vec!["a", "b"], ["a", "b"].as_slice()),
            (vec!["a", "", "a"], &["v1", "", "a"]),
            (vec!["filegroup"], &["v1"]),
            (vec!["x", "v1", "x"], &["v1'", "v1", "x"]),
        ] {
            let named = names(&versions(&labels));
            assert_eq!(named.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), expected, "{labels:?}");
        }
    }
}
