//! The chain: what is hashed of an entry, and how the end of a chain is sealed. Others can compute both from what
//! docs/audit.md says; to change a byte here is to break every chain that there is.

use std::fmt::{self, Write as _};

use aws_lc_rs::hmac;
use dipper_archive::digest::{Algorithm, Hasher};

use super::{AuditEntry, AuditFile};

/// What stands for the hash of the entry before the first.
pub const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The first line of what is hashed of an entry.
const FORMAT: &str = "dipper audit entry 1";
/// The first line of what is sealed of a chain.
const SEAL_FORMAT: &str = "dipper audit head 1";

/// An entry in its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chained {
    /// Its place in the chain, from 1.
    pub number: u64,
    /// The entry. Its list of files is asked for separately.
    pub entry: AuditEntry,
    /// The hash of the list of files, if there is one.
    pub file_list: Option<String>,
    /// The hash of the entry before.
    pub previous: String,
    /// Its own hash.
    pub hash: String,
}

impl Chained {
    /// Puts an entry behind another one, or at the beginning of a chain.
    pub(crate) fn after(number: u64, previous: &str, entry: AuditEntry) -> Chained {
        let file_list = (!entry.files.is_empty()).then(|| {
            let mut list = FileList::default();
            entry.files.iter().for_each(|file| list.add(file));
            list.finish()
        });
        let mut chained = Chained { number, entry, file_list, previous: previous.to_owned(), hash: String::new() };
        chained.hash = chained.computed();
        chained
    }

    /// The hash that the entry must have.
    pub fn computed(&self) -> String {
        sha256(self.canonical().as_bytes())
    }

    /// The text whose SHA-256 is the hash: a line for each thing that is known, in this order.
    pub fn canonical(&self) -> String {
        let entry = &self.entry;
        let mut text = format!("{FORMAT}\n");
        let mut line = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                let _ = writeln!(text, "{name}: {}", escaped(value));
            }
        };
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        line("contract", Some(&entry.contract_id));
        line("number", Some(&self.number.to_string()));
        line("time", Some(&entry.at.to_string()));
        line("kind", Some(entry.kind.name()));
        line("outcome", Some(outcome(entry.success)));
        line("agent", Some(&entry.agent));
        line("package", entry.package_id.as_deref());
        line("object", entry.object_id.as_deref());
        line("version", number(entry.version.map(u64::from)).as_deref());
        line("label", entry.label.as_deref());
        line("algorithm", entry.algorithm.as_deref());
        line("digest", entry.digest.as_deref());
        line("bytes", number(entry.size_bytes).as_deref());
        line("files", number(entry.file_count).as_deref());
        line("detail", Some(&entry.detail));
        line("concerns", Some(if entry.whole { "all" } else { "listed" }));
        line("list", self.file_list.as_deref());
        line("previous", Some(&self.previous));
        text
    }

    /// How the entry is called outside: unique in the installation.
    pub fn name(&self) -> String {
        format!("{}/{}", self.entry.contract_id, self.number)
    }
}

/// The hash of a list of files, which need not be in memory at once.
pub(crate) struct FileList(Hasher);

impl Default for FileList {
    fn default() -> FileList {
        FileList(Hasher::new(Algorithm::Sha256))
    }
}

impl FileList {
    /// A line for each file: its values between tabulators, nothing for what is not known.
    pub(crate) fn add(&mut self, file: &AuditFile) {
        let size = file.size_bytes.map(|size| size.to_string());
        let values = [
            Some(file.path.as_str()),
            size.as_deref(),
            file.algorithm.as_deref(),
            file.digest.as_deref(),
            Some(outcome(file.success)),
            Some(file.detail.as_str()),
        ];
        let values: Vec<String> = values.map(|value| escaped(value.unwrap_or_default())).to_vec();
        self.0.update(values.join("\t").as_bytes());
        self.0.update(b"\n");
    }

    pub(crate) fn finish(self) -> String {
        self.0.finish().to_string()
    }
}

/// The word for how something went.
pub(crate) fn outcome(success: bool) -> &'static str {
    if success { "success" } else { "failure" }
}

fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(bytes);
    hasher.finish().to_string()
}

/// Keeps a value on its line.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            character => text.push(character),
        }
    }
    text
}

/// The entry as every database gives it back: there are such that keep no character zero, and no number above 2^63.
pub(super) fn storable(mut entry: AuditEntry) -> AuditEntry {
    let text = |value: &mut String| {
        if value.contains('\0') {
            *value = value.replace('\0', "\u{fffd}");
        }
    };
    let size = |value: &mut Option<u64>| *value = value.map(|size| size.min(i64::MAX as u64));
    [&mut entry.agent, &mut entry.contract_id, &mut entry.detail].into_iter().for_each(text);
    let texts =
        [&mut entry.package_id, &mut entry.object_id, &mut entry.label, &mut entry.algorithm, &mut entry.digest];
    texts.into_iter().flatten().for_each(text);
    [&mut entry.size_bytes, &mut entry.file_count].into_iter().for_each(size);
    for file in &mut entry.files {
        [&mut file.path, &mut file.detail].into_iter().for_each(text);
        [&mut file.algorithm, &mut file.digest].into_iter().flatten().for_each(text);
        size(&mut file.size_bytes);
    }
    entry
}

/// Seals the ends of chains with a key that is not in the database.
#[derive(Clone)]
pub struct Sealer(hmac::Key);

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sealer(…)")
    }
}

impl Sealer {
    /// A sealer with that key.
    pub(crate) fn new(key: &[u8]) -> Sealer {
        Sealer(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The seal on a chain that ends so.
    pub(crate) fn seal(&self, contract_id: &str, number: u64, hash: &str) -> String {
        hex::encode(hmac::sign(&self.0, sealed(contract_id, number, hash).as_bytes()))
    }

    /// Whether a seal is the one of a chain that ends so.
    pub(crate) fn is_right(&self, contract_id: &str, number: u64, hash: &str, seal: &str) -> bool {
        let text = sealed(contract_id, number, hash);
        hex::decode(seal).is_ok_and(|seal| hmac::verify(&self.0, text.as_bytes(), &seal).is_ok())
    }
}

fn sealed(contract_id: &str, number: u64, hash: &str) -> String {
    format!("{SEAL_FORMAT}\ncontract: {}\nnumber: {number}\nhash: {hash}\n", escaped(contract_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::AuditKind;
    use crate::time::Timestamp;

    fn entry() -> AuditEntry {
        AuditEntry {
            package_id: Some("ab12".to_owned()),
            object_id: Some("photos\n\\2024".to_owned()),
            version: Some(3),
            size_bytes: Some(1000),
            detail: "read\tfor an order".to_owned(),
            agent: "dipper 1.0.0".to_owned(),
            ..AuditEntry::new(AuditKind::Fixity, "2d17", Timestamp(1_767_225_600_000_001))
        }
    }

    /// This very text is promised to those who compute the chain with other tools.
    #[test]
    fn the_text_that_is_hashed_is_the_one_that_is_documented() {
        let chained = Chained::after(7, BEGINNING, entry());
        let text = "dipper audit entry 1\ncontract: 2d17\nnumber: 7\ntime: 2026-01-01T00:00:00.000001+00:00\n\
                    kind: fixity\noutcome: success\nagent: dipper 1.0.0\npackage: ab12\nobject: photos\\n\\\\2024\n\
                    version: 3\nbytes: 1000\ndetail: read\\tfor an order\nconcerns: all\nprevious: 000000000000000000000000\
                    0000000000000000000000000000000000000000\n";
        assert_eq!(chained.canonical(), text);
        assert_eq!(chained.hash, sha256(text.as_bytes()));
        // As `sha256sum` has it.
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn whatever_is_changed_the_hash_is_another() {
        let file = AuditFile {
            path: "a".to_owned(),
            size_bytes: Some(1),
            algorithm: None,
            digest: None,
            success: true,
            detail: String::new(),
        };
        let hash = |change: &dyn Fn(&mut AuditEntry)| {
            let mut entry = entry();
            entry.files = vec![file.clone(), AuditFile { path: "b".to_owned(), ..file.clone() }];
            change(&mut entry);
            Chained::after(7, BEGINNING, entry).hash
        };
        let changes: [&dyn Fn(&mut AuditEntry); 18] = [
            &|_| {},
            &|entry| entry.at = Timestamp(entry.at.0 + 1),
            &|entry| entry.kind = AuditKind::Ingest,
            &|entry| entry.success = false,
            &|entry| entry.agent.push('x'),
            &|entry| entry.contract_id.push('x'),
            &|entry| entry.package_id = None,
            &|entry| entry.object_id = Some("photos".to_owned()),
            &|entry| entry.version = None,
            &|entry| entry.label = Some(String::new()),
            &|entry| entry.algorithm = Some("sha512".to_owned()),
            &|entry| entry.digest = Some("00".to_owned()),
            &|entry| entry.size_bytes = Some(1001),
            &|entry| entry.file_count = Some(1),
            &|entry| entry.detail.push_str("\nconcerns: listed"),
            &|entry| entry.whole = false,
            &|entry| entry.files.swap(0, 1),
            &|entry| entry.files[0].success = false,
        ];
        let hashes: std::collections::BTreeSet<String> = changes.iter().map(|change| hash(change)).collect();
        assert_eq!(hashes.len(), changes.len());
        let second = Chained::after(8, &hash(changes[0]), entry());
        assert_ne!(second.hash, Chained::after(8, BEGINNING, entry()).hash);
    }

    #[test]
    fn a_seal_belongs_to_one_end_and_one_key() {
        let sealer = Sealer::new(b"one key");
        let seal = sealer.seal("a", 3, "ff");
        assert!(sealer.is_right("a", 3, "ff", &seal));
        let wrong = [("b", 3, "ff", seal.as_str()), ("a", 4, "ff", &seal), ("a", 3, "fe", &seal), ("a", 3, "ff", "")];
        for (contract_id, number, hash, seal) in wrong {
            assert!(!sealer.is_right(contract_id, number, hash, seal), "{contract_id} {number} {hash} {seal}");
        }
        assert!(!Sealer::new(b"another key").is_right("a", 3, "ff", &seal));
    }

    #[test]
    fn what_no_database_keeps_is_replaced_before_it_is_hashed() {
        let odd = AuditEntry { detail: "a\0b".to_owned(), size_bytes: Some(u64::MAX), ..entry() };
        let kept = storable(odd);
        assert_eq!((kept.detail.as_str(), kept.size_bytes), ("a\u{fffd}b", Some(i64::MAX as u64)));
    }
}
