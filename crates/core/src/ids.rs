//! Identifiers: time-ordered random ones for what Dipper creates, derived ones for packages.

use dipper_archive::digest::{Algorithm, Hasher};
use uuid::Uuid;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The number of characters of an identifier from [`new_id`]: 62^22 > 2^128.
pub const ID_CHARACTERS: usize = 22;

/// A new identifier: a version 7 UUID (RFC 9562) in 22 base-62 characters. The width is fixed and the alphabet in
/// ASCII order, so that identifiers sort by the time at which they were made.
pub fn new_id() -> String {
    encode(Uuid::now_v7().as_u128())
}

/// Whether a text has the form of an identifier from [`new_id`].
pub fn is_id(text: &str) -> bool {
    text.len() == ID_CHARACTERS && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The number that an identifier from [`new_id`] stands for.
pub fn to_number(id: &str) -> Option<u128> {
    if id.len() != ID_CHARACTERS {
        return None;
    }
    id.bytes().try_fold(0_u128, |number, byte| {
        let digit = ALPHABET.iter().position(|known| *known == byte)?;
        number.checked_mul(62)?.checked_add(digit as u128)
    })
}

/// The identifier of an order's trace: the order's own, as 32 hexadecimal digits.
pub fn trace_id(order_id: &str) -> String {
    format!("{:032x}", to_number(order_id).unwrap_or_default())
}

fn encode(mut number: u128) -> String {
    let mut characters = [b'0'; ID_CHARACTERS];
    for character in characters.iter_mut().rev() {
        let digit = usize::try_from(number % 62).unwrap_or_default();
        *character = ALPHABET.get(digit).copied().unwrap_or(b'0');
        number /= 62;
    }
    characters.iter().map(|byte| char::from(*byte)).collect()
}

/// The identifier of the package that an OCFL object holds: 24 hexadecimal characters derived from the object's
/// own identifier, so that a catalogue that is rebuilt from the storage root gives out the same ones.
pub fn package_id(ocfl_id: &str) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(b"dipper package\0");
    hasher.update(ocfl_id.as_bytes());
    let mut id = hasher.finish().to_string();
    id.truncate(24);
    id
}

/// The OCFL identifier of a package that Dipper ingests: a URI that names the contract and the object, so that the
/// storage root alone tells whose it is.
pub fn ocfl_id(contract_id: &str, object_id: &str) -> String {
    format!("{OCFL_ID_PREFIX}{}:{}", escape(contract_id), escape(object_id))
}

/// The contract and object that an OCFL identifier names, if it is one of [`ocfl_id`].
pub fn from_ocfl_id(ocfl_id: &str) -> Option<(String, String)> {
    let (contract_id, object_id) = ocfl_id.strip_prefix(OCFL_ID_PREFIX)?.split_once(':')?;
    Some((unescape(contract_id)?, unescape(object_id)?)).filter(|(contract_id, object_id)| {
        // Two spellings of one object would be two packages.
        self::ocfl_id(contract_id, object_id) == ocfl_id
    })
}

const OCFL_ID_PREFIX: &str = "urn:dipper:";

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let (code, tail) = tail.split_at_checked(2)?;
            let mut byte = [0];
            hex::decode_to_slice(code, &mut byte).ok()?;
            bytes.extend(byte);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_have_a_fixed_width_and_sort_by_time() {
        assert_eq!(encode(0), "0000000000000000000000");
        assert_eq!(encode(61), "000000000000000000000z");
        assert_eq!(encode(u128::MAX), "7n42DGM5Tflk9n8mt7Fhc7");
        assert_eq!(to_number("7n42DGM5Tflk9n8mt7Fhc7"), Some(u128::MAX));
        assert_eq!(trace_id("7n42DGM5Tflk9n8mt7Fhc7"), "f".repeat(32));
        for wrong in ["", "7n42DGM5Tflk9n8mt7Fhc8", "000000000000000000000", "00000000000000000000-0"] {
            assert_eq!(to_number(wrong), None, "{wrong}");
        }
        let ids: Vec<String> = (0..1000).map(|_| new_id()).collect();
        assert!(ids.is_sorted() && ids.iter().all(|id| is_id(id)));
        assert!(!is_id("") && !is_id("0000000000000000000000x") && !is_id("../../../../../../../.."));
    }

    #[test]
    fn a_package_keeps_its_id() {
        assert_eq!(package_id("urn:dipper:2d17:digifoto_1").len(), 24);
        assert_eq!(package_id("a"), package_id("a"));
        assert_ne!(package_id("a"), package_id("b"));
    }

    proptest! {
        #[test]
        fn numbers_come_back_from_their_ids(number in any::<u128>()) {
            prop_assert_eq!(to_number(&encode(number)), Some(number));
        }

        #[test]
        fn contract_and_object_come_back_from_the_ocfl_id(contract_id in ".{1,20}", object_id in ".{1,40}") {
            let id = ocfl_id(&contract_id, &object_id);
            prop_assert!(id.is_ascii());
            prop_assert_eq!(from_ocfl_id(&id), Some((contract_id, object_id)));
        }

        #[test]
        fn foreign_ids_are_not_taken_for_ours(id in ".{0,40}") {
            prop_assert_eq!(from_ocfl_id(&id), None);
        }
    }
}
