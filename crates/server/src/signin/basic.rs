//! HTTP Basic (RFC 7617): a name and a secret with every request.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::StatusCode;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::request::Parts;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dipper_core::secret::Secret;
use dipper_core::{Caller, Role};

use super::password::{Passwords, SignInError};
use super::permit::{self, Gate, Right};
use crate::http::refusal::Refusal;

/// What a 401 asks for.
pub(super) const CHALLENGE: &str = "Basic realm=\"dipper\", charset=\"UTF-8\"";

/// Proof that the caller has signed in with its name and secret, and holds the right somewhere.
#[derive(Clone, Debug)]
pub struct BasicPermit<R: Right> {
    /// Who calls.
    pub caller: Caller,
    right: PhantomData<R>,
}

impl<R: Right, S: Send + Sync> FromRequestParts<S> for BasicPermit<R>
where
    Gate: FromRef<S>,
    Arc<Passwords>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<BasicPermit<R>, Refusal> {
        let peer = permit::peer(parts);
        let signed_in = match (credentials(parts), peer) {
            (Ok((client_id, secret)), Some(peer)) => {
                let passwords = Arc::<Passwords>::from_ref(state);
                passwords.verify(&client_id, secret, peer).await.map_err(Refusal::from)
            }
            (Ok(_), None) => Err(Refusal::internal()),
            (Err(refusal), _) => Err(refusal),
        };
        let caller = permit::admit(&Gate::from_ref(state), peer, signed_in, Some(R::ROLE), forbidden)?;
        Ok(BasicPermit { caller, right: PhantomData })
    }
}

fn credentials(parts: &Parts) -> Result<(String, Secret), Refusal> {
    let Some(header) = permit::authorization(parts, unauthorized)? else {
        return Err(unauthorized("send the name and the secret of a client: Authorization: Basic …"));
    };
    decode(header).ok_or_else(|| {
        unauthorized("the Authorization header must be: Basic, a space, and base64 of name, colon and secret in UTF-8")
    })
}

/// The name and the secret in the value of an `Authorization` header.
pub(super) fn decode(header: &str) -> Option<(String, Secret)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((id.to_owned(), Secret::new(secret.to_owned())))
}

impl From<SignInError> for Refusal {
    fn from(error: SignInError) -> Refusal {
        match error {
            SignInError::Wrong => unauthorized("the client or its secret is wrong"),
            SignInError::Wait(wait) => Refusal::too_many(wait),
            SignInError::Unavailable(error) => {
                tracing::error!(%error, "a client could not be looked up");
                Refusal::database(&error)
            }
        }
    }
}

fn unauthorized(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message).header(WWW_AUTHENTICATE, CHALLENGE)
}

fn forbidden(role: Role) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "FORBIDDEN", format!("the client has the role `{role}` on no contract"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_the_standard_writes_them() {
        let header = |text: &[u8]| format!("Basic {}", BASE64_STANDARD.encode(text));
        let pair = |id: &str, secret: &str| Some((id.to_owned(), Secret::new(secret.to_owned())));
        assert_eq!(decode(&header(b"one:two")), pair("one", "two"));
        assert_eq!(decode(&header(b"one:two:three")), pair("one", "two:three"));
        assert_eq!(decode(&header("märta:åå".as_bytes())), pair("märta", "åå"));
        assert_eq!(decode(&header(b"a%3A:+")), pair("a%3A", "+"));
        assert_eq!(decode(&header(b":")), pair("", ""));
        assert_eq!(decode("bAsIc b25lOnR3bw=="), pair("one", "two"));
        for wrong in [&header(b"alone"), &header(&[0xff, b':', 0xfe]), "Bearer b25lOnR3bw==", "Basic ###", "Basic"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
