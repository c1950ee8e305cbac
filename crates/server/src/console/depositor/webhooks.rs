//! The webhooks of the client that has signed in, what was sent to them, and sending it again.

use std::time::Duration;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use dipper_core::db::notices::{Attempt, Notice};
use dipper_core::intake::{ClientWebhook, NoticeError};
use url::Url;

use super::{Badge, Moment, query};
use crate::app::App;
use crate::console::frame::{Frame, Note, page};
use crate::console::told::in_words;
use crate::console::visit::{Act, Visit};
use crate::console::words::Words;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;
use crate::signin::Read;

/// Notices on a page.
const PAGE: u32 = 50;

#[derive(Template)]
#[template(path = "console/depositor/webhooks.html")]
struct WebhooksPage {
    frame: Frame,
    webhooks: Vec<WebhookRow>,
}

#[derive(Template)]
#[template(path = "console/depositor/webhook.html")]
struct WebhookPage {
    frame: Frame,
    webhook: WebhookRow,
    notices: Vec<NoticeRow>,
    next: Option<String>,
}

struct WebhookRow {
    id: String,
    /// Without what may be secret in it.
    url: String,
    created: Moment,
    /// Since when, why, and the language that this is in.
    disabled: Option<(Moment, String, &'static str)>,
}

impl WebhookRow {
    fn of(words: Words, webhook: ClientWebhook) -> WebhookRow {
        WebhookRow {
            url: without_secrets(&webhook.url),
            created: Moment::of(words, &webhook.created),
            disabled: webhook.disabled.map(|(since, reason)| {
                let (reason, language) = in_words(words, &reason);
                (Moment::of(words, &since), reason, language)
            }),
            id: webhook.id,
        }
    }
}

struct NoticeRow {
    id: String,
    order_id: String,
    state: Badge,
    created: Moment,
    /// When it is tried again, if it is.
    due: Option<Moment>,
    attempts: Vec<AttemptRow>,
}

struct AttemptRow {
    number: i64,
    at: Moment,
    took: String,
    /// What was answered, or why nothing was.
    outcome: String,
    is_failure: bool,
}

impl NoticeRow {
    fn of(words: Words, notice: Notice, attempts: Vec<Attempt>) -> NoticeRow {
        let class = match notice.state.as_str() {
            "accepted" => "good",
            "abandoned" => "bad",
            _ => "warn",
        };
        let is_pending = notice.state == "pending";
        NoticeRow {
            state: Badge { class, told: words.text(&format!("webhooks-state-{}", notice.state)) },
            created: Moment::of(words, &notice.created),
            due: is_pending.then(|| Moment::of(words, &notice.due)),
            attempts: attempts.into_iter().map(|attempt| AttemptRow::of(words, attempt)).collect(),
            id: notice.id,
            order_id: notice.order_id,
        }
    }
}

impl AttemptRow {
    fn of(words: Words, attempt: Attempt) -> AttemptRow {
        let took = Duration::from_micros(attempt.duration_micros);
        let answered = attempt.status.map(|status| format!("HTTP {status}")).unwrap_or_default();
        let outcome = match &attempt.failure {
            Some(failure) if answered.is_empty() => failure.clone(),
            Some(failure) => format!("{answered}: {failure}"),
            None => answered,
        };
        AttemptRow {
            number: attempt.number,
            at: Moment::of(words, &attempt.at),
            took: words.with("webhooks-milliseconds", "count", took.as_millis().to_string()),
            outcome,
            is_failure: attempt.failure.is_some(),
        }
    }
}

/// The webhooks.
pub(in crate::console) async fn list(State(app): State<App>, visit: Visit<Read>) -> Result<Response, Refusal> {
    let found = app.intake().webhook_list(&visit.caller).await.map_err(refused)?;
    let webhooks = found.into_iter().map(|webhook| WebhookRow::of(visit.words, webhook)).collect();
    Ok(page(&WebhooksPage { frame: visit.frame("webhooks-title"), webhooks }))
}

/// What was sent to one of them.
pub(in crate::console) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    visit: Visit<Read>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let (words, intake) = (visit.words, app.intake());
    let webhook = intake.webhook_get(&visit.caller, &id).await.map_err(refused)?;
    let before = parameters.one("before")?;
    let mut found = intake.notice_list(&visit.caller, &id, before, PAGE + 1).await.map_err(refused)?;
    let next = (found.len() > PAGE as usize).then(|| {
        found.truncate(PAGE as usize);
        let last = found.last().map(|(notice, _)| notice.id.clone()).unwrap_or_default();
        query(&[("before", &last)])
    });
    let notices = found.into_iter().map(|(notice, attempts)| NoticeRow::of(words, notice, attempts)).collect();
    let frame = visit.frame("webhook-title");
    Ok(page(&WebhookPage { frame, webhook: WebhookRow::of(words, webhook), notices, next }))
}

/// Sends a notice again.
pub(in crate::console) async fn replay(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Read>,
) -> Result<Response, Refusal> {
    let Act { visit, form } = act;
    let notice = form.one("notice")?.unwrap_or_default();
    let note = match app.intake().notice_replay(&visit.caller, &id, notice).await {
        Ok(()) => Note::done("webhook-replayed", ""),
        Err(NoticeError::Disabled) => Note::failed("webhook-is-disabled", ""),
        Err(error) => return Err(refused(error)),
    };
    Ok(visit.go(&format!("/webhooks/{id}"), note))
}

/// An address without the name, password and query that may be secrets.
pub(in crate::console) fn without_secrets(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else { return String::new() };
    let had_query = url.query().is_some();
    url.set_query(None);
    url.set_fragment(None);
    let removed = url.set_username("").and_then(|()| url.set_password(None));
    match (removed, had_query) {
        (Err(()), _) => url.host_str().unwrap_or_default().to_owned(),
        (Ok(()), true) => format!("{url}?…"),
        (Ok(()), false) => url.to_string(),
    }
}

fn refused(error: NoticeError) -> Refusal {
    let message = error.to_string();
    match error {
        NoticeError::NotAllowed | NoticeError::WebhookUnknown(_) | NoticeError::NoticeUnknown(_) => {
            Refusal::not_found(message)
        }
        NoticeError::Disabled => Refusal::new(StatusCode::CONFLICT, "WEBHOOK_DISABLED", message),
        NoticeError::Database(error) => {
            tracing::error!(%error, "a page could not be made");
            Refusal::database(&error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_of_an_address_is_not_shown() {
        let table = [
            ("https://user:secret@example.org/hook?token=secret#x", "https://example.org/hook?…"),
            ("https://example.org:8443/a/b", "https://example.org:8443/a/b"),
            ("nothing", ""),
        ];
        for (address, shown) in table {
            assert_eq!(without_secrets(address), shown);
        }
    }
}
