//! The settings: their types, where they come from, and what is wrong with them.
//!
//! `default.toml` beside this file holds every setting with its default and its explanation.

mod bridge;
mod bucket;
mod check;
mod console;
mod core;
mod layers;
mod mail;
mod oidc;
mod sftp;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dipper_core::secret::Secret;
use serde::Deserialize;

pub use bridge::BridgeSettings;
pub use bucket::S3Settings;
pub use console::ConsoleSettings;
pub use layers::Sources;
pub use mail::MailSettings;
pub use oidc::OidcSettings;
pub use sftp::SftpSettings;

/// The annotated defaults that are compiled in; `dipper.toml` has the same keys.
pub const DEFAULTS: &str = include_str!("default.toml");

/// All settings of the server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where Dipper keeps what it writes.
    pub data_directory: PathBuf,
    /// The listener.
    pub server: ServerSettings,
    /// TLS in the listener.
    pub tls: TlsSettings,
    /// The catalogue.
    pub database: DatabaseSettings,
    /// The keys.
    pub keys: KeySettings,
    /// The storage root.
    pub archive: ArchiveSettings,
    /// The bucket of `archive.root`.
    pub archive_s3: S3Settings,
    /// The workers.
    pub worker: WorkerSettings,
    /// How work is divided among contracts.
    pub share: ShareSettings,
    /// Content in archive classes.
    pub recall: RecallSettings,
    /// How the files of deposits are fetched.
    pub deposit: DepositSettings,
    /// How everything is read again regularly.
    pub fixity: FixitySettings,
    /// The names of packages.
    pub identifiers: IdentifierSettings,
    /// The areas of contracts.
    pub area: AreaSettings,
    /// How deletions are carried out.
    pub deletion: DeletionSettings,
    /// Deliveries and their links.
    pub delivery: DeliverySettings,
    /// The bucket of `delivery.store`.
    pub delivery_s3: S3Settings,
    /// The SFTP server.
    pub sftp: SftpSettings,
    /// The DPS dissemination service.
    pub dps: DpsSettings,
    /// The DNS RESTful API.
    pub dns: DnsSettings,
    /// The Bridge API, in both of its texts.
    pub bridge: BridgeSettings,
    /// The console.
    pub console: ConsoleSettings,
    /// Who issues the tokens that are accepted.
    pub issuer: IssuerSettings,
    /// Outgoing calls.
    pub egress: EgressSettings,
    /// Notices to partners.
    pub webhook: WebhookSettings,
    /// E-mail to the people of contracts.
    pub mail: MailSettings,
    /// Logging.
    pub log: LogSettings,
    /// Figures for Prometheus.
    pub metrics: MetricsSettings,
    /// Traces for OpenTelemetry.
    pub telemetry: TelemetrySettings,
}

/// The listener and what it takes from clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// How clients reach this server; empty when made from the bound address.
    pub public_url: String,
    /// The longest request body that is read.
    pub max_body_bytes: usize,
    /// How long a request may take up to the first byte of its answer.
    pub request_timeout_seconds: u64,
    /// How long a client may stop reading an answer.
    pub stall_timeout_seconds: u64,
    /// How long running answers may take to finish at shutdown.
    pub shutdown_seconds: u64,
    /// Connections that are open at a time.
    pub max_connections: usize,
    /// Requests a second of one client; 0 for no limit.
    pub rate_limit_per_second: u32,
    /// Requests of one client at once.
    pub rate_limit_burst: u32,
    /// Whether a proxy in front ends TLS, so that credentials may come in plain http.
    pub insecure_http: bool,
}

/// TLS in the listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The file with the certificates; empty for no TLS.
    pub certificate: PathBuf,
    /// The file with the key of the first of them.
    pub key: PathBuf,
    /// The address and port on which plain http is sent to https; empty for none.
    pub redirect_listen: String,
}

impl TlsSettings {
    /// The files with the certificates and with the key, if the listener speaks TLS.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        let set = !self.certificate.as_os_str().is_empty() && !self.key.as_os_str().is_empty();
        set.then_some((&self.certificate, &self.key))
    }

    /// The address on which plain http is sent to https, if there is one.
    pub fn redirect_address(&self) -> Option<SocketAddr> {
        self.redirect_listen.parse().ok()
    }
}

/// The catalogue.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// The address of a PostgreSQL database, which may hold a password; empty for a file in the data directory.
    #[serde(deserialize_with = "secret")]
    pub url: Secret,
    /// A file that holds the address.
    pub url_file: PathBuf,
    /// Connections of this process.
    pub max_connections: u32,
    /// How long to wait for a connection.
    pub acquire_timeout_seconds: u64,
    /// How long to wait for the answer to a statement.
    pub statement_timeout_seconds: u64,
}

pub(crate) fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

/// The keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// Where they lie; empty for a directory in the data directory.
    pub directory: PathBuf,
}

/// The storage root.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveSettings {
    /// The OCFL storage root: a directory, or the address of a bucket.
    pub root: PathBuf,
    /// The layout extension of a root that Dipper creates.
    pub layout: String,
    /// Where deposits are put together.
    pub staging: PathBuf,
}

/// The workers and their patience.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// Whether the server works on steps and sends notices itself.
    pub enabled: bool,
    /// Steps that are worked on at a time.
    pub count: usize,
    /// The bytes that are worked on at a time; 0 for no bound.
    pub max_bytes_in_flight: u64,
    /// How much waiting a point of priority is worth.
    pub ageing_seconds: u64,
    /// How long a step belongs to a worker that has stopped reporting.
    pub lease_seconds: u64,
    /// How often a worker reports.
    pub heartbeat_seconds: u64,
    /// How often a worker looks for work that nobody told it of; 0 for what suits the database.
    pub poll_seconds: u64,
    /// How often a step is tried.
    pub max_attempts: u32,
    /// The first wait between two attempts.
    pub backoff_seconds: u64,
    /// The longest wait between two attempts.
    pub max_backoff_seconds: u64,
}

/// How work is divided among contracts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareSettings {
    /// The weight of a contract that has none of its own.
    pub default_weight: u32,
    /// Weights of contracts, each as `contract=weight`.
    pub weights: Vec<String>,
    /// Steps of one contract that are worked on at a time; 0 for no bound.
    pub max_steps_per_contract: u64,
    /// Bytes of one contract that are worked on at a time; 0 for no bound.
    pub max_bytes_per_contract: u64,
}

/// The regular check of everything that is stored.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixitySettings {
    /// Within how many days everything is read again; 0 for never.
    pub period_days: u32,
    /// How many bytes a second one process reads for it; 0 for no bound.
    pub bytes_per_second: u64,
    /// How many files it reads at a time.
    pub threads: usize,
}

/// Content in archive classes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecallSettings {
    /// The least priority with the fastest tier.
    pub expedited_from: u32,
    /// The least priority with the middle tier.
    pub standard_from: u32,
    /// How long recalled content can be read; 0 for as long as it is needed.
    pub days: u32,
    /// How often a recall is looked at.
    pub poll_minutes: u64,
    /// How long a recall may take.
    pub give_up_hours: u64,
}

/// How the files of deposits are fetched.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepositSettings {
    /// Files that are fetched at a time from one gateway.
    pub at_once: u32,
    /// How long a gateway may take to answer, and send nothing.
    pub timeout_seconds: u64,
    /// What has to come in a second, over a minute.
    pub min_bytes_per_second: u64,
    /// The longest file whose length was not declared.
    pub max_file_bytes: u64,
    /// How many redirects are followed.
    pub max_redirects: u32,
    /// How often a file is asked for.
    pub attempts: u32,
    /// How long a deposit waits whose gateway is away.
    pub pause_seconds: u64,
    /// How long it is tried.
    pub give_up_hours: u64,
}

/// The names of packages.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentifierSettings {
    /// Which of several installations this is.
    pub node: String,
    /// What comes after `urn:nbn:de:`; empty when no URNs are made.
    pub urn_prefix: String,
}

/// The areas of contracts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AreaSettings {
    /// Where they are; empty for a place in the data directory.
    pub directory: PathBuf,
    /// How many bytes may lie in an outgoing directory; 0 for no bound.
    pub quota_bytes: u64,
    /// How long a file stays there after it was fetched.
    pub keep_fetched_hours: u64,
    /// How long a file stays there that nobody fetches.
    pub keep_hours: u64,
    /// How often incoming directories are looked at; 0 for never.
    pub pickup_seconds: u64,
    /// How long a file must have stayed as it is before it is picked up.
    pub settle_seconds: u64,
}

/// How deletions are carried out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeletionSettings {
    /// When.
    pub policy: DeletionPolicy,
    /// For how many days a deletion can be withdrawn, where the policy is that of a grace period.
    pub grace_days: u32,
}

/// When a deletion that was ordered is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeletionPolicy {
    /// At once.
    Immediate,
    /// After a time in which it can be withdrawn.
    Grace,
    /// After somebody else has approved it.
    Approval,
}

/// Deliveries and their links.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliverySettings {
    /// How long a download link works.
    pub link_hours: u64,
    /// How long a delivery is kept.
    pub keep_hours: u64,
    /// The checksum that is told with a delivered file.
    pub checksum: Checksum,
    /// What becomes one tar.
    pub split: Split,
    /// Downloads that run at a time.
    pub max_concurrent_downloads: usize,
    /// The bucket that deliveries are put into; empty when they are served from the archive.
    pub store: String,
    /// Which links lead into the store.
    pub store_links: StoreLinks,
}

/// Which links lead into the store of deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreLinks {
    /// Signed ones that lead there at once.
    Direct,
    /// Dipper's own, which lead on to a signed one when they are followed.
    Redirect,
}

/// A checksum that can be told with a delivered file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Checksum {
    /// MD5.
    #[serde(rename = "MD5")]
    Md5,
    /// SHA-256.
    #[serde(rename = "SHA-256")]
    Sha256,
    /// SHA-512.
    #[serde(rename = "SHA-512")]
    Sha512,
}

/// What becomes one tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// The whole package.
    Package,
    /// Each representation of the package.
    Representation,
}

/// The DPS dissemination service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DpsSettings {
    /// Where the service is found.
    pub base_path: String,
    /// Which priority goes first.
    pub priority_order: PriorityOrder,
    /// Where a token lists its roles.
    pub roles_claim: String,
}

/// The DNS RESTful API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it is found.
    pub base_path: String,
}

impl DnsSettings {
    /// Where it is found, if there is one.
    pub fn base_path(&self) -> Option<&str> {
        self.enabled.then_some(self.base_path.as_str())
    }
}

/// Which priority goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PriorityOrder {
    /// 100 before 1.
    HighFirst,
    /// 1 before 100.
    LowFirst,
}

/// Who issues the tokens that are accepted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// The external issuer; empty for the embedded one.
    pub url: String,
    /// Where the external issuer publishes its keys; empty to find out.
    pub jwks_url: String,
    /// The audience that tokens must be for; empty when it is not checked.
    pub audience: String,
    /// How far clocks may be apart.
    pub clock_skew_seconds: u64,
    /// How long an own token is valid.
    pub token_seconds: u64,
}

/// Outgoing calls.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressSettings {
    /// Hosts and networks that may be called although they are private.
    pub allow: Vec<String>,
}

/// Notices to partners.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// How long a receiver may take to answer.
    pub timeout_seconds: u64,
    /// When to stop trying.
    pub give_up_after_hours: u64,
    /// The longest wait between two attempts.
    pub max_backoff_seconds: u64,
}

/// Logging.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// How lines are written.
    pub format: LogFormat,
    /// The least level that is logged, or a filter.
    pub level: String,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
    /// Text on a terminal, JSON otherwise.
    Auto,
}

/// Figures for Prometheus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSettings {
    /// The address and port to show them on; empty for not at all.
    pub listen: String,
}

impl MetricsSettings {
    /// The address to listen on, if there is one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }
}

/// Traces for OpenTelemetry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySettings {
    /// The collector; empty for none.
    pub otlp_endpoint: String,
    /// The name under which the collector knows this program.
    pub service_name: String,
    /// How much of all orders is traced, from 0 to 1.
    pub ratio: f64,
}

impl TelemetrySettings {
    /// Where traces are sent, if they are.
    pub fn traces_url(&self) -> Option<String> {
        let endpoint = self.otlp_endpoint.trim_end_matches('/');
        let whole = endpoint.ends_with("/v1/traces");
        (!endpoint.is_empty()).then(|| if whole { endpoint.to_owned() } else { format!("{endpoint}/v1/traces") })
    }
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, or the environment variable or file, that is at fault.
    pub key: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.key, self.message)
    }
}

/// Why settings cannot be used: every problem that was found, not the first alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the settings cannot be used: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct ConfigError(pub Vec<Problem>);

impl Settings {
    /// Puts the settings together from all sources and checks them.
    pub fn load(sources: &Sources) -> Result<Settings, ConfigError> {
        let settings = sources.merge()?;
        match settings.check() {
            problems if problems.is_empty() => Ok(settings),
            problems => Err(ConfigError(problems)),
        }
    }

    /// The address of the bucket that holds the storage root; `None` when a directory does.
    pub fn archive_url(&self) -> Option<&str> {
        self.archive.root.to_str().filter(|root| root.contains("://"))
    }

    /// The storage root, where it is a directory.
    pub fn archive_root(&self) -> PathBuf {
        or_within(&self.archive.root, &self.data_directory, "archive")
    }

    /// Where deposits are put together.
    pub fn staging_directory(&self) -> PathBuf {
        or_within(&self.archive.staging, &self.data_directory, "staging")
    }

    /// Where the areas are.
    pub fn area_directory(&self) -> PathBuf {
        or_within(&self.area.directory, &self.data_directory, "areas")
    }

    /// Where the keys lie.
    pub fn key_directory(&self) -> PathBuf {
        or_within(&self.keys.directory, &self.data_directory, "keys")
    }

    /// Steps to work on at a time.
    pub fn worker_count(&self) -> usize {
        match self.worker.count {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(8),
            count => count,
        }
    }

    /// How clients reach this server when it listens on `bound`, without a slash at the end.
    pub fn public_url(&self, bound: SocketAddr) -> String {
        let scheme = if self.tls.files().is_some() { "https" } else { "http" };
        match self.server.public_url.trim_end_matches('/') {
            "" if bound.ip().is_unspecified() => format!("{scheme}://localhost:{}", bound.port()),
            "" => format!("{scheme}://{bound}"),
            url => url.to_owned(),
        }
    }

    /// How clients reach the server from what the settings say alone, without a slash at the end.
    pub fn public_url_elsewhere(&self) -> Option<String> {
        let bound = self.server.listen;
        let known = !self.server.public_url.is_empty() || bound.port() != 0;
        known.then(|| self.public_url(bound))
    }

    /// How long a request may take up to the first byte of its answer.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.server.request_timeout_seconds)
    }
}

fn or_within(path: &Path, directory: &Path, name: &str) -> PathBuf {
    if path.as_os_str().is_empty() { directory.join(name) } else { path.to_owned() }
}
