//! Finding packages.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use dipper_core::Role;
use dipper_core::db::package_search::{PackageCursor, PackageOrder, PackageSearch};
use dipper_core::db::packages::{Package, PackageState};
use dipper_core::time::Timestamp;
use time::format_description::well_known::Iso8601;
use time::{Date, OffsetDateTime, UtcOffset};

use super::{Badge, Moment, query, refused};
use crate::app::App;
use crate::console::frame::{Frame, page};
use crate::console::visit::Visit;
use crate::console::words::Words;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;
use crate::signin::Read;

/// Packages on a page.
const PAGE: u32 = 50;

#[derive(Template)]
#[template(path = "console/depositor/packages.html")]
struct PackagesPage {
    frame: Frame,
    /// What was asked for.
    text: String,
    from: String,
    until: String,
    order: &'static str,
    states: Vec<(&'static str, String, bool)>,
    /// The contracts that can be chosen, if there are several.
    contracts: Vec<(String, bool)>,
    rows: Vec<PackageRow>,
    /// The query of the next page.
    next: Option<String>,
    /// Whether this is not the first page.
    is_later: bool,
}

struct PackageRow {
    id: String,
    object_id: String,
    identifier: String,
    urn: String,
    contract_id: String,
    versions: String,
    files: String,
    size: String,
    created: Moment,
    state: Badge,
}

impl PackageRow {
    fn of(words: Words, package: Package) -> PackageRow {
        PackageRow {
            versions: words.count(&u64::from(package.head)),
            files: words.count(&package.file_count),
            size: words.size(&package.size_bytes),
            created: Moment::of(words, &package.created),
            state: Badge::of_package(words, package.state),
            urn: package.urn.unwrap_or_default(),
            id: package.id,
            object_id: package.object_id,
            identifier: package.identifier,
            contract_id: package.contract_id,
        }
    }
}

/// What is looked for, as the form has it.
struct Asked<'a> {
    text: &'a str,
    contract: Option<&'a str>,
    state: Option<PackageState>,
    from: &'a str,
    until: &'a str,
    order: PackageOrder,
}

impl Asked<'_> {
    fn read(parameters: &Parameters) -> Result<Asked<'_>, Refusal> {
        let wrong = |message: String| Refusal::bad_request(message);
        Ok(Asked {
            text: parameters.one("q")?.unwrap_or_default().trim(),
            contract: parameters.one("contract")?,
            state: parameters.one("state")?.map(str::parse).transpose().map_err(wrong)?,
            from: parameters.one("from")?.unwrap_or_default(),
            until: parameters.one("until")?.unwrap_or_default(),
            order: parameters.one("order")?.map(str::parse).transpose().map_err(wrong)?.unwrap_or_default(),
        })
    }

    fn search(&self, after: Option<PackageCursor>) -> Result<PackageSearch, Refusal> {
        Ok(PackageSearch {
            text: self.text.to_owned(),
            exact: false,
            contract_id: self.contract.map(str::to_owned),
            state: self.state,
            from: day(self.from)?.map(midnight),
            // The day that is named belongs to it.
            until: day(self.until)?.and_then(Date::next_day).map(midnight),
            order: self.order,
            after,
            limit: PAGE,
        })
    }

    fn with(&self, after: &str) -> String {
        let state = self.state.map(PackageState::name).unwrap_or_default();
        query(&[
            ("q", self.text),
            ("contract", self.contract.unwrap_or_default()),
            ("state", state),
            ("from", self.from),
            ("until", self.until),
            ("order", self.order.name()),
            ("after", after),
        ])
    }
}

/// The packages that are looked for.
pub(in crate::console) async fn list(
    State(app): State<App>,
    visit: Visit<Read>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let words = visit.words;
    let asked = Asked::read(&parameters)?;
    let after = parameters.one("after")?.map(str::parse).transpose().map_err(Refusal::bad_request)?;
    let is_later = after.is_some();
    let found = app.intake().package_search(&visit.caller, &[Role::Read], &asked.search(after)?).await;
    let found = found.map_err(refused)?;
    let state = |state: &PackageState| {
        (state.name(), words.text(&format!("packages-state-{state}")), asked.state == Some(*state))
    };
    let contracts = visit.caller.grants.contracts(Role::Read);
    let contracts = if contracts.len() > 1 { contracts } else { Vec::new() };
    Ok(page(&PackagesPage {
        frame: visit.frame("packages-title"),
        text: asked.text.to_owned(),
        from: asked.from.to_owned(),
        until: asked.until.to_owned(),
        order: asked.order.name(),
        states: PackageState::ALL.iter().map(state).collect(),
        contracts: contracts.into_iter().map(|id| (id.to_owned(), asked.contract == Some(id))).collect(),
        next: found.next.as_ref().map(|next| asked.with(&next.to_string())),
        rows: found.packages.into_iter().map(|package| PackageRow::of(words, package)).collect(),
        is_later,
    }))
}

fn day(text: &str) -> Result<Option<Date>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| Refusal::bad_request(format!("{text:?} is no day: write it as in 2026-11-22"));
    Date::parse(text, &Iso8601::DATE).map(Some).map_err(wrong)
}

fn midnight(day: Date) -> Timestamp {
    Timestamp::from(OffsetDateTime::new_in_offset(day, time::Time::MIDNIGHT, UtcOffset::UTC))
}
