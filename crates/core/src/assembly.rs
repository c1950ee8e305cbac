//! From what was ordered of a package to the files that are delivered of it: which stored files each holds, under which
//! name, and in which form.
//!
//! A version that is a bag is delivered as it was deposited; the files of any other become the payload of a new bag. The
//! surface of a package is always a new bag: `assembly/surface.rs` says what its payload is. So are files that were chosen:
//! they keep their paths in its payload, except that what was payload of a stored bag is so under the same path again, if
//! nothing but payload was chosen.

pub(crate) mod surface;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};

use dipper_archive::digest::{Algorithm, Digest};
use dipper_archive::ocfl::{self, Inventory, Lengths, Object, StorageRoot, VersionFile};
use dipper_archive::package::{Content, Form, Layout, LayoutError};

use crate::db::orders::{Order, View};
use crate::db::packages::Package;
use crate::db::{Database, DatabaseError, excerpts};
use crate::excerpt::Excerpt;
use crate::register;
use crate::sentence::sentence;
use crate::settings::Split;

/// The number of the rules by which [`Assembly::layout`] and the layouts below it compute bytes. Whoever changes a byte that
/// they give for the same package raises it: deliveries prepared under other rules are then prepared again instead
/// of being taken for damaged.
pub const LAYOUT_FORMAT: u32 = 1;

/// The directory that holds representations, in a package or in the payload of a stored bag.
const REPRESENTATIONS: [&str; 2] = ["representations/", "data/representations/"];
/// The file that makes a version a bag.
const BAG_DECLARATION: &str = "bagit.txt";
/// Where the payload of a bag lies.
const PAYLOAD: &str = "data/";
/// The part that holds what lies outside of every representation.
const REST: &str = "/";
/// How long the name of a package can be in that of a file.
const LONGEST_NAME_BYTES: usize = 180;

/// What is delivered of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The version.
    pub version: u32,
    /// Whether the version was asked for by its number, and not as the newest.
    pub is_named: bool,
    /// That version alone, or what all versions up to it add up to.
    pub view: View,
    /// The files and folders of it, if not all.
    pub excerpt: Option<Excerpt>,
}

impl Scope {
    /// What an order is for.
    pub async fn of(database: &Database, order: &Order) -> Result<Scope, DatabaseError> {
        let excerpt = match order.excerpt {
            Some(_) => excerpts::get(database, &order.id).await?,
            None => None,
        };
        Ok(Scope { version: order.version, is_named: order.named_version.is_some(), view: order.view, excerpt })
    }

    /// What it adds to the name of a package.
    pub fn suffix(&self) -> String {
        let mut suffix = String::new();
        if self.is_named {
            suffix.push_str(&format!("_v{}", self.version));
        }
        if self.view == View::Surface {
            suffix.push_str("_surface");
        }
        if let Some(excerpt) = &self.excerpt {
            suffix.push_str(&format!("_{}", excerpt.name()));
        }
        suffix
    }

    /// What it is, for people.
    pub fn told(&self) -> String {
        let version = self.version;
        match (self.view, self.excerpt.is_some()) {
            (View::Version, false) => sentence!("version {version}"),
            (View::Version, true) => sentence!("chosen files of version {version}"),
            (View::Surface, false) => sentence!("the latest version of every file of the versions 1 to {version}"),
            (View::Surface, true) => {
                sentence!("chosen files of the latest version of every file of the versions 1 to {version}")
            }
        }
    }

    /// Whether nobody asked for anything but the newest version as it is.
    fn is_newest_whole(&self) -> bool {
        *self == Scope { version: self.version, ..Scope::default() }
    }
}

/// One file of a delivery, before it is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The name of a representation, `"/"` for what lies outside of all, `""` for the whole package.
    pub name: String,
    /// The name under which it is fetched.
    pub filename: String,
}

/// Why a package cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    /// The object cannot be read.
    #[error(transparent)]
    Archive(#[from] ocfl::Error),
    /// Its files make no package.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// What is delivered of a package, with the inventory read once for everything that is asked of it.
pub struct Assembly<'a> {
    package: &'a Package,
    scope: &'a Scope,
    object: Object,
    inventory: Arc<Inventory>,
    /// Asked for with the first layout, and kept for those of the other parts.
    lengths: OnceLock<Lengths>,
}

impl<'a> Assembly<'a> {
    /// Opens what is delivered.
    pub fn open(root: &StorageRoot, package: &'a Package, scope: &'a Scope) -> Result<Assembly<'a>, AssemblyError> {
        let object = root.object_at(&package.location)?;
        let inventory = object.inventory_of(scope.version)?;
        Ok(Assembly { package, scope, object, inventory, lengths: OnceLock::new() })
    }

    /// Whether nothing is stored of the package that the delivery does not need.
    pub fn is_everything(&self) -> bool {
        let read = content_paths(&self.inventory, self.scope);
        self.object.inventory().manifest().all(|(_, path)| read.contains(path))
    }

    /// The root inventory's digest, which stands for the whole package as it is now.
    pub fn digest(&self) -> (Algorithm, Digest) {
        (self.object.inventory().algorithm(), *self.object.inventory_digest())
    }

    /// How many files the delivery holds.
    pub fn file_count(&self) -> u64 {
        files(&self.inventory, self.scope).len() as u64
    }

    /// The parts into which it is delivered.
    pub fn parts(&self, split: Split) -> Vec<Part> {
        let name = self.name();
        let whole = Part { name: String::new(), filename: format!("{name}.tar") };
        if split == Split::Package || self.scope.view == View::Surface || self.scope.excerpt.is_some() {
            return vec![whole];
        }
        let mut found: BTreeMap<String, Part> = BTreeMap::new();
        for file in self.inventory.files(self.scope.version) {
            let part = representation(file.logical_path);
            if !found.contains_key(part) {
                let filename = match part {
                    REST => format!("{name}.tar"),
                    part => format!("{name}_{}.tar", safe_name(part)),
                };
                found.insert(part.to_owned(), Part { name: part.to_owned(), filename });
            }
        }
        let parts: Vec<Part> = found.into_values().collect();
        if parts.iter().all(|part| part.name == REST) { vec![whole] } else { parts }
    }

    /// The layout of one part. The sizes of its files are looked up in the storage; nothing else is read.
    pub fn layout(&self, part: &str) -> Result<Layout, AssemblyError> {
        let mut info = bag_info(self.package, self.scope.version, self.created());
        if !self.scope.is_newest_whole() {
            info.push(("Internal-Sender-Description".to_owned(), self.scope.told()));
        }
        self.laid_out(&self.name(), part, info)
    }

    /// The layout of what is delivered into an area, with `top` as the directory that holds everything.
    pub fn area_layout(&self, top: &str) -> Result<Layout, AssemblyError> {
        self.laid_out(top, "", area_info(self.package, self.scope, self.created()))
    }

    fn laid_out(&self, top: &str, part: &str, info: Vec<(String, String)>) -> Result<Layout, AssemblyError> {
        let mut wanted = files(&self.inventory, self.scope);
        if !part.is_empty() {
            wanted.retain(|(path, _)| representation(path) == part);
        }
        Ok(Layout::new(top, self.form(info), self.contents(wanted)?, self.modified())?)
    }

    /// The name of the package, and what tells this delivery from others of it.
    fn name(&self) -> String {
        safe_name(&self.package.object_id) + &self.scope.suffix()
    }

    fn form(&self, info: Vec<(String, String)>) -> Form {
        let Scope { version, view, excerpt, .. } = self.scope;
        // A bag of which files were deleted is a bag no more.
        let lost_files = self.inventory.version(*version).is_some_and(register::lost_files);
        let is_bag = !lost_files && self.inventory.file(*version, BAG_DECLARATION).is_some();
        if is_bag && *view == View::Version && excerpt.is_none() { Form::Plain } else { Form::Bag { info } }
    }

    fn created(&self) -> Option<time::OffsetDateTime> {
        self.inventory.version(self.scope.version).and_then(|version| version.created_at())
    }

    fn modified(&self) -> u64 {
        self.created().and_then(|created| u64::try_from(created.unix_timestamp()).ok()).unwrap_or(0)
    }

    /// The contents of files, each under a path of its own.
    fn contents<'f>(
        &self,
        files: impl IntoIterator<Item = (&'f str, VersionFile<'f>)>,
    ) -> Result<Vec<Content>, AssemblyError> {
        let lengths = match self.lengths.get() {
            Some(lengths) => lengths,
            None => {
                let lengths = self.object.lengths()?;
                self.lengths.get_or_init(|| lengths)
            }
        };
        let content = |(path, file): (&str, VersionFile<'_>)| {
            Ok(Content {
                logical_path: path.to_owned(),
                size: lengths.of(file.content_path)?,
                digest: *file.digest,
                algorithm: self.inventory.algorithm(),
                location: format!("{}/{}", self.object.path(), file.content_path),
            })
        };
        files.into_iter().map(content).collect()
    }
}

/// The files of a delivery, each with its path there.
fn files<'i>(inventory: &'i Inventory, scope: &Scope) -> Vec<(&'i str, VersionFile<'i>)> {
    let is_chosen = |path: &str| scope.excerpt.as_ref().is_none_or(|excerpt| excerpt.holds(path));
    let version = scope.version;
    if scope.view == View::Surface {
        return surface::of(inventory, version).into_iter().filter(|(path, _)| is_chosen(path)).collect();
    }
    let chosen = inventory.files(version).filter(|file| is_chosen(file.logical_path));
    let mut files: Vec<_> = chosen.map(|file| (file.logical_path, file)).collect();
    let is_bag = || inventory.file(version, BAG_DECLARATION).is_some();
    if scope.excerpt.is_some() && files.iter().all(|(path, _)| path.starts_with(PAYLOAD)) && is_bag() {
        for (path, _) in &mut files {
            *path = path.strip_prefix(PAYLOAD).unwrap_or(path);
        }
    }
    files
}

/// The content paths that a delivery needs.
pub fn content_paths(inventory: &Inventory, scope: &Scope) -> HashSet<String> {
    files(inventory, scope).into_iter().map(|(_, file)| file.content_path.to_owned()).collect()
}

/// Nothing in it changes from one preparation to the next.
fn bag_info(package: &Package, version: u32, created: Option<time::OffsetDateTime>) -> Vec<(String, String)> {
    let mut info = Vec::new();
    if let Some(created) = created {
        info.push(("Bagging-Date".to_owned(), created.date().to_string()));
    }
    if !package.object_id.contains(char::is_control) {
        info.push(("External-Identifier".to_owned(), package.object_id.clone()));
    }
    info.push(("Internal-Sender-Identifier".to_owned(), format!("{}/v{version}", package.id)));
    info
}

/// What stands in the bag of a delivery into an area, whose reader knows the package by its names.
fn area_info(package: &Package, scope: &Scope, created: Option<time::OffsetDateTime>) -> Vec<(String, String)> {
    let mut info = bag_info(package, scope.version, created);
    info.extend(package.urn.iter().map(|urn| ("External-Identifier".to_owned(), urn.clone())));
    info.push(("Internal-Sender-Identifier".to_owned(), package.identifier.clone()));
    info.push(("Internal-Sender-Description".to_owned(), scope.told()));
    info
}

fn representation(logical_path: &str) -> &str {
    REPRESENTATIONS
        .iter()
        .find_map(|prefix| logical_path.strip_prefix(prefix)?.split_once('/'))
        .map_or(REST, |(name, _)| name)
}

/// A text as one name that every file system takes: a package's name comes from outside.
fn safe_name(text: &str) -> String {
    let mut name = String::new();
    for character in text.chars() {
        let unsafe_here = character.is_control() || "/\\:*?\"<>|".contains(character);
        let character = if unsafe_here { '_' } else { character };
        if name.len() + character.len_utf8() > LONGEST_NAME_BYTES {
            break;
        }
        name.push(character);
    }
    let name = name.trim_matches(['.', ' ']);
    if name.is_empty() { "package".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_become_one_safe_part() {
        let table = [
            ("digifoto_5584a028", "digifoto_5584a028"),
            ("urn:nbn:de:hbz:6:1-31323", "urn_nbn_de_hbz_6_1-31323"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("..", "package"),
            ("", "package"),
            ("a\nb\0c", "a_b_c"),
            ("blåbær", "blåbær"),
        ];
        for (text, expected) in table {
            assert_eq!(safe_name(text), expected, "{text:?}");
        }
        assert_eq!(safe_name(&"æ".repeat(500)).len(), 180);
    }

    #[test]
    fn representations_are_directories_below_their_folder() {
        let table = [
            ("representations/rep1/data/a.tif", "rep1"),
            ("data/representations/rep2/b", "rep2"),
            ("representations/README", REST),
            ("metadata/representations/x/y", REST),
            ("METS.xml", REST),
        ];
        for (path, expected) in table {
            assert_eq!(representation(path), expected, "{path}");
        }
    }
}
