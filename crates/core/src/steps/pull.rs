//! Carries out a deposit: has its files fetched (`pull/`), makes them a version of the package, and tells the catalogue.
//!
//! Nothing of it is visible before the version is committed, which happens only after every file was there and matched.
//! What was fetched stays in the draft between attempts. A gateway that is away keeps no worker waiting: the step sleeps,
//! and goes on from there. Deposits of the same package come one after the other, in the order in which they were asked for.

use std::sync::Arc;

use dipper_archive::ocfl::{self, DraftOptions, Start};
use tokio::runtime::Handle;
use tracing::info;

use super::insist::{Failed, Insistence};
use super::{StepError, prepare};
use crate::caller::Role;
use crate::db::deposits::{self, DepositView};
use crate::db::events::{Event, EventKind};
use crate::db::orders::{Failure, FailureCode, Order};
use crate::db::steps::{self, Lease, StepEnd, WaitsFor};
use crate::db::{contracts, ingests, orders};
use crate::gateway::{self, Gateway, GatewayError};
use crate::hold::Hold;
use crate::ids;
use crate::index;
use crate::ingest;
use crate::installation::Installation;
use crate::lease::Lease as ObjectLease;
use crate::meter;
use crate::naming::{self, NamingError};
use crate::order::Signal;
use crate::progress;
use crate::pull::{Earlier, FIXITY, Fault, Pull};
use crate::recovery;
use crate::register::{Described, Recorded};
use crate::sentence::sentence;
use crate::trace;

/// How many files of a deposit are compared with a version at a time.
const PAGE: u32 = 1000;

/// What came of the part that blocks.
struct Stored {
    version: u32,
    new_bytes: u64,
    described: Described,
}

pub(super) async fn run(installation: &Arc<Installation>, lease: &Lease, hold: &Hold) -> Result<(), StepError> {
    let view = deposits::get(&installation.database, &lease.order_id).await?.ok_or(StepError::Lost)?;
    still_allowed(installation, &view.order).await?;
    if deposits::has_earlier(&installation.database, &view.order).await? {
        return wait_for_earlier(installation, lease).await;
    }
    let gateway = match gateway::load(installation, &view.order.contract_id).await {
        Ok(Some(gateway)) => gateway,
        Ok(None) => return Err(away(installation, &view, &sentence!("no gateway is registered"))),
        Err(GatewayError::Database(error)) => return Err(error.into()),
        Err(error) => return Err(StepError::Passing(error.to_string())),
    };
    prepare::advance(installation, lease, hold, Signal::PullStarted).await?;
    let passing = |error: recovery::RecoveryError| StepError::Passing(error.to_string());
    recovery::recover(installation).await.map_err(passing)?;
    let ocfl_id = ocfl_id(installation, &view).await?;
    let now = installation.clock.now();
    let Some(object_lease) = ObjectLease::take(installation, &ocfl_id, now).await? else {
        return Err(StepError::Away(sentence!("the package is being changed by another process")));
    };
    let (context, working, deposited) = (Arc::clone(installation), ocfl_id.clone(), view.clone());
    let (leased, holding, lost) = (lease.clone(), hold.clone(), object_lease.watch());
    let storing = tokio::task::spawn_blocking(move || {
        let attempt = Attempt {
            installation: &context,
            lease: &leased,
            hold: &holding,
            view: &deposited,
            ocfl_id: &working,
            runtime: Handle::current(),
        };
        attempt.run(gateway, &lost)
    });
    let stored = match storing.await.map_err(|error| StepError::Passing(error.to_string())).and_then(|done| done) {
        Ok(stored) => stored,
        Err(error) => {
            let was_lost = object_lease.is_lost();
            object_lease.release().await?;
            return Err(match error {
                StepError::Stopped if was_lost && !hold.is_over() => {
                    StepError::Away(sentence!("the lease on the package was lost"))
                }
                StepError::Stopped if hold.is_lost() => StepError::Lost,
                error => error,
            });
        }
    };
    let mut insistence = Insistence::new(installation, hold);
    while let Err(failed) = publish(installation, lease, &ocfl_id, &stored).await {
        insistence.wait(failed).await?;
    }
    info!(package_id = %view.order.package_id, version = stored.version, new_bytes = stored.new_bytes, "deposit stored");
    installation.wake_workers();
    Ok(())
}

/// What held when the deposit was accepted may not hold any more when its turn comes.
async fn still_allowed(installation: &Installation, order: &Order) -> Result<(), StepError> {
    if !order.client_stored {
        return Ok(());
    }
    let client = contracts::client_get(&installation.database, &order.client_id).await?;
    let may = client
        .is_some_and(|(client, _)| client.disabled.is_none() && client.grants.has(&order.contract_id, Role::Write));
    if may {
        return Ok(());
    }
    let message = sentence!("Client {} may not deposit in contract {} any more.", order.client_id, order.contract_id);
    let failure = Failure { code: FailureCode::NotAllowed, message };
    Err(StepError::Final { signal: Signal::Rejected, failure, damage: None })
}

/// The version before has to be there first; whoever ends that deposit has this one looked at again.
async fn wait_for_earlier(installation: &Installation, lease: &Lease) -> Result<(), StepError> {
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let again = now.plus(installation.settings.deposit.pause);
    if !steps::end(&mut transaction, lease, StepEnd::Asleep(again, WaitsFor::Turn), now).await? {
        return Err(StepError::Lost);
    }
    Ok(transaction.commit().await?)
}

/// Which object it becomes. A package that was adopted from another system keeps its OCFL identifier.
async fn ocfl_id(installation: &Installation, view: &DepositView) -> Result<String, StepError> {
    let Order { contract_id, object_id, .. } = &view.order;
    let known = crate::db::packages::find(&installation.database, contract_id, object_id).await?;
    Ok(known.map_or_else(|| ids::ocfl_id(contract_id, object_id), |package| package.ocfl_id))
}

/// The gateway does not answer: the step waits for it, but not for ever.
fn away(installation: &Installation, view: &DepositView, reason: &str) -> StepError {
    let settings = &installation.settings.deposit;
    if installation.clock.now() > view.order.created.plus(settings.give_up) {
        let hours = settings.give_up.as_secs() / 3600;
        let message = sentence!("The files could not be fetched within {hours} hours: {reason}.");
        return failed(FailureCode::Gateway, message);
    }
    meter::deposit_waits();
    StepError::Unreachable(reason.to_owned())
}

fn failed(code: FailureCode, message: String) -> StepError {
    StepError::Final { signal: Signal::Failed, failure: Failure { code, message }, damage: None }
}

/// One attempt, on a thread that may block.
struct Attempt<'a> {
    installation: &'a Arc<Installation>,
    lease: &'a Lease,
    hold: &'a Hold,
    view: &'a DepositView,
    ocfl_id: &'a str,
    runtime: Handle,
}

impl Attempt<'_> {
    fn run(&self, gateway: Gateway, lost: &std::sync::atomic::AtomicBool) -> Result<Stored, StepError> {
        let options = DraftOptions { session: &self.view.order.id, start: Start::Empty, fixity: FIXITY };
        let draft = self.installation.archive.draft(self.ocfl_id, &options).map_err(archive_failed)?;
        let earlier = draft.base().map(Earlier::of).transpose().map_err(archive_failed)?;
        match earlier.as_ref().map_or(Ok(None), |earlier| self.stored_before(earlier)) {
            // The last attempt came so far and could not tell; or it was ingested in another way.
            Ok(Some(version)) => {
                drop(earlier);
                draft.abandon().map_err(archive_failed)?;
                return self.stored(version);
            }
            Ok(None) => drop(earlier),
            Err(error) => {
                drop(earlier);
                draft.abandon().map_err(archive_failed)?;
                return Err(error);
            }
        }
        let pull = Pull::new(
            self.installation,
            (self.lease, self.hold, lost),
            self.view,
            gateway,
            &draft,
            self.runtime.clone(),
        );
        let pulled = pull.map_err(|fault| (String::new(), fault)).and_then(|pull| pull.run());
        if let Err((path, fault)) = pulled {
            let error = self.failed(&path, fault);
            if let StepError::Final { .. } = error {
                // Nobody will go on with it.
                draft.abandon().map_err(archive_failed)?;
            }
            return Err(error);
        }
        if self.hold.is_over() || lost.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(StepError::Stopped);
        }
        let (found, wanted) = (draft.len() as u64, self.view.deposit.file_count);
        if found != wanted {
            return Err(StepError::Passing(sentence!("{found} of {wanted} files are there")));
        }
        let storing = prepare::advance(self.installation, self.lease, self.hold, Signal::StoringStarted);
        self.runtime.block_on(storing)?;
        let names =
            self.runtime.block_on(naming::reserve(self.installation, self.ocfl_id, None)).map_err(
                |error| match error {
                    NamingError::Database(error) => error.into(),
                    error => StepError::Passing(error.to_string()),
                },
            )?;
        let recorded = Recorded {
            label: Some(self.view.deposit.label.clone()).filter(|label| !label.is_empty()),
            identifier: Some(names.identifier),
            urn: names.urn,
            container_name: None,
        };
        let committed = draft.commit(ingest::record(&recorded, self.installation)).map_err(archive_failed)?;
        let object = self.installation.archive.object_of(&committed);
        let described = ingest::described_as(self.installation, &object, &self.view.order.contract_id);
        let described = described.map_err(|error| StepError::Passing(error.to_string()))?;
        Ok(Stored { version: committed.version.number(), new_bytes: committed.new_bytes, described })
    }

    /// A version that was there before this attempt.
    fn stored(&self, version: u32) -> Result<Stored, StepError> {
        let Attempt { installation, ocfl_id, view, .. } = self;
        let described = ingest::described(installation, &installation.archive, ocfl_id, &view.order.contract_id);
        let described = described.map_err(|error| StepError::Passing(error.to_string()))?;
        Ok(Stored { version, new_bytes: 0, described })
    }

    /// The version with the label of the deposit, if the package has it. It must have the very same files.
    fn stored_before(&self, earlier: &Earlier<'_>) -> Result<Option<u32>, StepError> {
        let deposit = &self.view.deposit;
        let labelled = earlier.labelled(&deposit.label);
        for version in &labelled {
            if earlier.len(*version) as u64 == deposit.file_count && self.is_version(earlier, *version)? {
                return Ok(Some(*version));
            }
        }
        let Some(version) = labelled.last() else { return Ok(None) };
        let message = match deposit.label.as_str() {
            "" => sentence!(
                "Filegroup {} has a version without a name already (number {version}), and its files are others.",
                deposit.object_id
            ),
            label => sentence!(
                "Filegroup {} has a version with the name {label:?} already (number {version}), and its files are others.",
                deposit.object_id
            ),
        };
        Err(failed(FailureCode::Mismatch, message))
    }

    fn is_version(&self, earlier: &Earlier<'_>, version: u32) -> Result<bool, StepError> {
        let database = &self.installation.database;
        let mut after = 0;
        loop {
            let page = self.runtime.block_on(deposits::files(database, &self.view.order.id, after, PAGE))?;
            if !page.iter().all(|file| earlier.has(version, file).is_some()) {
                return Ok(false);
            }
            match page.last() {
                Some(last) => after = last.number,
                None => return Ok(true),
            }
        }
    }

    /// What the fault of a file means for the step.
    fn failed(&self, path: &str, fault: Fault) -> StepError {
        let filegroup = &self.view.deposit.object_id;
        let named = |fault: &Fault| sentence!("File {path} of filegroup {filegroup} could not be deposited: {fault}.");
        match fault {
            Fault::Stopped => StepError::Stopped,
            Fault::Step(error) => error,
            Fault::Database(error) | Fault::Gateway(GatewayError::Database(error)) => error.into(),
            Fault::Passing(..) | Fault::NoRest | Fault::Misfit => {
                away(self.installation, self.view, &sentence!("file {path} of filegroup {filegroup}: {fault}"))
            }
            Fault::Mismatch(_) => failed(FailureCode::Mismatch, named(&fault)),
            Fault::SignIn(_) | Fault::Refused(_) | Fault::Egress(_) | Fault::Gateway(_) => {
                failed(FailureCode::Gateway, named(&fault))
            }
        }
    }
}

/// Catalogue, order, events and the end of the step, at once. Safe to try again when nobody knows whether it took place.
async fn publish(installation: &Installation, lease: &Lease, ocfl_id: &str, stored: &Stored) -> Result<(), Failed> {
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let mut order = orders::get_locked(&mut transaction, &lease.order_id).await?.ok_or(StepError::Lost)?;
    if !steps::end(&mut transaction, lease, StepEnd::Done, now).await? {
        if order.state != crate::order::OrderState::Stored {
            return Err(StepError::Lost.into());
        }
        return Ok(());
    }
    let settings = &installation.settings;
    // A version that was there before this attempt was stored all the same.
    progress::advance(&mut transaction, &mut order, Signal::StoringStarted, None, now, settings).await?;
    let mut event = Event::new(EventKind::PackageIngested, now);
    event.agent = format!("client {}", order.client_id);
    index::put_as(&mut transaction, stored.described.clone(), event).await?;
    ingests::end(&mut transaction, ocfl_id, &installation.holder).await?;
    deposits::stored(&mut transaction, &order.id, stored.version).await?;
    progress::advance(&mut transaction, &mut order, Signal::Stored, None, now, settings).await?;
    transaction.commit().await?;
    trace::order_ended(&order);
    Ok(())
}

fn is_away(error: &std::io::Error) -> bool {
    use dipper_archive::bucket::Fault;
    matches!(Fault::of(error), Some(Fault::Unavailable | Fault::Refused | Fault::NoBucket))
}

/// What an error of the archive means for a step that adds a version.
pub(crate) fn archive_failed(error: ocfl::Error) -> StepError {
    match error {
        ocfl::Error::Locked { id } => StepError::Away(sentence!("the package {id} is being changed")),
        ocfl::Error::Io { path, source } if ingest::is_full(&source) => {
            StepError::Away(sentence!("the storage is full: {path}: {source}"))
        }
        // A bucket that is away, or does not let us in, is no fault of the order.
        ocfl::Error::Io { path, source } if is_away(&source) => {
            StepError::Away(sentence!("the storage cannot be written to: {path}: {source}"))
        }
        error => StepError::Passing(error.to_string()),
    }
}
