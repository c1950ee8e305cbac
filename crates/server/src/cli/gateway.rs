//! `dipper gateway`: where the files of a contract's deposits are fetched from. Depositors register their gateways by
//! themselves, through the contract; this is for operators who set one up for them, or look at it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use dipper_core::administration::Administration;
use dipper_core::gateway::GatewayRegistration;
use dipper_core::secret::Secret;
use serde_json::json;

use super::by::By;
use super::local::{LocalArguments, Missing};
use super::output::{Output, time_short};

#[derive(Debug, Args)]
pub(crate) struct GatewayArguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(flatten)]
    by: By,
    #[command(subcommand)]
    command: GatewayCommand,
}

#[derive(Debug, Subcommand)]
enum GatewayCommand {
    /// Show the gateway of a contract; its password is never shown
    Show {
        /// The contract
        contract: String,
    },
    /// Set the gateway of a contract, in the place of the one before; deposits that run use it from then on
    Set(SetArguments),
}

#[derive(Debug, Args)]
struct SetArguments {
    /// The contract
    contract: String,
    /// What the addresses of its files begin with, such as <https://gateway.example.org/files>
    url: String,
    /// The name with which Dipper signs in there
    #[arg(long, value_name = "NAME")]
    username: String,
    /// A file that holds the password and nothing else; - for the standard input
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
}

pub(crate) async fn run(arguments: GatewayArguments, output: Output) -> anyhow::Result<()> {
    let administration = arguments.local.administration_by(Missing::Refuse, &arguments.by).await?;
    match arguments.command {
        GatewayCommand::Show { contract } => show(&administration, output, &contract).await,
        GatewayCommand::Set(wanted) => {
            let SetArguments { contract, url, username, password_file } = wanted;
            let registration = GatewayRegistration { url, username, password: password(&password_file)? };
            administration.gateway_set(&contract, registration).await?;
            show(&administration, output, &contract).await
        }
    }
}

fn password(file: &std::path::Path) -> anyhow::Result<Secret> {
    let text =
        if file.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text = text.with_context(|| format!("the password cannot be read from {}", file.display()))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

async fn show(administration: &Administration, output: Output, contract: &str) -> anyhow::Result<()> {
    let Some(gateway) = administration.gateway_get(contract).await? else {
        let document = json!({ "contractId": contract, "gateway": null });
        return output.result(&document, &format!("contract {contract} has no gateway\n"));
    };
    let document = json!({
        "contractId": contract,
        "gateway": {
            "url": gateway.url.as_str(),
            "username": gateway.username,
            "registered": gateway.registered.to_string(),
        },
    });
    let text = format!(
        "gateway of {contract}: {}\nuser name: {}\nregistered: {}\n",
        gateway.url,
        gateway.username,
        time_short(gateway.registered)
    );
    output.result(&document, &text)
}
