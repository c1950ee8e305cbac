//! Deliveries in a bucket: put there while the package is read (`upload.rs`), fetched by links that the storage takes,
//! and cleared away when nobody needs them any more (`sweep.rs`).

pub mod sweep;
pub(crate) mod upload;

use std::io;
use std::time::Duration;

use dipper_archive::bucket::{Bucket, BucketSettings, ObjectType, SettingsError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::runtime::Handle;

use crate::db::deliveries::{Delivery, DeliveryFile};
use crate::time::Timestamp;

/// What every delivered file is.
pub const CONTENT_TYPE: &str = "application/x-tar";

/// What stands for itself in `filename*` (RFC 8187, `attr-char`).
const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'!');

/// The bucket that deliveries are put into.
#[derive(Clone, Debug)]
pub struct DeliveryStore {
    bucket: Bucket,
    place: String,
}

impl DeliveryStore {
    /// Prepares to speak to the bucket, on the runtime that this is called on.
    pub fn open(settings: BucketSettings) -> Result<DeliveryStore, SettingsError> {
        let bucket = Bucket::open(settings, Handle::current())?;
        let place = bucket.place("");
        Ok(DeliveryStore { bucket, place })
    }

    /// The bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// How the catalogue names the bucket and prefix.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The key of a file of a delivery, if it lies here and has not been deleted.
    pub fn key_of<'a>(&self, delivery: &Delivery, file: &'a DeliveryFile) -> Option<&'a str> {
        let is_here = delivery.store.as_ref() == Some(&self.place) && delivery.removed.is_none();
        file.object_key.as_deref().filter(|_| is_here)
    }

    /// A link that the storage takes until the delivery's links expire; the caller sees that this is not over.
    pub async fn link(&self, expires: Timestamp, now: Timestamp, key: &str, filename: &str) -> io::Result<String> {
        let object_type = object_type(filename);
        let seconds = u64::try_from(expires.unix_seconds() - now.unix_seconds()).unwrap_or_default();
        self.bucket.signed_link(key, Duration::from_secs(seconds), &object_type).await
    }
}

/// The key of a file: no other attempt has the same, so none can overwrite what another has published.
fn object_key(order_id: &str, fence: i64, number: u32, filename: &str) -> String {
    format!("{order_id}/{fence}-{number}/{filename}")
}

/// The order of a key, if it is one that [`object_key`] makes.
fn order_of(key: &str) -> Option<&str> {
    let mut parts = key.splitn(3, '/');
    let (order_id, attempt, filename) = (parts.next()?, parts.next()?, parts.next()?);
    let (fence, number) = attempt.split_once('-')?;
    let is_ours = fence.parse::<i64>().is_ok() && number.parse::<u32>().is_ok() && !filename.contains('/');
    is_ours.then_some(order_id)
}

fn object_type(filename: &str) -> ObjectType {
    ObjectType { content_type: Some(CONTENT_TYPE.to_owned()), content_disposition: Some(content_disposition(filename)) }
}

/// The header that tells under which name a file is saved. RFC 6266: the name twice, for clients that know ASCII alone
/// and for all others.
pub fn content_disposition(filename: &str) -> String {
    let plain = |char: char| if char.is_ascii_graphic() && !"\"\\%".contains(char) || char == ' ' { char } else { '_' };
    let ascii: String = filename.chars().map(plain).collect();
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{}", utf8_percent_encode(filename, ATTRIBUTE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_to_old_clients_and_new_ones() {
        for (name, expected) in [
            ("a.tar", "attachment; filename=\"a.tar\"; filename*=UTF-8''a.tar"),
            ("å \"b\".tar", "attachment; filename=\"_ _b_.tar\"; filename*=UTF-8''%C3%A5%20%22b%22.tar"),
            ("a\r\nb;c", "attachment; filename=\"a__b;c\"; filename*=UTF-8''a%0D%0Ab%3Bc"),
        ] {
            assert_eq!(content_disposition(name), expected);
        }
    }

    #[test]
    fn keys_name_their_order_and_nothing_else_does() {
        assert_eq!(order_of(&object_key("0190-a", 3, 1, "p.tar")), Some("0190-a"));
        for key in ["", "p.tar", "a/p.tar", "a/3/p.tar", "a/3-x/p.tar", "a/3-1/b/p.tar", "a/3-1"] {
            assert_eq!(order_of(key), None, "{key}");
        }
    }
}
