//! Why a request is not done, in the words of the protocol and for people.

use rustix::io::Errno;

use super::places::BadPath;
use super::wire::Code;

/// A request that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: Code, message: &str) -> Refusal {
        Refusal { code, message: message.to_owned() }
    }

    pub(super) fn denied(message: &str) -> Refusal {
        Refusal::new(Code::PermissionDenied, message)
    }

    pub(super) fn missing() -> Refusal {
        Refusal::new(Code::NoSuchFile, "There is no such file or directory.")
    }
}

impl From<BadPath> for Refusal {
    fn from(bad: BadPath) -> Refusal {
        let code = if bad == BadPath::Hidden { Code::NoSuchFile } else { Code::Failure };
        Refusal::new(code, &bad.to_string())
    }
}

/// What the file system answered. Nothing of it tells where on the machine the files lie.
impl From<Errno> for Refusal {
    fn from(error: Errno) -> Refusal {
        let (code, message) = match error {
            // Links, and what would lead out of the area, are not there for clients.
            Errno::NOENT | Errno::LOOP | Errno::XDEV | Errno::NOTDIR | Errno::NXIO => return Refusal::missing(),
            Errno::ACCESS | Errno::PERM | Errno::ROFS => (Code::PermissionDenied, "This is not permitted here."),
            Errno::EXIST => (Code::Failure, "There is a file or directory of that name already."),
            Errno::NOTEMPTY => (Code::Failure, "The directory is not empty."),
            Errno::ISDIR => (Code::Failure, "This is a directory."),
            Errno::BUSY => (Code::PermissionDenied, "This directory belongs to the area and stays."),
            Errno::NOSPC => (Code::Failure, "There is no room left on the server."),
            Errno::DQUOT => (Code::Failure, "The server's quota for files is used up."),
            Errno::FBIG | Errno::INVAL => (Code::Failure, "The server cannot keep a file of that size."),
            Errno::NAMETOOLONG => (Code::Failure, "The name is too long."),
            Errno::MFILE | Errno::NFILE => (Code::Failure, "The server has too many files open: try again later."),
            other => {
                tracing::warn!(error = %other, "a file of an area could not be used");
                (Code::Failure, "The server could not do this: its log tells why.")
            }
        };
        Refusal::new(code, message)
    }
}
