//! A partner's webhook receiver on this machine: it checks the signature as Standard Webhooks 1.0 says.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dipper_core::secret::Secret;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Where notices are sent; also how the next demo finds the webhook of this one.
pub(super) const PATH: &str = "/dipper-demo-notices";
/// How far the clocks of sender and receiver may be apart.
const TOLERANCE_SECONDS: u64 = 300;
const NOTICES_KEPT: usize = 100;

/// A receiver that has its address, and does not know its secret yet.
#[derive(Debug)]
pub(super) struct Receiver {
    listener: TcpListener,
    pub(super) addr: SocketAddr,
}

/// A receiver that takes notices.
#[derive(Debug)]
pub(super) struct Receiving {
    notices: mpsc::Receiver<Notice>,
    task: JoinHandle<()>,
}

/// A notice whose signature was right.
#[derive(Debug)]
pub(super) struct Notice {
    /// What happened.
    pub(super) kind: String,
    /// The order that it tells of.
    pub(super) dissemination_id: String,
}

#[derive(Clone)]
struct Checker {
    key: hmac::Key,
    sender: mpsc::Sender<Notice>,
}

impl Receiver {
    /// Binds a free port of this machine.
    pub(super) async fn bind() -> anyhow::Result<Receiver> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for the webhook receiver")?;
        let addr = listener.local_addr().context("the webhook receiver has no address")?;
        Ok(Receiver { listener, addr })
    }

    /// The address for `dipper webhook add`.
    pub(super) fn url(&self) -> String {
        format!("http://{}{PATH}", self.addr)
    }

    /// Begins to take notices that are signed with a secret.
    pub(super) fn start(self, secret: &Secret) -> anyhow::Result<Receiving> {
        let encoded = secret.reveal().trim_start_matches("whsec_");
        let key = BASE64_STANDARD.decode(encoded).context("the webhook's secret is not base 64")?;
        let (sender, notices) = mpsc::channel(NOTICES_KEPT);
        let checker = Checker { key: hmac::Key::new(hmac::HMAC_SHA256, &key), sender };
        // Who signs with the secret may post anywhere.
        let router = Router::new().fallback(receive).with_state(checker);
        let task = tokio::spawn(async move {
            // Ends when the demo does.
            let _ = axum::serve(self.listener, router).await;
        });
        Ok(Receiving { notices, task })
    }
}

impl Receiving {
    /// The notice of an order, if it comes in time.
    pub(super) async fn notice(&mut self, dissemination_id: &str, patience: Duration) -> Option<Notice> {
        let wanted = async {
            while let Some(notice) = self.notices.recv().await {
                if notice.dissemination_id == dissemination_id {
                    return Some(notice);
                }
            }
            None
        };
        tokio::time::timeout(patience, wanted).await.ok().flatten()
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(checker): State<Checker>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if !is_genuine(&checker.key, &headers, &body) {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(document) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let notice = Notice { kind: text("/type"), dissemination_id: text("/data/disseminationId") };
    // Once the demo is over nobody waits for notices any more.
    let _ = checker.sender.try_send(notice);
    StatusCode::NO_CONTENT
}

fn is_genuine(key: &hmac::Key, headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (id, timestamp) = (text("webhook-id"), text("webhook-timestamp"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if !timestamp.parse::<u64>().is_ok_and(|sent| sent.abs_diff(now) <= TOLERANCE_SECONDS) {
        return false;
    }
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    text("webhook-signature").split(' ').filter_map(|part| part.strip_prefix("v1,")).any(|signature| {
        BASE64_STANDARD.decode(signature).is_ok_and(|signature| hmac::verify(key, &signed, &signature).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_for_one_body_and_one_time() {
        let (key, other) = (hmac::Key::new(hmac::HMAC_SHA256, b"key"), hmac::Key::new(hmac::HMAC_SHA256, b"other"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let signed = |timestamp: u64, body: &str| {
            let tag = hmac::sign(&key, format!("msg_1.{timestamp}.{body}").as_bytes());
            let signature = format!("v1,AAAA v1,{}", BASE64_STANDARD.encode(tag.as_ref()));
            let mut headers = HeaderMap::new();
            for (name, value) in [("webhook-id", "msg_1".to_owned()), ("webhook-timestamp", timestamp.to_string())] {
                headers.insert(name, value.parse().expect("a header"));
            }
            headers.insert("webhook-signature", signature.parse().expect("a header"));
            headers
        };
        assert!(is_genuine(&key, &signed(now, "{}"), b"{}"));
        assert!(!is_genuine(&key, &signed(now, "{}"), b"{ }"));
        assert!(!is_genuine(&other, &signed(now, "{}"), b"{}"));
        assert!(!is_genuine(&key, &signed(now - 301, "{}"), b"{}"));
        assert!(!is_genuine(&key, &HeaderMap::new(), b"{}"));
    }
}
