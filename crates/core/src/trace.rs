//! Spans that belong to orders. Every span with an `order_id` is a part of that order's trace, in whichever process it
//! runs: the trace's identifier is the order's, so nothing has to be handed on.

use tracing::info_span;

use crate::db::orders::Order;
use crate::meter;

/// The order has ended, and that is durable: the span of its whole life, made by the process that ended it.
pub(crate) fn order_ended(order: &Order) {
    meter::order_ended(order.state, order.updated.since(order.created));
    info_span!("order", order_id = %order.id, whole_since_micros = order.created.0, state = %order.state);
}
