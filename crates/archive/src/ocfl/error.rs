//! What can go wrong with a storage root. Every error names the object or file and says what to do about it.

use std::io;

use super::layout::LayoutError;
use super::problem::Finding;
use super::version::VersionNumber;
use crate::digest::{Algorithm, Digest};
use crate::storage::is_archived;

/// The result of an operation on a storage root.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation on a storage root failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory, relative to the storage root, or absolute when it is in the staging directory.
        path: String,
        /// What the storage said.
        source: io::Error,
    },
    /// There is no declaration of a storage root.
    #[error("no OCFL storage root here: there is no file 0=ocfl_1.0 or 0=ocfl_1.1")]
    NotARoot,
    /// The root declares a version of the specification that is not known here.
    #[error("the storage root declares {declaration}; OCFL 1.0 and 1.1 are supported")]
    UnsupportedRoot {
        /// The declaration found.
        declaration: String,
    },
    /// A storage root cannot be created where something lies already.
    #[error("a storage root is created in an empty directory, and this one holds {found}")]
    NotEmpty {
        /// One of the names found.
        found: String,
    },
    /// The layout is malformed, or cannot place an object.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// An object cannot be placed because the layout of the root is not known.
    #[error("the storage root has no layout that is known here, so the new object {id} has no place in it")]
    UnknownLayout {
        /// The object's id.
        id: String,
    },
    /// There is no such object.
    #[error("there is no object {id} in the storage root")]
    NoSuchObject {
        /// The object's id, or the path at which it was expected.
        id: String,
    },
    /// There is no such version.
    #[error("{path}: the object has no version {version}")]
    NoSuchVersion {
        /// The object root.
        path: String,
        /// The version that was asked for.
        version: u32,
    },
    /// An inventory is malformed.
    #[error("{path}: {}", .findings.first().map_or_else(|| "not an inventory".to_owned(), ToString::to_string))]
    Inventory {
        /// The inventory.
        path: String,
        /// What is wrong with it.
        findings: Vec<Finding>,
    },
    /// An inventory does not have the digest that its sidecar states.
    #[error("{path}: the inventory does not have the digest that its sidecar states")]
    InventoryDigest {
        /// The inventory.
        path: String,
    },
    /// A sidecar is missing or malformed.
    #[error("{path}: no sidecar of an inventory, or not of the form DIGEST inventory.json")]
    Sidecar {
        /// The inventory.
        path: String,
    },
    /// The object at a place has another id than expected.
    #[error("{path} holds the object {found}, not {expected}")]
    WrongObject {
        /// The object root.
        path: String,
        /// The id that was expected.
        expected: String,
        /// The id that its inventory gives.
        found: String,
    },
    /// The bytes that were read are not those that the inventory or the caller expects.
    #[error("{path}: the {algorithm} digest is {found}, not {expected}")]
    Altered {
        /// The content file or logical path.
        path: String,
        /// The algorithm.
        algorithm: Algorithm,
        /// The digest that was expected.
        expected: Box<Digest>,
        /// The digest of what was read.
        found: Box<Digest>,
    },
    /// A file does not have the expected length.
    #[error("{path}: {found} bytes, not {expected}")]
    Length {
        /// The content file or logical path.
        path: String,
        /// The length that was expected.
        expected: u64,
        /// The length of what was read.
        found: u64,
    },
    /// A logical path is not acceptable.
    #[error("the path {path:?} {reason}")]
    LogicalPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another process or thread is changing the object.
    #[error("the object {id} is being changed by another process; try again when it has finished")]
    Locked {
        /// The object's id.
        id: String,
    },
    /// The object got a new version, or went, while one was being prepared.
    #[error("the object {id} has changed since this version was begun; begin it again")]
    HeadMoved {
        /// The object's id.
        id: String,
    },
    /// An interrupted change of the object has to be finished first.
    #[error("a change of the object {id} was interrupted; run the recovery first")]
    Unrecovered {
        /// The object's id.
        id: String,
    },
    /// The object's zero-padded version names have no room for another version.
    #[error("{path}: there is no version after {head} in its padding")]
    NoNextVersion {
        /// The object root.
        path: String,
        /// The newest version.
        head: VersionNumber,
    },
    /// The caller stopped it.
    #[error("the work was stopped before its end")]
    Cancelled,
    /// What was staged does not make a valid version.
    #[error("the version of {id} cannot be written: {reason}")]
    Unwritable {
        /// The object's id.
        id: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// Whether a file is in an archive class, and must be recalled before it can be read.
    pub fn is_archived(&self) -> bool {
        matches!(self, Error::Io { source, .. } if is_archived(source))
    }

    pub(crate) fn io(path: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}
