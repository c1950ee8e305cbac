//! A range of an object as a blocking reader, in flat memory. A connection that breaks is taken up where it broke, on
//! the same object or not at all.

use std::io::{self, Read};
use std::ops::Range;

use bytes::{Buf as _, Bytes};
use reqwest::{Method, Response, StatusCode};

use super::error::{Failure, Fault};
use super::request::Call;
use super::{Bucket, check_key};

/// Reads a range of an object. It blocks, so it belongs on a thread that may.
#[derive(Debug)]
pub struct BucketReader {
    bucket: Bucket,
    key: String,
    /// What is still to be asked for.
    left: Range<u64>,
    etag: Option<String>,
    len_known: bool,
    response: Option<Response>,
    chunk: Bytes,
    breaks: u32,
}

impl Bucket {
    /// The bytes of an object from `range.start` up to `range.end`, or to its end if that comes first. The request is
    /// sent at once, so that an object that is missing or archived shows here.
    pub fn reader(&self, key: &str, range: Range<u64>) -> io::Result<BucketReader> {
        check_key(key)?;
        let mut reader = BucketReader {
            bucket: self.clone(),
            key: key.to_owned(),
            left: range,
            etag: None,
            len_known: false,
            response: None,
            chunk: Bytes::new(),
            breaks: 0,
        };
        reader.request()?;
        Ok(reader)
    }

    /// The next bytes of an answer's body, in time.
    pub(super) async fn next_chunk(&self, call: &Call<'_>, response: &mut Response) -> io::Result<Option<Bytes>> {
        self.in_time(call, response.chunk()).await.map_err(io::Error::from)
    }
}

impl BucketReader {
    /// The `ETag` of the object that is read, with its quotes, if the server gives one.
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    fn call(&self) -> Call<'_> {
        Call::new("reading", Method::GET, Some(&self.key))
    }

    fn request(&mut self) -> io::Result<()> {
        if self.left.is_empty() {
            return Ok(());
        }
        let mut call = self.call();
        // Servers refuse a last byte beyond what their integers hold.
        let last = self.left.end - 1;
        if self.left.start > 0 || last < i64::MAX as u64 {
            let last = if last < i64::MAX as u64 { last.to_string() } else { String::new() };
            call = call.header("range", format!("bytes={}-{last}", self.left.start));
        }
        if let Some(etag) = &self.etag {
            call = call.header("if-match", etag);
        }
        let response = match self.bucket.wait(self.bucket.call_streaming(&call)) {
            // The range begins at the end of the object or after it.
            Err(error) if Failure::has_code(&error, &["InvalidRange"]) => {
                self.left.end = self.left.start;
                return Ok(());
            }
            answered => answered?,
        };
        if self.left.start > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(self.bucket.failed(&call, Fault::Other, "the server does not answer ranges".to_owned()));
        }
        let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        // A server may answer less than was asked for only because the object ends there.
        if let Some(len) = response.content_length() {
            self.left.end = self.left.end.min(self.left.start.saturating_add(len));
            self.len_known = true;
        }
        self.etag = etag;
        self.response = Some(response);
        Ok(())
    }

    /// Takes the next bytes from the connection, and a new connection where it broke.
    fn next(&mut self) -> io::Result<()> {
        while self.chunk.is_empty() && !self.left.is_empty() {
            let Some(mut response) = self.response.take() else {
                self.request()?;
                continue;
            };
            let call = Call::new("reading", Method::GET, Some(&self.key));
            let broken = match self.bucket.wait(self.bucket.next_chunk(&call, &mut response)) {
                Ok(Some(mut chunk)) => {
                    let wanted = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
                    chunk.truncate(wanted);
                    self.left.start += chunk.len() as u64;
                    self.chunk = chunk;
                    self.response = Some(response);
                    self.breaks = 0;
                    continue;
                }
                Ok(None) if !self.len_known => {
                    self.left.end = self.left.start;
                    continue;
                }
                Ok(None) => self.bucket.failed(&call, Fault::Unavailable, "the object ends too early".to_owned()),
                Err(error) => error,
            };
            self.broke(broken)?;
        }
        Ok(())
    }

    /// Counts a break; the error once there were too many.
    fn broke(&mut self, error: io::Error) -> io::Result<()> {
        if self.breaks >= self.bucket.inner.settings.retries {
            return Err(error);
        }
        self.breaks += 1;
        Ok(())
    }
}

impl Read for BucketReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next()?;
        let count = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}
