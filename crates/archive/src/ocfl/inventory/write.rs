//! Making an inventory: a new one, or the next version of an existing one; and its document.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::ser::PrettyFormatter;

use super::{FixityBlock, Inventory, StateEntry, User, Version};
use crate::digest::{Algorithm, Digest};
use crate::ocfl::version::{SpecVersion, VersionNumber};

/// What is said about a version besides its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRecord {
    /// A time as in RFC 3339.
    pub created: String,
    /// Why the version was made.
    pub message: Option<String>,
    /// Who made it.
    pub user: Option<User>,
}

/// Logical paths and the digests of their bytes.
type State = Vec<(Arc<str>, Digest)>;

/// Collects manifest, states and fixity values, and puts them in order.
pub struct InventoryBuilder {
    id: String,
    spec: SpecVersion,
    algorithm: Algorithm,
    content_directory: Option<String>,
    /// The content paths of each digest.
    manifest: BTreeMap<Digest, Vec<Arc<str>>>,
    versions: Vec<(VersionNumber, VersionRecord, State)>,
    fixity: BTreeMap<String, Vec<(Arc<str>, Digest)>>,
    capitals: BTreeMap<Digest, Box<str>>,
    /// How many fixity values of an algorithm are to be expected.
    expected: usize,
}

impl InventoryBuilder {
    /// An inventory without versions, in OCFL 1.1 with sha512.
    pub fn new(id: &str) -> InventoryBuilder {
        InventoryBuilder {
            id: id.to_owned(),
            spec: SpecVersion::V1_1,
            algorithm: Algorithm::Sha512,
            content_directory: None,
            manifest: BTreeMap::new(),
            versions: Vec::new(),
            fixity: BTreeMap::new(),
            capitals: BTreeMap::new(),
            expected: 0,
        }
    }

    /// All that an existing inventory says, to add a version to it.
    pub fn after(inventory: &Inventory) -> InventoryBuilder {
        let mut builder = InventoryBuilder::new(&inventory.id);
        builder.spec = inventory.spec;
        builder.algorithm = inventory.algorithm;
        builder.content_directory.clone_from(&inventory.content_directory);
        builder.capitals.clone_from(&inventory.capitals);
        for (digest, path) in inventory.manifest() {
            builder.add_content(*digest, path);
        }
        for version in &inventory.versions {
            let state = version
                .state
                .iter()
                .filter_map(|entry| Some((Arc::clone(&entry.path), *inventory.digests.get(entry.digest as usize)?)));
            let record = VersionRecord {
                created: version.created.clone(),
                message: version.message.clone(),
                user: version.user.clone(),
            };
            builder.versions.push((version.number, record, state.collect()));
        }
        for block in &inventory.fixity {
            let values = inventory.fixity_values(block).map(|(path, digest)| (path.into(), *digest));
            builder.fixity.insert(block.name.clone(), values.collect());
        }
        builder
    }

    /// Writes it for another version of the specification or with another content digest than usual.
    pub fn declare(&mut self, spec: SpecVersion, algorithm: Algorithm, content_directory: Option<&str>) {
        self.spec = spec;
        self.algorithm = algorithm;
        self.content_directory = content_directory.map(str::to_owned);
    }

    /// So many fixity values of each algorithm will be added.
    pub fn expect_fixity(&mut self, count: usize) {
        self.expected = count;
    }

    /// Names a content file.
    pub fn add_content(&mut self, digest: Digest, content_path: impl Into<Arc<str>>) {
        self.manifest.entry(digest).or_default().push(content_path.into());
    }

    /// Adds a fixity value of a content file.
    pub fn add_fixity(&mut self, algorithm: Algorithm, content_path: impl Into<Arc<str>>, digest: Digest) {
        let expected = self.expected;
        let values = self.fixity.entry(algorithm.name().to_owned()).or_insert_with(|| Vec::with_capacity(expected));
        values.push((content_path.into(), digest));
    }

    /// Adds a version with its whole state. Every digest must have its content added by the time of `finish`.
    pub fn add_version(&mut self, number: VersionNumber, record: VersionRecord, state: Vec<(Arc<str>, Digest)>) {
        self.versions.push((number, record, state));
    }

    /// Takes files out of versions, and with them the content that no version has any more. Content that no version had
    /// before stays. A note is a line more in the message of each version that loses a file.
    pub fn remove_files(&mut self, takes: &dyn Fn(VersionNumber, &str) -> bool, note: Option<&str>) {
        let before = self.digests_of_states();
        for (number, record, state) in &mut self.versions {
            let files = state.len();
            state.retain(|(path, _)| !takes(*number, path));
            if let Some(note) = note.filter(|_| state.len() < files) {
                let message = record.message.take().filter(|message| !message.is_empty());
                record.message = Some(message.map_or_else(|| note.to_owned(), |message| format!("{message}\n{note}")));
            }
        }
        self.drop_unused(&before);
    }

    /// Takes away all versions after one, and what only they have, so that the inventory is what it was when that
    /// version was the newest.
    pub fn end_with(&mut self, last: VersionNumber) {
        let before = self.digests_of_states();
        self.versions.retain(|(number, _, _)| *number <= last);
        let is_later = |path: &str| {
            let version = path.split('/').next().unwrap_or_default();
            VersionNumber::parse(version).is_ok_and(|version| version.number() > last.number())
        };
        for paths in self.manifest.values_mut() {
            paths.retain(|path| !is_later(path));
        }
        self.manifest.retain(|_, paths| !paths.is_empty());
        self.drop_unused(&before);
    }

    fn digests_of_states(&self) -> HashSet<Digest> {
        self.versions.iter().flat_map(|(_, _, state)| state.iter().map(|(_, digest)| *digest)).collect()
    }

    /// Drops the content, of that in `before`, which no state names now.
    fn drop_unused(&mut self, before: &HashSet<Digest>) {
        let after = self.digests_of_states();
        self.manifest.retain(|digest, _| after.contains(digest) || !before.contains(digest));
        let paths: HashSet<&str> = self.manifest.values().flatten().map(AsRef::as_ref).collect();
        self.fixity.retain(|_, values| {
            let was_empty = values.is_empty();
            values.retain(|(path, _)| paths.contains(path.as_ref()));
            was_empty || !values.is_empty()
        });
        self.capitals.retain(|digest, _| self.manifest.contains_key(digest));
    }

    /// The inventory; `None` without versions, or when a state names a digest that has no content.
    pub fn finish(mut self) -> Option<Inventory> {
        let mut digests = Vec::with_capacity(self.manifest.len());
        let mut first_paths = Vec::with_capacity(self.manifest.len() + 1);
        let mut content_paths = Vec::new();
        for (digest, mut paths) in self.manifest {
            digests.push(digest);
            first_paths.push(content_paths.len() as u32);
            paths.sort_unstable();
            content_paths.append(&mut paths);
        }
        first_paths.push(content_paths.len() as u32);
        self.versions.sort_by_key(|(number, _, _)| *number);
        let mut versions = Vec::with_capacity(self.versions.len());
        for (number, record, state) in self.versions {
            let mut entries = Vec::with_capacity(state.len());
            for (path, digest) in state {
                entries.push(StateEntry { path, digest: digests.binary_search(&digest).ok()? as u32 });
            }
            entries.sort_unstable_by(|one, two| one.path.cmp(&two.path));
            let VersionRecord { created, message, user } = record;
            versions.push(Version { number, created, message, user, state: entries });
        }
        let fixity = fixity_blocks(self.fixity, &content_paths);
        Some(Inventory {
            id: self.id,
            spec: self.spec,
            algorithm: self.algorithm,
            head: versions.last()?.number,
            content_directory: self.content_directory,
            digests,
            first_paths,
            content_paths,
            versions,
            fixity,
            capitals: self.capitals,
        })
    }
}

fn fixity_blocks(blocks: BTreeMap<String, Vec<(Arc<str>, Digest)>>, paths: &[Arc<str>]) -> Vec<FixityBlock> {
    if blocks.is_empty() {
        return Vec::new();
    }
    let indexes: HashMap<&str, u32> = paths.iter().zip(0_u32..).map(|(path, index)| (path.as_ref(), index)).collect();
    let finish = |(name, mut values): (String, Vec<(Arc<str>, Digest)>)| {
        values.sort_unstable();
        let mut entries = Vec::with_capacity(values.len());
        entries.extend(values.into_iter().filter_map(|(path, digest)| Some((*indexes.get(path.as_ref())?, digest))));
        FixityBlock { name, entries }
    };
    blocks.into_iter().map(finish).collect()
}

pub(super) fn write_json(inventory: &Inventory, sink: &mut dyn io::Write) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(&mut *sink, PrettyFormatter::with_indent(b" "));
    Document(inventory).serialize(&mut serializer)?;
    sink.write_all(b"\n")
}

struct Document<'a>(&'a Inventory);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inventory = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &inventory.id)?;
        map.serialize_entry("type", inventory.spec.inventory_type())?;
        map.serialize_entry("digestAlgorithm", inventory.algorithm.name())?;
        map.serialize_entry("head", &Shown(inventory.head))?;
        if let Some(name) = &inventory.content_directory {
            map.serialize_entry("contentDirectory", name)?;
        }
        map.serialize_entry("versions", &Versions(inventory))?;
        map.serialize_entry("manifest", &Groups(inventory.manifest(), &inventory.capitals))?;
        if !inventory.fixity.is_empty() {
            map.serialize_entry("fixity", &Fixity(inventory))?;
        }
        map.end()
    }
}

struct Shown<T>(T);

impl<T: std::fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct Versions<'a>(&'a Inventory);

impl Serialize for Versions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.versions.iter().map(|version| (Shown(version.number), Block(self.0, version))))
    }
}

struct Block<'a>(&'a Inventory, &'a Version);

impl Serialize for Block<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Block(inventory, version) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("created", &version.created)?;
        if let Some(message) = &version.message {
            map.serialize_entry("message", message)?;
        }
        if let Some(user) = &version.user {
            let address = user.address.as_ref().map(|address| ("address", address));
            let pairs: Vec<_> = [("name", &user.name)].into_iter().chain(address).collect();
            map.serialize_entry("user", &Pairs(&pairs))?;
        }
        let mut order: Vec<&StateEntry> = version.state.iter().collect();
        order.sort_by_key(|entry| entry.digest);
        let state =
            order.iter().filter_map(|entry| Some((inventory.digests.get(entry.digest as usize)?, entry.path.as_ref())));
        map.serialize_entry("state", &Groups(state, &inventory.capitals))?;
        map.end()
    }
}

struct Pairs<'a>(&'a [(&'a str, &'a String)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

struct Fixity<'a>(&'a Inventory);

impl Serialize for Fixity<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inventory = self.0;
        let mut map = serializer.serialize_map(None)?;
        for block in &inventory.fixity {
            let mut values: Vec<_> = inventory.fixity_values(block).map(|(path, digest)| (digest, path)).collect();
            values.sort_unstable();
            map.serialize_entry(&block.name, &Groups(values.into_iter(), &BTreeMap::new()))?;
        }
        map.end()
    }
}

/// Digests with their paths, neighbours of the same digest in one list.
struct Groups<'a, I>(I, &'a BTreeMap<Digest, Box<str>>);

impl<'a, I: Iterator<Item = (&'a Digest, &'a str)> + Clone> Serialize for Groups<'_, I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut entries = self.0.clone().peekable();
        let mut paths = Vec::new();
        while let Some((digest, path)) = entries.next() {
            paths.push(path);
            while let Some((_, path)) = entries.next_if(|(next, _)| *next == digest) {
                paths.push(path);
            }
            match self.1.get(digest) {
                Some(written) => map.serialize_entry(written, &paths)?,
                None => map.serialize_entry(&Shown(digest), &paths)?,
            }
            paths.clear();
        }
        map.end()
    }
}
