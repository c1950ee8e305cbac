//! What earlier versions of the package have of a deposit.

use dipper_archive::digest::{Algorithm, Digest};
use dipper_archive::ocfl::{self, Lengths, Object, VersionFile};

use crate::db::deposits::DepositFile;
use crate::register;

/// Every stored file of a deposit has a digest in each of these: a depositor may ask with any of them.
const DIGESTS: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512];

/// The package as it was before the deposit.
pub(crate) struct Earlier<'a> {
    object: &'a Object,
    lengths: Lengths,
}

/// A file of an earlier version under the same path, which nothing is known against.
pub(crate) struct Known<'a> {
    /// The file.
    pub(crate) file: VersionFile<'a>,
    /// Its length.
    pub(crate) len: u64,
    /// A declared checksum is known, and is that of the file; otherwise only reading it can tell.
    pub(crate) is_proven: bool,
    /// It has a digest in every algorithm.
    pub(crate) is_complete: bool,
}

impl<'a> Earlier<'a> {
    pub(crate) fn of(object: &'a Object) -> Result<Earlier<'a>, ocfl::Error> {
        Ok(Earlier { object, lengths: object.lengths()? })
    }

    /// The package.
    pub(crate) fn object(&self) -> &'a Object {
        self.object
    }

    /// The newest file under the path of a deposited one that may be the same.
    pub(crate) fn find(&self, wanted: &DepositFile) -> Option<Known<'a>> {
        let inventory = self.object.inventory();
        let candidates = inventory.versions().iter().rev().map(|version| version.number().number());
        candidates.filter_map(|number| inventory.file(number, &wanted.path)).find_map(|file| self.same(file, wanted))
    }

    /// The versions that the depositor calls so; those that have no name of their own where it is empty.
    pub(crate) fn labelled(&self, label: &str) -> Vec<u32> {
        let versions = self.object.inventory().versions().iter();
        let is_labelled =
            |version: &&ocfl::Version| register::label_of(self.object, version).unwrap_or_default() == label;
        versions.filter(is_labelled).map(|version| version.number().number()).collect()
    }

    /// How many files a version has.
    pub(crate) fn len(&self, version: u32) -> usize {
        self.object.inventory().version(version).map_or(0, ocfl::Version::len)
    }

    /// Whether a version has that very file; its length then.
    pub(crate) fn has(&self, version: u32, wanted: &DepositFile) -> Option<u64> {
        let file = self.object.inventory().file(version, &wanted.path)?;
        self.same(file, wanted).filter(|known| known.is_proven).map(|known| known.len)
    }

    fn same(&self, file: VersionFile<'a>, wanted: &DepositFile) -> Option<Known<'a>> {
        let inventory = self.object.inventory();
        let known = |(algorithm, declared): &(Algorithm, Digest)| {
            inventory.digest_of(&file, *algorithm).map(|digest| digest == *declared)
        };
        let mut is_proven = false;
        for declared in &wanted.digests {
            match known(declared) {
                Some(true) => is_proven = true,
                Some(false) => return None,
                None => {}
            }
        }
        // What is missing is found by a fixity check; here it is not there.
        let len = self.lengths.of(file.content_path).ok()?;
        if wanted.size_bytes.is_some_and(|declared| declared != len) {
            return None;
        }
        let is_complete = DIGESTS.iter().all(|algorithm| inventory.digest_of(&file, *algorithm).is_some());
        Some(Known { file, len, is_proven, is_complete })
    }
}
