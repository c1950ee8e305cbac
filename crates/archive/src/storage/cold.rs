//! Archive classes: files that must be recalled before they can be read.

use std::io;
use std::time::SystemTime;

use crate::bucket::Fault;

/// What can be done with a file that is, or was, in an archive class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It cannot be read before it is recalled.
    Archived {
        /// The class, as the storage names it, such as `DEEP_ARCHIVE`.
        class: String,
    },
    /// It was asked for, and is on its way.
    Recalling {
        /// The class.
        class: String,
    },
    /// It can be read, for a while.
    Recalled {
        /// The class.
        class: String,
        /// Until when, if the storage says so.
        until: Option<SystemTime>,
    },
}

impl Availability {
    /// The class, as the storage names it.
    pub fn class(&self) -> &str {
        match self {
            Availability::Archived { class }
            | Availability::Recalling { class }
            | Availability::Recalled { class, .. } => class,
        }
    }

    /// Whether it can be read now.
    pub fn is_readable(&self) -> bool {
        matches!(self, Availability::Recalled { .. })
    }
}

/// How fast a recall shall be: the faster, the dearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Hours, up to days.
    Bulk,
    /// Hours.
    Standard,
    /// Minutes. `DEEP_ARCHIVE` has no such tier: there it is the same as [`Tier::Standard`].
    Expedited,
}

impl Tier {
    /// The word for it, as S3 has it.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Bulk => "Bulk",
            Tier::Standard => "Standard",
            Tier::Expedited => "Expedited",
        }
    }
}

/// How a recall stands after it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// It has begun with this request.
    Begun,
    /// It was under way already.
    UnderWay,
    /// The file can be read now.
    Readable,
}

/// Whether an error says that a file is in an archive class and must be recalled: it is neither damaged nor missing.
pub fn is_archived(error: &io::Error) -> bool {
    Fault::is_archived(error)
}
