//! Signing in of clients that the catalogue knows.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::caller::Caller;
use crate::db::{Database, DatabaseError, contracts};
use crate::secret::{self, Secret};

/// How many secrets are hashed at the same time: each takes 19 MiB and a core.
const HASHED_AT_ONCE: usize = 2;

/// Checks the credentials of clients.
#[derive(Clone, Debug)]
pub struct Clients {
    database: Database,
    turns: Arc<Semaphore>,
    /// Verified in place of the hash of a client that does not exist, so that both take the same time.
    decoy: Arc<str>,
}

/// What the catalogue says about a name that somebody gave.
#[derive(Clone, Debug)]
pub struct Claimed {
    caller: Option<Caller>,
    hash: String,
}

impl Claimed {
    /// The client, if there is one that may sign in. Proves nothing: see [`Turn::matches`].
    pub fn caller(self) -> Option<Caller> {
        self.caller
    }

    /// What changes when the client gets another secret.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

/// The right to hash one secret.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Clients {
    /// Checks against a catalogue.
    pub fn new(database: Database) -> Result<Clients, secret::SecretError> {
        let decoy = secret::hash(&secret::new_client_secret()?)?;
        let turns = Arc::new(Semaphore::new(HASHED_AT_ONCE));
        Ok(Clients { database, turns, decoy: decoy.into() })
    }

    /// The client whose secret this is, unless it may not sign in.
    pub async fn verify(&self, client_id: &str, secret: Secret) -> Result<Option<Caller>, DatabaseError> {
        let claimed = self.find(client_id).await?;
        let Some(turn) = self.turn().await else { return Ok(None) };
        let matched = turn.matches(secret, &claimed).await;
        Ok(claimed.caller().filter(|_| matched.right))
    }

    /// What the catalogue says now of a client. One that does not exist, or may not sign in, looks like any other until
    /// its secret is checked.
    pub async fn find(&self, client_id: &str) -> Result<Claimed, DatabaseError> {
        Ok(match contracts::client_get(&self.database, client_id).await? {
            None => Claimed { caller: None, hash: self.decoy.to_string() },
            Some((client, hash)) => {
                let enabled = client.disabled.is_none();
                let caller = enabled.then_some(Caller { client_id: client.id, grants: client.grants, stored: true });
                Claimed { caller, hash }
            }
        })
    }

    /// Waits for a turn to hash a secret.
    pub async fn turn(&self) -> Option<Turn> {
        // The semaphore is never closed; without a turn nobody signs in.
        self.turns.clone().acquire_owned().await.ok().map(|permit| Turn { _permit: permit })
    }
}

impl Turn {
    /// Whether the secret is the one that is stored for the name. Takes as long whatever the answer.
    pub async fn matches(self, secret: Secret, claimed: &Claimed) -> Matched {
        let hash = claimed.hash.clone();
        let hashing = tokio::task::spawn_blocking(move || {
            // The turn goes along, so that it lasts as long as the work, also when nobody waits for that any more.
            let right = secret::verify(&secret, &hash);
            Matched { right, _turn: Some(self) }
        });
        hashing.await.unwrap_or(Matched { right: false, _turn: None })
    }
}

/// What came of hashing a secret. The turn ends when this is dropped: whoever counts failures does so before, and nobody is
/// heard who should not be.
#[derive(Debug)]
pub struct Matched {
    /// Whether the secret is the right one.
    pub right: bool,
    _turn: Option<Turn>,
}
