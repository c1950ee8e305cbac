//! The words of e-mail to the people of a contract, in the languages that they can choose.

use std::fmt::Write as _;

use dipper_core::language::Language;
use dipper_core::mail::{DamageFacts, MailFacts, MailRenderer, MailText};

use crate::format::{bytes, date};

/// What is told of how a package is fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Host and port of the SFTP server, in words, if there is one.
    pub sftp: Option<String>,
    /// The address below which the files of the outgoing area are found over https, if they are.
    pub https: Option<String>,
}

/// Puts into words that a package lies ready.
#[derive(Clone, Debug)]
pub struct Words {
    ways: Ways,
}

impl Words {
    /// Words that tell of these ways.
    pub fn new(ways: Ways) -> Words {
        Words { ways }
    }
}

impl MailRenderer for Words {
    fn render(&self, facts: &MailFacts<'_>) -> Option<MailText> {
        let file = facts.file;
        let phrases = phrases(facts.language);
        let name = &facts.package.object_id;
        let mut rows = vec![(phrases.name, name.clone())];
        rows.push((phrases.identifier, facts.package.identifier.clone()));
        rows.extend(facts.package.urn.clone().map(|urn| ("URN", urn)));
        rows.push((phrases.file, file.name.clone()));
        rows.push((phrases.size, bytes(file.size_bytes, facts.language)));
        let mut ways = Vec::new();
        ways.extend(self.ways.sftp.as_ref().map(|server| ("SFTP", format!("{server}, outgoing/{}", file.name))));
        ways.extend(self.ways.https.as_ref().map(|base| ("HTTPS", format!("{base}/{}", file.name))));
        let mut body = format!("{}\n\n{}\n\n{}", phrases.greeting, phrases.ready, table(&rows));
        if !ways.is_empty() {
            let _ = write!(body, "\n{}\n\n{}", phrases.fetch, table(&ways));
        }
        let until = date(facts.kept_until, facts.language);
        let _ = write!(body, "\n{}\n\n-- \n{}\n", phrases.kept.replace("{until}", &until), phrases.automatic);
        Some(MailText { subject: phrases.subject.replace("{name}", name), body })
    }

    fn render_damage(&self, facts: &DamageFacts<'_>) -> MailText {
        let phrases = phrases(facts.language);
        let [subject, happened, meaning, finding] = damage_phrases(facts.language);
        let package = facts.package;
        let rows = [
            (phrases.name, package.object_id.clone()),
            (phrases.identifier, package.identifier.clone()),
            (finding, facts.reason.to_owned()),
        ];
        let happened = happened.replace("{found}", &date(facts.found, facts.language));
        let (greeting, rows) = (phrases.greeting, table(&rows));
        let body = format!("{greeting}\n\n{happened}\n\n{rows}\n{meaning}\n\n-- \n{}\n", phrases.automatic);
        MailText { subject: subject.replace("{name}", &package.object_id), body }
    }
}

/// The words of the message that a package was found damaged: subject, what happened, what it means.
fn damage_phrases(language: Language) -> [&'static str; 4] {
    match language {
        Language::English => [
            "Stored content of {name} is damaged",
            "a check found on {found} that stored content does not match its digests any more, or cannot be read:",
            "The package is not handed out until its content is right again. The operators of the archive know.",
            "Found",
        ],
        Language::German => [
            "Gespeicherte Inhalte von {name} sind beschädigt",
            "eine Prüfung hat am {found} ergeben, dass gespeicherte Inhalte nicht mehr zu ihren Prüfsummen passen oder \
             nicht lesbar sind:",
            "Das Paket wird nicht ausgeliefert, bis es wiederhergestellt ist. Die Betreiber des Archivs wissen davon.",
            "Befund",
        ],
        Language::Norwegian => [
            "Lagret innhold i {name} er skadet",
            "en kontroll fant {found} at lagret innhold ikke lenger stemmer med sjekksummene, eller ikke kan leses:",
            "Pakken utleveres ikke før innholdet er i orden igjen. De som driver arkivet, er varslet.",
            "Funn",
        ],
    }
}

struct Phrases {
    subject: &'static str,
    greeting: &'static str,
    ready: &'static str,
    name: &'static str,
    identifier: &'static str,
    file: &'static str,
    size: &'static str,
    fetch: &'static str,
    kept: &'static str,
    automatic: &'static str,
}

fn phrases(language: Language) -> Phrases {
    match language {
        Language::English => Phrases {
            subject: "Your package {name} is ready",
            greeting: "Hello,",
            ready: "the package that was ordered has been checked, and lies ready in your outgoing area:",
            name: "Name",
            identifier: "Identifier",
            file: "File",
            size: "Size",
            fetch: "Fetch it with the credentials of your account:",
            kept: "It will be removed on {until}, or earlier once it has been fetched.",
            automatic: "This message was written by a machine.",
        },
        Language::German => Phrases {
            subject: "Ihr Paket {name} liegt bereit",
            greeting: "Guten Tag,",
            ready: "das angeforderte Paket wurde geprüft und liegt in Ihrem Ausgangsbereich bereit:",
            name: "Name",
            identifier: "Identifier",
            file: "Datei",
            size: "Größe",
            fetch: "Sie holen es mit Ihren Zugangsdaten ab:",
            kept: "Es wird am {until} gelöscht, nach der Abholung auch früher.",
            automatic: "Diese Nachricht wurde automatisch erstellt.",
        },
        Language::Norwegian => Phrases {
            subject: "Pakken {name} er klar",
            greeting: "Hei,",
            ready: "pakken som ble bestilt, er kontrollert og ligger klar i utområdet deres:",
            name: "Navn",
            identifier: "Identifikator",
            file: "Fil",
            size: "Størrelse",
            fetch: "Hent den med brukernavnet og passordet deres:",
            kept: "Den slettes {until}, eller tidligere når den er hentet.",
            automatic: "Denne meldingen er laget av en maskin.",
        },
    }
}

/// Two columns, the first as wide as its longest word.
fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(word, _)| word.chars().count()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut text, (word, value)| {
        let _ = writeln!(text, "  {word}:{}  {value}", " ".repeat(width - word.chars().count()));
        text
    })
}
