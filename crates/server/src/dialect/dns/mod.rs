//! The DNS RESTful API of the Digital Archive North Rhine-Westphalia (DA-NRW).
//!
//! `routes` holds the endpoints, `listing` the answer that may be long, `lists` and `report` the files in which many objects
//! are asked for, `outgoing` what was delivered, `wire` the JSON, `mapping` the way between the
//! core's words and the wire's, `errors` the refusals. A contractor is a contract; its name on the wire is the
//! contract's.

mod errors;
mod listing;
mod lists;
mod mapping;
mod outgoing;
mod report;
mod routes;
mod wire;

use std::sync::Arc;

use dipper_core::Role;
use dipper_core::incoming::ListReader;
use dipper_core::intake::Intake;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::refusal::Shape;
use crate::http::routes::Need;

/// The name by which the core knows this contract.
pub const DIALECT: &str = "dns";

/// The routes below the base path, with what each needs.
pub const RIGHTS: [(&str, &str, Need); 7] = [
    ("GET", "/status/index", Need::Basic(Role::Read)),
    ("POST", "/status/index", Need::Basic(Role::Read)),
    ("POST", "/automatedRetrieval/queueForRetrievalJSON", Need::Basic(Role::Read)),
    ("GET", "/outgoing/", Need::Basic(Role::Read)),
    ("GET", "/outgoing/{name}", Need::Basic(Role::Read)),
    ("POST", "/report/status", Need::Basic(Role::Read)),
    ("POST", "/report/retrieval", Need::Basic(Role::Read)),
];

/// How refusals are written, by what the path begins with below the base path; the first that fits.
pub const SHAPES: [(&str, Shape); 2] = [("/automatedRetrieval", errors::RETRIEVAL), ("", errors::STATUS)];

/// Answers the lists that contractors leave in their incoming directories.
pub(crate) fn list_reader(intake: Intake) -> Arc<dyn ListReader> {
    Arc::new(lists::Lists { intake })
}

/// The endpoints, to be nested below the base path.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::status_index, routes::status_index_post))
        .routes(routes!(routes::retrieval_queue))
        .routes(routes!(outgoing::outgoing_list))
        .routes(routes!(outgoing::outgoing_fetch))
        .routes(routes!(routes::report_status))
        .routes(routes!(routes::report_retrieval))
}
