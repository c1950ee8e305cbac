//! The audit log: what goes into it, that it stays in one chain however many write, and that nobody changes it unseen.

use std::collections::BTreeMap;
use std::sync::Arc;

use dipper_core::audit::export::export;
use dipper_core::audit::premis::Premis;
use dipper_core::audit::verify::{ChainFault, ChainReport, verify};
use dipper_core::audit::{self, AuditEntry, AuditFile, AuditKind, Chained};
use dipper_core::caller::{Caller, Role};
use dipper_core::db::audit::{AuditCursor, AuditFilter, list, listing, listing_each};
use dipper_core::db::{Statement, sql};
use dipper_core::intake::{AuditQuery, IntakeError};
use dipper_core::verify::VerifyCommand;

use super::ENGINE;
use super::bench::{Bench, CLIENT, CONTRACT};
use super::search;
use crate::Engine;

/// An entry with a list of two files.
fn entry(bench: &Bench, contract_id: &str, detail: &str) -> AuditEntry {
    let file = |path: &str| AuditFile {
        path: path.to_owned(),
        size_bytes: Some(5),
        algorithm: Some("md5".to_owned()),
        digest: Some("00".to_owned()),
        success: true,
        detail: String::new(),
    };
    AuditEntry {
        detail: detail.to_owned(),
        package_id: Some("ab".to_owned()),
        files: vec![file("a"), file("b")],
        ..AuditEntry::new(AuditKind::Replication, contract_id, bench.clock.now())
    }
}

async fn append(bench: &Bench, contract_id: &str, details: &[&str]) {
    let mut transaction = bench.installation.database.begin().await.unwrap();
    for detail in details {
        audit::record(&mut transaction, entry(bench, contract_id, detail));
    }
    transaction.commit().await.unwrap();
}

async fn everything(bench: &Bench) -> Vec<Chained> {
    list(&bench.installation.database, &AuditFilter::default(), None, 10_000).await.unwrap()
}

async fn chain(bench: &Bench, contract_id: &str) -> ChainReport {
    verify(&bench.installation.database, Some(contract_id), None, |_| {}).await.unwrap().pop().unwrap()
}

/// Does to the database what nobody should.
async fn tamper(bench: &Bench, statements: &[&'static str]) {
    for statement in statements {
        bench.installation.database.execute(sql(statement)).await.unwrap();
    }
}

/// Takes the guards away that keep the tables from being changed.
async fn unguard(bench: &Bench) {
    match ENGINE {
        Engine::Sqlite => {
            tamper(
                bench,
                &[
                    "DROP TRIGGER audit_is_not_changed",
                    "DROP TRIGGER audit_is_not_deleted",
                    "DROP TRIGGER audit_files_are_not_changed",
                    "DROP TRIGGER audit_files_are_not_deleted",
                ],
            )
            .await;
        }
        Engine::Postgres => {
            tamper(
                bench,
                &[
                    "DROP TRIGGER audit_is_not_changed ON audit",
                    "DROP TRIGGER audit_files_are_not_changed ON audit_files",
                ],
            )
            .await;
        }
    }
}

#[tokio::test]
async fn what_is_done_with_a_package_is_in_the_log() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    let order = bench.order(CLIENT, &package_id).await.unwrap().order;
    bench.work().await;
    let file = bench.content_file(b"p");
    std::fs::write(&file, b"q").unwrap();
    for bytes in [b"q", b"p"] {
        std::fs::write(&file, bytes).unwrap();
        dipper_core::verify::verify(&bench.installation, VerifyCommand::default(), Box::new(|_| {})).await.unwrap();
    }
    let entries = everything(&bench).await;
    let told: Vec<_> = entries.iter().map(|chained| (chained.entry.kind.name(), chained.entry.success)).collect();
    let expected = [("ingest", true), ("fixity", true), ("fixity", false), ("fixity", true), ("repair", true)];
    assert_eq!(told, expected, "{entries:?}");
    for chained in &entries {
        let entry = &chained.entry;
        assert_eq!((entry.contract_id.as_str(), entry.object_id.as_deref()), (CONTRACT, Some("p")));
        assert_eq!((entry.package_id.as_ref(), entry.at), (Some(&package_id), bench.clock.now()));
        assert_eq!(
            (entry.algorithm.as_deref(), entry.file_count, entry.size_bytes),
            (Some("sha512"), Some(1), Some(1))
        );
        assert_eq!(entry.digest, entries[0].entry.digest);
    }
    assert_eq!(
        (entries[0].entry.version, entries[1].entry.version, entries[2].entry.version),
        (Some(1), Some(1), None)
    );
    assert!(entries[1].entry.detail.contains(&order.id), "{entries:?}");
    assert!(entries[2].entry.detail.contains("E092"), "{entries:?}");
    let listed = dipper_core::db::audit::files(&bench.installation.database, CONTRACT, 3, 0, 10).await.unwrap();
    assert_eq!((listed.len(), listed[0].1.path.as_str(), listed[0].1.success), (1, "a.txt", false));
    let report = chain(&bench, CONTRACT).await;
    assert_eq!((report.entries, report.fault), (5, None));
    assert_eq!(report.head, entries[4].hash);
}

#[tokio::test]
async fn an_ingest_that_stores_nothing_says_nothing_and_an_index_says_what_it_found() {
    let bench = Bench::new().await;
    let source = bench.source("source", &[("a", b"alpha")]);
    bench.ingest_as(&source, "p", Some("2025")).await.unwrap();
    bench.ingest_as(&source, "p", Some("2025")).await.unwrap();
    bench.ingest_as(&source, "p", Some("2026")).await.unwrap();
    let labels: Vec<_> = everything(&bench).await.into_iter().map(|chained| chained.entry.label).collect();
    assert_eq!(labels, [Some("2025".to_owned()), Some("2026".to_owned())]);
    tamper(&bench, &["DELETE FROM versions", "DELETE FROM packages"]).await;
    dipper_core::index::index(&bench.installation, None, |_| {}).await.unwrap();
    let entries = everything(&bench).await;
    assert_eq!(entries.len(), 4);
    assert!(
        entries[2..].iter().all(|chained| chained.entry.detail.contains("found in the storage root")),
        "{entries:?}"
    );
    // Once more, there is nothing new.
    dipper_core::index::index(&bench.installation, None, |_| {}).await.unwrap();
    assert_eq!(everything(&bench).await.len(), 4);
}

#[tokio::test]
async fn the_database_itself_refuses_changes() {
    let bench = Bench::new().await;
    append(&bench, CONTRACT, &["one"]).await;
    for statement in [
        "UPDATE audit SET detail = 'another'",
        "DELETE FROM audit",
        "UPDATE audit_files SET path = 'another'",
        "DELETE FROM audit_files",
    ] {
        let refused = bench.installation.database.execute(sql(statement)).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("append-only")), "{statement}");
    }
    assert_eq!(chain(&bench, CONTRACT).await.fault, None);
}

/// Each way of changing a chain of five, and what is found first.
#[tokio::test]
async fn every_change_is_found_and_named() {
    let copied =
        "INSERT INTO audit SELECT contract_id, 6, at, kind, outcome, agent, package_id, object_id, version, label,
                      algorithm, digest, size_bytes, file_count, detail, whole, NULL, previous, hash
                  FROM audit WHERE number = 5";
    let table: [(&[&'static str], ChainFault); 17] = [
        (&["UPDATE audit SET detail = 'another' WHERE number = 3"], ChainFault::Changed(3)),
        (&["UPDATE audit SET outcome = 'failure' WHERE number = 1"], ChainFault::Changed(1)),
        (&["UPDATE audit SET at = at + 1 WHERE number = 5"], ChainFault::Changed(5)),
        (&["UPDATE audit SET hash = previous WHERE number = 2"], ChainFault::Changed(2)),
        (&["DELETE FROM audit WHERE number = 3"], ChainFault::Removed(3)),
        (&["DELETE FROM audit WHERE number = 1"], ChainFault::Removed(1)),
        (
            &["DELETE FROM audit WHERE number > 3"],
            ChainFault::CutOff { found: 3, expected: 5 },
        ),
        (&["DELETE FROM audit"], ChainFault::CutOff { found: 0, expected: 5 }),
        (
            &["DELETE FROM audit_heads", "DELETE FROM audit WHERE number = 5", "DELETE FROM audit_files WHERE number = 5"],
            ChainFault::HeadRemoved,
        ),
        (
            &[
                "DELETE FROM audit WHERE number = 5",
                "DELETE FROM audit_files WHERE number = 5",
                "UPDATE audit_heads SET number = 4, hash = (SELECT hash FROM audit WHERE number = 4)",
            ],
            // Who does not have the key cannot seal it.
            ChainFault::HeadChanged,
        ),
        (
            &[
                "UPDATE audit SET number = -2 WHERE number = 2",
                "UPDATE audit SET number = 2 WHERE number = 3",
                "UPDATE audit SET number = 3 WHERE number = -2",
            ],
            ChainFault::Changed(2),
        ),
        (&[copied], ChainFault::Changed(6)),
        (&["UPDATE audit SET number = 0 WHERE number = 1"], ChainFault::Inserted(0)),
        (&["UPDATE audit_files SET digest = '01' WHERE number = 4 AND position = 2"], ChainFault::FilesChanged(4)),
        (&["DELETE FROM audit_files WHERE number = 2 AND position = 2"], ChainFault::FilesChanged(2)),
        (&["UPDATE audit_files SET number = 9 WHERE number = 5"], ChainFault::FilesChanged(5)),
        (
            &["INSERT INTO audit_files SELECT contract_id, 9, position, path, size_bytes, algorithm, digest, outcome, detail
               FROM audit_files WHERE number = 1"],
            ChainFault::FilesInserted(9),
        ),
    ];
    for (statements, expected) in table {
        let bench = Bench::new().await;
        append(&bench, CONTRACT, &["one", "two", "three"]).await;
        append(&bench, "another", &["not touched"]).await;
        append(&bench, CONTRACT, &["four", "five"]).await;
        assert_eq!(chain(&bench, CONTRACT).await.fault, None);
        unguard(&bench).await;
        // The other contract's chain is shorter than what is tampered with.
        let of_one: Vec<String> = statements.iter().map(|statement| of_contract(statement)).collect();
        for statement in &of_one {
            bench.installation.database.execute(Statement::assembled(statement.clone())).await.unwrap();
        }
        assert_eq!(chain(&bench, CONTRACT).await.fault, Some(expected), "{statements:?}");
        let all = verify(&bench.installation.database, None, None, |_| {}).await.unwrap();
        let faulty: BTreeMap<_, _> =
            all.into_iter().map(|report| (report.contract_id, report.fault.is_some())).collect();
        assert_eq!(
            faulty.into_iter().collect::<Vec<_>>(),
            [(CONTRACT.to_owned(), true), ("another".to_owned(), false)]
        );
    }
}

/// The statement for the rows of one contract alone.
fn of_contract(statement: &str) -> String {
    let condition = format!("contract_id = '{CONTRACT}'");
    let inner = statement.replace(
        "(SELECT hash FROM audit WHERE number",
        &format!("(SELECT hash FROM audit WHERE {condition} AND number"),
    );
    match inner.rfind("WHERE ") {
        Some(_) if inner.contains("UPDATE audit_heads") => format!("{inner} WHERE {condition}"),
        Some(place) => format!("{}WHERE {condition} AND {}", &inner[..place], &inner[place + 6..]),
        None => format!("{inner} WHERE {condition}"),
    }
}

#[tokio::test]
async fn a_hash_that_was_kept_elsewhere_shows_that_the_chain_goes_on() {
    let bench = Bench::new().await;
    append(&bench, CONTRACT, &["one", "two"]).await;
    append(&bench, "another", &["one"]).await;
    let kept = chain(&bench, CONTRACT).await.head;
    append(&bench, CONTRACT, &["three"]).await;
    let database = &bench.installation.database;
    let reports = verify(database, None, Some(&kept.to_uppercase()), |_| {}).await.unwrap();
    let found: Vec<_> = reports.into_iter().map(|report| (report.remembered, report.fault)).collect();
    assert_eq!(found, [(Some(2), None), (None, None)]);
    let reports = verify(database, Some("another"), Some(&kept), |_| {}).await.unwrap();
    assert_eq!(reports[0].fault, Some(ChainFault::NotRemembered));
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_write_at_once_there_is_one_chain_for_each_contract() {
    const WRITERS: usize = 8;
    const EACH: usize = 12;
    let bench = Arc::new(Bench::new().await);
    let mut running = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let bench = Arc::clone(&bench);
        running.spawn(async move {
            for number in 0..EACH {
                // Contracts in opposite orders: whoever locked chains in the order of the calls would meet himself.
                let mut contracts = ["a", "b", "c"];
                if writer % 2 == 0 {
                    contracts.reverse();
                }
                let mut transaction = bench.installation.database.begin().await.unwrap();
                for contract_id in contracts {
                    audit::record(&mut transaction, entry(&bench, contract_id, &format!("{writer} {number}")));
                }
                if number % 4 == 3 {
                    // Given up: it leaves nothing.
                    drop(transaction);
                } else {
                    transaction.commit().await.unwrap();
                }
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    let reports = verify(&bench.installation.database, None, None, |_| {}).await.unwrap();
    let found: Vec<_> = reports.into_iter().map(|report| (report.contract_id, report.entries, report.fault)).collect();
    let expected = (WRITERS * EACH * 3 / 4) as u64;
    assert_eq!(found, ["a", "b", "c"].map(|contract_id| (contract_id.to_owned(), expected, None)));
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let bench = Bench::new().await;
    append(&bench, "a", &["one", "two"]).await;
    append(&bench, "b", &["three"]).await;
    bench.clock.advance(std::time::Duration::from_secs(1));
    append(&bench, "a", &["four", "five"]).await;
    let database = &bench.installation.database;
    let all = everything(&bench).await;
    let details = |entries: &[Chained]| -> Vec<String> { entries.iter().map(|c| c.entry.detail.clone()).collect() };
    assert_eq!(details(&all), ["one", "two", "three", "four", "five"]);
    let mut paged = Vec::new();
    let mut after: Option<AuditCursor> = None;
    loop {
        let page = list(database, &AuditFilter::default(), after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(AuditCursor::behind(last).to_string().parse().unwrap());
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let now = bench.clock.now();
    let of = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
    let table = [
        (AuditFilter { contract_ids: of(&["a"]), ..AuditFilter::default() }, 4),
        (AuditFilter { contract_ids: of(&["a", "b"]), ..AuditFilter::default() }, 5),
        (AuditFilter { contract_ids: of(&[]), ..AuditFilter::default() }, 0),
        (AuditFilter { since: Some(now), ..AuditFilter::default() }, 2),
        (AuditFilter { until: Some(now), ..AuditFilter::default() }, 3),
        (AuditFilter { kind: Some(AuditKind::Ingest), ..AuditFilter::default() }, 0),
        (AuditFilter { success: Some(false), ..AuditFilter::default() }, 0),
        (AuditFilter { package_id: Some("ab".to_owned()), path: Some("a".to_owned()), ..AuditFilter::default() }, 5),
    ];
    for (filter, expected) in table {
        assert_eq!(list(database, &filter, None, 100).await.unwrap().len(), expected, "{filter:?}");
    }
    assert!("".parse::<AuditCursor>().is_err() && "x.1.a".parse::<AuditCursor>().is_err());
}

#[tokio::test]
async fn every_list_is_read_from_an_index() {
    if ENGINE == Engine::Postgres {
        return;
    }
    let bench = Bench::new().await;
    let one = Some(vec!["a".to_owned()]);
    let package_id = Some("ab".to_owned());
    let table = [
        (AuditFilter::default(), "audit_by_time"),
        (AuditFilter { contract_ids: one.clone(), ..AuditFilter::default() }, "audit_by_contract"),
        (
            AuditFilter { contract_ids: one.clone(), kind: Some(AuditKind::Repair), ..AuditFilter::default() },
            "audit_by_kind",
        ),
        (AuditFilter { contract_ids: one.clone(), success: Some(false), ..AuditFilter::default() }, "audit_failures"),
        (AuditFilter { package_id: package_id.clone(), ..AuditFilter::default() }, "audit_by_package"),
        (AuditFilter { package_id, contract_ids: one, ..AuditFilter::default() }, "audit_by_package"),
    ];
    let after = AuditCursor { at: bench.clock.now(), contract_id: "a".to_owned(), number: 1 };
    for (filter, index) in table {
        // Behind a place, either index of the contract leads there.
        let places = if filter.kind.is_some() { vec![None] } else { vec![None, Some(&after)] };
        for after in places {
            let statement = listing(&filter, after, 10);
            let plan = Statement::assembled(format!("EXPLAIN QUERY PLAN {}", statement.text()));
            let plan = bench.installation.database.rows(plan).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.text("detail").unwrap()).collect();
            assert!(
                plan[0].contains(index) && !plan.iter().any(|line| line.contains("TEMP B-TREE")),
                "{filter:?} {plan:?}"
            );
        }
    }
    let several = AuditFilter { contract_ids: Some(vec!["a".to_owned(), "b".to_owned()]), ..AuditFilter::default() };
    let statement = listing_each(&several, &["a".to_owned(), "b".to_owned()], Some(&after), 10);
    let plan = search::plan(&bench, &statement).await;
    assert!(!plan.contains("SCAN audit") && plan.matches("audit_by_contract").count() == 2, "{plan}");
}

#[tokio::test]
async fn a_caller_sees_the_entries_of_its_contract_file_by_file() {
    let bench = Bench::new().await;
    let source = bench.source("source", &[("a", b"alpha")]);
    bench.ingest(&source, "p").await.unwrap();
    bench.source("source", &[("b", b"beta")]);
    let ingested = bench.ingest(&source, "p").await.unwrap();
    let mut transaction = bench.installation.database.begin().await.unwrap();
    let deleted = AuditEntry {
        package_id: Some(ingested.package_id.clone()),
        object_id: Some("p".to_owned()),
        version: Some(2),
        whole: false,
        files: vec![AuditFile {
            path: "gone".to_owned(),
            size_bytes: None,
            algorithm: None,
            digest: None,
            success: true,
            detail: "no longer wanted".to_owned(),
        }],
        ..AuditEntry::new(AuditKind::Deletion, CONTRACT, bench.clock.now())
    };
    audit::record(&mut transaction, deleted);
    transaction.commit().await.unwrap();
    let reader = bench.reader("reader");
    let query = |path: Option<&str>, limit| AuditQuery {
        contract_id: CONTRACT.to_owned(),
        object_id: "p".to_owned(),
        path: path.map(str::to_owned),
        after: None,
        limit,
    };
    let kinds = |records: &[dipper_core::intake::AuditRecord]| -> Vec<(AuditKind, Option<u32>)> {
        records.iter().map(|record| (record.chained.entry.kind, record.chained.entry.version)).collect()
    };
    let (ingest, deletion) = (AuditKind::Ingest, AuditKind::Deletion);
    let table = [
        (None, vec![(ingest, Some(1)), (ingest, Some(2)), (deletion, Some(2))]),
        (Some("a"), vec![(ingest, Some(1)), (ingest, Some(2))]),
        (Some("b"), vec![(ingest, Some(2))]),
        (Some("gone"), vec![(ingest, Some(2)), (deletion, Some(2))]),
        (Some("never"), vec![]),
    ];
    for (path, expected) in table {
        for limit in [1, 2, 100] {
            let found = bench.intake.audit_list(&reader, &query(path, limit)).await.unwrap();
            let expected: Vec<_> = expected.iter().copied().take(limit as usize).collect();
            assert_eq!(kinds(&found), expected, "{path:?} {limit}");
        }
    }
    let found = bench.intake.audit_list(&reader, &query(Some("gone"), 100)).await.unwrap();
    assert_eq!(found[1].file.as_ref().unwrap().detail, "no longer wanted");
    let stranger = Caller { client_id: "x".to_owned(), grants: Default::default(), stored: false };
    let refused = bench.intake.audit_list(&stranger, &query(None, 1)).await;
    assert!(matches!(refused, Err(IntakeError::NotAllowed { role: Role::Read })), "{refused:?}");
    let unknown = AuditQuery { object_id: "none".to_owned(), ..query(None, 1) };
    let refused = bench.intake.audit_list(&reader, &unknown).await;
    assert!(matches!(refused, Err(IntakeError::PackageUnknown(_))), "{refused:?}");

    let copied = AuditEntry {
        object_id: Some("p".to_owned()),
        ..AuditEntry::new(AuditKind::Replication, CONTRACT, bench.clock.now())
    };
    let refused = bench.intake.audit_add(&reader, vec![copied.clone()]).await;
    assert!(matches!(refused, Err(IntakeError::NotAllowed { role: Role::Operator })), "{refused:?}");
    let grants = [(CONTRACT.to_owned(), Role::Operator)].into_iter().collect();
    let operator = Caller { client_id: "operator".to_owned(), grants, stored: false };
    let elsewhere = AuditEntry { contract_id: "another".to_owned(), ..copied.clone() };
    assert!(bench.intake.audit_add(&operator, vec![copied.clone(), elsewhere]).await.is_err());
    bench.intake.audit_add(&operator, vec![copied]).await.unwrap();
    let found = bench.intake.audit_list(&reader, &query(None, 100)).await.unwrap();
    assert_eq!(kinds(&found)[3], (AuditKind::Replication, None));
}

#[tokio::test]
async fn an_export_tells_every_entry_with_its_files() {
    let bench = Bench::new().await;
    bench.package("p & <q>").await;
    append(&bench, CONTRACT, &["control \u{1} character"]).await;
    let mut written = Vec::new();
    let filter = AuditFilter::default();
    let count = export(&bench.installation.database, &filter, &mut Premis::default(), &mut written).await.unwrap();
    let text = String::from_utf8(written).unwrap();
    assert_eq!((count, text.matches("<event>").count()), (2, 2));
    assert_eq!(text.matches("<eventOutcomeDetailNote>").count(), 2);
    assert!(text.contains("p &amp; &lt;q&gt;") && text.contains("control \u{fffd} character"), "{text}");
    let (objects, events, agents) =
        (text.rfind("<object ").unwrap(), text.find("<event>").unwrap(), text.find("<agent>"));
    assert!(objects < events && events < agents.unwrap(), "{text}");
}
