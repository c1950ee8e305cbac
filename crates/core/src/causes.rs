//! What an error came from, for people.

use std::error::Error;

/// An error with what it came from, each once: many say themselves what their cause says.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{told}")]
    struct Told {
        told: &'static str,
        source: io::Error,
    }

    #[test]
    fn causes_are_told_once() {
        let table =
            [("sending failed", "sending failed: cut off"), ("sending failed: cut off", "sending failed: cut off")];
        for (told, expected) in table {
            assert_eq!(causes(&Told { told, source: io::Error::other("cut off") }), expected);
        }
        assert_eq!(causes(&io::Error::other("alone")), "alone");
    }
}
