//! What is asked for, as files that are stored.

use std::collections::HashSet;
use std::sync::Arc;

use dipper_archive::digest::{Algorithm, Digest};
use dipper_archive::ocfl::{self, Inventory, VersionFile};
use tracing::info;

use super::{Agent, DeletionCommand, DeletionEntry, DeletionError, Fault, FaultKind, check_reason};
use crate::db::deletions::{self, Deletion, DeletionFile, Entry, Policy, Removal, Scope};
use crate::db::holds::{self, LegalHold};
use crate::db::orders::{Channel, Order, OrderKind, View};
use crate::db::packages::{self, Package, PackageState};
use crate::db::{Transaction, contracts};
use crate::ids;
use crate::installation::Installation;
use crate::order::OrderState;
use crate::progress::{self, Begin, ProgressError};
use crate::selection::{self, ChosenFiles, ChosenVersion, FaultReason, Held, SelectedFile, Selection, Unnamed};
use crate::settings::Settings;

/// Takes an order for a deletion, if nothing is wrong with any part of it.
pub async fn request(
    installation: &Arc<Installation>,
    agent: &Agent,
    command: DeletionCommand,
) -> Result<Order, DeletionError> {
    if command.entries.is_empty() {
        return Err(DeletionError::Empty);
    }
    command.reason.as_deref().map_or(Ok(()), check_reason)?;
    let found = find(installation, &command).await?;
    let (context, checksum) = (Arc::clone(installation), command.checksum);
    let resolving = tokio::task::spawn_blocking(move || resolve_all(&context, found, checksum)).await;
    let (entries, mut faults) = resolving.map_err(|error| DeletionError::Interrupted(error.to_string()))?;
    let (mut order, deletion) = put_together(installation, agent, &command, &entries);
    let mut transaction = installation.database.begin().await?;
    if !contracts::lock(&mut transaction, &command.contract_id).await? {
        return Err(DeletionError::ContractUnknown(command.contract_id));
    }
    let names: Vec<&str> = command.entries.iter().map(|entry| entry.filegroup.as_str()).collect();
    faults.extend(conflicts(&mut transaction, &command.contract_id, &names).await?);
    if !faults.is_empty() {
        faults.sort_by(|one, other| (&one.filegroup, &one.file).cmp(&(&other.filegroup, &other.file)));
        return Err(DeletionError::Faults(faults));
    }
    let context = (agent, &installation.settings);
    receive(&mut transaction, context, &mut order, &deletion, &entries, command.request.as_deref()).await?;
    transaction.commit().await?;
    info!(order_id = %order.id, agent = %agent.told(), files = deletion.file_count, "deletion received");
    installation.wake_workers();
    Ok(order)
}

/// Writes the order and the deletion. When it begins, the policy says.
pub(super) async fn receive(
    transaction: &mut Transaction,
    (agent, settings): (&Agent, &Settings),
    order: &mut Order,
    deletion: &Deletion,
    entries: &[(Entry, Vec<DeletionFile>)],
    request: Option<&[u8]>,
) -> Result<(), DeletionError> {
    let begin = match (deletion.policy, deletion.due) {
        (Policy::Approval, _) => Begin::Decided,
        (_, Some(due)) => Begin::At(due),
        (_, None) => Begin::Now,
    };
    match progress::receive_as(transaction, order, &agent.told(), begin, settings).await {
        Ok(()) => {}
        Err(ProgressError::Database(error)) => return Err(error.into()),
        Err(error) => return Err(DeletionError::Interrupted(error.to_string())),
    }
    Ok(deletions::insert(transaction, deletion, entries, request).await?)
}

fn put_together(
    installation: &Installation,
    agent: &Agent,
    command: &DeletionCommand,
    entries: &[(Entry, Vec<DeletionFile>)],
) -> (Order, Deletion) {
    let now = installation.clock.now();
    let settings = installation.settings.deletion;
    let size_bytes = entries.iter().flat_map(|(_, files)| files).map(|file| file.size_bytes).sum();
    // Of several packages none is that of the order.
    let only = match entries {
        [(entry, _)] => Some(entry),
        _ => None,
    };
    let order = Order {
        id: ids::new_id(),
        kind: OrderKind::Deletion,
        dialect: command.dialect.to_owned(),
        contract_id: command.contract_id.clone(),
        client_id: agent.name.clone(),
        client_stored: agent.stored,
        package_id: only.map(|entry| entry.package_id.clone()).unwrap_or_default(),
        object_id: only.map(|entry| entry.object_id.clone()).unwrap_or_default(),
        version: 0,
        view: View::Version,
        channel: Channel::Link,
        area_name: None,
        named_version: None,
        excerpt: None,
        size_bytes,
        state: OrderState::Received,
        priority: 0,
        rank: 0,
        created: now,
        updated: now,
        delivered: None,
        failure: None,
    };
    let deletion = Deletion {
        order_id: order.id.clone(),
        contract_id: command.contract_id.clone(),
        checksum_type: command.checksum,
        policy: settings.policy,
        due: settings.due(now),
        reason: command.reason.clone(),
        file_count: entries.iter().map(|(entry, _)| entry.file_count).sum(),
        size_bytes,
        approved_by: None,
        approved: None,
    };
    (order, deletion)
}

/// What is found of a part: its package, or why it is at fault.
type Found = (DeletionEntry, Result<Package, FaultKind>);

async fn find(installation: &Installation, command: &DeletionCommand) -> Result<Vec<Found>, DeletionError> {
    let mut seen = HashSet::new();
    let mut found = Vec::with_capacity(command.entries.len());
    for entry in &command.entries {
        let package = packages::find(&installation.database, &command.contract_id, &entry.filegroup).await?;
        let package = package.filter(|package| package.state != PackageState::Deleted);
        let package = match package {
            _ if !seen.insert(entry.filegroup.as_str()) => Err(FaultKind::Twice),
            Some(package) => Ok(package),
            None => Err(FaultKind::FilegroupUnknown),
        };
        found.push((entry.clone(), package));
    }
    Ok(found)
}

/// Legal holds, and deposits that are under way. The caller holds the lock on the contract.
pub(super) async fn conflicts(
    transaction: &mut Transaction,
    contract_id: &str,
    object_ids: &[&str],
) -> Result<Vec<Fault>, DeletionError> {
    let holds = holds::in_force(transaction, contract_id).await?;
    let mut faults = Vec::new();
    for object_id in object_ids {
        let fault = |kind| Fault { filegroup: (*object_id).to_owned(), file: None, kind };
        faults.extend(covering(&holds, object_id).map(|hold| fault(FaultKind::Held(hold.reason.clone()))));
        let package_id = ids::package_id(&ids::ocfl_id(contract_id, object_id));
        if let Some(order_id) = deletions::deposits_under_way(transaction, &package_id).await? {
            faults.push(fault(FaultKind::Busy(order_id)));
        }
    }
    Ok(faults)
}

/// The holds that cover a package.
pub(crate) fn covering<'a>(holds: &'a [LegalHold], object_id: &'a str) -> impl Iterator<Item = &'a LegalHold> {
    holds.iter().filter(move |hold| hold.object_id.as_deref().is_none_or(|held| held == object_id))
}

/// The part that blocks: the entries that are in order, and what is wrong with the others.
fn resolve_all(
    installation: &Installation,
    found: Vec<Found>,
    checksum: Algorithm,
) -> (Vec<(Entry, Vec<DeletionFile>)>, Vec<Fault>) {
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    for (number, (wanted, package)) in (1..).zip(found) {
        let resolved = package.map_err(|kind| vec![(None, kind)]).and_then(|package| {
            let files = resolve(installation, &package, &wanted, checksum)?;
            Ok((package, files))
        });
        match resolved {
            Ok((package, files)) => {
                let named = wanted.version.as_deref().is_some_and(|label| !label.is_empty());
                let scope = match (&wanted.files, wanted.version.is_some()) {
                    (Some(_), _) => Scope::Files,
                    (None, true) => Scope::Version,
                    (None, false) => Scope::Package,
                };
                let entry = Entry {
                    number,
                    package_id: package.id,
                    object_id: package.object_id,
                    ocfl_id: package.ocfl_id,
                    label: wanted.version.filter(|_| named),
                    scope,
                    file_count: files.len() as u64,
                    state: Removal::Pending,
                    reason: None,
                    ended: None,
                };
                entries.push((entry, files));
            }
            Err(found) => {
                let fault = |(file, kind)| Fault { filegroup: wanted.filegroup.clone(), file, kind };
                faults.extend(found.into_iter().map(fault));
            }
        }
    }
    (entries, faults)
}

/// The kinds of checksums that a tombstone keeps.
const CHECKSUMS: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512];

type Faulty = Vec<(Option<String>, FaultKind)>;

fn resolve(
    installation: &Installation,
    package: &Package,
    wanted: &DeletionEntry,
    checksum: Algorithm,
) -> Result<Vec<DeletionFile>, Faulty> {
    let unreadable = |error: ocfl::Error| vec![(None, FaultKind::Unreadable(error.to_string()))];
    let object = installation.archive.object(&package.ocfl_id).map_err(unreadable)?;
    let held = Held::new(&object);
    let chosen = choose(wanted, &held, checksum)?;
    let lengths = object.lengths().map_err(unreadable)?;
    let mut files = Vec::new();
    for version in &chosen {
        for file in files_of(held.inventory(), version) {
            let size_bytes = match lengths.of(file.content_path) {
                Ok(len) => len,
                // Content that is missing can be deleted as well.
                Err(ocfl::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => 0,
                Err(error) => return Err(unreadable(error)),
            };
            let digest = |algorithm| Some((algorithm, selection::checksum_of(held.inventory(), &file, algorithm)?));
            files.push(DeletionFile {
                version: version.number,
                label: version.label.clone(),
                path: file.logical_path.to_owned(),
                size_bytes,
                algorithm: file.algorithm,
                digests: CHECKSUMS.into_iter().filter_map(digest).collect(),
                state: Removal::Pending,
                reason: None,
            });
        }
    }
    Ok(files)
}

/// The versions that are meant and which files of them, by the rules of [`selection`]; or everything that is wrong.
fn choose(wanted: &DeletionEntry, held: &Held, checksum: Algorithm) -> Result<Vec<ChosenVersion>, Faulty> {
    let (object_id, version) = (wanted.filegroup.clone(), wanted.version.clone());
    let mut selection = Selection { object_id, version, files: None };
    let mut faults = Vec::new();
    if let Some(files) = &wanted.files {
        let mut selected = Vec::with_capacity(files.len());
        for (path, given) in files {
            match given.as_deref().filter(|given| !given.is_empty()).map(|given| Digest::parse(checksum, given)) {
                Some(Err(_)) => faults.push((Some(path.clone()), FaultKind::ChecksumMalformed(checksum))),
                Some(Ok(digest)) => {
                    selected.push(SelectedFile { path: path.clone(), checksums: vec![(checksum, digest)] });
                }
                None => selected.push(SelectedFile { path: path.clone(), checksums: Vec::new() }),
            }
        }
        if selected.is_empty() && !faults.is_empty() {
            return Err(faults);
        }
        selection.files = Some(selected);
    }
    match selection::resolve(&selection, held, Unnamed::Every) {
        Ok(chosen) if faults.is_empty() => Ok(chosen),
        Ok(_) => Err(faults),
        Err(found) => {
            faults.extend(found.into_iter().map(|fault| (fault.path, kind_of(fault.reason))));
            Err(faults)
        }
    }
}

fn kind_of(reason: FaultReason) -> FaultKind {
    match reason {
        FaultReason::NoVersion(label) => FaultKind::VersionUnknown(label),
        FaultReason::NoPackage | FaultReason::NoFileNamed => FaultKind::Nothing,
        FaultReason::Twice => FaultKind::Twice,
        FaultReason::NoFile => FaultKind::FileUnknown,
        FaultReason::Checksum(_) => FaultKind::ChecksumDiffers,
        FaultReason::NotOnRecord(algorithm) => FaultKind::ChecksumUnknown(algorithm),
        FaultReason::Unfit(reason) => FaultKind::Unreadable(reason),
    }
}

fn files_of<'a>(inventory: &'a Inventory, version: &ChosenVersion) -> Vec<VersionFile<'a>> {
    match &version.files {
        ChosenFiles::All => inventory.files(version.number).collect(),
        ChosenFiles::These(paths) => paths.iter().filter_map(|path| inventory.file(version.number, path)).collect(),
    }
}
