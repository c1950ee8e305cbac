//! Starts a server on its address, and ends it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::Settings;
use crate::http::listener::{self, Patience};

/// A server that is running.
pub struct Serving {
    /// The address that it listens on.
    pub addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Serving {
    /// Ends when the server has: it was told to, and the running answers are done.
    pub async fn finished(self) -> anyhow::Result<()> {
        self.task.await.context("the server ended in a panic")
    }
}

/// Binds the address of the settings.
pub async fn bind(settings: &Settings) -> anyhow::Result<TcpListener> {
    let listen = settings.server.listen;
    TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen} (server.listen)"))
}

/// Serves on a listener until `shutdown` is cancelled.
pub fn serve_on(listener: TcpListener, app: &App, shutdown: CancellationToken) -> anyhow::Result<Serving> {
    let addr = listener.local_addr().context("the listener has no address")?;
    let server = &app.settings().server;
    let patience = Patience {
        head: Duration::from_secs(server.request_timeout_seconds.min(30)),
        stall: Duration::from_secs(server.stall_timeout_seconds),
        shutdown: Duration::from_secs(server.shutdown_seconds),
        connections: server.max_connections,
    };
    let task = tokio::spawn(listener::run(listener, app.router(), patience, shutdown));
    Ok(Serving { addr, task })
}
