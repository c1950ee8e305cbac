//! The pages of depositors: packages and what lies in them, orders, the outgoing area, webhooks.

pub(super) mod file;
pub(super) mod folder;
pub(super) mod order;
pub(super) mod ordering;
pub(super) mod orders;
pub(super) mod outgoing;
pub(super) mod package;
pub(super) mod packages;
pub(super) mod webhooks;
mod work;

use axum::http::StatusCode;
use dipper_core::db::events::Event;
use dipper_core::db::orders::{Order, View};
use dipper_core::db::packages::PackageState;
use dipper_core::intake::IntakeError;
use dipper_core::order::OrderState;
use dipper_core::time::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::states;
use super::told::{agent, in_words};
use super::words::Words;
use crate::http::refusal::Refusal;

/// The language of the contract in which pages order.
const DIALECT: &str = "console";

/// A point in time: for programs, and for people.
pub(super) struct Moment {
    pub(super) exact: String,
    pub(super) told: String,
}

impl Moment {
    pub(super) fn of(words: Words, time: &Timestamp) -> Moment {
        Moment { exact: time.to_string(), told: words.time(time) }
    }
}

/// A state: a word, and the class that colours it.
pub(super) struct Badge {
    pub(super) class: &'static str,
    pub(super) told: String,
}

impl Badge {
    pub(super) fn of_order(words: Words, state: OrderState) -> Badge {
        let class = states::of_order(state);
        Badge { class, told: words.text(&format!("orders-state-{state}")) }
    }

    pub(super) fn of_package(words: Words, state: PackageState) -> Badge {
        let class = match state {
            PackageState::Preserved => "good",
            PackageState::Damaged => "bad",
            PackageState::Missing => "warn",
            PackageState::Deleted => "",
        };
        Badge { class, told: words.text(&format!("packages-state-{state}")) }
    }
}

/// Something that happened, as a row.
pub(super) struct EventRow {
    pub(super) at: Moment,
    /// What; in the reader's language, if that has a word for it.
    pub(super) kind: String,
    pub(super) is_failure: bool,
    pub(super) agent: String,
    /// In the reader's language, as far as that has words for it.
    pub(super) detail: String,
    /// The language that it is in.
    pub(super) language: &'static str,
}

impl EventRow {
    pub(super) fn of(words: Words, event: Event) -> EventRow {
        let key = format!("event-{}", event.kind.replace(' ', "-"));
        let (detail, language) = in_words(words, &event.detail);
        EventRow {
            at: Moment::of(words, &event.at),
            kind: words.find(&key, &[]).unwrap_or_else(|| event.kind.clone()),
            is_failure: !event.success,
            agent: agent(words, &event.agent),
            detail,
            language,
        }
    }
}

/// What of a package an order is for, in words.
fn portion_told(words: Words, order: &Order) -> String {
    let version = u64::from(order.version);
    let key = match (order.view, order.excerpt.is_some()) {
        (View::Version, false) => "orders-portion-version",
        (View::Version, true) => "orders-portion-version-excerpt",
        (View::Surface, false) => "orders-portion-surface",
        (View::Surface, true) => "orders-portion-surface-excerpt",
    };
    words.fill(key, &[("version", version.into())])
}

/// A text as one part of an address.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A query of an address, without what is empty.
fn query(pairs: &[(&str, &str)]) -> String {
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish()
}

/// A refusal of the core. What the caller may not see is not there.
fn refused(error: IntakeError) -> Refusal {
    let message = error.to_string();
    match error {
        IntakeError::NotAllowed { .. } | IntakeError::PackageUnknown(_) => {
            Refusal::not_found("there is no such package, or not for you")
        }
        IntakeError::OrderUnknown(_) => Refusal::not_found("there is no such order, or not for you"),
        IntakeError::VersionUnknown { .. } | IntakeError::PathUnknown { .. } => Refusal::not_found(message),
        IntakeError::NotPreserved { .. } => {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "PACKAGE_NOT_PRESERVED", message)
        }
        IntakeError::AlreadyOrdered { .. } => Refusal::new(StatusCode::CONFLICT, "ALREADY_ORDERED", message),
        IntakeError::NotDelivered { .. } => Refusal::new(StatusCode::CONFLICT, "NOT_DELIVERED", message),
        IntakeError::Gone(_) => Refusal::new(StatusCode::GONE, "DELIVERY_NOT_KEPT", message),
        IntakeError::Archive(error) if error.is_archived() => {
            let message = "the package lies in cold storage, so its files cannot be listed: order the whole of it";
            Refusal::new(StatusCode::CONFLICT, "CONTENT_ARCHIVED", message)
        }
        IntakeError::Archive(error) => {
            tracing::error!(%error, "a package could not be looked into");
            Refusal::internal()
        }
        IntakeError::Store(error) => {
            const BUSY_SECONDS: u64 = 30;
            tracing::error!(%error, "no link into the store of deliveries can be made");
            Refusal::unavailable("no links can be made now: try again later", BUSY_SECONDS)
        }
        IntakeError::Database(error) => {
            tracing::error!(%error, "a page could not be made");
            Refusal::database(&error)
        }
    }
}

/// The number of a version that a parameter names.
fn number(given: Option<&str>) -> Result<Option<u32>, Refusal> {
    let number = given.map(|text| text.parse().ok().filter(|number| *number > 0));
    number.map(|number| number.ok_or_else(|| Refusal::bad_request("a version is a whole number from 1 on"))).transpose()
}

/// The view that a parameter names.
fn view(given: Option<&str>) -> Result<View, Refusal> {
    let unknown = || Refusal::bad_request("the view of a package is `version` or `surface`");
    given.map_or(Ok(View::Version), |name| name.parse().map_err(|_| unknown()))
}
