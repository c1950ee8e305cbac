//! The checksums of manifests. Bags know two algorithms that OCFL does not, so they have their own names.

use std::fmt;

use sha2::digest::Digest as _;
use sha2::{Sha224, Sha384};

use crate::digest::{Algorithm, Digest, MultiHasher};

/// An algorithm of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sum {
    /// An algorithm that the rest of this crate knows too: MD5, SHA-1, SHA-256 or SHA-512.
    Known(Algorithm),
    /// SHA-224.
    Sha224,
    /// SHA-384.
    Sha384,
}

impl Sum {
    /// The algorithm of the name that `manifest-NAME.txt` has (RFC 8493 section 2.4).
    pub fn from_name(name: &str) -> Option<Sum> {
        match name {
            "md5" => Some(Sum::Known(Algorithm::Md5)),
            "sha1" => Some(Sum::Known(Algorithm::Sha1)),
            "sha224" => Some(Sum::Sha224),
            "sha256" => Some(Sum::Known(Algorithm::Sha256)),
            "sha384" => Some(Sum::Sha384),
            "sha512" => Some(Sum::Known(Algorithm::Sha512)),
            _ => None,
        }
    }

    pub(super) fn len_bytes(self) -> usize {
        match self {
            Sum::Known(algorithm) => algorithm.len_bytes(),
            Sum::Sha224 => 28,
            Sum::Sha384 => 48,
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sum::Known(algorithm) => algorithm.fmt(formatter),
            Sum::Sha224 => formatter.write_str("sha224"),
            Sum::Sha384 => formatter.write_str("sha384"),
        }
    }
}

/// Several checksums of the same bytes, in one pass.
pub(super) struct Sums {
    known: MultiHasher,
    sha224: Option<Sha224>,
    sha384: Option<Sha384>,
}

impl Sums {
    pub(super) fn new(sums: &[Sum]) -> Sums {
        let known = sums.iter().filter_map(|sum| match sum {
            Sum::Known(algorithm) => Some(*algorithm),
            _ => None,
        });
        Sums {
            known: MultiHasher::new(&known.collect::<Vec<_>>()),
            sha224: sums.contains(&Sum::Sha224).then(Sha224::new),
            sha384: sums.contains(&Sum::Sha384).then(Sha384::new),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.known.update(bytes);
        if let Some(hasher) = &mut self.sha224 {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.sha384 {
            hasher.update(bytes);
        }
    }

    pub(super) fn finish(self) -> Vec<(Sum, Digest)> {
        let known = self.known.finish().into_iter().map(|(algorithm, digest)| (Sum::Known(algorithm), digest));
        let mut values = known.collect::<Vec<_>>();
        let others = [
            (Sum::Sha224, self.sha224.map(|hasher| hex::encode(hasher.finalize()))),
            (Sum::Sha384, self.sha384.map(|hasher| hex::encode(hasher.finalize()))),
        ];
        values.extend(others.into_iter().filter_map(|(sum, text)| Some((sum, text?.parse().ok()?))));
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lengths_and_values() {
        let names = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"];
        let sums = names.map(|name| Sum::from_name(name).expect("known"));
        let mut hasher = Sums::new(&sums);
        hasher.update(b"ab");
        hasher.update(b"c");
        let values = hasher.finish();
        assert_eq!(values.len(), names.len());
        for ((sum, value), name) in values.iter().map(|(sum, value)| (sum, value)).zip(["md5"]) {
            assert_eq!((sum.to_string().as_str(), value.as_bytes().len()), (name, sum.len_bytes()));
        }
        let of = |wanted: Sum| values.iter().find(|(sum, _)| *sum == wanted).map(|(_, value)| value.to_string());
        // FIPS 180-4, examples for "abc".
        assert_eq!(of(Sum::Sha224).as_deref(), Some("23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"));
        assert!(
            of(Sum::Sha384).is_some_and(|text| text.starts_with("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163"))
        );
        assert_eq!(Sum::from_name("SHA256"), None);
        assert_eq!(Sum::from_name("crc32"), None);
    }
}
