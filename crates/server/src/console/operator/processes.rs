//! The processes of the installation, and what they work on.

use axum::extract::State;
use axum::response::Response;
use dipper_core::oversight::ProcessView;

use super::sheet::{Block, Cell, Sheet, Table, dash, time};
use super::{Visitor, order, shown};
use crate::app::App;
use crate::http::refusal::Refusal;

/// Every process.
pub(in crate::console) async fn show(State(app): State<App>, visit: Visitor) -> Result<Response, Refusal> {
    let words = visit.words;
    let views = shown(app.intake().oversight().processes(&visit.caller).await)?;
    let row = |view: &ProcessView| {
        let process = view.process.as_ref();
        let state = match (view.is_there, process) {
            (true, _) => Cell::State("good", words.text("processes-there")),
            (false, Some(_)) => Cell::State("bad", words.text("processes-silent")),
            (false, None) => Cell::State("warn", words.text("processes-unknown")),
        };
        vec![
            Cell::Code(view.name.clone()),
            state,
            process.map_or_else(dash, |process| Cell::Text(words.text(&format!("process-{}", process.kind)))),
            process.map_or_else(dash, |process| Cell::Text(process.version.clone())),
            process.map_or_else(dash, |process| Cell::Number(words.count(&process.slots))),
            Cell::Number(words.count(&view.held)),
            process.map_or_else(dash, |process| time(words, process.started)),
            process.map_or_else(dash, |process| time(words, process.seen)),
        ]
    };
    let heads = [
        "processes-name",
        "processes-state",
        "processes-kind",
        "processes-version",
        "processes-slots",
        "processes-held",
        "processes-started",
        "processes-seen",
    ];
    let processes = Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).to_vec(),
        rows: views.iter().map(row).collect(),
        empty: words.text("processes-empty"),
    };
    let lease = |step: &dipper_core::db::oversight::OpenStep| {
        vec![
            Cell::Code(step.holder.clone()),
            order(&visit, &step.contract_id, &step.order_id),
            Cell::Text(words.text(&format!("step-{}", step.kind))),
            Cell::Text(step.contract_id.clone()),
            time(words, step.since),
            time(words, step.lease_until),
        ]
    };
    let heads = [
        "operations-holder",
        "operations-order",
        "operations-kind",
        "operations-contract",
        "operations-since",
        "operations-lease",
    ];
    let leases = Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).to_vec(),
        rows: views.iter().flat_map(|view| view.leases.iter()).map(lease).collect(),
        empty: words.text("operations-running-empty"),
    };
    let live = vec![Block::Table(processes), Block::Heading(words.text("processes-leases")), Block::Table(leases)];
    Ok(Sheet::new(visit.frame("processes-title"), Vec::new()).live(10, live).answer())
}
