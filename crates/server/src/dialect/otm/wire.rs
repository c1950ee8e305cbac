//! The JSON of the contract. Field names and status words stand here and nowhere else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::json::{Count, Entries};

/// What this Bridge is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = OtmDetails)]
pub(super) struct Details {
    /// The version of the program.
    pub bridge_version: &'static str,
    /// The types of checksums that it knows.
    #[schema(example = json!(["MD5", "SHA-256", "SHA-512"]))]
    pub checksum_types_supported: [&'static str; 3],
}

/// An account and its credentials, which are shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = OtmAccountAnswer)]
pub(super) struct AccountAnswer {
    /// The account.
    pub account_id: String,
    /// The name with which its gateway signs in.
    pub account_username: String,
    /// The password.
    pub account_password: String,
}

/// What is known of a file: its length and its checksums.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OtmFile, example = json!({"MD5": "d41d8cd98f00b204e9800998ecf8427e"}))]
pub(super) struct NamedFile {
    /// The length in bytes, in digits or as a number.
    #[schema(value_type = Option<String>, example = "654321")]
    pub size: Option<Count>,
    /// Its MD5 checksum.
    #[serde(rename = "MD5")]
    pub md5: Option<String>,
    /// Its SHA-256 checksum.
    #[serde(rename = "SHA-256")]
    pub sha256: Option<String>,
    /// Its SHA-512 checksum.
    #[serde(rename = "SHA-512")]
    pub sha512: Option<String>,
}

/// What is asked for of a filegroup.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Selected {
    /// The version; the latest one unless given.
    pub version: Option<String>,
    /// The files, each with checksums that it must have; all of the version unless given.
    pub files: Option<Entries<Option<NamedFile>>>,
}

/// The filegroups of a request.
pub(super) type SelectionRequest = Entries<Option<Selected>>;

/// What is asked for, filegroup by filegroup, for the description alone: the keys are identifiers.
#[derive(Debug, ToSchema)]
#[schema(as = OtmSelectionBody, example = json!({
    "filegroup-1": {"version": "2026-01-31", "files": {"a/b.tif": {"MD5": "d41d8cd98f00b204e9800998ecf8427e"}}},
    "filegroup-2": {}
}))]
#[allow(dead_code, reason = "it describes what is read as `SelectionRequest`")]
pub(super) struct SelectionBody(BTreeMap<String, SelectionOfFilegroup>);

/// What is asked for of a filegroup.
#[derive(Debug, ToSchema)]
#[schema(as = OtmSelectionOfFilegroup)]
#[allow(dead_code, reason = "it describes what is read as `Selected`")]
pub(super) struct SelectionOfFilegroup {
    /// The version; the latest one unless given.
    pub version: Option<String>,
    /// The files by their identifiers, each with checksums that it must have; all of the version unless given. Without a
    /// version, a checksum selects the newest version that has it.
    pub files: Option<BTreeMap<String, NamedFile>>,
}

/// A restore that was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = OtmRestoreAccepted)]
pub(super) struct RestoreAccepted {
    /// Its identifier.
    pub restore_id: String,
}

/// Where a restore stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(as = OtmRestoreStatus)]
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

/// A restore, and where it stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = OtmRestoreAnswer)]
pub(super) struct RestoreAnswer {
    /// How many files it has, in digits.
    pub file_count: String,
    /// Where it stands.
    pub status: RestoreStatus,
    /// Why not every file can be handed out, or how many were fetched.
    pub details: String,
    /// Until when its files can be fetched; empty until they can.
    pub expiration: String,
}

/// Until when a restore is to be kept.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OtmExpirationRequest)]
pub(super) struct ExpirationRequest {
    /// A time as in RFC 3339; as long as a new one is kept unless given.
    #[schema(format = DateTime, example = "2026-12-31T23:59:59Z")]
    pub expiration: Option<String>,
}

/// A file, on the way out.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = OtmStoredFile)]
pub(super) struct ToldFile {
    /// The length in bytes, in digits; left out when the file is missing in the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Its MD5 checksum, if it is on record.
    #[serde(rename = "MD5", skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// Its SHA-256 checksum, if it is on record.
    #[serde(rename = "SHA-256", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Its SHA-512 checksum, if it is on record.
    #[serde(rename = "SHA-512", skip_serializing_if = "Option::is_none")]
    pub sha512: Option<String>,
}

/// Where the files of deposits are fetched from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = OtmRegistration)]
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
#[schema(as = OtmDepositStatus)]
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
    /// The files, each with its length and checksums.
    pub files: Entries<NamedFile>,
}

/// The filegroups of a deposit.
pub(super) type DepositRequest = Entries<DepositedFilegroup>;

/// What is to be deposited, for the description alone: the keys are identifiers.
#[derive(Debug, ToSchema)]
#[schema(as = OtmDepositBody, example = json!({
    "filegroup-1": {
        "version": "2026-01-31",
        "files": {"a/b.tif": {"size": "654321", "MD5": "d41d8cd98f00b204e9800998ecf8427e"}}
    }
}))]
#[allow(dead_code, reason = "it describes what is read as `DepositRequest`")]
pub(super) struct DepositBody(BTreeMap<String, DepositOfFilegroup>);

/// A filegroup that is to be deposited.
#[derive(Debug, ToSchema)]
#[schema(as = OtmDepositOfFilegroup)]
#[allow(dead_code, reason = "it describes what is read as `DepositedFilegroup`")]
pub(super) struct DepositOfFilegroup {
    /// The version; one without a name unless given.
    pub version: Option<String>,
    /// The files by their identifiers, each with its length and one checksum at least.
    pub files: BTreeMap<String, NamedFile>,
}

/// A deposit, and where it stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = OtmDepositAnswer)]
pub(super) struct DepositAnswer {
    /// The version; empty when it has no name.
    pub version: String,
    /// How many files it has, in digits.
    pub file_count: String,
    /// Where it stands.
    pub status: DepositStatus,
    /// How many files were fetched, or why it was given up.
    pub details: String,
}

/// Something that was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OtmAuditEvent)]
pub(super) struct AuditEvent {
    /// When.
    #[schema(format = DateTime)]
    pub date: String,
    /// What: `ingest`, `replication`, `fixity`, `deletion`, `repair` or `restoration`.
    pub r#type: String,
    /// More about it, for a person to read.
    pub details: String,
    /// More about it, field by field.
    pub event: AuditFields,
}

/// What is known of an event. What is not known is left out.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = OtmAuditFields)]
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

/// An event that is added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schema(as = OtmAuditAddition)]
pub(super) struct AuditAddition {
    /// What was done: `ingest`, `replication`, `fixity`, `deletion`, `repair` or `restoration`.
    pub event_type: String,
    /// The files that it concerns, by their identifiers; all of the filegroup unless given.
    pub files: Option<Vec<String>>,
    /// More about it: `version`, `timestamp`, `checksum`, `checksum-algorithm`, `bytes`, `files` and `success` are known;
    /// everything else is kept as it is.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub event: BTreeMap<String, serde_json::Value>,
}

/// The events that are added, by the filegroups that they concern.
pub(super) type AuditRequest = Entries<AuditAddition>;

/// The events that are added, for the description alone: the keys are identifiers.
#[derive(Debug, ToSchema)]
#[schema(as = OtmAuditBody, example = json!({
    "filegroup-1": {"event-type": "replication", "event": {"version": "2026-01-31", "replicated-to": "the northern node"}}
}))]
#[allow(dead_code, reason = "it describes what is read as `AuditRequest`")]
pub(super) struct AuditBody(BTreeMap<String, AuditAddition>);

/// A deletion that was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = OtmDeleteAccepted)]
pub(super) struct DeleteAccepted {
    /// Its identifier.
    pub delete_id: String,
}

/// Where a deletion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(as = OtmDeleteStatus)]
#[allow(clippy::enum_variant_names, reason = "they are the words of the contract")]
pub(super) enum DeleteStatus {
    /// It is being carried out, or waits for its time or for somebody's approval.
    DeleteAccepted,
    /// The files are gone.
    DeleteComplete,
    /// It was withdrawn, or not all files could be deleted.
    DeleteError,
}

/// A deletion, and where it stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = OtmDeleteEntry)]
pub(super) struct DeleteEntry {
    /// How many files it has, in digits.
    pub file_count: String,
    /// Where it stands.
    pub status: DeleteStatus,
    /// What it waits for, or why it was given up.
    pub details: String,
}
