//! `dipper contract`: the agreements that packages belong to.

use clap::{Args, Subcommand};
use serde_json::json;

use super::local::{LocalArguments, Missing};
use super::output::{Output, Table};

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
    /// List every contract
    List,
}

pub(crate) async fn run(arguments: ContractArguments, output: Output) -> anyhow::Result<()> {
    match arguments.command {
        ContractCommand::Add { contract } => {
            let administration = arguments.local.administration(Missing::Create).await?;
            let added = administration.contract_add(&contract).await?;
            let text = if added { "added" } else { "was there already" };
            output.result(&json!({ "contractId": contract, "added": added }), &format!("contract {contract} {text}\n"))
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
