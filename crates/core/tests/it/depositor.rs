//! What a depositor sees besides packages and orders: the area, webhooks, events, legal holds.

use dipper_core::Role;
use dipper_core::caller::{Caller, Grants};
use dipper_core::db::notices::{self, Attempt, NoticeEnd};
use dipper_core::db::orders::Order;
use dipper_core::intake::{AreaUse, IntakeError, NoticeError, OrderDissemination, OrderRetrieval, Portion};
use dipper_core::order::OrderState;
use dipper_core::settings::Settings;

use super::bench::{Bench, CLIENT, CONTRACT};

async fn delivered(bench: &Bench, object_id: &str) -> Order {
    let package_id = bench.package(object_id).await;
    let command = OrderRetrieval { package_id, portion: Portion::default(), dialect: "test" };
    let order = bench.intake.retrieval_order(&bench.reader(CLIENT), command).await.unwrap().order;
    bench.work().await;
    order
}

fn stranger(client_id: &str) -> Caller {
    let grants: Grants = [("other".to_owned(), Role::Read)].into_iter().collect();
    Caller { client_id: client_id.to_owned(), grants, stored: true }
}

#[tokio::test]
async fn the_area_is_shown_page_by_page_with_its_quota() {
    let bench = Bench::new().await;
    let reader = bench.reader(CLIENT);
    let mut names = Vec::new();
    for object_id in ["a", "b", "c", "d", "e"] {
        names.push(delivered(&bench, object_id).await.area_name.unwrap());
    }
    names.sort();
    let (mut seen, mut after) = (Vec::new(), (String::new(), String::new()));
    loop {
        let page = bench.intake.outgoing_page(&reader, (&after.0, &after.1), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = (last.file.contract_id.clone(), last.file.name.clone());
        seen.extend(page.into_iter().map(|found| {
            assert_eq!(found.content.unwrap().size_bytes, found.file.size_bytes);
            found.file.name
        }));
    }
    assert_eq!(seen, names);
    assert!(bench.intake.outgoing_page(&stranger(CLIENT), ("", ""), 10).await.unwrap().is_empty());

    let used_bytes = bench.administration.area_used_bytes(CONTRACT).await.unwrap();
    assert!(used_bytes > 0);
    let expected = |quota_bytes| [AreaUse { contract_id: CONTRACT.to_owned(), used_bytes, quota_bytes }];
    bench.administration.contract_quota_set(CONTRACT, Some(77)).await.unwrap();
    assert_eq!(bench.intake.area_use(&reader).await.unwrap(), expected(Some(77)));
    bench.administration.contract_quota_set(CONTRACT, Some(0)).await.unwrap();
    assert_eq!(bench.intake.area_use(&reader).await.unwrap(), expected(None));
    bench.administration.contract_quota_set(CONTRACT, None).await.unwrap();
    let for_all = Some(bench.installation.settings.area.quota_bytes).filter(|bytes| *bytes > 0);
    assert_eq!(bench.intake.area_use(&reader).await.unwrap(), expected(for_all));
    assert!(bench.intake.area_use(&stranger(CLIENT)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_client_sees_and_replays_the_notices_of_its_own_webhooks() {
    let bench = Bench::new().await;
    let webhook = bench.administration.webhook_add(CLIENT, "https://example.org/hook").await.unwrap().id;
    let orders = [delivered(&bench, "a").await, delivered(&bench, "b").await, delivered(&bench, "c").await];
    let reader = bench.reader(CLIENT);
    let listed = bench.intake.webhook_list(&reader).await.unwrap();
    assert_eq!((listed.len(), listed[0].url.as_str()), (1, "https://example.org/hook"));
    let page = bench.intake.notice_list(&reader, &webhook, None, 2).await.unwrap();
    let told: Vec<&str> = page.iter().map(|(notice, _)| notice.order_id.as_str()).collect();
    assert_eq!(told, [&orders[2].id, &orders[1].id]);
    let last = page.last().unwrap().0.id.clone();
    let page = bench.intake.notice_list(&reader, &webhook, Some(&last), 2).await.unwrap();
    assert_eq!((page.len(), &page[0].0.order_id), (1, &orders[0].id));

    // The receiver does not want it, and it is given up.
    let now = bench.clock.now();
    let mut transaction = bench.installation.database.begin().await.unwrap();
    let lease = notices::claim(&mut transaction, now, now).await.unwrap().unwrap();
    let attempt = Attempt { number: 1, at: now, duration_micros: 5, status: Some(500), failure: Some("500".into()) };
    assert!(notices::end(&mut transaction, &lease, &attempt, NoticeEnd::Abandoned, now).await.unwrap());
    transaction.commit().await.unwrap();
    let state = async || {
        let page = bench.intake.notice_list(&reader, &webhook, None, 9).await.unwrap();
        let (notice, attempts) = page.into_iter().find(|(notice, _)| notice.id == lease.id).unwrap();
        (notice.state, attempts.len())
    };
    assert_eq!(state().await, ("abandoned".to_owned(), 1));
    for other in [bench.reader("another"), stranger("another")] {
        let refused = bench.intake.notice_replay(&other, &webhook, &lease.id).await;
        assert!(matches!(refused, Err(NoticeError::WebhookUnknown(_))), "{refused:?}");
        assert!(bench.intake.webhook_list(&other).await.unwrap().is_empty());
        assert!(bench.intake.notice_list(&other, &webhook, None, 9).await.is_err());
    }
    let nobody = Caller { grants: Grants::default(), ..reader.clone() };
    assert!(matches!(bench.intake.webhook_list(&nobody).await, Err(NoticeError::NotAllowed)));
    let unknown = bench.intake.notice_replay(&reader, &webhook, "msg_none").await;
    assert!(matches!(unknown, Err(NoticeError::NoticeUnknown(_))), "{unknown:?}");
    bench.intake.notice_replay(&reader, &webhook, &lease.id).await.unwrap();
    assert_eq!(state().await, ("pending".to_owned(), 1));
    let events = bench.intake.order_events(&reader, &lease.order_id, 100).await.unwrap();
    assert_eq!(events.last().unwrap().kind, "notice replayed");
    bench.administration.webhook_enable(&webhook, false).await.unwrap();
    let refused = bench.intake.notice_replay(&reader, &webhook, &lease.id).await;
    assert!(matches!(refused, Err(NoticeError::Disabled)), "{refused:?}");
}

#[tokio::test]
async fn events_and_legal_holds_are_shown_to_readers_alone() {
    let bench = Bench::new().await;
    let order = delivered(&bench, "a").await;
    let (reader, id) = (bench.reader(CLIENT), order.package_id.as_str());
    let all = bench.intake.package_events(&reader, id, None, 1000).await.unwrap();
    assert!(all.len() > 5 && all.is_sorted_by(|newer, older| newer.id > older.id));
    let (mut paged, mut before) = (Vec::new(), None);
    loop {
        let page = bench.intake.package_events(&reader, id, before.as_deref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id.clone());
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let of_order = bench.intake.order_events(&reader, &order.id, 100).await.unwrap();
    assert_eq!(of_order[0].detail, "version 1");

    let mut operator = reader.clone();
    operator.grants.add(CONTRACT, Role::Operator);
    bench.package("b").await;
    assert!(bench.intake.package_holds(&reader, id).await.unwrap().is_empty());
    bench.intake.hold_set(&operator, CONTRACT, Some("b"), "not this one").await.unwrap();
    bench.intake.hold_set(&operator, CONTRACT, Some("a"), "case 1").await.unwrap();
    let hold = bench.intake.hold_set(&operator, CONTRACT, None, "everything").await.unwrap();
    let reasons = async || {
        let holds = bench.intake.package_holds(&reader, id).await.unwrap();
        let mut reasons: Vec<String> = holds.into_iter().map(|hold| hold.reason).collect();
        reasons.sort();
        reasons
    };
    assert_eq!(reasons().await, ["case 1", "everything"]);
    bench.intake.hold_lift(&operator, &hold.id, None).await.unwrap();
    assert_eq!(reasons().await, ["case 1"]);

    let stranger = stranger("stranger");
    let refused = bench.intake.package_events(&stranger, id, None, 9).await;
    assert!(matches!(refused, Err(IntakeError::NotAllowed { .. })), "{refused:?}");
    let refused = bench.intake.package_holds(&stranger, id).await;
    assert!(matches!(refused, Err(IntakeError::NotAllowed { .. })), "{refused:?}");
    let refused = bench.intake.order_events(&stranger, &order.id, 9).await;
    assert!(matches!(refused, Err(IntakeError::OrderUnknown(_))), "{refused:?}");
}

#[tokio::test]
async fn no_webhook_is_told_of_an_order_that_its_contract_has_no_words_for() {
    let bench = Bench::with(Settings { noticed: Some(vec!["dps"]), ..Settings::default() }).await;
    let webhook = bench.administration.webhook_add(CLIENT, "https://example.org/hook").await.unwrap().id;
    let reader = bench.reader(CLIENT);
    for (dialect, told) in [("console", 0), ("dps", 1)] {
        let package_id = bench.package(dialect).await;
        let portion = Portion::default();
        let command = OrderDissemination { package_id, portion, priority: 50, rank: 50, dialect };
        let ordered = bench.intake.order_dissemination(&reader, command).await.unwrap();
        bench.work().await;
        assert_eq!(bench.view(&ordered.order).await.order.state, OrderState::Delivered);
        assert_eq!(bench.intake.notice_list(&reader, &webhook, None, 9).await.unwrap().len(), told, "{dialect}");
    }
}
