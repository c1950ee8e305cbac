//! Signing in at an issuer where people have their accounts, and coming back from there.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::cookies::{self, Keeping};
use super::frame::{Frame, page, see};
use super::sign_in::{begin, show};
use super::visit::{Stranger, local};
use crate::app::App;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;
use crate::signin::oidc::{Answer, OidcError};

#[derive(Template)]
#[template(path = "console/signed_out.html")]
struct SignedOutPage {
    frame: Frame,
    /// What the issuer is called.
    issuer: String,
    /// Where one signs out there too.
    place: String,
}

/// Sends the browser to the issuer. A link leads here and no form, because browsers hold forms to this server.
pub(super) async fn leave(
    State(app): State<App>,
    stranger: Stranger,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let Some(oidc) = app.oidc() else { return Ok(no_issuer(&app)) };
    let next = local(app.console_base(), parameters.one("next")?).to_owned();
    match oidc.begin(&next).await {
        Ok(begun) => {
            let mut response = see(begun.url.as_str());
            stranger.reader.jar.write(response.headers_mut(), cookies::PENDING, &begun.pending, Keeping::Session);
            Ok(response)
        }
        Err(error) => show_error(&app, &stranger, next, &error),
    }
}

/// Takes what the issuer sent the browser back with.
pub(super) async fn back(
    State(app): State<App>,
    stranger: Stranger,
    Query(answer): Query<Answer>,
) -> Result<Response, Refusal> {
    let Some(oidc) = app.oidc() else { return Ok(no_issuer(&app)) };
    let mut response = match oidc.finish(&answer, stranger.pending.as_deref()).await {
        Ok(person) => {
            let next = local(app.console_base(), Some(&person.return_to));
            begin(&app, &stranger, &person.caller, &person.name, next).await?
        }
        Err(error) => show_error(&app, &stranger, app.console_base().to_string(), &error)?,
    };
    // What was begun is finished, however it ended.
    stranger.reader.jar.write(response.headers_mut(), cookies::PENDING, "", Keeping::Forget);
    Ok(response)
}

/// Says that the session has ended here, and how to end that at the issuer.
pub(super) async fn signed_out(State(app): State<App>, stranger: Stranger) -> Response {
    let Some(oidc) = app.oidc() else { return no_issuer(&app) };
    let Some(place) = oidc.sign_out_url().await else { return no_issuer(&app) };
    let issuer = app.settings().console.oidc.button().unwrap_or_default().to_owned();
    let frame = Frame::of_stranger(&stranger.reader, "signed-out-title", String::new());
    page(&SignedOutPage { frame, issuer, place: place.into() })
}

/// To the page to sign in: there is no issuer, or nothing to do there.
fn no_issuer(app: &App) -> Response {
    see(&format!("{}/sign-in", app.console_base()))
}

fn show_error(app: &App, stranger: &Stranger, next: String, error: &OidcError) -> Result<Response, Refusal> {
    let words = stranger.reader.words;
    let issuer = app.settings().console.oidc.button().unwrap_or_default();
    let (status, problem) = match error {
        OidcError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, words.with("issuer-away", "issuer", issuer)),
        OidcError::NotBegun => (StatusCode::BAD_REQUEST, words.text("issuer-not-begun")),
        OidcError::Refused(reason) if reason == "access_denied" => {
            (StatusCode::FORBIDDEN, words.with("issuer-cancelled", "issuer", issuer))
        }
        OidcError::Refused(reason) => {
            let problem = words.with_two("issuer-refused", "issuer", issuer, "reason", reason.as_str());
            (StatusCode::FORBIDDEN, problem)
        }
        OidcError::NotBelieved(_) => (StatusCode::FORBIDDEN, words.with("issuer-not-believed", "issuer", issuer)),
        OidcError::NoRole(name) => (StatusCode::FORBIDDEN, words.with("issuer-no-role", "name", name.as_str())),
    };
    show(app, stranger, status, next, String::new(), Some(problem))
}
