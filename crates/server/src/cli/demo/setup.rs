//! What a demo needs: a contract, a client with its secret, and a webhook with a receiver. What an earlier demo left
//! is used again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use dipper_archive::publish;
use dipper_core::administration::Administration;
use dipper_core::clients::Clients;
use dipper_core::installation::Installation;
use dipper_core::secret::Secret;
use dipper_core::{Grants, Role};
use tokio::sync::Mutex;

use super::Story;
use super::receiver::{PATH, Receiver, Receiving};
use crate::serve::Server;

pub(super) const CONTRACT: &str = "demo";
pub(super) const CLIENT: &str = "demo";

/// What was set up.
pub(super) struct Setup {
    pub(super) installation: Arc<Installation>,
    pub(super) administration: Administration,
    pub(super) receiving: Mutex<Receiving>,
    pub(super) secret: Secret,
    pub(super) secret_file: PathBuf,
    pub(super) base_path: String,
    /// Where the demo keeps its own files.
    pub(super) directory: PathBuf,
    webhook_id: String,
    webhook_url: String,
    secret_is_new: bool,
}

impl Setup {
    pub(super) async fn new(server: &Server, base_path: String, data: &Path) -> anyhow::Result<Setup> {
        let installation = server.installation().clone();
        let administration = Administration::new(installation.clone());
        let directory = data.join("demo");
        publish::create_directories(&directory).with_context(|| format!("{} cannot be made", directory.display()))?;
        administration.contract_add(CONTRACT).await?;
        let secret_file = directory.join("client.secret");
        let (secret, secret_is_new) = client(&administration, &installation, &secret_file).await?;
        let receiver = Receiver::bind().await?;
        let webhook_url = receiver.url();
        let (webhook_id, webhook_secret) = webhook(&administration, &webhook_url).await?;
        let receiving = Mutex::new(receiver.start(&webhook_secret)?);
        Ok(Setup {
            installation,
            administration,
            receiving,
            secret,
            secret_file,
            base_path,
            directory,
            webhook_id,
            webhook_url,
            secret_is_new,
        })
    }

    pub(super) fn tell(&self, story: Story) -> anyhow::Result<()> {
        story.tell("contract", CONTRACT)?;
        let secret = if self.secret_is_new { "its new secret is in" } else { "its secret is still in" };
        let file = self.secret_file.display();
        story.tell("client", &format!("{CLIENT}, with the read role on {CONTRACT}; {secret} {file}"))?;
        story.tell("webhook", &format!("{} to {}, a receiver of this demo", self.webhook_id, self.webhook_url))
    }

    /// Removes the webhook, which leads nowhere once the demo is over. A demo that was killed leaves it to the next.
    pub(super) async fn clear(&self) {
        if let Err(error) = self.administration.webhook_remove(&self.webhook_id).await {
            tracing::warn!(%error, "the demo's webhook was not removed");
        }
    }
}

/// The client with its secret: the one in the file if it still works, a new one otherwise.
async fn client(
    administration: &Administration,
    installation: &Installation,
    secret_file: &Path,
) -> anyhow::Result<(Secret, bool)> {
    let known = administration.client_list().await?.iter().any(|client| client.id == CLIENT);
    let kept = std::fs::read_to_string(secret_file).ok().map(|text| Secret::new(text.trim().to_owned()));
    if known {
        administration.client_enable(CLIENT, true).await?;
        administration.client_grant(CLIENT, CONTRACT, Role::Read).await?;
        if let Some(secret) = kept {
            let clients = Clients::new(installation.database.clone())?;
            if clients.verify(CLIENT, secret.clone()).await?.is_some() {
                return Ok((secret, false));
            }
        }
    }
    let secret = if known {
        administration.client_secret_replace(CLIENT).await?
    } else {
        let grants: Grants = [(CONTRACT.to_owned(), Role::Read)].into_iter().collect();
        administration.client_add(CLIENT, &grants).await?
    };
    let written = publish::remove_file(secret_file)
        .and_then(|()| publish::write_new_secret(secret_file, secret.reveal().as_bytes()));
    written.with_context(|| format!("{} cannot be written", secret_file.display()))?;
    Ok((secret, true))
}

/// A webhook to the receiver; those of earlier demos lead nowhere.
async fn webhook(administration: &Administration, url: &str) -> anyhow::Result<(String, Secret)> {
    for webhook in administration.webhook_list(Some(CLIENT)).await? {
        if webhook.url.ends_with(PATH) {
            administration.webhook_remove(&webhook.id).await?;
        }
    }
    let added = administration.webhook_add(CLIENT, url).await?;
    Ok((added.id, added.secret))
}
