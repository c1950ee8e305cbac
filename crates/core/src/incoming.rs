//! What contracts hand in through the incoming directories of their areas: which files of it are complete, and how they
//! become packages.
//!
//! A file is written there under its own name, often for hours and over several connections, so its mode says how it
//! stands: for the owner alone ([`UNFINISHED`]) from the moment it is opened for writing, readable for the group
//! ([`FINISHED`]) once the client has closed or renamed it. The mode survives a restart and a crash, and is seen by other
//! processes on the same file system. A connection that is cut off leaves the file unfinished. A file that was put there
//! without SFTP is as complete as its mode says, once it has stayed as it is for a while.
//!
//! The way of a file:
//!
//! 1. `scan.rs` looks at the directories. What is complete is noted in the table of submissions.
//! 2. `pickup.rs` takes one file of each contract in turn. One process at a time does it for all, under a lease.
//! 3. `shelf.rs` moves it to `<areas>/.incoming/<contract>/<submission>/`, where its sender cannot reach it, so that what
//!    was looked at is what is ingested.
//! 4. `work.rs` has it ingested, or answered (`answer.rs`) if it is a list. What it became is noted first, and cleared away then; so a
//!    crash between any two steps leaves something that the next turn finishes.
//! 5. What is not valid goes back under its name, with a report beside it (`report.rs`).

mod answer;
mod list;
mod pickup;
mod report;
mod scan;
mod shelf;
mod work;

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;

pub use list::{List, ListError, ListReader};
pub use pickup::{PickedUp, Pickup, PickupError};

/// The permissions of a file that is being written, or whose writer was cut off.
pub const UNFINISHED: u32 = 0o600;

/// The permissions of a file that is complete.
pub const FINISHED: u32 = 0o640;

/// Whether a file with these permissions is complete.
pub fn is_finished(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.permissions().mode() & 0o040 != 0
}

/// Who hands something in through the area of a contract, as events name him.
pub(crate) fn agent(contract_id: &str) -> String {
    format!("area {contract_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_complete_once_its_group_may_read_it() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let file = tempfile::NamedTempFile::new_in(&directory)?;
        for (mode, complete) in [(UNFINISHED, false), (FINISHED, true), (0o664, true), (0o400, false)] {
            file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
            assert_eq!(is_finished(&file.as_file().metadata()?), complete, "{mode:o}");
        }
        assert!(!is_finished(&directory.path().metadata()?));
        Ok(())
    }
}
