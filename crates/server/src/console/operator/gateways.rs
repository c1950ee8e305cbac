//! The gateways from which deposits are fetched, and how they answer.

use axum::extract::State;
use axum::response::Response;
use dipper_core::db::gateways::GatewayStanding;

use super::sheet::{Block, Cell, Sheet, Table, dash, sentence, time, time_or_dash};
use super::{Visitor, shown};
use crate::app::App;
use crate::console::depositor::webhooks::without_secrets;
use crate::console::words::Words;
use crate::http::refusal::Refusal;

/// Every gateway of the contracts.
pub(in crate::console) async fn show(State(app): State<App>, visit: Visitor) -> Result<Response, Refusal> {
    let words = visit.words;
    let found = shown(app.intake().oversight().gateways(&visit.caller).await)?;
    let row = |gateway: &GatewayStanding| {
        let failed = gateway.failed.as_ref();
        let why = gateway.next.as_ref().map(|(_, reason)| reason).or(failed.map(|(_, reason)| reason));
        vec![
            Cell::Text(gateway.contract_id.clone()),
            Cell::Code(without_secrets(&gateway.url)),
            state(words, gateway),
            Cell::Number(words.count(&gateway.waiting)),
            gateway.next.as_ref().map_or_else(dash, |(next, _)| time(words, *next)),
            time_or_dash(words, gateway.stored),
            time_or_dash(words, failed.map(|(at, _)| *at)),
            sentence(words, why.map(String::as_str).unwrap_or_default()),
            time(words, gateway.registered),
        ]
    };
    let heads = [
        "operations-contract",
        "gateways-address",
        "operations-state",
        "gateways-waiting",
        "operations-again",
        "gateways-stored",
        "gateways-failed",
        "operations-why",
        "gateways-registered",
    ];
    let table = Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).to_vec(),
        rows: found.iter().map(row).collect(),
        empty: words.text("gateways-empty"),
    };
    let blocks = vec![Block::Text(words.text("gateways-meaning")), Block::Table(table)];
    Ok(Sheet::new(visit.frame("gateways-title"), blocks).answer())
}

/// How it answers, by what became of the deposits that needed it.
fn state(words: Words, gateway: &GatewayStanding) -> Cell {
    let failed = gateway.failed.as_ref().map(|(at, _)| *at);
    match (gateway.waiting, gateway.stored, failed) {
        (1.., ..) => Cell::State("bad", words.text("gateways-away")),
        (0, stored, Some(failed)) if stored.is_none_or(|stored| stored < failed) => {
            Cell::State("warn", words.text("gateways-refuses"))
        }
        (0, Some(_), _) => Cell::State("good", words.text("gateways-answers")),
        (0, None, _) => Cell::State("", words.text("gateways-unused")),
    }
}
