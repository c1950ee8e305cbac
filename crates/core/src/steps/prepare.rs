//! Prepares a delivery: looks whether it is still allowed, reads and verifies every byte of the package, and
//! publishes the links. Without a store of deliveries nothing is written but the catalogue: the package is computed
//! again when it is fetched. With one, the package goes up while it is read, and becomes an object there only after
//! all of it has matched. For the area of a contract it is written to a file in the same way. Where the bytes go is
//! `destination.rs`.

use std::sync::Arc;
use std::time::Instant;

use dipper_archive::ocfl;
use dipper_archive::package::{Control, Options, Prepared, Progress, Sink, prepare};
use tracing::{info, warn};

use crate::assembly::{Assembly, AssemblyError, LAYOUT_FORMAT, Part, Scope};
use crate::caller::Role;
use crate::db::deliveries::{Delivery, DeliveryFile};
use crate::db::orders::{Failure, FailureCode, Order};
use crate::db::packages::{Package, PackageState};
use crate::db::steps::{Lease, StepEnd, Worked};
use crate::db::{contracts, deliveries, orders, packages, steps};
use crate::fixity::{self, Check};
use crate::hold::Hold;
use crate::ids;
use crate::installation::Installation;
use crate::meter;
use crate::order::Signal;
use crate::progress;
use crate::sentence::sentence;
use crate::steps::StepError;
use crate::steps::destination::{Destination, placing_error};
use crate::steps::insist::{Failed, Insistence};
use crate::store::upload::Uploads;
use crate::trace;

pub(super) async fn run(installation: &Arc<Installation>, lease: &Lease, hold: &Hold) -> Result<(), StepError> {
    let order = orders::get(&installation.database, &lease.order_id).await?.ok_or(StepError::Lost)?;
    let package = still_allowed(installation, &order, lease.attempt).await?;
    for signal in [Signal::RecallStarted, Signal::VerificationStarted] {
        advance(installation, lease, hold, signal).await?;
    }
    let mut destination = Destination::of(installation, lease, &order).await?;
    let scope = Scope::of(&installation.database, &order).await?;
    let (context, ordered, holding) = (Arc::clone(installation), order.clone(), hold.clone());
    let first = lease.attempt == 1;
    let began = Instant::now();
    let preparing = (meter::preparing(order.size_bytes), installation.preparing());
    let span = trace::verification(&order);
    let verifying = tokio::task::spawn_blocking(move || {
        let verified =
            match span.in_scope(|| verify(&context, (&package, &scope), &ordered, &holding, &mut destination)) {
                Err(StepError::Final { damage: Some(_), failure, .. }) if first => Err(second_look(&context, &failure)),
                verified => verified,
            };
        (verified, destination)
    })
    .await;
    let (verified, mut destination) = verifying.map_err(|error| StepError::Passing(error.to_string()))?;
    drop(preparing);
    let finished = match verified {
        Ok((prepared, check)) => {
            let bytes: u64 = prepared.iter().map(|(_, prepared)| prepared.len).sum();
            meter::verified(bytes);
            info!(bytes, files = prepared.len(), milliseconds = began.elapsed().as_millis() as u64, "package verified");
            complete(installation, lease, hold, &mut destination).await.map(|()| (prepared, check))
        }
        Err(error) => Err(error),
    };
    match finished {
        Ok((prepared, check)) => {
            let outcome = assemble(installation, &order, prepared, check, &destination);
            let published = publish_in_the_end(installation, lease, hold, &outcome, &destination).await;
            if let (Err(_), Destination::Area(placement)) = (&published, &destination) {
                // It has its name already, or never gets it.
                placement.abort();
            }
            // In the end it may not be known whether this came about. If it did not, the uploads are cleared away as those of a
            // worker that died are.
            published
        }
        Err(error) => {
            destination.abort().await;
            Err(error)
        }
    }
}

/// Everything has matched: if the lease holds, the order moves on, and what was uploaded becomes objects.
async fn complete(
    installation: &Installation,
    lease: &Lease,
    hold: &Hold,
    destination: &mut Destination,
) -> Result<(), StepError> {
    advance(installation, lease, hold, Signal::DeliveryStarted).await?;
    destination.complete().await
}

/// What held when the order was accepted may not hold any more when its turn comes.
pub(super) async fn still_allowed(
    installation: &Installation,
    order: &Order,
    attempt: i64,
) -> Result<Package, StepError> {
    let rejected = |code, message: String| StepError::Final {
        signal: Signal::Rejected,
        failure: Failure { code, message },
        damage: None,
    };
    if order.client_stored {
        let client = contracts::client_get(&installation.database, &order.client_id).await?;
        let may = client
            .is_some_and(|(client, _)| client.disabled.is_none() && client.grants.has(&order.contract_id, Role::Read));
        if !may {
            let message = sentence!("Client {} may not read contract {} any more.", order.client_id, order.contract_id);
            return Err(rejected(FailureCode::NotAllowed, message));
        }
    }
    match packages::get(&installation.database, &order.package_id).await? {
        Some(package) if package.state == PackageState::Preserved => Ok(package),
        // It was allowed when this order first had its turn; the damage was found while it was being prepared.
        Some(package) if package.state == PackageState::Damaged && attempt > 1 => {
            Err(damaged(package.reason.unwrap_or_else(|| sentence!("a fixity check failed"))))
        }
        Some(package) => {
            let message = sentence!("The package is {} and cannot be handed out.", package.state);
            Err(rejected(FailureCode::NotPreserved, message))
        }
        None => Err(rejected(FailureCode::NotPreserved, sentence!("The package is not there any more."))),
    }
}

/// Moves the order under the lease, in a transaction of its own: a client that polls sees where it stands.
pub(super) async fn advance(
    installation: &Installation,
    lease: &Lease,
    hold: &Hold,
    signal: Signal,
) -> Result<(), StepError> {
    let mut insistence = Insistence::new(installation, hold);
    while let Err(failed) = try_to_advance(installation, lease, signal).await {
        insistence.wait(failed).await?;
    }
    Ok(())
}

async fn try_to_advance(installation: &Installation, lease: &Lease, signal: Signal) -> Result<(), Failed> {
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    let mut order = orders::get_locked(&mut transaction, &lease.order_id).await?.ok_or(StepError::Lost)?;
    if !steps::holds(&mut transaction, lease).await? {
        return Err(StepError::Lost.into());
    }
    progress::advance(&mut transaction, &mut order, signal, None, now, &installation.settings).await?;
    Ok(transaction.commit().await?)
}

/// Damage is looked at twice: a process that died while it added a version leaves an object that seems damaged until
/// its change is finished, and a disk may read wrongly once.
fn second_look(installation: &Installation, failure: &Failure) -> StepError {
    if let Err(error) = installation.archive.recover(None) {
        warn!(%error, "interrupted changes could not be finished");
    }
    StepError::Passing(failure.message.clone())
}

/// The verifying read of every part, on a thread that may block.
fn verify(
    installation: &Installation,
    (package, scope): (&Package, &Scope),
    order: &Order,
    hold: &Hold,
    destination: &mut Destination,
) -> Result<(Vec<(Part, Prepared)>, Check), StepError> {
    let archive = &installation.archive;
    let assembly = Assembly::open(archive, package, scope).map_err(assembly_error)?;
    let parts = match destination {
        Destination::Area(placement) => {
            vec![Part { name: String::new(), filename: placement.name().to_owned() }]
        }
        Destination::Computed | Destination::Store(_) => assembly.parts(installation.settings.split),
    };
    let cancelled = || hold.is_over();
    // How long several parts are is known one after the other.
    let whole = (parts.len() > 1).then_some(order.size_bytes);
    let mut done_before = 0;
    let mut verified = Vec::with_capacity(parts.len());
    for (number, part) in (1..).zip(parts) {
        let layout = match destination {
            Destination::Area(placement) => assembly.area_layout(placement.top()),
            Destination::Computed | Destination::Store(_) => assembly.layout(&part.name),
        };
        let layout = layout.map_err(assembly_error)?;
        let mut writer = destination.begin(number, &part, &layout, &cancelled)?;
        let mut note = |progress: Progress| {
            let all_bytes = whole.unwrap_or(progress.bytes_total);
            hold.note(Worked { done_bytes: done_before + progress.bytes, all_bytes });
        };
        let control = Control { cancelled: Some(&cancelled), progress: Some(&mut note) };
        let options = Options::new(installation.settings.checksum);
        let is_needed = writer.is_needed();
        let mut write = |piece: &[u8]| writer.write(piece);
        let sink: Option<Sink<'_>> = if is_needed { Some(&mut write) } else { None };
        let prepared = prepare(&layout, archive.storage().as_ref(), &options, control, sink)
            .map_err(|error| destination.prepare_error(error, hold))?;
        destination.finish(writer, hold)?;
        done_before += prepared.len;
        verified.push((part, prepared));
    }
    let check = Check {
        occasion: sentence!("read for order {}", order.id),
        version: Some(order.version),
        digest: Some(assembly.digest()),
        file_count: assembly.file_count(),
        size_bytes: order.size_bytes,
        cold_files: 0,
        whole: assembly.is_everything(),
        structure: false,
        damaged: Vec::new(),
    };
    Ok((verified, check))
}

/// What a preparation hands out.
struct Outcome {
    contract_id: String,
    delivery: Delivery,
    /// What was read for it.
    check: Check,
    /// Those of each file.
    checkpoints: Vec<Vec<u8>>,
}

fn assemble(
    installation: &Installation,
    order: &Order,
    prepared: Vec<(Part, Prepared)>,
    check: Check,
    destination: &Destination,
) -> Outcome {
    let settings = &installation.settings;
    let now = installation.clock.now();
    let (expires, kept_until) = match destination {
        Destination::Area(_) => (now.plus(settings.area.kept), now.plus(settings.area.kept)),
        Destination::Computed | Destination::Store(_) => {
            (now.plus(settings.link_lifetime), now.plus(settings.delivery_kept.max(settings.link_lifetime)))
        }
    };
    let uploads = destination.uploads();
    let mut delivery = Delivery {
        id: ids::new_id(),
        order_id: order.id.clone(),
        created: now,
        expires,
        kept_until,
        released: None,
        store: uploads.map(|uploads| uploads.place().to_owned()),
        removed: None,
        files: Vec::new(),
    };
    let mut keys = uploads.map(Uploads::keys).unwrap_or_default().into_iter();
    let mut checkpoints = Vec::new();
    for (number, (part, prepared)) in (1..).zip(prepared) {
        delivery.files.push(DeliveryFile {
            number,
            part: part.name,
            filename: part.filename,
            size_bytes: prepared.len,
            algorithm: settings.checksum,
            checksum: prepared.checksum,
            layout_format: LAYOUT_FORMAT,
            object_key: keys.next(),
        });
        checkpoints.push(prepared.checkpoints.to_bytes());
    }
    Outcome { contract_id: order.contract_id.clone(), delivery, check, checkpoints }
}

/// Publishes, and tries again while the database is away.
async fn publish_in_the_end(
    installation: &Installation,
    lease: &Lease,
    hold: &Hold,
    outcome: &Outcome,
    destination: &Destination,
) -> Result<(), StepError> {
    let mut insistence = Insistence::new(installation, hold);
    while let Err(failed) = publish(installation, lease, outcome, destination).await {
        match (failed, destination) {
            // The file may have its name already, and cannot be given it twice: the next attempt makes another.
            (Failed::Away(error), Destination::Area(_)) => return Err(error.into()),
            (failed, _) => insistence.wait(failed).await?,
        }
    }
    installation.wake_notifier();
    Ok(())
}

/// Order, delivery, event, notices and the end of the step, at once.
///
/// Safe to try again when nobody knows whether the commit took place: if it did, the step is done, and the delivery is
/// there under its identifier.
async fn publish(
    installation: &Installation,
    lease: &Lease,
    outcome: &Outcome,
    destination: &Destination,
) -> Result<(), Failed> {
    let delivery = &outcome.delivery;
    let now = installation.clock.now();
    let mut transaction = installation.database.begin().await?;
    if let Destination::Area(_) = destination {
        contracts::lock(&mut transaction, &outcome.contract_id).await?;
    }
    let mut order = orders::get_locked(&mut transaction, &delivery.order_id).await?.ok_or(StepError::Lost)?;
    if !steps::end(&mut transaction, lease, StepEnd::Done, now).await? {
        if !deliveries::exists(&mut transaction, &delivery.id).await? {
            return Err(StepError::Lost.into());
        }
        trace::order_ended(&order);
        return Ok(());
    }
    let package = packages::get_locked(&mut transaction, &order.package_id).await?;
    if package.is_none_or(|package| package.state != PackageState::Preserved) {
        // It was found damaged or was deleted while it was read: the next attempt rejects the order.
        return Err(StepError::Passing(sentence!("the package changed its state while it was prepared")).into());
    }
    if let Some(uploads) = destination.uploads()
        && !uploads.publish(&mut transaction).await?
    {
        return Err(StepError::Lost.into());
    }
    deliveries::insert(&mut transaction, delivery, &outcome.checkpoints).await?;
    fixity::success(&mut transaction, &order.package_id, &outcome.check, now).await?;
    progress::advance(&mut transaction, &mut order, Signal::Delivered, None, now, &installation.settings).await?;
    if let Destination::Area(placement) = destination {
        placement.publish(&mut transaction, now).await.map_err(placing_error)?;
    }
    transaction.commit().await?;
    trace::order_ended(&order);
    Ok(())
}

pub(super) fn damaged(detail: String) -> StepError {
    let message = sentence!("Stored content is damaged, and was not handed out: {detail}. The archive has been told.");
    StepError::Final {
        signal: Signal::Failed,
        failure: Failure { code: FailureCode::Fixity, message },
        damage: Some(detail),
    }
}

fn assembly_error(error: AssemblyError) -> StepError {
    match error {
        AssemblyError::Archive(error) => archive_error(error),
        error => damaged(error.to_string()),
    }
}

pub(super) fn archive_error(error: ocfl::Error) -> StepError {
    match error {
        error if error.is_archived() => StepError::Archived,
        ocfl::Error::Io { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
            damaged(sentence!("{path} is missing"))
        }
        error @ (ocfl::Error::Io { .. } | ocfl::Error::Unrecovered { .. }) => StepError::Passing(error.to_string()),
        error => damaged(error.to_string()),
    }
}
