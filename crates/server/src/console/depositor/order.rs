//! One order: where it stands, what was delivered, what can be done about it, and the receipt of its delivery.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use dipper_core::Role;
use dipper_core::db::deliveries::Delivery;
use dipper_core::db::orders::{Channel, Order};
use dipper_core::db::packages::Package;
use dipper_core::db::steps::Worked;
use dipper_core::intake::{IntakeError, OrderView};
use dipper_core::order::OrderState;

use super::{Badge, EventRow, Moment, encoded, portion_told, refused, work};
use crate::app::App;
use crate::console::frame::{Frame, Note, page};
use crate::console::told::in_words;
use crate::console::visit::{Act, Visit};
use crate::console::words::Words;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;
use crate::signin::Read;

/// Events that are shown.
pub(super) const EVENTS: u32 = 200;
/// Entries of an excerpt that are shown.
const SHOWN_ENTRIES: usize = 200;

/// The way of an order that comes to its good end.
const WAY: [OrderState; 6] = [
    OrderState::Received,
    OrderState::Queued,
    OrderState::Recalling,
    OrderState::Verifying,
    OrderState::Delivering,
    OrderState::Delivered,
];

#[derive(Template)]
#[template(path = "console/depositor/order.html")]
struct OrderPage {
    frame: Frame,
    facts: Facts,
    /// What the live part shows, in short: it is left alone as long as this is the same.
    stamp: String,
    is_open: bool,
    /// How far the reading is, in short and, where that is known, as a share of a hundred and in words.
    worked_stamp: String,
    worked: Option<(String, String)>,
    way: Vec<(String, &'static str, bool)>,
    failure: Option<(String, String, &'static str)>,
    delivery: Option<DeliveryFacts>,
    can_cancel: bool,
    can_give_back: bool,
    can_renew: bool,
    events: Vec<EventRow>,
}

#[derive(Template)]
#[template(path = "console/depositor/receipt.html")]
struct ReceiptPage {
    frame: Frame,
    facts: Facts,
    delivery: DeliveryFacts,
    identifier: String,
    urn: Option<String>,
    delivered: Moment,
    made: Moment,
    events: Vec<EventRow>,
}

/// What an order is for.
struct Facts {
    id: String,
    package_id: String,
    object_id: String,
    contract_id: String,
    portion: String,
    entries: Vec<String>,
    /// How many entries are not shown.
    more: Option<String>,
    channel: String,
    size: String,
    bytes: String,
    client: String,
    state: Badge,
    created: Moment,
    updated: Moment,
}

/// What was handed out.
struct DeliveryFacts {
    files: Vec<FileFacts>,
    /// Until when the links work, or the file lies in the area.
    expires: Moment,
    kept_until: Moment,
    is_link: bool,
    /// Whether it can be fetched now.
    is_there: bool,
    released: Option<Moment>,
    fetched: Option<Moment>,
}

struct FileFacts {
    filename: String,
    size: String,
    bytes: String,
    algorithm: &'static str,
    checksum: String,
    /// Where it is fetched.
    link: Option<String>,
}

/// One order. A script that asks again while nothing has changed gets nothing.
pub(in crate::console) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    visit: Visit<Read>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let (words, caller, intake) = (visit.words, &visit.caller, app.intake());
    let view = match intake.order_get(caller, &id).await {
        // It may be none of a package to be handed out.
        Err(IntakeError::OrderUnknown(_)) => return work::show(&app, &visit, &id, &parameters).await,
        view => view.map_err(refused)?,
    };
    let stamp = stamp(&view);
    if parameters.one("seen")? == Some(&stamp) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let worked =
        if view.order.state.is_finished() { None } else { intake.order_worked(caller, &id).await.map_err(refused)? };
    let worked_stamp = worked_stamp(&view.order, worked);
    if parameters.one("worked")? == Some(&worked_stamp) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let entries = entries(&app, &visit, &view.order).await?;
    let events = intake.order_events(caller, &id, EVENTS).await.map_err(refused)?;
    let (order, delivery) = (&view.order, view.delivery.as_ref());
    let may_end = order.client_id == caller.client_id
        || [Role::Write, Role::Operator].iter().any(|role| caller.grants.has(&order.contract_id, *role));
    let kept = delivery.is_some_and(|delivery| delivery.released.is_none() && delivery.kept_until > app.intake().now());
    Ok(page(&OrderPage {
        frame: visit.frame_titled(words.with("order-title", "package", order.object_id.as_str())),
        stamp,
        is_open: !order.state.is_finished(),
        worked_stamp,
        worked: worked.map(|worked| worked_told(words, worked)),
        way: way(words, order.state),
        failure: failure_told(words, order),
        can_cancel: may_end && !order.state.is_finished(),
        can_give_back: may_end && kept,
        can_renew: kept && order.channel == Channel::Link,
        delivery: delivery_facts(&app, words, &visit.frame("order-title").base, &view),
        events: events.into_iter().map(|event| EventRow::of(words, event)).collect(),
        facts: facts(words, order, entries),
    }))
}

/// Withdraws an order, or gives its delivery back.
pub(in crate::console) async fn cancel(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Read>,
) -> Result<Response, Refusal> {
    let visit = act.visit;
    let before = app.intake().order_get(&visit.caller, &id).await.map_err(refused)?;
    let key = if before.order.state.is_finished() { "order-given-back" } else { "order-cancelled" };
    app.intake().order_cancel(&visit.caller, &id).await.map_err(refused)?;
    Ok(visit.go(&format!("/orders/{id}"), Note::done(key, "")))
}

/// Makes new links.
pub(in crate::console) async fn renew(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Read>,
) -> Result<Response, Refusal> {
    let visit = act.visit;
    app.intake().delivery_renew(&visit.caller, &id).await.map_err(refused)?;
    Ok(visit.go(&format!("/orders/{id}"), Note::done("order-renewed", "")))
}

/// What was delivered, to be printed.
pub(in crate::console) async fn receipt(
    State(app): State<App>,
    Path(id): Path<String>,
    visit: Visit<Read>,
) -> Result<Response, Refusal> {
    let words = visit.words;
    let view = app.intake().order_get(&visit.caller, &id).await.map_err(refused)?;
    let entries = entries(&app, &visit, &view.order).await?;
    let frame = visit.frame("receipt-title");
    let delivered = view.order.delivered.as_ref().map(|delivered| Moment::of(words, delivered));
    let (Some(delivery), Some(delivered)) = (delivery_facts(&app, words, &frame.base, &view), delivered) else {
        return Err(Refusal::not_found("nothing was delivered for this order yet, so there is no receipt"));
    };
    let (Package { identifier, urn, .. }, _) =
        app.intake().package_get(&visit.caller, &view.order.package_id).await.map_err(refused)?;
    let events = app.intake().order_events(&visit.caller, &id, EVENTS).await.map_err(refused)?;
    Ok(page(&ReceiptPage {
        frame,
        facts: facts(words, &view.order, entries),
        delivery,
        identifier,
        urn,
        delivered,
        made: Moment::of(words, &app.intake().now()),
        events: events.into_iter().map(|event| EventRow::of(words, event)).collect(),
    }))
}

/// What tells one state of an order's page from another.
fn stamp(view: &OrderView) -> String {
    let delivery = view.delivery.as_ref();
    let expires = delivery.map_or(0, |delivery| delivery.expires.0);
    let over = delivery.is_some_and(|delivery| delivery.released.is_some() || delivery.removed.is_some());
    format!("{}-{}-{expires}-{}", view.order.state, view.order.updated.0, u8::from(over))
}

/// Why it came to no good end: the kind of reason, the sentence on record, and the language that this is in.
pub(super) fn failure_told(words: Words, order: &Order) -> Option<(String, String, &'static str)> {
    order.failure.as_ref().map(|failure| {
        let kind = words.text(&format!("orders-failure-{}", failure.code.name().replace('_', "-")));
        let (message, language) = in_words(words, &failure.message);
        (kind, message, language)
    })
}

/// As [`stamp`], of how far the reading is.
pub(super) fn worked_stamp(order: &Order, worked: Option<Worked>) -> String {
    match worked {
        _ if order.state.is_finished() => "ended".to_owned(),
        Some(Worked { done_bytes, all_bytes }) => format!("{done_bytes}-{all_bytes}"),
        None => "unknown".to_owned(),
    }
}

/// How far the reading is: the share of a hundred, and in words.
pub(super) fn worked_told(words: Words, worked: Worked) -> (String, String) {
    let (done, all) = (words.size(&worked.done_bytes), words.size(&worked.all_bytes));
    (format!("{:.1}", worked.percent()), words.with_two("order-worked", "done", done, "all", all))
}

/// The files and folders that were chosen, and how many there are.
async fn entries(app: &App, visit: &Visit<Read>, order: &Order) -> Result<Vec<String>, Refusal> {
    if order.excerpt.is_none() {
        return Ok(Vec::new());
    }
    let excerpt = app.intake().order_excerpt(&visit.caller, &order.id).await.map_err(refused)?;
    Ok(excerpt.map(|excerpt| excerpt.entries().to_vec()).unwrap_or_default())
}

fn facts(words: Words, order: &Order, mut entries: Vec<String>) -> Facts {
    let more = entries.len().saturating_sub(SHOWN_ENTRIES);
    entries.truncate(SHOWN_ENTRIES);
    Facts {
        portion: portion_told(words, order),
        entries,
        more: (more > 0).then(|| words.with("order-more-entries", "count", more)),
        channel: words.text(&format!("orders-channel-{}", order.channel)),
        size: words.size(&order.size_bytes),
        bytes: words.bytes(&order.size_bytes),
        state: Badge::of_order(words, order.state),
        created: Moment::of(words, &order.created),
        updated: Moment::of(words, &order.updated),
        id: order.id.clone(),
        package_id: order.package_id.clone(),
        object_id: order.object_id.clone(),
        contract_id: order.contract_id.clone(),
        client: order.client_id.clone(),
    }
}

/// The way that the order goes, each stage with whether it is behind it, where it is, or yet to come.
fn way(words: Words, state: OrderState) -> Vec<(String, &'static str, bool)> {
    let Some(here) = WAY.iter().position(|stage| *stage == state) else { return Vec::new() };
    let stage = |(place, stage): (usize, &OrderState)| {
        let class = match place.cmp(&here) {
            std::cmp::Ordering::Less => "done",
            std::cmp::Ordering::Equal => "here",
            std::cmp::Ordering::Greater => "ahead",
        };
        (words.text(&format!("orders-state-{stage}")), class, place == here)
    };
    WAY.iter().enumerate().map(stage).collect()
}

fn delivery_facts(app: &App, words: Words, base: &str, view: &OrderView) -> Option<DeliveryFacts> {
    let delivery: &Delivery = view.delivery.as_ref()?;
    let is_link = view.order.channel == Channel::Link;
    let area = view.area_file.as_ref();
    let now = app.intake().now();
    let is_there = delivery.released.is_none()
        && match is_link {
            true => delivery.expires > now,
            false => area.is_some_and(|file| file.placed.is_some() && file.removed.is_none()),
        };
    let files = delivery.files.iter().enumerate().map(|(index, file)| FileFacts {
        link: match is_link {
            _ if !is_there => None,
            true => view.links.get(index).cloned(),
            false => Some(format!("{base}/outgoing/{}", encoded(&file.filename))),
        },
        filename: file.filename.clone(),
        size: words.size(&file.size_bytes),
        bytes: words.bytes(&file.size_bytes),
        algorithm: file.algorithm.name(),
        checksum: file.checksum.to_string(),
    });
    Some(DeliveryFacts {
        files: files.collect(),
        expires: Moment::of(words, &delivery.expires),
        kept_until: Moment::of(words, &delivery.kept_until),
        is_link,
        is_there,
        released: delivery.released.as_ref().map(|released| Moment::of(words, released)),
        fetched: area.and_then(|file| file.fetched.as_ref()).map(|fetched| Moment::of(words, fetched)),
    })
}
