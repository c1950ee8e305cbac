//! Lists of orders, as one object with an entry for each: a page with the link to the next one where a limit is given,
//! and otherwise all of them, made while they are sent.

use std::error::Error;
use std::future::Future;
use std::io;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::response::{IntoResponse, Response};
use dipper_core::Caller;
use dipper_core::db::deletions::DeletionFilter;
use dipper_core::db::deposits::{DepositFilter, DepositView};
use dipper_core::db::restores::RestoreState;
use dipper_core::deletion::{DeletionError, DeletionSummary};
use dipper_core::intake::{DepositError, Intake, RestoreError, RestoreView};
use dipper_core::order::OrderState;
use serde::Serialize;

use super::input::Parameters;
use super::refusal::Refusal;
use super::stream::{PieceWriter, told};
use super::{cursor, refused};

const MAX_PAGE: u64 = 1000;

/// What a list is made of. Every page is looked up for itself.
pub(crate) trait Source: Send + Sync + 'static {
    /// What is listed.
    type Item: Send + Sync;
    /// Why it cannot be.
    type Error: Error + Send + Sync + 'static;
    /// The kind of cursor.
    const CURSOR: char;
    /// How many are looked up at a time.
    const PAGE: u32;

    /// So many of those that come after the one that was last.
    fn page(
        &self,
        before: Option<String>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Self::Item>, Self::Error>> + Send;

    /// Puts an error into the words of the contract.
    fn refuse(error: Self::Error) -> Refusal;

    /// By what an item's place in the list is known.
    fn id(item: &Self::Item) -> &str;

    /// Under which name its entry stands.
    fn name(item: &Self::Item) -> &str {
        Self::id(item)
    }
}

/// What a contract tells of an item: a function that makes the entry, or something that writes it piece by piece.
pub(crate) trait Entry<T>: Send + Sync + 'static {
    /// Writes `start`, which ends with the name of the entry, and then the entry; whether there is one.
    fn write(
        &self,
        writer: &mut PieceWriter,
        start: Vec<u8>,
        item: &T,
    ) -> impl Future<Output = io::Result<bool>> + Send;
}

impl<T: Sync, A: Serialize, F> Entry<T> for F
where
    F: Fn(&T) -> Option<A> + Send + Sync + 'static,
{
    async fn write(&self, writer: &mut PieceWriter, start: Vec<u8>, item: &T) -> io::Result<bool> {
        let Some(answer) = self(item) else { return Ok(false) };
        writer.buffer().extend_from_slice(&start);
        serde_json::to_writer(writer.buffer(), &answer)?;
        Ok(true)
    }
}

/// The answer to a request for a list. The first page is looked up before it begins.
pub(crate) async fn listed<S: Source>(
    parameters: &Parameters,
    source: S,
    entry: impl Entry<S::Item>,
) -> Result<Response, Refusal> {
    let limit = parameters.integer("limit", 1..=MAX_PAGE)?;
    let before = parameters.one("cursor")?.map(|given| cursor::read(S::CURSOR, given)).transpose()?;
    let first = limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(S::PAGE);
    let mut page = source.page(before, first).await.map_err(S::refuse)?;
    let mut next = next_of::<S>(&page, first);
    let link = next.take_if(|_| limit.is_some());
    let link = link.map(|id| cursor::next_link(parameters, &cursor::write(S::CURSOR, &id)));
    let mut response = json(told(async move |mut writer| {
        let mut separator = b'{';
        loop {
            for item in &page {
                let mut start = vec![separator];
                serde_json::to_writer(&mut start, S::name(item))?;
                start.push(b':');
                if entry.write(&mut writer, start, item).await? {
                    separator = b',';
                }
            }
            writer.pass_on().await?;
            let Some(last) = next.take() else { break };
            page = source.page(Some(last), S::PAGE).await.map_err(io::Error::other)?;
            next = next_of::<S>(&page, S::PAGE);
        }
        writer.buffer().extend_from_slice(if separator == b'{' { b"{}" } else { b"}" });
        Ok(writer)
    }));
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// Where the list goes on, if the page is full.
fn next_of<S: Source>(page: &[S::Item], limit: u32) -> Option<String> {
    page.last().filter(|_| page.len() == limit as usize).map(|item| S::id(item).to_owned())
}

/// An answer in JSON that is made while it is sent.
pub(crate) fn json(body: Body) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// Deposits, each under its filegroup.
pub(crate) struct Deposits {
    pub(crate) intake: Intake,
    pub(crate) caller: Caller,
    pub(crate) contract_id: String,
    pub(crate) states: Vec<OrderState>,
}

impl Source for Deposits {
    type Item = DepositView;
    type Error = DepositError;
    const CURSOR: char = 'd';
    const PAGE: u32 = 500;

    async fn page(&self, before: Option<String>, limit: u32) -> Result<Vec<DepositView>, DepositError> {
        let (contract_id, states) = (self.contract_id.clone(), Some(self.states.clone()));
        self.intake.deposit_list(&self.caller, &DepositFilter { contract_id, states, before, limit }).await
    }

    fn refuse(error: DepositError) -> Refusal {
        refused::deposit(error)
    }

    fn id(view: &DepositView) -> &str {
        &view.order.id
    }

    fn name(view: &DepositView) -> &str {
        &view.deposit.object_id
    }
}

/// Restores of all contracts that the caller may read.
pub(crate) struct Restores {
    pub(crate) intake: Intake,
    pub(crate) caller: Caller,
    pub(crate) state: Option<RestoreState>,
}

impl Source for Restores {
    type Item = RestoreView;
    type Error = RestoreError;
    const CURSOR: char = 'r';
    const PAGE: u32 = 100;

    async fn page(&self, before: Option<String>, limit: u32) -> Result<Vec<RestoreView>, RestoreError> {
        self.intake.restore_list(&self.caller, self.state, before, limit).await
    }

    fn refuse(error: RestoreError) -> Refusal {
        refused::restore(error)
    }

    fn id(view: &RestoreView) -> &str {
        &view.restore.id
    }
}

/// Deletions of all contracts that the caller may read.
pub(crate) struct Deletions {
    pub(crate) intake: Intake,
    pub(crate) caller: Caller,
    pub(crate) states: Vec<OrderState>,
}

impl Source for Deletions {
    type Item = DeletionSummary;
    type Error = DeletionError;
    const CURSOR: char = 'x';
    const PAGE: u32 = 500;

    async fn page(&self, before: Option<String>, limit: u32) -> Result<Vec<DeletionSummary>, DeletionError> {
        let states = Some(self.states.clone());
        let filter = DeletionFilter { contract_id: None, states, before, limit };
        self.intake.deletion_list(&self.caller, &filter).await
    }

    fn refuse(error: DeletionError) -> Refusal {
        refused::deletion(error)
    }

    fn id(summary: &DeletionSummary) -> &str {
        &summary.order.id
    }
}
