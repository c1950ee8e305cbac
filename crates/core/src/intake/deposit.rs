//! Deposits: filegroups whose files Dipper fetches from the gateway of their contract, each a deposit of its own.

use tracing::{Instrument as _, info};

use dipper_archive::digest::Algorithm;

use crate::caller::{Caller, Role};
use crate::db::deposits::{Deposit, DepositFile, DepositFilter, DepositView};
use crate::db::orders::{Channel, Order, OrderKind, View};
use crate::db::packages::PackageState;
use crate::db::{DatabaseError, Transaction, contracts, deposits, gateways, packages};
use crate::deletion::Agent;
use crate::deposit::{self, CheckedEntry, DepositEntry};
use crate::gateway::{self, GatewayError, GatewayRegistration};
use crate::ids;
use crate::intake::Intake;
use crate::meter;
use crate::order::OrderState;
use crate::progress;
use crate::trace;

pub use crate::deposit::DepositFault;

/// The urgency of a deposit, in the middle of what orders have.
const RANK: i64 = 50;

/// What a depositor wants to have stored.
#[derive(Clone, Debug)]
pub struct DepositCommand {
    /// The contract of the packages.
    pub contract_id: String,
    /// The language of the contract in which it is asked for.
    pub dialect: &'static str,
    /// The type of the checksums that are told again when the deposit is asked after.
    pub checksum_type: Algorithm,
    /// The filegroups.
    pub entries: Vec<DepositEntry>,
}

/// Why a deposit is not accepted, or not told of.
#[derive(Debug, thiserror::Error)]
pub enum DepositError {
    /// The caller lacks the role that it takes.
    #[error("the {role} role on the contract is needed for this")]
    NotAllowed {
        /// The role.
        role: Role,
    },
    /// No gateway is registered from which files could be fetched.
    #[error("no gateway is registered: register it first, so that the files can be fetched")]
    NoGateway,
    /// The gateway is not registered.
    #[error(transparent)]
    Gateway(GatewayError),
    /// The request names no filegroup.
    #[error("the deposit names no filegroup")]
    Empty,
    /// Something is wrong with it, so that nothing of it was started. None of the faults is a conflict, or all are.
    #[error("{} faults were found in the deposit, and nothing of it was started", .0.len())]
    Faults(Vec<DepositFault>),
    /// There is no such deposit, as far as the caller may know.
    #[error("there is no deposit of filegroup {0}")]
    Unknown(String),
    /// The database failed. For the log; a client is told that something went wrong.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<GatewayError> for DepositError {
    fn from(error: GatewayError) -> DepositError {
        match error {
            GatewayError::Database(error) => DepositError::Database(error),
            error => DepositError::Gateway(error),
        }
    }
}

impl Intake {
    /// Registers the gateway of a contract in the place of the one before; deposits that run use it from then on.
    pub async fn gateway_register(
        &self,
        caller: &Caller,
        contract_id: &str,
        registration: GatewayRegistration,
    ) -> Result<(), DepositError> {
        allowed(caller, contract_id, Role::Write)?;
        let agent = Agent::client(&caller.client_id, caller.stored);
        gateway::register(&self.installation, contract_id, registration, Some(&agent)).await?;
        info!(contract_id, client_id = %caller.client_id, "gateway registered");
        Ok(())
    }

    /// Accepts filegroups for deposit: all of them or none. What is under way or stored already, with the same files, is
    /// accepted and nothing happens; a deposit that failed may be sent again.
    pub async fn deposit(&self, caller: &Caller, command: DepositCommand) -> Result<(), DepositError> {
        let DepositCommand { contract_id, dialect, checksum_type, entries } = command;
        allowed(caller, &contract_id, Role::Write)?;
        if entries.is_empty() {
            return Err(DepositError::Empty);
        }
        // Sorting and checking a hundred thousand names takes its time.
        let checking = tokio::task::spawn_blocking(move || deposit::check(entries)).await;
        let checking = checking
            .map_err(|error| DatabaseError::Value { column: "deposit".to_owned(), message: error.to_string() })?;
        let entries = checking.map_err(DepositError::Faults)?;
        if gateways::get(&self.installation.database, &contract_id).await?.is_none() {
            return Err(DepositError::NoGateway);
        }
        let mut wanted = Vec::with_capacity(entries.len());
        for entry in entries {
            let order = self.deposit_order(caller, &contract_id, dialect, &entry).await?;
            wanted.push((order, entry));
        }
        let count = wanted.len();
        let stored = self.deposit_store(&contract_id, checksum_type, wanted).await?;
        for order in &stored {
            meter::order_received();
            info!(order_id = %order.id, package_id = %order.package_id, client_id = %order.client_id, "deposit received");
        }
        info!(contract_id, filegroups = count, new = stored.len(), "deposit accepted");
        self.installation.wake_workers();
        Ok(())
    }

    async fn deposit_order(
        &self,
        caller: &Caller,
        contract_id: &str,
        dialect: &'static str,
        entry: &CheckedEntry,
    ) -> Result<Order, DatabaseError> {
        let known = packages::find(&self.installation.database, contract_id, &entry.filegroup).await?;
        let ocfl_id = known.map_or_else(|| ids::ocfl_id(contract_id, &entry.filegroup), |package| package.ocfl_id);
        let now = self.installation.clock.now();
        Ok(Order {
            id: ids::new_id(),
            kind: OrderKind::Deposit,
            dialect: dialect.to_owned(),
            contract_id: contract_id.to_owned(),
            client_id: caller.client_id.clone(),
            client_stored: caller.stored,
            package_id: ids::package_id(&ocfl_id),
            object_id: entry.filegroup.clone(),
            version: 0,
            view: View::Version,
            channel: Channel::Link,
            area_name: None,
            named_version: None,
            excerpt: None,
            size_bytes: entry.size_bytes,
            state: OrderState::Received,
            priority: RANK,
            rank: RANK,
            created: now,
            updated: now,
            delivered: None,
            failure: None,
        })
    }

    /// Stores what is new, in one transaction; gives the orders.
    async fn deposit_store(
        &self,
        contract_id: &str,
        checksum_type: Algorithm,
        wanted: Vec<(Order, CheckedEntry)>,
    ) -> Result<Vec<Order>, DepositError> {
        let mut transaction = self.installation.database.begin().await?;
        // Deposits of a contract are accepted one after the other, so that what is looked at here stays so.
        contracts::lock(&mut transaction, contract_id).await?;
        let names: Vec<&str> = wanted.iter().map(|(_, entry)| entry.filegroup.as_str()).collect();
        let counting = deposits::counting(&mut transaction, contract_id, &names).await?;
        let mut faults = Vec::new();
        let mut stored = Vec::new();
        for (order, entry) in wanted {
            let known = counting.get(&(entry.filegroup.clone(), entry.version.clone()));
            match known {
                Some(known) if is_deleted(&mut transaction, known).await? => {
                    deposits::discount(&mut transaction, &known.order.id).await?;
                }
                Some(known) if known.deposit.fingerprint == entry.fingerprint => continue,
                Some(known) => {
                    faults.push(conflict(&entry, known));
                    continue;
                }
                None => {}
            }
            if !faults.is_empty() {
                continue;
            }
            let span = trace::intake(&order);
            self.deposit_insert(&mut transaction, &order, checksum_type, entry).instrument(span).await?;
            stored.push(order);
        }
        if !faults.is_empty() {
            return Err(DepositError::Faults(faults));
        }
        transaction.commit().await?;
        Ok(stored)
    }

    async fn deposit_insert(
        &self,
        transaction: &mut Transaction,
        order: &Order,
        checksum_type: Algorithm,
        entry: CheckedEntry,
    ) -> Result<(), DatabaseError> {
        progress::receive(transaction, order, &self.installation.settings).await?;
        let deposit = Deposit {
            order_id: order.id.clone(),
            contract_id: order.contract_id.clone(),
            object_id: entry.filegroup,
            label: entry.version,
            checksum_type,
            fingerprint: entry.fingerprint,
            file_count: entry.files.len() as u64,
            retrieved: 0,
            existing: 0,
            done_bytes: 0,
            counts: true,
            version: None,
        };
        deposits::insert(transaction, &deposit).await?;
        deposits::insert_files(transaction, &order.id, &entry.files).await
    }

    /// The newest deposit of a filegroup.
    pub async fn deposit_view(
        &self,
        caller: &Caller,
        contract_id: &str,
        filegroup: &str,
    ) -> Result<DepositView, DepositError> {
        allowed(caller, contract_id, Role::Read)?;
        let found = deposits::newest(&self.installation.database, contract_id, filegroup).await?;
        found.ok_or_else(|| DepositError::Unknown(filegroup.to_owned()))
    }

    /// Files of a deposit that [`Intake::deposit_view`] or [`Intake::deposit_list`] gave, in the order of their paths, after
    /// the one with the number `after`: 0 for the first.
    pub async fn deposit_files(
        &self,
        view: &DepositView,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DepositFile>, DepositError> {
        Ok(deposits::files(&self.installation.database, &view.order.id, after, limit).await?)
    }

    /// Of each filegroup the newest deposit, as far as it passes the filter; the last accepted first.
    pub async fn deposit_list(
        &self,
        caller: &Caller,
        filter: &DepositFilter,
    ) -> Result<Vec<DepositView>, DepositError> {
        allowed(caller, &filter.contract_id, Role::Read)?;
        Ok(deposits::list(&self.installation.database, filter).await?)
    }
}

fn allowed(caller: &Caller, contract_id: &str, role: Role) -> Result<(), DepositError> {
    if caller.grants.has(contract_id, role) { Ok(()) } else { Err(DepositError::NotAllowed { role }) }
}

/// Whether what a deposit stored was deleted since.
async fn is_deleted(transaction: &mut Transaction, known: &DepositView) -> Result<bool, DatabaseError> {
    if known.order.state != OrderState::Stored {
        return Ok(false);
    }
    let package = packages::get_locked(transaction, &known.order.package_id).await?;
    Ok(package.is_none_or(|package| package.state == PackageState::Deleted))
}

fn conflict(entry: &CheckedEntry, known: &DepositView) -> DepositFault {
    let what = if known.order.state == OrderState::Stored { "stored" } else { "being deposited" };
    let version = if entry.version.is_empty() {
        "without a name".to_owned()
    } else {
        format!("with the name {:?}", entry.version)
    };
    DepositFault {
        filegroup: entry.filegroup.clone(),
        file: None,
        message: format!("a version {version} is {what} already, with other files or checksums: use another version"),
        is_conflict: true,
    }
}
