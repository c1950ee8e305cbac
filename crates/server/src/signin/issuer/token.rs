//! The token endpoint (RFC 6749, section 4.4), the keys, and the metadata (RFC 8414).

use axum::extract::{ConnectInfo, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use dipper_core::secret::Secret;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Issuer;
use crate::app::App;
use crate::http::input::{FormBody, Parameters};
use crate::http::listener::Peer;
use crate::http::refusal::{Refusal, Shape};
use crate::signin::basic;
use crate::signin::password::SignInError;

/// Refusals of the token endpoint, as RFC 6749, section 5.2, writes them.
pub const SHAPE: Shape = Shape { content_type: "application/json", body };

fn body(refusal: &Refusal) -> Vec<u8> {
    // Codes of our own are in capitals; those of the standard are not.
    let error = match (refusal.code.as_ref(), refusal.status) {
        (code, _) if code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => code,
        (_, status) if status == StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
        (_, status) if status.is_server_error() => "server_error",
        _ => "invalid_request",
    };
    json!({ "error": error, "error_description": refusal.message }).to_string().into_bytes()
}

/// A token that was issued.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenAnswer {
    /// The token, to be sent as `Authorization: Bearer`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// How long it is valid, in seconds.
    expires_in: u64,
}

/// A request for a token. The credentials may stand in `Authorization: Basic` instead.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the form for the OpenAPI document; it is read field by field")]
pub(crate) struct TokenForm {
    /// Always `client_credentials`.
    grant_type: String,
    /// The client's id.
    client_id: Option<String>,
    /// The client's secret.
    client_secret: Option<String>,
}

/// Issue an access token
///
/// OAuth 2.0 client credentials for the clients that are stored here. Not found when another issuer is configured.
#[utoipa::path(
    post,
    path = "/oauth2/token",
    tag = "Sign-in",
    security(()),
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token", body = TokenAnswer),
        (status = 400, description = "The request is wrong: `invalid_request`, `unsupported_grant_type`"),
        (status = 401, description = "The credentials are wrong: `invalid_client`"),
        (status = 404, description = "Another issuer is configured"),
        (status = 429, description = "Too many failures; `Retry-After` says when to come back"),
    )
)]
pub async fn token(
    State(app): State<App>,
    Extension(ConnectInfo(Peer(peer))): Extension<ConnectInfo<Peer>>,
    headers: HeaderMap,
    FormBody(form): FormBody,
) -> Result<Response, Refusal> {
    let issuer = embedded(&app)?;
    match form.one("grant_type")? {
        Some("client_credentials") => {}
        Some(_) => return Err(refuse("unsupported_grant_type", "grant_type must be client_credentials")),
        None => return Err(refuse("invalid_request", "the parameter `grant_type` is missing")),
    }
    let (client_id, secret) = credentials(&headers, &form)?;
    let signed_in = app.passwords().verify(&client_id, Secret::new(secret), peer.ip()).await;
    let caller = signed_in.map_err(|error| match error {
        SignInError::Wrong => invalid_client("the client or its secret is wrong"),
        other => other.into(),
    })?;
    let access_token = issuer.issue(&caller).map_err(|error| {
        tracing::error!("a token could not be signed: {error:#}");
        Refusal::internal()
    })?;
    let answer = TokenAnswer { access_token, token_type: "Bearer", expires_in: issuer.lifetime_seconds() };
    Ok(([(CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// The credentials, from the header or the form, not from both.
fn credentials(headers: &HeaderMap, form: &Parameters) -> Result<(String, String), Refusal> {
    let (id, secret) = (form.one("client_id")?, form.one("client_secret")?);
    let Some(header) = headers.get(AUTHORIZATION) else {
        return match (id, secret) {
            (Some(id), Some(secret)) => Ok((id.to_owned(), secret.to_owned())),
            _ => Err(invalid_client("send client_id and client_secret in the form, or as Authorization: Basic")),
        };
    };
    if secret.is_some() {
        return Err(refuse("invalid_request", "send the credentials in the header or in the form, not in both"));
    }
    let pair = header.to_str().ok().and_then(form_encoded_basic);
    let (header_id, secret) =
        pair.ok_or_else(|| invalid_client("the Authorization header is not Basic credentials"))?;
    if id.is_some_and(|id| id != header_id) {
        return Err(refuse("invalid_request", "the form names another client than the header"));
    }
    Ok((header_id, secret))
}

/// Basic credentials, both parts encoded as in a form (RFC 6749, section 2.3.1).
fn form_encoded_basic(header: &str) -> Option<(String, String)> {
    let (id, secret) = basic::decode(header)?;
    Some((form_decoded(&id)?, form_decoded(secret.reveal())?))
}

fn form_decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    Some(percent_encoding::percent_decode_str(&spaced).decode_utf8().ok()?.into_owned())
}

fn refuse(code: &'static str, message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, code, message)
}

fn invalid_client(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "invalid_client", message).header(WWW_AUTHENTICATE, basic::CHALLENGE)
}

fn embedded(app: &App) -> Result<&Issuer, Refusal> {
    app.issuer()
        .ok_or_else(|| Refusal::not_found("tokens are issued elsewhere: this server is configured with an issuer"))
}

/// The keys that check the tokens issued here
#[utoipa::path(
    get,
    path = "/oauth2/jwks",
    tag = "Sign-in",
    security(()),
    responses(
        (status = 200, description = "A JWK set (RFC 7517)", body = Value),
        (status = 404, description = "Another issuer is configured"),
    )
)]
pub async fn jwks(State(app): State<App>) -> Result<Response, Refusal> {
    let issuer = embedded(&app)?;
    Ok(([(CACHE_CONTROL, "public, max-age=60")], Json(issuer.jwks())).into_response())
}

/// The issuer's metadata
#[utoipa::path(
    get,
    path = "/.well-known/oauth-authorization-server",
    tag = "Sign-in",
    security(()),
    responses(
        (status = 200, description = "Metadata (RFC 8414)", body = Value),
        (status = 404, description = "Another issuer is configured"),
    )
)]
pub async fn metadata(State(app): State<App>) -> Result<Json<Value>, Refusal> {
    let url = &embedded(&app)?.url;
    Ok(Json(json!({
        "issuer": url,
        "token_endpoint": format!("{url}/oauth2/token"),
        "jwks_uri": format!("{url}/oauth2/jwks"),
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    })))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn basic_credentials_are_form_encoded() {
        let header = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        let pair = |id: &str, secret: &str| Some((id.to_owned(), secret.to_owned()));
        assert_eq!(form_encoded_basic(&header("one:two")), pair("one", "two"));
        assert_eq!(form_encoded_basic(&header("a%3Ab:c+d%2B:")), pair("a:b", "c d+:"));
        assert_eq!(form_encoded_basic(&header("alone")), None);
    }
}
