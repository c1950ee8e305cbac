//! Logging: a message and named fields, as JSON for machines or as text for people.

use std::io::IsTerminal;

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, Settings};
use crate::telemetry::Telemetry;

/// Begins to log to standard error, and to send traces where the settings say so. Fails when that was done before, or
/// the filter is none.
pub fn start(settings: &Settings) -> anyhow::Result<Telemetry> {
    let filter = EnvFilter::builder().parse(&settings.log.level)?;
    let as_json = match settings.log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let (telemetry, spans) = Telemetry::open(&settings.telemetry)?;
    // What is logged and what is traced do not depend on each other.
    let own = filter_fn(|metadata| metadata.target().starts_with("dipper") && *metadata.level() <= Level::INFO);
    let spans = spans.map(|spans| spans.with_filter(own));
    if as_json {
        tracing_subscriber::registry().with(spans).with(json_lines(std::io::stderr).with_filter(filter)).try_init()?;
    } else {
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = lines.with_ansi(std::io::stderr().is_terminal());
        tracing_subscriber::registry().with(spans).with(lines.with_filter(filter)).try_init()?;
    }
    Ok(telemetry)
}

/// One JSON object a line: the fields of the line on top, and under `spans` what it belongs to, such as the request
/// with its id.
pub fn json<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::registry().with(json_lines(writer).with_filter(filter))
}

fn json_lines<S, W>(writer: W) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).json().flatten_event(true);
    lines.with_current_span(false).with_span_list(true)
}
