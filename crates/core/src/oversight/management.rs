//! What an operator sets up from the console: contracts and clients. A client is managed by whoever operates every contract on
//! which it has a role, and it gets roles on such contracts alone; what one may not manage looks like what does not exist.
//! The acts themselves are those of [`Administration`], recorded in the audit log.

use std::time::Duration;

use super::{Oversight, agent};
use crate::administration::{AddedWebhook, Administration, AdministrationError};
use crate::audit::Chained;
use crate::audit::export::{AuditWriter, Export};
use crate::audit::verify::{self, ChainReport};
use crate::caller::{Caller, Grants, Role};
use crate::db::audit::{self as audit_log, AuditCursor, AuditFilter};
use crate::db::client_keys::{self, ClientKey, PublicKey};
use crate::db::contracts::{self, Client};
use crate::db::deletions::DeletionFilter;
use crate::db::mails::Correspondence;
use crate::db::notices::{Attempt, Notice};
use crate::db::webhooks::{self, Webhook};
use crate::db::{DatabaseError, gateways, package_figures};
use crate::deletion::{DeletionError, DeletionSummary, decision};
use crate::secret::Secret;

type Result<T> = std::result::Result<T, AdministrationError>;

/// A contract, as its operator sees it.
#[derive(Clone, Debug)]
pub struct ContractView {
    /// Its identifier.
    pub id: String,
    /// How many packages belong to it.
    pub packages: u64,
    /// The quota of its area, if it has one of its own.
    pub quota_bytes: Option<u64>,
    /// How many bytes lie in its area.
    pub used_bytes: u64,
    /// Where and how its people are written to.
    pub correspondence: Correspondence,
    /// Where the files of its deposits are fetched from.
    pub gateway: Option<String>,
}

/// A notice, and how often it was tried to send it.
pub type Told = (Notice, Vec<Attempt>);

/// A client with its keys and webhooks.
#[derive(Clone, Debug)]
pub struct ClientView {
    /// The client.
    pub client: Client,
    /// Its public keys.
    pub keys: Vec<ClientKey>,
    /// Its webhooks, each with its newest notices.
    pub webhooks: Vec<(Webhook, Vec<Told>)>,
}

impl Oversight {
    fn administration(&self, caller: &Caller) -> Administration {
        Administration::new(self.installation.clone()).on_behalf_of(agent(caller))
    }

    /// The contracts that the caller operates.
    pub async fn contracts(&self, caller: &Caller) -> Result<Vec<ContractView>> {
        let administration = self.administration(caller);
        let packages = package_figures::by_contract(&self.installation.database).await?;
        let mut views = Vec::new();
        for id in caller.grants.contracts(Role::Operator) {
            if !contracts::exists(&self.installation.database, id).await? {
                continue;
            }
            views.push(ContractView {
                id: id.to_owned(),
                packages: packages.get(id).copied().unwrap_or_default(),
                quota_bytes: administration.contract_quota(id).await?,
                used_bytes: administration.area_used_bytes(id).await?,
                correspondence: administration.contract_correspondence(id).await?,
                gateway: gateways::get(&self.installation.database, id).await?.map(|gateway| gateway.url),
            });
        }
        Ok(views)
    }

    /// Gives the area of a contract a quota of its own, 0 for none at all, or the one that is set for all.
    pub async fn contract_quota_set(&self, caller: &Caller, id: &str, quota_bytes: Option<u64>) -> Result<()> {
        operates(caller, id)?;
        self.administration(caller).contract_quota_set(id, quota_bytes).await
    }

    /// Sets where and how the people of a contract are written to.
    pub async fn contract_correspondence_set(
        &self,
        caller: &Caller,
        id: &str,
        correspondence: &Correspondence,
    ) -> Result<()> {
        operates(caller, id)?;
        self.administration(caller).contract_correspondence_set(id, correspondence).await
    }

    /// The clients that the caller manages.
    pub async fn clients(&self, caller: &Caller) -> Result<Vec<Client>> {
        let mut clients = contracts::client_list(&self.installation.database).await?;
        clients.retain(|client| manages(caller, &client.grants));
        Ok(clients)
    }

    /// A client that the caller manages.
    pub async fn client(&self, caller: &Caller, id: &str) -> Result<ClientView> {
        let client = self.managed(caller, id).await?;
        let (database, administration) = (&self.installation.database, self.administration(caller));
        let keys = client_keys::list(database, id).await?;
        let mut found = Vec::new();
        for webhook in webhooks::list(database, Some(id)).await? {
            let notices = administration.notice_list(&webhook.id, 20).await?;
            found.push((webhook, notices));
        }
        Ok(ClientView { client, keys, webhooks: found })
    }

    /// Adds a client with roles on contracts of the caller's; its secret is told this once.
    pub async fn client_add(&self, caller: &Caller, id: &str, grants: &Grants) -> Result<Secret> {
        for (contract_id, _) in grants.iter() {
            operates(caller, contract_id)?;
        }
        if grants.iter().next().is_none() {
            return Err(AdministrationError::Unknown { what: "contract", id: String::new() });
        }
        self.administration(caller).client_add(id, grants).await
    }

    /// Gives a client a new secret, which is told this once.
    pub async fn client_secret_replace(&self, caller: &Caller, id: &str) -> Result<Secret> {
        self.managed(caller, id).await?;
        self.administration(caller).client_secret_replace(id).await
    }

    /// Lets a client sign in, or not any more.
    pub async fn client_enable(&self, caller: &Caller, id: &str, enabled: bool) -> Result<()> {
        self.managed(caller, id).await?;
        self.administration(caller).client_enable(id, enabled).await
    }

    /// Gives a client a role on a contract of the caller's.
    pub async fn client_grant(&self, caller: &Caller, id: &str, contract_id: &str, role: Role) -> Result<()> {
        self.managed(caller, id).await?;
        operates(caller, contract_id)?;
        self.administration(caller).client_grant(id, contract_id, role).await
    }

    /// Takes a role on a contract from a client; `false` when it did not have it.
    pub async fn client_revoke(&self, caller: &Caller, id: &str, contract_id: &str, role: Role) -> Result<bool> {
        self.managed(caller, id).await?;
        operates(caller, contract_id)?;
        self.administration(caller).client_revoke(id, contract_id, role).await
    }

    /// Lets a client sign in over SFTP with a public key.
    pub async fn client_key_add(&self, caller: &Caller, id: &str, key: &PublicKey) -> Result<()> {
        self.managed(caller, id).await?;
        self.administration(caller).client_key_add(id, key).await
    }

    /// Removes a public key of a client.
    pub async fn client_key_remove(&self, caller: &Caller, id: &str, fingerprint: &str) -> Result<()> {
        self.managed(caller, id).await?;
        self.administration(caller).client_key_remove(id, fingerprint).await
    }

    /// Adds a webhook for a client's notices; its secret is told this once.
    pub async fn webhook_add(&self, caller: &Caller, client_id: &str, url: &str) -> Result<AddedWebhook> {
        self.managed(caller, client_id).await?;
        self.administration(caller).webhook_add(client_id, url).await
    }

    /// Stops a webhook, or lets it go on.
    pub async fn webhook_enable(&self, caller: &Caller, id: &str, enabled: bool) -> Result<()> {
        self.webhook_managed(caller, id).await?;
        self.administration(caller).webhook_enable(id, enabled).await
    }

    /// Gives a webhook a new secret, which is told this once; the one before signs as well for `overlap`.
    pub async fn webhook_secret_rotate(&self, caller: &Caller, id: &str, overlap: Duration) -> Result<Secret> {
        self.webhook_managed(caller, id).await?;
        self.administration(caller).webhook_secret_rotate(id, overlap).await
    }

    /// Removes a webhook with its notices.
    pub async fn webhook_remove(&self, caller: &Caller, id: &str) -> Result<()> {
        self.webhook_managed(caller, id).await?;
        self.administration(caller).webhook_remove(id).await
    }

    /// Sends a notice again.
    pub async fn notice_replay(&self, caller: &Caller, webhook_id: &str, notice_id: &str) -> Result<()> {
        self.webhook_managed(caller, webhook_id).await?;
        self.administration(caller).notice_replay(notice_id, Some(webhook_id)).await.map(|_| ())
    }

    async fn managed(&self, caller: &Caller, id: &str) -> Result<Client> {
        let found = contracts::client_get(&self.installation.database, id).await?.map(|(client, _)| client);
        let managed = found.filter(|client| manages(caller, &client.grants));
        managed.ok_or_else(|| AdministrationError::Unknown { what: "client", id: id.to_owned() })
    }

    async fn webhook_managed(&self, caller: &Caller, id: &str) -> Result<()> {
        let unknown = || AdministrationError::Unknown { what: "webhook", id: id.to_owned() };
        let webhook = webhooks::get(&self.installation.database, id).await?.ok_or_else(unknown)?;
        self.managed(caller, &webhook.client_id).await.map(|_| ()).map_err(|error| match error {
            AdministrationError::Unknown { .. } => unknown(),
            error => error,
        })
    }

    /// The deletions on contracts that the caller operates, newest first.
    pub async fn deletions(
        &self,
        caller: &Caller,
        filter: &DeletionFilter,
    ) -> std::result::Result<Vec<DeletionSummary>, DeletionError> {
        decision::list(&self.installation, &caller.grants.contracts(Role::Operator), filter).await
    }

    /// Entries of the audit log on contracts that the caller operates, by time: at most `limit` behind `after`.
    pub async fn audit(
        &self,
        caller: &Caller,
        filter: &AuditFilter,
        after: Option<&AuditCursor>,
        limit: u32,
    ) -> std::result::Result<Vec<Chained>, DatabaseError> {
        audit_log::list(&self.installation.database, &audited(caller, filter), after, limit).await
    }

    /// The same entries, one piece of their export after the other.
    pub fn audit_export(&self, caller: &Caller, filter: &AuditFilter, writer: Box<dyn AuditWriter + Send>) -> Export {
        Export::new(self.installation.database.clone(), audited(caller, filter), writer)
    }

    /// Whether the chain of each contract that the caller operates is as it was written.
    pub async fn audit_verify(&self, caller: &Caller) -> std::result::Result<Vec<ChainReport>, DatabaseError> {
        let mut reports = Vec::new();
        for contract_id in caller.grants.contracts(Role::Operator) {
            reports.extend(verify::verify(&self.installation.database, Some(contract_id), None, |_| {}).await?);
        }
        Ok(reports)
    }
}

/// A filter that lets through what belongs to contracts that the caller operates.
fn audited(caller: &Caller, filter: &AuditFilter) -> AuditFilter {
    let mut contract_ids: Vec<String> =
        caller.grants.contracts(Role::Operator).into_iter().map(str::to_owned).collect();
    if let Some(wanted) = &filter.contract_ids {
        contract_ids.retain(|id| wanted.contains(id));
    }
    AuditFilter { contract_ids: Some(contract_ids), ..filter.clone() }
}

fn operates(caller: &Caller, contract_id: &str) -> Result<()> {
    if caller.grants.has(contract_id, Role::Operator) {
        return Ok(());
    }
    Err(AdministrationError::Unknown { what: "contract", id: contract_id.to_owned() })
}

/// Whether every role of a client is on a contract that the caller operates.
fn manages(caller: &Caller, grants: &Grants) -> bool {
    grants.iter().next().is_some() && grants.iter().all(|(id, _)| caller.grants.has(id, Role::Operator))
}
