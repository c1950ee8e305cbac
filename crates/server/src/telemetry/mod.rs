//! Traces for a collector of OpenTelemetry: one for each order, in whichever processes it is worked on.
//!
//! The trace's identifier is the order's, a UUID of version 7, and the span of the order's whole life has an identifier
//! that is derived from it. So every process adds to the same trace, and none has to be told of it.

mod spans;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor};

use crate::config::TelemetrySettings;
pub(crate) use spans::{OrderSpans, traceparent};

/// How many finished spans wait for the collector at the most. Further ones are dropped: nothing waits for traces.
const QUEUE: usize = 8192;
const BATCH: usize = 512;
/// How long a collector may take to answer, and how long the last spans may take at shutdown.
const TIMEOUT: Duration = Duration::from_secs(5);
const DELAY: Duration = Duration::from_secs(2);

/// Traces that are being sent, or none.
#[derive(Default)]
#[must_use = "the last spans are sent by `finish`"]
pub struct Telemetry(Option<Arc<BatchSpanProcessor>>);

impl Telemetry {
    /// Prepares what the settings say; the layer is for the subscriber.
    pub(crate) fn open(settings: &TelemetrySettings) -> anyhow::Result<(Telemetry, Option<OrderSpans>)> {
        let Some(url) = settings.traces_url() else { return Ok((Telemetry::default(), None)) };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client()?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(url)
            .with_timeout(TIMEOUT)
            .build()
            .context("traces cannot be sent (telemetry.otlp_endpoint)")?;
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let exporter = Reporting { exporter, failing: AtomicBool::new(false) };
        let mut processor = BatchSpanProcessor::new(exporter, config);
        processor.set_resource(&resource(settings));
        let processor = Arc::new(processor);
        let spans = OrderSpans::new(processor.clone(), settings.ratio);
        Ok((Telemetry(Some(processor)), Some(spans)))
    }

    /// Sends the last spans, if the collector takes them in time.
    pub async fn finish(self) {
        if let Some(processor) = self.0 {
            // What cannot be sent now never will be; the exporter has told why.
            let _ = tokio::task::spawn_blocking(move || processor.shutdown_with_timeout(TIMEOUT)).await;
        }
    }
}

/// A client that goes to the collector itself, whatever proxy the environment names for others.
fn client() -> anyhow::Result<reqwest::blocking::Client> {
    // The library refuses to be started on a thread of the asynchronous runtime.
    let built = std::thread::spawn(|| reqwest::blocking::Client::builder().no_proxy().timeout(TIMEOUT).build()).join();
    let client = built.map_err(|_| anyhow::anyhow!("a client for traces cannot be made"))?;
    client.context("a client for traces cannot be made")
}

fn resource(settings: &TelemetrySettings) -> Resource {
    let host = dipper_core::installation::host_name();
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", settings.service_name.clone()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", format!("{host}:{}", std::process::id())),
            KeyValue::new("host.name", host),
        ])
        .build()
}

/// An exporter that tells once when the collector goes away, and once when it is back.
#[derive(Debug)]
struct Reporting {
    exporter: opentelemetry_otlp::SpanExporter,
    failing: AtomicBool,
}

impl SpanExporter for Reporting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.exporter.export(batch).await;
        let failed_before = self.failing.swap(exported.is_err(), Ordering::Relaxed);
        match &exported {
            Err(error) if !failed_before => tracing::warn!(spans, %error, "traces are lost: the collector fails"),
            Ok(()) if failed_before => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
