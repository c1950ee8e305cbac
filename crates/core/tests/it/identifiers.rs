//! Identifiers, URNs and container names: given at the ingest, kept in the storage root, found again.

use std::collections::BTreeSet;
use std::path::Path;

use dipper_core::caller::{Caller, Role};
use dipper_core::db::identifiers::{self, Names};
use dipper_core::db::orders::View;
use dipper_core::db::packages::{self, Package, PackageQuery};
use dipper_core::db::{Statement, sql};
use dipper_core::identifier;
use dipper_core::index::index;
use dipper_core::ingest::{IngestCommand, IngestControl, IngestError, Ingested, ingest};
use dipper_core::installation::{Installation, Places};
use dipper_core::intake::{IntakeError, OrderRetrieval, PackageRecord, Portion};
use dipper_core::naming::NamingError;
use dipper_core::settings::Settings;

use super::ENGINE;
use super::bench::{Bench, CLIENT, CONTRACT, places};
use crate::Engine;

const URN: &str = "urn:nbn:de:hbz:6:1-31323";

fn with_prefix() -> Settings {
    Settings { node: "8".to_owned(), urn_prefix: Some("hbz:42".to_owned()), ..Settings::default() }
}

async fn deposit(bench: &Bench, source: &Path, object_id: &str, urn: Option<&str>) -> Result<Ingested, IngestError> {
    let command = IngestCommand {
        path: source.to_owned(),
        contract_id: CONTRACT.to_owned(),
        object_id: object_id.to_owned(),
        urn: urn.map(str::to_owned),
        ..IngestCommand::default()
    };
    ingest(&bench.installation, command, IngestControl::default()).await
}

/// A bag that names these as its external identifiers.
fn bag(bench: &Bench, name: &str, content: &str, external: &[&str]) -> std::path::PathBuf {
    let info: String = external.iter().map(|value| format!("External-Identifier: {value}\n")).collect();
    let mut hasher = dipper_archive::digest::Hasher::new(dipper_archive::digest::Algorithm::Sha256);
    hasher.update(content.as_bytes());
    let manifest = format!("{}  data/x\n", hasher.finish());
    let files: [(&str, &[u8]); 4] = [
        ("bagit.txt", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"),
        ("bag-info.txt", info.as_bytes()),
        ("manifest-sha256.txt", manifest.as_bytes()),
        ("data/x", content.as_bytes()),
    ];
    bench.source(name, &files)
}

async fn package(bench: &Bench, id: &str) -> Package {
    packages::get(&bench.installation.database, id).await.unwrap().unwrap()
}

async fn find(bench: &Bench, query: PackageQuery) -> Vec<PackageRecord> {
    bench.intake.package_find(&bench.reader(CLIENT), &query, "", 100).await.unwrap()
}

#[tokio::test]
async fn a_package_gets_an_identifier_and_a_urn_that_later_versions_keep() {
    let bench = Bench::with(with_prefix()).await;
    let source = bench.source("first.dir", &[("a", b"alpha")]);
    let first = deposit(&bench, &source, "p", None).await.unwrap();
    assert_eq!(first.identifier, "8-202601011");
    let urn = first.urn.clone().unwrap();
    assert!(urn.starts_with("urn:nbn:de:hbz:42-8-202601011") && dipper_core::urn::warning(&urn).is_none(), "{urn}");
    bench.clock.advance(std::time::Duration::from_secs(86_400));
    let source = bench.source("second.dir", &[("b", b"beta")]);
    let second = deposit(&bench, &source, "p", None).await.unwrap();
    assert_eq!((second.version, &second.identifier, &second.urn), (2, &first.identifier, &first.urn));
    // The other names the package by its URN, in other letters.
    bench.source("second.dir", &[("c", b"gamma")]);
    let third = deposit(&bench, &source, "p", Some(&urn.to_uppercase())).await.unwrap();
    assert_eq!((third.version, &third.urn), (3, &first.urn));
    let other = deposit(&bench, &source, "other", None).await.unwrap();
    assert_eq!(other.identifier, "8-202601021");
    let containers: Vec<_> = packages::versions(&bench.installation.database, &first.package_id).await.unwrap();
    let containers: Vec<_> = containers.iter().filter_map(|version| version.container_name.as_deref()).collect();
    assert_eq!(containers, ["first.dir", "second.dir", "second.dir"]);
}

#[tokio::test]
async fn the_depositors_urn_is_kept_as_it_is_and_names_one_package() {
    let bench = Bench::with(with_prefix()).await;
    let named = bag(&bench, "bag", "one", &["local 17", URN]);
    let first = deposit(&bench, &named, "p", None).await.unwrap();
    assert_eq!((first.urn.as_deref(), first.warnings.len()), (Some(URN), 0));

    // What was given along goes before what the bag says.
    let other = bag(&bench, "other", "two", &[URN]);
    let mistyped = "URN:NBN:de:hbz:6:1-31324";
    let second = deposit(&bench, &other, "q", Some(mistyped)).await.unwrap();
    assert_eq!(second.urn.as_deref(), Some(mistyped));
    assert!(second.warnings.iter().any(|warning| warning.contains("check digit")), "{:?}", second.warnings);

    let several = bag(&bench, "several", "three", &[URN, "urn:nbn:fi-fe1"]);
    let third = deposit(&bench, &several, "r", None).await.unwrap();
    assert!(third.urn.as_deref().is_some_and(|urn| urn.starts_with("urn:nbn:de:hbz:42-")), "{:?}", third.urn);
    assert!(third.warnings.iter().any(|warning| warning.contains("several URNs")), "{:?}", third.warnings);

    let plain = bench.source("plain", &[("a", b"alpha")]);
    let upper = URN.to_uppercase();
    for urn in [URN, upper.as_str()] {
        let refused = deposit(&bench, &plain, "new", Some(urn)).await.unwrap_err();
        assert!(matches!(refused, IngestError::Naming(NamingError::Taken(_))), "{refused:?}");
    }
    let refused = deposit(&bench, &plain, "p", Some("urn:nbn:de:hbz:6:1-31324")).await.unwrap_err();
    let IngestError::Naming(NamingError::Other { known, .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!(known, URN);
    let refused = deposit(&bench, &bag(&bench, "third", "four", &["urn:nbn:de:x"]), "p", None).await.unwrap_err();
    assert!(matches!(refused, IngestError::Naming(NamingError::Urn { .. })), "{refused:?}");
    // Nothing of all that left anything behind.
    assert_eq!(package(&bench, &first.package_id).await.head, 1);
    assert!(packages::find(&bench.installation.database, CONTRACT, "new").await.unwrap().is_none());
    let done = deposit(&bench, &plain, "new", None).await.unwrap();
    assert!(!done.identifier.is_empty());
}

#[tokio::test]
async fn a_urn_that_comes_later_makes_a_version_without_new_bytes() {
    let bench = Bench::new().await;
    let source = bench.source("source", &[("a", b"alpha")]);
    assert_eq!(deposit(&bench, &source, "p", None).await.unwrap().urn, None);
    assert!(deposit(&bench, &source, "p", None).await.unwrap().unchanged);
    let named = deposit(&bench, &source, "p", Some(URN)).await.unwrap();
    assert_eq!((named.version, named.new_bytes, named.urn.as_deref()), (2, 0, Some(URN)));
    assert!(deposit(&bench, &source, "p", Some(URN)).await.unwrap().unchanged);
}

#[tokio::test]
async fn an_ingest_that_goes_on_after_a_crash_keeps_its_names() {
    let bench = Bench::with(with_prefix()).await;
    let database = &bench.installation.database;
    let ocfl_id = dipper_core::ids::ocfl_id(CONTRACT, "p");
    let names = Names { identifier: "8-202512317".to_owned(), urn: Some(URN.to_owned()) };
    assert!(identifiers::reserve(database, &ocfl_id, &names).await.unwrap());
    let source = bench.source("source", &[("a", b"alpha")]);
    let done = deposit(&bench, &source, "p", None).await.unwrap();
    assert_eq!((done.identifier, done.urn), (names.identifier, names.urn));

    // A reservation of an ingest that is under way holds others off; one that came to nothing does not.
    let stale = Names { identifier: "8-202512318".to_owned(), urn: Some("urn:nbn:fi-fe1".to_owned()) };
    assert!(identifiers::reserve(database, "urn:dipper:2d17:lost", &stale).await.unwrap());
    let note =
        "INSERT INTO ingests (ocfl_id, started, holder, lease_until) VALUES ('urn:dipper:2d17:lost', 0, 'x', $1)";
    let until = bench.clock.now().plus(std::time::Duration::from_secs(60));
    database.execute(sql(note).bind(until)).await.unwrap();
    let source = bench.source("other", &[("b", b"beta")]);
    let refused = deposit(&bench, &source, "q", Some("urn:nbn:fi-fe1")).await.unwrap_err();
    assert!(matches!(refused, IngestError::Naming(NamingError::Taken(_))), "{refused:?}");
    database.execute(sql("DELETE FROM ingests WHERE holder = 'x'")).await.unwrap();
    assert_eq!(
        deposit(&bench, &source, "q", Some("urn:nbn:fi-fe1")).await.unwrap().urn.as_deref(),
        Some("urn:nbn:fi-fe1")
    );
    assert_eq!(identifiers::get(database, "urn:dipper:2d17:lost").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_ingest_at_once_get_different_names() {
    let bench = Bench::with(with_prefix()).await;
    let mut depositing = Vec::new();
    for number in 0..12 {
        let source = bench.source(&format!("s{number}"), &[("a", format!("{number}").as_bytes())]);
        let installation = bench.installation.clone();
        // Half of them want the same URN.
        let urn = (number % 2 == 0).then(|| URN.to_owned());
        let command = IngestCommand {
            path: source,
            contract_id: CONTRACT.to_owned(),
            object_id: format!("p{number}"),
            urn,
            ..IngestCommand::default()
        };
        depositing.push(tokio::spawn(async move { ingest(&installation, command, IngestControl::default()).await }));
    }
    let (mut names, mut refused) = (BTreeSet::new(), 0);
    for depositing in depositing {
        match depositing.await.unwrap() {
            Ok(done) => assert!(names.insert(done.identifier) && names.insert(done.urn.unwrap())),
            Err(IngestError::Naming(NamingError::Taken(_))) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((names.len(), refused), (14, 5));
}

/// A catalogue without anything on the same storage root.
async fn fresh_catalogue(bench: &Bench) -> (std::sync::Arc<Installation>, Option<crate::postgres::TestDatabase>) {
    let (places, database) = places(&bench.directory.path().join("again")).await;
    let places = Places { archive: Some(bench.directory.path().join("data/archive")), ..places };
    let again = Installation::open(places, with_prefix(), bench.clock.clone()).await.unwrap();
    (std::sync::Arc::new(again), database)
}

#[tokio::test]
async fn the_storage_root_alone_gives_all_names_back() {
    let bench = Bench::with(with_prefix()).await;
    deposit(&bench, &bench.source("one.dir", &[("a", b"alpha")]), "p", None).await.unwrap();
    deposit(&bench, &bench.source("two.dir", &[("a", b"other")]), "p", None).await.unwrap();
    deposit(&bench, &bag(&bench, "bag", "one", &[URN]), "q", None).await.unwrap();
    let (again, _database) = fresh_catalogue(&bench).await;
    index(&again, None, |_| {}).await.unwrap();
    let known = packages::list(&bench.installation.database, None, None, "", 10).await.unwrap();
    assert_eq!(known.iter().filter(|package| package.urn.is_some()).count(), 2);
    assert_eq!(packages::list(&again.database, None, None, "", 10).await.unwrap(), known);
    for package in &known {
        let versions = packages::versions(&bench.installation.database, &package.id).await.unwrap();
        assert!(versions.iter().all(|version| version.container_name.is_some()));
        assert_eq!(packages::versions(&again.database, &package.id).await.unwrap(), versions);
    }
    // Counting goes on after what was found.
    assert_eq!(identifiers::serial_next(&again.database, "8-20260101").await.unwrap(), 3);
}

#[tokio::test]
async fn packages_of_an_older_catalogue_get_identifiers_that_a_new_one_gives_again() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    // As if an earlier program had stored it: nothing is known, in the catalogue or in the root.
    let object = package(&bench, &package_id).await;
    let inventory = bench.directory.path().join("data/archive").join(&object.location).join("inventory.json");
    let text = std::fs::read_to_string(&inventory).unwrap();
    assert!(text.contains("Identifier: 1-202601011"), "{text}");
    for statement in ["DELETE FROM identifiers", "DELETE FROM installation WHERE name = 'identifiers'"] {
        bench.installation.database.execute(sql(statement)).await.unwrap();
    }
    let place = super::bench::places_of(&bench);
    let again = Installation::open(place, Settings::default(), bench.clock.clone()).await.unwrap();
    let named = packages::get(&again.database, &package_id).await.unwrap().unwrap();
    let parts = identifier::parse(&named.identifier).unwrap();
    assert_eq!(parts.series, "1-20260101");
    assert_eq!(parts.serial, identifier::derived_serial(&object.ocfl_id, 0));
    // The root knows better.
    index(&bench.installation, None, |_| {}).await.unwrap();
    assert_eq!(package(&bench, &package_id).await.identifier, object.identifier);
}

#[tokio::test]
async fn packages_are_found_by_every_name_and_by_those_alone_who_may_read_them() {
    let bench = Bench::with(with_prefix()).await;
    let first = deposit(&bench, &bench.source("one.tar", &[("a", b"alpha")]), "p", Some(URN)).await.unwrap();
    deposit(&bench, &bench.source("two.tar", &[("a", b"other")]), "p", None).await.unwrap();
    let second = deposit(&bench, &bench.source("three.tar", &[("b", b"beta")]), "q", None).await.unwrap();
    bench.administration.contract_add("other").await.unwrap();
    let theirs = IngestCommand {
        path: bench.source("four.tar", &[("c", b"gamma")]),
        contract_id: "other".to_owned(),
        object_id: "p".to_owned(),
        ..IngestCommand::default()
    };
    ingest(&bench.installation, theirs, IngestControl::default()).await.unwrap();
    let some = |text: &str| Some(text.to_owned());
    let query = PackageQuery::default;
    let table = [
        (query(), vec![&first.package_id, &second.package_id]),
        (PackageQuery { urn: some(&URN.to_uppercase()), ..query() }, vec![&first.package_id]),
        (PackageQuery { identifier: some(&second.identifier), ..query() }, vec![&second.package_id]),
        (PackageQuery { object_id: some("p"), ..query() }, vec![&first.package_id]),
        (PackageQuery { container_name: some("two.tar"), ..query() }, vec![&first.package_id]),
        (PackageQuery { container_name: some("one.tar"), urn: some(URN), ..query() }, vec![&first.package_id]),
        (PackageQuery { object_id: some("q"), urn: some(URN), ..query() }, vec![]),
        (PackageQuery { container_name: some("four.tar"), ..query() }, vec![]),
        (PackageQuery { urn: some("urn:nbn:de:unknown-1"), ..query() }, vec![]),
    ];
    for (query, mut expected) in table {
        let found = find(&bench, query.clone()).await;
        let found: Vec<_> = found.iter().map(|record| &record.package.id).collect();
        expected.sort();
        assert_eq!(found, expected, "{query:?}");
    }
    let record = find(&bench, PackageQuery { object_id: some("p"), ..query() }).await.remove(0);
    let containers: Vec<_> = record.versions.iter().map(|version| version.container_name.as_deref()).collect();
    assert_eq!(containers, [Some("one.tar"), Some("two.tar")]);
    let stranger = Caller { client_id: "x".to_owned(), grants: Default::default(), stored: false };
    assert!(bench.intake.package_find(&stranger, &query(), "", 10).await.unwrap().is_empty());
    // Page by page.
    let page = bench.intake.package_find(&bench.reader(CLIENT), &query(), "", 1).await.unwrap();
    let rest = bench.intake.package_find(&bench.reader(CLIENT), &query(), &page[0].package.id, 1).await.unwrap();
    assert_ne!(page[0].package.id, rest[0].package.id);
}

#[tokio::test]
async fn looking_up_costs_no_walk_over_all_packages() {
    let bench = Bench::new().await;
    let some = |text: &str| Some(text.to_owned());
    let queries = [
        PackageQuery { urn: some("u"), ..PackageQuery::default() },
        PackageQuery { identifier: some("i"), ..PackageQuery::default() },
        PackageQuery { object_id: some("o"), ..PackageQuery::default() },
        PackageQuery { container_name: some("c"), ..PackageQuery::default() },
    ];
    for query in queries {
        let statement = packages::searching(&["2d17"], &query, "", 100);
        if ENGINE == Engine::Postgres {
            // Its planner goes by what the tables hold: with nothing in them it has to be told that they are large.
            let text = ["'u'", "''", "'2d17'"].into_iter().zip(["$2", "$1", "$3"]);
            let text = text.fold(statement.text().to_owned(), |text, (value, place)| text.replace(place, value));
            let plan = bench.database.as_ref().unwrap().psql(&format!("SET enable_seqscan = off; EXPLAIN {text}"));
            assert!(plan.contains("Index") && !plan.contains("Seq Scan"), "{plan}");
            continue;
        }
        let plan = Statement::assembled(format!("EXPLAIN QUERY PLAN {}", statement.text()));
        let values = ["", "u", "2d17"].into_iter().fold(plan, Statement::bind);
        let rows = bench.installation.database.rows(values).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
        assert!(!plan.iter().any(|step| step.contains("SCAN")), "{plan:#?}");
        let walks = |step: &&String| step.contains("SEARCH packages") && step.contains("(id>?)");
        assert!(!plan.iter().any(|step| walks(&step)), "{plan:#?}");
    }
}

#[tokio::test]
async fn what_is_under_way_for_a_package_is_told() {
    let bench = Bench::new().await;
    let (one, other) = (bench.package("one").await, bench.package("other").await);
    let caller = bench.reader(CLIENT);
    let ids = [one.as_str(), other.as_str()];
    let work = bench.intake.package_work(&caller, &ids).await.unwrap();
    assert!(work.iter().all(|work| work.orders.is_empty() && !work.is_being_ingested));

    let retrieval = |version, view| OrderRetrieval {
        package_id: one.clone(),
        portion: Portion { version, view, excerpt: None },
        dialect: "test",
    };
    let order = bench.intake.retrieval_order(&caller, retrieval(None, View::Version)).await.unwrap().order;
    let again = bench.intake.retrieval_order(&bench.reader("another"), retrieval(Some(1), View::Version)).await;
    assert!(matches!(&again, Err(IntakeError::AlreadyOrdered { existing }) if *existing == order.id), "{again:?}");
    let surface = bench.intake.retrieval_order(&caller, retrieval(None, View::Surface)).await.unwrap().order;
    assert!(surface.area_name.as_deref().is_some_and(|name| name.ends_with("_surface.tar")), "{:?}", surface.area_name);
    let unknown = bench.intake.retrieval_order(&caller, retrieval(Some(2), View::Version)).await;
    assert!(matches!(unknown, Err(IntakeError::VersionUnknown { version: 2, .. })), "{unknown:?}");
    // An order by link is another thing.
    let link = bench.order(CLIENT, &one).await.unwrap().order;
    let until = bench.clock.now().plus(std::time::Duration::from_secs(60));
    let note = "INSERT INTO ingests (ocfl_id, started, holder, lease_until)
                SELECT ocfl_id, 0, 'x', $1 FROM packages WHERE object_id = 'other'";
    bench.installation.database.execute(sql(note).bind(until)).await.unwrap();
    let work = bench.intake.package_work(&caller, &ids).await.unwrap();
    let under_way: Vec<_> = work[0].orders.iter().map(|order| &order.id).collect();
    assert_eq!(under_way, [&order.id, &surface.id, &link.id]);
    assert_eq!((work[0].is_being_ingested, work[1].is_being_ingested), (false, true));

    for order in [&order, &surface, &link] {
        bench.intake.order_cancel(&caller, &order.id).await.unwrap();
    }
    let database = &bench.installation.database;
    let fail = |id: &str| sql("UPDATE orders SET state = 'failed' WHERE id = $1").bind(id);
    for order in [&order, &surface, &link] {
        database.execute(fail(&order.id)).await.unwrap();
    }
    let work = bench.intake.package_work(&caller, &ids).await.unwrap();
    let failed: Vec<_> = work[0].orders.iter().map(|order| &order.id).collect();
    assert_eq!(failed, [&surface.id, &link.id]);
    database.execute(sql("UPDATE orders SET state = 'delivered' WHERE id = $1").bind(&surface.id)).await.unwrap();
    let work = bench.intake.package_work(&caller, &ids).await.unwrap();
    assert_eq!(work[0].orders.iter().map(|order| &order.id).collect::<Vec<_>>(), [&link.id]);
    let nobody = Caller { client_id: "x".to_owned(), grants: Default::default(), stored: false };
    let work = bench.intake.package_work(&nobody, &ids).await.unwrap();
    assert!(work.iter().all(|work| work.orders.is_empty() && !work.is_being_ingested));
    assert!(!nobody.grants.has_anywhere(Role::Read));
}
