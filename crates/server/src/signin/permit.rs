//! What a handler needs, as part of its signature: a handler that takes `Permit<Read>` cannot run without one.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;

use dipper_core::{Caller, Role};

use super::roles::suffix;
use super::{TokenError, TokenVerifier};
use crate::http::limit::{Counted, RateLimit};
use crate::http::listener::Peer;
use crate::http::refusal::Refusal;
use crate::metrics;

/// A right that a handler can ask for.
pub trait Right: Send + Sync + 'static {
    /// The role that gives it, held on any contract at all. Which contract matters is the core's to check.
    const ROLE: Role;
}

/// To see packages and have them delivered.
#[derive(Debug)]
pub struct Read;
/// To deposit and delete packages.
#[derive(Debug)]
pub struct Write;
/// To run the server.
#[derive(Debug)]
pub struct Operator;

impl Right for Read {
    const ROLE: Role = Role::Read;
}
impl Right for Write {
    const ROLE: Role = Role::Write;
}
impl Right for Operator {
    const ROLE: Role = Role::Operator;
}

/// Proof that the caller has signed in and holds the right somewhere.
#[derive(Clone, Debug)]
pub struct Permit<R: Right> {
    /// Who calls.
    pub caller: Caller,
    right: PhantomData<R>,
}

/// What permits are made with.
#[derive(Clone)]
pub struct Gate {
    /// Checks tokens.
    pub verifier: Arc<TokenVerifier>,
    /// Counts requests.
    pub limit: Arc<RateLimit>,
}

impl<R: Right, S: Send + Sync> FromRequestParts<S> for Permit<R>
where
    Gate: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Permit<R>, Refusal> {
        let gate = Gate::from_ref(state);
        let signed_in = match bearer(parts) {
            Ok(token) => gate.verifier.verify(token).await.map_err(|error| refuse(&error)),
            Err(refusal) => Err(refusal),
        };
        let caller = admit(&gate, peer(parts), signed_in, Some(R::ROLE), forbidden)?;
        Ok(Permit { caller, right: PhantomData })
    }
}

/// Counts the request, and lets it pass if its sender has signed in and holds the role somewhere, where it takes one.
pub(crate) fn admit(
    gate: &Gate,
    peer: Option<IpAddr>,
    signed_in: Result<Caller, Refusal>,
    role: Option<Role>,
    forbidden: fn(Role) -> Refusal,
) -> Result<Caller, Refusal> {
    let caller = match signed_in {
        Ok(caller) => caller,
        Err(refusal) => {
            // Whoever has no good credentials is counted by address.
            if let Some(peer) = peer {
                gate.limit.count(&Counted::address(peer))?;
            }
            return Err(refusal);
        }
    };
    gate.limit.count(&Counted::Client(caller.client_id.clone()))?;
    match role {
        Some(role) if !caller.grants.has_anywhere(role) => {
            tracing::info!(client_id = caller.client_id, "the client holds no role for this");
            Err(forbidden(role))
        }
        _ => Ok(caller),
    }
}

/// The address of whoever sent the request.
pub(crate) fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<Peer>>().map(|info| info.0.0.ip())
}

/// The one `Authorization` header of a request, if it has any. `refuse` says what is wrong with it.
pub(super) fn authorization(parts: &Parts, refuse: fn(&str) -> Refusal) -> Result<Option<&str>, Refusal> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refuse("the request has several Authorization headers"));
    }
    value.to_str().map(Some).map_err(|_| refuse("the Authorization header is no text"))
}

fn bearer(parts: &Parts) -> Result<&str, Refusal> {
    let invalid = |message: &str| unauthorized(message, Some("invalid_request"));
    let Some(value) = authorization(parts, invalid)? else {
        return Err(unauthorized("send an access token: Authorization: Bearer …", None));
    };
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(invalid("the Authorization header must be: Bearer, a space, and the access token")),
    }
}

fn refuse(error: &TokenError) -> Refusal {
    match error {
        TokenError::Invalid(reason) => {
            metrics::sign_in_failed("token");
            tracing::info!(reason, "a token was refused");
            unauthorized(reason, Some("invalid_token"))
        }
        TokenError::Unavailable => {
            Refusal::unavailable("tokens cannot be checked now: their issuer does not answer", 10)
        }
    }
}

/// 401 as RFC 6750, section 3, has it: without a token no error is named.
fn unauthorized(message: &str, error: Option<&str>) -> Refusal {
    let challenge = match error {
        Some(error) => {
            let ascii: String = message.chars().filter(|char| char.is_ascii() && *char != '"').collect();
            format!("Bearer realm=\"dipper\", error=\"{error}\", error_description=\"{ascii}\"")
        }
        None => "Bearer realm=\"dipper\"".to_owned(),
    };
    Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message).header(WWW_AUTHENTICATE, &challenge)
}

fn forbidden(role: Role) -> Refusal {
    let message = format!("the token carries no role {{contractId}}{}", suffix(role));
    Refusal::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
        .header(WWW_AUTHENTICATE, "Bearer realm=\"dipper\", error=\"insufficient_scope\"")
}
