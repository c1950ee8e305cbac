//! Tokens whose signatures were found right a moment ago: a client shows the same token with every request, and checking a
//! signature costs more than everything else about it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use dipper_core::Caller;

use super::keys::KeySet;
use super::verifier::TokenError;

/// How many tokens are remembered at the most. When there are more, all are forgotten, and each is checked once more.
const MAX_REMEMBERED: usize = 10_000;

/// When a token may be used, in seconds since 1970, with what clocks may differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Validity {
    /// The first moment.
    pub(super) begins: f64,
    /// The first moment at which it may not be used any more.
    pub(super) expires: f64,
}

impl Validity {
    /// Whether a token may be used at this time.
    pub(super) fn check(self, now: u64) -> Result<(), TokenError> {
        let now = now as f64;
        if self.expires <= now {
            Err(TokenError::Invalid("the token has expired"))
        } else if self.begins > now {
            Err(TokenError::Invalid("the token is not valid yet"))
        } else {
            Ok(())
        }
    }
}

/// Who showed a token, what it was checked with, and when it may be used.
#[derive(Clone)]
pub(super) struct Verified {
    /// Who sent it.
    pub(super) caller: Caller,
    /// The keys of the issuer at that time. A key that the issuer withdraws or replaces makes other keys, so nothing that
    /// was checked with the former is believed.
    pub(super) keys: Arc<KeySet>,
    /// When it may be used.
    pub(super) validity: Validity,
}

/// What is remembered of tokens, by a digest of each: no token is kept.
#[derive(Default)]
pub(super) struct VerifiedTokens(Mutex<HashMap<[u8; 32], Verified>>);

impl VerifiedTokens {
    /// What was found of this token with these very keys.
    pub(super) fn find(&self, token: &str, keys: &Arc<KeySet>) -> Option<Verified> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&tag(token)?).filter(|verified| Arc::ptr_eq(&verified.keys, keys)).cloned()
    }

    /// Remembers a token whose signature and claims were right.
    pub(super) fn remember(&self, token: &str, verified: Verified) {
        let Some(tag) = tag(token) else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(tag, verified);
    }
}

fn tag(token: &str) -> Option<[u8; 32]> {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use dipper_core::Grants;

    use super::*;

    #[test]
    fn a_token_is_known_again_by_the_same_keys_alone() {
        let keys = Arc::new(KeySet::default());
        let known = VerifiedTokens::default();
        let caller = Caller { client_id: "reader".to_owned(), grants: Grants::default(), stored: true };
        let validity = Validity { begins: 10.0, expires: 20.0 };
        known.remember("token", Verified { caller, keys: Arc::clone(&keys), validity });
        assert_eq!(known.find("token", &keys).map(|found| found.caller.client_id).as_deref(), Some("reader"));
        assert!(known.find("tokem", &keys).is_none());
        assert!(known.find("token", &Arc::new(KeySet::default())).is_none(), "other keys");
        for (now, fine) in [(9, false), (10, true), (19, true), (20, false)] {
            assert_eq!(validity.check(now).is_ok(), fine, "{now}");
        }
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let known = VerifiedTokens::default();
        let keys = Arc::new(KeySet::default());
        let validity = Validity { begins: 0.0, expires: 1.0 };
        for number in 0..=MAX_REMEMBERED {
            let caller = Caller { client_id: String::new(), grants: Grants::default(), stored: false };
            known.remember(&number.to_string(), Verified { caller, keys: Arc::clone(&keys), validity });
        }
        assert!(known.find("0", &keys).is_none());
        assert!(known.find(&MAX_REMEMBERED.to_string(), &keys).is_some());
    }
}
