//! Reading an inventory: first a pass over the JSON that collects what is there (`collect`), then the checks that
//! need the whole of it, then the model.

mod collect;

use std::collections::HashMap;
use std::sync::Arc;

use self::collect::{Collector, Document, RawVersion};
use super::{FixityBlock, Inventory, Parsed, StateEntry, Version};
use crate::digest::{Algorithm, Digest};
use crate::ocfl::problem::Code;
use crate::ocfl::version::{SpecVersion, VersionNumber};

const NOWHERE: u32 = u32::MAX;

pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let mut collector = Collector::default();
    let document = match collect::collect(bytes, &mut collector) {
        Ok(document) => document,
        Err(error) => {
            collector.report(Code::E033, format!("not a JSON document: {error}"));
            return Parsed { inventory: None, findings: collector.findings(), algorithm_name: None };
        }
    };
    let algorithm_name = document.algorithm.clone();
    let inventory = assemble(document, &mut collector);
    Parsed { inventory, findings: collector.findings(), algorithm_name }
}

/// Whether a reader may pass over a finding: it is about words and order, not about which bytes a file has.
pub(super) fn is_tolerable(code: Code) -> bool {
    use Code::{E011, E012, E013, E049, E054, E056, E057, E094, E096, E097, E102, E107, E111};
    !code.is_error()
        || matches!(code, E011 | E012 | E013 | E049 | E054 | E056 | E057 | E094 | E096 | E097 | E102 | E107 | E111)
}

fn assemble(mut document: Document, collector: &mut Collector) -> Option<Inventory> {
    missing_keys(&document, collector);
    let spec = spec_of(&document, collector);
    let algorithm = algorithm_of(&document, collector);
    let content_directory = content_directory_of(&document, collector);
    let versions = document.versions.take();
    let manifest = document.manifest.take();
    let (mut raw_versions, manifest) = (versions?, manifest?);
    raw_versions.sort_by_key(|version| version.number);
    version_sequence(&raw_versions, collector);
    let head = head_of(&document, &raw_versions, collector);
    let directory = content_directory.as_deref().unwrap_or(super::DEFAULT_CONTENT_DIRECTORY);
    content_paths(&manifest, &raw_versions, directory, collector);
    digest_usage(algorithm, collector);
    let (algorithm, head) = (algorithm?, head?);
    let capitals = collector.capitals();
    let layout = Manifest::new(manifest, collector);
    let fixity = fixity_blocks(document.fixity, &layout, spec, collector);
    let versions = raw_versions.into_iter().filter_map(|version| finish_version(version, &layout, collector)).collect();
    Some(Inventory {
        id: document.id.unwrap_or_default(),
        spec,
        algorithm,
        head,
        content_directory,
        digests: layout.digests,
        first_paths: layout.first_paths,
        content_paths: layout.content_paths,
        versions,
        fixity,
        capitals,
    })
}

fn missing_keys(document: &Document, collector: &mut Collector) {
    for key in ["id", "type", "digestAlgorithm", "head"] {
        if !document.has(key) {
            collector.report(Code::E036, format!("the key {key} is missing"));
        }
    }
    for key in ["manifest", "versions"] {
        if !document.has(key) {
            collector.report(Code::E041, format!("the block {key} is missing"));
        }
    }
    if !document.has("versions") {
        collector.report(Code::E043, "the block versions is missing".to_owned());
    }
    match document.id.as_deref() {
        Some("") => collector.report(Code::E037, "the id is empty".to_owned()),
        Some(id) if !is_uri(id) => collector.report(Code::W005, format!("the id {id:?} is not a URI")),
        _ => {}
    }
}

fn spec_of(document: &Document, collector: &mut Collector) -> SpecVersion {
    let Some(found) = document.inventory_type.as_deref() else { return SpecVersion::V1_1 };
    let spec = SpecVersion::ALL.into_iter().find(|spec| spec.inventory_type() == found);
    if spec.is_none() {
        let expected = SpecVersion::V1_1.inventory_type();
        collector.report(Code::E038, format!("type is {found:?}, not {expected} or that of an earlier version"));
    }
    spec.unwrap_or(SpecVersion::V1_1)
}

fn algorithm_of(document: &Document, collector: &mut Collector) -> Option<Algorithm> {
    let name = document.algorithm.as_deref()?;
    match name {
        "sha512" => {}
        "sha256" => collector.report(Code::W004, "digestAlgorithm is sha256, not sha512".to_owned()),
        _ => collector.report(Code::E025, format!("digestAlgorithm is {name:?}, not sha512 or sha256")),
    }
    Algorithm::from_name(name)
}

fn content_directory_of(document: &Document, collector: &mut Collector) -> Option<String> {
    let name = document.content_directory.as_deref()?;
    let code = match name {
        "." | ".." => Code::E018,
        "" => Code::E108,
        _ if name.contains('/') => Code::E017,
        _ => return Some(name.to_owned()),
    };
    collector.report(code, format!("contentDirectory is {name:?}, which is not the name of a directory"));
    None
}

/// Sections 3.3.1 and 3.5.3: one sequence from 1, named in one way.
fn version_sequence(versions: &[RawVersion], collector: &mut Collector) {
    if versions.is_empty() {
        collector.report(Code::E008, "there are no versions".to_owned());
        return;
    }
    let numbers: Vec<_> = versions.iter().filter_map(|version| version.number).collect();
    let Some(first) = numbers.first() else {
        collector.report(Code::E009, "there is no version 1".to_owned());
        return;
    };
    if first.number() != 1 {
        collector.report(Code::E009, format!("the first version is {first}, not 1"));
    }
    if first.padded_width() > 0 {
        collector.report(Code::W001, format!("the version name {first} is zero-padded"));
    }
    for pair in numbers.windows(2) {
        let [one, two] = pair else { continue };
        if two.number() > one.number() + 1 {
            collector.report(Code::E010, format!("{one} is followed by {two}"));
        }
        if one.number() == two.number() {
            collector.report(Code::E012, format!("{one} and {two} are the same version"));
        }
    }
    for number in numbers.iter().filter(|number| number.padded_width() != first.padded_width()) {
        let same_length = number.to_string().len() == first.to_string().len();
        let code = if first.padded_width() > 0 && same_length { Code::E011 } else { Code::E012 };
        collector.report(code, format!("{number} is not named as {first} is"));
        collector.report(Code::E013, format!("{number} does not follow the naming of {first}"));
    }
}

fn head_of(document: &Document, versions: &[RawVersion], collector: &mut Collector) -> Option<VersionNumber> {
    let highest = versions.iter().filter_map(|version| version.number).next_back();
    if let Some(head) = document.head.as_deref()
        && highest.is_none_or(|highest| highest.to_string() != head)
    {
        let expected = highest.map_or_else(|| "a version".to_owned(), |highest| highest.to_string());
        collector.report(Code::E040, format!("head is {head:?}, not {expected}, the highest version"));
    }
    highest
}

fn content_paths(manifest: &[(u32, Arc<str>)], versions: &[RawVersion], directory: &str, collector: &mut Collector) {
    for (_, path) in manifest {
        let mut parts = path.splitn(3, '/');
        let (version, second, rest) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        if !versions.iter().any(|known| known.name == version) {
            let number = VersionNumber::parse(version).ok().map(VersionNumber::number);
            let otherwise_named =
                number.is_some() && versions.iter().any(|known| known.number.map(VersionNumber::number) == number);
            let code = if otherwise_named { Code::E014 } else { Code::E042 };
            collector.report(code, format!("{path:?} does not begin with a version of the object"));
        } else if second != Some(directory) || rest.is_none() {
            collector.report(Code::E042, format!("{path:?} is not in the content directory {directory}"));
        }
    }
    let mut sorted: Vec<&str> = manifest.iter().map(|(_, path)| path.as_ref()).collect();
    sorted.sort_unstable();
    for clash in clashes(&sorted) {
        collector.report(Code::E101, clash);
    }
}

/// What is wrong with a sorted list of paths: one that is there twice, or that is the directory of another.
fn clashes(sorted: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut last_parent = "";
    for (index, path) in sorted.iter().enumerate() {
        if index.checked_sub(1).and_then(|before| sorted.get(before)) == Some(path) {
            found.push(format!("{path:?} is named more than once"));
            continue;
        }
        let Some((parent, _)) = path.rsplit_once('/') else { continue };
        if parent == last_parent {
            continue;
        }
        last_parent = parent;
        let mut above = parent;
        loop {
            if sorted.binary_search(&above).is_ok() {
                found.push(format!("{above:?} is a file and the directory of {path:?}"));
            }
            match above.rsplit_once('/') {
                Some((shorter, _)) => above = shorter,
                None => break,
            }
        }
    }
    found
}

fn digest_usage(algorithm: Option<Algorithm>, collector: &mut Collector) {
    let mut found = Vec::new();
    for slot in &collector.slots {
        let digest = &slot.digest;
        if algorithm.is_some_and(|algorithm| digest.as_bytes().len() != algorithm.len_bytes()) {
            let length = digest.as_bytes().len() * 2;
            found
                .push((Code::E039, format!("{digest} has {length} characters, which is not digestAlgorithm's length")));
        }
        match (slot.in_manifest, slot.in_states) {
            (Some(_), None) => found.push((Code::E107, format!("{digest} is in the manifest and in no version"))),
            (None, Some(_)) => found.push((Code::E050, format!("{digest} is in a state and not in the manifest"))),
            (one, two) if one != two || slot.written_variously => {
                found.push((Code::E050, format!("{digest} is not written alike in manifest and states")));
            }
            _ => {}
        }
    }
    for text in std::mem::take(&mut collector.not_hexadecimal) {
        let code = if algorithm == Some(Algorithm::Sha256) { Code::E030 } else { Code::E031 };
        found.push((code, format!("{text:?} is not a digest in hexadecimal")));
    }
    for (code, message) in found {
        collector.report(code, message);
    }
}

/// The manifest in its final order.
struct Manifest {
    digests: Vec<Digest>,
    first_paths: Vec<u32>,
    content_paths: Vec<Arc<str>>,
    /// From the collector's numbering of digests to the index in `digests`.
    renumbered: Vec<u32>,
}

impl Manifest {
    fn new(mut entries: Vec<(u32, Arc<str>)>, collector: &Collector) -> Manifest {
        let digest_of = |slot: u32| collector.slots.get(slot as usize).map_or(Digest::EMPTY, |slot| slot.digest);
        entries.sort_unstable_by(|(one, one_path), (two, two_path)| {
            (digest_of(*one), one_path).cmp(&(digest_of(*two), two_path))
        });
        let mut renumbered = vec![NOWHERE; collector.slots.len()];
        let (mut digests, mut first_paths) = (Vec::new(), Vec::new());
        let mut content_paths = Vec::with_capacity(entries.len());
        for (slot, path) in entries {
            if let Some(number) = renumbered.get_mut(slot as usize).filter(|number| **number == NOWHERE) {
                *number = digests.len() as u32;
                digests.push(digest_of(slot));
                first_paths.push(content_paths.len() as u32);
            }
            content_paths.push(path);
        }
        first_paths.push(content_paths.len() as u32);
        digests.shrink_to_fit();
        first_paths.shrink_to_fit();
        Manifest { digests, first_paths, content_paths, renumbered }
    }
}

fn finish_version(raw: RawVersion, manifest: &Manifest, collector: &mut Collector) -> Option<Version> {
    let mut state: Vec<StateEntry> = Vec::with_capacity(raw.state.len());
    for (path, slot) in raw.state {
        let digest = manifest.renumbered.get(slot as usize).copied().unwrap_or(NOWHERE);
        state.push(StateEntry { path, digest });
    }
    state.sort_unstable_by(|one, two| one.path.cmp(&two.path));
    let paths: Vec<&str> = state.iter().map(|entry| entry.path.as_ref()).collect();
    for clash in clashes(&paths) {
        collector.report(Code::E095, format!("{}: {clash}", raw.name));
    }
    drop(paths);
    state.retain(|entry| entry.digest != NOWHERE);
    state.dedup_by(|one, two| Arc::ptr_eq(&one.path, &two.path));
    state.shrink_to_fit();
    let number = raw.number?;
    Some(Version { number, created: raw.created.unwrap_or_default(), message: raw.message, user: raw.user, state })
}

fn fixity_blocks(
    raw: Vec<collect::RawFixity>,
    manifest: &Manifest,
    spec: SpecVersion,
    collector: &mut Collector,
) -> Vec<FixityBlock> {
    if raw.is_empty() {
        return Vec::new();
    }
    let indexes: HashMap<&str, u32> =
        manifest.content_paths.iter().zip(0_u32..).map(|(path, index)| (path.as_ref(), index)).collect();
    let mut blocks = Vec::new();
    for block in raw {
        let algorithm = Algorithm::from_name(&block.name);
        if algorithm.is_none() && block.name.is_empty() {
            let code = if spec == SpecVersion::V1_0 { Code::E056 } else { Code::E057 };
            collector.report(code, "a block of fixity has an empty name".to_owned());
        }
        let mut entries = Vec::with_capacity(block.entries.len());
        for (digest, path) in block.entries {
            if algorithm.is_some_and(|algorithm| algorithm.len_bytes() != digest.as_bytes().len()) {
                collector.report(Code::E057, format!("{digest} is not of the length of {}", block.name));
            } else if let Some(index) = indexes.get(path.as_ref()) {
                entries.push((*index, digest));
            } else {
                collector.report(Code::E057, format!("{path:?} in the fixity block is not in the manifest"));
            }
        }
        let name_of = |index: u32| manifest.content_paths.get(index as usize);
        entries.sort_by(|(one, _), (two, _)| name_of(*one).cmp(&name_of(*two)));
        blocks.push(FixityBlock { name: block.name, entries });
    }
    blocks.sort_by(|one, two| one.name.cmp(&two.name));
    blocks
}

/// Whether a text has the form of a URI: a scheme, a colon, and something without white space (RFC 3986).
pub(super) fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.is_empty()
        && !rest.contains(|character: char| {
            character.is_whitespace() || character.is_control() || "<>\"{}|\\^`".contains(character)
        })
}
