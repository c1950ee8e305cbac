//! The SFTP server: contractors fetch from `outgoing` of their areas, and hand packages in through `incoming`.
//!
//! [`Sftp`] listens. Each connection is run by russh, which knows SSH, with `session` telling it who may sign in and that
//! nothing but SFTP is spoken. Once it is, requests go to a thread of their own, where `handler` does them one after the
//! other while the connection encrypts the answers to earlier ones:
//!
//! ```text
//! socket -> connection (holds back) -> russh (decrypts) -> session -> wire -> handler -> places -> files
//! socket <- connection              <- russh (encrypts) <----------- wire <- handler (buffers)
//! ```
//!
//! `places` is the tree that a client sees, `files` what keeps everything inside of an area, `uploads` and, for all
//! channels, `server/src/fetches.rs` know what is complete, `limits` how many there may be.

mod area;
mod buffers;
mod connection;
mod files;
mod handler;
mod keys;
mod limits;
mod places;
mod refusal;
mod session;
mod shown;
mod uploads;
mod wire;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use dipper_core::installation::Installation;
use dipper_core::intake::Intake;
use russh::server::{Config, RunningSession};
use russh::{Disconnect, Preferred, SshId, cipher, compression, kex, mac};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::area::Area;
use self::connection::{Connection, Transport};
use self::limits::{Limits, LoginPlace};
use self::session::{SessionError, SshSession};
use crate::config::{Settings, SftpSettings};
use crate::fetches::Fetches;
use crate::signin::password::Passwords;

pub use self::keys::{HostKey, parse_public_key};

/// What clients may send ahead of the answers. More than a distant client needs to keep a fast line busy; what waits
/// here is bounded by how much is read.
const WINDOW: u32 = 16 * 1024 * 1024;
/// The largest packet that is taken of SSH.
const PACKET: u32 = 64 * 1024;
/// Answers that may wait for encryption.
const ANSWERS: usize = 8;
/// How long a failed attempt to sign in takes at the least, whatever is wrong with it.
const REJECTION: Duration = Duration::from_millis(300);
const MAX_ATTEMPTS: usize = 10;
/// How long a client that was told that it is over may take to hang up.
const FAREWELL: Duration = Duration::from_secs(5);

/// An SFTP server that has its address, and does nothing yet.
pub struct Sftp {
    listener: TcpListener,
    settings: SftpSettings,
    shutdown: Duration,
    host_key: Option<HostKey>,
    key_directory: std::path::PathBuf,
}

/// What all connections share.
struct Shared {
    installation: Arc<Installation>,
    passwords: Arc<Passwords>,
    area: Arc<Area>,
    limits: Limits,
    settings: SftpSettings,
}

impl Sftp {
    /// Binds the address of the settings, if there is one.
    pub async fn bind(settings: &Settings) -> anyhow::Result<Option<Sftp>> {
        let Some(listen) = settings.sftp.address() else { return Ok(None) };
        let listener = TcpListener::bind(listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {listen} (sftp.listen)"))?;
        let shutdown = Duration::from_secs(settings.server.shutdown_seconds);
        let (settings, key_directory) = (settings.sftp.clone(), settings.key_directory());
        Ok(Some(Sftp { listener, settings, shutdown, host_key: None, key_directory }))
    }

    /// Reads the host key, or makes it. The directory of the keys must be known to be the installation's.
    pub fn prepare(&mut self) -> anyhow::Result<SocketAddr> {
        let host_key = HostKey::load_or_create(&self.key_directory)?;
        let addr = self.listener.local_addr().context("the listener of SFTP has no address")?;
        tracing::info!(%addr, host_key = host_key.fingerprint(), "listening for SFTP");
        self.host_key = Some(host_key);
        Ok(addr)
    }

    /// Serves until `shutdown` is cancelled. Clients that have something open may then finish it, up to a deadline.
    pub(crate) async fn run(
        self,
        installation: Arc<Installation>,
        intake: Intake,
        fetches: Arc<Fetches>,
        passwords: Arc<Passwords>,
        shutdown: CancellationToken,
    ) {
        let Some(host_key) = &self.host_key else { return };
        let config = Arc::new(config(host_key));
        let settings = self.settings;
        let area = Arc::new(Area::new(installation.clone(), intake, fetches, settings.max_file_bytes));
        let limits = Limits::new(settings.max_sessions, settings.max_sessions_per_client);
        let shared = Arc::new(Shared { installation, passwords, area, limits, settings });
        let mut connections = JoinSet::new();
        let abandon = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            };
            match accepted {
                Ok((stream, peer)) => match shared.limits.login(peer.ip()) {
                    Ok(place) => {
                        let (shared, config) = (shared.clone(), config.clone());
                        let (shutdown, abandon) = (shutdown.clone(), abandon.clone());
                        connections.spawn(serve(shared, config, stream, peer, place, shutdown, abandon));
                    }
                    Err(limit) => {
                        tracing::warn!(%peer, limit, "too many SFTP connections that have not signed in: one was dropped")
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection for SFTP was not accepted");
                    // Out of file descriptors, most likely: the next attempt would fail at once.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.listener);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        tokio::pin!(all_ended);
        tokio::select! {
            () = &mut all_ended => return,
            () = tokio::time::sleep(self.shutdown) => abandon.cancel(),
        }
        all_ended.await;
    }
}

/// Serves one connection.
async fn serve(
    shared: Arc<Shared>,
    config: Arc<Config>,
    stream: TcpStream,
    peer: SocketAddr,
    place: LoginPlace,
    shutdown: CancellationToken,
    abandon: CancellationToken,
) {
    // An answer of a few bytes is not to wait for more.
    let _ = stream.set_nodelay(true);
    let connection = Arc::new(Connection::new());
    let transport = Transport::new(stream, connection.clone());
    let session = SshSession::new(shared.clone(), connection.clone(), peer);
    let login = Duration::from_secs(shared.settings.login_seconds);
    let deadline = tokio::time::Instant::now() + login;
    let begun = tokio::time::timeout_at(deadline, russh::server::run_stream(config, transport, session));
    let running = tokio::select! {
        begun = begun => begun,
        () = shutdown.cancelled() => return,
    };
    let mut running = match running {
        Ok(Ok(running)) => running,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "an SFTP connection ended before it began"),
        Err(_) => return tracing::debug!(%peer, "an SFTP connection said nothing"),
    };
    tokio::select! {
        ended = &mut running => return tell(peer, ended),
        () = over(&shared, &connection, place, deadline, &shutdown, &abandon) => (),
    }
    end(running, &connection, peer).await;
}

/// Waits until a connection is to end, and what its client is to be told then.
async fn over(
    shared: &Shared,
    connection: &Connection,
    place: LoginPlace,
    deadline: tokio::time::Instant,
    shutdown: &CancellationToken,
    abandon: &CancellationToken,
) {
    tokio::select! {
        () = connection.until_signed_in() => drop(place),
        () = tokio::time::sleep_until(deadline) => return,
        () = shutdown.cancelled() => return,
    }
    let patience = Duration::from_secs(shared.settings.idle_seconds);
    let idle = async {
        loop {
            match patience.checked_sub(connection.idle()) {
                Some(rest) if !rest.is_zero() => tokio::time::sleep(rest).await,
                _ => return,
            }
        }
    };
    tokio::select! {
        () = idle => tracing::info!("an SFTP session was idle for too long"),
        () = shutdown.cancelled() => tokio::select! {
            () = connection.until_nothing_open() => {}
            () = abandon.cancelled() => tracing::warn!("an SFTP session was ended at shutdown"),
        },
    }
}

/// Tells the client that it is over, and does not wait for long.
async fn end(mut running: RunningSession<SshSession>, connection: &Connection, peer: SocketAddr) {
    let handle = running.handle();
    let told = async {
        let reason = "the server ends this connection: it was idle for too long, or the server is stopping".to_owned();
        let _ = handle.disconnect(Disconnect::ByApplication, reason, String::new()).await;
        (&mut running).await
    };
    match tokio::time::timeout(FAREWELL, told).await {
        Ok(ended) => tell(peer, ended),
        Err(_) => {
            connection.cut();
            tell(peer, running.await);
        }
    }
}

fn tell(peer: SocketAddr, ended: Result<(), SessionError>) {
    match ended {
        Ok(()) => tracing::debug!(%peer, "an SFTP connection has ended"),
        Err(error @ (SessionError::Overrun | SessionError::Refused)) => {
            tracing::warn!(%peer, %error, "an SFTP connection was ended");
        }
        Err(error) => tracing::debug!(%peer, %error, "an SFTP connection ended early"),
    }
}

/// Algorithms without known weaknesses alone; those of the key exchange that are of the post-quantum kind first.
fn config(host_key: &HostKey) -> Config {
    Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Dipper")),
        methods: session::methods(),
        auth_rejection_time: REJECTION,
        // The question which methods there are is no attempt.
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![host_key.private()],
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        // Requests are taken as they come, past this buffer.
        channel_buffer_size: 1,
        event_buffer_size: ANSWERS,
        max_auth_attempts: MAX_ATTEMPTS,
        inactivity_timeout: None,
        preferred: Preferred {
            kex: Cow::Borrowed(&[
                kex::MLKEM768X25519_SHA256,
                kex::CURVE25519,
                kex::CURVE25519_PRE_RFC_8731,
                kex::EXTENSION_SUPPORT_AS_SERVER,
                kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
            ]),
            key: Cow::Borrowed(&keys::ALGORITHMS),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(&[
                cipher::AES_256_GCM,
                cipher::AES_128_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
                cipher::AES_128_CTR,
            ]),
            mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM]),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        ..Config::default()
    }
}
