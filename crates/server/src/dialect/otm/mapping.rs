//! Between the core's words and the wire's. Every match is exhaustive: a new state of the core does not compile until this
//! contract has a word for it.

use dipper_archive::digest::{Algorithm, Digest};
use dipper_core::audit::{AuditEntry, AuditFile, AuditKind};
use dipper_core::db::deletions::Deletion;
use dipper_core::db::deposits::DepositView;
use dipper_core::db::orders::Order;
use dipper_core::db::restores::{Checksums, RestoreState};
use dipper_core::deletion::DeletionEntry;
use dipper_core::deposit::{DepositEntry, DepositedFile};
use dipper_core::intake::{AuditRecord, RestoreView};
use dipper_core::order::OrderState;
use dipper_core::selection::{SelectedFile, Selection};
use dipper_core::time::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::wire::{
    AuditAddition, AuditEvent, AuditFields, AuditRequest, DeleteEntry, DeleteStatus, DepositAnswer, DepositRequest,
    DepositStatus, DepositedFilegroup, NamedFile, RestoreAnswer, RestoreStatus, Selected, SelectionRequest, ToldFile,
};
use crate::http::checksum;
use crate::http::refusal::{Part, Refusal};
use crate::http::refused;

/// The checksums that are told of a file, or what is wrong with one of them.
pub(super) fn checksums(file: &NamedFile) -> Result<Vec<(Algorithm, Digest)>, String> {
    let given = [(Algorithm::Md5, &file.md5), (Algorithm::Sha256, &file.sha256), (Algorithm::Sha512, &file.sha512)];
    let mut read = Vec::new();
    for (algorithm, text) in given {
        if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
            read.push((algorithm, checksum::parse(algorithm, text)?));
        }
    }
    Ok(read)
}

/// What is asked for of filegroups, or every part of it that cannot be read.
pub(super) fn selections(request: SelectionRequest) -> Result<Vec<Selection>, Refusal> {
    if request.0.is_empty() {
        return Err(Refusal::bad_request("the request names no filegroup"));
    }
    let mut parts = Vec::new();
    let mut selections = Vec::with_capacity(request.0.len());
    for (object_id, selected) in request.0 {
        let selected = selected.unwrap_or_default();
        let files = selected.files.map(|files| {
            let mut read = Vec::with_capacity(files.0.len());
            for (path, file) in files.0 {
                match checksums(&file.unwrap_or_default()) {
                    Ok(checksums) => read.push(SelectedFile { path, checksums }),
                    Err(message) => parts.push(Part { filegroup: object_id.clone(), file: Some(path), message }),
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

fn restore_status(state: RestoreState) -> RestoreStatus {
    match state {
        RestoreState::Accepted => RestoreStatus::RestoreAccepted,
        RestoreState::Staged => RestoreStatus::RestoreStaged,
        RestoreState::Complete => RestoreStatus::RestoreComplete,
        RestoreState::Failed => RestoreStatus::RestoreError,
        RestoreState::Expired => RestoreStatus::RestoreExpired,
    }
}

pub(super) fn restore(view: &RestoreView) -> RestoreAnswer {
    let restore = &view.restore;
    let fetched = restore.file_count.saturating_sub(restore.unfetched);
    let details = match &restore.failure {
        Some(failure) => failure.message.clone(),
        None if fetched > 0 => format!("{fetched} of {} files were fetched", restore.file_count),
        None => String::new(),
    };
    let expiration = restore.released.or(restore.expires);
    RestoreAnswer {
        file_count: restore.file_count.to_string(),
        status: restore_status(view.state),
        details,
        expiration: expiration.map(|time| time.to_string()).unwrap_or_default(),
    }
}

/// A stored file with every checksum that is known.
pub(super) fn told(size_bytes: Option<u64>, checksums: &Checksums) -> ToldFile {
    let hex = |digest: Option<Digest>| digest.map(|digest| digest.to_string());
    ToldFile {
        size: size_bytes.map(|size| size.to_string()),
        md5: hex(checksums.md5),
        sha256: hex(checksums.sha256),
        sha512: hex(checksums.sha512),
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
pub(super) fn deposit(request: DepositRequest) -> Vec<DepositEntry> {
    let file = |(id, named): (String, NamedFile)| {
        let given = [(Algorithm::Md5, named.md5), (Algorithm::Sha256, named.sha256), (Algorithm::Sha512, named.sha512)];
        let checksums = given.into_iter().filter_map(|(algorithm, text)| Some((algorithm, text?))).collect();
        DepositedFile { id, size: named.size.map(|size| size.0), checksums }
    };
    let filegroup = |(filegroup, deposited): (String, DepositedFilegroup)| DepositEntry {
        filegroup,
        version: deposited.version.unwrap_or_default(),
        files: deposited.files.0.into_iter().map(file).collect(),
    };
    request.0.into_iter().map(filegroup).collect()
}

/// A deposit; `None` of what is none.
pub(super) fn deposit_answer(view: &DepositView) -> Option<DepositAnswer> {
    let (order, deposit) = (&view.order, &view.deposit);
    let details = match &order.failure {
        Some(failure) => failure.message.clone(),
        None => format!(
            "of {} files, {} were fetched, and {} are part of an earlier version",
            deposit.file_count, deposit.retrieved, deposit.existing
        ),
    };
    Some(DepositAnswer {
        version: deposit.label.clone(),
        file_count: deposit.file_count.to_string(),
        status: deposit_status(order.state)?,
        details,
    })
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
    AuditEvent { date, r#type: entry.kind.name().to_owned(), details: fields.details.clone(), event: fields }
}

/// Events that are added to the audit log of an account, or every part of them that cannot be read.
pub(super) fn audit(request: AuditRequest, account: &str, agent: &str) -> Result<Vec<AuditEntry>, Refusal> {
    if request.0.is_empty() {
        return Err(Refusal::bad_request("the request names no filegroup"));
    }
    let (mut entries, mut parts) = (Vec::new(), Vec::new());
    for (object_id, addition) in request.0 {
        match audit_entry(&object_id, addition, account, agent) {
            Ok(entry) => entries.push(entry),
            Err(message) => parts.push(Part { filegroup: object_id, file: None, message }),
        }
    }
    if parts.is_empty() { Ok(entries) } else { Err(refused::unprocessable("EVENT", parts)) }
}

fn audit_entry(object_id: &str, addition: AuditAddition, account: &str, agent: &str) -> Result<AuditEntry, String> {
    let AuditAddition { event_type, files, event: mut fields } = addition;
    let kind = event_type.parse::<AuditKind>().ok().filter(|kind| *kind != AuditKind::Administration);
    let kind = kind.ok_or_else(|| format!("there is no event of the type {event_type:?}"))?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        value => value.to_string(),
    };
    let mut take = |name: &str| fields.remove(name).map(text);
    let at = match take("timestamp") {
        None => Timestamp::now(),
        Some(given) => {
            let wrong = |_| format!("the timestamp {given:?} is not a time as in 2026-12-31T23:59:59Z");
            OffsetDateTime::parse(&given, &Rfc3339).map(Timestamp::from).map_err(wrong)?
        }
    };
    let mut number = |name: &str| match take(name) {
        None => Ok(None),
        Some(given) => given.parse::<u64>().map(Some).map_err(|_| format!("{name} is {given:?}, which is no number")),
    };
    let (size_bytes, file_count) = (number("bytes")?, number("files")?);
    let success = ["success", "fixity-result", "result"].iter().find_map(|name| take(name));
    let success = !success.is_some_and(|word| ["false", "failure", "failed"].contains(&word.to_lowercase().as_str()));
    let (label, digest, algorithm) = (take("version"), take("checksum"), take("checksum-algorithm"));
    take("identifier");
    let told: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name}: {}", text(value))).collect();
    let file = |path: String| AuditFile {
        path,
        size_bytes: None,
        algorithm: None,
        digest: None,
        success,
        detail: String::new(),
    };
    Ok(AuditEntry {
        success,
        agent: format!("client {agent}"),
        object_id: Some(object_id.to_owned()),
        label,
        digest,
        algorithm,
        size_bytes,
        file_count,
        detail: told.join("; "),
        whole: files.is_none(),
        files: files.unwrap_or_default().into_iter().map(file).collect(),
        ..AuditEntry::new(kind, account, at)
    })
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

/// What is to be deleted, and the type of the checksums. What is wrong with it, the core says.
pub(super) fn deletions(request: SelectionRequest) -> Result<(Algorithm, Vec<DeletionEntry>), Refusal> {
    if request.0.is_empty() {
        return Err(Refusal::bad_request("the request names no filegroup"));
    }
    let (mut chosen, mut parts, mut entries) = (None, Vec::new(), Vec::new());
    for (filegroup, selected) in request.0 {
        let Selected { version, files } = selected.unwrap_or_default();
        let mut read = Vec::new();
        for (path, file) in files.iter().flat_map(|files| &files.0) {
            let mut given = file.as_ref().map(texts).unwrap_or_default();
            let named = !given.is_empty();
            // One type serves for all of a request.
            given.retain(|(algorithm, _)| *chosen.get_or_insert(*algorithm) == *algorithm);
            if named && given.is_empty() {
                let message = "all checksums of a request must be of one type".to_owned();
                parts.push(Part { filegroup: filegroup.clone(), file: Some(path.clone()), message });
            }
            read.push((path.clone(), given.pop().map(|(_, text)| text)));
        }
        let files = files.is_some().then_some(read);
        entries.push(DeletionEntry { filegroup, version, files });
    }
    if !parts.is_empty() {
        return Err(refused::unprocessable("CHECKSUM", parts));
    }
    Ok((chosen.unwrap_or(Algorithm::Md5), entries))
}

/// The checksums of a file as they are written, those that are given.
fn texts(file: &NamedFile) -> Vec<(Algorithm, String)> {
    let given = [(Algorithm::Md5, &file.md5), (Algorithm::Sha256, &file.sha256), (Algorithm::Sha512, &file.sha512)];
    let given = given.into_iter().filter_map(|(algorithm, text)| Some((algorithm, text.clone()?)));
    given.filter(|(_, text)| !text.is_empty()).collect()
}

/// A deletion; `None` of what is none.
pub(super) fn deletion(order: &Order, deletion: &Deletion) -> Option<DeleteEntry> {
    let details = match (&order.failure, deletion.due) {
        (Some(failure), _) => failure.message.clone(),
        (None, Some(due)) if order.state == OrderState::Held => format!("it can be withdrawn until {due}"),
        (None, None) if order.state == OrderState::Held => "it waits for somebody's approval".to_owned(),
        (None, _) => String::new(),
    };
    Some(DeleteEntry { file_count: deletion.file_count.to_string(), status: delete_status(order.state)?, details })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json;

    #[test]
    fn a_file_may_have_several_checksums_and_each_is_read() {
        let (md5, sha256) = ("d4".repeat(16), "E3".repeat(32));
        let text = format!(
            r#"{{"a":{{}},"b":{{"version":"v","files":{{"x":{{"MD5":"{md5}","SHA-256":"{sha256}","size":"1"}},"y":{{}},"z":null}}}}}}"#
        );
        let found = selections(json::parse(text.as_bytes()).expect("JSON")).expect("read");
        assert_eq!((found[0].files.as_ref(), found[0].version.as_ref()), (None, None));
        let files = found[1].files.as_ref().expect("files");
        let expected = [(Algorithm::Md5, md5.parse().expect("hex")), (Algorithm::Sha256, sha256.parse().expect("hex"))];
        assert_eq!((files[0].path.as_str(), files[0].checksums.as_slice()), ("x", &expected[..]));
        assert!(files[1].checksums.is_empty() && files[2].checksums.is_empty());
        let wrong = r#"{"a":{"files":{"x":{"MD5":"12"},"y":{"SHA-512":"00"}}}}"#;
        let refusal = selections(json::parse(wrong.as_bytes()).expect("JSON")).expect_err("refused");
        assert_eq!((refusal.status.as_u16(), refusal.parts.len()), (422, 2));
        for unread in [r#"{"a":{"files":{"x":{"SHA-1":"12"}}}}"#, r#"{"a":{"files":["x"]}}"#, r#"{"a":[]}"#] {
            assert!(json::parse::<SelectionRequest>(unread.as_bytes()).is_err(), "{unread}");
        }
    }
}
