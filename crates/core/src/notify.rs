//! Notices on their way: claimed, rendered, signed as Standard Webhooks 1.0 says, sent, recorded.
//!
//! A notice is claimed under a lease before it is sent and recorded after, so a crash between the two sends it
//! again, under the same `webhook-id`, by which the receiver knows it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info, warn};
use url::Url;

use crate::causes::causes;
use crate::db::deliveries::Delivery;
use crate::db::notices::{Attempt, NoticeEnd, NoticeLease};
use crate::db::orders::Order;
use crate::db::webhooks::Webhook;
use crate::db::{DatabaseError, deliveries, notices, orders, webhooks};
use crate::egress::{self, Allowed};
use crate::installation::Installation;
use crate::link::Links;
use crate::meter;
use crate::secret::{Secret, SecretError};
use crate::sentence::sentence;
use crate::settings::backoff;
use crate::time::Timestamp;
use crate::trace;

/// How many notices are sent at the same time.
const SENT_AT_ONCE: usize = 16;

/// Puts what happened to an order into the words of one contract.
pub trait NoticeRenderer: Send + Sync {
    /// The JSON body that tells of a finished order; the same facts give the same bytes, and only links into a store
    /// differ from one attempt to the next, because each is signed anew. `None` when the contract
    /// has nothing to tell.
    fn render(&self, facts: &NoticeFacts<'_>) -> Option<Vec<u8>>;
}

/// What a notice can tell.
#[derive(Debug)]
pub struct NoticeFacts<'a> {
    /// The finished order.
    pub order: &'a Order,
    /// Its delivery, if it has one.
    pub delivery: Option<&'a Delivery>,
    /// A link for each file of the delivery.
    pub links: &'a [String],
    /// When the notice was made.
    pub created: Timestamp,
}

/// Sends what is due.
#[derive(Clone)]
pub struct Notifier {
    installation: Arc<Installation>,
    links: Links,
    renderers: Arc<HashMap<&'static str, Box<dyn NoticeRenderer>>>,
    allowed: Allowed,
    client: reqwest::Client,
}

/// What came of an attempt.
enum Outcome {
    Accepted(StatusCode),
    Refused(StatusCode, Option<Duration>),
    Unreachable(String),
    /// There is nothing to send, or nowhere to.
    Pointless(String),
}

impl Outcome {
    fn name(&self) -> &'static str {
        match self {
            Outcome::Accepted(_) => "accepted",
            Outcome::Refused(..) => "refused",
            Outcome::Unreachable(_) => "unreachable",
            Outcome::Pointless(_) => "dropped",
        }
    }
}

impl Notifier {
    /// A notifier with a renderer for each dialect.
    pub fn new(
        installation: Arc<Installation>,
        links: Links,
        renderers: HashMap<&'static str, Box<dyn NoticeRenderer>>,
    ) -> reqwest::Result<Notifier> {
        let allowed = Allowed::new(&installation.settings.egress_allow);
        let client = egress::client(allowed.clone(), installation.settings.webhook_timeout)?;
        Ok(Notifier { installation, links, renderers: Arc::new(renderers), allowed, client })
    }

    /// Sends notices as they become due until it is told to stop; attempts that run are finished.
    pub async fn run(self, stop: CancellationToken) {
        let turns = Arc::new(Semaphore::new(SENT_AT_ONCE));
        while !stop.is_cancelled() {
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
                break;
            };
            match self.claim().await {
                Ok(Some(lease)) => {
                    let notifier = self.clone();
                    let span = trace::notice(&lease);
                    let send = async move {
                        notifier.attempt(lease).await;
                        drop(turn);
                    };
                    tokio::spawn(send.instrument(span));
                    continue;
                }
                Ok(None) => {}
                Err(error) => warn!(%error, "notices could not be claimed"),
            }
            drop(turn);
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.installation.notices_due() => {}
            }
        }
        // All turns together are free once nothing is being sent.
        let _all = turns.acquire_many(SENT_AT_ONCE as u32).await;
    }

    async fn claim(&self) -> Result<Option<NoticeLease>, DatabaseError> {
        let now = self.installation.clock.now();
        // Looking costs no write lock.
        if notices::next_due(&self.installation.database).await?.is_none_or(|due| due > now) {
            return Ok(None);
        }
        let lease_end = now.plus(self.installation.settings.webhook_timeout * 2 + Duration::from_secs(10));
        let mut transaction = self.installation.database.begin().await?;
        let lease = notices::claim(&mut transaction, now, lease_end).await?;
        transaction.commit().await?;
        Ok(lease)
    }

    async fn attempt(&self, lease: NoticeLease) {
        let at = self.installation.clock.now();
        let began = std::time::Instant::now();
        let outcome = match self.send(&lease, at).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Unreachable(error.to_string()),
        };
        meter::notice_attempted(outcome.name(), began.elapsed());
        if matches!(outcome, Outcome::Accepted(_)) {
            meter::notice_accepted(self.installation.clock.now().since(lease.created));
        }
        let duration_micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        match &outcome {
            Outcome::Accepted(status) => info!(attempt = lease.attempt, %status, "notice accepted"),
            Outcome::Refused(status, _) => warn!(attempt = lease.attempt, %status, "notice not accepted"),
            Outcome::Unreachable(failure) | Outcome::Pointless(failure) => {
                warn!(attempt = lease.attempt, %failure, "notice not delivered");
            }
        }
        if let Err(error) = self.record(&lease, at, duration_micros, outcome).await {
            // The lease runs out, and the notice is sent again under the same identifier.
            warn!(%error, "the attempt could not be recorded");
        }
    }

    async fn send(&self, lease: &NoticeLease, at: Timestamp) -> Result<Outcome, SendError> {
        let database = &self.installation.database;
        let (Some(webhook), Some(order)) =
            (webhooks::get(database, &lease.webhook_id).await?, orders::get(database, &lease.order_id).await?)
        else {
            return Ok(Outcome::Pointless("the webhook or the order is not there any more".to_owned()));
        };
        if let Some((_, reason)) = &webhook.disabled {
            return Ok(Outcome::Pointless(format!("the webhook is disabled: {reason}")));
        }
        let delivery = deliveries::of_order(database, &order.id).await?;
        let links = match &delivery {
            Some(delivery) => self.links.of(delivery, at).await,
            None => Ok(Vec::new()),
        };
        let links = match links {
            Ok(links) => links,
            Err(error) => return Ok(Outcome::Unreachable(format!("no links can be made: {error}"))),
        };
        let facts = NoticeFacts { order: &order, delivery: delivery.as_ref(), links: &links, created: lease.created };
        let rendered = self.renderers.get(order.dialect.as_str()).and_then(|renderer| renderer.render(&facts));
        let Some(body) = rendered else {
            return Ok(Outcome::Pointless(format!("the contract {:?} tells nothing of this order", order.dialect)));
        };
        let url = match Url::parse(&webhook.url) {
            Ok(url) => url,
            Err(error) => return Ok(Outcome::Unreachable(format!("{}: {error}", webhook.url))),
        };
        if let Err(refusal) = self.allowed.admit(&url).await {
            return Ok(Outcome::Unreachable(refusal.to_string()));
        }
        let signature = self.signatures(&webhook, &lease.id, at, &body)?;
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &lease.id)
            .header("webhook-timestamp", at.unix_seconds())
            .header("webhook-signature", signature)
            .body(body);
        Ok(match request.send().await {
            // The answer's body is not read: a partner cannot make us wait for it or keep it.
            Ok(answer) if answer.status().is_success() => Outcome::Accepted(answer.status()),
            Ok(answer) => {
                let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                Outcome::Refused(answer.status(), wait.map(Duration::from_secs))
            }
            Err(error) => Outcome::Unreachable(causes(&error)),
        })
    }

    /// One signature for each secret in force, the newest first.
    fn signatures(&self, webhook: &Webhook, id: &str, at: Timestamp, body: &[u8]) -> Result<String, SecretError> {
        let previous = webhook.previous.as_ref().filter(|(_, expires)| *expires > at).map(|(secret, _)| secret);
        let mut signatures = Vec::new();
        for sealed in std::iter::once(&webhook.secret).chain(previous) {
            let secret = self.installation.key.decrypt(sealed, &webhook.id)?;
            signatures.push(sign(&secret, id, at.unix_seconds(), body));
        }
        Ok(signatures.join(" "))
    }

    async fn record(
        &self,
        lease: &NoticeLease,
        at: Timestamp,
        duration_micros: u64,
        outcome: Outcome,
    ) -> Result<(), DatabaseError> {
        let now = self.installation.clock.now();
        let (status, failure, end) = match outcome {
            Outcome::Accepted(status) => (Some(status), None, NoticeEnd::Accepted),
            Outcome::Refused(status, wait) => {
                let failure = Some(format!("the receiver answered {status}"));
                let end = if status == StatusCode::GONE {
                    NoticeEnd::Abandoned
                } else {
                    self.after_failure(lease, now, wait)
                };
                (Some(status), failure, end)
            }
            Outcome::Unreachable(failure) => (None, Some(failure), self.after_failure(lease, now, None)),
            Outcome::Pointless(failure) => (None, Some(failure), NoticeEnd::Abandoned),
        };
        let gone = status == Some(StatusCode::GONE);
        let status = status.map(|status| i64::from(status.as_u16()));
        let attempt = Attempt { number: lease.attempt, at, duration_micros, status, failure };
        let mut transaction = self.installation.database.begin().await?;
        if gone {
            webhooks::lock(&mut transaction, &lease.webhook_id).await?;
        }
        if notices::end(&mut transaction, lease, &attempt, end, now).await? && gone {
            // Standard Webhooks: 410 says that the receiver wants nothing more.
            let reason = Some((now, sentence!("the receiver answered 410 Gone")));
            webhooks::disable(&mut transaction, &lease.webhook_id, reason).await?;
            notices::abandon_all(&mut transaction, &lease.webhook_id, now).await?;
        }
        transaction.commit().await
    }

    fn after_failure(&self, lease: &NoticeLease, now: Timestamp, wanted: Option<Duration>) -> NoticeEnd {
        let settings = &self.installation.settings;
        let wait = backoff(settings.webhook_backoff, settings.webhook_max_backoff, lease.failures + 1);
        // Up to a fifth more or less, so that receivers that were away are not met by everything at once.
        let wait = wait.mul_f64(rand::random_range(0.8..1.2));
        let due = now.plus(wait.max(wanted.unwrap_or_default().min(settings.webhook_max_backoff)));
        if due > lease.give_up { NoticeEnd::Abandoned } else { NoticeEnd::Later(due) }
    }
}

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// `v1,` and the base 64 HMAC-SHA256 of identifier, time and body, joined by dots (Standard Webhooks 1.0).
fn sign(secret: &Secret, id: &str, unix_seconds: i64, body: &[u8]) -> String {
    let text = secret.reveal();
    let encoded = text.strip_prefix("whsec_").unwrap_or(text);
    let key = BASE64_STANDARD.decode(encoded).unwrap_or_else(|_| text.as_bytes().to_vec());
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
    context.update(format!("{id}.{unix_seconds}.").as_bytes());
    context.update(body);
    format!("v1,{}", BASE64_STANDARD.encode(context.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn the_published_example_is_signed_alike() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let signature = sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
