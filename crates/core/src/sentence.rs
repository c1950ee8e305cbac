//! Sentences that are put on record: in events, in the audit log, with orders that came to no good end, with steps that wait.

/// Makes a sentence that is put on record, as `format!` does. It is kept in English, and told in other languages where somebody
/// reads it, by `server/src/console/sentences.rs`: so it is written here in one piece, and a test asks there for its texts.
macro_rules! sentence {
    ($($text:tt)+) => {
        std::fmt::format(format_args!($($text)+))
    };
}

pub(crate) use sentence;
