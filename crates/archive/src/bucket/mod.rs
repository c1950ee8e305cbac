//! Objects in a bucket of S3-compatible storage.
//!
//! | file | what |
//! |---|---|
//! | `settings.rs` | where the bucket is and how it is spoken to |
//! | `credentials.rs` | in which order credentials are looked for |
//! | `request.rs` | one signed request: limits of time, retries, what an answer means |
//! | `error.rs` | what went wrong, as an [`std::io::Error`] that can be asked |
//! | `checksum.rs` | what proves that a body arrived as it left |
//! | `objects.rs` | list, look at, write, delete, recall, sign a link |
//! | `read.rs` | a range of an object as a blocking reader |
//! | `multipart.rs` | the calls of a multipart upload, and the list of those that nobody ended |
//! | `upload.rs` | a stream of bytes as the parts of an upload, several on their way at a time |
//!
//! Credentials and signatures are those of `object_store`. The requests are our own, because its calls hide what is
//! needed here: the id of an upload before its first byte, the headers of an object in an archive class, the
//! checksums that the server answers, and which of S3's errors it was.
//!
//! Keys are relative to the prefix of the bucket's address. The calls are asynchronous; a thread that may block uses
//! [`Bucket::wait`], and those that stream ([`BucketReader`], [`Upload`], [`Bucket::put_file`]) block by themselves.

mod checksum;
mod credentials;
mod error;
mod multipart;
mod objects;
mod read;
mod request;
mod settings;
mod upload;

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;

use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredentialProvider};
use tokio::runtime::Handle;

pub use checksum::Checksum;
pub use error::Fault;
pub use multipart::{Part, UnfinishedUpload, UploadMarker, UploadPage};
pub use objects::{ListPage, Listed, ObjectHead, ObjectType, PutMode, RecallAnswer};
pub use read::BucketReader;
pub use settings::{BucketSettings, ConditionalPut, SettingsError};
pub use upload::{Upload, UploadedParts};

/// A bucket, or the part of one below a prefix. Clones share connections and credentials.
#[derive(Clone)]
pub struct Bucket {
    inner: Arc<Inner>,
}

struct Inner {
    settings: BucketSettings,
    name: String,
    /// Without slashes at its ends; empty for the whole bucket.
    prefix: String,
    region: String,
    /// The address of the bucket, without a slash at its end.
    address: String,
    credentials: AwsCredentialProvider,
    /// Signs links, for the address under which clients reach the bucket.
    links: AmazonS3,
    http: reqwest::Client,
    runtime: Handle,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bucket").field("place", &self.place("")).finish_non_exhaustive()
    }
}

impl Bucket {
    /// Prepares to speak to a bucket. Nothing is sent yet: whether the bucket is there shows with the first call.
    /// What streams or waits does so on `runtime`.
    pub fn open(settings: BucketSettings, runtime: Handle) -> Result<Bucket, SettingsError> {
        let place = settings.place()?;
        let credentials = credentials::provider(&settings)?;
        let mut http = reqwest::Client::builder();
        if place.is_this_machine() {
            // No proxy leads back here.
            http = http.no_proxy();
        }
        let http = http
            .connect_timeout(settings.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .tcp_nodelay(true)
            .user_agent(concat!("dipper/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| SettingsError::new("endpoint", format!("no client can be made for it: {error}")))?;
        let public = settings.public_address(&place);
        let links = AmazonS3Builder::new()
            .with_bucket_name(&place.bucket)
            .with_region(&place.region)
            .with_virtual_hosted_style_request(true)
            .with_endpoint(public)
            .with_allow_http(true)
            .with_credentials(Arc::clone(&credentials))
            .build()
            .map_err(|error| SettingsError::new("url", error.to_string()))?;
        let address = settings.address(&place);
        Ok(Bucket {
            inner: Arc::new(Inner {
                name: place.bucket,
                prefix: place.prefix,
                region: place.region,
                address,
                credentials,
                links,
                http,
                runtime,
                settings,
            }),
        })
    }

    /// How the bucket is spoken to.
    pub fn settings(&self) -> &BucketSettings {
        &self.inner.settings
    }

    /// Runs one of the asynchronous calls on a thread that may block: one of `spawn_blocking`, or of one's own.
    pub fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        self.inner.runtime.block_on(call)
    }

    /// How a key is named to people: `s3://bucket/prefix/key`.
    pub fn place(&self, key: &str) -> String {
        format!("s3://{}/{}", self.inner.name, self.full_key(key))
    }

    /// The key in the bucket of a key below the prefix.
    fn full_key(&self, key: &str) -> String {
        match (self.inner.prefix.as_str(), key) {
            ("", key) => key.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, key) => format!("{prefix}/{key}"),
        }
    }

    /// The prefix of all keys below a directory, `""` for all keys of ours.
    fn full_prefix(&self, directory: &str) -> String {
        match self.full_key(directory) {
            key if key.is_empty() => key,
            key => key + "/",
        }
    }

    /// The key below the prefix of a key that the server named; `None` for what is not ours.
    fn own_key<'a>(&self, full: &'a str) -> Option<&'a str> {
        match self.inner.prefix.as_str() {
            "" => Some(full),
            prefix => full.strip_prefix(prefix)?.strip_prefix('/'),
        }
    }
}

/// Refuses keys that would not come back as they were given: an address takes `.`, `..` and empty parts out, and the
/// XML of a list has no control characters.
fn check_key(key: &str) -> io::Result<()> {
    let strange = key.len() > 1024 || key.contains(char::is_control);
    if strange || key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        let message = format!("{key:?} is not a key that can be used in a bucket");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}
