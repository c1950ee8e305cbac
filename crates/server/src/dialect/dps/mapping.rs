//! Between the core's words and the wire's. Every match is exhaustive: a new state of the core does not compile
//! until this contract has a word for it.

use dipper_archive::digest::Algorithm;
use dipper_core::db::deliveries::{Delivery, DeliveryFile};
use dipper_core::db::orders::{Failure, FailureCode};
use dipper_core::db::packages::{Package, PackageState};
use dipper_core::intake::OrderView;
use dipper_core::order::{OrderKind, OrderState};

use super::wire::{Archive, ArchiveStatus, DeliveredFile, Dissemination, ErrorBody, Status};
use crate::config::PriorityOrder;
use crate::http::refusal::Refusal;

/// The priority of an order that names none.
const DEFAULT_PRIORITY: i64 = 50;

/// The priority that was given, checked, and the rank that the queue goes by: the higher the sooner.
pub(super) fn priority(given: Option<i64>, order: PriorityOrder) -> Result<(i64, i64), Refusal> {
    let priority = given.unwrap_or(DEFAULT_PRIORITY);
    if !(1..=100).contains(&priority) {
        return Err(Refusal::bad_request("the field `priority` must be a whole number from 1 to 100"));
    }
    let rank = match order {
        PriorityOrder::HighFirst => priority,
        PriorityOrder::LowFirst => 101 - priority,
    };
    Ok((priority, rank))
}

/// An order on the wire.
pub(super) fn dissemination(view: OrderView) -> Dissemination {
    let (order, links) = (view.order, view.links);
    let delivery = view.delivery.filter(|delivery| delivery.released.is_none());
    Dissemination {
        dissemination_id: order.id,
        archive_id: order.package_id,
        client_id: order.client_id,
        contract_id: order.contract_id,
        object_id: order.object_id,
        sum_size_in_bytes: order.size_bytes,
        status: status(order.state),
        priority: order.priority,
        date_created: order.created.to_string(),
        date_updated: order.updated.to_string(),
        date_delivered: order.delivered.map(|time| time.to_string()),
        expiration_date: delivery.as_ref().map(|delivery| delivery.expires.to_string()),
        files: delivery.as_ref().map(|delivery| files(delivery, &links)),
        error: order.failure.map(error),
    }
}

/// The files of a delivery, each with its link.
pub(super) fn files(delivery: &Delivery, links: &[String]) -> Vec<DeliveredFile> {
    let file = |(file, link): (&DeliveryFile, &String)| DeliveredFile {
        download_url: link.clone(),
        filename: file.filename.clone(),
        filesize: file.size_bytes,
        expiration_date: delivery.expires.to_string(),
        checksum: file.checksum.to_string(),
        checksum_algorithm: checksum_name(file.algorithm),
    };
    delivery.files.iter().zip(links).map(file).collect()
}

fn checksum_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Md5 => "MD5",
        Algorithm::Sha1 => "SHA-1",
        Algorithm::Sha256 => "SHA-256",
        Algorithm::Sha512 => "SHA-512",
        Algorithm::Sha512_256 => "SHA-512/256",
        Algorithm::Blake2b160 => "BLAKE2b-160",
        Algorithm::Blake2b256 => "BLAKE2b-256",
        Algorithm::Blake2b384 => "BLAKE2b-384",
        Algorithm::Blake2b512 => "BLAKE2b-512",
    }
}

fn error(failure: Failure) -> ErrorBody {
    let code = match failure.code {
        FailureCode::Fixity => "FIXITY_CHECK_FAILED",
        // The last two are those of other kinds of orders.
        FailureCode::System | FailureCode::Gateway | FailureCode::Mismatch | FailureCode::LegalHold => "INTERNAL_ERROR",
        FailureCode::NotPreserved => "ARCHIVE_NOT_PRESERVED",
        FailureCode::NotAllowed => "ACCESS_DENIED",
        FailureCode::Cancelled => "CANCELLED",
        FailureCode::AreaFull => "AREA_FULL",
    };
    ErrorBody { code: code.to_owned(), message: failure.message, details: None }
}

/// The status word of a state. Cancelling is an addition to the contract, so it has no word of its own there.
pub(super) fn status(state: OrderState) -> Status {
    match state {
        OrderState::Received => Status::Received,
        // Orders of other kinds, which this contract never shows, are put beside what they are like.
        OrderState::Queued | OrderState::Held | OrderState::Pulling => Status::Queued,
        OrderState::Recalling => Status::DownloadingFromRepository,
        OrderState::Verifying => Status::FixityCheck,
        OrderState::Delivering | OrderState::Storing | OrderState::Deleting => Status::UploadingToS3,
        OrderState::Delivered | OrderState::Stored | OrderState::Deleted => Status::Disseminated,
        OrderState::Failed => Status::Failed,
        OrderState::Rejected | OrderState::Cancelled => Status::Rejected,
    }
}

/// The states that a list of status words, joined by commas, stands for.
pub(super) fn states(words: &str) -> Result<Vec<OrderState>, Refusal> {
    let mut states = Vec::new();
    for word in words.split(',').map(str::trim) {
        let before = states.len();
        states.extend(OrderKind::Dissemination.states().filter(|state| word_of(status(*state)) == word));
        if states.len() == before {
            let message = format!("the parameter `status` holds {word:?}, which is no status of a dissemination");
            return Err(Refusal::bad_request(message));
        }
    }
    Ok(states)
}

fn word_of(status: Status) -> String {
    let word = serde_json::to_value(status).ok();
    word.as_ref().and_then(|word| word.as_str()).unwrap_or_default().to_owned()
}

/// A package on the wire.
pub(super) fn archive(package: Package) -> Archive {
    Archive {
        archive_id: package.id,
        contract_id: package.contract_id,
        object_id: package.object_id,
        status: match package.state {
            PackageState::Preserved => ArchiveStatus::Preserved,
            PackageState::Damaged => ArchiveStatus::Damaged,
            PackageState::Missing => ArchiveStatus::Missing,
            PackageState::Deleted => ArchiveStatus::Deleted,
        },
        sum_size_in_bytes: package.size_bytes,
        file_count: package.file_count,
        version: package.head,
        date_created: package.created.to_string(),
        date_updated: package.updated.to_string(),
        date_verified: package.verified.map(|time| time.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_the_word_of_the_contract() {
        let words: Vec<_> = OrderKind::Dissemination.states().map(|state| word_of(status(state))).collect();
        assert_eq!(
            words,
            [
                "RECEIVED",
                "QUEUED",
                "DOWNLOADING_FROM_REPOSITORY",
                "FIXITY_CHECK",
                "UPLOADING_TO_S3",
                "DISSEMINATED",
                "FAILED",
                "REJECTED",
                "REJECTED",
            ]
        );
        assert_eq!(states("FAILED, QUEUED").expect("known"), [OrderState::Failed, OrderState::Queued]);
        assert_eq!(states("REJECTED").expect("known"), [OrderState::Rejected, OrderState::Cancelled]);
        for unknown in ["", "failed", "FAILED,", "CANCELLED"] {
            assert!(states(unknown).is_err(), "{unknown:?}");
        }
    }

    #[test]
    fn priorities_are_checked_and_ranked() {
        let both = |given| (priority(given, PriorityOrder::HighFirst), priority(given, PriorityOrder::LowFirst));
        assert_eq!(both(None), (Ok((50, 50)), Ok((50, 51))));
        assert_eq!(both(Some(100)), (Ok((100, 100)), Ok((100, 1))));
        assert_eq!(both(Some(1)), (Ok((1, 1)), Ok((1, 100))));
        for wrong in [0, 101, -1, i64::MAX, i64::MIN] {
            assert!(priority(Some(wrong), PriorityOrder::HighFirst).is_err(), "{wrong}");
        }
    }
}
