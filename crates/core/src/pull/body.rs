//! The bytes of an answer, as something that is read.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dipper_archive::ocfl::{Announced, Position, Source};
use reqwest::Response;
use reqwest::header::{ACCEPT_RANGES, ETAG, HeaderValue, LAST_MODIFIED};
use tokio::runtime::Handle;

use super::Fault;
use super::request::{Resume, unreachable};

use crate::sentence::sentence;

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

/// Asks for the file, or for the rest of it.
pub(super) type Ask<'a> = &'a dyn Fn(Option<&Resume>) -> Result<Response, Fault>;

/// The body of an answer; goes on with another one after a cut.
pub(super) struct Body<'a> {
    runtime: &'a Handle,
    limits: Limits,
    is_over: &'a (dyn Fn() -> bool + Sync),
    ask: Ask<'a>,
    /// None before the file was asked for.
    response: Option<Response>,
    /// What tells that the file is still the same, where the gateway serves ranges.
    validator: Option<HeaderValue>,
    serves_ranges: bool,
    chunk: Bytes,
    position: u64,
    resumes: u32,
    resumed_at: u64,
    window: (Instant, u64),
    /// The bytes before these came in an earlier attempt.
    is_rest: bool,
    /// Why reading ended with an error.
    fault: Option<Fault>,
}

impl<'a> Body<'a> {
    pub(super) fn new(
        runtime: &'a Handle,
        limits: Limits,
        is_over: &'a (dyn Fn() -> bool + Sync),
        ask: Ask<'a>,
    ) -> Body<'a> {
        Body {
            runtime,
            limits,
            is_over,
            ask,
            response: None,
            validator: None,
            serves_ranges: false,
            chunk: Bytes::new(),
            position: 0,
            resumes: 0,
            resumed_at: 0,
            window: (Instant::now(), 0),
            is_rest: false,
            fault: None,
        }
    }

    /// Whether the bytes before these came in an earlier attempt.
    pub(super) fn is_rest(&self) -> bool {
        self.is_rest
    }

    /// Asks for all of the file.
    fn start(&mut self) -> Result<Announced, Fault> {
        let response = (self.ask)(None)?;
        let len = response.content_length();
        if let Some(len) = len {
            self.limits.check_whole(len)?;
        }
        let headers = response.headers();
        let refuses = headers.get(ACCEPT_RANGES).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"none"));
        // A weak tag does not promise the same bytes (RFC 9110 section 13.1.5).
        let tag = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
        self.validator = tag.or_else(|| headers.get(LAST_MODIFIED)).cloned();
        self.serves_ranges = !refuses && (self.validator.is_some() || headers.contains_key(ACCEPT_RANGES));
        (self.position, self.is_rest, self.window) = (0, false, (Instant::now(), 0));
        self.response = Some(response);
        let tag = self.validator.as_ref().filter(|_| self.serves_ranges).and_then(|tag| tag.to_str().ok());
        Ok(Announced { len, tag: tag.map(str::to_owned) })
    }

    /// Asks for the rest of a file of which some came in an earlier attempt; `None` when it is not to be had.
    fn go_on(&mut self, from: u64, tag: &str) -> Result<Option<Announced>, Fault> {
        let Ok(validator) = HeaderValue::from_str(tag) else { return Ok(None) };
        (self.position, self.is_rest, self.window) = (from, true, (Instant::now(), from));
        if self.limits.declared == Some(from) {
            // All of it is there; a range without a byte in it cannot be asked for.
            return Ok(Some(Announced::default()));
        }
        let resume = Resume { from, validator: Some(validator) };
        match (self.ask)(Some(&resume)) {
            Ok(response) => self.response = Some(response),
            Err(Fault::NoRest) => return Ok(None),
            Err(fault) => return Err(fault),
        }
        (self.validator, self.serves_ranges) = (resume.validator, true);
        tracing::info!(from, "a file that was cut off is gone on with");
        Ok(Some(Announced::default()))
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
                    self.response = Some((self.ask)(Some(&resume))?);
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
            let Some(response) = &mut self.response else { return Ok(None) };
            let arriving = async { tokio::time::timeout(LOOK, response.chunk()).await };
            match self.runtime.block_on(arriving) {
                Ok(Ok(chunk)) => return Ok(chunk),
                Ok(Err(error)) => return Err(unreachable(error)),
                Err(_) if began.elapsed() >= self.limits.stall => {
                    let seconds = self.limits.stall.as_secs();
                    return Err(Fault::passing(sentence!("the gateway sent nothing for {seconds} seconds")));
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
            return Err(Fault::passing(sentence!("the gateway sends fewer than {speed} bytes in a second")));
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
                Err(Fault::Mismatch(sentence!("the gateway has {len} bytes, and {declared} were declared")))
            }
            _ if len > self.longest => Err(self.too_long()),
            _ => Ok(()),
        }
    }

    /// What has arrived so far.
    fn check_part(&self, len: u64) -> Result<(), Fault> {
        match self.declared {
            Some(declared) if len > declared => {
                Err(Fault::Mismatch(sentence!("the gateway sends more than the {declared} bytes that were declared")))
            }
            _ if len > self.longest => Err(self.too_long()),
            _ => Ok(()),
        }
    }

    fn too_long(&self) -> Fault {
        Fault::Refused(sentence!("the gateway sends more than {} bytes, which is more than is taken", self.longest))
    }
}

impl Body<'_> {
    /// An error for whoever reads; why it is one is kept.
    fn failed(&mut self, fault: Fault) -> io::Error {
        let text = fault.to_string();
        self.fault = Some(fault);
        io::Error::other(text)
    }
}

impl Source for Body<'_> {
    fn begin(&mut self, position: Position<'_>) -> io::Result<Option<Announced>> {
        let begun = match position {
            Position::Start => self.start().map(Some),
            Position::Behind(from, tag) => self.go_on(from, tag),
        };
        begun.map_err(|fault| self.failed(fault))
    }

    fn passed(&mut self, _bytes: u64) -> io::Result<()> {
        if (self.is_over)() { Err(self.failed(Fault::Stopped)) } else { Ok(()) }
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            self.chunk = self.next().map_err(|fault| self.failed(fault))?;
        }
        let count = buffer.len().min(self.chunk.len());
        let bytes = self.chunk.split_to(count);
        if let Some(target) = buffer.get_mut(..count) {
            target.copy_from_slice(&bytes);
        }
        Ok(count)
    }
}
