//! Deletions and legal holds, for clients: each call looks first whether the caller may. What they mean is in
//! `deletion/mod.rs`.

use crate::caller::{Caller, Role};
use crate::db::deletions::{self, DeletionFilter, Tombstone};
use crate::db::holds::{self, LegalHold};
use crate::db::orders::Order;
use crate::deletion::{
    Agent, DeletionCommand, DeletionError, DeletionSummary, DeletionView, decision, holds as legal, request,
};
use crate::intake::Intake;
use crate::meter;

type Result<T> = std::result::Result<T, DeletionError>;

impl Intake {
    /// Orders a deletion. It takes the right to write on the contract. When any part of it is at fault, all faults are
    /// told and nothing is begun.
    pub async fn deletion(&self, caller: &Caller, command: DeletionCommand) -> Result<Order> {
        allow(caller, &command.contract_id, Role::Write)?;
        let order = request::request(&self.installation, &agent(caller), command).await?;
        meter::order_received();
        Ok(order)
    }

    /// A deletion with what became of each file, for those who may read the contract.
    pub async fn deletion_view(&self, caller: &Caller, order_id: &str) -> Result<DeletionView> {
        self.deletion_readable(caller, order_id).await?;
        decision::view(&self.installation, order_id).await
    }

    /// The request for a deletion that the caller may see, as it came; `None` where the language in which it was asked for
    /// does not give it back.
    pub async fn deletion_request(&self, caller: &Caller, order_id: &str) -> Result<Option<Vec<u8>>> {
        self.deletion_readable(caller, order_id).await?;
        Ok(deletions::request(&self.installation.database, order_id).await?)
    }

    /// The deletions on contracts that the caller may read, newest first, without their files.
    pub async fn deletion_list(&self, caller: &Caller, filter: &DeletionFilter) -> Result<Vec<DeletionSummary>> {
        decision::list(&self.installation, &caller.grants.contracts(Role::Read), filter).await
    }

    /// Approves a deletion that waits for it. It takes an operator of the contract who is not the one who asked.
    pub async fn deletion_approve(&self, caller: &Caller, order_id: &str) -> Result<DeletionView> {
        let order = self.deletion_known(caller, order_id).await?;
        allow(caller, &order.contract_id, Role::Operator)?;
        decision::approve(&self.installation, &agent(caller), order_id).await
    }

    /// Withdraws a deletion that has not begun: whoever asked for it, or writes or operates on the contract.
    pub async fn deletion_withdraw(&self, caller: &Caller, order_id: &str) -> Result<DeletionView> {
        let order = self.deletion_known(caller, order_id).await?;
        if order.client_id != caller.client_id && !caller.grants.has(&order.contract_id, Role::Operator) {
            allow(caller, &order.contract_id, Role::Write)?;
        }
        decision::withdraw(&self.installation, &agent(caller), order_id).await
    }

    /// What is remembered of the deleted files of a package, or of one file.
    pub async fn tombstones(
        &self,
        caller: &Caller,
        contract_id: &str,
        object_id: &str,
        path: Option<&str>,
    ) -> Result<Vec<Tombstone>> {
        allow(caller, contract_id, Role::Read)?;
        decision::tombstones(&self.installation, contract_id, object_id, path).await
    }

    /// Sets a legal hold on a contract, or on one package of it. It takes an operator of the contract.
    pub async fn hold_set(
        &self,
        caller: &Caller,
        contract_id: &str,
        object_id: Option<&str>,
        reason: &str,
    ) -> Result<LegalHold> {
        allow(caller, contract_id, Role::Operator)?;
        legal::set(&self.installation, &agent(caller), contract_id, object_id, reason).await
    }

    /// Lifts a legal hold. It takes an operator of the contract.
    pub async fn hold_lift(&self, caller: &Caller, id: &str, reason: Option<&str>) -> Result<LegalHold> {
        let unknown = || DeletionError::HoldUnknown(id.to_owned());
        let hold = holds::get(&self.installation.database, id).await?.ok_or_else(unknown)?;
        if !knows(caller, &hold.contract_id) {
            return Err(unknown());
        }
        allow(caller, &hold.contract_id, Role::Operator)?;
        legal::lift(&self.installation, &agent(caller), id, reason).await
    }

    /// The legal holds on contracts that the caller operates, with those that were lifted if they are wanted.
    pub async fn hold_list(&self, caller: &Caller, with_lifted: bool) -> Result<Vec<LegalHold>> {
        let contract_ids = caller.grants.contracts(Role::Operator);
        Ok(holds::list(&self.installation.database, Some(&contract_ids), with_lifted).await?)
    }

    async fn deletion_readable(&self, caller: &Caller, order_id: &str) -> Result<Order> {
        let (order, _) = decision::load(&self.installation, order_id).await?;
        let may = caller.grants.has(&order.contract_id, Role::Read);
        if may { Ok(order) } else { Err(DeletionError::Unknown(order_id.to_owned())) }
    }

    async fn deletion_known(&self, caller: &Caller, order_id: &str) -> Result<Order> {
        let (order, _) = decision::load(&self.installation, order_id).await?;
        let may = knows(caller, &order.contract_id);
        if may { Ok(order) } else { Err(DeletionError::Unknown(order_id.to_owned())) }
    }
}

fn agent(caller: &Caller) -> Agent {
    Agent::client(&caller.client_id, caller.stored)
}

/// Whether the caller has any right on the contract, and so may learn what is there.
fn knows(caller: &Caller, contract_id: &str) -> bool {
    Role::ALL.iter().any(|role| caller.grants.has(contract_id, *role))
}

fn allow(caller: &Caller, contract_id: &str, role: Role) -> Result<()> {
    if caller.grants.has(contract_id, role) { Ok(()) } else { Err(DeletionError::NotAllowed { role }) }
}
