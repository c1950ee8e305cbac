//! The JSON of the contract. Field names and status words stand here and nowhere else.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// An order for a dissemination.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"archiveId": "68cd11bce080fe9cdf1dac1d", "priority": 50}))]
pub(super) struct DisseminationOrder {
    /// The archived package to deliver.
    #[schema(min_length = 1)]
    pub archive_id: String,
    /// The urgency, 50 unless given. Keep the urgent end for urgent needs.
    #[serde(default, deserialize_with = "whole_number")]
    #[schema(minimum = 1, maximum = 100, default = 50)]
    pub priority: Option<i64>,
}

/// A whole number as JSON Schema has it: `100.0` is one. Some clients know no other numbers.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else { return Ok(None) };
    let float = || number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15);
    let whole = number.as_i64().or_else(|| float().map(|float| float as i64));
    whole.map(Some).ok_or_else(|| D::Error::custom(format!("{number} is not a whole number from 1 to 100")))
}

/// A dissemination.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dissemination {
    /// 22 characters in base 62.
    #[schema(example = "8Z7x1T9rN0Xc2B5Yq4L3zP")]
    pub dissemination_id: String,
    /// The archived package.
    pub archive_id: String,
    /// The client that ordered.
    pub client_id: String,
    /// The contract that the package belongs to.
    pub contract_id: String,
    /// The depositor's own name for the package.
    pub object_id: String,
    /// The sizes of the package's files, added up.
    pub sum_size_in_bytes: u64,
    /// Where the dissemination stands.
    pub status: Status,
    /// The urgency.
    pub priority: i64,
    /// When it was ordered.
    #[schema(example = "2025-09-09T12:34:56.123456+01:00", format = DateTime)]
    pub date_created: String,
    /// When its status last changed.
    #[schema(format = DateTime)]
    pub date_updated: String,
    /// When it was delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub date_delivered: Option<String>,
    /// When the links expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expiration_date: Option<String>,
    /// What was delivered, as in the webhook, as long as it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<DeliveredFile>>,
    /// Why it ended without a delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// Where a dissemination stands; it moves down this list, never up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Status {
    /// Received.
    Received,
    /// Placed in the queue.
    Queued,
    /// Being brought within reach.
    DownloadingFromRepository,
    /// Being read and verified.
    FixityCheck,
    /// Being published.
    #[serde(rename = "UPLOADING_TO_S3")]
    UploadingToS3,
    /// Delivered.
    Disseminated,
    /// Failed.
    Failed,
    /// Rejected when its turn came, or withdrawn.
    Rejected,
}

/// A delivered file.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliveredFile {
    /// Where to fetch it, without further credentials, until the link expires.
    #[serde(rename = "downloadURL")]
    pub download_url: String,
    /// The name to save it under.
    pub filename: String,
    /// Its length in bytes.
    pub filesize: u64,
    /// When the link expires.
    #[schema(format = DateTime)]
    pub expiration_date: String,
    /// The checksum of the whole file, in hexadecimal.
    pub checksum: String,
    /// The algorithm of the checksum.
    #[schema(example = "MD5")]
    pub checksum_algorithm: &'static str,
}

/// One page of disseminations.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DisseminationPage {
    /// The disseminations, newest first.
    pub disseminations: Vec<Dissemination>,
    /// Send it as `cursor` to get the next page; left out on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// An archived package.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Archive {
    /// Its identifier.
    pub archive_id: String,
    /// The contract that it belongs to.
    pub contract_id: String,
    /// The depositor's own name for it.
    pub object_id: String,
    /// Whether it can be delivered.
    pub status: ArchiveStatus,
    /// The sizes of its files, added up.
    pub sum_size_in_bytes: u64,
    /// How many files it has.
    pub file_count: u64,
    /// The number of its newest version.
    pub version: u32,
    /// When its first version was made.
    #[schema(format = DateTime)]
    pub date_created: String,
    /// When its record last changed.
    #[schema(format = DateTime)]
    pub date_updated: String,
    /// When all its content last passed the fixity check.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub date_verified: Option<String>,
}

/// Whether a package can be delivered: only one that is preserved can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ArchiveStatus {
    /// It can.
    Preserved,
    /// A fixity check failed.
    Damaged,
    /// Its content is not there.
    Missing,
    /// It was deleted.
    Deleted,
}

/// One page of archived packages.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ArchivePage {
    /// The packages, sorted by identifier.
    pub archives: Vec<Archive>,
    /// Send it as `cursor` to get the next page; left out on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// An error answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorAnswer {
    /// What is wrong.
    pub error: ErrorBody,
}

/// What is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// A word for programs.
    #[schema(example = "ARCHIVE_NOT_FOUND")]
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// What else helps, such as the id of the dissemination that exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

/// What a webhook receives.
#[derive(Debug, Serialize)]
pub(super) struct NoticeBody {
    /// `dissemination.delivered`, `dissemination.failed` or `dissemination.rejected`.
    pub r#type: &'static str,
    /// When it happened.
    pub timestamp: String,
    /// What happened.
    pub data: NoticeData,
}

/// What happened.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NoticeData {
    /// The archived package.
    pub archive_id: String,
    /// The dissemination.
    pub dissemination_id: String,
    /// The depositor's own name for the package.
    pub object_id: String,
    /// The client that ordered.
    pub client_id: String,
    /// The contract.
    pub contract_id: String,
    /// The sizes of the package's files, added up.
    pub sum_size_in_bytes: u64,
    /// What was delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<DeliveredFile>>,
    /// Why nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
