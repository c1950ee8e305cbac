//! What the parts of one connection know of each other: how much waits to be done, when something last moved, and
//! whether it is to end.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Requests and contents that may wait before no more is read from the client.
const ENOUGH: usize = 4 * 1024 * 1024;
/// What may wait while the client itself holds up the answers, and must be heard to go on.
const TOO_MUCH: usize = 32 * 1024 * 1024;
/// What a piece costs beside its bytes.
const PIECE: usize = 512;
/// Less than this tells of no transfer: it may be the answer to a sign of life.
const A_MOVE: u64 = 4096;

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    since: Instant,
    /// Bytes of requests that were read and not done yet.
    waiting: AtomicUsize,
    /// Whether an answer waits for the client.
    held_up: AtomicBool,
    /// When something last moved, in milliseconds since the connection began.
    moved: AtomicU64,
    /// Bytes sent since then.
    sent: AtomicU64,
    signed_in: AtomicBool,
    /// Files and directories that are open.
    open: AtomicUsize,
    /// Rung when one of the two above changes.
    changed: Notify,
    is_cut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Connection {
    pub(super) fn new() -> Connection {
        Connection {
            since: Instant::now(),
            waiting: AtomicUsize::new(0),
            held_up: AtomicBool::new(false),
            moved: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            signed_in: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            changed: Notify::new(),
            is_cut: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        }
    }

    /// A piece of a request has come; `false` when there is too much already.
    pub(super) fn came(&self, bytes: usize) -> bool {
        self.move_now();
        self.waiting.fetch_add(bytes + PIECE, Ordering::AcqRel) < TOO_MUCH
    }

    /// A piece is being worked on.
    pub(super) fn taken(&self, bytes: usize) {
        let before = self.waiting.fetch_sub(bytes + PIECE, Ordering::AcqRel);
        if before >= ENOUGH {
            self.reader.wake();
        }
    }

    /// An answer waits for the client, or does no longer.
    pub(super) fn hold_up(&self, held_up: bool) {
        self.held_up.store(held_up, Ordering::Release);
        if held_up && self.waiting.load(Ordering::Acquire) >= ENOUGH {
            // The client may be about to say that it can take more.
            self.reader.wake();
        }
    }

    /// Something moved just now.
    pub(super) fn move_now(&self) {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
        self.sent.store(0, Ordering::Relaxed);
    }

    fn wrote(&self, bytes: usize) {
        if self.sent.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64 >= A_MOVE {
            self.move_now();
        }
    }

    /// For how long nothing has moved.
    pub(super) fn idle(&self) -> Duration {
        self.since.elapsed().saturating_sub(Duration::from_millis(self.moved.load(Ordering::Relaxed)))
    }

    /// Somebody has signed in.
    pub(super) fn sign_in(&self) {
        self.signed_in.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// So many files and directories are open.
    pub(super) fn opened(&self, count: usize) {
        if self.open.swap(count, Ordering::AcqRel) != count {
            self.changed.notify_waiters();
        }
    }

    /// Waits until somebody has signed in.
    pub(super) async fn until_signed_in(&self) {
        self.until(|| self.signed_in.load(Ordering::Acquire)).await;
    }

    /// Waits until nothing is open.
    pub(super) async fn until_nothing_open(&self) {
        self.until(|| self.open.load(Ordering::Acquire) == 0).await;
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if condition() {
                return;
            }
            changed.await;
        }
    }

    /// Ends the connection, whatever it is doing.
    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }

    fn reads(&self) -> bool {
        self.waiting.load(Ordering::Acquire) < ENOUGH || self.held_up.load(Ordering::Acquire)
    }

    fn check_cut(&self) -> io::Result<()> {
        if self.is_cut.load(Ordering::Acquire) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

/// The bytes of a connection. It is not read from while enough waits to be done, so that the client waits as well.
pub(super) struct Transport {
    stream: BufReader<TcpStream>,
    connection: std::sync::Arc<Connection>,
}

impl Transport {
    pub(super) fn new(stream: TcpStream, connection: std::sync::Arc<Connection>) -> Transport {
        // Each packet is read in two parts, which should not be two calls of the system.
        Transport { stream: BufReader::with_capacity(64 * 1024, stream), connection }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.connection.reader.register(context.waker());
        self.connection.check_cut()?;
        if !self.connection.reads() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.connection.writer.register(context.waker());
        self.connection.check_cut()?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.connection.wrote(count);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
