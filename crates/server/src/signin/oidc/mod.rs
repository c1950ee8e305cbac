//! Sign-in of people at an OpenID Connect issuer: the authorization code flow with PKCE, for pages in a browser.
//!
//! [`Oidc::begin`] sends a browser to the issuer, and gives it something sealed to bring back (`pending.rs`);
//! [`Oidc::finish`] takes what the issuer sent the browser back with, exchanges the code (`exchange.rs`), and believes the ID
//! token if everything about it is right. What the issuer says of itself is in `metadata.rs`.

mod exchange;
mod metadata;
mod pending;

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use dipper_core::installation::Installation;
use dipper_core::secret::Secret;
use dipper_core::{Caller, Grants};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::jwks::RemoteKeys;
use super::verifier::{Expectations, KeySource, TokenError, TokenVerifier, now_seconds};
use metadata::Discovery;
pub(crate) use metadata::is_safe;
use pending::Pending;
pub use pending::SECONDS as PENDING_SECONDS;

/// What goes before the issuer's name for a person (`sub`). No client that is stored here can be called so, so that nobody
/// at the issuer can take the name of one.
const PREFIX: &str = "oidc:";

/// What is agreed with the issuer.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// The issuer.
    pub issuer: String,
    /// What it calls this server.
    pub client_id: String,
    /// What this server proves itself with, unless it is a public client.
    pub client_secret: Option<Secret>,
    /// What is asked for, `openid` among it.
    pub scopes: Vec<String>,
    /// The claims from the outermost to the one that lists the roles.
    pub roles_claim: Vec<String>,
    /// How far clocks may be apart.
    pub skew_seconds: u64,
    /// Where the issuer sends the browser back to.
    pub redirect_url: Url,
    /// Where it sends the browser after it has signed the person out.
    pub signed_out_url: Url,
}

/// Signs people in at one issuer.
pub struct Oidc {
    agreement: Agreement,
    client: reqwest::Client,
    discovery: Discovery,
    verifier: TokenVerifier,
    installation: Arc<Installation>,
}

/// Where a browser is sent, and what it is given to bring back.
#[derive(Debug)]
pub struct Begun {
    /// The issuer's page.
    pub url: Url,
    /// For a cookie that lives for [`PENDING_SECONDS`], and that scripts cannot read.
    pub pending: String,
}

/// What the issuer sent the browser back with (RFC 6749, section 4.1.2, and RFC 9207).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

/// Somebody who has signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who it is, with what it may do.
    pub caller: Caller,
    /// What the issuer calls this person.
    pub name: String,
    /// Where it wanted to go.
    pub return_to: String,
}

/// Why nobody was signed in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// The issuer cannot be asked, or answers nothing that can be used. The log has the cause.
    #[error("the issuer does not answer as it should")]
    Unavailable,
    /// The sign-in was not begun in this browser, or too long ago, or it was finished before.
    #[error("the sign-in was not begun here, or too long ago")]
    NotBegun,
    /// The issuer did not sign the person in, with its word for the reason.
    #[error("the issuer did not sign the person in: {0}")]
    Refused(String),
    /// What the issuer sent cannot be believed.
    #[error("the issuer's word is not believed: {0}")]
    NotBelieved(&'static str),
    /// The person has no role here.
    #[error("{0} has no role here")]
    NoRole(String),
}

impl Oidc {
    /// What is agreed with an issuer. It is not asked anything before somebody wants to sign in.
    pub fn new(agreement: Agreement, installation: Arc<Installation>) -> reqwest::Result<Oidc> {
        let client = super::documents::client()?;
        let expectations = Expectations {
            issuer: agreement.issuer.clone(),
            audience: Some(agreement.client_id.clone()),
            skew_seconds: agreement.skew_seconds,
            roles_claim: agreement.roles_claim.clone(),
        };
        let keys = RemoteKeys::new(&agreement.issuer, None)?;
        let verifier = TokenVerifier::new(expectations, KeySource::Remote(keys));
        let discovery = Discovery::new(client.clone(), &agreement.issuer);
        Ok(Oidc { agreement, client, discovery, verifier, installation })
    }

    /// Sends a browser to the issuer.
    pub async fn begin(&self, return_to: &str) -> Result<Begun, OidcError> {
        let metadata = self.discovery.current().await?;
        let pending = Pending::new(return_to, now_seconds()).map_err(|error| unavailable("a sign-in", &error))?;
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, pending.verifier.as_bytes()));
        let mut url = metadata.authorization.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.agreement.client_id)
            .append_pair("redirect_uri", self.agreement.redirect_url.as_str())
            .append_pair("scope", &self.agreement.scopes.join(" "))
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let sealed = pending.seal(&self.installation.key).map_err(|error| unavailable("a sign-in", &error))?;
        Ok(Begun { url, pending: sealed })
    }

    /// Says who has signed in, from what the issuer sent the browser back with, and what the browser was given.
    pub async fn finish(&self, answer: &Answer, pending: Option<&str>) -> Result<SignedIn, OidcError> {
        let finished = self.finish_unlogged(answer, pending).await;
        match &finished {
            Ok(signed_in) => tracing::info!(client_id = signed_in.caller.client_id, "a person has signed in"),
            Err(error) => {
                crate::metrics::sign_in_failed("issuer");
                tracing::info!(issuer = self.agreement.issuer, "nobody was signed in: {error}");
            }
        }
        finished
    }

    async fn finish_unlogged(&self, answer: &Answer, pending: Option<&str>) -> Result<SignedIn, OidcError> {
        let pending = pending.and_then(|sealed| Pending::open(sealed, &self.installation.key, now_seconds()));
        let pending = pending.filter(|pending| answer.state.as_deref() == Some(&pending.state));
        let pending = pending.ok_or(OidcError::NotBegun)?;
        let metadata = self.discovery.current().await?;
        let from = answer.iss.as_deref();
        // Several issuers are a danger only to who asks several; but where this one names itself, it must be this one.
        if from.is_some_and(|from| from != self.agreement.issuer) || (from.is_none() && metadata.names_itself) {
            return Err(OidcError::NotBelieved("it is the answer of another issuer"));
        }
        if let Some(error) = &answer.error {
            return Err(OidcError::Refused(error.chars().take(100).collect()));
        }
        let code = answer.code.as_deref().ok_or(OidcError::NotBelieved("it has no code"))?;
        let tokens = self.exchange(&metadata, code, &pending.verifier).await?;
        let claims = self.verifier.claims(&tokens.id_token).await.map_err(|error| match error {
            TokenError::Invalid(reason) => OidcError::NotBelieved(reason),
            TokenError::Unavailable => OidcError::Unavailable,
        })?;
        self.check(&claims, &pending.nonce)?;
        self.person(&metadata, &tokens, claims, pending.return_to).await
    }

    /// What an ID token has to say besides what every token has (OpenID Connect Core, section 3.1.3.7).
    fn check(&self, claims: &Value, nonce: &str) -> Result<(), OidcError> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("nonce") != Some(nonce) {
            return Err(OidcError::NotBelieved("the ID token was made for another sign-in (nonce)"));
        }
        let several = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
        let party = text("azp");
        if party.is_some_and(|party| party != self.agreement.client_id) || (several && party.is_none()) {
            return Err(OidcError::NotBelieved("the ID token was made for another client (azp)"));
        }
        Ok(())
    }

    async fn person(
        &self,
        metadata: &metadata::Metadata,
        tokens: &exchange::Tokens,
        claims: Value,
        return_to: String,
    ) -> Result<SignedIn, OidcError> {
        let text = |claims: &Value, name: &str| {
            claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let subject = text(&claims, "sub").ok_or(OidcError::NotBelieved("the ID token names nobody (sub)"))?;
        let mut grants = self.verifier.grants(&claims);
        let mut known = vec![claims];
        if grants.is_none()
            && let Some(more) = self.user_info(metadata, tokens, &subject).await?
        {
            // Many issuers keep what they know about people out of ID tokens (OpenID Connect Core, section 5.4).
            grants = self.verifier.grants(&more);
            known.push(more);
        }
        let names = ["name", "preferred_username", "email"];
        let name = names.iter().find_map(|name| known.iter().find_map(|claims| text(claims, name)));
        let name = name.unwrap_or_else(|| subject.clone());
        let Some(grants) = grants.filter(|grants| *grants != Grants::default()) else {
            return Err(OidcError::NoRole(name));
        };
        let caller = Caller { client_id: format!("{PREFIX}{subject}"), grants, stored: false };
        Ok(SignedIn { caller, name, return_to })
    }

    /// The issuer's page that signs a person out there too (OpenID Connect RP-Initiated Logout), if it has one.
    pub async fn sign_out_url(&self) -> Option<Url> {
        let mut url = self.discovery.current().await.ok()?.end_session.clone()?;
        url.query_pairs_mut()
            .append_pair("client_id", &self.agreement.client_id)
            .append_pair("post_logout_redirect_uri", self.agreement.signed_out_url.as_str());
        Some(url)
    }
}

/// Logs why the issuer could not be asked.
fn unavailable(what: &str, error: &dyn std::fmt::Display) -> OidcError {
    tracing::warn!("{what} failed: {error:#}");
    OidcError::Unavailable
}
