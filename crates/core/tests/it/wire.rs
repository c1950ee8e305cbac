//! A stretch of wire between a process and its database, which a test can hush or cut at a moment of its choice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use dipper_core::db::Server;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::postgres::{SOCKET, TestDatabase};

/// How the server says that a transaction was committed.
const COMMITTED: &[u8] = b"COMMIT\0";

/// The wire. It is gone with this.
pub(crate) struct Wire {
    directory: TempDir,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

struct State {
    /// While it is hushed, connections are accepted and bytes taken, and none arrives.
    hushed: watch::Sender<bool>,
    /// The commit that follows this text on its connection is carried out, and nobody hears of it.
    losing: Mutex<Option<&'static str>>,
    lost: AtomicUsize,
}

impl Wire {
    pub(crate) fn to(database: &TestDatabase) -> Wire {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(SOCKET)).unwrap();
        let (hushed, _) = watch::channel(false);
        let state = Arc::new(State { hushed, losing: Mutex::default(), lost: AtomicUsize::new(0) });
        let (server, shared) = (database.socket(), Arc::clone(&state));
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (server, state) = (server.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    if let Ok(far) = UnixStream::connect(server).await {
                        carry(near, far, &state).await;
                    }
                });
            }
        });
        Wire { directory, state, task }
    }

    /// The database at the other end.
    pub(crate) fn server(&self, database: &TestDatabase) -> Server {
        Server::new(&database.url_over(self.directory.path())).unwrap()
    }

    /// Lets nothing through any more, or everything again that waited.
    pub(crate) fn hush(&self, hushed: bool) {
        self.state.hushed.send_replace(hushed);
    }

    /// Cuts the wire after the next commit that follows this text on its connection, before the answer is heard.
    pub(crate) fn lose_commit_after(&self, text: &'static str) {
        *self.state.losing.lock().unwrap() = Some(text);
    }

    /// How many answers to commits were lost.
    pub(crate) fn lost(&self) -> usize {
        self.state.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries bytes both ways until one end is gone or the wire is cut.
async fn carry(near: UnixStream, far: UnixStream, state: &State) {
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut is_marked = false;
    loop {
        let (bytes, writer) = tokio::select! {
            read = near_read.read(&mut up) => {
                let Some(bytes) = read.ok().and_then(|len| up.get(..len)).filter(|bytes| !bytes.is_empty()) else { return };
                let losing = *state.losing.lock().unwrap();
                is_marked |= losing.is_some_and(|text| holds(bytes, text.as_bytes()));
                (bytes, &mut far_write)
            }
            read = far_read.read(&mut down) => {
                let Some(bytes) = read.ok().and_then(|len| down.get(..len)).filter(|bytes| !bytes.is_empty()) else { return };
                if is_marked && holds(bytes, COMMITTED) && state.losing.lock().unwrap().take().is_some() {
                    state.lost.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                (bytes, &mut near_write)
            }
        };
        let mut hushed = state.hushed.subscribe();
        if hushed.wait_for(|hushed| !hushed).await.is_err() || writer.write_all(bytes).await.is_err() {
            return;
        }
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
