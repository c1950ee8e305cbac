//! Probes: whether the process lives, and whether it can do its work.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures_util::future::BoxFuture;
use serde::Serialize;
use utoipa::ToSchema;

use super::refusal::Refusal;
use crate::app::App;

/// Asks what the server cannot work without: the database and the storage root. The error is for the log.
pub type ReadyProbe = Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// How the server is.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`: anything else is an error answer.
    status: &'static str,
}

const OK: Json<Health> = Json(Health { status: "ok" });

/// Whether the process lives
#[utoipa::path(get, path = "/healthz", tag = "Probes", security(()), responses((status = 200, body = Health)))]
pub async fn healthz() -> Json<Health> {
    OK
}

/// Whether the server can do its work: the database and the storage root answer
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "Probes",
    security(()),
    responses((status = 200, body = Health), (status = 503, description = "Something that is needed does not answer"))
)]
pub async fn readyz(State(app): State<App>) -> Result<Json<Health>, Refusal> {
    app.ready().await.map(|()| OK).map_err(|error| {
        tracing::warn!("not ready: {error:#}");
        Refusal::unavailable("the database or the storage root does not answer", 5)
    })
}
