//! Refusals as pages.

use askama::Template;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::cookies::{self, Keeping};
use super::frame::{Frame, page_as, see};
use super::visit::{Reader, SIGN_IN, SignedIn, Visit};
use crate::app::App;
use crate::http::refusal::{Refusal, Shape};

/// Everything is from this server; nothing is written into pages that a browser would carry out.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// For what is refused before anybody knows who reads it.
pub(crate) const SHAPE: Shape = Shape { content_type: "text/html; charset=utf-8", body: plain };

#[derive(Template)]
#[template(path = "console/refusal.html")]
struct RefusalPage {
    frame: Frame,
    /// What it means, in the reader's language.
    meaning: String,
    /// What exactly was wrong, in English.
    message: Option<String>,
}

#[derive(Template)]
#[template(
    source = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{{ title }}</title><h1>{{ title }}</h1><p>{{ message }}</p></html>",
    ext = "html"
)]
struct PlainPage<'a> {
    title: &'a str,
    message: &'a str,
}

fn plain(refusal: &Refusal) -> Vec<u8> {
    let title = refusal.status.canonical_reason().unwrap_or("Error");
    PlainPage { title, message: &refusal.message }.render().unwrap_or_default().into_bytes()
}

/// 404 for a page that is not there.
pub(super) async fn nothing_here() -> Refusal {
    Refusal::not_found("there is no such page")
}

/// 405 for a page that takes another method.
pub(super) async fn not_possible() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "this page cannot be used like that")
}

/// Makes a page of every refusal, in the reader's language, and sends whoever has not signed in to do so.
pub(super) async fn show(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let reader = Reader::of(&parts, &app);
    // The page around a refusal shows the way on to whoever is signed in.
    let head = parts.clone();
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        let kept = std::mem::take(response.headers_mut());
        response = refusal_page(&app, &reader, head, &refusal).await;
        for (name, value) in kept.iter() {
            response.headers_mut().append(name, value.clone());
        }
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // What was done before is told once.
    if reader.note.is_some() && response.status() != StatusCode::SEE_OTHER && !reader.is_part {
        reader.jar.write(response.headers_mut(), cookies::NOTE, "", Keeping::Forget);
    }
    response
}

async fn refusal_page(app: &App, reader: &Reader, mut head: Parts, refusal: &Refusal) -> Response {
    if refusal.code == SIGN_IN {
        let next = if head.method == Method::GET { reader.target.as_str() } else { &reader.base };
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let place = format!("{}/sign-in?{query}", reader.base);
        return if reader.is_part { leave(&place) } else { see(&place) };
    }
    let words = reader.words;
    let title = words.find(&format!("refusal-{}-title", refusal.status.as_u16()), &[]);
    let title = title.unwrap_or_else(|| words.text("refusal-title"));
    let meaning = words.find(&format!("refusal-{}", refusal.status.as_u16()), &[]);
    let frame = match Visit::<SignedIn>::from_request_parts(&mut head, app).await {
        Ok(visit) => visit.frame_titled(title),
        Err(_) => Frame { title, ..Frame::of_stranger(reader, "refusal-title", String::new()) },
    };
    let message = Some(refusal.message.clone()).filter(|message| !message.is_empty());
    let meaning = meaning.unwrap_or_else(|| words.text("refusal-other"));
    page_as(refusal.status, &RefusalPage { frame, meaning, message })
}

/// Has the script that asked for a part of a page go elsewhere with all of it.
fn leave(place: &str) -> Response {
    const REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(REDIRECT, place);
    }
    response
}
