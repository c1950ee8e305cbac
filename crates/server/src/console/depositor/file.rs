//! One stored file by itself.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use dipper_core::intake::{StoredError, StoredQuery};

use super::{number, refused, view};
use crate::app::App;
use crate::console::visit::Visit;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;
use crate::http::restored;
use crate::signin::Read;

/// Sends a file, all of it or a range.
pub(in crate::console) async fn fetch(
    State(app): State<App>,
    Path(id): Path<String>,
    visit: Visit<Read>,
    parameters: Parameters,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let query = StoredQuery {
        version: number(parameters.one("version")?)?,
        view: view(parameters.one("view")?)?,
        path: parameters.one("path")?.unwrap_or_default().to_owned(),
    };
    let stored = app.intake().stored_open(&visit.caller, &id, &query).await.map_err(|error| match error {
        StoredError::Intake(error) => refused(error),
        StoredError::TooLarge(_) => Refusal::new(StatusCode::CONFLICT, "ORDER_IT", error.to_string()),
        StoredError::Download(error) => restored::refusal(error),
    })?;
    restored::send_stored(&app, &visit.caller.client_id, &method, &headers, stored).await
}
