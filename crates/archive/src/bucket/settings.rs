//! Where a bucket is, and how it is spoken to.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::checksum::Checksum;

/// The smallest part of a multipart upload that is not the last, by S3's rules.
pub(super) const LEAST_PART_BYTES: u64 = 5 << 20;
/// The largest part.
const LARGEST_PART_BYTES: u64 = 5 << 30;

/// Where a bucket is, and how it is spoken to.
#[derive(Clone)]
pub struct BucketSettings {
    /// `s3://bucket/prefix`, or `gs://bucket/prefix` for Google's storage with HMAC keys.
    pub url: String,
    /// The server, as `https://host:port`; `None` for Amazon's, or Google's with `gs://`.
    pub endpoint: Option<String>,
    /// The server as those see it who follow signed links; `None` when it is the same.
    pub public_endpoint: Option<String>,
    /// The region; `None` takes `AWS_REGION` or `AWS_DEFAULT_REGION`, and `us-east-1` without them.
    pub region: Option<String>,
    /// Whether the bucket is named in the path, as `https://host/bucket/key`, rather than in the host's name.
    pub path_style: bool,
    /// Whether an endpoint without TLS is accepted.
    pub allow_http: bool,
    /// The access key; `None` has the environment, the profile file and the machine's role asked, in this order.
    pub access_key_id: Option<String>,
    /// The secret of the access key.
    pub secret_access_key: Option<String>,
    /// A file that holds the secret of the access key, and nothing else.
    pub secret_access_key_file: Option<PathBuf>,
    /// The token of temporary credentials.
    pub session_token: Option<String>,
    /// What proves that a body arrived as it left.
    pub checksum: Checksum,
    /// Whether the server keeps `If-Match` and `If-None-Match` when it is written to.
    pub conditional_put: ConditionalPut,
    /// The least size of a part of a multipart upload; what is not larger is sent at once.
    pub part_bytes: u64,
    /// How many parts, or objects, are on their way at a time.
    pub concurrency: NonZeroUsize,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the server may keep silent. A body that is sent has this time in addition to what it takes at
    /// 64 KiB a second.
    pub request_timeout: Duration,
    /// How often a request is tried again that failed for reasons which may pass.
    pub retries: u32,
    /// The first pause between two tries; it doubles with each, up to ten seconds.
    pub retry_pause: Duration,
}

/// Whether conditional writes can be relied upon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConditionalPut {
    /// Find out, see [`Bucket::probe_conditional_put`](super::Bucket::probe_conditional_put).
    #[default]
    Auto,
    /// The server keeps the conditions.
    Yes,
    /// The server ignores them.
    No,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct SettingsError {
    /// The name of the setting.
    pub setting: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl SettingsError {
    pub(super) fn new(setting: &'static str, reason: impl Into<String>) -> SettingsError {
        SettingsError { setting, reason: reason.into() }
    }
}

/// The settings that matter for an address, read.
pub(super) struct Place {
    pub(super) bucket: String,
    pub(super) prefix: String,
    pub(super) region: String,
    endpoint: Option<Url>,
    public_endpoint: Option<Url>,
}

impl Place {
    /// Whether the server runs on this machine.
    pub(super) fn is_this_machine(&self) -> bool {
        match self.endpoint.as_ref().and_then(Url::host) {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }
}

impl Default for BucketSettings {
    fn default() -> BucketSettings {
        BucketSettings {
            url: String::new(),
            endpoint: None,
            public_endpoint: None,
            region: None,
            path_style: false,
            allow_http: false,
            access_key_id: None,
            secret_access_key: None,
            secret_access_key_file: None,
            session_token: None,
            checksum: Checksum::default(),
            conditional_put: ConditionalPut::Auto,
            part_bytes: 16 << 20,
            concurrency: NonZeroUsize::MIN.saturating_add(3),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            retries: 5,
            retry_pause: Duration::from_millis(200),
        }
    }
}

impl fmt::Debug for BucketSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redacted = |secret: &Option<String>| secret.as_ref().map(|_| "(redacted)");
        formatter
            .debug_struct("BucketSettings")
            .field("url", &self.url)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("path_style", &self.path_style)
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &redacted(&self.secret_access_key))
            .field("secret_access_key_file", &self.secret_access_key_file)
            .field("session_token", &redacted(&self.session_token))
            .field("checksum", &self.checksum)
            .finish_non_exhaustive()
    }
}

impl BucketSettings {
    /// Looks whether a bucket could be opened with these settings, without asking the server or for credentials.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.place().map(|_| ())
    }

    /// The size of each part when `len` bytes are uploaded: large enough that S3's 10,000 parts suffice.
    pub(super) fn part_bytes_for(&self, len: u64) -> u64 {
        const MOST_PARTS: u64 = 10_000;
        const STEP: u64 = 1 << 20;
        let least = len.div_ceil(MOST_PARTS).next_multiple_of(STEP);
        self.part_bytes.max(least).clamp(LEAST_PART_BYTES, LARGEST_PART_BYTES)
    }

    pub(super) fn place(&self) -> Result<Place, SettingsError> {
        let url = Url::parse(&self.url)
            .map_err(|error| SettingsError::new("url", format!("{:?} is no address: {error}", self.url)))?;
        let google = url.scheme() == "gs";
        if !google && url.scheme() != "s3" {
            return Err(SettingsError::new("url", format!("{:?} should be s3://bucket/prefix", self.url)));
        }
        let bucket = url.host_str().filter(|name| is_bucket_name(name)).ok_or_else(|| {
            let reason = format!("{:?} names no bucket; it should be s3://bucket/prefix", self.url);
            SettingsError::new("url", reason)
        })?;
        let plain = url.query().is_none() && url.fragment().is_none() && url.port().is_none();
        if !plain || !url.username().is_empty() || url.password().is_some() {
            let reason = "only a bucket and a prefix may stand in it; the server goes into endpoint";
            return Err(SettingsError::new("url", reason));
        }
        let prefix = url.path().trim_matches('/');
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=".contains(&byte);
        if !prefix.bytes().all(allowed) || prefix.split('/').any(|part| part.is_empty() && !prefix.is_empty()) {
            let reason =
                format!("the prefix {prefix:?} may hold letters, digits and - _ . = only, in parts joined by /");
            return Err(SettingsError::new("url", reason));
        }
        if !(LEAST_PART_BYTES..=LARGEST_PART_BYTES).contains(&self.part_bytes) {
            let reason = format!("{} is not between 5 MiB and 5 GiB, as S3 wants its parts", self.part_bytes);
            return Err(SettingsError::new("part_bytes", reason));
        }
        let mut endpoint = self.server("endpoint", self.endpoint.as_deref())?;
        if google && endpoint.is_none() {
            endpoint = self.server("endpoint", Some("https://storage.googleapis.com"))?;
        }
        let public_endpoint = self.server("public_endpoint", self.public_endpoint.as_deref())?;
        let region = self.region.clone().filter(|region| !region.is_empty());
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let region = region
            .or_else(|| google.then(|| "auto".to_owned()))
            .or_else(|| variable("AWS_REGION"))
            .or_else(|| variable("AWS_DEFAULT_REGION"))
            .unwrap_or_else(|| "us-east-1".to_owned());
        Ok(Place { bucket: bucket.to_owned(), prefix: prefix.to_owned(), region, endpoint, public_endpoint })
    }

    fn server(&self, setting: &'static str, endpoint: Option<&str>) -> Result<Option<Url>, SettingsError> {
        let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) else { return Ok(None) };
        let url = Url::parse(endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none())
            .ok_or_else(|| {
                SettingsError::new(setting, format!("{endpoint:?} should be https://host or https://host:port"))
            })?;
        if url.scheme() == "http" && !self.allow_http {
            let reason = format!("{endpoint:?} has no TLS; set allow_http = true if that is meant");
            return Err(SettingsError::new(setting, reason));
        }
        Ok(Some(url))
    }

    /// The address of the bucket, without a slash at its end.
    pub(super) fn address(&self, place: &Place) -> String {
        self.address_at(place, place.endpoint.as_ref())
    }

    /// The address of the bucket for those who follow links.
    pub(super) fn public_address(&self, place: &Place) -> String {
        self.address_at(place, place.public_endpoint.as_ref().or(place.endpoint.as_ref()))
    }

    fn address_at(&self, place: &Place, endpoint: Option<&Url>) -> String {
        let (scheme, server) = match endpoint {
            Some(url) => (url.scheme(), url[url::Position::BeforeHost..].trim_end_matches('/').to_owned()),
            None => ("https", format!("s3.{}.amazonaws.com", place.region)),
        };
        // Wildcard certificates do not cover names with dots, so such buckets are named in the path.
        if self.path_style || place.bucket.contains('.') {
            format!("{scheme}://{server}/{}", place.bucket)
        } else {
            format!("{scheme}://{}.{server}", place.bucket)
        }
    }
}

fn is_bucket_name(name: &str) -> bool {
    (3..=63).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> BucketSettings {
        BucketSettings { url: url.to_owned(), region: Some("eu-north-1".to_owned()), ..BucketSettings::default() }
    }

    #[test]
    fn addresses() {
        let at = |settings: &BucketSettings| settings.place().map(|place| settings.address(&place)).unwrap_or_default();
        let amazon = settings("s3://dips/out");
        assert_eq!(at(&amazon), "https://dips.s3.eu-north-1.amazonaws.com");
        let path_style = BucketSettings { path_style: true, ..amazon.clone() };
        assert_eq!(at(&path_style), "https://s3.eu-north-1.amazonaws.com/dips");
        let dotted = settings("s3://dips.example.org");
        assert_eq!(at(&dotted), "https://s3.eu-north-1.amazonaws.com/dips.example.org");
        let own = BucketSettings { endpoint: Some("https://s3.example.org:9000/".to_owned()), ..amazon };
        assert_eq!(at(&own), "https://dips.s3.example.org:9000");
        assert_eq!(at(&settings("gs://dips")), "https://dips.storage.googleapis.com");
    }

    #[test]
    fn refused_settings_name_their_field() {
        let table = [
            ("", "url"),
            ("file:///tmp", "url"),
            ("s3://", "url"),
            ("s3://ab", "url"),
            ("s3://bucket/a//b", "url"),
            ("s3://bucket/a?b", "url"),
            ("s3://user@bucket/a", "url"),
            ("s3://bucket/a%20b", "url"),
        ];
        for (url, field) in table {
            assert_eq!(settings(url).check().map_err(|error| error.setting), Err(field), "{url}");
        }
        let without_tls = BucketSettings { endpoint: Some("http://s3".to_owned()), ..settings("s3://bucket") };
        assert_eq!(without_tls.check().map_err(|error| error.setting), Err("endpoint"));
        assert!(BucketSettings { allow_http: true, ..without_tls }.check().is_ok());
        let small = BucketSettings { part_bytes: 1, ..settings("s3://bucket") };
        assert_eq!(small.check().map_err(|error| error.setting), Err("part_bytes"));
    }

    #[test]
    fn parts_grow_with_the_object_so_that_ten_thousand_suffice() {
        let settings = settings("s3://bucket");
        assert_eq!(settings.part_bytes_for(0), 16 << 20);
        assert_eq!(settings.part_bytes_for(160_000 << 20), 16 << 20);
        for len in [(160_000_u64 << 20) + 1, 2_000_000_000_000, 5 << 40] {
            let part = settings.part_bytes_for(len);
            assert!(part > 16 << 20 && len.div_ceil(part) <= 10_000, "{len}: {part}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let settings = BucketSettings {
            secret_access_key: Some("s3cret".to_owned()),
            session_token: Some("t0ken".to_owned()),
            ..settings("s3://bucket")
        };
        let shown = format!("{settings:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("t0ken"), "{shown}");
    }
}
