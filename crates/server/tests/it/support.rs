//! A whole server for one test: its own data directory, its own port, a clock that the test moves.

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use dipper_core::administration::Administration;
use dipper_core::db::Database;
use dipper_core::installation::Installation;
use dipper_core::intake::{Intake, OrderDissemination, Portion};
use dipper_core::link::Links;
use dipper_core::secret::Secret;
use dipper_core::time::{Clock, Timestamp};
use dipper_core::worker::Worker;
use dipper_core::{Grants, Role};
use dipper_server::config::{Settings, Sources};
use dipper_server::dialect::dps;
use dipper_server::serve::{self, Serving};
use reqwest::{Method, Response};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::ENGINE;
use crate::Engine;
use crate::postgres::{self, TestDatabase};

/// The longest that any condition may take. Nothing takes that long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server that listens, and what is needed to look into it.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    pub(crate) clock: Clock,
    pub(crate) installation: Arc<Installation>,
    pub(crate) place: Place,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: Serving,
}

/// Where a server keeps what outlives it.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    /// Its catalogue, if that is no file.
    pub(crate) database: Option<TestDatabase>,
}

impl Place {
    /// A directory, and a database of the kind that this module of tests works on.
    pub(crate) async fn new() -> Place {
        let database = match ENGINE {
            Engine::Sqlite => None,
            Engine::Postgres => Some(postgres::database().await),
        };
        Place { directory: tempfile::tempdir().expect("a directory"), database }
    }
}

/// Settings for a place, with changes as `("section.key", "value")`.
fn settings(place: &Place, changes: &[(&str, &str)]) -> Settings {
    let mut overrides = vec![
        ("data_directory".to_owned(), place.directory.path().join("data").display().to_string()),
        ("server.listen".to_owned(), "127.0.0.1:0".to_owned()),
    ];
    overrides.extend(place.database.as_ref().map(|database| ("database.url".to_owned(), database.url())));
    overrides.extend(changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    Settings::load(&Sources { overrides, ..Sources::default() }).expect("valid settings")
}

impl Server {
    /// A server whose worker is driven by hand, with [`Server::work`].
    pub(crate) async fn start(changes: &[(&str, &str)]) -> Server {
        Server::start_in(Place::new().await, changes, false).await
    }

    /// A server that works and sends notices by itself.
    pub(crate) async fn start_working(changes: &[(&str, &str)]) -> Server {
        Server::start_in(Place::new().await, changes, true).await
    }

    pub(crate) async fn start_in(place: Place, changes: &[(&str, &str)], working: bool) -> Server {
        let clock = Clock::standing(Timestamp::now());
        let server = serve::Server::open(settings(&place, changes), clock.clone()).await.expect("opened");
        let url = server.public_url().to_owned();
        let installation = server.installation().clone();
        let shutdown = CancellationToken::new();
        let serving = match working {
            true => server.start(shutdown.clone()),
            false => server.start_listening(shutdown.clone()),
        };
        let serving = serving.expect("started");
        Server { url, http: reqwest::Client::new(), clock, installation, place, shutdown, serving }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.installation.database
    }

    pub(crate) fn administration(&self) -> Administration {
        Administration::new(self.installation.clone())
    }

    /// Stops the server; what outlives it stays.
    pub(crate) async fn stop(self) -> Place {
        self.shutdown.cancel();
        self.serving.finished().await.expect("ended");
        self.place
    }

    /// Adds a client and its contracts; returns the secret.
    pub(crate) async fn client(&self, id: &str, grants: &[(&str, Role)]) -> Secret {
        let administration = self.administration();
        for (contract_id, _) in grants {
            administration.contract_add(contract_id).await.expect("added");
        }
        let grants: Grants = grants.iter().map(|(contract_id, role)| ((*contract_id).to_owned(), *role)).collect();
        administration.client_add(id, &grants).await.expect("added")
    }

    /// An access token of the embedded issuer.
    pub(crate) async fn token(&self, id: &str, secret: &Secret) -> String {
        let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret.reveal())];
        let answer = self.http.post(format!("{}/oauth2/token", self.url)).form(&form).send().await.expect("sent");
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.expect("JSON");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// A client that has signed in.
    pub(crate) async fn caller(&self, id: &str, grants: &[(&str, Role)]) -> Caller<'_> {
        let secret = self.client(id, grants).await;
        Caller { server: self, token: self.token(id, &secret).await }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.http.get(format!("{}{path}", self.url)).send().await.expect("sent")
    }

    /// Does every step that is ready; returns how many there were.
    pub(crate) async fn work(&self) -> usize {
        let mut steps = 0;
        while self.work_once().await {
            steps += 1;
        }
        steps
    }

    /// Does every step that is ready, and those that were put off once more when their time has come.
    pub(crate) async fn work_twice(&self) {
        self.work().await;
        self.clock.advance(Duration::from_secs(10));
        self.work().await;
    }

    /// Waits until a condition holds that what runs beside the test brings about.
    pub(crate) async fn until(&self, holds: impl AsyncFn() -> bool) -> bool {
        let waiting = async {
            while !holds().await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.is_ok()
    }

    /// Does one step if one is ready.
    pub(crate) async fn work_once(&self) -> bool {
        let worker = Worker::new(self.installation.clone());
        worker.run_one(&CancellationToken::new()).await.expect("the queue can be read")
    }
}

impl Server {
    /// Orders a package through the DPS contract for a client that is there already.
    pub(crate) async fn order_as(&self, client_id: &str, contract_id: &str, package_id: &str) {
        let base = url::Url::parse(&self.url).expect("an address");
        let intake = Intake::new(self.installation.clone(), Links::new(&self.installation.key, base));
        let grants = [(contract_id.to_owned(), Role::Read)].into_iter().collect();
        let caller = dipper_core::caller::Caller { client_id: client_id.to_owned(), grants, stored: true };
        let (package_id, portion) = (package_id.to_owned(), Portion::default());
        let command = OrderDissemination { package_id, portion, priority: 50, rank: 50, dialect: dps::DIALECT };
        intake.order_dissemination(&caller, command).await.expect("ordered");
    }
}

/// A client with a token.
pub(crate) struct Caller<'a> {
    server: &'a Server,
    pub(crate) token: String,
}

/// Where the DPS service is found.
pub(crate) const DPS: &str = "/dps-submission/v1";

impl Caller<'_> {
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Response {
        let request = self.server.http.request(method, format!("{}{DPS}{path}", self.server.url));
        let request = request.bearer_auth(&self.token);
        match body {
            Some(body) => request.json(body).send(),
            None => request.send(),
        }
        .await
        .expect("sent")
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.ask(Method::GET, path, None).await).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.ask(Method::POST, path, Some(body)).await).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        answer(self.ask(Method::DELETE, path, None).await).await
    }

    /// Orders a package; returns the id of the dissemination.
    pub(crate) async fn order(&self, archive_id: &str) -> String {
        let (status, body) = self.post("/disseminations", &serde_json::json!({ "archiveId": archive_id })).await;
        assert_eq!(status, 201, "{body}");
        body["disseminationId"].as_str().expect("an id").to_owned()
    }

    pub(crate) async fn dissemination(&self, id: &str) -> Value {
        let (status, body) = self.get(&format!("/disseminations/{id}")).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The link of the only file of a dissemination.
    pub(crate) async fn link(&self, id: &str) -> String {
        let body = self.dissemination(id).await;
        body["files"][0]["downloadURL"].as_str().unwrap_or_else(|| panic!("no link in {body}")).to_owned()
    }
}

pub(crate) async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

/// The text of a header, empty when it is not there.
pub(crate) fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().expect("text").to_owned()).unwrap_or_default()
}

/// An address of this machine that is not loopback, if it has one.
pub(crate) fn address_of_a_neighbour() -> Option<IpAddr> {
    let output = Command::new("hostname").arg("-I").output().ok()?;
    let addresses = String::from_utf8(output.stdout).ok()?;
    addresses.split_ascii_whitespace().filter_map(|text| text.parse().ok()).find(|ip: &IpAddr| ip.is_ipv4())
}

/// The code of an error answer.
pub(crate) fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_default()
}

impl Server {
    /// A client with a token from elsewhere.
    pub(crate) fn caller_with(&self, token: String) -> Caller<'_> {
        Caller { server: self, token }
    }

    /// Another client of contract 2d17, for a test that looks again later.
    pub(crate) async fn token_of(&self, id: &str) -> Caller<'_> {
        self.caller(id, &[("2d17", Role::Read)]).await
    }
}
