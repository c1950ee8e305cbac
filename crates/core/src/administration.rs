//! What an operator sets up: contracts, clients with their roles, webhooks; and what an operator looks at.
//!
//! All of it works beside a running server on the same installation. What is done for somebody ([`Administration::on_behalf_of`])
//! is recorded in the audit logs of the contracts that it touches, in the transaction that does it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::audit::{self, AuditEntry, AuditKind};
use crate::caller::{Grants, Role};
use crate::db::client_keys::{ClientKey, PublicKey};
use crate::db::contracts::Client;
use crate::db::events::Event;
use crate::db::mails::Correspondence;
use crate::db::notices::{Attempt, Notice};
use crate::db::packages::{Package, Version};
use crate::db::recalls::RecallUnderWay;
use crate::db::steps::{HeldStep, StepCount};
use crate::db::submissions::{Submission, SubmissionFilter};
use crate::db::webhooks::Webhook;
use crate::db::{
    DatabaseError, Transaction, area_files, client_keys, contracts, events, mails, notices, packages, recalls,
    sessions, steps, submissions, webhooks,
};
use crate::deletion::Agent;
use crate::egress::{Allowed, Refusal};
use crate::gateway::{self, Gateway, GatewayError, GatewayRegistration};
use crate::ids;
use crate::installation::Installation;
use crate::intake::notice;
use crate::mail::{self, MailError};
use crate::secret::{self, Secret, SecretError};
use crate::sentence::sentence;
use crate::time::Timestamp;

/// Sets up an installation; cheap to clone.
#[derive(Clone, Debug)]
pub struct Administration {
    installation: Arc<Installation>,
    /// Who it is done for.
    agent: Option<Agent>,
}

/// A webhook that was added.
#[derive(Clone, Debug)]
pub struct AddedWebhook {
    /// Its identifier.
    pub id: String,
    /// Its secret, which is shown this once.
    pub secret: Secret,
    /// Why it will not be called, as far as the settings at hand tell.
    pub warning: Option<Refusal>,
}

/// Why something was not set up.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// An identifier that would not survive in tokens, paths and file names.
    #[error("{what} {id:?}: use 1 to 100 of the characters A-Z a-z 0-9 . _ - @, and begin a contract with no dot")]
    Identifier {
        /// What it should identify.
        what: &'static str,
        /// The identifier.
        id: String,
    },
    /// It is there already.
    #[error("{what} {id} exists already")]
    Exists {
        /// What it is.
        what: &'static str,
        /// Its identifier.
        id: String,
    },
    /// It is not there.
    #[error("there is no {what} {id}")]
    Unknown {
        /// What it is.
        what: &'static str,
        /// Its identifier.
        id: String,
    },
    /// A webhook's address is not one.
    #[error("{url}: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A webhook's address is one that may not be called.
    #[error(transparent)]
    Egress(#[from] Refusal),
    /// A gateway cannot be used.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// An address for e-mail is not one.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// A secret could not be made or kept.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The catalogue failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

type Result<T> = std::result::Result<T, AdministrationError>;

const CONTRACT: &str = "contract";
const CLIENT: &str = "client";
const WEBHOOK: &str = "webhook";
const CLIENT_KEY: &str = "key";
const NOTICE: &str = "notice";
const PACKAGE: &str = "package";

impl Administration {
    /// The administration of an installation.
    pub fn new(installation: Arc<Installation>) -> Administration {
        Administration { installation, agent: None }
    }

    /// The same, for somebody who is named in the audit log.
    #[must_use]
    pub fn on_behalf_of(self, agent: Agent) -> Administration {
        Administration { agent: Some(agent), ..self }
    }

    /// Has the commit record what was done, in the logs of these contracts.
    fn record(&self, transaction: &mut Transaction, contract_ids: &BTreeSet<String>, detail: &str) {
        let Some(agent) = &self.agent else { return };
        let now = self.installation.clock.now();
        for contract_id in contract_ids {
            audit::record(transaction, act(contract_id, agent, detail, now));
        }
    }

    /// The contracts on which a client has a role.
    async fn contracts_of(&self, client_id: &str) -> Result<BTreeSet<String>> {
        let found = contracts::client_get(&self.installation.database, client_id).await?;
        Ok(found.map(|(client, _)| contracts_of(&client.grants)).unwrap_or_default())
    }

    /// The contracts of the client of a webhook, and the client.
    async fn contracts_of_webhook(&self, id: &str) -> Result<(BTreeSet<String>, String)> {
        let webhook = webhooks::get(&self.installation.database, id).await?.ok_or_else(|| unknown(WEBHOOK, id))?;
        Ok((self.contracts_of(&webhook.client_id).await?, webhook.client_id))
    }

    /// Adds a contract; `false` when it was there already.
    pub async fn contract_add(&self, id: &str) -> Result<bool> {
        check_identifier(CONTRACT, id)?;
        let mut transaction = self.installation.database.begin().await?;
        let added = contracts::add(&mut transaction, id, self.installation.clock.now()).await?;
        if added {
            self.record(&mut transaction, &of_one(id), &sentence!("the contract was added"));
        }
        transaction.commit().await?;
        Ok(added)
    }

    /// Every contract with the number of its packages.
    pub async fn contract_list(&self) -> Result<Vec<(String, u64)>> {
        Ok(contracts::list(&self.installation.database).await?)
    }

    /// Gives a contract's area a quota of its own, 0 for none at all; with `None` it has the one that is set for all.
    pub async fn contract_quota_set(&self, id: &str, quota_bytes: Option<u64>) -> Result<()> {
        let mut transaction = self.installation.database.begin().await?;
        if !contracts::quota_set(&mut transaction, id, quota_bytes).await? {
            return Err(unknown(CONTRACT, id));
        }
        let detail = match quota_bytes {
            None => sentence!("the quota of the area is the one that is set for all"),
            Some(0) => sentence!("the area has no quota"),
            Some(bytes) => sentence!("the quota of the area is {bytes} bytes"),
        };
        self.record(&mut transaction, &of_one(id), &detail);
        Ok(transaction.commit().await?)
    }

    /// The quota of a contract's own; `None` when it has the one that is set for all.
    pub async fn contract_quota(&self, id: &str) -> Result<Option<u64>> {
        let mut transaction = self.installation.database.begin().await?;
        Ok(contracts::quota(&mut transaction, id).await?)
    }

    /// How many bytes lie in the area of a contract, or have room reserved there.
    pub async fn area_used_bytes(&self, contract_id: &str) -> Result<u64> {
        Ok(area_files::used_bytes(&self.installation.database, contract_id).await?)
    }

    /// Fails when there is no such contract.
    pub async fn contract_check(&self, id: &str) -> Result<()> {
        if contracts::exists(&self.installation.database, id).await? { Ok(()) } else { Err(unknown(CONTRACT, id)) }
    }

    /// Where and how the people of a contract are written to.
    pub async fn contract_correspondence(&self, id: &str) -> Result<Correspondence> {
        let found = mails::correspondence(&self.installation.database, id).await?;
        found.ok_or_else(|| unknown(CONTRACT, id))
    }

    /// Sets where and how the people of a contract are written to.
    pub async fn contract_correspondence_set(&self, id: &str, correspondence: &Correspondence) -> Result<()> {
        if let Some(address) = &correspondence.address {
            mail::check_address(address)?;
        }
        let mut transaction = self.installation.database.begin().await?;
        if !mails::correspondence_set(&mut transaction, id, correspondence).await? {
            return Err(unknown(CONTRACT, id));
        }
        let detail = match &correspondence.address {
            Some(address) => sentence!("e-mail goes to {address}, in {}", correspondence.language),
            None => sentence!("e-mail goes to nobody"),
        };
        self.record(&mut transaction, &of_one(id), &detail);
        Ok(transaction.commit().await?)
    }

    /// Adds a client with roles, and returns its secret, which is not kept.
    pub async fn client_add(&self, id: &str, grants: &Grants) -> Result<Secret> {
        check_identifier(CLIENT, id)?;
        for (contract_id, _) in grants.iter() {
            self.contract_check(contract_id).await?;
        }
        let (secret, hash) = new_hashed_secret().await?;
        let now = self.installation.clock.now();
        let mut transaction = self.installation.database.begin().await?;
        match contracts::client_add(&mut transaction, id, &hash, grants, now).await {
            Err(error) if error.is_duplicate() => {
                return Err(AdministrationError::Exists { what: CLIENT, id: id.to_owned() });
            }
            added => added?,
        }
        let roles: Vec<String> =
            grants.iter().map(|(contract_id, role)| sentence!("{role} on {contract_id}")).collect();
        let detail = sentence!("client {id} was added with the roles {}", roles.join(", "));
        self.record(&mut transaction, &contracts_of(grants), &detail);
        transaction.commit().await?;
        Ok(secret)
    }

    /// Every client with its roles.
    pub async fn client_list(&self) -> Result<Vec<Client>> {
        Ok(contracts::client_list(&self.installation.database).await?)
    }

    /// Gives a client a new secret; the old one stops working at once, and its sessions end.
    pub async fn client_secret_replace(&self, id: &str) -> Result<Secret> {
        let (secret, hash) = new_hashed_secret().await?;
        let contract_ids = self.contracts_of(id).await?;
        let mut transaction = self.installation.database.begin().await?;
        if !contracts::client_secret_replace(&mut transaction, id, &hash).await? {
            return Err(unknown(CLIENT, id));
        }
        sessions::remove_all(&mut transaction, id, None).await?;
        self.record(&mut transaction, &contract_ids, &sentence!("client {id} was given a new secret"));
        transaction.commit().await?;
        Ok(secret)
    }

    /// Lets a client sign in, or not any more: then its sessions end.
    pub async fn client_enable(&self, id: &str, enabled: bool) -> Result<()> {
        let disabled = (!enabled).then(|| self.installation.clock.now());
        let contract_ids = self.contracts_of(id).await?;
        let mut transaction = self.installation.database.begin().await?;
        if !contracts::client_disable(&mut transaction, id, disabled).await? {
            return Err(unknown(CLIENT, id));
        }
        if !enabled {
            sessions::remove_all(&mut transaction, id, None).await?;
        }
        let detail = match enabled {
            true => sentence!("client {id} may sign in again"),
            false => sentence!("client {id} may not sign in any more"),
        };
        self.record(&mut transaction, &contract_ids, &detail);
        Ok(transaction.commit().await?)
    }

    /// Gives a client a role on a contract.
    pub async fn client_grant(&self, id: &str, contract_id: &str, role: Role) -> Result<()> {
        self.client_check(id).await?;
        self.contract_check(contract_id).await?;
        let mut transaction = self.installation.database.begin().await?;
        contracts::grant(&mut transaction, id, contract_id, role).await?;
        self.record(&mut transaction, &of_one(contract_id), &sentence!("client {id} was given the role {role}"));
        Ok(transaction.commit().await?)
    }

    /// Takes a role on a contract from a client; `false` when it did not have it.
    pub async fn client_revoke(&self, id: &str, contract_id: &str, role: Role) -> Result<bool> {
        self.client_check(id).await?;
        let mut transaction = self.installation.database.begin().await?;
        let revoked = contracts::revoke(&mut transaction, id, contract_id, role).await?;
        if revoked {
            self.record(
                &mut transaction,
                &of_one(contract_id),
                &sentence!("the role {role} was taken from client {id}"),
            );
        }
        transaction.commit().await?;
        Ok(revoked)
    }

    /// What was handed in through incoming directories, of one contract where it is named.
    pub async fn submission_list(
        &self,
        contract_id: Option<&str>,
        filter: &SubmissionFilter,
    ) -> Result<Vec<Submission>> {
        let wanted = contract_id.map(|contract_id| [contract_id]);
        let wanted = wanted.as_ref().map(<[&str; 1]>::as_slice);
        Ok(submissions::list(&self.installation.database, wanted, filter).await?)
    }

    /// Lets a client sign in over SFTP with a public key.
    pub async fn client_key_add(&self, client_id: &str, key: &PublicKey) -> Result<()> {
        self.client_check(client_id).await?;
        let contract_ids = self.contracts_of(client_id).await?;
        let mut transaction = self.installation.database.begin().await?;
        match client_keys::insert(&mut transaction, client_id, key, self.installation.clock.now()).await {
            Err(error) if error.is_duplicate() => {
                Err(AdministrationError::Exists { what: CLIENT_KEY, id: key.fingerprint.clone() })
            }
            added => {
                added?;
                let detail = sentence!("client {client_id} was given the key {}", key.fingerprint);
                self.record(&mut transaction, &contract_ids, &detail);
                Ok(transaction.commit().await?)
            }
        }
    }

    /// The public keys of a client, in the order of their fingerprints.
    pub async fn client_key_list(&self, client_id: &str) -> Result<Vec<ClientKey>> {
        self.client_check(client_id).await?;
        Ok(client_keys::list(&self.installation.database, client_id).await?)
    }

    /// Removes a public key of a client. Whoever is signed in with it stays so until the connection ends.
    pub async fn client_key_remove(&self, client_id: &str, fingerprint: &str) -> Result<()> {
        self.client_check(client_id).await?;
        let contract_ids = self.contracts_of(client_id).await?;
        let mut transaction = self.installation.database.begin().await?;
        if !client_keys::remove(&mut transaction, client_id, fingerprint).await? {
            return Err(unknown(CLIENT_KEY, fingerprint));
        }
        self.record(
            &mut transaction,
            &contract_ids,
            &sentence!("the key {fingerprint} was taken from client {client_id}"),
        );
        Ok(transaction.commit().await?)
    }

    /// Sets the gateway of a contract in the place of the one before.
    pub async fn gateway_set(&self, contract_id: &str, registration: GatewayRegistration) -> Result<()> {
        match gateway::register(&self.installation, contract_id, registration, self.agent.as_ref()).await {
            Err(GatewayError::ContractUnknown(contract_id)) => Err(unknown(CONTRACT, &contract_id)),
            registered => Ok(registered?),
        }
    }

    /// The gateway of a contract, if it has one.
    pub async fn gateway_get(&self, contract_id: &str) -> Result<Option<Gateway>> {
        if !contracts::exists(&self.installation.database, contract_id).await? {
            return Err(unknown(CONTRACT, contract_id));
        }
        Ok(gateway::load(&self.installation, contract_id).await?)
    }

    /// Adds a webhook for a client's notices. An address that these settings do not let be called is added all the
    /// same, with a warning: the settings of the process that calls decide.
    pub async fn webhook_add(&self, client_id: &str, url: &str) -> Result<AddedWebhook> {
        self.client_check(client_id).await?;
        let parsed = Url::parse(url)
            .map_err(|error| AdministrationError::Address { url: url.to_owned(), reason: error.to_string() })?;
        let warning = match Allowed::new(&self.installation.settings.egress_allow).admit(&parsed).await {
            Err(refusal @ (Refusal::Plain(_) | Refusal::Private(_))) => Some(refusal),
            Err(refusal) => return Err(refusal.into()),
            Ok(()) => None,
        };
        let id = ids::new_id();
        let secret = secret::new_webhook_secret()?;
        let webhook = Webhook {
            id: id.clone(),
            client_id: client_id.to_owned(),
            url: parsed.into(),
            secret: self.installation.key.encrypt(&secret, &id)?,
            previous: None,
            created: self.installation.clock.now(),
            disabled: None,
        };
        let contract_ids = self.contracts_of(client_id).await?;
        let mut transaction = self.installation.database.begin().await?;
        webhooks::insert(&mut transaction, &webhook).await?;
        let detail = sentence!("webhook {id} of client {client_id} was added: {}", webhook.url);
        self.record(&mut transaction, &contract_ids, &detail);
        transaction.commit().await?;
        Ok(AddedWebhook { id, secret, warning })
    }

    /// The webhooks of one client, or of all.
    pub async fn webhook_list(&self, client_id: Option<&str>) -> Result<Vec<Webhook>> {
        Ok(webhooks::list(&self.installation.database, client_id).await?)
    }

    /// Gives a webhook a new secret. The old one signs as well for `overlap`, so that the receiver can change over.
    pub async fn webhook_secret_rotate(&self, id: &str, overlap: Duration) -> Result<Secret> {
        let secret = secret::new_webhook_secret()?;
        let sealed = self.installation.key.encrypt(&secret, id)?;
        let previous_expires = self.installation.clock.now().plus(overlap);
        let (contract_ids, client_id) = self.contracts_of_webhook(id).await?;
        let mut transaction = self.installation.database.begin().await?;
        if !webhooks::secret_rotate(&mut transaction, id, sealed, previous_expires).await? {
            return Err(unknown(WEBHOOK, id));
        }
        let detail = sentence!("webhook {id} of client {client_id} was given a new secret");
        self.record(&mut transaction, &contract_ids, &detail);
        transaction.commit().await?;
        Ok(secret)
    }

    /// Lets a webhook go on, for instance after its receiver had answered 410, or stops it.
    pub async fn webhook_enable(&self, id: &str, enabled: bool) -> Result<()> {
        let disabled = (!enabled).then(|| (self.installation.clock.now(), sentence!("disabled by the operator")));
        let (contract_ids, client_id) = self.contracts_of_webhook(id).await?;
        let mut transaction = self.installation.database.begin().await?;
        if !webhooks::disable(&mut transaction, id, disabled).await? {
            return Err(unknown(WEBHOOK, id));
        }
        let detail = match enabled {
            true => sentence!("webhook {id} of client {client_id} goes on"),
            false => sentence!("webhook {id} of client {client_id} was stopped"),
        };
        self.record(&mut transaction, &contract_ids, &detail);
        Ok(transaction.commit().await?)
    }

    /// Removes a webhook with its notices.
    pub async fn webhook_remove(&self, id: &str) -> Result<()> {
        let (contract_ids, client_id) = self.contracts_of_webhook(id).await?;
        let mut transaction = self.installation.database.begin().await?;
        if !webhooks::remove(&mut transaction, id).await? {
            return Err(unknown(WEBHOOK, id));
        }
        self.record(&mut transaction, &contract_ids, &sentence!("webhook {id} of client {client_id} was removed"));
        Ok(transaction.commit().await?)
    }

    /// The newest notices of a webhook, each with its attempts.
    pub async fn notice_list(&self, webhook_id: &str, limit: u32) -> Result<Vec<(Notice, Vec<Attempt>)>> {
        let database = &self.installation.database;
        if webhooks::get(database, webhook_id).await?.is_none() {
            return Err(unknown(WEBHOOK, webhook_id));
        }
        Ok(notice::listed(database, webhook_id, None, limit).await?)
    }

    /// Sends a notice again, under its identifier: to one webhook, or to all that it was owed to.
    pub async fn notice_replay(&self, id: &str, webhook_id: Option<&str>) -> Result<u64> {
        let now = self.installation.clock.now();
        let give_up = now.plus(self.installation.settings.webhook_give_up);
        let mut transaction = self.installation.database.begin().await?;
        let replayed = notices::replay(&mut transaction, id, webhook_id, now, give_up).await?;
        if replayed == 0 {
            return Err(unknown(NOTICE, id));
        }
        transaction.commit().await?;
        self.installation.wake_notifier();
        Ok(replayed)
    }

    /// The newest events, of one order or package where they are given, oldest first.
    pub async fn event_list(&self, order_id: Option<&str>, package_id: Option<&str>, limit: u32) -> Result<Vec<Event>> {
        Ok(events::list(&self.installation.database, order_id, package_id, limit).await?)
    }

    /// Packages of one contract, or of all, sorted by identifier; at most `limit` of them after the package `after`.
    pub async fn package_list(
        &self,
        contract_id: Option<&str>,
        object_id: Option<&str>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Package>> {
        let contract_ids = contract_id.map(|id| [id]);
        let contract_ids = contract_ids.as_ref().map(<[&str; 1]>::as_slice);
        Ok(packages::list(&self.installation.database, contract_ids, object_id, after, limit).await?)
    }

    /// A package with its versions, oldest first.
    pub async fn package_get(&self, id: &str) -> Result<(Package, Vec<Version>)> {
        let found = packages::get(&self.installation.database, id).await?;
        let package = found.ok_or_else(|| unknown(PACKAGE, id))?;
        Ok((package, packages::versions(&self.installation.database, id).await?))
    }

    /// How many steps are ready, waiting, leased or dead, and how old the oldest of each is.
    pub async fn step_counts(&self) -> Result<Vec<StepCount>> {
        Ok(steps::counts(&self.installation.database).await?)
    }

    /// The steps that are being worked on, at most `limit`, those that were claimed first at the top.
    pub async fn step_held(&self, limit: u32) -> Result<Vec<HeldStep>> {
        Ok(steps::held(&self.installation.database, limit).await?)
    }

    /// The recalls from cold storage that orders wait for, at most `limit`, those that were asked for first at the top.
    pub async fn recall_under_way(&self, limit: u32) -> Result<Vec<RecallUnderWay>> {
        Ok(recalls::under_way(&self.installation.database, None, limit).await?)
    }

    async fn client_check(&self, id: &str) -> Result<()> {
        let found = contracts::client_get(&self.installation.database, id).await?;
        found.map(|_| ()).ok_or_else(|| unknown(CLIENT, id))
    }
}

pub(crate) async fn new_hashed_secret() -> Result<(Secret, String)> {
    let secret = secret::new_client_secret()?;
    let hashed = secret.clone();
    let hash = tokio::task::spawn_blocking(move || secret::hash(&hashed))
        .await
        .map_err(|error| SecretError::Hash(error.to_string()))??;
    Ok((secret, hash))
}

/// Whether a name can be that of a contract and of its client.
pub(crate) fn check_account(id: &str) -> Result<()> {
    check_identifier(CONTRACT, id)
}

fn check_identifier(what: &'static str, id: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    // A contract becomes the name of a directory.
    let is_hidden = what == CONTRACT && id.starts_with('.');
    if (1..=100).contains(&id.len()) && id.bytes().all(allowed) && !is_hidden {
        return Ok(());
    }
    Err(AdministrationError::Identifier { what, id: id.to_owned() })
}

/// What somebody set up for a contract, as the audit log tells it.
pub(crate) fn act(contract_id: &str, agent: &Agent, detail: &str, now: Timestamp) -> AuditEntry {
    let entry = AuditEntry::new(AuditKind::Administration, contract_id, now);
    AuditEntry { agent: agent.told(), detail: detail.to_owned(), ..entry }
}

fn of_one(contract_id: &str) -> BTreeSet<String> {
    BTreeSet::from([contract_id.to_owned()])
}

fn contracts_of(grants: &Grants) -> BTreeSet<String> {
    grants.iter().map(|(contract_id, _)| contract_id.to_owned()).collect()
}

fn unknown(what: &'static str, id: &str) -> AdministrationError {
    AdministrationError::Unknown { what, id: id.to_owned() }
}
