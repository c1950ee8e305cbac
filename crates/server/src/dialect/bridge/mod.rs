//! The Bridge API as its draft has it: a repository's gateway deposits filegroups, lists what was deposited, has it
//! restored or deleted, and reads what became of it.
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
pub const DIALECT: &str = "bridge";

/// The routes below the base path, with what each needs.
pub const RIGHTS: [(&str, &str, Need); 21] = [
    ("GET", "", Need::Basic(Role::Read)),
    ("PUT", "/account/{accountId}", Need::Basic(Role::Operator)),
    ("POST", "/account/{accountId}", Need::Basic(Role::Operator)),
    ("GET", "/account", Need::Basic(Role::Operator)),
    ("POST", "/register", Need::Basic(Role::Write)),
    ("POST", "/deposit", Need::Basic(Role::Write)),
    ("GET", "/deposit", Need::Basic(Role::Read)),
    ("GET", "/deposit/{filegroupId}", Need::Basic(Role::Read)),
    ("GET", "/audit/{filegroupId}", Need::Basic(Role::Read)),
    ("GET", "/audit/{filegroupId}/{fileId}", Need::Basic(Role::Read)),
    ("POST", "/delete", Need::Basic(Role::Write)),
    ("GET", "/delete", Need::Basic(Role::Read)),
    ("GET", "/delete/{deleteId}", Need::Basic(Role::Read)),
    ("GET", "/list", Need::Basic(Role::Read)),
    ("GET", "/list/{filegroupId}", Need::Basic(Role::Read)),
    ("POST", "/restore", Need::Basic(Role::Read)),
    ("GET", "/restore", Need::Basic(Role::Read)),
    ("GET", "/restore/{restoreId}", Need::Basic(Role::Read)),
    ("DELETE", "/restore/{restoreId}", Need::Basic(Role::Read)),
    ("PUT", "/restore/{restoreId}/expiration", Need::Basic(Role::Read)),
    ("GET", "/restore/{restoreId}/{filegroupId}/{fileId}", Need::Basic(Role::Read)),
];

/// The endpoints, to be nested below the base path.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::details))
        .routes(routes!(routes::account_put, routes::account_post))
        .routes(routes!(routes::account_list))
        .routes(routes!(deposits::gateway_register))
        .routes(routes!(deposits::deposit_order, deposits::deposit_list))
        .routes(routes!(deposits::deposit_get))
        .routes(routes!(audits::audit_filegroup))
        .routes(routes!(audits::audit_file))
        .routes(routes!(deletions::deletion_order, deletions::deletion_list))
        .routes(routes!(deletions::deletion_get))
        .routes(routes!(lists::filegroup_list))
        .routes(routes!(lists::filegroup_get))
        .routes(routes!(restores::restore_order, restores::restore_list))
        .routes(routes!(restores::restore_get, restores::restore_release))
        .routes(routes!(restores::restore_extend))
        .routes(routes!(restores::restored_fetch))
}
