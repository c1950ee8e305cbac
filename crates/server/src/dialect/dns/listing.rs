//! The status of any number of objects as one answer, written while it is read: its length does not matter for memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use dipper_core::Caller;
use dipper_core::db::packages::PackageQuery;
use dipper_core::db::submissions::{Submission, SubmissionFilter};
use dipper_core::intake::{Intake, IntakeError, PackageRecord};
use futures_util::stream;

use super::errors::{failure, object_not_found};
use super::mapping;
use super::wire::{Entry, StatusAnswer};
use crate::http::cursor;
use crate::http::refusal::Refusal;

/// Objects that are read at a time.
const READ: u32 = 500;

/// How much of what was handed in is told of at a time.
const HANDED_IN: u32 = 10_000;

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
        let submissions = self.submissions(&found).await?;
        let mut entries = Vec::new();
        if after.is_empty() {
            entries = self.handed_in_alone(&submissions, &found).await?;
        }
        for (record, work) in found.into_iter().zip(&work) {
            let package = &record.package;
            let is_of = |submission: &&Submission| {
                submission.contract_id == package.contract_id
                    && submission.object_id.as_ref() == Some(&package.object_id)
            };
            let submissions: Vec<&Submission> = submissions.iter().filter(is_of).collect();
            entries.extend(mapping::entries(record, Some(work), &submissions));
        }
        Ok(Page { entries, last })
    }

    /// What was handed in and has become nothing yet, of these objects or under the names that are asked for; under any,
    /// where all objects are.
    async fn submissions(&self, found: &[PackageRecord]) -> Result<Vec<Submission>, IntakeError> {
        let mut asked = Vec::new();
        let filter = || SubmissionFilter { states: mapping::OPEN.to_vec(), limit: HANDED_IN, ..Default::default() };
        let PackageQuery { object_id, container_name, .. } = &self.query;
        if self.query == PackageQuery::default() {
            asked.push(filter());
        } else {
            let mut object_ids: Vec<String> = found.iter().map(|record| record.package.object_id.clone()).collect();
            object_ids.extend(object_id.clone().filter(|_| self.is_by_name()));
            if !object_ids.is_empty() {
                asked.push(SubmissionFilter { object_ids, ..filter() });
            }
            if let Some(name) = container_name.clone().filter(|_| self.is_by_name()) {
                asked.push(SubmissionFilter { names: vec![name], ..filter() });
            }
        }
        let mut submissions = BTreeMap::new();
        for filter in asked {
            let listed = self.intake.submission_list(&self.caller, &filter).await?;
            submissions.extend(listed.into_iter().map(|submission| (submission.id.clone(), submission)));
        }
        Ok(submissions.into_values().collect())
    }

    /// Whether what is asked for may not be an object yet: those have neither a URN nor an identifier.
    fn is_by_name(&self) -> bool {
        self.query.urn.is_none() && self.query.identifier.is_none()
    }

    /// The entries of what was handed in and would be an object of its own.
    async fn handed_in_alone(
        &self,
        submissions: &[Submission],
        found: &[PackageRecord],
    ) -> Result<Vec<Entry>, IntakeError> {
        if submissions.is_empty() || !self.is_by_name() {
            return Ok(Vec::new());
        }
        let names: BTreeSet<&str> =
            submissions.iter().filter_map(|submission| submission.object_id.as_deref()).collect();
        let there = self.intake.package_find_named(&self.caller, &[], &Vec::from_iter(names)).await?;
        let known: BTreeSet<(&str, &str)> = there
            .iter()
            .chain(found)
            .map(|record| (record.package.contract_id.as_str(), record.package.object_id.as_str()))
            .collect();
        let is_asked_for = |submission: &&Submission| {
            let PackageQuery { object_id, container_name, .. } = &self.query;
            object_id.as_ref().is_none_or(|wanted| submission.object_id.as_ref() == Some(wanted))
                && container_name.as_ref().is_none_or(|wanted| submission.name == *wanted)
        };
        let is_alone = |submission: &&Submission| {
            // A delta that is asked for by its own name stands here, because its object is not asked for by that.
            let is_known = |object_id: &str| known.contains(&(submission.contract_id.as_str(), object_id));
            let is_listed = found.iter().any(|record| {
                record.package.contract_id == submission.contract_id
                    && Some(&record.package.object_id) == submission.object_id.as_ref()
            });
            match &self.query.container_name {
                Some(_) => !is_listed,
                None => !submission.object_id.as_deref().is_some_and(is_known),
            }
        };
        let alone = submissions.iter().filter(is_asked_for).filter(is_alone);
        let package = |submission: &Submission| {
            let is_of = |record: &&PackageRecord| {
                record.package.contract_id == submission.contract_id
                    && Some(&record.package.object_id) == submission.object_id.as_ref()
            };
            there.iter().find(is_of).map(|record| &record.package)
        };
        Ok(alone.filter_map(|submission| mapping::handed_in(submission, package(submission))).collect())
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
