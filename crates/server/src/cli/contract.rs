//! `dipper contract`: the agreements that packages belong to.

use clap::{Args, Subcommand};
use dipper_core::administration::Administration;
use dipper_core::db::mails::Correspondence;
use dipper_core::language::Language;
use serde_json::json;

use super::by::By;
use super::local::{LocalArguments, Missing};
use super::output::{Output, Table, size};

#[derive(Debug, Args)]
pub(crate) struct ContractArguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(flatten)]
    by: By,
    #[command(subcommand)]
    command: ContractCommand,
}

#[derive(Debug, Subcommand)]
enum ContractCommand {
    /// Add a contract; creates the installation if there is none yet
    Add {
        /// The contract's identifier
        contract: String,
    },
    /// List every contract
    List,
    /// Change what is set for a contract; without an option, show it
    Set(SetArguments),
}

#[derive(Debug, Args)]
struct SetArguments {
    /// The contract's identifier
    contract: String,
    /// Where its people are told by e-mail that a package lies ready in their area; "" for nowhere
    #[arg(long, value_name = "ADDRESS")]
    mail: Option<String>,
    /// Their language: en, de or nb
    #[arg(long)]
    language: Option<Language>,
    /// How many bytes may lie in the outgoing directory of its area: a number, 0 for no bound, or "default" for what
    /// area.quota_bytes says
    #[arg(long, value_name = "BYTES", value_parser = quota)]
    quota: Option<Quota>,
}

/// A quota of a contract's own, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quota(Option<u64>);

fn quota(text: &str) -> Result<Quota, String> {
    match text {
        "default" => Ok(Quota(None)),
        number => match number.parse() {
            Ok(bytes) if bytes <= i64::MAX as u64 => Ok(Quota(Some(bytes))),
            _ => Err("write a number of bytes, or \"default\"".to_owned()),
        },
    }
}

pub(crate) async fn run(arguments: ContractArguments, output: Output) -> anyhow::Result<()> {
    match arguments.command {
        ContractCommand::Add { contract } => {
            let administration = arguments.local.administration_by(Missing::Create, &arguments.by).await?;
            let added = administration.contract_add(&contract).await?;
            let text = if added { "added" } else { "was there already" };
            output.result(&json!({ "contractId": contract, "added": added }), &format!("contract {contract} {text}\n"))
        }
        ContractCommand::List => {
            let administration = arguments.local.administration_by(Missing::Refuse, &arguments.by).await?;
            let contracts = administration.contract_list().await?;
            let mut table = Table::new(&["contract", "packages"]);
            for (id, packages) in &contracts {
                table.row(&[id, packages]);
            }
            let listed: Vec<_> =
                contracts.iter().map(|(id, packages)| json!({ "contractId": id, "packages": packages })).collect();
            output.result(&json!({ "contracts": listed }), &table.text("no contracts"))
        }
        ContractCommand::Set(wanted) => {
            let administration = arguments.local.administration_by(Missing::Refuse, &arguments.by).await?;
            set(&administration, wanted, output).await
        }
    }
}

async fn set(administration: &Administration, wanted: SetArguments, output: Output) -> anyhow::Result<()> {
    let SetArguments { contract, mail, language, quota } = wanted;
    let mut correspondence = administration.contract_correspondence(&contract).await?;
    if mail.is_some() || language.is_some() {
        if let Some(address) = mail {
            correspondence.address = Some(address).filter(|address| !address.is_empty());
        }
        correspondence.language = language.unwrap_or(correspondence.language);
        administration.contract_correspondence_set(&contract, &correspondence).await?;
    }
    if let Some(Quota(quota)) = quota {
        administration.contract_quota_set(&contract, quota).await?;
    }
    let quota = administration.contract_quota(&contract).await?;
    let used = administration.area_used_bytes(&contract).await?;
    let Correspondence { address, language } = correspondence;
    let text = format!(
        "contract {contract}\nmail      {}\nlanguage  {language}\narea      {} used, {}\n",
        address.as_deref().unwrap_or("none is sent"),
        size(used),
        match quota {
            Some(0) => "without a bound".to_owned(),
            Some(bytes) => format!("of {}", size(bytes)),
            None => "of the default quota".to_owned(),
        }
    );
    let document = json!({
        "contractId": contract, "mail": address, "language": language.name(), "quotaBytes": quota, "usedBytes": used,
    });
    output.result(&document, &text)
}
