//! Digests: the algorithms that OCFL and BagIt name, their values, and hashers that can be stopped and resumed.

use std::fmt;
use std::str::FromStr;

use ::digest::Digest as _;
use ::digest::Output;
use ::digest::common::hazmat::{SerializableState, SerializedState};
use blake2::{Blake2b, Blake2b512};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha512, Sha512_256};

type Blake2b160 = Blake2b<::digest::consts::U20>;
type Blake2b256 = Blake2b<::digest::consts::U32>;
type Blake2b384 = Blake2b<::digest::consts::U48>;

/// A digest algorithm, as named by OCFL 1.1 section 3.3 and the digest algorithms extension 0009.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// MD5, for fixity blocks, old bags and the checksums that contracts ask for. Never a content digest.
    Md5,
    /// SHA-1, for fixity blocks and old bags only.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512, the content digest of every object that Dipper writes.
    Sha512,
    /// SHA-512/256.
    Sha512_256,
    /// BLAKE2b with 160 bits.
    Blake2b160,
    /// BLAKE2b with 256 bits.
    Blake2b256,
    /// BLAKE2b with 384 bits.
    Blake2b384,
    /// BLAKE2b with 512 bits.
    Blake2b512,
}

impl Algorithm {
    /// Every algorithm, in the order of the enumeration.
    pub const ALL: [Algorithm; 9] = [
        Algorithm::Md5,
        Algorithm::Sha1,
        Algorithm::Sha256,
        Algorithm::Sha512,
        Algorithm::Sha512_256,
        Algorithm::Blake2b160,
        Algorithm::Blake2b256,
        Algorithm::Blake2b384,
        Algorithm::Blake2b512,
    ];

    /// The name in an OCFL inventory.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "md5",
            Algorithm::Sha1 => "sha1",
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
            Algorithm::Sha512_256 => "sha512/256",
            Algorithm::Blake2b160 => "blake2b-160",
            Algorithm::Blake2b256 => "blake2b-256",
            Algorithm::Blake2b384 => "blake2b-384",
            Algorithm::Blake2b512 => "blake2b-512",
        }
    }

    /// The algorithm of an OCFL name, if it is one that this crate computes.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The length of a value in bytes.
    pub fn len_bytes(self) -> usize {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha1 | Algorithm::Blake2b160 => 20,
            Algorithm::Sha256 | Algorithm::Sha512_256 | Algorithm::Blake2b256 => 32,
            Algorithm::Blake2b384 => 48,
            Algorithm::Sha512 | Algorithm::Blake2b512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A digest value: at most 64 bytes, shown in lower-case hexadecimal. Values compare as bytes, so the case in
/// which an inventory or manifest wrote them does not matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    len: u8,
    bytes: [u8; 64],
}

/// Why a text is not a digest value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not an even number of hexadecimal characters, or more than 128 of them.
    #[error("a digest is written in 2 to 128 hexadecimal characters")]
    NotHexadecimal,
    /// The length is not that of the algorithm.
    #[error("a {algorithm} digest has {expected} hexadecimal characters, not {found}")]
    WrongLength {
        /// The algorithm that was expected.
        algorithm: Algorithm,
        /// Its number of hexadecimal characters.
        expected: usize,
        /// The number of characters that were given.
        found: usize,
    },
}

impl Digest {
    /// A value of no bytes, which no algorithm gives.
    pub(crate) const EMPTY: Digest = Digest { len: 0, bytes: [0; 64] };

    /// Reads a value of `algorithm` from hexadecimal text in either case.
    pub fn parse(algorithm: Algorithm, text: &str) -> Result<Digest, DigestError> {
        let digest = text.parse::<Digest>()?;
        if digest.as_bytes().len() == algorithm.len_bytes() {
            Ok(digest)
        } else {
            Err(DigestError::WrongLength { algorithm, expected: algorithm.len_bytes() * 2, found: text.len() })
        }
    }

    /// The value of these bytes; `None` when they are more than any algorithm gives.
    pub(crate) fn from_bytes(value: &[u8]) -> Option<Digest> {
        let mut bytes = [0; 64];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(Digest { len: value.len() as u8, bytes })
    }

    /// The bytes of the value.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }

    fn from_output<A: ::digest::OutputSizeUser>(output: &Output<A>) -> Digest {
        let mut bytes = [0; 64];
        let mut len = 0_u8;
        for (to, from) in bytes.iter_mut().zip(output.iter()) {
            *to = *from;
            len += 1;
        }
        Digest { len, bytes }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let len = text.len() / 2;
        let mut bytes = [0; 64];
        let room = bytes.get_mut(..len).filter(|_| len > 0).ok_or(DigestError::NotHexadecimal)?;
        hex::decode_to_slice(text, room).map_err(|_| DigestError::NotHexadecimal)?;
        Ok(Digest { len: len as u8, bytes })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 128];
        let text = text.get_mut(..usize::from(self.len) * 2).ok_or(fmt::Error)?;
        hex::encode_to_slice(self.as_bytes(), text).map_err(|_| fmt::Error)?;
        formatter.write_str(std::str::from_utf8(text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({self})")
    }
}

/// A running digest.
#[derive(Clone)]
pub struct Hasher {
    state: State,
}

#[derive(Clone)]
enum State {
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Sha512),
    Sha512_256(Sha512_256),
    Blake2b160(Blake2b160),
    Blake2b256(Blake2b256),
    Blake2b384(Blake2b384),
    Blake2b512(Blake2b512),
}

/// Calls one expression on whichever concrete hasher the state holds.
macro_rules! each {
    ($state:expr, $hasher:ident => $body:expr) => {
        match $state {
            State::Md5($hasher) => $body,
            State::Sha1($hasher) => $body,
            State::Sha256($hasher) => $body,
            State::Sha512($hasher) => $body,
            State::Sha512_256($hasher) => $body,
            State::Blake2b160($hasher) => $body,
            State::Blake2b256($hasher) => $body,
            State::Blake2b384($hasher) => $body,
            State::Blake2b512($hasher) => $body,
        }
    };
}

impl Hasher {
    /// A hasher that has read nothing yet.
    pub fn new(algorithm: Algorithm) -> Hasher {
        let state = match algorithm {
            Algorithm::Md5 => State::Md5(Md5::new()),
            Algorithm::Sha1 => State::Sha1(Sha1::new()),
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
            Algorithm::Sha512_256 => State::Sha512_256(Sha512_256::new()),
            Algorithm::Blake2b160 => State::Blake2b160(Blake2b160::new()),
            Algorithm::Blake2b256 => State::Blake2b256(Blake2b256::new()),
            Algorithm::Blake2b384 => State::Blake2b384(Blake2b384::new()),
            Algorithm::Blake2b512 => State::Blake2b512(Blake2b512::new()),
        };
        Hasher { state }
    }

    /// The algorithm that it computes.
    pub fn algorithm(&self) -> Algorithm {
        match self.state {
            State::Md5(_) => Algorithm::Md5,
            State::Sha1(_) => Algorithm::Sha1,
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
            State::Sha512_256(_) => Algorithm::Sha512_256,
            State::Blake2b160(_) => Algorithm::Blake2b160,
            State::Blake2b256(_) => Algorithm::Blake2b256,
            State::Blake2b384(_) => Algorithm::Blake2b384,
            State::Blake2b512(_) => Algorithm::Blake2b512,
        }
    }

    /// Reads the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        each!(&mut self.state, hasher => hasher.update(bytes));
    }

    /// The value over everything that was read.
    pub fn finish(self) -> Digest {
        match self.state {
            State::Md5(hasher) => Digest::from_output::<Md5>(&hasher.finalize()),
            State::Sha1(hasher) => Digest::from_output::<Sha1>(&hasher.finalize()),
            State::Sha256(hasher) => Digest::from_output::<Sha256>(&hasher.finalize()),
            State::Sha512(hasher) => Digest::from_output::<Sha512>(&hasher.finalize()),
            State::Sha512_256(hasher) => Digest::from_output::<Sha512_256>(&hasher.finalize()),
            State::Blake2b160(hasher) => Digest::from_output::<Blake2b160>(&hasher.finalize()),
            State::Blake2b256(hasher) => Digest::from_output::<Blake2b256>(&hasher.finalize()),
            State::Blake2b384(hasher) => Digest::from_output::<Blake2b384>(&hasher.finalize()),
            State::Blake2b512(hasher) => Digest::from_output::<Blake2b512>(&hasher.finalize()),
        }
    }

    /// The inner state, from which [`Hasher::resume`] goes on. `None` for the algorithms of fixity blocks only
    /// (BLAKE2b), whose state cannot be taken out.
    pub fn save(&self) -> Option<Vec<u8>> {
        match &self.state {
            State::Md5(hasher) => Some(hasher.serialize().to_vec()),
            State::Sha1(hasher) => Some(hasher.serialize().to_vec()),
            State::Sha256(hasher) => Some(hasher.serialize().to_vec()),
            State::Sha512(hasher) => Some(hasher.serialize().to_vec()),
            State::Sha512_256(hasher) => Some(hasher.serialize().to_vec()),
            _ => None,
        }
    }

    /// A hasher that goes on where [`Hasher::save`] was called; `None` when `saved` is not such a state.
    pub fn resume(algorithm: Algorithm, saved: &[u8]) -> Option<Hasher> {
        let state = match algorithm {
            Algorithm::Md5 => State::Md5(restore(saved)?),
            Algorithm::Sha1 => State::Sha1(restore(saved)?),
            Algorithm::Sha256 => State::Sha256(restore(saved)?),
            Algorithm::Sha512 => State::Sha512(restore(saved)?),
            Algorithm::Sha512_256 => State::Sha512_256(restore(saved)?),
            _ => return None,
        };
        Some(Hasher { state })
    }
}

fn restore<H: SerializableState>(saved: &[u8]) -> Option<H> {
    let state = SerializedState::<H>::try_from(saved).ok()?;
    H::deserialize(&state).ok()
}

/// Several digests of the same bytes, in one pass.
#[derive(Clone)]
pub struct MultiHasher {
    hashers: Vec<Hasher>,
}

impl MultiHasher {
    /// One hasher for each algorithm; an algorithm named twice counts once.
    pub fn new(algorithms: &[Algorithm]) -> MultiHasher {
        let mut algorithms = algorithms.to_vec();
        algorithms.sort_unstable();
        algorithms.dedup();
        MultiHasher { hashers: algorithms.into_iter().map(Hasher::new).collect() }
    }

    /// Reads the next bytes, a cache-sized piece at a time, so that every hasher finds them in the cache.
    pub fn update(&mut self, bytes: &[u8]) {
        const PIECE_BYTES: usize = 64 * 1024;
        for piece in bytes.chunks(PIECE_BYTES) {
            for hasher in &mut self.hashers {
                hasher.update(piece);
            }
        }
    }

    /// The values, in the order of [`Algorithm::ALL`].
    pub fn finish(self) -> Vec<(Algorithm, Digest)> {
        self.hashers.into_iter().map(|hasher| (hasher.algorithm(), hasher.finish())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The values of the empty message, from the algorithms' own publications (RFC 1321, FIPS 180-4, RFC 7693).
    #[test]
    fn empty_message() {
        let table = [
            (Algorithm::Md5, "d41d8cd98f00b204e9800998ecf8427e"),
            (Algorithm::Sha1, "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (Algorithm::Sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (
                Algorithm::Sha512,
                "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                 47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
            ),
            (Algorithm::Sha512_256, "c672b8d1ef56ed28ab87c3622c5114069bdd3ad7b8f9737498d0c01ecef0967a"),
            (
                Algorithm::Blake2b512,
                "786a02f742015903c6c6fd852552d272912f4740e15847618a86e217f71f5419\
                 d25e1031afee585313896444934eb04b903a685b1448b755d56f701afe9be2ce",
            ),
        ];
        for (algorithm, expected) in table {
            assert_eq!(Hasher::new(algorithm).finish().to_string(), expected, "{algorithm}");
        }
    }

    #[test]
    fn names_and_lengths_agree() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
            assert_eq!(Hasher::new(algorithm).finish().as_bytes().len(), algorithm.len_bytes());
        }
        assert_eq!(Algorithm::from_name("SHA512"), None);
    }

    #[test]
    fn values_are_read_in_either_case_and_refused_when_malformed() {
        let lower = "d41d8cd98f00b204e9800998ecf8427e";
        let digest = Digest::parse(Algorithm::Md5, &lower.to_uppercase());
        assert_eq!(digest.map(|digest| digest.to_string()), Ok(lower.to_owned()));
        assert!(matches!(
            Digest::parse(Algorithm::Sha256, lower),
            Err(DigestError::WrongLength { expected: 64, found: 32, .. })
        ));
        for text in ["", "0", "zz", "d41d8cd98f00b204e9800998ecf8427", &"00".repeat(65)] {
            assert_eq!(text.parse::<Digest>(), Err(DigestError::NotHexadecimal), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_saved_hasher_goes_on_where_it_stopped(
            bytes in proptest::collection::vec(any::<u8>(), 0..1000),
            cut in 0_usize..1000,
            algorithm in proptest::sample::select(&Algorithm::ALL),
        ) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut whole = Hasher::new(algorithm);
            whole.update(&bytes);
            let mut first = Hasher::new(algorithm);
            first.update(head);
            if let Some(saved) = first.save() {
                let resumed = Hasher::resume(algorithm, &saved);
                prop_assert!(resumed.is_some());
                let digest = resumed.map(|mut hasher| { hasher.update(tail); hasher.finish() });
                prop_assert_eq!(digest, Some(whole.finish()));
                prop_assert!(Hasher::resume(algorithm, &saved[1..]).is_none());
            }
        }

        #[test]
        fn one_pass_gives_what_single_passes_give(
            bytes in proptest::collection::vec(any::<u8>(), 0..70_000),
        ) {
            let mut many = MultiHasher::new(&Algorithm::ALL);
            many.update(&bytes);
            for (algorithm, digest) in many.finish() {
                let mut one = Hasher::new(algorithm);
                one.update(&bytes);
                prop_assert_eq!(one.finish(), digest);
            }
        }
    }
}
