//! What fixity checks find, on record: with the package, among the events, and in the audit log.

use dipper_archive::digest::{Algorithm, Digest};
use dipper_archive::ocfl::{self, StorageRoot};

use crate::audit::{self, AuditEntry, AuditFile, AuditKind};
use crate::db::events::{Event, EventKind};
use crate::db::packages::{Package, PackageState};
use crate::db::tallies::{self, Tally};
use crate::db::{DatabaseError, Transaction, events, mails, packages};
use crate::installation::Installation;
use crate::meter;
use crate::sentence::sentence;
use crate::time::Timestamp;

/// What was read of a package in one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it was read for, as the audit log tells it.
    pub occasion: String,
    /// The version that was read; `None` when it was all of them.
    pub version: Option<u32>,
    /// The digest of the inventory by which it was judged.
    pub digest: Option<(Algorithm, Digest)>,
    /// How many files were read.
    pub file_count: u64,
    /// Their lengths, added up.
    pub size_bytes: u64,
    /// How many more there are in an archive class, which were not read.
    pub cold_files: u64,
    /// Whether nothing that is stored of the package was left out, but for those.
    pub whole: bool,
    /// Whether structure and inventories were checked too, so that a mark of damage can be lifted.
    pub structure: bool,
    /// The files that are damaged, as far as they are known one by one.
    pub damaged: Vec<AuditFile>,
}

impl Check {
    /// How much was read, for the tallies: packages that were read whole, and bytes.
    fn amount(&self) -> (u64, u64) {
        (u64::from(self.whole), self.size_bytes)
    }

    fn entry(&self, package: &Package, now: Timestamp) -> AuditEntry {
        let entry = AuditEntry {
            version: self.version,
            file_count: Some(self.file_count),
            size_bytes: Some(self.size_bytes),
            detail: self.occasion.clone(),
            ..AuditEntry::of(AuditKind::Fixity, package, now)
        };
        match &self.digest {
            Some((algorithm, digest)) => entry.digest(*algorithm, digest),
            None => entry,
        }
    }
}

/// Whether the archive itself says that content, which is missing, is not there any more: it was deleted, which is no
/// damage.
pub(crate) fn was_deleted(archive: &StorageRoot, root: &str, content_path: &str) -> bool {
    match archive.object_at(root) {
        Ok(object) => !object.inventory().manifest().any(|(_, path)| path == content_path),
        Err(ocfl::Error::NoSuchObject { .. }) => true,
        Err(_) => false,
    }
}

/// Marks a package as damaged in a transaction of its own, with an event.
pub async fn damage_record(installation: &Installation, package_id: &str, reason: &str) -> Result<(), DatabaseError> {
    let mut transaction = installation.database.begin().await?;
    damage(&mut transaction, package_id, reason, installation.clock.now()).await?;
    transaction.commit().await
}

/// Marks a package as damaged, with an event. One that is deleted or marked already keeps its state.
pub async fn damage(
    transaction: &mut Transaction,
    package_id: &str,
    reason: &str,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    failure(transaction, package_id, reason, None, now).await
}

/// As [`damage`], found by a check of which more is known.
pub async fn failure(
    transaction: &mut Transaction,
    package_id: &str,
    reason: &str,
    check: Option<&Check>,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    meter::damaged();
    if let Some(package) = packages::get_locked(transaction, package_id).await? {
        if matches!(package.state, PackageState::Preserved | PackageState::Missing) {
            let why = Some(reason.to_owned());
            packages::state_set(transaction, package_id, PackageState::Damaged, why, now).await?;
            mails::insert_damage(transaction, &package, reason, now).await?;
        }
        let entry = check.map_or_else(|| AuditEntry::of(AuditKind::Fixity, &package, now), |c| c.entry(&package, now));
        let detail = match check {
            Some(check) => sentence!("{}: {reason}", check.occasion),
            None => reason.to_owned(),
        };
        let files = check.map(|check| check.damaged.clone()).unwrap_or_default();
        audit::record(transaction, AuditEntry { success: false, detail, files, ..entry });
        let (checked_packages, checked_bytes) = check.map_or((0, 0), Check::amount);
        let tally = Tally { checked_packages, checked_bytes, failures: 1, ..Tally::default() };
        tallies::record(transaction, &package.contract_id, now, tally);
        if let Some(check) = check.filter(|check| check.whole) {
            packages::checked_set(transaction, package_id, check.size_bytes, check.cold_files, now).await?;
        }
    }
    record(transaction, package_id, false, reason, now).await
}

/// Records that content of a package was read and matched. When it was all of it, a mark of damage is lifted, provided that
/// its structure was checked as well.
pub async fn success(
    transaction: &mut Transaction,
    package_id: &str,
    check: &Check,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    if let Some(package) = packages::get_locked(transaction, package_id).await? {
        let is_whole = check.whole && check.cold_files == 0;
        let mut entry = check.entry(&package, now);
        if check.cold_files > 0 {
            entry.detail =
                sentence!("{}; {} more files in an archive class were not read", check.occasion, check.cold_files);
        }
        audit::record(transaction, entry);
        let (checked_packages, checked_bytes) = check.amount();
        let tally = Tally { checked_packages, checked_bytes, ..Tally::default() };
        tallies::record(transaction, &package.contract_id, now, tally);
        if is_whole && check.structure && matches!(package.state, PackageState::Damaged | PackageState::Missing) {
            packages::state_set(transaction, package_id, PackageState::Preserved, None, now).await?;
            let detail = match &package.reason {
                Some(reason) => sentence!("was {} ({reason}), and was found right again", package.state),
                None => sentence!("was {}, and was found right again", package.state),
            };
            audit::record(transaction, AuditEntry { detail, kind: AuditKind::Repair, ..check.entry(&package, now) });
        }
        if check.whole {
            packages::checked_set(transaction, package_id, check.size_bytes, check.cold_files, now).await?;
        }
        if is_whole {
            packages::verified_set(transaction, package_id, now).await?;
        }
    }
    record(transaction, package_id, true, "", now).await
}

async fn record(
    transaction: &mut Transaction,
    package_id: &str,
    success: bool,
    detail: &str,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let mut event = Event::new(EventKind::FixityCheck, now);
    event.success = success;
    event.package_id = Some(package_id.to_owned());
    event.detail = detail.to_owned();
    events::insert(transaction, &event).await
}
