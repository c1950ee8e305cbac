//! A contractor of the DNS RESTful API: what it hands in, and how it asks.

use dipper_archive::publish;
use dipper_core::Role;
use dipper_core::ingest::{IngestCommand, IngestControl, Ingested, ingest};
use dipper_core::secret::Secret;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use super::support::{Server, answer};

/// Where the service is found.
pub(crate) const DNS: &str = "/daweb3";
/// The object of the examples in the description of the service.
pub(crate) const URN: &str = "urn:nbn:de:hbz:6:1-31323";
pub(crate) const ORIG_NAME: &str = "06-Apr-2016-T-15-10-01-urn+nbn+de+hbz+6+1-31323";
pub(crate) const CONTRACTOR: &str = "hbzadmin";

/// A client that reads one contract.
pub(crate) struct Contractor<'a> {
    pub(crate) server: &'a Server,
    pub(crate) name: String,
    pub(crate) secret: Secret,
}

impl Server {
    /// A contractor whose client is called as its contract.
    pub(crate) async fn contractor(&self, name: &str) -> Contractor<'_> {
        let secret = self.client(name, &[(name, Role::Read)]).await;
        Contractor { server: self, name: name.to_owned(), secret }
    }

    /// Ingests one file as a version of an object, handed in under a container name.
    pub(crate) async fn hand_in(
        &self,
        contract_id: &str,
        object_id: &str,
        urn: Option<&str>,
        container: &str,
        file: (&str, &[u8]),
    ) -> Ingested {
        let directory = tempfile::tempdir().expect("a directory");
        publish::write_file(&directory.path().join(file.0), file.1).expect("written");
        let command = IngestCommand {
            path: directory.path().to_owned(),
            contract_id: contract_id.to_owned(),
            object_id: object_id.to_owned(),
            label: None,
            urn: urn.map(str::to_owned),
            container_name: Some(container.to_owned()),
            ..IngestCommand::default()
        };
        ingest(&self.installation, command, IngestControl::default()).await.expect("ingested")
    }

    /// The object of the examples in the description of the service.
    pub(crate) async fn example(&self) -> Ingested {
        self.hand_in(CONTRACTOR, ORIG_NAME, Some(URN), &format!("{ORIG_NAME}.zip"), ("a.txt", b"alpha")).await
    }
}

impl Contractor<'_> {
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = method.parse().expect("a method");
        let request = self.server.http.request(method, format!("{}{DNS}{path}", self.server.url));
        request.basic_auth(&self.name, Some(self.secret.reveal()))
    }

    pub(crate) async fn ask(&self, path: &str) -> Response {
        self.request("GET", path).send().await.expect("sent")
    }

    /// The status of what a query names.
    pub(crate) async fn status(&self, query: &str) -> (u16, Value) {
        answer(self.ask(&format!("/status/index?{query}")).await).await
    }

    /// The entries of what a query names: type, status and number of each.
    pub(crate) async fn entries(&self, query: &str) -> Vec<(String, String, u64)> {
        let (status, body) = self.status(query).await;
        assert_eq!(status, 200, "{body}");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let entries = body["result"].as_array().expect("entries").iter();
        let entry = |entry: &Value| {
            (text(&entry["type"]), text(&entry["status"]), entry["statusInt"].as_u64().expect("a number"))
        };
        entries.map(entry).collect()
    }

    /// The answer to an order.
    pub(crate) async fn retrieve(&self, body: &Value) -> (u16, Value) {
        let request = self.request("POST", "/automatedRetrieval/queueForRetrievalJSON");
        answer(request.json(body).send().await.expect("sent")).await
    }
}
