//! What went wrong with a bucket. An [`io::Error`] of this module holds a [`Failure`] that can be asked for its
//! [`Fault`], and names bucket and key.

use std::io::{self, ErrorKind};

use serde::Deserialize;

/// What kind of failure a call to a bucket ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no such object or upload.
    Missing,
    /// There is no such bucket.
    NoBucket,
    /// A condition of the write did not hold: somebody else wrote before.
    Precondition,
    /// The server does not allow it, or knows neither key nor signature.
    Refused,
    /// The object is in an archive class and must be recalled before it is read.
    Archived,
    /// The server is away, overloaded or silent; the same call may succeed later.
    Unavailable,
    /// What arrived is not what left.
    Checksum,
    /// Anything else, of which trying again changes nothing.
    Other,
}

impl Fault {
    /// The fault of an error that a bucket gave; `None` for an error from elsewhere.
    pub fn of(error: &io::Error) -> Option<Fault> {
        error.get_ref()?.downcast_ref::<Failure>().map(|failure| failure.fault)
    }

    /// Whether the object of this error is in an archive class.
    pub fn is_archived(error: &io::Error) -> bool {
        Fault::of(error) == Some(Fault::Archived)
    }

    fn kind(self) -> ErrorKind {
        match self {
            Fault::Missing => ErrorKind::NotFound,
            Fault::Precondition => ErrorKind::AlreadyExists,
            Fault::Refused => ErrorKind::PermissionDenied,
            Fault::Archived => ErrorKind::ResourceBusy,
            Fault::Unavailable => ErrorKind::TimedOut,
            // Not NotFound: nothing is known about the object when its bucket is not there.
            Fault::NoBucket | Fault::Checksum | Fault::Other => ErrorKind::Other,
        }
    }
}

/// A call to a bucket that failed.
#[derive(Debug, thiserror::Error)]
#[error("{action} {place}: {reason}")]
pub(super) struct Failure {
    pub(super) action: &'static str,
    pub(super) place: String,
    pub(super) reason: String,
    pub(super) fault: Fault,
    /// S3's word for it.
    pub(super) code: String,
}

impl Failure {
    /// Whether an error is a failure with one of S3's words.
    pub(super) fn has_code(error: &io::Error, codes: &[&str]) -> bool {
        let failure = error.get_ref().and_then(|inner| inner.downcast_ref::<Failure>());
        failure.is_some_and(|failure| codes.contains(&failure.code.as_str()))
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> io::Error {
        io::Error::new(failure.fault.kind(), failure)
    }
}

/// The body of an answer that tells of an error.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ErrorBody {
    pub(super) code: String,
    pub(super) message: String,
}

impl ErrorBody {
    /// Reads a body, if it is one of these.
    pub(super) fn read(body: &[u8]) -> Option<ErrorBody> {
        let text = std::str::from_utf8(body).ok()?;
        // The reader takes any root element, so its name is looked at here.
        let root = text
            .trim_start()
            .strip_prefix("<?xml")
            .and_then(|rest| rest.split_once("?>"))
            .map_or(text, |(_, rest)| rest);
        if !root.trim_start().starts_with("<Error") {
            return None;
        }
        quick_xml::de::from_str(root).ok()
    }

    /// What the answer means, by S3's word for it or by its status where there is no body.
    pub(super) fn fault(&self, status: u16) -> Fault {
        match (self.code.as_str(), status) {
            ("NoSuchBucket", _) => Fault::NoBucket,
            ("InvalidObjectState", _) => Fault::Archived,
            ("BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch", _) => Fault::Checksum,
            ("RequestTimeout" | "SlowDown" | "InternalError" | "ServiceUnavailable", _) => Fault::Unavailable,
            (_, 404) => Fault::Missing,
            ("ConditionalRequestConflict" | "PreconditionFailed", _) | (_, 412) => Fault::Precondition,
            (_, 401 | 403) => Fault::Refused,
            (_, 408 | 429 | 500..=599) => Fault::Unavailable,
            _ => Fault::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_mean() {
        let body =
            |code: &str| format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>m</Message></Error>");
        let table = [
            ("NoSuchKey", 404, Fault::Missing),
            ("NoSuchBucket", 404, Fault::NoBucket),
            ("NoSuchUpload", 404, Fault::Missing),
            ("PreconditionFailed", 412, Fault::Precondition),
            ("ConditionalRequestConflict", 409, Fault::Precondition),
            ("AccessDenied", 403, Fault::Refused),
            ("SignatureDoesNotMatch", 403, Fault::Refused),
            ("InvalidObjectState", 403, Fault::Archived),
            ("SlowDown", 503, Fault::Unavailable),
            ("InternalError", 200, Fault::Unavailable),
            ("RequestTimeout", 400, Fault::Unavailable),
            ("BadDigest", 400, Fault::Checksum),
            ("MalformedXML", 400, Fault::Other),
        ];
        for (code, status, fault) in table {
            let read = ErrorBody::read(body(code).as_bytes());
            assert_eq!(read.map(|read| read.fault(status)), Some(fault), "{code}");
        }
        assert!(ErrorBody::read(b"<CompleteMultipartUploadResult/>").is_none());
        assert_eq!(ErrorBody::default().fault(502), Fault::Unavailable);
        assert_eq!(ErrorBody::default().fault(404), Fault::Missing);
    }
}
