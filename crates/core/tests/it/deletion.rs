//! Deletions: what is refused, what goes and what stays, and whoever has a say in it.

use std::path::PathBuf;
use std::time::Duration;

use dipper_archive::digest::{Algorithm, Hasher};
use dipper_core::area::sweep::AreaSweeper;
use dipper_core::caller::{Caller, Role};
use dipper_core::db::deletions::{DeletionFilter, Policy, Removal};
use dipper_core::db::orders::{FailureCode, Order, View};
use dipper_core::db::packages::{self, PackageState};
use dipper_core::db::{ingests, sql};
use dipper_core::deletion::{DeletionCommand, DeletionEntry, DeletionError, DeletionSettings, DeletionView, FaultKind};
use dipper_core::download::DownloadError;
use dipper_core::index::index;
use dipper_core::ingest::Ingested;
use dipper_core::installation::Installation;
use dipper_core::intake::{IntakeError, OrderRetrieval, Portion};
use dipper_core::order::OrderState;
use dipper_core::recovery::recover;
use dipper_core::settings::Settings;
use dipper_core::verify::{VerifyCommand, verify};
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, CLIENT, CONTRACT, files_below, places_of};
use super::orders::claim;
use crate::peers;
use crate::s3::S3Server;

type Files<'a> = &'a [(&'a str, &'a [u8])];

/// A caller with these roles on the contract.
fn caller(client_id: &str, roles: &[Role]) -> Caller {
    let grants = roles.iter().map(|role| (CONTRACT.to_owned(), *role)).collect();
    Caller { client_id: client_id.to_owned(), grants, stored: false }
}

fn gateway() -> Caller {
    caller("gateway", &[Role::Read, Role::Write])
}

fn operator(client_id: &str) -> Caller {
    caller(client_id, &[Role::Read, Role::Operator])
}

fn with_policy(policy: Policy) -> Settings {
    let deletion = DeletionSettings { policy, grace: Duration::from_secs(7 * 24 * 3600) };
    Settings { deletion, ..Settings::default() }
}

fn digest(algorithm: Algorithm, bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish().to_string()
}

fn entry(filegroup: &str, version: Option<&str>, files: Option<&[(&str, Option<&str>)]>) -> DeletionEntry {
    let file = |(path, checksum): &(&str, Option<&str>)| ((*path).to_owned(), checksum.map(str::to_owned));
    DeletionEntry {
        filegroup: filegroup.to_owned(),
        version: version.map(str::to_owned),
        files: files.map(|files| files.iter().map(file).collect()),
    }
}

fn command(entries: Vec<DeletionEntry>) -> DeletionCommand {
    DeletionCommand {
        contract_id: CONTRACT.to_owned(),
        dialect: "test",
        checksum: Algorithm::Sha512,
        reason: Some("asked for by the depositor".to_owned()),
        entries,
        request: None,
    }
}

impl Bench {
    /// Stores files as a version of `fg`.
    async fn deposit(&self, label: Option<&str>, files: Files<'_>) -> Ingested {
        self.deposit_as("fg", label, files).await
    }

    async fn deposit_as(&self, object_id: &str, label: Option<&str>, files: Files<'_>) -> Ingested {
        let name = format!("source {object_id} {label:?} {}", files.len());
        let directory = self.directory.path().join(&name);
        if directory.exists() {
            std::fs::remove_dir_all(&directory).unwrap();
        }
        self.ingest_as(&self.source(&name, files), object_id, label).await.unwrap()
    }

    async fn delete(&self, entries: Vec<DeletionEntry>) -> Order {
        self.intake.deletion(&gateway(), command(entries)).await.unwrap()
    }

    async fn refused(&self, entries: Vec<DeletionEntry>) -> Vec<String> {
        match self.intake.deletion(&gateway(), command(entries)).await {
            Err(DeletionError::Faults(faults)) => faults.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Orders a deletion and has it carried out.
    async fn deleted(&self, entries: Vec<DeletionEntry>) -> DeletionView {
        let order = self.delete(entries).await;
        self.work().await;
        let view = self.deletion(&order).await;
        assert_eq!(view.order.state, OrderState::Deleted, "{:?} {:?}", view.order.failure, view.entries);
        view
    }

    async fn deletion(&self, order: &Order) -> DeletionView {
        self.intake.deletion_view(&gateway(), &order.id).await.unwrap()
    }

    fn holds(&self, bytes: &[u8]) -> bool {
        files_below(&self.directory.path().join("data")).values().any(|found| found == bytes)
    }

    /// The directories of all objects.
    fn objects(&self) -> Vec<PathBuf> {
        let files = files_below(&self.directory.path().join("data/archive"));
        let declared = files.keys().filter(|path| path.file_name().is_some_and(|name| name == "0=ocfl_object_1.1"));
        declared.map(|path| path.parent().unwrap().to_owned()).collect()
    }

    /// Valid for us and for others.
    async fn assert_sound(&self) {
        let report = verify(&self.installation, VerifyCommand::default(), Box::new(|_| {})).await.unwrap();
        assert!(report.is_valid(), "{:#?}", report.problems);
        peers::ocfl_validate(&self.objects(), peers::PURGED);
    }

    /// What the audit log says of deletions: version, files that it concerns, and files that are listed.
    async fn audited(&self) -> Vec<(i64, i64, i64, String)> {
        let query = "SELECT version, file_count, agent,
                         (SELECT COUNT(*) FROM audit_files f
                          WHERE f.contract_id = audit.contract_id AND f.number = audit.number) AS listed
                     FROM audit WHERE kind = 'deletion' ORDER BY number";
        let rows = self.installation.database.rows(sql(query)).await.unwrap();
        let read = |name: &str, row: &dipper_core::db::Row| row.integer(name).unwrap();
        let entry = |row: &dipper_core::db::Row| {
            (read("version", row), read("file_count", row), read("listed", row), row.text("agent").unwrap())
        };
        rows.iter().map(entry).collect()
    }

    async fn event_kinds(&self, order_id: &str) -> Vec<String> {
        let events = self.administration.event_list(Some(order_id), None, 100).await.unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }
}

fn places(view: &DeletionView) -> Vec<(u32, &str, Removal)> {
    let files = view.entries.iter().flat_map(|(_, files)| files);
    files.map(|file| (file.version, file.path.as_str(), file.state)).collect()
}

#[tokio::test]
async fn a_file_goes_from_the_version_that_was_named_and_bytes_that_others_share_stay() {
    let bench = Bench::new().await;
    let package = bench.deposit(Some("one"), &[("a", b"shared"), ("b", b"only in one")]).await;
    bench.deposit(Some("two"), &[("copy of a", b"shared"), ("b", b"second")]).await;
    let view = bench.deleted(vec![entry("fg", Some("one"), Some(&[("a", None), ("b", None)]))]).await;
    assert_eq!(places(&view), [(1, "a", Removal::Deleted), (1, "b", Removal::Deleted)]);
    assert!(bench.holds(b"shared") && !bench.holds(b"only in one") && bench.holds(b"second"));
    bench.assert_sound().await;
    let (known, versions) = bench.intake.package_get(&gateway(), &package.package_id).await.unwrap();
    // The version is left with nothing, and told of no more.
    assert_eq!(versions.iter().map(|version| version.label.as_deref()).collect::<Vec<_>>(), [Some("two")]);
    assert_eq!((known.state, known.head, known.file_count), (PackageState::Preserved, 2, 2));
    assert_eq!(
        bench.event_kinds(&view.order.id).await,
        ["deletion received", "deletion queued", "deletion deleting", "content deleted", "deletion deleted"]
    );

    assert_eq!(bench.audited().await, [(1, 2, 0, "client gateway".to_owned())], "the whole version");

    // What is remembered: who, when, what with which checksums, and why.
    let stones = bench.intake.tombstones(&gateway(), CONTRACT, "fg", None).await.unwrap();
    let stone = stones.iter().find(|stone| stone.file.path == "b").unwrap();
    assert_eq!((stone.client_id.as_str(), stone.order_id.as_str()), ("gateway", view.order.id.as_str()));
    assert_eq!(stone.reason.as_deref(), Some("asked for by the depositor"));
    assert_eq!((stone.file.size_bytes, stone.file.label.as_str(), stone.deleted), (11, "one", bench.clock.now()));
    let sha512 = stone.file.digest(Algorithm::Sha512).map(ToString::to_string);
    assert_eq!(sha512, Some(digest(Algorithm::Sha512, b"only in one")));
    assert_eq!(bench.intake.tombstones(&gateway(), CONTRACT, "fg", Some("a")).await.unwrap().len(), 1);

    // A catalogue that is made anew from the storage root says the same.
    let again = index(&bench.installation, None, |_| {}).await.unwrap();
    assert_eq!((again.objects, again.changed, again.missing), (1, 0, 0));
}

#[tokio::test]
async fn what_is_left_out_says_how_much_is_meant() {
    let bench = Bench::new().await;
    for (object_id, wanted, expected) in [
        ("all", entry("all", None, None), vec![(1, "a"), (1, "b"), (2, "a"), (2, "c")]),
        ("version", entry("version", Some("one"), None), vec![(1, "a"), (1, "b")]),
        ("latest", entry("latest", Some(""), None), vec![(2, "a"), (2, "c")]),
        ("file of the latest", entry("file of the latest", None, Some(&[("a", None)])), vec![(2, "a")]),
        ("empty checksum", entry("empty checksum", Some(""), Some(&[("a", Some(""))])), vec![(2, "a")]),
    ] {
        bench.deposit_as(object_id, Some("one"), &[("a", b"1"), ("b", b"b")]).await;
        bench.deposit_as(object_id, Some("two"), &[("a", b"2"), ("c", b"c")]).await;
        let view = bench.deleted(vec![wanted]).await;
        let found: Vec<_> = places(&view).into_iter().map(|(version, path, _)| (version, path)).collect();
        assert_eq!(found, expected, "{object_id}");
    }
    // A checksum selects the newest version that has the file so.
    bench.deposit_as("guarded", Some("one"), &[("a", b"1")]).await;
    bench.deposit_as("guarded", Some("two"), &[("a", b"1"), ("b", b"b")]).await;
    bench.deposit_as("guarded", Some("three"), &[("a", b"3")]).await;
    let checksum = digest(Algorithm::Sha512, b"1");
    let view = bench.deleted(vec![entry("guarded", None, Some(&[("a", Some(checksum.as_str()))]))]).await;
    assert_eq!(places(&view), [(2, "a", Removal::Deleted)]);
    assert_eq!(bench.audited().await.last(), Some(&(2, 1, 1, "client gateway".to_owned())), "one file of two");
    bench.assert_sound().await;
}

#[tokio::test]
async fn every_fault_is_named_and_nothing_is_begun() {
    let bench = Bench::new().await;
    bench.deposit(Some("one"), &[("a", b"1"), ("b", b"b")]).await;
    bench.deposit_as("other", None, &[("x", b"x")]).await;
    let (right, wrong) = (digest(Algorithm::Sha512, b"1"), digest(Algorithm::Sha512, b"another"));
    let faults = bench
        .refused(vec![
            entry("fg", Some("one"), Some(&[("a", Some(&wrong)), ("b", Some("zz")), ("c", None), ("c", None)])),
            entry("nowhere", None, None),
            entry("other", Some("nine"), None),
            entry("other", None, None),
        ])
        .await;
    let expected = [
        "fg: a: the stored file has another checksum",
        "fg: b: the checksum is not one of sha512 in hexadecimal digits",
        "fg: c: there is no such file",
        "fg: c: it is named twice",
        "nowhere: there is no such filegroup",
        "other: there is no version \"nine\"",
        "other: it is named twice",
    ];
    assert_eq!(faults, expected);
    // Packages that were not deposited by a gateway have no MD5 on record.
    let md5 = DeletionCommand {
        checksum: Algorithm::Md5,
        ..command(vec![entry("fg", None, Some(&[("a", Some(&digest(Algorithm::Md5, b"1")))]))])
    };
    let refused = bench.intake.deletion(&gateway(), md5).await.unwrap_err();
    assert!(
        matches!(&refused, DeletionError::Faults(faults) if faults[0].kind == FaultKind::ChecksumUnknown(Algorithm::Md5)),
        "{refused}"
    );
    assert!(matches!(bench.intake.deletion(&gateway(), command(Vec::new())).await, Err(DeletionError::Empty)));
    // A reader may not, and who has no right on the contract learns of nothing.
    let wanted = || command(vec![entry("fg", Some("one"), Some(&[("a", Some(right.as_str()))]))]);
    let refused = bench.intake.deletion(&bench.reader(CLIENT), wanted()).await.unwrap_err();
    assert!(matches!(refused, DeletionError::NotAllowed { role: Role::Write }), "{refused}");
    let order = bench.intake.deletion(&gateway(), wanted()).await.unwrap();
    let stranger = Caller { client_id: "stranger".to_owned(), grants: Default::default(), stored: false };
    assert!(matches!(bench.intake.deletion_view(&stranger, &order.id).await, Err(DeletionError::Unknown(_))));
    assert!(matches!(bench.intake.deletion_withdraw(&stranger, &order.id).await, Err(DeletionError::Unknown(_))));
    bench.work().await;
    assert_eq!(bench.deletion(&order).await.order.state, OrderState::Deleted);
    let listed =
        bench.intake.deletion_list(&gateway(), &DeletionFilter { limit: 10, ..Default::default() }).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(
        bench
            .intake
            .deletion_list(&stranger, &DeletionFilter { limit: 10, ..Default::default() })
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_package_of_which_nothing_is_left_is_deleted_and_may_come_again() {
    let bench = Bench::new().await;
    let package = bench.deposit(Some("one"), &[("a", b"first life")]).await;
    let view = bench.deleted(vec![entry("fg", None, None)]).await;
    assert!(!bench.holds(b"first life") && bench.objects().is_empty());
    let id = package.package_id.as_str();
    assert_eq!(bench.package_state(id).await, PackageState::Deleted);
    let refused = bench.order(CLIENT, id).await.unwrap_err();
    assert!(matches!(refused, IntakeError::NotPreserved { state: PackageState::Deleted, .. }), "{refused}");
    assert_eq!(bench.refused(vec![entry("fg", None, None)]).await, ["fg: there is no such filegroup"]);
    // The root does not bring it back, nor is it missed.
    let report = index(&bench.installation, None, |_| {}).await.unwrap();
    assert_eq!((report.objects, report.missing), (0, 0));
    assert_eq!(bench.package_state(id).await, PackageState::Deleted);

    // The same name is a new object with the names of the old one.
    bench.clock.advance(Duration::from_secs(1));
    let again = bench.deposit(Some("one"), &[("a", b"second life")]).await;
    assert_eq!((again.package_id.as_str(), again.version, &again.identifier), (id, 1, &package.identifier));
    assert_eq!(bench.package_state(id).await, PackageState::Preserved);
    let stones = bench.intake.tombstones(&gateway(), CONTRACT, "fg", Some("a")).await.unwrap();
    assert_eq!(stones.len(), 1);
    // The record of the deletion still answers.
    assert_eq!(places(&bench.deletion(&view.order).await), [(1, "a", Removal::Deleted)]);
    bench.assert_sound().await;
}

#[tokio::test]
async fn what_was_stored_anew_is_not_what_was_meant() {
    let bench = Bench::with(with_policy(Policy::Grace)).await;
    bench.deposit(None, &[("a", b"first")]).await;
    let (early, late) = (bench.delete(vec![entry("fg", None, None)]).await, entry("fg", None, None));
    bench.clock.advance(Duration::from_secs(3600));
    let late = bench.delete(vec![late]).await;
    bench.clock.advance(Duration::from_secs(7 * 24 * 3600 - 1800));
    bench.work().await;
    assert_eq!(bench.deletion(&early).await.order.state, OrderState::Deleted);
    let again = bench.deposit(None, &[("a", b"first")]).await;
    bench.clock.advance(Duration::from_secs(3600));
    bench.work().await;
    let view = bench.deletion(&late).await;
    assert_eq!(view.order.state, OrderState::Failed);
    assert_eq!(places(&view), [(1, "a", Removal::Error)]);
    let reason = view.entries[0].1[0].reason.as_deref().unwrap();
    assert!(reason.contains("stored anew"), "{reason}");
    assert!(bench.holds(b"first"));
    assert_eq!(bench.package_state(&again.package_id).await, PackageState::Preserved);
}

#[tokio::test]
async fn a_deletion_can_be_withdrawn_until_its_time_has_come() {
    let bench = Bench::with(with_policy(Policy::Grace)).await;
    bench.deposit(None, &[("a", b"1")]).await;
    let order = bench.delete(vec![entry("fg", None, None)]).await;
    let view = bench.deletion(&order).await;
    assert_eq!((view.order.state, places(&view)[0].2), (OrderState::Held, Removal::Pending));
    assert_eq!(view.deletion.due, Some(bench.clock.now().plus(Duration::from_secs(7 * 24 * 3600))));
    bench.work().await;
    bench.clock.advance(Duration::from_secs(7 * 24 * 3600 - 1));
    bench.work().await;
    assert!(bench.holds(b"1"));
    let refused = bench.intake.deletion_approve(&operator("anna"), &order.id).await.unwrap_err();
    assert!(matches!(refused, DeletionError::NotWaiting { approved: false, .. }), "{refused}");
    let view = bench.intake.deletion_withdraw(&gateway(), &order.id).await.unwrap();
    assert_eq!((view.order.state, places(&view)[0].2), (OrderState::Cancelled, Removal::Error));
    assert_eq!(view.entries[0].1[0].reason.as_deref(), Some("Withdrawn by client gateway."));
    // Once more changes nothing.
    assert_eq!(bench.intake.deletion_withdraw(&gateway(), &order.id).await.unwrap().order, view.order);
    bench.clock.advance(Duration::from_secs(3600));
    bench.work().await;
    assert!(bench.holds(b"1"));

    let order = bench.delete(vec![entry("fg", None, None)]).await;
    bench.clock.advance(Duration::from_secs(7 * 24 * 3600));
    bench.work().await;
    assert_eq!(bench.deletion(&order).await.order.state, OrderState::Deleted);
    let refused = bench.intake.deletion_withdraw(&gateway(), &order.id).await.unwrap_err();
    assert!(matches!(refused, DeletionError::NotWithdrawable { state: OrderState::Deleted, .. }), "{refused}");
}

#[tokio::test]
async fn somebody_else_must_approve() {
    let bench = Bench::with(with_policy(Policy::Approval)).await;
    bench.deposit(None, &[("a", b"1")]).await;
    let asking = caller("gateway", &[Role::Read, Role::Write, Role::Operator]);
    let order = bench.intake.deletion(&asking, command(vec![entry("fg", None, None)])).await.unwrap();
    bench.clock.advance(Duration::from_secs(365 * 24 * 3600));
    bench.work().await;
    assert_eq!(bench.deletion(&order).await.order.state, OrderState::Held);
    for same in ["gateway", "Gateway"] {
        let refused = bench.intake.deletion_approve(&operator(same), &order.id).await.unwrap_err();
        assert!(matches!(refused, DeletionError::SamePerson(_)), "{refused}");
    }
    let writer = caller("writer", &[Role::Read, Role::Write]);
    let refused = bench.intake.deletion_approve(&writer, &order.id).await.unwrap_err();
    assert!(matches!(refused, DeletionError::NotAllowed { role: Role::Operator }), "{refused}");
    // A hold that came since is looked at.
    let hold = bench.intake.hold_set(&operator("olga"), CONTRACT, Some("fg"), "case 7").await.unwrap();
    let refused = bench.intake.deletion_approve(&operator("anna"), &order.id).await.unwrap_err();
    assert!(matches!(refused, DeletionError::Faults(_)), "{refused}");
    bench.intake.hold_lift(&operator("olga"), &hold.id, Some("settled")).await.unwrap();
    bench.intake.deletion_approve(&operator("anna"), &order.id).await.unwrap();
    let refused = bench.intake.deletion_approve(&operator("berta"), &order.id).await.unwrap_err();
    assert!(matches!(refused, DeletionError::NotWaiting { approved: true, .. }), "{refused}");
    bench.work().await;
    let view = bench.deletion(&order).await;
    assert_eq!((view.order.state, view.deletion.approved_by.as_deref()), (OrderState::Deleted, Some("client anna")));
    let stones = bench.intake.tombstones(&gateway(), CONTRACT, "fg", None).await.unwrap();
    assert_eq!(stones[0].approved_by.as_deref(), Some("client anna"));
}

#[tokio::test]
async fn a_legal_hold_keeps_what_it_covers_whenever_it_comes() {
    let bench = Bench::with(with_policy(Policy::Grace)).await;
    bench.deposit_as("held", None, &[("a", b"held")]).await;
    bench.deposit_as("free", None, &[("a", b"free")]).await;
    let before = bench.delete(vec![entry("held", None, None)]).await;
    let refused = bench.intake.hold_set(&gateway(), CONTRACT, None, "case 7").await.unwrap_err();
    assert!(matches!(refused, DeletionError::NotAllowed { role: Role::Operator }), "{refused}");
    let olga = operator("olga");
    assert!(matches!(bench.intake.hold_set(&olga, CONTRACT, None, " ").await, Err(DeletionError::Reason)));
    let unknown = bench.intake.hold_set(&olga, CONTRACT, Some("nowhere"), "case 7").await;
    assert!(matches!(unknown, Err(DeletionError::PackageUnknown { .. })));
    let hold = bench.intake.hold_set(&olga, CONTRACT, Some("held"), "case 7").await.unwrap();
    assert_eq!(
        bench.refused(vec![entry("free", None, None), entry("held", None, None)]).await,
        ["held: a legal hold keeps it: case 7"]
    );
    // It came before the time of a deletion that was accepted.
    bench.clock.advance(Duration::from_secs(8 * 24 * 3600));
    bench.work().await;
    let view = bench.deletion(&before).await;
    let failure = view.order.failure.as_ref().unwrap();
    assert_eq!((view.order.state, failure.code), (OrderState::Rejected, FailureCode::LegalHold));
    assert_eq!(places(&view), [(1, "a", Removal::Error)]);
    assert!(view.entries[0].1[0].reason.as_deref().unwrap().contains("case 7") && bench.holds(b"held"));

    // One on the contract covers everything.
    let all = bench.intake.hold_set(&olga, CONTRACT, None, "case 8").await.unwrap();
    assert_eq!(
        bench.refused(vec![entry("held", None, None), entry("free", None, None)]).await,
        [
            "free: a legal hold keeps it: case 8",
            "held: a legal hold keeps it: case 7",
            "held: a legal hold keeps it: case 8"
        ]
    );
    for id in [&hold.id, &all.id] {
        let lifted = bench.intake.hold_lift(&olga, id, None).await.unwrap();
        assert_eq!(lifted.lifted_by.as_deref(), Some("client olga"));
        assert!(matches!(bench.intake.hold_lift(&olga, id, None).await, Err(DeletionError::HoldUnknown(_))));
    }
    assert_eq!(bench.intake.hold_list(&olga, false).await.unwrap().len(), 0);
    assert_eq!(bench.intake.hold_list(&olga, true).await.unwrap().len(), 2);
    bench.delete(vec![entry("held", None, None), entry("free", None, None)]).await;
}

#[tokio::test]
async fn orders_of_what_is_deleted_end_and_links_to_it_too() {
    let bench = Bench::new().await;
    let package = bench.deposit(Some("one"), &[("a", b"1")]).await.package_id;
    let delivered = bench.order(CLIENT, &package).await.unwrap().order;
    bench.work().await;
    let link = claim(&bench, &bench.view(&delivered).await, 0);
    bench.deposit(Some("two"), &[("b", b"2")]).await;
    let other_version = bench.order("another", &package).await.unwrap().order;
    bench.work().await;
    let waiting = retrieval(&bench, &package, Some(1), View::Version).await;
    let surface = retrieval(&bench, &package, None, View::Surface).await;
    let order = bench.delete(vec![entry("fg", Some("one"), None)]).await;
    // The deletion may have its turn before or after them: all that is under way ends.
    bench.work().await;
    assert_eq!(bench.deletion(&order).await.order.state, OrderState::Deleted);
    let gone = bench.intake.download_open(&link).await;
    assert!(matches!(gone, Err(DownloadError::Gone(_))), "{gone:?}");
    for order in [&waiting, &surface] {
        let view = bench.view(order).await;
        match view.order.state {
            OrderState::Rejected => {
                assert_eq!(view.order.failure.unwrap().code, FailureCode::NotPreserved);
            }
            OrderState::Delivered => assert!(view.delivery.unwrap().released.is_some()),
            state => panic!("{state}"),
        }
    }
    assert!(outgoing(&bench).is_empty(), "{:?}", outgoing(&bench));
    // What was delivered of the other version stays.
    let kept = bench.view(&other_version).await;
    assert!(kept.delivery.as_ref().unwrap().released.is_none());
    bench.intake.download_open(&claim(&bench, &kept, 0)).await.unwrap();
    bench.assert_sound().await;
}

async fn retrieval(bench: &Bench, package_id: &str, version: Option<u32>, view: View) -> Order {
    let command = OrderRetrieval {
        package_id: package_id.to_owned(),
        portion: Portion { version, view, excerpt: None },
        dialect: "test",
    };
    bench.intake.retrieval_order(&bench.reader(CLIENT), command).await.unwrap().order
}

fn outgoing(bench: &Bench) -> Vec<PathBuf> {
    let directory = bench.installation.areas.root().join(CONTRACT).join("outgoing");
    if directory.exists() { files_below(&directory).into_keys().collect() } else { Vec::new() }
}

#[tokio::test]
async fn files_in_areas_go_before_the_deletion_is_done() {
    let bench = Bench::new().await;
    let package = bench.deposit(None, &[("a", b"1")]).await.package_id;
    bench.deposit_as("other", None, &[("x", b"x")]).await;
    retrieval(&bench, &package, None, View::Version).await;
    bench.work().await;
    assert_eq!(outgoing(&bench).len(), 1);
    bench.deleted(vec![entry("fg", None, None)]).await;
    assert!(outgoing(&bench).is_empty());
    assert_eq!(bench.administration.area_used_bytes(CONTRACT).await.unwrap(), 0);
    let swept = AreaSweeper::new(bench.installation.clone()).sweep().await.unwrap();
    assert_eq!((swept.removed, swept.orphans), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_in_a_store_go_and_a_deletion_waits_for_a_store_that_is_away() {
    let server = S3Server::start();
    let bench = Bench::storing(Settings::default(), Some(server.settings("out/dips"))).await;
    let package = bench.deposit(None, &[("a", b"1")]).await.package_id;
    let kept = bench.deposit_as("other", None, &[("x", b"x")]).await.package_id;
    for package in [&package, &kept] {
        bench.order(CLIENT, package).await.unwrap();
    }
    bench.work().await;
    assert_eq!(server.keys().len(), 2);
    let order = bench.delete(vec![entry("fg", None, None)]).await;
    server.faults.plan("POST", "delete", crate::s3::Wrong::Answer(503, "SlowDown"), 100);
    bench.work().await;
    let view = bench.deletion(&order).await;
    assert_eq!((view.order.state, places(&view)[0].2), (OrderState::Deleting, Removal::Pending));
    assert!(bench.holds(b"1"), "what was handed out goes first");
    let refused = bench.intake.hold_set(&operator("olga"), CONTRACT, Some("fg"), "too late").await.unwrap_err();
    assert!(matches!(&refused, DeletionError::TooLate(id) if *id == order.id), "{refused}");
    server.faults.clear();
    bench.clock.advance(bench.installation.settings.store_pause);
    bench.work().await;
    assert_eq!(bench.deletion(&order).await.order.state, OrderState::Deleted);
    assert_eq!(server.keys().len(), 1);
    assert!(!bench.holds(b"1"));
}

#[tokio::test]
async fn one_package_that_cannot_be_read_does_not_hold_up_the_others() {
    let bench = Bench::new().await;
    bench.deposit_as("broken", None, &[("a", b"broken")]).await;
    bench.deposit_as("broken", None, &[("a", b"broken 2")]).await;
    bench.deposit_as("sound", None, &[("a", b"sound")]).await;
    let order = bench.delete(vec![entry("broken", None, Some(&[("a", None)])), entry("sound", None, None)]).await;
    let broken = bench.content_file(b"broken");
    let inventory = broken.parent().unwrap().parent().unwrap().join("inventory.json");
    std::fs::write(inventory, "{").unwrap();
    bench.work().await;
    let view = bench.deletion(&order).await;
    assert_eq!(view.order.state, OrderState::Failed);
    assert_eq!(
        view.entries.iter().map(|(entry, _)| entry.state).collect::<Vec<_>>(),
        [Removal::Error, Removal::Deleted]
    );
    assert!(bench.holds(b"broken 2") && !bench.holds(b"sound"));
    assert_eq!(ingests::list(&bench.installation.database).await.unwrap(), []);
}

#[tokio::test]
async fn a_package_that_somebody_else_changes_is_waited_for() {
    let bench = Bench::new().await;
    bench.deposit(None, &[("a", b"1")]).await;
    let package = packages::find(&bench.installation.database, CONTRACT, "fg").await.unwrap().unwrap();
    let order = bench.delete(vec![entry("fg", None, None)]).await;
    let now = bench.clock.now();
    let until = now.plus(Duration::from_secs(60));
    let database = &bench.installation.database;
    assert!(ingests::begin(database, &package.ocfl_id, "another machine", now, until).await.unwrap());
    bench.work().await;
    assert_eq!(bench.deletion(&order).await.order.state, OrderState::Deleting);
    assert!(bench.holds(b"1"));
    bench.clock.advance(Duration::from_secs(61));
    bench.work().await;
    assert_eq!(bench.deletion(&order).await.order.state, OrderState::Deleted);
}

#[tokio::test]
async fn what_was_begun_is_finished_by_the_next_process() {
    let bench = Bench::new().await;
    bench.deposit(Some("one"), &[("a", b"1")]).await;
    bench.deposit(Some("two"), &[("b", b"2")]).await;
    bench.deposit_as("second", None, &[("a", b"second")]).await;
    let order = bench.delete(vec![entry("fg", Some("one"), None), entry("second", None, None)]).await;
    // The process dies after the archive was purged, and before the catalogue was told: as if the database had gone.
    bench.worker.run_one(&CancellationToken::new()).await.unwrap();
    let ended = match super::ENGINE {
        crate::Engine::Sqlite => {
            "CREATE TRIGGER dies BEFORE UPDATE OF state ON deletion_entries BEGIN SELECT RAISE(ABORT, 'died'); END"
        }
        crate::Engine::Postgres => {
            "CREATE FUNCTION dies() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''died''; END';
             CREATE TRIGGER dies BEFORE UPDATE OF state ON deletion_entries FOR EACH ROW EXECUTE FUNCTION dies()"
        }
    };
    for statement in ended.split_inclusive(";\n") {
        bench.installation.database.execute(sql(Box::leak(statement.to_owned().into_boxed_str()))).await.unwrap();
    }
    bench.worker.run_one(&CancellationToken::new()).await.unwrap();
    assert!(!bench.holds(b"1") && bench.holds(b"second"));
    let undo = match super::ENGINE {
        crate::Engine::Sqlite => "DROP TRIGGER dies",
        crate::Engine::Postgres => "DROP TRIGGER dies ON deletion_entries",
    };
    bench.installation.database.execute(sql(undo)).await.unwrap();
    let places = places_of(&bench);
    let again = Installation::open(places, Settings::default(), bench.clock.clone()).await.unwrap();
    recover(&std::sync::Arc::new(again)).await.unwrap();
    // The record of the package waits for the deletion that knows why it changed.
    let package = packages::find(&bench.installation.database, CONTRACT, "fg").await.unwrap().unwrap();
    assert_eq!(packages::versions(&bench.installation.database, &package.id).await.unwrap().len(), 2);
    bench.clock.advance(Duration::from_secs(600));
    bench.work().await;
    let view = bench.deletion(&order).await;
    assert_eq!(view.order.state, OrderState::Deleted);
    assert!(!bench.holds(b"second") && bench.holds(b"2"));
    assert_eq!(packages::versions(&bench.installation.database, &package.id).await.unwrap().len(), 1);
    assert_eq!(ingests::list(&bench.installation.database).await.unwrap(), []);
    bench.assert_sound().await;
}

#[tokio::test]
async fn a_bag_that_lost_files_is_put_into_a_bag_that_is_whole() {
    let bench = Bench::new().await;
    let manifest = format!("{}  data/a\n{}  data/b\n", digest(Algorithm::Md5, b"1"), digest(Algorithm::Md5, b"2"));
    let declaration = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
    let files: Files<'_> =
        &[("bagit.txt", declaration), ("manifest-md5.txt", manifest.as_bytes()), ("data/a", b"1"), ("data/b", b"2")];
    let package = bench.deposit(None, files).await;
    bench.deleted(vec![entry("fg", None, Some(&[("data/a", None)]))]).await;
    retrieval(&bench, &package.package_id, None, View::Version).await;
    bench.work().await;
    let tars = outgoing(&bench);
    let [tar] = tars.as_slice() else { panic!("{tars:?}") };
    let place = bench.directory.path().join("unpacked");
    std::fs::create_dir(&place).unwrap();
    let untarred = std::process::Command::new("tar").arg("-xf").arg(tar).arg("-C").arg(&place).status().unwrap();
    assert!(untarred.success());
    let top = place.join(&package.identifier);
    let judged = std::process::Command::new(peers::tool("bagit.py")).arg("--validate").arg(&top).output().unwrap();
    assert!(judged.status.success(), "{}", peers::told(&judged));
    assert!(top.join("data/data/b").exists() && !top.join("data/data/a").exists());
}
