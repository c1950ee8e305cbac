//! The webhooks of a client and what was sent to them, for that client alone.

use std::collections::HashMap;

use crate::caller::{Caller, Role};
use crate::db::events::{Event, EventKind};
use crate::db::notices::{Attempt, Notice};
use crate::db::webhooks::Webhook;
use crate::db::{Database, DatabaseError, events, notices, webhooks};
use crate::intake::Intake;
use crate::sentence::sentence;
use crate::time::Timestamp;

/// A webhook as its client sees it: without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientWebhook {
    /// Its identifier.
    pub id: String,
    /// Where notices go.
    pub url: String,
    /// When it was added.
    pub created: Timestamp,
    /// Since when nothing is sent there, and why.
    pub disabled: Option<(Timestamp, String)>,
}

/// Why something about webhooks is not done.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    /// The caller may read nothing.
    #[error("the read role is needed for this")]
    NotAllowed,
    /// There is no such webhook, or it is another client's.
    #[error("there is no webhook {0}")]
    WebhookUnknown(String),
    /// No such notice was ever owed to the webhook.
    #[error("there is no notice {0}")]
    NoticeUnknown(String),
    /// Nothing is sent to the webhook.
    #[error("the webhook is disabled: ask the operator of the archive to enable it")]
    Disabled,
    /// The database failed. For the log.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Intake {
    /// The webhooks of the calling client, oldest first.
    pub async fn webhook_list(&self, caller: &Caller) -> Result<Vec<ClientWebhook>, NoticeError> {
        if !caller.grants.has_anywhere(Role::Read) {
            return Err(NoticeError::NotAllowed);
        }
        let found = webhooks::list(&self.installation.database, Some(&caller.client_id)).await?;
        Ok(found.into_iter().map(shown).collect())
    }

    /// A webhook of the calling client.
    pub async fn webhook_get(&self, caller: &Caller, id: &str) -> Result<ClientWebhook, NoticeError> {
        if !caller.grants.has_anywhere(Role::Read) {
            return Err(NoticeError::NotAllowed);
        }
        let found = webhooks::get(&self.installation.database, id).await?;
        let own = found.filter(|webhook| webhook.client_id == caller.client_id);
        own.map(shown).ok_or_else(|| NoticeError::WebhookUnknown(id.to_owned()))
    }

    /// The notices of one webhook of the calling client, newest first, each with its attempts: at most `limit` of them,
    /// older than the notice `before`.
    pub async fn notice_list(
        &self,
        caller: &Caller,
        webhook_id: &str,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(Notice, Vec<Attempt>)>, NoticeError> {
        let webhook = self.webhook_get(caller, webhook_id).await?;
        Ok(listed(&self.installation.database, &webhook.id, before, limit).await?)
    }

    /// Sends a notice to a webhook of the calling client again, under its identifier.
    pub async fn notice_replay(&self, caller: &Caller, webhook_id: &str, id: &str) -> Result<(), NoticeError> {
        let webhook = self.webhook_get(caller, webhook_id).await?;
        if webhook.disabled.is_some() {
            return Err(NoticeError::Disabled);
        }
        let unknown = || NoticeError::NoticeUnknown(id.to_owned());
        let notice = notices::get(&self.installation.database, id, webhook_id).await?.ok_or_else(unknown)?;
        let now = self.installation.clock.now();
        let give_up = now.plus(self.installation.settings.webhook_give_up);
        let mut transaction = self.installation.database.begin().await?;
        webhooks::lock(&mut transaction, webhook_id).await?;
        if notices::replay(&mut transaction, id, Some(webhook_id), now, give_up).await? == 0 {
            return Err(unknown());
        }
        let mut event = Event::new(EventKind::NoticeReplayed, now);
        event.agent = format!("client {}", caller.client_id);
        event.order_id = Some(notice.order_id);
        event.detail = sentence!("{id} to webhook {webhook_id}");
        events::insert(&mut transaction, &event).await?;
        transaction.commit().await?;
        self.installation.wake_notifier();
        Ok(())
    }
}

fn shown(webhook: Webhook) -> ClientWebhook {
    let Webhook { id, url, created, disabled, .. } = webhook;
    ClientWebhook { id, url, created, disabled }
}

/// Notices of a webhook, newest first, each with its attempts.
pub(crate) async fn listed(
    database: &Database,
    webhook_id: &str,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<(Notice, Vec<Attempt>)>, DatabaseError> {
    let found = notices::list(database, webhook_id, before, limit).await?;
    let ids: Vec<&str> = found.iter().map(|notice| notice.id.as_str()).collect();
    let mut attempts: HashMap<String, Vec<Attempt>> = HashMap::with_capacity(ids.len());
    for (id, attempt) in notices::attempts_of(database, webhook_id, &ids).await? {
        attempts.entry(id).or_default().push(attempt);
    }
    let with = |notice: Notice| {
        let attempts = attempts.remove(&notice.id).unwrap_or_default();
        (notice, attempts)
    };
    Ok(found.into_iter().map(with).collect())
}
