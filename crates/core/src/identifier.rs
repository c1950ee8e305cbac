//! The identifier under which a package is known to people: `<node>-<yyyymmdd><serial>`, such as `8-2016040610214`. The
//! node is the installation, the day that of the ingest, in UTC.

use dipper_archive::digest::{Algorithm, Hasher};

use crate::time::Timestamp;

/// The digits of a day.
const DAY_DIGITS: usize = 8;
/// The most characters of a node.
const NODE_CHARACTERS: usize = 16;

/// Derived serial numbers have twelve digits: those that are counted do not come near.
const LEAST_DERIVED: u64 = 100_000_000_000;

/// The parts of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Node and day, with the hyphen between them: what a serial number is counted for.
    pub series: &'a str,
    /// The serial number of that day.
    pub serial: u64,
}

/// Whether a text can be a node.
pub fn is_node(text: &str) -> bool {
    (1..=NODE_CHARACTERS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Node and day of what is ingested now.
pub fn series(node: &str, now: Timestamp) -> String {
    let day = now.to_datetime().date();
    format!("{node}-{:04}{:02}{:02}", day.year(), u8::from(day.month()), day.day())
}

/// The identifier with a serial number.
pub fn make(series: &str, serial: u64) -> String {
    format!("{series}{serial}")
}

/// The parts of an identifier; `None` for any other text.
pub fn parse(text: &str) -> Option<Parts<'_>> {
    let (node, rest) = text.split_once('-')?;
    let (day, serial) = rest.split_at_checked(DAY_DIGITS)?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let good = is_node(node) && is_number(day) && is_number(serial) && (serial == "0" || !serial.starts_with('0'));
    let series = text.get(..node.len() + 1 + DAY_DIGITS)?;
    good.then(|| serial.parse().ok()).flatten().map(|serial| Parts { series, serial })
}

/// The serial number of a package that had none when the catalogue first heard of it. It follows from the OCFL identifier,
/// so that a catalogue that is built anew says the same; `attempt` gives another one, should somebody have it.
pub fn derived_serial(ocfl_id: &str, attempt: u64) -> u64 {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(b"dipper identifier\0");
    hasher.update(&attempt.to_be_bytes());
    hasher.update(ocfl_id.as_bytes());
    let digest = hasher.finish();
    let number = digest.as_bytes().iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    LEAST_DERIVED + number % (9 * LEAST_DERIVED)
}

/// Whether a serial number was not counted, but follows from an OCFL identifier.
pub fn is_derived(serial: u64) -> bool {
    serial >= LEAST_DERIVED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_made_and_read() {
        let series = series("8", Timestamp(1_459_955_400_000_000));
        assert_eq!(series, "8-20160406");
        assert_eq!(make(&series, 10_214), "8-2016040610214");
        assert_eq!(parse("8-2016040610214"), Some(Parts { series: "8-20160406", serial: 10_214 }));
        assert_eq!(parse("nord1-202601011"), Some(Parts { series: "nord1-20260101", serial: 1 }));
        let wrong = ["", "8", "8-", "8-20160406", "-201604061", "8-2016040601", "8-2016040x1", "a.b-201604061", "8-ø"];
        for wrong in wrong.into_iter().chain(["8-20160406-1", "8-2016040699999999999999999999"]) {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        for (node, good) in [("1", true), ("Nord", true), ("", false), ("a-b", false), ("..", false), ("ø", false)] {
            assert_eq!(is_node(node), good, "{node}");
        }
    }

    #[test]
    fn a_derived_serial_stays_and_has_twelve_digits() {
        let ids = ["urn:dipper:2d17:a", "urn:dipper:2d17:b", ""];
        let serials: Vec<u64> = ids.iter().flat_map(|id| (0..50).map(|attempt| derived_serial(id, attempt))).collect();
        let distinct: std::collections::HashSet<_> = serials.iter().collect();
        assert_eq!(distinct.len(), serials.len());
        assert!(serials.iter().all(|serial| serial.to_string().len() == 12), "{serials:?}");
        assert_eq!(derived_serial("urn:dipper:2d17:a", 0), derived_serial("urn:dipper:2d17:a", 0));
    }
}
