//! Where somebody is signed in, and how to end that.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use dipper_core::db::sessions::Session;

use super::frame::{Frame, Note, page};
use super::visit::{Act, SignedIn, Visit};
use crate::app::App;
use crate::http::refusal::Refusal;

#[derive(Template)]
#[template(path = "console/sessions.html")]
struct SessionsPage {
    frame: Frame,
    sessions: Vec<Session>,
    /// The one that the page is shown in.
    own: String,
    /// What the caller may do, contract by contract.
    grants: Vec<(String, String)>,
}

/// The sessions of whoever asks.
pub(super) async fn list(State(app): State<App>, visit: Visit<SignedIn>) -> Result<Response, Refusal> {
    let sessions = app.sessions().list(&visit.caller.client_id).await.map_err(|error| Refusal::database(&error))?;
    let mut grants: Vec<(String, String)> = Vec::new();
    for (contract_id, role) in visit.caller.grants.iter() {
        let role = visit.words.text(&format!("role-{role}"));
        match grants.last_mut() {
            Some((last, roles)) if last == contract_id => *roles = format!("{roles}, {role}"),
            _ => grants.push((contract_id.to_owned(), role)),
        }
    }
    let frame = visit.frame("sessions-title");
    Ok(page(&SessionsPage { frame, sessions, own: visit.session.id.clone(), grants }))
}

/// Ends one of them.
pub(super) async fn end(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<SignedIn>,
) -> Result<Response, Refusal> {
    let visit = act.visit;
    let ended = app.sessions().end(&visit.caller.client_id, &id).await.map_err(|error| Refusal::database(&error))?;
    if !ended {
        return Err(Refusal::not_found("there is no such session"));
    }
    Ok(visit.go("/sessions", Note::done("sessions-ended", "")))
}

/// Ends all but the one that the form came from.
pub(super) async fn end_others(State(app): State<App>, act: Act<SignedIn>) -> Result<Response, Refusal> {
    let visit = act.visit;
    let ended = app.sessions().end_others(&visit.caller.client_id, &visit.session.id).await;
    ended.map_err(|error| Refusal::database(&error))?;
    Ok(visit.go("/sessions", Note::done("sessions-ended", "")))
}
