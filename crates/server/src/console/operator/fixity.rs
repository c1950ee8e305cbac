//! How far the checks are, what they found, and the way to have a package opened again.

use axum::extract::{Path, State};
use axum::response::Response;
use dipper_core::Role;
use dipper_core::db::package_search::PackageSearch;
use dipper_core::db::packages::{Package, PackageState};
use dipper_core::db::tallies::Tally;
use dipper_core::oversight::FixityView;
use dipper_core::time::Timestamp;

use super::sheet::{Block, Cell, Chart, Form, Sheet, Table, bars, dash, sentence, time, time_or_dash};
use super::{Visitor, back, package, shown};
use crate::app::App;
use crate::console::frame::Note;
use crate::console::visit::Act;
use crate::console::words::Words;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;
use crate::signin::Operator;

/// How many damaged packages are shown.
const SHOWN: u32 = 100;
/// How many days the chart shows, unless others are asked for.
const DAYS: u64 = 90;

/// Where the checks stand.
pub(in crate::console) async fn show(
    State(app): State<App>,
    visit: Visitor,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let words = visit.words;
    let days = parameters.integer("days", 1..=366)?.unwrap_or(DAYS);
    let view = shown(app.intake().oversight().fixity(&visit.caller, u32::try_from(days).unwrap_or(366)).await)?;
    let mut blocks = vec![facts(words, &view), Block::Heading(words.text("fixity-failures"))];
    blocks.push(Block::Text(words.text("fixity-repair")));
    let mut found = Vec::new();
    for state in [PackageState::Damaged, PackageState::Missing] {
        let search = PackageSearch { state: Some(state), limit: SHOWN, ..PackageSearch::default() };
        let page = app.intake().package_search(&visit.caller, &[Role::Operator], &search).await;
        let page = page.map_err(|error| match error {
            dipper_core::intake::IntakeError::Database(error) => Refusal::database(&error),
            _ => Refusal::internal(),
        })?;
        found.extend(page.packages);
    }
    blocks.push(Block::Table(failures(&visit, &found, view.period.is_some())));
    blocks.push(Block::Heading(words.text("fixity-history")));
    blocks.push(history(words, &view.days));
    let spans = [30, 90, 366].map(|days| (format!("/fixity?days={days}"), words.with("fixity-days", "count", days)));
    blocks.push(Block::Links(spans.to_vec()));
    Ok(Sheet::new(visit.frame("fixity-title"), blocks).answer())
}

fn facts(words: Words, view: &FixityView) -> Block {
    let standing = &view.standing;
    let amount = |packages: u64, bytes: u64| {
        Cell::Text(words.with_two("fixity-amount", "count", packages, "size", words.size(&bytes)))
    };
    let period = match view.period {
        Some(period) => Cell::Text(words.duration(&period)),
        None => Cell::State("warn", words.text("fixity-never-checked")),
    };
    let share = match standing.all.packages {
        0 => dash(),
        all => {
            let share = standing.covered.packages as f64 / all as f64;
            Cell::Share(format!("{:.1}", share * 100.0), words.percent(&share))
        }
    };
    let bad = |count: u64| {
        if count == 0 {
            Cell::State("good", words.text("fixity-none"))
        } else {
            Cell::State("bad", words.with("fixity-packages", "count", count))
        }
    };
    Block::Facts(vec![
        (words.text("fixity-period"), period),
        (words.text("fixity-covered"), share),
        (words.text("fixity-stored"), amount(standing.all.packages, standing.all.bytes)),
        (words.text("fixity-never"), amount(standing.never.packages, standing.never.bytes)),
        (words.text("fixity-oldest"), time_or_dash(words, standing.oldest)),
        (words.text("fixity-cold"), Cell::Text(words.with("fixity-files", "count", standing.cold_files))),
        (words.text("fixity-damaged"), bad(view.damaged)),
        (words.text("fixity-missing"), bad(view.missing)),
    ])
}

fn failures(visit: &Visitor, packages: &[Package], is_scheduled: bool) -> Table {
    let words = visit.words;
    let row = |found: &Package| {
        let about = words.with("fixity-verify-one", "package", found.object_id.as_str());
        let verify = Form::button(format!("/fixity/{}/verify", found.id), words.text("fixity-verify"), about);
        let can = is_scheduled && found.state == PackageState::Damaged;
        vec![
            package(visit, &found.contract_id, &found.id, &found.object_id),
            Cell::Text(found.contract_id.clone()),
            Cell::State("bad", words.text(&format!("fixity-state-{}", found.state))),
            sentence(words, found.reason.as_deref().unwrap_or_default()),
            time(words, found.updated),
            if can { Cell::Forms(vec![verify]) } else { Cell::Code(format!("dipper verify --package {}", found.id)) },
        ]
    };
    let heads = ["operations-package", "operations-contract", "operations-state", "operations-why", "operations-when"];
    Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).into_iter().chain([String::new()]).collect(),
        rows: packages.iter().map(row).collect(),
        empty: words.text("fixity-failures-empty"),
    }
}

fn history(words: Words, days: &[(Timestamp, Tally)]) -> Block {
    let row = |(at, tally): &(Timestamp, Tally)| {
        vec![
            Cell::Time(at.to_string(), words.day(at)),
            Cell::Number(words.count(&tally.checked_packages)),
            Cell::Number(words.size(&tally.checked_bytes)),
            Cell::Number(words.count(&tally.failures)),
        ]
    };
    let values: Vec<(u64, bool)> = days.iter().map(|(_, tally)| (tally.checked_bytes, tally.failures > 0)).collect();
    let edge = |place: Option<&(Timestamp, Tally)>| place.map(|(at, _)| words.day(at)).unwrap_or_default();
    let most = days.iter().map(|(_, tally)| tally.checked_bytes).max().unwrap_or(0);
    let heads = ["fixity-day", "fixity-checked", "fixity-checked-bytes", "fixity-found"];
    Block::Chart(Chart {
        title: words.text("fixity-chart"),
        first: edge(days.first()),
        last: edge(days.last()),
        top: words.size(&most),
        bars: bars(&values),
        table: Table {
            caption: String::new(),
            heads: heads.map(|key| words.text(key)).to_vec(),
            rows: days.iter().rev().map(row).collect(),
            empty: String::new(),
        },
        summary: words.text("operator-numbers"),
    })
}

/// Has a package read before all others.
pub(in crate::console) async fn verify(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let visit = act.visit;
    let done = app.intake().oversight().verify_soon(&visit.caller, &id).await;
    back(&visit, "/fixity", done, |()| Note::done("fixity-asked", ""))
}
