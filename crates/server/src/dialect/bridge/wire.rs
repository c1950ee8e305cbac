//! The JSON of the contract. Field names and status words stand here and nowhere else.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::json::Entries;

/// What this Bridge is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Details {
    /// The version of the program.
    pub bridge_version: &'static str,
    /// The types of checksums that it knows.
    #[schema(example = json!(["MD5", "SHA-256", "SHA-512"]))]
    pub supported_checksum_types: [&'static str; 3],
}

/// An account and its credentials, which are shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct AccountAnswer {
    /// The account.
    pub account_id: String,
    /// The name with which its gateway signs in.
    pub account_username: String,
    /// The password.
    pub account_password: String,
}

/// What is asked for of a filegroup.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Selected {
    /// The version; the latest one unless given.
    pub version: Option<String>,
    /// The files, each with a checksum that it must have; all of the version unless given.
    pub files: Option<Entries<Option<String>>>,
}

/// The filegroups of a request.
pub(super) type SelectionRequest = Entries<Option<Selected>>;

/// What is asked for, filegroup by filegroup, for the description alone: the keys are identifiers.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "filegroup-1": {"version": "2026-01-31", "files": {"a/b.tif": "d41d8cd98f00b204e9800998ecf8427e", "c.tif": ""}},
    "filegroup-2": {}
}))]
#[allow(dead_code, reason = "it describes what is read as `SelectionRequest`")]
pub(super) struct SelectionBody(std::collections::BTreeMap<String, SelectionOfFilegroup>);

/// What is asked for of a filegroup.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes what is read as `Selected`")]
pub(super) struct SelectionOfFilegroup {
    /// The version; the latest one unless given.
    pub version: Option<String>,
    /// The files by their identifiers, each with a checksum that it must have or an empty text; all of the version unless
    /// given. Without a version, a checksum selects the newest version that has it.
    pub files: Option<std::collections::BTreeMap<String, String>>,
}

/// A restore that was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RestoreAccepted {
    /// Its identifier.
    pub restore_id: String,
}

/// Where a restore stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(clippy::enum_variant_names, reason = "they are the words of the contract")]
pub(super) enum RestoreStatus {
    /// Its files are being checked, or wait for that.
    RestoreAccepted,
    /// Every file can be fetched.
    RestoreStaged,
    /// Every file was fetched.
    RestoreComplete,
    /// Not every file can be handed out.
    RestoreError,
    /// Its time is over, or it was given back.
    RestoreExpired,
}

/// Whether a file can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum FileStatus {
    /// It was not checked yet.
    Pending,
    /// It can be fetched.
    Staged,
    /// It cannot be handed out.
    Error,
}

/// A file of a restore.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RestoredEntry {
    /// The filegroup.
    pub filegroup: String,
    /// The version; empty when it has no name.
    pub version: String,
    /// The file.
    pub file: String,
    /// Whether it can be fetched.
    pub status: FileStatus,
    /// Its length, in digits.
    pub size: String,
    /// Its checksum; empty while it is not known.
    pub checksum: String,
    /// Why it cannot be handed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

/// A restore, for the description alone: it is written while it is read from the catalogue.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes what is written piece by piece")]
pub(super) struct RestoreAnswer {
    /// Its files.
    pub files: Vec<RestoredEntry>,
    /// Where it stands.
    pub status: RestoreStatus,
    /// Until when its files can be fetched; empty until they can.
    pub expiration: String,
    /// Why not every file can be handed out.
    pub details: Option<String>,
}

/// What follows the files of a restore.
#[derive(Debug, Serialize)]
pub(super) struct RestoreEnd {
    pub status: RestoreStatus,
    pub expiration: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

/// Until when a restore is to be kept.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpirationRequest {
    /// A time as in RFC 3339; as long as a new one is kept unless given.
    #[schema(format = DateTime, example = "2026-12-31T23:59:59Z")]
    pub expiration: Option<String>,
}

/// A restore that is kept for another time.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ExpirationAnswer {
    /// The restore.
    pub restore_id: String,
    /// Where it stands.
    pub status: RestoreStatus,
    /// Until when its files can be fetched.
    #[schema(format = DateTime)]
    pub expiration: String,
}

/// A file of a version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListedFile {
    /// Its length, in digits; empty when it is missing in the archive.
    pub size: String,
    /// Its checksum; empty when none of the type is on record.
    pub checksum: String,
}

/// Where the files of deposits are fetched from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Registration {
    /// What the addresses of files begin with: `/filegroup/file?versionId=version` follows.
    #[schema(example = "https://repository.example.org/gateway")]
    pub gateway_url: String,
    /// The name with which files are asked for there.
    pub gateway_username: String,
    /// The password, which is kept encrypted.
    pub gateway_password: String,
}

/// Where a deposit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(clippy::enum_variant_names, reason = "they are the words of the contract")]
pub(super) enum DepositStatus {
    /// Its files are being fetched, or wait for that.
    DepositAccepted,
    /// All files were fetched, and are being stored.
    DepositStaged,
    /// It is part of the archive.
    DepositComplete,
    /// It was given up, and nothing of it is part of the archive.
    DepositError,
}

/// A filegroup that is to be deposited.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DepositedFilegroup {
    /// The version; one without a name unless given.
    #[serde(default)]
    pub version: Option<String>,
    /// The files, each with its checksum.
    pub files: Entries<String>,
}

/// The filegroups of a deposit.
pub(super) type DepositRequest = Entries<DepositedFilegroup>;

/// What is to be deposited, for the description alone: the keys are identifiers.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "filegroup-1": {"version": "2026-01-31", "files": {"a/b.tif": "d41d8cd98f00b204e9800998ecf8427e"}}
}))]
#[allow(dead_code, reason = "it describes what is read as `DepositRequest`")]
pub(super) struct DepositBody(std::collections::BTreeMap<String, DepositOfFilegroup>);

/// A filegroup that is to be deposited.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes what is read as `DepositedFilegroup`")]
pub(super) struct DepositOfFilegroup {
    /// The version; one without a name unless given.
    pub version: Option<String>,
    /// The files by their identifiers, each with its checksum.
    pub files: std::collections::BTreeMap<String, String>,
}

/// A deposit in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DepositEntry {
    /// How many files it has, in digits.
    pub files: String,
    /// Where it stands.
    pub status: DepositStatus,
}

/// How far a file of a deposit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum DepositedStatus {
    /// It was not fetched yet.
    Pending,
    /// It was fetched, and its checksum matched.
    Retrieved,
    /// An earlier version has it; it is not fetched.
    Existing,
}

/// A file of a deposit.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DepositFileEntry {
    /// How far it is.
    pub status: DepositedStatus,
    /// Its length, in digits; empty while it is not known.
    pub size: String,
    /// Its checksum, as it was declared.
    pub checksum: String,
}

/// A deposit with its files, for the description alone: it is written while it is read from the catalogue.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "kebab-case")]
#[allow(dead_code, reason = "it describes what is written piece by piece")]
pub(super) struct DepositAnswer {
    /// Where it stands.
    pub deposit_state: DepositStatus,
    /// Why it was given up.
    pub details: Option<String>,
    /// Its files by their identifiers.
    pub files: std::collections::BTreeMap<String, DepositFileEntry>,
}

/// Something that was done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditEvent {
    /// When.
    #[schema(format = DateTime)]
    pub date: String,
    /// What: `ingest`, `replication`, `fixity`, `deletion`, `repair` or `restoration`.
    pub r#type: String,
    /// More about it, field by field.
    pub event: AuditFields,
}

/// What is known of an event. What is not known is left out.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct AuditFields {
    /// The filegroup, or the file.
    pub identifier: String,
    /// The version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it happened.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// A checksum: of the file, or of the inventory of the filegroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum_algorithm: Option<String>,
    /// How many bytes it concerns, in digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// How many files it concerns, in digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
    /// Whether it went well.
    pub success: bool,
    /// Who or what did it.
    pub agent: String,
    /// More about it, for a person to read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub details: String,
    /// Its place in the audit log of the archive, whose entries are chained.
    pub number: u64,
    /// What seals the entry.
    pub hash: String,
}

/// A deletion that was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct DeleteAccepted {
    /// Its identifier.
    pub delete_id: String,
}

/// Where a deletion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(clippy::enum_variant_names, reason = "they are the words of the contract")]
pub(super) enum DeleteStatus {
    /// It is being carried out, or waits for its time or for somebody's approval.
    DeleteAccepted,
    /// The files are gone.
    DeleteComplete,
    /// It was withdrawn, or not all files could be deleted.
    DeleteError,
}

/// A deletion in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeleteEntry {
    /// How many files it has, in digits.
    pub files: String,
    /// Where it stands.
    pub status: DeleteStatus,
}

/// How far a file of a deletion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RemovalStatus {
    /// It is there.
    Pending,
    /// It is gone.
    Deleted,
    /// It was not deleted.
    Error,
}

/// A file of a deletion.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeletedFileAnswer {
    /// How far it is.
    pub status: RemovalStatus,
    /// Why it was not deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

/// A deletion with its files, for the description alone.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes what is written piece by piece")]
pub(super) struct DeleteAnswer {
    /// Where it stands.
    pub status: DeleteStatus,
    /// Why it was given up.
    pub details: Option<String>,
    /// Its filegroups, each with its files.
    pub filegroups: std::collections::BTreeMap<String, std::collections::BTreeMap<String, DeletedFileAnswer>>,
}
