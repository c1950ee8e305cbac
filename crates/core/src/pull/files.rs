//! The files of one deposit: several are fetched at a time, straight into the draft of the version.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use dipper_archive::digest::Algorithm;
use dipper_archive::ocfl::{self, Draft, Expected, StagedFile};
use reqwest::Response;
use tokio::runtime::Handle;
use tracing::{debug, warn};
use url::Url;

use super::Fault;
use super::body::{Body, Limits};
use super::earlier::{Earlier, Known};
use super::request::{Requests, Resume};
use crate::db::DatabaseError;
use crate::db::deposits::{self, DepositFile, DepositView, FileState};
use crate::db::steps::{self, Lease, StepKind};
use crate::gateway::{self, Gateway};
use crate::hold::Hold;
use crate::installation::Installation;
use crate::meter;
use crate::sentence::sentence;
use crate::settings::backoff;
use crate::steps::StepError;
use crate::steps::pull::archive_failed;

/// How many files are read from the catalogue at a time.
const PAGE: u32 = 1000;
/// How many files are noted in the catalogue together, and how long one waits for others.
const NOTED: usize = 1000;
const NOTED_AFTER: Duration = Duration::from_secs(2);
/// How often it is looked whether a wait is to end.
const LOOK: Duration = Duration::from_millis(100);

/// The files that are still to be taken.
#[derive(Default)]
struct Feed {
    waiting: VecDeque<DepositFile>,
    after: u64,
    is_read: bool,
}

/// What the catalogue is to be told.
struct Notes {
    retrieved: Vec<(u64, u64)>,
    existing: Vec<(u64, u64)>,
    since: Instant,
}

/// The fetching of one deposit's files, on threads that may block.
pub(crate) struct Pull<'a> {
    installation: &'a Installation,
    lease: &'a Lease,
    hold: &'a Hold,
    /// The object is no longer this process's to change.
    lost: &'a AtomicBool,
    view: &'a DepositView,
    draft: &'a Draft<'a>,
    earlier: Option<Earlier<'a>>,
    requests: Requests,
    runtime: Handle,
    gateway: Mutex<Arc<Gateway>>,
    feed: Mutex<Feed>,
    notes: Mutex<Notes>,
    /// How many files may be fetched at a time now.
    at_once: AtomicUsize,
    is_done: AtomicBool,
    /// The fault that ends it, with the file that has it. No further file is taken then.
    failed: Mutex<Option<(String, Fault)>>,
    /// Nothing that is being fetched is of use any more.
    is_vain: AtomicBool,
}

impl<'a> Pull<'a> {
    pub(crate) fn new(
        installation: &'a Installation,
        (lease, hold, lost): (&'a Lease, &'a Hold, &'a AtomicBool),
        view: &'a DepositView,
        gateway: Gateway,
        draft: &'a Draft<'a>,
        runtime: Handle,
    ) -> Result<Pull<'a>, Fault> {
        let failed = |error: &dyn std::fmt::Display| Fault::Step(StepError::Passing(error.to_string()));
        let requests = Requests::new(&installation.settings).map_err(|error| failed(&error))?;
        let earlier = draft.base().map(Earlier::of).transpose().map_err(|error| failed(&error))?;
        Ok(Pull {
            installation,
            lease,
            hold,
            lost,
            view,
            draft,
            earlier,
            requests,
            runtime,
            gateway: Mutex::new(Arc::new(gateway)),
            feed: Mutex::default(),
            notes: Mutex::new(Notes { retrieved: Vec::new(), existing: Vec::new(), since: Instant::now() }),
            at_once: AtomicUsize::new(1),
            is_done: AtomicBool::new(false),
            failed: Mutex::new(None),
            is_vain: AtomicBool::new(false),
        })
    }

    /// Has every file in the draft; otherwise says which one failed first. What was fetched is kept.
    pub(crate) fn run(&self) -> Result<(), (String, Fault)> {
        let most = self.installation.settings.deposit.at_once.max(1);
        self.divide();
        thread::scope(|scope| {
            for index in 1..most {
                scope.spawn(move || self.work(index));
            }
            self.work(0);
        });
        let told = self.tell(true);
        if let Some(failed) = lock(&self.failed).take() {
            return Err(failed);
        }
        told.map_err(|fault| (String::new(), fault))
    }

    /// Whether the work is to be dropped.
    fn is_over(&self) -> bool {
        self.hold.is_over() || self.lost.load(Ordering::Relaxed) || self.is_vain.load(Ordering::Relaxed)
    }

    fn work(&self, index: usize) {
        while !self.is_over() && !self.is_done.load(Ordering::Relaxed) && lock(&self.failed).is_none() {
            if index >= self.at_once.load(Ordering::Relaxed) {
                thread::park_timeout(LOOK);
                continue;
            }
            let file = match self.next() {
                Ok(Some(file)) => file,
                Ok(None) => {
                    self.is_done.store(true, Ordering::Relaxed);
                    return;
                }
                Err(error) => return self.fail(String::new(), error.into()),
            };
            let done = self.take(&file).and_then(|(state, len)| {
                if state == FileState::Existing {
                    meter::file_known();
                }
                self.note(state, file.number, len)
            });
            if let Err(fault) = done {
                return self.fail(file.path, fault);
            }
        }
    }

    /// Where the gateway is away for one file, those that are being fetched are brought to their end: they are kept.
    fn fail(&self, path: String, fault: Fault) {
        let is_vain = !matches!(fault, Fault::Passing(..) | Fault::NoRest);
        let mut failed = lock(&self.failed);
        if failed.is_none() || (is_vain && !self.is_vain.load(Ordering::Relaxed)) {
            *failed = Some((path, fault));
        }
        self.is_vain.fetch_or(is_vain, Ordering::Relaxed);
    }

    fn next(&self) -> Result<Option<DepositFile>, DatabaseError> {
        let mut feed = lock(&self.feed);
        if feed.waiting.is_empty() && !feed.is_read {
            let database = &self.installation.database;
            let reading = deposits::files(database, &self.view.order.id, feed.after, PAGE);
            let page = self.runtime.block_on(reading)?;
            feed.after = page.last().map_or(feed.after, |file| file.number);
            feed.is_read = page.len() < PAGE as usize;
            feed.waiting.extend(page);
        }
        Ok(feed.waiting.pop_front())
    }

    /// Has one file in the draft: from an earlier version, from an interrupted attempt, or from the gateway.
    fn take(&self, file: &DepositFile) -> Result<(FileState, u64), Fault> {
        let known = self.earlier.as_ref().and_then(|earlier| earlier.find(file));
        if let Some(known) = known.as_ref().filter(|known| known.is_proven && known.is_complete)
            && self.draft.keep(&file.path, known.file.digest).map_err(archive_fault)?
        {
            return Ok((FileState::Existing, known.len));
        }
        let stamp = &self.view.order.id;
        if let Some(staged) = self.draft.take_staged(&file.path, stamp).map_err(archive_fault)? {
            let state = if known.is_some() { FileState::Existing } else { FileState::Retrieved };
            return Ok((state, staged.len));
        }
        if let Some(known) = known
            && self.read_again(file, &known)?
        {
            return Ok((FileState::Existing, known.len));
        }
        self.fetch(file).map(|len| (FileState::Retrieved, len))
    }

    /// Reads a file of an earlier version of which not every digest is known; whether it is the deposited one.
    fn read_again(&self, file: &DepositFile, known: &Known<'_>) -> Result<bool, Fault> {
        let Some(earlier) = &self.earlier else { return Ok(false) };
        let expected = Expected { len: Some(known.len), digests: &file.digests };
        let read = earlier.object().open_verified(&known.file);
        let added = read
            .and_then(|mut source| self.draft.add(&file.path, &mut source, &expected, &self.view.order.id).map(|_| ()));
        match added {
            Ok(()) => Ok(true),
            // It cannot be read now, but what is known of it suffices.
            Err(_) if known.is_proven => self.draft.keep(&file.path, known.file.digest).map_err(archive_fault),
            Err(error) => {
                debug!(path = %file.path, %error, "the file of an earlier version is not the deposited one");
                Ok(false)
            }
        }
    }

    /// Fetches a file, again and again if need be.
    fn fetch(&self, file: &DepositFile) -> Result<u64, Fault> {
        let settings = &self.installation.settings.deposit;
        let mut failures = 0;
        loop {
            let gateway = Arc::clone(&lock(&self.gateway));
            let fault = match self.fetch_once(file, &gateway) {
                Ok(staged) => {
                    meter::file_fetched(staged.len);
                    return Ok(staged.len);
                }
                // The part of it that was kept was not right; from its beginning it may be.
                Err(Fault::Misfit) => continue,
                Err(fault) => fault,
            };
            if let Some(reason) = fault.reason() {
                meter::file_failed(reason);
            }
            failures += 1;
            if !fault.may_repeat() || failures >= settings.attempts {
                return Err(fault);
            }
            if let Fault::SignIn(_) = fault
                && self.gateway_now()?.registered == gateway.registered
            {
                return Err(fault);
            }
            warn!(path = %file.path, %fault, failures, "a file could not be fetched, and is asked for again");
            let pause = backoff(settings.backoff, settings.max_backoff, failures);
            let asked = if let Fault::Passing(_, Some(asked)) = fault { asked } else { Duration::ZERO };
            self.pause(pause.max(asked))?;
            self.gateway_now()?;
        }
    }

    fn fetch_once(&self, file: &DepositFile, gateway: &Gateway) -> Result<StagedFile, Fault> {
        let settings = &self.installation.settings.deposit;
        let (url, checksum) = self.address(file, gateway)?;
        let ask = |resume: Option<&Resume>| -> Result<Response, Fault> {
            let asking = self.requests.get(gateway, &url, &checksum, resume);
            self.runtime.block_on(asking)
        };
        let is_over = || self.is_over();
        let limits = Limits {
            declared: file.size_bytes,
            longest: settings.max_file_bytes,
            stall: settings.timeout,
            bytes_per_second: settings.min_bytes_per_second,
        };
        let mut body = Body::new(&self.runtime, limits, &is_over, &ask);
        let expected = Expected { len: file.size_bytes, digests: &file.digests };
        let added = self.draft.add_from(&file.path, &mut body, &expected, &self.view.order.id);
        let is_rest = body.is_rest();
        added.map_err(|error| match (body.into_fault(), error) {
            (Some(fault), _) => fault,
            (None, ocfl::Error::Altered { .. } | ocfl::Error::Length { .. }) if is_rest => Fault::Misfit,
            (None, ocfl::Error::Altered { algorithm, expected, found, .. }) => Fault::Mismatch(sentence!(
                "what the gateway sends has the {algorithm} checksum {found}, and {expected} was declared"
            )),
            (None, ocfl::Error::Length { expected, found, .. }) => {
                Fault::Mismatch(sentence!("the gateway sends {found} bytes, and {expected} were declared"))
            }
            (None, error) => archive_fault(error),
        })
    }

    /// Where a file is, and the checksum with which it is asked for: one of the type that the depositor uses.
    fn address(&self, file: &DepositFile, gateway: &Gateway) -> Result<(Url, String), Fault> {
        let deposit = &self.view.deposit;
        let usual = file.digests.iter().find(|(algorithm, _)| *algorithm == deposit.checksum_type);
        let checksum = usual.or(file.digests.first()).map(|(_, digest)| digest.to_string());
        let url = gateway.file_url(&deposit.object_id, &deposit.label, &file.path);
        let unfit = || Fault::Refused(sentence!("the file has no address at the gateway"));
        url.zip(checksum).ok_or_else(unfit)
    }

    /// The gateway as it is registered now.
    fn gateway_now(&self) -> Result<Arc<Gateway>, Fault> {
        let loading = gateway::load(self.installation, &self.view.order.contract_id);
        let mut known = lock(&self.gateway);
        if let Some(found) = self.runtime.block_on(loading)?
            && found != **known
        {
            *known = Arc::new(found);
        }
        Ok(Arc::clone(&known))
    }

    fn pause(&self, pause: Duration) -> Result<(), Fault> {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if self.is_over() {
                return Err(Fault::Stopped);
            }
            thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    fn note(&self, state: FileState, number: u64, len: u64) -> Result<(), Fault> {
        let is_due = {
            let mut notes = lock(&self.notes);
            match state {
                FileState::Existing => notes.existing.push((number, len)),
                FileState::Pending | FileState::Retrieved => notes.retrieved.push((number, len)),
            }
            notes.retrieved.len() + notes.existing.len() >= NOTED || notes.since.elapsed() >= NOTED_AFTER
        };
        if is_due { self.tell(false) } else { Ok(()) }
    }

    /// Tells the catalogue how far it is. While the database is away, the notes are kept.
    fn tell(&self, insist: bool) -> Result<(), Fault> {
        let mut notes = lock(&self.notes);
        notes.since = Instant::now();
        if notes.retrieved.is_empty() && notes.existing.is_empty() {
            return Ok(());
        }
        // What the catalogue says to be there is there after a crash too.
        self.draft.checkpoint().map_err(archive_fault)?;
        match self.runtime.block_on(self.write(&notes)) {
            Ok(true) => {
                notes.retrieved.clear();
                notes.existing.clear();
                drop(notes);
                self.divide();
                self.gateway_now().map(|_| ())
            }
            Ok(false) => Err(Fault::Stopped),
            Err(error) if error.is_busy() && !insist => {
                warn!(%error, "how far a deposit is could not be noted");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// `false` when the lease does not hold any more.
    async fn write(&self, notes: &Notes) -> Result<bool, DatabaseError> {
        let mut transaction = self.installation.database.begin().await?;
        if !steps::holds(&mut transaction, self.lease).await? {
            return Ok(false);
        }
        for (state, files) in [(FileState::Retrieved, &notes.retrieved), (FileState::Existing, &notes.existing)] {
            deposits::progress(&mut transaction, &self.view.order.id, state, files).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// The deposits of a contract that run at the same time, in whatever processes, divide what its gateway may be asked
    /// for at a time.
    fn divide(&self) {
        let database = &self.installation.database;
        let asking = steps::held_of_contract(database, StepKind::Pull, &self.view.order.contract_id);
        if let Ok(running) = self.runtime.block_on(asking) {
            let running = usize::try_from(running).unwrap_or(usize::MAX).max(1);
            let at_once = (self.installation.settings.deposit.at_once / running).max(1);
            self.at_once.store(at_once, Ordering::Relaxed);
        }
    }
}

/// The digests that a version has besides the content digest, so that its depositor can ask with any type.
pub(crate) const FIXITY: &[Algorithm] = &[Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512];

fn archive_fault(error: ocfl::Error) -> Fault {
    match error {
        ocfl::Error::LogicalPath { path, reason } => Fault::Refused(format!("the path {path:?} {reason}")),
        error => Fault::Step(archive_failed(error)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
