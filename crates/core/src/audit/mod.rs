//! The audit log: what was done with stored content, by whom, and what came of it. It is only ever appended to, and each
//! entry holds the hash of the one before it, so that a change to any of them can be found (`verify.rs`).
//!
//! Each contract has a chain of its own: writers for different contracts do not wait for each other, and those for one
//! contract wait for no more than a commit, because entries are written when their transaction commits, after everything
//! else. Where a chain ends stands in a second table, sealed with the key of the installation, so that whoever has
//! nothing but the database cannot write the end of a chain anew.
//!
//! What is hashed is in `chain.rs`, and described for others in docs/audit.md.

pub mod chain;
pub mod export;
pub mod premis;
pub mod verify;

use crate::db::Transaction;
use crate::named::named;
use crate::time::Timestamp;

pub use chain::Chained;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuditKind {
    /// Content was taken in.
    Ingest,
    /// A copy was made somewhere else.
    Replication,
    /// Content was read and held against its digests.
    Fixity,
    /// Content was removed.
    Deletion,
    /// Content that was damaged is right again.
    Repair,
    /// Content was made available to its depositor.
    Restoration,
    /// Somebody steered the archive: an order, a client, a webhook, a quota. Nothing was done with content.
    Administration,
}

named!(
    AuditKind, "kind of audit entry":
    Ingest => "ingest",
    Replication => "replication",
    Fixity => "fixity",
    Deletion => "deletion",
    Repair => "repair",
    Restoration => "restoration",
    Administration => "administration",
);

/// The agent of what Dipper does by itself.
pub const SOFTWARE: &str = concat!("dipper ", env!("CARGO_PKG_VERSION"));

/// What is to be recorded: one operation on one package, or on one version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When it happened.
    pub at: Timestamp,
    /// What was done.
    pub kind: AuditKind,
    /// Whether it went well.
    pub success: bool,
    /// Who or what did it.
    pub agent: String,
    /// The contract, whose chain it goes into.
    pub contract_id: String,
    /// The package.
    pub package_id: Option<String>,
    /// The depositor's name for the package.
    pub object_id: Option<String>,
    /// The number of the version; `None` when it concerns all versions, or no known one.
    pub version: Option<u32>,
    /// The depositor's name for the version.
    pub label: Option<String>,
    /// The algorithm of the digest.
    pub algorithm: Option<String>,
    /// A digest that stands for the content: of the object's inventory, in hexadecimal digits, where Dipper records it.
    pub digest: Option<String>,
    /// How many bytes it concerns.
    pub size_bytes: Option<u64>,
    /// How many files it concerns.
    pub file_count: Option<u64>,
    /// More about it, for a person to read.
    pub detail: String,
    /// Whether it concerns every file of the version, or of the package: then `files` are those for which something else
    /// holds than for the entry. Otherwise it concerns the files that are listed, and no others.
    pub whole: bool,
    /// The files that are told apart.
    pub files: Vec<AuditFile>,
}

/// A file of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFile {
    /// Its logical path.
    pub path: String,
    /// Its length.
    pub size_bytes: Option<u64>,
    /// The algorithm of its digest.
    pub algorithm: Option<String>,
    /// Its digest in hexadecimal digits.
    pub digest: Option<String>,
    /// Whether it went well with this file.
    pub success: bool,
    /// More about it, for a person to read.
    pub detail: String,
}

impl AuditEntry {
    /// An entry of something that went well, done by this program, about a whole contract so far.
    pub fn new(kind: AuditKind, contract_id: impl Into<String>, at: Timestamp) -> AuditEntry {
        AuditEntry {
            at,
            kind,
            success: true,
            agent: SOFTWARE.to_owned(),
            contract_id: contract_id.into(),
            package_id: None,
            object_id: None,
            version: None,
            label: None,
            algorithm: None,
            digest: None,
            size_bytes: None,
            file_count: None,
            detail: String::new(),
            whole: true,
            files: Vec::new(),
        }
    }

    /// An entry about a package.
    pub fn of(kind: AuditKind, package: &crate::db::packages::Package, at: Timestamp) -> AuditEntry {
        AuditEntry {
            package_id: Some(package.id.clone()),
            object_id: Some(package.object_id.clone()),
            ..AuditEntry::new(kind, &package.contract_id, at)
        }
    }

    /// The same, with a digest that stands for the content.
    #[must_use]
    pub fn digest(mut self, algorithm: dipper_archive::digest::Algorithm, digest: impl ToString) -> AuditEntry {
        self.algorithm = Some(algorithm.to_string());
        self.digest = Some(digest.to_string());
        self
    }
}

/// Has an entry appended when the transaction commits. May be called at any point of it: the chain is locked at the end,
/// whatever is locked before.
pub fn record(transaction: &mut Transaction, entry: AuditEntry) {
    transaction.owe_audit(chain::storable(entry));
}
