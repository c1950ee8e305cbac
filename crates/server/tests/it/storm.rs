//! The storm: two servers and three workers carry out the orders of twenty contracts while workers are killed, stopped
//! past their leases and continued, the database is restarted, and the storage goes away. In the end every order is
//! delivered exactly once as far as any client can see. A short one runs with every test; the whole one has two thousand
//! orders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dipper_core::administration::Administration;
use dipper_core::db::{Database, sql};
use dipper_core::ingest::{IngestCommand, IngestControl, ingest};
use dipper_core::installation::Installation;
use dipper_core::settings::Settings as CoreSettings;
use dipper_core::store::sweep::Sweeper;
use dipper_core::{Grants, Role};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fleet::Fleet;
use crate::receiver::{Manner, Receiver};
use crate::store::md5;
use crate::support::DPS;

/// A file of the storage root, in the bucket of the fleet.
const LAYOUT: &str = "storm/archive/ocfl_layout.json";
const CONTRACTS: usize = 20;
const SERVERS: usize = 2;
const WORKERS: usize = 3;

/// How much there is of a storm.
#[derive(Clone, Copy)]
struct Scale {
    /// In each contract; every client orders every package of its contract.
    packages: usize,
    clients: usize,
    /// A disturbance comes each time that so many more orders have been told of.
    calm: usize,
}

/// Enough for each disturbance once.
const SHORT: Scale = Scale { packages: 2, clients: 2, calm: 12 };
const WHOLE: Scale = Scale { packages: 10, clients: 10, calm: 150 };

impl Scale {
    const fn orders(self) -> usize {
        CONTRACTS * self.packages * self.clients
    }
}

/// How many contracts are set up, and how many clients fetch, at the same time.
const AT_ONCE: usize = 4;
/// The longest that the fleet may tell nothing: all orders are taken in before the first is carried out.
const PATIENCE: Duration = Duration::from_secs(300);

/// What every process is told: a worker that is gone is missed soon, and remains are looked for often.
const SETTINGS: [(&str, &str); 9] = [
    ("egress.allow", "127.0.0.1"),
    ("worker.count", "2"),
    ("worker.lease_seconds", "3"),
    ("worker.heartbeat_seconds", "1"),
    ("worker.backoff_seconds", "1"),
    ("worker.max_backoff_seconds", "2"),
    ("worker.max_attempts", "100"),
    ("webhook.timeout_seconds", "5"),
    ("log.level", "error"),
];

/// What happens to the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Disturbance {
    WorkerKilled,
    WorkerStalled,
    ServerKilled,
    DatabaseRestarted,
    StorageAway,
}

const DISTURBANCES: [Disturbance; 8] = [
    Disturbance::WorkerKilled,
    Disturbance::WorkerStalled,
    Disturbance::DatabaseRestarted,
    Disturbance::StorageAway,
    Disturbance::ServerKilled,
    Disturbance::WorkerKilled,
    Disturbance::WorkerStalled,
    Disturbance::WorkerKilled,
];

/// A client and what it was promised.
struct Client {
    http: reqwest::Client,
    servers: Arc<Vec<String>>,
    id: String,
    secret: String,
    token: String,
    packages: Vec<String>,
}

impl Client {
    async fn sign_in(&mut self) {
        let form = [("grant_type", "client_credentials"), ("client_id", &self.id), ("client_secret", &self.secret)];
        let answer =
            self.http.post(format!("{}/oauth2/token", self.servers[0])).form(&form).send().await.expect("sent");
        let answer: Value = answer.json().await.expect("JSON");
        self.token = answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    }

    /// Orders every package, with the patience of a client that is written for a service that may be away; the orders
    /// with their packages.
    async fn order_all(self, seed: u64) -> (Client, BTreeMap<String, String>) {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut orders = BTreeMap::new();
        for package in self.packages.clone() {
            let priority = random.random_range(1..=100);
            let id = loop {
                let server = &self.servers[random.random_range(0..self.servers.len())];
                if let Some(id) = self.order(server, &package, priority).await {
                    break id;
                }
                // The answer was lost or an excuse. What was asked for may stand all the same.
                tokio::task::yield_now().await;
                if let Some(id) = self.find(server, &package).await {
                    break id;
                }
            };
            orders.insert(id, package);
        }
        (self, orders)
    }

    /// `None` when there was no answer, or the server is away for a while.
    async fn order(&self, server: &str, package: &str, priority: u32) -> Option<String> {
        let body = json!({ "archiveId": package, "priority": priority });
        let request = self.http.post(format!("{server}{DPS}/disseminations")).bearer_auth(&self.token).json(&body);
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.ok()?;
        match status {
            201 => body["disseminationId"].as_str().map(str::to_owned),
            // From a request that had no answer.
            409 => body["error"]["details"].as_str().map(str::to_owned),
            429 | 500..=599 => None,
            _ => panic!("{status}: {body}"),
        }
    }

    /// The order of a package that stands although its answer was lost.
    async fn find(&self, server: &str, package: &str) -> Option<String> {
        let found = self.get(server, &format!("/disseminations?archiveId={package}")).await?;
        found["disseminations"][0]["disseminationId"].as_str().map(str::to_owned)
    }

    async fn get(&self, server: &str, path: &str) -> Option<Value> {
        let request = self.http.get(format!("{server}{DPS}{path}")).bearer_auth(&self.token);
        request.send().await.ok()?.error_for_status().ok()?.json().await.ok()
    }
}

/// What a package holds, by the names of its files.
type Files = BTreeMap<String, Vec<u8>>;

/// Writes the files of a package: most are small, some are several parts of an upload.
fn source(directory: &Path, number: usize, random: &mut SmallRng) -> Files {
    let mut files = Files::new();
    for file in 0..random.random_range(1..5) {
        // From 1 byte to 64 KiB, each size as likely on a logarithmic scale.
        let len = 2_f64.powf(random.random_range(0.0..16.0)) as usize;
        let mut bytes = vec![0; len];
        random.fill_bytes(&mut bytes);
        files.insert(format!("content/{file}.bin"), bytes);
    }
    if number.is_multiple_of(40) {
        let mut bytes = vec![0; 6 << 20];
        random.fill_bytes(&mut bytes);
        files.insert("content/large.bin".to_owned(), bytes);
    }
    std::fs::create_dir_all(directory.join("content")).expect("made");
    for (name, bytes) in &files {
        std::fs::write(directory.join(name), bytes).expect("written");
    }
    files
}

/// What was set up before the storm.
struct Archive {
    clients: Vec<Client>,
    contents: BTreeMap<String, Files>,
}

/// Twenty contracts with packages and clients that want a notice of everything.
async fn set_up(
    scale: Scale,
    fleet: &Fleet,
    installation: &Arc<Installation>,
    hook: &str,
    random: &mut SmallRng,
) -> Archive {
    let servers = Arc::new(fleet.servers.iter().map(|server| format!("http://{}", server.address)).collect::<Vec<_>>());
    let one_http = reqwest::Client::new();
    let contracts = (0..CONTRACTS).map(|number| {
        let (servers, http, seed) = (Arc::clone(&servers), one_http.clone(), random.random());
        let (installation, hook) = (Arc::clone(installation), hook.to_owned());
        let sources = fleet.directory.path().join("sources");
        async move { set_up_contract(number, scale, &installation, &hook, &sources, seed, servers, http).await }
    });
    let mut archive = Archive { clients: Vec::new(), contents: BTreeMap::new() };
    for Archive { clients, contents } in at_once(contracts).await {
        archive.clients.extend(clients);
        archive.contents.extend(contents);
    }
    archive
}

#[allow(clippy::too_many_arguments, reason = "all of it is what one contract is set up with")]
async fn set_up_contract(
    number: usize,
    scale: Scale,
    installation: &Arc<Installation>,
    hook: &str,
    sources: &Path,
    seed: u64,
    servers: Arc<Vec<String>>,
    http: reqwest::Client,
) -> Archive {
    let administration = Administration::new(Arc::clone(installation));
    let mut random = SmallRng::seed_from_u64(seed);
    let mut archive = Archive { clients: Vec::new(), contents: BTreeMap::new() };
    let contract_id = format!("contract-{number}");
    administration.contract_add(&contract_id).await.expect("added");
    let mut packages = Vec::new();
    for package in 0..scale.packages {
        let object_id = format!("package-{package}");
        let path = sources.join(&contract_id).join(&object_id);
        let files = source(&path, number * scale.packages + package, &mut random);
        let command = IngestCommand { path, contract_id: contract_id.clone(), object_id, ..Default::default() };
        let ingested = ingest(installation, command, IngestControl::default()).await.expect("ingested");
        archive.contents.insert(ingested.package_id.clone(), files);
        packages.push(ingested.package_id);
    }
    for client in 0..scale.clients {
        let id = format!("client-{number}-{client}");
        let grants: Grants = [(contract_id.clone(), Role::Read)].into_iter().collect();
        let secret = administration.client_add(&id, &grants).await.expect("added").reveal().to_owned();
        administration.webhook_add(&id, hook).await.expect("added");
        let (http, servers, packages) = (http.clone(), Arc::clone(&servers), packages.clone());
        let mut client = Client { http, servers, id, secret, token: String::new(), packages };
        client.sign_in().await;
        archive.clients.push(client);
    }
    archive
}

/// Carries out tasks, some at a time; what they give.
async fn at_once<T: Send + 'static>(tasks: impl Iterator<Item: Future<Output = T> + Send + 'static>) -> Vec<T> {
    let (mut running, mut done) = (JoinSet::new(), Vec::new());
    for task in tasks {
        if running.len() >= AT_ONCE {
            done.extend(running.join_next().await.map(|ended| ended.expect("it does not panic")));
        }
        running.spawn(task);
    }
    done.extend(running.join_all().await);
    done
}

/// What the receiver has heard.
#[derive(Default)]
struct Heard {
    /// The identifiers of the notices of each order.
    notices: BTreeMap<String, BTreeSet<String>>,
    messages: usize,
}

impl Heard {
    async fn hear(&mut self, receiver: &mut Receiver) {
        let message = receiver.next_within(PATIENCE).await;
        let body = message.json();
        assert_eq!(body["type"], "dissemination.delivered", "{body}");
        let order = body["data"]["disseminationId"].as_str().expect("an id").to_owned();
        self.notices.entry(order).or_default().insert(message.id().to_owned());
        self.messages += 1;
    }
}

const WAITING: &str = "SELECT COUNT(*) AS n FROM steps WHERE state = 'waiting'";
const UNDER_WAY: &str = "SELECT COUNT(*) AS n FROM steps WHERE state IN ('ready', 'leased')";

async fn count(database: &Database, query: &'static str) -> u64 {
    database.row(sql(query)).await.expect("an answer").expect("a row").count("n").expect("a number")
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < Duration::from_secs(90), "{what}: that did not come about");
        tokio::task::yield_now().await;
    }
}

/// Disturbs the fleet once.
async fn disturb(fleet: &mut Fleet, what: Disturbance, installation: &Installation, random: &mut SmallRng) {
    match what {
        Disturbance::WorkerKilled => fleet.replace_worker(random.random_range(0..WORKERS)),
        Disturbance::ServerKilled => fleet.replace_server(random.random_range(0..SERVERS)),
        Disturbance::DatabaseRestarted => fleet.cluster.control(&["restart", "-m", "immediate"]),
        Disturbance::StorageAway => {
            fleet.seaweed.go_away();
            // Until somebody has met the closed door and put a step off, unless nobody has to go through it any more.
            until("a step is put off", async || {
                count(&installation.database, WAITING).await > 0 || count(&installation.database, UNDER_WAY).await == 0
            })
            .await;
            fleet.seaweed.come_back();
            // It lists sooner than it reads; whoever starts a process meanwhile starts it again.
            until("what is stored can be read", async || fleet.seaweed.reads(LAYOUT)).await;
        }
        Disturbance::WorkerStalled => {
            let worker = random.random_range(0..WORKERS);
            fleet.workers[worker].running.signal(Signal::STOP);
            // The others take over what it held once its leases are over.
            until("its steps are taken over", async || !fleet.holds_steps(&installation.database, worker).await).await;
            fleet.workers[worker].running.signal(Signal::CONT);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_the_fleet_every_order_is_delivered_exactly_once() {
    weather(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes several minutes and both cores: cargo test -p dipper --test it -- --ignored storm --nocapture"]
async fn two_thousand_orders_are_delivered_exactly_once() {
    weather(WHOLE).await;
}

#[allow(clippy::print_stdout, reason = "the scenario prints its figures")]
async fn weather(scale: Scale) {
    let seed: u64 = std::env::var("STORM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("STORM_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut fleet = Fleet::new(&SETTINGS).await;
    let installation = fleet.installation(|_| {}).await;
    let mut receiver = Receiver::start(&[Manner::Answer(500); 25]).await;
    for _ in 0..SERVERS {
        fleet.add_server();
    }
    let setting_up = Instant::now();
    let archive = set_up(scale, &fleet, &installation, &receiver.url, &mut random).await;
    for _ in 0..WORKERS {
        fleet.add_worker();
    }

    println!("set up in {:.1} s", setting_up.elapsed().as_secs_f64());

    let began = Instant::now();
    let mut ordering = JoinSet::new();
    for client in archive.clients {
        ordering.spawn(client.order_all(random.random()));
    }
    let mut ordered = Vec::new();
    let mut heard = Heard::default();
    let mut disturbances: Vec<Disturbance> = Vec::new();
    while heard.notices.len() < scale.orders() {
        tokio::select! {
            () = heard.hear(&mut receiver) => {}
            Some(done) = ordering.join_next() => ordered.push(done.expect("a client orders to its end")),
        }
        if heard.notices.len() > scale.calm * (disturbances.len() + 1)
            && heard.notices.len() < scale.orders() - scale.calm
        {
            let what = DISTURBANCES[disturbances.len() % DISTURBANCES.len()];
            println!("{:>6.1} s: {} orders are told of; {what:?}", began.elapsed().as_secs_f64(), heard.notices.len());
            disturb(&mut fleet, what, &installation, &mut random).await;
            disturbances.push(what);
        }
    }
    let took = began.elapsed();
    ordered.extend(ordering.join_all().await);

    let confirmed: BTreeSet<String> = ordered.iter().flat_map(|(_, orders)| orders.keys().cloned()).collect();
    assert_eq!(confirmed.len(), scale.orders());
    let strangers: Vec<_> = heard.notices.keys().filter(|order| !confirmed.contains(*order)).collect();
    assert!(strangers.is_empty(), "notices of orders that nobody made: {strangers:?}");
    let twice: Vec<_> = heard.notices.iter().filter(|(_, ids)| ids.len() != 1).collect();
    assert!(twice.is_empty(), "two identifiers for one notice: {twice:?}");
    remains_are_cleared(&fleet, &confirmed).await;
    let verifying = Instant::now();
    let bytes = fetch_all(ordered, archive.contents, fleet.directory.path()).await;
    println!("fetched in {:.1} s", verifying.elapsed().as_secs_f64());
    for process in fleet.servers.iter_mut().chain(&mut fleet.workers) {
        assert!(process.running.child.try_wait().expect("asked").is_none(), "a process that nobody killed has ended");
    }
    let verified = fleet.command(&["--json", "verify"], "setup").output().expect("the program runs");
    let report: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert_eq!(report["valid"], true, "{report}");

    let again = count(&installation.database, "SELECT COUNT(*) AS n FROM steps WHERE attempts > 1").await;
    let mut kinds: BTreeMap<Disturbance, usize> = BTreeMap::new();
    for what in &disturbances {
        *kinds.entry(*what).or_default() += 1;
    }
    let (orders, seconds) = (scale.orders(), took.as_secs_f64());
    println!("{orders} orders of {CONTRACTS} contracts, {bytes} bytes delivered, in {seconds:.1} s");
    println!("disturbances: {kinds:?}");
    println!("steps that were tried more than once: {again}; messages to the receiver: {}", heard.messages);
}

/// Has the store swept as if all ages were over, and looks what is left: one object for each order, and no upload.
async fn remains_are_cleared(fleet: &Fleet, confirmed: &BTreeSet<String>) {
    let ages = |settings: &mut CoreSettings| {
        settings.orphan_age = Duration::ZERO;
        settings.sweep_all = Duration::ZERO;
    };
    let installation = fleet.installation(ages).await;
    let bucket = installation.store.as_ref().expect("a store").bucket().clone();
    let sweeper = Sweeper::new(Arc::clone(&installation));
    // The last lease of a worker that died has to be over.
    until("the last remains are cleared", async || {
        sweeper.sweep().await.expect("swept");
        let (mut objects, mut after) = (Vec::new(), None);
        loop {
            let page = bucket.list("", true, after.as_deref()).await.expect("listed");
            objects.extend(page.objects.into_iter().map(|object| object.key));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let orders: BTreeSet<&str> = objects.iter().filter_map(|key| key.split('/').next()).collect();
        assert!(confirmed.iter().all(|order| orders.contains(order.as_str())), "an order without an object");
        let uploads = bucket.unfinished_uploads("", None).await.expect("listed").uploads;
        objects.len() == confirmed.len() && uploads.is_empty()
    })
    .await;
}

/// Fetches what was delivered for every order by the links of the interface, and compares it with what was deposited;
/// how many bytes that were.
async fn fetch_all(
    ordered: Vec<(Client, BTreeMap<String, String>)>,
    contents: BTreeMap<String, Files>,
    directory: &Path,
) -> u64 {
    // One package is the same tar for everybody.
    let first = Arc::new(FirstSeen { contents, checksums: Mutex::default(), directory: directory.to_owned() });
    let fetching = ordered.into_iter().map(|(client, orders)| {
        let first = Arc::clone(&first);
        async move {
            let mut bytes = 0;
            for (order, package) in &orders {
                bytes += fetch(&client, order, package, &first).await;
            }
            bytes
        }
    });
    at_once(fetching).await.into_iter().sum()
}

/// What was deposited, and the checksums of the packages that were fetched so far.
struct FirstSeen {
    contents: BTreeMap<String, Files>,
    checksums: Mutex<BTreeMap<String, String>>,
    directory: PathBuf,
}

/// Fetches what was delivered for one order, and judges it; its length.
async fn fetch(client: &Client, order: &str, package: &str, seen: &FirstSeen) -> u64 {
    let found = client.get(&client.servers[0], &format!("/disseminations/{order}")).await.expect("found");
    assert_eq!((&found["status"], &found["archiveId"]), (&json!("DISSEMINATED"), &json!(package)), "{found}");
    let [file] = found["files"].as_array().expect("files").as_slice() else { panic!("{found}") };
    let answer = client.http.get(file["downloadURL"].as_str().expect("a link")).send().await.expect("sent");
    let tar = answer.error_for_status().expect("there").bytes().await.expect("whole");
    let checksum = md5(&tar);
    assert_eq!(file["checksum"], checksum.as_str(), "{found}");
    assert_eq!(file["filesize"], tar.len(), "{found}");
    let known = seen.checksums.lock().expect("unpoisoned").insert(package.to_owned(), checksum.clone());
    match known {
        Some(known) => assert_eq!(known, checksum, "{package} was delivered in two ways"),
        None => {
            assert!(
                unpacked(&tar, &seen.directory, package) == seen.contents[package],
                "{package} holds something else"
            );
        }
    }
    tar.len() as u64
}

/// The payload of a delivered bag.
fn unpacked(tar: &[u8], directory: &Path, package: &str) -> Files {
    let place = directory.join("unpacked").join(package);
    std::fs::create_dir_all(&place).expect("made");
    std::fs::write(place.join("package.tar"), tar).expect("written");
    let status = std::process::Command::new("tar").args(["-xf", "package.tar"]).current_dir(&place).status();
    assert!(status.expect("tar runs").success());
    let bag = std::fs::read_dir(&place).expect("listed").map(|entry| entry.expect("read").path());
    let bag: Vec<PathBuf> = bag.filter(|path| path.is_dir()).collect();
    let [bag] = bag.as_slice() else { panic!("{bag:?}") };
    let content = bag.join("data/content");
    let entries = std::fs::read_dir(&content).expect("listed").map(|entry| entry.expect("read"));
    let files = entries.map(|entry| {
        let name = format!("content/{}", entry.file_name().into_string().expect("UTF-8"));
        (name, std::fs::read(entry.path()).expect("read"))
    });
    files.collect()
}
