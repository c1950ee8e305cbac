//! One package: what it is, its versions, what is kept and what happened to it, and the form to order it.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use dipper_core::db::events::Event;
use dipper_core::db::orders::OrderFilter;
use dipper_core::db::packages::{Package, PackageState, Version};

use super::orders::OrderRow;
use super::{Badge, EventRow, Moment, refused};
use crate::app::App;
use crate::console::frame::{Frame, page};
use crate::console::told::{agent, in_words};
use crate::console::visit::Visit;
use crate::console::words::Words;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;
use crate::signin::Read;

/// Events on a page.
const EVENTS: u32 = 50;
/// Orders that are shown.
const ORDERS: u32 = 10;

#[derive(Template)]
#[template(path = "console/depositor/package.html")]
struct PackagePage {
    frame: Frame,
    id: String,
    facts: Facts,
    versions: Vec<VersionRow>,
    /// Whether it can be ordered, and looked into.
    is_preserved: bool,
    is_there: bool,
    holds: Vec<HoldRow>,
    orders: Vec<OrderRow>,
    events: Vec<EventRow>,
    /// Where older events begin.
    older: Option<String>,
}

struct Facts {
    identifier: String,
    urn: Option<String>,
    contract_id: String,
    state: Badge,
    /// Why it is not preserved, and the language that this is in.
    reason: Option<(String, &'static str)>,
    size: String,
    bytes: String,
    files: String,
    created: Moment,
    updated: Moment,
    verified: Option<Moment>,
}

struct VersionRow {
    number: u32,
    /// What the way to its files is called.
    look: String,
    label: String,
    container: String,
    size: String,
    files: String,
    created: Moment,
}

struct HoldRow {
    reason: String,
    by: String,
    since: Moment,
    /// Whether it is on all packages of the contract.
    is_for_all: bool,
}

/// One package.
pub(in crate::console) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    visit: Visit<Read>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let (words, caller, intake) = (visit.words, &visit.caller, app.intake());
    let (package, versions) = intake.package_get(caller, &id).await.map_err(refused)?;
    let before = parameters.one("before")?;
    let mut events = intake.package_events(caller, &id, before, EVENTS + 1).await.map_err(refused)?;
    let older = older(&mut events);
    let filter = OrderFilter { package_id: Some(id.clone()), limit: ORDERS, ..OrderFilter::default() };
    let orders = intake.order_list(caller, &filter).await.map_err(refused)?;
    let holds = intake.package_holds(caller, &id).await.map_err(refused)?;
    let holds = holds.into_iter().map(|hold| HoldRow {
        is_for_all: hold.object_id.is_none(),
        since: Moment::of(words, &hold.created),
        reason: hold.reason,
        by: agent(words, &hold.set_by),
    });
    Ok(page(&PackagePage {
        frame: visit.frame_titled(package.object_id.clone()),
        is_preserved: package.state == PackageState::Preserved,
        is_there: !matches!(package.state, PackageState::Deleted | PackageState::Missing),
        versions: versions.into_iter().rev().map(|version| version_row(words, version)).collect(),
        holds: holds.collect(),
        orders: orders.into_iter().map(|view| OrderRow::of(words, view)).collect(),
        events: events.into_iter().map(|event| EventRow::of(words, event)).collect(),
        facts: facts(words, package),
        id,
        older,
    }))
}

/// Where older events begin, if there are more than are shown.
fn older(events: &mut Vec<Event>) -> Option<String> {
    if events.len() <= EVENTS as usize {
        return None;
    }
    events.truncate(EVENTS as usize);
    events.last().map(|event| event.id.clone())
}

fn facts(words: Words, package: Package) -> Facts {
    Facts {
        state: Badge::of_package(words, package.state),
        size: words.size(&package.size_bytes),
        bytes: words.bytes(&package.size_bytes),
        files: words.count(&package.file_count),
        created: Moment::of(words, &package.created),
        updated: Moment::of(words, &package.updated),
        verified: package.verified.as_ref().map(|verified| Moment::of(words, verified)),
        identifier: package.identifier,
        urn: package.urn,
        contract_id: package.contract_id,
        reason: package.reason.map(|reason| in_words(words, &reason)),
    }
}

fn version_row(words: Words, version: Version) -> VersionRow {
    VersionRow {
        number: version.number,
        look: words.with("package-look-into", "version", version.number),
        size: words.size(&version.size_bytes),
        files: words.count(&version.file_count),
        created: Moment::of(words, &version.created),
        label: version.label.unwrap_or_default(),
        container: version.container_name.unwrap_or_default(),
    }
}
