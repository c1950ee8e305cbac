//! OCFL storage roots (Oxford Common File Layout 1.1, <https://ocfl.io/1.1/spec/>): reading and writing objects,
//! recovering from crashes, and validating all of it.

mod begun;
mod claim;
mod commit;
mod content;
#[cfg(test)]
mod crash_tests;
pub mod error;
pub mod inventory;
mod journal;
pub mod layout;
pub mod object;
mod pass;
mod path;
pub mod problem;
mod publication;
mod purge;
#[cfg(test)]
mod purge_crash_tests;
mod recover;
mod remains;
mod remove;
pub mod root;
mod sidecar;
mod staging;
pub mod validate;
pub mod version;
mod walk;
mod write;

pub use begun::{Announced, Position, Source};
pub use commit::Committed;
pub use error::{Error, Result};
pub use inventory::{Inventory, User, Version, VersionFile, VersionRecord};
pub use layout::Layout;
pub use object::{Lengths, Object, VerifiedReader};
pub use path::check_logical;
pub use problem::{Code, Problem};
pub use purge::{Purge, Purged, Selection};
pub use recover::{Outcome, Recovered};
pub use root::{Objects, StorageRoot};
pub use validate::{ObjectReport, Progress, Report, ValidateOptions, validate_object, validate_root};
pub use version::{SpecVersion, VersionNumber};
pub use write::{Draft, DraftOptions, Expected, StagedFile, Start};
