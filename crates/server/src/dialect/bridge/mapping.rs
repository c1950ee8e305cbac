//! Between the core's words and the wire's. Every match is exhaustive: a new state of the core does not compile until this
//! contract has a word for it.

use dipper_archive::digest::Algorithm;
use dipper_core::db::deletions::Removal;
use dipper_core::db::deposits::{self, DepositFile};
use dipper_core::db::restores::{FileState, RestoreFile, RestoreState};
use dipper_core::deletion::DeletionEntry;
use dipper_core::deposit::{DepositEntry, DepositedFile};
use dipper_core::intake::{AuditRecord, RestoreView};
use dipper_core::order::OrderState;
use dipper_core::selection::{SelectedFile, Selection};

use super::wire::{
    AuditEvent, AuditFields, DeleteStatus, DepositFileEntry, DepositRequest, DepositStatus, DepositedFilegroup,
    DepositedStatus, FileStatus, RemovalStatus, RestoreEnd, RestoreStatus, RestoredEntry, Selected, SelectionRequest,
};
use crate::http::checksum;
use crate::http::refusal::{Part, Refusal};
use crate::http::refused;

/// The type of checksums where none is named.
pub(super) const DEFAULT_CHECKSUM: Algorithm = Algorithm::Md5;

/// What is asked for of filegroups, or every part of it that cannot be read.
pub(super) fn selections(request: SelectionRequest, algorithm: Algorithm) -> Result<Vec<Selection>, Refusal> {
    if request.0.is_empty() {
        return Err(Refusal::bad_request("the request names no filegroup"));
    }
    let mut parts = Vec::new();
    let mut selections = Vec::with_capacity(request.0.len());
    for (object_id, selected) in request.0 {
        let selected = selected.unwrap_or_default();
        let files = selected.files.map(|files| {
            let mut read = Vec::with_capacity(files.0.len());
            for (path, checksum) in files.0 {
                match checksum.as_deref().filter(|text| !text.is_empty()).map(|text| checksum::parse(algorithm, text)) {
                    None => read.push(SelectedFile { path, checksums: Vec::new() }),
                    Some(Ok(digest)) => read.push(SelectedFile { path, checksums: vec![(algorithm, digest)] }),
                    Some(Err(message)) => {
                        parts.push(Part { filegroup: object_id.clone(), file: Some(path), message });
                    }
                }
            }
            read
        });
        selections.push(Selection { object_id, version: selected.version, files });
    }
    if parts.is_empty() { Ok(selections) } else { Err(refused::unprocessable("CHECKSUM", parts)) }
}

/// What the states of restores begin with.
pub(super) const RESTORE: &str = "RESTORE_";
/// The states of restores by their names.
pub(super) const RESTORE_STATES: [(&str, RestoreState); 5] = [
    ("ACCEPTED", RestoreState::Accepted),
    ("STAGED", RestoreState::Staged),
    ("COMPLETE", RestoreState::Complete),
    ("ERROR", RestoreState::Failed),
    ("EXPIRED", RestoreState::Expired),
];

pub(super) fn restore_status(state: RestoreState) -> RestoreStatus {
    match state {
        RestoreState::Accepted => RestoreStatus::RestoreAccepted,
        RestoreState::Staged => RestoreStatus::RestoreStaged,
        RestoreState::Complete => RestoreStatus::RestoreComplete,
        RestoreState::Failed => RestoreStatus::RestoreError,
        RestoreState::Expired => RestoreStatus::RestoreExpired,
    }
}

/// Until when a restore is kept; empty while that is not known.
pub(super) fn expiration(view: &RestoreView) -> String {
    let known = view.restore.released.or(view.restore.expires);
    known.map(|time| time.to_string()).unwrap_or_default()
}

pub(super) fn restore_end(view: &RestoreView) -> RestoreEnd {
    RestoreEnd {
        status: restore_status(view.state),
        expiration: expiration(view),
        details: view.restore.failure.as_ref().map(|failure| failure.message.clone()),
    }
}

pub(super) fn restored(file: RestoreFile, algorithm: Algorithm) -> RestoredEntry {
    let checksum = file.checksums.of(algorithm);
    RestoredEntry {
        filegroup: file.object_id,
        version: file.label,
        file: file.path,
        status: match file.state {
            FileState::Pending => FileStatus::Pending,
            FileState::Staged => FileStatus::Staged,
            FileState::Failed => FileStatus::Error,
        },
        size: file.size_bytes.to_string(),
        checksum: checksum.map(|checksum| checksum.to_string()).unwrap_or_default(),
        details: file.reason,
    }
}

/// What the states of deposits begin with.
pub(super) const DEPOSIT: &str = "DEPOSIT_";
/// The states of deposits by their names.
pub(super) const DEPOSIT_STATES: [(&str, DepositStatus); 4] = [
    ("ACCEPTED", DepositStatus::DepositAccepted),
    ("STAGED", DepositStatus::DepositStaged),
    ("COMPLETE", DepositStatus::DepositComplete),
    ("ERROR", DepositStatus::DepositError),
];

/// Where a deposit stands whose order is in that state; `None` of states that no deposit has.
pub(super) fn deposit_status(state: OrderState) -> Option<DepositStatus> {
    match state {
        OrderState::Received | OrderState::Queued | OrderState::Pulling => Some(DepositStatus::DepositAccepted),
        OrderState::Storing => Some(DepositStatus::DepositStaged),
        OrderState::Stored => Some(DepositStatus::DepositComplete),
        OrderState::Failed | OrderState::Rejected | OrderState::Cancelled => Some(DepositStatus::DepositError),
        OrderState::Held
        | OrderState::Recalling
        | OrderState::Verifying
        | OrderState::Delivering
        | OrderState::Deleting
        | OrderState::Delivered
        | OrderState::Deleted => None,
    }
}

/// The states of the orders of deposits that stand there; where nothing is asked for, of all that are not complete.
pub(super) fn deposit_states(asked: Option<DepositStatus>) -> Vec<OrderState> {
    let wanted = |status: DepositStatus| match asked {
        Some(asked) => status == asked,
        None => status != DepositStatus::DepositComplete,
    };
    OrderState::ALL.iter().copied().filter(|state| deposit_status(*state).is_some_and(wanted)).collect()
}

/// What is to be deposited. What is wrong with it, the core says.
pub(super) fn deposit(request: DepositRequest, algorithm: Algorithm) -> Vec<DepositEntry> {
    let file =
        |(id, checksum): (String, String)| DepositedFile { id, size: None, checksums: vec![(algorithm, checksum)] };
    let filegroup = |(filegroup, deposited): (String, DepositedFilegroup)| DepositEntry {
        filegroup,
        version: deposited.version.unwrap_or_default(),
        files: deposited.files.0.into_iter().map(file).collect(),
    };
    request.0.into_iter().map(filegroup).collect()
}

/// A file of a deposit, with the checksum of that type that was declared, or another one.
pub(super) fn deposited(file: &DepositFile, algorithm: Algorithm) -> DepositFileEntry {
    let declared = file.digests.iter().find(|(known, _)| *known == algorithm).or(file.digests.first());
    DepositFileEntry {
        status: match file.state {
            deposits::FileState::Pending => DepositedStatus::Pending,
            deposits::FileState::Retrieved => DepositedStatus::Retrieved,
            deposits::FileState::Existing => DepositedStatus::Existing,
        },
        size: file.size_bytes.map(|size| size.to_string()).unwrap_or_default(),
        checksum: declared.map(|(_, digest)| digest.to_string()).unwrap_or_default(),
    }
}

/// An entry of the audit log, as far as it concerns what was asked for.
pub(super) fn event(record: &AuditRecord) -> AuditEvent {
    let (chained, entry) = (&record.chained, &record.chained.entry);
    let date = entry.at.to_string();
    let object_id = entry.object_id.clone().unwrap_or_default();
    let digits = |number: Option<u64>| number.map(|number| number.to_string());
    let mut fields = AuditFields {
        identifier: object_id,
        version: entry.label.clone().or_else(|| entry.version.map(|_| String::new())),
        timestamp: date.clone(),
        checksum: entry.digest.clone(),
        checksum_algorithm: entry.algorithm.clone(),
        bytes: digits(entry.size_bytes),
        files: digits(entry.file_count),
        success: entry.success,
        agent: entry.agent.clone(),
        details: entry.detail.clone(),
        number: chained.number,
        hash: chained.hash.clone(),
    };
    if let Some(file) = &record.file {
        fields.identifier = file.path.clone();
        (fields.checksum, fields.checksum_algorithm) = (file.digest.clone(), file.algorithm.clone());
        (fields.bytes, fields.files, fields.success) = (digits(file.size_bytes), None, file.success);
        if !file.detail.is_empty() {
            fields.details = file.detail.clone();
        }
    }
    AuditEvent { date, r#type: entry.kind.name().to_owned(), event: fields }
}

/// What the states of deletions begin with.
pub(super) const DELETE: &str = "DELETE_";
/// The states of deletions by their names.
pub(super) const DELETE_STATES: [(&str, DeleteStatus); 3] = [
    ("ACCEPTED", DeleteStatus::DeleteAccepted),
    ("COMPLETE", DeleteStatus::DeleteComplete),
    ("ERROR", DeleteStatus::DeleteError),
];

/// Where a deletion stands whose order is in that state; `None` of states that no deletion has.
pub(super) fn delete_status(state: OrderState) -> Option<DeleteStatus> {
    match state {
        OrderState::Received | OrderState::Held | OrderState::Queued | OrderState::Deleting => {
            Some(DeleteStatus::DeleteAccepted)
        }
        OrderState::Deleted => Some(DeleteStatus::DeleteComplete),
        OrderState::Failed | OrderState::Rejected | OrderState::Cancelled => Some(DeleteStatus::DeleteError),
        OrderState::Recalling
        | OrderState::Pulling
        | OrderState::Verifying
        | OrderState::Storing
        | OrderState::Delivering
        | OrderState::Delivered
        | OrderState::Stored => None,
    }
}

/// The states of the orders of deletions that stand there; where nothing is asked for, of all that are under way.
pub(super) fn delete_states(asked: Option<DeleteStatus>) -> Vec<OrderState> {
    let asked = asked.unwrap_or(DeleteStatus::DeleteAccepted);
    OrderState::ALL.iter().copied().filter(|state| delete_status(*state) == Some(asked)).collect()
}

/// What is to be deleted. What is wrong with it, the core says.
pub(super) fn deletions(request: SelectionRequest) -> Result<Vec<DeletionEntry>, Refusal> {
    if request.0.is_empty() {
        return Err(Refusal::bad_request("the request names no filegroup"));
    }
    let file = |(path, checksum): (String, Option<String>)| (path, checksum.filter(|text| !text.is_empty()));
    let entry = |(filegroup, selected): (String, Option<Selected>)| {
        let Selected { version, files } = selected.unwrap_or_default();
        let files = files.map(|files| files.0.into_iter().map(file).collect());
        DeletionEntry { filegroup, version, files }
    };
    Ok(request.0.into_iter().map(entry).collect())
}

/// How far a file of a deletion is.
pub(super) fn removal(state: Removal) -> RemovalStatus {
    match state {
        Removal::Pending => RemovalStatus::Pending,
        Removal::Deleted => RemovalStatus::Deleted,
        Removal::Error => RemovalStatus::Error,
    }
}

#[cfg(test)]
mod tests {
    use dipper_archive::digest::Digest;

    use super::*;
    use crate::http::input::Parameters;
    use crate::http::json;

    fn read(text: &str) -> Result<Vec<Selection>, Refusal> {
        selections(json::parse(text.as_bytes())?, Algorithm::Md5)
    }

    #[test]
    fn what_is_left_out_stays_out_and_an_empty_checksum_is_none() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        let digest: Digest = md5.parse().expect("a digest");
        let text = format!(
            r#"{{"a":{{}},"b":null,"c":{{"version":""}},"d":{{"version":"v","files":{{"x/y":"{md5}","z":"","n":null}}}}}}"#
        );
        let found = read(&text).expect("read");
        let file = |path: &str, checksums| SelectedFile { path: path.to_owned(), checksums };
        let selection = |id: &str, version: Option<&str>, files| Selection {
            object_id: id.to_owned(),
            version: version.map(str::to_owned),
            files,
        };
        let files = vec![file("x/y", vec![(Algorithm::Md5, digest)]), file("z", vec![]), file("n", vec![])];
        assert_eq!(
            found,
            [
                selection("a", None, None),
                selection("b", None, None),
                selection("c", Some(""), None),
                selection("d", Some("v"), Some(files)),
            ]
        );
    }

    #[test]
    fn every_wrong_checksum_is_named() {
        let refusal =
            read(r#"{"a":{"files":{"x":"12","y":"d41d8cd98f00b204e9800998ecf8427e"}},"b":{"files":{"z":"q"}}}"#)
                .expect_err("refused");
        assert_eq!(refusal.status.as_u16(), 422);
        let named: Vec<(&str, Option<&str>)> =
            refusal.parts.iter().map(|part| (part.filegroup.as_str(), part.file.as_deref())).collect();
        assert_eq!(named, [("a", Some("x")), ("b", Some("z"))]);
        assert_eq!(read("{}").expect_err("nothing").status.as_u16(), 400);
        assert_eq!(read(r#"{"a":{"flies":{}}}"#).expect_err("a typing error").status.as_u16(), 400);
    }

    #[test]
    fn states_are_known_with_and_without_their_beginning() {
        let asked = |query: &str| {
            Parameters::parse(query.as_bytes()).state(RESTORE, &RESTORE_STATES).map_err(|refusal| refusal.message)
        };
        assert_eq!(asked(""), Ok(None));
        for (name, state) in RESTORE_STATES {
            assert_eq!(asked(&format!("status={name}")), Ok(Some(state)));
            assert_eq!(asked(&format!("status=RESTORE_{name}")), Ok(Some(state)));
            let written = serde_json::to_value(restore_status(state)).expect("JSON");
            assert_eq!(written, format!("RESTORE_{name}"));
        }
        assert!(asked("status=DONE").expect_err("unknown").contains("RESTORE_ACCEPTED, RESTORE_STAGED"));
    }
}
