//! The page of an order that is none of a package to be handed out: a deposit, a restore or a deletion. It tells where that stands
//! and what happened; what is done about it, its depositor does with other programs, and an operator on pages of their own.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::order::{EVENTS, failure_told, worked_stamp, worked_told};
use super::{Badge, EventRow, Moment, refused};
use crate::app::App;
use crate::console::frame::{Frame, page};
use crate::console::visit::Visit;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;
use crate::signin::Read;

#[derive(Template)]
#[template(path = "console/depositor/work.html")]
struct WorkPage {
    frame: Frame,
    id: String,
    /// The package and its name, where it is for one alone.
    package: Option<(String, String)>,
    contract_id: String,
    size: String,
    bytes: String,
    client: String,
    created: Moment,
    updated: Moment,
    state: Badge,
    /// What the live part shows, in short: it is left alone as long as this is the same.
    stamp: String,
    is_open: bool,
    /// How far the work is, as a share of a hundred and in words.
    worked: Option<(String, String)>,
    failure: Option<(String, String, &'static str)>,
    events: Vec<EventRow>,
}

/// One order. A script that asks again while nothing has changed gets nothing.
pub(super) async fn show(
    app: &App,
    visit: &Visit<Read>,
    id: &str,
    parameters: &Parameters,
) -> Result<Response, Refusal> {
    let words = visit.words;
    let followed = app.intake().order_follow(&visit.caller, id, EVENTS).await.map_err(refused)?;
    let order = followed.order;
    let stamp = format!("{}-{}-{}", order.state, order.updated.0, worked_stamp(&order, followed.worked));
    if parameters.one("seen")? == Some(&stamp) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let several = || words.text("order-several");
    let what = Some(order.object_id.clone()).filter(|name| !name.is_empty()).unwrap_or_else(several);
    Ok(page(&WorkPage {
        frame: visit.frame_titled(words.with(&format!("order-{}-title", order.kind), "what", what)),
        size: words.size(&order.size_bytes),
        bytes: words.bytes(&order.size_bytes),
        created: Moment::of(words, &order.created),
        updated: Moment::of(words, &order.updated),
        state: Badge::of_order(words, order.state),
        stamp,
        is_open: !order.state.is_finished(),
        worked: followed.worked.map(|worked| worked_told(words, worked)),
        failure: failure_told(words, &order),
        events: followed.events.into_iter().map(|event| EventRow::of(words, event)).collect(),
        package: (!order.package_id.is_empty()).then_some((order.package_id, order.object_id)),
        id: order.id,
        contract_id: order.contract_id,
        client: order.client_id,
    }))
}
