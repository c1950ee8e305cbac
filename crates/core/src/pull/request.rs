//! One call to a gateway.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, IF_MATCH, IF_RANGE, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Response, StatusCode};
use url::Url;

use super::Fault;
use crate::egress::{self, Allowed};
use crate::gateway::Gateway;
use crate::sentence::sentence;
use crate::settings::Settings;

/// The longest that a gateway may ask to be left alone before its step waits instead.
const RETRY_AFTER_LONGEST: Duration = Duration::from_secs(60);

/// Calls gateways.
pub(crate) struct Requests {
    client: reqwest::Client,
    allowed: Allowed,
    /// How long an answer may take to begin.
    patience: Duration,
    redirects: usize,
    /// This gateway holds `If-Match` against something else than the checksum of the file, as plain web servers do.
    knows_other_tags: AtomicBool,
}

/// From where on a file is asked for, after a cut.
pub(super) struct Resume {
    pub(super) from: u64,
    /// What tells that the file is still the same, if the gateway has told.
    pub(super) validator: Option<HeaderValue>,
}

impl Requests {
    pub(crate) fn new(settings: &Settings) -> reqwest::Result<Requests> {
        let allowed = Allowed::new(&settings.egress_allow);
        Ok(Requests {
            client: egress::streaming_client(allowed.clone(), settings.deposit.timeout)?,
            allowed,
            patience: settings.deposit.timeout,
            redirects: settings.deposit.max_redirects,
            knows_other_tags: AtomicBool::new(false),
        })
    }

    /// Asks for a file, or for the rest of it; gives an answer with its bytes.
    pub(super) async fn get(
        &self,
        gateway: &Gateway,
        url: &Url,
        checksum: &str,
        resume: Option<&Resume>,
    ) -> Result<Response, Fault> {
        let mut url = url.clone();
        // Once an answer has led away, nothing is told to anybody any more.
        let mut is_home = true;
        let mut redirects = 0;
        loop {
            self.allowed.admit(&url).await?;
            let is_tagged = is_home && !self.knows_other_tags.load(Ordering::Relaxed);
            let tag = is_tagged.then_some(checksum);
            let response = self.send(is_home.then_some(gateway), &url, tag, resume).await?;
            let status = response.status();
            if status == StatusCode::PRECONDITION_FAILED && is_tagged {
                // Whether the file is another one, its checksum will tell.
                self.knows_other_tags.store(true, Ordering::Relaxed);
                continue;
            }
            let Some(next) = redirected(&response, &url)? else {
                return checked(response, resume);
            };
            redirects += 1;
            if redirects > self.redirects {
                return Err(Fault::Refused(sentence!("the gateway redirects more than {} times", self.redirects)));
            }
            is_home &= next.origin() == gateway.url.origin();
            url = next;
        }
    }

    async fn send(
        &self,
        credentials: Option<&Gateway>,
        url: &Url,
        tag: Option<&str>,
        resume: Option<&Resume>,
    ) -> Result<Response, Fault> {
        // The bytes are wanted as they are.
        let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(gateway) = credentials {
            request = request.basic_auth(&gateway.username, Some(gateway.password.reveal()));
        }
        if let Some(checksum) = tag {
            request = request.header(IF_MATCH, format!("\"{checksum}\""));
        }
        if let Some(resume) = resume {
            request = request.header(RANGE, format!("bytes={}-", resume.from));
            if let Some(validator) = &resume.validator {
                request = request.header(IF_RANGE, validator.clone());
            }
        }
        match tokio::time::timeout(self.patience, request.send()).await {
            Ok(answered) => answered.map_err(unreachable),
            Err(_) => {
                Err(Fault::passing(sentence!("the gateway did not answer within {} seconds", self.patience.as_secs())))
            }
        }
    }
}

/// Where an answer leads, if it does.
fn redirected(response: &Response, from: &Url) -> Result<Option<Url>, Fault> {
    use StatusCode as S;
    let moves = [S::MOVED_PERMANENTLY, S::FOUND, S::SEE_OTHER, S::TEMPORARY_REDIRECT, S::PERMANENT_REDIRECT];
    if !moves.contains(&response.status()) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let Some(next) = location.and_then(|location| from.join(location).ok()) else {
        return Err(Fault::Refused(sentence!("the gateway answered {} without an address", response.status())));
    };
    Ok(Some(next))
}

/// An answer that holds what was asked for.
fn checked(response: Response, resume: Option<&Resume>) -> Result<Response, Fault> {
    let status = response.status();
    match (status, resume) {
        (StatusCode::OK, None) => Ok(response),
        (StatusCode::PARTIAL_CONTENT, Some(resume)) if range_start(response.headers()) == Some(resume.from) => {
            Ok(response)
        }
        // It has changed, or is not served in parts after all.
        (StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
            Err(Fault::NoRest)
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Err(Fault::SignIn(status)),
        (StatusCode::NOT_FOUND | StatusCode::GONE, _) => {
            Err(Fault::Refused(sentence!("the gateway does not have the file: it answered {status}")))
        }
        (status, _)
            if status.is_server_error()
                || matches!(
                    status,
                    StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
                ) =>
        {
            Err(Fault::Passing(sentence!("the gateway answered {status}"), retry_after(response.headers())))
        }
        (status, _) => Err(Fault::Refused(sentence!("the gateway answered {status}"))),
    }
}

/// The first byte of a part, and with it that it is one.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes")?;
    range.trim().split_once('-')?.0.parse().ok()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_LONGEST))
}

/// What kept a call from being made, without the address, which may carry a signature.
pub(super) fn unreachable(error: reqwest::Error) -> Fault {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refusal) = inner.downcast_ref::<egress::Refusal>() {
            return Fault::Egress(refusal.clone());
        }
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    Fault::passing(sentence!("the gateway cannot be reached: {text}"))
}
