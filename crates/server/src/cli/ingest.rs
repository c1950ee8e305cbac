//! `dipper ingest`: a directory or a bag becomes a version of a package.

use std::path::PathBuf;

use clap::Args;
use dipper_core::ingest::{IngestCommand, IngestControl, IngestError, Ingested, ingest};
use dipper_core::naming::NamingError;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::local::{LocalArguments, Missing};
use super::output::{Output, count, note, plain, size};
use super::{bar, interrupt};

#[derive(Debug, Args)]
pub(crate) struct IngestArguments {
    #[command(flatten)]
    local: LocalArguments,
    /// A directory, a bag in a directory, or a tar, tar.gz or zip of a bag
    path: PathBuf,
    /// The contract that the package belongs to
    #[arg(long)]
    contract: String,
    /// Your own name for the package; one that is known already gets a new version
    #[arg(long)]
    object_id: String,
    /// Your own name for the version
    #[arg(long = "version", value_name = "LABEL")]
    label: Option<String>,
    /// Your URN for the package, instead of one that the bag names as its External-Identifier
    #[arg(long)]
    urn: Option<String>,
}

pub(crate) async fn run(arguments: IngestArguments, output: Output) -> anyhow::Result<()> {
    let installation = arguments.local.open(Missing::Refuse).await?;
    let command = IngestCommand {
        path: arguments.path,
        contract_id: arguments.contract,
        object_id: arguments.object_id,
        label: arguments.label,
        urn: arguments.urn,
        ..IngestCommand::default()
    };
    let bar = bar::bytes(0, "ingesting");
    let interrupted = interrupt::watch("stopping: what was copied is kept, and the same ingest goes on from there")?;
    let ingested = ingest(&installation, command.clone(), control(&bar, interrupted)).await;
    bar.finish_and_clear();
    installation.database.close().await;
    let ingested = ingested?;
    for warning in &ingested.warnings {
        note(&format!("warning: {}", plain(warning)));
    }
    output.result(&ingested_json(&command, &ingested), &ingested_text(&command, &ingested))
}

/// Shows progress on a bar, and stops when the token is cancelled.
pub(super) fn control(bar: &ProgressBar, stop: CancellationToken) -> IngestControl {
    let bar = bar.clone();
    IngestControl {
        progress: Box::new(move |progress| {
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes);
            bar.set_message(format!("{} of {}", progress.files, count(progress.files_total, "file")));
        }),
        cancelled: Box::new(move || stop.is_cancelled()),
    }
}

fn ingested_json(command: &IngestCommand, ingested: &Ingested) -> Value {
    json!({
        "archiveId": ingested.package_id,
        "identifier": ingested.identifier,
        "urn": ingested.urn,
        "version": ingested.version,
        "label": ingested.label,
        "contractId": command.contract_id,
        "objectId": command.object_id,
        "files": ingested.files,
        "bytes": ingested.bytes,
        "newBytes": ingested.new_bytes,
        "unchanged": ingested.unchanged,
        "warnings": ingested.warnings,
    })
}

pub(super) fn ingested_text(command: &IngestCommand, ingested: &Ingested) -> String {
    let label = ingested.label.as_ref().map(|label| format!(" ({})", plain(label))).unwrap_or_default();
    let what = if ingested.unchanged {
        "the package has this very version already; nothing was stored".to_owned()
    } else {
        format!("{} of them new to the package", size(ingested.new_bytes))
    };
    let urn = ingested.urn.as_ref().map(|urn| format!(", {}", plain(urn))).unwrap_or_default();
    format!(
        "package: {}\nknown as: {}{urn}\nversion: {}{label} of {} in contract {}\nfiles:   {}, {}, {what}\n",
        ingested.package_id,
        ingested.identifier,
        ingested.version,
        plain(&command.object_id),
        command.contract_id,
        ingested.files,
        size(ingested.bytes),
    )
}

/// The exit code for the kind of an error.
pub(super) fn exit_of(error: &IngestError) -> Option<super::exit::Exit> {
    use super::exit::Exit;
    match error {
        IngestError::ContractUnknown(_) => Some(Exit::NotFound),
        IngestError::ObjectId(_) | IngestError::Label(_) => Some(Exit::Usage),
        IngestError::Naming(NamingError::Urn { .. }) => Some(Exit::Usage),
        IngestError::Naming(NamingError::Database(_)) => None,
        IngestError::Invalid { .. } => Some(Exit::Damage),
        IngestError::LabelTaken { .. } | IngestError::Naming(NamingError::Taken(_) | NamingError::Other { .. }) => {
            Some(Exit::Conflict)
        }
        IngestError::Busy(_) | IngestError::Full(_) => Some(Exit::Again),
        IngestError::Cancelled => Some(Exit::Interrupted),
        IngestError::Open(_)
        | IngestError::Empty(_)
        | IngestError::Source(_)
        | IngestError::Broken(_)
        | IngestError::Archive(_)
        | IngestError::Database(_) => None,
    }
}
