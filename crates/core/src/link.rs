//! Signed links: whoever has one may fetch one file of a delivery until it expires, with no other credentials.

use std::io;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use url::Url;

use crate::db::deliveries::{Delivery, DeliveryFile};
use crate::secret::Key;
use crate::store::DeliveryStore;
use crate::time::Timestamp;

/// The path under which delivered files are served.
pub const LINK_PATH: &str = "deliveries";

/// Makes and checks links.
#[derive(Clone, Debug)]
pub struct Links {
    key: hmac::Key,
    base: Url,
    store: Option<DeliveryStore>,
}

/// What a link says, before it is known whether Dipper said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkClaim {
    /// The delivery.
    pub delivery_id: String,
    /// The number of the file in it.
    pub number: u32,
    /// When the link expires, in seconds since 1970.
    pub expires: i64,
    /// The signature over the three, in base 64.
    pub signature: String,
}

impl Links {
    /// Links that begin with `base`, the address at which clients reach this server.
    pub fn new(key: &Key, base: Url) -> Links {
        Links { key: hmac::Key::new(hmac::HMAC_SHA256, key.link_key()), base, store: None }
    }

    /// The same, but links to files that lie in this store lead there at once.
    #[must_use]
    pub fn direct(self, store: Option<DeliveryStore>) -> Links {
        Links { store, ..self }
    }

    /// A link for each file of a delivery, which works as long as the delivery's newest links do.
    pub async fn of(&self, delivery: &Delivery, now: Timestamp) -> io::Result<Vec<String>> {
        let mut links = Vec::with_capacity(delivery.files.len());
        for file in &delivery.files {
            let stored = self.store.as_ref().and_then(|store| Some((store, store.key_of(delivery, file)?)));
            links.push(match stored {
                // What has expired leads to Dipper, which says so.
                Some((store, key)) if delivery.expires > now => {
                    store.link(delivery.expires, now, key, &file.filename).await?
                }
                _ => self.url(delivery, file),
            });
        }
        Ok(links)
    }

    /// Dipper's own link to one file. The same delivery gives the same link every time.
    pub fn url(&self, delivery: &Delivery, file: &DeliveryFile) -> String {
        let expires = delivery.expires.unix_seconds();
        let signature = hmac::sign(&self.key, &message(&delivery.id, file.number, expires));
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend([LINK_PATH, &delivery.id, &file.number.to_string(), &file.filename]);
        }
        url.query_pairs_mut()
            .append_pair("expires", &expires.to_string())
            .append_pair("signature", &BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()));
        url.into()
    }

    /// Whether Dipper made this link; compared in constant time.
    pub fn is_genuine(&self, claim: &LinkClaim) -> bool {
        let Ok(signature) = BASE64_URL_SAFE_NO_PAD.decode(&claim.signature) else {
            return false;
        };
        let message = message(&claim.delivery_id, claim.number, claim.expires);
        hmac::verify(&self.key, &message, &signature).is_ok()
    }
}

impl LinkClaim {
    /// Whether the link has expired.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now.unix_seconds() >= self.expires
    }
}

fn message(delivery_id: &str, number: u32, expires: i64) -> Vec<u8> {
    format!("{delivery_id}\n{number}\n{expires}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dipper_archive::digest::{Algorithm, Hasher};

    #[test]
    fn a_link_is_genuine_until_any_part_of_it_is_changed() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let key = Key::load_or_create(&directory.path().join("key"))?;
        let links = Links::new(&key, Url::parse("https://archive.example.org/dipper/")?);
        let file = DeliveryFile {
            number: 1,
            part: String::new(),
            filename: "a b/ø?.tar".to_owned(),
            size_bytes: 0,
            algorithm: Algorithm::Md5,
            checksum: Hasher::new(Algorithm::Md5).finish(),
            layout_format: 1,
            object_key: None,
        };
        let delivery = Delivery {
            id: "0A".to_owned(),
            order_id: "1B".to_owned(),
            created: Timestamp(0),
            expires: Timestamp(60_000_000),
            kept_until: Timestamp(60_000_000),
            released: None,
            store: None,
            removed: None,
            files: vec![file.clone()],
        };
        let url = Url::parse(&links.url(&delivery, &file))?;
        assert_eq!(url.path(), "/dipper/deliveries/0A/1/a%20b%2F%C3%B8%3F.tar");
        let signature = url.query_pairs().find(|(name, _)| name == "signature").map(|(_, value)| value.into_owned());
        let claim = LinkClaim {
            delivery_id: "0A".to_owned(),
            number: 1,
            expires: 60,
            signature: signature.ok_or("the link has no signature")?,
        };
        assert!(links.is_genuine(&claim));
        assert!(!claim.has_expired(Timestamp(59_999_999)) && claim.has_expired(Timestamp(60_000_000)));
        let changes: [fn(&mut LinkClaim); 5] = [
            |claim| claim.delivery_id = "0B".to_owned(),
            |claim| claim.number = 2,
            |claim| claim.expires += 1,
            |claim| claim.signature.clear(),
            |claim| claim.signature.insert(0, 'A'),
        ];
        for change in changes {
            let mut changed = claim.clone();
            change(&mut changed);
            assert!(!links.is_genuine(&changed), "{changed:?}");
        }
        Ok(())
    }
}
