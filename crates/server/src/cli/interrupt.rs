//! Ctrl-C and `SIGTERM`.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::output::note;

/// A token that is cancelled by the first Ctrl-C or `SIGTERM`; `said` is told then. A second one ends the program
/// at once: whatever is written here survives that.
pub(crate) fn watch(said: &'static str) -> io::Result<CancellationToken> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let watched = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
            if watched.is_cancelled() {
                std::process::exit(Exit::Interrupted as i32);
            }
            note(said);
            watched.cancel();
        }
    });
    Ok(token)
}
