//! The keys of an external issuer: found, fetched, kept, and fetched again when a token names one that is not there.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::documents;
use super::keys::KeySet;

/// How long fetched keys are used before they are fetched again on the side: a key that the issuer has withdrawn
/// stops working after this.
const FRESH: Duration = Duration::from_secs(600);
/// The least time between two fetches that unknown keys cause, so that forged tokens cannot make this server
/// hammer the issuer.
const FLOOR: Duration = Duration::from_secs(30);
/// The least time between two attempts while there are no keys at all.
const RETRY: Duration = Duration::from_secs(2);

/// There are no keys, and none could be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeysUnavailable;

/// The keys of an external issuer.
#[derive(Clone)]
pub struct RemoteKeys(Arc<Inner>);

struct Inner {
    client: reqwest::Client,
    issuer: String,
    jwks_url: Option<String>,
    kept: RwLock<Kept>,
    /// Held while fetching, so that one fetch serves everybody who waits.
    fetching: Mutex<()>,
}

#[derive(Clone, Default)]
struct Kept {
    keys: Arc<KeySet>,
    /// When the last fetch ended well.
    fetched: Option<Instant>,
    /// When a fetch was last begun for a key that was not there.
    forced: Option<Instant>,
    /// When a fetch was last begun for any reason.
    attempted: Option<Instant>,
}

impl RemoteKeys {
    /// The keys of `issuer`; without `jwks_url` its metadata say where they are.
    pub fn new(issuer: &str, jwks_url: Option<&str>) -> reqwest::Result<RemoteKeys> {
        Ok(RemoteKeys(Arc::new(Inner {
            client: documents::client()?,
            issuer: issuer.to_owned(),
            jwks_url: jwks_url.map(str::to_owned),
            kept: RwLock::default(),
            fetching: Mutex::default(),
        })))
    }

    /// The keys as they are known. Old ones are fetched again on the side.
    pub async fn current(&self) -> Result<Arc<KeySet>, KeysUnavailable> {
        let kept = self.0.kept();
        match kept.fetched {
            Some(fetched) if fetched.elapsed() < FRESH => return Ok(kept.keys),
            Some(_) => {
                if passed(kept.attempted, FLOOR) {
                    self.fetch_in_background();
                }
                return Ok(kept.keys);
            }
            None => {}
        }
        let _ = self.fetch_in_background().await;
        let kept = self.0.kept();
        kept.fetched.map(|_| kept.keys).ok_or(KeysUnavailable)
    }

    /// The keys, fetched again unless that was done a moment ago.
    pub async fn refetched(&self) -> Arc<KeySet> {
        let due = {
            let mut kept = self.0.kept.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            let due = passed(kept.forced, FLOOR);
            if due {
                kept.forced = Some(Instant::now());
            }
            due
        };
        if due {
            let _ = self.fetch_in_background().await;
        }
        self.0.kept().keys
    }

    /// In a task of its own: a client that goes away does not end a fetch that others wait for.
    fn fetch_in_background(&self) -> tokio::task::JoinHandle<()> {
        let inner = self.0.clone();
        tokio::spawn(async move { inner.fetch_once().await })
    }
}

fn passed(since: Option<Instant>, wait: Duration) -> bool {
    since.is_none_or(|since| since.elapsed() >= wait)
}

impl Inner {
    fn kept(&self) -> Kept {
        self.kept.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    async fn fetch_once(&self) {
        let asked = Instant::now();
        let _one_at_a_time = self.fetching.lock().await;
        let kept = self.kept();
        if kept.attempted.is_some_and(|attempted| attempted >= asked) {
            return; // Somebody else has just done it.
        }
        if kept.fetched.is_none() && !passed(kept.attempted, RETRY) {
            return;
        }
        let begun = Instant::now();
        let fetched = self.fetch().await;
        let mut kept = self.kept.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.attempted = Some(begun);
        match fetched {
            Ok(keys) => {
                kept.keys = Arc::new(keys);
                kept.fetched = Some(Instant::now());
            }
            Err(error) => tracing::warn!(issuer = self.issuer, "the issuer's keys could not be fetched: {error:#}"),
        }
    }

    async fn fetch(&self) -> anyhow::Result<KeySet> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => documents::address(&documents::metadata(&self.client, &self.issuer).await?, "jwks_uri")?.into(),
        };
        let document = documents::document(&self.client, &url).await?;
        let keys = KeySet::from_jwks(&document);
        let keys = keys.ok_or_else(|| anyhow::anyhow!("{url} is not a set of keys (RFC 7517)"))?;
        anyhow::ensure!(!keys.is_empty(), "{url} holds no key for RS256, ES256, PS256 or EdDSA signatures");
        Ok(keys)
    }
}
