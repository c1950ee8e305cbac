//! The status of any number of objects as one answer, written while it is read: its length does not matter for memory.

use std::io;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use dipper_core::Caller;
use dipper_core::db::packages::PackageQuery;
use dipper_core::intake::{Intake, IntakeError};
use futures_util::stream;

use super::errors::{failure, object_not_found};
use super::mapping;
use super::wire::{Entry, StatusAnswer};
use crate::http::cursor;
use crate::http::refusal::Refusal;

/// Objects that are read at a time.
const READ: u32 = 500;

/// Where a list goes on: not one of DPS, whose cursors are of other lists.
const CURSOR: char = 'd';

/// What is listed, and for whom.
pub(super) struct Listing {
    pub intake: Intake,
    pub caller: Caller,
    pub query: PackageQuery,
}

/// A part of a list.
struct Page {
    entries: Vec<Entry>,
    /// The last object of it, if there may be more.
    last: Option<String>,
}

impl Listing {
    /// One page after a cursor, of so many objects.
    pub(super) async fn page(&self, cursor: Option<&str>, limit: u32) -> Result<Response, Refusal> {
        let after = cursor.map(|cursor| cursor::read(CURSOR, cursor)).transpose()?;
        let page = self.read(after.as_deref().unwrap_or_default(), limit).await.map_err(failure)?;
        if page.entries.is_empty() && page.last.is_none() && after.is_none() {
            return Err(object_not_found());
        }
        let next_cursor = page.last.map(|id| cursor::write(CURSOR, &id));
        Ok(Json(StatusAnswer { result: page.entries, next_cursor }).into_response())
    }

    /// All of it.
    pub(super) async fn whole(self) -> Result<Response, Refusal> {
        // Up to the first entry here, because the status comes before it.
        let mut first = self.read("", READ).await.map_err(failure)?;
        while let (true, Some(last)) = (first.entries.is_empty(), &first.last) {
            first = self.read(last, READ).await.map_err(failure)?;
        }
        if first.entries.is_empty() {
            return Err(object_not_found());
        }
        let beginning = (self, Next::Page(first, true));
        let pieces = stream::try_unfold(beginning, async |(listing, next)| {
            let (page, is_first) = match next {
                Next::Nothing => return Ok(None),
                Next::Page(page, is_first) => (page, is_first),
                Next::After(last) => (listing.read(&last, READ).await.map_err(broken_off)?, false),
            };
            let text = text(&page, is_first).map_err(io::Error::other)?;
            let next = page.last.map_or(Next::Nothing, Next::After);
            Ok::<_, io::Error>(Some((Bytes::from(text), (listing, next))))
        });
        Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(pieces)).into_response())
    }

    async fn read(&self, after: &str, limit: u32) -> Result<Page, IntakeError> {
        // One more than asked for says whether there are more.
        let mut found = self.intake.package_find(&self.caller, &self.query, after, limit.saturating_add(1)).await?;
        let is_more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let ids: Vec<&str> = found.iter().map(|record| record.package.id.as_str()).collect();
        let work = self.intake.package_work(&self.caller, &ids).await?;
        let last = found.last().filter(|_| is_more).map(|record| record.package.id.clone());
        let entries = found.into_iter().zip(&work).flat_map(|(record, work)| mapping::entries(record, Some(work)));
        Ok(Page { entries: entries.collect(), last })
    }
}

enum Next {
    Page(Page, bool),
    After(String),
    Nothing,
}

/// The piece of the answer that a page is.
fn text(page: &Page, is_first: bool) -> serde_json::Result<Vec<u8>> {
    let mut text = if is_first { br#"{"result":["#.to_vec() } else { Vec::new() };
    for (number, entry) in page.entries.iter().enumerate() {
        if number > 0 || !is_first {
            text.push(b',');
        }
        serde_json::to_writer(&mut text, entry)?;
    }
    if page.last.is_none() {
        text.extend_from_slice(b"]}");
    }
    Ok(text)
}

/// The connection is broken off, so that nobody takes the beginning for the whole.
fn broken_off(error: IntakeError) -> io::Error {
    tracing::error!(%error, "a list was broken off");
    io::Error::other("the list cannot be continued")
}
