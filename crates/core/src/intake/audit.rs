//! The audit log as far as a caller may see it, and what an operator adds to it that was done elsewhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::audit::{self, AuditEntry, AuditFile, Chained};
use crate::caller::{Caller, Role};
use crate::db::audit::{self as audit_log, AuditCursor, AuditFilter};
use crate::db::packages;
use crate::ids;
use crate::intake::{Intake, IntakeError};

/// An entry as a caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// The entry in its chain.
    pub chained: Chained,
    /// What its list says of the file that was asked for, if that was one and the list names it.
    pub file: Option<AuditFile>,
}

/// Which entries of a package's are asked for.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// The contract.
    pub contract_id: String,
    /// The depositor's name for the package.
    pub object_id: String,
    /// A file of it alone, by its logical path.
    pub path: Option<String>,
    /// Behind this entry.
    pub after: Option<AuditCursor>,
    /// How many at the most.
    pub limit: u32,
}

impl Intake {
    /// What was done with the content of a package, or of one file of it, oldest first. Packages that were deleted keep their entries.
    ///
    /// Entries about a whole version are among those of a file only if the version holds it, or held it before it was
    /// deleted, as far as that can be found out. There are none for a file that nobody knows.
    pub async fn audit_list(&self, caller: &Caller, query: &AuditQuery) -> Result<Vec<AuditRecord>, IntakeError> {
        if !caller.grants.has(&query.contract_id, Role::Read) {
            return Err(IntakeError::NotAllowed { role: Role::Read });
        }
        let database = &self.installation.database;
        let package_id = self.audited_package(&query.contract_id, &query.object_id).await?;
        let filter = AuditFilter {
            contract_ids: Some(vec![query.contract_id.clone()]),
            package_id: Some(package_id.clone()),
            path: query.path.clone(),
            content_only: true,
            ..AuditFilter::default()
        };
        let unknown = || IntakeError::PackageUnknown(query.object_id.clone());
        if query.after.is_none() && packages::get(database, &package_id).await?.is_none() {
            // It may have been deleted: then there are entries.
            let any = AuditFilter { path: None, ..filter.clone() };
            audit_log::list(database, &any, None, 1).await?.pop().ok_or_else(unknown)?;
        }
        let holding = match &query.path {
            Some(path) => self.versions_with(&package_id, path).await?,
            None => None,
        };
        let mut records = Vec::new();
        let mut after = query.after.clone();
        while records.len() < query.limit as usize {
            let page = audit_log::list(database, &filter, after.as_ref(), query.limit).await?;
            let is_last = page.len() < query.limit as usize;
            after = page.last().map(AuditCursor::behind);
            for chained in page {
                let file = match (&query.path, &chained.file_list) {
                    (Some(path), Some(_)) => {
                        audit_log::file_of(database, &query.contract_id, chained.number, path).await?
                    }
                    _ => None,
                };
                let concerns = file.is_some()
                    || holding.as_ref().is_none_or(|holding| match chained.entry.version {
                        Some(version) => holding.contains(&version),
                        None => !holding.is_empty(),
                    });
                if concerns && records.len() < query.limit as usize {
                    records.push(AuditRecord { chained, file });
                }
            }
            if is_last {
                break;
            }
        }
        Ok(records)
    }

    /// The versions of a package that hold a file, or held it as far as the log tells; `None` when that cannot be said,
    /// because the package was deleted or its inventory cannot be read.
    async fn versions_with(&self, package_id: &str, path: &str) -> Result<Option<BTreeSet<u32>>, IntakeError> {
        let database = &self.installation.database;
        let Some(package) = packages::get(database, package_id).await? else { return Ok(None) };
        let (archive, name) = (Arc::clone(&self.installation.archive), path.to_owned());
        let looking = tokio::task::spawn_blocking(move || {
            let object = archive.object_at(&package.location).ok()?;
            let inventory = object.inventory();
            let numbers = inventory.versions().iter().map(|version| version.number().number());
            Some(numbers.filter(|number| inventory.file(*number, &name).is_some()).collect::<BTreeSet<u32>>())
        });
        let Some(mut holding) = looking.await.ok().flatten() else { return Ok(None) };
        holding.extend(audit_log::versions_listing(database, package_id, path).await?);
        Ok(Some(holding))
    }

    /// Adds entries to the audit log about what was done elsewhere, such as a copy that was made in another archive: all of
    /// them, or none. Takes the operator's role on the contracts.
    pub async fn audit_add(&self, caller: &Caller, entries: Vec<AuditEntry>) -> Result<(), IntakeError> {
        let may = |entry: &AuditEntry| caller.grants.has(&entry.contract_id, Role::Operator);
        if !entries.iter().all(may) {
            return Err(IntakeError::NotAllowed { role: Role::Operator });
        }
        let mut known = Vec::with_capacity(entries.len());
        for mut entry in entries {
            if let (None, Some(object_id)) = (&entry.package_id, &entry.object_id) {
                entry.package_id = Some(self.audited_package(&entry.contract_id, object_id).await?);
            }
            known.push(entry);
        }
        let mut transaction = self.installation.database.begin().await?;
        for entry in known {
            audit::record(&mut transaction, entry);
        }
        Ok(transaction.commit().await?)
    }

    /// The identifier of a package, also of one that is not there (any more).
    async fn audited_package(&self, contract_id: &str, object_id: &str) -> Result<String, IntakeError> {
        let found = packages::find(&self.installation.database, contract_id, object_id).await?;
        Ok(found.map_or_else(|| ids::package_id(&ids::ocfl_id(contract_id, object_id)), |package| package.id))
    }
}
