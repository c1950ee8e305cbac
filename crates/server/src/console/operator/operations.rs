//! The one page that answers "is it stuck, and why", with what can be done about it.

use axum::extract::{Path, State};
use axum::response::Response;
use dipper_core::db::oversight::{EndedOrder, OpenStep, QueueCount, StepState};
use dipper_core::db::recalls::RecallUnderWay;
use dipper_core::db::steps::Worked;
use dipper_core::db::tallies::Tally;
use dipper_core::oversight::WorkState;
use dipper_core::oversight::verdict::{Finding, Weight};
use dipper_core::time::Timestamp;

use super::sheet::{Block, Cell, Chart, Field, Form, Kind, Sheet, Table, bars, in_language, sentence, text, time};
use super::{Visitor, back, order, package, shown};
use crate::app::App;
use crate::console::frame::Note;
use crate::console::told::in_words;
use crate::console::visit::Act;
use crate::console::words::Words;
use crate::http::refusal::Refusal;
use crate::signin::Operator;

/// How often a script looks again.
const LIVE_SECONDS: u32 = 10;
/// How many hours the chart shows.
const HOURS: u32 = 24;
/// The page.
const HERE: &str = "/operations";

/// The state of the work.
pub(in crate::console) async fn show(State(app): State<App>, visit: Visitor) -> Result<Response, Refusal> {
    let words = visit.words;
    let oversight = app.intake().oversight();
    let state = shown(oversight.work(&visit.caller).await)?;
    let hours = shown(oversight.throughput(&visit.caller, HOURS).await)?;
    let findings =
        state.findings.iter().map(|finding| (weight(words, finding), finding_text(words, finding))).collect();
    let mut live = vec![Block::Findings(findings)];
    live.push(Block::Table(queue(words, &state.queue, state.now)));
    live.push(Block::Heading(words.text("operations-running")));
    live.push(Block::Table(running(&visit, &state)));
    let mut blocks = vec![
        Block::Heading(words.text("operations-throughput")),
        throughput(words, &hours),
        Block::Heading(words.text("operations-waiting")),
        Block::Table(waiting(&visit, &state)),
        Block::Heading(words.text("operations-ready")),
        Block::Table(ready(&visit, &state)),
        Block::Heading(words.text("operations-ended")),
        Block::Table(ended(&visit, &state.ended)),
    ];
    if !state.recalls.is_empty() {
        blocks.push(Block::Heading(words.text("operations-recalls")));
        blocks.push(Block::Table(recalls(&visit, &state.recalls, state.now)));
    }
    Ok(Sheet::new(visit.frame("operations-title"), blocks).live(LIVE_SECONDS, live).answer())
}

/// How much a finding matters, in a word.
fn weight(words: Words, finding: &Finding) -> Cell {
    match finding.weight() {
        Weight::Good => Cell::State("good", words.text("weight-good")),
        Weight::Note => Cell::State("", words.text("weight-note")),
        Weight::Warning => Cell::State("warn", words.text("weight-warning")),
        Weight::Trouble => Cell::State("bad", words.text("weight-trouble")),
    }
}

fn finding_text(words: Words, finding: &Finding) -> String {
    let at = |time: &Option<Timestamp>| time.map(|time| words.time(&time)).unwrap_or_default();
    match finding {
        Finding::NoWorker { ready, since } => words.with_two("finding-no-worker", "count", *ready, "since", at(since)),
        Finding::ProcessLost { name, seen } => {
            words.with_two("finding-process-lost", "name", name.as_str(), "seen", words.time(seen))
        }
        Finding::Damaged { packages } => words.with("finding-damaged", "count", *packages),
        Finding::Failed { orders, since } => words.with_two("finding-failed", "count", *orders, "since", at(since)),
        Finding::FixityBehind { late } => words.with("finding-fixity-behind", "late", words.duration(late)),
        Finding::Abandoned { notices, since } => {
            words.with_two("finding-abandoned", "count", *notices, "since", at(since))
        }
        Finding::Bounded { ready, since } => words.with_two("finding-bounded", "count", *ready, "since", at(since)),
        Finding::Waiting { waits_for, steps, next } => {
            let key = format!("finding-waiting-{}", waits_for.map_or("unknown", |cause| cause.name()));
            words.with_two(&key, "count", *steps, "next", words.time(next))
        }
        Finding::Busy { ready, slots, since } => words.fill(
            "finding-busy",
            &[("count", (*ready).into()), ("slots", (*slots).into()), ("since", at(since).into())],
        ),
        Finding::Proceeding { running, ready } => {
            words.with_two("finding-proceeding", "running", *running, "count", *ready)
        }
        Finding::Idle => words.text("finding-idle"),
    }
}

fn kind(words: Words, kind: dipper_core::db::steps::StepKind) -> String {
    words.text(&format!("step-{kind}"))
}

fn age(words: Words, since: Timestamp, now: Timestamp) -> String {
    words.duration(&now.since(since))
}

fn queue(words: Words, counts: &[QueueCount], now: Timestamp) -> Table {
    let state = |state: StepState| {
        let class = match state {
            StepState::Dead => "bad",
            StepState::Waiting => "warn",
            StepState::Leased => "good",
            StepState::Ready => "",
        };
        Cell::State(class, words.text(&format!("step-state-{state}")))
    };
    let row = |count: &QueueCount| {
        vec![
            Cell::Text(kind(words, count.kind)),
            state(count.state),
            Cell::Number(words.count(&count.count)),
            Cell::Number(age(words, count.oldest, now)),
        ]
    };
    Table {
        caption: words.text("operations-queue"),
        heads: ["operations-kind", "operations-state", "operations-count", "operations-oldest"]
            .map(|key| words.text(key))
            .to_vec(),
        rows: counts.iter().map(row).collect(),
        empty: words.text("operations-queue-empty"),
    }
}

fn running(visit: &Visitor, state: &WorkState) -> Table {
    let words = visit.words;
    let row = |step: &OpenStep| {
        let progress = match &step.progress {
            Some(progress) if progress.all_files > 0 => {
                let share = progress.done_files as f64 / progress.all_files as f64;
                let (done, all) = (words.count(&progress.done_files), words.count(&progress.all_files));
                Cell::Share(
                    format!("{:.1}", share * 100.0),
                    words.with_two("operations-files", "done", done, "all", all),
                )
            }
            _ if step.worked.all_bytes > 0 => share(words, step.worked),
            _ => text(&words.size(&step.size_bytes)),
        };
        let lease = if step.lease_until < state.now {
            Cell::State("bad", words.text("operations-lease-over"))
        } else {
            time(words, step.lease_until)
        };
        vec![
            order(visit, &step.contract_id, &step.order_id),
            package(visit, &step.contract_id, &step.package_id, &step.object_id),
            Cell::Text(kind(words, step.kind)),
            Cell::Text(step.contract_id.clone()),
            progress,
            Cell::Number(age(words, step.since, state.now)),
            Cell::Code(step.holder.clone()),
            lease,
        ]
    };
    let heads = [
        "operations-order",
        "operations-package",
        "operations-kind",
        "operations-contract",
        "operations-progress",
        "operations-since",
        "operations-holder",
        "operations-lease",
    ];
    Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).to_vec(),
        rows: state.running.iter().map(row).collect(),
        empty: words.text("operations-running-empty"),
    }
}

/// How much of what is to be read was read.
fn share(words: Words, worked: Worked) -> Cell {
    let (done, all) = (words.size(&worked.done_bytes), words.size(&worked.all_bytes));
    Cell::Share(format!("{:.1}", worked.percent()), words.with_two("operations-bytes", "done", done, "all", all))
}

fn cancel(words: Words, order_id: &str) -> Form {
    let about = words.with("operations-cancel-one", "order", order_id);
    Form::button(format!("/operations/{order_id}/cancel"), words.text("operations-cancel"), about).danger()
}

fn priority(words: Words, step: &OpenStep) -> Form {
    let about = words.with("operations-priority-one", "order", step.order_id.as_str());
    let rank = step.rank.to_string();
    let field = Field::new("priority", words.text("operations-priority"), rank, Kind::Number(1, 100));
    let action = format!("/operations/{}/priority", step.order_id);
    Form::button(action, words.text("operations-priority-set"), about).field(field)
}

fn waiting(visit: &Visitor, state: &WorkState) -> Table {
    let words = visit.words;
    let row = |step: &OpenStep| {
        let cause = step.waits_for.map_or("unknown", |cause| cause.name());
        vec![
            order(visit, &step.contract_id, &step.order_id),
            package(visit, &step.contract_id, &step.package_id, &step.object_id),
            Cell::Text(kind(words, step.kind)),
            Cell::Text(step.contract_id.clone()),
            Cell::State("warn", words.text(&format!("waits-{cause}"))),
            sentence(words, step.failure.as_deref().unwrap_or_default()),
            Cell::Number(age(words, step.created, state.now)),
            time(words, step.run_after),
            Cell::Forms(vec![priority(words, step), cancel(words, &step.order_id)]),
        ]
    };
    let heads = [
        "operations-order",
        "operations-package",
        "operations-kind",
        "operations-contract",
        "operations-waits-for",
        "operations-why",
        "operations-age",
        "operations-again",
    ];
    Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).into_iter().chain([String::new()]).collect(),
        rows: state.waiting.iter().map(row).collect(),
        empty: words.text("operations-waiting-empty"),
    }
}

fn ready(visit: &Visitor, state: &WorkState) -> Table {
    let words = visit.words;
    let row = |step: &OpenStep| {
        vec![
            order(visit, &step.contract_id, &step.order_id),
            package(visit, &step.contract_id, &step.package_id, &step.object_id),
            Cell::Text(kind(words, step.kind)),
            Cell::Text(step.contract_id.clone()),
            Cell::Text(step.client_id.clone()),
            Cell::Number(words.size(&step.size_bytes)),
            Cell::Number(age(words, step.created, state.now)),
            Cell::Forms(vec![priority(words, step), cancel(words, &step.order_id)]),
        ]
    };
    let heads = [
        "operations-order",
        "operations-package",
        "operations-kind",
        "operations-contract",
        "operations-client",
        "operations-size",
        "operations-age",
    ];
    Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).into_iter().chain([String::new()]).collect(),
        rows: state.ready.iter().map(row).collect(),
        empty: words.text("operations-ready-empty"),
    }
}

fn ended(visit: &Visitor, orders: &[EndedOrder]) -> Table {
    let words = visit.words;
    let row = |ended: &EndedOrder| {
        let about = words.with("operations-retry-one", "order", ended.id.as_str());
        let retry = Form::button(format!("/operations/{}/retry", ended.id), words.text("operations-retry"), about);
        let about = words.with("operations-dismiss-one", "order", ended.id.as_str());
        let dismiss =
            Form::button(format!("/operations/{}/dismiss", ended.id), words.text("operations-dismiss"), about);
        // What somebody has seen to has no cause any more that is waiting for somebody.
        let acts = if ended.cause.is_some() { vec![retry, dismiss] } else { vec![retry] };
        let (message, language) = in_words(words, &ended.message);
        let why = match &ended.cause {
            Some(cause) if *cause != ended.message => {
                let (cause, of_cause) = in_words(words, cause);
                // A part of it that is English makes it so.
                in_language(format!("{message} ({cause})"), if of_cause == "en" { of_cause } else { language })
            }
            _ => sentence(words, &ended.message),
        };
        vec![
            order(visit, &ended.contract_id, &ended.id),
            package(visit, &ended.contract_id, &ended.package_id, &ended.object_id),
            Cell::Text(words.text(&format!("order-kind-{}", ended.kind))),
            Cell::Text(ended.contract_id.clone()),
            Cell::State("bad", words.text(&format!("order-ended-{}", ended.state))),
            why,
            time(words, ended.ended),
            Cell::Forms(acts),
        ]
    };
    let heads = [
        "operations-order",
        "operations-package",
        "operations-kind",
        "operations-contract",
        "operations-state",
        "operations-why",
        "operations-when",
    ];
    Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).into_iter().chain([String::new()]).collect(),
        rows: orders.iter().map(row).collect(),
        empty: words.text("operations-ended-empty"),
    }
}

fn recalls(visit: &Visitor, recalls: &[RecallUnderWay], now: Timestamp) -> Table {
    let words = visit.words;
    let row = |recall: &RecallUnderWay| {
        vec![
            package(visit, &recall.contract_id, &recall.package_id, &recall.package_id),
            Cell::Number(recall.version.to_string()),
            Cell::Text(recall.contract_id.clone()),
            Cell::Number(age(words, recall.requested, now)),
            Cell::Number(words.count(&recall.orders)),
        ]
    };
    let heads =
        ["operations-package", "operations-version", "operations-contract", "operations-since", "operations-orders"];
    Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).to_vec(),
        rows: recalls.iter().map(row).collect(),
        empty: String::new(),
    }
}

fn throughput(words: Words, hours: &[(Timestamp, Tally)]) -> Block {
    let row = |(at, tally): &(Timestamp, Tally)| {
        vec![
            time(words, *at),
            Cell::Number(words.count(&tally.delivered_orders)),
            Cell::Number(words.size(&tally.delivered_bytes)),
            Cell::Number(words.size(&tally.checked_bytes)),
        ]
    };
    let values: Vec<(u64, bool)> = hours.iter().map(|(_, tally)| (tally.delivered_orders, false)).collect();
    let edge = |place: Option<&(Timestamp, Tally)>| place.map(|(at, _)| words.time(at)).unwrap_or_default();
    let most = hours.iter().map(|(_, tally)| tally.delivered_orders).max().unwrap_or(0);
    let heads = ["operations-hour", "operations-delivered", "operations-delivered-bytes", "operations-checked-bytes"];
    Block::Chart(Chart {
        title: words.text("operations-throughput-chart"),
        first: edge(hours.first()),
        last: edge(hours.last()),
        top: words.count(&most),
        bars: bars(&values),
        table: Table {
            caption: String::new(),
            heads: heads.map(|key| words.text(key)).to_vec(),
            rows: hours.iter().rev().map(row).collect(),
            empty: String::new(),
        },
        summary: words.text("operator-numbers"),
    })
}

/// Orders again what failed.
pub(in crate::console) async fn retry(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let visit = act.visit;
    let path = if act.form.one("from")? == Some("deletions") { "/deletions" } else { HERE };
    let done = app.intake().oversight().retry(&visit.caller, &id).await;
    back(&visit, path, done, |order| Note::done("operations-retried", order))
}

/// Has what failed told of no more.
pub(in crate::console) async fn dismiss(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let visit = act.visit;
    let done = app.intake().oversight().dismiss(&visit.caller, &id).await;
    back(&visit, HERE, done, |()| Note::done("operations-dismissed", id.clone()))
}

/// Withdraws an order, or takes a delivery back.
pub(in crate::console) async fn cancel_order(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let visit = act.visit;
    let path = if act.form.one("from")? == Some("deliveries") { "/deliveries" } else { HERE };
    let done = app.intake().oversight().cancel(&visit.caller, &id).await;
    back(&visit, path, done, |_| Note::done("operations-cancelled", id.clone()))
}

/// Gives an order another urgency.
pub(in crate::console) async fn set_priority(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let visit = act.visit;
    let rank = act.form.integer("priority", 1..=100)?.unwrap_or_default();
    let rank = i64::try_from(rank).unwrap_or_default();
    let done = app.intake().oversight().priority_set(&visit.caller, &id, rank).await;
    back(&visit, HERE, done, |()| Note::done("operations-moved", id.clone()))
}
