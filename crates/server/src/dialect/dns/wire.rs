//! The JSON of the contract. Field names and status words stand here and nowhere else.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What stands about an object: the object itself, and in front of it whatever is under way for it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatusAnswer {
    /// The entries.
    pub result: Vec<Entry>,
    /// Leads to the next page, where `limit` was given and there is one.
    #[serde(rename = "nextCursor", skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// An object, or work that is under way for it.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "type": "Object", "status": "archived", "urn": "urn:nbn:de:hbz:6:1-31323", "contractor": "hbzadmin",
    "origName": "06-Apr-2016-T-15-10-01-urn+nbn+de+hbz+6+1-31323", "identifier": "8-2016040610214",
    "packages": ["06-Apr-2016-T-15-10-01-urn+nbn+de+hbz+6+1-31323.zip"],
    "statusInt": 100, "statusLongDescription": "The object is archived."
}))]
pub(super) struct Entry {
    /// What the entry is about.
    pub r#type: Kind,
    /// Where it stands, for people.
    pub status: String,
    /// The URN of the object; empty when it has none.
    pub urn: String,
    /// Whose it is.
    pub contractor: String,
    /// The depositor's name for the object.
    pub orig_name: String,
    /// The identifier of the object.
    pub identifier: String,
    /// The container names of the object's versions, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<Vec<String>>,
    /// Where it stands, for programs.
    pub status_int: u16,
    /// What that means, or the reason of a failure.
    pub status_long_description: String,
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) enum Kind {
    /// Work that is under way, or has failed.
    QueueEntry,
    /// An object.
    Object,
}

/// The status of an object.
pub(super) const ARCHIVED: (&str, u16) = ("archived", 100);
pub(super) const TRANSIENT: (&str, u16) = ("Object is in transient state", 50);
pub(super) const CHECK_NEEDED: (&str, u16) = ("archived - but check needed", 51);

/// The number of an object that is not there.
pub(super) const NOT_FOUND: u16 = 404;

/// The status of work that is under way.
pub(super) const IN_PROGRESS: &str = "package in progress";

/// The status of work that has failed, with its number. The space at the end is the service's own.
pub(super) fn in_progress_error(number: u16) -> String {
    format!("package in progress error: ({number}) ")
}

/// What is not as it should be with a request for the status.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusError {
    /// The meaning of the number.
    pub status: String,
    /// The number of the HTTP status.
    pub status_int: u16,
    /// What was wrong, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
}

/// Which object is to be delivered: at least one of the first three. Where several are given, all must name the same.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"urn": "urn:nbn:de:hbz:6:1-31323"}))]
pub(super) struct RetrievalRequest {
    /// The URN.
    pub urn: Option<String>,
    /// The identifier.
    pub identifier: Option<String>,
    /// The depositor's name.
    pub orig_name: Option<String>,
    /// The number of the version; the latest one unless given.
    #[schema(minimum = 1)]
    pub version: Option<u32>,
    /// The latest version of every file over all versions up to that one, rather than the files of that one.
    pub surface: Option<bool>,
}

/// Whether the delivery was ordered. It says neither that it was delivered nor that it was fetched.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct RetrievalAnswer {
    /// `true` or `false`, as a string.
    pub success: Success,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
}

/// A truth value, as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Success {
    /// It was ordered, now or before.
    True,
    /// It was not.
    False,
}

/// What lies in the outgoing directory.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OutgoingAnswer {
    /// The files, sorted by contractor and name.
    pub files: Vec<OutgoingEntry>,
}

/// A file in the outgoing directory.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutgoingEntry {
    /// Its name, also at the end of its address.
    #[schema(example = "8-2016040610214.tar")]
    pub name: String,
    /// Whose directory it lies in.
    pub contractor: String,
    /// Its length.
    pub size_bytes: u64,
    /// When it appeared.
    #[schema(format = DateTime)]
    pub delivered: String,
    /// When it was fetched whole for the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub fetched: Option<String>,
    /// When it is removed.
    #[schema(format = DateTime)]
    pub expires: String,
    /// Its MD5 checksum, if that is the one which was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// Its SHA-256 checksum, if that is the one which was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Its SHA-512 checksum, if that is the one which was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha512: Option<String>,
}
