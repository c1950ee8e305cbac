//! What is asked of the issuer itself: tokens for a code, and what it knows about the person.

use serde_json::Value;
use url::form_urlencoded;

use super::super::documents;
use super::metadata::Metadata;
use super::{Oidc, OidcError, unavailable};

/// What the issuer gave for a code.
pub(super) struct Tokens {
    /// Who the person is.
    pub(super) id_token: String,
    access_token: Option<String>,
}

impl Oidc {
    /// Exchanges a code for tokens (RFC 6749, section 4.1.3, with RFC 7636).
    pub(super) async fn exchange(&self, metadata: &Metadata, code: &str, verifier: &str) -> Result<Tokens, OidcError> {
        let agreement = &self.agreement;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", agreement.redirect_url.as_str()),
            ("code_verifier", verifier),
        ];
        let mut request = self.client.post(metadata.token.clone()).header("accept", "application/json");
        match &agreement.client_secret {
            Some(secret) if !metadata.secret_in_body => {
                // Encoded as in a form before they are put together (RFC 6749, section 2.3.1).
                let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                request = request.basic_auth(encoded(&agreement.client_id), Some(encoded(secret.reveal())));
            }
            secret => {
                form.push(("client_id", &agreement.client_id));
                form.extend(secret.as_ref().map(|secret| ("client_secret", secret.reveal())));
            }
        }
        let failed = |error: &dyn std::fmt::Display| unavailable("exchanging a code at the issuer", error);
        let response = request.form(&form).send().await.map_err(|error| failed(&error))?;
        let status = response.status();
        let answer = documents::read(response).await.map_err(|error| failed(&error))?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        if !status.is_success() {
            let error = text("error").unwrap_or_default();
            return Err(match error.as_str() {
                // It was exchanged before, is too old, or was made for somebody else's request.
                "invalid_grant" => OidcError::NotBegun,
                error => failed(&format!("{status} {error:?}; look at console.oidc.client_id and its secret")),
            });
        }
        let id_token = text("id_token").ok_or(OidcError::NotBelieved("there is no ID token"))?;
        let is_bearer = text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
        Ok(Tokens { id_token, access_token: text("access_token").filter(|_| is_bearer) })
    }

    /// What the issuer knows about the person besides (OpenID Connect Core, section 5.3), if it can be asked.
    pub(super) async fn user_info(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
        subject: &str,
    ) -> Result<Option<Value>, OidcError> {
        let (Some(url), Some(token)) = (&metadata.user_info, &tokens.access_token) else { return Ok(None) };
        let failed = |error: &dyn std::fmt::Display| unavailable("asking the issuer about a person", error);
        let request = self.client.get(url.clone()).bearer_auth(token).header("accept", "application/json");
        let response = request.send().await.map_err(|error| failed(&error))?;
        if !response.status().is_success() {
            return Err(failed(&response.status()));
        }
        let answer = documents::read(response).await.map_err(|error| failed(&error))?;
        // Whose it is must be checked: the access token is not bound to the ID token.
        match answer.get("sub").and_then(Value::as_str) == Some(subject) {
            true => Ok(Some(answer)),
            false => Err(OidcError::NotBelieved("the issuer told about somebody else (sub)")),
        }
    }
}
