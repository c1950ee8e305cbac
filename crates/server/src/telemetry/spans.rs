//! Which spans go to the collector: those of orders. A span with the field `order_id` belongs to that order's trace,
//! and what is below it belongs with it. All others stay in the log.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dipper_core::ids;
use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

/// How many events a span keeps.
const MOST_EVENTS: usize = 64;
/// How many low bits of a trace's identifier decide whether it is sent. Those above them hold the counter by which
/// identifiers of one millisecond stay in order (RFC 9562, section 6.2), and are not random enough.
const RANDOM_BITS: u32 = 32;

/// A layer that hands the spans of orders on.
pub(crate) struct OrderSpans {
    processor: Arc<BatchSpanProcessor>,
    /// Traces whose random bits lie below are sent.
    below: u64,
    scope: InstrumentationScope,
}

/// A span that will be handed on when it closes.
struct Open(SpanData);

/// What a client said about the trace that its request belongs to.
struct Traceparent(SpanContext);

impl OrderSpans {
    pub(super) fn new(processor: Arc<BatchSpanProcessor>, ratio: f64) -> OrderSpans {
        let below = bound(ratio);
        let scope = InstrumentationScope::builder("dipper").with_version(env!("CARGO_PKG_VERSION")).build();
        OrderSpans { processor, below, scope }
    }

    /// Every process comes to the same answer for one order.
    fn is_sent(&self, trace: u128) -> bool {
        random(trace) < self.below
    }

    fn begin<S>(&self, span: &SpanRef<'_, S>, fields: Fields) -> Option<SpanData>
    where
        S: for<'a> LookupSpan<'a>,
    {
        let above = span
            .scope()
            .skip(1)
            .find_map(|above| above.extensions().get::<Open>().map(|open| open.0.span_context.clone()));
        let own = fields.order_id.as_deref().and_then(ids::to_number);
        let above = above.filter(|above| own.is_none_or(|own| above.trace_id() == TraceId::from(own)));
        let trace = own.or_else(|| above.as_ref().map(|above| u128::from_be_bytes(above.trace_id().to_bytes())))?;
        if !self.is_sent(trace) {
            return None;
        }
        let whole_since = fields.whole_since;
        let parent = match (&above, whole_since) {
            (_, Some(_)) => SpanId::INVALID,
            (Some(above), None) => above.span_id(),
            (None, None) => root(trace),
        };
        let id = if whole_since.is_some() { root(trace) } else { SpanId::from(rand::random_range(1..=u64::MAX)) };
        let mut links = SpanLinks::default();
        if above.is_none() {
            let asked = span
                .scope()
                .find_map(|above| above.extensions().get::<Traceparent>().map(|traceparent| traceparent.0.clone()));
            links.links.extend(asked.map(|asked| Link::new(asked, Vec::new(), 0)));
        }
        let now = SystemTime::now();
        let name = span.metadata().name();
        Some(SpanData {
            span_context: SpanContext::new(TraceId::from(trace), id, TraceFlags::SAMPLED, false, TraceState::default()),
            parent_span_id: parent,
            parent_span_is_remote: above.is_none() && whole_since.is_none(),
            span_kind: kind(name),
            name: name.into(),
            start_time: whole_since.map_or(now, |since| SystemTime::UNIX_EPOCH + since),
            end_time: now,
            attributes: fields.values,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links,
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        })
    }
}

fn random(trace: u128) -> u64 {
    (trace as u64) & ((1 << RANDOM_BITS) - 1)
}

fn bound(ratio: f64) -> u64 {
    (ratio.clamp(0.0, 1.0) * (1_u64 << RANDOM_BITS) as f64) as u64
}

/// The span of an order's whole life. The last 64 bits of a UUID are never zero.
fn root(trace: u128) -> SpanId {
    SpanId::from(trace as u64)
}

fn kind(name: &str) -> SpanKind {
    match name {
        "intake" | "download" => SpanKind::Server,
        "notice" | "upload" => SpanKind::Client,
        "step" => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

impl<S> Layer<S> for OrderSpans
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(asked) = fields.traceparent.as_deref().and_then(traceparent) {
            span.extensions_mut().insert(Traceparent(asked));
        }
        if let Some(data) = self.begin(&span, fields) {
            span.extensions_mut().insert(Open(data));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(Open(data)) = span.extensions_mut().get_mut() {
            let mut fields = Fields::default();
            values.record(&mut fields);
            data.attributes.extend(fields.values);
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let Some(scope) = context.event_scope(event) else { return };
        for span in scope {
            let mut extensions = span.extensions_mut();
            let Some(Open(data)) = extensions.get_mut::<Open>() else { continue };
            let mut fields = Fields::default();
            event.record(&mut fields);
            let level = *event.metadata().level();
            if level == Level::ERROR {
                data.status = Status::error(fields.message.clone());
            }
            if data.events.events.len() >= MOST_EVENTS {
                data.events.dropped_count += 1;
                return;
            }
            fields.values.push(KeyValue::new("level", level.as_str()));
            data.events.events.push(Event::new(fields.message, SystemTime::now(), fields.values, 0));
            return;
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let open = span.extensions_mut().remove::<Open>();
        if let Some(Open(mut data)) = open {
            data.end_time = SystemTime::now();
            // Never waits: a span for which there is no room is dropped.
            self.processor.on_end(data);
        }
    }
}

/// The fields of a span or an event.
#[derive(Default)]
struct Fields {
    order_id: Option<String>,
    whole_since: Option<Duration>,
    traceparent: Option<String>,
    message: String,
    values: Vec<KeyValue>,
}

impl Fields {
    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            "traceparent" => self.traceparent = Some(text),
            // It is the trace's identifier already.
            "trace_id" => {}
            name => {
                if name == "order_id" {
                    self.order_id = Some(text.clone());
                }
                self.values.push(KeyValue::new(name, text));
            }
        }
    }

    fn value(&mut self, field: &Field, value: impl Into<Value>) {
        self.values.push(KeyValue::new(field.name(), value));
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "whole_since_micros" {
            self.whole_since = Some(Duration::from_micros(value.unsigned_abs()));
        } else {
            self.value(field, value);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.value(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }
}

/// Reads a `traceparent` as W3C Trace Context, section 3.2, has it.
pub(crate) fn traceparent(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let good = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    // Later versions may add parts; the first has four.
    if !good || version == "00" && parts.next().is_some() {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let trace = TraceId::from_hex(trace).ok()?;
    let context = SpanContext::new(trace, SpanId::from_hex(span).ok()?, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_orders_are_traced_as_the_ratio_says() {
        let traces: Vec<u128> = (0..10_000).filter_map(|_| ids::to_number(&ids::new_id())).collect();
        for (ratio, least, most) in [(0.0, 0, 0), (0.25, 2200, 2800), (0.5, 4700, 5300), (1.0, 10_000, 10_000)] {
            let sent = traces.iter().filter(|trace| random(**trace) < bound(ratio)).count();
            assert!((least..=most).contains(&sent), "{ratio}: {sent}");
        }
    }

    #[test]
    fn traceparents_are_read_as_the_standard_says() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let found = traceparent(good).expect("good");
        assert_eq!(found.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((found.span_id().to_string().as_str(), found.is_sampled()), ("00f067aa0ba902b7", true));
        assert!(traceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some());
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert!(traceparent(bad).is_none(), "{bad}");
        }
    }
}
