//! A partner that receives webhooks, and misbehaves as a test wants.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::sync::mpsc;

use crate::support::PATIENCE;

/// How the receiver takes a message.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    Accept,
    Answer(u16),
    Redirect,
    Hang,
}

/// A message as it came.
pub(crate) struct Message {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    messages: mpsc::UnboundedReceiver<Message>,
}

impl Receiver {
    /// A receiver that takes its first messages in these manners and accepts all others.
    pub(crate) async fn start(manners: &[Manner]) -> Receiver {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let manners = Arc::new(Mutex::new(manners.iter().copied().collect::<VecDeque<_>>()));
        let (sender, messages) = mpsc::unbounded_channel();
        let elsewhere = url.replace("/hook", "/elsewhere");
        let receive = async move |headers: HeaderMap, body: Bytes| -> Response {
            let manner = manners.lock().expect("unpoisoned").pop_front().unwrap_or(Manner::Accept);
            sender.send(Message { headers, body }).expect("the test is there");
            match manner {
                Manner::Accept => Json(json!({ "thanks": true })).into_response(),
                Manner::Answer(status) => StatusCode::from_u16(status).expect("a status").into_response(),
                Manner::Redirect => (StatusCode::FOUND, [("location", elsewhere)]).into_response(),
                Manner::Hang => std::future::pending().await,
            }
        };
        let router = Router::new().fallback(any(receive));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Receiver { url, messages }
    }

    pub(crate) async fn next(&mut self) -> Message {
        self.next_within(PATIENCE).await
    }

    pub(crate) async fn next_within(&mut self, patience: Duration) -> Message {
        let next = tokio::time::timeout(patience, self.messages.recv()).await;
        next.expect("a message in time").expect("a message")
    }

    /// Whether nothing has come.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.messages.try_recv().is_err()
    }
}

impl Message {
    pub(crate) fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Whether somebody else's implementation of Standard Webhooks takes the signature.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        Webhook::new(secret).expect("a secret").verify(&self.body, &self.headers).is_ok()
    }
}
