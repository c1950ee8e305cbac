//! One pass over the JSON of an inventory: everything of the right type is kept, everything else is reported.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::de::{DeserializeSeed as _, MapAccess, SeqAccess};

use super::super::User;
use super::super::shape::{Any, Key, Shape};
use crate::digest::Digest;
use crate::ocfl::problem::{Code, Finding};
use crate::ocfl::version::{VersionNumber, VersionNumberError};

/// How many findings of one code are told in full; a damaged inventory may have a hundred thousand.
const FINDINGS_OF_A_CODE: usize = 100;

/// What a document holds, by its keys.
#[derive(Default)]
pub(super) struct Document {
    keys: Vec<&'static str>,
    pub(super) id: Option<String>,
    pub(super) inventory_type: Option<String>,
    pub(super) algorithm: Option<String>,
    pub(super) head: Option<String>,
    pub(super) content_directory: Option<String>,
    /// The collector's number of the digest, and the content path.
    pub(super) manifest: Option<Vec<(u32, Arc<str>)>>,
    pub(super) versions: Option<Vec<RawVersion>>,
    pub(super) fixity: Vec<RawFixity>,
}

impl Document {
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.contains(&key)
    }
}

#[derive(Default)]
pub(super) struct RawVersion {
    pub(super) name: String,
    pub(super) number: Option<VersionNumber>,
    pub(super) created: Option<String>,
    pub(super) message: Option<String>,
    pub(super) user: Option<User>,
    pub(super) state: Vec<(Arc<str>, u32)>,
}

pub(super) struct RawFixity {
    pub(super) name: String,
    pub(super) entries: Vec<(Digest, Box<str>)>,
}

/// A digest of manifest or states, and how it is written in each.
pub(super) struct Slot {
    pub(super) digest: Digest,
    pub(super) in_manifest: Option<Case>,
    pub(super) in_states: Option<Case>,
    pub(super) written_variously: bool,
}

/// Which letters of a hexadecimal text are capitals, a bit each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Case(u128);

impl Case {
    fn of(text: &str) -> Case {
        Case(
            text.bytes()
                .enumerate()
                .filter(|(_, byte)| byte.is_ascii_uppercase())
                .fold(0, |bits, (index, _)| bits | 1_u128.checked_shl(index as u32).unwrap_or(0)),
        )
    }
}

impl Case {
    /// A digest with capitals where this has them.
    fn of_digest(self, digest: &Digest) -> String {
        let text = digest.to_string();
        let is_capital = |index: usize| self.0.checked_shr(index as u32).unwrap_or(0) & 1 == 1;
        let write =
            |(index, letter): (usize, char)| if is_capital(index) { letter.to_ascii_uppercase() } else { letter };
        text.chars().enumerate().map(write).collect()
    }
}

/// What is found along the way.
#[derive(Default)]
pub(super) struct Collector {
    findings: Vec<Finding>,
    counts: BTreeMap<Code, usize>,
    pub(super) slots: Vec<Slot>,
    numbers: HashMap<Digest, u32>,
    paths: HashSet<Arc<str>>,
    pub(super) not_hexadecimal: Vec<String>,
}

impl Collector {
    pub(super) fn report(&mut self, code: Code, message: String) {
        let count = self.counts.entry(code).or_default();
        *count += 1;
        if *count <= FINDINGS_OF_A_CODE {
            self.findings.push(Finding { code, message });
        }
    }

    pub(super) fn findings(mut self) -> Vec<Finding> {
        for (code, count) in self.counts {
            if count > FINDINGS_OF_A_CODE {
                let message = format!("and {} more of this kind", count - FINDINGS_OF_A_CODE);
                self.findings.push(Finding { code, message });
            }
        }
        self.findings
    }

    /// The digests of the manifest that are not written in small letters.
    pub(super) fn capitals(&self) -> BTreeMap<Digest, Box<str>> {
        let written = |slot: &Slot| {
            let case = slot.in_manifest.filter(|case| case.0 != 0)?;
            Some((slot.digest, case.of_digest(&slot.digest).into_boxed_str()))
        };
        self.slots.iter().filter_map(written).collect()
    }

    fn slot(&mut self, text: &str) -> Option<u32> {
        let Ok(digest) = text.parse::<Digest>() else {
            self.not_hexadecimal.push(text.to_owned());
            return None;
        };
        Some(match self.numbers.entry(digest) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let number = self.slots.len() as u32;
                self.slots.push(Slot { digest, in_manifest: None, in_states: None, written_variously: false });
                *new.insert(number)
            }
        })
    }

    /// One copy of a logical path, however many versions have it.
    fn shared(&mut self, path: &str) -> Arc<str> {
        if let Some(known) = self.paths.get(path) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(path);
        self.paths.insert(Arc::clone(&new));
        new
    }

    /// Reports what is wrong with a path; whether it may be used.
    fn check_path(&mut self, path: &str, slash: Code, part: Code, place: &str) -> bool {
        let outer_slash = path.starts_with('/') || path.ends_with('/');
        if outer_slash {
            self.report(slash, format!("{place}: {path:?} begins or ends with a slash"));
        }
        let inner = path.strip_prefix('/').unwrap_or(path);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let bad_part = inner.split('/').any(|part| matches!(part, "" | "." | ".."));
        if bad_part {
            self.report(part, format!("{place}: {path:?} has a part that is empty, . or .."));
        }
        !outer_slash && !bad_part
    }
}

pub(super) fn collect(bytes: &[u8], collector: &mut Collector) -> Result<Document, serde_json::Error> {
    let mut document = Document::default();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Any(Root { document: &mut document, collector }).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(document)
}

struct Root<'a> {
    document: &'a mut Document,
    collector: &'a mut Collector,
}

impl<'de> Shape<'de> for Root<'_> {
    fn wrong(self, found: &'static str) {
        // The keys count as given: their absence is not what is wrong.
        self.document.keys = vec!["id", "type", "digestAlgorithm", "head", "manifest", "versions"];
        self.collector.report(Code::E033, format!("the document is {found}, not an object"));
    }

    fn object<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        const KEYS: [&str; 8] =
            ["id", "type", "digestAlgorithm", "head", "contentDirectory", "manifest", "versions", "fixity"];
        while let Some(key) = map.next_key_seed(Key)? {
            let Some(known) = KEYS.into_iter().find(|known| *known == key) else {
                self.collector.report(Code::E102, format!("the key {key:?} is not specified"));
                map.next_value::<serde::de::IgnoredAny>()?;
                continue;
            };
            if self.document.has(known) {
                self.collector.report(Code::E033, format!("the key {known} stands in the document more than once"));
            }
            self.document.keys.push(known);
            self.value(known, &mut map)?;
        }
        Ok(())
    }
}

impl Root<'_> {
    fn value<'de, A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        let (document, collector) = (&mut *self.document, &mut *self.collector);
        match key {
            "id" => map.next_value_seed(text(&mut document.id, Code::E037, key, collector)),
            "type" => map.next_value_seed(text(&mut document.inventory_type, Code::E038, key, collector)),
            "digestAlgorithm" => map.next_value_seed(text(&mut document.algorithm, Code::E025, key, collector)),
            "head" => map.next_value_seed(text(&mut document.head, Code::E040, key, collector)),
            "contentDirectory" => {
                map.next_value_seed(text(&mut document.content_directory, Code::E108, key, collector))
            }
            "manifest" => map.next_value_seed(Any(Manifest { to: &mut document.manifest, collector })),
            "versions" => map.next_value_seed(Any(Versions { to: &mut document.versions, collector })),
            _ => map.next_value_seed(Any(Fixity { to: &mut document.fixity, collector })),
        }
    }
}

/// A string, or a finding with `code`.
struct Text<'a> {
    to: &'a mut Option<String>,
    code: Code,
    name: &'a str,
    collector: &'a mut Collector,
}

impl<'de> Shape<'de> for Text<'_> {
    fn wrong(self, found: &'static str) {
        self.collector.report(self.code, format!("{} is {found}, not a string", self.name));
    }

    fn text(self, value: Cow<'de, str>) {
        *self.to = Some(value.into_owned());
    }
}

fn text<'a>(to: &'a mut Option<String>, code: Code, name: &'a str, collector: &'a mut Collector) -> Any<Text<'a>> {
    Any(Text { to, code, name, collector })
}

struct Manifest<'a> {
    to: &'a mut Option<Vec<(u32, Arc<str>)>>,
    collector: &'a mut Collector,
}

impl<'de> Shape<'de> for Manifest<'_> {
    fn wrong(self, found: &'static str) {
        self.collector.report(Code::E106, format!("manifest is {found}, not an object"));
    }

    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let entries = self.to.get_or_insert_default();
        while let Some(text) = map.next_key_seed(Key)? {
            let number = self.collector.slot(&text);
            if let Some(slot) = number.and_then(|number| self.collector.slots.get_mut(number as usize)) {
                let before = slot.in_manifest.replace(Case::of(&text));
                if before.is_some() {
                    self.collector.report(Code::E096, format!("{text} stands in the manifest more than once"));
                }
            }
            let paths = Paths {
                place: "manifest",
                wrong: Code::E092,
                collector: &mut *self.collector,
                take: |path: &str| {
                    if let Some(number) = number {
                        entries.push((number, path.into()));
                    }
                },
            };
            map.next_value_seed(Any(paths))?;
        }
        Ok(())
    }
}

/// A list of content paths.
struct Paths<'a, F> {
    place: &'a str,
    wrong: Code,
    collector: &'a mut Collector,
    take: F,
}

impl<'de, F: FnMut(&str)> Shape<'de> for Paths<'_, F> {
    fn wrong(self, found: &'static str) {
        self.collector.report(self.wrong, format!("{}: a digest has {found}, not a list of paths", self.place));
    }

    fn list<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let mut path = None;
        let mut count = 0;
        while list.next_element_seed(text(&mut path, self.wrong, "a content path", self.collector))?.is_some() {
            count += 1;
            if let Some(path) = path.take()
                && self.collector.check_path(&path, Code::E100, Code::E099, self.place)
            {
                (self.take)(&path);
            }
        }
        if count == 0 {
            self.collector.report(self.wrong, format!("{}: a digest has no paths", self.place));
        }
        Ok(())
    }
}

struct Versions<'a> {
    to: &'a mut Option<Vec<RawVersion>>,
    collector: &'a mut Collector,
}

impl<'de> Shape<'de> for Versions<'_> {
    fn wrong(self, found: &'static str) {
        self.collector.report(Code::E044, format!("versions is {found}, not an object"));
    }

    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let versions = self.to.get_or_insert_default();
        while let Some(name) = map.next_key_seed(Key)? {
            if versions.iter().any(|known| known.name == name) {
                self.collector.report(Code::E033, format!("the version {name} stands in the document more than once"));
            }
            let mut version = RawVersion { name: name.into_owned(), ..RawVersion::default() };
            match VersionNumber::parse(&version.name) {
                Ok(number) => version.number = Some(number),
                Err(error) => {
                    let code = if error == VersionNumberError::NoPrefix { Code::E104 } else { Code::E105 };
                    let message = format!("the version name {:?} is malformed: {error}", version.name);
                    self.collector.report(code, message.clone());
                    self.collector.report(Code::E046, message);
                }
            }
            map.next_value_seed(Any(VersionBlock { version: &mut version, collector: &mut *self.collector }))?;
            versions.push(version);
        }
        Ok(())
    }
}

struct VersionBlock<'a> {
    version: &'a mut RawVersion,
    collector: &'a mut Collector,
}

impl<'de> Shape<'de> for VersionBlock<'_> {
    fn wrong(self, found: &'static str) {
        self.collector.report(Code::E047, format!("{} is {found}, not an object", self.version.name));
    }

    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let VersionBlock { version, collector } = self;
        let name = version.name.clone();
        let (mut created, mut state, mut message, mut user) = (false, false, false, false);
        while let Some(key) = map.next_key_seed(Key)? {
            let label = format!("{name}: {key}");
            let again = match key.as_ref() {
                "created" => {
                    map.next_value_seed(text(&mut version.created, Code::E049, &label, collector))?;
                    std::mem::replace(&mut created, true)
                }
                "message" => {
                    map.next_value_seed(text(&mut version.message, Code::E094, &label, collector))?;
                    std::mem::replace(&mut message, true)
                }
                "state" => {
                    let seed = State { name: &name, to: &mut version.state, collector: &mut *collector };
                    map.next_value_seed(Any(seed))?;
                    std::mem::replace(&mut state, true)
                }
                "user" => {
                    map.next_value_seed(Any(UserBlock {
                        name: &name,
                        to: &mut version.user,
                        collector: &mut *collector,
                    }))?;
                    std::mem::replace(&mut user, true)
                }
                _ => {
                    collector.report(Code::E102, format!("{name}: the key {key:?} is not specified"));
                    map.next_value::<serde::de::IgnoredAny>()?;
                    false
                }
            };
            if again {
                collector.report(Code::E033, format!("{name}: the key {key} stands there more than once"));
            }
        }
        for (key, _) in [("created", created), ("state", state)].into_iter().filter(|(_, given)| !given) {
            collector.report(Code::E048, format!("{name}: the key {key} is missing"));
        }
        for (key, _) in [("message", message), ("user", user)].into_iter().filter(|(_, given)| !given) {
            collector.report(Code::W007, format!("{name}: the key {key} is missing"));
        }
        if let Some(text) = &version.created
            && time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).is_err()
        {
            collector.report(Code::E049, format!("{name}: created is {text:?}, not a time as 2026-01-31T08:00:00Z"));
        }
        Ok(())
    }
}

struct State<'a> {
    name: &'a str,
    to: &'a mut Vec<(Arc<str>, u32)>,
    collector: &'a mut Collector,
}

impl<'de> Shape<'de> for State<'_> {
    fn wrong(self, found: &'static str) {
        self.collector.report(Code::E050, format!("{}: state is {found}, not an object", self.name));
    }

    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(text) = map.next_key_seed(Key)? {
            let number = self.collector.slot(&text);
            if let Some(slot) = number.and_then(|number| self.collector.slots.get_mut(number as usize)) {
                let before = slot.in_states.replace(Case::of(&text));
                slot.written_variously |= before.is_some_and(|before| Some(before) != slot.in_states);
            }
            let seed = LogicalPaths { name: self.name, number, to: &mut *self.to, collector: &mut *self.collector };
            map.next_value_seed(Any(seed))?;
        }
        Ok(())
    }
}

struct LogicalPaths<'a> {
    name: &'a str,
    number: Option<u32>,
    to: &'a mut Vec<(Arc<str>, u32)>,
    collector: &'a mut Collector,
}

impl<'de> Shape<'de> for LogicalPaths<'_> {
    fn wrong(self, found: &'static str) {
        let message = format!("{}: a digest of the state has {found}, not a list of paths", self.name);
        self.collector.report(Code::E051, message);
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut path = None;
        while list.next_element_seed(text(&mut path, Code::E051, "a logical path", self.collector))?.is_some() {
            let Some(path) = path.take() else { continue };
            if self.collector.check_path(&path, Code::E053, Code::E052, self.name)
                && let Some(number) = self.number
            {
                let shared = self.collector.shared(&path);
                self.to.push((shared, number));
            }
        }
        Ok(())
    }
}

struct UserBlock<'a> {
    name: &'a str,
    to: &'a mut Option<User>,
    collector: &'a mut Collector,
}

impl<'de> Shape<'de> for UserBlock<'_> {
    fn wrong(self, found: &'static str) {
        self.collector.report(Code::E054, format!("{}: user is {found}, not an object", self.name));
    }

    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut name, mut address, mut has_address) = (None, None, false);
        while let Some(key) = map.next_key_seed(Key)? {
            let label = format!("{}: user {key}", self.name);
            match key.as_ref() {
                "name" => map.next_value_seed(text(&mut name, Code::E054, &label, self.collector))?,
                "address" => {
                    has_address = true;
                    map.next_value_seed(text(&mut address, Code::E054, &label, self.collector))?;
                }
                _ => {
                    self.collector.report(Code::E102, format!("{label} is not specified"));
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
        }
        if !has_address {
            self.collector.report(Code::W008, format!("{}: the user has no address", self.name));
        }
        if let Some(address) = address.as_deref().filter(|address| !super::is_uri(address)) {
            self.collector.report(Code::W009, format!("{}: the address {address:?} is not a URI", self.name));
        }
        match name.filter(|name| !name.is_empty()) {
            Some(name) => *self.to = Some(User { name, address }),
            None => self.collector.report(Code::E054, format!("{}: the user has no name", self.name)),
        }
        Ok(())
    }
}

struct Fixity<'a> {
    to: &'a mut Vec<RawFixity>,
    collector: &'a mut Collector,
}

impl<'de> Shape<'de> for Fixity<'_> {
    fn wrong(self, found: &'static str) {
        self.collector.report(Code::E111, format!("fixity is {found}, not an object"));
    }

    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Key)? {
            let mut block = RawFixity { name: name.into_owned(), entries: Vec::new() };
            map.next_value_seed(Any(Block { block: &mut block, collector: &mut *self.collector }))?;
            self.to.push(block);
        }
        Ok(())
    }
}

struct Block<'a> {
    block: &'a mut RawFixity,
    collector: &'a mut Collector,
}

impl<'de> Shape<'de> for Block<'_> {
    fn wrong(self, found: &'static str) {
        self.collector.report(Code::E057, format!("fixity {} is {found}, not an object", self.block.name));
    }

    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let known = crate::digest::Algorithm::from_name(&self.block.name).is_some();
        let place = format!("fixity {}", self.block.name);
        let mut seen = HashSet::new();
        while let Some(text) = map.next_key_seed(Key)? {
            let digest = text.parse::<Digest>().ok();
            match digest {
                Some(digest) if !seen.insert(digest) => {
                    self.collector.report(Code::E097, format!("{place}: {text} stands there more than once"));
                }
                None if known => {
                    self.collector.report(Code::E057, format!("{place}: {text:?} is not a digest in hexadecimal"));
                }
                _ => {}
            }
            let entries = &mut self.block.entries;
            let paths = Paths {
                place: &place,
                wrong: Code::E057,
                collector: &mut *self.collector,
                take: |path: &str| {
                    if let Some(digest) = digest {
                        entries.push((digest, path.into()));
                    }
                },
            };
            map.next_value_seed(Any(paths))?;
        }
        Ok(())
    }
}
