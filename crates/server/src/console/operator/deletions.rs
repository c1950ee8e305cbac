//! What is to be deleted for good, who approves it, and what is kept from it.

use axum::extract::{Path, State};
use axum::response::Response;
use dipper_core::Role;
use dipper_core::db::deletions::{DeletionFilter, Policy};
use dipper_core::db::holds::LegalHold;
use dipper_core::deletion::DeletionSummary;
use dipper_core::order::OrderState;

use super::sheet::{Block, Cell, Field, Form, Kind, Sheet, Table, dash, text, time, time_or_dash};
use super::{Visitor, back, package, shown};
use crate::app::App;
use crate::console::frame::Note;
use crate::console::states;
use crate::console::told::agent;
use crate::console::visit::Act;
use crate::console::words::Words;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;
use crate::signin::Operator;

const HERE: &str = "/deletions";
/// How many are on a page.
const SHOWN: u32 = 50;

/// Deletions and legal holds.
pub(in crate::console) async fn show(
    State(app): State<App>,
    visit: Visitor,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let words = visit.words;
    let before = parameters.one("before")?.map(str::to_owned);
    let filter = DeletionFilter { before, limit: SHOWN + 1, ..DeletionFilter::default() };
    let mut found = shown(app.intake().oversight().deletions(&visit.caller, &filter).await)?;
    let more = found.len() > SHOWN as usize;
    found.truncate(SHOWN as usize);
    let holds = app.intake().hold_list(&visit.caller, true).await;
    let holds = holds.map_err(|error| Refusal::from(super::Undone::from(error)))?;
    let mut blocks = vec![Block::Table(deletions(&visit, &found))];
    if let Some(last) = found.last().filter(|_| more) {
        let next = format!("/deletions?before={}", last.order.id);
        blocks.push(Block::Links(vec![(next, words.text("operator-next"))]));
    }
    blocks.push(Block::Heading(words.text("holds-title")));
    blocks.push(Block::Text(words.text("holds-meaning")));
    blocks.push(Block::Table(held(words, &holds)));
    blocks.push(Block::Heading(words.text("holds-set")));
    let contracts = visit.caller.grants.contracts(Role::Operator);
    let contracts = contracts.into_iter().map(|id| (id.to_owned(), id.to_owned())).collect();
    let form = Form { action: "/holds".to_owned(), post: true, button: words.text("holds-set"), ..Form::default() };
    let form = form
        .field(Field::new("contract", words.text("operations-contract"), "", Kind::Choice(contracts)))
        .field(Field::new("object", words.text("holds-object"), "", Kind::Text))
        .field(Field::new("reason", words.text("holds-reason"), "", Kind::Text).required());
    blocks.push(Block::Form(form));
    Ok(Sheet::new(visit.frame("deletions-title"), blocks).answer())
}

fn state(words: Words, state: OrderState) -> Cell {
    Cell::State(states::of_order(state), words.text(&format!("deletion-{state}")))
}

fn deletions(visit: &Visitor, found: &[DeletionSummary]) -> Table {
    let words = visit.words;
    let row = |summary: &DeletionSummary| {
        let DeletionSummary { order, deletion } = summary;
        let button = |act: &str| {
            let about = words.with(&format!("deletions-{act}-one"), "order", order.id.as_str());
            Form::button(format!("/deletions/{}/{act}", order.id), words.text(&format!("deletions-{act}")), about)
        };
        let mut acts = Vec::new();
        let waits = order.state == OrderState::Held && deletion.policy == Policy::Approval;
        if waits && deletion.approved.is_none() {
            acts.push(button("approve"));
        }
        if matches!(order.state, OrderState::Received | OrderState::Held | OrderState::Queued) {
            acts.push(button("withdraw"));
        }
        if matches!(order.state, OrderState::Failed | OrderState::Rejected) {
            let about = words.with("deletions-again-one", "order", order.id.as_str());
            let again = format!("/operations/{}/retry", order.id);
            let form = Form::button(again, words.text("deletions-again"), about);
            acts.push(form.field(Field::hidden("from", "deletions")));
        }
        vec![
            Cell::Code(order.id.clone()),
            package(visit, &order.contract_id, &order.package_id, &order.object_id),
            Cell::Text(order.contract_id.clone()),
            state(words, order.state),
            Cell::Number(words.count(&deletion.file_count)),
            Cell::Number(words.size(&deletion.size_bytes)),
            Cell::Text(order.client_id.clone()),
            text(deletion.reason.as_deref().unwrap_or_default()),
            time(words, order.created),
            time_or_dash(words, deletion.due),
            deletion.approved_by.as_ref().map_or_else(dash, |by| Cell::Text(agent(words, by))),
            Cell::Forms(acts),
        ]
    };
    let heads = [
        "operations-order",
        "operations-package",
        "operations-contract",
        "operations-state",
        "deletions-files",
        "operations-size",
        "operations-client",
        "deletions-reason",
        "deletions-ordered",
        "deletions-due",
        "deletions-approved-by",
    ];
    Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).into_iter().chain([String::new()]).collect(),
        rows: found.iter().map(row).collect(),
        empty: words.text("deletions-empty"),
    }
}

fn held(words: Words, holds: &[LegalHold]) -> Table {
    let row = |hold: &LegalHold| {
        let acts = match hold.lifted {
            None => {
                let about = words.with("holds-lift-one", "reason", hold.reason.as_str());
                let form = Form::button(format!("/holds/{}/lift", hold.id), words.text("holds-lift"), about);
                let reason = Field::new("reason", words.text("holds-lift-reason"), "", Kind::Text);
                Cell::Forms(vec![form.field(reason)])
            }
            Some(lifted) => time(words, lifted),
        };
        let in_force = if hold.lifted.is_none() {
            Cell::State("warn", words.text("holds-in-force"))
        } else {
            Cell::State("", words.text("holds-lifted"))
        };
        vec![
            Cell::Text(hold.contract_id.clone()),
            hold.object_id.as_ref().map_or_else(|| Cell::Text(words.text("holds-all")), |id| Cell::Text(id.clone())),
            in_force,
            Cell::Text(hold.reason.clone()),
            Cell::Text(agent(words, &hold.set_by)),
            time(words, hold.created),
            acts,
        ]
    };
    let heads = [
        "operations-contract",
        "operations-package",
        "operations-state",
        "holds-reason",
        "holds-set-by",
        "deletions-ordered",
        "holds-end",
    ];
    Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).to_vec(),
        rows: holds.iter().map(row).collect(),
        empty: words.text("holds-empty"),
    }
}

/// Approves a deletion.
pub(in crate::console) async fn approve(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let done = app.intake().deletion_approve(&act.visit.caller, &id).await;
    back(&act.visit, HERE, done, |_| Note::done("deletions-approved", id.clone()))
}

/// Withdraws a deletion that has not begun.
pub(in crate::console) async fn withdraw(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let done = app.intake().deletion_withdraw(&act.visit.caller, &id).await;
    back(&act.visit, HERE, done, |_| Note::done("deletions-withdrawn", id.clone()))
}

/// Sets a legal hold.
pub(in crate::console) async fn hold(State(app): State<App>, act: Act<Operator>) -> Result<Response, Refusal> {
    let contract_id = act.form.one("contract")?.unwrap_or_default();
    let (object_id, reason) = (act.form.one("object")?, act.form.one("reason")?.unwrap_or_default());
    let done = app.intake().hold_set(&act.visit.caller, contract_id, object_id, reason).await;
    back(&act.visit, HERE, done, |_| Note::done("holds-was-set", ""))
}

/// Lifts a legal hold.
pub(in crate::console) async fn lift(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let done = app.intake().hold_lift(&act.visit.caller, &id, act.form.one("reason")?).await;
    back(&act.visit, HERE, done, |_| Note::done("holds-was-lifted", ""))
}
