//! Ingest: a directory, or a bag in a directory, tar or zip, becomes a version of a package.
//!
//! Every byte is read once, hashed while it is copied into a draft, and held against the bag's manifests. What is
//! wrong is reported by name, and nothing becomes visible then. An ingest that was interrupted goes on where it was
//! when it is begun again with the same source.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dipper_archive::bagit::{self, FileReader, Limits, OpenError, ReadError, Report, Submission};
use dipper_archive::digest::Digest;
use dipper_archive::ocfl::{self, Draft, DraftOptions, Expected, Object, Start, StorageRoot, User, VersionRecord};
use tokio::runtime::Handle;
use tracing::info;

use crate::db::events::{Event, EventKind};
use crate::db::packages::PackageQuery;
use crate::db::{DatabaseError, contracts, ingests, packages};
use crate::ids;
use crate::index;
use crate::installation::Installation;
use crate::lease::Lease;
use crate::naming::{self, NamingError};
use crate::recovery;
use crate::register::{self, Described, Recorded};
use crate::urn;

/// The draft session of an ingest: there is one at a time for an object.
const SESSION: &str = "ingest";

/// What is to be ingested.
#[derive(Clone, Debug, Default)]
pub struct IngestCommand {
    /// A directory, or a tar (plain or compressed with gzip) or zip of a bag.
    pub path: PathBuf,
    /// The contract that the package belongs to.
    pub contract_id: String,
    /// The depositor's name for the package.
    pub object_id: String,
    /// The depositor's name for the version.
    pub label: Option<String>,
    /// The depositor's URN for the package; `None` for the one that the bag names, if it names one.
    pub urn: Option<String>,
    /// The file name under which it was handed in; `None` for the name that `path` ends with.
    pub container_name: Option<String>,
    /// Set when nobody is there who could be asked.
    pub unattended: Option<Unattended>,
}

/// How something is ingested that its depositor has left for us: where the bag names a package of the contract by its URN,
/// that one is meant, whatever `object_id` says; and nothing is kept of what is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unattended {
    /// Who left it, as the event names it.
    pub agent: String,
}

/// How far an ingest is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngestProgress {
    /// Files that are staged.
    pub files: u64,
    /// All files.
    pub files_total: u64,
    /// Bytes that were read, or need not be read again.
    pub bytes: u64,
    /// All bytes.
    pub bytes_total: u64,
}

/// How the caller follows an ingest, and stops it. Both are called on several threads.
pub struct IngestControl {
    /// Told of each piece that was read.
    pub progress: Box<dyn Fn(IngestProgress) + Send + Sync>,
    /// Asked before each piece; `true` stops the ingest, which can be resumed.
    pub cancelled: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Default for IngestControl {
    fn default() -> IngestControl {
        IngestControl { progress: Box::new(|_| {}), cancelled: Box::new(|| false) }
    }
}

/// A package as it is after an ingest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingested {
    /// The package.
    pub package_id: String,
    /// The number of its version.
    pub version: u32,
    /// The depositor's name for the version.
    pub label: Option<String>,
    /// The identifier under which people know the package.
    pub identifier: String,
    /// Its URN, if it has one.
    pub urn: Option<String>,
    /// How many files the version has.
    pub files: u64,
    /// Their sizes, added up.
    pub bytes: u64,
    /// How many bytes were new to the package and are stored now.
    pub new_bytes: u64,
    /// Nothing was stored: the package had this very version already.
    pub unchanged: bool,
    /// What the bag should not have, but may.
    pub warnings: Vec<String>,
}

/// Why nothing was ingested.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The contract is not in the catalogue.
    #[error("there is no contract {0}: add it first, with `dipper contract add {0}`")]
    ContractUnknown(String),
    /// The name of the package cannot be kept.
    #[error("the object id {0:?} must be 1 to 512 characters without control characters")]
    ObjectId(String),
    /// The name of the version cannot be kept.
    #[error("the version label {0:?} must be 1 to 200 characters without control characters")]
    Label(String),
    /// The package cannot have the URN of its depositor.
    #[error(transparent)]
    Naming(NamingError),
    /// The source is not accepted.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The source is a bag that is not valid.
    #[error("{path} is not a valid bag:\n{report}")]
    Invalid {
        /// The source.
        path: String,
        /// Everything that is wrong with it.
        report: Box<Report>,
    },
    /// The source holds no file.
    #[error("{0} holds no file")]
    Empty(String),
    /// The source could not be read.
    #[error("{0}")]
    Source(String),
    /// The source is an archive that is cut off or damaged.
    #[error("{0}")]
    Broken(String),
    /// Another version of the package has that name.
    #[error("the package has a version {version} with the label {label:?} already, and its files are others")]
    LabelTaken {
        /// The label.
        label: String,
        /// The version that has it.
        version: u32,
    },
    /// Somebody else is changing the package.
    #[error("the package {0} is being changed by another process: try again when that has finished")]
    Busy(String),
    /// There is no room left.
    #[error("the storage is full: {0}; nothing became visible, and the same ingest goes on once there is room")]
    Full(String),
    /// The caller stopped it.
    #[error("the ingest was stopped; the same ingest goes on from here")]
    Cancelled,
    /// The archive failed.
    #[error(transparent)]
    Archive(ocfl::Error),
    /// The catalogue failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<NamingError> for IngestError {
    fn from(error: NamingError) -> IngestError {
        match error {
            NamingError::Database(error) => IngestError::Database(error),
            error => IngestError::Naming(error),
        }
    }
}

impl From<ocfl::Error> for IngestError {
    fn from(error: ocfl::Error) -> IngestError {
        match error {
            ocfl::Error::Locked { id } | ocfl::Error::HeadMoved { id } => IngestError::Busy(id),
            ocfl::Error::Io { source, .. } if is_cancelled(&source) => IngestError::Cancelled,
            ocfl::Error::Io { path, source } if is_full(&source) => IngestError::Full(format!("{path}: {source}")),
            error => IngestError::Archive(error),
        }
    }
}

/// Ingests what the command names.
pub async fn ingest(
    installation: &Arc<Installation>,
    command: IngestCommand,
    control: IngestControl,
) -> Result<Ingested, IngestError> {
    check_name(&command.object_id, 512).then_some(()).ok_or(IngestError::ObjectId(command.object_id.clone()))?;
    if let Some(label) = command.label.as_ref().filter(|label| !check_name(label, 200)) {
        return Err(IngestError::Label(label.clone()));
    }
    let database = &installation.database;
    if !contracts::exists(database, &command.contract_id).await? {
        return Err(IngestError::ContractUnknown(command.contract_id));
    }
    let (submission, command) = blocking(move || Ok((open(&command)?, command))).await?;
    let ocfl_id = ocfl_id(installation, &command, &submission).await?;
    recovery::recover(installation).await.map_err(|error| IngestError::Source(error.to_string()))?;
    let now = installation.clock.now();
    let lease = Lease::take(installation, &ocfl_id, now).await?.ok_or_else(|| IngestError::Busy(ocfl_id.clone()))?;
    let control = lease.guard(control);
    let mut event = Event::new(EventKind::PackageIngested, now);
    if let Some(Unattended { agent }) = &command.unattended {
        event.agent.clone_from(agent);
        event.detail = command.container_name.clone().unwrap_or_default();
    }
    let (context, id) = (Arc::clone(installation), ocfl_id.clone());
    let (stored, described) = match blocking(move || work(&context, &id, &command, &submission, &control)).await {
        Err(IngestError::Cancelled) if lease.is_lost() => return Err(IngestError::Busy(ocfl_id)),
        Err(error) => {
            lease.release().await?;
            return Err(error);
        }
        Ok(done) => done,
    };
    let mut transaction = database.begin().await?;
    index::put_as(&mut transaction, described, event).await?;
    ingests::end(&mut transaction, &ocfl_id, &installation.holder).await?;
    transaction.commit().await?;
    info!(package_id = %stored.package_id, version = stored.version, bytes = stored.bytes, "package ingested");
    Ok(stored)
}

/// Runs what blocks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, IngestError> + Send + 'static,
) -> Result<T, IngestError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| IngestError::Source(error.to_string())).and_then(|done| done)
}

/// Opens the source, and refuses what is wrong at the first look.
fn open(command: &IngestCommand) -> Result<Submission, IngestError> {
    let submission = bagit::open(&command.path, &Limits::default())?;
    refuse_invalid(&command.path, submission.report())?;
    if submission.files().is_empty() {
        return Err(IngestError::Empty(command.path.display().to_string()));
    }
    Ok(submission)
}

/// Which object it becomes. A package that was adopted from another system keeps its OCFL identifier.
async fn ocfl_id(
    installation: &Installation,
    command: &IngestCommand,
    submission: &Submission,
) -> Result<String, DatabaseError> {
    let IngestCommand { contract_id, object_id, .. } = command;
    let mut known = None;
    if command.unattended.is_some()
        && let Some(urn) = urn_given(command, submission, &mut Vec::new())
    {
        let query = PackageQuery { urn: Some(urn), ..PackageQuery::default() };
        known = packages::search(&installation.database, &[contract_id.as_str()], &query, "", 1).await?.pop();
    }
    if known.is_none() {
        known = packages::find(&installation.database, contract_id, object_id).await?;
    }
    Ok(known.map_or_else(|| ids::ocfl_id(contract_id, object_id), |package| package.ocfl_id))
}

/// The part that blocks: from the opened source to the committed version and its description.
fn work(
    installation: &Installation,
    ocfl_id: &str,
    command: &IngestCommand,
    submission: &Submission,
    control: &IngestControl,
) -> Result<(Ingested, Described), IngestError> {
    let archive = &installation.archive;
    let runtime = Handle::current();
    let mut warnings = Vec::new();
    let urn = urn_given(command, submission, &mut warnings);
    // What would be refused in the end is refused before anything is copied.
    runtime.block_on(naming::check(installation, ocfl_id, urn.as_deref()))?;
    let container_name = container_name(command, &mut warnings);
    let options = DraftOptions { session: SESSION, start: Start::Empty, fixity: &[] };
    let draft = archive.draft(ocfl_id, &options)?;
    let staging = Staging::new(&command.path, submission, control)?;
    let run = staging.run(&draft).and_then(|report| refuse_invalid(&command.path, &report).map(|()| report));
    let report = match run {
        // Nobody will go on with it.
        Err(error @ (IngestError::Broken(_) | IngestError::Invalid { .. })) if command.unattended.is_some() => {
            draft.abandon()?;
            return Err(error);
        }
        run => run?,
    };
    warnings.extend(report.warnings.iter().map(ToString::to_string));
    let same = draft.base().and_then(|base| same_version(base, &staging.into_files(), command.label.as_deref()));
    // A URN that the package gets only now is recorded with a version, even if that has no new file.
    let is_new_urn = |base: &Object| urn.is_some() && register::recorded_urn(base).is_none();
    let same = same.filter(|same| matches!(same, Same::Label(_)) || !draft.base().is_some_and(is_new_urn));
    let (version, new_bytes, unchanged) = match same {
        Some(Same::Version(number)) => {
            draft.abandon()?;
            (number, 0, true)
        }
        Some(Same::Label(version)) => {
            draft.abandon()?;
            let label = command.label.clone().unwrap_or_default();
            return Err(IngestError::LabelTaken { label, version });
        }
        None => {
            if (control.cancelled)() {
                return Err(IngestError::Cancelled);
            }
            let names = runtime.block_on(naming::reserve(installation, ocfl_id, urn.as_deref()))?;
            let recorded = Recorded {
                label: command.label.clone(),
                identifier: Some(names.identifier),
                urn: names.urn,
                container_name,
            };
            let committed = draft.commit(record(&recorded, installation))?;
            (committed.version.number(), committed.new_bytes, false)
        }
    };
    let described = described(installation, archive, ocfl_id, &command.contract_id)?;
    let package = &described.package;
    let stored = described.versions.iter().find(|stored| stored.number == version);
    let ingested = Ingested {
        package_id: package.id.clone(),
        version,
        label: stored.and_then(|stored| stored.label.clone()),
        identifier: package.identifier.clone(),
        urn: package.urn.clone(),
        files: stored.map_or(0, |stored| stored.file_count),
        bytes: stored.map_or(0, |stored| stored.size_bytes),
        new_bytes,
        unchanged,
        warnings,
    };
    Ok((ingested, described))
}

/// The URN that the depositor gave the package, with a warning where it looks mistyped.
fn urn_given(command: &IngestCommand, submission: &Submission, warnings: &mut Vec<String>) -> Option<String> {
    let given = command.urn.clone().or_else(|| {
        let (urn, warning) = naming::urn_of_bag(submission.info());
        warnings.extend(warning);
        urn
    });
    warnings.extend(given.as_deref().and_then(urn::warning));
    given
}

/// The file name of what was handed in, as it is recorded.
fn container_name(command: &IngestCommand, warnings: &mut Vec<String>) -> Option<String> {
    let of_path = || Some(command.path.canonicalize().ok()?.file_name()?.to_string_lossy().into_owned());
    let name = command.container_name.clone().or_else(of_path)?;
    if check_name(&name, 255) {
        return Some(name);
    }
    warnings.push(format!("the name {name:?} of what was handed in holds control characters, and is not recorded"));
    None
}

/// The record of a package, as the storage root has it now.
pub(crate) fn described(
    installation: &Installation,
    archive: &StorageRoot,
    ocfl_id: &str,
    contract_id: &str,
) -> Result<Described, IngestError> {
    described_as(installation, &archive.object(ocfl_id)?, contract_id)
}

/// The record of a package, as this object has it.
pub(crate) fn described_as(
    installation: &Installation,
    object: &Object,
    contract_id: &str,
) -> Result<Described, IngestError> {
    let node = &installation.settings.node;
    let described = register::describe(object, Some(contract_id), node, installation.clock.now())?;
    described.ok_or_else(|| IngestError::Source(format!("{} belongs to no contract", object.id())))
}

/// What is recorded of a version that is made now.
pub(crate) fn record(recorded: &Recorded, installation: &Installation) -> VersionRecord {
    VersionRecord {
        created: installation.clock.now().to_string(),
        message: Some(recorded.message()),
        user: Some(User {
            name: format!("Dipper {}", env!("CARGO_PKG_VERSION")),
            address: Some(register::SOFTWARE.to_owned()),
        }),
    }
}

/// How an earlier version of the package is like the one that was handed in.
enum Same {
    /// It has the same files, and the same label if one was given.
    Version(u32),
    /// It has the same label and other files.
    Label(u32),
}

fn same_version(base: &Object, files: &[(String, Digest)], label: Option<&str>) -> Option<Same> {
    let inventory = base.inventory();
    let has_files = |number: u32| {
        let known = inventory.files(number);
        known.len() == files.len()
            && known.zip(files).all(|(file, (path, digest))| file.logical_path == path && file.digest == digest)
    };
    if let Some(label) = label {
        let is_labelled = |version: &&ocfl::Version| register::label_of(base, version).as_deref() == Some(label);
        let labelled = inventory.versions().iter().find(is_labelled);
        let number = labelled?.number().number();
        return Some(if has_files(number) { Same::Version(number) } else { Same::Label(number) });
    }
    let head = inventory.head().number();
    has_files(head).then_some(Same::Version(head))
}

/// Copies the files of a source into a draft.
struct Staging<'a> {
    submission: &'a Submission,
    source: Source,
    control: &'a IngestControl,
    files_done: AtomicU64,
    bytes_done: AtomicU64,
    bytes_total: u64,
    files: std::sync::Mutex<Vec<(String, Digest)>>,
}

/// What tells that a file of the source has not changed since an earlier run.
enum Source {
    /// Each file has its own stamp.
    Directory(PathBuf),
    /// All have the stamp of the archive.
    Archive(String),
}

impl<'a> Staging<'a> {
    fn new(path: &Path, submission: &'a Submission, control: &'a IngestControl) -> Result<Staging<'a>, IngestError> {
        let failed = |error| IngestError::Source(format!("{}: {error}", path.display()));
        let path = path.canonicalize().map_err(failed)?;
        let metadata = std::fs::metadata(&path).map_err(failed)?;
        let source = if metadata.is_dir() { Source::Directory(path) } else { Source::Archive(stamp(&path, &metadata)) };
        Ok(Staging {
            submission,
            source,
            control,
            files_done: AtomicU64::new(0),
            bytes_done: AtomicU64::new(0),
            bytes_total: submission.files().iter().map(|file| file.size).sum(),
            files: std::sync::Mutex::default(),
        })
    }

    fn run(&self, draft: &Draft<'_>) -> Result<Report, IngestError> {
        let failure = std::sync::Mutex::new(None);
        let read = self.submission.read(&[], &|reader| {
            self.take(draft, reader).map_err(|error| {
                let text = error.to_string();
                failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                io::Error::other(text)
            })
        });
        match (failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner), read) {
            (_, Ok(report)) => Ok(report),
            (Some(failure), Err(_)) => Err(failure),
            (None, Err(ReadError::Open(error))) => Err(error.into()),
            // What the system did not say, whoever reads the archive found in it.
            (None, Err(ReadError::Source { source, .. })) if source.raw_os_error().is_none() => {
                Err(IngestError::Broken(format!("the archive could not be read to its end: {source}")))
            }
            (None, Err(error)) => Err(IngestError::Source(error.to_string())),
        }
    }

    /// One file; an error that is the file's own fault is reported with the bag's, by the reader.
    fn take(&self, draft: &Draft<'_>, reader: &mut FileReader<'_>) -> Result<(), IngestError> {
        if (self.control.cancelled)() {
            return Err(IngestError::Cancelled);
        }
        let (path, size) = (reader.path().to_owned(), reader.size());
        let stamp = self.stamp(&path)?;
        let staged = match draft.take_staged(&path, &stamp)? {
            Some(staged) => {
                self.advance(size);
                staged
            }
            None => {
                let checksums = reader.expected();
                reader.leave_digests();
                let expected = Expected { len: Some(size), digests: &checksums };
                match draft.add(&path, &mut Counted { reader, staging: self }, &expected, &stamp) {
                    Err(ocfl::Error::Altered { algorithm, found, .. }) => {
                        // The report names it, together with whatever else is wrong.
                        reader.vouch(&[(algorithm, *found)]);
                        return Ok(());
                    }
                    added => added?,
                }
            }
        };
        reader.vouch(&staged.digests);
        let digest = staged.digests.first().map(|(_, digest)| *digest);
        let mut files = self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        files.extend(digest.map(|digest| (path, digest)));
        drop(files);
        self.files_done.fetch_add(1, Ordering::Relaxed);
        self.advance(0);
        Ok(())
    }

    fn stamp(&self, path: &str) -> Result<String, IngestError> {
        match &self.source {
            Source::Archive(stamp) => Ok(stamp.clone()),
            Source::Directory(directory) => {
                let file = directory.join(path);
                let metadata = std::fs::symlink_metadata(&file)
                    .map_err(|error| IngestError::Source(format!("{}: {error}", file.display())))?;
                Ok(stamp(&file, &metadata))
            }
        }
    }

    fn advance(&self, bytes: u64) {
        let bytes = self.bytes_done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.control.progress)(IngestProgress {
            files: self.files_done.load(Ordering::Relaxed),
            files_total: self.submission.files().len() as u64,
            bytes,
            bytes_total: self.bytes_total,
        });
    }

    /// The logical paths and content digests, sorted as an inventory sorts them.
    fn into_files(self) -> Vec<(String, Digest)> {
        let mut files = self.files.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        files.sort_unstable();
        files
    }
}

/// A reader that tells how far it is, and stops when it is told to.
struct Counted<'r, 'f, 's> {
    reader: &'r mut FileReader<'f>,
    staging: &'r Staging<'s>,
}

impl Read for Counted<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.staging.control.cancelled)() {
            return Err(io::Error::other(IngestError::Cancelled));
        }
        let count = self.reader.read(buffer)?;
        self.staging.advance(count as u64);
        Ok(count)
    }
}

fn stamp(path: &Path, metadata: &std::fs::Metadata) -> String {
    format!(
        "{} {} {}.{:09} {}.{:09}",
        path.display(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec()
    )
}

fn refuse_invalid(path: &Path, report: &Report) -> Result<(), IngestError> {
    if report.is_valid() {
        return Ok(());
    }
    Err(IngestError::Invalid { path: path.display().to_string(), report: Box::new(report.clone()) })
}

fn check_name(name: &str, longest: usize) -> bool {
    (1..=longest).contains(&name.chars().count()) && !name.contains(char::is_control)
}

/// Whether the error is the one with which [`Counted`] stops.
fn is_cancelled(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<IngestError>());
    matches!(inner, Some(IngestError::Cancelled))
}

/// Whether the disk, a quota or a limit on file sizes is what failed.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
