//! What events and entries of the audit log say, in the reader's language. They are kept in English, in the words in which the
//! core tells them; what is known of these sentences is here. Others are shown as they are.

use super::words::Words;

/// A sentence of the core with `{}` for what is put into it, the key of its text, and the names of what is put into that. Those
/// that begin alike: the longer one first.
const SENTENCES: [(&str, &str, &[&str]); 17] = [
    ("the latest version of every file of the versions 1 to {}", "told-surface", &["version"]),
    ("version {} at {}", "told-version-at", &["version", "place"]),
    ("version {}", "told-version", &["version"]),
    ("Withdrawn by client {}.", "told-withdrawn-by-client", &["name"]),
    ("Withdrawn by operator {}.", "told-withdrawn-by-operator", &["name"]),
    ("Client {} may not read contract {} any more.", "told-not-allowed", &["name", "contract"]),
    ("A legal hold keeps {}: {}.", "told-held", &["package", "reason"]),
    ("Stored content is damaged, and was not handed out: {}. The archive has been told.", "told-damaged", &["detail"]),
    ("read for order {}", "told-read-for", &["order"]),
    ("order {} was repeated as order {}", "told-repeated", &["order", "again"]),
    ("order {} was withdrawn while it was {}", "told-withdrawn", &["order", "state"]),
    ("the delivery of order {} was taken back", "told-taken-back", &["order"]),
    ("the urgency of order {} was {} and is {}", "told-urgency", &["order", "before", "now"]),
    ("order {}, which is {}, needs nothing more", "told-dismissed", &["order", "state"]),
    ("the package is to be read whole before all others", "told-read-soon", &[]),
    ("deletion {} was approved", "told-deletion-approved", &["order"]),
    ("deletion {} was withdrawn", "told-deletion-withdrawn", &["order"]),
];

/// A sentence in the reader's language; nothing if it is not known.
pub(super) fn told(words: Words, sentence: &str) -> Option<String> {
    SENTENCES.iter().find_map(|(pattern, key, names)| {
        let values = taken(pattern, sentence)?;
        let named: Vec<_> = names
            .iter()
            .zip(&values)
            .map(|(name, value)| {
                let state = words.find(&format!("orders-state-{value}"), &[]).filter(|_| *name == "state");
                (*name, state.unwrap_or_else(|| (*value).to_owned()).into())
            })
            .collect();
        words.find(key, &named)
    })
}

/// What stands in a sentence where the pattern has `{}`.
fn taken<'a>(pattern: &str, sentence: &'a str) -> Option<Vec<&'a str>> {
    let mut parts = pattern.split("{}");
    let mut rest = sentence.strip_prefix(parts.next()?)?;
    let mut values = Vec::new();
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        // What ends the pattern ends the sentence.
        let (value, behind) = match parts.peek() {
            None => (rest.strip_suffix(part)?, ""),
            Some(_) => rest.split_once(part)?,
        };
        values.push(value);
        rest = behind;
    }
    rest.is_empty().then_some(values)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use dipper_core::language::Language;

    use super::*;

    #[test]
    fn what_is_put_into_a_sentence_is_found_in_it() {
        let table: [(&str, &str, Option<&[&str]>); 6] = [
            ("version {}", "version 3", Some(&["3"])),
            ("version {} at {}", "version 3 at a/b", Some(&["3", "a/b"])),
            ("a {}.", "a b.c.", Some(&["b.c"])),
            ("a {}.", "a b", None),
            ("nothing", "nothing", Some(&[])),
            ("nothing", "nothing more", None),
        ];
        for (pattern, sentence, expected) in table {
            assert_eq!(taken(pattern, sentence).as_deref(), expected, "{pattern} in {sentence}");
        }
    }

    #[test]
    fn what_is_known_is_told_in_the_language_of_the_reader() {
        let german = Words::new(Language::German);
        assert_eq!(told(german, "version 2").as_deref(), Some("Version 2"));
        let state = "order X, which is failed, needs nothing more";
        assert_eq!(told(german, state).as_deref(), Some("Auftrag X (gescheitert) braucht nichts mehr"));
        assert_eq!(told(german, "something else"), None);
        for language in Language::ALL {
            for (pattern, _, names) in &SENTENCES {
                let sentence = pattern.replace("{}", "here");
                let found = told(Words::new(*language), &sentence).unwrap_or_else(|| panic!("{pattern} {language}"));
                assert_eq!(found.matches("here").count(), names.len(), "{pattern}: {found}");
            }
        }
    }

    /// Whoever changes such a sentence finds this one.
    #[test]
    fn every_sentence_is_one_of_the_core() {
        let mut sources = String::new();
        let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src")];
        while let Some(next) = open.pop() {
            for entry in std::fs::read_dir(next).expect("a directory") {
                let path = entry.expect("an entry").path();
                match path.is_dir() {
                    true => open.push(path),
                    false => sources.push_str(&std::fs::read_to_string(path).expect("text")),
                }
            }
        }
        // `{order_id}` and `{}` are the same.
        let mut plain = String::new();
        for part in sources.split('{') {
            match part.split_once('}') {
                Some((name, rest)) if name.len() < 60 && !name.contains('\n') => plain.push_str(&format!("{{}}{rest}")),
                _ => plain.push_str(part),
            }
        }
        // Agents are told by one function.
        for (pattern, ..) in &SENTENCES {
            let pattern = pattern.replace("Withdrawn by operator {}.", "Withdrawn by {}.");
            assert!(plain.contains(&pattern), "{pattern}");
        }
    }
}
