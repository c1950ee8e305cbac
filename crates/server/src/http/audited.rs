//! A page of what was done with a filegroup or a file of it, for the contracts that tell of it.

use axum::http::HeaderMap;
use axum::http::header::LINK;
use dipper_core::Role;
use dipper_core::db::audit::AuditCursor;
use dipper_core::intake::{AuditQuery, AuditRecord};
use dipper_core::time::Timestamp;

use super::input::Parameters;
use super::refusal::Refusal;
use super::{cursor, refused};
use crate::app::App;
use crate::signin::{BasicPermit, Read};

const MAX_PAGE: u64 = 1000;
/// The kind of cursor.
const CURSOR: char = 'a';

/// The records of one page, oldest first, and the header that leads to the next one.
pub(crate) async fn page(
    app: &App,
    permit: &BasicPermit<Read>,
    parameters: &Parameters,
    filegroup: &str,
    path: Option<&str>,
) -> Result<(HeaderMap, Vec<AuditRecord>), Refusal> {
    let limit = parameters.integer("limit", 1..=MAX_PAGE)?.unwrap_or(MAX_PAGE);
    let contract_id = permit.caller.account(Role::Read).ok_or_else(|| refused::no_account(Role::Read))?.to_owned();
    let after = parameters.one("cursor")?.map(|given| behind(&contract_id, given)).transpose()?;
    let is_first = after.is_none();
    let query = AuditQuery {
        contract_id,
        object_id: filegroup.to_owned(),
        path: path.map(str::to_owned),
        after,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
    };
    let records = app.intake().audit_list(&permit.caller, &query).await.map_err(refused::audit)?;
    if records.is_empty() && is_first {
        return Err(Refusal::not_found("nothing is known of such a filegroup or file"));
    }
    let mut headers = HeaderMap::new();
    if let Some(last) = records.last().filter(|_| records.len() as u64 == limit) {
        let place = format!("{}z{}", last.chained.entry.at.0, last.chained.number);
        let link = cursor::next_link(parameters, &cursor::write(CURSOR, &place));
        if let Ok(link) = link.parse() {
            headers.insert(LINK, link);
        }
    }
    Ok((headers, records))
}

/// The place behind the entry that a cursor names: its time and its number.
fn behind(contract_id: &str, given: &str) -> Result<AuditCursor, Refusal> {
    let place = cursor::read(CURSOR, given)?;
    let numbers = place.split_once('z').and_then(|(at, number)| Some((at.parse().ok()?, number.parse().ok()?)));
    let (at, number) =
        numbers.ok_or_else(|| Refusal::bad_request("the parameter `cursor` is not one that a list gave"))?;
    Ok(AuditCursor { at: Timestamp(at), contract_id: contract_id.to_owned(), number })
}
