//! What is on record, in the reader's language. Events, entries of the audit log and reasons are kept in English, in the sentences
//! in which the core tells them (`sentences.rs`); what is known of these is here. Others are shown as they are.

use std::sync::LazyLock;

use fluent_templates::fluent_bundle::FluentValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::sentences::{ERRORS, SENTENCES, Sentence};
use super::words::Words;
use crate::format;

/// How deep sentences are looked for in each other.
const DEPTH: u32 = 5;

/// What is known: what errors say, which is put into other sentences, last, and otherwise first that which says most itself. Of
/// several that fit, the first one is meant.
static KNOWN: LazyLock<Vec<&Sentence>> = LazyLock::new(|| {
    let sorted = |sentences: &'static [Sentence]| {
        let mut sorted: Vec<&Sentence> = sentences.iter().collect();
        sorted.sort_by_key(|(pattern, _, names)| std::cmp::Reverse(pattern.len() - 2 * names.len()));
        sorted
    };
    [sorted(SENTENCES), sorted(ERRORS)].concat()
});

/// A sentence in the reader's language as far as that has words for it, and the language that it is in then.
pub(super) fn in_words(words: Words, sentence: &str) -> (String, &'static str) {
    match told(words, sentence) {
        Some(told) => (told, words.code()),
        None => (sentence.to_owned(), "en"),
    }
}

/// A sentence in the reader's language; nothing if it is not known.
pub(super) fn told(words: Words, sentence: &str) -> Option<String> {
    told_within(words, sentence, DEPTH)
}

/// Who did something, as events and the audit log name them.
pub(super) fn agent(words: Words, agent: &str) -> String {
    let (kind, name) = agent.split_once(' ').unwrap_or_default();
    let key = match kind {
        "client" => "told-agent-client",
        "operator" => "told-agent-operator",
        "area" => "told-agent-area",
        // Dipper itself, or whoever did something elsewhere.
        _ => return agent.to_owned(),
    };
    words.with(key, "name", name)
}

fn told_within(words: Words, sentence: &str, depth: u32) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    KNOWN.iter().find_map(|(pattern, key, names)| {
        let values = names.iter().zip(taken(pattern, sentence)?);
        let named: Option<Vec<_>> =
            values.map(|(name, value)| Some((*name, value_told(words, name, value, depth)?))).collect();
        words.find(key, &named?)
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

/// What is put into a sentence under a name, as the reader is told it; nothing if it cannot be that, so that another sentence
/// is meant.
fn value_told(words: Words, name: &str, value: &str, depth: u32) -> Option<FluentValue<'static>> {
    let one_of = |kind: &str| words.find(&format!("{kind}-{value}"), &[]);
    let is_number = || !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let told = match name {
        "sentence" => told_within(words, value, depth)?,
        "detail" | "why" => told_within(words, value, depth).unwrap_or_else(|| value.to_owned()),
        "roles" => {
            let roles: Option<Vec<_>> = value.split(", ").map(|role| told_within(words, role, depth)).collect();
            roles?.join(", ")
        }
        "role" => one_of("role")?,
        "language" => one_of("language")?,
        "state" => one_of("orders-state")?,
        "condition" => one_of("packages-state")?,
        "agent" => agent(words, value),
        "time" => format::date(OffsetDateTime::parse(value, &Rfc3339).ok()?.into(), words.language),
        "bytes" | "expected-bytes" | "declared" | "used" | "quota" | "needed" => words.bytes(&value.parse().ok()?),
        "count" | "done" | "all" => words.count(&value.parse().ok()?),
        "version" | "hours" | "seconds" | "before" | "now" | "first" | "last" => {
            is_number().then(|| value.to_owned())?
        }
        "code" => is_code(value).then(|| value.to_owned())?,
        "order" | "again" | "hold" | "webhook" | "notice" | "client" | "contract" | "key" | "expected" | "found" => {
            (!value.is_empty() && !value.contains(' ')).then(|| value.to_owned())?
        }
        _ => value.to_owned(),
    };
    Some(told.into())
}

/// Whether it is a code of the OCFL specification, such as `E092`.
fn is_code(text: &str) -> bool {
    let number = text.strip_prefix(['E', 'W']).unwrap_or_default();
    number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use dipper_core::audit::AuditKind;
    use dipper_core::db::events::{EventKind, order_kind};
    use dipper_core::language::Language;
    use dipper_core::order::OrderKind;

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
        let table = [
            ("version 2", "Version 2"),
            (
                "version 2 at 9f/ab from deletion X of anna: case 7",
                "Version 2 unter 9f/ab, aus: Löschung X, verlangt von anna: case 7",
            ),
            (
                "chosen files of version 2: a, b/ and 1200 more",
                "ausgewählte Dateien der Version 2: a, b/ und 1.200 weitere",
            ),
            ("order X, which is failed, needs nothing more", "Auftrag X (gescheitert) braucht nichts mehr"),
            ("Withdrawn by operator anna k.", "Zurückgezogen von: Betreiber anna k."),
            ("client a was given the role read", "Client a bekam die Rolle „Pakete sehen und bestellen“"),
            (
                "client a was added with the roles read on c, operator on d",
                "Client a wurde hinzugefügt; Rollen: Pakete sehen und bestellen (c), das Archiv betreiben (d)",
            ),
            ("e-mail goes to a@b.example, in nb", "E-Mails gehen an a@b.example; Sprache: Norwegisch"),
            ("the quota of the area is 5000000 bytes", "die Quote des Bereichs ist 5.000.000 Bytes"),
            ("deletion X of a, approved by client b: c: d", "Löschung X, verlangt von a, genehmigt von Client b: c: d"),
            ("legal hold set: H on p 1 of c: a case", "Löschsperre gesetzt: H für p 1 des Vertrags c: a case"),
            (
                "legal hold lifted: H on all packages of contract c",
                "Löschsperre aufgehoben: H für alle Pakete des Vertrags c",
            ),
            ("read for order X", "für Auftrag X gelesen"),
            (
                "read again as scheduled: E092 a/v1/content/b: the sha512 digest is 12, not 34",
                "planmäßig neu gelesen: E092 a/v1/content/b: die sha512-Prüfsumme ist 12, nicht 34",
            ),
            (
                "was damaged (E092 a: there is no such file), and was found right again",
                "war: beschädigt (E092 a: die Datei gibt es nicht); wurde wieder für richtig befunden",
            ),
            (
                "was damaged (\"a\" is damaged: its digest should be 12, but is 34), and was found right again",
                "war: beschädigt (\"a\" ist beschädigt: Die Prüfsumme müsste 12 sein, ist aber 34); wurde wieder für richtig befunden",
            ),
            (
                "a.tar from the area of contract c: it was fetched",
                "a.tar aus dem Bereich des Vertrags c: sie wurde abgeholt",
            ),
            (
                "restore X, from the archive, can be fetched until 2026-01-31T00:00:00.000000+00:00",
                "Rückgabe X aus dem Archiv kann abgeholt werden bis 31.01.2026 um 00:00 Uhr (UTC)",
            ),
        ];
        for (sentence, expected) in table {
            assert_eq!(told(Words::new(Language::German), sentence).as_deref(), Some(expected));
        }
        for unknown in ["", "something else", "version two", "client a was given the role of king", "read: this"] {
            assert_eq!(told(Words::new(Language::German), unknown), None, "{unknown}");
        }
        let deep = "version 1: ".repeat(10_000);
        assert!(told(Words::new(Language::German), &deep).is_some_and(|told| told.ends_with("version 1: ")));
        assert_eq!(agent(Words::new(Language::Norwegian), "operator anna k"), "operatøren anna k");
        assert_eq!(agent(Words::new(Language::Norwegian), "dipper 1.0"), "dipper 1.0");
    }

    /// Something that can stand in a sentence under a name.
    fn sample(name: &str) -> &'static str {
        match name {
            "sentence" => "read again as scheduled",
            "why" => "it was fetched",
            "roles" => "read on c, write on d",
            "role" => "operator",
            "language" => "nb",
            "state" => "failed",
            "condition" => "damaged",
            "agent" => "client anna",
            "time" => "2026-01-31T00:00:00.000000+00:00",
            "code" => "E092",
            "bytes" | "expected-bytes" | "declared" | "used" | "quota" | "needed" | "count" | "done" | "all" => "7000",
            "version" | "hours" | "seconds" | "before" | "now" | "first" | "last" => "17",
            "order" | "again" | "hold" | "webhook" | "notice" | "client" | "contract" | "key" => "id-1",
            _ => "something",
        }
    }

    #[test]
    fn each_sentence_is_found_and_no_other_in_its_place() {
        for language in Language::ALL {
            let words = Words::new(*language);
            for (pattern, key, names) in SENTENCES.iter().chain(ERRORS) {
                assert_eq!(pattern.matches("{}").count(), names.len(), "{pattern}");
                let sentence =
                    names.iter().fold((*pattern).to_owned(), |text, name| text.replacen("{}", sample(name), 1));
                let values: Vec<_> = names
                    .iter()
                    .map(|name| (*name, value_told(words, name, sample(name), DEPTH).expect("it can stand there")))
                    .collect();
                let expected = words.find(key, &values).unwrap_or_else(|| panic!("there is no text {key}"));
                assert_eq!(told(words, &sentence).as_deref(), Some(expected.as_str()), "{pattern}");
            }
        }
    }

    /// The sources of a crate beside this one, one after the other.
    fn sources(of: &str) -> String {
        let mut sources = String::new();
        let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(of)];
        while let Some(next) = open.pop() {
            for entry in std::fs::read_dir(next).expect("a directory") {
                let path = entry.expect("an entry").path();
                match path.is_dir() {
                    true => open.push(path),
                    false => sources.push_str(&std::fs::read_to_string(path).expect("text")),
                }
            }
        }
        sources
    }

    /// The text with `{}` for everything in braces: `{order_id}` and `{}` are the same.
    fn plain(text: &str) -> String {
        let mut plain = String::new();
        for part in text.split('{') {
            match part.split_once('}') {
                Some((name, rest)) if name.len() < 60 && !name.contains('\n') => plain.push_str(&format!("{{}}{rest}")),
                _ => plain.push_str(part),
            }
        }
        plain
    }

    /// What the source of a string literal says, up to its end.
    fn literal(source: &str) -> String {
        let (mut text, mut rest) = (String::new(), source.chars());
        loop {
            match rest.next().expect("an end") {
                '"' => return text,
                // The line goes on behind the spaces of the next one.
                '\\' => match rest.next().expect("something") {
                    '\n' => rest = rest.as_str().trim_start().chars(),
                    escaped => text.push(escaped),
                },
                other => text.push(other),
            }
        }
    }

    /// Whoever writes another sentence in the core, or changes one, finds this one, and gives it its texts.
    #[test]
    fn the_sentences_are_those_of_the_core() {
        let core = sources("../core/src");
        let begun = core.split("sentence!(").skip(1).map(str::trim_start);
        let written: BTreeSet<String> =
            begun.filter_map(|source| source.strip_prefix('"')).map(|source| plain(&literal(source))).collect();
        let known: BTreeSet<String> = SENTENCES.iter().map(|(pattern, ..)| (*pattern).to_owned()).collect();
        assert_eq!(known.len(), SENTENCES.len(), "one is there twice");
        let missing: Vec<_> = written.difference(&known).collect();
        let surplus: Vec<_> = known.difference(&written).collect();
        assert!(missing.is_empty() && surplus.is_empty(), "not here: {missing:#?}, not in the core: {surplus:#?}");
        let all = plain(&(core + &sources("../archive/src")));
        for (pattern, ..) in ERRORS {
            assert!(all.contains(pattern), "{pattern}");
        }
    }

    #[test]
    fn every_kind_of_event_and_of_audit_entry_has_a_name() {
        let of_orders = OrderKind::ALL.iter().flat_map(|kind| kind.states().map(|state| order_kind(*kind, state)));
        let others = EventKind::ALL.iter().map(|kind| kind.name().to_owned());
        let events = of_orders.chain(others).map(|kind| format!("event-{}", kind.replace(' ', "-")));
        let keys: Vec<String> = events.chain(AuditKind::ALL.iter().map(|kind| format!("audit-{kind}"))).collect();
        for language in Language::ALL {
            for key in &keys {
                assert!(Words::new(*language).find(key, &[]).is_some(), "{key} {language}");
            }
        }
    }
}
