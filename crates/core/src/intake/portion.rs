//! What of a package somebody asks for: a version or the surface, all of it or an excerpt.

use std::sync::Arc;

use dipper_archive::ocfl;

use crate::assembly::Scope;
use crate::caller::Caller;
use crate::db::orders::View;
use crate::db::packages::{self, Package, PackageState, Version};
use crate::excerpt::Excerpt;
use crate::intake::{Intake, IntakeError, not_preserved};
use crate::listing::{FolderCursor, FolderPage, Listing};

/// What of a package is asked for; by default its newest version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// Which version of it; `None` for the newest.
    pub version: Option<u32>,
    /// That version alone, or what all versions up to it add up to.
    pub view: View,
    /// The files and folders of that, if not all.
    pub excerpt: Option<Excerpt>,
}

/// Which page of which folder is asked for.
#[derive(Clone, Debug, Default)]
pub struct FolderQuery {
    /// Which version of the package; `None` for the newest.
    pub version: Option<u32>,
    /// That version alone, or what all versions up to it add up to.
    pub view: View,
    /// The path of the folder, `""` for the top.
    pub folder: String,
    /// Behind this.
    pub after: Option<FolderCursor>,
    /// How many folders and files at the most.
    pub limit: u32,
}

/// What is to be delivered, with how much is read for it.
pub(super) struct Resolved {
    pub(super) scope: Scope,
    pub(super) size_bytes: u64,
}

impl Intake {
    /// A page of what lies in a folder of a package: folders with what is in them, and files with what is known of them.
    pub async fn package_folder(
        &self,
        caller: &Caller,
        package_id: &str,
        query: &FolderQuery,
    ) -> Result<FolderPage, IntakeError> {
        let package = self.package_readable(caller, package_id).await?;
        if matches!(package.state, PackageState::Deleted | PackageState::Missing) {
            return Err(not_preserved(package));
        }
        let versions = packages::versions(&self.installation.database, &package.id).await?;
        let number = self.version_of(&package, &versions, query.version)?;
        let listing = self.listing(&package, number, query.view).await?;
        let page = listing.folder(&query.folder, query.after.as_ref(), query.limit as usize);
        page.ok_or_else(|| IntakeError::PathUnknown { package_id: package.id, path: query.folder.clone() })
    }

    /// A package that may be ordered now.
    pub(super) async fn package_orderable(&self, caller: &Caller, id: &str) -> Result<Package, IntakeError> {
        let package = self.package_readable(caller, id).await?;
        if package.state == PackageState::Preserved { Ok(package) } else { Err(not_preserved(package)) }
    }

    /// Looks whether what is asked for is there. An excerpt that leaves nothing out is none.
    pub(super) async fn resolve(&self, package: &Package, portion: Portion) -> Result<Resolved, IntakeError> {
        let Portion { version, view, excerpt } = portion;
        if (version, view, &excerpt) == (None, View::Version, &None) {
            let scope = Scope { version: package.head, ..Scope::default() };
            return Ok(Resolved { scope, size_bytes: package.size_bytes });
        }
        let versions = packages::versions(&self.installation.database, &package.id).await?;
        let number = self.version_of(package, &versions, version)?;
        let mut scope = Scope { version: number, is_named: version.is_some(), view, excerpt: None };
        if let Some(excerpt) = excerpt {
            let listing = self.listing(package, number, view).await?;
            let chosen = listing
                .chosen(&excerpt)
                .map_err(|path| IntakeError::PathUnknown { package_id: package.id.clone(), path })?;
            if chosen.file_count < listing.len() as u64 {
                scope.excerpt = Some(excerpt);
                return Ok(Resolved { scope, size_bytes: chosen.size_bytes });
            }
        }
        Ok(Resolved { scope, size_bytes: size_bytes(&versions, number, view) })
    }

    pub(super) fn version_of(
        &self,
        package: &Package,
        versions: &[Version],
        wanted: Option<u32>,
    ) -> Result<u32, IntakeError> {
        let number = wanted.unwrap_or(package.head);
        let is_there = versions.iter().any(|version| version.number == number);
        let unknown = || IntakeError::VersionUnknown { package_id: package.id.clone(), version: number };
        is_there.then_some(number).ok_or_else(unknown)
    }

    pub(super) async fn listing(
        &self,
        package: &Package,
        version: u32,
        view: View,
    ) -> Result<Arc<Listing>, IntakeError> {
        let (archive, listings) = (Arc::clone(&self.installation.archive), self.listings.clone());
        let package = package.clone();
        let reading = tokio::task::spawn_blocking(move || listings.of(&archive, &package, version, view)).await;
        let read = reading
            .map_err(|error| ocfl::Error::Io { path: String::new(), source: std::io::Error::other(error.to_string()) });
        Ok(read??)
    }
}

/// How much is read for all of it. Of several versions that is not known before their inventory is read: all of them
/// together are what it can be at the most.
fn size_bytes(versions: &[Version], number: u32, view: View) -> u64 {
    let is_read = |version: &&Version| match view {
        View::Version => version.number == number,
        View::Surface => version.number <= number,
    };
    versions.iter().filter(is_read).map(|version| version.size_bytes).sum()
}
