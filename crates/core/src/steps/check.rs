//! Checks the files of a restore: each is read once, whole, and held against its digest. Nothing is written but the
//! catalogue: what makes any range of a file verifiable later, and the checksums that its depositor asks for. What lies in
//! an archive class is recalled first, and the step sleeps until it can be read.
//!
//! The files are taken in batches, and what became of a batch is on record before the next one: a repeated step goes on
//! where the one before it came to.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dipper_archive::package::{Checkpoints, PrepareError, SourceError, prove};
use dipper_archive::storage::{Recall, at_once};
use tracing::{info, warn};

use crate::audit::{self, AuditEntry, AuditFile, AuditKind};
use crate::caller::Role;
use crate::db::orders::{Failure, FailureCode, Order};
use crate::db::restores::{self, Checksums, FileState, RestoreFile};
use crate::db::steps::{Lease, StepEnd, WaitsFor, Worked};
use crate::db::{Transaction, contracts, orders, packages, steps};
use crate::fixity;
use crate::hold::Hold;
use crate::installation::Installation;
use crate::meter;
use crate::order::Signal;
use crate::progress;
use crate::sentence::sentence;
use crate::steps::StepError;
use crate::time::Timestamp;
use crate::trace;

/// Files of a batch, and how many bytes of them are read before that is put on record.
const BATCH_FILES: u32 = 256;
const BATCH_BYTES: u64 = 256 * 1024 * 1024;
/// Files that are looked up at a time.
const PAGE: u32 = 1000;
/// Recalls that are asked for at a time, at the least.
const REQUESTS_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);
/// How many files a reason names.
const NAMED: u32 = 5;

/// What became of a file.
enum Outcome {
    /// It was read and found right.
    Staged(Checksums, Option<Vec<u8>>),
    /// It is not there any more, because it was deleted.
    Deleted,
    /// It is not what was stored.
    Damaged(String),
}

pub(super) async fn run(installation: &Arc<Installation>, lease: &Lease, hold: &Hold) -> Result<(), StepError> {
    let order = orders::get(&installation.database, &lease.order_id).await?.ok_or(StepError::Lost)?;
    still_allowed(installation, &order).await?;
    if installation.archive.storage().has_archive_classes() {
        let missing = recall(installation, &order, hold).await?;
        if missing > 0 {
            info!(files = missing, "content is being recalled");
            return sleep(installation, lease, &order).await;
        }
    }
    for signal in [Signal::RecallStarted, Signal::VerificationStarted] {
        advance(installation, lease, signal).await?;
    }
    let preparing = meter::preparing(order.size_bytes);
    // What an earlier attempt has put on record is done.
    let pending = restores::pending_bytes(&installation.database, &order.id).await?;
    let mut done_bytes = order.size_bytes.saturating_sub(pending);
    loop {
        let batch = next_batch(installation, &order).await?;
        if batch.is_empty() {
            break;
        }
        let bytes: u64 = batch.iter().map(|file| file.size_bytes).sum();
        let reading = Reading::new(hold, done_bytes, order.size_bytes);
        let (context, files) = (Arc::clone(installation), batch);
        let span = trace::verification(&order);
        let checking = tokio::task::spawn_blocking(move || span.in_scope(|| check(&context, &files, &reading)));
        let outcomes = checking.await.map_err(|error| StepError::Passing(error.to_string()))??;
        meter::verified(bytes);
        done_bytes += bytes;
        record(installation, lease, &order, outcomes).await?;
    }
    drop(preparing);
    finish(installation, lease).await
}

/// What held when the restore was asked for may not hold any more when its turn comes.
async fn still_allowed(installation: &Installation, order: &Order) -> Result<(), StepError> {
    if !order.client_stored {
        return Ok(());
    }
    let client = contracts::client_get(&installation.database, &order.client_id).await?;
    let may = |grants: &crate::caller::Grants| grants.has(&order.contract_id, Role::Read);
    if client.is_some_and(|(client, _)| client.disabled.is_none() && may(&client.grants)) {
        return Ok(());
    }
    let message = sentence!("Client {} may not read contract {} any more.", order.client_id, order.contract_id);
    let failure = Failure { code: FailureCode::NotAllowed, message };
    Err(StepError::Final { signal: Signal::Rejected, failure, damage: None })
}

async fn next_batch(installation: &Installation, order: &Order) -> Result<Vec<RestoreFile>, StepError> {
    let mut files = restores::pending(&installation.database, &order.id, BATCH_FILES).await?;
    let mut bytes = 0_u64;
    let within = files.iter().take_while(|file| {
        let before = bytes;
        bytes = bytes.saturating_add(file.size_bytes);
        before < BATCH_BYTES
    });
    let within = within.count();
    files.truncate(within);
    Ok(files)
}

/// The reading of a batch by several threads, which note in the hold how far the whole restore is.
struct Reading {
    hold: Hold,
    done_bytes: AtomicU64,
    all_bytes: u64,
}

impl Reading {
    fn new(hold: &Hold, done_bytes: u64, all_bytes: u64) -> Reading {
        let reading = Reading { hold: hold.clone(), done_bytes: AtomicU64::new(done_bytes), all_bytes };
        reading.read(0);
        reading
    }

    /// So many bytes more were read.
    fn read(&self, bytes: u64) {
        let done_bytes = self.done_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.hold.note(Worked { done_bytes, all_bytes: self.all_bytes });
    }
}

/// Reads the files of a batch, several at a time.
fn check(
    installation: &Installation,
    files: &[RestoreFile],
    reading: &Reading,
) -> Result<Vec<(RestoreFile, Outcome)>, StepError> {
    let storage = installation.archive.storage().as_ref();
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let threads = storage.reads_at_once().map_or(cores, |reads| reads.max(cores));
    let outcomes = Mutex::new(Vec::with_capacity(files.len()));
    at_once(threads, files, &|file: &RestoreFile| -> Result<(), StepError> {
        let outcome = look_at(installation, file, reading)?;
        outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((file.clone(), outcome));
        Ok(())
    })?;
    Ok(outcomes.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn look_at(installation: &Installation, file: &RestoreFile, reading: &Reading) -> Result<Outcome, StepError> {
    let storage = installation.archive.storage().as_ref();
    let further = file.checksums.missing();
    let hold = &reading.hold;
    match prove(&file.content(), storage, &further, &|| hold.is_over(), &|bytes| reading.read(bytes)) {
        Ok(proven) => {
            let mut checksums = file.checksums;
            for (algorithm, digest) in further.into_iter().zip(proven.digests) {
                checksums.set(algorithm, digest);
            }
            // Those of a small file follow from its digest.
            let is_small = Checkpoints::of_small(file.algorithm, file.digest, file.size_bytes).is_some();
            let checkpoints = (!is_small).then(|| proven.checkpoints.to_bytes());
            Ok(Outcome::Staged(checksums, checkpoints))
        }
        Err(PrepareError::Cancelled) => Err(if hold.is_lost() { StepError::Lost } else { StepError::Stopped }),
        Err(error) if error.is_archived() => Err(StepError::Archived),
        Err(PrepareError::Source(SourceError::Missing { .. })) if is_gone(installation, file) => Ok(Outcome::Deleted),
        Err(error) if error.is_retryable() => Err(StepError::Passing(error.to_string())),
        Err(error) => Ok(Outcome::Damaged(error.to_string())),
    }
}

fn is_gone(installation: &Installation, file: &RestoreFile) -> bool {
    fixity::was_deleted(&installation.archive, &file.root, &file.content_path)
}

/// Puts what became of a batch on record, under the lease. Damage is looked at twice before it is believed.
async fn record(
    installation: &Installation,
    lease: &Lease,
    order: &Order,
    outcomes: Vec<(RestoreFile, Outcome)>,
) -> Result<(), StepError> {
    let now = installation.clock.now();
    let mut doubted = None;
    let mut damaged: BTreeMap<String, String> = BTreeMap::new();
    let mut transaction = installation.database.begin().await?;
    if !steps::holds(&mut transaction, lease).await? {
        return Err(StepError::Lost);
    }
    let (mut staged, mut failed) = (Vec::new(), Vec::new());
    for (file, outcome) in outcomes {
        match outcome {
            Outcome::Staged(checksums, checkpoints) => staged.push((file.number, checksums, checkpoints)),
            Outcome::Deleted => failed.push((file.number, "it was deleted from the archive".to_owned())),
            Outcome::Damaged(detail) if lease.attempt == 1 => doubted = Some(detail),
            Outcome::Damaged(detail) => {
                failed.push((file.number, "the stored file is damaged; the archive has been told".to_owned()));
                damaged.entry(file.package_id).or_insert(detail);
            }
        }
    }
    for (package_id, detail) in &damaged {
        fixity::damage(&mut transaction, package_id, detail, now).await?;
    }
    for (number, checksums, checkpoints) in staged {
        restores::staged(&mut transaction, &order.id, number, &checksums, checkpoints).await?;
    }
    for (number, reason) in failed {
        restores::failed(&mut transaction, &order.id, number, &reason).await?;
    }
    transaction.commit().await?;
    match doubted {
        None => Ok(()),
        Some(detail) => {
            if let Err(error) = installation.archive.recover(None) {
                warn!(%error, "interrupted changes could not be finished");
            }
            Err(StepError::Passing(detail))
        }
    }
}

/// Every file was looked at: the restore is ready, or says which of its files are not.
async fn finish(installation: &Installation, lease: &Lease) -> Result<(), StepError> {
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let mut order = orders::get_locked(&mut transaction, &lease.order_id).await?.ok_or(StepError::Lost)?;
    if !steps::end(&mut transaction, lease, StepEnd::Done, now).await? {
        return Err(StepError::Lost);
    }
    let expires = now.plus(installation.settings.restore_kept);
    restores::expires_set(&mut transaction, &order.id, expires, now).await?;
    let settings = &installation.settings;
    let failures = restores::failures(&mut transaction, &order.id, NAMED).await?;
    if failures.is_empty() {
        progress::advance(&mut transaction, &mut order, Signal::Delivered, None, now, settings).await?;
    } else {
        let named: Vec<String> = failures.iter().map(|file| format!("{}/{}", file.object_id, file.path)).collect();
        let message = match failures.len() as u32 {
            NAMED => sentence!("These files cannot be handed out: {} and perhaps others.", named.join(", ")),
            _ => sentence!("These files cannot be handed out: {}.", named.join(", ")),
        };
        let is_damage = failures.iter().any(|file| file.reason.as_deref().is_some_and(|text| text.contains("damaged")));
        let code = if is_damage { FailureCode::Fixity } else { FailureCode::NotPreserved };
        let failure = Some(Failure { code, message });
        progress::advance(&mut transaction, &mut order, Signal::Failed, failure, now, settings).await?;
    }
    record_restoration(&mut transaction, &order, expires, now).await?;
    transaction.commit().await?;
    trace::order_ended(&order);
    Ok(())
}

/// Each version of which files were made ready is an entry in the audit log. The files are listed where they are not all
/// that the version has, or where some of them cannot be handed out.
async fn record_restoration(
    transaction: &mut Transaction,
    order: &Order,
    expires: Timestamp,
    now: Timestamp,
) -> Result<(), StepError> {
    for version in restores::versions(transaction, &order.id).await? {
        let whole = packages::file_count(transaction, &version.package_id, version.number).await?;
        let whole = whole == Some(version.file_count);
        let listed = match (whole, version.failed) {
            (true, 0) => Vec::new(),
            (true, _) => restores::of_version(transaction, &order.id, &version, true).await?,
            (false, _) => restores::of_version(transaction, &order.id, &version, false).await?,
        };
        let file = |file: RestoreFile| AuditFile {
            path: file.path,
            size_bytes: Some(file.size_bytes),
            algorithm: Some(file.algorithm.to_string()),
            digest: Some(file.digest.to_string()),
            success: file.reason.is_none(),
            detail: file.reason.unwrap_or_default(),
        };
        let entry = AuditEntry {
            success: version.failed == 0,
            agent: format!("client {}", order.client_id),
            package_id: Some(version.package_id.clone()),
            object_id: Some(version.object_id.clone()),
            version: Some(version.number),
            label: Some(version.label.clone()).filter(|label| !label.is_empty()),
            size_bytes: Some(version.size_bytes),
            file_count: Some(version.file_count),
            detail: sentence!("restore {}, from the archive, can be fetched until {expires}", order.id),
            whole,
            files: listed.into_iter().map(file).collect(),
            ..AuditEntry::new(AuditKind::Restoration, &order.contract_id, now)
        };
        audit::record(transaction, entry);
    }
    Ok(())
}

/// Moves the order under the lease, in a transaction of its own: a client that polls sees where it stands.
async fn advance(installation: &Installation, lease: &Lease, signal: Signal) -> Result<(), StepError> {
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let mut order = orders::get_locked(&mut transaction, &lease.order_id).await?.ok_or(StepError::Lost)?;
    if !steps::holds(&mut transaction, lease).await? {
        return Err(StepError::Lost);
    }
    progress::advance(&mut transaction, &mut order, signal, None, now, &installation.settings).await?;
    Ok(transaction.commit().await?)
}

/// Asks for what lies in an archive class; how many files cannot be read yet.
async fn recall(installation: &Arc<Installation>, order: &Order, hold: &Hold) -> Result<usize, StepError> {
    let mut wanted: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = restores::files(&installation.database, &order.id, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.number;
        for file in page.into_iter().filter(|file| file.state == FileState::Pending) {
            wanted.entry(file.root).or_default().insert(file.content_path);
        }
    }
    let (context, holding, tier) =
        (Arc::clone(installation), hold.clone(), installation.settings.recall.tier(order.rank));
    let asking = tokio::task::spawn_blocking(move || {
        let storage = context.archive.storage().as_ref();
        let at_a_time = storage.reads_at_once().unwrap_or(REQUESTS_AT_ONCE);
        let mut missing = 0;
        for (root, paths) in &wanted {
            let found = storage.availability(root, &|path| paths.contains(path)).map_err(failed)?;
            let cold: Vec<&str> =
                found.iter().filter(|(_, found)| !found.is_readable()).map(|(path, _)| path.as_str()).collect();
            let readable = AtomicUsize::new(0);
            at_once(at_a_time, &cold, &|path: &&str| {
                if holding.is_over() {
                    return Err(if holding.is_lost() { StepError::Lost } else { StepError::Stopped });
                }
                let days = context.settings.recall.days;
                if storage.recall(&format!("{root}/{path}"), tier, days).map_err(failed)? == Recall::Readable {
                    readable.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })?;
            missing += cold.len().saturating_sub(readable.into_inner());
        }
        Ok(missing)
    });
    asking.await.map_err(|error| StepError::Passing(error.to_string()))?
}

fn failed(error: std::io::Error) -> StepError {
    StepError::Passing(sentence!("the content could not be recalled: {error}"))
}

/// It is on its way: the order says so, and the step is looked at again then.
async fn sleep(installation: &Installation, lease: &Lease, order: &Order) -> Result<(), StepError> {
    let settings = &installation.settings;
    let now = installation.clock.now();
    if now > order.created.plus(settings.recall.give_up) {
        let hours = settings.recall.give_up.as_secs() / 3600;
        let message = sentence!(
            "Files lie in cold storage, and the storage did not bring them back within {hours} hours. The archive has \
             been told."
        );
        let failure = Failure { code: FailureCode::System, message };
        return Err(StepError::Final { signal: Signal::Failed, failure, damage: None });
    }
    let mut transaction = installation.database.begin().await?;
    let mut order = orders::get_locked(&mut transaction, &order.id).await?.ok_or(StepError::Lost)?;
    let end = StepEnd::Asleep(now.plus(settings.recall.poll), WaitsFor::Recall);
    if !steps::end(&mut transaction, lease, end, now).await? {
        return Err(StepError::Lost);
    }
    progress::advance(&mut transaction, &mut order, Signal::RecallStarted, None, now, settings).await?;
    Ok(transaction.commit().await?)
}
