//! `dipper webhook`: where notices for a client go, and what became of them.

use std::time::Duration;

use clap::{Args, Subcommand};
use dipper_core::administration::Administration;
use dipper_core::db::notices::{Attempt, Notice};
use dipper_core::db::webhooks::Webhook;
use dipper_core::secret::Secret;
use serde_json::{Value, json};

use super::by::By;
use super::local::{LocalArguments, Missing};
use super::output::{Output, Table, count, note, time_short};

#[derive(Debug, Args)]
pub(crate) struct WebhookArguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(flatten)]
    by: By,
    #[command(subcommand)]
    command: WebhookCommand,
}

#[derive(Debug, Subcommand)]
enum WebhookCommand {
    /// Add a webhook for the notices of a client, and print its secret this once
    Add {
        /// The client whose notices go there
        client: String,
        /// The address, such as <https://hooks.example.org/dipper>
        url: String,
    },
    /// List the webhooks of a client, or all
    List {
        /// The client
        client: Option<String>,
    },
    /// Give a webhook a new secret, and print it this once
    Rotate {
        /// The webhook's identifier
        webhook: String,
        /// For how many hours the old secret signs as well
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        overlap_hours: u32,
    },
    /// Send nothing there any more
    Disable {
        /// The webhook's identifier
        webhook: String,
    },
    /// Let a disabled webhook go on
    Enable {
        /// The webhook's identifier
        webhook: String,
    },
    /// Remove a webhook with its notices
    Remove {
        /// The webhook's identifier
        webhook: String,
    },
    /// List the newest notices of a webhook with every attempt to send them
    Attempts {
        /// The webhook's identifier
        webhook: String,
        /// How many notices at the most
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Send a notice again, under its identifier
    Replay {
        /// The notice's identifier
        notice: String,
        /// To this webhook alone, rather than to all that it was owed to
        #[arg(long)]
        webhook: Option<String>,
    },
}

pub(crate) async fn run(arguments: WebhookArguments, output: Output) -> anyhow::Result<()> {
    let administration = arguments.local.administration_by(Missing::Refuse, &arguments.by).await?;
    match arguments.command {
        WebhookCommand::Add { client, url } => {
            let added = administration.webhook_add(&client, &url).await?;
            if let Some(warning) = added.warning {
                note(&format!("warning: {warning}; a server with these settings will not call it"));
            }
            print_secret(output, &added.id, &added.secret)
        }
        WebhookCommand::List { client } => list(&administration, output, client.as_deref()).await,
        WebhookCommand::Rotate { webhook, overlap_hours } => {
            let overlap = Duration::from_secs(u64::from(overlap_hours) * 3600);
            let secret = administration.webhook_secret_rotate(&webhook, overlap).await?;
            print_secret(output, &webhook, &secret)
        }
        WebhookCommand::Disable { webhook } => enable(&administration, output, &webhook, false).await,
        WebhookCommand::Enable { webhook } => enable(&administration, output, &webhook, true).await,
        WebhookCommand::Remove { webhook } => {
            administration.webhook_remove(&webhook).await?;
            let document = json!({ "webhookId": webhook, "removed": true });
            output.result(&document, &format!("webhook {webhook} removed with its notices\n"))
        }
        WebhookCommand::Attempts { webhook, limit } => {
            let notices = administration.notice_list(&webhook, limit).await?;
            let listed: Vec<_> = notices.iter().map(notice_json).collect();
            output.result(&json!({ "webhookId": webhook, "notices": listed }), &notices_text(&notices))
        }
        WebhookCommand::Replay { notice, webhook } => {
            let replayed = administration.notice_replay(&notice, webhook.as_deref()).await?;
            let text = format!("notice {notice} is sent again to {}\n", count(replayed, "webhook"));
            output.result(&json!({ "noticeId": notice, "webhooks": replayed }), &text)
        }
    }
}

async fn enable(administration: &Administration, output: Output, webhook: &str, enabled: bool) -> anyhow::Result<()> {
    administration.webhook_enable(webhook, enabled).await?;
    let text = if enabled { "goes on" } else { "is disabled" };
    output.result(&json!({ "webhookId": webhook, "enabled": enabled }), &format!("webhook {webhook} {text}\n"))
}

fn print_secret(output: Output, webhook: &str, secret: &Secret) -> anyhow::Result<()> {
    let document = json!({ "webhookId": webhook, "secret": secret.reveal() });
    let text = format!("webhook id: {webhook}\nsecret:     {}\nThe secret is shown this once.\n", secret.reveal());
    output.result(&document, &text)
}

async fn list(administration: &Administration, output: Output, client: Option<&str>) -> anyhow::Result<()> {
    let webhooks = administration.webhook_list(client).await?;
    let mut table = Table::new(&["webhook", "client", "added", "disabled", "address"]);
    for webhook in &webhooks {
        let disabled = webhook.disabled.as_ref().map_or("-", |(_, reason)| reason);
        table.row(&[&webhook.id, &webhook.client_id, &time_short(webhook.created), &disabled, &webhook.url]);
    }
    let listed: Vec<_> = webhooks.iter().map(webhook_json).collect();
    output.result(&json!({ "webhooks": listed }), &table.text("no webhooks"))
}

fn webhook_json(webhook: &Webhook) -> Value {
    json!({
        "webhookId": webhook.id,
        "clientId": webhook.client_id,
        "url": webhook.url,
        "created": webhook.created.to_string(),
        "oldSecretExpires": webhook.previous.as_ref().map(|(_, expires)| expires.to_string()),
        "disabled": webhook.disabled.as_ref().map(|(since, _)| since.to_string()),
        "disabledReason": webhook.disabled.as_ref().map(|(_, reason)| reason),
    })
}

fn notice_json((notice, attempts): &(Notice, Vec<Attempt>)) -> Value {
    let attempts: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            json!({
                "number": attempt.number,
                "at": attempt.at.to_string(),
                "milliseconds": attempt.duration_micros / 1000,
                "status": attempt.status,
                "failure": attempt.failure,
            })
        })
        .collect();
    json!({
        "noticeId": notice.id,
        "orderId": notice.order_id,
        "state": notice.state,
        "created": notice.created.to_string(),
        "due": (notice.state == "pending").then(|| notice.due.to_string()),
        "attempts": attempts,
    })
}

fn notices_text(notices: &[(Notice, Vec<Attempt>)]) -> String {
    let mut table = Table::new(&["notice", "order", "state", "attempt", "at", "took", "result"]);
    for (notice, attempts) in notices {
        if attempts.is_empty() {
            table.row(&[&notice.id, &notice.order_id, &notice.state, &"-", &"-", &"-", &"not tried yet"]);
        }
        for attempt in attempts {
            let status = attempt.status.map(|status| status.to_string()).unwrap_or_default();
            let result = match &attempt.failure {
                Some(failure) if status.is_empty() => failure.clone(),
                Some(failure) => format!("{status} {failure}"),
                None => status,
            };
            let took = format!("{} ms", attempt.duration_micros / 1000);
            let (number, at) = (attempt.number, time_short(attempt.at));
            table.row(&[&notice.id, &notice.order_id, &notice.state, &number, &at, &took, &result]);
        }
    }
    table.text("no notices")
}
