//! Who calls, and what that caller may do on which contract.

use std::collections::{BTreeMap, BTreeSet};

use crate::named::named;

/// What a client may do on a contract. A role includes none of the others: a client that writes and reads has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Find packages, order them and fetch them.
    Read,
    /// Deposit and delete.
    Write,
    /// See and steer everybody's orders of the contract.
    Operator,
}

named!(Role, "role": Read => "read", Write => "write", Operator => "operator");

/// The roles that a caller has, contract by contract.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    contracts: BTreeMap<String, BTreeSet<Role>>,
}

impl Grants {
    /// Adds a role on a contract.
    pub fn add(&mut self, contract_id: &str, role: Role) {
        self.contracts.entry(contract_id.to_owned()).or_default().insert(role);
    }

    /// Whether the role is held on that contract.
    pub fn has(&self, contract_id: &str, role: Role) -> bool {
        self.contracts.get(contract_id).is_some_and(|roles| roles.contains(&role))
    }

    /// Whether the role is held on any contract.
    pub fn has_anywhere(&self, role: Role) -> bool {
        self.contracts.values().any(|roles| roles.contains(&role))
    }

    /// The contracts on which the role is held, sorted.
    pub fn contracts(&self, role: Role) -> Vec<&str> {
        self.contracts.iter().filter(|(_, roles)| roles.contains(&role)).map(|(id, _)| id.as_str()).collect()
    }

    /// Every grant, sorted by contract.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Role)> {
        self.contracts.iter().flat_map(|(id, roles)| roles.iter().map(|role| (id.as_str(), *role)))
    }
}

impl FromIterator<(String, Role)> for Grants {
    fn from_iter<I: IntoIterator<Item = (String, Role)>>(grants: I) -> Grants {
        let mut all = Grants::default();
        for (contract_id, role) in grants {
            all.add(&contract_id, role);
        }
        all
    }
}

/// A client whose credentials were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The client's identifier.
    pub client_id: String,
    /// What it may do.
    pub grants: Grants,
    /// Whether the grants are Dipper's own records, which can be looked up again later, rather than an outside
    /// issuer's word.
    pub stored: bool,
}

impl Caller {
    /// The contract that the client acts for where nothing names one: that of its own name, or the only one on which it
    /// holds the role.
    pub fn account(&self, role: Role) -> Option<&str> {
        let held = self.grants.contracts(role);
        match held.as_slice() {
            [only] => Some(only),
            several => several.iter().find(|id| **id == self.client_id).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_acts_for_its_own_contract_or_for_its_only_one() {
        let account = |contracts: &[&str]| {
            let grants = contracts.iter().map(|id| ((*id).to_owned(), Role::Read)).collect();
            let caller = Caller { client_id: "one".to_owned(), grants, stored: true };
            assert_eq!(caller.account(Role::Write), None);
            caller.account(Role::Read).map(str::to_owned)
        };
        assert_eq!(account(&[]), None);
        assert_eq!(account(&["other"]).as_deref(), Some("other"));
        assert_eq!(account(&["a", "one", "z"]).as_deref(), Some("one"));
        assert_eq!(account(&["a", "z"]), None);
    }
}
