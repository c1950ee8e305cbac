//! How many connections and sessions there may be, and how few of them one stranger or one client may take.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::http::limit::Counted;

/// Connections on which nobody has signed in yet, in all and from one address. Strangers can hold no more than these.
const LOGINS: usize = 256;
const LOGINS_OF_ADDRESS: usize = 64;

/// Counts what is in use, in all and by whom.
#[derive(Debug)]
struct Counts<K> {
    most: usize,
    most_of_one: usize,
    used: Mutex<HashMap<K, usize>>,
}

impl<K: Eq + Hash + Clone> Counts<K> {
    fn new(most: usize, most_of_one: usize) -> Arc<Counts<K>> {
        Arc::new(Counts { most, most_of_one, used: Mutex::default() })
    }

    /// One more for somebody, until it is dropped; or which limit is reached.
    fn take(self: &Arc<Counts<K>>, key: K) -> Result<Taken<K>, &'static str> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.values().sum::<usize>() >= self.most {
            return Err("of all");
        }
        let own = used.entry(key.clone()).or_insert(0);
        if *own >= self.most_of_one {
            return Err("of one");
        }
        *own += 1;
        Ok(Taken { counts: self.clone(), key })
    }
}

#[derive(Debug)]
struct Taken<K: Eq + Hash + Clone> {
    counts: Arc<Counts<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Drop for Taken<K> {
    fn drop(&mut self) {
        let mut used = self.counts.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = used.get_mut(&self.key) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                used.remove(&self.key);
            }
        }
    }
}

/// The limits of a process.
#[derive(Debug)]
pub(super) struct Limits {
    logins: Arc<Counts<Counted>>,
    sessions: Arc<Counts<String>>,
}

/// A connection on which somebody may sign in.
#[derive(Debug)]
pub(super) struct LoginPlace {
    _taken: Taken<Counted>,
}

/// A session of a client.
#[derive(Debug)]
pub(super) struct SessionPlace {
    _taken: Taken<String>,
    _running: crate::metrics::Running,
}

impl Limits {
    pub(super) fn new(sessions: usize, sessions_per_client: usize) -> Limits {
        Limits { logins: Counts::new(LOGINS, LOGINS_OF_ADDRESS), sessions: Counts::new(sessions, sessions_per_client) }
    }

    /// A place for a connection from that address until somebody has signed in on it.
    pub(super) fn login(&self, address: IpAddr) -> Result<LoginPlace, &'static str> {
        Ok(LoginPlace { _taken: self.logins.take(Counted::address(address))? })
    }

    /// A place for a session of that client.
    pub(super) fn session(&self, client_id: &str) -> Result<SessionPlace, &'static str> {
        let taken = self.sessions.take(client_id.to_owned())?;
        Ok(SessionPlace { _taken: taken, _running: crate::metrics::sftp_session() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_one_and_for_all_and_come_back() {
        let counts = Counts::new(3, 2);
        let one = [counts.take("one"), counts.take("one")];
        assert_eq!(counts.take("one").err(), Some("of one"));
        let two = counts.take("two");
        assert!(two.is_ok() && one.iter().all(Result::is_ok));
        assert_eq!(counts.take("three").err(), Some("of all"));
        drop(one);
        assert!(counts.take("three").is_ok());
        drop(two);
        assert!(counts.used.lock().expect("unpoisoned").is_empty());
    }
}
