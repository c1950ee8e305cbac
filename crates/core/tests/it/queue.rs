//! The queue: who is next, who holds what, and what a former holder can still do.

use std::time::Duration;

use dipper_core::db::claims::{self, Claim, Claimed};
use dipper_core::db::deliveries;
use dipper_core::db::steps::{self, StepEnd, Worked};
use dipper_core::installation::Installation;
use dipper_core::order::OrderState;
use dipper_core::settings::Settings;
use dipper_core::share::Shares;
use dipper_core::worker::Worker;
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, CLIENT, places};

async fn claim(bench: &Bench, holder: &str) -> Option<steps::Lease> {
    let now = bench.clock.now();
    let database = &bench.installation.database;
    claims::sweep(database, now).await.unwrap();
    let settings = &bench.installation.settings;
    let until = now.plus(settings.lease);
    let claim = Claim { holder, now, until, room_bytes: u64::MAX, overtaking_bytes: 0, shares: &settings.shares };
    match claims::claim(database, &claim).await.unwrap() {
        Claimed::Step(lease, _) => Some(lease),
        Claimed::Overtaking(..) | Claimed::NoRoom => panic!("there is room for everything"),
        Claimed::Nothing => None,
    }
}

async fn end(bench: &Bench, lease: &steps::Lease, end: StepEnd) -> bool {
    let mut transaction = bench.installation.database.begin().await.unwrap();
    let ended = steps::end(&mut transaction, lease, end, bench.clock.now()).await.unwrap();
    transaction.commit().await.unwrap();
    ended
}

#[tokio::test]
async fn the_most_urgent_goes_first_and_the_oldest_among_equals() {
    let bench = Bench::new().await;
    let mut expected = Vec::new();
    for (number, rank) in [50, 100, 50, 1, 100].into_iter().enumerate() {
        let package_id = bench.package(&format!("p{number}")).await;
        expected.push((-rank, bench.order_ranked(CLIENT, &package_id, rank).await.unwrap().order.id));
    }
    expected.sort();
    let mut claimed = Vec::new();
    while let Some(lease) = claim(&bench, "hand").await {
        claimed.push(lease.order_id);
    }
    assert_eq!(claimed, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_lost_the_lease_publishes_nothing() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    assert!(bench.worker.run_one(&CancellationToken::new()).await.unwrap());

    let stalled = claim(&bench, "stalled").await.unwrap();
    assert!(claim(&bench, "eager").await.is_none());
    bench.clock.advance(bench.installation.settings.lease + Duration::from_secs(1));
    bench.work().await;
    let delivered = bench.view(&order).await;
    assert_eq!(delivered.order.state, OrderState::Delivered);

    assert!(!end(&bench, &stalled, StepEnd::Done).await);
    assert!(!end(&bench, &stalled, StepEnd::Later(bench.clock.now(), "late".to_owned())).await);
    let mut transaction = bench.installation.database.begin().await.unwrap();
    assert!(!steps::holds(&mut transaction, &stalled).await.unwrap());
    assert!(!steps::renew(&mut transaction, &stalled, bench.clock.now(), Worked::default()).await.unwrap());
    drop(transaction);
    let delivery = deliveries::of_order(&bench.installation.database, &order.id).await.unwrap();
    assert_eq!(delivery, delivered.delivery);
}

#[tokio::test]
async fn a_step_that_fails_waits_longer_each_time_and_is_dead_in_the_end() {
    let settings = Settings { max_attempts: 3, ..Settings::default() };
    let bench = Bench::with(settings).await;
    let package_id = bench.package("p").await;
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    for wait in [2, 4] {
        let lease = claim(&bench, "hand").await.unwrap();
        let later = bench.clock.now().plus(Duration::from_secs(wait));
        assert!(end(&bench, &lease, StepEnd::Later(later, "the disk is tired".to_owned())).await);
        bench.clock.advance(Duration::from_secs(wait - 1));
        assert!(claim(&bench, "early").await.is_none());
        bench.clock.advance(Duration::from_secs(1));
    }
    // The third attempt takes its worker down, and so the lease runs out.
    assert_eq!(claim(&bench, "doomed").await.unwrap().attempt, 3);
    bench.clock.advance(bench.installation.settings.lease + Duration::from_secs(1));
    assert_eq!(bench.work().await, 1);
    let view = bench.view(&order).await;
    assert_eq!(view.order.state, OrderState::Failed);
    let counts = bench.administration.step_counts().await.unwrap();
    assert_eq!(counts.len(), 1);
    assert_eq!((counts[0].state.as_str(), counts[0].count), ("dead", 1));
}

#[tokio::test]
async fn what_is_handed_back_does_not_count_as_an_attempt() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    bench.order(CLIENT, &package_id).await.unwrap();
    for _ in 0..10 {
        let lease = claim(&bench, "hand").await.unwrap();
        assert_eq!(lease.attempt, 1);
        assert!(end(&bench, &lease, StepEnd::HandedBack).await);
    }
}

#[tokio::test]
async fn workers_that_run_finish_everything_and_stop_when_told() {
    finish_everything(Settings::default()).await;
}

#[tokio::test]
async fn bounds_hold_nothing_up_for_ever() {
    let shares = Shares { max_steps_per_contract: 1, max_bytes_per_contract: 1, ..Shares::default() };
    finish_everything(Settings { worker_count: 4, max_bytes_in_flight: 1, shares, ..Settings::default() }).await;
}

async fn finish_everything(settings: Settings) {
    let bench = Bench::with(settings).await;
    let mut orders = Vec::new();
    for number in 0..20 {
        let package_id = bench.package(&format!("p{number}")).await;
        orders.push(bench.order(CLIENT, &package_id).await.unwrap().order);
    }
    let stop = CancellationToken::new();
    let running = tokio::spawn(bench.worker.clone().run(stop.clone(), Duration::from_secs(30)));
    for order in &orders {
        while bench.view(order).await.order.state != OrderState::Delivered {
            tokio::task::yield_now().await;
        }
    }
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn two_programs_that_start_on_an_empty_directory_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let (places, _database) = places(&directory.path().join("data")).await;
    let open = || Installation::open(places.clone(), Settings::default(), Default::default());
    let (one, other) = tokio::join!(open(), open());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.key.link_key(), other.key.link_key());
    assert_eq!(one.check().await, Ok(()));
    assert!(!Worker::new(other.into()).run_one(&CancellationToken::new()).await.unwrap());
}
