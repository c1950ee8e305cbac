//! The pages of operators. Each is put together from the same parts (`sheet.rs`); what they show and do is the core's
//! (`dipper_core::oversight`), which also checks on which contracts.

pub(super) mod audit;
pub(super) mod clients;
pub(super) mod contracts;
pub(super) mod deletions;
pub(super) mod deliveries;
pub(super) mod fixity;
pub(super) mod gateways;
pub(super) mod operations;
pub(super) mod processes;
mod sheet;

use axum::http::StatusCode;
use axum::response::Response;
use dipper_core::Role;
use dipper_core::administration::AdministrationError;
use dipper_core::deletion::DeletionError;
use dipper_core::oversight::OversightError;

use super::frame::Note;
use super::visit::Visit;
use crate::http::refusal::Refusal;
use crate::signin::Operator;

use sheet::Cell;

/// Whoever runs an archive.
pub(super) type Visitor = Visit<Operator>;

/// Why something was not done: told on the page it was asked on, or a page of its own.
enum Undone {
    /// It is not possible as things are; the sentence says why.
    NotNow(String),
    /// There is nothing of the kind, or the server failed.
    Refused(Refusal),
}

impl From<OversightError> for Undone {
    fn from(error: OversightError) -> Undone {
        match error {
            OversightError::Database(error) => Undone::Refused(Refusal::database(&error)),
            OversightError::Deletion(error) => error.into(),
            OversightError::OrderUnknown(_) | OversightError::PackageUnknown(_) => {
                Undone::Refused(Refusal::not_found(error.to_string()))
            }
            OversightError::NotAllowed => {
                Undone::Refused(Refusal::new(StatusCode::FORBIDDEN, "FORBIDDEN", error.to_string()))
            }
            error => Undone::NotNow(error.to_string()),
        }
    }
}

impl From<AdministrationError> for Undone {
    fn from(error: AdministrationError) -> Undone {
        match error {
            AdministrationError::Database(error) => Undone::Refused(Refusal::database(&error)),
            AdministrationError::Unknown { .. } => Undone::Refused(Refusal::not_found(error.to_string())),
            AdministrationError::Secret(error) => {
                tracing::error!(%error, "a secret could not be made");
                Undone::Refused(Refusal::internal())
            }
            error => Undone::NotNow(error.to_string()),
        }
    }
}

impl From<DeletionError> for Undone {
    fn from(error: DeletionError) -> Undone {
        match error {
            DeletionError::Database(error) => Undone::Refused(Refusal::database(&error)),
            DeletionError::Unknown(_) | DeletionError::ContractUnknown(_) | DeletionError::HoldUnknown(_) => {
                Undone::Refused(Refusal::not_found(error.to_string()))
            }
            DeletionError::NotAllowed { .. } => {
                Undone::Refused(Refusal::new(StatusCode::FORBIDDEN, "FORBIDDEN", error.to_string()))
            }
            error => Undone::NotNow(error.to_string()),
        }
    }
}

impl From<Undone> for Refusal {
    fn from(undone: Undone) -> Refusal {
        match undone {
            Undone::NotNow(message) => Refusal::conflict("NOT_NOW", message),
            Undone::Refused(refusal) => refusal,
        }
    }
}

/// The way back to a page, with what was done, or why it was not.
fn back<T, E: Into<Undone>>(
    visit: &Visitor,
    path: &str,
    done: Result<T, E>,
    note: impl FnOnce(T) -> Note,
) -> Result<Response, Refusal> {
    match done.map_err(Into::into) {
        Ok(value) => Ok(visit.go(path, note(value))),
        Err(Undone::NotNow(why)) => Ok(visit.go(path, Note::failed("operator-not-done", why))),
        Err(Undone::Refused(refusal)) => Err(refusal),
    }
}

/// What can be shown of something, or why nothing can.
fn shown<T, E: Into<Undone>>(found: Result<T, E>) -> Result<T, Refusal> {
    found.map_err(|error| Refusal::from(error.into()))
}

/// An order, with the way to its page for whoever may read it.
fn order(visit: &Visitor, contract_id: &str, order_id: &str) -> Cell {
    if visit.caller.grants.has(contract_id, Role::Read) {
        return Cell::Id(format!("/orders/{order_id}"), order_id.to_owned());
    }
    Cell::Code(order_id.to_owned())
}

/// A package by its depositor's name, with the way to its page for whoever may read it.
fn package(visit: &Visitor, contract_id: &str, package_id: &str, object_id: &str) -> Cell {
    if package_id.is_empty() || !visit.caller.grants.has(contract_id, Role::Read) {
        return sheet::text(object_id);
    }
    Cell::Link(format!("/packages/{package_id}"), object_id.to_owned())
}
