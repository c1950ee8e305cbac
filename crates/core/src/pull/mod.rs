//! Fetching the files of a deposit from the gateway of its contract.
//!
//! `request.rs` makes one call: with the credentials that are registered at that moment, which go to the gateway's own
//! origin and to no other, whatever it redirects to; with `If-Match`, so that a gateway that has another file by now says
//! so. `body.rs` reads an answer: it goes on after a cut where the gateway serves ranges, also where another
//! process left off, gives up on one that stalls or trickles, and cuts off one that never ends. `files.rs` has several files fetched at a time, hashes them on their way
//! into the draft of the version, and notes in the catalogue how far that is. What the bytes must be, the depositor has
//! said beforehand: no answer of a gateway is believed without its checksum.

mod body;
mod earlier;
mod files;
mod request;

use std::time::Duration;

use crate::db::DatabaseError;
use crate::egress::Refusal;
use crate::gateway::GatewayError;
use crate::steps::StepError;

pub(crate) use earlier::Earlier;
pub(crate) use files::{FIXITY, Pull};

/// Why a file was not fetched. The texts name neither credentials nor what an address may carry of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The step is over, or another file has failed.
    #[error("the fetching was stopped")]
    Stopped,
    /// The gateway cannot be reached, is busy, or broke off; and how long it asks to be left alone.
    #[error("{0}")]
    Passing(String, Option<Duration>),
    /// The gateway does not take the credentials.
    #[error("the gateway does not let Dipper in: it answered {0}")]
    SignIn(reqwest::StatusCode),
    /// The gateway will not give the file.
    #[error("{0}")]
    Refused(String),
    /// The gateway, or what it redirects to, may not be called.
    #[error(transparent)]
    Egress(#[from] Refusal),
    /// The gateway broke off, and the file has changed since, or is not served in parts.
    #[error("the gateway broke off, and does not give the rest")]
    NoRest,
    /// What an earlier attempt left of the file, and the rest of it, are not the bytes that were declared.
    #[error("the file does not go on as it began")]
    Misfit,
    /// The bytes are not those that were declared.
    #[error("{0}")]
    Mismatch(String),
    /// No gateway is registered, or it cannot be used.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The catalogue failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The archive or this process failed.
    #[error("the archive could not take the file")]
    Step(StepError),
}

impl Fault {
    pub(crate) fn passing(text: impl Into<String>) -> Fault {
        Fault::Passing(text.into(), None)
    }

    /// How the figures call a failure of the gateway; other failures are none of its.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Fault::Passing(..) | Fault::NoRest => Some("unreachable"),
            Fault::SignIn(_) => Some("sign_in"),
            Fault::Refused(_) => Some("refused"),
            Fault::Mismatch(_) => Some("mismatch"),
            Fault::Egress(_) => Some("forbidden"),
            Fault::Misfit | Fault::Stopped | Fault::Gateway(_) | Fault::Database(_) | Fault::Step(_) => None,
        }
    }

    /// Whether fetching the same file again may help.
    fn may_repeat(&self) -> bool {
        matches!(self, Fault::Passing(..) | Fault::NoRest | Fault::Mismatch(_) | Fault::SignIn(_))
    }
}
