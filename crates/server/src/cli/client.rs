//! `dipper client`: the systems that may call, and what they may do on which contract.

use clap::{Args, Subcommand};
use dipper_core::administration::Administration;
use dipper_core::db::contracts::Client;
use dipper_core::secret::Secret;
use dipper_core::{Grants, Role};
use serde_json::{Value, json};

use super::by::By;
use super::client_key::{self, KeyCommand};
use super::local::{LocalArguments, Missing};
use super::output::{Output, Table, time_short};

#[derive(Debug, Args)]
pub(crate) struct ClientArguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(flatten)]
    by: By,
    #[command(subcommand)]
    command: ClientCommand,
}

#[derive(Debug, Subcommand)]
enum ClientCommand {
    /// Add a client, and print its secret this once
    Add {
        /// The client's identifier
        client: String,
        #[command(flatten)]
        roles: RoleArguments,
    },
    /// List every client with its roles
    List,
    /// Give a client roles on contracts
    Grant {
        /// The client's identifier
        client: String,
        #[command(flatten)]
        roles: RoleArguments,
    },
    /// Take roles on contracts from a client
    Revoke {
        /// The client's identifier
        client: String,
        #[command(flatten)]
        roles: RoleArguments,
    },
    /// Let a client sign in no more
    Disable {
        /// The client's identifier
        client: String,
    },
    /// Let a disabled client sign in again
    Enable {
        /// The client's identifier
        client: String,
    },
    /// Give a client a new secret, and print it this once; the old one stops working at once
    Secret {
        /// The client's identifier
        client: String,
    },
    /// The public keys with which a client signs in over SFTP
    #[command(subcommand)]
    Key(KeyCommand),
}

/// Every role on every contract that is named.
#[derive(Debug, Args)]
struct RoleArguments {
    /// A contract; can be given several times
    #[arg(long = "contract", value_name = "CONTRACT", required = true)]
    contracts: Vec<String>,
    /// A role on those contracts: read, write or operator; can be given several times
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<Role>,
}

impl RoleArguments {
    fn grants(&self) -> Grants {
        let each = |contract: &String| self.roles.iter().map(move |role| (contract.clone(), *role)).collect::<Vec<_>>();
        self.contracts.iter().flat_map(each).collect()
    }
}

pub(crate) async fn run(arguments: ClientArguments, output: Output) -> anyhow::Result<()> {
    let administration = arguments.local.administration_by(Missing::Refuse, &arguments.by).await?;
    match arguments.command {
        ClientCommand::Add { client, roles } => {
            let secret = administration.client_add(&client, &roles.grants()).await?;
            print_secret(output, &client, &secret)
        }
        ClientCommand::List => list(&administration, output).await,
        ClientCommand::Grant { client, roles } => {
            let grants = roles.grants();
            // All contracts are checked before the first role is given.
            for (contract, _) in grants.iter() {
                administration.contract_check(contract).await?;
            }
            for (contract, role) in grants.iter() {
                administration.client_grant(&client, contract, role).await?;
            }
            let text = format!("client {client} has {}\n", describe(&grants));
            output.result(&json!({ "clientId": client, "granted": grants_json(&grants) }), &text)
        }
        ClientCommand::Revoke { client, roles } => {
            let mut revoked = Grants::default();
            for (contract, role) in roles.grants().iter() {
                if administration.client_revoke(&client, contract, role).await? {
                    revoked.add(contract, role);
                }
            }
            let text = format!("client {client} has lost {}\n", describe(&revoked));
            output.result(&json!({ "clientId": client, "revoked": grants_json(&revoked) }), &text)
        }
        ClientCommand::Disable { client } => enable(&administration, output, &client, false).await,
        ClientCommand::Enable { client } => enable(&administration, output, &client, true).await,
        ClientCommand::Secret { client } => {
            let secret = administration.client_secret_replace(&client).await?;
            print_secret(output, &client, &secret)
        }
        ClientCommand::Key(command) => client_key::run(command, &administration, output).await,
    }
}

async fn enable(administration: &Administration, output: Output, client: &str, enabled: bool) -> anyhow::Result<()> {
    administration.client_enable(client, enabled).await?;
    let text = if enabled { "can sign in" } else { "can sign in no more; tokens that it has work until they expire" };
    output.result(&json!({ "clientId": client, "enabled": enabled }), &format!("client {client} {text}\n"))
}

fn print_secret(output: Output, client: &str, secret: &Secret) -> anyhow::Result<()> {
    let document = json!({ "clientId": client, "clientSecret": secret.reveal() });
    let text = format!(
        "client id:     {client}\nclient secret: {}\nThe secret is shown this once. Only a hash of it is kept.\n",
        secret.reveal()
    );
    output.result(&document, &text)
}

async fn list(administration: &Administration, output: Output) -> anyhow::Result<()> {
    let clients = administration.client_list().await?;
    let mut table = Table::new(&["client", "added", "signs in", "roles"]);
    for client in &clients {
        let signs_in = if client.disabled.is_some() { "no" } else { "yes" };
        table.row(&[&client.id, &time_short(client.created), &signs_in, &describe(&client.grants)]);
    }
    let listed: Vec<_> = clients.iter().map(client_json).collect();
    output.result(&json!({ "clients": listed }), &table.text("no clients"))
}

fn client_json(client: &Client) -> Value {
    json!({
        "clientId": client.id,
        "created": client.created.to_string(),
        "disabled": client.disabled.map(|since| since.to_string()),
        "grants": grants_json(&client.grants),
    })
}

fn grants_json(grants: &Grants) -> Value {
    grants.iter().map(|(contract, role)| json!({ "contractId": contract, "role": role.name() })).collect()
}

/// Such as `read+write on 2d17, read on 4711`.
fn describe(grants: &Grants) -> String {
    let mut contracts: Vec<(&str, Vec<&str>)> = Vec::new();
    for (contract, role) in grants.iter() {
        match contracts.last_mut() {
            Some((last, roles)) if *last == contract => roles.push(role.name()),
            _ => contracts.push((contract, vec![role.name()])),
        }
    }
    let each: Vec<_> = contracts.iter().map(|(contract, roles)| format!("{} on {contract}", roles.join("+"))).collect();
    if each.is_empty() { "nothing".to_owned() } else { each.join(", ") }
}
