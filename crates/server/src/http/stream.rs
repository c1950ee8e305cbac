//! Answers that may be long, made while they are sent: no faster than they are read, and never whole in memory. One that
//! cannot be finished is broken off, so that nobody takes its beginning for the whole.

use std::future::Future;
use std::io;

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::sync::mpsc;

/// How long the pieces are.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that wait for a slow client.
const PIECES_AHEAD: usize = 2;

type Piece = io::Result<Bytes>;

/// Takes an answer, as it is made.
#[derive(Debug)]
pub struct PieceWriter {
    sender: mpsc::Sender<Piece>,
    buffer: Vec<u8>,
}

impl PieceWriter {
    fn new() -> (PieceWriter, Body) {
        let (sender, receiver) = mpsc::channel::<Piece>(PIECES_AHEAD);
        let pieces = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
        (PieceWriter { sender, buffer: Vec::with_capacity(PIECE_BYTES) }, Body::from_stream(pieces))
    }

    /// Sends what was written so far, where that is worth it, and waits until there is room for it.
    pub async fn pass_on(&mut self) -> io::Result<()> {
        if self.buffer.len() < PIECE_BYTES {
            return Ok(());
        }
        self.pass_all().await
    }

    async fn pass_all(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES));
        self.sender.send(Ok(piece.into())).await.map_err(|_| gone())
    }

    /// The buffer, for whoever passes it on by himself.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }
}

/// For a thread that may block.
impl io::Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES));
        self.sender.blocking_send(Ok(piece.into())).map_err(|_| gone())
    }
}

/// Nobody reads any more.
fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

/// A body that is written on a thread that may block.
pub fn written(write: impl FnOnce(&mut PieceWriter) -> io::Result<()> + Send + 'static) -> Body {
    let (mut writer, body) = PieceWriter::new();
    tokio::task::spawn_blocking(move || {
        let done = write(&mut writer).and_then(|()| io::Write::flush(&mut writer));
        if let Err(error) = done {
            broken_off(&error);
            let _ = writer.sender.blocking_send(Err(error));
        }
    });
    body
}

/// A body that is written by a task.
pub fn told<F>(write: impl FnOnce(PieceWriter) -> F) -> Body
where
    F: Future<Output = io::Result<PieceWriter>> + Send + 'static,
{
    let (writer, body) = PieceWriter::new();
    let sender = writer.sender.clone();
    let writing = write(writer);
    tokio::spawn(async move {
        let done = match writing.await {
            Ok(mut writer) => writer.pass_all().await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            broken_off(&error);
            let _ = sender.send(Err(error)).await;
        }
    });
    body
}

fn broken_off(error: &io::Error) {
    if error.kind() != io::ErrorKind::BrokenPipe {
        tracing::error!(%error, "an answer was broken off");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn long_answers_arrive_whole_and_failed_ones_break_off() {
        let line = b"0123456789abcdef\n";
        let whole = written(move |writer| (0..100_000).try_for_each(|_| writer.write_all(line)));
        let bytes = whole.collect().await.expect("whole").to_bytes();
        assert_eq!((bytes.len(), bytes.ends_with(line)), (100_000 * line.len(), true));
        let whole = told(async move |mut writer| {
            for _ in 0..100_000 {
                writer.buffer().extend_from_slice(line);
                writer.pass_on().await?;
            }
            Ok(writer)
        });
        assert_eq!(whole.collect().await.expect("whole").to_bytes().len(), 100_000 * line.len());
        let failed = written(move |writer| {
            writer.write_all(&line.repeat(10_000))?;
            Err(io::ErrorKind::UnexpectedEof.into())
        });
        assert!(failed.collect().await.is_err());
        let failed = told(async move |_| Err(io::ErrorKind::UnexpectedEof.into()));
        assert!(failed.collect().await.is_err());
    }
}
