//! Finding packages by a part of a name, by state and by date, in pages.

use std::collections::BTreeSet;

use crate::caller::{Caller, Role};
use crate::db::package_search::{self, PackagePage, PackageSearch};
use crate::intake::{Intake, IntakeError};

impl Intake {
    /// A page of the packages that are looked for, on contracts on which the caller has one of these roles.
    ///
    /// A page may be short, or empty, although there is more ([`PackagePage::next`]): no page looks at more than a bounded
    /// number of packages.
    pub async fn package_search(
        &self,
        caller: &Caller,
        roles: &[Role],
        search: &PackageSearch,
    ) -> Result<PackagePage, IntakeError> {
        let contract_ids: BTreeSet<&str> = roles.iter().flat_map(|role| caller.grants.contracts(*role)).collect();
        let contract_ids: Vec<&str> = contract_ids.into_iter().collect();
        Ok(package_search::find(&self.installation.database, &contract_ids, search).await?)
    }
}
