//! OCFL storage roots (Oxford Common File Layout 1.1, <https://ocfl.io/1.1/spec/>): reading and writing objects,
//! recovering from crashes, and validating all of it.

pub mod error;
pub mod inventory;
pub mod layout;
pub mod object;
pub mod problem;
pub mod root;
mod sidecar;
pub mod version;

pub use error::{Error, Result};
pub use inventory::{Inventory, User, Version, VersionFile};
pub use layout::Layout;
pub use object::{Object, VerifiedReader};
pub use problem::{Code, Problem};
pub use root::{Objects, StorageRoot};
pub use version::{SpecVersion, VersionNumber};
