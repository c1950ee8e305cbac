//! Ingest: what is accepted, what is refused by name, and how an interrupted one goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dipper_core::ingest::{IngestCommand, IngestControl, IngestError, ingest};

use super::bench::{Bench, CONTRACT, files_below};

fn archive_of(bench: &Bench) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    files_below(&bench.directory.path().join("data/archive"))
}

#[tokio::test]
async fn a_new_version_stores_only_what_is_new() {
    let bench = Bench::new().await;
    let source = bench.source("source", &[("a", b"alpha"), ("b", b"beta"), ("copy of a", b"alpha")]);
    let first = bench.ingest(&source, "p").await.unwrap();
    assert_eq!((first.version, first.files, first.bytes, first.new_bytes), (1, 3, 14, 9));
    let again = bench.ingest(&source, "p").await.unwrap();
    assert_eq!((again.version, again.unchanged, again.new_bytes), (1, true, 0));
    bench.source("source", &[("b", b"beta, changed"), ("c", b"alpha")]);
    let second = bench.ingest(&source, "p").await.unwrap();
    assert_eq!((second.version, second.files, second.new_bytes), (2, 4, 13));
    assert_eq!(second.package_id, first.package_id);
    let alphas = archive_of(&bench).into_values().filter(|bytes| bytes == b"alpha").count();
    assert_eq!(alphas, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ingests_of_one_machine_at_the_same_time_do_not_disturb_each_other() {
    const AT_ONCE: u32 = 6;
    const EACH: u32 = 8;
    let bench = Arc::new(Bench::new().await);
    let mut running = tokio::task::JoinSet::new();
    for number in 0..AT_ONCE {
        let bench = Arc::clone(&bench);
        running.spawn(async move {
            for version in 1..=EACH {
                for object in 0..2 {
                    let bytes = format!("{number} {object} {version}");
                    let source = bench.source(&format!("source-{number}-{object}"), &[("a", bytes.as_bytes())]);
                    let ingested = bench.ingest(&source, &format!("p-{number}-{object}")).await.unwrap();
                    assert_eq!(ingested.version, version);
                }
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    // Each looks after what the others left, and none writes down what was so a moment ago.
    let query = dipper_core::db::sql("SELECT COUNT(*) AS n, MIN(head) AS least FROM packages");
    let row = bench.installation.database.row(query).await.unwrap().unwrap();
    let found = (row.integer("n").unwrap(), row.integer("least").unwrap());
    assert_eq!(found, (i64::from(AT_ONCE) * 2, i64::from(EACH)));
}

#[tokio::test]
async fn a_label_belongs_to_one_version() {
    let bench = Bench::new().await;
    let source = bench.source("source", &[("a", b"alpha")]);
    assert_eq!(bench.ingest_as(&source, "p", Some("2024")).await.unwrap().version, 1);
    assert!(bench.ingest_as(&source, "p", Some("2024")).await.unwrap().unchanged);
    assert_eq!(bench.ingest_as(&source, "p", Some("2025")).await.unwrap().version, 2);
    bench.source("source", &[("a", b"other")]);
    let refused = bench.ingest_as(&source, "p", Some("2024")).await;
    assert!(matches!(refused, Err(IngestError::LabelTaken { version: 1, .. })), "{refused:?}");
    let third = bench.ingest(&source, "p").await.unwrap();
    assert_eq!((third.version, third.label), (3, None));
}

#[tokio::test]
async fn a_bag_with_faults_is_refused_with_every_file_named_and_nothing_stays() {
    let bench = Bench::new().await;
    let bag = bench.source(
        "bag",
        &[
            ("bagit.txt", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"),
            (
                "manifest-md5.txt",
                b"00000000000000000000000000000000  data/wrong\n00000000000000000000000000000000  data/missing\n",
            ),
            ("data/wrong", b"x"),
        ],
    );
    let before = archive_of(&bench);
    let refused = bench.ingest(&bag, "p").await.unwrap_err();
    assert!(refused.to_string().contains("data/missing"), "{refused}");
    std::fs::write(bag.join("data/missing"), b"y").unwrap();
    let refused = bench.ingest(&bag, "p").await.unwrap_err().to_string();
    assert!(refused.contains("data/wrong") && refused.contains("data/missing"), "{refused}");
    assert_eq!(archive_of(&bench), before);
}

#[tokio::test]
async fn what_makes_no_package_is_refused_with_what_is_wrong() {
    let bench = Bench::new().await;
    let source = bench.source("source", &[("a", b"alpha")]);
    let empty = bench.directory.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let command = |path: &Path, contract_id: &str, object_id: &str| IngestCommand {
        path: path.to_owned(),
        contract_id: contract_id.to_owned(),
        object_id: object_id.to_owned(),
        ..IngestCommand::default()
    };
    let table = [
        (command(&source, "unknown", "p"), "unknown"),
        (command(&source, CONTRACT, ""), "object id"),
        (command(&source, CONTRACT, "a\nb"), "object id"),
        (command(&empty, CONTRACT, "p"), "no file"),
        (command(&source.join("a"), CONTRACT, "p"), "neither a directory"),
        (command(Path::new("/nowhere/at/all"), CONTRACT, "p"), "/nowhere/at/all"),
    ];
    for (command, expected) in table {
        let refused = ingest(&bench.installation, command, IngestControl::default()).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused:?} does not mention {expected:?}");
    }
}

#[tokio::test]
async fn an_interrupted_ingest_goes_on_where_it_was() {
    let bench = Bench::new().await;
    let names: Vec<String> = (0..40).map(|number| format!("file-{number:02}")).collect();
    let contents: Vec<Vec<u8>> = (0..40_u8).map(|number| vec![number; 100_000]).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().zip(&contents).map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let source = bench.source("source", &files);
    let command = IngestCommand {
        path: source,
        contract_id: CONTRACT.to_owned(),
        object_id: "p".to_owned(),
        ..Default::default()
    };
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    let control = IngestControl {
        cancelled: Box::new(move || counter.fetch_add(1, Ordering::SeqCst) > 60),
        ..IngestControl::default()
    };
    let stopped = ingest(&bench.installation, command.clone(), control).await;
    assert!(matches!(stopped, Err(IngestError::Cancelled)), "{stopped:?}");
    let staged = files_below(&bench.installation.data.staging());
    let staged_bytes: usize = staged.values().filter(|bytes| bytes.len() == 100_000).count();
    assert!(staged_bytes > 5, "{staged_bytes} files were staged");

    let done = ingest(&bench.installation, command, IngestControl::default()).await.unwrap();
    assert_eq!((done.files, done.bytes), (40, 4_000_000));
    let left = files_below(&bench.installation.data.staging());
    assert!(left.values().all(|bytes| bytes.len() < 100_000), "{:?}", left.keys());
}
