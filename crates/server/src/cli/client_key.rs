//! `dipper client key`: the public keys with which clients sign in over SFTP.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use dipper_core::administration::Administration;
use dipper_core::db::client_keys::ClientKey;
use serde_json::{Value, json};

use super::output::{Output, Table, time_short};
use crate::sftp;

/// Longer than any public key.
const MAX_BYTES: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Let a client sign in over SFTP with a public key
    Add {
        /// The client's identifier
        client: String,
        /// The file with the public key, as `ssh-keygen -t ed25519` writes it; - for standard input
        file: PathBuf,
    },
    /// List the public keys of a client
    List {
        /// The client's identifier
        client: String,
    },
    /// Remove a public key of a client
    Remove {
        /// The client's identifier
        client: String,
        /// The key's fingerprint, as `list` prints it
        fingerprint: String,
    },
}

pub(super) async fn run(command: KeyCommand, administration: &Administration, output: Output) -> anyhow::Result<()> {
    match command {
        KeyCommand::Add { client, file } => {
            let name = file.display().to_string();
            let key = sftp::parse_public_key(&read(&file).with_context(|| name.clone())?).context(name)?;
            administration.client_key_add(&client, &key).await?;
            let text = format!("client {client} can sign in over SFTP with {} {}\n", key.algorithm, key.fingerprint);
            output.result(
                &json!({ "clientId": client, "fingerprint": key.fingerprint, "algorithm": key.algorithm }),
                &text,
            )
        }
        KeyCommand::List { client } => {
            let keys = administration.client_key_list(&client).await?;
            let mut table = Table::new(&["fingerprint", "algorithm", "added", "comment"]);
            for ClientKey { key, created } in &keys {
                table.row(&[&key.fingerprint, &key.algorithm, &time_short(*created), &key.comment]);
            }
            let listed: Vec<Value> = keys.iter().map(key_json).collect();
            output.result(&json!({ "clientId": client, "keys": listed }), &table.text("no keys"))
        }
        KeyCommand::Remove { client, fingerprint } => {
            administration.client_key_remove(&client, &fingerprint).await?;
            let text = format!("client {client} can sign in with {fingerprint} no more\n");
            output.result(&json!({ "clientId": client, "removed": fingerprint }), &text)
        }
    }
}

fn read(file: &PathBuf) -> std::io::Result<String> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().lock().take(MAX_BYTES).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(file)?.take(MAX_BYTES).read_to_string(&mut text)?;
    }
    Ok(text)
}

fn key_json(ClientKey { key, created }: &ClientKey) -> Value {
    json!({
        "fingerprint": key.fingerprint,
        "algorithm": key.algorithm,
        "publicKey": format!("{} {}", key.algorithm, key.encoded),
        "comment": key.comment,
        "created": created.to_string(),
    })
}
