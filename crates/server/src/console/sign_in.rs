//! Signing in and out, and where one goes then.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use dipper_core::Role;
use dipper_core::secret::{self, Secret};

use super::cookies::{self, Keeping};
use super::frame::{Frame, page_as, see};
use super::visit::{Act, SignedIn, Stranger, StrangersAct, Visit, form_token, local};
use crate::app::App;
use crate::http::refusal::{Refusal, whole_seconds};
use crate::signin::password::SignInError;

#[derive(Template)]
#[template(path = "console/sign_in.html")]
struct SignInPage {
    frame: Frame,
    /// What the issuer is called at which people can sign in, and the way there.
    issuer: Option<(String, String)>,
    /// Where to go then.
    next: String,
    /// The name that was given.
    name: String,
    /// Why it was not possible.
    problem: Option<String>,
}

/// The first page for somebody: the work for whoever runs a contract, the packages for everybody else.
pub(super) async fn home(visit: Visit<SignedIn>) -> Response {
    let path = if visit.caller.grants.has_anywhere(Role::Operator) {
        "/operations"
    } else if visit.caller.grants.has_anywhere(Role::Read) {
        "/packages"
    } else {
        "/sessions"
    };
    see(&format!("{}{path}", visit.reader.base))
}

/// The form to sign in with.
pub(super) async fn form(
    State(app): State<App>,
    stranger: Stranger,
    parameters: crate::http::input::Parameters,
) -> Result<Response, Refusal> {
    let next = local(app.console_base(), parameters.one("next")?).to_owned();
    if stranger.session.is_some() {
        return Ok(see(&next));
    }
    show(&app, &stranger, StatusCode::OK, next, String::new(), None)
}

/// Shows the form. The browser gets what ties the form to it, if it has not got it yet.
pub(super) fn show(
    app: &App,
    stranger: &Stranger,
    status: StatusCode,
    next: String,
    name: String,
    problem: Option<String>,
) -> Result<Response, Refusal> {
    let token = match &stranger.token {
        Some(token) => token.clone(),
        None => {
            let token = secret::new_client_secret().map_err(|error| {
                tracing::error!(%error, "no form could be made");
                Refusal::internal()
            })?;
            token.reveal().to_owned()
        }
    };
    let frame = Frame::of_stranger(&stranger.reader, "sign-in-title", form_token(&token));
    let issuer = app.settings().console.oidc.button().map(|name| {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", &next).finish();
        (name.to_owned(), format!("{}/sign-in/issuer?{query}", frame.base))
    });
    let mut response = page_as(status, &SignInPage { frame, issuer, next, name, problem });
    stranger.reader.jar.write(response.headers_mut(), cookies::STRANGER, &token, Keeping::Session);
    Ok(response)
}

/// Signs somebody in with the name and the secret of a client, and begins a session under a new token.
pub(super) async fn sign_in(State(app): State<App>, act: StrangersAct) -> Result<Response, Refusal> {
    let StrangersAct { stranger, form } = act;
    let next = local(app.console_base(), form.one("next")?).to_owned();
    let name = form.one("name")?.unwrap_or_default().to_owned();
    let secret = Secret::new(form.one("secret")?.unwrap_or_default().to_owned());
    let words = stranger.reader.words;
    let (status, problem) = match app.passwords().verify(&name, secret, stranger.peer).await {
        Ok(caller) => return begin(&app, &stranger, &caller, &caller.client_id, &next).await,
        Err(SignInError::Wrong) => (StatusCode::UNAUTHORIZED, words.text("sign-in-wrong")),
        Err(SignInError::Wait(wait)) => {
            (StatusCode::TOO_MANY_REQUESTS, words.with("sign-in-wait", "count", whole_seconds(wait)))
        }
        Err(SignInError::Unavailable(error)) => return Err(Refusal::database(&error)),
    };
    show(&app, &stranger, status, next, name, Some(problem))
}

/// Begins a session for somebody who is called `name`, and goes to `next`.
pub(super) async fn begin(
    app: &App,
    stranger: &Stranger,
    caller: &dipper_core::Caller,
    name: &str,
    next: &str,
) -> Result<Response, Refusal> {
    let begun = app.sessions().begin(caller, name, &stranger.agent, &stranger.peer.to_string()).await;
    let (token, session) = begun.map_err(|error| {
        tracing::error!(%error, "a session could not begin");
        match error {
            dipper_core::sessions::SessionError::Database(error) => Refusal::database(&error),
            dipper_core::sessions::SessionError::Secret(_) => Refusal::internal(),
        }
    })?;
    tracing::info!(client_id = caller.client_id, session_id = session.id, "somebody signed in to the console");
    let mut response = see(next);
    let jar = stranger.reader.jar;
    jar.write(response.headers_mut(), cookies::SESSION, token.reveal(), Keeping::Session);
    jar.write(response.headers_mut(), cookies::STRANGER, "", Keeping::Forget);
    Ok(response)
}

/// Ends the session.
pub(super) async fn sign_out(State(app): State<App>, act: Act<SignedIn>) -> Result<Response, Refusal> {
    let visit = act.visit;
    let ended = app.sessions().end(&visit.session.caller.client_id, &visit.session.id).await;
    ended.map_err(|error| Refusal::database(&error))?;
    let note = super::frame::Note::done("sign-out-done", "");
    // Who came from an issuer is still signed in there.
    let came_from_issuer = !visit.session.caller.stored;
    let mut response = visit.go(if came_from_issuer { "/signed-out" } else { "/sign-in" }, note).into_response();
    visit.reader.jar.write(response.headers_mut(), cookies::SESSION, "", Keeping::Forget);
    Ok(response)
}
