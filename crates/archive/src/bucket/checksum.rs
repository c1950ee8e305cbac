//! What proves that a body arrived as it left.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderMap;

use crate::digest::{Algorithm, Hasher};

/// What is sent along with a body, so that the server refuses one that was altered on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing but what TLS does.
    None,
    /// `Content-MD5`, which every server knows; the `ETag` that is answered is held against it.
    Md5,
    /// `x-amz-checksum-sha256`. It is part of the signature too, so that servers that do not know the header check
    /// it all the same.
    #[default]
    Sha256,
    /// `x-amz-checksum-crc64nvme`, which Amazon's own programs use.
    Crc64Nvme,
}

impl Checksum {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Checksum::None => "none",
            Checksum::Md5 => "md5",
            Checksum::Sha256 => "sha256",
            Checksum::Crc64Nvme => "crc64nvme",
        }
    }

    /// The value of `x-amz-checksum-algorithm` when an upload begins, if the server is to know one.
    pub(super) fn upload_algorithm(self) -> Option<&'static str> {
        match self {
            Checksum::None | Checksum::Md5 => None,
            Checksum::Sha256 => Some("SHA256"),
            Checksum::Crc64Nvme => Some("CRC64NVME"),
        }
    }

    /// The name of the element that repeats a part's checksum when an upload is completed.
    pub(super) fn part_element(self) -> &'static str {
        if self == Checksum::Crc64Nvme { "ChecksumCRC64NVME" } else { "ChecksumSHA256" }
    }

    /// The checksum of a body.
    pub(super) fn of(self, body: &[u8]) -> BodyChecksum {
        let digest = |algorithm| {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(body);
            hasher.finish()
        };
        match self {
            Checksum::None => BodyChecksum::default(),
            Checksum::Md5 => {
                let md5 = digest(Algorithm::Md5);
                let header = ("content-md5", STANDARD.encode(md5.as_bytes()));
                BodyChecksum { header: Some(header), etag: Some(md5.to_string()), ..BodyChecksum::default() }
            }
            Checksum::Sha256 => {
                let sha256 = digest(Algorithm::Sha256);
                let header = ("x-amz-checksum-sha256", STANDARD.encode(sha256.as_bytes()));
                BodyChecksum { header: Some(header), sha256: Some(sha256.as_bytes().to_vec()), etag: None }
            }
            Checksum::Crc64Nvme => {
                let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, body);
                let header = ("x-amz-checksum-crc64nvme", STANDARD.encode(crc.to_be_bytes()));
                BodyChecksum { header: Some(header), ..BodyChecksum::default() }
            }
        }
    }
}

impl FromStr for Checksum {
    type Err = String;

    fn from_str(text: &str) -> Result<Checksum, String> {
        [Checksum::None, Checksum::Md5, Checksum::Sha256, Checksum::Crc64Nvme]
            .into_iter()
            .find(|checksum| checksum.name() == text)
            .ok_or_else(|| format!("{text:?} is not none, md5, sha256 or crc64nvme"))
    }
}

/// The checksum of one body.
#[derive(Clone, Debug, Default)]
pub(super) struct BodyChecksum {
    /// The header that carries it.
    pub(super) header: Option<(&'static str, String)>,
    /// The digest for the signature, when it is the same.
    pub(super) sha256: Option<Vec<u8>>,
    /// The `ETag` that follows from it.
    etag: Option<String>,
}

impl BodyChecksum {
    /// The value of an `x-amz-checksum-...` header.
    pub(super) fn amz_value(&self) -> Option<&str> {
        self.header.as_ref().filter(|(name, _)| name.starts_with("x-amz-")).map(|(_, value)| value.as_str())
    }

    /// Holds what the server answered against what was sent; the text says what differs.
    pub(super) fn compare(&self, answered: &HeaderMap) -> Result<(), String> {
        let text = |name: &str| answered.get(name).and_then(|value| value.to_str().ok());
        if let Some((name, sent)) = self.header.as_ref().filter(|(name, _)| name.starts_with("x-amz-"))
            && let Some(found) = text(name)
            && found != sent
        {
            return Err(format!("the server stored something else: {name} is {found} instead of {sent}"));
        }
        // The ETag of encrypted objects is no digest; those servers say that they encrypt with keys of a service.
        let is_digest = text("x-amz-server-side-encryption").is_none_or(|kind| kind == "AES256");
        if let Some(sent) = self.etag.as_ref().filter(|_| is_digest)
            && let Some(found) = text("etag").map(|etag| etag.trim_matches('"'))
            && found.len() == sent.len()
            && found != sent
        {
            return Err(format!("the server stored something else: its ETag is {found} instead of {sent}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the CRC's definition, and well-known digests of the same bytes.
    #[test]
    fn known_values() {
        let value = |checksum: Checksum| checksum.of(b"123456789").header.map(|(_, value)| value);
        assert_eq!(value(Checksum::Crc64Nvme), Some(STANDARD.encode(0xae8b_1486_0a79_9888_u64.to_be_bytes())));
        assert_eq!(value(Checksum::Md5), Some("JfnnlDI7RTiF9RgfG2JNCw==".to_owned()));
        assert_eq!(value(Checksum::Sha256), Some("FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=".to_owned()));
        assert_eq!(value(Checksum::None), None);
    }
}
