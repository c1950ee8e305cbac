//! Types of checksums by the names that partners use for them.

use dipper_archive::digest::{Algorithm, Digest};

use super::input::Parameters;
use super::refusal::Refusal;

/// The types that are known.
pub const NAMES: [&str; 3] = ["MD5", "SHA-256", "SHA-512"];
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512];

/// The algorithm of a name, whatever the case of its letters.
pub fn algorithm(name: &str) -> Option<Algorithm> {
    let known = NAMES.into_iter().zip(ALGORITHMS).find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, algorithm)| algorithm)
}

/// The name of an algorithm, if partners have one for it.
pub fn name(algorithm: Algorithm) -> Option<&'static str> {
    let known = NAMES.into_iter().zip(ALGORITHMS).find(|(_, known)| *known == algorithm);
    known.map(|(name, _)| name)
}

/// The algorithm that the parameter `checksum-type` names, if it is given.
pub fn asked(parameters: &Parameters) -> Result<Option<Algorithm>, Refusal> {
    let Some(given) = parameters.one("checksum-type")? else { return Ok(None) };
    let unknown = || {
        let message = format!("the parameter `checksum-type` must be one of {}, not {given:?}", NAMES.join(", "));
        Refusal::bad_request(message)
    };
    algorithm(given).map(Some).ok_or_else(unknown)
}

/// Reads a checksum of that type, or says what is wrong with it.
pub fn parse(algorithm: Algorithm, text: &str) -> Result<Digest, String> {
    let name = name(algorithm).unwrap_or_default();
    Digest::parse(algorithm, text).map_err(|_| {
        format!("{text:?} is not a {name} checksum: write {} hexadecimal characters", algorithm.len_bytes() * 2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_their_names() {
        for known in NAMES {
            assert_eq!(algorithm(known).and_then(name), Some(known));
            assert_eq!(algorithm(&known.to_lowercase()), algorithm(known));
        }
        assert_eq!((algorithm("SHA-1"), name(Algorithm::Sha1)), (None, None));
        let asked = |query: &[u8]| asked(&Parameters::parse(query)).map_err(|refusal| refusal.message);
        assert_eq!(asked(b"checksum-type=SHA-256"), Ok(Some(Algorithm::Sha256)));
        assert_eq!(asked(b"checksum-type="), Ok(None));
        assert!(asked(b"checksum-type=CRC").expect_err("unknown").contains("MD5, SHA-256, SHA-512, not \"CRC\""));
        assert!(parse(Algorithm::Md5, "d41d8cd98f00b204e9800998ecf8427E").is_ok());
        for wrong in ["", "d41d", "z41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e00"] {
            assert!(parse(Algorithm::Md5, wrong).expect_err(wrong).contains("write 32 hexadecimal"), "{wrong}");
        }
    }
}
