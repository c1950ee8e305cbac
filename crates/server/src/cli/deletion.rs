//! `dipper deletion`: what is to be deleted for good, who approves it, and what is remembered of it.

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use dipper_archive::digest::Algorithm;
use dipper_core::db::contracts;
use dipper_core::db::deletions::{DeletionFile, DeletionFilter, Entry, Tombstone};
use dipper_core::deletion::{
    Agent, DeletionCommand as Wanted, DeletionEntry, DeletionSummary, DeletionView, OPERATOR, decision, request,
};
use dipper_core::order::OrderState;
use serde_json::{Map, Value, json};

use super::by;
use super::exit::{Exit, told};
use super::local::{LocalArguments, Missing};
use super::output::{Output, Table, count, size, time_or_dash, time_short};

#[derive(Debug, Args)]
pub(crate) struct DeletionArguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(subcommand)]
    command: DeletionCommand,
}

/// Who does it, for the record.
#[derive(Debug, Args)]
pub(crate) struct Operator {
    /// Your name, for the record [default: the name under which you are logged in]
    #[arg(long = "by", value_name = "NAME")]
    by: Option<String>,
}

impl Operator {
    pub(crate) fn agent(&self) -> anyhow::Result<Agent> {
        by::operator(&self.by.clone().or_else(by::logged_in).unwrap_or_default())
    }
}

#[derive(Debug, Subcommand)]
enum DeletionCommand {
    /// Order that a package, a version or some files of it be deleted from the archive and from all deliveries
    Order(OrderArguments),
    /// List deletions, the newest first
    List {
        /// Of this contract alone
        #[arg(long)]
        contract: Option<String>,
        /// In this state alone; may be given several times
        #[arg(long, value_name = "STATE")]
        state: Vec<OrderState>,
        /// Those before this deletion, to go on with a list
        #[arg(long, value_name = "DELETION_ID")]
        before: Option<String>,
        /// How many at the most
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show a deletion with its files
    Show {
        /// The deletion
        deletion: String,
    },
    /// Approve a deletion that somebody else ordered
    Approve {
        /// The deletion
        deletion: String,
        #[command(flatten)]
        operator: Operator,
    },
    /// Withdraw a deletion that has not begun
    Withdraw {
        /// The deletion
        deletion: String,
        #[command(flatten)]
        operator: Operator,
    },
    /// Show what is remembered of the deleted files of a package
    Tombstones {
        /// The contract
        contract: String,
        /// The depositor's name for the package
        object_id: String,
        /// Of this file alone
        #[arg(long)]
        file: Option<String>,
    },
}

#[derive(Debug, Args)]
struct OrderArguments {
    /// The contract
    contract: String,
    /// The depositor's name for the package
    object_id: String,
    /// The depositor's name for the version; without it and without files, all versions
    #[arg(long, value_name = "LABEL")]
    version: Option<String>,
    /// A file, by its path; may be given several times. Without --version, of the newest version
    #[arg(long, value_name = "PATH")]
    file: Vec<String>,
    /// The checksum that the file before must have; without --version, the newest version with that is meant
    #[arg(long, value_name = "CHECKSUM", requires = "file")]
    checksum: Vec<String>,
    /// The type of the checksums
    #[arg(long, value_name = "TYPE", default_value = "SHA-512")]
    checksum_type: ChecksumType,
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ChecksumType {
    #[value(name = "MD5")]
    Md5,
    #[value(name = "SHA-256")]
    Sha256,
    #[value(name = "SHA-512")]
    Sha512,
}

pub(crate) async fn run(arguments: DeletionArguments, output: Output) -> anyhow::Result<()> {
    let installation = arguments.local.open(Missing::Refuse).await?;
    match arguments.command {
        DeletionCommand::Order(wanted) => {
            let agent = wanted.operator.agent()?;
            let order = request::request(&installation, &agent, wanted.command()?).await?;
            let view = decision::view(&installation, &order.id).await?;
            show(&view, output)
        }
        DeletionCommand::List { contract, state, before, limit } => {
            let contracts = contracts::ids(&installation.database).await?;
            let contracts: Vec<&str> = contracts.iter().map(String::as_str).collect();
            let states = Some(state).filter(|states| !states.is_empty());
            let filter = DeletionFilter { contract_id: contract, states, before, limit };
            let found = decision::list(&installation, &contracts, &filter).await?;
            list(&found, output)
        }
        DeletionCommand::Show { deletion } => show(&decision::view(&installation, &deletion).await?, output),
        DeletionCommand::Approve { deletion, operator } => {
            show(&decision::approve(&installation, &operator.agent()?, &deletion).await?, output)
        }
        DeletionCommand::Withdraw { deletion, operator } => {
            show(&decision::withdraw(&installation, &operator.agent()?, &deletion).await?, output)
        }
        DeletionCommand::Tombstones { contract, object_id, file } => {
            let found = decision::tombstones(&installation, &contract, &object_id, file.as_deref()).await?;
            tombstones(&found, output)
        }
    }
}

impl OrderArguments {
    fn command(&self) -> anyhow::Result<Wanted> {
        if !self.checksum.is_empty() && self.checksum.len() != self.file.len() {
            let message = "give a --checksum for each --file, in the same order, or none; \"\" where a file needs none";
            return Err(told(Exit::Usage, message));
        }
        let checksums = self.checksum.iter().map(|checksum| Some(checksum.clone())).chain(std::iter::repeat(None));
        let files: Vec<_> = self.file.iter().cloned().zip(checksums).collect();
        Ok(Wanted {
            contract_id: self.contract.clone(),
            dialect: OPERATOR,
            checksum: match self.checksum_type {
                ChecksumType::Md5 => Algorithm::Md5,
                ChecksumType::Sha256 => Algorithm::Sha256,
                ChecksumType::Sha512 => Algorithm::Sha512,
            },
            reason: self.reason.clone(),
            entries: vec![DeletionEntry {
                filegroup: self.object_id.clone(),
                version: self.version.clone(),
                files: Some(files).filter(|files| !files.is_empty()),
            }],
            request: None,
        })
    }
}

fn list(found: &[DeletionSummary], output: Output) -> anyhow::Result<()> {
    let mut table =
        Table::new(&["deletion", "contract", "state", "files", "size", "by", "ordered", "due", "approved by"]);
    for DeletionSummary { order, deletion } in found {
        let approved_by = deletion.approved_by.as_deref().unwrap_or("-");
        table.row(&[
            &order.id,
            &order.contract_id,
            &order.state,
            &deletion.file_count,
            &size(deletion.size_bytes),
            &order.client_id,
            &time_short(order.created),
            &time_or_dash(deletion.due),
            &approved_by,
        ]);
    }
    let listed: Vec<_> = found.iter().map(summary_json).map(Value::Object).collect();
    output.result(&json!({ "deletions": listed }), &table.text("no deletions"))
}

fn summary_json(summary: &DeletionSummary) -> Map<String, Value> {
    let DeletionSummary { order, deletion } = summary;
    let document = json!({
        "deletionId": order.id,
        "contractId": order.contract_id,
        "state": order.state.name(),
        "policy": deletion.policy.name(),
        "orderedBy": order.client_id,
        "reason": deletion.reason,
        "files": deletion.file_count,
        "bytes": deletion.size_bytes,
        "created": order.created.to_string(),
        "updated": order.updated.to_string(),
        "due": deletion.due.map(|due| due.to_string()),
        "approvedBy": deletion.approved_by,
        "approved": deletion.approved.map(|approved| approved.to_string()),
        "failure": order.failure.as_ref().map(|failure| failure.message.clone()),
    });
    match document {
        Value::Object(document) => document,
        _ => Map::new(),
    }
}

fn show(view: &DeletionView, output: Output) -> anyhow::Result<()> {
    let DeletionView { order, deletion, entries } = view;
    let mut document = summary_json(&DeletionSummary { order: order.clone(), deletion: deletion.clone() });
    let listed: Vec<_> = entries.iter().map(|(entry, files)| entry_json(entry, files)).collect();
    document.insert("packages".to_owned(), Value::Array(listed));
    let mut text = format!(
        "deletion {} is {}: {}, {}, ordered by {}\n",
        order.id,
        order.state,
        count(deletion.file_count, "file"),
        size(deletion.size_bytes),
        order.client_id
    );
    let lines = [
        ("why", deletion.reason.clone()),
        ("due", deletion.due.map(time_short)),
        ("approved by", deletion.approved_by.clone()),
        ("failure", order.failure.as_ref().map(|failure| failure.message.clone())),
    ];
    for (name, value) in lines {
        if let Some(value) = value {
            text.push_str(&format!("{name}: {}\n", super::output::plain(&value)));
        }
    }
    let mut table = Table::new(&["package", "version", "label", "file", "size", "state", "reason"]);
    for (entry, files) in entries {
        for file in files {
            let reason = file.reason.as_deref().unwrap_or("-");
            let (bytes, state) = (size(file.size_bytes), file.state.name());
            table.row(&[&entry.object_id, &file.version, &file.label, &file.path, &bytes, &state, &reason]);
        }
    }
    text.push_str(&table.text(""));
    output.result(&Value::Object(document), &text)
}

fn entry_json(entry: &Entry, files: &[DeletionFile]) -> Value {
    json!({
        "objectId": entry.object_id,
        "archiveId": entry.package_id,
        "scope": entry.scope.name(),
        "label": entry.label,
        "state": entry.state.name(),
        "reason": entry.reason,
        "ended": entry.ended.map(|ended| ended.to_string()),
        "files": files.iter().map(file_json).collect::<Vec<_>>(),
    })
}

fn file_json(file: &DeletionFile) -> Value {
    let checksums: Map<String, Value> = file
        .digests
        .iter()
        .map(|(algorithm, digest)| (algorithm.name().to_owned(), json!(digest.to_string())))
        .collect();
    json!({
        "version": file.version,
        "label": file.label,
        "path": file.path,
        "bytes": file.size_bytes,
        "checksums": checksums,
        "state": file.state.name(),
        "reason": file.reason,
    })
}

fn tombstones(found: &[Tombstone], output: Output) -> anyhow::Result<()> {
    let mut table = Table::new(&["deleted", "version", "file", "size", "ordered by", "approved by", "deletion", "why"]);
    for stone in found {
        let (approved_by, why) = (stone.approved_by.as_deref().unwrap_or("-"), stone.reason.as_deref().unwrap_or("-"));
        table.row(&[
            &time_short(stone.deleted),
            &stone.file.version,
            &stone.file.path,
            &size(stone.file.size_bytes),
            &stone.client_id,
            &approved_by,
            &stone.order_id,
            &why,
        ]);
    }
    let listed: Vec<_> = found.iter().map(tombstone_json).collect::<anyhow::Result<_>>()?;
    output.result(&json!({ "tombstones": listed }), &table.text("nothing was deleted"))
}

fn tombstone_json(stone: &Tombstone) -> anyhow::Result<Value> {
    let mut document = file_json(&stone.file);
    let fields = document.as_object_mut().context("a file is an object")?;
    fields.insert("deletionId".to_owned(), json!(stone.order_id));
    fields.insert("objectId".to_owned(), json!(stone.object_id));
    fields.insert("orderedBy".to_owned(), json!(stone.client_id));
    fields.insert("approvedBy".to_owned(), json!(stone.approved_by));
    fields.insert("why".to_owned(), json!(stone.reason));
    fields.insert("deleted".to_owned(), json!(stone.deleted.to_string()));
    Ok(document)
}
