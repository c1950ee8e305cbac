//! Clients: who may do what, with which secret, key and webhook.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Response;
use dipper_core::db::contracts::Client;
use dipper_core::oversight::management::ClientView;
use dipper_core::secret::Secret;
use dipper_core::{Grants, Role};

use super::sheet::{Block, Cell, Field, Form, Kind, Sheet, Table, text, time};
use super::{Undone, Visitor, back, shown};
use crate::app::App;
use crate::console::frame::Note;
use crate::console::told::in_words;
use crate::console::visit::Act;
use crate::console::words::Words;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;
use crate::sftp::parse_public_key;
use crate::signin::Operator;

/// For how long the secret before signs webhooks as well.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// The clients.
pub(in crate::console) async fn show(State(app): State<App>, visit: Visitor) -> Result<Response, Refusal> {
    list(&app, &visit, Vec::new()).await
}

async fn list(app: &App, visit: &Visitor, mut blocks: Vec<Block>) -> Result<Response, Refusal> {
    let words = visit.words;
    let clients = shown(app.intake().oversight().clients(&visit.caller).await)?;
    let row = |client: &Client| {
        vec![
            Cell::Link(format!("/clients/{}", client.id), client.id.clone()),
            state(words, client),
            Cell::Text(roles(words, &client.grants)),
            time(words, client.created),
        ]
    };
    let heads = ["clients-client", "operations-state", "clients-roles", "clients-created"];
    blocks.push(Block::Text(words.text("clients-meaning")));
    blocks.push(Block::Table(Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).to_vec(),
        rows: clients.iter().map(row).collect(),
        empty: words.text("clients-empty"),
    }));
    blocks.push(Block::Heading(words.text("clients-add")));
    let form = Form { action: "/clients".to_owned(), post: true, button: words.text("clients-add"), ..Form::default() };
    let form = form
        .field(Field::new("client", words.text("clients-client"), "", Kind::Text).required())
        .field(Field::new("contract", words.text("operations-contract"), "", contracts(visit)))
        .field(Field::new("role", words.text("clients-role"), Role::Read.name(), all_roles(words)));
    blocks.push(Block::Form(form));
    Ok(Sheet::new(visit.frame("clients-title"), blocks).answer())
}

fn state(words: Words, client: &Client) -> Cell {
    match client.disabled {
        None => Cell::State("good", words.text("clients-enabled")),
        Some(_) => Cell::State("bad", words.text("clients-disabled")),
    }
}

fn roles(words: Words, grants: &Grants) -> String {
    let told =
        grants.iter().map(|(contract_id, role)| format!("{contract_id}: {}", words.text(&format!("role-{role}"))));
    told.collect::<Vec<_>>().join("; ")
}

fn contracts(visit: &Visitor) -> Kind {
    let contracts = visit.caller.grants.contracts(Role::Operator);
    Kind::Choice(contracts.into_iter().map(|id| (id.to_owned(), id.to_owned())).collect())
}

fn all_roles(words: Words) -> Kind {
    let role = |role: &Role| (role.name().to_owned(), words.text(&format!("role-{role}")));
    Kind::Choice(Role::ALL.iter().map(role).collect())
}

/// One client.
pub(in crate::console) async fn client(
    State(app): State<App>,
    Path(id): Path<String>,
    visit: Visitor,
) -> Result<Response, Refusal> {
    one(&app, &visit, &id, Vec::new()).await
}

async fn one(app: &App, visit: &Visitor, id: &str, mut blocks: Vec<Block>) -> Result<Response, Refusal> {
    let words = visit.words;
    let view = shown(app.intake().oversight().client(&visit.caller, id).await)?;
    let act = |name: &str| format!("/clients/{id}/{name}");
    let is_enabled = view.client.disabled.is_none();
    let (turn, word) = if is_enabled { ("false", "clients-disable") } else { ("true", "clients-enable") };
    let enable = Form::button(act("enable"), words.text(word), String::new()).field(Field::hidden("enabled", turn));
    let secret = Form::button(act("secret"), words.text("clients-new-secret"), String::new()).danger();
    blocks.push(Block::Facts(vec![
        (words.text("operations-state"), state(words, &view.client)),
        (words.text("clients-created"), time(words, view.client.created)),
        (words.text("clients-access"), Cell::Forms(vec![if is_enabled { enable.danger() } else { enable }, secret])),
    ]));
    blocks.push(Block::Heading(words.text("clients-roles")));
    blocks.push(Block::Table(granted(words, id, &view)));
    let form = Form { action: act("grants"), post: true, button: words.text("clients-grant"), ..Form::default() };
    let form = form
        .field(Field::new("contract", words.text("operations-contract"), "", contracts(visit)))
        .field(Field::new("role", words.text("clients-role"), Role::Read.name(), all_roles(words)));
    blocks.push(Block::Form(form));
    blocks.push(Block::Heading(words.text("clients-keys")));
    blocks.push(Block::Table(keys(words, id, &view)));
    let form = Form { action: act("keys"), post: true, button: words.text("clients-key-add"), ..Form::default() };
    blocks.push(Block::Form(form.field(Field::new("key", words.text("clients-key-line"), "", Kind::Lines).required())));
    blocks.push(Block::Heading(words.text("clients-webhooks")));
    blocks.push(Block::Table(webhooks(words, id, &view)));
    let form =
        Form { action: act("webhooks"), post: true, button: words.text("clients-webhook-add"), ..Form::default() };
    blocks
        .push(Block::Form(form.field(Field::new("url", words.text("clients-webhook-url"), "", Kind::Text).required())));
    blocks.push(Block::Heading(words.text("clients-notices")));
    blocks.push(Block::Table(notices(words, id, &view)));
    blocks.push(Block::Links(vec![("/clients".to_owned(), words.text("clients-title"))]));
    let title = words.with("clients-one", "client", id);
    Ok(Sheet::new(visit.frame_titled(title), blocks).answer())
}

fn granted(words: Words, id: &str, view: &ClientView) -> Table {
    let row = |(contract_id, role): (&str, Role)| {
        let about = words.with_two("clients-revoke-one", "contract", contract_id, "role", role.name());
        let form = Form::button(format!("/clients/{id}/revoke"), words.text("clients-revoke"), about).danger();
        let form = form.field(Field::hidden("contract", contract_id)).field(Field::hidden("role", role.name()));
        vec![
            Cell::Text(contract_id.to_owned()),
            Cell::Text(words.text(&format!("role-{role}"))),
            Cell::Forms(vec![form]),
        ]
    };
    Table {
        caption: String::new(),
        heads: vec![words.text("operations-contract"), words.text("clients-role"), String::new()],
        rows: view.client.grants.iter().map(row).collect(),
        empty: String::new(),
    }
}

fn keys(words: Words, id: &str, view: &ClientView) -> Table {
    let row = |known: &dipper_core::db::client_keys::ClientKey| {
        let about = words.with("clients-key-remove-one", "key", known.key.fingerprint.as_str());
        let form = Form::button(format!("/clients/{id}/keys/remove"), words.text("clients-remove"), about).danger();
        vec![
            Cell::Code(known.key.fingerprint.clone()),
            Cell::Text(known.key.algorithm.clone()),
            text(&known.key.comment),
            time(words, known.created),
            Cell::Forms(vec![form.field(Field::hidden("fingerprint", known.key.fingerprint.as_str()))]),
        ]
    };
    let heads = ["clients-fingerprint", "clients-algorithm", "clients-comment", "clients-created"];
    Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).into_iter().chain([String::new()]).collect(),
        rows: view.keys.iter().map(row).collect(),
        empty: words.text("clients-keys-empty"),
    }
}

fn webhooks(words: Words, id: &str, view: &ClientView) -> Table {
    let row = |webhook: &dipper_core::db::webhooks::Webhook| {
        let button = |name: &str, word: &str| {
            let about = words.with_two("clients-webhook-about", "what", words.text(word), "url", webhook.url.as_str());
            let action = format!("/clients/{id}/webhooks/{}/{name}", webhook.id);
            Form::button(action, words.text(word), about)
        };
        let (turn, word) = match webhook.disabled {
            None => ("false", "clients-webhook-stop"),
            Some(_) => ("true", "clients-webhook-go"),
        };
        let state = match &webhook.disabled {
            None => Cell::State("good", words.text("clients-enabled")),
            Some((_, reason)) => {
                let (reason, _) = in_words(words, reason);
                Cell::State("bad", format!("{}: {reason}", words.text("clients-disabled")))
            }
        };
        vec![
            Cell::Code(webhook.url.clone()),
            state,
            time(words, webhook.created),
            Cell::Forms(vec![
                button("enable", word).field(Field::hidden("enabled", turn)),
                button("secret", "clients-new-secret"),
                button("remove", "clients-remove").danger(),
            ]),
        ]
    };
    let heads = ["clients-webhook-url", "operations-state", "clients-created"];
    Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).into_iter().chain([String::new()]).collect(),
        rows: view.webhooks.iter().map(|(webhook, _)| row(webhook)).collect(),
        empty: words.text("clients-webhooks-empty"),
    }
}

fn notices(words: Words, id: &str, view: &ClientView) -> Table {
    let mut rows = Vec::new();
    for (webhook, notices) in &view.webhooks {
        for (notice, attempts) in notices {
            let class = match notice.state.as_str() {
                "accepted" => "good",
                "abandoned" => "bad",
                _ => "warn",
            };
            let last = attempts.last();
            let answer = match last {
                Some(last) => match (&last.failure, last.status) {
                    (Some(failure), _) => failure.clone(),
                    (None, Some(status)) => status.to_string(),
                    (None, None) => String::new(),
                },
                None => String::new(),
            };
            let about = words.with("clients-replay-one", "notice", notice.id.as_str());
            let action = format!("/clients/{id}/webhooks/{}/replay", webhook.id);
            let form = Form::button(action, words.text("clients-replay"), about);
            rows.push(vec![
                Cell::Code(notice.id.clone()),
                Cell::Code(webhook.url.clone()),
                Cell::Code(notice.order_id.clone()),
                Cell::State(class, words.text(&format!("notice-{}", notice.state))),
                Cell::Number(words.count(&notice.attempts)),
                text(&answer),
                time(words, notice.created),
                Cell::Forms(vec![form.field(Field::hidden("notice", notice.id.as_str()))]),
            ]);
        }
    }
    let heads = [
        "clients-notice",
        "clients-webhook-url",
        "operations-order",
        "operations-state",
        "clients-attempts",
        "clients-answer",
        "clients-created",
    ];
    Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).into_iter().chain([String::new()]).collect(),
        rows,
        empty: words.text("clients-notices-empty"),
    }
}

/// What the form of a grant says.
fn grant_of(form: &Parameters) -> Result<(String, Role), Refusal> {
    let contract_id = form.one("contract")?.unwrap_or_default().to_owned();
    let role = form.one("role")?.unwrap_or_default().parse::<Role>().map_err(Refusal::bad_request)?;
    Ok((contract_id, role))
}

/// A secret that was made, shown this once.
fn told(words: Words, key: &str, name: &str, secret: &Secret) -> Block {
    Block::Secret(words.with(key, "name", name), secret.reveal().to_owned())
}

/// Adds a client, and shows its secret.
pub(in crate::console) async fn add(State(app): State<App>, act: Act<Operator>) -> Result<Response, Refusal> {
    let visit = act.visit;
    let id = act.form.one("client")?.unwrap_or_default().to_owned();
    let grants: Grants = [grant_of(&act.form)?].into_iter().collect();
    match app.intake().oversight().client_add(&visit.caller, &id, &grants).await.map_err(Undone::from) {
        Ok(secret) => list(&app, &visit, vec![told(visit.words, "clients-secret", &id, &secret)]).await,
        Err(Undone::NotNow(why)) => Ok(visit.go("/clients", Note::failed("operator-not-done", why))),
        Err(Undone::Refused(refusal)) => Err(refusal),
    }
}

/// Gives a client a new secret, and shows it.
pub(in crate::console) async fn new_secret(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let secret = shown(app.intake().oversight().client_secret_replace(&act.visit.caller, &id).await)?;
    let blocks = vec![told(act.visit.words, "clients-secret", &id, &secret)];
    // Whoever gives himself a new secret has to sign in again with it: this page is the last one.
    if id == act.visit.caller.client_id {
        return Ok(Sheet::new(
            act.visit.frame_titled(act.visit.words.with("clients-one", "client", id.as_str())),
            blocks,
        )
        .answer());
    }
    one(&app, &act.visit, &id, blocks).await
}

/// Lets a client sign in, or not any more.
pub(in crate::console) async fn enable(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let enabled = act.form.one("enabled")? == Some("true");
    let done = app.intake().oversight().client_enable(&act.visit.caller, &id, enabled).await;
    back(&act.visit, &format!("/clients/{id}"), done, |()| Note::done("clients-changed", id.clone()))
}

/// Gives a client a role.
pub(in crate::console) async fn grant(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let (contract_id, role) = grant_of(&act.form)?;
    let done = app.intake().oversight().client_grant(&act.visit.caller, &id, &contract_id, role).await;
    back(&act.visit, &format!("/clients/{id}"), done, |()| Note::done("clients-changed", id.clone()))
}

/// Takes a role from a client. Whoever has none left is not in the list any more.
pub(in crate::console) async fn revoke(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let (contract_id, role) = grant_of(&act.form)?;
    let done = app.intake().oversight().client_revoke(&act.visit.caller, &id, &contract_id, role).await;
    back(&act.visit, "/clients", done, |_| Note::done("clients-changed", id.clone()))
}

/// Lets a client sign in with a key.
pub(in crate::console) async fn add_key(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let here = format!("/clients/{id}");
    let key = match parse_public_key(act.form.one("key")?.unwrap_or_default()) {
        Ok(key) => key,
        Err(error) => return Ok(act.visit.go(&here, Note::failed("operator-not-done", format!("{error:#}")))),
    };
    let done = app.intake().oversight().client_key_add(&act.visit.caller, &id, &key).await;
    back(&act.visit, &here, done, |()| Note::done("clients-changed", id.clone()))
}

/// Removes a key of a client.
pub(in crate::console) async fn remove_key(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let fingerprint = act.form.one("fingerprint")?.unwrap_or_default();
    let done = app.intake().oversight().client_key_remove(&act.visit.caller, &id, fingerprint).await;
    back(&act.visit, &format!("/clients/{id}"), done, |()| Note::done("clients-changed", id.clone()))
}

/// Adds a webhook, and shows its secret.
pub(in crate::console) async fn add_webhook(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let visit = act.visit;
    let url = act.form.one("url")?.unwrap_or_default();
    match app.intake().oversight().webhook_add(&visit.caller, &id, url).await.map_err(Undone::from) {
        Ok(added) => {
            let mut blocks = vec![told(visit.words, "clients-webhook-secret", url, &added.secret)];
            blocks.extend(added.warning.map(|warning| Block::Notice("warn", warning.to_string())));
            one(&app, &visit, &id, blocks).await
        }
        Err(Undone::NotNow(why)) => Ok(visit.go(&format!("/clients/{id}"), Note::failed("operator-not-done", why))),
        Err(Undone::Refused(refusal)) => Err(refusal),
    }
}

/// Stops a webhook, or lets it go on.
pub(in crate::console) async fn enable_webhook(
    State(app): State<App>,
    Path((id, webhook_id)): Path<(String, String)>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let enabled = act.form.one("enabled")? == Some("true");
    let done = app.intake().oversight().webhook_enable(&act.visit.caller, &webhook_id, enabled).await;
    back(&act.visit, &format!("/clients/{id}"), done, |()| Note::done("clients-changed", id.clone()))
}

/// Gives a webhook a new secret, and shows it.
pub(in crate::console) async fn new_webhook_secret(
    State(app): State<App>,
    Path((id, webhook_id)): Path<(String, String)>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let oversight = app.intake().oversight();
    let secret = shown(oversight.webhook_secret_rotate(&act.visit.caller, &webhook_id, OVERLAP).await)?;
    let blocks = vec![told(act.visit.words, "clients-webhook-secret", &webhook_id, &secret)];
    one(&app, &act.visit, &id, blocks).await
}

/// Removes a webhook with its notices.
pub(in crate::console) async fn remove_webhook(
    State(app): State<App>,
    Path((id, webhook_id)): Path<(String, String)>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let done = app.intake().oversight().webhook_remove(&act.visit.caller, &webhook_id).await;
    back(&act.visit, &format!("/clients/{id}"), done, |()| Note::done("clients-changed", id.clone()))
}

/// Sends a notice again.
pub(in crate::console) async fn replay(
    State(app): State<App>,
    Path((id, webhook_id)): Path<(String, String)>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let notice = act.form.one("notice")?.unwrap_or_default();
    let done = app.intake().oversight().notice_replay(&act.visit.caller, &webhook_id, notice).await;
    back(&act.visit, &format!("/clients/{id}"), done, |()| Note::done("clients-replayed", notice))
}
