//! Deletions: content that is removed for good, with all copies of it that were made for deliveries.
//!
//! An order for it names, for each package, what is to go: everything, a version, or some files. `request.rs` looks at once
//! which stored files those are, so that what is deposited afterwards is never touched, and refuses the whole order when
//! one part of it is at fault. When it is carried out, the policy says: at once, after a time in which it can be withdrawn,
//! or after somebody else has approved it (`decision.rs`). A legal hold (`holds.rs`) keeps everything that it covers, whatever
//! was asked for before. What came to no good end can be asked for again (`again.rs`).
//!
//! `steps/delete.rs` carries it out, package by package: deliveries are taken back (`handed_out.rs`), the archive is purged,
//! and the catalogue records in one transaction what is gone. What is remembered of each file is its row of the deletion.
//!
//! A package of which nothing is left is `deleted`. It keeps its names, and its depositor may deposit under the same name
//! again, which begins a new object with version 1 under the same identifier.

pub mod again;
pub mod decision;
pub(crate) mod handed_out;
pub mod holds;
pub mod request;

use std::fmt;

use dipper_archive::digest::Algorithm;

use crate::caller::Role;
use crate::db::DatabaseError;
use crate::db::deletions::{Deletion, DeletionFile, Entry, Policy, Removal};
use crate::db::orders::Order;
use crate::order::OrderState;
use crate::time::Timestamp;

/// How deletions are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletionSettings {
    /// When.
    pub policy: Policy,
    /// For how long a deletion can be withdrawn, where there is a time for that.
    pub grace: std::time::Duration,
}

impl DeletionSettings {
    /// When a deletion that is asked for now begins by itself, where there is a time in which it can be withdrawn.
    pub(crate) fn due(self, now: Timestamp) -> Option<Timestamp> {
        (self.policy == Policy::Grace).then(|| now.plus(self.grace))
    }
}

impl Default for DeletionSettings {
    fn default() -> DeletionSettings {
        DeletionSettings { policy: Policy::Immediate, grace: std::time::Duration::from_secs(30 * 24 * 3600) }
    }
}

/// The dialect of deletions that operators ask for at the command line.
pub const OPERATOR: &str = "cli";

/// Who asks, approves, withdraws, or sets a hold, after it was looked at whether that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// The name: the client's identifier, or the operator's name.
    pub name: String,
    /// Whether it is a client whose grants are looked up again later.
    pub stored: bool,
    /// Whether it is an operator at the command line.
    pub operator: bool,
}

impl Agent {
    /// An operator at the command line.
    pub fn operator(name: &str) -> Agent {
        Agent { name: name.to_owned(), stored: false, operator: true }
    }

    /// A client.
    pub fn client(client_id: &str, stored: bool) -> Agent {
        Agent { name: client_id.to_owned(), stored, operator: false }
    }

    /// As events name it.
    pub fn told(&self) -> String {
        if self.operator { format!("operator {}", self.name) } else { format!("client {}", self.name) }
    }
}

/// What is to be deleted of one package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletionEntry {
    /// The depositor's name for the package.
    pub filegroup: String,
    /// The depositor's name for the version; an empty one stands for the newest. Without one: all versions when no files are
    /// named either, otherwise the newest one, and with a checksum the newest that has the file with it.
    pub version: Option<String>,
    /// The files, each with a checksum that it must have, if one is given; `None` for all.
    pub files: Option<Vec<(String, Option<String>)>>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct DeletionCommand {
    /// The contract of the packages.
    pub contract_id: String,
    /// The language of the contract in which it is asked for.
    pub dialect: &'static str,
    /// The type of the checksums: MD5, SHA-256 or SHA-512.
    pub checksum: Algorithm,
    /// Why, for the record.
    pub reason: Option<String>,
    /// What, each package once.
    pub entries: Vec<DeletionEntry>,
    /// The request as it came, where it can be read again.
    pub request: Option<Vec<u8>>,
}

/// Something that is wrong with what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The package, as it was named.
    pub filegroup: String,
    /// The file, where it is one.
    pub file: Option<String>,
    /// What is wrong.
    pub kind: FaultKind,
}

/// The kinds of faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// There is no such package, or it was deleted.
    FilegroupUnknown,
    /// The package has no such version.
    VersionUnknown(String),
    /// The version has no such file.
    FileUnknown,
    /// The checksum is not of the form that its type has.
    ChecksumMalformed(Algorithm),
    /// The file that is stored has another checksum.
    ChecksumDiffers,
    /// No checksum of that type is on record for the file.
    ChecksumUnknown(Algorithm),
    /// It is named twice.
    Twice,
    /// There are no files to delete.
    Nothing,
    /// A legal hold keeps it.
    Held(String),
    /// A deposit of the package is under way.
    Busy(String),
    /// The package cannot be read.
    Unreadable(String),
}

impl FaultKind {
    /// Whether it is no fault of the request, which may be allowed at another time.
    pub fn is_conflict(&self) -> bool {
        matches!(self, FaultKind::Held(_) | FaultKind::Busy(_))
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultKind::FilegroupUnknown => formatter.write_str("there is no such filegroup"),
            FaultKind::VersionUnknown(label) => write!(formatter, "there is no version {label:?}"),
            FaultKind::FileUnknown => formatter.write_str("there is no such file"),
            FaultKind::ChecksumMalformed(algorithm) => {
                write!(formatter, "the checksum is not one of {algorithm} in hexadecimal digits")
            }
            FaultKind::ChecksumDiffers => formatter.write_str("the stored file has another checksum"),
            FaultKind::ChecksumUnknown(algorithm) => {
                write!(formatter, "no {algorithm} checksum of the file is on record: give one of another type, or none")
            }
            FaultKind::Twice => formatter.write_str("it is named twice"),
            FaultKind::Nothing => formatter.write_str("there are no files to delete"),
            FaultKind::Held(reason) => write!(formatter, "a legal hold keeps it: {reason}"),
            FaultKind::Busy(order_id) => {
                write!(formatter, "deposit {order_id} of the filegroup is under way: try again when it has ended")
            }
            FaultKind::Unreadable(reason) => write!(formatter, "the stored package cannot be read: {reason}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(formatter, "{}: {file}: {}", self.filegroup, self.kind),
            None => write!(formatter, "{}: {}", self.filegroup, self.kind),
        }
    }
}

/// Why something about deletions or holds is not done.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// The caller lacks the role that it takes.
    #[error("the {role} role on the contract is needed for this")]
    NotAllowed {
        /// The role.
        role: Role,
    },
    /// What is asked for is at fault. Nothing is begun.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Faults(Vec<Fault>),
    /// Nothing is asked for.
    #[error("name at least one filegroup")]
    Empty,
    /// There is no such deletion, as far as the caller may know.
    #[error("there is no deletion {0}")]
    Unknown(String),
    /// There is no such contract.
    #[error("there is no contract {0}")]
    ContractUnknown(String),
    /// There is no such package.
    #[error("contract {contract_id} has no package {object_id}")]
    PackageUnknown {
        /// The contract.
        contract_id: String,
        /// The depositor's name for the package.
        object_id: String,
    },
    /// There is no such hold in force, as far as the caller may know.
    #[error("there is no legal hold {0} in force")]
    HoldUnknown(String),
    /// A hold comes too late.
    #[error("deletion {0} is removing content of it now: no hold can keep that")]
    TooLate(String),
    /// It takes a reason.
    #[error("give a reason of 1 to 1000 characters without control characters")]
    Reason,
    /// It needs nobody's approval, or has it.
    #[error("deletion {order_id} is {state}{}", if *.approved { " and approved already" } else { " and waits for nobody's approval" })]
    NotWaiting {
        /// The deletion.
        order_id: String,
        /// Its state.
        state: OrderState,
        /// Whether somebody has approved it.
        approved: bool,
    },
    /// Whoever asked for it cannot approve it.
    #[error("{0} asked for this deletion: somebody else must approve it")]
    SamePerson(String),
    /// It is too late to withdraw it.
    #[error("deletion {order_id} is {state}, and cannot be withdrawn any more")]
    NotWithdrawable {
        /// The deletion.
        order_id: String,
        /// Its state.
        state: OrderState,
    },
    /// It came to its good end, or has not come to any.
    #[error("deletion {order_id} is {state}: only what failed or was rejected can be asked for again")]
    NotFailed {
        /// The deletion.
        order_id: String,
        /// Its state.
        state: OrderState,
    },
    /// Nothing that it was to remove is there.
    #[error("nothing that deletion {0} was to remove is there any more")]
    NothingLeft(String),
    /// Another deletion of the same package is under way.
    #[error("deletion {0} of the same filegroup is under way")]
    Again(String),
    /// The work itself ended.
    #[error("the request was interrupted: {0}")]
    Interrupted(String),
    /// The catalogue failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// A deletion without its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionSummary {
    /// The order.
    pub order: Order,
    /// What it asks for.
    pub deletion: Deletion,
}

/// A deletion with everything that is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionView {
    /// The order.
    pub order: Order,
    /// What it asks for.
    pub deletion: Deletion,
    /// The packages, each with its files.
    pub entries: Vec<(Entry, Vec<DeletionFile>)>,
}

impl DeletionView {
    /// Puts together what the tables say. What an order that has ended did not come to is an error for that order's
    /// reason.
    pub(crate) fn new(order: Order, deletion: Deletion, mut entries: Vec<(Entry, Vec<DeletionFile>)>) -> DeletionView {
        if order.state.is_finished() && order.state != OrderState::Deleted {
            let why = order.failure.as_ref().map(|failure| failure.message.clone());
            for (entry, files) in entries.iter_mut().filter(|(entry, _)| entry.state == Removal::Pending) {
                (entry.state, entry.reason) = (Removal::Error, why.clone());
                for file in files.iter_mut().filter(|file| file.state == Removal::Pending) {
                    (file.state, file.reason) = (Removal::Error, why.clone());
                }
            }
        }
        DeletionView { order, deletion, entries }
    }
}

/// Whether a reason can be kept.
pub(crate) fn check_reason(reason: &str) -> Result<(), DeletionError> {
    let is_one = (1..=1000).contains(&reason.trim().chars().count()) && !reason.contains(char::is_control);
    is_one.then_some(()).ok_or(DeletionError::Reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_what_they_are_about() {
        let fault =
            |file: Option<&str>, kind| Fault { filegroup: "fg".to_owned(), file: file.map(str::to_owned), kind };
        let table = [
            (fault(None, FaultKind::FilegroupUnknown), "fg: there is no such filegroup", false),
            (fault(Some("a/b"), FaultKind::ChecksumDiffers), "fg: a/b: the stored file has another checksum", false),
            (fault(None, FaultKind::Held("case 7".to_owned())), "fg: a legal hold keeps it: case 7", true),
        ];
        for (fault, text, is_conflict) in table {
            assert_eq!(fault.to_string(), text);
            assert_eq!(fault.kind.is_conflict(), is_conflict);
        }
    }

    #[test]
    fn a_reason_is_one_line() {
        assert!(check_reason("case 7").is_ok());
        for wrong in ["", "  ", "two\nlines", &"x".repeat(1001)] {
            assert!(check_reason(wrong).is_err(), "{wrong:?}");
        }
    }
}
