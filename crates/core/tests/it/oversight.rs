//! What an operator sees of the work, and what it can do about it.

use std::sync::Arc;
use std::time::Duration;

use dipper_core::audit::AuditKind;
use dipper_core::audit::export::export;
use dipper_core::audit::premis::Premis;
use dipper_core::audit::verify::verify as verify_chain;
use dipper_core::caller::{Caller, Role};
use dipper_core::db::audit::{AuditFilter, list};
use dipper_core::db::claims::{self, Claim, Claimed};
use dipper_core::db::orders::{Order, OrderFilter};
use dipper_core::db::oversight::{self as look, StepState};
use dipper_core::db::packages::PackageState;
use dipper_core::db::processes::ProcessKind;
use dipper_core::db::steps::{self, StepEnd, StepKind, WaitsFor};
use dipper_core::db::tallies::{self, Unit};
use dipper_core::db::{checks, orders, package_figures, recalls, sql};
use dipper_core::intake::AuditQuery;
use dipper_core::order::{OrderKind, OrderState};
use dipper_core::oversight::presence::Presence;
use dipper_core::oversight::verdict::Finding;
use dipper_core::oversight::{Oversight, OversightError};
use dipper_core::scrub::{FixitySettings, Scrubber, Turn};
use dipper_core::settings::Settings;
use dipper_core::time::Timestamp;
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, CLIENT, CONTRACT};
use super::search::plan;

const HOUR: Duration = Duration::from_secs(3600);

fn oversight(bench: &Bench) -> Oversight {
    Oversight::new(Arc::clone(&bench.installation))
}

fn operator(contract_id: &str) -> Caller {
    let grants = [(contract_id.to_owned(), Role::Operator)].into_iter().collect();
    Caller { client_id: "olga".to_owned(), grants, stored: false }
}

async fn claim(bench: &Bench) -> Option<steps::Lease> {
    let now = bench.clock.now();
    let database = &bench.installation.database;
    claims::sweep(database, now).await.unwrap();
    let settings = &bench.installation.settings;
    let until = now.plus(settings.lease);
    let claim =
        Claim { holder: "host:1:0", now, until, room_bytes: u64::MAX, overtaking_bytes: 0, shares: &settings.shares };
    match claims::claim(database, &claim).await.unwrap() {
        Claimed::Step(lease, _) => Some(lease),
        _ => None,
    }
}

async fn end(bench: &Bench, lease: &steps::Lease, end: StepEnd) {
    let mut transaction = bench.installation.database.begin().await.unwrap();
    assert!(steps::end(&mut transaction, lease, end, bench.clock.now()).await.unwrap());
    transaction.commit().await.unwrap();
}

async fn names(bench: &Bench) -> Vec<&'static str> {
    let state = oversight(bench).work(&operator(CONTRACT)).await.unwrap();
    state.findings.iter().map(Finding::name).collect()
}

/// The entries of the log about what operators did, as far as they tell it.
async fn acts(bench: &Bench) -> Vec<(String, String)> {
    let filter = AuditFilter { kind: Some(AuditKind::Administration), ..AuditFilter::default() };
    let found = list(&bench.installation.database, &filter, None, 100).await.unwrap();
    found.into_iter().map(|chained| (chained.entry.agent, chained.entry.detail)).collect()
}

/// An order whose package is found damaged when it is prepared.
async fn failed(bench: &Bench, object_id: &str) -> (String, Order) {
    let package_id = bench.package(object_id).await;
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    let file = bench.content_file(object_id.as_bytes());
    std::fs::write(&file, "x".repeat(object_id.len())).unwrap();
    // Damage is looked at twice before it is believed.
    while !bench.view(&order).await.order.state.is_finished() {
        bench.work().await;
        bench.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(bench.view(&order).await.order.state, OrderState::Failed);
    std::fs::write(&file, object_id).unwrap();
    (package_id, order)
}

#[tokio::test]
async fn the_state_of_the_work_tells_what_is_where_and_since_when() {
    let bench = Bench::new().await;
    assert_eq!(names(&bench).await, ["idle"]);
    let package_id = bench.package("p").await;
    let other = bench.package("q").await;
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    bench.order_ranked(CLIENT, &other, 10).await.unwrap();
    bench.clock.advance(Duration::from_secs(30));
    assert_eq!(names(&bench).await, ["no-worker"]);
    let state = oversight(&bench).work(&operator(CONTRACT)).await.unwrap();
    assert_eq!(state.findings, [Finding::NoWorker { ready: 2, since: Some(order.created) }]);
    let ready: Vec<_> = state.ready.iter().map(|step| (step.kind, step.object_id.as_str(), step.rank)).collect();
    assert_eq!(ready, [(StepKind::Admit, "p", 50), (StepKind::Admit, "q", 10)]);

    let presence = Presence::begin(&bench.installation, "host:1", ProcessKind::Worker, 1);
    while names(&bench).await != ["proceeding"] {
        tokio::task::yield_now().await;
    }
    let lease = claim(&bench).await.unwrap();
    assert_eq!(names(&bench).await, ["busy", "proceeding"]);
    let state = oversight(&bench).work(&operator(CONTRACT)).await.unwrap();
    let running = &state.running[0];
    assert_eq!(
        (running.order_id.as_str(), running.holder.as_str(), running.attempts),
        (order.id.as_str(), "host:1:0", 1)
    );
    assert_eq!((running.since, running.client_id.as_str()), (bench.clock.now(), CLIENT));
    let processes = oversight(&bench).processes(&operator(CONTRACT)).await.unwrap();
    assert_eq!(processes.len(), 1);
    assert!(processes[0].is_there && processes[0].held == 1 && processes[0].leases.len() == 1, "{processes:?}");

    let until = bench.clock.now().plus(Duration::from_secs(15));
    end(&bench, &lease, StepEnd::Postponed(until, WaitsFor::Storage, "the store is away".to_owned())).await;
    let state = oversight(&bench).work(&operator(CONTRACT)).await.unwrap();
    let waiting = &state.waiting[0];
    assert_eq!((waiting.waits_for, waiting.failure.as_deref()), (Some(WaitsFor::Storage), Some("the store is away")));
    assert_eq!(waiting.run_after, until);
    let finding = Finding::Waiting { waits_for: Some(WaitsFor::Storage), steps: 1, next: until };
    assert_eq!(state.findings[0], finding);
    let counts: Vec<_> = state.queue.iter().map(|count| (count.kind, count.state, count.count)).collect();
    assert_eq!(counts, [(StepKind::Admit, StepState::Ready, 1), (StepKind::Admit, StepState::Waiting, 1)]);

    // Whoever operates another contract sees nothing of it, but that there are processes.
    bench.administration.contract_add("other").await.unwrap();
    let state = oversight(&bench).work(&operator("other")).await.unwrap();
    assert!(state.queue.is_empty() && state.ready.is_empty() && state.waiting.is_empty() && state.running.is_empty());
    assert_eq!(oversight(&bench).processes(&operator("other")).await.unwrap().len(), 1);
    let refused = oversight(&bench).work(&bench.reader(CLIENT)).await;
    assert!(matches!(refused, Err(OversightError::NotAllowed)), "{refused:?}");

    // A process that fell silent is missed, one that stops is not.
    presence.end().await;
    assert_eq!(oversight(&bench).processes(&operator(CONTRACT)).await.unwrap(), []);
    let killed = "INSERT INTO processes (name, host, kind, version, slots, started, seen)
                  VALUES ('host:9', 'host', 'worker', '1', 2, 0, $1)";
    bench.installation.database.execute(sql(killed).bind(bench.clock.now())).await.unwrap();
    assert!(!names(&bench).await.contains(&"process-lost"));
    bench.clock.advance(bench.installation.settings.lease * 2);
    assert!(names(&bench).await.contains(&"process-lost"));
}

#[tokio::test]
async fn rows_of_processes_that_were_killed_go_after_a_day() {
    let bench = Bench::new().await;
    let killed = "INSERT INTO processes (name, host, kind, version, slots, started, seen)
                  VALUES ('host:9', 'host', 'worker', '1', 2, 0, $1)";
    bench.installation.database.execute(sql(killed).bind(bench.clock.now())).await.unwrap();
    bench.clock.advance(HOUR * 25);
    let presence = Presence::begin(&bench.installation, "host:1", ProcessKind::Server, 0);
    loop {
        let found = oversight(&bench).processes(&operator(CONTRACT)).await.unwrap();
        if found.iter().map(|view| view.name.as_str()).eq(["host:1"]) {
            break;
        }
        tokio::task::yield_now().await;
    }
    presence.end().await;
}

#[tokio::test]
async fn what_failed_is_ordered_again_for_its_client() {
    let fixity = FixitySettings { period: Some(HOUR * 2400), ..FixitySettings::default() };
    let bench = Bench::with(Settings { fixity, ..Settings::default() }).await;
    let (package_id, order) = failed(&bench, "p").await;
    let (door, olga) = (oversight(&bench), operator(CONTRACT));
    let state = door.work(&olga).await.unwrap();
    assert_eq!((state.ended.len(), state.ended[0].id.as_str()), (1, order.id.as_str()));
    assert!(state.ended[0].cause.is_some() && !state.ended[0].message.is_empty(), "{:?}", state.ended);
    let told: Vec<&str> = state.findings.iter().map(Finding::name).collect();
    assert_eq!(told, ["damaged", "failed", "idle"]);

    for stranger in [operator("other"), bench.reader(CLIENT)] {
        let refused = door.retry(&stranger, &order.id).await;
        assert!(matches!(refused, Err(OversightError::OrderUnknown(_))), "{refused:?}");
    }
    let refused = door.retry(&olga, &order.id).await;
    assert!(matches!(refused, Err(OversightError::Unfit { state: PackageState::Damaged, .. })), "{refused:?}");
    assert_eq!(acts(&bench).await, []);

    // It was repaired; the way to have it opened is to have it read.
    let refused = door.verify_soon(&operator("other"), &package_id).await;
    assert!(matches!(refused, Err(OversightError::PackageUnknown(_))), "{refused:?}");
    bench.package("older").await;
    door.verify_soon(&olga, &package_id).await.unwrap();
    let scrubber = Scrubber::new(Arc::clone(&bench.installation));
    assert_eq!(scrubber.turn(&CancellationToken::new()).await.unwrap(), Turn::Intact(package_id.clone()));
    assert!(matches!(scrubber.turn(&CancellationToken::new()).await.unwrap(), Turn::Rest(_)));
    assert_eq!(bench.package_state(&package_id).await, PackageState::Preserved);

    let again = door.retry(&olga, &order.id).await.unwrap();
    let refused = door.retry(&olga, &order.id).await;
    assert!(matches!(&refused, Err(OversightError::Again { existing: Some(id) }) if *id == again), "{refused:?}");
    bench.work().await;
    let view = bench.intake.order_get(&bench.reader(CLIENT), &again).await.unwrap();
    assert_eq!((view.order.state, view.order.client_id.as_str(), view.order.rank), (OrderState::Delivered, CLIENT, 50));
    assert_eq!(names(&bench).await, ["idle"]);
    let refused = door.retry(&olga, &again).await;
    assert!(matches!(refused, Err(OversightError::NotFailed { state: OrderState::Delivered, .. })), "{refused:?}");
    let acts = acts(&bench).await;
    assert_eq!(acts.len(), 2);
    assert_eq!(acts[1], ("client olga".to_owned(), format!("order {} was repeated as order {again}", order.id)));
    let events = bench.administration.event_list(Some(&order.id), None, 100).await.unwrap();
    assert!(events.iter().any(|event| event.kind == "order repeated" && event.agent == "client olga"));
}

#[tokio::test]
async fn acts_are_in_the_log_and_not_among_what_was_done_with_content() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    oversight(&bench).verify_soon(&operator(CONTRACT), &package_id).await.unwrap();
    let query =
        AuditQuery { contract_id: CONTRACT.to_owned(), object_id: "p".to_owned(), limit: 10, ..AuditQuery::default() };
    let told = bench.intake.audit_list(&bench.reader(CLIENT), &query).await.unwrap();
    assert_eq!(told.iter().map(|record| record.chained.entry.kind).collect::<Vec<_>>(), [AuditKind::Ingest]);
    let mut premis = Vec::new();
    let database = &bench.installation.database;
    export(database, &AuditFilter::default(), &mut Premis::default(), &mut premis).await.unwrap();
    let premis = String::from_utf8(premis).unwrap();
    assert!(premis.contains("<eventType>administration</eventType>") && premis.contains("client olga"), "{premis}");
    assert!(verify_chain(database, None, None, |_| {}).await.unwrap().iter().all(|report| report.fault.is_none()));
}

#[tokio::test]
async fn an_order_is_withdrawn_or_its_delivery_taken_back() {
    let bench = Bench::new().await;
    let (one, other) = (bench.package("one").await, bench.package("other").await);
    let (door, olga) = (oversight(&bench), operator(CONTRACT));
    let order = bench.order(CLIENT, &one).await.unwrap().order;
    assert_eq!(door.cancel(&olga, &order.id).await.unwrap(), OrderState::Cancelled);
    assert_eq!(bench.work().await, 0);
    let refused = door.cancel(&olga, &order.id).await;
    assert!(matches!(refused, Err(OversightError::NotCancellable { state: OrderState::Cancelled, .. })), "{refused:?}");
    let order = bench.order(CLIENT, &other).await.unwrap().order;
    bench.work().await;
    assert_eq!(door.cancel(&olga, &order.id).await.unwrap(), OrderState::Delivered);
    assert!(bench.view(&order).await.delivery.unwrap().released.is_some());
    let refused = door.cancel(&olga, &order.id).await;
    assert!(matches!(refused, Err(OversightError::NotCancellable { .. })), "{refused:?}");
    assert_eq!(acts(&bench).await.len(), 2);
    let refused = door.cancel(&operator("other"), &order.id).await;
    assert!(matches!(refused, Err(OversightError::OrderUnknown(_))), "{refused:?}");
}

#[tokio::test]
async fn an_order_that_is_given_another_urgency_moves_in_its_line() {
    let bench = Bench::new().await;
    let (door, olga) = (oversight(&bench), operator(CONTRACT));
    let mut ordered = Vec::new();
    for name in ["a", "b", "c"] {
        let package_id = bench.package(name).await;
        ordered.push(bench.order(CLIENT, &package_id).await.unwrap().order.id);
    }
    door.priority_set(&olga, &ordered[2], 90).await.unwrap();
    door.priority_set(&olga, &ordered[0], 10).await.unwrap();
    let mut claimed = Vec::new();
    while let Some(lease) = claim(&bench).await {
        claimed.push(lease.order_id);
    }
    assert_eq!(claimed, [ordered[2].clone(), ordered[1].clone(), ordered[0].clone()]);
    for rank in [0, 101, i64::MIN] {
        let refused = door.priority_set(&olga, &ordered[0], rank).await;
        assert!(matches!(refused, Err(OversightError::Rank(_))), "{refused:?}");
    }
    // Steps that come later have it too.
    bench.clock.advance(bench.installation.settings.lease * 2);
    bench.work().await;
    let query = sql("SELECT MIN(rank) AS least, MAX(rank) AS most FROM steps WHERE order_id = $1").bind(&ordered[2]);
    let row = bench.installation.database.row(query).await.unwrap().unwrap();
    assert_eq!((row.integer("least").unwrap(), row.integer("most").unwrap()), (90, 90));
    let order = orders::get(&bench.installation.database, &ordered[2]).await.unwrap().unwrap();
    assert_eq!((order.priority, order.rank), (50, 90));
    let refused = door.priority_set(&olga, &ordered[0], 50).await;
    assert!(matches!(refused, Err(OversightError::Finished { .. })), "{refused:?}");
    assert_eq!(acts(&bench).await.len(), 2);
}

#[tokio::test]
async fn hours_and_days_add_up_what_was_delivered_and_checked() {
    let fixity = FixitySettings { period: Some(HOUR * 240), ..FixitySettings::default() };
    let bench = Bench::with(Settings { fixity, ..Settings::default() }).await;
    let (door, olga) = (oversight(&bench), operator(CONTRACT));
    let (first, second) = (bench.package("first").await, bench.package("second").await);
    bench.order(CLIENT, &first).await.unwrap();
    bench.work().await;
    bench.clock.advance(HOUR * 3);
    bench.order(CLIENT, &second).await.unwrap();
    bench.work().await;
    let hours = door.throughput(&olga, 24).await.unwrap();
    assert_eq!(hours.len(), 24);
    let delivered: Vec<_> = hours.iter().map(|(_, tally)| (tally.delivered_orders, tally.delivered_bytes)).collect();
    assert_eq!((delivered[20], delivered[23]), ((1, 5), (1, 6)));
    assert_eq!(delivered.iter().map(|(orders, _)| orders).sum::<u64>(), 2);
    assert!(hours[23].1.checked_bytes >= 6, "{hours:?}");
    assert!(hours.is_sorted_by_key(|(at, _)| *at) && hours[23].0 == Unit::Hour.begin(bench.clock.now()));

    bench.clock.advance(HOUR * 24 * 10);
    let file = bench.content_file(b"second");
    std::fs::write(&file, "secund").unwrap();
    let scrubber = Scrubber::new(Arc::clone(&bench.installation));
    let mut turns = 0;
    while !matches!(scrubber.turn(&CancellationToken::new()).await.unwrap(), Turn::Rest(_)) {
        turns += 1;
    }
    assert_eq!(turns, 2);
    let view = door.fixity(&olga, 12).await.unwrap();
    assert_eq!((view.days.len(), view.damaged, view.missing), (12, 1, 0));
    let (_, last) = view.days[11];
    assert_eq!((last.checked_packages, last.failures), (2, 1));
    assert_eq!(view.days[1].1.delivered_orders, 2);
    assert_eq!((view.standing.all.packages, view.standing.covered.packages), (2, 2));
    assert_eq!(door.fixity(&operator("other"), 1).await.unwrap().standing.all.packages, 0);
    // What an hour held is forgotten after some days, what a day held is not.
    dipper_core::db::processes::tidy(&bench.installation.database, bench.clock.now()).await.unwrap();
    let database = &bench.installation.database;
    let kept = tallies::list(database, &[CONTRACT], Unit::Hour, Timestamp(0)).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(tallies::list(database, &[CONTRACT], Unit::Day, Timestamp(0)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn deliveries_are_told_by_when_they_are_kept_no_longer() {
    let bench = Bench::new().await;
    let (door, olga) = (oversight(&bench), operator(CONTRACT));
    let mut expected = Vec::new();
    for name in ["a", "b", "c"] {
        let package_id = bench.package(name).await;
        expected.push(bench.order(CLIENT, &package_id).await.unwrap().order.id);
        bench.work().await;
        bench.clock.advance(HOUR);
    }
    let mut found = Vec::new();
    let mut after: Option<(Timestamp, String)> = None;
    loop {
        let place = after.as_ref().map(|(at, id)| (*at, id.as_str()));
        let page = door.deliveries(&olga, place, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.kept_until, last.id.clone()));
        found.extend(page.into_iter().map(|delivery| (delivery.order_id, delivery.size_bytes > 0)));
    }
    assert_eq!(found, expected.iter().map(|id| (id.clone(), true)).collect::<Vec<_>>());
    assert_eq!(door.deliveries(&operator("other"), None, 9).await.unwrap(), []);
    door.cancel(&olga, &expected[1]).await.unwrap();
    assert_eq!(door.deliveries(&olga, None, 9).await.unwrap().len(), 2);
    bench.clock.advance(bench.installation.settings.delivery_kept);
    assert_eq!(door.deliveries(&olga, None, 9).await.unwrap(), []);
}

#[tokio::test]
async fn every_list_is_read_from_an_index() {
    let bench = Bench::new().await;
    let (at, ten) = (bench.clock.now(), 10_u32);
    let mut statements = vec![
        (look::of_one("2d17", look::QUEUE, &[]), "steps_of_contract"),
        (look::of_one("2d17", look::WAITS, &[]), "steps_waiting_of_contract"),
        (look::of_one("2d17", look::DEAD, &[at.into()]), "steps_dead"),
        (look::of_one("2d17", look::ENDED, &[at.into(), ten.into()]), "orders_ended_badly"),
        (look::of_one("2d17", checks::OLDEST_OF, &[]), "packages_due"),
        (checks::whole_days(Some(&["2d17"]), 5), "package_figures"),
        (checks::part_of_day(Some(&["2d17"]), at, at), "packages_checked"),
        (checks::part_of_day(None, at, at), "packages_checked"),
        (look::given_up(&["2d17"], at), "notices_abandoned"),
        (package_figures::states(Some(&["2d17"])), "package_figures"),
        (look::of_one("2d17", look::KEPT, &[at.into(), "".into(), ten.into()]), "deliveries_kept"),
        (tallies::listing(&["2d17"], Unit::Hour, at), "tallies"),
        (recalls::waited_for(Some(&["2d17", "7bd2"]), 10), "orders_open"),
    ];
    for (state, index) in [
        (StepState::Ready, "steps_ready"),
        (StepState::Waiting, "steps_waiting_of_contract"),
        (StepState::Leased, "steps_"),
    ] {
        statements.push((look::of_one("2d17", &look::steps_in(state), &[ten.into()]), index));
    }
    let filter = |states| OrderFilter {
        kind: OrderKind::Dissemination,
        contract_id: None,
        package_id: None,
        states,
        dialect: None,
        before: Some("o".to_owned()),
        limit: 10,
    };
    let lists = [("2d17", Some("queued")), ("2d17", Some("failed")), ("7bd2", Some("queued"))];
    statements.push((orders::listing(&lists, &filter(Some(Vec::new()))), "orders_by_state"));
    statements.push((orders::listing(&[("2d17", None), ("7bd2", None)], &filter(None)), "orders_by_contract"));
    let of_package = OrderFilter { package_id: Some("p".to_owned()), before: None, ..filter(None) };
    statements.push((orders::listing(&[("2d17", None), ("7bd2", None)], &of_package), "orders_by_package"));
    let failed = OrderFilter { states: Some(Vec::new()), ..of_package };
    statements.push((orders::listing(&lists, &failed), "orders_by_package"));
    for (statement, index) in statements {
        // What is noted of changes is read whole: it is added up every few seconds.
        let plan = plan(&bench, &statement).await.replace("Seq Scan on package_changes", "notes");
        let scans = ["SCAN steps", "SCAN orders", "SCAN packages", "SCAN deliveries", "SCAN tallies", "Seq Scan"];
        assert!(!scans.iter().any(|scan| plan.contains(scan)), "{}\n{plan}", statement.text());
        assert!(plan.contains(index), "{}\n{plan}", statement.text());
    }
}
