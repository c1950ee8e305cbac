//! Lists that contracts leave in their incoming directories: the answer appears in the outgoing one, whole, within its quota.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dipper_core::area::sweep::AreaSweeper;
use dipper_core::db::submissions::{self, Submission, SubmissionFilter, SubmissionState};
use dipper_core::incoming::{List, ListError, ListReader, PickedUp, Pickup};
use dipper_core::settings::{AreaSettings, Settings};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, CLIENT, CONTRACT, files_below};

/// Answers in capitals.
#[derive(Debug)]
struct Loud;

impl ListReader for Loud {
    fn takes(&self, name: &str) -> bool {
        name.ends_with(".list")
    }

    fn longest_bytes(&self) -> u64 {
        100
    }

    fn answer<'a>(&'a self, list: List<'a>) -> BoxFuture<'a, Result<Vec<u8>, ListError>> {
        Box::pin(async move {
            assert_eq!(list.contract_id, CONTRACT);
            match list.bytes {
                b"wrong" => Err(ListError::Refused("that is no list".to_owned())),
                b"later" => Err(ListError::Passing("not now".to_owned())),
                bytes => Ok(bytes.to_ascii_uppercase()),
            }
        })
    }
}

async fn bench() -> Bench {
    let area = AreaSettings { settle: Duration::ZERO, ..AreaSettings::default() };
    Bench::with(Settings { worker_count: 1, area, ..Settings::default() }).await
}

async fn pass(bench: &Bench) -> PickedUp {
    let pickup = Pickup::new(Arc::clone(&bench.installation)).reading(Arc::new(Loud));
    pickup.pass(&CancellationToken::new()).await.unwrap()
}

fn leave(bench: &Bench, name: &str, bytes: &[u8]) -> PathBuf {
    let path = bench.installation.areas.ensure(CONTRACT).unwrap().incoming().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn outgoing(bench: &Bench, name: &str) -> Option<String> {
    let path = bench.installation.areas.ensure(CONTRACT).unwrap().outgoing().join(name);
    std::fs::read_to_string(path).ok()
}

async fn list(bench: &Bench) -> Vec<Submission> {
    let filter = SubmissionFilter { limit: 100, ..SubmissionFilter::default() };
    bench.intake.submission_list(&bench.reader(CLIENT), &filter).await.unwrap()
}

const ONE: PickedUp = PickedUp { ingested: 0, answered: 1, refused: 0, postponed: 0 };
const ONE_REFUSED: PickedUp = PickedUp { ingested: 0, answered: 0, refused: 1, postponed: 0 };
const ONE_POSTPONED: PickedUp = PickedUp { ingested: 0, answered: 0, refused: 0, postponed: 1 };

#[tokio::test]
async fn the_answer_lies_in_outgoing_until_its_time_is_over() {
    let bench = bench().await;
    let path = leave(&bench, "a.list", b"one");
    assert_eq!(pass(&bench).await, ONE);
    assert_eq!((outgoing(&bench, "a.list").as_deref(), path.exists()), (Some("ONE"), false));
    assert_eq!(list(&bench).await[0].state, SubmissionState::Answered);
    leave(&bench, "a.list", b"another");
    assert_eq!(pass(&bench).await, ONE);
    assert_eq!(outgoing(&bench, "a.list").as_deref(), Some("ANOTHER"));
    // Nothing of it is left elsewhere.
    let areas = files_below(bench.installation.areas.root());
    assert_eq!(areas.len(), 1, "{areas:?}");

    let sweeper = AreaSweeper::new(Arc::clone(&bench.installation));
    assert_eq!(sweeper.sweep().await.unwrap().removed, 0);
    let now = bench.clock.now();
    assert!(bench.intake.area_fetched(CONTRACT, "a.list", now).await.unwrap());
    bench.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(sweeper.sweep().await.unwrap().removed, 1);
    assert_eq!(outgoing(&bench, "a.list"), None);
}

#[tokio::test]
async fn a_list_that_cannot_be_answered_goes_back_or_waits() {
    let bench = bench().await;
    let wrong = leave(&bench, "wrong.list", b"wrong");
    let long = leave(&bench, "long.list", &[b'x'; 101]);
    assert_eq!(pass(&bench).await, PickedUp { refused: 2, ..PickedUp::default() });
    for (path, reason) in [(&wrong, "that is no list"), (&long, "101 bytes")] {
        assert!(path.exists());
        let report = std::fs::read_to_string(format!("{}.report.txt", path.display())).unwrap();
        assert!(report.contains(reason), "{report}");
    }
    leave(&bench, "later.list", b"later");
    assert_eq!(pass(&bench).await, ONE_POSTPONED);
    let waiting = list(&bench).await.pop().unwrap();
    assert_eq!((waiting.state, waiting.reason.as_deref()), (SubmissionState::Waiting, Some("not now")));
}

#[tokio::test]
async fn an_answer_for_which_there_is_no_room_is_refused_until_there_is() {
    let bench = bench().await;
    let quota = |bytes: Option<u64>| bench.administration.contract_quota_set(CONTRACT, bytes);
    quota(Some(5)).await.unwrap();
    leave(&bench, "a.list", b"12345");
    assert_eq!(pass(&bench).await, ONE);
    let path = leave(&bench, "b.list", b"1");
    assert_eq!(pass(&bench).await, ONE_REFUSED);
    let report = format!("{}.report.txt", path.display());
    assert!(std::fs::read_to_string(&report).unwrap().contains("may hold 5 bytes"));
    assert_eq!(outgoing(&bench, "b.list"), None);
    quota(Some(6)).await.unwrap();
    std::fs::remove_file(&report).unwrap();
    assert_eq!(pass(&bench).await, ONE);
    assert_eq!(outgoing(&bench, "b.list").as_deref(), Some("1"));
}

#[tokio::test]
async fn a_crash_anywhere_answers_the_list_once_more() {
    for staged in [false, true] {
        for renamed in [false, true] {
            let bench = bench().await;
            let path = leave(&bench, "a.list", b"one");
            let stop = CancellationToken::new();
            stop.cancel();
            // Noted, and not begun.
            let pickup = Pickup::new(Arc::clone(&bench.installation)).reading(Arc::new(Loud));
            assert_eq!(pickup.pass(&stop).await.unwrap(), PickedUp::default());
            let noted = list(&bench).await.pop().unwrap();
            assert!(submissions::take(&bench.installation.database, &noted.id, "dead", noted.created).await.unwrap());
            let areas = bench.installation.areas.root();
            let shelf = areas.join(".incoming").join(CONTRACT).join(&noted.id);
            std::fs::create_dir_all(&shelf).unwrap();
            std::fs::rename(&path, shelf.join("a.list")).unwrap();
            if staged {
                std::fs::create_dir_all(areas.join(".staging")).unwrap();
                std::fs::write(areas.join(".staging").join(format!("{}.list", noted.id)), b"half").unwrap();
            }
            if renamed {
                let outgoing = bench.installation.areas.ensure(CONTRACT).unwrap().outgoing();
                std::fs::write(outgoing.join("a.list"), b"ONE").unwrap();
            }
            assert_eq!(pass(&bench).await, ONE);
            assert_eq!(outgoing(&bench, "a.list").as_deref(), Some("ONE"));
            assert_eq!(files_below(areas).len(), 1);
        }
    }
}
