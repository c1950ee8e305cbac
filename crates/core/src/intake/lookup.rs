//! Looking packages up by the names that people know, and what is under way for them.

use std::collections::{HashMap, HashSet};

use crate::caller::{Caller, Role};
use crate::db::orders::Order;
use crate::db::packages::{Package, PackageQuery, Version};
use crate::db::submissions::{Submission, SubmissionFilter};
use crate::db::{ingests, orders, packages, submissions};
use crate::intake::{Intake, IntakeError};

/// A package with its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageRecord {
    /// The package.
    pub package: Package,
    /// Its versions, oldest first.
    pub versions: Vec<Version>,
}

/// What is under way for a package, or went wrong last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageWork {
    /// The package.
    pub package_id: String,
    /// Orders that are under way, and of each channel the last one that failed, unless a later one was delivered. Oldest
    /// first.
    pub orders: Vec<Order>,
    /// Whether a version is being added to it.
    pub is_being_ingested: bool,
}

impl Intake {
    /// The packages that the caller may read and to which all of a query applies, each with its versions, sorted by
    /// identifier of the catalogue: at most `limit` of them after `after`. A query that asks for nothing is for all.
    pub async fn package_find(
        &self,
        caller: &Caller,
        query: &PackageQuery,
        after: &str,
        limit: u32,
    ) -> Result<Vec<PackageRecord>, IntakeError> {
        let database = &self.installation.database;
        let contract_ids = caller.grants.contracts(Role::Read);
        let found = packages::search(database, &contract_ids, query, after, limit).await?;
        self.with_versions(found).await
    }

    /// The packages that the caller may read and that have one of these identifiers, or one of these names of their
    /// depositors, each with its versions, sorted by identifier of the catalogue. Packages that are not there any more are
    /// among them.
    pub async fn package_find_named(
        &self,
        caller: &Caller,
        identifiers: &[&str],
        object_ids: &[&str],
    ) -> Result<Vec<PackageRecord>, IntakeError> {
        let contract_ids = caller.grants.contracts(Role::Read);
        let found = packages::named(&self.installation.database, &contract_ids, identifiers, object_ids).await?;
        self.with_versions(found).await
    }

    async fn with_versions(&self, found: Vec<Package>) -> Result<Vec<PackageRecord>, IntakeError> {
        let database = &self.installation.database;
        let ids: Vec<&str> = found.iter().map(|package| package.id.as_str()).collect();
        let mut versions: HashMap<String, Vec<Version>> = HashMap::with_capacity(ids.len());
        for (package_id, version) in packages::versions_of(database, &ids).await? {
            versions.entry(package_id).or_default().push(version);
        }
        let record =
            |package: Package| PackageRecord { versions: versions.remove(&package.id).unwrap_or_default(), package };
        Ok(found.into_iter().map(record).collect())
    }

    /// What is under way for some packages, as far as the caller may read them, in the order in which they are named.
    pub async fn package_work(&self, caller: &Caller, package_ids: &[&str]) -> Result<Vec<PackageWork>, IntakeError> {
        let database = &self.installation.database;
        let mut found: HashMap<String, Vec<Order>> = HashMap::new();
        for order in orders::work(database, package_ids).await? {
            if caller.grants.has(&order.contract_id, Role::Read) {
                found.entry(order.package_id.clone()).or_default().push(order);
            }
        }
        let contract_ids = caller.grants.contracts(Role::Read);
        let now = self.installation.clock.now();
        let changing: HashSet<String> =
            ingests::changing(database, &contract_ids, package_ids, now).await?.into_iter().collect();
        let work = |id: &&str| PackageWork {
            package_id: (*id).to_owned(),
            orders: found.remove(*id).unwrap_or_default(),
            is_being_ingested: changing.contains(*id),
        };
        Ok(package_ids.iter().map(work).collect())
    }

    /// What was handed in through incoming directories of contracts that the caller may read, in the order in which it was
    /// first seen.
    pub async fn submission_list(
        &self,
        caller: &Caller,
        filter: &SubmissionFilter,
    ) -> Result<Vec<Submission>, IntakeError> {
        let contract_ids = caller.grants.contracts(Role::Read);
        Ok(submissions::list(&self.installation.database, Some(&contract_ids), filter).await?)
    }
}
