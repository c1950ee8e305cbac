//! An account of the Bridge: what its gateway holds, and how it asks.

use dipper_archive::digest::{Algorithm, Hasher};
use dipper_core::Role;
use dipper_core::ingest::{IngestCommand, IngestControl, Ingested, ingest};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use super::support::{Server, answer};

/// Where the two texts are found.
pub(crate) const BRIDGE: &str = "/bridge";
pub(crate) const OTM: &str = "/otm";

/// An account, signed in.
pub(crate) struct Account<'a> {
    pub(crate) server: &'a Server,
    pub(crate) name: String,
    pub(crate) password: String,
}

impl Server {
    /// Somebody who may add accounts.
    pub(crate) async fn operator(&self, name: &str) -> Account<'_> {
        let secret = self.client(name, &[(&format!("{name}.home"), Role::Operator)]).await;
        Account { server: self, name: name.to_owned(), password: secret.reveal().to_owned() }
    }

    /// An account that an operator has added.
    pub(crate) async fn account(&self, operator: &Account<'_>, name: &str) -> Account<'_> {
        let (status, body) = operator.ask("PUT", &format!("{BRIDGE}/account/{name}")).await;
        assert_eq!(status, 201, "{body}");
        let password = body["account-password"].as_str().expect("a password").to_owned();
        Account { server: self, name: name.to_owned(), password }
    }

    /// Ingests files as a version of a filegroup.
    pub(crate) async fn version(
        &self,
        account: &str,
        filegroup: &str,
        label: &str,
        files: &[(&str, &[u8])],
    ) -> Ingested {
        let directory = tempfile::tempdir().expect("a directory");
        for (path, bytes) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, bytes).expect("written");
        }
        let command = IngestCommand {
            path: directory.path().to_owned(),
            contract_id: account.to_owned(),
            object_id: filegroup.to_owned(),
            label: Some(label.to_owned()).filter(|label| !label.is_empty()),
            ..IngestCommand::default()
        };
        ingest(&self.installation, command, IngestControl::default()).await.expect("ingested")
    }
}

impl Account<'_> {
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = method.parse().expect("a method");
        let request = self.server.http.request(method, format!("{}{path}", self.server.url));
        request.basic_auth(&self.name, Some(&self.password))
    }

    pub(crate) async fn ask(&self, method: &str, path: &str) -> (u16, Value) {
        told(self.request(method, path).send().await.expect("sent")).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        told(self.request("POST", path).json(body).send().await.expect("sent")).await
    }

    pub(crate) async fn fetch(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = self.request("GET", path);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.expect("sent")
    }

    /// Orders a restore; returns its identifier.
    pub(crate) async fn restore(&self, path: &str, body: &Value) -> String {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, 202, "{answer}");
        answer["restore-id"].as_str().expect("an id").to_owned()
    }
}

/// The status and the body of an answer, which may be empty. Refusals are problems.
pub(crate) async fn told(response: Response) -> (u16, Value) {
    let content_type = super::support::header(&response, "content-type");
    let expected = if response.status().as_u16() >= 400 { "application/problem+json" } else { "application/json" };
    if content_type.is_empty() {
        assert!(response.status().is_success(), "{response:?}");
        return (response.status().as_u16(), Value::Null);
    }
    assert_eq!(content_type, expected, "{response:?}");
    answer(response).await
}

pub(crate) fn digest(algorithm: Algorithm, bytes: &[u8]) -> dipper_archive::digest::Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// A checksum in hexadecimal digits.
pub(crate) fn sum(algorithm: Algorithm, bytes: &[u8]) -> String {
    digest(algorithm, bytes).to_string()
}

pub(crate) fn md5(bytes: &[u8]) -> String {
    sum(Algorithm::Md5, bytes)
}

/// Bytes that do not repeat, so that every range is told apart.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..count.div_ceil(8)).flat_map(|_| next()).take(count).collect()
}
