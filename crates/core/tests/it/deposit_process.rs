//! Deposits in a process of its own: killed at any moment it goes on where it was, and its memory does not grow with what
//! it fetches.

use std::path::Path;
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

use super::bench::{Bench, CONTRACT};
use super::deposit::{command, depositor, digest, registration};
use super::gateway::{Gateway, Trick};

/// Where the other process finds its installation.
const DATA: &str = "DIPPER_TEST_DATA";
const DATABASE: &str = "DIPPER_TEST_DATABASE";

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
    let places = Places { database, ..Places::new(Path::new(&data)) };
    let installation = Installation::open(places, settings(), Clock::system()).await.unwrap();
    let installation = Arc::new(installation);
    recovery::recover(&installation).await.unwrap();
    Worker::new(installation).run(CancellationToken::new(), Duration::ZERO).await;
}

/// Another process that works for the bench's installation. It is killed with this.
struct Process(Child);

impl Process {
    fn start(bench: &Bench) -> Process {
        let (_, module) = module_path!().split_once("::").unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("{module}::the_worker"), "--ignored"]);
        command.env(DATA, bench.directory.path().join("data"));
        if let Some(database) = &bench.database {
            command.env(DATABASE, database.url());
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
    assert!(peak < 400 << 10, "{peak} KiB");
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
