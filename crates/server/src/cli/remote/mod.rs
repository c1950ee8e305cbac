//! The commands of a client: they know a running server's address and credentials, and nothing else.
//!
//! `api` speaks the DPS contract, `fetch` brings what was delivered with `download` (one link) and `part` (the file
//! that grows meanwhile).

pub(super) mod api;
pub(super) mod download;
pub(super) mod fetch;
pub(super) mod order;
mod part;
mod patience;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use dipper_core::secret::Secret;
use url::Url;

use self::api::{Api, Credentials};
use super::exit::{Exit, told};

/// Variables of the environment that commands of a client read. The settings leave them alone.
pub(crate) const VARIABLES: [&str; 7] = [
    "DIPPER_SERVER",
    "DIPPER_CLIENT_ID",
    SECRET_VARIABLE,
    "DIPPER_CLIENT_SECRET_FILE",
    TOKEN_VARIABLE,
    "DIPPER_TOKEN_FILE",
    "DIPPER_TOKEN_URL",
];

const SECRET_VARIABLE: &str = "DIPPER_CLIENT_SECRET";
const TOKEN_VARIABLE: &str = "DIPPER_TOKEN";

/// Which server, and as whom. A secret is never taken from the command line, where every user of the machine sees it.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// The server's address, such as <https://dipper.example.org>
    #[arg(
        long,
        value_name = "URL",
        env = "DIPPER_SERVER",
        default_value = "http://127.0.0.1:8080",
        help_heading = "Server"
    )]
    server: Url,

    /// Where the server has the DPS dissemination service
    #[arg(
        long,
        value_name = "PATH",
        env = "DIPPER_DPS_BASE_PATH",
        default_value = "/dps-submission",
        help_heading = "Server"
    )]
    base_path: String,

    /// The client's identifier
    #[arg(long, value_name = "ID", env = "DIPPER_CLIENT_ID", help_heading = "Server")]
    client_id: Option<String>,

    /// A file that holds the client's secret; the secret itself can be in DIPPER_CLIENT_SECRET
    #[arg(long, value_name = "FILE", env = "DIPPER_CLIENT_SECRET_FILE", help_heading = "Server")]
    client_secret_file: Option<PathBuf>,

    /// Where tokens are issued [default: /oauth2/token of the server]
    #[arg(long, value_name = "URL", env = "DIPPER_TOKEN_URL", help_heading = "Server")]
    token_url: Option<Url>,

    /// A file that holds an access token, in place of the client's credentials; the token itself can be in DIPPER_TOKEN
    #[arg(long, value_name = "FILE", env = "DIPPER_TOKEN_FILE", help_heading = "Server")]
    token_file: Option<PathBuf>,
}

impl ServerArguments {
    /// The server with these credentials.
    pub(crate) fn api(&self) -> anyhow::Result<Api> {
        let credentials = self.credentials()?;
        let base = self.base_path.trim_matches('/');
        let mut address = self.server.clone();
        address
            .path_segments_mut()
            .map_err(|()| told(Exit::Usage, format!("--server: {} is not an address of a web server", self.server)))?
            .pop_if_empty()
            .extend(base.split('/'));
        Api::new(address, credentials)
    }

    fn credentials(&self) -> anyhow::Result<Credentials> {
        if let Some(token) = secret(self.token_file.as_deref(), TOKEN_VARIABLE)? {
            return Ok(Credentials::Token(token));
        }
        let secret = secret(self.client_secret_file.as_deref(), SECRET_VARIABLE)?;
        let (Some(client_id), Some(secret)) = (self.client_id.clone(), secret) else {
            let message = format!(
                "name the client with --client-id, and its secret with --client-secret-file or {SECRET_VARIABLE}"
            );
            return Err(told(Exit::Usage, message));
        };
        let token_url = match &self.token_url {
            Some(url) => url.clone(),
            None => {
                let mut url = self.server.clone();
                if let Ok(mut segments) = url.path_segments_mut() {
                    segments.pop_if_empty().extend(["oauth2", "token"]);
                }
                url
            }
        };
        Ok(Credentials::Client { client_id, secret, token_url })
    }
}

/// A secret from a file, otherwise from the environment. The end of the file's line does not belong to it.
fn secret(file: Option<&Path>, variable: &str) -> anyhow::Result<Option<Secret>> {
    let text = match file {
        Some(file) => {
            Some(std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?)
        }
        None => std::env::var(variable).ok(),
    };
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).map(Secret::new))
}
