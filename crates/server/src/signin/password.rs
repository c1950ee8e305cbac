//! Checks the names and secrets of the clients that are stored here, for HTTP Basic, the token endpoint and SFTP.
//!
//! A secret is hashed slowly on purpose. Whoever signs in with every request is spared that for a while: what is kept of
//! a secret that was right is a keyed digest, which also covers the stored hash, so that a new secret ends the memory of
//! the old one. Everything else about the client is read from the catalogue each time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use dipper_core::Caller;
use dipper_core::clients::{Claimed, Clients};
use dipper_core::db::DatabaseError;
use dipper_core::secret::{self, Secret, SecretError};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::Throttle;
use crate::metrics;

/// How long a secret that was right is known again without hashing it.
const MEMORY: Duration = Duration::from_secs(300);
const MAX_REMEMBERED: usize = 10_000;
/// Longer than any secret that is made here; what is longer is wrong, and not worth hashing.
const MAX_SECRET_BYTES: usize = 1024;

/// Why somebody is not signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// There is no such client, its secret is another, or it is disabled. Which of them is nobody's business.
    #[error("the client or its secret is wrong")]
    Wrong,
    /// There were too many failures: nothing is heard before this time has passed.
    #[error("too many failed attempts: wait {} seconds", .0.as_secs_f64().ceil())]
    Wait(Duration),
    /// The catalogue did not answer.
    #[error("clients cannot be looked up: {0}")]
    Unavailable(#[from] DatabaseError),
}

/// A keyed digest of a name, a secret and the hash that is stored for the name.
type Tag = [u8; 32];

/// Checks names and secrets.
pub struct Passwords {
    clients: Clients,
    throttle: Throttle,
    key: hmac::Key,
    /// Which secrets were right, and when.
    remembered: Mutex<HashMap<Tag, Instant>>,
    /// The secrets that are being hashed. Whoever sends the same in the meantime waits for that.
    hashing: Mutex<HashMap<Tag, Arc<OnceCell<bool>>>>,
}

impl Passwords {
    /// Checks against a catalogue.
    pub fn new(clients: Clients) -> Result<Passwords, SecretError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret::random_bytes(32)?);
        let (remembered, hashing) = (Mutex::default(), Mutex::default());
        Ok(Passwords { clients, throttle: Throttle::default(), key, remembered, hashing })
    }

    /// The client of this name, if the secret is its own and it may sign in. Failures are counted for the client at the
    /// address that they come from, and slow the next attempts down.
    pub async fn verify(&self, client_id: &str, secret: Secret, peer: IpAddr) -> Result<Caller, SignInError> {
        self.heard(client_id, peer)?;
        let claimed = self.clients.find(client_id).await?;
        let attempt = Attempt { client_id, secret, peer, claimed };
        let right = self.is_right(&attempt).await?;
        match attempt.claimed.caller().filter(|_| right) {
            Some(caller) => {
                self.throttle.succeeded(client_id, peer);
                Ok(caller)
            }
            None => {
                metrics::sign_in_failed("credentials");
                tracing::warn!(client_id, %peer, "a client's credentials were refused");
                Err(SignInError::Wrong)
            }
        }
    }

    fn heard(&self, client_id: &str, peer: IpAddr) -> Result<(), SignInError> {
        match self.throttle.wait(client_id, peer) {
            None => Ok(()),
            Some(wait) => {
                metrics::sign_in_failed("throttled");
                Err(SignInError::Wait(wait))
            }
        }
    }

    async fn is_right(&self, attempt: &Attempt<'_>) -> Result<bool, SignInError> {
        if attempt.secret.reveal().len() > MAX_SECRET_BYTES {
            self.throttle.failed(attempt.client_id, attempt.peer);
            return Ok(false);
        }
        let tag = self.tag(attempt);
        if self.remembers(&tag) {
            return Ok(true);
        }
        let flight = Flight::join(self, tag);
        flight.cell.get_or_try_init(|| self.hash(attempt, tag)).await.copied()
    }

    fn tag(&self, attempt: &Attempt<'_>) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [attempt.client_id, attempt.secret.reveal(), attempt.claimed.hash()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut tag = Tag::default();
        tag.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        tag
    }

    /// Hashes the secret, and remembers it if it was right. A failure counts once, however many wait for this.
    async fn hash(&self, attempt: &Attempt<'_>, tag: Tag) -> Result<bool, SignInError> {
        let Some(turn) = self.clients.turn().await else { return Ok(false) };
        // Guesses that came all at once have become failures while this one waited for its turn.
        self.heard(attempt.client_id, attempt.peer)?;
        metrics::secret_hashed();
        let matched = turn.matches(attempt.secret.clone(), &attempt.claimed).await;
        if matched.right {
            self.remember(tag);
        } else {
            self.throttle.failed(attempt.client_id, attempt.peer);
        }
        Ok(matched.right)
    }

    fn remembers(&self, tag: &Tag) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(tag).is_some_and(|since| since.elapsed() < MEMORY)
    }

    fn remember(&self, tag: Tag) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.retain(|_, since| since.elapsed() < MEMORY);
        }
        if remembered.len() >= MAX_REMEMBERED {
            let oldest = remembered.iter().min_by_key(|(_, since)| **since).map(|(tag, _)| *tag);
            oldest.and_then(|tag| remembered.remove(&tag));
        }
        remembered.insert(tag, Instant::now());
    }
}

struct Attempt<'a> {
    client_id: &'a str,
    secret: Secret,
    peer: IpAddr,
    claimed: Claimed,
}

/// A share in the hashing of one secret.
struct Flight<'a> {
    passwords: &'a Passwords,
    tag: Tag,
    cell: Arc<OnceCell<bool>>,
}

impl<'a> Flight<'a> {
    fn join(passwords: &'a Passwords, tag: Tag) -> Flight<'a> {
        let mut hashing = passwords.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = hashing.entry(tag).or_default().clone();
        Flight { passwords, tag, cell }
    }
}

/// Also when its client has gone away: the last one to leave takes the entry along.
impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut hashing = self.passwords.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that of two that leave at a time one sees that it is the last.
        self.cell = Arc::default();
        if hashing.get(&self.tag).is_some_and(|cell| Arc::strong_count(cell) == 1) {
            hashing.remove(&self.tag);
        }
    }
}
