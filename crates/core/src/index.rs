//! Rebuilding the catalogue from the storage root, and adopting a root that other OCFL software made.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use dipper_archive::digest::{Algorithm, Digest};
use dipper_archive::ocfl::{self, Objects};
use tokio::sync::mpsc;

use crate::audit::{self, AuditEntry, AuditKind};
use crate::db::events::{Event, EventKind};
use crate::db::identifiers::Names;
use crate::db::packages::{Package, PackageState, Version};
use crate::db::{DatabaseError, Transaction, contracts, events, identifiers, packages};
use crate::identifier;
use crate::installation::Installation;
use crate::register::{self, Described};
use crate::sentence::sentence;
use crate::time::Timestamp;

/// How many packages are written to the catalogue at a time.
const BATCH: usize = 200;
/// What an indexing found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexReport {
    /// Objects in the storage root.
    pub objects: u64,
    /// Packages that the catalogue did not know.
    pub added: u64,
    /// Packages of which the catalogue knew something else.
    pub changed: u64,
    /// Packages that the catalogue knows and the root does not hold.
    pub missing: u64,
    /// Objects of other software that were left out because no contract was named for them.
    pub foreign: u64,
    /// Objects that cannot be read, with the reason.
    pub unreadable: Vec<(String, String)>,
    /// Objects whose inventory is in an archive class: what they hold is not known before it is recalled.
    pub archived: Vec<String>,
}

/// Why indexing stopped.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The storage root cannot be walked.
    #[error("the storage root cannot be read: {0}")]
    Archive(#[from] ocfl::Error),
    /// The catalogue cannot be written.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The contract is not in the catalogue.
    #[error("there is no contract {0}: add it first")]
    ContractUnknown(String),
}

/// What the walk found in one object root.
enum Found {
    Package(Box<Described>),
    Foreign,
    Unreadable(String, String),
    Archived(String),
}

impl Found {
    fn contract_id(&self) -> Option<&str> {
        match self {
            Found::Package(described) => Some(&described.package.contract_id),
            Found::Foreign | Found::Unreadable(..) | Found::Archived(_) => None,
        }
    }

    /// Where it is, of what has a record in the catalogue.
    fn location(&self) -> &str {
        match self {
            Found::Package(described) => &described.package.location,
            Found::Unreadable(path, _) | Found::Archived(path) => path,
            Found::Foreign => "",
        }
    }
}

/// Walks the storage root and writes what it finds to the catalogue. Objects of other software are given to
/// `foreign_contract`. Contracts that only the root knows are added. `progress` is told how many objects were seen.
pub async fn index(
    installation: &Arc<Installation>,
    foreign_contract: Option<&str>,
    mut progress: impl FnMut(u64),
) -> Result<IndexReport, IndexError> {
    if let Some(contract_id) = foreign_contract
        && !contracts::exists(&installation.database, contract_id).await?
    {
        return Err(IndexError::ContractUnknown(contract_id.to_owned()));
    }
    let (sender, mut found) = mpsc::channel(BATCH);
    let (context, contract_id) = (Arc::clone(installation), foreign_contract.map(str::to_owned));
    let walking = tokio::task::spawn_blocking(move || walk(&context, contract_id.as_deref(), &sender));
    let mut report = IndexReport::default();
    let mut seen = HashSet::new();
    let mut batch = Vec::with_capacity(BATCH);
    while found.recv_many(&mut batch, BATCH).await > 0 {
        report.objects += batch.len() as u64;
        store(installation, &mut batch, &mut seen, &mut report).await?;
        progress(report.objects);
    }
    // A panic of the walk has been reported by the runtime; what it did not see must not count as missing.
    walking.await.map_err(|error| ocfl::Error::Io { path: String::new(), source: std::io::Error::other(error) })??;
    let unreadable = report.unreadable.iter().map(|(path, _)| path);
    let unreadable: HashSet<&str> = unreadable.chain(&report.archived).map(String::as_str).collect();
    report.missing = mark_missing(installation, &seen, &unreadable).await?;
    Ok(report)
}

fn walk(
    installation: &Installation,
    foreign_contract: Option<&str>,
    sender: &mpsc::Sender<Found>,
) -> Result<(), ocfl::Error> {
    // Where each object waits for a network, several are read at a time.
    let threads = installation.archive.storage().reads_at_once().map_or(1, usize::from);
    let objects = Mutex::new(installation.archive.objects());
    std::thread::scope(|scope| {
        let work = || describe_all(installation, foreign_contract, &objects, sender);
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let failed = |_| Err(ocfl::Error::Io { path: String::new(), source: std::io::Error::other("a thread failed") });
        let mut walked = work();
        for other in others {
            walked = walked.and(other.join().unwrap_or_else(failed));
        }
        walked
    })
}

/// Takes objects from the walk until there are none left, or nobody wants to know any more.
fn describe_all(
    installation: &Installation,
    foreign_contract: Option<&str>,
    objects: &Mutex<Objects>,
    sender: &mpsc::Sender<Found>,
) -> Result<(), ocfl::Error> {
    let now = installation.clock.now();
    let node = &installation.settings.node;
    let next = || objects.lock().unwrap_or_else(PoisonError::into_inner).next();
    while let Some(path) = next() {
        let path = path?;
        let object = installation.archive.object_at(&path);
        let described = object.and_then(|object| register::describe(&object, foreign_contract, node, now));
        let found = match described {
            Ok(Some(described)) => Found::Package(Box::new(described)),
            Ok(None) => Found::Foreign,
            Err(error) if error.is_archived() => Found::Archived(path),
            Err(error) => Found::Unreadable(path, error.to_string()),
        };
        if sender.blocking_send(found).is_err() {
            break;
        }
    }
    Ok(())
}

async fn store(
    installation: &Installation,
    batch: &mut Vec<Found>,
    seen: &mut HashSet<String>,
    report: &mut IndexReport,
) -> Result<(), DatabaseError> {
    let now = installation.clock.now();
    raise_serials(installation, batch).await?;
    let mut transaction = installation.database.begin().await?;
    // In the order in which the catalogue's rows are locked.
    let contract_ids: BTreeSet<String> = batch.iter().filter_map(Found::contract_id).map(str::to_owned).collect();
    for contract_id in contract_ids {
        contracts::add(&mut transaction, &contract_id, now).await?;
    }
    batch.sort_by(|one, other| one.location().cmp(other.location()));
    for found in batch.drain(..) {
        match found {
            Found::Package(described) => {
                seen.insert(described.package.id.clone());
                match put(&mut transaction, *described, EventKind::PackageIndexed, now).await? {
                    Put::Added => report.added += 1,
                    Put::Changed => report.changed += 1,
                    Put::Same => {}
                }
            }
            Found::Foreign => report.foreign += 1,
            Found::Archived(path) => report.archived.push(path),
            Found::Unreadable(path, reason) => {
                let known = packages::at_location_locked(&mut transaction, &path).await?;
                if let Some(package) = known {
                    crate::fixity::damage(&mut transaction, &package.id, &reason, now).await?;
                }
                report.unreadable.push((path, reason));
            }
        }
    }
    transaction.commit().await
}

/// Has the counting of serial numbers go on after those that the batch brings.
async fn raise_serials(installation: &Installation, batch: &[Found]) -> Result<(), DatabaseError> {
    let mut greatest: BTreeMap<&str, u64> = BTreeMap::new();
    for found in batch {
        if let Found::Package(described) = found
            && described.is_named
            && let Some(parts) = identifier::parse(&described.package.identifier)
            && !identifier::is_derived(parts.serial)
        {
            let serial = greatest.entry(parts.series).or_default();
            *serial = parts.serial.max(*serial);
        }
    }
    for (series, serial) in greatest {
        identifiers::serial_raise(&installation.database, identifier::Parts { series, serial }).await?;
    }
    Ok(())
}

/// What writing a record changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Added,
    Changed,
    Same,
}

/// Writes the record of a package, with an event when it says something new. What the catalogue alone knows stays:
/// whether the package is damaged, and when it was verified.
pub(crate) async fn put(
    transaction: &mut Transaction,
    described: Described,
    event_kind: EventKind,
    now: Timestamp,
) -> Result<Put, DatabaseError> {
    put_as(transaction, described, Event::new(event_kind, now)).await
}

/// As [`put`], with an event that says already who did it, and with what.
pub(crate) async fn put_as(
    transaction: &mut Transaction,
    described: Described,
    mut event: Event,
) -> Result<Put, DatabaseError> {
    let Described { mut package, versions, is_named, digest } = described;
    let mut known = packages::get_locked(transaction, &package.id).await?;
    if known.is_none() {
        contracts::add(transaction, &package.contract_id, event.at).await?;
        if !packages::insert(transaction, &package).await? {
            known = packages::get_locked(transaction, &package.id).await?;
        }
    }
    let names = Names { identifier: package.identifier, urn: package.urn };
    let names = identifiers::settle(transaction, &package.ocfl_id, &names, is_named).await?;
    (package.identifier, package.urn) = (names.identifier, names.urn);
    if let Some(known) = &known {
        // It was deleted after its object was looked at.
        if known.state == PackageState::Deleted && known.updated > package.updated {
            return Ok(Put::Same);
        }
        package.verified = known.verified;
        if known.state == PackageState::Damaged {
            package.state = known.state;
            package.reason.clone_from(&known.reason);
        }
        // An object that changed its contract by hand stays where the catalogue has it.
        package.contract_id.clone_from(&known.contract_id);
        package.object_id.clone_from(&known.object_id);
        // Of an older version files may have been deleted, of which the package itself tells nothing.
        let is_same = (Package { updated: known.updated, ..package.clone() }) == *known;
        if is_same && packages::versions_within(transaction, &package.id).await? == versions {
            return Ok(Put::Same);
        }
    }
    packages::put(transaction, &package, &versions).await?;
    event.package_id = Some(package.id.clone());
    // What is stored under the name of a package that was deleted begins anew.
    let alive = known.as_ref().filter(|known| known.state != PackageState::Deleted);
    let known_head = alive.map_or(0, |known| known.head);
    for version in versions.iter().filter(|version| version.number > known_head) {
        audit::record(transaction, taken_in(&package, version, digest, &event));
    }
    event.detail = match event.detail.as_str() {
        "" => sentence!("version {} at {}", package.head, package.location),
        source => sentence!("version {} at {} from {source}", package.head, package.location),
    };
    events::insert(transaction, &event).await?;
    Ok(if known.is_some() { Put::Changed } else { Put::Added })
}

/// The entry of the audit log for a version that the catalogue did not know.
fn taken_in(package: &Package, version: &Version, digest: (Algorithm, Digest), event: &Event) -> AuditEntry {
    let detail = match event.kind == EventKind::PackageIndexed.name() {
        true => sentence!("found in the storage root, where it was made at {}", version.created),
        false => event.detail.clone(),
    };
    let entry = AuditEntry {
        agent: event.agent.clone(),
        version: Some(version.number),
        label: version.label.clone(),
        size_bytes: Some(version.size_bytes),
        file_count: Some(version.file_count),
        detail,
        ..AuditEntry::of(AuditKind::Ingest, package, event.at)
    };
    // Of older versions the inventory as it was then would have to be read.
    if version.number == package.head { entry.digest(digest.0, digest.1) } else { entry }
}

async fn mark_missing(
    installation: &Installation,
    seen: &HashSet<String>,
    unreadable: &HashSet<&str>,
) -> Result<u64, DatabaseError> {
    let mut missing = 0;
    let mut after = String::new();
    loop {
        let page = packages::list(&installation.database, None, None, &after, 1000).await?;
        let Some(last) = page.last() else {
            return Ok(missing);
        };
        after.clone_from(&last.id);
        let mut gone = page;
        gone.retain(|package| !seen.contains(&package.id) && !unreadable.contains(package.location.as_str()));
        gone.sort_by(|one, other| one.location.cmp(&other.location));
        let mut transaction = installation.database.begin().await?;
        for package in gone {
            let now_known = packages::get_locked(&mut transaction, &package.id).await?;
            // Deleted, or stored anew while the root was walked: then it is not missing.
            let Some(package) = now_known.filter(|known| known.updated == package.updated) else {
                continue;
            };
            if package.state == PackageState::Deleted {
                continue;
            }
            missing += 1;
            if package.state != PackageState::Missing {
                let now = installation.clock.now();
                let reason = sentence!("the storage root holds nothing at {}", package.location);
                packages::state_set(&mut transaction, &package.id, PackageState::Missing, Some(reason.clone()), now)
                    .await?;
                let mut event = Event::new(EventKind::PackageMissing, now);
                (event.success, event.package_id, event.detail) = (false, Some(package.id), reason);
                events::insert(&mut transaction, &event).await?;
            }
        }
        transaction.commit().await?;
    }
}
