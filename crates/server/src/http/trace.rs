//! The request id, the span that carries it, and one access line for each request.

use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use super::listener::Peer;
use crate::{metrics, telemetry};

/// The header with the id, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request that is being served.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Gives the request its id, runs the rest in a span with it, and logs how it ended.
pub async fn trace_request(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = inbound(&request).unwrap_or_else(|| uuid::Uuid::now_v7().simple().to_string());
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    // The query is left out: links carry their signature there.
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|info| info.0.0.ip().to_string());
    let running = metrics::request(&method, route.clone());
    let span = tracing::info_span!("request", request_id = %id, traceparent = traceparent(&request));
    async move {
        let mut response = next.run(request).await;
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        running.answered(response.status(), started.elapsed());
        tracing::info!(
            %method,
            path,
            route,
            peer,
            status = response.status().as_u16(),
            elapsed_milliseconds = started.elapsed().as_millis() as u64,
            "request served"
        );
        response
    }
    .instrument(span)
    .await
}

/// The trace that the client's request belongs to, if it says so in the standard's words.
fn traceparent(request: &Request) -> Option<&str> {
    let text = request.headers().get("traceparent")?.to_str().ok()?;
    telemetry::traceparent(text).map(|_| text)
}

/// The id that the client or a proxy gave, if it is short and plain enough to stand in a log.
fn inbound(request: &Request) -> Option<String> {
    let id = request.headers().get(&REQUEST_ID)?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=+/".contains(&byte);
    ((8..=128).contains(&id.len()) && id.bytes().all(plain)).then(|| id.to_owned())
}
