//! The listener: accepts connections, protects itself against slow ones, and ends gracefully.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::stall::StallGuard;

/// The address of the other end of a connection, found as `ConnectInfo<Peer>`.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// How patient the listener is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the head of a request.
    pub head: Duration,
    /// For a connection on which nothing moves in either direction.
    pub stall: Duration,
    /// For running answers at shutdown.
    pub shutdown: Duration,
    /// Connections at a time.
    pub connections: usize,
}

/// How a request came, found among its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In plain http.
    Plain,
    /// Encrypted, up to this process.
    Tls,
}

/// Serves until `shutdown` is cancelled, then lets running answers finish up to the deadline.
pub async fn run(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    patience: Patience,
    shutdown: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(patience.connections));
    let graceful = GracefulShutdown::new();
    // Cancelled when the deadline has passed: whatever still runs is dropped.
    let abandon = CancellationToken::new();
    let host = Host { router, tls, builder: builder(patience), patience, shutdown: shutdown.clone() };
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        let (host, watcher, abandon) = (host.clone(), graceful.watcher(), abandon.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = host.receive(stream, peer, watcher) => {}
                () = abandon.cancelled() => tracing::warn!(%peer, "connection dropped at shutdown"),
            }
            drop(permit);
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(patience.shutdown) => abandon.cancel(),
    }
}

/// What connections are served with.
#[derive(Clone)]
struct Host {
    router: Router,
    tls: Option<TlsAcceptor>,
    builder: Builder<TokioExecutor>,
    patience: Patience,
    shutdown: CancellationToken,
}

impl Host {
    async fn receive(self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        let stream = StallGuard::new(stream, self.patience.stall);
        let Some(tls) = &self.tls else {
            return self.serve(stream, Transport::Plain, peer, watcher).await;
        };
        // In the task of the connection, so that nobody else waits for it.
        let handshake = tokio::time::timeout(self.patience.head, tls.accept(stream));
        let shaken = tokio::select! {
            () = self.shutdown.cancelled() => return,
            shaken = handshake => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => self.serve(stream, Transport::Tls, peer, watcher).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS connection came about"),
            Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
        }
    }

    async fn serve<S>(&self, stream: S, transport: Transport, peer: SocketAddr, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = self.router.clone().map_request(move |mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(ConnectInfo(Peer(peer)));
            request.extensions_mut().insert(transport);
            request.map(axum::body::Body::new)
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        if let Err(error) = watcher.watch(connection.into_owned()).await {
            tracing::debug!(%peer, error = %error, "connection ended early");
        }
    }
}

fn builder(patience: Patience) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience.head).max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(Some(patience.stall / 2))
        .keep_alive_timeout(patience.head);
    builder
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = connections.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // An answer of a few bytes is not to wait for more.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, permit))
        }
        Err(error) => {
            tracing::warn!(error = %error, "a connection was not accepted");
            // Out of file descriptors, most likely: the next attempt would fail at once.
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
