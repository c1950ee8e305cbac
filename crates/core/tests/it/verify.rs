//! Verification: what it finds, what it records, and what it lifts.

use dipper_core::db::packages::{self, PackageState};
use dipper_core::verify::{VerifyCommand, VerifyError, verify};

use super::bench::Bench;

#[tokio::test]
async fn damage_is_found_marked_and_lifted_after_repair() {
    let bench = Bench::new().await;
    let (good, bad) = (bench.package("good").await, bench.package("bad").await);
    let all = VerifyCommand::default();
    let report = verify(&bench.installation, all.clone(), Box::new(|_| {})).await.unwrap();
    assert!(report.is_valid(), "{:?}", report.problems);
    assert_eq!((report.checked.objects, report.checked.files), (2, 2));

    let file = bench.content_file(b"bad");
    std::fs::write(&file, b"bud").unwrap();
    let report = verify(&bench.installation, all.clone(), Box::new(|_| {})).await.unwrap();
    assert_eq!((report.is_valid(), report.invalid_objects, report.marked), (false, 1, 1));
    assert!(report.problems.iter().any(|problem| problem.code.to_string() == "E092"), "{:?}", report.problems);
    assert_eq!(bench.package_state(&bad).await, PackageState::Damaged);
    assert_eq!(bench.package_state(&good).await, PackageState::Preserved);
    let events = bench.administration.event_list(None, Some(&bad), 10).await.unwrap();
    assert!(events.iter().any(|event| event.kind == "fixity check" && !event.success));

    std::fs::write(&file, b"bad").unwrap();
    let one = VerifyCommand { package_id: Some(bad.clone()), structure_only: false };
    let report = verify(&bench.installation, one, Box::new(|_| {})).await.unwrap();
    assert_eq!((report.is_valid(), report.checked.objects, report.lifted), (true, 1, 1));
    let package = packages::get(&bench.installation.database, &bad).await.unwrap().unwrap();
    assert_eq!((package.state, package.verified), (PackageState::Preserved, Some(bench.clock.now())));
}

#[tokio::test]
async fn without_reading_content_nothing_counts_as_verified() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    std::fs::write(bench.content_file(b"p"), b"q").unwrap();
    let command = VerifyCommand { package_id: None, structure_only: true };
    let report = verify(&bench.installation, command, Box::new(|_| {})).await.unwrap();
    assert!(report.is_valid());
    let package = packages::get(&bench.installation.database, &package_id).await.unwrap().unwrap();
    assert_eq!(package.verified, None);
    let unknown = VerifyCommand { package_id: Some("none".to_owned()), structure_only: false };
    let refused = verify(&bench.installation, unknown, Box::new(|_| {})).await;
    assert!(matches!(refused, Err(VerifyError::PackageUnknown(_))), "{refused:?}");
}

#[tokio::test]
async fn what_looks_wrong_once_and_right_again_is_not_damage() {
    let bench = Bench::new().await;
    let source = bench.source("source", &[("a.txt", b"p"), ("z.bin", &vec![0; 40 << 20])]);
    let package_id = bench.ingest(&source, "p").await.unwrap().package_id;
    let file = bench.content_file(b"p");
    std::fs::write(&file, b"q").unwrap();
    let empty = bench.directory.path().join("data/archive/0");
    std::fs::create_dir(&empty).unwrap();
    // Progress is told while the large file is read: after the small one was, and before the object is judged.
    let repair = move |_| {
        std::fs::write(&file, b"p").unwrap();
        // Progress is told more than once.
        let _ = std::fs::remove_dir(&empty);
    };
    let report = verify(&bench.installation, VerifyCommand::default(), Box::new(repair)).await.unwrap();
    assert!(report.is_valid(), "{:?}", report.problems);
    assert_eq!((report.invalid_objects, report.marked), (0, 0));
    assert_eq!(bench.package_state(&package_id).await, PackageState::Preserved);
}

#[tokio::test]
async fn what_is_wrong_with_the_root_itself_is_told_and_marks_no_package() {
    let bench = Bench::new().await;
    let package_id = bench.package("p").await;
    std::fs::create_dir(bench.directory.path().join("data/archive/0")).unwrap();
    let report = verify(&bench.installation, VerifyCommand::default(), Box::new(|_| {})).await.unwrap();
    let codes: Vec<_> = report.problems.iter().map(|problem| problem.code.to_string()).collect();
    assert_eq!((codes, report.invalid_objects), (vec!["E073".to_owned(), "E088".to_owned()], 0));
    assert_eq!(bench.package_state(&package_id).await, PackageState::Preserved);
}
