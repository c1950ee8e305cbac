//! The audit log: what was done, by whom, and whether the log is as it was written.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use dipper_core::Role;
use dipper_core::audit::export::AuditWriter;
use dipper_core::audit::premis::Premis;
use dipper_core::audit::{AuditKind, Chained};
use dipper_core::db::audit::{AuditCursor, AuditFilter};
use dipper_core::ids;
use dipper_core::time::Timestamp;
use time::macros::format_description;
use time::{Date, Duration};

use super::sheet::{Block, Cell, Field, Form, Kind, Sheet, Table, dash, sentence, text, time};
use super::{Visitor, package};
use crate::app::App;
use crate::audit::JsonWriter;
use crate::console::told::agent;
use crate::console::visit::Act;
use crate::console::words::Words;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;
use crate::http::stream;
use crate::signin::Operator;

/// How many entries are on a page.
const SHOWN: u32 = 50;

/// What is asked for.
struct Wanted {
    contract: Option<String>,
    kind: Option<AuditKind>,
    object: Option<String>,
    failures: bool,
    from: Option<Date>,
    until: Option<Date>,
}

impl Wanted {
    fn of(parameters: &Parameters) -> Result<Wanted, Refusal> {
        let kind = parameters.one("kind")?.map(str::parse::<AuditKind>).transpose().map_err(Refusal::bad_request)?;
        Ok(Wanted {
            contract: parameters.one("contract")?.map(str::to_owned),
            kind,
            object: parameters.one("object")?.map(str::to_owned),
            failures: parameters.one("outcome")? == Some("failure"),
            from: parameters.one("from")?.map(day).transpose()?,
            until: parameters.one("until")?.map(day).transpose()?,
        })
    }

    fn filter(&self) -> AuditFilter {
        let begin = |day: Date| Timestamp::from(day.midnight().assume_utc());
        let package_id = match (&self.contract, &self.object) {
            (Some(contract_id), Some(object_id)) => Some(ids::package_id(&ids::ocfl_id(contract_id, object_id))),
            _ => None,
        };
        AuditFilter {
            contract_ids: self.contract.clone().map(|id| vec![id]),
            package_id,
            kind: self.kind,
            success: self.failures.then_some(false),
            since: self.from.map(begin),
            // The day itself belongs to it.
            until: self.until.and_then(|day| day.checked_add(Duration::days(1))).map(begin),
            ..AuditFilter::default()
        }
    }

    /// As the address of a page has it, with what else is to stand there.
    fn query(&self, more: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let days = [("from", self.from), ("until", self.until)];
        let mut add = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        };
        add("contract", self.contract.as_deref());
        add("kind", self.kind.map(AuditKind::name));
        add("object", self.object.as_deref());
        add("outcome", self.failures.then_some("failure"));
        for (name, day) in days {
            add(name, day.map(|day| day.to_string()).as_deref());
        }
        for (name, value) in more {
            add(name, Some(value));
        }
        query.finish()
    }
}

fn day(text: &str) -> Result<Date, Refusal> {
    Date::parse(text, format_description!("[year]-[month]-[day]"))
        .map_err(|_| Refusal::bad_request(format!("{text:?} is no day such as 2026-11-22")))
}

fn failed(error: dipper_core::db::DatabaseError) -> Refusal {
    Refusal::database(&error)
}

/// Entries, newest page by oldest first, as the log has them.
pub(in crate::console) async fn show(
    State(app): State<App>,
    visit: Visitor,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    list(&app, &visit, &parameters, Vec::new()).await
}

async fn list(
    app: &App,
    visit: &Visitor,
    parameters: &Parameters,
    mut blocks: Vec<Block>,
) -> Result<Response, Refusal> {
    let words = visit.words;
    let wanted = Wanted::of(parameters)?;
    let after = parameters.one("after")?.map(str::parse::<AuditCursor>).transpose().map_err(Refusal::bad_request)?;
    let oversight = app.intake().oversight();
    let mut found =
        oversight.audit(&visit.caller, &wanted.filter(), after.as_ref(), SHOWN + 1).await.map_err(failed)?;
    let more = found.len() > SHOWN as usize;
    found.truncate(SHOWN as usize);
    blocks.push(Block::Form(search(visit, &wanted)));
    blocks.push(Block::Table(entries(visit, &found)));
    let mut links = Vec::new();
    if let Some(last) = found.last().filter(|_| more) {
        let place = AuditCursor::behind(last).to_string();
        links.push((format!("/audit?{}", wanted.query(&[("after", &place)])), words.text("operator-next")));
    }
    for format in ["premis", "json"] {
        let path = format!("/audit/export?{}", wanted.query(&[("format", format)]));
        links.push((path, words.text(&format!("audit-export-{format}"))));
    }
    blocks.push(Block::Links(links));
    blocks.push(Block::Heading(words.text("audit-verify")));
    blocks.push(Block::Text(words.text("audit-verify-meaning")));
    let verify =
        Form { action: "/audit/verify".to_owned(), post: true, button: words.text("audit-verify"), ..Form::default() };
    blocks.push(Block::Form(verify));
    Ok(Sheet::new(visit.frame("audit-title"), blocks).answer())
}

fn search(visit: &Visitor, wanted: &Wanted) -> Form {
    let words = visit.words;
    let any = || vec![(String::new(), words.text("audit-any"))];
    let contracts = visit.caller.grants.contracts(Role::Operator);
    let contracts = any().into_iter().chain(contracts.into_iter().map(|id| (id.to_owned(), id.to_owned()))).collect();
    let kinds = AuditKind::ALL.iter().map(|kind| (kind.name().to_owned(), words.text(&format!("audit-{kind}"))));
    let kinds = any().into_iter().chain(kinds).collect();
    let outcomes = any().into_iter().chain([("failure".to_owned(), words.text("audit-failure"))]).collect();
    let of = |value: &Option<String>| value.clone().unwrap_or_default();
    let on = |day: Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
    let kind = wanted.kind.map(AuditKind::name).unwrap_or_default();
    let outcome = if wanted.failures { "failure" } else { "" };
    Form { action: "/audit".to_owned(), button: words.text("audit-search"), ..Form::default() }
        .field(Field::new("contract", words.text("operations-contract"), of(&wanted.contract), Kind::Choice(contracts)))
        .field(Field::new("kind", words.text("audit-kind"), kind, Kind::Choice(kinds)))
        .field(Field::new("outcome", words.text("audit-outcome"), outcome, Kind::Choice(outcomes)))
        .field(Field::new("object", words.text("audit-object"), of(&wanted.object), Kind::Text))
        .field(Field::new("from", words.text("audit-from"), on(wanted.from), Kind::Day))
        .field(Field::new("until", words.text("audit-until"), on(wanted.until), Kind::Day))
}

fn entries(visit: &Visitor, found: &[Chained]) -> Table {
    let words = visit.words;
    let row = |chained: &Chained| {
        let entry = &chained.entry;
        let outcome = if entry.success {
            Cell::State("good", words.text("audit-success"))
        } else {
            Cell::State("bad", words.text("audit-failure"))
        };
        let object = match (&entry.package_id, &entry.object_id) {
            (Some(package_id), Some(object_id)) => package(visit, &entry.contract_id, package_id, object_id),
            (_, object_id) => text(object_id.as_deref().unwrap_or_default()),
        };
        vec![
            time(words, entry.at),
            Cell::Text(words.text(&format!("audit-{}", entry.kind))),
            outcome,
            Cell::Code(chained.name()),
            object,
            entry.version.map_or_else(dash, |version| Cell::Number(version.to_string())),
            Cell::Text(agent(words, &entry.agent)),
            sentence(words, &entry.detail),
        ]
    };
    let heads = [
        "operations-when",
        "audit-kind",
        "audit-outcome",
        "audit-entry",
        "operations-package",
        "operations-version",
        "audit-agent",
        "audit-detail",
    ];
    Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).to_vec(),
        rows: found.iter().map(row).collect(),
        empty: words.text("audit-empty"),
    }
}

/// The entries for other systems, made while they are sent.
pub(in crate::console) async fn export(
    State(app): State<App>,
    visit: Visitor,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let filter = Wanted::of(&parameters)?.filter();
    let (writer, media_type, name): (Box<dyn AuditWriter + Send>, _, _) = match parameters.one("format")? {
        Some("premis") => (Box::new(Premis::default()), "application/xml", "audit.premis.xml"),
        Some("json") => (Box::new(JsonWriter::default()), "application/json", "audit.json"),
        _ => return Err(Refusal::bad_request("the parameter `format` must be premis or json")),
    };
    let mut export = app.intake().oversight().audit_export(&visit.caller, &filter, writer);
    let body = stream::told(async move |mut pieces| {
        while export.next(pieces.buffer()).await.map_err(std::io::Error::other)? {
            pieces.pass_on().await?;
        }
        Ok(pieces)
    });
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")).ok();
    let mut response = ([(CONTENT_TYPE, HeaderValue::from_static(media_type))], body).into_response();
    if let Some(disposition) = disposition {
        response.headers_mut().insert(CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// Computes every chain again, and tells whether it is as it was written.
pub(in crate::console) async fn verify(State(app): State<App>, act: Act<Operator>) -> Result<Response, Refusal> {
    let visit = act.visit;
    let words: Words = visit.words;
    let reports = app.intake().oversight().audit_verify(&visit.caller).await.map_err(failed)?;
    let row = |report: &dipper_core::audit::verify::ChainReport| {
        let state = match &report.fault {
            None => Cell::State("good", words.text("audit-chain-good")),
            Some(fault) => Cell::State("bad", format!("{}: {fault}", words.text("audit-chain-bad"))),
        };
        vec![
            Cell::Text(report.contract_id.clone()),
            state,
            Cell::Number(words.count(&report.entries)),
            Cell::Code(report.head.clone()),
        ]
    };
    let heads = ["operations-contract", "operations-state", "audit-entries", "audit-head"];
    let table = Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).to_vec(),
        rows: reports.iter().map(row).collect(),
        empty: words.text("audit-empty"),
    };
    let is_sound = reports.iter().all(|report| report.fault.is_none());
    let notice = if is_sound {
        Block::Notice("", words.text("audit-sound"))
    } else {
        Block::Notice("failure", words.text("audit-unsound"))
    };
    list(&app, &visit, &Parameters::default(), vec![notice, Block::Table(table)]).await
}
