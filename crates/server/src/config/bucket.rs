//! How a bucket of S3-compatible storage is spoken to: the same keys for every section that names one.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use dipper_archive::bucket::{BucketSettings, Checksum, ConditionalPut, SettingsError};
use serde::Deserialize;

/// How a bucket is spoken to.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Settings {
    /// The server; empty for Amazon's.
    pub endpoint: String,
    /// The server as those see it who follow links; empty when it is the same.
    #[serde(default)]
    pub public_endpoint: String,
    /// The region; empty to ask the environment.
    pub region: String,
    /// Whether the bucket is named in the path rather than in the host's name.
    pub path_style: bool,
    /// Whether an endpoint without TLS is accepted.
    pub allow_http: bool,
    /// The access key; empty to look for one.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// A file that holds the secret.
    pub secret_access_key_file: PathBuf,
    /// The token of temporary credentials.
    pub session_token: String,
    /// What is sent along so that the server refuses bytes that were altered on the way.
    pub checksum: String,
    /// Whether the server keeps the conditions of a write.
    #[serde(default)]
    pub conditional_put: String,
    /// The least size of a part of an upload.
    pub part_bytes: u64,
    /// Parts, or objects, that are on their way at a time.
    pub concurrency: usize,
    /// How long a connection may take.
    pub connect_timeout_seconds: u64,
    /// How long the server may keep silent.
    pub request_timeout_seconds: u64,
    /// How often a request is tried again.
    pub retries: u32,
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("S3Settings")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl S3Settings {
    /// These settings for the bucket that `url` names, in the words of the archive. An error names the key within
    /// the section.
    pub fn bucket(&self, url: &str) -> Result<BucketSettings, SettingsError> {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let wrong = |setting, reason| SettingsError { setting, reason };
        let file = Some(self.secret_access_key_file.clone()).filter(|path| !path.as_os_str().is_empty());
        let settings = BucketSettings {
            url: url.to_owned(),
            endpoint: given(&self.endpoint),
            public_endpoint: given(&self.public_endpoint),
            region: given(&self.region),
            path_style: self.path_style,
            allow_http: self.allow_http,
            access_key_id: given(&self.access_key_id),
            secret_access_key: given(&self.secret_access_key),
            secret_access_key_file: file,
            session_token: given(&self.session_token),
            checksum: self.checksum.parse::<Checksum>().map_err(|reason| wrong("checksum", reason))?,
            conditional_put: match self.conditional_put.as_str() {
                "" | "auto" => ConditionalPut::Auto,
                "yes" => ConditionalPut::Yes,
                "no" => ConditionalPut::No,
                other => return Err(wrong("conditional_put", format!("{other:?} is not auto, yes or no"))),
            },
            part_bytes: self.part_bytes,
            concurrency: NonZeroUsize::new(self.concurrency)
                .filter(|count| count.get() <= 1_000)
                .ok_or_else(|| wrong("concurrency", format!("{} is not between 1 and 1000", self.concurrency)))?,
            connect_timeout: seconds("connect_timeout_seconds", self.connect_timeout_seconds)?,
            request_timeout: seconds("request_timeout_seconds", self.request_timeout_seconds)?,
            retries: self.retries,
            ..BucketSettings::default()
        };
        settings.check()?;
        Ok(settings)
    }
}

fn seconds(setting: &'static str, value: u64) -> Result<Duration, SettingsError> {
    if (1..=3600).contains(&value) {
        return Ok(Duration::from_secs(value));
    }
    Err(SettingsError { setting, reason: format!("{value} is not between 1 and 3600") })
}
