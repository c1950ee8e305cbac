//! Version numbers (`v1`, `v007`) and versions of the specification (`1.0`, `1.1`).

use std::cmp::Ordering;
use std::fmt;

/// The number of an object's version, with the zero padding that the object uses (OCFL 1.1 section 3.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionNumber {
    number: u32,
    /// How many digits the name has when it is zero-padded; 0 for names without padding.
    width: u32,
}

/// Why a text is not a version directory name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionNumberError {
    /// It does not begin with a small v.
    #[error("a version directory name begins with v")]
    NoPrefix,
    /// What follows the v is not a positive decimal number of at most nine digits.
    #[error("a version number is a positive decimal number of at most nine digits")]
    NotPositive,
}

impl VersionNumber {
    /// Version 1 without padding, the first version of every object that is created here.
    pub const FIRST: VersionNumber = VersionNumber { number: 1, width: 0 };

    /// The version with this number, named without padding. Zero is taken for one.
    pub fn new(number: u32) -> VersionNumber {
        VersionNumber { number: number.max(1), width: 0 }
    }

    /// Reads a directory name.
    pub fn parse(name: &str) -> Result<VersionNumber, VersionNumberError> {
        let digits = name.strip_prefix('v').ok_or(VersionNumberError::NoPrefix)?;
        let plain = (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number =
            digits.parse().ok().filter(|number| plain && *number > 0).ok_or(VersionNumberError::NotPositive)?;
        let width = if digits.starts_with('0') { digits.len() as u32 } else { 0 };
        Ok(VersionNumber { number, width })
    }

    /// The number, from 1.
    pub fn number(self) -> u32 {
        self.number
    }

    /// The number of digits of a padded name, zeros included; 0 when the name is not padded.
    pub fn padded_width(self) -> u32 {
        self.width
    }

    /// The version after this one in the same padding; `None` when the padded width has no room for it.
    pub fn next(self) -> Option<VersionNumber> {
        let number = self.number.checked_add(1)?;
        let limit = if self.width == 0 { 1_000_000_000 } else { 10_u32.checked_pow(self.width - 1)? };
        (number < limit).then_some(VersionNumber { number, width: self.width })
    }
}

impl PartialOrd for VersionNumber {
    fn partial_cmp(&self, other: &VersionNumber) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for VersionNumber {
    fn cmp(&self, other: &VersionNumber) -> Ordering {
        (self.number, self.width).cmp(&(other.number, other.width))
    }
}

impl fmt::Display for VersionNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "v{:0width$}", self.number, width = self.width as usize)
    }
}

/// A version of the OCFL specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecVersion {
    /// OCFL 1.0.
    V1_0,
    /// OCFL 1.1, what is written here.
    V1_1,
}

impl SpecVersion {
    /// Both, the older first.
    pub const ALL: [SpecVersion; 2] = [SpecVersion::V1_0, SpecVersion::V1_1];

    /// The number as it stands in declarations: `1.0`.
    pub fn number(self) -> &'static str {
        match self {
            SpecVersion::V1_0 => "1.0",
            SpecVersion::V1_1 => "1.1",
        }
    }

    /// The `type` of an inventory.
    pub fn inventory_type(self) -> &'static str {
        match self {
            SpecVersion::V1_0 => "https://ocfl.io/1.0/spec/#inventory",
            SpecVersion::V1_1 => "https://ocfl.io/1.1/spec/#inventory",
        }
    }

    /// The name of the file that declares an object (section 3.2).
    pub fn object_declaration(self) -> &'static str {
        match self {
            SpecVersion::V1_0 => "0=ocfl_object_1.0",
            SpecVersion::V1_1 => "0=ocfl_object_1.1",
        }
    }

    /// The name of the file that declares a storage root (section 4.1).
    pub fn root_declaration(self) -> &'static str {
        match self {
            SpecVersion::V1_0 => "0=ocfl_1.0",
            SpecVersion::V1_1 => "0=ocfl_1.1",
        }
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.number())
    }
}

/// What a declaration file must hold: its own name after `0=`, and a line feed.
pub(crate) fn declaration_text(file_name: &str) -> String {
    format!("{}\n", file_name.strip_prefix("0=").unwrap_or(file_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let table = [
            ("v1", Ok((1, 0))),
            ("v10", Ok((10, 0))),
            ("v01", Ok((1, 2))),
            ("v0010", Ok((10, 4))),
            ("v999999999", Ok((999_999_999, 0))),
            ("1", Err(VersionNumberError::NoPrefix)),
            ("V1", Err(VersionNumberError::NoPrefix)),
            ("", Err(VersionNumberError::NoPrefix)),
            ("v", Err(VersionNumberError::NotPositive)),
            ("v0", Err(VersionNumberError::NotPositive)),
            ("v-1", Err(VersionNumberError::NotPositive)),
            ("v+1", Err(VersionNumberError::NotPositive)),
            ("v1.0", Err(VersionNumberError::NotPositive)),
            ("v1000000000", Err(VersionNumberError::NotPositive)),
        ];
        for (name, expected) in table {
            let found = VersionNumber::parse(name);
            assert_eq!(found.map(|version| (version.number(), version.padded_width())), expected, "{name}");
            if let Ok(version) = found {
                assert_eq!(version.to_string(), name);
            }
        }
    }

    #[test]
    fn the_next_version_keeps_the_padding_or_there_is_none() {
        let next = |name: &str| VersionNumber::parse(name).unwrap().next().map(|version| version.to_string());
        assert_eq!(next("v9").as_deref(), Some("v10"));
        assert_eq!(next("v009").as_deref(), Some("v010"));
        assert_eq!(next("v09"), None);
        assert_eq!(next("v099"), None);
        assert_eq!(next("v999999999"), None);
    }
}
