//! The model of an `inventory.json` (OCFL 1.1 section 3.5), lean enough for objects with very many files: a digest
//! is kept once as bytes, a logical path once whatever the number of versions that have it.

mod parse;
mod shape;
mod write;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use super::problem::Finding;
pub use write::{InventoryBuilder, VersionRecord};

use super::version::{SpecVersion, VersionNumber};
use crate::digest::{Algorithm, Digest};

/// The name of the content directory when an inventory does not give one.
pub const DEFAULT_CONTENT_DIRECTORY: &str = "content";

/// An object's inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    id: String,
    spec: SpecVersion,
    algorithm: Algorithm,
    head: VersionNumber,
    content_directory: Option<String>,
    /// The digests of the manifest, sorted.
    digests: Vec<Digest>,
    /// For each digest, where its paths begin in `content_paths`; one more at the end.
    first_paths: Vec<u32>,
    content_paths: Vec<Arc<str>>,
    /// Sorted by number.
    versions: Vec<Version>,
    /// Sorted by name.
    fixity: Vec<FixityBlock>,
    /// How the digests are written that have capitals in them: earlier inventories of the object have them so.
    capitals: BTreeMap<Digest, Box<str>>,
}

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    number: VersionNumber,
    created: String,
    message: Option<String>,
    user: Option<User>,
    /// Sorted by logical path.
    state: Vec<StateEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct StateEntry {
    path: Arc<str>,
    /// The index of the digest in the manifest.
    digest: u32,
}

/// Who made a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// A URI, such as `mailto:` and an address.
    pub address: Option<String>,
}

/// The fixity values of one algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixityBlock {
    name: String,
    /// Sorted by path; the index is that of the content path.
    entries: Vec<(u32, Digest)>,
}

/// A file of a version: what it is called there, and where its bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionFile<'a> {
    /// The path in the version's state.
    pub logical_path: &'a str,
    /// The content digest.
    pub digest: &'a Digest,
    /// Its algorithm, that of the inventory.
    pub algorithm: Algorithm,
    /// The path of the bytes, relative to the object root.
    pub content_path: &'a str,
}

/// What parsing gave: the inventory, if one could be made of it, and all that is wrong with the document.
#[derive(Debug)]
pub struct Parsed {
    /// The inventory; `None` when a part of it that everything depends on is missing or malformed.
    pub inventory: Option<Inventory>,
    /// What is wrong, warnings included, in the order found.
    pub findings: Vec<Finding>,
    /// The `digestAlgorithm` as written, even when there is no inventory.
    pub algorithm_name: Option<String>,
}

impl Inventory {
    /// Reads a document and reports everything that is wrong with it by itself.
    pub fn parse(bytes: &[u8]) -> Parsed {
        parse::parse(bytes)
    }

    /// Reads a document that is to be trusted: refuses one with any finding that could mislead a reader, and
    /// passes over those that cannot (a malformed time, an unknown key, a stray fixity value).
    pub fn read(bytes: &[u8]) -> Result<Inventory, Vec<Finding>> {
        let parsed = parse::parse(bytes);
        let fatal: Vec<_> = parsed.findings.into_iter().filter(|finding| !parse::is_tolerable(finding.code)).collect();
        match parsed.inventory {
            Some(inventory) if fatal.is_empty() => Ok(inventory),
            _ => Err(fatal),
        }
    }

    /// The document, always the same for the same inventory.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Nothing that can fail is written: the keys are strings and the memory is ours.
        let _ = write::write_json(self, &mut bytes);
        bytes
    }

    /// Writes the document.
    pub fn write_json(&self, sink: &mut dyn io::Write) -> io::Result<()> {
        write::write_json(self, sink)
    }

    /// The object's identifier.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The specification version that `type` names.
    pub fn spec(&self) -> SpecVersion {
        self.spec
    }

    /// The algorithm of manifest and states: sha512 or sha256.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The newest version.
    pub fn head(&self) -> VersionNumber {
        self.head
    }

    /// The name of the content directory in every version directory.
    pub fn content_directory(&self) -> &str {
        self.content_directory.as_deref().unwrap_or(DEFAULT_CONTENT_DIRECTORY)
    }

    /// Whether the key `contentDirectory` is given.
    pub fn names_content_directory(&self) -> bool {
        self.content_directory.is_some()
    }

    /// All versions, the oldest first.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// One version by its number, whatever the padding.
    pub fn version(&self, number: u32) -> Option<&Version> {
        let index = self.versions.binary_search_by_key(&number, |version| version.number.number()).ok()?;
        self.versions.get(index)
    }

    /// The files of a version, sorted by logical path; none when there is no such version.
    pub fn files(&self, number: u32) -> impl ExactSizeIterator<Item = VersionFile<'_>> + Clone {
        let state = self.version(number).map(|version| version.state.as_slice()).unwrap_or_default();
        state.iter().map(|entry| self.version_file(entry))
    }

    /// A file of a version by its place among them, from 0, in constant time.
    pub fn file_at(&self, number: u32, index: usize) -> Option<VersionFile<'_>> {
        self.version(number)?.state.get(index).map(|entry| self.version_file(entry))
    }

    /// One file of a version.
    pub fn file(&self, number: u32, logical_path: &str) -> Option<VersionFile<'_>> {
        let state = &self.version(number)?.state;
        let index = state.binary_search_by(|entry| entry.path.as_ref().cmp(logical_path)).ok()?;
        state.get(index).map(|entry| self.version_file(entry))
    }

    /// Every content file of all versions with its digest, sorted by digest.
    pub fn manifest(&self) -> impl Iterator<Item = (&Digest, &str)> + Clone {
        self.digests
            .iter()
            .enumerate()
            .flat_map(|(index, digest)| self.paths_of(index as u32).iter().map(move |path| (digest, path.as_ref())))
    }

    /// How many content files the manifest names.
    pub fn manifest_len(&self) -> usize {
        self.content_paths.len()
    }

    /// The content paths with this digest, if any.
    pub fn content_paths(&self, digest: &Digest) -> impl Iterator<Item = &str> {
        let index = self.digests.binary_search(digest).ok();
        let paths = index.map(|index| self.paths_of(index as u32)).unwrap_or_default();
        paths.iter().map(AsRef::as_ref)
    }

    /// The fixity blocks, sorted by the name of the algorithm.
    pub fn fixity(&self) -> &[FixityBlock] {
        &self.fixity
    }

    /// The values of one fixity block: content path and digest.
    pub fn fixity_values<'a>(&'a self, block: &'a FixityBlock) -> impl Iterator<Item = (&'a str, &'a Digest)> {
        block
            .entries
            .iter()
            .filter_map(|(path, digest)| self.content_paths.get(*path as usize).map(|path| (path.as_ref(), digest)))
    }

    /// The fixity value of one content path, if there is one in this algorithm.
    pub fn fixity_of(&self, algorithm: Algorithm, content_path: &str) -> Option<&Digest> {
        let block = self.fixity.iter().find(|block| block.name == algorithm.name())?;
        let named = |index: &u32| self.content_paths.get(*index as usize).map(AsRef::as_ref);
        let index = block.entries.binary_search_by(|(index, _)| named(index).cmp(&Some(content_path))).ok()?;
        block.entries.get(index).map(|(_, digest)| digest)
    }

    /// The digest of a file in this algorithm, if the inventory has it for the place where the content lies.
    pub fn digest_of(&self, file: &VersionFile<'_>, algorithm: Algorithm) -> Option<Digest> {
        if algorithm == file.algorithm {
            return Some(*file.digest);
        }
        self.fixity_of(algorithm, file.content_path).copied()
    }

    fn paths_of(&self, digest: u32) -> &[Arc<str>] {
        let bound = |index: usize| self.first_paths.get(index).map_or(0, |bound| *bound as usize);
        let digest = digest as usize;
        self.content_paths.get(bound(digest)..bound(digest + 1)).unwrap_or_default()
    }

    fn version_file<'a>(&'a self, entry: &'a StateEntry) -> VersionFile<'a> {
        const NONE: &Digest = &Digest::EMPTY;
        VersionFile {
            logical_path: &entry.path,
            digest: self.digests.get(entry.digest as usize).unwrap_or(NONE),
            algorithm: self.algorithm,
            content_path: self.paths_of(entry.digest).first().map(AsRef::as_ref).unwrap_or_default(),
        }
    }
}

impl Version {
    /// The version's number.
    pub fn number(&self) -> VersionNumber {
        self.number
    }

    /// When it was made, as the inventory writes it.
    pub fn created(&self) -> &str {
        &self.created
    }

    /// When it was made, if that is a time as in RFC 3339.
    pub fn created_at(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(&self.created, &Rfc3339).ok()
    }

    /// Why it was made.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Who made it.
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// How many files it has.
    pub fn len(&self) -> usize {
        self.state.len()
    }

    /// Whether it has no files.
    pub fn is_empty(&self) -> bool {
        self.state.is_empty()
    }
}

impl FixityBlock {
    /// The name of the algorithm, which need not be one that is known here.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The algorithm, if it is one that this crate computes.
    pub fn algorithm(&self) -> Option<Algorithm> {
        Algorithm::from_name(&self.name)
    }
}
