//! Probes: whether the process lives, and whether it can do its work.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::refusal::Refusal;
use crate::app::App;

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
    app.intake().check().await.map(|()| OK).map_err(|error| {
        tracing::warn!(error, "not ready");
        Refusal::unavailable("the database or the storage root does not answer", 5)
    })
}
