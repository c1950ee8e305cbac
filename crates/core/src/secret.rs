//! Secrets: generated, hashed where only their holder needs them, encrypted where Dipper needs them again.

use std::fmt;
use std::io;
use std::path::Path;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use dipper_archive::publish;

/// A text that is never logged: `Debug` hides it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text into care.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text, for where it is really needed.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// Why a secret could not be used. The texts hold nothing secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The system gave no random numbers.
    #[error("the system's random number generator failed")]
    Random,
    /// Hashing failed.
    #[error("the secret could not be hashed: {0}")]
    Hash(String),
    /// The key file is not one.
    #[error("{0} does not hold a key of 32 bytes; restore it from the backup that was made with the database")]
    KeyFile(String),
    /// What was stored was not encrypted with this key.
    #[error("a stored secret cannot be decrypted with the key of this data directory")]
    Decrypt,
    /// The key file could not be read or written.
    #[error("the key file {0}: {1}")]
    Io(String, io::Error),
}

/// `count` random bytes.
pub fn random_bytes(count: usize) -> Result<Vec<u8>, SecretError> {
    let mut bytes = vec![0; count];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SecretError::Random)?;
    Ok(bytes)
}

/// A new client secret: 256 random bits in characters that need no escaping anywhere.
pub fn new_client_secret() -> Result<Secret, SecretError> {
    Ok(Secret::new(BASE64_URL_SAFE_NO_PAD.encode(random_bytes(32)?)))
}

/// A new webhook secret in the form of Standard Webhooks: `whsec_` and 32 random bytes in base 64.
pub fn new_webhook_secret() -> Result<Secret, SecretError> {
    Ok(Secret::new(format!("whsec_{}", BASE64_STANDARD.encode(random_bytes(32)?))))
}

/// Hashes a secret with argon2id. Takes tens of milliseconds on purpose: call it on a thread that may block.
pub fn hash(secret: &Secret) -> Result<String, SecretError> {
    Argon2::default()
        .hash_password(secret.reveal().as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| SecretError::Hash(error.to_string()))
}

/// Whether a secret is the one that was hashed. As slow as [`hash`], whatever the answer.
pub fn verify(secret: &Secret, hash: &str) -> bool {
    Argon2::default().verify_password(secret.reveal().as_bytes(), hash).is_ok()
}

/// The key of a data directory, which encrypts what the database holds of secrets and from which link keys come.
pub struct Key {
    cipher: RandomizedNonceKey,
    link: Vec<u8>,
    audit: Vec<u8>,
    fingerprint: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(…)")
    }
}

impl Key {
    /// Reads the key file, and makes it at the first start. The caller holds the setup lock.
    pub fn load_or_create(path: &Path) -> Result<Key, SecretError> {
        let io_error = |error| SecretError::Io(path.display().to_string(), error);
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let bytes = random_bytes(32)?;
                match publish::write_new_secret(path, &bytes) {
                    Ok(()) => bytes,
                    // Another machine with the same directory of keys was faster.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        std::fs::read(path).map_err(io_error)?
                    }
                    Err(error) => return Err(io_error(error)),
                }
            }
            Err(error) => return Err(io_error(error)),
        };
        if bytes.len() != 32 {
            return Err(SecretError::KeyFile(path.display().to_string()));
        }
        let invalid = |_| SecretError::KeyFile(path.display().to_string());
        let cipher =
            RandomizedNonceKey::new(&AES_256_GCM, &derive(&bytes, b"dipper stored secrets")).map_err(invalid)?;
        let mut fingerprint = hex::encode(derive(&bytes, b"dipper key fingerprint"));
        fingerprint.truncate(32);
        let (link, audit) = (derive(&bytes, b"dipper signed links"), derive(&bytes, b"dipper audit log"));
        Ok(Key { cipher, link, audit, fingerprint })
    }

    /// Encrypts a secret for one owner; decrypting for another fails, so rows cannot be swapped.
    pub fn encrypt(&self, secret: &Secret, owner: &str) -> Result<Vec<u8>, SecretError> {
        let mut bytes = secret.reveal().as_bytes().to_vec();
        let nonce =
            self.cipher.seal_in_place_append_tag(Aad::from(owner), &mut bytes).map_err(|_| SecretError::Random)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend(bytes);
        Ok(sealed)
    }

    /// Decrypts what [`Key::encrypt`] made for the same owner.
    pub fn decrypt(&self, sealed: &[u8], owner: &str) -> Result<Secret, SecretError> {
        let (nonce, bytes) = sealed.split_at_checked(NONCE_LEN).ok_or(SecretError::Decrypt)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SecretError::Decrypt)?;
        let mut bytes = bytes.to_vec();
        let opened =
            self.cipher.open_in_place(nonce, Aad::from(owner), &mut bytes).map_err(|_| SecretError::Decrypt)?;
        String::from_utf8(opened.to_vec()).map(Secret::new).map_err(|_| SecretError::Decrypt)
    }

    /// What tells this key from others, and nothing else about it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The key that seals the ends of the audit log's chains.
    pub fn audit_key(&self) -> &[u8] {
        &self.audit
    }

    /// The key that signs links.
    pub fn link_key(&self) -> &[u8] {
        &self.link
    }
}

/// One key for each purpose, from the one that is stored.
fn derive(key: &[u8], purpose: &[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
    aws_lc_rs::hmac::sign(&key, purpose).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encrypted_secret_opens_for_its_owner_and_key_alone() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let key = Key::load_or_create(&directory.path().join("one"))?;
        let secret = new_webhook_secret()?;
        let sealed = key.encrypt(&secret, "webhook 1")?;
        assert!(!sealed.windows(8).any(|window| secret.reveal().as_bytes().starts_with(window)));
        assert_ne!(sealed, key.encrypt(&secret, "webhook 1")?);
        assert_eq!(key.decrypt(&sealed, "webhook 1")?, secret);
        assert!(key.decrypt(&sealed, "webhook 2").is_err());
        assert!(key.decrypt(&sealed[1..], "webhook 1").is_err());
        assert!(key.decrypt(&[], "webhook 1").is_err());
        let again = Key::load_or_create(&directory.path().join("one"))?;
        assert_eq!(again.decrypt(&sealed, "webhook 1")?, secret);
        assert_eq!(again.link_key(), key.link_key());
        let other = Key::load_or_create(&directory.path().join("other"))?;
        assert!(other.decrypt(&sealed, "webhook 1").is_err());
        assert_ne!(other.link_key(), key.link_key());
        assert_eq!((again.fingerprint(), key.fingerprint().len()), (key.fingerprint(), 32));
        assert_ne!(other.fingerprint(), key.fingerprint());
        Ok(())
    }

    #[test]
    fn a_hashed_secret_is_known_again() -> Result<(), SecretError> {
        let secret = new_client_secret()?;
        let hashed = hash(&secret)?;
        assert!(hashed.starts_with("$argon2id$"));
        assert!(verify(&secret, &hashed));
        assert!(!verify(&new_client_secret()?, &hashed));
        assert!(!verify(&secret, "not a hash"));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        Ok(())
    }
}
