//! What the worker threads do while a package is prepared: they read contents and hold them against their digests.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::layout::{Content, Located, Piece};
use super::prepare::PrepareError;
use super::queue::{Bytes, CHUNK_BYTES, Job, Queue};
use super::raw::{self, ContentReader, SourceError};
use crate::blocks::Blocks;
use crate::digest::Hasher;
use crate::meter;
use crate::storage::Storage;

/// How many chunks of a large file are read ahead of its content digest.
const READ_AHEAD: usize = 4;

/// Takes jobs until there are none, or the queue was stopped.
pub(super) fn work(queue: &Queue<'_>, storage: &dyn Storage) {
    while let Some((job, sender)) = queue.take() {
        let done = match job {
            Job::Made(range) => made(queue, range.start, &sender),
            Job::Files(files) => {
                let mut out =
                    Vec::with_capacity((queue.layout.start(files.end) - queue.layout.start(files.start)) as usize);
                let read = files.into_iter().try_for_each(|index| whole_file(queue, storage, index, &mut out));
                read.map(|()| send(&sender, Arc::new(out)))
            }
            Job::Large(index) => large_file(queue, storage, index, &sender),
        };
        if let Err(failure) = done {
            queue.fail(failure);
        }
    }
}

/// Hands a piece over; when nobody takes it any more, the queue was stopped and the next `take` says so.
fn send(sender: &SyncSender<Bytes>, bytes: Bytes) {
    let _ = sender.send(bytes);
}

fn made(queue: &Queue<'_>, start: u64, sender: &SyncSender<Bytes>) -> Result<(), PrepareError> {
    if let Some(Located { piece: Piece::Made(bytes), .. }) = queue.layout.locate(start) {
        send(sender, Arc::new(bytes));
    }
    Ok(())
}

/// Appends a content with its header and padding, after holding it against its digest.
fn whole_file(queue: &Queue<'_>, storage: &dyn Storage, index: usize, out: &mut Vec<u8>) -> Result<(), PrepareError> {
    let Some(content) = queue.layout.contents().get(index).filter(|_| !queue.is_stopped()) else {
        return Ok(());
    };
    queue.layout.append_header(content, out);
    let start = out.len();
    raw::open(queue.layout, storage, index, 0)?.append(out, content.size)?;
    let mut hasher = Hasher::new(content.algorithm);
    hasher.update(out.get(start..).unwrap_or_default());
    meter::hashed(content.size);
    check(content, hasher)?;
    queue.layout.append_padding(content, out);
    Ok(())
}

/// Reads a large content in chunks. Reading, its digest and the checksum of the package run on three threads.
fn large_file(
    queue: &Queue<'_>,
    storage: &dyn Storage,
    index: usize,
    sender: &SyncSender<Bytes>,
) -> Result<(), PrepareError> {
    let Some(content) = queue.layout.contents().get(index) else { return Ok(()) };
    let mut header = Vec::new();
    queue.layout.append_header(content, &mut header);
    send(sender, Arc::new(header));
    let mut reader = raw::open(queue.layout, storage, index, 0)?;
    let (chunk_sender, chunks) = sync_channel(READ_AHEAD);
    let hasher = std::thread::scope(|scope| {
        scope.spawn(move || read_chunks(&mut reader, &chunk_sender));
        digest_chunks(queue, content, chunks, sender)
    })?;
    let Some(hasher) = hasher else { return Ok(()) };
    check(content, hasher)?;
    let mut padding = Vec::new();
    queue.layout.append_padding(content, &mut padding);
    send(sender, Arc::new(padding));
    Ok(())
}

fn read_chunks(reader: &mut ContentReader, chunks: &SyncSender<Result<Bytes, SourceError>>) {
    let mut blocks = Blocks::new(CHUNK_BYTES as usize);
    while reader.left() > 0 {
        let read = blocks.fill(|bytes| reader.fill(bytes));
        let failed = read.is_err();
        // The other end goes away when the queue is stopped.
        if chunks.send(read).is_err() || failed {
            return;
        }
    }
}

/// Passes each chunk on before digesting it, so that the checksum works on it at the same time. `None` when the
/// queue was stopped.
fn digest_chunks(
    queue: &Queue<'_>,
    content: &Content,
    chunks: Receiver<Result<Bytes, SourceError>>,
    sender: &SyncSender<Bytes>,
) -> Result<Option<Hasher>, PrepareError> {
    let mut hasher = Hasher::new(content.algorithm);
    for chunk in chunks {
        let chunk = chunk?;
        if queue.is_stopped() || sender.send(Arc::clone(&chunk)).is_err() {
            return Ok(None);
        }
        hasher.update(&chunk);
        meter::hashed(chunk.len() as u64);
    }
    Ok(Some(hasher))
}

fn check(content: &Content, hasher: Hasher) -> Result<(), PrepareError> {
    let found = hasher.finish();
    if found == content.digest {
        return Ok(());
    }
    Err(PrepareError::Fixity {
        logical_path: content.logical_path.clone(),
        expected: Box::new(content.digest),
        found: Box::new(found),
    })
}
