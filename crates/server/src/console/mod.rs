//! The console: pages for the people of contracts and for operators, made here and usable without a script.
//!
//! `visit.rs` says who comes and with which right, `frame.rs` what stands around every page, `words.rs` in which language.
//! `routes.rs` is the one list of pages. A page is a file with its handlers, a template in `templates/console/`, and texts in
//! `locales/`. What is on record in English, `told.rs` tells in other languages (`sentences.rs`). Whatever changes something is a
//! form that is posted ([`visit::Act`]) and answered with the way to a page.

mod assets;
mod cookies;
mod depositor;
mod frame;
mod issuer;
mod operator;
mod preferences;
mod refusals;
pub(crate) mod routes;
mod sentences;
mod sessions;
mod sign_in;
mod states;
mod told;
mod visit;
mod words;

pub(crate) use refusals::SHAPE;
