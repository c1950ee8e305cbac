//! What is asked for, as files that are stored.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::Arc;

use dipper_archive::digest::{Algorithm, Digest};
use dipper_archive::ocfl::{self, Inventory, Object, VersionFile};
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
use crate::register;

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
    faults.extend(conflicts(&mut transaction, &command).await?);
    if !faults.is_empty() {
        faults.sort_by(|one, other| (&one.filegroup, &one.file).cmp(&(&other.filegroup, &other.file)));
        return Err(DeletionError::Faults(faults));
    }
    let begin = match (deletion.policy, deletion.due) {
        (Policy::Approval, _) => Begin::Decided,
        (_, Some(due)) => Begin::At(due),
        (_, None) => Begin::Now,
    };
    let settings = &installation.settings;
    match progress::receive_as(&mut transaction, &mut order, &agent.told(), begin, settings).await {
        Ok(()) => {}
        Err(ProgressError::Database(error)) => return Err(error.into()),
        Err(error) => return Err(DeletionError::Interrupted(error.to_string())),
    }
    deletions::insert(&mut transaction, &deletion, &entries).await?;
    transaction.commit().await?;
    info!(order_id = %order.id, agent = %agent.told(), files = deletion.file_count, "deletion received");
    installation.wake_workers();
    Ok(order)
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
        due: (settings.policy == Policy::Grace).then(|| now.plus(settings.grace)),
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
async fn conflicts(transaction: &mut Transaction, command: &DeletionCommand) -> Result<Vec<Fault>, DeletionError> {
    let holds = holds::in_force(transaction, &command.contract_id).await?;
    let mut faults = Vec::new();
    for entry in &command.entries {
        let fault = |kind| Fault { filegroup: entry.filegroup.clone(), file: None, kind };
        faults.extend(covering(&holds, &entry.filegroup).map(|hold| fault(FaultKind::Held(hold.reason.clone()))));
        let package_id = ids::package_id(&ids::ocfl_id(&command.contract_id, &entry.filegroup));
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

type Faulty = Vec<(Option<String>, FaultKind)>;

fn resolve(
    installation: &Installation,
    package: &Package,
    wanted: &DeletionEntry,
    checksum: Algorithm,
) -> Result<Vec<DeletionFile>, Faulty> {
    let unreadable = |error: ocfl::Error| vec![(None, FaultKind::Unreadable(error.to_string()))];
    let object = installation.archive.object(&package.ocfl_id).map_err(unreadable)?;
    let stored = Stored::new(&object, checksum);
    let chosen = match (&wanted.version, &wanted.files) {
        (None, None) => stored.versions.keys().flat_map(|number| stored.all_of(*number)).collect(),
        (Some(label), None) => stored.all_of(stored.labelled(label).map_err(|kind| vec![(None, kind)])?),
        (label, Some(files)) => stored.choose(label.as_deref().unwrap_or_default(), files)?,
    };
    if chosen.is_empty() {
        return Err(vec![(None, FaultKind::Nothing)]);
    }
    let lengths = object.lengths().map_err(unreadable)?;
    let mut files = Vec::with_capacity(chosen.len());
    for (version, file) in chosen {
        let size_bytes = match lengths.of(file.content_path) {
            Ok(len) => len,
            // Content that is missing can be deleted as well.
            Err(ocfl::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(unreadable(error)),
        };
        files.push(DeletionFile {
            version,
            label: stored.versions.get(&version).cloned().unwrap_or_default(),
            path: file.logical_path.to_owned(),
            size_bytes,
            algorithm: file.algorithm,
            digests: stored.digests(&file),
            state: Removal::Pending,
            reason: None,
        });
    }
    Ok(files)
}

/// The versions of an object that have files, with their labels.
struct Stored<'a> {
    inventory: &'a Inventory,
    versions: BTreeMap<u32, String>,
    checksum: Algorithm,
}

type Chosen<'a> = (u32, VersionFile<'a>);

impl<'a> Stored<'a> {
    fn new(object: &'a Object, checksum: Algorithm) -> Stored<'a> {
        let inventory = object.inventory();
        let with_files = inventory.versions().iter().filter(|version| !version.is_empty());
        let label = |version: &ocfl::Version| register::label_of(object, version).unwrap_or_default();
        let versions = with_files.map(|version| (version.number().number(), label(version))).collect();
        Stored { inventory, versions, checksum }
    }

    fn all_of(&self, version: u32) -> Vec<Chosen<'a>> {
        self.inventory.files(version).map(|file| (version, file)).collect()
    }

    /// The newest version of that label; of none, the newest.
    fn labelled(&self, label: &str) -> Result<u32, FaultKind> {
        let mut newest = self.versions.iter().rev().filter(|(_, known)| label.is_empty() || known.as_str() == label);
        newest.next().map(|(number, _)| *number).ok_or_else(|| FaultKind::VersionUnknown(label.to_owned()))
    }

    fn choose(&self, label: &str, files: &[(String, Option<String>)]) -> Result<Vec<Chosen<'a>>, Faulty> {
        let version = self.labelled(label).map_err(|kind| vec![(None, kind)])?;
        let (mut chosen, mut faults, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for (path, given) in files {
            let one = match given.as_deref().filter(|given| !given.is_empty()) {
                _ if !seen.insert(path.as_str()) => Err(FaultKind::Twice),
                None => self.inventory.file(version, path).map(|file| (version, file)).ok_or(FaultKind::FileUnknown),
                Some(given) => self.guarded(label, version, path, given),
            };
            match one {
                Ok(one) => chosen.push(one),
                Err(kind) => faults.push((Some(path.clone()), kind)),
            }
        }
        if faults.is_empty() { Ok(chosen) } else { Err(faults) }
    }

    /// The file that has a checksum: in the version that is named, otherwise in the newest that has it so.
    fn guarded(&self, label: &str, version: u32, path: &str, given: &str) -> Result<Chosen<'a>, FaultKind> {
        let wanted = Digest::parse(self.checksum, given).map_err(|_| FaultKind::ChecksumMalformed(self.checksum))?;
        let versions: Vec<u32> = match label {
            "" => self.versions.keys().rev().copied().collect(),
            _ => vec![version],
        };
        let mut fault = FaultKind::FileUnknown;
        for version in versions {
            let Some(file) = self.inventory.file(version, path) else { continue };
            match self.inventory.digest_of(&file, self.checksum) {
                Some(found) if found == wanted => return Ok((version, file)),
                Some(_) => fault = FaultKind::ChecksumDiffers,
                None if fault == FaultKind::FileUnknown => fault = FaultKind::ChecksumUnknown(self.checksum),
                None => {}
            }
        }
        Err(fault)
    }

    fn digests(&self, file: &VersionFile<'_>) -> Vec<(Algorithm, Digest)> {
        let known = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512];
        known
            .into_iter()
            .filter_map(|algorithm| Some((algorithm, self.inventory.digest_of(file, algorithm)?)))
            .collect()
    }
}
