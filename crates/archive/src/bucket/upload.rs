//! A stream of bytes as the parts of a multipart upload. While one part is filled, others are on their way; what is
//! held in memory is the parts in flight and the one that is filled, whatever the length.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinSet;

use super::error::Fault;
use super::multipart::Part;
use super::objects::{ObjectType, PutMode};
use super::{Bucket, check_key};

/// How often somebody who waits for a part looks whether he should go on.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// After so many parts the next ones are twice as large, where nobody knows how many bytes come.
const PARTS_OF_A_SIZE: u32 = 1000;

/// An upload that takes bytes in order. It blocks, so it belongs on a thread that may. Dropping it stops what is on its
/// way; the upload itself goes on until it is completed or aborted under its id.
pub struct Upload<'a> {
    bucket: Bucket,
    key: String,
    id: String,
    part_bytes: usize,
    in_flight: JoinSet<io::Result<(Part, Bytes)>>,
    most_in_flight: usize,
    filling: BytesMut,
    /// Buffers of parts that have arrived.
    free: Vec<BytesMut>,
    parts: Vec<Part>,
    next_number: u32,
    grows: bool,
    len: u64,
    cancelled: Option<&'a dyn Fn() -> bool>,
}

/// All parts of an upload, which has still to be completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedParts {
    /// The parts in order.
    pub parts: Vec<Part>,
    /// How many bytes they hold.
    pub len: u64,
}

impl fmt::Debug for Upload<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Upload").field("key", &self.key).field("len", &self.len).finish_non_exhaustive()
    }
}

impl Bucket {
    /// Goes on with an upload that was begun and has no parts yet. `len` is how many bytes will come; where nobody knows,
    /// the parts grow, so that S3's 10,000 suffice.
    pub fn upload<'a>(&self, key: &str, upload_id: &str, len: Option<u64>) -> Upload<'a> {
        let settings = &self.inner.settings;
        let part_bytes = settings.part_bytes_for(len.unwrap_or(0));
        // Larger parts must not make it hold more at a time.
        let budget = settings.part_bytes.saturating_mul(settings.concurrency.get() as u64);
        let most_in_flight = usize::try_from(budget / part_bytes).unwrap_or(usize::MAX);
        Upload {
            bucket: self.clone(),
            key: key.to_owned(),
            id: upload_id.to_owned(),
            part_bytes: usize::try_from(part_bytes).unwrap_or(usize::MAX),
            in_flight: JoinSet::new(),
            most_in_flight: most_in_flight.clamp(1, settings.concurrency.get()),
            filling: BytesMut::new(),
            free: Vec::new(),
            parts: Vec::new(),
            next_number: 1,
            grows: len.is_none(),
            len: 0,
            cancelled: None,
        }
    }

    /// Uploads a local file, in parts if it is larger than one, and looks whether the object has its length.
    /// It blocks.
    pub fn put_file(&self, key: &str, file: &Path, object_type: &ObjectType) -> io::Result<()> {
        check_key(key)?;
        let mut reader = File::open(file)?;
        let len = reader.metadata()?.len();
        if len <= self.inner.settings.part_bytes {
            let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
            reader.read_to_end(&mut bytes)?;
            return self.wait(self.put(key, bytes.into(), PutMode::Overwrite, object_type)).map(|_| ());
        }
        let id = self.wait(self.begin_upload(key, object_type))?;
        let uploaded = self.upload_from(key, &id, len, &mut reader).and_then(|uploaded| {
            self.wait(async {
                self.complete_upload(key, &id, &uploaded.parts).await?;
                self.check_len(key, uploaded.len).await
            })
        });
        if uploaded.is_err()
            && let Err(error) = self.wait(self.abort_upload(key, &id))
        {
            tracing::warn!(key = self.place(key), %error, "a failed upload could not be aborted");
        }
        uploaded
    }

    fn upload_from(&self, key: &str, id: &str, len: u64, reader: &mut impl Read) -> io::Result<UploadedParts> {
        const PIECE_BYTES: usize = 256 << 10;
        let mut upload = self.upload(key, id, Some(len));
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match reader.read(&mut piece)? {
                0 => return upload.finish(),
                count => upload.write(piece.get(..count).unwrap_or_default())?,
            }
        }
    }

    /// Looks whether an object is there with this length.
    pub async fn check_len(&self, key: &str, len: u64) -> io::Result<()> {
        let found = self.head(key).await?.map(|head| head.len);
        if found == Some(len) {
            return Ok(());
        }
        let found = found.map_or_else(|| "is not there".to_owned(), |found| format!("has {found} bytes"));
        let message = format!("{} {found} after {len} bytes were uploaded", self.place(key));
        Err(io::Error::other(message))
    }
}

impl<'a> Upload<'a> {
    /// Has `cancelled` asked while the upload waits; once it says yes, writing fails with `Interrupted`.
    pub fn cancelled_by(mut self, cancelled: &'a dyn Fn() -> bool) -> Upload<'a> {
        self.cancelled = Some(cancelled);
        self
    }

    /// Has at most so many parts on their way at a time.
    pub(crate) fn with_in_flight(mut self, parts: usize) -> Upload<'a> {
        self.most_in_flight = self.most_in_flight.min(parts.max(1));
        self
    }

    /// Takes the next bytes. It returns at once unless as many parts are on their way as may be.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.len += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.filling.capacity() == 0 {
                self.filling = self.free.pop().unwrap_or_else(|| BytesMut::with_capacity(self.part_bytes));
            }
            let room = self.part_bytes.saturating_sub(self.filling.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.filling.extend_from_slice(now);
            bytes = later;
            if self.filling.len() >= self.part_bytes {
                self.send()?;
            }
        }
        Ok(())
    }

    /// Waits until every part has arrived. The object appears only when the upload is completed with them.
    pub fn finish(mut self) -> io::Result<UploadedParts> {
        // An upload without any part cannot be completed; an empty object has an empty one.
        if !self.filling.is_empty() || self.next_number == 1 {
            self.send()?;
        }
        while !self.in_flight.is_empty() {
            self.take_arrived()?;
        }
        self.parts.sort_unstable_by_key(|part| part.number);
        Ok(UploadedParts { parts: std::mem::take(&mut self.parts), len: self.len })
    }

    fn send(&mut self) -> io::Result<()> {
        while self.in_flight.len() >= self.most_in_flight {
            self.take_arrived()?;
        }
        let bytes = std::mem::take(&mut self.filling).freeze();
        let (bucket, key, id, number) = (self.bucket.clone(), self.key.clone(), self.id.clone(), self.next_number);
        if self.grows && self.next_number.is_multiple_of(PARTS_OF_A_SIZE) {
            self.part_bytes = self.part_bytes.saturating_mul(2);
        }
        self.next_number += 1;
        let sending = async move {
            let part = bucket.put_part(&key, &id, number, bytes.clone()).await?;
            Ok((part, bytes))
        };
        self.in_flight.spawn_on(sending, &self.bucket.inner.runtime);
        Ok(())
    }

    /// Waits for one part on its way.
    fn take_arrived(&mut self) -> io::Result<()> {
        loop {
            if self.cancelled.is_some_and(|cancelled| cancelled()) {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "the upload was cancelled"));
            }
            let waiting = async { tokio::time::timeout(LOOK_AGAIN, self.in_flight.join_next()).await };
            let Ok(joined) = self.bucket.inner.runtime.block_on(waiting) else { continue };
            let Some(joined) = joined else { return Ok(()) };
            let (part, bytes) = joined.map_err(io::Error::other)??;
            self.parts.push(part);
            // The connection may hold on to the bytes a moment longer; then the next part gets a buffer of its own.
            if let Ok(mut buffer) = bytes.try_into_mut() {
                buffer.clear();
                self.free.push(buffer);
            }
            return Ok(());
        }
    }
}

impl Upload<'_> {
    /// Whether an error of [`Upload::write`] says that the upload was cancelled.
    pub fn is_cancelled(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::Interrupted && Fault::of(error).is_none()
    }
}
