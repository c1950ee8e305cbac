//! From a version of a package to the files that are delivered of it: which stored files each holds, under which
//! name, and in which form.
//!
//! A version that is a bag is delivered as it was deposited; the files of any other become the payload of a new bag. The
//! surface of a package is always a new bag: `assembly/surface.rs` says what its payload is.

mod surface;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};

use dipper_archive::digest::{Algorithm, Digest};
use dipper_archive::ocfl::{self, Inventory, Lengths, Object, StorageRoot, VersionFile};
use dipper_archive::package::{Content, Form, Layout, LayoutError};

use crate::db::orders::View;
use crate::db::packages::Package;
use crate::register;
use crate::settings::Split;

/// The number of the rules by which [`Assembly::layout`] and the layouts below it compute bytes. Whoever changes a byte that
/// they give for the same package raises it: deliveries prepared under other rules are then prepared again instead
/// of being taken for damaged.
pub const LAYOUT_FORMAT: u32 = 1;

/// The directory that holds representations, in a package or in the payload of a stored bag.
const REPRESENTATIONS: [&str; 2] = ["representations/", "data/representations/"];
/// The file that makes a version a bag.
const BAG_DECLARATION: &str = "bagit.txt";
/// The part that holds what lies outside of every representation.
const REST: &str = "/";

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

/// A version of a package, with its inventory read once for everything that is asked of it.
pub struct Assembly<'a> {
    package: &'a Package,
    version: u32,
    object: Object,
    inventory: Arc<Inventory>,
    /// Asked for with the first layout, and kept for those of the other parts.
    lengths: OnceLock<Lengths>,
}

impl<'a> Assembly<'a> {
    /// Opens a version.
    pub fn open(root: &StorageRoot, package: &'a Package, version: u32) -> Result<Assembly<'a>, AssemblyError> {
        let object = root.object_at(&package.location)?;
        let inventory = object.inventory_of(version)?;
        Ok(Assembly { package, version, object, inventory, lengths: OnceLock::new() })
    }

    /// Whether nothing is stored of the package that a delivery does not need.
    pub fn is_everything(&self, view: View) -> bool {
        let read = content_paths(&self.inventory, self.version, view);
        self.object.inventory().manifest().all(|(_, path)| read.contains(path))
    }

    /// The root inventory's digest, which stands for the whole package as it is now.
    pub fn digest(&self) -> (Algorithm, Digest) {
        (self.object.inventory().algorithm(), *self.object.inventory_digest())
    }

    /// How many files a delivery holds.
    pub fn file_count(&self, view: View) -> u64 {
        let count = match view {
            View::Version => self.inventory.files(self.version).len(),
            View::Surface => surface::of(&self.inventory, self.version).len(),
        };
        count as u64
    }

    /// The parts into which it is delivered.
    pub fn parts(&self, split: Split) -> Vec<Part> {
        let name = safe_name(&self.package.object_id);
        let whole = Part { name: String::new(), filename: format!("{name}.tar") };
        if split == Split::Package {
            return vec![whole];
        }
        let mut found: BTreeMap<String, Part> = BTreeMap::new();
        for file in self.inventory.files(self.version) {
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
    ///
    /// A version that is a bag already is delivered as it was deposited. Anything else is put into a bag.
    pub fn layout(&self, part: &str) -> Result<Layout, AssemblyError> {
        let wanted = |file: &VersionFile<'_>| part.is_empty() || representation(file.logical_path) == part;
        let files = self.inventory.files(self.version).filter(wanted).map(|file| (file.logical_path, file));
        let contents = self.contents(files)?;
        let info = bag_info(self.package, self.version, self.created());
        Ok(Layout::new(&safe_name(&self.package.object_id), self.form(info), contents, self.modified())?)
    }

    /// The layout of what is delivered into an area, with `top` as the directory that holds everything.
    pub fn area_layout(&self, view: View, top: &str) -> Result<Layout, AssemblyError> {
        let info = area_info(self.package, self.version, view, self.created());
        let (form, contents) = match view {
            View::Version => {
                let files = self.inventory.files(self.version).map(|file| (file.logical_path, file));
                (self.form(info), self.contents(files)?)
            }
            View::Surface => (Form::Bag { info }, self.contents(surface::of(&self.inventory, self.version))?),
        };
        Ok(Layout::new(top, form, contents, self.modified())?)
    }

    fn form(&self, info: Vec<(String, String)>) -> Form {
        // A bag of which files were deleted is a bag no more.
        let lost_files = self.inventory.version(self.version).is_some_and(register::lost_files);
        let is_bag = !lost_files && self.inventory.file(self.version, BAG_DECLARATION).is_some();
        if is_bag { Form::Plain } else { Form::Bag { info } }
    }

    fn created(&self) -> Option<time::OffsetDateTime> {
        self.inventory.version(self.version).and_then(|version| version.created_at())
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

/// The content paths that a delivery needs.
pub fn content_paths(inventory: &Inventory, version: u32, view: View) -> HashSet<String> {
    match view {
        View::Version => inventory.files(version).map(|file| file.content_path.to_owned()).collect(),
        View::Surface => {
            surface::of(inventory, version).into_values().map(|file| file.content_path.to_owned()).collect()
        }
    }
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
fn area_info(
    package: &Package,
    version: u32,
    view: View,
    created: Option<time::OffsetDateTime>,
) -> Vec<(String, String)> {
    let mut info = bag_info(package, version, created);
    info.extend(package.urn.iter().map(|urn| ("External-Identifier".to_owned(), urn.clone())));
    info.push(("Internal-Sender-Identifier".to_owned(), package.identifier.clone()));
    let description = match view {
        View::Version => format!("version {version}"),
        View::Surface => format!("the latest version of every file of the versions 1 to {version}"),
    };
    info.push(("Internal-Sender-Description".to_owned(), description));
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
    const LONGEST_BYTES: usize = 180;
    let mut name = String::new();
    for character in text.chars() {
        let unsafe_here = character.is_control() || "/\\:*?\"<>|".contains(character);
        let character = if unsafe_here { '_' } else { character };
        if name.len() + character.len_utf8() > LONGEST_BYTES {
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
