//! The language and the theme that a reader chooses, kept in the browser.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use dipper_core::language::Language;

use super::cookies::{self, Keeping};
use super::frame::{Theme, see};
use super::visit::{Stranger, local};
use crate::app::App;
use crate::http::input::FormBody;
use crate::http::refusal::Refusal;

/// Keeps what the form chooses, and goes back to the page that it was on. It changes how pages look and nothing else, so
/// it takes no sign-in.
pub(super) async fn choose(
    State(app): State<App>,
    stranger: Stranger,
    FormBody(form): FormBody,
) -> Result<Response, Refusal> {
    let mut chosen = HeaderMap::new();
    let jar = stranger.reader.jar;
    if let Some(language) = form.one("language")? {
        let language: Language = language.parse().map_err(Refusal::bad_request)?;
        jar.write(&mut chosen, cookies::LANGUAGE, language.name(), Keeping::Year);
    }
    if let Some(theme) = form.one("theme")? {
        jar.write(&mut chosen, cookies::THEME, Theme::of(theme).name(), Keeping::Year);
    }
    let mut response = see(local(app.console_base(), form.one("back")?));
    response.headers_mut().extend(chosen);
    Ok(response)
}
