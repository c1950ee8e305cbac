//! Deposits in a process of its own: killed at any moment it goes on where it was, and its memory does not grow with what
//! it fetches.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dipper_archive::digest::Algorithm;
use dipper_core::db::Server;
use dipper_core::db::deposits::{DepositView, FileState};
use dipper_core::deposit::DepositedFile;
use dipper_core::installation::{Installation, Places};
use dipper_core::order::OrderState;
use dipper_core::recovery;
use dipper_core::settings::{DepositSettings, Settings};
use dipper_core::time::Clock;
use dipper_core::worker::Worker;
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, CONTRACT, places};
use super::deposit::{command, depositor, digest, registration};
use super::gateway::{Gateway, Trick};
use super::nginx::Nginx;
use crate::glacier::Glacier;
use crate::s3::settings_at;

const PREFIX: &str = "r";

/// Where the other process finds its installation.
const DATA: &str = "DIPPER_TEST_DATA";
const DATABASE: &str = "DIPPER_TEST_DATABASE";
/// The server of the bucket with its archive, if that is in one.
const BUCKET: &str = "DIPPER_TEST_BUCKET";

/// A worker that was killed is missed soon. The clocks of the two processes are far apart.
fn settings() -> Settings {
    let deposit = DepositSettings { give_up: Duration::from_secs(1 << 30), ..DepositSettings::default() };
    Settings {
        egress_allow: vec!["127.0.0.1".to_owned()],
        deposit,
        lease: Duration::from_secs(1),
        heartbeat: Duration::from_millis(300),
        max_attempts: 100,
        ..Settings::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as a process of the tests below"]
async fn the_worker() {
    let Ok(data) = std::env::var(DATA) else { return };
    let database = std::env::var(DATABASE).ok().map(|url| Server::new(&url).unwrap());
    let archive_bucket = std::env::var(BUCKET).ok().map(|endpoint| settings_at(&endpoint, PREFIX));
    let places = Places { database, archive_bucket, ..Places::new(Path::new(&data)) };
    let installation = Installation::open(places, settings(), Clock::system()).await.unwrap();
    let installation = Arc::new(installation);
    recovery::recover(&installation).await.unwrap();
    Worker::new(installation).run(CancellationToken::new(), Duration::ZERO).await;
}

/// Another process that works for the bench's installation. It is killed with this.
struct Process(Child);

impl Process {
    fn start(bench: &Bench) -> Process {
        Process::start_on(bench, None)
    }

    fn start_on(bench: &Bench, bucket: Option<&Glacier>) -> Process {
        let (_, module) = module_path!().split_once("::").unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("{module}::the_worker"), "--ignored"]);
        command.env(DATA, bench.directory.path().join("data"));
        if let Some(database) = &bench.database {
            command.env(DATABASE, database.url());
        }
        if let Some(bucket) = bucket {
            command.env(BUCKET, bucket.server.endpoint());
        }
        Process(command.stdout(Stdio::null()).spawn().unwrap())
    }

    /// The most memory that it has had, in KiB.
    fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn bench() -> (Bench, Gateway) {
    let (bench, gateway) = (Bench::with(settings()).await, Gateway::new().await);
    let caller = depositor(CONTRACT);
    bench.intake.gateway_register(&caller, CONTRACT, registration(&gateway.url())).await.unwrap();
    (bench, gateway)
}

async fn view(bench: &Bench) -> DepositView {
    bench.intake.deposit_view(&depositor(CONTRACT), CONTRACT, "fg").await.unwrap()
}

async fn until_stored(bench: &Bench) -> DepositView {
    loop {
        let found = view(bench).await;
        if found.order.state == OrderState::Stored {
            return found;
        }
        assert!(!found.order.state.is_finished(), "{:?}", found.order.failure);
        tokio::task::yield_now().await;
    }
}

/// Deposits as many files as `names`, each with its name as its content.
async fn deposit_names(bench: &Bench, names: impl Iterator<Item = String>) {
    let mut wanted = command("fg", "1", &[]);
    let file = |name: String| DepositedFile {
        size: Some(name.len() as u64),
        checksums: vec![(Algorithm::Md5, digest(Algorithm::Md5, name.as_bytes()))],
        id: format!("{}/{name}", &name[..2]),
    };
    wanted.entries[0].files = names.map(file).collect();
    bench.intake.deposit(&depositor(CONTRACT), wanted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_a_deposit_goes_on() {
    const FILES: usize = 400;
    let (bench, gateway) = bench().await;
    gateway.has_everything();
    deposit_names(&bench, (0..FILES).map(|number| format!("{number:04}"))).await;
    // At the beginning, in the middle, when all is asked for, and just as it becomes a version.
    for after in [1, FILES / 3, FILES - 50, FILES] {
        let asked = gateway.count();
        let process = Process::start(&bench);
        while gateway.count() < asked + after && view(&bench).await.order.state != OrderState::Stored {
            tokio::task::yield_now().await;
        }
        drop(process);
    }
    let process = Process::start(&bench);
    while view(&bench).await.order.state < OrderState::Storing {
        tokio::task::yield_now().await;
    }
    drop(process);
    let _process = Process::start(&bench);
    let stored = until_stored(&bench).await;
    assert_eq!((stored.deposit.version, stored.deposit.retrieved), (Some(1), FILES as u64));
    let files = bench.intake.deposit_files(&stored, 0, 1000).await.unwrap();
    assert!(files.len() == FILES && files.iter().all(|file| file.state == FileState::Retrieved));
    let object = bench.installation.archive.object("urn:dipper:2d17:fg").unwrap();
    assert_eq!((object.inventory().versions().len(), object.inventory().manifest_len()), (1, FILES));
    for file in object.inventory().files(1) {
        let mut bytes = Vec::new();
        object.copy_verified(&file, &mut bytes).unwrap();
        assert!(file.logical_path.ends_with(std::str::from_utf8(&bytes).unwrap()));
    }
}

/// Files below a directory with their lengths. What is removed meanwhile is left out.
fn lengths(directory: &Path) -> Vec<(PathBuf, u64)> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let found = entries.filter_map(|entry| Some(entry.ok()?.path())).map(|path| match path.is_dir() {
        true => lengths(&path),
        false => path.metadata().map(|found| vec![(path, found.len())]).unwrap_or_default(),
    });
    found.flatten().collect()
}

/// Bytes that differ everywhere.
fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|number| ((number % 251) ^ (number >> 16)) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_file_goes_on_where_it_was_when_its_process_was_killed() {
    const LEAST: usize = 11 << 20;
    let (bench, nginx) = (Bench::with(settings()).await, Nginx::start().await);
    let (caller, large) = (depositor(CONTRACT), noise(30 << 20));
    nginx.has("fg/large", &large);
    bench.intake.gateway_register(&caller, CONTRACT, registration(&nginx.url("half"))).await.unwrap();
    bench.intake.deposit(&caller, command("fg", "1", &[("large", &large)])).await.unwrap();
    let process = Process::start(&bench);
    let staging = bench.directory.path().join("data/staging");
    while !lengths(&staging).iter().any(|(_, len)| *len >= LEAST as u64) {
        tokio::task::yield_now().await;
    }
    drop(process);
    bench.intake.gateway_register(&caller, CONTRACT, registration(&nginx.url("files"))).await.unwrap();
    let _process = Process::start(&bench);
    let stored = until_stored(&bench).await;
    assert_eq!(stored.deposit.done_bytes, large.len() as u64);
    let rest = nginx.log("home", "206", 1).await;
    let from: Vec<usize> =
        rest.iter().filter_map(|line| line.split_once("bytes=")?.1.split_once('-')?.0.parse().ok()).collect();
    assert!(from.len() == 1 && from[0] >= LEAST, "{rest:?}");
    let object = bench.installation.archive.object("urn:dipper:2d17:fg").unwrap();
    let mut bytes = Vec::new();
    object.copy_verified(&object.inventory().file(1, "large").unwrap(), &mut bytes).unwrap();
    assert!(bytes == large);
    assert_eq!(lengths(&staging.join("drafts")), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_into_a_bucket_is_never_whole_on_a_local_disk_and_survives_being_killed() {
    let server = Glacier::start();
    let directory = tempfile::tempdir().unwrap();
    let (places, database) = places(&directory.path().join("data")).await;
    let places = Places { archive_bucket: Some(server.settings(PREFIX)), ..places };
    let (bench, gateway) = (Bench::at(settings(), directory, places, database).await, Gateway::new().await);
    let caller = depositor(CONTRACT);
    bench.intake.gateway_register(&caller, CONTRACT, registration(&gateway.url())).await.unwrap();
    let large = noise(64 << 20);
    let files: [(&str, &[u8]); 3] = [("first", &large), ("second", &large[1..]), ("third", b"third")];
    files.iter().for_each(|(path, bytes)| gateway.has(&format!("fg/{path}"), bytes));
    // It is asked for at once, and comes never.
    gateway.will("fg/third", Trick::Hang(Arc::default()));
    bench.intake.deposit(&caller, command("fg", "1", &files)).await.unwrap();
    let process = Process::start_on(&bench, Some(&server));
    let staging = bench.directory.path().join("data/staging");
    let (mut most, mut noted) = (0, 0);
    while noted < 2 {
        let found = lengths(&staging);
        most = most.max(found.iter().map(|(_, len)| len).sum());
        let journal = found.iter().find(|(path, _)| path.ends_with("journal.jsonl"));
        noted = journal.map_or(0, |(path, _)| std::fs::read_to_string(path).unwrap_or_default().lines().count());
        tokio::task::yield_now().await;
    }
    drop(process);
    eprintln!("at most {most} bytes were on the local disk");
    assert!(most < 12 << 20, "{most}");
    let _process = Process::start_on(&bench, Some(&server));
    let stored = until_stored(&bench).await;
    assert_eq!((stored.deposit.version, stored.deposit.retrieved), (Some(1), 3));
    let asked = |path: &str| gateway.requests().iter().filter(|found| found.target.contains(path)).count();
    assert_eq!((asked("first"), asked("second"), asked("third")), (1, 1, 2));
    assert_eq!(lengths(&staging.join("drafts")), []);
    let (archive, expected) = (Arc::clone(&bench.installation.archive), large.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let object = archive.object("urn:dipper:2d17:fg").unwrap();
        for (path, expected) in [("first", &expected[..]), ("second", &expected[1..]), ("third", b"third")] {
            let mut bytes = Vec::new();
            object.copy_verified(&object.inventory().file(1, path).unwrap(), &mut bytes).unwrap();
            assert!(bytes == expected, "{path}");
        }
    });
    reading.await.unwrap();
    let stored =
        lengths(&server.objects(PREFIX)).into_iter().filter(|(path, _)| path.to_str().unwrap().contains("/content/"));
    assert_eq!((stored.count(), server.server.unfinished()), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: a hundred thousand files"]
async fn a_hundred_thousand_files_in_flat_memory() {
    const FILES: usize = 100_000;
    let (bench, gateway) = bench().await;
    gateway.has_everything();
    let began = Instant::now();
    deposit_names(&bench, (0..FILES).map(|number| format!("{number:06}"))).await;
    eprintln!("accepted in {:?}", began.elapsed());
    let began = Instant::now();
    let process = Process::start(&bench);
    let (mut slowest, mut answers) = (Duration::ZERO, 0);
    // As a client that asks again and again.
    let mut asking = tokio::time::interval(Duration::from_millis(100));
    loop {
        asking.tick().await;
        let asked = Instant::now();
        let found = view(&bench).await;
        slowest = slowest.max(asked.elapsed());
        answers += 1;
        if found.order.state == OrderState::Stored {
            break;
        }
        assert!(!found.order.state.is_finished(), "{:?}", found.order.failure);
    }
    let peak = process.peak_kib();
    eprintln!("stored in {:?}, peak {peak} KiB, slowest of {answers} answers {slowest:?}", began.elapsed());
    assert!(peak < 200 << 10, "{peak} KiB");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes gigabytes: one large file"]
async fn one_large_file_in_flat_memory() {
    const LEN: u64 = 3 << 30;
    let (bench, gateway) = bench().await;
    gateway.has("fg/large", b"");
    gateway.will("fg/large", Trick::Zeros(LEN));
    let mut hasher = dipper_archive::digest::Hasher::new(Algorithm::Md5);
    let block = vec![0; 1 << 20];
    (0..LEN >> 20).for_each(|_| hasher.update(&block));
    let mut wanted = command("fg", "1", &[("large", b"")]);
    wanted.entries[0].files[0].checksums = vec![(Algorithm::Md5, hasher.finish().to_string())];
    bench.intake.deposit(&depositor(CONTRACT), wanted).await.unwrap();
    let began = Instant::now();
    let process = Process::start(&bench);
    let stored = until_stored(&bench).await;
    let peak = process.peak_kib();
    eprintln!("{LEN} bytes stored in {:?}, peak {peak} KiB", began.elapsed());
    assert_eq!(stored.deposit.done_bytes, LEN);
    assert!(peak < 100 << 10, "{peak} KiB");
}
