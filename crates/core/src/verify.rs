//! Verification: the storage root against the OCFL specification, and every stored byte against its digests. What
//! is found is recorded with each package.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use dipper_archive::digest::{Algorithm, Digest};
use dipper_archive::ocfl::{
    self, Code, ObjectReport, Problem, Progress, Report, ValidateOptions, validate_object, validate_root,
};
use tokio::sync::mpsc;
use tracing::warn;

use crate::audit::AuditFile;
use crate::db::packages::{self, PackageState};
use crate::db::{DatabaseError, Transaction, ingests};
use crate::fixity::{self, Check};
use crate::ids;
use crate::installation::Installation;
use crate::sentence::sentence;

/// How many findings may wait for the catalogue.
const FINDINGS_AHEAD: usize = 1000;
/// How many damaged files of a package are told one by one.
const DAMAGED_FILES: usize = 1000;

/// What is to be verified.
#[derive(Clone, Debug, Default)]
pub struct VerifyCommand {
    /// One package alone, by its identifier.
    pub package_id: Option<String>,
    /// Do not read the content: structure and inventories alone. Nothing is recorded as verified then.
    pub structure_only: bool,
}

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Everything that is wrong, warnings included.
    pub problems: Vec<Problem>,
    /// Objects, files and bytes that were looked at.
    pub checked: Progress,
    /// How many objects have errors.
    pub invalid_objects: u64,
    /// How many files are in an archive class and were not checked: neither right nor wrong.
    pub archived_files: u64,
    /// Packages that were marked as damaged by this.
    pub marked: u64,
    /// Packages whose mark was lifted by this.
    pub lifted: u64,
}

impl VerifyReport {
    /// Whether there are no errors; there may be warnings.
    pub fn is_valid(&self) -> bool {
        !self.problems.iter().any(|problem| problem.code.is_error())
    }
}

/// Why a verification stopped.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no such package.
    #[error("there is no package {0}")]
    PackageUnknown(String),
    /// The storage root cannot be read at all.
    #[error(transparent)]
    Archive(#[from] ocfl::Error),
    /// The catalogue failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The verification itself ended.
    #[error("the verification was interrupted: {0}")]
    Interrupted(String),
}

/// Told how far a verification is, from several threads.
pub type VerifyProgress = Box<dyn Fn(Progress) + Send + Sync>;

/// Verifies the storage root, or one package of it.
pub async fn verify(
    installation: &Arc<Installation>,
    command: VerifyCommand,
    progress: VerifyProgress,
) -> Result<VerifyReport, VerifyError> {
    let location = match &command.package_id {
        Some(id) => {
            let found = packages::get(&installation.database, id).await?;
            Some(found.ok_or_else(|| VerifyError::PackageUnknown(id.clone()))?.location)
        }
        None => None,
    };
    let (sender, mut findings) = mpsc::channel(FINDINGS_AHEAD);
    let context = Arc::clone(installation);
    let hash = !command.structure_only;
    let checking = tokio::task::spawn_blocking(move || check(&context, location.as_deref(), hash, &progress, &sender));
    let mut report = VerifyReport::default();
    let mut batch = Vec::new();
    while findings.recv_many(&mut batch, FINDINGS_AHEAD).await > 0 {
        let mut transaction = installation.database.begin().await?;
        // In the order in which the catalogue's rows are locked.
        batch.sort_by(|one: &Finding, other| one.object.path.cmp(&other.object.path));
        for finding in batch.drain(..) {
            record(&mut transaction, installation, &finding, hash, &mut report).await?;
        }
        transaction.commit().await?;
    }
    let checked = checking.await.map_err(|error| VerifyError::Interrupted(error.to_string()))??;
    report.problems = checked.problems;
    report.checked = checked.checked;
    report.invalid_objects = checked.invalid_objects;
    report.archived_files = checked.archived_files;
    Ok(report)
}

/// What is known of an object after it was looked at.
struct Finding {
    object: ObjectReport,
    damaged: Vec<AuditFile>,
}

/// The part that blocks.
fn check(
    installation: &Installation,
    location: Option<&str>,
    hash: bool,
    progress: &VerifyProgress,
    sender: &mpsc::Sender<Finding>,
) -> Result<Report, ocfl::Error> {
    let storage = installation.archive.storage();
    let cleared = Mutex::new(Vec::new());
    let tell = |progressed: Progress| progress(progressed);
    let on_object = |object: &ObjectReport| {
        let mut object = object.clone();
        if !object.is_valid() && looks_right_now(installation, &object, hash) {
            object.problems.retain(|problem| !problem.code.is_error());
            cleared.lock().unwrap_or_else(PoisonError::into_inner).push(object.path.clone());
        }
        let damaged = damaged_files(installation, &object);
        // The receiver goes only when the catalogue has failed, which ends the verification anyhow.
        let _ = sender.blocking_send(Finding { object, damaged });
    };
    let options =
        ValidateOptions { hash, progress: Some(&tell), object: Some(&on_object), ..ValidateOptions::default() };
    let mut report = match location {
        Some(location) => validate_object(storage, location, &options),
        None => validate_root(storage, &options),
    }?;
    for path in cleared.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let inside = format!("{path}/");
        let concerns = |problem: &Problem| problem.path == path || problem.path.starts_with(&inside);
        report.problems.retain(|problem| !(problem.code.is_error() && concerns(problem)));
        report.invalid_objects = report.invalid_objects.saturating_sub(1);
    }
    if location.is_none() && report.problems.iter().any(|problem| problem.code.is_error()) {
        keep_lasting(installation, &mut report)?;
    }
    Ok(report)
}

/// Keeps the errors of digests, which were looked at twice, and of the others those that a second walk finds too: a
/// directory that was being made at the first one was empty then.
fn keep_lasting(installation: &Installation, report: &mut Report) -> Result<(), ocfl::Error> {
    let options = ValidateOptions { hash: false, ..ValidateOptions::default() };
    let again = validate_root(installation.archive.storage(), &options)?;
    let again: HashSet<(Code, &str)> =
        again.problems.iter().map(|problem| (problem.code, problem.path.as_str())).collect();
    report.problems.retain(|problem| {
        let is_digest = matches!(problem.code, Code::E092 | Code::E093);
        !problem.code.is_error() || is_digest || again.contains(&(problem.code, problem.path.as_str()))
    });
    Ok(())
}

/// Errors are looked at twice: a version that was being added at the first look makes an object seem wrong, and so does
/// one whose addition was interrupted, until it is finished.
pub(crate) fn looks_right_now(installation: &Installation, object: &ObjectReport, hash: bool) -> bool {
    if let Err(error) = installation.archive.recover(None) {
        warn!(%error, "interrupted changes could not be finished");
    }
    let options = ValidateOptions { hash, ..ValidateOptions::default() };
    match validate_object(installation.archive.storage(), &object.path, &options) {
        Ok(again) => again.is_valid(),
        Err(_) => false,
    }
}

async fn record(
    transaction: &mut Transaction,
    installation: &Installation,
    finding: &Finding,
    hash: bool,
    report: &mut VerifyReport,
) -> Result<(), DatabaseError> {
    let Finding { object: finding, damaged } = finding;
    let known = match &finding.id {
        Some(id) => packages::get_locked(transaction, &ids::package_id(id)).await?,
        None => packages::at_location_locked(transaction, &finding.path).await?,
    };
    let Some(package) = known.filter(|package| package.location == finding.path) else {
        return Ok(());
    };
    let now = installation.clock.now();
    let check = check_of(finding, damaged.clone(), sentence!("verified by dipper verify"), hash);
    let error = finding.problems.iter().find(|problem| problem.code.is_error());
    match error {
        // Somebody is changing it now: what looks wrong may be half of that.
        Some(_) if ingests::is_held(transaction, &package.ocfl_id, now).await? => Ok(()),
        Some(problem) => {
            report.marked += u64::from(package.state == PackageState::Preserved);
            fixity::failure(transaction, &package.id, &problem.to_string(), Some(&check), now).await
        }
        None if hash => {
            let marked = matches!(package.state, PackageState::Damaged | PackageState::Missing);
            report.lifted += u64::from(marked && finding.archived_files == 0);
            fixity::success(transaction, &package.id, &check, now).await
        }
        None => Ok(()),
    }
}

/// What a validation has looked at in one object.
pub(crate) fn check_of(finding: &ObjectReport, damaged: Vec<AuditFile>, occasion: String, hash: bool) -> Check {
    let cold_files = finding.archived_files;
    Check {
        occasion,
        version: None,
        digest: finding.digest,
        file_count: if hash { finding.files.saturating_sub(cold_files) } else { 0 },
        size_bytes: if hash { finding.bytes } else { 0 },
        cold_files,
        whole: hash,
        structure: true,
        damaged,
    }
}

/// The files that a content file was found damaged of, by the names that their depositor knows; by those in the storage
/// where the inventory does not tell.
pub(crate) fn damaged_files(installation: &Installation, finding: &ObjectReport) -> Vec<AuditFile> {
    let inside = format!("{}/", finding.path);
    let mut found: BTreeMap<&str, String> = BTreeMap::new();
    for problem in finding.problems.iter().filter(|problem| matches!(problem.code, Code::E092 | Code::E093)) {
        let path = problem.path.strip_prefix(&inside).unwrap_or(&problem.path);
        if let Some(detail) = found.get_mut(path) {
            detail.push_str(&format!("; {}", problem.message));
        } else if found.len() < DAMAGED_FILES {
            found.insert(path, problem.message.clone());
        }
    }
    if found.is_empty() {
        return Vec::new();
    }
    let mut named: BTreeMap<String, (String, Option<(Algorithm, Digest)>)> = BTreeMap::new();
    if let Ok(object) = installation.archive.object_at(&finding.path) {
        let inventory = object.inventory();
        for version in inventory.versions() {
            for file in inventory.files(version.number().number()) {
                if let Some(detail) = found.get(file.content_path) {
                    let expected = Some((inventory.algorithm(), *file.digest));
                    named.insert(file.logical_path.to_owned(), (format!("{}: {detail}", file.content_path), expected));
                }
            }
        }
    }
    if named.is_empty() {
        named = found.into_iter().map(|(path, detail)| (path.to_owned(), (detail, None))).collect();
    }
    let file = |(path, (detail, expected)): (String, (String, Option<(Algorithm, Digest)>))| AuditFile {
        path,
        size_bytes: None,
        algorithm: expected.map(|(algorithm, _)| algorithm.to_string()),
        digest: expected.map(|(_, digest)| digest.to_string()),
        success: false,
        detail,
    };
    named.into_iter().take(DAMAGED_FILES).map(file).collect()
}
