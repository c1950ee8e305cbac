//! What lies in the outgoing areas, how full they are, and fetching it.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use dipper_core::intake::{AreaUse, OutgoingFile};

use super::{Moment, encoded, query, refused};
use crate::app::App;
use crate::console::frame::{Frame, page};
use crate::console::visit::Visit;
use crate::console::words::Words;
use crate::http::input::Parameters;
use crate::http::outgoing;
use crate::http::refusal::Refusal;
use crate::signin::Read;

/// Files on a page.
const PAGE: u32 = 100;

#[derive(Template)]
#[template(path = "console/depositor/outgoing.html")]
struct OutgoingPage {
    frame: Frame,
    areas: Vec<AreaRow>,
    files: Vec<FileRow>,
    next: Option<String>,
}

struct AreaRow {
    contract_id: String,
    used: String,
    /// What may lie there, and both in bytes for the meter.
    quota: Option<(String, u64, u64)>,
}

impl AreaRow {
    fn of(words: Words, area: AreaUse) -> AreaRow {
        let quota = area.quota_bytes.map(|quota| (words.size(&quota), area.used_bytes.min(quota), quota));
        AreaRow { contract_id: area.contract_id, used: words.size(&area.used_bytes), quota }
    }
}

struct FileRow {
    name: String,
    address: String,
    contract_id: String,
    order_id: String,
    size: String,
    checksum: Option<(&'static str, String)>,
    delivered: Moment,
    fetched: Option<Moment>,
    expires: Moment,
}

impl FileRow {
    fn of(words: Words, found: OutgoingFile) -> FileRow {
        let file = found.file;
        FileRow {
            address: encoded(&file.name),
            size: words.size(&file.size_bytes),
            checksum: found.content.map(|content| (content.algorithm.name(), content.checksum.to_string())),
            delivered: Moment::of(words, &found.delivered),
            fetched: file.fetched.as_ref().map(|fetched| Moment::of(words, fetched)),
            expires: Moment::of(words, &found.expires),
            name: file.name,
            contract_id: file.contract_id,
            order_id: file.order_id,
        }
    }
}

/// The areas and a page of what lies in them.
pub(in crate::console) async fn list(
    State(app): State<App>,
    visit: Visit<Read>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let words = visit.words;
    // No contract has a `/` in its name.
    let after = parameters.one("after")?.and_then(|after| after.split_once('/')).unwrap_or_default();
    let mut files = app.intake().outgoing_page(&visit.caller, after, PAGE + 1).await.map_err(refused)?;
    let next = (files.len() > PAGE as usize).then(|| {
        files.truncate(PAGE as usize);
        let last = files.last().map(|last| format!("{}/{}", last.file.contract_id, last.file.name));
        query(&[("after", &last.unwrap_or_default())])
    });
    let areas = app.intake().area_use(&visit.caller).await.map_err(refused)?;
    Ok(page(&OutgoingPage {
        frame: visit.frame("outgoing-title"),
        areas: areas.into_iter().map(|area| AreaRow::of(words, area)).collect(),
        files: files.into_iter().map(|file| FileRow::of(words, file)).collect(),
        next,
    }))
}

/// A file, whole or in part.
pub(in crate::console) async fn fetch(
    State(app): State<App>,
    Path(name): Path<String>,
    visit: Visit<Read>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    outgoing::send(&app, &visit.caller, &name, &method, &headers).await
}
