//! Contracts: what belongs to each, the quota of its area, and how its people are written to.

use axum::extract::{Path, State};
use axum::response::Response;
use dipper_core::db::mails::Correspondence;
use dipper_core::language::Language;
use dipper_core::oversight::management::ContractView;

use super::sheet::{Block, Cell, Field, Form, Kind, Sheet, Table, dash};
use super::{Visitor, back, shown};
use crate::app::App;
use crate::console::frame::Note;
use crate::console::visit::Act;
use crate::console::words::Words;
use crate::http::refusal::Refusal;
use crate::signin::Operator;

const HERE: &str = "/contracts";
/// A quota is given in these.
const GIGABYTE: u64 = 1_000_000_000;

/// The contracts.
pub(in crate::console) async fn show(State(app): State<App>, visit: Visitor) -> Result<Response, Refusal> {
    let words = visit.words;
    let contracts = shown(app.intake().oversight().contracts(&visit.caller).await)?;
    let row = |contract: &ContractView| {
        let quota = match contract.quota_bytes {
            None => words.text("contracts-quota-default"),
            Some(0) => words.text("contracts-quota-none"),
            Some(bytes) => words.size(&bytes),
        };
        let address = contract.correspondence.address.as_ref();
        vec![
            Cell::Text(contract.id.clone()),
            Cell::Number(words.count(&contract.packages)),
            Cell::Number(words.size(&contract.used_bytes)),
            Cell::Text(quota),
            address.map_or_else(dash, |address| Cell::Text(address.clone())),
            Cell::Text(words.text(&format!("language-{}", contract.correspondence.language))),
            contract.gateway.as_ref().map_or_else(dash, |url| Cell::Code(url.clone())),
        ]
    };
    let heads = [
        "operations-contract",
        "contracts-packages",
        "contracts-used",
        "contracts-quota",
        "contracts-mail",
        "contracts-language",
        "contracts-gateway",
    ];
    let table = Table {
        caption: String::new(),
        heads: heads.map(|key| words.text(key)).to_vec(),
        rows: contracts.iter().map(row).collect(),
        empty: words.text("contracts-empty"),
    };
    let mut blocks = vec![Block::Table(table)];
    for contract in &contracts {
        blocks.push(Block::Heading(words.with("contracts-change", "contract", contract.id.as_str())));
        blocks.push(Block::Form(quota(words, contract)));
        blocks.push(Block::Form(correspondence(words, contract)));
    }
    Ok(Sheet::new(visit.frame("contracts-title"), blocks).answer())
}

fn quota(words: Words, contract: &ContractView) -> Form {
    let value = contract.quota_bytes.map(|bytes| bytes.div_ceil(GIGABYTE).to_string()).unwrap_or_default();
    let field = Field::new("gigabytes", words.text("contracts-quota-gigabytes"), value, Kind::Number(0, 1_000_000_000));
    let form = Form {
        action: format!("/contracts/{}/quota", contract.id),
        post: true,
        button: words.text("contracts-save"),
        ..Form::default()
    };
    form.field(field)
}

fn correspondence(words: Words, contract: &ContractView) -> Form {
    let languages: Vec<(String, String)> = Language::ALL
        .iter()
        .map(|language| (language.name().to_owned(), words.text(&format!("language-{language}"))))
        .collect();
    let address = contract.correspondence.address.clone().unwrap_or_default();
    let language = contract.correspondence.language.name();
    let form = Form {
        action: format!("/contracts/{}/correspondence", contract.id),
        post: true,
        button: words.text("contracts-save"),
        ..Form::default()
    };
    form.field(Field::new("address", words.text("contracts-mail"), address, Kind::Text)).field(Field::new(
        "language",
        words.text("contracts-language"),
        language,
        Kind::Choice(languages),
    ))
}

/// Sets the quota of an area.
pub(in crate::console) async fn set_quota(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let gigabytes = act.form.integer("gigabytes", 0..=1_000_000_000)?;
    let bytes = gigabytes.map(|gigabytes| gigabytes.saturating_mul(GIGABYTE));
    let done = app.intake().oversight().contract_quota_set(&act.visit.caller, &id, bytes).await;
    back(&act.visit, HERE, done, |()| Note::done("contracts-saved", id.clone()))
}

/// Sets where and how the people of a contract are written to.
pub(in crate::console) async fn set_correspondence(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Operator>,
) -> Result<Response, Refusal> {
    let language = act.form.one("language")?.unwrap_or_default().parse::<Language>().map_err(Refusal::bad_request)?;
    let correspondence = Correspondence { address: act.form.one("address")?.map(str::to_owned), language };
    let done = app.intake().oversight().contract_correspondence_set(&act.visit.caller, &id, &correspondence).await;
    back(&act.visit, HERE, done, |()| Note::done("contracts-saved", id.clone()))
}
