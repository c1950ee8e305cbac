//! Starts a whole server on its address, and ends it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use dipper_core::clients::Clients;
use dipper_core::installation::Installation;
use dipper_core::intake::Intake;
use dipper_core::link::Links;
use dipper_core::notify::{NoticeRenderer, Notifier};
use dipper_core::recovery;
use dipper_core::time::Clock;
use dipper_core::wake;
use dipper_core::worker::Worker;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::app::{App, Parts};
use crate::config::Settings;
use crate::dialect::dps;
use crate::http::listener::{self, Patience};
use crate::metrics::Metrics;

/// A server that has its address and its data, and does nothing yet.
pub struct Server {
    listener: TcpListener,
    app: App,
    notifier: Notifier,
    installation: Arc<Installation>,
    metrics: Option<Metrics>,
}

/// A server that is running.
pub struct Serving {
    /// The address that it listens on.
    pub addr: SocketAddr,
    /// The address at which its metrics are shown, if they are.
    pub metrics_addr: Option<SocketAddr>,
    task: JoinHandle<()>,
}

/// Opens what the settings name, and serves until `shutdown` is cancelled.
pub async fn serve(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<Serving> {
    Server::open(settings, Clock::system()).await?.start(shutdown)
}

impl Server {
    /// Binds the address, and opens the installation. What is missing of it is made.
    pub async fn open(settings: Settings, clock: Clock) -> anyhow::Result<Server> {
        let listen = settings.server.listen;
        let listener = TcpListener::bind(listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {listen} (server.listen)"))?;
        let public_url = settings.public_url(listener.local_addr().context("the listener has no address")?);
        let base = Url::parse(&public_url).with_context(|| format!("{public_url} (server.public_url)"))?;
        let metrics = Metrics::bind(settings.metrics.address()).await?;
        let installation = Installation::open(settings.places(), settings.core(), clock).await?;
        let installation = Arc::new(installation);
        // Safe to repeat, so one that cannot be finished now does not keep the rest from being served.
        if let Err(error) = recovery::recover(&installation).await {
            tracing::warn!(%error, "what a crash left could not be finished");
        }
        let links = Links::new(&installation.key, base);
        let renderers: HashMap<&'static str, Box<dyn NoticeRenderer>> =
            HashMap::from([(dps::DIALECT, dps::renderer())]);
        let notifier = Notifier::new(installation.clone(), links.clone(), renderers)?;
        let clients = Clients::new(installation.database.clone())?;
        let intake = Intake::new(installation.clone(), links);
        let app = App::new(settings, Parts { public_url, intake, clients })?;
        Ok(Server { listener, app, notifier, installation, metrics })
    }

    /// The installation, for what is not asked over HTTP.
    pub fn installation(&self) -> &Arc<Installation> {
        &self.installation
    }

    /// How clients reach the server.
    pub fn public_url(&self) -> &str {
        self.app.public_url()
    }

    /// Begins to listen, to work on steps and to send notices.
    pub fn start(self, shutdown: CancellationToken) -> anyhow::Result<Serving> {
        let worker = Worker::new(self.installation.clone());
        let deadline = Duration::from_secs(self.app.settings().server.shutdown_seconds);
        let mut beside = JoinSet::new();
        beside.spawn(wake::run(self.installation.clone(), shutdown.clone()));
        beside.spawn(worker.run(shutdown.clone(), deadline));
        beside.spawn(self.notifier.clone().run(shutdown.clone()));
        self.listen(shutdown, beside)
    }

    /// Begins to listen, and nothing else: steps and notices are for other processes.
    pub fn start_listening(self, shutdown: CancellationToken) -> anyhow::Result<Serving> {
        let mut beside = JoinSet::new();
        beside.spawn(wake::run(self.installation.clone(), shutdown.clone()));
        self.listen(shutdown, beside)
    }

    fn listen(self, shutdown: CancellationToken, mut beside: JoinSet<()>) -> anyhow::Result<Serving> {
        let addr = self.listener.local_addr().context("the listener has no address")?;
        let server = &self.app.settings().server;
        let patience = Patience {
            head: Duration::from_secs(server.request_timeout_seconds.min(30)),
            stall: Duration::from_secs(server.stall_timeout_seconds),
            shutdown: Duration::from_secs(server.shutdown_seconds),
            connections: server.max_connections,
        };
        let router = self.app.router();
        let showing = self.metrics.map(|metrics| metrics.show(self.installation.clone(), shutdown.clone()));
        let showing = showing.transpose()?;
        let metrics_addr = showing.as_ref().map(|showing| showing.addr);
        if let Some(showing) = showing {
            beside.spawn(showing.finished());
        }
        tracing::info!(%addr, public_url = self.app.public_url(), "listening");
        let task = tokio::spawn(async move {
            listener::run(self.listener, router, patience, shutdown).await;
            while let Some(ended) = beside.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a part of the server ended in a panic");
                }
            }
            // The last connection to close writes the log back into the database file.
            self.installation.database.close().await;
            tracing::info!("stopped");
        });
        Ok(Serving { addr, metrics_addr, task })
    }
}

impl Serving {
    /// Ends when the server has: it was told to, and the running answers, steps and notices are done.
    pub async fn finished(self) -> anyhow::Result<()> {
        self.task.await.context("the server ended in a panic")
    }
}
