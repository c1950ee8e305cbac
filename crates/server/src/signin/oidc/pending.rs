//! A sign-in that was begun: what has to be known when the browser comes back. The browser itself keeps it, sealed, so that
//! nothing is stored for those who never come back, and any process can finish what another one began.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use dipper_core::secret::{Key, Secret, SecretError, random_bytes};
use serde::{Deserialize, Serialize};

/// How long a person may take to sign in at the issuer.
pub const SECONDS: u64 = 600;
/// What the seal is bound to.
const PURPOSE: &str = "a sign-in at an issuer";

/// What has to be known when the browser comes back.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Pending {
    /// What the issuer sends back, which nobody else knows.
    pub(super) state: String,
    /// What stands in the ID token that is made for this sign-in.
    pub(super) nonce: String,
    /// What proves to the issuer that who exchanges the code is who asked for it (RFC 7636).
    pub(super) verifier: String,
    /// Where the person wanted to go.
    pub(super) return_to: String,
    expires: u64,
}

impl Pending {
    /// A sign-in that begins now.
    pub(super) fn new(return_to: &str, now: u64) -> Result<Pending, SecretError> {
        let random = || Ok::<_, SecretError>(BASE64_URL_SAFE_NO_PAD.encode(random_bytes(32)?));
        Ok(Pending {
            state: random()?,
            nonce: random()?,
            verifier: random()?,
            return_to: return_to.to_owned(),
            expires: now + SECONDS,
        })
    }

    /// As it is given to the browser.
    pub(super) fn seal(&self, key: &Key) -> anyhow::Result<String> {
        let text = Secret::new(serde_json::to_string(self)?);
        Ok(BASE64_URL_SAFE_NO_PAD.encode(key.encrypt(&text, PURPOSE)?))
    }

    /// As the browser brings it back, unless it is something else, or too old.
    pub(super) fn open(sealed: &str, key: &Key, now: u64) -> Option<Pending> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let text = key.decrypt(&sealed, PURPOSE).ok()?;
        let pending: Pending = serde_json::from_str(text.reveal()).ok()?;
        (now < pending.expires).then_some(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_known_again_for_a_while_and_under_its_key_alone() {
        let directory = std::env::temp_dir().join(format!("dipper-pending-{}", uuid::Uuid::now_v7()));
        dipper_archive::publish::create_directories(&directory).expect("made");
        let key = Key::load_or_create(&directory.join("one")).expect("a key");
        let other = Key::load_or_create(&directory.join("other")).expect("a key");
        let begun = Pending::new("/packages", 1000).expect("begun");
        let sealed = begun.seal(&key).expect("sealed");
        assert!(!sealed.contains(&begun.state));
        let opened = Pending::open(&sealed, &key, 1000 + SECONDS - 1).expect("opened");
        assert_eq!((opened.state, opened.return_to), (begun.state, "/packages".to_owned()));
        assert!(Pending::open(&sealed, &key, 1000 + SECONDS).is_none(), "too old");
        assert!(Pending::open(&sealed, &other, 1000).is_none(), "another key");
        assert!(Pending::open(&sealed[1..], &key, 1000).is_none(), "altered");
        let again = Pending::new("/packages", 1000).expect("begun");
        assert!(again.state != again.nonce && again.nonce != again.verifier && again.state != opened.nonce);
        dipper_archive::publish::remove_tree(&directory).expect("removed");
    }
}
