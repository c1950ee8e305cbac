//! Signing in of clients that the catalogue knows.

use std::sync::Arc;

use tokio::sync::Semaphore;

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

impl Clients {
    /// Checks against a catalogue.
    pub fn new(database: Database) -> Result<Clients, secret::SecretError> {
        let decoy = secret::hash(&secret::new_client_secret()?)?;
        Ok(Clients { database, turns: Arc::new(Semaphore::new(HASHED_AT_ONCE)), decoy: decoy.into() })
    }

    /// The client whose secret this is, unless it is disabled.
    pub async fn verify(&self, client_id: &str, secret: Secret) -> Result<Option<Caller>, DatabaseError> {
        let found = contracts::client_get(&self.database, client_id).await?;
        let hash = found.as_ref().map_or_else(|| self.decoy.to_string(), |(_, hash)| hash.clone());
        // The semaphore is never closed; without a turn nobody signs in.
        let Ok(_turn) = self.turns.acquire().await else {
            return Ok(None);
        };
        let matches = tokio::task::spawn_blocking(move || secret::verify(&secret, &hash)).await.unwrap_or(false);
        Ok(found.filter(|(client, _)| matches && client.disabled.is_none()).map(|(client, _)| Caller {
            client_id: client.id,
            grants: client.grants,
            stored: true,
        }))
    }
}
