//! The work on one submission: it is ingested, and what became of it is noted.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::agent;
use super::list::ListReader;
use super::pickup::{PickupError, blocking, clear, forget, give_back};
use super::report::Refusal;
use super::shelf::Shelf;
use crate::db::events::{Event, EventKind};
use crate::db::submissions::{self, Outcome, Submission, SubmissionState};
use crate::db::{events, packages};
use crate::ingest::{IngestCommand, IngestControl, IngestError, Ingested, Unattended, ingest};
use crate::installation::Installation;

/// How the work on a submission ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is a version of a package.
    Ingested,
    /// It was a list, and its answer lies in the outgoing directory.
    Answered,
    /// It is not valid.
    Refused,
    /// It is tried again later.
    Postponed,
    /// It is left for somebody else, or for later, without anything to say of it.
    Left,
}

impl Ended {
    pub(super) fn name(self) -> &'static str {
        match self {
            Ended::Ingested => "ingested",
            Ended::Answered => "answered",
            Ended::Refused => "refused",
            Ended::Postponed => "postponed",
            Ended::Left => "left",
        }
    }
}

/// A submission that was taken from its sender.
pub(super) struct Job {
    pub(super) installation: Arc<Installation>,
    pub(super) holder: Arc<str>,
    /// Whoever reads the lists among the submissions.
    pub(super) reader: Option<Arc<dyn ListReader>>,
    pub(super) submission: Submission,
    pub(super) shelf: Shelf,
    /// Cancelled when the work is to stop.
    pub(super) halt: CancellationToken,
}

impl Job {
    pub(super) async fn run(self) -> Result<Ended, PickupError> {
        match (&self.submission.object_id, &self.reader) {
            (Some(object_id), _) => self.ingest(object_id).await,
            (None, Some(reader)) => self.answer(reader).await,
            (None, None) => self.postpone("nobody here reads lists").await,
        }
    }

    async fn ingest(&self, object_id: &str) -> Result<Ended, PickupError> {
        let Submission { contract_id, name, .. } = &self.submission;
        let command = IngestCommand {
            path: self.shelf.file(),
            contract_id: contract_id.clone(),
            object_id: object_id.to_owned(),
            container_name: Some(name.clone()),
            unattended: Some(Unattended { agent: agent(contract_id) }),
            ..IngestCommand::default()
        };
        let file = command.path.clone();
        let seen = blocking(move || signs(&file)).await?;
        let changed = Arc::new(AtomicBool::new(false));
        let control = IngestControl { cancelled: self.watch(seen, Arc::clone(&changed)), ..IngestControl::default() };
        let ingested = ingest(&self.installation, command, control).await;
        let file = self.shelf.file();
        let is_changed = changed.load(Ordering::Relaxed) || blocking(move || signs(&file)).await? != seen;
        match ingested {
            Ok(ingested) => self.ingested(&ingested).await,
            Err(_) if is_changed => self.hand_back().await,
            // The next turn goes on with it.
            Err(IngestError::Cancelled) => Ok(Ended::Left),
            Err(error) => match Refusal::of(&error, &self.shelf.file(), name) {
                Some(refusal) => self.refuse(&refusal).await,
                None => self.postpone(&error.to_string()).await,
            },
        }
    }

    /// Nothing is said about a file that changes while it is read: it waits until it is complete.
    async fn hand_back(&self) -> Result<Ended, PickupError> {
        let Submission { id, contract_id, name, .. } = &self.submission;
        warn!(submission_id = %id, %contract_id, %name, "a submission was changed while it was read");
        give_back(&self.installation.database, &self.submission, self.shelf.clone()).await?;
        forget(&self.installation.database, id).await?;
        Ok(Ended::Left)
    }

    /// Whether to stop: because of the process, or because the file changes although it is out of its sender's reach, as
    /// it may if somebody had it open all the time.
    fn watch(&self, seen: Signs, changed: Arc<AtomicBool>) -> Box<dyn Fn() -> bool + Send + Sync> {
        let (halt, file) = (self.halt.clone(), self.shelf.file());
        Box::new(move || {
            if halt.is_cancelled() {
                return true;
            }
            let is_changed = signs(&file).is_ok_and(|now| now != seen);
            changed.fetch_or(is_changed, Ordering::Relaxed);
            is_changed
        })
    }

    async fn ingested(&self, ingested: &Ingested) -> Result<Ended, PickupError> {
        let Installation { database, .. } = self.installation.as_ref();
        let Submission { id, contract_id, name, .. } = &self.submission;
        let package = packages::get(database, &ingested.package_id).await?;
        let object_id = package.map(|package| package.object_id);
        let object_id = object_id.as_deref().or(self.submission.object_id.as_deref()).unwrap_or(name);
        let outcome = Outcome {
            state: SubmissionState::Ingested,
            reason: None,
            package: Some((&ingested.package_id, ingested.version, object_id)),
        };
        if !self.end(&outcome, None).await? {
            return Ok(Ended::Left);
        }
        let (package_id, version, unchanged) = (&ingested.package_id, ingested.version, ingested.unchanged);
        info!(submission_id = %id, %contract_id, %name, %package_id, version, unchanged, "submission ingested");
        for warning in &ingested.warnings {
            warn!(submission_id = %id, %contract_id, %name, %warning, "submission ingested with a warning");
        }
        clear(database, &self.submission, self.shelf.clone()).await?;
        Ok(Ended::Ingested)
    }

    /// Nothing of it is stored: its sender gets it back, with a report.
    pub(super) async fn refuse(&self, refusal: &Refusal) -> Result<Ended, PickupError> {
        let Submission { id, contract_id, path, name, .. } = &self.submission;
        let now = self.installation.clock.now();
        let (shelf, text) = (self.shelf.clone(), refusal.text(&self.submission, now));
        blocking(move || shelf.keep_report(&text)).await?;
        let reason = refusal.summary();
        let mut event = Event::new(EventKind::SubmissionRefused, now);
        (event.success, event.agent) = (false, agent(contract_id));
        event.detail = format!("{path}: {reason}");
        let outcome = Outcome { state: SubmissionState::Refused, reason: Some(&reason), package: None };
        if !self.end(&outcome, Some(event)).await? {
            return Ok(Ended::Left);
        }
        info!(submission_id = %id, %contract_id, %name, %reason, "submission refused");
        give_back(&self.installation.database, &self.submission, self.shelf.clone()).await?;
        Ok(Ended::Refused)
    }

    /// It stays here until something has passed that is not its sender's fault.
    pub(super) async fn postpone(&self, reason: &str) -> Result<Ended, PickupError> {
        let Installation { database, clock, settings, .. } = self.installation.as_ref();
        let Submission { id, contract_id, name, attempts, .. } = &self.submission;
        let wait = settings.backoff.saturating_mul(1 << (*attempts).min(20)).min(settings.max_backoff);
        warn!(submission_id = %id, %contract_id, %name, %reason, ?wait, "a submission has to wait");
        let now = clock.now();
        let postponed = submissions::postpone(database, id, &self.holder, reason, now.plus(wait), now).await?;
        Ok(if postponed { Ended::Postponed } else { Ended::Left })
    }

    /// Notes what it became; `false` when somebody else works on it.
    async fn end(&self, outcome: &Outcome<'_>, event: Option<Event>) -> Result<bool, PickupError> {
        let Installation { database, clock, .. } = self.installation.as_ref();
        let mut transaction = database.begin().await?;
        if !submissions::end(&mut transaction, &self.submission.id, &self.holder, outcome, clock.now()).await? {
            return Ok(false);
        }
        if let Some(event) = event {
            events::insert(&mut transaction, &event).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }
}

/// What no writing to a file leaves as it was.
type Signs = (u64, u64, i64, i64, i64, i64);

fn signs(file: &Path) -> io::Result<Signs> {
    let file = file.symlink_metadata()?;
    Ok((file.ino(), file.size(), file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()))
}
