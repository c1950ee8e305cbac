//! `dipper package`: what the catalogue knows of the packages.

use clap::{Args, Subcommand};
use dipper_core::administration::Administration;
use dipper_core::db::packages::{Package, Version};
use serde_json::{Value, json};

use super::local::{LocalArguments, Missing};
use super::output::{Output, Table, plain, size, time_or_dash, time_short};

#[derive(Debug, Args)]
pub(crate) struct PackageArguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(subcommand)]
    command: PackageCommand,
}

#[derive(Debug, Subcommand)]
enum PackageCommand {
    /// List packages
    List {
        /// Of this contract alone
        #[arg(long)]
        contract: Option<String>,
        /// With this depositor's name alone
        #[arg(long)]
        object_id: Option<String>,
        /// Those after this package, to go on with a list
        #[arg(long, value_name = "ARCHIVE_ID", default_value = "")]
        after: String,
        /// How many at the most
        #[arg(long, default_value_t = 1000)]
        limit: u32,
    },
    /// Show a package with its versions
    Show {
        /// The package's identifier, as `dipper ingest` and `dipper package list` tell it
        archive_id: String,
    },
}

pub(crate) async fn run(arguments: PackageArguments, output: Output) -> anyhow::Result<()> {
    let administration = arguments.local.administration(Missing::Refuse).await?;
    match arguments.command {
        PackageCommand::List { contract, object_id, after, limit } => {
            if let Some(contract) = &contract {
                administration.contract_check(contract).await?;
            }
            let packages =
                administration.package_list(contract.as_deref(), object_id.as_deref(), &after, limit).await?;
            let mut table =
                Table::new(&["package", "identifier", "contract", "object", "state", "version", "files", "size"]);
            for package in &packages {
                let (state, size) = (package.state.name(), size(package.size_bytes));
                let (head, files) = (package.head, package.file_count);
                let (contract, object) = (&package.contract_id, &package.object_id);
                table.row(&[&package.id, &package.identifier, contract, object, &state, &head, &files, &size]);
            }
            let listed: Vec<_> = packages.iter().map(package_json).collect();
            // A full page may not be the last one.
            let next = packages.last().filter(|_| packages.len() as u64 == u64::from(limit)).map(|package| &package.id);
            output.result(&json!({ "packages": listed, "next": next }), &table.text("no packages"))
        }
        PackageCommand::Show { archive_id } => show(&administration, output, &archive_id).await,
    }
}

async fn show(administration: &Administration, output: Output, archive_id: &str) -> anyhow::Result<()> {
    let (package, versions) = administration.package_get(archive_id).await?;
    let mut document = package_json(&package);
    let listed: Vec<_> = versions.iter().map(version_json).collect();
    if let Value::Object(members) = &mut document {
        members.insert("versions".to_owned(), listed.into());
    }
    output.result(&document, &package_text(&package, &versions))
}

fn package_json(package: &Package) -> Value {
    json!({
        "archiveId": package.id,
        "identifier": package.identifier,
        "urn": package.urn,
        "contractId": package.contract_id,
        "objectId": package.object_id,
        "ocflId": package.ocfl_id,
        "location": package.location,
        "state": package.state.name(),
        "reason": package.reason,
        "version": package.head,
        "files": package.file_count,
        "bytes": package.size_bytes,
        "created": package.created.to_string(),
        "updated": package.updated.to_string(),
        "verified": package.verified.map(|time| time.to_string()),
    })
}

fn version_json(version: &Version) -> Value {
    json!({
        "version": version.number,
        "label": version.label,
        "container": version.container_name,
        "files": version.file_count,
        "bytes": version.size_bytes,
        "created": version.created.to_string(),
    })
}

fn package_text(package: &Package, versions: &[Version]) -> String {
    let reason = package.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let lines = [
        ("package", package.id.clone()),
        ("identifier", package.identifier.clone()),
        ("URN", package.urn.clone().unwrap_or_else(|| "-".to_owned())),
        ("contract", package.contract_id.clone()),
        ("object", package.object_id.clone()),
        ("OCFL object", package.ocfl_id.clone()),
        ("lies at", package.location.clone()),
        ("state", format!("{}{reason}", package.state.name())),
        ("verified", time_or_dash(package.verified)),
    ];
    let mut text: String =
        lines.iter().map(|(name, value)| format!("{:13}{}\n", format!("{name}:"), plain(value))).collect();
    let mut table = Table::new(&["version", "created", "files", "size", "label", "container"]);
    for version in versions {
        let label = version.label.as_deref().unwrap_or("-");
        let container = version.container_name.as_deref().unwrap_or("-");
        let (created, size) = (time_short(version.created), size(version.size_bytes));
        table.row(&[&version.number, &created, &version.file_count, &size, &label, &container]);
    }
    text.push('\n');
    text.push_str(&table.text("no versions"));
    text
}
