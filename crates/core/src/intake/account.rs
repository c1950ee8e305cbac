//! Accounts: a contract with one client of its own name, which deposits and is handed back what it deposited.

use tracing::info;

use crate::administration::{self, AdministrationError};
use crate::audit;
use crate::caller::{Caller, Role};
use crate::db::events::{Event, EventKind};
use crate::db::{DatabaseError, contracts, events};
use crate::deletion::Agent;
use crate::intake::Intake;
use crate::secret::{Secret, SecretError};
use crate::sentence::sentence;

/// An account that was added, or given another password.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its identifier, which is also the name of its client.
    pub id: String,
    /// Its password, which is shown this once.
    pub password: Secret,
}

/// Why an account is not there.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The caller operates no contract.
    #[error("the operator role is needed for this")]
    NotAllowed,
    /// The identifier would not survive in paths and file names.
    #[error("{0}")]
    Identifier(String),
    /// There is a contract or a client of that name which is no account that the caller operates.
    #[error("the name {0} is taken by a contract or a client that is no account of yours")]
    Taken(String),
    /// A password could not be made.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database failed. For the log.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Intake {
    /// Adds an account, which the caller operates from then on; one that is there already gets another password, and
    /// the one before stops working at once.
    pub async fn account_put(&self, caller: &Caller, id: &str) -> Result<Account, AccountError> {
        if !caller.grants.has_anywhere(Role::Operator) {
            return Err(AccountError::NotAllowed);
        }
        administration::check_account(id).map_err(|error| AccountError::Identifier(error.to_string()))?;
        let (password, hash) = administration::new_hashed_secret().await.map_err(|error| match error {
            AdministrationError::Secret(error) => AccountError::Secret(error),
            error => AccountError::Secret(SecretError::Hash(error.to_string())),
        })?;
        let client = contracts::client_get(&self.installation.database, id).await?.map(|(client, _)| client);
        let now = self.installation.clock.now();
        let mut transaction = self.installation.database.begin().await?;
        let is_new = contracts::add(&mut transaction, id, now).await?;
        let taken = || AccountError::Taken(id.to_owned());
        if !is_new && !caller.grants.has(id, Role::Operator) {
            return Err(taken());
        }
        match client {
            // Whoever may do more than an account does not get a password that is told to others.
            Some(client) if client.grants.iter().any(|(contract, role)| contract != id || role == Role::Operator) => {
                return Err(taken());
            }
            Some(_) => {
                contracts::client_secret_replace(&mut transaction, id, &hash).await?;
                for role in [Role::Read, Role::Write] {
                    contracts::grant(&mut transaction, id, id, role).await?;
                }
            }
            None => {
                let grants = [Role::Read, Role::Write].map(|role| (id.to_owned(), role)).into_iter().collect();
                match contracts::client_add(&mut transaction, id, &hash, &grants, now).await {
                    Err(error) if error.is_duplicate() => return Err(taken()),
                    added => added?,
                }
            }
        }
        if is_new && caller.stored {
            contracts::grant(&mut transaction, &caller.client_id, id, Role::Operator).await?;
        }
        let mut event = Event::new(if is_new { EventKind::AccountAdded } else { EventKind::AccountChanged }, now);
        event.agent = format!("client {}", caller.client_id);
        event.detail = id.to_owned();
        events::insert(&mut transaction, &event).await?;
        let agent = Agent::client(&caller.client_id, caller.stored);
        let detail = match is_new {
            true => sentence!("the account was added"),
            false => sentence!("the account was given a new password"),
        };
        audit::record(&mut transaction, administration::act(id, &agent, &detail, now));
        transaction.commit().await?;
        info!(account_id = id, client_id = caller.client_id, is_new, "account put");
        Ok(Account { id: id.to_owned(), password })
    }

    /// The accounts that the caller operates, sorted.
    pub async fn account_list(&self, caller: &Caller) -> Result<Vec<String>, DatabaseError> {
        contracts::accounts(&self.installation.database, &caller.grants.contracts(Role::Operator)).await
    }
}
