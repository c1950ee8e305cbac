//! The keys that tokens are signed with: one file each, the newest signs, all check.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::signin::keys::KeySet;

/// Key files are `token-{uuid}.pem`. The uuid is of version 7, so that names sort by age.
const PREFIX: &str = "token-";
const SUFFIX: &str = ".pem";

/// The keys of a directory.
pub(super) struct SigningKeys {
    newest: Option<(String, EncodingKey)>,
    public: Arc<KeySet>,
    jwks: Value,
}

/// Makes a key and puts it into the directory. From then on it signs; the older ones still check. To rotate: add a
/// key, and remove the old file once its last token has expired.
pub fn add_key(directory: &Path) -> anyhow::Result<()> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).context("no key could be made")?;
    let der = pair.to_pkcs8v1().context("no key could be made")?;
    let encoded = BASE64_STANDARD.encode(der.as_ref());
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    for line in encoded.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    dipper_archive::publish::create_directories(directory)
        .with_context(|| format!("the key directory {} cannot be made", directory.display()))?;
    let path = directory.join(format!("{PREFIX}{}{SUFFIX}", uuid::Uuid::now_v7()));
    dipper_archive::publish::write_new_secret(&path, pem.as_bytes())
        .with_context(|| format!("the key {} cannot be written", path.display()))
}

impl SigningKeys {
    pub(super) fn load(directory: &Path) -> anyhow::Result<SigningKeys> {
        let mut names = Vec::new();
        match std::fs::read_dir(directory) {
            Ok(entries) => {
                for entry in entries {
                    let entry = entry.with_context(|| format!("{} cannot be read", directory.display()))?;
                    names.extend(entry.file_name().into_string().ok());
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", directory.display())),
        }
        names.retain(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        names.sort_unstable();
        let mut newest = None;
        let mut published = Vec::new();
        for name in names {
            let path = directory.join(&name);
            let read = || -> anyhow::Result<_> {
                let key = EncodingKey::from_ec_pem(&std::fs::read(&path)?)?;
                let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
                let id = jwk.thumbprint(ThumbprintHash::SHA256)?;
                jwk.common.key_id = Some(id.clone());
                jwk.common.public_key_use = Some(PublicKeyUse::Signature);
                Ok((id, key, serde_json::to_value(jwk)?))
            };
            let (id, key, jwk) = read().with_context(|| format!("{} is not an EC P-256 key", path.display()))?;
            published.push(jwk);
            newest = Some((id, key));
        }
        let jwks = json!({ "keys": published });
        let public = Arc::new(KeySet::from_jwks(&jwks).unwrap_or_default());
        Ok(SigningKeys { newest, public, jwks })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    pub(super) fn public_keys(&self) -> Arc<KeySet> {
        self.public.clone()
    }

    pub(super) fn jwks(&self) -> &Value {
        &self.jwks
    }

    pub(super) fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        let (id, key) = self.newest.as_ref().context("there is no key to sign tokens with")?;
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(id.clone());
        Ok(jsonwebtoken::encode(&header, claims, key)?)
    }
}
