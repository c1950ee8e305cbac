//! Deposits: files are fetched from a gateway, and become a version only if all of them are what was declared.

use std::time::Duration;

use dipper_archive::digest::{Algorithm, Hasher};
use dipper_core::caller::{Caller, Role};
use dipper_core::db::deposits::{DepositFile, DepositFilter, DepositView, FileState};
use dipper_core::db::orders::FailureCode;
use dipper_core::deposit::{DepositEntry, DepositedFile};
use dipper_core::gateway::{GatewayError, GatewayRegistration};
use dipper_core::intake::{DepositCommand, DepositError};
use dipper_core::order::OrderState;
use dipper_core::secret::Secret;
use dipper_core::settings::{DepositSettings, Settings};

use super::bench::{Bench, CONTRACT};
use super::gateway::{Gateway, PASSWORD, Trick, USERNAME};

pub(crate) fn digest(algorithm: Algorithm, bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish().to_string()
}

pub(crate) fn md5(bytes: &[u8]) -> String {
    digest(Algorithm::Md5, bytes)
}

/// Attempts follow each other at once, and the gateway of a test may be called.
fn settings() -> Settings {
    let deposit = DepositSettings {
        backoff: Duration::from_millis(1),
        max_file_bytes: 1 << 20,
        at_once: 4,
        ..DepositSettings::default()
    };
    Settings { egress_allow: vec!["127.0.0.1".to_owned()], deposit, ..Settings::default() }
}

pub(crate) fn depositor(contract_id: &str) -> Caller {
    let grants = [Role::Read, Role::Write].into_iter().map(|role| (contract_id.to_owned(), role)).collect();
    Caller { client_id: "depositor".to_owned(), grants, stored: false }
}

pub(crate) fn registration(url: &str) -> GatewayRegistration {
    GatewayRegistration {
        url: url.to_owned(),
        username: USERNAME.to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
    }
}

/// A bench whose contract has a gateway.
async fn bench() -> (Bench, Gateway) {
    let (bench, gateway) = (Bench::with(settings()).await, Gateway::new().await);
    let caller = depositor(CONTRACT);
    bench.intake.gateway_register(&caller, CONTRACT, registration(&gateway.url())).await.unwrap();
    (bench, gateway)
}

pub(crate) fn file(id: &str, bytes: &[u8]) -> DepositedFile {
    DepositedFile { id: id.to_owned(), size: None, checksums: vec![(Algorithm::Md5, md5(bytes))] }
}

pub(crate) fn command(filegroup: &str, version: &str, files: &[(&str, &[u8])]) -> DepositCommand {
    let files = files.iter().map(|(id, bytes)| file(id, bytes)).collect();
    let entry = DepositEntry { filegroup: filegroup.to_owned(), version: version.to_owned(), files };
    DepositCommand {
        contract_id: CONTRACT.to_owned(),
        dialect: "test",
        checksum_type: Algorithm::Md5,
        entries: vec![entry],
    }
}

async fn deposit(bench: &Bench, command: DepositCommand) -> Result<(), DepositError> {
    bench.intake.deposit(&depositor(CONTRACT), command).await
}

async fn view(bench: &Bench, filegroup: &str) -> DepositView {
    bench.intake.deposit_view(&depositor(CONTRACT), CONTRACT, filegroup).await.unwrap()
}

async fn files(bench: &Bench, view: &DepositView) -> Vec<DepositFile> {
    bench.intake.deposit_files(view, 0, 1000).await.unwrap()
}

/// Deposits and works; the deposit as it is then.
async fn carried_out(bench: &Bench, filegroup: &str, version: &str, files: &[(&str, &[u8])]) -> DepositView {
    deposit(bench, command(filegroup, version, files)).await.unwrap();
    bench.work().await;
    view(bench, filegroup).await
}

fn message(view: &DepositView) -> &str {
    view.order.failure.as_ref().map_or("", |failure| failure.message.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_fetched_and_become_a_version() {
    let (bench, gateway) = bench().await;
    gateway.has("fg%201/a", b"alpha");
    gateway.has("fg%201/sub/b%20%23.txt", b"beta");
    let stored = carried_out(&bench, "fg 1", "v&1", &[("sub/b #.txt", b"beta"), ("a", b"alpha")]).await;
    assert_eq!((stored.order.state, stored.deposit.version), (OrderState::Stored, Some(1)), "{}", message(&stored));
    assert_eq!((stored.deposit.retrieved, stored.deposit.existing, stored.deposit.done_bytes), (2, 0, 9));
    let found: Vec<_> =
        files(&bench, &stored).await.into_iter().map(|file| (file.path, file.size_bytes, file.state)).collect();
    let retrieved = |path: &str, size| (path.to_owned(), Some(size), FileState::Retrieved);
    assert_eq!(found, [retrieved("a", 5), retrieved("sub/b #.txt", 4)]);
    let requests = gateway.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().any(|request| request.target == "/base/fg%201/sub/b%20%23.txt?versionId=v%261"));
    assert!(requests.iter().all(|request| request.headers.contains_key("if-match")));
    let installation = &bench.installation;
    let package = dipper_core::db::packages::find(&installation.database, CONTRACT, "fg 1").await.unwrap().unwrap();
    assert_eq!((package.id, package.file_count), (stored.order.package_id, 2));
    let object = installation.archive.object(&package.ocfl_id).unwrap();
    for stored in object.inventory().files(1) {
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let bytes: &[u8] = if stored.logical_path == "a" { b"alpha" } else { b"beta" };
            let known = object.inventory().fixity_of(algorithm, stored.content_path).unwrap();
            assert_eq!(known.to_string(), digest(algorithm, bytes));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_version_has_is_not_fetched() {
    let (bench, gateway) = bench().await;
    let ingested = bench.source("source", &[("a", b"alpha"), ("old", b"old")]);
    bench.ingest_as(&ingested, "fg", Some("0")).await.unwrap();
    gateway.has("fg/b", b"beta");
    gateway.has("fg/c", b"alpha");
    let first = carried_out(&bench, "fg", "1", &[("a", b"alpha"), ("b", b"beta")]).await;
    assert_eq!((first.order.state, first.deposit.existing, first.deposit.retrieved), (OrderState::Stored, 1, 1));
    let second = carried_out(&bench, "fg", "2", &[("b", b"beta"), ("c", b"alpha"), ("old", b"old")]).await;
    assert_eq!(second.order.state, OrderState::Stored, "{}", message(&second));
    assert_eq!((second.deposit.existing, second.deposit.retrieved, second.deposit.version), (2, 1, Some(3)));
    let targets: Vec<_> = gateway.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/base/fg/b?versionId=1", "/base/fg/c?versionId=2"]);
    let object = bench.installation.archive.object("urn:dipper:2d17:fg").unwrap();
    let fixity = object.inventory().fixity_of(Algorithm::Md5, "v1/content/a").unwrap();
    assert_eq!(fixity.to_string(), md5(b"alpha"));
    assert_eq!(object.inventory().manifest_len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_is_accepted_and_others_are_at_odds() {
    let (bench, gateway) = bench().await;
    gateway.has("fg/a", b"alpha");
    let same = || command("fg", "", &[("a", b"alpha")]);
    deposit(&bench, same()).await.unwrap();
    deposit(&bench, same()).await.unwrap();
    assert_eq!(bench.work().await, 2);
    let stored = view(&bench, "fg").await;
    assert_eq!(stored.order.state, OrderState::Stored, "{}", message(&stored));
    deposit(&bench, same()).await.unwrap();
    assert_eq!(bench.work().await, 0);
    assert_eq!(view(&bench, "fg").await, stored);
    assert_eq!(gateway.requests()[0].target, "/base/fg/a");
    let mut both = command("other", "", &[("a", b"alpha")]);
    both.entries.extend(command("fg", "", &[("a", b"beta")]).entries);
    let Err(DepositError::Faults(faults)) = deposit(&bench, both).await else { panic!("accepted") };
    assert!(faults.len() == 1 && faults[0].is_conflict && faults[0].filegroup == "fg", "{faults:?}");
    let unknown = bench.intake.deposit_view(&depositor(CONTRACT), CONTRACT, "other").await;
    assert!(matches!(unknown, Err(DepositError::Unknown(_))), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_file_and_nothing_is_started() {
    let (bench, _gateway) = bench().await;
    let mut wrong = command("good", "1", &[("a", b"alpha")]);
    wrong.entries.extend(command("bad", "1", &[("../a", b"alpha")]).entries);
    let Err(DepositError::Faults(faults)) = deposit(&bench, wrong).await else { panic!("accepted") };
    assert_eq!((faults[0].filegroup.as_str(), faults[0].file.as_deref()), ("bad", Some("../a")));
    assert!(!faults[0].is_conflict);
    assert_eq!(bench.work().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_were_not_declared_fail_the_deposit_and_it_may_be_sent_again() {
    let (bench, gateway) = bench().await;
    gateway.has("fg/a", b"alpha");
    gateway.has("fg/b", b"beta");
    // Once is forgiven.
    gateway.will("fg/a", Trick::Bytes(b"wrong".to_vec()));
    for _ in 0..4 {
        gateway.will("fg/b", Trick::Bytes(b"atad".to_vec()));
    }
    let failed = carried_out(&bench, "fg", "1", &[("a", b"alpha"), ("b", b"beta")]).await;
    assert_eq!(failed.order.state, OrderState::Failed);
    let failure = failed.order.failure.clone().unwrap();
    assert_eq!(failure.code, FailureCode::Mismatch);
    assert!(failure.message.contains("File b of filegroup fg") && failure.message.contains("md5"), "{failure:?}");
    let found = dipper_core::db::packages::find(&bench.installation.database, CONTRACT, "fg").await.unwrap();
    assert_eq!(found, None);
    let stored = carried_out(&bench, "fg", "1", &[("a", b"alpha"), ("b", b"beta")]).await;
    assert_eq!((stored.order.state, stored.deposit.version), (OrderState::Stored, Some(1)), "{}", message(&stored));
    assert!(stored.order.id > failed.order.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_are_held_to_what_was_declared_and_to_what_is_taken() {
    let (bench, gateway) = bench().await;
    gateway.has("fg/long", b"longer than declared");
    let mut declared = command("fg", "1", &[("long", b"longer than declared")]);
    declared.entries[0].files[0].size = Some(6);
    deposit(&bench, declared).await.unwrap();
    bench.work().await;
    let failed = view(&bench, "fg").await;
    assert!(message(&failed).contains("20 bytes, and 6 were declared"), "{}", message(&failed));
    for (declared, told) in [(None, "more than 1048576 bytes"), (Some(70_000), "more than the 70000 bytes")] {
        gateway.has("fg/endless", b"endless");
        for _ in 0..4 {
            gateway.will("fg/endless", Trick::Endless);
        }
        let mut endless = command("fg", "2", &[("endless", b"endless")]);
        endless.entries[0].files[0].size = declared;
        deposit(&bench, endless).await.unwrap();
        bench.work().await;
        let failed = view(&bench, "fg").await;
        assert_eq!(failed.order.state, OrderState::Failed);
        assert!(message(&failed).contains(told), "{}", message(&failed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_on_where_it_was_cut_or_from_the_start() {
    let (bench, gateway) = bench().await;
    let large: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    gateway.has("fg/large", &large);
    gateway.will("fg/large", Trick::Cut(100_000));
    gateway.will("fg/large", Trick::Cut(50_000));
    let stored = carried_out(&bench, "fg", "1", &[("large", &large)]).await;
    assert_eq!(stored.order.state, OrderState::Stored, "{}", message(&stored));
    let ranges: Vec<_> = gateway.requests().into_iter().map(|request| request.headers.get("range").cloned()).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned()), Some("bytes=150000-".to_owned())]);
    gateway.has_no_ranges();
    gateway.has("fg/other", &large[1..]);
    gateway.will("fg/other", Trick::Cut(100_000));
    let stored = carried_out(&bench, "fg", "2", &[("other", &large[1..])]).await;
    assert_eq!(stored.order.state, OrderState::Stored, "{}", message(&stored));
    assert_eq!(gateway.requests().len(), 5);
    assert!(gateway.requests()[3..].iter().all(|request| !request.headers.contains_key("range")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_away_is_waited_for_without_a_worker() {
    let (bench, gateway) = bench().await;
    gateway.has("fg/a", b"alpha");
    gateway.has("fg/b", b"beta");
    for _ in 0..4 {
        gateway.will("fg/b", Trick::Status(503, "retry-after: 0\r\n".to_owned()));
    }
    deposit(&bench, command("fg", "1", &[("a", b"alpha"), ("b", b"beta")])).await.unwrap();
    assert_eq!(bench.work().await, 2);
    let waiting = view(&bench, "fg").await;
    assert_eq!(waiting.order.state, OrderState::Pulling);
    assert_eq!(bench.work().await, 0);
    let asked = |path: &str| gateway.requests().iter().filter(|request| request.target.contains(path)).count();
    let before = asked("/a?");
    bench.clock.advance(Duration::from_secs(61));
    assert_eq!(bench.work().await, 1);
    let stored = view(&bench, "fg").await;
    assert_eq!((stored.order.state, stored.deposit.retrieved), (OrderState::Stored, 2), "{}", message(&stored));
    // What was there already was not fetched again.
    assert_eq!((before, asked("/a?"), asked("/b?")), (1, 1, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stays_away_fails_the_deposit_in_the_end() {
    let (bench, gateway) = bench().await;
    for _ in 0..8 {
        gateway.will("fg/a", Trick::Status(500, String::new()));
    }
    deposit(&bench, command("fg", "1", &[("a", b"alpha")])).await.unwrap();
    bench.work().await;
    assert_eq!(view(&bench, "fg").await.order.state, OrderState::Pulling);
    bench.clock.advance(Duration::from_secs(73 * 3600));
    bench.work().await;
    let failed = view(&bench, "fg").await;
    assert_eq!(failed.order.state, OrderState::Failed);
    let told = message(&failed);
    assert!(
        told.contains("within 72 hours") && told.contains("file a of filegroup fg") && told.contains("500"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_refuses_fails_the_deposit_by_name() {
    let (bench, gateway) = bench().await;
    for (version, status, told) in [("1", 403, "403"), ("2", 404, "404"), ("3", 410, "410"), ("4", 418, "418")] {
        gateway.will("fg/a", Trick::Status(status, String::new()));
        let failed = carried_out(&bench, "fg", version, &[("a", b"alpha")]).await;
        let failure = failed.order.failure.clone().unwrap();
        assert_eq!((failed.order.state, failure.code), (OrderState::Failed, FailureCode::Gateway));
        assert!(failure.message.contains("File a of filegroup fg") && failure.message.contains(told), "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_that_runs_uses_a_new_registration() {
    let (bench, gateway) = bench().await;
    let go_on = std::sync::Arc::new(tokio::sync::Notify::new());
    gateway.has("fg/a", b"alpha");
    gateway.will("fg/a", Trick::Hang(std::sync::Arc::clone(&go_on)));
    deposit(&bench, command("fg", "1", &[("a", b"alpha")])).await.unwrap();
    gateway.takes("another");
    let mut changed = registration(&gateway.url());
    changed.password = Secret::new("another".to_owned());
    let registering = async {
        while gateway.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        bench.clock.advance(Duration::from_secs(1));
        bench.intake.gateway_register(&depositor(CONTRACT), CONTRACT, changed).await.unwrap();
        go_on.notify_one();
    };
    tokio::join!(bench.work(), registering);
    let stored = view(&bench, "fg").await;
    assert_eq!(stored.order.state, OrderState::Stored, "{}", message(&stored));
    assert_eq!(gateway.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_stay_at_home() {
    let (bench, gateway) = bench().await;
    let elsewhere = Gateway::new().await;
    elsewhere.will("fg/a", Trick::Status(200, String::new()));
    let location = format!("location: {}/fg/a\r\n", elsewhere.url());
    gateway.will("fg/a", Trick::Status(302, location));
    let stored = carried_out(&bench, "fg", "1", &[("a", b"")]).await;
    assert_eq!(stored.order.state, OrderState::Stored, "{}", message(&stored));
    let request = elsewhere.requests().remove(0);
    assert!(!request.headers.contains_key("authorization") && !request.headers.contains_key("if-match"), "{request:?}");
    // On the same origin they go along.
    gateway.has("fg/moved", b"beta");
    gateway.will("fg/b", Trick::Status(307, "location: /base/fg/moved\r\n".to_owned()));
    let stored = carried_out(&bench, "fg", "2", &[("b", b"beta")]).await;
    assert_eq!(stored.order.state, OrderState::Stored, "{}", message(&stored));
    for _ in 0..6 {
        gateway.will("fg/c", Trick::Status(302, "location: c\r\n".to_owned()));
    }
    let failed = carried_out(&bench, "fg", "3", &[("c", b"")]).await;
    assert!(message(&failed).contains("redirects more than 5 times"), "{}", message(&failed));
    gateway.will("fg/d", Trick::Status(302, "location: http://10.0.0.1/d\r\n".to_owned()));
    let failed = carried_out(&bench, "fg", "4", &[("d", b"")]).await;
    assert!(message(&failed).contains("not a public address"), "{}", message(&failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_web_server_with_tags_of_its_own_will_do() {
    let (bench, gateway) = bench().await;
    gateway.has_own_tags();
    let names: Vec<String> = (0..20).map(|number| format!("{number:02}")).collect();
    for name in &names {
        gateway.has(&format!("fg/{name}"), name.as_bytes());
    }
    let wanted: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let stored = carried_out(&bench, "fg", "1", &wanted).await;
    assert_eq!((stored.order.state, stored.deposit.retrieved), (OrderState::Stored, 20), "{}", message(&stored));
    let refused = gateway.requests().iter().filter(|request| request.headers.contains_key("if-match")).count();
    assert!(refused <= 4 && gateway.most_open() <= 4, "{refused} {}", gateway.most_open());
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_keep_the_order_in_which_they_were_asked_for() {
    let (bench, gateway) = bench().await;
    gateway.has("fg/a", b"alpha");
    gateway.has("fg/b", b"beta");
    for _ in 0..4 {
        gateway.will("fg/a", Trick::Status(503, String::new()));
    }
    deposit(&bench, command("fg", "first", &[("a", b"alpha")])).await.unwrap();
    deposit(&bench, command("fg", "second", &[("b", b"beta")])).await.unwrap();
    bench.work().await;
    assert_eq!(view(&bench, "fg").await.order.state, OrderState::Queued);
    bench.clock.advance(Duration::from_secs(61));
    bench.work().await;
    let second = view(&bench, "fg").await;
    assert_eq!((second.order.state, second.deposit.version), (OrderState::Stored, Some(2)), "{}", message(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_are_checked_and_kept_secret() {
    let bench = Bench::with(settings()).await;
    let caller = depositor(CONTRACT);
    let register = async |registration| bench.intake.gateway_register(&caller, CONTRACT, registration).await;
    let refused = deposit(&bench, command("fg", "1", &[("a", b"alpha")])).await;
    assert!(matches!(refused, Err(DepositError::NoGateway)), "{refused:?}");
    for url in ["http://10.1.2.3/", "https://192.168.1.1/", "http://example.org/", "https://user:word@example.org/"] {
        let refused = register(registration(url)).await;
        assert!(matches!(refused, Err(DepositError::Gateway(GatewayError::Egress(_)))), "{url}: {refused:?}");
    }
    let colon = GatewayRegistration { username: "a:b".to_owned(), ..registration("https://example.org") };
    assert!(matches!(register(colon).await, Err(DepositError::Gateway(GatewayError::Username))));
    register(registration("https://example.org/base")).await.unwrap();
    let kept = dipper_core::db::gateways::get(&bench.installation.database, CONTRACT).await.unwrap().unwrap();
    assert_eq!(kept.url, "https://example.org/base/");
    assert!(!kept.password.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()));
    let loaded = dipper_core::gateway::load(&bench.installation, CONTRACT).await.unwrap().unwrap();
    assert_eq!(loaded.password.reveal(), PASSWORD);
    assert!(!format!("{loaded:?}").contains(PASSWORD));
    let stranger = bench.reader("reader");
    let refused = bench.intake.deposit(&stranger, command("fg", "1", &[("a", b"alpha")])).await;
    assert!(matches!(refused, Err(DepositError::NotAllowed { role: Role::Write })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_hold_the_newest_deposit_of_each_filegroup() {
    let (bench, gateway) = bench().await;
    gateway.has("one/a", b"alpha");
    gateway.will("two/a", Trick::Status(404, String::new()));
    carried_out(&bench, "one", "1", &[("a", b"alpha")]).await;
    carried_out(&bench, "two", "1", &[("a", b"alpha")]).await;
    deposit(&bench, command("three", "1", &[("a", b"alpha")])).await.unwrap();
    deposit(&bench, command("one", "2", &[("a", b"alpha")])).await.unwrap();
    let names = async |states: Option<&[OrderState]>, limit| {
        let states = states.map(<[OrderState]>::to_vec);
        let filter = DepositFilter { contract_id: CONTRACT.to_owned(), states, before: None, limit };
        let found = bench.intake.deposit_list(&depositor(CONTRACT), &filter).await.unwrap();
        found.into_iter().map(|view| view.deposit.object_id).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 10).await, ["one", "three", "two"]);
    assert_eq!(names(None, 1).await, ["one"]);
    assert_eq!(names(Some(&[OrderState::Failed]), 10).await, ["two"]);
    assert!(names(Some(&[OrderState::Stored]), 10).await.is_empty());
    // Of another contract nothing is seen, whatever the names are.
    let other = depositor("other");
    let hidden = bench.intake.deposit_view(&other, CONTRACT, "one").await;
    assert!(matches!(hidden, Err(DepositError::NotAllowed { .. })), "{hidden:?}");
}
