//! A request that is not carried out, in words that every contract can put into its own error shape.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dipper_core::db::DatabaseError;

/// When to come back after the catalogue was busy or away, which is over soon.
const BUSY_SECONDS: u64 = 5;
/// When to come back after it was full, which takes somebody to help.
const FULL_SECONDS: u64 = 30;

/// Why a request is not carried out. What stands here is read by the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// A word for programs.
    pub code: Cow<'static, str>,
    /// A sentence for people: what was wrong, and what to do.
    pub message: String,
    /// What else helps, such as the id of what is in the way.
    pub details: Option<String>,
    /// The parts of the request that are at fault, where they have names.
    pub parts: Box<[Part]>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// A part of a request that is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The filegroup.
    pub filegroup: String,
    /// The file, where it is about one.
    pub file: Option<String>,
    /// What is wrong with it.
    pub message: String,
}

impl Refusal {
    /// A refusal without details or headers of its own.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Refusal {
        Refusal {
            status,
            code: code.into(),
            message: message.into(),
            details: None,
            parts: Box::default(),
            headers: Vec::new(),
        }
    }

    /// 400: the client is to change its request.
    pub fn bad_request(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    /// 409: the client is to come back, or to ask for something else.
    pub fn conflict(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::CONFLICT, code, message)
    }

    /// 422: the request is well-formed, and asks for what cannot be.
    pub fn unprocessable(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Refusal {
        let message = format!("the request body is longer than the {limit} bytes that are allowed");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", message)
    }

    /// 500. What happened stands in the log under the request's id, not here.
    pub fn internal() -> Refusal {
        let message = "the server failed; its log has the reason under the request id of this answer";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
    }

    /// 429: the client is to come back after this time.
    pub fn too_many(wait: Duration) -> Refusal {
        let seconds = whole_seconds(wait);
        let message = format!("too many requests; try again in {seconds} seconds");
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", message).retry_after(seconds)
    }

    /// 503: the client is to come back after `seconds`.
    pub fn unavailable(message: impl Into<String>, seconds: u64) -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message).retry_after(seconds)
    }

    /// What the catalogue's failure means for the client: 503 when it passes, 500 otherwise.
    pub fn database(error: &DatabaseError) -> Refusal {
        if error.is_full() {
            let message = "the archive has no room left to take the request: try again later";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "STORAGE_FULL", message).retry_after(FULL_SECONDS)
        } else if error.is_busy() {
            Refusal::unavailable("the archive is busy: try again later", BUSY_SECONDS)
        } else {
            Refusal::internal()
        }
    }

    /// Adds details.
    pub fn details(mut self, details: impl Into<String>) -> Refusal {
        self.details = Some(details.into());
        self
    }

    /// The same with another status.
    pub fn status(mut self, status: StatusCode) -> Refusal {
        self.status = status;
        self
    }

    /// Names the parts of the request that are at fault.
    pub fn parts(mut self, parts: Vec<Part>) -> Refusal {
        self.parts = parts.into();
        self
    }

    /// Adds a header. A value that no header can hold is left out.
    pub fn header(mut self, name: HeaderName, value: &str) -> Refusal {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// Adds `Retry-After`.
    pub fn retry_after(self, seconds: u64) -> Refusal {
        self.header(RETRY_AFTER, &seconds.max(1).to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        for (name, value) in &self.headers {
            response.headers_mut().append(name, value.clone());
        }
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.extensions_mut().insert(self);
        response
    }
}

/// A time to wait in whole seconds, after which it is over.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs_f64().ceil() as u64
}

/// How one contract writes a refusal.
#[derive(Clone, Copy)]
pub struct Shape {
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: fn(&Refusal) -> Vec<u8>,
}

/// The shape where no contract has one of its own.
pub const GENERAL: Shape = Shape { content_type: "application/json", body: general_body };

fn general_body(refusal: &Refusal) -> Vec<u8> {
    let mut error = serde_json::json!({ "code": refusal.code, "message": refusal.message });
    if let (Some(details), Some(error)) = (&refusal.details, error.as_object_mut()) {
        error.insert("details".to_owned(), details.as_str().into());
    }
    serde_json::json!({ "error": error }).to_string().into_bytes()
}

/// Which part of the server writes refusals in which shape.
#[derive(Clone, Default)]
pub struct Shapes(Arc<Vec<(String, Shape)>>);

impl Shapes {
    /// Shapes by the path that their part of the server begins with.
    pub fn new(shapes: Vec<(String, Shape)>) -> Shapes {
        Shapes(Arc::new(shapes))
    }

    fn of(&self, path: &str) -> Shape {
        self.0.iter().find(|(prefix, _)| begins_with(path, prefix)).map_or(GENERAL, |(_, shape)| *shape)
    }
}

/// Whether a path is this one or lies below it.
pub(crate) fn begins_with(path: &str, beginning: &str) -> bool {
    path.strip_prefix(beginning).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Writes every refusal in the shape of the contract that the path belongs to. An error that somebody else wrote,
/// such as the web framework, becomes a refusal first.
pub async fn shape_refusals(State(shapes): State<Shapes>, request: Request, next: Next) -> Response {
    let shape = shapes.of(request.uri().path());
    let mut response = next.run(request).await;
    let status = response.status();
    let refusal = match response.extensions().get::<Refusal>() {
        Some(refusal) => refusal.clone(),
        None if (status.is_client_error() || status.is_server_error()) && !is_shaped(&response) => foreign(status),
        None => return response,
    };
    let body = (shape.body)(&refusal);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(shape.content_type));
    response.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body);
    response
}

/// Whether an error has its shape already: the web framework, which has none, writes plain text.
fn is_shaped(response: &Response) -> bool {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.contains("json") || value.starts_with("text/html"))
}

fn foreign(status: StatusCode) -> Refusal {
    let reason = status.canonical_reason().unwrap_or("Error");
    let code = reason.to_uppercase().replace([' ', '-'], "_");
    Refusal::new(status, code, reason)
}
