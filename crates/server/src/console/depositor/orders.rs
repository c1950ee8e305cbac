//! The orders of somebody's contracts.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use dipper_core::Role;
use dipper_core::db::orders::{OrderFilter, OrderKind};
use dipper_core::intake::OrderView;
use dipper_core::order::OrderState;

use super::{Badge, Moment, portion_told, query, refused};
use crate::app::App;
use crate::console::frame::{Frame, page};
use crate::console::visit::Visit;
use crate::console::words::Words;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;
use crate::signin::Read;

/// Orders on a page.
const PAGE: u32 = 50;

/// Which states belong together for somebody who looks for orders.
const GROUPS: [(&str, &str, &[OrderState]); 3] = [
    (
        "open",
        "orders-open",
        &[
            OrderState::Received,
            OrderState::Held,
            OrderState::Queued,
            OrderState::Recalling,
            OrderState::Verifying,
            OrderState::Delivering,
        ],
    ),
    ("delivered", "orders-delivered", &[OrderState::Delivered]),
    ("ended", "orders-ended", &[OrderState::Failed, OrderState::Rejected, OrderState::Cancelled]),
];

/// An order in a list.
pub(super) struct OrderRow {
    pub(super) id: String,
    pub(super) package_id: String,
    pub(super) object_id: String,
    pub(super) portion: String,
    pub(super) channel: String,
    pub(super) size: String,
    pub(super) state: Badge,
    pub(super) created: Moment,
    pub(super) client: String,
}

impl OrderRow {
    pub(super) fn of(words: Words, view: OrderView) -> OrderRow {
        let order = view.order;
        OrderRow {
            portion: portion_told(words, &order),
            channel: words.text(&format!("orders-channel-{}", order.channel)),
            size: words.size(&order.size_bytes),
            state: Badge::of_order(words, order.state),
            created: Moment::of(words, &order.created),
            id: order.id,
            package_id: order.package_id,
            object_id: order.object_id,
            client: order.client_id,
        }
    }
}

#[derive(Template)]
#[template(path = "console/depositor/orders.html")]
struct OrdersPage {
    frame: Frame,
    /// What is shown: nothing chosen is all.
    groups: Vec<(&'static str, String, bool)>,
    contracts: Vec<(String, bool)>,
    orders: Vec<OrderRow>,
    next: Option<String>,
}

/// The orders, newest first.
pub(in crate::console) async fn list(
    State(app): State<App>,
    visit: Visit<Read>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let words = visit.words;
    let group = parameters.one("state")?;
    let states = match group {
        None => None,
        Some(name) => {
            let known = GROUPS.iter().find(|(group, ..)| *group == name);
            let (.., states) = known.ok_or_else(|| Refusal::bad_request("there is no such group of orders"))?;
            Some(states.to_vec())
        }
    };
    let contract = parameters.one("contract")?;
    let filter = OrderFilter {
        kind: OrderKind::Dissemination,
        contract_id: contract.map(str::to_owned),
        states,
        before: parameters.one("before")?.map(str::to_owned),
        limit: PAGE + 1,
        ..OrderFilter::default()
    };
    let mut views = app.intake().order_list(&visit.caller, &filter).await.map_err(refused)?;
    let next = (views.len() > PAGE as usize).then(|| {
        views.truncate(PAGE as usize);
        let last = views.last().map(|view| view.order.id.clone()).unwrap_or_default();
        query(&[("state", group.unwrap_or_default()), ("contract", contract.unwrap_or_default()), ("before", &last)])
    });
    let contracts = visit.caller.grants.contracts(Role::Read);
    let contracts = if contracts.len() > 1 { contracts } else { Vec::new() };
    Ok(page(&OrdersPage {
        frame: visit.frame("orders-title"),
        groups: GROUPS.iter().map(|(name, key, _)| (*name, words.text(key), group == Some(*name))).collect(),
        contracts: contracts.into_iter().map(|id| (id.to_owned(), contract == Some(id))).collect(),
        orders: views.into_iter().map(|view| OrderRow::of(words, view)).collect(),
        next,
    }))
}
