//! What is counted about requests, sign-in and downloads.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use dipper_archive::meter::{Metric, SHORT_SECONDS};
use dipper_core::meter::{Channel, delivered};
use metrics::{Gauge, counter, gauge, histogram};

const REQUESTS: Metric = Metric::histogram(
    "dipper_http_request_duration_seconds",
    &["route", "method", "status"],
    SHORT_SECONDS,
    "Time from the head of a request to the head of its answer, by route, method and class of status.",
);
const REQUESTS_RUNNING: Metric =
    Metric::gauge("dipper_http_requests_in_flight", &[], "Requests whose answer has not begun.");
const DOWNLOADS_RUNNING: Metric =
    Metric::gauge("dipper_downloads_in_flight", &[], "Downloads over HTTP that are running.");
const SIGN_IN_FAILURES: Metric = Metric::counter(
    "dipper_sign_in_failures_total",
    &["reason"],
    "Sign-ins that failed: wrong client or secret (credentials), refused access token (token), no believable word of the issuer where people sign in (issuer), too many failures (throttled).",
);
const SECRETS_HASHED: Metric = Metric::counter(
    "dipper_sign_in_hashes_total",
    &[],
    "Secrets of clients that were hashed to check them; one that was right a moment ago is not hashed again.",
);
const RATE_LIMITED: Metric = Metric::counter(
    "dipper_http_rate_limited_total",
    &["by"],
    "Requests that were refused because their client, or their address, sent too many.",
);

const SFTP_SESSIONS: Metric =
    Metric::gauge("dipper_sftp_sessions", &[], "Clients that are signed in over SFTP on this process.");
const SFTP_RECEIVED: Metric =
    Metric::counter("dipper_sftp_received_bytes_total", &[], "Bytes of files that were handed in over SFTP.");
const CERTIFICATE_EXPIRES: Metric = Metric::gauge(
    "dipper_certificate_expires_timestamp_seconds",
    &[],
    "When the certificate of this server expires, in seconds since 1970; 0 where it has none.",
);

/// The figures of this file.
pub(super) const METRICS: &[Metric] = &[
    REQUESTS,
    REQUESTS_RUNNING,
    DOWNLOADS_RUNNING,
    SIGN_IN_FAILURES,
    SECRETS_HASHED,
    RATE_LIMITED,
    SFTP_SESSIONS,
    SFTP_RECEIVED,
    CERTIFICATE_EXPIRES,
];

/// Makes the figures known that do not wait for something to happen first.
pub(super) fn begin() {
    REQUESTS_RUNNING.begin(&[]);
    DOWNLOADS_RUNNING.begin(&[]);
    SFTP_SESSIONS.begin(&[]);
    SFTP_RECEIVED.begin(&[]);
    CERTIFICATE_EXPIRES.begin(&[]);
    for reason in ["credentials", "token", "issuer", "throttled"] {
        SIGN_IN_FAILURES.begin(&[reason]);
    }
    SECRETS_HASHED.begin(&[]);
    for by in ["client", "address"] {
        RATE_LIMITED.begin(&[by]);
    }
}

/// One more of something that runs, until it is dropped.
#[derive(Debug)]
pub(crate) struct Running(Gauge);

impl Running {
    fn new(gauge: Gauge) -> Running {
        gauge.increment(1.0);
        Running(gauge)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A request that is being served.
pub(crate) struct RunningRequest {
    method: &'static str,
    route: Option<String>,
    _running: Running,
}

/// A request has come for a route, if there is one.
pub(crate) fn request(method: &Method, route: Option<String>) -> RunningRequest {
    RunningRequest { method: known(method), route, _running: Running::new(gauge!(REQUESTS_RUNNING.name)) }
}

impl RunningRequest {
    /// Its answer begins.
    pub(crate) fn answered(self, status: StatusCode, elapsed: Duration) {
        let route = self.route.unwrap_or_else(|| "none".to_owned());
        let labels = [("route", route), ("method", self.method.to_owned()), ("status", class(status).to_owned())];
        histogram!(REQUESTS.name, &labels).record(elapsed);
    }
}

/// A download begins. Bytes are counted as they are handed to the connection.
pub(crate) fn download(channel: Channel) -> RunningDownload {
    RunningDownload { bytes: delivered(channel), _running: Running::new(gauge!(DOWNLOADS_RUNNING.name)) }
}

/// A download that is running.
pub(crate) struct RunningDownload {
    bytes: metrics::Counter,
    _running: Running,
}

impl RunningDownload {
    /// Bytes were handed to the connection.
    pub(crate) fn sent(&self, bytes: u64) {
        self.bytes.increment(bytes);
    }
}

/// A client is signed in over SFTP, until what this returns is dropped.
pub(crate) fn sftp_session() -> Running {
    Running::new(gauge!(SFTP_SESSIONS.name))
}

/// Bytes of a delivery were sent over SFTP.
pub(crate) fn sftp_delivered(bytes: u64) {
    if bytes > 0 {
        delivered(Channel::Sftp).increment(bytes);
    }
}

/// Bytes of a file were handed in over SFTP.
pub(crate) fn sftp_received(bytes: u64) {
    counter!(SFTP_RECEIVED.name).increment(bytes);
}

/// The certificate that is shown from now on expires so many seconds after 1970.
#[expect(clippy::cast_precision_loss, reason = "seconds of any calendar are far below 2^53")]
pub(crate) fn certificate_expires(seconds: i64) {
    gauge!(CERTIFICATE_EXPIRES.name).set(seconds as f64);
}

/// A sign-in failed.
pub(crate) fn sign_in_failed(reason: &'static str) {
    counter!(SIGN_IN_FAILURES.name, "reason" => reason).increment(1);
}

/// A secret is hashed.
pub(crate) fn secret_hashed() {
    counter!(SECRETS_HASHED.name).increment(1);
}

/// A request was refused because there were too many.
pub(crate) fn rate_limited(by: &'static str) {
    counter!(RATE_LIMITED.name, "by" => by).increment(1);
}

/// Methods come from strangers, who may invent any number of them.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}
