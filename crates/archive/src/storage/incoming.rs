//! Files on their way into a bucket: small ones several at a time, and long ones while their bytes come.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};

use super::at_once;
use super::bucket::REQUESTS_AT_ONCE;
use crate::bucket::{Bucket, ObjectType, Upload};

/// How many bytes of files may be in memory while they are uploaded.
const UPLOAD_BYTES: u64 = 64 << 20;

/// A complete file on a local disk, and the path that it is to have in the storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalFile {
    /// Where it is.
    pub local: PathBuf,
    /// Where it is to be.
    pub path: String,
    /// Its length.
    pub len: u64,
}

/// A file whose bytes are written one after the other. It is there, whole, once it is finished; what is dropped before
/// that leaves nothing behind.
pub trait Streamed: Write {
    /// Has the file appear.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Uploads local files, large ones first, so that none is left alone at the end.
pub(super) fn upload(bucket: &Bucket, files: &[LocalFile]) -> io::Result<()> {
    let settings = bucket.settings();
    let (part, parts) = (settings.part_bytes, settings.concurrency.get() as u64 + 1);
    let cost = |len: u64| if len <= part { len } else { part * parts };
    let room = Room::new(files.iter().map(|file| cost(file.len)).max().unwrap_or(0).max(UPLOAD_BYTES));
    let mut files: Vec<&LocalFile> = files.iter().collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.len));
    at_once(REQUESTS_AT_ONCE, &files, &|file: &&LocalFile| {
        let _place = room.take(cost(file.len));
        bucket.put_file(&file.path, &file.local, &ObjectType::default())
    })
}

/// An object in the making.
pub(super) struct BucketStream {
    bucket: Bucket,
    key: String,
    id: String,
    /// None once it was completed.
    upload: Option<Upload<'static>>,
}

impl BucketStream {
    pub(super) fn begin(bucket: &Bucket, key: &str, len: Option<u64>) -> io::Result<BucketStream> {
        let id = bucket.wait(bucket.begin_upload(key, &ObjectType::default()))?;
        // One part on its way while the next is filled: others are streamed at the same time.
        let upload = bucket.upload(key, &id, len).with_in_flight(1);
        Ok(BucketStream { bucket: bucket.clone(), key: key.to_owned(), id, upload: Some(upload) })
    }
}

impl Write for BucketStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let upload = self.upload.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        upload.write(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Streamed for BucketStream {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        let upload = self.upload.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (bucket, key, id) = (&self.bucket, &self.key, &self.id);
        let finished = upload.finish().and_then(|uploaded| {
            bucket.wait(async {
                bucket.complete_upload(key, id, &uploaded.parts).await?;
                bucket.check_len(key, uploaded.len).await
            })
        });
        if finished.is_err() {
            abort(bucket, key, id);
        }
        finished
    }
}

impl Drop for BucketStream {
    fn drop(&mut self) {
        // The parts on their way are stopped first.
        if self.upload.take().is_some() {
            abort(&self.bucket, &self.key, &self.id);
        }
    }
}

fn abort(bucket: &Bucket, key: &str, id: &str) {
    if let Err(error) = bucket.wait(bucket.abort_upload(key, id)) {
        tracing::warn!(key = bucket.place(key), %error, "a failed upload could not be aborted");
    }
}

/// Aborts the uploads below a directory that nobody ended, as far as the server can tell which there are.
pub(super) fn end_streams(bucket: &Bucket, directory: &str) -> io::Result<()> {
    let mut after = None;
    loop {
        let page = match bucket.wait(bucket.unfinished_uploads(directory, after.as_ref())) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
            page => page?,
        };
        for upload in &page.uploads {
            bucket.wait(bucket.abort_upload(&upload.key, &upload.id))?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Bytes of memory that are shared out.
struct Room {
    left: Mutex<u64>,
    freed: Condvar,
}

struct RoomPlace<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Room {
    fn new(bytes: u64) -> Room {
        Room { left: Mutex::new(bytes), freed: Condvar::new() }
    }

    /// Waits until so many are free, which are never more than there are.
    fn take(&self, bytes: u64) -> RoomPlace<'_> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = self.freed.wait_while(left, |left| *left < bytes).unwrap_or_else(PoisonError::into_inner);
        *left -= bytes;
        RoomPlace { room: self, bytes }
    }
}

impl Drop for RoomPlace<'_> {
    fn drop(&mut self) {
        *self.room.left.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.room.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_never_given_twice() {
        let room = Room::new(10);
        let taken = Mutex::new(0_u64);
        at_once(REQUESTS_AT_ONCE, &[3_u64; 100], &|bytes: &u64| {
            let _place = room.take(*bytes);
            let now = {
                let mut taken = taken.lock().unwrap();
                *taken += bytes;
                *taken
            };
            assert!(now <= 10);
            *taken.lock().unwrap() -= bytes;
            Ok::<(), io::Error>(())
        })
        .unwrap();
    }
}
