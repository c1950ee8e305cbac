//! Role names as tokens carry them: `{contractId}_R` reads, `_W` writes, `_O` operates.

use dipper_core::{Grants, Role};

const SUFFIXES: [(&str, Role); 3] = [("_R", Role::Read), ("_W", Role::Write), ("_O", Role::Operator)];

/// The grants that these names give. Names of another form are of other services, and give nothing.
pub(super) fn grants<'a>(names: impl IntoIterator<Item = &'a str>) -> Grants {
    let mut grants = Grants::default();
    for name in names {
        let found = SUFFIXES.iter().find_map(|(suffix, role)| Some((name.strip_suffix(suffix)?, *role)));
        if let Some((contract_id, role)) = found.filter(|(contract_id, _)| !contract_id.is_empty()) {
            grants.add(contract_id, role);
        }
    }
    grants
}

/// The names of these grants.
pub(super) fn names(grants: &Grants) -> Vec<String> {
    grants.iter().map(|(contract_id, role)| format!("{contract_id}{}", suffix(role))).collect()
}

/// What follows the contract in the name of a role.
pub(super) fn suffix(role: Role) -> &'static str {
    match role {
        Role::Read => "_R",
        Role::Write => "_W",
        Role::Operator => "_O",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_names_are_read_and_written() {
        let grants = grants(["2d17_R", "2d17_W", "a_b_R", "_R", "admin", "x_O", "y_r"]);
        assert_eq!(names(&grants), ["2d17_R", "2d17_W", "a_b_R", "x_O"]);
        assert!(grants.has("2d17", Role::Read) && grants.has("a_b", Role::Read));
        assert!(!grants.has("x", Role::Read) && !grants.has("a", Role::Read));
    }
}
