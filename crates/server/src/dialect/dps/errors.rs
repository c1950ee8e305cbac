//! Refusals in the words and the shape of the contract.

use axum::http::StatusCode;
use axum::http::header::LOCATION;
use dipper_core::Role;
use dipper_core::intake::IntakeError;

use super::wire::{ErrorAnswer, ErrorBody};
use crate::http::refusal::{Refusal, Shape};

/// `{"error":{"code","message","details"}}`.
pub const SHAPE: Shape = Shape { content_type: "application/json", body };

fn body(refusal: &Refusal) -> Vec<u8> {
    let error = ErrorBody {
        code: refusal.code.to_string(),
        message: refusal.message.clone(),
        details: refusal.details.clone(),
    };
    serde_json::to_vec(&ErrorAnswer { error }).unwrap_or_default()
}

/// A refusal of the core. `location` makes the address of a dissemination.
pub(super) fn refusal(error: IntakeError, location: impl Fn(&str) -> String) -> Refusal {
    let message = error.to_string();
    match error {
        IntakeError::NotAllowed { role: Role::Read } => {
            let message = "the token carries no role {contractId}_R for the contract of this archive";
            Refusal::new(StatusCode::FORBIDDEN, "ACCESS_DENIED", message)
        }
        IntakeError::NotAllowed { role: Role::Write | Role::Operator } => {
            let message = "only the client that ordered, or one with a role {contractId}_W, may do this";
            Refusal::new(StatusCode::FORBIDDEN, "ACCESS_DENIED", message)
        }
        IntakeError::PackageUnknown(id) => archive_unknown(&id),
        IntakeError::VersionUnknown { .. } => Refusal::new(StatusCode::NOT_FOUND, "VERSION_NOT_FOUND", message),
        IntakeError::PathUnknown { .. } => Refusal::new(StatusCode::NOT_FOUND, "FILE_NOT_FOUND", message),
        IntakeError::Archive(error) => {
            tracing::error!(%error, "a request failed");
            Refusal::internal()
        }
        IntakeError::OrderUnknown(id) => dissemination_unknown(&id),
        IntakeError::NotPreserved { reason, .. } => {
            let refusal = Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "ARCHIVE_NOT_PRESERVED", message);
            reason.into_iter().fold(refusal, Refusal::details)
        }
        IntakeError::AlreadyOrdered { existing } => {
            let message = "this client has a dissemination of this archive under way: fetch that one";
            Refusal::new(StatusCode::CONFLICT, "DISSEMINATION_EXISTS", message)
                .header(LOCATION, &location(&existing))
                .details(existing)
        }
        IntakeError::NotDelivered { .. } => {
            Refusal::new(StatusCode::CONFLICT, "DISSEMINATION_NOT_DELIVERED", "there is no delivery to make links to")
        }
        IntakeError::Gone(_) => Refusal::new(StatusCode::GONE, "DELIVERY_NOT_KEPT", message),
        IntakeError::Store(error) => {
            // When to come back.
            const BUSY_SECONDS: u64 = 30;
            tracing::error!(%error, "no link into the store of deliveries can be made");
            Refusal::unavailable("no download links can be made now: try again later", BUSY_SECONDS)
        }
        IntakeError::Database(error) => {
            tracing::error!(%error, "a request failed");
            Refusal::database(&error)
        }
    }
}

/// 404 for an archive.
pub(super) fn archive_unknown(id: &str) -> Refusal {
    let message = format!("there is no archive {id}, or not for this client");
    Refusal::new(StatusCode::NOT_FOUND, "ARCHIVE_NOT_FOUND", message)
}

/// 404 for a dissemination.
pub(super) fn dissemination_unknown(id: &str) -> Refusal {
    let message = format!("there is no dissemination {id}, or not for this client");
    Refusal::new(StatusCode::NOT_FOUND, "DISSEMINATION_NOT_FOUND", message)
}
