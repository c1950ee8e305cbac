//! Carries out a deletion: package by package, each under the lease on its object.
//!
//! The order is `deleting` before anything is removed, and from then on it goes forward only: whatever cannot be done now
//! is done later, and after a crash it is begun again with the first package that is not on record as deleted. For each of
//! them: what was handed out goes; then the archive is purged; then one transaction records it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dipper_archive::ocfl::{self, Object, Purge};
use tracing::info;

use crate::audit::{self, AuditEntry, AuditFile, AuditKind};
use crate::caller::Role;
use crate::db::deletions::{self, Deletion, DeletionFile, Entry, EntryEnd, Removal};
use crate::db::events::{Event, EventKind};
use crate::db::orders::{self, Failure, FailureCode, Order};
use crate::db::packages::{self, Package, PackageState};
use crate::db::steps::{self, Lease, StepEnd};
use crate::db::{DatabaseError, Transaction, contracts, deposits, events, holds, ingests};
use crate::deletion::{OPERATOR, handed_out, request};
use crate::hold::Hold;
use crate::index;
use crate::installation::Installation;
use crate::lease;
use crate::order::{OrderState, Signal};
use crate::progress;
use crate::register::{self, Described};
use crate::sentence::sentence;
use crate::steps::StepError;
use crate::steps::insist::{Failed, Insistence};
use crate::time::Timestamp;

pub(super) async fn run(installation: &Arc<Installation>, lease: &Lease, hold: &Hold) -> Result<(), StepError> {
    let order = orders::get(&installation.database, &lease.order_id).await?.ok_or(StepError::Lost)?;
    let deletion = deletions::get(&installation.database, &order.id).await?.ok_or(StepError::Lost)?;
    let entries = deletions::entries(&installation.database, &order.id).await?;
    begin(installation, lease, &order, &entries).await?;
    for entry in entries.into_iter().filter(|entry| entry.state == Removal::Pending) {
        if hold.is_over() {
            return Err(if hold.is_lost() { StepError::Lost } else { StepError::Stopped });
        }
        let files = deletions::files(&installation.database, &order.id, entry.number).await?;
        Removing { installation, lease, hold, order: &order, deletion: &deletion, entry, files }.run().await?;
    }
    let mut insistence = Insistence::new(installation, hold);
    while let Err(failed) = finish(installation, lease).await {
        insistence.wait(failed).await?;
    }
    Ok(())
}

/// Looks for the last time whether it may be done, and has the order go forward only from then on.
async fn begin(installation: &Installation, lease: &Lease, order: &Order, entries: &[Entry]) -> Result<(), StepError> {
    let rejected =
        |code, message| StepError::Final { signal: Signal::Rejected, failure: Failure { code, message }, damage: None };
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    contracts::lock(&mut transaction, &order.contract_id).await?;
    let mut order = orders::get_locked(&mut transaction, &order.id).await?.ok_or(StepError::Lost)?;
    if !steps::holds(&mut transaction, lease).await? {
        return Err(StepError::Lost);
    }
    if order.state == OrderState::Deleting {
        return Ok(());
    }
    if order.client_stored {
        let client = contracts::client_get(&installation.database, &order.client_id).await?;
        let may = client
            .is_some_and(|(client, _)| client.disabled.is_none() && client.grants.has(&order.contract_id, Role::Write));
        if !may {
            let message =
                sentence!("Client {} may not delete in contract {} any more.", order.client_id, order.contract_id);
            return Err(rejected(FailureCode::NotAllowed, message));
        }
    }
    let held = holds::in_force(&mut transaction, &order.contract_id).await?;
    for entry in entries {
        if let Some(hold) = request::covering(&held, &entry.object_id).next() {
            let message = sentence!("A legal hold keeps {}: {}.", entry.object_id, hold.reason);
            return Err(rejected(FailureCode::LegalHold, message));
        }
        // A version that is being deposited would have to be begun again.
        if let Some(deposit) = deletions::deposits_under_way(&mut transaction, &entry.package_id).await? {
            return Err(StepError::Away(sentence!("deposit {deposit} of {} is under way", entry.object_id)));
        }
    }
    let settings = &installation.settings;
    progress::advance(&mut transaction, &mut order, Signal::DeletionStarted, None, now, settings).await?;
    Ok(transaction.commit().await?)
}

/// One package whose files are being removed.
struct Removing<'a> {
    installation: &'a Arc<Installation>,
    lease: &'a Lease,
    hold: &'a Hold,
    order: &'a Order,
    deletion: &'a Deletion,
    entry: Entry,
    files: Vec<DeletionFile>,
}

/// What is in the archive afterwards.
struct Outcome {
    /// The package, if anything is left of it.
    left: Option<Described>,
    /// Files that were kept, with the reason.
    kept: Vec<(u32, String, String)>,
    /// The versions that have no files any more.
    emptied: Vec<u32>,
}

impl Removing<'_> {
    async fn run(self) -> Result<(), StepError> {
        let installation = self.installation;
        let ocfl_id = &self.entry.ocfl_id;
        let now = installation.clock.now();
        let taken = lease::Lease::take(installation, ocfl_id, now).await?;
        let object_lease =
            taken.ok_or_else(|| StepError::Away(sentence!("{ocfl_id} is being changed by another process")))?;
        let done = self.remove(&object_lease).await;
        if done.is_err() {
            object_lease.release().await?;
        }
        done
    }

    async fn remove(&self, object_lease: &lease::Lease) -> Result<(), StepError> {
        let installation = self.installation;
        let versions: BTreeSet<u32> = self.files.iter().map(|file| file.version).collect();
        handed_out::take_back(installation, self.order, &self.entry.package_id, &versions).await?;
        if object_lease.is_lost() {
            return Err(StepError::Away(sentence!("the lease on {} was lost", self.entry.ocfl_id)));
        }
        let (context, entry, files) = (Arc::clone(installation), self.entry.clone(), self.files.clone());
        let order = self.order.clone();
        let purging = tokio::task::spawn_blocking(move || purge(&context, &order, &entry, &files)).await;
        let purged = purging.map_err(|error| StepError::Passing(error.to_string()))?;
        let mut insistence = Insistence::new(installation, self.hold);
        while let Err(failed) = self.record(&purged).await {
            insistence.wait(failed).await?;
        }
        Ok(())
    }

    /// What the catalogue says of the package, the deletion's own record, and the end of the lease on the object, at once.
    /// Safe to try again: the entry's end is written once.
    async fn record(&self, purged: &Result<Outcome, ocfl::Error>) -> Result<(), Failed> {
        let outcome = match purged {
            Ok(outcome) => outcome,
            Err(error) if is_passing(error) => return Err(StepError::Away(error.to_string()).into()),
            Err(error) => return self.give_up(error).await,
        };
        let (installation, entry) = (self.installation, &self.entry);
        let now = installation.clock.now();
        let mut transaction = self.fenced().await?;
        let known = packages::get_locked(&mut transaction, &entry.package_id).await?;
        let end = EntryEnd::Deleted(outcome.kept.clone());
        if !deletions::end_entry(&mut transaction, &self.order.id, entry.number, &end, now).await? {
            return Ok(());
        }
        if let Some(package) = &known {
            self.audit(&mut transaction, package, outcome, now);
        }
        match (&outcome.left, known) {
            (Some(described), _) => {
                index::put_as(&mut transaction, described.clone(), self.event(EventKind::ContentDeleted, now)).await?;
            }
            (None, Some(known)) => self.record_package(&mut transaction, known, now).await?,
            (None, None) => {}
        }
        let Order { contract_id, .. } = self.order;
        for version in &outcome.emptied {
            deposits::discount_deleted(&mut transaction, contract_id, &entry.object_id, Some(*version)).await?;
        }
        ingests::end(&mut transaction, &entry.ocfl_id, &installation.holder).await?;
        transaction.commit().await?;
        let files = entry.file_count - outcome.kept.len() as u64;
        info!(order_id = %self.order.id, package_id = %entry.package_id, files, "content was deleted");
        Ok(())
    }

    /// An entry for each version: about all of it where nothing of it is left, otherwise about the files that are listed.
    fn audit(&self, transaction: &mut Transaction, package: &Package, outcome: &Outcome, now: Timestamp) {
        let is_kept = |file: &&DeletionFile| {
            !outcome.kept.iter().any(|(version, path, _)| (*version, path) == (file.version, &file.path))
        };
        let mut versions: BTreeMap<u32, Vec<&DeletionFile>> = BTreeMap::new();
        for file in self.files.iter().filter(is_kept) {
            versions.entry(file.version).or_default().push(file);
        }
        for (version, files) in versions {
            let whole = outcome.emptied.contains(&version);
            let listed = |file: &&DeletionFile| AuditFile {
                path: file.path.clone(),
                size_bytes: Some(file.size_bytes),
                algorithm: Some(file.algorithm.to_string()),
                digest: file.digest(file.algorithm).map(ToString::to_string),
                success: true,
                detail: String::new(),
            };
            let entry = AuditEntry {
                agent: self.asked_by(),
                version: Some(version),
                label: files.first().map(|file| file.label.clone()).filter(|label| !label.is_empty()),
                size_bytes: Some(files.iter().map(|file| file.size_bytes).sum()),
                file_count: Some(files.len() as u64),
                detail: self.told(),
                whole,
                files: if whole { Vec::new() } else { files.iter().map(listed).collect() },
                ..AuditEntry::of(AuditKind::Deletion, package, now)
            };
            audit::record(transaction, entry);
        }
    }

    /// Who asked for it, as events name it.
    fn asked_by(&self) -> String {
        let (by_operator, name) = (self.order.dialect == OPERATOR, &self.order.client_id);
        if by_operator { format!("operator {name}") } else { format!("client {name}") }
    }

    async fn record_package(
        &self,
        transaction: &mut Transaction,
        known: Package,
        now: Timestamp,
    ) -> Result<(), DatabaseError> {
        let reason = Some(sentence!("deleted by order {}", self.order.id));
        let state = PackageState::Deleted;
        let package = Package { state, reason, size_bytes: 0, file_count: 0, updated: now, verified: None, ..known };
        packages::put(transaction, &package, &[]).await?;
        events::insert(transaction, &self.event(EventKind::PackageDeleted, now)).await
    }

    fn event(&self, kind: EventKind, now: Timestamp) -> Event {
        let mut event = Event::new(kind, now);
        (event.order_id, event.package_id) = (Some(self.order.id.clone()), Some(self.entry.package_id.clone()));
        event.detail = self.told();
        event
    }

    /// What is done, and why.
    fn told(&self) -> String {
        let (id, client_id) = (&self.order.id, &self.order.client_id);
        match (&self.deletion.approved_by, &self.deletion.reason) {
            (None, None) => sentence!("deletion {id} of {client_id}"),
            (None, Some(reason)) => sentence!("deletion {id} of {client_id}: {reason}"),
            (Some(by), None) => sentence!("deletion {id} of {client_id}, approved by {by}"),
            (Some(by), Some(reason)) => sentence!("deletion {id} of {client_id}, approved by {by}: {reason}"),
        }
    }

    /// Nothing was changed, and trying again would not help. The other packages are not held up by it.
    async fn give_up(&self, error: &ocfl::Error) -> Result<(), Failed> {
        let now = self.installation.clock.now();
        let mut transaction = self.fenced().await?;
        let end = EntryEnd::Failed(format!("the stored package cannot be changed: {error}"));
        deletions::end_entry(&mut transaction, &self.order.id, self.entry.number, &end, now).await?;
        let mut event = self.event(EventKind::ContentDeleted, now);
        (event.success, event.detail) = (false, error.to_string());
        events::insert(&mut transaction, &event).await?;
        ingests::end(&mut transaction, &self.entry.ocfl_id, &self.installation.holder).await?;
        Ok(transaction.commit().await?)
    }

    /// A transaction that comes about only if this worker still has the step.
    async fn fenced(&self) -> Result<Transaction, Failed> {
        let mut transaction = self.installation.database.begin().await?;
        orders::get_locked(&mut transaction, &self.order.id).await?.ok_or(StepError::Lost)?;
        if !steps::holds(&mut transaction, self.lease).await? {
            return Err(StepError::Lost.into());
        }
        Ok(transaction)
    }
}

/// Whether the storage, or somebody else who changes the object, may let it be done another time.
fn is_passing(error: &ocfl::Error) -> bool {
    matches!(error, ocfl::Error::Io { .. } | ocfl::Error::Locked { .. } | ocfl::Error::Unrecovered { .. })
}

/// The part that blocks.
fn purge(
    installation: &Installation,
    order: &Order,
    entry: &Entry,
    files: &[DeletionFile],
) -> Result<Outcome, ocfl::Error> {
    let archive = &installation.archive;
    archive.settle(&entry.ocfl_id)?;
    let mut kept = Vec::new();
    match archive.object(&entry.ocfl_id) {
        Ok(object) => {
            let mut purge = Purge::default();
            purge.set_note(&register::deleted_note(&order.id));
            // Versions that are not there any more went with everything that they held.
            let is_there = |file: &&DeletionFile| object.inventory().version(file.version).is_some();
            for file in files.iter().filter(is_there) {
                match is_another(&object, order, file) {
                    true => kept.push((file.version, file.path.clone(), ANEW.to_owned())),
                    false => purge.add_file(file.version, &file.path),
                }
            }
            purge_recovered(archive, &entry.ocfl_id, &purge)?;
        }
        // It may be half removed, by a machine that died over it.
        Err(ocfl::Error::NoSuchObject { .. }) => archive.tidy(&entry.ocfl_id)?,
        Err(error) => return Err(error),
    }
    let versions: BTreeSet<u32> = files.iter().map(|file| file.version).collect();
    match archive.object(&entry.ocfl_id) {
        Ok(object) => {
            let is_empty = |version: &u32| object.inventory().files(*version).len() == 0;
            let emptied = versions.into_iter().filter(is_empty).collect();
            let (node, now) = (&installation.settings.node, installation.clock.now());
            let left = register::describe(&object, Some(&order.contract_id), node, now)?;
            Ok(Outcome { left, kept, emptied })
        }
        Err(ocfl::Error::NoSuchObject { .. }) => {
            Ok(Outcome { left: None, kept, emptied: versions.into_iter().collect() })
        }
        Err(error) => Err(error),
    }
}

/// Purges, after what an earlier crash left of a change of the object was finished.
fn purge_recovered(archive: &ocfl::StorageRoot, id: &str, purge: &Purge) -> Result<(), ocfl::Error> {
    let purged = match archive.purge(id, purge) {
        Err(ocfl::Error::Unrecovered { .. }) => {
            archive.recover(None)?;
            archive.purge(id, purge)
        }
        purged => purged,
    };
    match purged {
        // The recovery has finished its removal.
        Err(ocfl::Error::NoSuchObject { .. }) => Ok(()),
        purged => purged.map(|_| ()),
    }
}

/// Why a file is left alone although it is named.
const ANEW: &str = "it was stored anew after the deletion was asked for";

/// Whether what is stored where the file was is another one, which came after the deletion was asked for. A file that is
/// gone is not: an earlier attempt may have been cut off, and is finished by the same purge again.
pub(crate) fn is_another(object: &Object, order: &Order, file: &DeletionFile) -> bool {
    let inventory = object.inventory();
    let created = inventory.version(file.version).and_then(|version| version.created_at());
    if created.is_some_and(|created| Timestamp::from(created) > order.created) {
        return true;
    }
    let stored = inventory.file(file.version, &file.path);
    stored.is_some_and(|stored| file.digest(file.algorithm) != Some(stored.digest))
}

/// The order has come to its end, good if every package was deleted.
async fn finish(installation: &Installation, lease: &Lease) -> Result<(), Failed> {
    let entries = deletions::entries(&installation.database, &lease.order_id).await?;
    let failed = entries.iter().filter(|entry| entry.state != Removal::Deleted).count();
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let mut order = orders::get_locked(&mut transaction, &lease.order_id).await?.ok_or(StepError::Lost)?;
    let (signal, failure, end) = match failed {
        0 => (Signal::Deleted, None, StepEnd::Done),
        count => {
            let message = sentence!("{count} of {} filegroups were not deleted, or not wholly.", entries.len());
            let end = StepEnd::Dead(message.clone());
            (Signal::Failed, Some(Failure { code: FailureCode::NotPreserved, message }), end)
        }
    };
    if !steps::end(&mut transaction, lease, end, now).await? {
        return if order.state.is_finished() { Ok(()) } else { Err(StepError::Lost.into()) };
    }
    progress::advance(&mut transaction, &mut order, signal, failure, now, &installation.settings).await?;
    transaction.commit().await?;
    crate::trace::order_ended(&order);
    Ok(())
}
