//! A whole server for one test: its own data directory, its own port.

use std::sync::Arc;

use dipper_core::clients::Clients;
use dipper_core::db::{Database, contracts};
use dipper_core::secret::{self, Secret};
use dipper_core::time::Timestamp;
use dipper_core::{Grants, Role};
use dipper_server::app::{App, Parts};
use dipper_server::config::{Settings, Sources};
use dipper_server::serve::{self, Serving};
use reqwest::Response;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// A server that listens, and what is needed to look into it.
pub struct Server {
    pub url: String,
    pub database: Database,
    pub http: reqwest::Client,
    pub data: tempfile::TempDir,
    pub shutdown: CancellationToken,
    pub serving: Serving,
}

/// Settings for a data directory, with changes as `("section.key", "value")`.
pub fn settings(data: &tempfile::TempDir, changes: &[(&str, &str)]) -> Settings {
    let mut overrides = vec![
        ("data_directory".to_owned(), data.path().display().to_string()),
        ("server.listen".to_owned(), "127.0.0.1:0".to_owned()),
    ];
    overrides.extend(changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    Settings::load(&Sources { overrides, ..Sources::default() }).expect("valid settings")
}

impl Server {
    pub async fn start(changes: &[(&str, &str)]) -> Server {
        let data = tempfile::tempdir().expect("a directory");
        Server::start_in(data, changes).await
    }

    pub async fn start_in(data: tempfile::TempDir, changes: &[(&str, &str)]) -> Server {
        let settings = settings(&data, changes);
        let database = Database::open(&data.path().join("dipper.db")).await.expect("a database");
        let listener = serve::bind(&settings).await.expect("a port");
        let probe = database.clone();
        let parts = Parts {
            public_url: settings.public_url(listener.local_addr().expect("an address")),
            clients: Clients::new(database.clone()).expect("a decoy"),
            ready: Arc::new(move || {
                let probe = probe.clone();
                Box::pin(async move { Ok(probe.check().await?) })
            }),
        };
        let url = parts.public_url.clone();
        let app = App::new(settings, parts).expect("an app");
        let shutdown = CancellationToken::new();
        let serving = serve::serve_on(listener, &app, shutdown.clone()).expect("served");
        Server { url, database, http: reqwest::Client::new(), data, shutdown, serving }
    }

    /// Adds a client and its contracts; returns the secret.
    pub async fn client(&self, id: &str, grants: &[(&str, Role)]) -> Secret {
        let secret = secret::new_client_secret().expect("random");
        let hash = secret::hash(&secret).expect("hashed");
        let mut transaction = self.database.begin().await.expect("begun");
        for (contract_id, _) in grants {
            contracts::add(&mut transaction, contract_id, Timestamp::now()).await.expect("added");
        }
        let grants: Grants = grants.iter().map(|(contract_id, role)| ((*contract_id).to_owned(), *role)).collect();
        contracts::client_add(&mut transaction, id, &hash, &grants, Timestamp::now()).await.expect("added");
        transaction.commit().await.expect("committed");
        secret
    }

    /// An access token of the embedded issuer.
    pub async fn token(&self, id: &str, secret: &Secret) -> String {
        let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret.reveal())];
        let answer = self.http.post(format!("{}/oauth2/token", self.url)).form(&form).send().await.expect("sent");
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.expect("JSON");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    pub async fn get(&self, path: &str) -> Response {
        self.http.get(format!("{}{path}", self.url)).send().await.expect("sent")
    }
}

/// The text of a header, empty when it is not there.
pub fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().expect("text").to_owned()).unwrap_or_default()
}
