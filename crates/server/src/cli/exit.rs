//! How a command ended, as an exit code that scripts can use, and how an error is told.

use std::io::{self, Write as _};
use std::process::ExitCode;

use dipper_core::administration::AdministrationError;
use dipper_core::db::DatabaseError;
use dipper_core::deletion::{DeletionError, Fault, FaultKind};
use dipper_core::gateway::GatewayError;
use dipper_core::index::IndexError;
use dipper_core::ingest::IngestError;
use dipper_core::oversight::OversightError;
use dipper_core::verify::VerifyError;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Success = 0,
    Failure = 1,
    Usage = 2,
    Damage = 3,
    NotFound = 4,
    NotAllowed = 5,
    Again = 6,
    Conflict = 7,
    Interrupted = 130,
}

impl Exit {
    /// Every code with its meaning, as `--help` tells it.
    const MEANINGS: [(Exit, &'static str); 9] = [
        (Exit::Success, "it was done"),
        (Exit::Failure, "it failed, and trying again without a change will not help; or the settings are wrong"),
        (Exit::Usage, "the command line is wrong"),
        (Exit::Damage, "damage was found: content that does not match its digest, or is missing"),
        (Exit::NotFound, "there is no such thing"),
        (Exit::NotAllowed, "the credentials are wrong, or do not allow it"),
        (Exit::Again, "it cannot be done now: try again later"),
        (Exit::Conflict, "it exists already, or its state does not allow it"),
        (Exit::Interrupted, "it was interrupted with Ctrl-C; run it again to go on"),
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// An error that was found by a command itself, with the exit code that says what kind it is.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Told {
    exit: Exit,
    message: String,
}

/// An error with its exit code.
pub(crate) fn told(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Told { exit, message: message.into() })
}

/// The exit code of an error: the first of its causes that says more than that something failed.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(exit_of_cause).unwrap_or(Exit::Failure)
}

fn exit_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(told) = cause.downcast_ref::<Told>() {
        return Some(told.exit);
    }
    if let Some(error) = cause.downcast_ref::<AdministrationError>() {
        return match error {
            AdministrationError::Identifier { .. }
            | AdministrationError::Address { .. }
            | AdministrationError::Egress(_)
            | AdministrationError::Mail(_) => Some(Exit::Usage),
            AdministrationError::Gateway(error) => exit_of_gateway(error),
            AdministrationError::Exists { .. } => Some(Exit::Conflict),
            AdministrationError::Unknown { .. } => Some(Exit::NotFound),
            AdministrationError::Database(error) if error.is_busy() || error.is_full() => Some(Exit::Again),
            AdministrationError::Secret(_) | AdministrationError::Database(_) => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<DeletionError>() {
        return exit_of_deletion(error);
    }
    if let Some(error) = cause.downcast_ref::<OversightError>() {
        return exit_of_oversight(error);
    }
    if let Some(error) = cause.downcast_ref::<IngestError>() {
        return super::ingest::exit_of(error);
    }
    if cause.downcast_ref::<DatabaseError>().is_some_and(|error| error.is_busy() || error.is_full()) {
        return Some(Exit::Again);
    }
    if let Some(VerifyError::PackageUnknown(_)) = cause.downcast_ref::<VerifyError>() {
        return Some(Exit::NotFound);
    }
    if let Some(IndexError::ContractUnknown(_)) = cause.downcast_ref::<IndexError>() {
        return Some(Exit::NotFound);
    }
    None
}

fn exit_of_gateway(error: &GatewayError) -> Option<Exit> {
    match error {
        GatewayError::Address { .. } | GatewayError::Egress(_) | GatewayError::Username | GatewayError::Password => {
            Some(Exit::Usage)
        }
        GatewayError::ContractUnknown(_) => Some(Exit::NotFound),
        GatewayError::Database(error) if error.is_busy() || error.is_full() => Some(Exit::Again),
        GatewayError::Secret(_) | GatewayError::Database(_) => None,
    }
}

fn exit_of_deletion(error: &DeletionError) -> Option<Exit> {
    match error {
        DeletionError::Faults(faults) if faults.iter().any(|fault| fault.kind.is_conflict()) => Some(Exit::Conflict),
        DeletionError::Faults(faults) => {
            let is_unknown = |fault: &Fault| {
                matches!(
                    fault.kind,
                    FaultKind::FilegroupUnknown | FaultKind::VersionUnknown(_) | FaultKind::FileUnknown
                )
            };
            faults.iter().all(is_unknown).then_some(Exit::NotFound)
        }
        DeletionError::Unknown(_)
        | DeletionError::ContractUnknown(_)
        | DeletionError::PackageUnknown { .. }
        | DeletionError::HoldUnknown(_) => Some(Exit::NotFound),
        DeletionError::NotAllowed { .. } | DeletionError::SamePerson(_) => Some(Exit::NotAllowed),
        DeletionError::TooLate(_)
        | DeletionError::NotWaiting { .. }
        | DeletionError::NotWithdrawable { .. }
        | DeletionError::NotFailed { .. }
        | DeletionError::NothingLeft(_)
        | DeletionError::Again(_) => Some(Exit::Conflict),
        DeletionError::Reason | DeletionError::Empty => Some(Exit::Usage),
        DeletionError::Database(error) if error.is_busy() || error.is_full() => Some(Exit::Again),
        DeletionError::Interrupted(_) | DeletionError::Database(_) => None,
    }
}

fn exit_of_oversight(error: &OversightError) -> Option<Exit> {
    match error {
        OversightError::OrderUnknown(_) | OversightError::PackageUnknown(_) => Some(Exit::NotFound),
        OversightError::NotAllowed => Some(Exit::NotAllowed),
        OversightError::NotFailed { .. }
        | OversightError::NotRepeated(_)
        | OversightError::SeenTo(_)
        | OversightError::Unfit { .. }
        | OversightError::Again { .. }
        | OversightError::NotCancellable { .. }
        | OversightError::Finished { .. }
        | OversightError::NothingStored { .. }
        | OversightError::NotScheduled(_) => Some(Exit::Conflict),
        OversightError::Rank(_) => Some(Exit::Usage),
        OversightError::Deletion(error) => exit_of_deletion(error),
        OversightError::Database(error) if error.is_busy() || error.is_full() => Some(Exit::Again),
        OversightError::Database(_) => None,
    }
}

/// Tells an error on standard error, and gives its exit code. A reader that closed the pipe had enough: no error.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let closed = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe);
    if closed {
        return Exit::Success.into();
    }
    let _ = writeln!(io::stderr(), "error: {}", text(error));
    exit_of(error).into()
}

/// The error with its causes, as `{:#}` gives it, but each text once: some errors tell their cause themselves.
pub(crate) fn text(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// The end of the long help.
pub(crate) fn help(before: &str) -> String {
    let codes: Vec<_> =
        Exit::MEANINGS.iter().map(|(exit, meaning)| format!("  {:>3}  {meaning}", *exit as u8)).collect();
    format!("{before} Errors are never JSON: the exit code tells their kind.\n\nExit codes:\n{}", codes.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn an_error_tells_each_cause_once_and_keeps_its_code() {
        let cause = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let error = anyhow::Error::new(cause).context("x: no such file").context("reading");
        assert_eq!(text(&error), "reading: x: no such file");
        let error = Err::<(), _>(told(Exit::Conflict, "there")).context("adding").expect_err("an error");
        assert_eq!((text(&error).as_str(), exit_of(&error)), ("adding: there", Exit::Conflict));
        let unknown = AdministrationError::Unknown { what: "client", id: "a".to_owned() };
        assert_eq!(exit_of(&unknown.into()), Exit::NotFound);
    }

    #[test]
    fn what_is_wrong_with_a_gateway_is_told_apart() {
        let secret = dipper_core::secret::SecretError::Hash("why".to_owned());
        for (error, expected) in [
            (GatewayError::Username, Exit::Usage),
            (GatewayError::ContractUnknown("2d17".to_owned()), Exit::NotFound),
            (GatewayError::Database(DatabaseError::Silent), Exit::Again),
            (GatewayError::Database(DatabaseError::RolledBack), Exit::Failure),
            (GatewayError::Secret(secret), Exit::Failure),
        ] {
            assert_eq!(exit_of(&AdministrationError::Gateway(error).into()), expected);
        }
    }

    #[test]
    fn the_help_names_every_code() {
        let help = help("");
        for (exit, _) in Exit::MEANINGS {
            assert!(help.contains(&format!("{:>3}  ", exit as u8)), "{exit:?}");
        }
    }
}
