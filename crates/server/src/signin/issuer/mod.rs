//! The embedded issuer: access tokens for the clients that are stored here, when no other issuer is configured.

mod signing;
mod token;

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use dipper_core::Caller;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::keys::KeySet;
use super::{now_seconds, roles};
use signing::SigningKeys;
pub use signing::add_key;
pub use token::{__path_jwks, __path_metadata, __path_token, SHAPE, jwks, metadata, token};

/// How often the key directory is looked at while the server runs.
const RELOAD: Duration = Duration::from_secs(5);

/// Signs access tokens, and knows the keys that check them.
pub struct Issuer {
    /// Its name: the `iss` of its tokens.
    pub url: String,
    audience: String,
    lifetime_seconds: u64,
    roles_claim: Vec<String>,
    directory: PathBuf,
    keys: RwLock<(Arc<SigningKeys>, Instant)>,
}

impl Issuer {
    /// Opens the issuer with the keys in `directory`; makes the first one when there is none.
    pub fn open(
        directory: PathBuf,
        url: String,
        audience: String,
        lifetime_seconds: u64,
        roles_claim: Vec<String>,
    ) -> anyhow::Result<Issuer> {
        let mut keys = SigningKeys::load(&directory)?;
        if keys.is_empty() {
            add_key(&directory)?;
            keys = SigningKeys::load(&directory)?;
        }
        let keys = RwLock::new((Arc::new(keys), Instant::now()));
        Ok(Issuer { url, audience, lifetime_seconds, roles_claim, directory, keys })
    }

    /// How long a token is valid.
    pub fn lifetime_seconds(&self) -> u64 {
        self.lifetime_seconds
    }

    /// An access token (RFC 9068) for a client, with its roles where this server looks for them.
    pub fn issue(&self, caller: &Caller) -> anyhow::Result<String> {
        let now = now_seconds();
        let mut claims = Map::new();
        for (name, value) in [
            ("iss", json!(self.url)),
            ("aud", json!(self.audience)),
            ("sub", json!(caller.client_id)),
            ("client_id", json!(caller.client_id)),
            ("iat", json!(now)),
            ("exp", json!(now + self.lifetime_seconds)),
            ("jti", json!(uuid::Uuid::now_v7().to_string())),
        ] {
            claims.insert(name.to_owned(), value);
        }
        let nested = self
            .roles_claim
            .iter()
            .rev()
            .fold(json!(roles::names(&caller.grants)), |inner, name| json!({ name: inner }));
        if let Value::Object(roles) = nested {
            claims.extend(roles);
        }
        self.current().sign(&Value::Object(claims))
    }

    /// The keys that check the tokens.
    pub fn public_keys(&self) -> Arc<KeySet> {
        self.current().public_keys()
    }

    /// The JWK set as it is published.
    pub fn jwks(&self) -> Value {
        self.current().jwks().clone()
    }

    /// Reads the key directory again, unless that was done a moment ago. A key that was added signs from then on.
    pub fn reload(&self) {
        let mut kept = self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if kept.1.elapsed() < RELOAD {
            return;
        }
        kept.1 = Instant::now();
        match SigningKeys::load(&self.directory) {
            Ok(keys) if !keys.is_empty() => kept.0 = Arc::new(keys),
            Ok(_) => tracing::warn!("the key directory is empty; the keys in memory are used further"),
            Err(error) => tracing::warn!("the token keys could not be read again: {error:#}"),
        }
    }

    fn current(&self) -> Arc<SigningKeys> {
        let old = {
            let kept = self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            if kept.1.elapsed() < RELOAD {
                return kept.0.clone();
            }
            kept.0.clone()
        };
        self.reload();
        let kept = self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if kept.0.is_empty() { old } else { kept.0.clone() }
    }
}
