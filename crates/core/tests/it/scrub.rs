//! The regular check: what it reads when, what it finds, and that several processes share it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dipper_core::audit::{AuditKind, Chained};
use dipper_core::db::audit::{AuditFilter, list};
use dipper_core::db::packages::{self, PackageState};
use dipper_core::db::sql;
use dipper_core::installation::{Installation, Places};
use dipper_core::intake::IntakeError;
use dipper_core::scrub::{FixitySettings, Scrubber, Turn, coverage};
use dipper_core::settings::Settings;
use dipper_core::verify::{VerifyCommand, verify};
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, CLIENT, places_of};

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

fn settings(days: u32) -> Settings {
    let fixity = FixitySettings { period: Some(DAY * days), ..FixitySettings::default() };
    Settings { fixity, ..Settings::default() }
}

/// Reads what is due at this time.
async fn read_due(scrubber: &Scrubber) -> Vec<Turn> {
    let mut turns = Vec::new();
    loop {
        match scrubber.turn(&CancellationToken::new()).await.unwrap() {
            Turn::Rest(_) => return turns,
            turn => turns.push(turn),
        }
    }
}

async fn checks(bench: &Bench, package_id: &str) -> Vec<Chained> {
    let filter = AuditFilter {
        package_id: Some(package_id.to_owned()),
        kind: Some(AuditKind::Fixity),
        ..AuditFilter::default()
    };
    list(&bench.installation.database, &filter, None, 1000).await.unwrap()
}

#[tokio::test]
async fn every_package_is_read_once_in_a_period_a_few_each_day() {
    const PACKAGES: usize = 24;
    let bench = Bench::with(settings(12)).await;
    let mut ids = Vec::new();
    for number in 0..PACKAGES {
        ids.push(bench.package(&format!("p{number}")).await);
    }
    let scrubber = Scrubber::new(Arc::clone(&bench.installation));
    assert_eq!(read_due(&scrubber).await, []);
    let mut days = Vec::new();
    for _ in 0..12 {
        let mut read = 0;
        for _ in 0..24 {
            bench.clock.advance(HOUR);
            for turn in read_due(&scrubber).await {
                assert!(matches!(turn, Turn::Intact(_)), "{turn:?}");
                read += 1;
            }
        }
        days.push(read);
    }
    assert!(days.iter().all(|read| (1..=3).contains(read)), "{days:?}");
    for id in &ids {
        let found = checks(&bench, id).await;
        assert!((1..=2).contains(&found.len()), "{found:?}");
        assert!(found[0].entry.detail.contains("scheduled"), "{found:?}");
    }
    let found = coverage(&bench.installation).await.unwrap();
    assert_eq!((found.standing.all.packages, found.standing.covered.packages), (24, 24));
    assert_eq!((found.standing.never.packages, found.standing.cold_files, found.damaged), (0, 0, 0));
    assert!(found.now.since(found.standing.oldest.unwrap()) <= DAY * 12);
}

#[tokio::test]
async fn a_byte_that_flipped_in_any_version_is_found_and_the_package_closed() {
    let bench = Bench::with(settings(10)).await;
    let source = bench.source("source", &[("old", b"of the first version")]);
    let package_id = bench.ingest(&source, "p").await.unwrap().package_id;
    std::fs::remove_file(source.join("old")).unwrap();
    bench.source("source", &[("new", b"of the second version")]);
    bench.ingest(&source, "p").await.unwrap();
    let file = bench.content_file(b"of the first version");
    std::fs::write(&file, b"of the worst version").unwrap();
    // An order for the newest version does not read it, and counts as no check of the whole.
    bench.order(CLIENT, &package_id).await.unwrap();
    bench.work().await;
    let package = packages::get(&bench.installation.database, &package_id).await.unwrap().unwrap();
    assert_eq!((package.state, package.verified), (PackageState::Preserved, None));
    assert_eq!(checks(&bench, &package_id).await[0].entry.version, Some(2));

    let scrubber = Scrubber::new(Arc::clone(&bench.installation));
    bench.clock.advance(DAY * 10);
    assert_eq!(read_due(&scrubber).await, [Turn::Damaged(package_id.clone())]);
    assert_eq!(bench.package_state(&package_id).await, PackageState::Damaged);
    let found = checks(&bench, &package_id).await;
    assert!(!found[1].entry.success && found[1].entry.detail.contains("E092"), "{found:?}");
    let files = dipper_core::db::audit::files(&bench.installation.database, "2d17", found[1].number, 0, 10);
    let files: Vec<String> = files.await.unwrap().into_iter().map(|(_, file)| file.path).collect();
    assert_eq!(files, ["old"]);
    let refused = bench.order(CLIENT, &package_id).await;
    assert!(matches!(refused, Err(IntakeError::NotPreserved { .. })), "{refused:?}");
    assert_eq!(coverage(&bench.installation).await.unwrap().damaged, 1);

    // A damaged package is read again in its turn, and open again once it is right.
    std::fs::write(&file, b"of the first version").unwrap();
    bench.clock.advance(DAY * 10);
    assert_eq!(read_due(&scrubber).await, [Turn::Intact(package_id.clone())]);
    assert_eq!(bench.package_state(&package_id).await, PackageState::Preserved);
}

#[tokio::test]
async fn reads_for_orders_and_by_verify_count_as_checks() {
    let bench = Bench::with(settings(10)).await;
    let (ordered, other) = (bench.package("ordered").await, bench.package("other").await);
    bench.clock.advance(DAY * 9);
    bench.order(CLIENT, &ordered).await.unwrap();
    bench.work().await;
    bench.clock.advance(DAY);
    let scrubber = Scrubber::new(Arc::clone(&bench.installation));
    assert_eq!(read_due(&scrubber).await, [Turn::Intact(other)]);
    bench.clock.advance(DAY);
    verify(&bench.installation, VerifyCommand::default(), Box::new(|_| {})).await.unwrap();
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(read_due(&scrubber).await, []);
    let found = coverage(&bench.installation).await.unwrap();
    assert_eq!((found.today.packages, found.standing.covered.packages), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_work_and_do_nothing_twice() {
    const PACKAGES: usize = 40;
    let bench = Bench::with(settings(10)).await;
    for number in 0..PACKAGES {
        bench.package(&format!("p{number}")).await;
    }
    bench.clock.advance(DAY * 10);
    let other = Arc::new(Installation::open(places_of(&bench), settings(10), bench.clock.clone()).await.unwrap());
    let scrubbers = [Arc::clone(&bench.installation), other].map(|installation| {
        let scrubber = Scrubber::new(installation);
        tokio::spawn(async move { read_due(&scrubber).await })
    });
    let mut read: BTreeMap<String, u32> = BTreeMap::new();
    for scrubber in scrubbers {
        for turn in scrubber.await.unwrap() {
            let Turn::Intact(id) = turn else { panic!("{turn:?}") };
            *read.entry(id).or_default() += 1;
        }
    }
    assert_eq!((read.len(), read.values().sum::<u32>()), (PACKAGES, PACKAGES as u32));
    for id in read.keys() {
        assert_eq!(checks(&bench, id).await.len(), 1);
    }
}

#[tokio::test]
async fn what_a_process_left_half_read_is_read_by_the_next() {
    let bench = Bench::with(settings(10)).await;
    let package_id = bench.package("p").await;
    bench.clock.advance(DAY * 10);
    // A process that was told to stop lets go at once.
    let stopping = CancellationToken::new();
    stopping.cancel();
    let scrubber = Scrubber::new(Arc::clone(&bench.installation));
    assert_eq!(scrubber.turn(&stopping).await.unwrap(), Turn::Postponed(package_id.clone()));
    assert_eq!(checks(&bench, &package_id).await, []);
    assert_eq!(read_due(&scrubber).await, [Turn::Intact(package_id.clone())]);
    // One that was killed keeps its package until its lease is over.
    bench.clock.advance(DAY * 10);
    let until = bench.clock.now().plus(bench.installation.settings.lease);
    let claim = sql("UPDATE packages SET check_holder = 'dead', check_until = $1").bind(until);
    bench.installation.database.execute(claim).await.unwrap();
    assert_eq!(read_due(&scrubber).await, []);
    bench.clock.advance(bench.installation.settings.lease);
    assert_eq!(read_due(&scrubber).await, [Turn::Intact(package_id)]);
}

#[tokio::test]
async fn a_storage_root_that_is_not_there_is_no_damage() {
    let bench = Bench::with(settings(10)).await;
    let package_id = bench.package("p").await;
    bench.clock.advance(DAY * 10);
    let archive = bench.directory.path().join("data/archive");
    let away = bench.directory.path().join("away");
    std::fs::rename(&archive, &away).unwrap();
    std::fs::create_dir(&archive).unwrap();
    let scrubber = Scrubber::new(Arc::clone(&bench.installation));
    // It is let alone for a while, so that others have their turn.
    assert_eq!(read_due(&scrubber).await, [Turn::Postponed(package_id.clone())]);
    assert_eq!(bench.package_state(&package_id).await, PackageState::Preserved);
    std::fs::remove_dir(&archive).unwrap();
    std::fs::rename(&away, &archive).unwrap();
    bench.clock.advance(HOUR);
    assert_eq!(read_due(&scrubber).await, [Turn::Intact(package_id)]);
}

#[tokio::test]
async fn nothing_is_read_where_it_is_switched_off_nor_what_is_not_there() {
    let off = FixitySettings { period: None, ..FixitySettings::default() };
    let bench = Bench::with(Settings { fixity: off, ..Settings::default() }).await;
    let package_id = bench.package("p").await;
    bench.clock.advance(DAY * 1000);
    assert_eq!(read_due(&Scrubber::new(Arc::clone(&bench.installation))).await, []);
    let places: Places = places_of(&bench);
    let on = Arc::new(Installation::open(places, settings(10), bench.clock.clone()).await.unwrap());
    for state in ["deleted", "missing"] {
        let mark = sql("UPDATE packages SET state = $1").bind(state);
        bench.installation.database.execute(mark).await.unwrap();
        assert_eq!(read_due(&Scrubber::new(Arc::clone(&on))).await, []);
    }
    bench.installation.database.execute(sql("UPDATE packages SET state = 'preserved'")).await.unwrap();
    assert_eq!(read_due(&Scrubber::new(on)).await, [Turn::Intact(package_id)]);
}

#[tokio::test]
async fn reading_keeps_to_its_bandwidth() {
    let fixity = FixitySettings { period: Some(DAY * 10), bytes_per_second: 4 << 20, ..FixitySettings::default() };
    let bench = Bench::with(Settings { fixity, ..Settings::default() }).await;
    let source = bench.source("source", &[("a", &vec![7; 2 << 20])]);
    bench.ingest(&source, "p").await.unwrap();
    bench.clock.advance(DAY * 10);
    let began = std::time::Instant::now();
    assert_eq!(read_due(&Scrubber::new(Arc::clone(&bench.installation))).await.len(), 1);
    assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
}
