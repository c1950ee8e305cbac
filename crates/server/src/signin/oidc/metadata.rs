//! What the issuer says of itself, as far as a sign-in needs it; kept for a while.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::super::documents;
use super::{OidcError, unavailable};

/// How long it is believed before it is fetched again.
const FRESH: Duration = Duration::from_secs(600);
/// The least time between two attempts that fail.
const RETRY: Duration = Duration::from_secs(2);

/// What the issuer says of itself.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    /// Where people sign in.
    pub(super) authorization: Url,
    /// Where codes are exchanged.
    pub(super) token: Url,
    /// Where more is told about a person.
    pub(super) user_info: Option<Url>,
    /// Where people sign out.
    pub(super) end_session: Option<Url>,
    /// Whether clients prove themselves in the body of a request alone, and not in its head.
    pub(super) secret_in_body: bool,
    /// Whether it names itself in every answer that it sends by a browser (RFC 9207).
    pub(super) names_itself: bool,
}

impl Metadata {
    fn read(document: &Value) -> anyhow::Result<Metadata> {
        let address = |name: &str| {
            let url = documents::address(document, name)?;
            anyhow::ensure!(is_safe(&url), "the issuer's {name} is in plain http");
            Ok(url)
        };
        let methods = document.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
        let takes =
            |method: &str| methods.is_some_and(|methods| methods.iter().any(|one| one.as_str() == Some(method)));
        let names_itself = document.get("authorization_response_iss_parameter_supported").and_then(Value::as_bool);
        Ok(Metadata {
            authorization: address("authorization_endpoint")?,
            token: address("token_endpoint")?,
            user_info: address("userinfo_endpoint").ok(),
            end_session: address("end_session_endpoint").ok(),
            secret_in_body: takes("client_secret_post") && !takes("client_secret_basic"),
            names_itself: names_itself.unwrap_or(false),
        })
    }
}

/// Whether secrets may be sent to an address: over TLS, or without leaving this machine.
pub(crate) fn is_safe(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}

/// Finds out, and remembers.
pub(super) struct Discovery {
    client: reqwest::Client,
    issuer: String,
    kept: RwLock<Kept>,
    /// Held while fetching, so that one fetch serves everybody who waits.
    fetching: Mutex<()>,
}

#[derive(Clone, Default)]
struct Kept {
    metadata: Option<Arc<Metadata>>,
    attempted: Option<Instant>,
    fetched: Option<Instant>,
}

impl Kept {
    fn is_due(&self) -> bool {
        let passed = |since: Option<Instant>, wait| since.is_none_or(|since| since.elapsed() >= wait);
        passed(self.fetched, FRESH) && passed(self.attempted, RETRY)
    }
}

impl Discovery {
    pub(super) fn new(client: reqwest::Client, issuer: &str) -> Discovery {
        Discovery { client, issuer: issuer.to_owned(), kept: RwLock::default(), fetching: Mutex::default() }
    }

    /// What is known of the issuer. What is old serves on while nothing newer can be had.
    pub(super) async fn current(&self) -> Result<Arc<Metadata>, OidcError> {
        if self.kept().is_due() {
            let _one_at_a_time = self.fetching.lock().await;
            if self.kept().is_due() {
                self.fetch().await;
            }
        }
        self.kept().metadata.ok_or(OidcError::Unavailable)
    }

    async fn fetch(&self) {
        let fetched = documents::metadata(&self.client, &self.issuer).await;
        let fetched = fetched.and_then(|document| Metadata::read(&document));
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.attempted = Some(Instant::now());
        match fetched {
            Ok(metadata) => {
                kept.metadata = Some(Arc::new(metadata));
                kept.fetched = kept.attempted;
            }
            Err(error) => {
                let _ = unavailable("asking the issuer of the console for its metadata", &error);
            }
        }
    }

    fn kept(&self) -> Kept {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_issuer_says_where_it_is_asked_and_how() {
        let document = json!({
            "authorization_endpoint": "https://login.example.org/auth?realm=archive",
            "token_endpoint": "https://login.example.org/token",
            "userinfo_endpoint": "http://login.example.org/me",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        });
        let metadata = Metadata::read(&document).expect("metadata");
        assert_eq!(metadata.authorization.query(), Some("realm=archive"));
        assert!(metadata.secret_in_body && !metadata.names_itself);
        assert_eq!(
            (metadata.user_info, metadata.end_session),
            (None, None),
            "a person's token never goes out in the clear"
        );
        for token in ["http://login.example.org/token", "ftp://login.example.org/token", "token"] {
            let mut wrong = document.clone();
            wrong["token_endpoint"] = json!(token);
            assert!(Metadata::read(&wrong).is_err(), "{token}");
        }
        for here in ["http://127.0.0.1:8080/token", "http://localhost/token", "http://[::1]/token"] {
            assert!(is_safe(&Url::parse(here).expect("an address")), "{here}");
        }
    }
}
