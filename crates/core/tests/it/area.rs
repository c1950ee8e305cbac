//! Deliveries into the area of a contract: what lies there, when it appears, and whatever may happen on the way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dipper_archive::digest::{Algorithm, Hasher};
use dipper_core::area::sweep::{AreaSweeper, AreaSwept};
use dipper_core::db::orders::{FailureCode, Order, View};
use dipper_core::db::sql;
use dipper_core::intake::{IntakeError, OrderRetrieval, OrderView, Portion};
use dipper_core::order::OrderState;
use dipper_core::settings::{AreaSettings, Settings};
use tokio_util::sync::CancellationToken;

use super::ENGINE;
use super::bench::{Bench, CLIENT, CONTRACT, files_below, places_of};
use crate::Engine;
use crate::peers;

async fn retrieve(bench: &Bench, package_id: &str, version: Option<u32>, view: View) -> Result<OrderView, IntakeError> {
    let command = OrderRetrieval {
        package_id: package_id.to_owned(),
        portion: Portion { version, view, excerpt: None },
        dialect: "test",
    };
    bench.intake.retrieval_order(&bench.reader(CLIENT), command).await
}

/// Orders the newest version.
async fn ordered(bench: &Bench, package_id: &str) -> Order {
    retrieve(bench, package_id, None, View::Version).await.unwrap().order
}

fn outgoing(bench: &Bench) -> PathBuf {
    bench.installation.areas.root().join(CONTRACT).join("outgoing")
}

pub(super) fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn staged(bench: &Bench) -> Vec<String> {
    names(&bench.installation.areas.root().join(".staging"))
}

pub(super) fn md5(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(Algorithm::Md5);
    hasher.update(bytes);
    hasher.finish().to_string()
}

async fn events(bench: &Bench, order: &Order, kind: &str) -> usize {
    let events = bench.administration.event_list(Some(&order.id), None, 100).await.unwrap();
    events.iter().filter(|event| event.kind == kind).count()
}

async fn swept(bench: &Bench) -> AreaSwept {
    AreaSweeper::new(bench.installation.clone()).sweep().await.unwrap()
}

async fn used(bench: &Bench) -> u64 {
    bench.administration.area_used_bytes(CONTRACT).await.unwrap()
}

/// Unpacks what was delivered for an order, after its checksum was held against the promise, and has it judged.
pub(super) async fn unpacked(bench: &Bench, order: &Order) -> BTreeMap<String, Vec<u8>> {
    let view = bench.view(order).await;
    assert_eq!(view.order.state, OrderState::Delivered, "{:?}", view.order.failure);
    assert!(view.links.is_empty());
    let file = view.delivery.unwrap().files.remove(0);
    let area_file = view.area_file.unwrap();
    assert_eq!((&file.filename, Some(&file.filename)), (&area_file.name, order.area_name.as_ref()));
    let tar = outgoing(bench).join(&file.filename);
    let bytes = std::fs::read(&tar).unwrap();
    assert_eq!((bytes.len() as u64, md5(&bytes)), (file.size_bytes, file.checksum.to_string()));
    assert_eq!(area_file.size_bytes, file.size_bytes);
    let place = bench.directory.path().join(format!("unpacked-{}", order.id));
    std::fs::create_dir(&place).unwrap();
    assert!(Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&place).status().unwrap().success());
    let top = file.filename.strip_suffix(".tar").unwrap();
    assert_eq!(names(&place), [top]);
    let judged = Command::new(peers::tool("bagit.py")).arg("--validate").arg(place.join(top)).output().unwrap();
    assert!(judged.status.success(), "{}", peers::told(&judged));
    let files = files_below(&place.join(top));
    let relative = |path: PathBuf| path.strip_prefix(place.join(top)).unwrap().display().to_string();
    files.into_iter().map(|(path, bytes)| (relative(path), bytes)).collect()
}

pub(super) fn payload(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<&str, &[u8]> {
    files.iter().filter_map(|(path, bytes)| Some((path.strip_prefix("data/")?, bytes.as_slice()))).collect()
}

/// A bag with these payload files.
pub(super) fn bag(bench: &Bench, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let mut all = vec![
        ("bagit.txt".to_owned(), "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n".to_owned()),
        ("notes.txt".to_owned(), format!("of {name}")),
    ];
    let manifest = files.iter().map(|(path, text)| format!("{}  data/{path}\n", md5(text.as_bytes()))).collect();
    all.push(("manifest-md5.txt".to_owned(), manifest));
    all.extend(files.iter().map(|(path, text)| (format!("data/{path}"), (*text).to_owned())));
    let all: Vec<(&str, &[u8])> = all.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
    bench.source(name, &all)
}

#[tokio::test]
async fn what_is_delivered_is_a_bag_under_its_identifier() {
    let bench = Bench::new().await;
    let source = bench.source("plain", &[("a.txt", b"alpha"), ("sub/b.txt", b"beta")]);
    let plain = bench.ingest(&source, "plain").await.unwrap();
    let bag = bench.ingest(&bag(&bench, "bag", &[("x", "ex")]), "bag").await.unwrap();
    let orders = [ordered(&bench, &plain.package_id).await, ordered(&bench, &bag.package_id).await];
    assert_eq!(names(&outgoing(&bench)), Vec::<String>::new());
    bench.work().await;
    let expected = [format!("{}.tar", plain.identifier), format!("{}.tar", bag.identifier)];
    assert_eq!(names(&outgoing(&bench)), expected);
    assert!(staged(&bench).is_empty());

    let files = unpacked(&bench, &orders[0]).await;
    assert_eq!(payload(&files), [("a.txt", b"alpha".as_slice()), ("sub/b.txt", b"beta")].into());
    let info = String::from_utf8(files["bag-info.txt"].clone()).unwrap();
    assert!(info.contains(&format!("Internal-Sender-Identifier: {}\n", plain.identifier)), "{info}");
    // A bag comes back as it was deposited.
    let files = unpacked(&bench, &orders[1]).await;
    assert_eq!(files["notes.txt"], b"of bag");
    assert_eq!(files.keys().collect::<Vec<_>>(), ["bagit.txt", "data/x", "manifest-md5.txt", "notes.txt"]);
}

#[tokio::test]
async fn older_versions_and_the_surface_of_deltas_have_names_of_their_own() {
    let bench = Bench::new().await;
    let first = bench.ingest(&bag(&bench, "one", &[("a", "1"), ("b", "1"), ("c/d", "1")]), "p").await.unwrap();
    bench.ingest(&bench.source("two", &[("b", b"2"), ("e", b"2")]), "p").await.unwrap();
    bench.ingest(&bag(&bench, "three", &[("c", "3"), ("e", "3")]), "p").await.unwrap();
    let id = &first.package_id;
    let table = [
        (Some(1), View::Version, "_v1.tar", vec![("a", "1"), ("b", "1"), ("c/d", "1")]),
        (Some(2), View::Version, "_v2.tar", vec![("b", "2"), ("e", "2")]),
        (Some(3), View::Version, ".tar", vec![("c", "3"), ("e", "3")]),
        (Some(2), View::Surface, "_v2_surface.tar", vec![("a", "1"), ("b", "2"), ("c/d", "1"), ("e", "2")]),
        (None, View::Surface, "_surface.tar", vec![("a", "1"), ("b", "2"), ("c", "3"), ("e", "3")]),
    ];
    let mut orders = Vec::new();
    for (version, view, ending, _) in &table {
        let order = retrieve(&bench, id, *version, *view).await.unwrap().order;
        assert_eq!(order.area_name, Some(format!("{}{ending}", first.identifier)));
        orders.push(order);
    }
    bench.work().await;
    for (order, (.., expected)) in orders.iter().zip(table) {
        let files = unpacked(&bench, order).await;
        let expected = expected.into_iter().map(|(path, text)| (path, text.as_bytes())).collect();
        assert_eq!(payload(&files), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poller_never_sees_anything_but_whole_packages() {
    // What a directory shows does not depend on the database.
    let packages = if ENGINE == Engine::Sqlite { 200 } else { 50 };
    let settings = Settings { worker_count: 3, poll: Some(Duration::from_millis(20)), ..Settings::default() };
    let bench = Bench::with(settings).await;
    let content = vec![7_u8; 30_000];
    let mut orders = Vec::new();
    for number in 0..packages {
        let name = format!("p{number}");
        let source = bench.source(&name, &[("name", name.as_bytes()), ("content", &content)]);
        let package = bench.ingest(&source, &name).await.unwrap();
        orders.push(ordered(&bench, &package.package_id).await);
    }
    let done = Arc::new(AtomicBool::new(false));
    let polling = std::thread::spawn({
        let (done, outgoing) = (Arc::clone(&done), outgoing(&bench));
        move || {
            let mut seen: BTreeMap<String, String> = BTreeMap::new();
            let mut turns = 0;
            loop {
                // Asked first: what is there after the end is looked at once more.
                let is_last = done.load(Ordering::SeqCst);
                turns += 1;
                for name in names(&outgoing) {
                    let sum = md5(&std::fs::read(outgoing.join(&name)).unwrap());
                    let before = seen.insert(name.clone(), sum.clone());
                    assert!(before.is_none_or(|before| before == sum), "{name} has changed");
                }
                if is_last {
                    return (seen, turns);
                }
            }
        }
    });
    let stop = CancellationToken::new();
    let running = tokio::spawn(bench.worker.clone().run(stop.clone(), Duration::from_secs(30)));
    for order in &orders {
        while !bench.view(order).await.order.state.is_finished() {
            tokio::task::yield_now().await;
        }
    }
    stop.cancel();
    running.await.unwrap();
    done.store(true, Ordering::SeqCst);
    let (seen, turns) = polling.join().unwrap();
    assert!(turns > 1);
    let mut promised = BTreeMap::new();
    for order in &orders {
        let file = bench.view(order).await.delivery.unwrap().files.remove(0);
        promised.insert(file.filename, file.checksum.to_string());
    }
    assert_eq!((seen.len(), &seen), (packages, &promised));
}

/// A trigger that runs when a table is written to, as long as the order is in its first attempt.
async fn trigger(bench: &Bench, on: &str, first_attempt: bool, action: &str) {
    let attempt =
        "(SELECT COUNT(*) FROM steps WHERE steps.order_id = NEW.order_id AND kind = 'prepare' AND fence > 1) = 0";
    let when = if first_attempt { format!("WHEN ({attempt})") } else { String::new() };
    match ENGINE {
        Engine::Sqlite => {
            let text = format!("CREATE TRIGGER t AFTER {on} FOR EACH ROW {when} BEGIN {action} END");
            bench.installation.database.execute(dipper_core::db::Statement::assembled(text)).await.unwrap();
        }
        Engine::Postgres => {
            let database = bench.database.as_ref().unwrap();
            let condition = if first_attempt { attempt } else { "TRUE" };
            database.psql(&format!(
                "CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN IF {condition} THEN {action} END IF; RETURN NEW; END $$
                 LANGUAGE plpgsql"
            ));
            database.psql(&format!("CREATE TRIGGER t AFTER {on} FOR EACH ROW EXECUTE FUNCTION f()"));
        }
    }
}

/// The same, but it is the commit that fails: everything else has been done by then.
async fn fail_the_commit(bench: &Bench) {
    match ENGINE {
        Engine::Sqlite => {
            let table = "CREATE TABLE bomb (id BIGINT REFERENCES contracts (created) DEFERRABLE INITIALLY DEFERRED)";
            let unique = "CREATE UNIQUE INDEX bomb_target ON contracts (created)";
            for statement in [unique, table] {
                bench.installation.database.execute(sql(statement)).await.unwrap();
            }
            trigger(bench, "UPDATE OF placed ON area_files", true, "INSERT INTO bomb VALUES (-1);").await;
        }
        Engine::Postgres => {
            let database = bench.database.as_ref().unwrap();
            trigger(bench, "UPDATE OF placed ON area_files", true, "RAISE 'crash';").await;
            database.psql("DROP TRIGGER t ON area_files");
            database.psql(
                "CREATE CONSTRAINT TRIGGER t AFTER UPDATE OF placed ON area_files DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION f()",
            );
        }
    }
}

fn crash() -> &'static str {
    match ENGINE {
        Engine::Sqlite => "SELECT RAISE(ABORT, 'crash');",
        Engine::Postgres => "RAISE 'crash';",
    }
}

#[tokio::test]
async fn wherever_an_attempt_ends_the_next_one_delivers_the_same_once() {
    for point in ["INSERT ON area_files", "UPDATE OF placed ON area_files", "commit"] {
        let bench = Bench::new().await;
        let package_id = bench.package("p").await;
        match point {
            "commit" => fail_the_commit(&bench).await,
            on => trigger(&bench, on, true, crash()).await,
        }
        let order = ordered(&bench, &package_id).await;
        // What a killed worker left of this order, and of another one.
        let staging = bench.installation.areas.root().join(".staging");
        std::fs::create_dir_all(&staging).unwrap();
        std::fs::write(staging.join(format!("{}-0.part", order.id)), "half").unwrap();
        std::fs::write(staging.join("another-1.part"), "half").unwrap();
        bench.work().await;
        assert!(!bench.view(&order).await.order.state.is_finished(), "{point}");
        assert_eq!(events(&bench, &order, "order delivered").await, 0, "{point}");
        let early: Vec<_> =
            names(&outgoing(&bench)).iter().map(|name| std::fs::read(outgoing(&bench).join(name)).unwrap()).collect();
        assert_eq!(early.len(), usize::from(point == "commit"), "{point}");
        assert_eq!(staged(&bench), ["another-1.part"], "{point}");
        bench.clock.advance(bench.installation.settings.backoff);
        bench.work().await;
        unpacked(&bench, &order).await;
        let name = order.area_name.as_ref().unwrap();
        let late = std::fs::read(outgoing(&bench).join(name)).unwrap();
        assert!(early.iter().all(|early| *early == late), "{point}: there was another file before");
        assert_eq!(used(&bench).await, late.len() as u64);
        assert_eq!(swept(&bench).await, AreaSwept { staged: 1, ..AreaSwept::default() });
        assert_eq!((staged(&bench).len(), names(&outgoing(&bench)).len()), (0, 1));
    }
}

#[tokio::test]
async fn a_file_whose_order_was_withdrawn_after_a_lost_commit_is_swept() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    fail_the_commit(&bench).await;
    let order = ordered(&bench, &package_id).await;
    bench.work().await;
    assert_eq!(names(&outgoing(&bench)).len(), 1);
    std::fs::write(outgoing(&bench).join("somebody's.tar"), "x").unwrap();
    // As long as the order may still be delivered, the file stays.
    assert_eq!(swept(&bench).await.orphans, 0);
    bench.intake.order_cancel(&bench.reader(CLIENT), &order.id).await.unwrap();
    assert_eq!(used(&bench).await, 0);
    bench.clock.advance(bench.installation.settings.sweep_all);
    assert_eq!(swept(&bench).await.orphans, 1);
    assert_eq!(names(&outgoing(&bench)), ["somebody's.tar"]);
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_places_nothing() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let order = ordered(&bench, &package_id).await;
    // At the very moment at which everything is written and checked, the step is somebody else's.
    let steal = "UPDATE steps SET fence = fence + 1, lease_until = 0 WHERE order_id = NEW.id;";
    match ENGINE {
        Engine::Sqlite => {
            let text = format!(
                "CREATE TRIGGER t AFTER UPDATE OF state ON orders FOR EACH ROW WHEN NEW.state = 'delivering'
                 BEGIN {steal} END"
            );
            bench.installation.database.execute(dipper_core::db::Statement::assembled(text)).await.unwrap();
        }
        Engine::Postgres => {
            let database = bench.database.as_ref().unwrap();
            database.psql(&format!(
                "CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN IF NEW.state = 'delivering' THEN {steal} END IF;
                 RETURN NEW; END $$ LANGUAGE plpgsql"
            ));
            database.psql("CREATE TRIGGER t AFTER UPDATE OF state ON orders FOR EACH ROW EXECUTE FUNCTION f()");
        }
    }
    for _ in 0..2 {
        assert!(bench.worker.run_one(&CancellationToken::new()).await.unwrap());
    }
    assert_eq!(bench.view(&order).await.order.state, OrderState::Delivering);
    assert_eq!(names(&outgoing(&bench)), Vec::<String>::new());
    assert!(staged(&bench).is_empty());
    bench.work().await;
    unpacked(&bench, &order).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_orders_that_want_the_last_room_one_gets_it_and_the_other_is_told() {
    let bench = Bench::new().await;
    let (one, other) = (bench.package("one").await, bench.package("other").await);
    bench.administration.contract_quota_set(CONTRACT, Some(8_000)).await.unwrap();
    let orders = [ordered(&bench, &one).await, ordered(&bench, &other).await];
    // Both are admitted; then both are prepared at once.
    for _ in 0..2 {
        assert!(bench.worker.run_one(&CancellationToken::new()).await.unwrap());
    }
    let token = CancellationToken::new();
    let (first, second) = tokio::join!(bench.worker.run_one(&token), bench.worker.run_one(&token));
    assert!(first.unwrap() && second.unwrap());
    bench.work().await;
    let views = [bench.view(&orders[0]).await, bench.view(&orders[1]).await];
    let (delivered, failed): (Vec<_>, Vec<_>) =
        views.into_iter().partition(|view| view.order.state == OrderState::Delivered);
    assert_eq!((delivered.len(), failed.len()), (1, 1));
    let size = delivered[0].area_file.as_ref().unwrap().size_bytes;
    let failure = failed[0].order.failure.clone().unwrap();
    assert_eq!((failed[0].order.state, failure.code), (OrderState::Failed, FailureCode::AreaFull));
    for said in [size.to_string(), "8000".to_owned(), "order again".to_owned()] {
        assert!(failure.message.contains(&said), "{}", failure.message);
    }
    assert_eq!((names(&outgoing(&bench)).len(), used(&bench).await), (1, size));
    assert!(staged(&bench).is_empty());

    // What is given back makes room.
    bench.intake.order_cancel(&bench.reader(CLIENT), &delivered[0].order.id).await.unwrap();
    assert_eq!(swept(&bench).await.removed, 1);
    assert_eq!((names(&outgoing(&bench)).len(), used(&bench).await), (0, 0));
    let again = ordered(&bench, &failed[0].order.package_id).await;
    bench.work().await;
    unpacked(&bench, &again).await;
    // A larger quota for all does not help a contract that has its own; without one it does.
    bench.administration.contract_quota_set(CONTRACT, None).await.unwrap();
    let last = ordered(&bench, &delivered[0].order.package_id).await;
    bench.work().await;
    unpacked(&bench, &last).await;
    assert!(bench.administration.contract_quota_set("unknown", None).await.is_err());
}

#[tokio::test]
async fn a_package_that_is_ordered_again_takes_the_place_of_the_old_file() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let first = ordered(&bench, &package_id).await;
    bench.work().await;
    let size = used(&bench).await;
    // There is room for one, and not for two.
    bench.administration.contract_quota_set(CONTRACT, Some(size + 1)).await.unwrap();
    let open = std::fs::File::open(outgoing(&bench).join(first.area_name.as_ref().unwrap())).unwrap();
    let second = ordered(&bench, &package_id).await;
    bench.work().await;
    unpacked(&bench, &second).await;
    assert_eq!((used(&bench).await, names(&outgoing(&bench)).len()), (size, 1));
    assert_eq!(open.metadata().unwrap().len(), size, "whoever reads the old file goes on with it");
    assert_eq!(events(&bench, &first, "delivery removed").await, 1);
    assert!(bench.view(&first).await.area_file.unwrap().removed.is_some());
}

#[tokio::test]
async fn an_older_version_never_takes_the_place_of_a_newer_one() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let late = ordered(&bench, &package_id).await;
    let put_off = sql("UPDATE steps SET state = 'waiting', run_after = $1").bind(i64::MAX);
    bench.installation.database.execute(put_off).await.unwrap();
    bench.ingest(&bench.source("second", &[("a.txt", b"second")]), "p").await.unwrap();
    let newer = ordered(&bench, &package_id).await;
    assert_eq!(late.area_name, newer.area_name);
    bench.work().await;
    let go = sql("UPDATE steps SET state = 'ready' WHERE state = 'waiting'");
    bench.installation.database.execute(go).await.unwrap();
    bench.work().await;
    assert_eq!(bench.view(&late).await.order.state, OrderState::Delivered);
    assert_eq!(events(&bench, &late, "delivery not placed").await, 1);
    let files = unpacked(&bench, &newer).await;
    assert_eq!(payload(&files), [("a.txt", b"second".as_slice())].into());
    assert!(staged(&bench).is_empty());
}

#[tokio::test]
async fn files_are_removed_when_their_time_is_over_and_that_is_on_record_once() {
    let settings = Settings { area: AreaSettings::default(), ..Settings::default() };
    let bench = Bench::with(settings).await;
    let (one, other) = (bench.package("one").await, bench.package("other").await);
    let (fetched, left) = (ordered(&bench, &one).await, ordered(&bench, &other).await);
    bench.work().await;
    let placed = bench.clock.now();
    bench.clock.advance(Duration::from_secs(3600));
    let name = fetched.area_name.clone().unwrap();
    let now = bench.clock.now();
    let fetch = |contract: &'static str, name: String, opened| {
        let intake = bench.intake.clone();
        async move { intake.area_fetched(contract, &name, opened).await.unwrap() }
    };
    // Another contract, another name, or a file that was opened before this one was there.
    assert!(!fetch("other", name.clone(), now).await);
    assert!(!fetch(CONTRACT, "x.tar".to_owned(), now).await);
    assert!(!fetch(CONTRACT, name.clone(), placed.minus(Duration::from_secs(1))).await);
    assert!(fetch(CONTRACT, name.clone(), now).await);
    assert!(!fetch(CONTRACT, name.clone(), now).await);
    assert_eq!(events(&bench, &fetched, "delivery fetched").await, 1);
    assert_eq!(bench.view(&fetched).await.area_file.unwrap().fetched, Some(now));

    bench.clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(swept(&bench).await, AreaSwept::default());
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(swept(&bench).await.removed, 1);
    assert_eq!(names(&outgoing(&bench)), [left.area_name.clone().unwrap()]);
    bench.clock.advance(Duration::from_secs(336 * 3600));
    assert_eq!(swept(&bench).await.removed, 1);
    assert_eq!(swept(&bench).await, AreaSwept::default());
    assert!(names(&outgoing(&bench)).is_empty());
    for order in [&fetched, &left] {
        assert_eq!(events(&bench, order, "delivery removed").await, 1);
        assert!(bench.view(order).await.delivery.unwrap().removed.is_some());
    }
    assert_eq!(used(&bench).await, 0);
}

#[tokio::test]
async fn an_order_waits_for_an_area_that_is_away() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let root = bench.installation.areas.root().to_owned();
    std::fs::write(&root, "in the way").unwrap();
    let order = ordered(&bench, &package_id).await;
    for _ in 0..8 {
        bench.work().await;
        bench.clock.advance(bench.installation.settings.store_pause);
    }
    assert!(!bench.view(&order).await.order.state.is_finished());
    std::fs::remove_file(&root).unwrap();
    bench.work().await;
    unpacked(&bench, &order).await;
}

#[tokio::test]
async fn damage_is_never_delivered_and_gives_its_room_back() {
    let bench = Bench::new().await;
    let package_id = bench.package("damaged").await;
    let file = bench.content_file(b"damaged");
    std::fs::write(file, b"DAMAGED").unwrap();
    let order = ordered(&bench, &package_id).await;
    bench.work().await;
    bench.clock.advance(bench.installation.settings.backoff);
    bench.work().await;
    assert_eq!(bench.view(&order).await.order.failure.unwrap().code, FailureCode::Fixity);
    assert!(names(&outgoing(&bench)).is_empty() && staged(&bench).is_empty());
    assert_eq!(used(&bench).await, 0);
    let refused = retrieve(&bench, &package_id, None, View::Version).await;
    assert!(matches!(refused, Err(IntakeError::NotPreserved { .. })), "{refused:?}");
}

#[tokio::test]
async fn areas_lie_where_it_is_set() {
    let bench = Bench::new().await;
    let elsewhere = bench.directory.path().join("elsewhere");
    let places = dipper_core::installation::Places { areas: Some(elsewhere.clone()), ..places_of(&bench) };
    let again =
        dipper_core::installation::Installation::open(places, Settings::default(), bench.clock.clone()).await.unwrap();
    assert_eq!(again.areas.root(), elsewhere);
    assert_eq!(again.areas.ensure(CONTRACT).unwrap().incoming(), elsewhere.join(CONTRACT).join("incoming"));
    for wrong in [".", "..", ".staging"] {
        assert!(bench.administration.contract_add(wrong).await.is_err(), "{wrong}");
    }
}
