//! The list of pages, with what each takes. A test walks it without and with the wrong rights.

use axum::Router;
use axum::handler::Handler;
use axum::middleware;
use axum::response::Redirect;
use axum::routing::{get, post};
use dipper_core::Role;

use super::depositor::{file, folder, order, ordering, orders, outgoing, package, packages, webhooks};
use super::operator::{audit, clients, contracts, deletions, deliveries, fixity, gateways, operations, processes};
use super::{assets, issuer, preferences, refusals, sessions, sign_in};
use crate::app::App;
use crate::http::routes::Need;

/// Pages, and what they take.
pub(crate) struct Pages {
    router: Router<App>,
    rights: Vec<(&'static str, &'static str, Need)>,
}

impl Pages {
    fn get<H: Handler<T, App>, T: 'static>(mut self, path: &'static str, need: Need, handler: H) -> Pages {
        self.rights.push(("GET", path.trim_end_matches('/'), need));
        self.router = self.router.route(path, get(handler));
        self
    }

    fn post<H: Handler<T, App>, T: 'static>(mut self, path: &'static str, need: Need, handler: H) -> Pages {
        self.rights.push(("POST", path, need));
        self.router = self.router.route(path, post(handler));
        self
    }
}

/// Everybody who has signed in.
const SIGNED_IN: Need = Need::Session(None);
/// Whoever may see packages of some contract.
const READ: Need = Need::Session(Some(Role::Read));
/// Whoever runs some contract.
const OPERATOR: Need = Need::Session(Some(Role::Operator));

fn pages() -> Pages {
    let pages = Pages { router: Router::new(), rights: Vec::new() };
    pages
        .get("/assets/{edition}/{name}", Need::Nothing, assets::asset)
        .get("/", SIGNED_IN, sign_in::home)
        .get("/sign-in", Need::Nothing, sign_in::form)
        .post("/sign-in", Need::Form, sign_in::sign_in)
        .get("/sign-in/issuer", Need::Nothing, issuer::leave)
        .get("/sign-in/back", Need::Nothing, issuer::back)
        .post("/sign-out", SIGNED_IN, sign_in::sign_out)
        .get("/signed-out", Need::Nothing, issuer::signed_out)
        .post("/preferences", Need::Nothing, preferences::choose)
        .get("/sessions", SIGNED_IN, sessions::list)
        .post("/sessions/end-others", SIGNED_IN, sessions::end_others)
        .post("/sessions/{sessionId}/end", SIGNED_IN, sessions::end)
        .get("/packages", READ, packages::list)
        .get("/packages/{packageId}", READ, package::show)
        .get("/packages/{packageId}/files", READ, folder::show)
        .post("/packages/{packageId}/files", READ, folder::turn)
        .get("/packages/{packageId}/file", READ, file::fetch)
        .post("/packages/{packageId}/orders", READ, ordering::order)
        .get("/orders", READ, orders::list)
        .get("/orders/{orderId}", READ, order::show)
        .get("/orders/{orderId}/receipt", READ, order::receipt)
        .post("/orders/{orderId}/cancel", READ, order::cancel)
        .post("/orders/{orderId}/renew", READ, order::renew)
        .get("/outgoing", READ, outgoing::list)
        .get("/outgoing/{fileName}", READ, outgoing::fetch)
        .get("/webhooks", READ, webhooks::list)
        .get("/webhooks/{webhookId}", READ, webhooks::show)
        .post("/webhooks/{webhookId}/replay", READ, webhooks::replay)
        .get("/operations", OPERATOR, operations::show)
        .post("/operations/{orderId}/retry", OPERATOR, operations::retry)
        .post("/operations/{orderId}/dismiss", OPERATOR, operations::dismiss)
        .post("/operations/{orderId}/cancel", OPERATOR, operations::cancel_order)
        .post("/operations/{orderId}/priority", OPERATOR, operations::set_priority)
        .get("/processes", OPERATOR, processes::show)
        .get("/gateways", OPERATOR, gateways::show)
        .get("/fixity", OPERATOR, fixity::show)
        .post("/fixity/{packageId}/verify", OPERATOR, fixity::verify)
        .get("/deliveries", OPERATOR, deliveries::show)
        .get("/deletions", OPERATOR, deletions::show)
        .post("/deletions/{orderId}/approve", OPERATOR, deletions::approve)
        .post("/deletions/{orderId}/withdraw", OPERATOR, deletions::withdraw)
        .post("/holds", OPERATOR, deletions::hold)
        .post("/holds/{holdId}/lift", OPERATOR, deletions::lift)
        .get("/contracts", OPERATOR, contracts::show)
        .post("/contracts/{contractId}/quota", OPERATOR, contracts::set_quota)
        .post("/contracts/{contractId}/correspondence", OPERATOR, contracts::set_correspondence)
        .get("/clients", OPERATOR, clients::show)
        .post("/clients", OPERATOR, clients::add)
        .get("/clients/{clientId}", OPERATOR, clients::client)
        .post("/clients/{clientId}/enable", OPERATOR, clients::enable)
        .post("/clients/{clientId}/secret", OPERATOR, clients::new_secret)
        .post("/clients/{clientId}/grants", OPERATOR, clients::grant)
        .post("/clients/{clientId}/revoke", OPERATOR, clients::revoke)
        .post("/clients/{clientId}/keys", OPERATOR, clients::add_key)
        .post("/clients/{clientId}/keys/remove", OPERATOR, clients::remove_key)
        .post("/clients/{clientId}/webhooks", OPERATOR, clients::add_webhook)
        .post("/clients/{clientId}/webhooks/{webhookId}/enable", OPERATOR, clients::enable_webhook)
        .post("/clients/{clientId}/webhooks/{webhookId}/secret", OPERATOR, clients::new_webhook_secret)
        .post("/clients/{clientId}/webhooks/{webhookId}/remove", OPERATOR, clients::remove_webhook)
        .post("/clients/{clientId}/webhooks/{webhookId}/replay", OPERATOR, clients::replay)
        .get("/audit", OPERATOR, audit::show)
        .get("/audit/export", OPERATOR, audit::export)
        .post("/audit/verify", OPERATOR, audit::verify)
}

/// What each page takes, with its path below the console's.
pub(crate) fn rights() -> Vec<(&'static str, &'static str, Need)> {
    pages().rights
}

/// The way to the console for those who add a slash to its address.
pub(crate) fn slash(base_path: &str) -> Router<App> {
    let there = Redirect::permanent(base_path);
    Router::new().route(&format!("{base_path}/"), get(async move || there))
}

/// The pages.
pub(crate) fn router(app: &App) -> Router<App> {
    pages()
        .router
        .fallback(refusals::nothing_here)
        .method_not_allowed_fallback(refusals::not_possible)
        .layer(middleware::from_fn_with_state(app.clone(), refusals::show))
}
