//! Spans that belong to orders. Every span with an `order_id` is a part of that order's trace, in whichever process it
//! runs: the trace's identifier is the order's, so nothing has to be handed on.

use dipper_archive::bucket::UploadedParts;
use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::db::notices::NoticeLease;
use crate::db::orders::Order;
use crate::db::steps::Lease;
use crate::{ids, meter};

/// The order has ended, and that is durable: the span of its whole life, made by the process that ended it.
pub(crate) fn order_ended(order: &Order) {
    meter::order_ended(order.state, order.updated.since(order.created));
    let trace_id = ids::trace_id(&order.id);
    info_span!("order", order_id = %order.id, trace_id, whole_since_micros = order.created.0, state = %order.state);
}

/// An order is being stored.
pub(crate) fn intake(order: &Order) -> Span {
    info_span!("intake", order_id = %order.id, trace_id = ids::trace_id(&order.id), package_id = %order.package_id)
}

/// The package of an order is being read and held against its digests.
pub(crate) fn verification(order: &Order) -> Span {
    info_span!("verification", package_id = %order.package_id, package_bytes = order.size_bytes)
}

/// A file is on its way to the store of deliveries: from the first part to the finished object. `bytes` and `parts` are
/// told once they are known.
pub(crate) fn upload(key: &str) -> Span {
    info_span!("upload", key, bytes = Empty, parts = Empty)
}

/// All parts of a file have arrived.
pub(crate) fn uploaded(span: &Span, uploaded: &UploadedParts) {
    span.record("bytes", uploaded.len);
    span.record("parts", uploaded.parts.len());
}

/// A part of what was delivered for an order is being fetched.
pub(crate) fn download(order_id: &str, bytes: u64) -> Span {
    info_span!("download", order_id, trace_id = ids::trace_id(order_id), bytes)
}

/// An attempt of a step.
pub(crate) fn step(lease: &Lease) -> Span {
    let trace_id = ids::trace_id(&lease.order_id);
    info_span!("step", kind = %lease.kind, order_id = %lease.order_id, trace_id, attempt = lease.attempt)
}

/// An attempt to deliver a notice.
pub(crate) fn notice(lease: &NoticeLease) -> Span {
    let trace_id = ids::trace_id(&lease.order_id);
    info_span!("notice", notice_id = %lease.id, order_id = %lease.order_id, trace_id, attempt = lease.attempt)
}
