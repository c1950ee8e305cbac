//! Picking up: whose turn it is. One file of each contract at a time, several contracts at once, so that a contract that
//! hands in much holds nobody up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::list::ListReader;
use super::scan::{self, Found};
use super::shelf::{self, Shelf};
use super::work::{Ended, Job};
use crate::area::is_area_name;
use crate::db::chores::{self, PICK_UP};
use crate::db::submissions::{self, Submission, SubmissionState};
use crate::db::{Database, DatabaseError, contracts};
use crate::ids;
use crate::installation::Installation;
use crate::meter;
use crate::time::Timestamp;

/// How many notes are written in one transaction.
const BATCH: usize = 500;
/// How long it is remembered what became of a submission.
const REMEMBERED: Duration = Duration::from_secs(90 * 24 * 3600);
/// How often what need not be remembered is forgotten.
const FORGETTING: Duration = Duration::from_secs(3600);

/// What was done with submissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PickedUp {
    /// They became versions of packages.
    pub ingested: u64,
    /// They were lists, which have their answers.
    pub answered: u64,
    /// They were not valid.
    pub refused: u64,
    /// They are tried again later.
    pub postponed: u64,
}

/// Why picking up broke off. What it has not done is done by the next turn.
#[derive(Debug, thiserror::Error)]
pub enum PickupError {
    /// A directory cannot be used now.
    #[error("the areas: {0}")]
    Area(#[from] std::io::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Picks up what lies in the incoming directories of one installation.
#[derive(Debug)]
pub struct Pickup {
    installation: Arc<Installation>,
    holder: Arc<str>,
    reader: Option<Arc<dyn ListReader>>,
    /// Whether it was looked for files that nobody remembers.
    tidied: AtomicBool,
    forgot: Mutex<Option<Timestamp>>,
}

impl Pickup {
    /// One with a name of its own.
    pub fn new(installation: Arc<Installation>) -> Pickup {
        let (holder, tidied) = (ids::new_id().into(), AtomicBool::new(false));
        Pickup { installation, holder, reader: None, tidied, forgot: Mutex::default() }
    }

    /// With somebody who reads the lists among the submissions.
    #[must_use]
    pub fn reading(self, reader: Arc<dyn ListReader>) -> Pickup {
        Pickup { reader: Some(reader), ..self }
    }

    /// Picks up until it is told to stop, unless the settings say that nobody does.
    pub async fn run(self, stop: CancellationToken) {
        let Some(pause) = self.installation.settings.area.pickup else { return };
        while !stop.is_cancelled() {
            match self.pass(&stop).await {
                Ok(picked) if picked == PickedUp::default() => {}
                Ok(PickedUp { ingested, answered, refused, postponed }) => {
                    info!(ingested, answered, refused, postponed, "submissions were picked up");
                }
                Err(error) => warn!(%error, "submissions could not be picked up"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.installation.incoming_due(pause) => {}
            }
        }
    }

    /// Works on everything that may be worked on now; does nothing while another process is at it.
    pub async fn pass(&self, stop: &CancellationToken) -> Result<PickedUp, PickupError> {
        let Some(turn) = Turn::take(&self.installation, &self.holder, stop).await? else {
            return Ok(PickedUp::default());
        };
        let mut hands = Hands::default();
        let worked = self.work(&turn.halt, &mut hands).await;
        if worked.is_err() {
            turn.halt.cancel();
        }
        while let Some(ended) = hands.running.join_next().await {
            hands.count(ended);
        }
        turn.give_back().await?;
        worked.map(|()| hands.picked)
    }

    async fn work(&self, halt: &CancellationToken, hands: &mut Hands) -> Result<(), PickupError> {
        self.tidy().await?;
        self.scan(&hands.busy).await?;
        let settings = &self.installation.settings;
        let pause = settings.area.pickup.unwrap_or(settings.heartbeat);
        loop {
            while hands.running.len() < settings.worker_count.max(1) && !halt.is_cancelled() {
                let Some(job) = self.next(halt, hands).await? else { break };
                hands.begin(job);
            }
            if hands.running.is_empty() {
                return Ok(());
            }
            tokio::select! {
                Some(ended) = hands.running.join_next() => hands.count(ended),
                () = self.installation.incoming_due(pause), if !halt.is_cancelled() => self.scan(&hands.busy).await?,
            }
        }
    }

    /// Brings to an end what earlier turns left.
    async fn tidy(&self) -> Result<(), PickupError> {
        let database = &self.installation.database;
        let taken = submissions::taken(database).await?;
        for submission in &taken {
            let shelf = Shelf::new(&self.installation.areas, submission);
            let looking = shelf.clone();
            let holds = blocking(move || Ok(looking.holds())).await?;
            match submission.state {
                SubmissionState::Working if holds => {
                    submissions::reclaim(database, &submission.id, self.installation.clock.now()).await?;
                }
                SubmissionState::Waiting if holds => {}
                // It was noted and not taken. It is found again where it lies.
                SubmissionState::Working | SubmissionState::Waiting => {
                    forget(database, &submission.id).await?;
                }
                SubmissionState::Ingested | SubmissionState::Answered => clear(database, submission, shelf).await?,
                SubmissionState::Refused => give_back(database, submission, shelf).await?,
            }
        }
        if !self.tidied.swap(true, Ordering::Relaxed) {
            let known: BTreeSet<String> = taken.into_iter().map(|submission| submission.id).collect();
            let areas = self.installation.areas.clone();
            blocking(move || shelf::put_back_strays(&areas, |id| known.contains(id))).await?;
        }
        let now = self.installation.clock.now();
        let is_due = {
            let mut forgot = self.forgot.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = forgot.is_none_or(|forgot| now.since(forgot) >= FORGETTING);
            if is_due {
                *forgot = Some(now);
            }
            is_due
        };
        if is_due {
            submissions::forget_done(database, now.minus(REMEMBERED)).await?;
        }
        Ok(())
    }

    /// Looks at the incoming directories, but for those of contracts that are worked on: there, files come and go now.
    async fn scan(&self, busy: &BTreeSet<String>) -> Result<(), PickupError> {
        let database = &self.installation.database;
        let mut contract_ids = contracts::ids(database).await?;
        contract_ids.retain(|id| is_area_name(id) && !busy.contains(id));
        let mut known: BTreeMap<String, Vec<Submission>> = BTreeMap::new();
        for submission in submissions::lying(database).await? {
            known.entry(submission.contract_id.clone()).or_default().push(submission);
        }
        let areas = self.installation.areas.clone();
        let looking = blocking(move || {
            let look = |id: String| {
                let found = scan::look(&areas.incoming(&id));
                (id, found)
            };
            Ok(contract_ids.into_iter().map(look).collect::<Vec<_>>())
        });
        for (contract_id, found) in looking.await? {
            match found {
                Ok(found) => {
                    let known = known.remove(&contract_id).unwrap_or_default();
                    self.note(&contract_id, known, found).await?;
                }
                // The other contracts are not held up by it.
                Err(error) => warn!(%contract_id, %error, "an incoming directory cannot be read"),
            }
        }
        Ok(())
    }

    /// Notes what lies in the incoming directory of a contract.
    async fn note(&self, contract_id: &str, known: Vec<Submission>, found: Vec<Found>) -> Result<(), DatabaseError> {
        let now = self.installation.clock.now();
        let settled = now.plus(self.installation.settings.area.settle);
        let mut known: BTreeMap<String, Submission> =
            known.into_iter().map(|submission| (submission.path.clone(), submission)).collect();
        let mut changes = Vec::new();
        for file in found {
            match known.remove(&file.path) {
                None => changes.push(Change::New(self.submission(contract_id, file, settled, now))),
                Some(known) if known.stamp != file.stamp => changes.push(Change::Other(known.id, file.stamp, settled)),
                // Its sender wants to have it looked at again.
                Some(known) if known.state == SubmissionState::Refused && !file.has_report => {
                    changes.push(Change::Other(known.id, file.stamp, now));
                }
                Some(_) => {}
            }
        }
        changes.extend(known.into_values().map(|submission| Change::Gone(submission.id)));
        for some in changes.chunks(BATCH) {
            let mut transaction = self.installation.database.begin().await?;
            for change in some {
                match change {
                    Change::New(submission) => submissions::insert(&mut transaction, submission).await?,
                    Change::Other(id, stamp, due) => {
                        submissions::renew(&mut transaction, id, *stamp, *due, now).await?;
                    }
                    Change::Gone(id) => submissions::forget(&mut transaction, id).await?,
                }
            }
            transaction.commit().await?;
        }
        Ok(())
    }

    /// The note of a file that was not known yet.
    fn submission(&self, contract_id: &str, found: Found, due: Timestamp, now: Timestamp) -> Submission {
        let name = found.path.rsplit('/').next().unwrap_or(&found.path).to_owned();
        let is_list = self.reader.as_ref().is_some_and(|reader| reader.takes(&name));
        Submission {
            id: ids::new_id(),
            contract_id: contract_id.to_owned(),
            object_id: (!is_list).then(|| scan::object_id(&name).to_owned()),
            path: found.path,
            name,
            stamp: found.stamp,
            state: SubmissionState::Waiting,
            taken: false,
            attempts: 0,
            due,
            reason: None,
            package_id: None,
            version: None,
            created: now,
            updated: now,
        }
    }

    /// Takes the next file, of the next contract that has one.
    async fn next(&self, halt: &CancellationToken, hands: &mut Hands) -> Result<Option<Job>, PickupError> {
        let Installation { database, clock, .. } = self.installation.as_ref();
        loop {
            let mut contract_ids = submissions::due_contracts(database, clock.now()).await?;
            contract_ids.retain(|id| !hands.busy.contains(id));
            let after = contract_ids.iter().find(|id| **id > hands.last).or(contract_ids.first());
            let Some(contract_id) = after else { return Ok(None) };
            let Some(submission) = submissions::next_of(database, contract_id, clock.now()).await? else { continue };
            hands.last.clone_from(contract_id);
            if !submissions::take(database, &submission.id, &self.holder, clock.now()).await? {
                continue;
            }
            let shelf = Shelf::new(&self.installation.areas, &submission);
            let (taking, stamp, is_here) = (shelf.clone(), submission.stamp, submission.taken);
            let job = Job {
                installation: Arc::clone(&self.installation),
                holder: Arc::clone(&self.holder),
                reader: self.reader.clone(),
                submission,
                shelf,
                halt: halt.clone(),
            };
            match blocking(move || if is_here { Ok(taking.holds()) } else { taking.take(stamp) }).await {
                Ok(true) => return Ok(Some(job)),
                // It is another one by now, or gone.
                Ok(false) => forget(database, &job.submission.id).await?,
                Err(error) => hands.picked.add(&job.postpone(&error.to_string()).await?),
            }
        }
    }
}

/// What the look at a directory changes.
enum Change {
    New(Submission),
    Other(String, submissions::FileStamp, Timestamp),
    Gone(String),
}

/// What is worked on.
#[derive(Default)]
struct Hands {
    running: JoinSet<(String, Result<Ended, PickupError>)>,
    /// The contracts of it.
    busy: BTreeSet<String>,
    /// The contract that had the last turn.
    last: String,
    picked: PickedUp,
}

impl Hands {
    fn begin(&mut self, job: Job) {
        let contract_id = job.submission.contract_id.clone();
        self.busy.insert(contract_id.clone());
        self.running.spawn(async move { (contract_id, job.run().await) });
    }

    fn count(&mut self, ended: Result<(String, Result<Ended, PickupError>), tokio::task::JoinError>) {
        match ended {
            Ok((contract_id, ended)) => {
                self.busy.remove(&contract_id);
                match ended {
                    Ok(ended) => self.picked.add(&ended),
                    // The next turn finds it where it was left.
                    Err(error) => warn!(%contract_id, %error, "the work on a submission broke off"),
                }
            }
            Err(error) => error!(%error, "the work on a submission ended in a panic"),
        }
    }
}

impl PickedUp {
    fn add(&mut self, ended: &Ended) {
        match ended {
            Ended::Ingested => self.ingested += 1,
            Ended::Answered => self.answered += 1,
            Ended::Refused => self.refused += 1,
            Ended::Postponed => self.postponed += 1,
            Ended::Left => return,
        }
        meter::submission_ended(ended.name());
    }
}

/// The chore, held until it is given back or lost.
struct Turn {
    installation: Arc<Installation>,
    holder: Arc<str>,
    /// Cancelled when the work is to stop.
    halt: CancellationToken,
    renewing: JoinHandle<()>,
}

impl Turn {
    async fn take(
        installation: &Arc<Installation>,
        holder: &Arc<str>,
        stop: &CancellationToken,
    ) -> Result<Option<Turn>, DatabaseError> {
        if !claim(installation, holder).await? {
            return Ok(None);
        }
        let halt = stop.child_token();
        let renewing = tokio::spawn(renew(Arc::clone(installation), Arc::clone(holder), halt.clone()));
        Ok(Some(Turn { installation: Arc::clone(installation), holder: Arc::clone(holder), halt, renewing }))
    }

    async fn give_back(self) -> Result<(), DatabaseError> {
        chores::end(&self.installation.database, PICK_UP, &self.holder, None).await
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn claim(installation: &Installation, holder: &str) -> Result<bool, DatabaseError> {
    let now = installation.clock.now();
    let until = now.plus(installation.settings.lease);
    Ok(chores::claim(&installation.database, PICK_UP, holder, now, until).await?.is_some())
}

/// Keeps the chore until it is lost: then all work on it stops.
async fn renew(installation: Arc<Installation>, holder: Arc<str>, halt: CancellationToken) {
    let mut until = installation.clock.now().plus(installation.settings.lease);
    loop {
        tokio::time::sleep(installation.settings.heartbeat).await;
        match claim(&installation, &holder).await {
            Ok(true) => until = installation.clock.now().plus(installation.settings.lease),
            Ok(false) => break,
            // The database may be back before the lease is over.
            Err(error) if installation.clock.now() < until => {
                debug!(%error, "the lease on the submissions could not be renewed");
            }
            Err(_) => break,
        }
    }
    warn!("another process picks up submissions now");
    halt.cancel();
}

pub(super) async fn forget(database: &Database, id: &str) -> Result<(), DatabaseError> {
    let mut transaction = database.begin().await?;
    submissions::forget(&mut transaction, id).await?;
    transaction.commit().await
}

/// Clears away what became something else.
pub(super) async fn clear(database: &Database, submission: &Submission, shelf: Shelf) -> Result<(), PickupError> {
    blocking(move || shelf.clear()).await?;
    let mut transaction = database.begin().await?;
    submissions::settle(&mut transaction, submission, None).await?;
    Ok(transaction.commit().await?)
}

/// Gives a file back that was not accepted.
pub(super) async fn give_back(database: &Database, submission: &Submission, shelf: Shelf) -> Result<(), PickupError> {
    let stamp = blocking(move || shelf.give_back()).await?;
    let mut transaction = database.begin().await?;
    match stamp {
        Some(stamp) => submissions::settle(&mut transaction, submission, Some(stamp)).await?,
        None => submissions::forget(&mut transaction, &submission.id).await?,
    }
    Ok(transaction.commit().await?)
}

/// Runs what blocks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other).and_then(|done| done)
}
