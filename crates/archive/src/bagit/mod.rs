//! BagIt: reading and validating bags of version 1.0 (RFC 8493) and of the drafts 0.93 to 0.97.
//!
//! A bag is a directory, or a tar or zip that holds it. The way of one through this folder:
//!
//! 1. `source.rs` (with `path.rs` and `tar.rs`) lists what is there, refuses what no bag may hold (links, devices, paths that
//!    lead elsewhere, archives that expand too far), and reads the tag files.
//! 2. `tag_file.rs` reads `bagit.txt`, `bag-info.txt`, manifests and `fetch.txt`; `structure.rs` compares them with
//!    each other and with the list.
//! 3. `open.rs` is the door: [`open()`] gives a [`Submission`], whose [`Submission::read`] streams every file once to
//!    a consumer while `sums.rs` computes all digests, and reports by name what is not as it should be.
//!    [`validate`] is the same without a consumer.
//!
//! Writing a bag is the work of [`crate::package`]: a bag that goes out is computed.

mod open;
mod path;
mod report;
mod source;
mod structure;
mod sums;
mod tag_file;
mod tar;

pub use open::{FileReader, Kind, ReadError, Submission, open, validate};
pub use report::{Finding, Problem, Report};
pub use source::{FileEntry, Limits, OpenError};
pub use sums::Sum;
