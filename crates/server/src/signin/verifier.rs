//! Checks bearer tokens: RFC 9068 access tokens and what the usual identity providers issue.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use dipper_core::{Caller, Grants};
use jsonwebtoken::{Algorithm, Validation};
use serde_json::Value;

use super::issuer::Issuer;
use super::jwks::{KeysUnavailable, RemoteKeys};
use super::keys::{KeySet, SelectError, accepted};
use super::roles;
use super::verified::{Validity, Verified, VerifiedTokens};

const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// What a token must say.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// The issuer.
    pub issuer: String,
    /// The audience, where it is checked.
    pub audience: Option<String>,
    /// How far clocks may be apart.
    pub skew_seconds: u64,
    /// The claims from the outermost to the one that lists the roles.
    pub roles_claim: Vec<String>,
}

/// Where the keys come from.
pub enum KeySource {
    /// An external issuer publishes them.
    Remote(RemoteKeys),
    /// The embedded issuer has them.
    Embedded(Arc<Issuer>),
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The token is at fault, in words that its sender may read.
    Invalid(&'static str),
    /// The issuer's keys could not be had.
    Unavailable,
}

/// Checks tokens of one issuer.
pub struct TokenVerifier {
    expectations: Expectations,
    source: KeySource,
    verified: VerifiedTokens,
}

impl TokenVerifier {
    /// A verifier for the tokens of one issuer.
    pub fn new(expectations: Expectations, source: KeySource) -> TokenVerifier {
        TokenVerifier { expectations, source, verified: VerifiedTokens::default() }
    }

    /// Says who sent a token, if everything about the token is right.
    pub async fn verify(&self, token: &str) -> Result<Caller, TokenError> {
        let header = Header::read(token)?;
        let mut keys = self.keys().await?;
        if let Some(Verified { caller, validity, .. }) = self.verified.find(token, &keys) {
            return validity.check(now_seconds()).map(|()| caller);
        }
        let claims = self.signed(token, &header, &mut keys).await?;
        let validity = self.expectations.check(&claims, now_seconds())?;
        let mut caller = self.caller(&claims)?;
        caller.stored = matches!(self.source, KeySource::Embedded(_));
        self.verified.remember(token, Verified { caller: caller.clone(), keys, validity });
        Ok(caller)
    }

    /// What a token says, if its signature is right, and its issuer, audience and times are.
    pub(super) async fn claims(&self, token: &str) -> Result<Value, TokenError> {
        let header = Header::read(token)?;
        let mut keys = self.keys().await?;
        let claims = self.signed(token, &header, &mut keys).await?;
        self.expectations.check(&claims, now_seconds()).map(|_| claims)
    }

    /// The grants that claims give; `None` if there is no claim that lists roles.
    pub(super) fn grants(&self, claims: &Value) -> Option<Grants> {
        let roles = self.expectations.roles_claim.iter().try_fold(claims, |claim, name| claim.get(name));
        match roles? {
            Value::Array(names) => Some(roles::grants(names.iter().filter_map(Value::as_str))),
            Value::String(names) => Some(roles::grants(names.split_ascii_whitespace())),
            _ => None,
        }
    }

    /// What a token says, if its signature is right: with these keys, or with newer ones, which then take their place.
    async fn signed(&self, token: &str, header: &Header, keys: &mut Arc<KeySet>) -> Result<Value, TokenError> {
        if keys.select(header.key_id.as_deref(), header.algorithm).err() == Some(SelectError::UnknownKey) {
            *keys = self.keys_again().await?;
        }
        let key = keys.select(header.key_id.as_deref(), header.algorithm).map_err(|error| match error {
            SelectError::UnknownKey => {
                TokenError::Invalid("the token is signed with a key that its issuer does not have")
            }
            SelectError::KeyNotNamed => TokenError::Invalid("the token does not name its key (kid)"),
            SelectError::WrongAlgorithm => TokenError::Invalid("the token's algorithm does not fit its key"),
        })?;
        // The signature alone: the claims are checked elsewhere, with words of our own.
        let mut signature = Validation::new(header.algorithm);
        signature.required_spec_claims.clear();
        signature.validate_exp = false;
        signature.validate_aud = false;
        let decoded = jsonwebtoken::decode::<Value>(token, key, &signature);
        decoded.map(|decoded| decoded.claims).map_err(|_| TokenError::Invalid("the token's signature is wrong"))
    }

    async fn keys(&self) -> Result<Arc<KeySet>, TokenError> {
        match &self.source {
            KeySource::Remote(keys) => keys.current().await.map_err(|KeysUnavailable| TokenError::Unavailable),
            KeySource::Embedded(issuer) => Ok(issuer.public_keys()),
        }
    }

    async fn keys_again(&self) -> Result<Arc<KeySet>, TokenError> {
        match &self.source {
            KeySource::Remote(keys) => Ok(keys.refetched().await),
            KeySource::Embedded(issuer) => {
                issuer.reload();
                Ok(issuer.public_keys())
            }
        }
    }

    fn caller(&self, claims: &Value) -> Result<Caller, TokenError> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let client_id = text("azp").or(text("client_id")).or(text("sub"));
        let client_id = client_id.ok_or(TokenError::Invalid("the token names no client (azp, client_id or sub)"))?;
        let grants = self.grants(claims).unwrap_or_default();
        Ok(Caller { client_id: client_id.to_owned(), grants, stored: false })
    }
}

impl Expectations {
    /// Whether a token with these claims may be used now, and until when.
    fn check(&self, claims: &Value, now: u64) -> Result<Validity, TokenError> {
        let invalid = |reason| Err(TokenError::Invalid(reason));
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_f64()
                .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
                .map(Some)
                .ok_or(TokenError::Invalid("a time in the token (exp or nbf) is not a number of seconds")),
        };
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return invalid("the token is from another issuer");
        }
        if let Some(audience) = &self.audience
            && !names(claims.get("aud"), audience)
        {
            return invalid("the token is for another audience");
        }
        let skew = self.skew_seconds as f64;
        let Some(expires) = time("exp")? else {
            return invalid("the token has no time of expiry (exp)");
        };
        let begins = time("nbf")?.unwrap_or(0.0);
        let validity = Validity { begins: begins - skew, expires: expires + skew };
        validity.check(now).map(|()| validity)
    }
}

fn names(claim: Option<&Value>, audience: &str) -> bool {
    match claim {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    }
}

/// What the head of a token says, as far as it is needed.
struct Header {
    algorithm: Algorithm,
    key_id: Option<String>,
}

impl Header {
    fn read(token: &str) -> Result<Header, TokenError> {
        let malformed = TokenError::Invalid("the token is not a signed JWT");
        if token.len() > MAX_TOKEN_BYTES || token.split('.').count() != 3 {
            return Err(malformed);
        }
        let head = token.split('.').next().unwrap_or_default();
        let head = BASE64_URL_SAFE_NO_PAD.decode(head).map_err(|_| malformed.clone())?;
        let head: Value = serde_json::from_slice(&head).map_err(|_| malformed.clone())?;
        let algorithm = head.get("alg").and_then(Value::as_str).and_then(accepted);
        let algorithm = algorithm.ok_or(TokenError::Invalid("the token's algorithm is not accepted"))?;
        // Extensions that must be understood (RFC 7515, 4.1.11): none are.
        if head.get("crit").is_some() {
            return Err(TokenError::Invalid("the token needs an extension (crit) that is not supported"));
        }
        let key_id = match head.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(malformed),
        };
        Ok(Header { algorithm, key_id })
    }
}

/// Seconds since 1970.
pub fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expectations() -> Expectations {
        Expectations {
            issuer: "https://login.example.org".to_owned(),
            audience: Some("dipper".to_owned()),
            skew_seconds: 30,
            roles_claim: vec!["roles".to_owned()],
        }
    }

    #[test]
    fn claims_are_checked_one_by_one() {
        let good = json!({"iss": "https://login.example.org", "aud": "dipper", "exp": 1000, "nbf": 900});
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        let missing = |name: &str| {
            let mut claims = good.clone();
            claims.as_object_mut().expect("an object").remove(name);
            claims
        };
        for (claims, now, fine) in [
            (good.clone(), 950, true),
            (good.clone(), 1029, true),
            (good.clone(), 1030, false),
            (good.clone(), 870, true),
            (good.clone(), 869, false),
            (with("aud", json!(["other", "dipper"])), 950, true),
            (with("aud", json!(["other"])), 950, false),
            (with("aud", json!("dipper2")), 950, false),
            (missing("aud"), 950, false),
            (with("iss", json!("https://login.example.org/")), 950, false),
            (with("iss", json!(["https://login.example.org"])), 950, false),
            (missing("iss"), 950, false),
            (missing("exp"), 950, false),
            (with("exp", json!("1000")), 950, false),
            (with("exp", json!(-5)), 950, false),
            (with("exp", json!(1000.5)), 950, true),
            (missing("nbf"), 950, true),
            (with("nbf", json!("soon")), 950, false),
        ] {
            assert_eq!(expectations().check(&claims, now).is_ok(), fine, "{claims} at {now}");
        }
    }
}
