//! Sessions of the console: from signing in to signing out, or to being idle for too long.
//!
//! What identifies a session is a random token that the browser alone has; the catalogue keeps a digest of it. Whoever
//! reads the catalogue can therefore enter nobody's session. The grants of a client that is stored here are read with every
//! request, so that what is taken from it is gone at once, and a client that gets a new secret or is disabled loses its
//! sessions.

use std::time::Duration;

use dipper_archive::digest::{Algorithm, Hasher};

use crate::caller::Caller;
use crate::clients::Clients;
use crate::db::sessions::{self, Session};
use crate::db::{Database, DatabaseError};
use crate::ids;
use crate::secret::{self, Secret, SecretError};
use crate::time::{Clock, Timestamp};

/// How exact the time is at which a session was last used: each note of it is a write.
const SEEN: Duration = Duration::from_secs(60);
/// What is kept of the names of people and of programs.
const MAX_CHARS: usize = 200;

/// How long sessions last.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Without being used.
    pub idle: Duration,
    /// In all.
    pub longest: Duration,
}

/// Begins and ends sessions.
#[derive(Clone, Debug)]
pub struct Sessions {
    database: Database,
    clients: Clients,
    clock: Clock,
    lifetimes: Lifetimes,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No token could be made.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The catalogue failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Sessions {
    /// Sessions in a catalogue.
    pub fn new(database: Database, clients: Clients, clock: Clock, lifetimes: Lifetimes) -> Sessions {
        Sessions { database, clients, clock, lifetimes }
    }

    /// Begins a session for somebody who has just signed in and is called `name`; its token, which is not kept.
    pub async fn begin(
        &self,
        caller: &Caller,
        name: &str,
        agent: &str,
        address: &str,
    ) -> Result<(Secret, Session), SessionError> {
        let token = secret::new_client_secret()?;
        let now = self.clock.now();
        let session = Session {
            id: ids::new_id(),
            caller: caller.clone(),
            name: plain(name),
            agent: plain(agent),
            address: address.to_owned(),
            created: now,
            seen: now,
            expires: self.expires(now, now),
        };
        let mut transaction = self.database.begin().await?;
        sessions::sweep(&mut transaction, now).await?;
        sessions::insert(&mut transaction, &session, &digest(token.reveal())).await?;
        transaction.commit().await?;
        Ok((token, session))
    }

    /// The session with this token, with what its client may do now; `None` when it has ended, or the client may not sign
    /// in any more.
    pub async fn find(&self, token: &str) -> Result<Option<Session>, DatabaseError> {
        let now = self.clock.now();
        let Some(mut session) = sessions::find(&self.database, &digest(token), now).await? else { return Ok(None) };
        if session.caller.stored {
            let Some(caller) = self.clients.find(&session.caller.client_id).await?.caller() else { return Ok(None) };
            session.caller = caller;
        }
        if now.since(session.seen) >= SEEN {
            let expires = self.expires(session.created, now);
            let mut transaction = self.database.begin().await?;
            sessions::touch(&mut transaction, &session.id, now, expires).await?;
            transaction.commit().await?;
        }
        Ok(Some(session))
    }

    /// The sessions of a client, the newest first.
    pub async fn list(&self, client_id: &str) -> Result<Vec<Session>, DatabaseError> {
        sessions::list(&self.database, client_id, self.clock.now()).await
    }

    /// Ends a session of a client; `false` when it has no such session.
    pub async fn end(&self, client_id: &str, id: &str) -> Result<bool, DatabaseError> {
        let mut transaction = self.database.begin().await?;
        let ended = sessions::remove(&mut transaction, client_id, id).await?;
        transaction.commit().await?;
        Ok(ended)
    }

    /// Ends all sessions of a client but one; how many there were.
    pub async fn end_others(&self, client_id: &str, except: &str) -> Result<u64, DatabaseError> {
        let mut transaction = self.database.begin().await?;
        let ended = sessions::remove_all(&mut transaction, client_id, Some(except)).await?;
        transaction.commit().await?;
        Ok(ended)
    }

    fn expires(&self, created: Timestamp, seen: Timestamp) -> Timestamp {
        seen.plus(self.lifetimes.idle).min(created.plus(self.lifetimes.longest))
    }
}

/// What others say, in a form that can be shown.
fn plain(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(MAX_CHARS).collect()
}

/// A token has 256 random bits: nobody finds it from a digest that is made fast.
fn digest(token: &str) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(token.as_bytes());
    hasher.finish().to_string()
}
