//! Who calls, and what it may do.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::BoxFuture;

/// What a client may do with the packages of one contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// See packages and have them delivered.
    Read,
    /// Deposit and delete packages.
    Write,
    /// Run the server.
    Operator,
}

impl Role {
    const SUFFIXES: [(&str, Role); 3] = [("_R", Role::Read), ("_W", Role::Write), ("_O", Role::Operator)];

    fn suffix(self) -> &'static str {
        match self {
            Role::Read => "_R",
            Role::Write => "_W",
            Role::Operator => "_O",
        }
    }
}

/// The roles of a client, by contract.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(BTreeMap<String, BTreeSet<Role>>);

impl Grants {
    /// Reads role names as tokens carry them: `{contractId}_R`, `_W` and `_O`. Other names are of other services.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Grants {
        let mut grants = Grants::default();
        for name in names {
            let found = Role::SUFFIXES.iter().find_map(|(suffix, role)| Some((name.strip_suffix(suffix)?, *role)));
            if let Some((contract_id, role)) = found.filter(|(contract_id, _)| !contract_id.is_empty()) {
                grants.0.entry(contract_id.to_owned()).or_default().insert(role);
            }
        }
        grants
    }

    /// The role names, as tokens carry them.
    pub fn names(&self) -> Vec<String> {
        let pairs = self.0.iter().flat_map(|(contract_id, roles)| roles.iter().map(move |role| (contract_id, role)));
        pairs.map(|(contract_id, role)| format!("{contract_id}{}", role.suffix())).collect()
    }

    /// Whether `role` is held on any contract.
    pub fn any(&self, role: Role) -> bool {
        self.0.values().any(|roles| roles.contains(&role))
    }

    /// Whether `role` is held on this contract.
    pub fn holds(&self, contract_id: &str, role: Role) -> bool {
        self.0.get(contract_id).is_some_and(|roles| roles.contains(&role))
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The client's id.
    pub client_id: String,
    /// Its roles.
    pub grants: Grants,
    /// Whether it is a client of the embedded issuer, so that its stored roles can be looked up again later.
    pub stored: bool,
}

/// The clients that the embedded issuer gives tokens to.
pub trait Clients: Send + Sync {
    /// The client with this id, if the secret is its own. Takes about as long for a client that does not exist.
    fn verify<'a>(&'a self, client_id: &'a str, secret: &'a str) -> BoxFuture<'a, anyhow::Result<Option<Caller>>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_names_are_read_and_written() {
        let grants = Grants::from_names(["2d17_R", "2d17_W", "a_b_R", "_R", "admin", "x_O", "y_r"]);
        assert_eq!(grants.names(), ["2d17_R", "2d17_W", "a_b_R", "x_O"]);
        assert!(grants.holds("2d17", Role::Read) && grants.holds("a_b", Role::Read));
        assert!(!grants.holds("x", Role::Read) && !grants.holds("a", Role::Read));
        assert!(grants.any(Role::Operator) && !Grants::default().any(Role::Read));
    }
}
