//! `dipper contract`: the agreements that packages belong to.

use clap::{Args, Subcommand};
use serde_json::json;

use super::local::{LocalArguments, Missing};
use super::output::{Output, Table, size};

#[derive(Debug, Args)]
pub(crate) struct ContractArguments {
    #[command(flatten)]
    local: LocalArguments,
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
    /// Change what is set for a contract
    Set {
        /// The contract's identifier
        contract: String,
        /// How many bytes may lie in the outgoing directory of its area: a number, 0 for no bound, or "default" for what
        /// area.quota_bytes says
        #[arg(long, value_name = "BYTES", value_parser = quota)]
        quota: Quota,
    },
    /// List every contract
    List,
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
            let administration = arguments.local.administration(Missing::Create).await?;
            let added = administration.contract_add(&contract).await?;
            let text = if added { "added" } else { "was there already" };
            output.result(&json!({ "contractId": contract, "added": added }), &format!("contract {contract} {text}\n"))
        }
        ContractCommand::Set { contract, quota: Quota(quota) } => {
            let administration = arguments.local.administration(Missing::Refuse).await?;
            administration.contract_quota_set(&contract, quota).await?;
            let used = administration.area_used_bytes(&contract).await?;
            let document = json!({ "contractId": contract, "quotaBytes": quota, "usedBytes": used });
            let text = match quota {
                Some(0) => "no bound".to_owned(),
                Some(bytes) => size(bytes),
                None => "the default".to_owned(),
            };
            let text = format!("contract {contract}: the quota of its area is {text}; {} lie there\n", size(used));
            output.result(&document, &text)
        }
        ContractCommand::List => {
            let administration = arguments.local.administration(Missing::Refuse).await?;
            let contracts = administration.contract_list().await?;
            let mut table = Table::new(&["contract", "packages"]);
            for (id, packages) in &contracts {
                table.row(&[id, packages]);
            }
            let listed: Vec<_> =
                contracts.iter().map(|(id, packages)| json!({ "contractId": id, "packages": packages })).collect();
            output.result(&json!({ "contracts": listed }), &table.text("no contracts"))
        }
    }
}
