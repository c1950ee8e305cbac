//! The bytes of an answer, as something that is read.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{ACCEPT_RANGES, ETAG, HeaderValue, LAST_MODIFIED};
use tokio::runtime::Handle;

use super::Fault;
use super::request::{Resume, unreachable};

/// How often it is looked whether the fetching is to stop.
const LOOK: Duration = Duration::from_millis(500);
/// How often a file is gone on with without having come on.
const RESUMES: u32 = 5;
/// So much has to arrive for a cut not to count.
const PROGRESS_BYTES: u64 = 16 << 20;

/// What bytes are to be read within.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The length that was declared.
    pub(super) declared: Option<u64>,
    /// The greatest length that is taken.
    pub(super) longest: u64,
    /// How long nothing may arrive.
    pub(super) stall: Duration,
    /// What has to arrive in a second, over a minute.
    pub(super) bytes_per_second: u64,
}

/// The stretch over which the speed is measured.
const SPEED_WINDOW: Duration = Duration::from_secs(60);

/// Asks for the rest of the file.
pub(super) type Again<'a> = &'a dyn Fn(&Resume) -> Result<Response, Fault>;

/// The body of an answer; goes on with another one after a cut.
pub(super) struct Body<'a> {
    runtime: &'a Handle,
    limits: Limits,
    is_over: &'a (dyn Fn() -> bool + Sync),
    again: Again<'a>,
    response: Response,
    /// What tells that the file is still the same, where the gateway serves ranges.
    validator: Option<HeaderValue>,
    serves_ranges: bool,
    chunk: Bytes,
    position: u64,
    resumes: u32,
    resumed_at: u64,
    window: (Instant, u64),
    /// Why reading ended with an error.
    fault: Option<Fault>,
}

impl<'a> Body<'a> {
    pub(super) fn new(
        runtime: &'a Handle,
        response: Response,
        limits: Limits,
        is_over: &'a (dyn Fn() -> bool + Sync),
        again: Again<'a>,
    ) -> Result<Body<'a>, Fault> {
        if let Some(len) = response.content_length() {
            limits.check_whole(len)?;
        }
        let headers = response.headers();
        let refuses = headers.get(ACCEPT_RANGES).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"none"));
        // A weak tag does not promise the same bytes (RFC 9110 section 13.1.5).
        let tag = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
        let validator = tag.or_else(|| headers.get(LAST_MODIFIED)).cloned();
        let serves_ranges = !refuses && (validator.is_some() || headers.contains_key(ACCEPT_RANGES));
        Ok(Body {
            runtime,
            limits,
            is_over,
            again,
            response,
            validator,
            serves_ranges,
            chunk: Bytes::new(),
            position: 0,
            resumes: 0,
            resumed_at: 0,
            window: (Instant::now(), 0),
            fault: None,
        })
    }

    /// Why reading ended with an error.
    pub(super) fn into_fault(self) -> Option<Fault> {
        self.fault
    }

    /// The next bytes; none at the end.
    fn next(&mut self) -> Result<Bytes, Fault> {
        loop {
            match self.arrive() {
                Ok(Some(chunk)) if chunk.is_empty() => {}
                Ok(Some(chunk)) => {
                    self.position += chunk.len() as u64;
                    self.limits.check_part(self.position)?;
                    self.check_speed()?;
                    return Ok(chunk);
                }
                Ok(None) => return Ok(Bytes::new()),
                Err(Fault::Passing(text, _)) if self.may_resume() => {
                    tracing::debug!(%text, position = self.position, "a gateway broke off, and is asked for the rest");
                    let resume = Resume { from: self.position, validator: self.validator.clone() };
                    self.response = (self.again)(&resume)?;
                    self.window = (Instant::now(), self.position);
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Waits for the next bytes.
    fn arrive(&mut self) -> Result<Option<Bytes>, Fault> {
        let began = Instant::now();
        loop {
            if (self.is_over)() {
                return Err(Fault::Stopped);
            }
            let arriving = async { tokio::time::timeout(LOOK, self.response.chunk()).await };
            match self.runtime.block_on(arriving) {
                Ok(Ok(chunk)) => return Ok(chunk),
                Ok(Err(error)) => return Err(unreachable(error)),
                Err(_) if began.elapsed() >= self.limits.stall => {
                    let seconds = self.limits.stall.as_secs();
                    return Err(Fault::passing(format!("the gateway sent nothing for {seconds} seconds")));
                }
                Err(_) => {}
            }
        }
    }

    fn check_speed(&mut self) -> Result<(), Fault> {
        let (since, position) = self.window;
        let passed = since.elapsed();
        if passed < SPEED_WINDOW {
            return Ok(());
        }
        let least = self.limits.bytes_per_second.saturating_mul(passed.as_secs());
        if self.position - position < least {
            let speed = self.limits.bytes_per_second;
            return Err(Fault::passing(format!("the gateway sends fewer than {speed} bytes in a second")));
        }
        self.window = (Instant::now(), self.position);
        Ok(())
    }

    fn may_resume(&mut self) -> bool {
        if self.position.saturating_sub(self.resumed_at) >= PROGRESS_BYTES {
            self.resumes = 0;
        }
        self.resumes += 1;
        self.resumed_at = self.position;
        self.serves_ranges && self.position > 0 && self.resumes <= RESUMES
    }
}

impl Limits {
    /// The length that an answer announces.
    fn check_whole(&self, len: u64) -> Result<(), Fault> {
        match self.declared {
            Some(declared) if declared != len => {
                Err(Fault::Mismatch(format!("the gateway has {len} bytes, and {declared} were declared")))
            }
            _ if len > self.longest => Err(self.too_long()),
            _ => Ok(()),
        }
    }

    /// What has arrived so far.
    fn check_part(&self, len: u64) -> Result<(), Fault> {
        match self.declared {
            Some(declared) if len > declared => {
                Err(Fault::Mismatch(format!("the gateway sends more than the {declared} bytes that were declared")))
            }
            _ if len > self.longest => Err(self.too_long()),
            _ => Ok(()),
        }
    }

    fn too_long(&self) -> Fault {
        Fault::Refused(format!("the gateway sends more than {} bytes, which is more than is taken", self.longest))
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            self.chunk = self.next().map_err(|fault| {
                let text = fault.to_string();
                self.fault = Some(fault);
                io::Error::other(text)
            })?;
        }
        let count = buffer.len().min(self.chunk.len());
        let bytes = self.chunk.split_to(count);
        if let Some(target) = buffer.get_mut(..count) {
            target.copy_from_slice(&bytes);
        }
        Ok(count)
    }
}
