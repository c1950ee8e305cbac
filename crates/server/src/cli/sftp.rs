//! `dipper sftp`: what clients need to know of the SFTP server.

use clap::{Args, Subcommand};
use serde_json::json;

use super::local::{self, LocalArguments};
use super::output::Output;
use crate::sftp::HostKey;

#[derive(Debug, Args)]
pub(crate) struct SftpArguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(subcommand)]
    command: SftpCommand,
}

#[derive(Debug, Subcommand)]
enum SftpCommand {
    /// Print the fingerprint of the server's key, and the line for the known_hosts files of clients
    HostKey {
        /// The name under which clients reach the server [default: the host of server.public_url]
        #[arg(long)]
        host: Option<String>,
        /// The port on which clients reach the server [default: that of sftp.listen, or 22]
        #[arg(long)]
        port: Option<u16>,
    },
}

pub(crate) async fn run(arguments: SftpArguments, output: Output) -> anyhow::Result<()> {
    let settings = arguments.local.settings()?;
    local::refuse_missing(&settings)?;
    let SftpCommand::HostKey { host, port } = arguments.command;
    let named = || url::Url::parse(&settings.server.public_url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let host = host.or_else(named).unwrap_or_else(|| "localhost".to_owned());
    let configured = settings.sftp.address().map(|address| address.port()).filter(|port| *port != 0);
    let port = port.or(configured).unwrap_or(22);
    let key = HostKey::load_or_create(&settings.key_directory())?;
    let (fingerprint, known_hosts) = (key.fingerprint(), key.known_hosts(&host, port)?);
    let file = key.path().display().to_string();
    let text = format!("fingerprint: {fingerprint}\nknown_hosts: {known_hosts}\nkey file:    {file}\n");
    output.result(&json!({ "fingerprint": fingerprint, "knownHosts": known_hosts, "file": file }), &text)
}
