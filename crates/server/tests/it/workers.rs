//! Answering and working in processes of their own: the real program, several times on one installation.

use std::time::Duration;

use dipper_core::administration::Administration;
use dipper_core::db::steps::{HeldStep, StepKind};
use dipper_core::installation::{Installation, Places};
use dipper_core::time::Clock;
use rustix::process::{Pid, Signal, WaitOptions, waitpid};
use serde_json::{Value, json};

use crate::cli_support::{Dipper, Ran, Running, run};
use crate::receiver::Receiver;
use crate::support::PATIENCE;

/// A worker that stalls is missed soon; one that runs is never missed, however busy the machine is.
const SOON: [(&str, &str); 2] = [("DIPPER_WORKER_LEASE_SECONDS", "2"), ("DIPPER_WORKER_HEARTBEAT_SECONDS", "1")];

/// A program, a server without a worker, and a hand in its catalogue.
struct Divided {
    dipper: Dipper,
    server: Running,
    url: String,
}

impl Divided {
    fn start(dipper: Dipper) -> Divided {
        let (server, url) = dipper.serve(&[("DIPPER_WORKER_ENABLED", "false")]);
        Divided { dipper, server, url }
    }

    /// Starts a worker; its name.
    fn worker(&self) -> (Running, String) {
        let mut command = self.dipper.command(&["worker", "--count", "1"]);
        command.envs(SOON).env("DIPPER_SERVER_PUBLIC_URL", &self.url).env("DIPPER_EGRESS_ALLOW", "127.0.0.1");
        let mut running = Running::start(command);
        let line = running.line();
        let name = line.strip_prefix("working as ").unwrap_or_else(|| panic!("{line:?}")).trim().to_owned();
        (running, name)
    }

    fn client(&self, arguments: &[&str]) -> Ran {
        run(self.dipper.client(&self.url, arguments))
    }

    fn order(&self, archive_id: &str) -> String {
        let ordered = self.client(&["order", archive_id, "--json"]).json(0);
        ordered["disseminationId"].as_str().expect("an identifier").to_owned()
    }

    fn status(&self, order_id: &str) -> Value {
        self.client(&["status", order_id, "--json"]).json(0)["status"].clone()
    }

    fn wait(&self, order_id: &str) {
        let waited = self.client(&["status", order_id, "--wait", "--timeout", "120", "--json"]).json(0);
        assert_eq!(waited["status"], "DISSEMINATED", "{waited}");
    }

    async fn administration(&self) -> Administration {
        let places = Places::new(&self.dipper.path("data"));
        let opened = Installation::open(places, Default::default(), Clock::system()).await.expect("opened");
        Administration::new(opened.into())
    }
}

#[test]
fn a_server_without_a_worker_leaves_the_work_to_others() {
    let divided = Divided::start(Dipper::with_client());
    let archive_id = divided.dipper.ingest("foto", b"white throat");
    let order_id = divided.order(&archive_id);
    let queue = divided.dipper.json(&["queue"]);
    assert_eq!((&queue["steps"][0]["state"], &queue["steps"][0]["count"]), (&json!("ready"), &json!(1)));
    assert_eq!(divided.status(&order_id), "RECEIVED");

    let (one, one_name) = divided.worker();
    let (other, other_name) = divided.worker();
    assert_ne!(one_name, other_name);
    divided.wait(&order_id);
    assert_eq!(divided.client(&["fetch", &order_id, "--json"]).code, 0);
    assert_eq!(divided.dipper.json(&["queue"]), json!({ "steps": [], "held": [], "recalls": [] }));
    for worker in [one, other] {
        let ended = worker.stop(Signal::TERM);
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    let order_id = divided.order(&divided.dipper.ingest("foto-2", b"black belly"));
    assert_eq!(divided.status(&order_id), "RECEIVED");
    assert_eq!(divided.server.stop(Signal::TERM).code, 0);
}

#[test]
fn a_worker_needs_an_installation_and_the_address_of_the_server() {
    let dipper = Dipper::new();
    let missing = dipper.run(&["worker"]);
    assert!(missing.error(4).contains("there is no installation"), "{missing:?}");
    let dipper = Dipper::with_client();
    let mut nowhere = dipper.command(&["worker"]);
    nowhere.env("DIPPER_SERVER_LISTEN", "127.0.0.1:0");
    let nowhere = run(nowhere);
    assert!(nowhere.code != 0 && nowhere.stderr.contains("server.public_url"), "{nowhere:?}");
}

/// The step of that kind that a worker holds, if it does.
async fn held(administration: &Administration, kind: StepKind, name: &str) -> Option<HeldStep> {
    let held = administration.step_held(10).await.expect("read");
    held.into_iter().find(|step| step.kind == kind && step.holder.starts_with(name))
}

/// Stops a process where it is, until it is told to go on.
fn suspend(running: &Running) {
    running.signal(Signal::STOP);
    let pid = i32::try_from(running.child.id()).ok().and_then(Pid::from_raw);
    waitpid(pid, WaitOptions::UNTRACED).expect("it is a child").expect("it has stopped");
}

/// Whether a process is in the middle of a write to a database on this machine: nobody else can write there until it
/// goes on.
fn is_writing(running: &Running) -> bool {
    let pid = running.child.id().to_string();
    let locks = std::fs::read_to_string("/proc/locks").expect("the locks of all processes");
    let is_its_own = |lock: &str| {
        let mut words = lock.split_whitespace();
        words.any(|word| word == "POSIX") && words.any(|word| word == "WRITE") && words.any(|word| word == pid)
    };
    locks.lines().any(is_its_own)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stalled_publishes_nothing_and_goes_on_with_other_work() {
    const LARGE: u64 = 256 << 20;
    let dipper = Dipper::with_client();
    let mut receiver = Receiver::start(&[]).await;
    let mut added = dipper.command(&["webhook", "add", "c1", &receiver.url]);
    added.env("DIPPER_EGRESS_ALLOW", "127.0.0.1");
    assert_eq!(run(added).code, 0);
    let large = dipper.write("large/file.bin", b"");
    std::fs::File::options().write(true).open(large).unwrap().set_len(LARGE).unwrap();
    let ingested = dipper.json(&["ingest", "large", "--contract", "2d17", "--object-id", "large"]);
    let archive_id = ingested["archiveId"].as_str().expect("an identifier").to_owned();
    let small = dipper.ingest("small", b"afterwards");
    let divided = Divided::start(dipper);
    let administration = divided.administration().await;

    let (stalled, stalled_name) = divided.worker();
    // It is stopped while it reads. Where it was stopped too late, or while it held the database, the next order is
    // tried.
    let mut orders = Vec::new();
    let order_id = loop {
        let order_id = divided.order(&archive_id);
        orders.push(order_id.clone());
        while held(&administration, StepKind::Prepare, &stalled_name).await.is_none() {
            tokio::task::yield_now().await;
        }
        suspend(&stalled);
        if !is_writing(&stalled) && held(&administration, StepKind::Prepare, &stalled_name).await.is_some() {
            break order_id;
        }
        stalled.signal(Signal::CONT);
        divided.wait(&order_id);
    };

    let (rescuer, rescuer_name) = divided.worker();
    assert_ne!(rescuer_name, stalled_name);
    divided.wait(&order_id);
    let ended = rescuer.stop(Signal::TERM);
    assert_eq!(ended.code, 0, "{ended:?}");
    let shown = divided.client(&["status", &order_id, "--json"]).json(0);

    // It wakes up, finds that the step is not its own any more, and takes the next one.
    stalled.signal(Signal::CONT);
    let next = divided.order(&small);
    orders.push(next.clone());
    divided.wait(&next);
    let again = divided.client(&["status", &order_id, "--json"]).json(0);
    let file = |shown: &Value| (shown["status"].clone(), shown["files"][0]["checksum"].clone());
    assert_eq!(file(&again), file(&shown));
    let events = divided.dipper.json(&["events", "--order", &order_id])["events"].clone();
    let delivered = events.as_array().expect("a list").iter().filter(|event| event["kind"] == "order delivered");
    assert_eq!(delivered.count(), 1, "{events}");

    // One notice for each order, under one identifier.
    let mut told = std::collections::BTreeMap::new();
    while told.len() < orders.len() {
        let message = tokio::time::timeout(PATIENCE.max(Duration::from_secs(60)), receiver.next()).await.expect("told");
        let order = message.json()["data"]["disseminationId"].as_str().expect("an id").to_owned();
        let id = message.id().to_owned();
        assert_eq!(told.entry(order).or_insert_with(|| id.clone()), &id);
    }
    assert_eq!(stalled.stop(Signal::TERM).code, 0);
    assert_eq!(divided.server.stop(Signal::TERM).code, 0);
}
