//! Between the core's words and the wire's. Every match is exhaustive: a new state of the core does not compile until this
//! contract has a word for it.

use dipper_archive::digest::Algorithm;
use dipper_core::db::orders::{Channel, FailureCode, Order};
use dipper_core::db::packages::{Package, PackageState, Version};
use dipper_core::db::submissions::{Submission, SubmissionState};
use dipper_core::intake::{OutgoingFile, PackageRecord, PackageWork};
use dipper_core::order::OrderState;

use super::wire::{ARCHIVED, CHECK_NEEDED, Entry, IN_PROGRESS, Kind, OutgoingEntry, TRANSIENT, in_progress_error};

/// What is told of files that were handed in.
pub(super) const OPEN: [SubmissionState; 3] =
    [SubmissionState::Waiting, SubmissionState::Working, SubmissionState::Refused];
/// The numbers of what was handed in: it waits, it was refused, it is being ingested.
pub(super) const WAITING: u16 = 200;
pub(super) const REFUSED: u16 = 201;
pub(super) const INGESTING: u16 = 202;
/// The numbers of retrievals: where they stand, and one more where they failed there.
pub(super) const QUEUED: u16 = 900;
const PACKING: u16 = 902;
const DELIVERING: u16 = 904;

/// The entries of an object: what is under way, then the object itself. None of one that was deleted.
pub(super) fn entries(record: PackageRecord, work: Option<&PackageWork>, submissions: &[&Submission]) -> Vec<Entry> {
    let ingesting = work.is_some_and(|work| work.is_being_ingested);
    let Some((status, status_int, description)) = object_status(&record.package, ingesting) else {
        return Vec::new();
    };
    let mut entries: Vec<Entry> =
        submissions.iter().filter_map(|submission| handed_in(submission, Some(&record.package))).collect();
    if ingesting && !entries.iter().any(|entry| entry.status_int == INGESTING) {
        entries.push(queued(&record.package, INGESTING, "A version is being added to the object."));
    }
    let orders = work.iter().flat_map(|work| &work.orders);
    entries.extend(orders.filter_map(|order| retrieval(&record.package, order)));
    let packages = Some(record.versions.iter().map(container_name).collect());
    let status = status.to_owned();
    entries.push(Entry { packages, ..entry(Kind::Object, &record.package, status, status_int, description) });
    entries
}

/// The entry of something that was handed in, for the object that it would be a version of, if that is there; `None` of
/// what has become something else, and of lists.
pub(super) fn handed_in(submission: &Submission, package: Option<&Package>) -> Option<Entry> {
    let orig_name = package.map(|package| &package.object_id).or(submission.object_id.as_ref())?.clone();
    let name = &submission.name;
    let (status, status_int, status_long_description) = match submission.state {
        SubmissionState::Waiting => (IN_PROGRESS.to_owned(), WAITING, format!("{name} waits to be ingested.")),
        SubmissionState::Working => (IN_PROGRESS.to_owned(), INGESTING, format!("{name} is being ingested.")),
        SubmissionState::Refused => {
            let reason = submission.reason.clone().unwrap_or_default();
            (in_progress_error(REFUSED), REFUSED, format!("{name} was refused: {reason}"))
        }
        SubmissionState::Ingested | SubmissionState::Answered => return None,
    };
    Some(Entry {
        r#type: Kind::QueueEntry,
        status,
        urn: package.and_then(|package| package.urn.clone()).unwrap_or_default(),
        contractor: submission.contract_id.clone(),
        orig_name,
        identifier: package.map(|package| package.identifier.clone()).unwrap_or_default(),
        packages: None,
        status_int,
        status_long_description,
    })
}

/// Versions that an archive held before it knew of containers have a number alone.
fn container_name(version: &Version) -> String {
    version.container_name.clone().unwrap_or_else(|| format!("v{}", version.number))
}

/// `None` for an object that is there no more.
fn object_status(package: &Package, ingesting: bool) -> Option<(&'static str, u16, String)> {
    let ((status, number), description) = match package.state {
        PackageState::Deleted => return None,
        PackageState::Damaged | PackageState::Missing => {
            let reason = package.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            (CHECK_NEEDED, format!("A fixity check of the object has failed{reason}"))
        }
        PackageState::Preserved if ingesting => (TRANSIENT, "The object is being changed.".to_owned()),
        PackageState::Preserved => (ARCHIVED, "The object is archived.".to_owned()),
    };
    Some((status, number, description))
}

/// The entry of a retrieval; `None` for orders that are delivered otherwise, and for those that have come to a good end.
fn retrieval(package: &Package, order: &Order) -> Option<Entry> {
    match order.channel {
        Channel::Area => {}
        Channel::Link => return None,
    }
    let entry = match order.state {
        OrderState::Received | OrderState::Queued => queued(package, QUEUED, "The retrieval is queued."),
        OrderState::Recalling => {
            queued(package, QUEUED, "The retrieval waits until the object is brought back from cold storage.")
        }
        OrderState::Verifying => queued(package, PACKING, "The object is being checked and packed."),
        OrderState::Delivering => queued(package, DELIVERING, "The package is being delivered."),
        OrderState::Failed | OrderState::Rejected | OrderState::Cancelled => {
            let failure = order.failure.as_ref();
            let number = failed_at(failure.map_or(FailureCode::System, |failure| failure.code)) + 1;
            let reason = failure.map_or_else(String::new, |failure| failure.message.clone());
            entry(Kind::QueueEntry, package, in_progress_error(number), number, reason)
        }
        OrderState::Delivered => return None,
        // Orders of other kinds.
        OrderState::Held
        | OrderState::Pulling
        | OrderState::Storing
        | OrderState::Deleting
        | OrderState::Stored
        | OrderState::Deleted => return None,
    };
    Some(entry)
}

/// Where a retrieval stood when it failed for this reason.
fn failed_at(code: FailureCode) -> u16 {
    match code {
        FailureCode::NotPreserved | FailureCode::NotAllowed | FailureCode::Cancelled => QUEUED,
        FailureCode::Fixity
        | FailureCode::System
        | FailureCode::Gateway
        | FailureCode::Mismatch
        | FailureCode::LegalHold => PACKING,
        FailureCode::AreaFull => DELIVERING,
    }
}

/// A file in the outgoing directory on the wire.
pub(super) fn outgoing(listed: OutgoingFile) -> OutgoingEntry {
    let checksum = |algorithm: Algorithm| {
        let content = listed.content.as_ref().filter(|content| content.algorithm == algorithm);
        content.map(|content| content.checksum.to_string())
    };
    OutgoingEntry {
        md5: checksum(Algorithm::Md5),
        sha256: checksum(Algorithm::Sha256),
        sha512: checksum(Algorithm::Sha512),
        delivered: listed.delivered.to_string(),
        fetched: listed.file.fetched.map(|time| time.to_string()),
        expires: listed.expires.to_string(),
        size_bytes: listed.file.size_bytes,
        name: listed.file.name,
        contractor: listed.file.contract_id,
    }
}

fn queued(package: &Package, number: u16, description: &str) -> Entry {
    entry(Kind::QueueEntry, package, IN_PROGRESS.to_owned(), number, description.to_owned())
}

fn entry(kind: Kind, package: &Package, status: String, status_int: u16, description: String) -> Entry {
    Entry {
        r#type: kind,
        status,
        urn: package.urn.clone().unwrap_or_default(),
        contractor: package.contract_id.clone(),
        orig_name: package.object_id.clone(),
        identifier: package.identifier.clone(),
        packages: None,
        status_int,
        status_long_description: description,
    }
}

#[cfg(test)]
mod tests {
    use dipper_core::db::orders::{Failure, OrderKind, View};
    use dipper_core::time::Timestamp;

    use super::*;

    fn package() -> Package {
        Package {
            id: "1".to_owned(),
            contract_id: "hbzadmin".to_owned(),
            object_id: "one".to_owned(),
            identifier: "8-2016040610214".to_owned(),
            urn: None,
            ocfl_id: "urn:dipper:hbzadmin:one".to_owned(),
            location: "1".to_owned(),
            state: PackageState::Preserved,
            reason: None,
            head: 1,
            size_bytes: 1,
            file_count: 1,
            created: Timestamp(0),
            updated: Timestamp(0),
            verified: None,
        }
    }

    fn order(state: OrderState, failure: Option<FailureCode>) -> Order {
        Order {
            id: "1".to_owned(),
            kind: OrderKind::Dissemination,
            dialect: "dns".to_owned(),
            client_id: "hbzadmin".to_owned(),
            client_stored: true,
            contract_id: "hbzadmin".to_owned(),
            package_id: "1".to_owned(),
            object_id: "one".to_owned(),
            version: 1,
            view: View::Version,
            channel: Channel::Area,
            area_name: None,
            named_version: None,
            excerpt: None,
            size_bytes: 1,
            state,
            priority: 50,
            rank: 50,
            created: Timestamp(0),
            updated: Timestamp(0),
            delivered: None,
            failure: failure.map(|code| Failure { code, message: "the reason".to_owned() }),
        }
    }

    #[test]
    fn every_state_of_a_retrieval_has_the_number_of_the_contract() {
        use OrderState as S;
        let number = |state| retrieval(&package(), &order(state, None)).map(|entry| (entry.status, entry.status_int));
        let running = |number| Some(("package in progress".to_owned(), number));
        for (state, expected) in [
            (S::Received, running(900)),
            (S::Queued, running(900)),
            (S::Recalling, running(900)),
            (S::Verifying, running(902)),
            (S::Delivering, running(904)),
            (S::Delivered, None),
        ] {
            assert_eq!(number(state), expected, "{state}");
        }
        for (state, code, expected) in [
            (S::Rejected, FailureCode::NotPreserved, 901),
            (S::Rejected, FailureCode::NotAllowed, 901),
            (S::Cancelled, FailureCode::Cancelled, 901),
            (S::Failed, FailureCode::Fixity, 903),
            (S::Failed, FailureCode::System, 903),
            (S::Failed, FailureCode::AreaFull, 905),
        ] {
            let entry = retrieval(&package(), &order(state, Some(code))).expect("an entry");
            assert_eq!(entry.status, format!("package in progress error: ({expected}) "), "{code}");
            assert_eq!((entry.status_int, entry.status_long_description.as_str()), (expected, "the reason"));
        }
        let by_link = Order { channel: Channel::Link, ..order(S::Queued, None) };
        assert_eq!(retrieval(&package(), &by_link), None, "it is no retrieval");
    }
}
