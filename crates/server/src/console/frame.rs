//! What every page has around it: the language, who is signed in, where one can go, and what was done before.

use std::borrow::Cow;
use std::sync::Arc;

use askama::Template;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};
use dipper_core::language::Language;
use dipper_core::{Grants, Role};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::assets;
use super::cookies::{self, Keeping};
use super::visit::{Entry, Reader, Visit};
use super::words::Words;
use crate::http::refusal::Refusal;

/// Light or dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Theme {
    /// As the reader's system has it.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// By its name; the system's for any other.
    pub(super) fn of(name: &str) -> Theme {
        match name {
            "light" => Theme::Light,
            "dark" => Theme::Dark,
            _ => Theme::System,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Theme::System => "system",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }
}

/// A place that the navigation leads to.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The path below the base.
    pub(crate) path: &'static str,
    /// The key of its name.
    pub(crate) key: &'static str,
    /// Whether the page lies there.
    pub(crate) is_here: bool,
    /// Whether it is that page, and not one of several behind it.
    pub(crate) is_page: bool,
}

/// A part of the console, with its pages: the navigation leads to the first of them, and beside each to all.
struct Section {
    /// The key of its name.
    key: &'static str,
    /// The role that it takes.
    role: Role,
    /// The paths of its pages, and the keys of their names.
    places: &'static [(&'static str, &'static str)],
}

const fn section(key: &'static str, role: Role, places: &'static [(&'static str, &'static str)]) -> Section {
    Section { key, role, places }
}

/// Where the navigation leads.
const SECTIONS: [Section; 7] = [
    section("packages-title", Role::Read, &[("/packages", "packages-title")]),
    section("orders-title", Role::Read, &[("/orders", "orders-title")]),
    section("outgoing-title", Role::Read, &[("/outgoing", "outgoing-title")]),
    section("webhooks-title", Role::Read, &[("/webhooks", "webhooks-title")]),
    section(
        "operations-title",
        Role::Operator,
        &[
            ("/operations", "frame-overview"),
            ("/processes", "processes-title"),
            ("/deliveries", "deliveries-title"),
            ("/deletions", "deletions-title"),
            ("/gateways", "gateways-title"),
        ],
    ),
    section("fixity-title", Role::Operator, &[("/fixity", "fixity-title")]),
    section(
        "frame-administration",
        Role::Operator,
        &[("/contracts", "contracts-title"), ("/clients", "clients-title"), ("/audit", "audit-title")],
    ),
];

/// What was done before this page: a text with something put into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// The key of the text.
    pub(crate) key: Cow<'static, str>,
    /// What is put into it, as `$what`.
    pub(crate) what: String,
    /// Whether it did not go well.
    pub(crate) is_failure: bool,
}

impl Note {
    /// That something was done.
    pub(crate) fn done(key: &'static str, what: impl Into<String>) -> Note {
        Note { key: key.into(), what: what.into(), is_failure: false }
    }

    /// That something was not done. `what` says why.
    pub(crate) fn failed(key: &'static str, what: impl Into<String>) -> Note {
        Note { key: key.into(), what: what.into(), is_failure: true }
    }

    fn write(&self) -> String {
        let kind = if self.is_failure { 'f' } else { 'd' };
        // A cookie has room for 4096 bytes.
        let what: String = self.what.chars().take(300).collect();
        format!("{kind}.{}.{}", self.key, utf8_percent_encode(&what, NON_ALPHANUMERIC))
    }

    fn read(text: &str) -> Option<Note> {
        let mut parts = text.splitn(3, '.');
        let is_failure = parts.next()? == "f";
        let key = parts.next()?;
        let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let what = percent_decode_str(parts.next()?).decode_utf8().ok()?.into_owned();
        plain.then(|| Note { key: Cow::Owned(key.to_owned()), what, is_failure })
    }
}

/// What stands around a page.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// The words of the reader's language.
    pub(crate) words: Words,
    /// The path of the console.
    pub(crate) base: Arc<str>,
    /// The title, in words.
    pub(crate) title: String,
    /// Light or dark.
    pub(crate) theme: Theme,
    /// The path and query of this page, to come back to.
    pub(crate) target: String,
    /// Who is signed in.
    pub(crate) name: Option<String>,
    /// What forms carry.
    pub(crate) csrf: String,
    /// Where one can go.
    pub(crate) places: Vec<Place>,
    /// The key of the section that the page lies in, and its pages, where there are several.
    pub(crate) section: Option<(&'static str, Vec<Place>)>,
    /// What was done before.
    pub(crate) note: Option<Note>,
}

impl Frame {
    /// For somebody of whom nothing is known but how to speak to him.
    pub(super) fn of_stranger(reader: &Reader, key: &str, csrf: String) -> Frame {
        Frame {
            words: reader.words,
            base: reader.base.clone(),
            title: reader.words.text(key),
            theme: reader.theme,
            target: reader.target.clone(),
            name: None,
            csrf,
            places: Vec::new(),
            section: None,
            note: reader.note.as_deref().and_then(Note::read),
        }
    }

    /// The stylesheet, under a name that changes with it.
    pub(crate) fn style(&self) -> String {
        assets::path(&self.base, "console.css")
    }

    /// The script, under a name that changes with it.
    pub(crate) fn script(&self) -> String {
        assets::path(&self.base, "htmx.min.js")
    }

    /// The mark of the console.
    pub(crate) fn icon(&self) -> String {
        assets::path(&self.base, "dipper.svg")
    }

    /// The languages, each in its own words.
    pub(crate) fn languages(&self) -> [(&'static str, &'static str, bool); 3] {
        [(Language::English, "English"), (Language::Norwegian, "Norsk"), (Language::German, "Deutsch")]
            .map(|(language, name)| (language.name(), name, language == self.words.language))
    }

    /// The themes, and whether each is the chosen one.
    pub(crate) fn themes(&self) -> [(Theme, bool); 3] {
        [Theme::System, Theme::Light, Theme::Dark].map(|theme| (theme, theme == self.theme))
    }

    /// The name of a theme.
    pub(crate) fn theme_text(&self, theme: &Theme) -> String {
        self.words.text(&format!("theme-{}", theme.name()))
    }

    /// Whether what was done before did not go well.
    pub(crate) fn is_failure(&self) -> bool {
        self.note.as_ref().is_some_and(|note| note.is_failure)
    }

    /// The text of what was done before.
    pub(crate) fn note_text(&self) -> Option<String> {
        let note = self.note.as_ref()?;
        self.words.find(&note.key, &[("what", note.what.as_str().into())])
    }
}

/// Where one can go from a page, and the pages beside it.
fn places(grants: &Grants, base: &str, target: &str) -> (Vec<Place>, Option<(&'static str, Vec<Place>)>) {
    let here = target.split('?').next().unwrap_or_default().strip_prefix(base).unwrap_or_default();
    let lies_below = |path: &str| here.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let place = |(path, key): &(&'static str, &'static str)| Place {
        path,
        key,
        is_here: lies_below(path),
        is_page: here == *path,
    };
    let (mut main, mut beside) = (Vec::new(), None);
    for section in SECTIONS.iter().filter(|section| grants.has_anywhere(section.role)) {
        let places: Vec<Place> = section.places.iter().map(place).collect();
        let is_here = places.iter().any(|place| place.is_here);
        if let Some(first) = places.first() {
            main.push(Place { key: section.key, is_here, ..first.clone() });
        }
        if is_here && places.len() > 1 {
            beside = Some((section.key, places));
        }
    }
    (main, beside)
}

impl<R: Entry> Visit<R> {
    /// What stands around a page with this title; `key` is the key of its text.
    pub(crate) fn frame(&self, key: &str) -> Frame {
        self.frame_titled(self.words.text(key))
    }

    /// What stands around a page with this title, in words.
    pub(crate) fn frame_titled(&self, title: String) -> Frame {
        let (places, section) = places(&self.caller.grants, &self.reader.base, &self.reader.target);
        Frame {
            words: self.words,
            base: self.reader.base.clone(),
            title,
            theme: self.reader.theme,
            target: self.reader.target.clone(),
            name: Some(self.session.name.clone()),
            csrf: self.csrf.clone(),
            places,
            section,
            note: self.reader.note.as_deref().and_then(Note::read),
        }
    }

    /// The answer to a form: to look at the page at `path` below the console's base, which tells what was done.
    pub(crate) fn go(&self, path: &str, note: Note) -> Response {
        let mut response = see(&format!("{}{path}", self.reader.base));
        self.reader.jar.write(response.headers_mut(), cookies::NOTE, &note.write(), Keeping::Session);
        response
    }
}

/// 303: the page is elsewhere.
pub(super) fn see(location: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    match HeaderValue::from_str(location) {
        Ok(location) => response.headers_mut().insert(LOCATION, location),
        Err(_) => return Refusal::internal().into_response(),
    };
    response
}

/// A page as an answer.
pub(crate) fn page(template: &impl Template) -> Response {
    page_as(StatusCode::OK, template)
}

/// A page as an answer with another status.
pub(crate) fn page_as(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => {
            const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
            (status, [(CONTENT_TYPE, HTML)], html).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            Refusal::internal().into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_survives_its_cookie() {
        for note in [Note::done("sessions-ended", "ü; \"1\"\n2"), Note::failed("a", "")] {
            let text = note.write();
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\";,\\".contains(&byte)), "{text}");
            assert_eq!(Note::read(&text), Some(note));
        }
        for wrong in ["", "d", "d.key", "d.Key.x", "d..x"] {
            assert_eq!(Note::read(wrong), None, "{wrong}");
        }
    }
}
