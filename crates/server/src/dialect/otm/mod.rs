//! The OTM Bridge API as it was published: the later text of the API whose draft is another contract, over the same orders.
//!
//! `routes` holds the base and the accounts, and each of `deposits`, `lists`, `restores`, `deletions` and `audits` the
//! endpoints of one subject; `wire` the JSON, `mapping` the way between the core's words and the wire's. An account is a
//! contract with a client of the same name; a filegroup is a package, a file identifier a logical path in it.

mod audits;
mod deletions;
mod deposits;
mod lists;
mod mapping;
mod restores;
mod routes;
mod wire;

use dipper_core::Role;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::routes::Need;

/// The name by which the core knows this contract.
pub const DIALECT: &str = "otm";

/// The routes below the base path, with what each needs.
pub const RIGHTS: [(&str, &str, Need); 27] = [
    ("GET", "/", Need::Basic(Role::Read)),
    ("PUT", "/account/{accountId}", Need::Basic(Role::Operator)),
    ("GET", "/account", Need::Basic(Role::Operator)),
    ("POST", "/register", Need::Basic(Role::Write)),
    ("POST", "/deposit", Need::Basic(Role::Write)),
    ("GET", "/deposit", Need::Basic(Role::Read)),
    ("GET", "/deposit/{filegroupId}/status", Need::Basic(Role::Read)),
    ("POST", "/deposit/{filegroupId}", Need::Basic(Role::Operator)),
    ("POST", "/audit", Need::Basic(Role::Operator)),
    ("GET", "/audit/{filegroupId}", Need::Basic(Role::Read)),
    ("GET", "/audit/{filegroupId}/{fileId}", Need::Basic(Role::Read)),
    ("POST", "/delete", Need::Basic(Role::Write)),
    ("GET", "/delete", Need::Basic(Role::Read)),
    ("GET", "/delete/{deleteId}", Need::Basic(Role::Read)),
    ("POST", "/delete/{deleteId}", Need::Basic(Role::Operator)),
    ("GET", "/delete/{deleteId}/status", Need::Basic(Role::Read)),
    ("GET", "/list", Need::Basic(Role::Read)),
    ("GET", "/list/{filegroupId}", Need::Basic(Role::Read)),
    ("GET", "/list/{filegroupId}/{fileId}", Need::Basic(Role::Read)),
    ("POST", "/restore", Need::Basic(Role::Read)),
    ("GET", "/restore", Need::Basic(Role::Read)),
    ("GET", "/restore/{restoreId}", Need::Basic(Role::Read)),
    ("DELETE", "/restore/{restoreId}", Need::Basic(Role::Read)),
    ("POST", "/restore/{restoreId}", Need::Basic(Role::Operator)),
    ("GET", "/restore/{restoreId}/status", Need::Basic(Role::Read)),
    ("PUT", "/restore/{restoreId}/expiration", Need::Basic(Role::Read)),
    ("GET", "/restore/{restoreId}/{filegroupId}/{fileId}", Need::Basic(Role::Read)),
];

/// The endpoints, to be nested below the base path.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::account_put))
        .routes(routes!(routes::account_list))
        .routes(routes!(deposits::gateway_register))
        .routes(routes!(deposits::deposit_order, deposits::deposit_list))
        .routes(routes!(deposits::deposit_status))
        .routes(routes!(deposits::deposit_complete))
        .routes(routes!(audits::audit_filegroup))
        .routes(routes!(audits::audit_file))
        .routes(routes!(audits::audit_add))
        .routes(routes!(deletions::deletion_order, deletions::deletion_list))
        .routes(routes!(deletions::deletion_get, deletions::deletion_complete))
        .routes(routes!(deletions::deletion_status))
        .routes(routes!(lists::filegroup_list))
        .routes(routes!(lists::filegroup_get))
        .routes(routes!(lists::filegroup_file))
        .routes(routes!(restores::restore_order, restores::restore_list))
        .routes(routes!(restores::restore_get, restores::restore_release, restores::restore_complete))
        .routes(routes!(restores::restore_status))
        .routes(routes!(restores::restore_extend))
        .routes(routes!(restores::restored_fetch))
}

/// The base, to be nested below the base path with a slash at its end.
pub fn base() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(routes::details))
}
