//! The calls of a multipart upload, and the list of those that nobody ended.

use std::fmt::Write as _;
use std::io;

use bytes::Bytes;
use quick_xml::escape::escape;
use reqwest::Method;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::{Failure, Fault};
use super::objects::{ObjectType, with_type};
use super::request::Call;
use super::{Bucket, check_key};

/// A part that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub(super) number: u32,
    pub(super) etag: String,
    pub(super) checksum: Option<String>,
}

/// An upload that was begun, and neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// The key below the prefix.
    pub key: String,
    /// The id that the server gave it.
    pub id: String,
    /// When it was begun.
    pub begun: Option<OffsetDateTime>,
}

/// A page of unfinished uploads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadPage {
    /// The uploads.
    pub uploads: Vec<UnfinishedUpload>,
    /// What the next page is asked for with; `None` after the last.
    pub next: Option<UploadMarker>,
}

/// Where the next page of unfinished uploads begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadMarker {
    key: String,
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BegunBody {
    upload_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct CompletedBody {
    #[serde(rename = "ETag")]
    e_tag: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadsBody {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_upload_id_marker: String,
    #[serde(default, rename = "Upload")]
    uploads: Vec<UploadBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadBody {
    key: String,
    upload_id: String,
    initiated: Option<String>,
}

impl Bucket {
    /// Begins an upload and gives its id. Nothing shows under the key until it is completed.
    pub async fn begin_upload(&self, key: &str, object_type: &ObjectType) -> io::Result<String> {
        check_key(key)?;
        let mut call =
            with_type(Call::new("beginning to upload", Method::POST, Some(key)).query("uploads", ""), object_type);
        if let Some(algorithm) = self.inner.settings.checksum.upload_algorithm() {
            call = call.header("x-amz-checksum-algorithm", algorithm);
        }
        let answer = self.call(&call).await?;
        let begun: BegunBody = self.xml(&call, &answer)?;
        Ok(begun.upload_id)
    }

    /// Sends a part. Parts are numbered from 1; sending a number again replaces the part.
    pub async fn put_part(&self, key: &str, upload_id: &str, number: u32, bytes: Bytes) -> io::Result<Part> {
        let algorithm = self.inner.settings.checksum;
        // A part is large enough that its digest would hold up the runtime.
        let body = bytes.clone();
        let hashing = tokio::task::spawn_blocking(move || algorithm.of(&body)).await;
        let checksum = hashing.map_err(io::Error::other)?;
        let mut call = Call::new("uploading a part of", Method::PUT, Some(key))
            .query("partNumber", number.to_string())
            .query("uploadId", upload_id);
        if let Some((name, value)) = &checksum.header {
            call = call.header(name, value);
        }
        let call = call.body(bytes, checksum.sha256.clone());
        let answer = self.call(&call).await?;
        checksum.compare(&answer.headers).map_err(|reason| self.failed(&call, Fault::Checksum, reason))?;
        let etag = answer.headers.get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let Some(etag) = etag else {
            return Err(self.failed(&call, Fault::Other, "the server gives no ETag for a part".to_owned()));
        };
        Ok(Part { number, etag, checksum: checksum.amz_value().map(str::to_owned) })
    }

    /// Makes the object of its parts, which are given in order: it appears under its key whole, in place of what was
    /// there. Gives its `ETag`.
    pub async fn complete_upload(&self, key: &str, upload_id: &str, parts: &[Part]) -> io::Result<Option<String>> {
        let element = self.inner.settings.checksum.part_element();
        let mut body = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_owned();
        for part in parts {
            let _ = write!(body, "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag>", part.number, escape(&part.etag));
            if let Some(checksum) = &part.checksum {
                let _ = write!(body, "<{element}>{checksum}</{element}>");
            }
            body.push_str("</Part>");
        }
        body.push_str("</CompleteMultipartUpload>");
        let sha256 = super::objects::digest(crate::digest::Algorithm::Sha256, &body);
        // Some servers copy the parts together before they answer.
        let call = Call::new("completing the upload of", Method::POST, Some(key))
            .query("uploadId", upload_id)
            .header("content-type", "application/xml")
            .body(body.into(), Some(sha256))
            .patience(5);
        let answer = self.call(&call).await?;
        let completed: CompletedBody = self.xml(&call, &answer)?;
        Ok(completed.e_tag)
    }

    /// Ends an upload without an object, and has the server forget its parts. That there is none is no error.
    pub async fn abort_upload(&self, key: &str, upload_id: &str) -> io::Result<()> {
        let call = Call::new("aborting the upload of", Method::DELETE, Some(key)).query("uploadId", upload_id);
        match self.call(&call).await {
            Err(error) if Fault::of(&error) != Some(Fault::Missing) => Err(error),
            _ => Ok(()),
        }
    }

    /// One page of the uploads below a directory (`""` for all below the prefix) that nobody ended. An error with the
    /// kind `Unsupported` where the server cannot tell.
    pub async fn unfinished_uploads(&self, directory: &str, after: Option<&UploadMarker>) -> io::Result<UploadPage> {
        let mut call = Call::new("listing the uploads in", Method::GET, None)
            .query("uploads", "")
            .query("prefix", self.full_prefix(directory));
        if let Some(marker) = after {
            call = call.query("key-marker", &marker.key).query("upload-id-marker", &marker.id);
        }
        let answer = match self.call(&call).await {
            Err(error) if Failure::has_code(&error, &["NotImplemented", "MethodNotAllowed"]) => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, error));
            }
            answer => answer?,
        };
        let body: UploadsBody = self.xml(&call, &answer)?;
        let mut page = UploadPage::default();
        for found in body.uploads {
            // Some servers do not keep to the prefix that was asked for.
            let Some(own) = self.own_key(&found.key) else { continue };
            if !directory.is_empty() && !own.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')) {
                continue;
            }
            let begun = found.initiated.and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok());
            page.uploads.push(UnfinishedUpload { key: own.to_owned(), id: found.upload_id, begun });
        }
        if body.is_truncated {
            page.next = Some(UploadMarker { key: body.next_key_marker, id: body.next_upload_id_marker });
        }
        Ok(page)
    }
}
