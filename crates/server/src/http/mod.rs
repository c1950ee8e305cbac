//! The HTTP side that all contracts share: the listener, what is done for every request, and how input is read.

pub(crate) mod audited;
pub mod checksum;
pub mod cursor;
pub mod download;
mod expiry;
pub(crate) mod file;
pub mod health;
pub mod https;
pub mod input;
pub mod json;
pub mod limit;
pub(crate) mod listed;
pub mod listener;
pub mod openapi;
pub(crate) mod outgoing;
pub mod problem;
pub mod range;
pub mod refusal;
pub(crate) mod refused;
pub(crate) mod restored;
pub mod routes;
mod stall;
pub mod stream;
pub mod tls;
pub mod trace;

use std::any::Any;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;

use https::{HttpsOnly, STRICT_TRANSPORT_SECURITY};
use input::BodyLimit;
use limit::ByAddress;
use listener::Transport;
use refusal::{Refusal, Shapes};

/// What is done for every request.
#[derive(Clone)]
pub struct Common {
    /// The error shapes of the contracts.
    pub shapes: Shapes,
    /// What is not answered in plain http.
    pub https: HttpsOnly,
    /// Counts requests.
    pub limit: ByAddress,
    /// How long a request may take up to the first byte of its answer.
    pub timeout: Duration,
    /// The longest body that is read.
    pub max_body_bytes: usize,
}

/// Puts around all routes what is done for every request. Outermost first: request id and access line, headers,
/// error shape, panics, https only, rate limit, timeout.
pub fn wrap(router: Router, common: &Common) -> Router {
    router
        .fallback(async |request: Request| Refusal::not_found(format!("there is nothing at {}", request.uri().path())))
        .method_not_allowed_fallback(async |request: Request| {
            let message = format!("{} is not possible here", request.method());
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
        })
        .layer(Extension(BodyLimit(common.max_body_bytes)))
        .layer(middleware::from_fn_with_state(common.timeout, limit_time))
        .layer(middleware::from_fn_with_state(common.limit.clone(), limit::limit_addresses))
        .layer(middleware::from_fn_with_state(common.https.clone(), https::https_only))
        .layer(CatchPanicLayer::custom(refuse_panic))
        .layer(middleware::from_fn_with_state(common.shapes.clone(), refusal::shape_refusals))
        .layer(middleware::from_fn(secure))
        .layer(middleware::from_fn(trace::trace_request))
}

async fn limit_time(State(timeout): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("the request was not done within {} seconds", timeout.as_secs());
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "TIMEOUT", message)
                .header(header::CONNECTION, "close")
                .into_response()
        }
    }
}

/// The cause goes to the log. A client learns that something failed, and under which id to ask.
fn refuse_panic(cause: Box<dyn Any + Send>) -> Response {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("a value that is no text");
    tracing::error!(panic = text, "a handler panicked");
    Refusal::internal().into_response()
}

async fn secure(request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Pages that need more say so themselves.
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    let encrypted = request.extensions().get() == Some(&Transport::Tls);
    let mut response = next.run(request).await;
    if encrypted {
        let (name, value) = STRICT_TRANSPORT_SECURITY;
        response.headers_mut().insert(name, value);
    }
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    // What is asked for with a token is for its bearer alone.
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
