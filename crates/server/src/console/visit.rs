//! What a page needs, as part of its handler's signature. [`Visit`] is somebody who has signed in and holds the right;
//! [`Act`] is the same with a form that came from a page of ours; [`Stranger`] is anybody.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac};
use axum::extract::{FromRef, FromRequest, FromRequestParts, OriginalUri, Request};
use axum::http::header::{ACCEPT_LANGUAGE, COOKIE, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use dipper_core::db::sessions::Session;
use dipper_core::{Caller, Role};

use super::cookies::{self, Jar};
use super::frame::Theme;
use super::words::{self, Words};
use crate::app::App;
use crate::http::input::{Parameters, read_body};
use crate::http::limit::Counted;
use crate::http::refusal::Refusal;
use crate::signin::{Gate, admit, peer};

/// Marks the refusal of somebody who has not signed in: the page to sign in is shown instead.
pub(super) const SIGN_IN: &str = "SIGN_IN";

/// What somebody must be allowed to do to see a page.
pub(crate) trait Entry: Send + Sync + 'static {
    /// The role that gives it, held on any contract at all; `None` for everybody who has signed in. Which contract matters is
    /// the core's to check.
    const ROLE: Option<Role>;
}

impl<R: crate::signin::Right> Entry for R {
    const ROLE: Option<Role> = Some(R::ROLE);
}

/// Everybody who has signed in.
#[derive(Debug)]
pub(crate) struct SignedIn;

impl Entry for SignedIn {
    const ROLE: Option<Role> = None;
}

/// How a request's sender reads, whoever it is.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    /// The path of the console.
    pub(super) base: Arc<str>,
    /// The language.
    pub(crate) words: Words,
    /// Light or dark.
    pub(super) theme: Theme,
    /// The path and query that were asked for.
    pub(super) target: String,
    /// The cookies' form.
    pub(super) jar: Jar,
    /// What was done before this page, in the form of its cookie.
    pub(super) note: Option<String>,
    /// Whether a script asks for a part of the page alone.
    pub(super) is_part: bool,
}

impl Reader {
    /// From the head of a request.
    pub(super) fn of(parts: &Parts, app: &App) -> Reader {
        let jar = Jar { secure: app.public_url().starts_with("https://") };
        let chosen = jar.read(&parts.headers, cookies::LANGUAGE).and_then(|name| name.parse().ok());
        let accepted = || parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| words::accepted(value.to_str().ok()?));
        let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
        Reader {
            base: app.console_base().clone(),
            words: Words::new(chosen.or_else(accepted).unwrap_or_default()),
            theme: jar.read(&parts.headers, cookies::THEME).map(Theme::of).unwrap_or_default(),
            target: uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string),
            jar,
            note: jar.read(&parts.headers, cookies::NOTE).map(str::to_owned),
            is_part: parts.headers.contains_key("hx-request"),
        }
    }
}

/// Somebody who has signed in and holds the right somewhere.
pub(crate) struct Visit<R: Entry> {
    /// Who it is.
    pub(crate) caller: Caller,
    /// The session.
    pub(crate) session: Session,
    /// The words of the reader's language.
    pub(crate) words: Words,
    pub(super) reader: Reader,
    pub(super) csrf: String,
    right: PhantomData<R>,
}

impl<R: Entry> FromRequestParts<App> for Visit<R> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Visit<R>, Refusal> {
        let reader = Reader::of(parts, app);
        let found = session(parts, reader.jar, app).await;
        let signed_in = found.as_ref().map(|(session, _)| session.caller.clone()).map_err(Clone::clone);
        let caller = admit(&Gate::from_ref(app), peer(parts), signed_in, R::ROLE, forbidden)?;
        let (session, csrf) = found?;
        Ok(Visit { caller, session, words: reader.words, reader, csrf, right: PhantomData })
    }
}

/// Somebody who has signed in, holds the right somewhere, and sends a form of a page that was made for this session.
pub(crate) struct Act<R: Entry> {
    /// Who it is.
    pub(crate) visit: Visit<R>,
    /// The form.
    pub(crate) form: Parameters,
}

impl<R: Entry> FromRequest<App> for Act<R> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Act<R>, Refusal> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, app).await?;
        let headers = parts.headers.clone();
        let form = Parameters::parse(&read_body(Request::from_parts(parts, body)).await?);
        check_form(&headers, &form, &visit.csrf)?;
        Ok(Act { visit, form })
    }
}

/// Somebody who need not have signed in.
pub(crate) struct Stranger {
    pub(super) reader: Reader,
    /// Who it is all the same.
    pub(super) session: Option<Session>,
    /// The address that the request came from.
    pub(super) peer: IpAddr,
    /// The program, as it calls itself.
    pub(super) agent: String,
    /// What ties forms to this browser, if it has something of the kind.
    pub(super) token: Option<String>,
    /// What it was given when it was sent to the issuer, if it was.
    pub(super) pending: Option<String>,
}

impl FromRequestParts<App> for Stranger {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Stranger, Refusal> {
        let reader = Reader::of(parts, app);
        let peer = peer(parts).ok_or_else(Refusal::internal)?;
        Gate::from_ref(app).limit.count(&Counted::address(peer))?;
        let session = match session(parts, reader.jar, app).await {
            Ok((session, _)) => Some(session),
            Err(refusal) if refusal.code == SIGN_IN => None,
            Err(refusal) => return Err(refusal),
        };
        let token = reader.jar.read(&parts.headers, cookies::STRANGER).map(str::to_owned);
        let pending = reader.jar.read(&parts.headers, cookies::PENDING).map(str::to_owned);
        let agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Stranger { reader, session, peer, agent: agent.to_owned(), token, pending })
    }
}

/// Somebody who need not have signed in, and sends a form of a page that was made for this browser.
pub(crate) struct StrangersAct {
    pub(super) stranger: Stranger,
    pub(super) form: Parameters,
}

impl FromRequest<App> for StrangersAct {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<StrangersAct, Refusal> {
        let (mut parts, body) = request.into_parts();
        let stranger = Stranger::from_request_parts(&mut parts, app).await?;
        let headers = parts.headers.clone();
        let form = Parameters::parse(&read_body(Request::from_parts(parts, body)).await?);
        let token = stranger.token.as_deref().ok_or_else(foreign_form)?;
        check_form(&headers, &form, &form_token(token))?;
        Ok(StrangersAct { stranger, form })
    }
}

/// The session that the request's cookie is for, and what its forms carry.
async fn session(parts: &Parts, jar: Jar, app: &App) -> Result<(Session, String), Refusal> {
    let token = jar.read(&parts.headers, cookies::SESSION).filter(|token| token.len() <= 100);
    let token = token.ok_or_else(sign_in_first)?;
    let found = app.sessions().find(token).await.map_err(|error| {
        tracing::error!(%error, "a session could not be looked up");
        Refusal::database(&error)
    })?;
    Ok((found.ok_or_else(sign_in_first)?, form_token(token)))
}

/// What the forms of a session carry: nobody who does not know the session's token can make it.
pub(super) fn form_token(token: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, b"dipper console form"))
}

fn check_form(headers: &HeaderMap, form: &Parameters, expected: &str) -> Result<(), Refusal> {
    // What the browser says of itself, where it says so, and what only a page of ours can know.
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let given = form.one("csrf")?.unwrap_or_default();
    let same = constant_time::verify_slices_are_equal(given.as_bytes(), expected.as_bytes()).is_ok();
    if !same || site.is_some_and(|site| site != "same-origin") {
        tracing::warn!(
            site,
            cookies = headers.contains_key(COOKIE),
            "a form that no page of this session made was refused"
        );
        return Err(foreign_form());
    }
    Ok(())
}

fn foreign_form() -> Refusal {
    let message = "the form is not of this session any more: go back, load the page again, and send it once more";
    Refusal::new(StatusCode::FORBIDDEN, "FOREIGN_FORM", message)
}

fn sign_in_first() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, SIGN_IN, "sign in first")
}

fn forbidden(role: Role) -> Refusal {
    let message = format!("this page takes the role `{role}` on some contract, which you do not have");
    Refusal::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
}

/// A place in the console that a form or an address names, or the console's first page for any other: nobody is sent to
/// another site from here.
pub(super) fn local<'a>(base: &'a str, place: Option<&'a str>) -> &'a str {
    let lies_here = |place: &&str| {
        let rest = place.strip_prefix(base).unwrap_or("x");
        (rest.is_empty() || rest.starts_with(['/', '?']))
            && place.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    place.filter(lies_here).unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for good in ["/console", "/console/", "/console/packages?q=a%20b", "/console?x"] {
            assert_eq!(local("/console", Some(good)), good);
        }
        for wrong in [
            "",
            "/",
            "//evil.example",
            "https://evil.example",
            "/consoles",
            "/console/\r\nx",
            "/console\\x",
            "/console/ü",
        ] {
            assert_eq!(local("/console", Some(wrong)), "/console", "{wrong}");
        }
        assert_eq!(local("/console", None), "/console");
    }
}
