//! Starts a whole server on its address, and ends it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use dipper_core::clients::Clients;
use dipper_core::db::processes::ProcessKind;
use dipper_core::installation::Installation;
use dipper_core::intake::Intake;
use dipper_core::oversight::presence::Presence;
use dipper_core::sessions::Sessions;
use dipper_core::time::Clock;
use dipper_core::wake;
use dipper_core::worker::Worker;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::app::{App, Parts};
use crate::config::Settings;
use crate::http::https;
use crate::http::listener::{self, Patience};
use crate::http::tls::Tls;
use crate::metrics::Metrics;
use crate::sftp::Sftp;
use crate::signin::password::Passwords;
use crate::work::{self, Background, Senders};

/// A server that has its address and its data, and does nothing yet.
pub struct Server {
    listener: TcpListener,
    tls: Option<Tls>,
    redirecting: Option<TcpListener>,
    app: App,
    senders: Senders,
    installation: Arc<Installation>,
    metrics: Option<Metrics>,
    sftp: Option<Sftp>,
}

/// A server that is running.
pub struct Serving {
    /// The address that it listens on.
    pub addr: SocketAddr,
    /// Whether it speaks TLS there.
    pub tls: bool,
    /// The address on which it sends plain http to https, if it does.
    pub redirect_addr: Option<SocketAddr>,
    /// The address at which its metrics are shown, if they are.
    pub metrics_addr: Option<SocketAddr>,
    /// The address on which it speaks SFTP, if it does.
    pub sftp_addr: Option<SocketAddr>,
    task: JoinHandle<()>,
}

/// Opens what the settings name, and serves until `shutdown` is cancelled.
pub async fn serve(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<Serving> {
    let works = settings.worker.enabled;
    let server = Server::open(settings, Clock::system()).await?;
    if works { server.start(shutdown) } else { server.start_listening(shutdown) }
}

impl Server {
    /// Binds the address, and opens the installation. What is missing of it is made.
    pub async fn open(settings: Settings, clock: Clock) -> anyhow::Result<Server> {
        let listen = settings.server.listen;
        let listener = TcpListener::bind(listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {listen} (server.listen)"))?;
        let tls = settings.tls.files().map(|(certificate, key)| Tls::open(certificate, key)).transpose()?;
        let redirecting = match settings.tls.redirect_address() {
            None => None,
            Some(listen) => {
                let bound = TcpListener::bind(listen).await;
                Some(bound.with_context(|| format!("cannot listen on {listen} (tls.redirect_listen)"))?)
            }
        };
        let public_url = settings.public_url(listener.local_addr().context("the listener has no address")?);
        let base = Url::parse(&public_url).with_context(|| format!("{public_url} (server.public_url)"))?;
        let metrics = Metrics::bind(settings.metrics.address()).await?;
        let sftp = Sftp::bind(&settings).await?;
        let Background { installation, senders, links } = Background::open(&settings, base, clock).await?;
        let clients = Clients::new(installation.database.clone())?;
        let passwords = Arc::new(Passwords::new(clients.clone())?);
        let lifetimes = settings.console.lifetimes();
        let sessions = Sessions::new(installation.database.clone(), clients, installation.clock.clone(), lifetimes);
        let intake = Intake::new(installation.clone(), links);
        let app =
            App::new(settings, Parts { public_url, intake, passwords, sessions, installation: installation.clone() })?;
        Ok(Server { listener, tls, redirecting, app, senders, installation, metrics, sftp })
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
        let deadline = Duration::from_secs(self.app.settings().server.shutdown_seconds);
        let worker = Worker::new(self.installation.clone());
        let presence = Presence::begin(&self.installation, worker.name(), ProcessKind::Server, worker.slots());
        let beside = work::start(worker, &self.senders, self.app.intake().clone(), deadline, &shutdown);
        self.listen(shutdown, presence, beside)
    }

    /// Begins to listen, and nothing else: steps and notices are for other processes.
    pub fn start_listening(self, shutdown: CancellationToken) -> anyhow::Result<Serving> {
        let name = Worker::new(self.installation.clone()).name().to_owned();
        let presence = Presence::begin(&self.installation, &name, ProcessKind::Server, 0);
        self.listen(shutdown, presence, JoinSet::new())
    }

    fn listen(
        self,
        shutdown: CancellationToken,
        presence: Presence,
        mut beside: JoinSet<()>,
    ) -> anyhow::Result<Serving> {
        let addr = self.listener.local_addr().context("the listener has no address")?;
        let server = &self.app.settings().server;
        let patience = Patience {
            head: Duration::from_secs(server.request_timeout_seconds.min(30)),
            stall: Duration::from_secs(server.stall_timeout_seconds),
            shutdown: Duration::from_secs(server.shutdown_seconds),
            connections: server.max_connections,
        };
        let router = self.app.router();
        beside.spawn(wake::run(self.installation.clone(), shutdown.clone()));
        let showing = self.metrics.map(|metrics| metrics.show(self.installation.clone(), shutdown.clone()));
        let showing = showing.transpose()?;
        let metrics_addr = showing.as_ref().map(|showing| showing.addr);
        if let Some(showing) = showing {
            beside.spawn(showing.finished());
        }
        let mut sftp_addr = None;
        if let Some(mut sftp) = self.sftp {
            sftp_addr = Some(sftp.prepare()?);
            let (intake, passwords) = (self.app.intake().clone(), self.app.passwords().clone());
            beside.spawn(sftp.run(self.installation.clone(), intake, self.app.fetches(), passwords, shutdown.clone()));
        }
        let redirect_addr = self.redirecting.as_ref().map(TcpListener::local_addr).transpose()?;
        if let Some(redirecting) = self.redirecting {
            let router = https::redirecting(self.app.public_url());
            beside.spawn(listener::run(redirecting, None, router, patience, shutdown.clone()));
        }
        let acceptor = self.tls.as_ref().map(Tls::acceptor);
        let tls = acceptor.is_some();
        if let Some(tls) = self.tls {
            beside.spawn(tls.watch(shutdown.clone()));
        }
        let redirect_port = redirect_addr.map(|addr| addr.port());
        tracing::info!(%addr, tls, redirect_port, public_url = self.app.public_url(), "listening");
        let task = tokio::spawn(async move {
            listener::run(self.listener, acceptor, router, patience, shutdown).await;
            work::finish(beside, presence, &self.installation).await;
        });
        Ok(Serving { addr, tls, redirect_addr, metrics_addr, sftp_addr, task })
    }
}

impl Serving {
    /// Ends when the server has: it was told to, and the running answers, steps and notices are done.
    pub async fn finished(self) -> anyhow::Result<()> {
        self.task.await.context("the server ended in a panic")
    }
}
