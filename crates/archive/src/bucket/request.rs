//! One signed request to a bucket: limits of time, retries, and what the answer means.

use std::future::Future;
use std::io;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};

use super::Bucket;
use super::error::{ErrorBody, Failure, Fault};

/// What is left as it is in names and values of a query, by the rules of Amazon's signatures.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same for a path.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// The most that is read of an answer that is taken whole. A page of 1,000 keys of 1,024 bytes, each byte written in
/// three characters, stays below.
const LARGEST_ANSWER_BYTES: usize = 16 << 20;
/// The slowest sending that is waited for.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A request that is to be sent, as often as it takes.
pub(super) struct Call<'a> {
    /// What is being done, for an error's text: "reading".
    action: &'static str,
    method: Method,
    /// The key below the prefix; `None` for the bucket itself.
    key: Option<&'a str>,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    sha256: Option<Vec<u8>>,
    patience: u32,
}

/// An answer that was taken whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The tries of one request: as many as the settings allow, with growing pauses between them.
struct Tries {
    left: u32,
    pause: Duration,
}

impl Tries {
    fn new(bucket: &Bucket) -> Tries {
        Tries { left: bucket.inner.settings.retries, pause: bucket.inner.settings.retry_pause }
    }

    /// Returns after a pause when there is to be another try, and with the failure when it is final.
    async fn again_after(&mut self, failure: Failure) -> io::Result<()> {
        if self.left == 0 || !may_pass(&failure) {
            return Err(failure.into());
        }
        tracing::debug!(%failure, "a request to a bucket is tried again");
        tokio::time::sleep(with_jitter(self.pause)).await;
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        self.left -= 1;
        Ok(())
    }
}

impl<'a> Call<'a> {
    pub(super) fn new(action: &'static str, method: Method, key: Option<&'a str>) -> Call<'a> {
        Call {
            action,
            method,
            key,
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            sha256: None,
            patience: 1,
        }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Call<'a> {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Call<'a> {
        self.headers.push((name, value.into()));
        self
    }

    /// With a body whose SHA-256, if it is given, becomes part of the signature.
    pub(super) fn body(mut self, body: Bytes, sha256: Option<Vec<u8>>) -> Call<'a> {
        self.body = body;
        self.sha256 = sha256;
        self
    }

    /// The server may take `times` as long as usual to answer.
    pub(super) fn patience(mut self, times: u32) -> Call<'a> {
        self.patience = times;
        self
    }
}

impl Bucket {
    /// Sends a request until it is answered, and takes the answer whole. An answer that tells of an error is one,
    /// whatever its status.
    pub(super) async fn call(&self, call: &Call<'_>) -> io::Result<Answer> {
        let mut tries = Tries::new(self);
        loop {
            match self.answer(call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => tries.again_after(failure).await?,
            }
        }
    }

    /// Sends a request until its answer begins. The body of the answer is still to be read.
    pub(super) async fn call_streaming(&self, call: &Call<'_>) -> io::Result<Response> {
        let mut tries = Tries::new(self);
        loop {
            match self.send(call).await {
                Ok(response) => return Ok(response),
                Err(failure) => tries.again_after(failure).await?,
            }
        }
    }

    async fn answer(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        let response = self.send(call).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.whole_body(call, response).await?;
        match ErrorBody::read(&body) {
            Some(told) => Err(self.answered_error(call, status, &headers, told)),
            None => Ok(Answer { status, headers, body }),
        }
    }

    /// Sends a request once. Any answer but success is a failure.
    async fn send(&self, call: &Call<'_>) -> Result<Response, Failure> {
        let url = self.url(call);
        let headers = self.signed_headers(call, &url).await?;
        let request =
            self.inner.http.request(call.method.clone(), url.as_str()).headers(headers).body(call.body.clone());
        let response = self.in_time(call, request.send()).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let headers = response.headers().clone();
        let body = self.whole_body(call, response).await?;
        let told = ErrorBody::read(&body).unwrap_or_default();
        Err(self.answered_error(call, status, &headers, told))
    }

    fn url(&self, call: &Call<'_>) -> String {
        let mut url = self.inner.address.clone();
        url.push('/');
        if let Some(key) = call.key {
            url.extend(utf8_percent_encode(&self.full_key(key), PATH));
        }
        for (index, (name, value)) in call.query.iter().enumerate() {
            url.push(if index == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            url.extend(utf8_percent_encode(value, QUERY));
        }
        url
    }

    /// The headers of a request with its signature, which must be new for each try.
    async fn signed_headers(&self, call: &Call<'_>, url: &str) -> Result<HeaderMap, Failure> {
        let other = |reason: String| self.failure(call, Fault::Other, reason);
        let credential =
            self.inner.credentials.get_credential().await.map_err(|error| {
                self.failure(call, Fault::Unavailable, format!("there are no credentials: {error}"))
            })?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = url.parse().map_err(|_| other("the key makes no address".to_owned()))?;
        for (name, value) in &call.headers {
            let value =
                HeaderValue::from_str(value).map_err(|_| other(format!("no header can say {name}: {value:?}")))?;
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        let signed = call.body.is_empty() || call.sha256.is_some();
        AwsAuthorizer::new(&credential, "s3", &self.inner.region)
            .with_sign_payload(signed)
            .try_authorize(&mut request, call.sha256.as_deref())
            .map_err(|error| other(error.to_string()))?;
        Ok(std::mem::take(request.headers_mut()))
    }

    async fn whole_body(&self, call: &Call<'_>, mut response: Response) -> Result<Bytes, Failure> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.in_time(call, response.chunk()).await? {
            if body.len() + chunk.len() > LARGEST_ANSWER_BYTES {
                return Err(self.failure(call, Fault::Other, "the answer does not end".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    pub(super) async fn in_time<T>(
        &self,
        call: &Call<'_>,
        doing: impl Future<Output = reqwest::Result<T>>,
    ) -> Result<T, Failure> {
        let sending = Duration::from_secs(call.body.len() as u64 / SLOWEST_BYTES_PER_SECOND);
        let limit = self.inner.settings.request_timeout.saturating_mul(call.patience) + sending;
        match tokio::time::timeout(limit, doing).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.failure(call, Fault::Unavailable, told(&error))),
            Err(_) => {
                let reason = format!("the server was silent for {} s", limit.as_secs_f32());
                Err(self.failure(call, Fault::Unavailable, reason))
            }
        }
    }

    fn answered_error(&self, call: &Call<'_>, status: StatusCode, headers: &HeaderMap, told: ErrorBody) -> Failure {
        let fault = told.fault(status.as_u16());
        let mut reason = format!("the server answers {}", status.as_u16());
        for text in [&told.code, &told.message] {
            if !text.is_empty() {
                reason.push(' ');
                reason.push_str(text);
            }
        }
        if status.is_redirection() {
            let region = headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
            reason.push_str(&region.map_or_else(
                || "; the bucket is elsewhere: check endpoint and region".to_owned(),
                |region| format!("; the bucket is in the region {region}"),
            ));
        }
        let code = if status == StatusCode::RANGE_NOT_SATISFIABLE { "InvalidRange".to_owned() } else { told.code };
        Failure { code, ..self.failure(call, fault, reason) }
    }

    fn failure(&self, call: &Call<'_>, fault: Fault, reason: String) -> Failure {
        let place = self.place(call.key.unwrap_or_default());
        Failure { action: call.action, place, reason, fault, code: String::new() }
    }

    /// A failure that was found in an answer.
    pub(super) fn failed(&self, call: &Call<'_>, fault: Fault, reason: String) -> io::Error {
        self.failure(call, fault, reason).into()
    }

    /// Reads the body of an answer as XML.
    pub(super) fn xml<T: serde::de::DeserializeOwned>(&self, call: &Call<'_>, answer: &Answer) -> io::Result<T> {
        let text = std::str::from_utf8(&answer.body).map_err(|error| error.to_string());
        text.and_then(|text| quick_xml::de::from_str(text).map_err(|error| error.to_string()))
            .map_err(|error| self.failed(call, Fault::Other, format!("the answer is not understood: {error}")))
    }
}

/// Whether the same request may succeed a little later.
fn may_pass(failure: &Failure) -> bool {
    match failure.fault {
        Fault::Unavailable | Fault::Checksum => true,
        // Several writers of one object at a time, where Amazon asks to try again.
        Fault::Precondition => failure.code == "ConditionalRequestConflict",
        _ => false,
    }
}

/// The text of an error of the connection with its causes, and without the address: it may be a signed one.
fn told(error: &reqwest::Error) -> String {
    let mut text = match (error.is_connect(), error.is_timeout()) {
        (_, true) => "no answer in time".to_owned(),
        (true, _) => "no connection".to_owned(),
        _ => "the connection failed".to_owned(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Between one half and the whole of a pause, so that many who failed together do not come back together.
fn with_jitter(pause: Duration) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    pause.mul_f64(0.5 + f64::from(now.subsec_nanos() % 1_000) / 2_000.0)
}
