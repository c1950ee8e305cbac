//! Packages that are computed rather than copied.
//!
//! A delivered package, a tar with a BagIt bag or plain files in it, or one file by itself, is a pure function of
//! a list of files with their digests: every header, offset and the length are known before the first content byte
//! is read, and the same list gives the same bytes every time (no clock, host or owner is in them).
//!
//! The way of a package through this folder:
//!
//! 1. [`Layout::new`] (`layout.rs`, with `manifest.rs` and `tar_header.rs`) decides every byte that is not content.
//! 2. [`prepare`](prepare()) (`prepare.rs`, with `queue.rs` and `work.rs`) is the verifying read: each
//!    content byte once, each file against its digest, the whole stream into the checksum that is promised, and
//!    if wanted into a sink. On its way it keeps [`Checkpoints`].
//! 3. [`VerifiedReader`] (`verified.rs`, over `raw.rs`) serves any range later, and checks against the checkpoints
//!    each piece before a byte of it leaves.
//! 4. [`write_file`] (`file.rs`) prepares into a file that appears under its name only when all was right.
//!
//! Where many files are handed out one by one, [`prove`] (`single.rs`) is the verifying read of each.

mod checkpoints;
mod file;
mod layout;
mod manifest;
mod prepare;
mod queue;
mod raw;
mod single;
mod tar_header;
mod verified;
mod work;

pub use checkpoints::{Checkpoints, CheckpointsError};
pub use file::{WriteFileError, write_file};
pub use layout::{Content, Entry, Form, Layout, LayoutError};
pub use prepare::{Control, Options, PrepareError, Prepared, Progress, Sink, prepare};
pub use raw::SourceError;
pub use single::{Proven, prove};
pub use verified::{ReadError, VerifiedReader};
