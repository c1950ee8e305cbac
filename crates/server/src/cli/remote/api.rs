//! The DPS contract as a client speaks it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use dipper_core::secret::Secret;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use url::{Host, Url};

use super::patience::{Patience, is_passing, retry_after};
use crate::cli::exit::{Exit, told};

/// How often a call is tried that fails for a passing reason.
const ATTEMPTS: u32 = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may say nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// A token that expires sooner than this is replaced before it is used.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);

/// As whom the server is called.
#[derive(Debug)]
pub(crate) enum Credentials {
    /// A client, which gets its tokens at an issuer.
    Client { client_id: String, secret: Secret, token_url: Url },
    /// A token that came from elsewhere.
    Token(Secret),
}

/// A server, seen by a client.
#[derive(Debug)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: Url,
    credentials: Credentials,
    token: Mutex<Option<Token>>,
}

#[derive(Clone, Debug)]
struct Token {
    text: Secret,
    expires: Instant,
}

/// A dissemination, as far as this client reads it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dissemination {
    pub(crate) dissemination_id: String,
    pub(crate) archive_id: String,
    #[serde(default)]
    pub(crate) object_id: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) sum_size_in_bytes: u64,
    #[serde(default)]
    pub(crate) files: Vec<DeliveredFile>,
    #[serde(default)]
    pub(crate) error: Option<ErrorBody>,
    /// All that the server said.
    #[serde(skip)]
    pub(crate) document: Value,
}

/// What came of an order.
#[derive(Debug)]
pub(crate) enum Ordered {
    /// It was accepted.
    New(Box<Dissemination>),
    /// This client has ordered the package already, and that order is under way.
    UnderWay { existing: String, message: String },
}

/// A delivered file with its link.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliveredFile {
    #[serde(rename = "downloadURL")]
    pub(crate) download_url: String,
    pub(crate) filename: String,
    pub(crate) filesize: u64,
    pub(crate) checksum: String,
    pub(crate) checksum_algorithm: String,
}

/// What a server says of an error.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ErrorBody {
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) details: Option<String>,
}

impl Dissemination {
    /// Whether nothing more will happen to it.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_delivered() || matches!(self.status.as_str(), "FAILED" | "REJECTED")
    }

    /// Whether there is, or was, something to fetch.
    pub(crate) fn is_delivered(&self) -> bool {
        self.status == "DISSEMINATED"
    }

    /// The reason of the server for an end without a delivery.
    pub(crate) fn reason(&self) -> String {
        self.error.as_ref().map_or_else(|| "the server gives no reason".to_owned(), |error| error.message.clone())
    }
}

impl Api {
    /// A server at an address that includes the contract's base path.
    pub(crate) fn new(base: Url, credentials: Credentials) -> anyhow::Result<Api> {
        let mut client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .user_agent(concat!("dipper/", env!("CARGO_PKG_VERSION")));
        // A proxy of the environment is for the way out, not for this machine.
        if is_loopback(&base) {
            client = client.no_proxy();
        }
        let http = client.build().context("the HTTP client cannot be started")?;
        Ok(Api { http, base, credentials, token: Mutex::new(None) })
    }

    /// The client that also fetches what links lead to.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Orders a package.
    pub(crate) async fn order(&self, archive_id: &str, priority: Option<u8>) -> anyhow::Result<Ordered> {
        let mut body = json!({ "archiveId": archive_id });
        if let (Some(priority), Some(members)) = (priority, body.as_object_mut()) {
            members.insert("priority".to_owned(), priority.into());
        }
        let response = self.call(Method::POST, &["v1", "disseminations"], Some(&body)).await?;
        if response.status() != StatusCode::CONFLICT {
            return Ok(Ordered::New(Box::new(dissemination(response).await?)));
        }
        let error = error_body(response).await;
        match error.details {
            Some(existing) if error.code == "DISSEMINATION_EXISTS" => {
                Ok(Ordered::UnderWay { existing, message: error.message })
            }
            _ => Err(told(Exit::Conflict, error.message)),
        }
    }

    /// A dissemination as it stands.
    pub(crate) async fn get(&self, id: &str) -> anyhow::Result<Dissemination> {
        dissemination(self.call(Method::GET, &["v1", "disseminations", id], None).await?).await
    }

    /// A dissemination with new links.
    pub(crate) async fn renew_links(&self, id: &str) -> anyhow::Result<Dissemination> {
        let path = ["v1", "disseminations", id, "download-links"];
        dissemination(self.call(Method::POST, &path, None).await?).await
    }

    async fn call(&self, method: Method, path: &[&str], body: Option<&Value>) -> anyhow::Result<Response> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
        let mut fresh_token = false;
        loop {
            let token = self.token(fresh_token).await?;
            let response = send(|| {
                let request = self.http.request(method.clone(), url.clone()).bearer_auth(token.reveal());
                body.iter().fold(request, |request, body| request.json(body))
            })
            .await?;
            // A token can be revoked, or the server's keys changed, before its time is over.
            let renewable = matches!(self.credentials, Credentials::Client { .. }) && !fresh_token;
            if response.status() == StatusCode::UNAUTHORIZED && renewable {
                fresh_token = true;
                continue;
            }
            return Ok(response);
        }
    }

    async fn token(&self, fresh: bool) -> anyhow::Result<Secret> {
        let (client_id, secret, token_url) = match &self.credentials {
            Credentials::Token(token) => return Ok(token.clone()),
            Credentials::Client { client_id, secret, token_url } => (client_id, secret, token_url),
        };
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| !fresh && Instant::now() + TOKEN_MARGIN < token.expires) {
            return Ok(token.text.clone());
        }
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id.as_str()),
            ("client_secret", secret.reveal()),
        ];
        let response = send(|| self.http.post(token_url.clone()).form(&form)).await?;
        let token = issued(client_id, token_url, response).await?;
        let text = token.text.clone();
        *kept = Some(token);
        Ok(text)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

async fn issued(client_id: &str, token_url: &Url, response: Response) -> anyhow::Result<Token> {
    #[derive(Deserialize)]
    struct Issued {
        access_token: String,
        #[serde(default)]
        expires_in: u64,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Refused {
        error: String,
        error_description: String,
    }
    let status = response.status();
    if !status.is_success() {
        // Whatever is not the JSON of RFC 6749 leaves the status to speak for itself.
        let refused: Refused = response.json().await.unwrap_or_default();
        let detail = [refused.error, refused.error_description].join(" ").trim().to_owned();
        let exit = match status.as_u16() {
            400 | 401 | 403 => Exit::NotAllowed,
            _ => exit_of(status),
        };
        return Err(told(exit, format!("{token_url} gave no token to {client_id}: {status} {detail}").trim_end()));
    }
    let issued: Issued = response
        .json()
        .await
        .map_err(reqwest::Error::without_url)
        .with_context(|| format!("{token_url} answered with something else than a token"))?;
    let expires = Instant::now() + Duration::from_secs(issued.expires_in);
    Ok(Token { text: Secret::new(issued.access_token), expires })
}

async fn dissemination(response: Response) -> anyhow::Result<Dissemination> {
    let status = response.status();
    if !status.is_success() {
        return Err(refusal(response).await);
    }
    let url = response.url().clone();
    let document: Value = response
        .json()
        .await
        .map_err(reqwest::Error::without_url)
        .with_context(|| format!("{url} did not answer with JSON"))?;
    let read: Result<Dissemination, _> = serde_json::from_value(document.clone());
    let read = read.with_context(|| format!("{url} did not answer with a dissemination"))?;
    Ok(Dissemination { document, ..read })
}

async fn refusal(response: Response) -> anyhow::Error {
    let (status, url) = (response.status(), response.url().clone());
    let error = error_body(response).await;
    let text = match (error.message.as_str(), error.details) {
        ("", _) => format!("{url} answered {status}"),
        (message, Some(details)) => format!("{message}: {details}"),
        (message, None) => message.to_owned(),
    };
    told(exit_of(status), text)
}

/// What the server says of an error; nothing where that is not in the contract's form, as behind a proxy.
async fn error_body(response: Response) -> ErrorBody {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Refused {
        error: ErrorBody,
    }
    response.json::<Refused>().await.unwrap_or_default().error
}

fn exit_of(status: StatusCode) -> Exit {
    match status.as_u16() {
        401 | 403 => Exit::NotAllowed,
        404 => Exit::NotFound,
        409 | 410 | 422 => Exit::Conflict,
        _ if is_passing(status) => Exit::Again,
        _ => Exit::Failure,
    }
}

/// Sends a request, again when it fails for a passing reason. An order that arrived though its answer was lost is
/// found by the server: it refuses to make another one.
async fn send(request: impl Fn() -> reqwest::RequestBuilder) -> anyhow::Result<Response> {
    let mut patience = Patience::new(ATTEMPTS);
    loop {
        let sent = request().send().await.map_err(reqwest::Error::without_url);
        let asked = match &sent {
            Ok(response) if !is_passing(response.status()) => return Ok(sent?),
            Ok(response) => retry_after(response),
            Err(_) => None,
        };
        match (patience.wait(asked), sent) {
            (Some(wait), _) => tokio::time::sleep(wait).await,
            (None, Ok(response)) => return Ok(response),
            (None, Err(error)) => return Err(unreachable(error)),
        }
    }
}

/// An error of the connection, as one that may pass.
pub(super) fn unreachable(error: reqwest::Error) -> anyhow::Error {
    let cause = anyhow::Error::new(error);
    told(Exit::Again, format!("the server cannot be reached: {}", crate::cli::exit::text(&cause)))
}
