//! The surface of a package: the latest version of every file. A depositor who hands in deltas gets the whole of them so.
//!
//! The versions are laid on each other, the oldest first:
//!
//! - Of a version that is a bag its payload counts, without the `data/` before each path; its tag files are left out,
//!   because they speak of that version alone. Of any other version every file counts.
//! - A file of a later version replaces the one of the same path. It also replaces what cannot be beside it: a file where
//!   it needs a directory, and the files of a directory where it is the file.
//! - A file that a later version does not have stays: a delta says nothing of what it does not bring.

use std::collections::BTreeMap;
use std::ops::Bound;

use dipper_archive::ocfl::{Inventory, VersionFile};

use super::{BAG_DECLARATION, PAYLOAD};

/// The files of the surface of the versions 1 to `version`, by their paths.
pub(super) fn of(inventory: &Inventory, version: u32) -> BTreeMap<&str, VersionFile<'_>> {
    laid_out(inventory, version, |_, _, file| file)
}

/// The surface of the versions 1 to `version`, with what is made of each file: of the number of its version, of its place
/// among the files of that, and of itself.
pub(crate) fn laid_out<'i, T>(
    inventory: &'i Inventory,
    version: u32,
    make: impl Fn(u32, usize, VersionFile<'i>) -> T,
) -> BTreeMap<&'i str, T> {
    let mut surface = BTreeMap::new();
    for number in 1..=version {
        let is_bag = inventory.file(number, BAG_DECLARATION).is_some();
        for (index, file) in inventory.files(number).enumerate() {
            let path = if is_bag { file.logical_path.strip_prefix(PAYLOAD) } else { Some(file.logical_path) };
            if let Some(path) = path {
                lay(&mut surface, path, make(number, index, file));
            }
        }
    }
    surface
}

/// Lays one file over what is there.
fn lay<'a, T>(surface: &mut BTreeMap<&'a str, T>, path: &'a str, file: T) {
    if surface.insert(path, file).is_some() {
        return;
    }
    let mut directory = path;
    while let Some((above, _)) = directory.rsplit_once('/') {
        surface.remove(above);
        directory = above;
    }
    let below = format!("{path}/");
    let from = (Bound::Included(below.as_str()), Bound::Unbounded);
    let inside = surface.range::<str, _>(from).map(|(path, _)| *path);
    let inside: Vec<&str> = inside.take_while(|path| path.starts_with(&below)).collect();
    for path in inside {
        surface.remove(path);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn laid(versions: &[Vec<String>]) -> BTreeMap<&str, usize> {
        let mut surface = BTreeMap::new();
        for (number, paths) in versions.iter().enumerate() {
            for path in paths {
                lay(&mut surface, path, number);
            }
        }
        surface
    }

    fn conflict(one: &str, other: &str) -> bool {
        one == other || other.starts_with(&format!("{one}/")) || one.starts_with(&format!("{other}/"))
    }

    #[test]
    fn later_files_replace_what_cannot_be_beside_them() {
        let versions = [vec!["a", "b/c", "b/d/e", "b.txt", "b-", "keep"], vec!["a/x", "b", "new"]];
        let versions = versions.map(|paths| paths.into_iter().map(str::to_owned).collect());
        let surface: Vec<_> = laid(&versions).into_iter().collect();
        assert_eq!(surface, [("a/x", 1), ("b", 1), ("b-", 0), ("b.txt", 0), ("keep", 0), ("new", 1)]);
    }

    /// Versions whose own files can be beside each other.
    fn versions() -> impl Strategy<Value = Vec<Vec<String>>> {
        let path = prop::collection::vec("[ab.]", 1..4).prop_map(|parts| parts.join("/"));
        let version = prop::collection::vec(path, 0..12).prop_map(|paths| {
            let mut kept: Vec<String> = Vec::new();
            for path in paths {
                if !kept.iter().any(|other| conflict(other, &path)) {
                    kept.push(path);
                }
            }
            kept
        });
        prop::collection::vec(version, 1..6)
    }

    proptest! {
        /// A path is there exactly if no later version has anything that cannot be beside it, in the latest version that
        /// has it.
        #[test]
        fn the_surface_is_what_no_later_version_covers(versions in versions()) {
            let mut expected = BTreeMap::new();
            for (number, paths) in versions.iter().enumerate() {
                for path in paths {
                    let later = versions.iter().skip(number + 1).flatten();
                    if !later.into_iter().any(|other| conflict(other, path)) {
                        expected.insert(path.as_str(), number);
                    }
                }
            }
            prop_assert_eq!(laid(&versions), expected);
        }
    }
}
