//! Calls about whole objects: list, look at, write, delete, recall, sign a link.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use object_store::signer::{SignedUrlOptions, Signer as _};
use quick_xml::escape::escape;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::{Failure, Fault};
use super::request::Call;
use super::settings::ConditionalPut;
use super::{Bucket, check_key};
use crate::digest::{Algorithm, Hasher};

/// How many keys one request may delete.
const DELETED_AT_ONCE: usize = 1_000;

/// A page of a list of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The directories that the list stops at, as keys without a slash at their end.
    pub directories: Vec<String>,
    /// The objects.
    pub objects: Vec<Listed>,
    /// What the next page is asked for with; `None` after the last.
    pub next: Option<String>,
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key below the prefix.
    pub key: String,
    /// Its length in bytes.
    pub len: u64,
    /// Its `ETag` with its quotes, where the server lists it.
    pub etag: Option<String>,
    /// Its storage class, where the server lists it.
    pub storage_class: Option<String>,
    /// When it was written.
    pub modified: Option<OffsetDateTime>,
}

/// What the server says of an object without its bytes.
#[derive(Clone, Debug)]
pub struct ObjectHead {
    /// Its length in bytes.
    pub len: u64,
    /// Its `ETag` with its quotes.
    pub etag: Option<String>,
    /// All headers, among them `x-amz-storage-class` and `x-amz-restore`.
    pub headers: HeaderMap,
}

impl ObjectHead {
    /// The text of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What kind of bytes an object holds, for those who fetch it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectType {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
}

/// On which condition an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutMode<'a> {
    /// Always.
    Overwrite,
    /// Only if there is none under the key.
    IfAbsent,
    /// Only if the one under the key has this `ETag`.
    IfMatch(&'a str),
}

/// What the server answers when an object is recalled from an archive class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecallAnswer {
    /// The recall has begun.
    Begun,
    /// It had begun before, and goes on.
    Running,
    /// The object can be read already; its time was prolonged.
    Readable,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBody {
    #[serde(default)]
    is_truncated: bool,
    next_continuation_token: Option<String>,
    #[serde(default)]
    contents: Vec<ListedBody>,
    #[serde(default)]
    common_prefixes: Vec<PrefixBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedBody {
    key: String,
    #[serde(default)]
    size: u64,
    #[serde(rename = "ETag")]
    e_tag: Option<String>,
    storage_class: Option<String>,
    last_modified: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PrefixBody {
    prefix: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteBody {
    #[serde(default, rename = "Error")]
    errors: Vec<DeleteError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct DeleteError {
    key: String,
    code: String,
    message: String,
}

impl Bucket {
    /// One page of what lies directly in a directory (`""` for the top), or with `deep` of all objects below it.
    /// `after` is the `next` of the page before.
    pub async fn list(&self, directory: &str, deep: bool, after: Option<&str>) -> io::Result<ListPage> {
        let prefix = self.full_prefix(directory);
        let mut call = Call::new("listing", Method::GET, None).query("list-type", "2").query("prefix", prefix);
        if !deep {
            call = call.query("delimiter", "/");
        }
        if let Some(token) = after {
            call = call.query("continuation-token", token);
        }
        let body: ListBody = self.xml(&call, &self.call(&call).await?)?;
        let mut page = ListPage::default();
        for found in body.common_prefixes {
            page.directories.extend(self.own_key(found.prefix.trim_end_matches('/')).map(str::to_owned));
        }
        for found in body.contents {
            let Some(key) = self.own_key(&found.key).map(str::to_owned) else { continue };
            let modified = found.last_modified.and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok());
            let (etag, storage_class) = (found.e_tag, found.storage_class);
            page.objects.push(Listed { key, len: found.size, etag, storage_class, modified });
        }
        page.next = body.next_continuation_token.filter(|_| body.is_truncated);
        Ok(page)
    }

    /// What the server says of an object; `None` when there is none.
    pub async fn head(&self, key: &str) -> io::Result<Option<ObjectHead>> {
        check_key(key)?;
        let call = Call::new("looking at", Method::HEAD, Some(key));
        let answer = match self.call(&call).await {
            Ok(answer) => answer,
            Err(error) if Fault::of(&error) == Some(Fault::Missing) => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let len = text("content-length").and_then(|len| len.parse().ok());
        let Some(len) = len else {
            return Err(self.failed(&call, Fault::Other, "the server does not say how long it is".to_owned()));
        };
        let etag = text("etag").map(str::to_owned);
        Ok(Some(ObjectHead { len, etag, headers: answer.headers }))
    }

    /// Writes an object at once, and gives its `ETag`. `AlreadyExists` when the condition does not hold.
    pub async fn put(
        &self,
        key: &str,
        bytes: Bytes,
        mode: PutMode<'_>,
        object_type: &ObjectType,
    ) -> io::Result<Option<String>> {
        check_key(key)?;
        let checksum = self.inner.settings.checksum.of(&bytes);
        let mut call = with_type(Call::new("writing", Method::PUT, Some(key)), object_type);
        if let Some((name, value)) = &checksum.header {
            call = call.header(name, value);
        }
        call = match mode {
            PutMode::Overwrite => call,
            PutMode::IfAbsent => call.header("if-none-match", "*"),
            PutMode::IfMatch(etag) => call.header("if-match", etag),
        };
        let call = call.body(bytes.clone(), checksum.sha256.clone());
        match self.call(&call).await {
            Ok(answer) => {
                let etag = answer.headers.get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
                checksum.compare(&answer.headers).map_err(|reason| self.failed(&call, Fault::Checksum, reason))?;
                Ok(etag)
            }
            // The answer to a try that succeeded may have been lost, and the next try found its own work.
            Err(error) if Fault::of(&error) == Some(Fault::Precondition) => match self.written_by_us(key, &bytes).await
            {
                Ok(Some(etag)) => Ok(Some(etag)),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// The `ETag` of what lies under a key, if it is exactly these bytes.
    async fn written_by_us(&self, key: &str, bytes: &[u8]) -> io::Result<Option<String>> {
        let Some(head) = self.head(key).await?.filter(|head| head.len == bytes.len() as u64) else { return Ok(None) };
        let found = self.get(key, bytes.len() as u64).await?;
        Ok(head.etag.filter(|_| found == bytes))
    }

    /// The whole of a small object; `InvalidData` when it is longer than `limit` bytes.
    pub async fn get(&self, key: &str, limit: u64) -> io::Result<Bytes> {
        check_key(key)?;
        let call = Call::new("reading", Method::GET, Some(key));
        let mut response = self.call_streaming(&call).await?;
        let mut body = Vec::new();
        while let Some(chunk) = self.next_chunk(&call, &mut response).await? {
            if (body.len() + chunk.len()) as u64 > limit {
                let message = format!("{} is longer than the {limit} bytes that are allowed for it", self.place(key));
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// Deletes an object; that there is none is no error.
    pub async fn delete(&self, key: &str) -> io::Result<()> {
        check_key(key)?;
        match self.call(&Call::new("deleting", Method::DELETE, Some(key))).await {
            Err(error) if Fault::of(&error) != Some(Fault::Missing) => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes objects, a thousand in one request; that some are not there is no error.
    pub async fn delete_many(&self, keys: &[String]) -> io::Result<()> {
        for some in keys.chunks(DELETED_AT_ONCE) {
            let mut body = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>".to_owned();
            for key in some {
                check_key(key)?;
                let _ = write!(body, "<Object><Key>{}</Key></Object>", escape(self.full_key(key)));
            }
            body.push_str("</Delete>");
            // This call wants a digest whatever the settings say.
            let (md5, sha256) = (digest(Algorithm::Md5, &body), digest(Algorithm::Sha256, &body));
            let call = Call::new("deleting objects in", Method::POST, None)
                .query("delete", "")
                .header("content-md5", STANDARD.encode(md5))
                .header("content-type", "application/xml")
                .body(body.into(), Some(sha256));
            let answer = self.call(&call).await?;
            let told: DeleteBody = self.xml(&call, &answer)?;
            if let Some(error) = told.errors.into_iter().find(|error| error.code != "NoSuchKey") {
                let reason = format!("{} stays: {} {}", error.key, error.code, error.message);
                return Err(self.failed(&call, Fault::Other, reason));
            }
        }
        Ok(())
    }

    /// Asks for an object in an archive class to become readable for some days. `tier` is `Expedited`, `Standard` or
    /// `Bulk`.
    pub async fn recall(&self, key: &str, days: u32, tier: &str) -> io::Result<RecallAnswer> {
        check_key(key)?;
        let body = format!(
            "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Days>{days}</Days>\
             <GlacierJobParameters><Tier>{}</Tier></GlacierJobParameters></RestoreRequest>",
            escape(tier)
        );
        let (md5, sha256) = (digest(Algorithm::Md5, &body), digest(Algorithm::Sha256, &body));
        let call = Call::new("recalling", Method::POST, Some(key))
            .query("restore", "")
            .header("content-md5", STANDARD.encode(md5))
            .header("content-type", "application/xml")
            .body(body.into(), Some(sha256));
        match self.call(&call).await {
            Ok(answer) if answer.status == reqwest::StatusCode::ACCEPTED => Ok(RecallAnswer::Begun),
            Ok(_) => Ok(RecallAnswer::Readable),
            Err(error) if Failure::has_code(&error, &["RestoreAlreadyInProgress"]) => Ok(RecallAnswer::Running),
            Err(error) => Err(error),
        }
    }

    /// A link under which anybody may fetch the object for `lifetime`, at most seven days. The answer carries the
    /// type and disposition that are given.
    pub async fn signed_link(&self, key: &str, lifetime: Duration, object_type: &ObjectType) -> io::Result<String> {
        check_key(key)?;
        let call = Call::new("signing a link to", Method::GET, Some(key));
        let given = [
            ("response-content-type", &object_type.content_type),
            ("response-content-disposition", &object_type.content_disposition),
        ];
        let query = given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        let path = ObjectPath::parse(self.full_key(key))
            .map_err(|error| self.failed(&call, Fault::Other, error.to_string()))?;
        let options = SignedUrlOptions::new().with_query(query);
        let signed = self.inner.links.signed_url_opts(Method::GET, &path, lifetime, &options).await;
        signed
            .map(String::from)
            .map_err(|error| self.failed(&call, Fault::Unavailable, format!("it cannot be signed: {error}")))
    }

    /// Whether the server keeps the conditions of a write, by the settings or by trying it with an object named
    /// `key`, which must not be in use and is deleted again.
    pub async fn probe_conditional_put(&self, key: &str) -> io::Result<bool> {
        match self.inner.settings.conditional_put {
            ConditionalPut::Yes => return Ok(true),
            ConditionalPut::No => return Ok(false),
            ConditionalPut::Auto => {}
        }
        let none = ObjectType::default();
        let kept = self.probe(key, &none).await;
        let deleted = self.delete(key).await;
        let kept = kept?;
        deleted.map(|()| kept)
    }

    async fn probe(&self, key: &str, none: &ObjectType) -> io::Result<bool> {
        self.put(key, Bytes::from_static(b"one"), PutMode::Overwrite, none).await?;
        let wrong = "\"00000000000000000000000000000000\"";
        for mode in [PutMode::IfAbsent, PutMode::IfMatch(wrong)] {
            match self.put(key, Bytes::from_static(b"another"), mode, none).await {
                Err(error) if Fault::of(&error) == Some(Fault::Precondition) => {}
                // Some servers say that they do not know the condition.
                Ok(_) => return Ok(false),
                Err(error) if Fault::of(&error) == Some(Fault::Other) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

pub(super) fn with_type<'a>(mut call: Call<'a>, object_type: &ObjectType) -> Call<'a> {
    if let Some(content_type) = &object_type.content_type {
        call = call.header("content-type", content_type);
    }
    if let Some(disposition) = &object_type.content_disposition {
        call = call.header("content-disposition", disposition);
    }
    call
}

pub(super) fn digest(algorithm: Algorithm, body: &str) -> Vec<u8> {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(body.as_bytes());
    hasher.finish().as_bytes().to_vec()
}
