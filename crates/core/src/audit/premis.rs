//! Entries as PREMIS 3.0 (<https://www.loc.gov/standards/premis/v3/>): each is an event, whose object is the package and
//! whose agent is who did it. What PREMIS has no element for (the place in the chain, the hashes) stands in the details of
//! the event.
//!
//! The schema wants objects first, at least one, then events, then agents. Contracts and packages are intellectual
//! entities with no more than their identifiers.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::chain::outcome;
use super::export::AuditWriter;
use super::{AuditFile, AuditKind, Chained, SOFTWARE};
use crate::db::audit::AuditSubject;

/// Where the types of events come from.
const EVENT_TYPES: &str = "http://id.loc.gov/vocabulary/preservation/eventType";

/// Writes PREMIS.
#[derive(Debug, Default)]
pub struct Premis {
    has_objects: bool,
    /// Who did something so far: few, whatever the number of entries.
    agents: BTreeSet<String>,
    /// What comes after the files of the entry that is being written.
    rest: String,
}

impl AuditWriter for Premis {
    fn begin(&mut self, sink: &mut dyn Write) -> io::Result<()> {
        sink.write_all(
            b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<premis xmlns=\"http://www.loc.gov/premis/v3\" \
              xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:schemaLocation=\"http://www.loc.gov/premis/v3 \
              https://www.loc.gov/standards/premis/premis.xsd\" version=\"3.0\">\n",
        )
    }

    fn wants_subjects(&self) -> bool {
        true
    }

    fn contract(&mut self, sink: &mut dyn Write, contract_id: &str) -> io::Result<()> {
        self.object(sink, &[("contract", contract_id)])
    }

    fn package(&mut self, sink: &mut dyn Write, subject: &AuditSubject) -> io::Result<()> {
        let mut identifiers = vec![("archive id", subject.package_id.as_str())];
        identifiers.extend(subject.object_id.as_deref().map(|object_id| ("object id", object_id)));
        self.object(sink, &identifiers)
    }

    fn entry(&mut self, sink: &mut dyn Write, chained: &Chained) -> io::Result<()> {
        self.require_object(sink)?;
        let entry = &chained.entry;
        self.agents.insert(entry.agent.clone());
        let mut text = String::from("<event>\n");
        pair(&mut text, "eventIdentifier", "dipper audit entry", &chained.name());
        match event_type(entry.kind) {
            Some(term) => {
                let authority = format!("<eventType authority=\"eventType\" authorityURI=\"{EVENT_TYPES}\">");
                text.push_str(&format!("{authority}{term}</eventType>\n"));
            }
            None => text.push_str(&format!("<eventType>{}</eventType>\n", entry.kind)),
        }
        element(&mut text, "eventDateTime", &entry.at.to_string());
        for detail in details(chained) {
            text.push_str("<eventDetailInformation>");
            element(&mut text, "eventDetail", &detail);
            text.push_str("</eventDetailInformation>\n");
        }
        text.push_str("<eventOutcomeInformation>\n");
        element(&mut text, "eventOutcome", outcome(entry.success));
        sink.write_all(text.as_bytes())?;

        let mut rest = String::from("</eventOutcomeInformation>\n");
        pair(&mut rest, "linkingAgentIdentifier", "agent", &entry.agent);
        pair(&mut rest, "linkingObjectIdentifier", "contract", &entry.contract_id);
        if let Some(package_id) = &entry.package_id {
            pair(&mut rest, "linkingObjectIdentifier", "archive id", package_id);
        }
        rest.push_str("</event>\n");
        self.rest = rest;
        Ok(())
    }

    fn file(&mut self, sink: &mut dyn Write, file: &AuditFile) -> io::Result<()> {
        let mut note = format!("{}: {}", file.path, outcome(file.success));
        if let Some(size) = file.size_bytes {
            note.push_str(&format!(", {size} bytes"));
        }
        if let (Some(algorithm), Some(digest)) = (&file.algorithm, &file.digest) {
            note.push_str(&format!(", {algorithm} {digest}"));
        }
        if !file.detail.is_empty() {
            note.push_str(&format!(", {}", file.detail));
        }
        let mut text = String::from("<eventOutcomeDetail>");
        element(&mut text, "eventOutcomeDetailNote", &note);
        text.push_str("</eventOutcomeDetail>\n");
        sink.write_all(text.as_bytes())
    }

    fn entry_end(&mut self, sink: &mut dyn Write) -> io::Result<()> {
        sink.write_all(std::mem::take(&mut self.rest).as_bytes())
    }

    fn end(&mut self, sink: &mut dyn Write) -> io::Result<()> {
        self.require_object(sink)?;
        for agent in &self.agents {
            let mut text = String::from("<agent>\n");
            pair(&mut text, "agentIdentifier", "agent", agent);
            element(&mut text, "agentName", agent);
            if agent.starts_with("dipper ") {
                element(&mut text, "agentType", "software");
            }
            text.push_str("</agent>\n");
            sink.write_all(text.as_bytes())?;
        }
        sink.write_all(b"</premis>\n")
    }
}

impl Premis {
    fn object(&mut self, sink: &mut dyn Write, identifiers: &[(&str, &str)]) -> io::Result<()> {
        self.has_objects = true;
        let mut text = String::from("<object xsi:type=\"intellectualEntity\">\n");
        for (kind, value) in identifiers {
            pair(&mut text, "objectIdentifier", kind, value);
        }
        text.push_str("</object>\n");
        sink.write_all(text.as_bytes())
    }

    /// Where nothing was recorded, the log itself is what there is.
    fn require_object(&mut self, sink: &mut dyn Write) -> io::Result<()> {
        if self.has_objects { Ok(()) } else { self.object(sink, &[("audit log", SOFTWARE)]) }
    }
}

/// The word of the vocabulary for a kind of entry, which has none for what is not done with content.
fn event_type(kind: AuditKind) -> Option<&'static str> {
    match kind {
        AuditKind::Ingest => Some("ingestion"),
        AuditKind::Replication => Some("replication"),
        AuditKind::Fixity => Some("fixity check"),
        AuditKind::Deletion => Some("deletion"),
        AuditKind::Repair => Some("recovery"),
        AuditKind::Restoration => Some("dissemination"),
        AuditKind::Administration => None,
    }
}

/// What PREMIS has no element for.
fn details(chained: &Chained) -> Vec<String> {
    let entry = &chained.entry;
    let mut details: Vec<String> = Some(entry.detail.clone()).filter(|detail| !detail.is_empty()).into_iter().collect();
    details.push(format!("kind: {}", entry.kind));
    let mut add = |name: &str, value: Option<String>| details.extend(value.map(|value| format!("{name}: {value}")));
    add("version", entry.version.map(|version| version.to_string()));
    add("version label", entry.label.clone());
    add("digest algorithm", entry.algorithm.clone());
    add("digest", entry.digest.clone());
    add("bytes", entry.size_bytes.map(|bytes| bytes.to_string()));
    add("files", entry.file_count.map(|count| count.to_string()));
    add("hash of this entry", Some(chained.hash.clone()));
    add("hash of the entry before", Some(chained.previous.clone()));
    details
}

/// An element of two, such as `objectIdentifier` with `objectIdentifierType` and `objectIdentifierValue`.
fn pair(text: &mut String, name: &str, kind: &str, value: &str) {
    text.push_str(&format!("<{name}>"));
    element(text, &format!("{name}Type"), kind);
    element(text, &format!("{name}Value"), value);
    text.push_str(&format!("</{name}>\n"));
}

fn element(text: &mut String, name: &str, value: &str) {
    text.push_str(&format!("<{name}>"));
    for character in value.chars() {
        match character {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            // A reader would take it for a line feed otherwise (XML 1.0, section 2.11).
            '\r' => text.push_str("&#13;"),
            // XML 1.0 has no place for these, not even escaped (section 2.2).
            '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => text.push('\u{fffd}'),
            character => text.push(character),
        }
    }
    text.push_str(&format!("</{name}>"));
    text.push('\n');
}
