//! What was handed out and is still kept, by when it is kept no longer.

use axum::extract::State;
use axum::response::Response;
use dipper_core::db::oversight::KeptDelivery;
use dipper_core::time::Timestamp;

use super::sheet::{Block, Cell, Field, Form, Sheet, Table, time};
use super::{Visitor, order, package, shown};
use crate::app::App;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;

/// How many are on a page.
const SHOWN: u32 = 50;

/// The deliveries.
pub(in crate::console) async fn show(
    State(app): State<App>,
    visit: Visitor,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let words = visit.words;
    let after = parameters.one("after")?.map(place).transpose()?;
    let place = after.as_ref().map(|(at, id)| (*at, id.as_str()));
    let mut found = shown(app.intake().oversight().deliveries(&visit.caller, place, SHOWN + 1).await)?;
    let more = found.len() > SHOWN as usize;
    found.truncate(SHOWN as usize);
    let row = |delivery: &KeptDelivery| {
        let about = words.with("deliveries-take-back-one", "order", delivery.order_id.as_str());
        let action = format!("/operations/{}/cancel", delivery.order_id);
        let release = Form::button(action, words.text("deliveries-take-back"), about).danger();
        vec![
            order(&visit, &delivery.contract_id, &delivery.order_id),
            package(&visit, &delivery.contract_id, &delivery.package_id, &delivery.object_id),
            Cell::Text(delivery.contract_id.clone()),
            Cell::Text(delivery.client_id.clone()),
            Cell::Number(words.size(&delivery.size_bytes)),
            time(words, delivery.created),
            time(words, delivery.expires),
            time(words, delivery.kept_until),
            Cell::Forms(vec![release.field(Field::hidden("from", "deliveries"))]),
        ]
    };
    let heads = [
        "operations-order",
        "operations-package",
        "operations-contract",
        "operations-client",
        "operations-size",
        "deliveries-created",
        "deliveries-expires",
        "deliveries-kept",
    ];
    let table = Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).into_iter().chain([String::new()]).collect(),
        rows: found.iter().map(row).collect(),
        empty: words.text("deliveries-empty"),
    };
    let mut blocks = vec![Block::Text(words.text("deliveries-meaning")), Block::Table(table)];
    if let Some(last) = found.last().filter(|_| more) {
        let next = format!("/deliveries?after={}.{}", last.kept_until.0, last.id);
        blocks.push(Block::Links(vec![(next, words.text("operator-next"))]));
    }
    Ok(Sheet::new(visit.frame("deliveries-title"), blocks).answer())
}

/// The place that an earlier page ended with.
fn place(text: &str) -> Result<(Timestamp, String), Refusal> {
    let parse = || {
        let (at, id) = text.split_once('.')?;
        Some((Timestamp(at.parse().ok()?), id.to_owned()))
    };
    parse().ok_or_else(|| Refusal::bad_request("the parameter `after` is no place in this list"))
}
