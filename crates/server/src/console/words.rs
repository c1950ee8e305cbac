//! The words of the console in the reader's language: texts from `locales/`, and how numbers, sizes and times are written.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use dipper_core::language::Language;
use dipper_core::time::Timestamp;
use fluent_templates::fluent_bundle::FluentValue;
use fluent_templates::{LanguageIdentifier, Loader};

use crate::format;

mod texts {
    #![allow(missing_docs, reason = "the macro makes a static without a comment")]
    // Between a text and what is put into it stand no marks of direction: none of the languages is written from the right,
    // and the marks would be copied along with identifiers.
    fluent_templates::static_loader! {
        pub(super) static TEXTS = {
            locales: "./locales",
            fallback_language: "en",
            customise: |bundle| bundle.set_use_isolating(false),
        };
    }
}

/// The languages in the order of `Language`'s names, as the texts have them.
static IDENTIFIERS: LazyLock<HashMap<&'static str, LanguageIdentifier>> = LazyLock::new(|| {
    let identifier = |language: &Language| (language.name(), language.name().parse().unwrap_or_default());
    Language::ALL.iter().map(identifier).collect()
});

/// The words of one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// The language.
    pub(crate) language: Language,
}

impl Words {
    /// The words of a language.
    pub(crate) fn new(language: Language) -> Words {
        Words { language }
    }

    /// The language's code, as `lang` attributes have it.
    pub(crate) fn code(self) -> &'static str {
        self.language.name()
    }

    /// A text.
    pub(crate) fn text(self, key: &str) -> String {
        self.find(key, &[]).unwrap_or_else(|| key.to_owned())
    }

    /// A text with one thing put into it. A number also chooses between the forms of the plural.
    pub(crate) fn with<'a>(self, key: &str, name: &'static str, value: impl Into<FluentValue<'a>>) -> String {
        self.fill(key, &[(name, value.into())])
    }

    /// A text with two things put into it.
    pub(crate) fn with_two<'a>(
        self,
        key: &str,
        first: &'static str,
        one: impl Into<FluentValue<'a>>,
        second: &'static str,
        two: impl Into<FluentValue<'a>>,
    ) -> String {
        self.fill(key, &[(first, one.into()), (second, two.into())])
    }

    /// A text with things put into it.
    pub(crate) fn fill(self, key: &str, values: &[(&'static str, FluentValue<'_>)]) -> String {
        self.find(key, values).unwrap_or_else(|| key.to_owned())
    }

    /// A text, if there is one of that name.
    pub(crate) fn find(self, key: &str, values: &[(&'static str, FluentValue<'_>)]) -> Option<String> {
        let identifier = IDENTIFIERS.get(self.language.name())?;
        let values: HashMap<Cow<'static, str>, FluentValue<'_>> =
            values.iter().map(|(name, value)| (Cow::Borrowed(*name), value.clone())).collect();
        texts::TEXTS.try_lookup_with_args(identifier, key, &values)
    }

    /// How many, with the separators of the language: `12,345`.
    pub(crate) fn count(self, count: &u64) -> String {
        format::number(*count, self.language)
    }

    /// A size in the unit that suits it: `1.5 GB`.
    pub(crate) fn size(self, bytes: &u64) -> String {
        format::size(*bytes, self.language)
    }

    /// A size with all its digits: `1,500,000,000 bytes`.
    pub(crate) fn bytes(self, bytes: &u64) -> String {
        format::bytes(*bytes, self.language)
    }

    /// A point in time, to the minute and in UTC.
    pub(crate) fn time(self, time: &Timestamp) -> String {
        format::time(*time, self.language)
    }

    /// The day of a point in time, in UTC.
    pub(crate) fn day(self, time: &Timestamp) -> String {
        format::day(*time, self.language)
    }

    /// A share of a hundred, with one digit behind the point.
    pub(crate) fn percent(self, share: &f64) -> String {
        format::percent(*share, self.language)
    }

    /// How long something takes or took, in its two largest units.
    pub(crate) fn duration(self, duration: &Duration) -> String {
        const UNITS: [(u64, &str); 4] = [(86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")];
        let mut rest = duration.as_secs();
        let mut parts = Vec::new();
        for (seconds, unit) in UNITS {
            let count = rest / seconds;
            rest %= seconds;
            if count > 0 || (unit == "seconds" && parts.is_empty()) {
                parts.push(self.with(&format!("duration-{unit}"), "count", count));
            }
            if parts.len() == 2 {
                break;
            }
        }
        parts.join(" ")
    }
}

/// The language that a browser asks for (RFC 9110, section 12.5.4), among those that there are.
pub(super) fn accepted(header: &str) -> Option<Language> {
    let mut wanted: Vec<(f32, Language)> = Vec::new();
    for entry in header.split(',').take(32) {
        let (tag, parameters) = entry.split_once(';').unwrap_or((entry, ""));
        let primary = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
        let language = match primary.as_str() {
            "en" => Language::English,
            "de" => Language::German,
            "nb" | "no" | "nn" => Language::Norwegian,
            _ => continue,
        };
        let quality = parameters.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse).unwrap_or(0.0);
        if quality > 0.0 {
            wanted.push((quality, language));
        }
    }
    // Stable: of two that are wanted as much, the first one.
    wanted.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    wanted.first().map(|(_, language)| *language)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_language_is_the_first_that_there_is() {
        let table = [
            ("", None),
            ("fr-FR,fr;q=0.9", None),
            ("nb-NO,nb;q=0.9,no;q=0.8,nn;q=0.7,en-US;q=0.6,en;q=0.5", Some(Language::Norwegian)),
            ("fr, de;q=0.5, en;q=0.7", Some(Language::English)),
            ("DE-at", Some(Language::German)),
            ("en;q=0, nn;q=0.1", Some(Language::Norwegian)),
            ("de;q=x", None),
            ("de;q=0.5,en;q=0.5", Some(Language::German)),
        ];
        for (header, expected) in table {
            assert_eq!(accepted(header), expected, "{header}");
        }
    }

    #[test]
    fn durations_are_told_in_two_units() {
        let words = Words::new(Language::English);
        for (seconds, told) in [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h"), (90_000, "1 day 1 h")] {
            assert_eq!(words.duration(&Duration::from_secs(seconds)), told);
        }
    }

    fn files(directory: &Path, ending: &str, found: &mut Vec<(String, String)>) {
        let mut entries: Vec<_> =
            std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                files(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push((path.to_string_lossy().into_owned(), std::fs::read_to_string(&path).expect("text")));
            }
        }
    }

    /// The keys of a language, each with the names of what is put into it.
    fn keys(language: &str) -> BTreeSet<(String, BTreeSet<String>)> {
        let mut found = Vec::new();
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("locales").join(language), ".ftl", &mut found);
        let mut keys: Vec<(String, BTreeSet<String>)> = Vec::new();
        for (path, text) in found {
            for line in text.lines() {
                match line.split_once(" =") {
                    Some((key, _)) if line.starts_with(|first: char| first.is_ascii_lowercase()) => {
                        assert!(keys.iter().all(|(known, _)| known != key), "{key} is there twice, also in {path}");
                        keys.push((key.to_owned(), BTreeSet::new()));
                    }
                    _ => {}
                }
                let names = line.split('$').skip(1).map(|rest| {
                    rest.chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '-').collect::<String>()
                });
                if let Some((_, known)) = keys.last_mut() {
                    known.extend(names);
                }
            }
        }
        keys.into_iter().collect()
    }

    #[test]
    fn every_text_is_there_in_every_language_and_takes_the_same() {
        let english = keys("en");
        assert!(english.len() > 20, "the texts were not found");
        for language in ["nb", "de"] {
            let other = keys(language);
            let missing: Vec<_> = english.difference(&other).collect();
            let surplus: Vec<_> = other.difference(&english).collect();
            assert!(missing.is_empty() && surplus.is_empty(), "{language}: missing {missing:?}, surplus {surplus:?}");
        }
    }

    #[test]
    fn every_text_that_is_asked_for_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = Vec::new();
        files(&root.join("templates"), ".html", &mut sources);
        files(&root.join("src/console"), ".rs", &mut sources);
        let words = Words::new(Language::English);
        let known: HashMap<String, BTreeSet<String>> = keys("en").into_iter().collect();
        let mut count = 0;
        for (path, text) in &sources {
            for call in ["words.text(\"", "words.with(\"", "words.with_two(\"", "words.fill(\""] {
                for rest in text.split(call).skip(1) {
                    let key = rest.split('"').next().unwrap_or_default();
                    count += 1;
                    let names = known.get(key).into_iter().flatten();
                    let values: Vec<_> = names.map(|name| (&*name.clone().leak(), FluentValue::from("1"))).collect();
                    assert!(words.find(key, &values).is_some(), "{path} asks for {key}");
                }
            }
        }
        assert!(count > 20, "no texts were found in the sources");
    }
}
