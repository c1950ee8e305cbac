//! The DPS dissemination service of the National Library of Norway.
//!
//! `routes` holds the endpoints, `wire` the JSON, `mapping` the way between the core's words and the wire's,
//! `errors` the refusals, `notices` what goes to webhooks.

mod errors;
mod mapping;
mod notices;
mod routes;
mod wire;

use dipper_core::Role;
use dipper_core::notify::NoticeRenderer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::routes::Need;
pub use errors::SHAPE;

/// The name by which the core knows this contract.
pub const DIALECT: &str = "dps";

/// The routes below the base path, with what each needs.
pub const RIGHTS: [(&str, &str, Need); 7] = [
    ("POST", "/v1/disseminations", Need::Token(Role::Read)),
    ("GET", "/v1/disseminations", Need::Token(Role::Read)),
    ("GET", "/v1/disseminations/{disseminationId}", Need::Token(Role::Read)),
    ("DELETE", "/v1/disseminations/{disseminationId}", Need::Token(Role::Read)),
    ("POST", "/v1/disseminations/{disseminationId}/download-links", Need::Token(Role::Read)),
    ("GET", "/v1/archives", Need::Token(Role::Read)),
    ("GET", "/v1/archives/{archiveId}", Need::Token(Role::Read)),
];

/// The endpoints, to be nested below the base path.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::dissemination_create, routes::dissemination_list))
        .routes(routes!(routes::dissemination_get, routes::dissemination_delete))
        .routes(routes!(routes::download_links_create))
        .routes(routes!(routes::archive_list))
        .routes(routes!(routes::archive_get))
}

/// Says in this contract's words how an order ended.
pub fn renderer() -> Box<dyn NoticeRenderer> {
    Box::new(notices::Renderer)
}
