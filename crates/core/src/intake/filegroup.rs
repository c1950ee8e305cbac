//! What a package holds, version by version and file by file, read from its inventory and never from the catalogue: a
//! package can have very many files.

use dipper_archive::ocfl::{self, Lengths, Object};

use crate::caller::{Caller, Role};
use crate::db::packages::{Package, PackageState};
use crate::db::restores::Checksums;
use crate::db::{DatabaseError, packages};
use crate::intake::Intake;
use crate::selection::{self, Held};

/// A package whose files can be told.
pub struct Filegroup {
    /// The package.
    pub package: Package,
    held: Held,
    object: Object,
}

/// A file of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile<'a> {
    /// Its logical path.
    pub path: &'a str,
    /// Its length; unknown of one that is missing.
    pub size_bytes: Option<u64>,
    /// Its checksums, as far as they are on record.
    pub checksums: Checksums,
}

/// Why the files of a package are not told.
#[derive(Debug, thiserror::Error)]
pub enum FilegroupError {
    /// The caller lacks the role on one contract that everything is asked of.
    #[error(
        "the client acts for no contract, or for several: it needs the {0} role on a contract of its own name, or on one alone"
    )]
    NoAccount(Role),
    /// There is no such package, or nothing is left of it.
    #[error("there is no filegroup {0:?}")]
    Unknown(String),
    /// Its inventory lies in an archive class.
    #[error("the filegroup lies in cold storage: order it, and ask again once it was brought back")]
    Archived,
    /// The archive cannot be read. For the log.
    #[error("the archive cannot be read: {0}")]
    Archive(ocfl::Error),
    /// The database failed. For the log.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<ocfl::Error> for FilegroupError {
    fn from(error: ocfl::Error) -> FilegroupError {
        if error.is_archived() { FilegroupError::Archived } else { FilegroupError::Archive(error) }
    }
}

impl Intake {
    /// The depositor's names for the packages of the caller's contract, sorted, at most `limit` of them after `after`.
    pub async fn filegroup_list(
        &self,
        caller: &Caller,
        after: &str,
        limit: u32,
    ) -> Result<Vec<String>, FilegroupError> {
        let contract_id = caller.account(Role::Read).ok_or(FilegroupError::NoAccount(Role::Read))?;
        Ok(packages::object_ids(&self.installation.database, contract_id, after, limit).await?)
    }

    /// A package of the caller's contract, with its inventory.
    pub async fn filegroup_open(&self, caller: &Caller, object_id: &str) -> Result<Filegroup, FilegroupError> {
        let contract_id = caller.account(Role::Read).ok_or(FilegroupError::NoAccount(Role::Read))?;
        let found = packages::find(&self.installation.database, contract_id, object_id).await?;
        let unknown = || FilegroupError::Unknown(object_id.to_owned());
        let package = found.filter(|package| package.state != PackageState::Deleted).ok_or_else(unknown)?;
        let (installation, location) = (self.installation.clone(), package.location.clone());
        let opening = tokio::task::spawn_blocking(move || {
            let object = installation.archive.object_at(&location)?;
            Ok::<_, ocfl::Error>((Held::new(&object), object))
        });
        let opened = opening
            .await
            .map_err(|error| DatabaseError::Value { column: "location".to_owned(), message: error.to_string() })?;
        let (held, object) = match opened {
            Err(ocfl::Error::NoSuchObject { .. }) => return Err(unknown()),
            opened => opened?,
        };
        if held.versions().is_empty() {
            return Err(unknown());
        }
        Ok(Filegroup { package, held, object })
    }
}

impl Filegroup {
    /// The numbers and labels of the versions, oldest first. One without a label has an empty one.
    pub fn versions(&self) -> &[(u32, String)] {
        self.held.versions()
    }

    /// Whether some version has a file of that path.
    pub fn has(&self, path: &str) -> bool {
        self.held.versions().iter().any(|(number, _)| self.held.inventory().file(*number, path).is_some())
    }

    /// Whether a checksum of that kind is on record for every file.
    pub fn records(&self, algorithm: dipper_archive::digest::Algorithm) -> bool {
        let inventory = self.held.inventory();
        let mut files = self.held.versions().iter().flat_map(|(number, _)| inventory.files(*number));
        files.all(|file| selection::checksum_of(inventory, &file, algorithm).is_some())
    }

    /// For asking after the lengths of files. Reads the storage, so for a thread that may block.
    pub fn lengths(&self) -> Result<Lengths, ocfl::Error> {
        self.object.lengths()
    }

    /// The files of a version, sorted by path: all of them, or one. Reads the storage, so for a thread that may block.
    pub fn files<'a>(
        &'a self,
        number: u32,
        path: Option<&'a str>,
        lengths: &'a Lengths,
    ) -> impl Iterator<Item = StoredFile<'a>> {
        let inventory = self.held.inventory();
        let one = path.and_then(|path| inventory.file(number, path));
        let all = path.is_none().then(|| inventory.files(number)).into_iter().flatten();
        all.chain(one).map(move |file| {
            let mut checksums = Checksums::default();
            for algorithm in Checksums::ALGORITHMS {
                if let Some(digest) = selection::checksum_of(inventory, &file, algorithm) {
                    checksums.set(algorithm, digest);
                }
            }
            StoredFile { path: file.logical_path, size_bytes: lengths.of(file.content_path).ok(), checksums }
        })
    }
}
