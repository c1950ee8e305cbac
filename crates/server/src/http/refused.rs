//! What the core refuses, with the statuses that contracts have for it which describe problems in one way.

use axum::http::StatusCode;
use dipper_core::Role;
use dipper_core::db::DatabaseError;
use dipper_core::deletion::{self, DeletionError};
use dipper_core::download::DownloadError;
use dipper_core::gateway::GatewayError;
use dipper_core::intake::{AccountError, DepositError, DepositFault, FilegroupError, IntakeError, RestoreError};
use dipper_core::selection::Fault;

use super::refusal::{Part, Refusal};

/// Nothing of the request is done, because a part of it cannot be.
pub(crate) fn unprocessable(code: &'static str, parts: Vec<Part>) -> Refusal {
    let message = match parts.as_slice() {
        [one] => match &one.file {
            Some(file) => format!("{}/{file}: {}", one.filegroup, one.message),
            None => format!("{}: {}", one.filegroup, one.message),
        },
        several => format!("{} parts of the request are at fault, so nothing was begun", several.len()),
    };
    Refusal::unprocessable(code, message).parts(parts)
}

fn part(fault: Fault) -> Part {
    Part { filegroup: fault.object_id, file: fault.path, message: fault.reason.to_string() }
}

pub(crate) fn faults(faults: Vec<Fault>) -> Refusal {
    unprocessable("NOT_AS_STORED", faults.into_iter().map(part).collect())
}

pub(crate) fn database(error: &DatabaseError) -> Refusal {
    tracing::error!(%error, "a request failed");
    Refusal::database(error)
}

fn forbidden(message: String) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
}

fn unreadable(message: &str) -> Refusal {
    tracing::error!("a request failed: {message}");
    Refusal::unavailable("the archive cannot be read now: try again later", super::file::BUSY_SECONDS)
}

/// 409 for whoever wants to tell that storage outside has finished.
pub(crate) fn by_itself() -> Refusal {
    Refusal::conflict(
        "BUILT_IN_ARCHIVE",
        "the archive of this Bridge is its own, and finishes by itself: nothing is to be told",
    )
}

/// 403 for a client of which nobody knows for which contract it calls.
pub(crate) fn no_account(role: Role) -> Refusal {
    forbidden(FilegroupError::NoAccount(role).to_string())
}

pub(crate) fn deposit(error: DepositError) -> Refusal {
    let message = error.to_string();
    match error {
        DepositError::NotAllowed { .. } => forbidden(message),
        DepositError::NoGateway => Refusal::conflict("NO_GATEWAY", message),
        DepositError::Gateway(
            GatewayError::Address { .. } | GatewayError::Egress(_) | GatewayError::Username | GatewayError::Password,
        ) => Refusal::unprocessable("GATEWAY", message),
        DepositError::Gateway(_) => {
            tracing::error!("a request failed: {message}");
            Refusal::internal()
        }
        DepositError::Empty => Refusal::bad_request(message),
        DepositError::Faults(faults) => {
            let is_conflict = faults.iter().any(|fault| fault.is_conflict);
            let part =
                |fault: DepositFault| Part { filegroup: fault.filegroup, file: fault.file, message: fault.message };
            let parts = faults.into_iter().map(part).collect();
            match is_conflict {
                true => unprocessable("DEPOSITED_OTHERWISE", parts).status(StatusCode::CONFLICT),
                false => unprocessable("NOT_DEPOSITABLE", parts),
            }
        }
        DepositError::Unknown(_) => Refusal::not_found(message),
        DepositError::Database(error) => database(&error),
    }
}

pub(crate) fn restore(error: RestoreError) -> Refusal {
    let message = error.to_string();
    match error {
        RestoreError::NoAccount(_) => forbidden(message),
        RestoreError::Faults(found) => faults(found),
        RestoreError::Unknown(_) | RestoreError::NotPart | RestoreError::Deleted => Refusal::not_found(message),
        RestoreError::Expired => Refusal::new(StatusCode::NOT_FOUND, "RESTORE_EXPIRED", message),
        RestoreError::NotReady(_) => Refusal::conflict("NOT_READY", message),
        RestoreError::Expiration(_) => Refusal::unprocessable("EXPIRATION", message),
        RestoreError::Archive(error) if error.is_archived() => Refusal::conflict("CONTENT_ARCHIVED", message),
        RestoreError::Download(DownloadError::Archived) => Refusal::conflict("CONTENT_ARCHIVED", message),
        RestoreError::Archive(_) | RestoreError::Download(_) => unreadable(&message),
        RestoreError::Database(error) => database(&error),
    }
}

pub(crate) fn filegroup(error: FilegroupError) -> Refusal {
    let message = error.to_string();
    match error {
        FilegroupError::NoAccount(_) => forbidden(message),
        FilegroupError::Unknown(_) => Refusal::not_found(message),
        FilegroupError::Archived => Refusal::conflict("CONTENT_ARCHIVED", message),
        FilegroupError::Archive(_) => unreadable(&message),
        FilegroupError::Database(error) => database(&error),
    }
}

pub(crate) fn deletion(error: DeletionError) -> Refusal {
    let message = error.to_string();
    match error {
        DeletionError::NotAllowed { .. } => forbidden(message),
        DeletionError::Faults(faults) => {
            let is_conflict = faults.iter().all(|fault| fault.kind.is_conflict());
            let part = |fault: deletion::Fault| Part {
                message: fault.kind.to_string(),
                filegroup: fault.filegroup,
                file: fault.file,
            };
            let parts = faults.into_iter().map(part).collect();
            match is_conflict {
                true => unprocessable("KEPT", parts).status(StatusCode::CONFLICT),
                false => unprocessable("NOT_AS_STORED", parts),
            }
        }
        DeletionError::Empty => Refusal::bad_request(message),
        DeletionError::Unknown(_) | DeletionError::ContractUnknown(_) | DeletionError::PackageUnknown { .. } => {
            Refusal::not_found(message)
        }
        DeletionError::Database(error) => database(&error),
        _ => unreadable(&message),
    }
}

pub(crate) fn audit(error: IntakeError) -> Refusal {
    let message = error.to_string();
    match error {
        IntakeError::NotAllowed { .. } => forbidden(message),
        IntakeError::PackageUnknown(_) => Refusal::not_found("nothing is known of such a filegroup"),
        IntakeError::Database(error) => database(&error),
        _ => unreadable(&message),
    }
}

pub(crate) fn account(error: AccountError) -> Refusal {
    let message = error.to_string();
    match error {
        AccountError::NotAllowed => forbidden(message),
        AccountError::Identifier(_) => Refusal::unprocessable("ACCOUNT_IDENTIFIER", message),
        AccountError::Taken(_) => Refusal::conflict("ACCOUNT_TAKEN", message),
        AccountError::Secret(error) => {
            tracing::error!(%error, "a request failed");
            Refusal::internal()
        }
        AccountError::Database(error) => database(&error),
    }
}
