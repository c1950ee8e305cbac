//! The regular check of everything that is stored: every package is read whole, all its versions, and held against its
//! digests within a configured period, the one that was read longest ago first (`plan.rs` says how much a day). What is
//! read whole for an order, or by `dipper verify`, counts as read.
//!
//! Each package is claimed under a lease, so that several processes share the work and none does it twice. It is a guest:
//! while this process prepares orders it waits, unless it is behind by more than an hour's share of the day. Damage is
//! looked at twice, and not believed at all while the storage root itself does not answer.

pub mod plan;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use dipper_archive::ocfl::{self, ObjectReport, ValidateOptions, validate_object};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::audit::AuditFile;
use crate::db::checks::{self, Amount, Claimed, Standing};
use crate::db::packages::PackageState;
use crate::db::{Database, DatabaseError, package_figures};
use crate::fixity::{self, Check};
use crate::ids;
use crate::installation::Installation;
use crate::meter;
use crate::sentence::sentence;
use crate::time::Timestamp;
use crate::verify;

use plan::Pace;

/// How long the rate holds that was computed.
const RATE_HOLDS: Duration = Duration::from_secs(300);
/// The longest wait for something to do.
const LONGEST_REST: Duration = Duration::from_secs(600);
/// The longest sleep while a file is being read: a stopping process waits for it.
const NAP: Duration = Duration::from_millis(50);
/// How long a package is let alone that could not be read now.
const LET_ALONE: Duration = Duration::from_secs(3600);

/// The regular check, as it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixitySettings {
    /// Within which time every package is read again; `None` for never.
    pub period: Option<Duration>,
    /// How many bytes a second this process reads for it; 0 for as many as it can.
    pub bytes_per_second: u64,
    /// How many files it reads at a time.
    pub threads: usize,
}

impl Default for FixitySettings {
    fn default() -> FixitySettings {
        FixitySettings { period: Some(plan::DAY * 90), bytes_per_second: 0, threads: 1 }
    }
}

/// What came of one package's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing was due.
    Rest(Duration),
    /// It was read and matched.
    Intact(String),
    /// It is damaged.
    Damaged(String),
    /// It could not be read now, or somebody else has dealt with it meanwhile.
    Postponed(String),
}

/// Why a turn broke off.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// The catalogue failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The reading itself ended.
    #[error("the check was interrupted: {0}")]
    Interrupted(String),
}

/// Where the regular check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The period, if anything is read regularly.
    pub period: Option<Duration>,
    /// What there is, and what of it was read.
    pub standing: Standing,
    /// How much is to be read on this day.
    pub slice_bytes: u64,
    /// How much of that is done.
    pub today: Amount,
    /// Packages that are marked as damaged.
    pub damaged: u64,
    /// The time of all this.
    pub now: Timestamp,
}

/// Reads packages again, for one process.
#[derive(Clone, Debug)]
pub struct Scrubber {
    installation: Arc<Installation>,
    rate: Arc<Mutex<Option<Rate>>>,
}

/// How much is to be read on a day, computed at a time.
#[derive(Clone, Copy, Debug)]
struct Rate {
    daily: u64,
    at: Timestamp,
}

impl Scrubber {
    /// A scrubber for an installation.
    pub fn new(installation: Arc<Installation>) -> Scrubber {
        Scrubber { installation, rate: Arc::default() }
    }

    /// Reads what is due until it is told to stop.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let rest = match self.turn(&stop).await {
                Ok(Turn::Rest(rest)) => rest.clamp(Duration::from_secs(1), LONGEST_REST),
                Ok(_) => continue,
                Err(error) => {
                    warn!(%error, "packages could not be read again");
                    LONGEST_REST / 10
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.installation.check_asked_for(rest) => {}
            }
        }
    }

    /// Reads the package whose turn it is, if it is the turn of one.
    pub async fn turn(&self, stop: &CancellationToken) -> Result<Turn, ScrubError> {
        let installation = &self.installation;
        let Some(period) = installation.settings.fixity.period else { return Ok(Turn::Rest(LONGEST_REST)) };
        let now = installation.clock.now();
        let behind = match self.pace(period, now).await? {
            Pace::Rest(rest) => return Ok(Turn::Rest(rest)),
            Pace::Go { behind } => behind,
        };
        let holder = format!("{} {}", installation.holder, ids::new_id());
        let until = now.plus(installation.settings.lease);
        let before = now.minus(plan::slot_length(period));
        let claimed = checks::claim(&installation.database, &holder, now, before, until).await?;
        // Whatever is there is being read already.
        let Some(claimed) = claimed else { return Ok(Turn::Rest(LONGEST_REST)) };
        let lost = CancellationToken::new();
        let renewing =
            tokio::spawn(renew(Arc::clone(installation), claimed.package_id.clone(), holder.clone(), lost.clone()));
        let turn = self.read(&claimed, &holder, behind, stop, &lost).await;
        renewing.abort();
        if !matches!(turn, Ok(Turn::Intact(_) | Turn::Damaged(_))) {
            let free = if stop.is_cancelled() { Timestamp(0) } else { installation.clock.now().plus(LET_ALONE) };
            checks::hold_until(&installation.database, &claimed.package_id, &holder, free).await?;
        }
        turn
    }

    async fn pace(&self, period: Duration, now: Timestamp) -> Result<Pace, DatabaseError> {
        let database = &self.installation.database;
        let kept = *self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let daily = match kept.filter(|rate| now >= rate.at && now < rate.at.plus(RATE_HOLDS)) {
            Some(rate) => rate.daily,
            None => {
                let slots = checks::slots(database, plan::slot_length(period)).await?;
                let daily = plan::daily(&slots, now, period);
                *self.rate.lock().unwrap_or_else(PoisonError::into_inner) = Some(Rate { daily, at: now });
                daily
            }
        };
        let Some(next) = checks::next(database, now).await? else { return Ok(Pace::Rest(LONGEST_REST)) };
        if plan::is_pressing(next, now, period) {
            return Ok(Pace::Go { behind: true });
        }
        if let Some(rest) = plan::is_fresh(next, now, period) {
            return Ok(Pace::Rest(rest));
        }
        let done = checks::checked_since(database, plan::day_of(now)).await?;
        Ok(plan::pace(daily, plan::weight(done.packages, done.bytes), now))
    }

    async fn read(
        &self,
        claimed: &Claimed,
        holder: &str,
        behind: bool,
        stop: &CancellationToken,
        lost: &CancellationToken,
    ) -> Result<Turn, ScrubError> {
        let (context, location) = (Arc::clone(&self.installation), claimed.location.clone());
        let (stop, lost_then) = (stop.clone(), lost.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let is_over = || stop.is_cancelled() || lost_then.is_cancelled();
            let throttle = Throttle::new(&context, behind, &is_over);
            look(&context, &location, &throttle)
        });
        let looked = reading.await.map_err(|error| ScrubError::Interrupted(error.to_string()))?;
        let package_id = claimed.package_id.clone();
        match looked {
            Looked::At(object, damaged) => self.record(claimed, holder, &object, damaged).await,
            Looked::Not(why) => {
                warn!(%package_id, %why, "a package could not be read again now");
                Ok(Turn::Postponed(package_id))
            }
            Looked::Stopped => Ok(Turn::Postponed(package_id)),
        }
    }

    /// State, event, audit entry and the end of the claim, at once.
    async fn record(
        &self,
        claimed: &Claimed,
        holder: &str,
        object: &ObjectReport,
        damaged: Vec<AuditFile>,
    ) -> Result<Turn, ScrubError> {
        let installation = &self.installation;
        let now = installation.clock.now();
        let package_id = claimed.package_id.clone();
        let check: Check = verify::check_of(object, damaged, sentence!("read again as scheduled"), true);
        let problem = object.problems.iter().find(|problem| problem.code.is_error());
        let mut transaction = installation.database.begin().await?;
        if !checks::holds_locked(&mut transaction, &package_id, holder).await? {
            return Ok(Turn::Postponed(package_id));
        }
        match problem {
            Some(problem) => {
                fixity::failure(&mut transaction, &package_id, &problem.to_string(), Some(&check), now).await?;
            }
            None => fixity::success(&mut transaction, &package_id, &check, now).await?,
        }
        transaction.commit().await?;
        meter::checked(check.size_bytes);
        match problem {
            Some(problem) => {
                warn!(%package_id, %problem, "a package was found damaged when it was read again");
                Ok(Turn::Damaged(package_id))
            }
            None => {
                debug!(%package_id, bytes = check.size_bytes, "a package was read again");
                Ok(Turn::Intact(package_id))
            }
        }
    }
}

/// Where the regular check stands, from the catalogue.
pub async fn coverage(installation: &Installation) -> Result<Coverage, DatabaseError> {
    let database: &Database = &installation.database;
    let now = installation.clock.now();
    let period = installation.settings.fixity.period;
    let standing = checks::standing(database, now.minus(period.unwrap_or(plan::DAY * 90))).await?;
    let slice_bytes = match period {
        Some(period) => plan::daily(&checks::slots(database, plan::slot_length(period)).await?, now, period),
        None => 0,
    };
    let today = checks::checked_since(database, plan::day_of(now)).await?;
    let damaged = package_figures::by_state(database, None).await?.of(PackageState::Damaged);
    Ok(Coverage { period, standing, slice_bytes, today, damaged, now })
}

async fn renew(installation: Arc<Installation>, package_id: String, holder: String, lost: CancellationToken) {
    let settings = &installation.settings;
    let mut until = installation.clock.now().plus(settings.lease);
    loop {
        tokio::time::sleep(settings.heartbeat).await;
        let now = installation.clock.now();
        let next = now.plus(settings.lease);
        match checks::hold_until(&installation.database, &package_id, &holder, next).await {
            Ok(true) => until = next,
            Ok(false) => break,
            // The database may be back before the lease is over.
            Err(error) if now < until => warn!(%package_id, %error, "the claim on a package could not be renewed"),
            Err(_) => break,
        }
    }
    lost.cancel();
}

/// What the reading of a package came to.
enum Looked {
    /// It was read, and this is what was found.
    At(Box<ObjectReport>, Vec<AuditFile>),
    /// It could not be read.
    Not(String),
    /// The process stops, or somebody else has the package.
    Stopped,
}

/// The part that blocks: the whole object, every content file once.
fn look(installation: &Installation, location: &str, throttle: &Throttle<'_>) -> Looked {
    let found = match validate(installation, location, throttle) {
        Ok(found) => found,
        Err(not) => return not,
    };
    if found.is_valid() {
        return Looked::At(Box::new(found), Vec::new());
    }
    // Where a disk was not mounted or a server is away, nothing is damaged.
    if let Err(why) = answers(installation) {
        return Looked::Not(why);
    }
    if let Err(error) = installation.archive.recover(None) {
        warn!(%error, "interrupted changes could not be finished");
    }
    let again = match validate(installation, location, throttle) {
        Ok(again) => again,
        Err(not) => return not,
    };
    if let Err(why) = answers(installation) {
        return Looked::Not(why);
    }
    let damaged = verify::damaged_files(installation, &again);
    Looked::At(Box::new(again), damaged)
}

fn validate(installation: &Installation, location: &str, throttle: &Throttle<'_>) -> Result<ObjectReport, Looked> {
    let found = Mutex::new(None);
    let keep = |object: &ObjectReport| *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(object.clone());
    let pace = |bytes: u64| throttle.take(bytes);
    let threads = Some(installation.settings.fixity.threads.max(1));
    let options = ValidateOptions { threads, pace: Some(&pace), object: Some(&keep), ..ValidateOptions::default() };
    match validate_object(installation.archive.storage(), location, &options) {
        Ok(_) => {}
        Err(ocfl::Error::Cancelled) => return Err(Looked::Stopped),
        Err(error) => return Err(Looked::Not(error.to_string())),
    }
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.ok_or_else(|| Looked::Not(format!("{location} could not be looked at")))
}

/// Whether the storage root itself can be read.
fn answers(installation: &Installation) -> Result<(), String> {
    let declaration = installation.archive.spec().root_declaration();
    match installation.archive.storage().entry(declaration) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("the storage root has lost its declaration".to_owned()),
        Err(error) => Err(format!("the storage root does not answer: {error}")),
    }
}

/// Keeps the reading within its bandwidth, and lets orders go first.
struct Throttle<'a> {
    installation: &'a Installation,
    /// What is read may be read from then on.
    free: Mutex<Instant>,
    /// Until when orders are let go first.
    gives_way_until: Instant,
    is_over: &'a (dyn Fn() -> bool + Sync),
    has_waited: AtomicBool,
}

impl<'a> Throttle<'a> {
    fn new(installation: &'a Installation, behind: bool, is_over: &'a (dyn Fn() -> bool + Sync)) -> Throttle<'a> {
        let now = Instant::now();
        // After an hour it is behind by an hour's share.
        let patience = if behind { Duration::ZERO } else { plan::DAY / 24 };
        Throttle {
            installation,
            free: Mutex::new(now),
            gives_way_until: now + patience,
            is_over,
            has_waited: AtomicBool::new(false),
        }
    }

    /// Waits until so many bytes may be read; `false` when nothing more is to be read.
    fn take(&self, bytes: u64) -> bool {
        while !(self.is_over)() && self.installation.prepares_orders() && Instant::now() < self.gives_way_until {
            if !self.has_waited.swap(true, Ordering::Relaxed) {
                debug!("a package that is read again waits for orders");
            }
            thread::sleep(NAP);
        }
        let rate = self.installation.settings.fixity.bytes_per_second;
        if rate > 0 {
            let free = {
                let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
                *free = (*free).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / rate as f64);
                *free
            };
            while !(self.is_over)() {
                match free.saturating_duration_since(Instant::now()) {
                    Duration::ZERO => break,
                    left => thread::sleep(left.min(NAP)),
                }
            }
        }
        !(self.is_over)()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::installation::Places;
    use crate::settings::Settings;
    use crate::time::Clock;

    #[tokio::test]
    async fn orders_go_first_until_it_is_behind() {
        let directory = tempfile::tempdir().expect("a directory");
        let places = Places::new(directory.path());
        let opened = Installation::open(places, Settings::default(), Clock::system()).await;
        let installation = opened.expect("opened");
        let asked = AtomicU32::new(0);
        // Is told to stop when it has looked a few times whether it may go on.
        let is_over = || asked.fetch_add(1, Ordering::Relaxed) >= 4;
        let order = installation.preparing();
        assert!(Throttle::new(&installation, true, &is_over).take(1), "it is behind, and does not wait");
        asked.store(0, Ordering::Relaxed);
        assert!(!Throttle::new(&installation, false, &is_over).take(1), "it waited until it was stopped");
        drop(order);
        asked.store(0, Ordering::Relaxed);
        assert!(Throttle::new(&installation, false, &is_over).take(1), "nothing to wait for");
    }
}
