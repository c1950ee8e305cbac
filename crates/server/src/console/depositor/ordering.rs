//! Orders a package or a part of it, by link or into the outgoing area.

use axum::extract::{Path, State};
use axum::response::Response;
use dipper_core::db::orders::Channel;
use dipper_core::excerpt::{Excerpt, ExcerptError};
use dipper_core::intake::{IntakeError, OrderDissemination, OrderRetrieval, Portion};

use super::{DIALECT, number, query, refused, view};
use crate::app::App;
use crate::console::frame::Note;
use crate::console::visit::Act;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;
use crate::signin::Read;

/// The urgency of what is ordered here, in the middle of what orders have.
const URGENCY: i64 = 50;

/// Takes an order.
pub(in crate::console) async fn order(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Read>,
) -> Result<Response, Refusal> {
    let Act { visit, form } = act;
    let (version, view) = (number(form.one("version")?)?, view(form.one("view")?)?);
    let excerpt = match excerpt(&form)? {
        Ok(excerpt) => excerpt,
        Err(error) => {
            let key = match error {
                ExcerptError::Nothing => "ordering-nothing",
                ExcerptError::TooMuch => "ordering-too-much",
                ExcerptError::Path(path) => return Err(Refusal::bad_request(ExcerptError::Path(path).to_string())),
            };
            return Ok(visit.go(&back(&id, &form)?, Note::failed(key, "")));
        }
    };
    let portion = Portion { version, view, excerpt };
    let channel: Channel =
        form.one("channel")?.unwrap_or(Channel::Link.name()).parse().map_err(Refusal::bad_request)?;
    let (caller, package_id) = (&visit.caller, id);
    let ordered = match channel {
        Channel::Link => {
            let command =
                OrderDissemination { package_id, portion, priority: URGENCY, rank: URGENCY, dialect: DIALECT };
            app.intake().order_dissemination(caller, command).await
        }
        Channel::Area => {
            let command = OrderRetrieval { package_id, portion, dialect: DIALECT };
            app.intake().retrieval_order(caller, command).await
        }
    };
    match ordered {
        Ok(view) => Ok(visit.go(&format!("/orders/{}", view.order.id), Note::done("ordering-done", ""))),
        Err(IntakeError::AlreadyOrdered { existing }) => {
            Ok(visit.go(&format!("/orders/{existing}"), Note::failed("ordering-exists", "")))
        }
        Err(error) => Err(refused(error)),
    }
}

/// What was chosen, if not all is ordered.
fn excerpt(form: &Parameters) -> Result<Result<Option<Excerpt>, ExcerptError>, Refusal> {
    let named = |name| form.all(name).map(str::to_owned).collect::<Vec<String>>();
    match form.one("scope")?.unwrap_or("all") {
        "all" => Ok(Ok(None)),
        "folder" => match form.one("folder")? {
            Some(folder) => Ok(Excerpt::new([], [folder.to_owned()]).map(Some)),
            // The top of all folders is everything.
            None => Ok(Ok(None)),
        },
        "chosen" => Ok(Excerpt::new(named("file"), named("directory")).map(Some)),
        other => Err(Refusal::bad_request(format!("the scope of an order is all, folder or chosen, not {other:?}"))),
    }
}

/// The page that the form stands on.
pub(super) fn back(id: &str, form: &Parameters) -> Result<String, Refusal> {
    let of = |name| Ok::<_, Refusal>(form.one(name)?.unwrap_or_default());
    let query = query(&[("version", of("version")?), ("view", of("view")?), ("folder", of("folder")?)]);
    Ok(format!("/packages/{id}/files?{query}"))
}
