//! Restores: files that are made ready to be fetched one by one, as they are stored, for a limited time.

use std::collections::HashSet;

use dipper_archive::ocfl;
use tracing::{Instrument as _, info};

use crate::caller::{Caller, Role};
use crate::db::events::{Event, EventKind};
use crate::db::orders::{Channel, Failure, FailureCode, Order, OrderKind, View};
use crate::db::packages::{Package, PackageState};
use crate::db::restores::{self, Checksums, FileState, Restore, RestoreFile, RestoreFilter, RestoreState, Wanted};
use crate::db::{DatabaseError, events, orders, packages};
use crate::deletion::Agent;
use crate::download::{Download, DownloadError};
use crate::ids;
use crate::installation::Installation;
use crate::intake::Intake;
use crate::meter;
use crate::order::{OrderState, Signal};
use crate::progress::{self, ProgressError};
use crate::selection::{self, ChosenFiles, ChosenVersion, Fault, FaultReason, Held, Selection, Unnamed};
use crate::sentence::sentence;
use crate::time::Timestamp;
use crate::trace;

/// The urgency of a restore, in the middle of what orders have.
const RANK: i64 = 50;

/// What is to be restored.
#[derive(Clone, Debug)]
pub struct OrderRestore {
    /// The files, package by package.
    pub selections: Vec<Selection>,
    /// The request as it came, which can be read again.
    pub request: Vec<u8>,
    /// The language of the contract in which it is asked for.
    pub dialect: &'static str,
}

/// A restore, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreView {
    /// The restore.
    pub restore: Restore,
    /// Where it stands.
    pub state: RestoreState,
}

/// A file of a restore, open for reading.
#[derive(Clone, Debug)]
pub struct RestoredFile {
    /// What is known of it.
    pub file: RestoreFile,
    /// Its bytes, each piece verified before it leaves.
    pub download: Download,
}

/// Why something about a restore is not done.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The caller lacks the role on one contract that everything is asked of.
    #[error(
        "the client acts for no contract, or for several: it needs the {0} role on a contract of its own name, or on one alone"
    )]
    NoAccount(Role),
    /// What is asked for is not there, or is another.
    #[error("what is named is not there, or is another")]
    Faults(Vec<Fault>),
    /// There is no such restore, as far as the caller may know.
    #[error("there is no restore {0}")]
    Unknown(String),
    /// The file is not part of the restore.
    #[error("the file is not part of the restore")]
    NotPart,
    /// The time of the restore is over, or it was given back.
    #[error("the restore has expired: ask for a new one")]
    Expired,
    /// The file was deleted from the archive since.
    #[error("the file was deleted from the archive")]
    Deleted,
    /// The file cannot be handed out, now or at all.
    #[error("{0}")]
    NotReady(String),
    /// A restore cannot be kept for that long, or until a time that has passed.
    #[error("a restore is kept until a time in the future, at the longest until {0}")]
    Expiration(Timestamp),
    /// The archive cannot be read. For the log.
    #[error("the archive cannot be read: {0}")]
    Archive(#[from] ocfl::Error),
    /// A file cannot be opened. For the log.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The database failed. For the log.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Intake {
    /// Orders files to be made ready. Everything that is named must be there; otherwise nothing is begun, and every fault
    /// is told.
    pub async fn restore_order(&self, caller: &Caller, command: OrderRestore) -> Result<RestoreView, RestoreError> {
        let contract_id = caller.account(Role::Read).ok_or(RestoreError::NoAccount(Role::Read))?;
        let files = self.restore_resolve(contract_id, command.selections).await?;
        let now = self.installation.clock.now();
        let first = files.first();
        let single = first.filter(|first| files.iter().all(|file| file.package_id == first.package_id));
        let order = Order {
            id: ids::new_id(),
            kind: OrderKind::Restore,
            dialect: command.dialect.to_owned(),
            contract_id: contract_id.to_owned(),
            client_id: caller.client_id.clone(),
            client_stored: caller.stored,
            package_id: single.map(|file| file.package_id.clone()).unwrap_or_default(),
            object_id: single.map(|file| file.object_id.clone()).unwrap_or_default(),
            version: 0,
            view: View::Version,
            channel: Channel::Link,
            area_name: None,
            named_version: None,
            excerpt: None,
            size_bytes: files.iter().map(|file| file.size_bytes).sum(),
            state: OrderState::Received,
            priority: RANK,
            rank: RANK,
            created: now,
            updated: now,
            delivered: None,
            failure: None,
        };
        self.restore_store(&order, &command.request, &files).instrument(trace::intake(&order)).await?;
        meter::order_received();
        info!(order_id = %order.id, files = files.len(), client_id = %order.client_id, "restore received");
        self.installation.wake_workers();
        self.restore_get(caller, &order.id).await
    }

    async fn restore_store(&self, order: &Order, request: &[u8], files: &[RestoreFile]) -> Result<(), DatabaseError> {
        let mut transaction = self.installation.database.begin().await?;
        progress::receive(&mut transaction, order, &self.installation.settings).await?;
        restores::insert(&mut transaction, &order.id, request, files).await?;
        transaction.commit().await
    }

    /// The files that selections are for, or everything that is wrong with them.
    async fn restore_resolve(
        &self,
        contract_id: &str,
        selections: Vec<Selection>,
    ) -> Result<Vec<RestoreFile>, RestoreError> {
        let (mut found, mut faults, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        let fault = |object_id: &str, reason| Fault { object_id: object_id.to_owned(), path: None, reason };
        for selection in selections {
            if !seen.insert(selection.object_id.clone()) {
                faults.push(fault(&selection.object_id, FaultReason::Twice));
                continue;
            }
            let package = packages::find(&self.installation.database, contract_id, &selection.object_id).await?;
            let package = match package.map(handed_out) {
                Some(Ok(package)) => package,
                Some(Err(reason)) => {
                    faults.push(fault(&selection.object_id, reason));
                    continue;
                }
                None => {
                    faults.push(fault(&selection.object_id, FaultReason::NoPackage));
                    continue;
                }
            };
            let installation = self.installation.clone();
            let resolving = tokio::task::spawn_blocking(move || resolve(&installation, &package, &selection));
            match resolving
                .await
                .map_err(|error| DatabaseError::Value { column: "restore".to_owned(), message: error.to_string() })??
            {
                Ok(files) => found.extend(files),
                Err(found) => faults.extend(found),
            }
        }
        if !faults.is_empty() {
            return Err(RestoreError::Faults(faults));
        }
        for (number, file) in (1..).zip(&mut found) {
            file.number = number;
        }
        Ok(found)
    }

    /// A restore that the caller may see.
    pub async fn restore_get(&self, caller: &Caller, id: &str) -> Result<RestoreView, RestoreError> {
        let found = restores::get(&self.installation.database, id).await?;
        let readable = found.filter(|restore| caller.grants.has(&restore.contract_id, Role::Read));
        readable.map(|restore| self.restore_view(restore)).ok_or_else(|| RestoreError::Unknown(id.to_owned()))
    }

    fn restore_view(&self, restore: Restore) -> RestoreView {
        let now = self.installation.clock.now();
        let state = restore.state(now, now.minus(self.installation.settings.restore_kept));
        RestoreView { restore, state }
    }

    /// Restores that the caller may see, newest first: in one state, or all whose time is not over.
    pub async fn restore_list(
        &self,
        caller: &Caller,
        state: Option<RestoreState>,
        before: Option<String>,
        limit: u32,
    ) -> Result<Vec<RestoreView>, RestoreError> {
        let now = self.installation.clock.now();
        let forgotten = now.minus(self.installation.settings.restore_kept);
        let filter = RestoreFilter { state, before, limit, now, forgotten };
        let contract_ids = caller.grants.contracts(Role::Read);
        let found = restores::list(&self.installation.database, &contract_ids, &filter).await?;
        Ok(found.into_iter().map(|restore| self.restore_view(restore)).collect())
    }

    /// Files of a restore that the caller was given to see, in their order: at most `limit` after the number `after`.
    pub async fn restore_files(&self, id: &str, after: u32, limit: u32) -> Result<Vec<RestoreFile>, DatabaseError> {
        restores::files(&self.installation.database, id, after, limit).await
    }

    /// The request for a restore that the caller may see, as it came.
    pub async fn restore_request(&self, caller: &Caller, id: &str) -> Result<Vec<u8>, RestoreError> {
        self.restore_get(caller, id).await?;
        let request = restores::request(&self.installation.database, id).await?;
        request.ok_or_else(|| RestoreError::Unknown(id.to_owned()))
    }

    /// Keeps a restore until another time; for as long as a new one is kept unless one is given.
    pub async fn restore_extend(
        &self,
        caller: &Caller,
        id: &str,
        until: Option<Timestamp>,
    ) -> Result<RestoreView, RestoreError> {
        let view = self.restore_get(caller, id).await?;
        let (now, settings) = (self.installation.clock.now(), &self.installation.settings);
        let longest = now.plus(settings.restore_longest);
        let until = until.unwrap_or_else(|| now.plus(settings.restore_kept));
        if until <= now || until > longest {
            return Err(RestoreError::Expiration(longest));
        }
        match view.state {
            RestoreState::Expired => return Err(RestoreError::Expired),
            // Its time begins when all files were looked at.
            RestoreState::Accepted => {
                let reason = "the restore is not ready yet: its time begins when it is";
                return Err(RestoreError::NotReady(reason.to_owned()));
            }
            RestoreState::Staged | RestoreState::Complete | RestoreState::Failed => {}
        }
        let mut transaction = self.installation.database.begin().await?;
        if !restores::expires_set(&mut transaction, id, until, now).await? {
            return Err(RestoreError::Expired);
        }
        let event = restore_event(EventKind::RestoreExtended, &view.restore, caller, now);
        events::insert(&mut transaction, &event).await?;
        transaction.commit().await?;
        self.restore_get(caller, id).await
    }

    /// Gives a restore back before its time: its files can be fetched no more. One that is not ready yet is withdrawn.
    pub async fn restore_release(&self, caller: &Caller, id: &str) -> Result<RestoreView, RestoreError> {
        loop {
            let view = self.restore_get(caller, id).await?;
            let mut transaction = self.installation.database.begin().await?;
            let Some(mut order) = orders::get_locked(&mut transaction, id).await? else {
                return Err(RestoreError::Unknown(id.to_owned()));
            };
            let now = self.installation.clock.now();
            if !order.state.is_finished() {
                let message = sentence!("Withdrawn by {}.", Agent::client(&caller.client_id, caller.stored).told());
                let failure = Some(Failure { code: FailureCode::Cancelled, message });
                let settings = &self.installation.settings;
                match progress::advance(&mut transaction, &mut order, Signal::Cancelled, failure, now, settings).await {
                    Ok(_) => {}
                    // It moved between the reading and the writing: look again.
                    Err(ProgressError::Overtaken(_) | ProgressError::Refused(_)) => continue,
                    Err(ProgressError::Database(error)) => return Err(error.into()),
                }
            }
            if restores::release(&mut transaction, id, now).await? {
                let event = restore_event(EventKind::RestoreReleased, &view.restore, caller, now);
                events::insert(&mut transaction, &event).await?;
            }
            transaction.commit().await?;
            return self.restore_get(caller, id).await;
        }
    }

    /// Opens a file of a restore.
    pub async fn restored_open(
        &self,
        caller: &Caller,
        id: &str,
        object_id: &str,
        path: &str,
    ) -> Result<RestoredFile, RestoreError> {
        let database = &self.installation.database;
        let Some(wanted) = restores::wanted(database, id, object_id, path).await? else {
            self.restore_get(caller, id).await?;
            return Err(RestoreError::NotPart);
        };
        if !caller.grants.has(&wanted.restore.contract_id, Role::Read) {
            return Err(RestoreError::Unknown(id.to_owned()));
        }
        let Wanted { restore, file, checkpoints, package, package_reason } = wanted;
        if self.restore_view(restore).state == RestoreState::Expired {
            return Err(RestoreError::Expired);
        }
        match package {
            PackageState::Preserved => {}
            PackageState::Deleted => return Err(RestoreError::Deleted),
            PackageState::Damaged | PackageState::Missing => {
                return Err(RestoreError::NotReady(unfit(package, package_reason.as_deref())));
            }
        }
        match file.state {
            FileState::Staged => {}
            FileState::Pending => {
                return Err(RestoreError::NotReady("the file is not ready yet: ask again later".to_owned()));
            }
            FileState::Failed => return Err(RestoreError::NotReady(file.reason.unwrap_or_default())),
        }
        let download = self.downloads.single(id, &file, checkpoints)?;
        Ok(RestoredFile { file, download })
    }

    /// Notes that a file of a restore was fetched whole. Says whether this was the first time.
    pub async fn restored_fetched(&self, id: &str, number: u32) -> Result<bool, DatabaseError> {
        let now = self.installation.clock.now();
        let mut transaction = self.installation.database.begin().await?;
        let first = restores::fetched(&mut transaction, id, number, now).await?;
        transaction.commit().await?;
        Ok(first)
    }
}

fn restore_event(kind: EventKind, restore: &Restore, caller: &Caller, now: Timestamp) -> Event {
    let mut event = Event::new(kind, now);
    event.order_id = Some(restore.id.clone());
    event.agent = format!("client {}", caller.client_id);
    event
}

/// A package that is handed out, or why it is not.
fn handed_out(package: Package) -> Result<Package, FaultReason> {
    match package.state {
        PackageState::Preserved => Ok(package),
        PackageState::Deleted => Err(FaultReason::NoPackage),
        state @ (PackageState::Damaged | PackageState::Missing) => {
            Err(FaultReason::Unfit(unfit(state, package.reason.as_deref())))
        }
    }
}

fn unfit(state: PackageState, reason: Option<&str>) -> String {
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("the filegroup is {state} and is not handed out before it has been checked{reason}: ask the archive")
}

/// The files of one selection. Their lengths are looked up in the storage; nothing of them is read.
fn resolve(
    installation: &Installation,
    package: &Package,
    selection: &Selection,
) -> Result<Result<Vec<RestoreFile>, Vec<Fault>>, ocfl::Error> {
    let object = installation.archive.object_at(&package.location)?;
    let held = Held::new(&object);
    let chosen = match selection::resolve(selection, &held, Unnamed::Newest) {
        Ok(chosen) => chosen,
        Err(faults) => return Ok(Err(faults)),
    };
    let (lengths, mut files, mut faults) = (object.lengths()?, Vec::new(), Vec::new());
    for version in chosen {
        for file in chosen_files(&held, &version) {
            let size_bytes = match lengths.of(file.content_path) {
                Ok(len) => len,
                Err(ocfl::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    let reason = FaultReason::Unfit("the file is missing in the archive: ask the archive".to_owned());
                    let path = Some(file.logical_path.to_owned());
                    faults.push(Fault { object_id: package.object_id.clone(), path, reason });
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut checksums = Checksums::default();
            for algorithm in Checksums::ALGORITHMS {
                if let Some(digest) = selection::checksum_of(held.inventory(), &file, algorithm) {
                    checksums.set(algorithm, digest);
                }
            }
            files.push(RestoreFile {
                number: 0,
                package_id: package.id.clone(),
                object_id: package.object_id.clone(),
                path: file.logical_path.to_owned(),
                version: version.number,
                label: version.label.clone(),
                root: object.path().to_owned(),
                content_path: file.content_path.to_owned(),
                size_bytes,
                algorithm: file.algorithm,
                digest: *file.digest,
                checksums,
                state: FileState::Pending,
                reason: None,
                fetched: None,
            });
        }
    }
    Ok(if faults.is_empty() { Ok(files) } else { Err(faults) })
}

fn chosen_files<'a>(held: &'a Held, version: &ChosenVersion) -> Vec<ocfl::VersionFile<'a>> {
    let inventory = held.inventory();
    match &version.files {
        ChosenFiles::All => inventory.files(version.number).collect(),
        ChosenFiles::These(paths) => paths.iter().filter_map(|path| inventory.file(version.number, path)).collect(),
    }
}
