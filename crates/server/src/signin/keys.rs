//! The public keys of an issuer, and which of them may check a token.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// The algorithms that are accepted, whatever a token says: asymmetric ones alone.
const ACCEPTED: [(&str, Algorithm); 4] = [
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("PS256", Algorithm::PS256),
    ("EdDSA", Algorithm::EdDSA),
];

/// More keys than any issuer has.
const MAX_KEYS: usize = 100;

/// The accepted algorithm of that name.
pub(super) fn accepted(name: &str) -> Option<Algorithm> {
    ACCEPTED.iter().find(|(accepted, _)| *accepted == name).map(|(_, algorithm)| *algorithm)
}

/// The keys of an issuer that can check signatures.
#[derive(Clone, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Why no key was selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectError {
    /// No key has this id.
    UnknownKey,
    /// The token names no key, and there are several.
    KeyNotNamed,
    /// The key is not one for the token's algorithm.
    WrongAlgorithm,
}

impl KeySet {
    /// Takes the keys from a JWK set (RFC 7517). Keys of other kinds and for other uses are left out.
    pub fn from_jwks(document: &Value) -> Option<KeySet> {
        let keys = document.get("keys")?.as_array()?;
        let keys = keys.iter().take(MAX_KEYS).filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok());
        Some(KeySet(keys.filter_map(|jwk| Key::from_jwk(&jwk)).collect()))
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key to check a token with that names this key and this algorithm.
    pub fn select(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&DecodingKey, SelectError> {
        let key = match (id, self.0.as_slice()) {
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)).ok_or(SelectError::UnknownKey)?,
            (None, [only]) => only,
            (None, []) => return Err(SelectError::UnknownKey),
            (None, _) => return Err(SelectError::KeyNotNamed),
        };
        if key.algorithms.contains(&algorithm) { Ok(&key.key) } else { Err(SelectError::WrongAlgorithm) }
    }
}

impl Key {
    fn from_jwk(jwk: &Jwk) -> Option<Key> {
        let common = &jwk.common;
        let for_signatures = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let for_checking = common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !for_signatures || !for_checking {
            return None;
        }
        let mut algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => vec![Algorithm::RS256, Algorithm::PS256],
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => vec![Algorithm::ES256],
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
            _ => return None,
        };
        if let Some(declared) = common.key_algorithm {
            algorithms.retain(|algorithm| declared == key_algorithm(*algorithm));
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        (!algorithms.is_empty()).then_some(Key { id: common.key_id.clone(), algorithms, key })
    }
}

fn key_algorithm(algorithm: Algorithm) -> KeyAlgorithm {
    match algorithm {
        Algorithm::RS256 => KeyAlgorithm::RS256,
        Algorithm::PS256 => KeyAlgorithm::PS256,
        Algorithm::ES256 => KeyAlgorithm::ES256,
        Algorithm::EdDSA => KeyAlgorithm::EdDSA,
        _ => KeyAlgorithm::UNKNOWN_ALGORITHM,
    }
}
