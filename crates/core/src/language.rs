//! The languages in which people are written to.

use crate::named::named;

/// A language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Language {
    /// German.
    German,
    /// English.
    #[default]
    English,
    /// Norwegian (bokmål).
    Norwegian,
}

named!(
    Language, "language":
    German => "de",
    English => "en",
    Norwegian => "nb",
);
