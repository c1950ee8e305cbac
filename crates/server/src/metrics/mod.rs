//! Figures for Prometheus: one recorder a process, and a listener of its own that shows what it holds.
//!
//! What happens is counted where it happens, in the crate that it happens in; `docs/metrics.md` lists every figure. What
//! the catalogue knows (the queue, the packages, the notices) and what the system knows of the process is read when
//! somebody asks, in `snapshot` and `process`.

mod figures;
mod process;
mod snapshot;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use dipper_archive::meter::{Kind, Metric};
use dipper_core::installation::Installation;
use dipper_core::meter::CATALOGUE;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::http::listener::{self, Patience};
pub(crate) use figures::{
    Running, RunningDownload, certificate_expires, download, rate_limited, request, secret_hashed, sftp_delivered,
    sftp_received, sftp_session, sign_in_failed,
};
use snapshot::Snapshots;

/// The text format of Prometheus.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How often observations are gathered into their histograms; until then each of them takes memory.
const GATHERING: Duration = Duration::from_secs(1);
const PATIENCE: Patience = Patience {
    head: Duration::from_secs(10),
    stall: Duration::from_secs(30),
    shutdown: Duration::from_secs(1),
    connections: 64,
};

/// Every figure that a process can show.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    counted().chain(CATALOGUE).chain(process::METRICS)
}

/// The figures that are counted as things happen.
fn counted() -> impl Iterator<Item = &'static Metric> {
    [dipper_archive::meter::METRICS, dipper_core::meter::METRICS, figures::METRICS].into_iter().flatten()
}

/// A listener that has its address, and a recorder that counts from now on.
pub struct Metrics {
    listener: TcpListener,
    handle: PrometheusHandle,
}

/// The figures as they are shown to whoever asks.
pub struct Showing {
    /// The address that is listened on.
    pub addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Metrics {
    /// Binds the address, if there is one, and begins to count. To be called before anything else is opened: what is
    /// opened earlier is not counted.
    pub async fn bind(listen: Option<SocketAddr>) -> anyhow::Result<Option<Metrics>> {
        let Some(listen) = listen else { return Ok(None) };
        let listener = TcpListener::bind(listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {listen} (metrics.listen)"))?;
        Ok(Some(Metrics { listener, handle: recorder()?.clone() }))
    }

    /// Shows the figures of this process, and what the catalogue of `installation` knows, until `shutdown` is
    /// cancelled.
    pub fn show(self, installation: Arc<Installation>, shutdown: CancellationToken) -> anyhow::Result<Showing> {
        let addr = self.listener.local_addr().context("the listener has no address")?;
        tracing::info!(%addr, "metrics can be read at /metrics");
        let shown = Arc::new(Shown { handle: self.handle.clone(), snapshots: Snapshots::new(installation) });
        let router = Router::new().fallback(show).with_state(shown);
        let gathering = tokio::spawn(gather(self.handle, shutdown.clone()));
        let task = tokio::spawn(async move {
            listener::run(self.listener, None, router, PATIENCE, shutdown).await;
            if let Err(error) = gathering.await {
                tracing::error!(%error, "gathering metrics ended in a panic");
            }
        });
        Ok(Showing { addr, task })
    }
}

impl Showing {
    /// Ends when the listener has.
    pub async fn finished(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the metrics listener ended in a panic");
        }
    }
}

struct Shown {
    handle: PrometheusHandle,
    snapshots: Snapshots,
}

/// One page. The listener has no other, so that nothing but figures can ever be had there.
async fn show(State(shown): State<Arc<Shown>>, request: Request) -> Response {
    if request.uri().path() != "/metrics" {
        return (StatusCode::NOT_FOUND, "the metrics are at /metrics\n").into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let snapshot = shown.snapshots.text().await;
    let text = shown.handle.render() + &snapshot;
    ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response()
}

async fn gather(handle: PrometheusHandle, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(GATHERING) => handle.run_upkeep(),
        }
    }
}

/// The recorder of this process: the first server that shows its figures installs it, and all share it.
fn recorder() -> anyhow::Result<&'static PrometheusHandle> {
    static INSTALLED: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        let recorder = builder(counted()).map_err(|error| format!("{error:#}"))?.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
        counted().for_each(Metric::describe);
        dipper_archive::meter::begin();
        dipper_core::meter::begin();
        figures::begin();
        Ok(handle)
    });
    installed.as_ref().map_err(|error| anyhow::anyhow!("metrics cannot be counted: {error}"))
}

/// A recorder for these figures; their histograms have the bounds that their definition gives.
fn builder(metrics: impl Iterator<Item = &'static Metric>) -> anyhow::Result<PrometheusBuilder> {
    let mut builder = PrometheusBuilder::new();
    for metric in metrics {
        if let Kind::Histogram(bounds) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)?;
        }
    }
    Ok(builder)
}

/// A recorder that is thrown away after one use, for figures that are read rather than counted.
fn passing_recorder(metrics: &'static [Metric]) -> PrometheusRecorder {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || metrics.iter().for_each(Metric::describe));
    recorder
}
