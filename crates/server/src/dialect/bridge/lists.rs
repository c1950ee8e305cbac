//! What was deposited.

use std::io::{self, Write as _};

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::{IntoResponse, Response};
use dipper_archive::digest::Algorithm;
use dipper_core::Caller;
use dipper_core::intake::{Filegroup, Intake};

use super::mapping::DEFAULT_CHECKSUM;
use super::wire::ListedFile;
use crate::app::App;
use crate::http::input::{Parameters, PathNames};
use crate::http::listed::json;
use crate::http::problem::{Problem, Refused};
use crate::http::refusal::Refusal;
use crate::http::stream::{PieceWriter, told, written};
use crate::http::{checksum, cursor, refused};
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
    tag = "Bridge",
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
/// The oldest version comes first. Versions and files that were deleted are left out. A filegroup with the identifier
/// `checksum-type` has that key for itself: which type is told then, the parameter says.
#[utoipa::path(
    get,
    path = "/list/{filegroupId}",
    tag = "Bridge",
    security(("basic" = [])),
    params(
        ("filegroupId" = String, Path, description = "The filegroup"),
        ("checksum-type" = Option<String>, Query, description = "`MD5`, `SHA-256` or `SHA-512`; one that every file has \
            unless given, MD5 rather than others"),
    ),
    responses(
        (status = 200, description = "The type of checksums, and under the identifier of the filegroup its versions, \
            each with its name and its files", body = BTreeMap<String, serde_json::Value>,
            example = json!({"checksum-type": "MD5", "filegroup-1": [{"version": "2026-01-31",
                "files": {"a/b.tif": {"size": "654321", "checksum": "d41d8cd98f00b204e9800998ecf8427e"}}}]})),
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
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let asked = checksum::asked(&parameters)?;
    let opened = app.intake().filegroup_open(&permit.caller, names.get("filegroupId")).await;
    let filegroup = opened.map_err(refused::filegroup)?;
    Ok(json(written(move |writer| {
        let algorithm = asked.unwrap_or_else(|| told_checksum(&filegroup));
        describe(writer, &filegroup, algorithm)
    })))
}

/// The key that stands beside the filegroup.
const CHECKSUM_TYPE: &str = "checksum-type";

/// The type of checksum that every file has.
fn told_checksum(filegroup: &Filegroup) -> Algorithm {
    let others = [Algorithm::Sha512, Algorithm::Sha256];
    let known = [DEFAULT_CHECKSUM].into_iter().chain(others).find(|algorithm| filegroup.records(*algorithm));
    known.unwrap_or(DEFAULT_CHECKSUM)
}

fn describe(writer: &mut PieceWriter, filegroup: &Filegroup, algorithm: Algorithm) -> io::Result<()> {
    let lengths = filegroup.lengths().map_err(io::Error::other)?;
    write!(writer, "{{")?;
    // The key is that of the filegroup then: a key that comes twice means nothing (RFC 8259 section 4).
    if filegroup.package.object_id != CHECKSUM_TYPE {
        write!(writer, "\"{CHECKSUM_TYPE}\":\"{}\",", checksum::name(algorithm).unwrap_or_default())?;
    }
    serde_json::to_writer(&mut *writer, &filegroup.package.object_id)?;
    let mut before = ":[";
    for (number, label) in filegroup.versions() {
        write!(writer, "{before}{{\"version\":")?;
        serde_json::to_writer(&mut *writer, label)?;
        write!(writer, ",\"files\":{{")?;
        for (index, file) in filegroup.files(*number, None, &lengths).enumerate() {
            write!(writer, "{}", if index > 0 { "," } else { "" })?;
            serde_json::to_writer(&mut *writer, file.path)?;
            write!(writer, ":")?;
            let digits = |size: u64| size.to_string();
            let hex = |digest: dipper_archive::digest::Digest| digest.to_string();
            let listed = ListedFile {
                size: file.size_bytes.map(digits).unwrap_or_default(),
                checksum: file.checksums.of(algorithm).map(hex).unwrap_or_default(),
            };
            serde_json::to_writer(&mut *writer, &listed)?;
        }
        write!(writer, "}}}}")?;
        before = ",";
    }
    write!(writer, "]}}")
}
