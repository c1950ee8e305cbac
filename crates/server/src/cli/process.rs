//! `dipper process`: the processes of the installation, and what they work on.

use clap::{Args, Subcommand};
use dipper_core::oversight::{ProcessView, process_views};
use dipper_core::time::Timestamp;
use serde_json::{Value, json};

use super::local::{LocalArguments, Missing};
use super::look::age;
use super::output::{Output, Table, time_short};

#[derive(Debug, Args)]
pub(crate) struct ProcessArguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(subcommand)]
    command: ProcessCommand,
}

#[derive(Debug, Subcommand)]
enum ProcessCommand {
    /// List the processes that run, and those that were heard of in the last day and fell silent
    List,
}

pub(crate) async fn run(arguments: ProcessArguments, output: Output) -> anyhow::Result<()> {
    let ProcessCommand::List = arguments.command;
    let installation = arguments.local.open(Missing::Refuse).await?;
    let views = process_views(&installation, None).await?;
    let now = installation.clock.now();
    let mut table = Table::new(&["process", "kind", "version", "slots", "steps", "started", "heard of"]);
    for view in &views {
        let heard = match &view.process {
            Some(process) if view.is_there => format!("{} ago", age(now.since(process.seen))),
            Some(process) => format!("silent for {}", age(now.since(process.seen))),
            None => "never".to_owned(),
        };
        let process = view.process.as_ref();
        let told = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let (kind, version) = (process.map(|p| p.kind.to_string()), process.map(|p| p.version.clone()));
        let (slots, started) = (process.map(|p| p.slots.to_string()), process.map(|p| time_short(p.started)));
        table.row(&[&view.name, &told(kind), &told(version), &told(slots), &view.held, &told(started), &heard]);
    }
    let listed: Vec<Value> = views.iter().map(|view| document(view, now)).collect();
    output.result(&json!({ "processes": listed }), &table.text("no process runs"))
}

fn document(view: &ProcessView, now: Timestamp) -> Value {
    let process = view.process.as_ref();
    let lease = |step: &dipper_core::db::oversight::OpenStep| {
        json!({
            "holder": step.holder,
            "kind": step.kind.name(),
            "orderId": step.order_id,
            "contractId": step.contract_id,
            "heldSeconds": now.since(step.since).as_secs(),
            "leaseUntil": step.lease_until.to_string(),
        })
    };
    json!({
        "name": view.name,
        "isThere": view.is_there,
        "host": process.map(|process| process.host.clone()),
        "kind": process.map(|process| process.kind.name()),
        "version": process.map(|process| process.version.clone()),
        "slots": process.map(|process| process.slots),
        "started": process.map(|process| process.started.to_string()),
        "seen": process.map(|process| process.seen.to_string()),
        "held": view.held,
        "leases": view.leases.iter().map(lease).collect::<Vec<_>>(),
    })
}
